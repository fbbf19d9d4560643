//! Words for people on stdout and stderr.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::failure::Failure;

/// Prints an answer. A reader that has gone away wants no more of it.
pub(super) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(tame(text).as_bytes()).and_then(|()| stdout.flush());
}

pub(super) fn print_json(value: &impl serde::Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        print(&format!("{text}\n"));
    }
}

/// Prints what came of a command, for machines or for people.
fn print_result(json: bool, result: &(impl serde::Serialize + std::fmt::Display)) {
    if json {
        print_json(result);
    } else {
        print(&format!("{result}\n"));
    }
}

/// Prints what came of a command that has said all there is to say; a bad end is one of the process.
pub(super) fn print_verdict(
    json: bool,
    result: &(impl serde::Serialize + std::fmt::Display),
    good: bool,
) -> Result<(), Failure> {
    print_result(json, result);
    if good { Ok(()) } else { Err(Failure::silent()) }
}

/// Prints reasons to stderr, a line each.
pub(super) fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    for line in tame(message).lines() {
        let _ = writeln!(stderr, "crossfade: {line}");
    }
}

/// Shows what would steer a terminal: part of a text may be a server's, or a client's name.
fn tame(text: &str) -> Cow<'_, str> {
    let wild = |letter: char| letter.is_control() && letter != '\n';
    if !text.contains(wild) {
        return Cow::Borrowed(text);
    }
    let shown = |letter: char| {
        let escape = wild(letter).then(|| letter.escape_default()).into_iter().flatten();
        escape.chain((!wild(letter)).then_some(letter))
    };
    Cow::Owned(text.chars().flat_map(shown).collect())
}

/// Two columns, the first as wide as it must be.
pub(super) fn columns(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(label, text)| format!("{label:width$}  {text}"));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the two units that matter: `850 ms`, `12.5 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn period(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates, and less than a second does not matter here"
    )]
    let whole = seconds as u64;
    match whole {
        0 => format!("{:.0} ms", seconds * 1000.0),
        1..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_does_not_steer_the_terminal() {
        assert_eq!(tame("two\nlines"), "two\nlines");
        assert_eq!(tame("a\u{1b}[2J\rb"), "a\\u{1b}[2J\\rb");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_period_has_the_units_that_matter() {
        let periods = [0.0, 0.85, 12.5, 185.0, 7800.0].map(period);
        assert_eq!(periods, ["0 ms", "850 ms", "12.5 s", "3 min 5 s", "2 h 10 min"]);
    }

    #[test]
    fn the_second_column_begins_below_itself() {
        assert_eq!(columns(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
