//! Who may ask, and who may change something.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::control::Control;
use super::{Access, Shared, browser, reply};

/// Lets pass what is asked of this place by an address or a name of its own. A web page can have its
/// own name lead here (DNS rebinding), and then the browser takes our answers for that page's; but no
/// page is named by an address, and none knows the token.
pub(super) async fn at_home<C: Control>(
    State(admin): Shared<C>,
    request: Request,
    next: Next,
) -> Response {
    let (access, headers) = (&admin.access, request.headers());
    if is_at_home(headers, &access.hosts) || access.token.is_some() && bears(headers, access) {
        return next.run(request).await;
    }
    let error = "ask by an IP address or localhost, or name this host in --admin-hosts";
    reply::error(StatusCode::FORBIDDEN, error)
}

/// Lets a change pass that bears the token, where there is one, and does not come from a strange web
/// page.
pub(super) async fn check<C: Control>(
    State(admin): Shared<C>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if browser::is_strange_page(headers) {
        return reply::error(StatusCode::FORBIDDEN, "this web page may not change anything");
    }
    if browser::is_form(headers) {
        let error = "a form may not change anything: send application/json";
        return reply::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, error);
    }
    if !bears(headers, &admin.access) {
        return reply::error(StatusCode::UNAUTHORIZED, "a bearer token is needed");
    }
    next.run(request).await
}

fn is_at_home(headers: &HeaderMap, hosts: &[String]) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let is_ours = |ours: &str| name.eq_ignore_ascii_case(ours);
    is_ours("localhost") || name.parse::<IpAddr>().is_ok() || hosts.iter().any(|ours| is_ours(ours))
}

/// Whether the token is there that is asked for, if any is.
fn bears(headers: &HeaderMap, access: &Access) -> bool {
    let Some(token) = &access.token else { return true };
    let value = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let Some((scheme, given)) = value.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && same(given, token.reveal().as_bytes())
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
        let hosts = ["crossfade.example".to_owned()];
        let is_at_home = |host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            is_at_home(&headers, &hosts)
        };
        for host in [
            "localhost",
            "LOCALHOST:9680",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:1",
            "Crossfade.example:9680",
        ] {
            assert!(is_at_home(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9680", "127.0.0.1.evil.example", "localhost.x", ""]
        {
            assert!(!is_at_home(host), "{host}");
        }
    }
}
