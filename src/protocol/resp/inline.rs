//! Inline commands: a line of words, quoted as Redis' `sdssplitargs` allows.

use super::request::{Builder, Request};

/// Splits a line into words and writes them as a request. `Ok(None)` is an empty line, `Err` an
/// unbalanced quote.
pub(super) fn parse(line: &[u8]) -> Result<Option<Request>, ()> {
    let mut builder = Builder::default();
    let mut rest = line;
    let mut words = 0;
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Ok((words > 0).then(|| builder.finish()));
        }
        let (word, after) = word(rest)?;
        builder.push(&word);
        words += 1;
        rest = after;
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    text.get(blanks..).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn word(text: &[u8]) -> Result<(Vec<u8>, &[u8]), ()> {
    let mut word = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Ok((word, &[])),
            [byte, ..] if is_blank(*byte) => return Ok((word, rest)),
            [b'"', after @ ..] => closed(double_quoted(after, &mut word)?)?,
            [b'\'', after @ ..] => closed(single_quoted(after, &mut word)?)?,
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

/// A closing quote must be followed by a blank or the end.
fn closed(rest: &[u8]) -> Result<&[u8], ()> {
    match rest {
        [byte, ..] if !is_blank(*byte) => Err(()),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(text: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ()> {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Err(()),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) * 16 + hex(*low));
                after
            }
            [b'\\', byte, after @ ..] => {
                word.push(unescape(*byte));
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn single_quoted<'a>(text: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ()> {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Err(()),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Option<Vec<Vec<u8>>>, ()> {
        Ok(parse(line.as_bytes())?.map(|request| request.args().map(<[u8]>::to_vec).collect()))
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        let expected = ["set", "a b", "\u{1}\n'", "it's"].map(|word| word.as_bytes().to_vec());
        let line = r#"  set "a b" "\x01\n'" 'it\'s' "#;
        assert_eq!(words(line), Ok(Some(expected.to_vec())));
        assert_eq!(words("  "), Ok(None));
        assert_eq!(words("get ''"), Ok(Some(vec![b"get".to_vec(), Vec::new()])));
    }

    #[test]
    fn unbalanced_quotes_are_an_error() {
        for line in ["get \"a", "get 'a", "get \"a\"b", "get 'a'b"] {
            assert_eq!(words(line), Err(()), "{line}");
        }
    }
}
