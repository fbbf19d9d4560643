//! Who may change something.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
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
    match &admin.token {
        Some(token) if !bears(headers, token.reveal()) => {
            reply::error(StatusCode::UNAUTHORIZED, "a bearer token is needed")
        }
        None if !is_by_address(headers) => reply::error(
            StatusCode::FORBIDDEN,
            "without --admin-token, changes are taken at localhost or an IP address alone",
        ),
        _ => next.run(request).await,
    }
}

/// Browsers name the page that a request comes from. Without this any page that an operator has
/// open could post to a loopback that asks for no token.
fn is_at_home(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN).map(HeaderValue::as_bytes) else { return true };
    let host = headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let home = [&b"http://"[..], b"https://"];
    home.iter().any(|scheme| origin.strip_prefix(*scheme) == Some(host))
}

/// A page can have its own name lead to the loopback (DNS rebinding), and then it comes from home;
/// but no page is named by an address.
fn is_by_address(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let value = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
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

    #[test]
    fn a_name_that_leads_here_is_not_this_place() {
        let is_by_address = |host: &'static str| {
            is_by_address(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]))
        };
        for host in ["localhost", "LOCALHOST:9680", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:1"]
        {
            assert!(is_by_address(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9680", "127.0.0.1.evil.example", "localhost.x", ""]
        {
            assert!(!is_by_address(host), "{host}");
        }
    }
}
