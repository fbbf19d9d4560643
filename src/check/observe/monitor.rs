//! What passes through a server for some seconds (`MONITOR`).
//!
//! *Guarantees:* bounded in time, lines and bytes; nothing of a line is kept but the command and what
//! the names of its keys have in common.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::timeout;

use super::statistics::{Refused, Used, refusal};
use crate::check::connect;
use crate::check::rehearsal::{Heard, Rehearsal, sha1};
use crate::engine::pattern;
use crate::failure::ServerError as Error;
use crate::protocol::command::{self, Serve};
use crate::protocol::resp::Request;
use crate::server::{Broken, Endpoint, Wire};
use crate::value::ReadError;

/// Lines that are read, and bytes.
const LINES: u64 = 500_000;
const BYTES: usize = 256 * 1024 * 1024;
/// Scripts and patterns that are told apart.
const MOST: usize = 100;

/// What passed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Monitored {
    pub(super) seconds: f64,
    pub(super) commands: u64,
    /// Whether it ended because there was more than it may read.
    pub(super) cut_short: bool,
    /// Commands that wait for data.
    pub(super) blocking: Vec<Used>,
    /// Commands that crossfade does not pass.
    pub(super) refused: Vec<Refused>,
    /// Keys that scripts use without declaring them.
    pub(super) undeclared: Vec<Undeclared>,
}

/// Keys of a script that are not among its `KEYS`.
#[derive(Debug, Serialize)]
pub(super) struct Undeclared {
    pub(super) script: String,
    pub(super) pattern: String,
    pub(super) count: u64,
}

/// What is counted while it lasts.
pub(super) struct Monitor<'a> {
    rehearsal: &'a Rehearsal,
    lines: u64,
    bytes: usize,
    blocking: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, (String, u64)>,
    undeclared: BTreeMap<(String, String), u64>,
    /// The script that runs, as far as the lines have come.
    script: Option<Script>,
}

struct Script {
    name: String,
    keys: Vec<Bytes>,
}

impl<'a> Monitor<'a> {
    fn new(rehearsal: &'a Rehearsal) -> Self {
        let (blocking, refused, undeclared) = Default::default();
        Self { rehearsal, lines: 0, bytes: 0, blocking, refused, undeclared, script: None }
    }

    /// Listens for so long.
    pub(super) async fn run(
        source: &Endpoint,
        time: Duration,
        rehearsal: &'a Rehearsal,
    ) -> Result<Monitored, Error> {
        let connection = connect(source).await.map_err(Error::Source)?;
        let mut wire = connection.into_wire();
        let mut monitor = Self::new(rehearsal);
        let began = Instant::now();
        wire.push(Request::new(["MONITOR"]).raw());
        if let Ok(result) = timeout(time, monitor.listen(&mut wire)).await {
            result?;
        }
        Ok(monitor.done(began.elapsed()))
    }

    async fn listen(&mut self, wire: &mut Wire) -> Result<(), Error> {
        while self.lines < LINES && self.bytes < BYTES {
            let frame = wire.frame().await.map_err(at_source)?;
            if frame.is_error() {
                let refused = String::from_utf8_lossy(&frame.raw).trim().to_owned();
                return Err(Error::Source(ReadError::Refused(refused).into()));
            }
            self.hear(&frame.raw);
        }
        Ok(())
    }

    fn hear(&mut self, line: &[u8]) {
        self.bytes += line.len();
        let Some(Line { db, by_script, request }) = Line::parse(line) else { return };
        self.lines += 1;
        if by_script {
            return self.hear_script(&request);
        }
        self.script = None;
        let command = command::lookup(&request);
        self.rehearsal.hear(&Heard { user: "default", command, request: &request, at: 0 });
        self.rehearsal.stays_in_database(db, 0);
        let Some(command) = command else { return };
        if command.serve(&request) == Serve::Blocking {
            *self.blocking.entry(command.name).or_default() += 1;
        }
        if let Some(why) = refusal(command) {
            self.refused.entry(command.name).or_insert((why, 0)).1 += 1;
        }
        if command.serve == Serve::Script {
            let keys = command.keys(&request).unwrap_or_default();
            let keys = keys.iter().filter_map(|key| request.arg_bytes(key.index)).collect();
            self.script = Some(Script { name: script_name(&request), keys });
        }
    }

    /// A command that the script before it has called.
    fn hear_script(&mut self, request: &Request) {
        let Some(script) = &self.script else { return };
        let keys = command::lookup(request).and_then(|command| command.keys(request).ok());
        for key in keys.unwrap_or_default() {
            let Some(name) = request.arg(key.index) else { continue };
            let undeclared = (script.name.clone(), pattern(name));
            let known = self.undeclared.contains_key(&undeclared) || self.undeclared.len() < MOST;
            if known && !script.keys.iter().any(|declared| declared == name) {
                *self.undeclared.entry(undeclared).or_default() += 1;
            }
        }
    }

    fn done(self, time: Duration) -> Monitored {
        let blocking = self.blocking.into_iter();
        let refused = self.refused.into_iter();
        let undeclared = self.undeclared.into_iter();
        Monitored {
            seconds: time.as_secs_f64(),
            commands: self.lines,
            cut_short: self.lines >= LINES || self.bytes >= BYTES,
            blocking: blocking
                .map(|(command, count)| Used { command: command.to_owned(), count })
                .collect(),
            refused: refused
                .map(|(name, (why, count))| Refused { command: name.to_owned(), why, count })
                .collect(),
            undeclared: undeclared
                .map(|((script, pattern), count)| Undeclared { script, pattern, count })
                .collect(),
        }
    }
}

/// The digest, or the function's name.
fn script_name(request: &Request) -> String {
    let name = request.arg(1).unwrap_or_default();
    if request.is(0, "EVAL") {
        sha1(name)
    } else {
        name.escape_ascii().take(40).map(char::from).collect()
    }
}

/// A line of `MONITOR`: `+1700000000.123456 [0 127.0.0.1:5000] "get" "k"`.
struct Line {
    db: u32,
    by_script: bool,
    request: Request,
}

impl Line {
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'[')?;
        let inside = line.get(open + 1..)?;
        // An address may hold brackets of its own.
        let close = inside.windows(3).position(|window| window == b"] \"")?;
        let (origin, rest) = inside.split_at_checked(close)?;
        let mut origin = origin.splitn(2, |byte| *byte == b' ');
        let db = std::str::from_utf8(origin.next()?).ok()?.parse().ok()?;
        let by_script = origin.next()? == b"lua";
        let args = quoted(rest.get(2..)?);
        (!args.is_empty()).then(|| Self { db, by_script, request: Request::new(args) })
    }
}

/// Words in quotes, with the escapes of the server undone.
fn quoted(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (&mut word, byte) {
            (None, b'"') => word = Some(Vec::new()),
            (None, _) => {}
            (Some(_), b'"') => words.extend(word.take()),
            (Some(open), b'\\') => open.extend(escaped(&mut bytes)),
            (Some(open), byte) => open.push(byte),
        }
    }
    words
}

/// What stands behind a backslash.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    match bytes.next()? {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'x' => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            u8::try_from(high * 16 + low).ok()
        }
        other => Some(other),
    }
}

fn at_source(broken: Broken) -> Error {
    Error::Source(ReadError::from(broken).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let request = Line::parse(line.as_bytes()).unwrap().request;
        request.args().map(|arg| arg.escape_ascii().to_string()).collect()
    }

    #[test]
    fn a_line_is_read_as_the_server_writes_it() {
        let line = r#"+1700000000.123456 [3 [::1]:5000] "set" "a\"b\\\n" "\xff]""#;
        assert_eq!(words(line), ["set", r#"a\"b\\\n"#, r"\xff]"]);
        let line = Line::parse(br#"+1.1 [3 lua] "get" "k""#).unwrap();
        assert!(line.by_script && line.db == 3);
        for garbage in ["+OK\r\n", "", "+1.1 [x lua] \"get\"", "+1 [0 lua] "] {
            assert!(Line::parse(garbage.as_bytes()).is_none(), "{garbage}");
        }
    }

    #[test]
    fn what_waits_what_is_refused_and_what_scripts_do_not_declare_is_counted() {
        let rehearsal = Rehearsal::default();
        let mut monitor = Monitor::new(&rehearsal);
        for line in [
            r#"+1.1 [0 a:1] "blpop" "q:1" "5""#,
            r#"+1.1 [0 a:1] "debug" "sleep" "0""#,
            r#"+1.1 [0 a:1] "evalsha" "abc" "1" "user:1" "x""#,
            r#"+1.1 [0 lua] "get" "user:1""#,
            r#"+1.1 [0 lua] "get" "secret:7""#,
            r#"+1.1 [0 lua] "get" "secret:8""#,
            r#"+1.1 [0 a:1] "get" "secret:9""#,
        ] {
            monitor.hear(line.as_bytes());
        }
        let seen = monitor.done(Duration::from_secs(1));
        assert_eq!((seen.commands, seen.cut_short), (7, false));
        assert_eq!(seen.blocking[0].command, "BLPOP");
        assert_eq!(seen.refused[0].command, "DEBUG");
        let undeclared = &seen.undeclared[0];
        assert_eq!((undeclared.script.as_str(), undeclared.pattern.as_str()), ("abc", "secret:*"));
        assert_eq!((seen.undeclared.len(), undeclared.count), (1, 2));
    }
}
