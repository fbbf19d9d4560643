//! Who may change something.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::control::Control;
use super::{Shared, reply};

/// Lets a change pass that bears the token and does not come from a strange web page.
pub(super) async fn check<C: Control>(
    State(admin): Shared<C>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if !is_at_home(headers) {
        return reply::error(StatusCode::FORBIDDEN, "this web page may not change anything");
    }
    if let Some(token) = &admin.token
        && !bears(headers, token.reveal())
    {
        return reply::error(StatusCode::UNAUTHORIZED, "a bearer token is needed");
    }
    next.run(request).await
}

/// Browsers name the page that a request comes from. Without this any page that an operator has
/// open could post to a loopback that asks for no token.
fn is_at_home(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN).map(|origin| origin.as_bytes()) else { return true };
    let host = headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
    origin.strip_prefix(b"http://").is_some_and(|origin| origin == host)
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let value = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let Some((scheme, given)) = value.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && same(given, token.as_bytes())
}

/// Compares in a time that does not tell where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        assert!(same(b"secret", b"secret"));
        for wrong in [&b"secreT"[..], b"secre", b"secret1", b""] {
            assert!(!same(wrong, b"secret"));
        }
    }
}
