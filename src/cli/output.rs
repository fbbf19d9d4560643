//! Words for people on stdout and stderr.

use std::io::{self, Write};

use super::paint::{Line, has_tones, tame};
use crate::failure::Failure;

/// Prints an answer.
pub(super) fn print(text: &str) {
    send(&tame(text));
}

/// A reader that has gone away wants no more of it.
fn send(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Prints lines, in their tones where a terminal shows them.
pub(super) fn print_lines(lines: &[Line]) {
    let tones = has_tones(&io::stdout());
    let text = lines.iter().map(|line| (if tones { line.painted() } else { line.text() }) + "\n");
    send(&text.collect::<String>());
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

/// So much memory: `0 bytes`, `1.5 KiB`, `256 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "bytes" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// A time in the two units that matter: `210 µs`, `1.2 ms`, `12.5 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn period(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates, and less than a second does not matter here"
    )]
    let whole = seconds as u64;
    match whole {
        0 if seconds <= 0.0 => "0 ms".to_owned(),
        0 if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        0 if seconds < 0.01 => format!("{:.1} ms", seconds * 1000.0),
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
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_period_has_the_units_that_matter() {
        let short = [0.0, 0.000_21, 0.0012, 0.85].map(period);
        assert_eq!(short, ["0 ms", "210 µs", "1.2 ms", "850 ms"]);
        let long = [12.5, 185.0, 7800.0].map(period);
        assert_eq!(long, ["12.5 s", "3 min 5 s", "2 h 10 min"]);
    }

    #[test]
    fn memory_has_the_unit_that_matters() {
        let sizes = [0, 1536, 256 << 20, 3 << 29].map(size);
        assert_eq!(sizes, ["0 bytes", "1.5 KiB", "256 MiB", "1.5 GiB"]);
    }
}
