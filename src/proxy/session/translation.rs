//! Requests as a server has to get them.
//!
//! A client numbers databases as the source does. Which number the server has for one depends on who
//! serves when the command is sent, so it is put in then and not before: what was queued before a
//! flip means the same database after it.
//!
//! In the place of a `CLIENT` command a server is asked a question. Whether a user may, and whether the
//! arguments are right, is the server's to say, in the words of its version: it is asked the same in a
//! form that can do no harm there.

use crate::protocol::command;
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Request, parse_integer};

/// An address that no client has.
const NOBODY: &[u8] = b"crossfade:0";

/// A database that a request names and that is not migrated, as the client numbers it.
pub(super) fn unmigrated(request: &Request, databases: &Databases) -> Option<u32> {
    if *databases == Databases::All {
        return None;
    }
    let places = command::databases(request);
    let mut named = places.iter().filter_map(|place| number(request, *place));
    named.find(|db| databases.to(*db).is_none())
}

/// A request as the server behind `databases` has to get it.
pub(in crate::proxy) fn translated(request: &Request, databases: &Databases) -> Request {
    if *databases == Databases::All {
        return request.clone();
    }
    let places = command::databases(request);
    if places.is_empty() {
        return request.clone();
    }
    let args = request.args().enumerate().map(|(index, arg)| {
        let named = places.contains(&index).then(|| number(request, index)).flatten();
        match named.and_then(|db| databases.to(db)) {
            Some(db) => db.to_string().into_bytes(),
            // What is no number: the server has the words for it.
            None => arg.to_vec(),
        }
    });
    Request::new(args)
}

/// The database that an argument names.
pub(in crate::proxy) fn number(request: &Request, index: usize) -> Option<u32> {
    u32::try_from(parse_integer(request.arg(index)?)?).ok()
}

/// The same question in a form that does nothing to the server and to the connections that
/// crossfade has there. `None`: as it is it does nothing, and its answer is the client's.
pub(in crate::proxy) fn harmless(subcommand: &[u8], request: &Request) -> Option<Request> {
    let with = |at: usize, value: &[u8]| {
        let args = request.args().enumerate();
        Request::new(args.map(|(index, arg)| if index == at { value } else { arg }))
    };
    let is_integer = request.arg(2).is_some_and(|arg| parse_integer(arg).is_some());
    match (subcommand, request.len()) {
        // What is accepted becomes the lane's name: its own again.
        (b"SETNAME", 3) if is_clean(request.arg(2)) => Some(with(2, b"crossfade-lane")),
        (b"SETINFO", 4) if is_clean(request.arg(3)) => Some(with(3, b"crossfade")),
        (b"ID" | b"GETNAME" | b"INFO" | b"GETREDIR" | b"TRACKINGINFO" | b"UNPAUSE", 2)
        | (b"SETNAME", 3)
        | (b"SETINFO", 4)
        | (b"LIST", _) => Some(request.clone()),
        (b"NO-EVICT", 3) if request.is(2, "ON") => Some(with(2, b"OFF")),
        (b"KILL", 3) => Some(Request::new([b"CLIENT".as_ref(), b"KILL", b"ADDR", NOBODY])),
        (b"KILL", 4..) => Some(Request::new(request.args().chain([b"ADDR".as_ref(), NOBODY]))),
        (b"UNBLOCK", 3 | 4) => Some(if is_integer { with(2, b"0") } else { request.clone() }),
        (b"PAUSE", 3 | 4) if is_integer && request.arg(2)?.first() != Some(&b'-') => {
            Some(with(2, b"0"))
        }
        (b"CAPA", 3..) => Some(Request::new(["CLIENT", "CAPA", "none"])),
        _ => None,
    }
}

/// What a server is to queue in the place of a `CLIENT` command; `None` for one that would change
/// the connection which the queue is lent, or take away the reply that it is part of.
pub(super) fn queueable_question(request: &Request) -> Option<Request> {
    let subcommand = request.arg(1).unwrap_or_default().to_ascii_uppercase();
    match (subcommand.as_slice(), request.len()) {
        (b"REPLY", 3) if request.is(2, "ON") => Some(request.clone()),
        (b"TRACKING", 3..) | (b"NO-TOUCH" | b"REPLY", 3) => None,
        _ => Some(harmless(&subcommand, request).unwrap_or_else(|| request.clone())),
    }
}

/// Whether a server takes it as a name.
fn is_clean(text: Option<&[u8]>) -> bool {
    text.is_some_and(|text| text.iter().all(|byte| (b'!'..=b'~').contains(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_database_is_translated_and_no_other() {
        let databases = Databases::one(2, 0);
        for (request, expected) in [
            ("SELECT 2", "SELECT 0"),
            ("select 2", "select 0"),
            ("SELECT x", "SELECT x"),
            ("SELECT 2 2", "SELECT 2 2"),
            ("MOVE 2 2", "MOVE 2 0"),
            ("SWAPDB 2 2", "SWAPDB 0 0"),
            ("COPY 2 2", "COPY 2 2"),
            ("COPY DB DB DB 2", "COPY DB DB DB 0"),
            ("COPY 2 2 REPLACE db 2 DB 2", "COPY 2 2 REPLACE db 0 DB 0"),
            ("COPY 2 2 DB DB 2", "COPY 2 2 DB DB 2"),
            ("SET 2 2", "SET 2 2"),
        ] {
            let request = Request::new(request.split(' '));
            let expected = Request::new(expected.split(' '));
            assert_eq!(translated(&request, &databases), expected);
            assert_eq!(translated(&request, &Databases::All), request);
        }
    }

    #[test]
    fn the_server_is_asked_in_a_form_that_does_nothing() {
        let question = |line: &str| {
            let request = Request::new(line.split(' '));
            let subcommand = request.arg(1).unwrap().to_ascii_uppercase();
            let question = harmless(&subcommand, &request)?;
            let args = question.args().map(String::from_utf8_lossy);
            Some(args.collect::<Vec<_>>().join(" "))
        };
        for (line, expected) in [
            ("CLIENT KILL 1.2.3.4:5", "CLIENT KILL ADDR crossfade:0"),
            ("CLIENT KILL ID 7", "CLIENT KILL ID 7 ADDR crossfade:0"),
            ("CLIENT KILL ADDR a:1 USER b", "CLIENT KILL ADDR a:1 USER b ADDR crossfade:0"),
            ("CLIENT UNBLOCK 17 ERROR", "CLIENT UNBLOCK 0 ERROR"),
            ("CLIENT UNBLOCK x", "CLIENT UNBLOCK x"),
            ("client pause 5000 write", "client pause 0 write"),
            ("CLIENT SETNAME someone", "CLIENT SETNAME crossfade-lane"),
            ("CLIENT NO-EVICT ON", "CLIENT NO-EVICT OFF"),
            ("CLIENT LIST ID 1", "CLIENT LIST ID 1"),
        ] {
            assert_eq!(question(line).as_deref(), Some(expected), "{line}");
        }
        for line in ["CLIENT PAUSE -5", "CLIENT PAUSE x", "CLIENT HELP", "CLIENT KILL"] {
            assert_eq!(question(line), None, "{line} is refused by itself, or harmless");
        }
    }
}
