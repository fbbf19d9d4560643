//! From the text of one option to its value.
//!
//! *Guarantees:* an error says what was expected and repeats what was given with its control
//! characters escaped, unless it is a secret.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::time::Duration;

use crate::protocol::databases::Databases;
use crate::server::Secret;

type Parsed<T> = Result<T, String>;

/// `1024`, `256mib`, `1gb`, `64k`.
pub(super) fn size(text: &str) -> Parsed<u64> {
    let (number, unit) = number_and_unit(text);
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(expected("a size such as 1048576, 256mib or 1gb", text)),
    };
    let count: Option<u64> = number.parse().ok();
    count
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| expected("a size such as 1048576, 256mib or 1gb", text))
}

/// `10`, `0.5` (seconds), `500ms`, `5s`, `15m`, `24h`.
pub(crate) fn seconds(text: &str) -> Parsed<Duration> {
    duration(text, "s").ok_or_else(|| expected("a time such as 10 (seconds), 500ms or 24h", text))
}

/// `50` (milliseconds), `50ms`, `1s`.
pub(super) fn milliseconds(text: &str) -> Parsed<Duration> {
    duration(text, "ms").ok_or_else(|| expected("a time such as 50 (milliseconds) or 1s", text))
}

fn duration(text: &str, default_unit: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text);
    let unit_seconds = match if unit.is_empty() { default_unit } else { unit.as_str() } {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * unit_seconds).ok()
}

/// Splits where the digits end.
fn number_and_unit(text: &str) -> (&str, String) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim().to_ascii_lowercase())
}

/// `127.0.0.1:6380`, `[::1]:6380`, `localhost:6380`.
pub(super) fn listen(text: &str) -> Parsed<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let resolved = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.ok_or_else(|| expected("an address and port such as 127.0.0.1:6380", text))
}

/// `db.example:6380`, as others are told of it.
pub(super) fn announce(text: &str) -> Parsed<(String, u16)> {
    let address = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?))
    });
    let address = address.filter(|(host, port)| !host.is_empty() && *port > 0);
    address.ok_or_else(|| expected("a host and port such as db.example:6380", text))
}

/// `a.example`.
pub(super) fn name(text: &str) -> Parsed<String> {
    let name = text.trim();
    if name.is_empty() { Err(expected("a name", text)) } else { Ok(name.to_owned()) }
}

/// `all`, or a list of numbers, each of which is the same on both servers.
pub(super) fn databases(text: &str) -> Parsed<Databases> {
    if text.trim().eq_ignore_ascii_case("all") {
        return Ok(Databases::All);
    }
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let mut numbers = numbers.map_err(|_| expected("all, or numbers such as 0,1,5", text))?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Databases::same(numbers))
}

/// `true` or `false`, also as 1 or 0, yes or no.
pub(super) fn flag(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(expected("true or false", text)),
    }
}

/// `5%`, `0.5`: of a hundred.
pub(crate) fn percent(text: &str) -> Parsed<f64> {
    let number = text.trim().trim_end_matches('%').trim_end().parse();
    let percent = number.ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| expected("a share such as 5%, from 0 to 100", text))
}

/// A number above 0.
pub(super) fn rate(text: &str) -> Parsed<NonZeroU64> {
    text.parse().map_err(|_| expected("a number above 0", text))
}

/// A number of things, at least one.
pub(super) fn count(text: &str) -> Parsed<usize> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| expected("a number above 0", text))
}

/// An address of the web, which may be a secret.
pub(super) fn web(text: &str) -> Parsed<Secret> {
    let known = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if known { Ok(Secret::new(text)) } else { Err("expected http:// or https://".to_owned()) }
}

/// A password or token: any text.
#[allow(clippy::unnecessary_wraps, reason = "a parser like the others")]
pub(super) fn secret(text: &str) -> Parsed<Secret> {
    Ok(Secret::new(text))
}

pub(super) fn expected(what: &str, text: &str) -> String {
    format!("expected {what}, not {text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(size("1048576"), Ok(1 << 20));
        assert_eq!(size("256mib"), Ok(256 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(size(" 64 k "), Ok(64 << 10));
        for wrong in ["", "mib", "-1", "1.5gb", "99999999tib", "1 parsec"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_duration_has_the_unit_of_its_option() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("24h"), Ok(Duration::from_secs(86400)));
        assert_eq!(milliseconds("50"), Ok(Duration::from_millis(50)));
        assert_eq!(milliseconds("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["", "s", "-5", "5 fortnights", "1e400", "1.2.3"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn databases_are_all_or_a_list_without_repetition() {
        assert_eq!(databases("all"), Ok(Databases::All));
        assert_eq!(databases("3, 0,3"), Ok(Databases::same([0, 3])));
        assert!(databases("0,,1").is_err());
        assert!(databases("-1").is_err());
    }

    #[test]
    fn an_address_may_be_a_name() {
        assert_eq!(listen("[::1]:7"), Ok("[::1]:7".parse().unwrap()));
        assert_eq!(listen("localhost:6380").map(|address| address.port()), Ok(6380));
        assert_eq!(announce("db.example:7"), Ok(("db.example".to_owned(), 7)));
        assert_eq!(announce("[::1]:7"), Ok(("::1".to_owned(), 7)));
        assert!(announce(":7").is_err() && announce("h").is_err() && announce("h:0").is_err());
        assert!(listen("6380").is_err());
        assert!(listen("127.0.0.1").is_err());
    }

    #[test]
    fn an_error_repeats_what_was_given_on_one_line() {
        assert_eq!(flag("y\nes").unwrap_err(), r#"expected true or false, not "y\nes""#);
    }
}
