//! Who may ask, and who may change something: the token, our own names, and what a browser tells of
//! the web page that a request comes from.
//!
//! Without the last any page that an operator has open could post to a loopback that asks for no token.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, REFERER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::control::Control;
use super::{Access, Shared, reply};

/// Where the page stands that asks, as browsers tell where they can.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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

/// Lets a change pass that bears the token, where there is one, and does not come from a foreign web
/// page.
pub(super) async fn check<C: Control>(
    State(admin): Shared<C>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if is_foreign_page(headers) {
        return reply::error(StatusCode::FORBIDDEN, "this web page may not change anything");
    }
    if is_form(headers) {
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

/// Whether the request comes from a page that is not ours.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let is_foreign = |site: &[u8]| site != b"same-origin" && site != b"none";
    !is_own_origin(headers) || word(headers, &SITE).is_some_and(is_foreign)
}

/// Browsers name the page that a change comes from.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = word(headers, &ORIGIN) else { return true };
    let host = word(headers, &HOST).unwrap_or_default();
    let home = [&b"http://"[..], b"https://"];
    home.iter().any(|scheme| origin.strip_prefix(*scheme) == Some(host))
}

/// Whether the body is of a kind that a form of any page can send, which browsers do without asking
/// us first. Curl and its like call whatever they send an encoded form; a browser gives itself away.
fn is_form(headers: &HeaderMap) -> bool {
    let kind = word(headers, &CONTENT_TYPE).unwrap_or_default();
    let is = |name: &str| {
        kind.split_at_checked(name.len())
            .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(name.as_bytes()))
    };
    is("text/plain")
        || is("multipart/form-data")
        || is("application/x-www-form-urlencoded") && is_browser(headers)
}

fn is_browser(headers: &HeaderMap) -> bool {
    let agent = word(headers, &USER_AGENT).unwrap_or_default();
    agent.starts_with(b"Mozilla/")
        || [ORIGIN, REFERER, SITE].iter().any(|name| headers.contains_key(name))
}

fn word<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
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

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_page_is_ours_when_it_comes_from_where_it_asks() {
        let asks = |pairs: &[(&'static str, &'static str)]| is_foreign_page(&headers(pairs));
        assert!(!asks(&[("host", "a:1")]));
        assert!(!asks(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(!asks(&[("host", "a:1"), ("sec-fetch-site", "same-origin")]));
        assert!(asks(&[("host", "a:1"), ("origin", "http://a:2")]));
        assert!(asks(&[("host", "a:1"), ("origin", "null")]));
        assert!(asks(&[
            ("host", "a:1"),
            ("origin", "http://a:1"),
            ("sec-fetch-site", "cross-site")
        ]));
        assert!(asks(&[("host", "a:1"), ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn a_form_is_told_from_a_program_that_calls_what_it_sends_one() {
        let encoded = ("content-type", "application/x-www-form-urlencoded");
        assert!(!is_form(&headers(&[encoded, ("user-agent", "curl/7.88.1")])));
        assert!(!is_form(&headers(&[("content-type", "application/json")])));
        assert!(!is_form(&headers(&[])));
        assert!(is_form(&headers(&[encoded, ("user-agent", "Mozilla/5.0 (X11)")])));
        assert!(is_form(&headers(&[encoded, ("referer", "http://a/")])));
        assert!(is_form(&headers(&[encoded, ("origin", "http://a")])));
        assert!(is_form(&headers(&[("content-type", "Text/Plain; charset=utf-8")])));
        assert!(is_form(&headers(&[("content-type", "multipart/form-data; boundary=x")])));
    }
}
