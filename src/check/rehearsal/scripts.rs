//! What scripts call, as far as their text says.

use std::collections::BTreeSet;

/// Commands of one script that are looked at.
const MOST: usize = 200;
/// The longest name of a command.
const LONGEST: usize = 40;

/// The commands that a text calls by a literal name (`redis.call('GET', …)`), each with its first
/// literal argument, which may be a subcommand.
pub(crate) fn calls(body: &[u8]) -> BTreeSet<Vec<String>> {
    let mut calls = BTreeSet::new();
    let mut rest = body;
    while let Some(at) = position(rest, b"call").filter(|_| calls.len() < MOST) {
        let before = rest.get(..at).unwrap_or_default();
        rest = rest.get(at + 4..).unwrap_or_default();
        let of_server = [b"redis.".as_ref(), b"redis.p", b"server.", b"server.p"];
        if of_server.iter().any(|owner| before.ends_with(owner)) {
            calls.extend(call(rest));
        }
    }
    calls
}

/// What stands between the parentheses of a call, up to the second literal.
fn call(text: &[u8]) -> Option<Vec<String>> {
    let inside = blank(text).strip_prefix(b"(").unwrap_or(blank(text));
    let (name, rest) = literal(inside)?;
    let next = blank(rest).strip_prefix(b",").and_then(literal);
    Some(std::iter::once(name).chain(next.map(|(argument, _)| argument)).collect())
}

/// A quoted word, in capitals, and what stands behind it.
fn literal(text: &[u8]) -> Option<(String, &[u8])> {
    let (quote, rest) = blank(text).split_first()?;
    let end = rest.iter().take(LONGEST).position(|byte| byte == quote)?;
    let (word, rest) = rest.split_at_checked(end)?;
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let is_name = matches!(quote, b'\'' | b'"') && !word.is_empty() && word.iter().all(is_word);
    let name = is_name.then(|| String::from_utf8_lossy(word).to_ascii_uppercase())?;
    Some((name, rest.get(1..).unwrap_or_default()))
}

fn blank(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_names_are_found_with_their_subcommands() {
        let body = b"local x = redis.call('get', KEYS[1]) redis.pcall( \"XGROUP\", 'create', k)
            server.call('LMPOP', 2) redis.call(name, 'a') call('del') redis.call'PING'";
        let found: Vec<String> = calls(body).into_iter().map(|call| call.join(" ")).collect();
        assert_eq!(found, ["GET", "LMPOP", "PING", "XGROUP CREATE"]);
    }

    #[test]
    fn any_bytes_are_a_script() {
        for body in [&b"redis.call("[..], b"redis.call('", b"redis.callredis.call", b"\xff'"] {
            assert!(calls(body).is_empty());
        }
    }
}
