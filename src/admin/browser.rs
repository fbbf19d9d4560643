//! What a browser tells of the web page that a request comes from.
//!
//! Without this any page that an operator has open could post to a loopback that asks for no token.

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN, REFERER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Where the page stands that asks, as browsers tell where they can.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request comes from a page that is not ours.
pub(super) fn is_strange_page(headers: &HeaderMap) -> bool {
    let is_foreign = |site: &[u8]| site != b"same-origin" && site != b"none";
    !is_ours(headers) || word(headers, &SITE).is_some_and(is_foreign)
}

/// Browsers name the page that a change comes from.
fn is_ours(headers: &HeaderMap) -> bool {
    let Some(origin) = word(headers, &ORIGIN) else { return true };
    let host = word(headers, &HOST).unwrap_or_default();
    let home = [&b"http://"[..], b"https://"];
    home.iter().any(|scheme| origin.strip_prefix(*scheme) == Some(host))
}

/// Whether the body is of a kind that a form of any page can send, which browsers do without asking
/// us first. Curl and its like call whatever they send an encoded form; a browser gives itself away.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
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

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_page_is_ours_when_it_comes_from_where_it_asks() {
        let asks = |pairs: &[(&'static str, &'static str)]| is_strange_page(&headers(pairs));
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
