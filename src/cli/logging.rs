//! Log lines on stderr: text for people, JSON for machines.
//!
//! *Guarantees:* an event is one line, whatever its fields hold: control characters are escaped, so
//! that no key, value or server's error can break a line or steer a terminal. What stands below the
//! last line is never mixed with one.
//!
//! *Must not know:* what is logged.

use std::io::{self, IsTerminal, Write};

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::TryInitError;

use crate::config::LogFormat;

/// Starts logging for the whole process, at the level that `RUST_LOG` asks for (`info` without).
pub(super) fn init(format: Option<LogFormat>) -> Result<(), TryInitError> {
    init_at("info", format)
}

/// As [`init`] for a command that ends by itself: only what goes wrong (without `RUST_LOG`).
pub(super) fn init_quiet() -> Result<(), TryInitError> {
    init_at("warn", None)
}

fn init_at(level: &str, format: Option<LogFormat>) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Colours would be escapes too: none of them is easier to trust than some of them.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(Lines);
    match format.unwrap_or_else(default_format) {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}

/// What stands below the last line, for people who wait.
static BELOW: Mutex<String> = Mutex::new(String::new());
/// Back to the first column, and the rest of the row is empty.
const CLEAR: &str = "\r\x1b[K";

/// Shows `text`, of one row and without control characters, below the last line; stderr must be a
/// terminal. An empty one leaves nothing there.
pub(super) fn show_below(text: &str) {
    let mut below = BELOW.lock();
    if *below != text {
        // A terminal that is gone shows nothing.
        let _ = io::stderr().write_all(format!("{CLEAR}{text}").as_bytes());
        text.clone_into(&mut below);
    }
}

fn default_format() -> LogFormat {
    if io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json }
}

/// Gives each event a [`Line`] on stderr.
#[derive(Clone, Copy, Debug)]
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Above;

    fn make_writer(&'a self) -> Self::Writer {
        Above
    }
}

/// Puts a line above what is shown below it.
struct Above;

impl Write for Above {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let below = BELOW.lock();
        if below.is_empty() {
            return Line(io::stderr()).write(event);
        }
        let mut row = CLEAR.as_bytes().to_vec();
        Line(&mut row).write_all(event)?;
        row.extend_from_slice(below.as_bytes());
        io::stderr().write_all(&row)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Escapes what would break a line. An event arrives in one write, with its line feed.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let body = event.strip_suffix(b"\n").unwrap_or(event);
        if body.iter().any(u8::is_ascii_control) {
            self.0.write_all(&escape(body))?;
            self.0.write_all(b"\n")?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escape(body: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| {
        let control = byte.is_ascii_control();
        let escape = control.then(|| byte.escape_ascii()).into_iter().flatten();
        escape.chain((!control).then_some(*byte))
    };
    body.iter().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &[u8]) -> String {
        let mut line = Line(Vec::new());
        line.write_all(event).unwrap();
        String::from_utf8(line.0).unwrap()
    }

    #[test]
    fn an_event_stays_on_its_line() {
        assert_eq!(written(b"lost key=a\nready listen=x\x1b[2J\n"), {
            "lost key=a\\nready listen=x\\x1b[2J\n"
        });
    }

    #[test]
    fn a_plain_event_is_written_as_it_is() {
        assert_eq!(written("größe=1\n".as_bytes()), "größe=1\n");
    }
}
