//! What a server is asked in the place of a `CLIENT` command.
//!
//! Whether a user may, and whether the arguments are right, is the server's to say, in the words of
//! its version: it is asked the same in a form that can do no harm there.

use crate::protocol::resp::{Request, parse_integer};

/// An address that no client has.
const NOBODY: &[u8] = b"crossfade:0";

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
