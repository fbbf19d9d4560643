//! Parity: whether the secondary's answers to an effect are the primary's.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::effect::Expect;
use crate::engine::{Cause, Entry};
use crate::protocol::resp::Reply;

/// How many replies belong to an entry.
pub(super) fn replies(entry: &Entry) -> usize {
    // A transaction is MULTI, QUEUED for each command, EXEC.
    entry.expect.len() + if entry.atomic { 2 } else { 0 }
}

/// What the replies prove; `None` when all is as expected.
pub(super) fn verdict(entry: &Entry, replies: &[Bytes]) -> Option<Cause> {
    let parsed: SmallVec<[Reply; 2]> = match replies.last() {
        Some(exec) if entry.atomic => match Reply::parse(exec) {
            Ok(Reply::Array(items)) => items.into(),
            _ => return Some(Cause::Refused),
        },
        _ => replies.iter().map(|raw| Reply::parse(raw).unwrap_or(Reply::Null)).collect(),
    };
    if parsed.len() != entry.expect.len() {
        return Some(Cause::Refused);
    }
    let mut now = 0;
    let mut failed = parsed.iter().zip(&entry.expect).filter(|(reply, expect)| {
        if **expect == Expect::Time {
            now = reply.unix_milliseconds().unwrap_or(0);
        }
        !expect.accepts(reply, now)
    });
    let (reply, _) = failed.next()?;
    Some(if is_refusal(reply) { Cause::Refused } else { Cause::Mismatch })
}

/// An error that is about the server (full, read-only, forbidden), not about the key's value.
fn is_refusal(reply: &Reply) -> bool {
    match reply {
        Reply::Error(text) => {
            !text.starts_with(b"WRONGTYPE") && !text.starts_with(b"ERR no such key")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::example::{in_step, write};

    /// What a write that the primary has answered so becomes.
    fn entry(line: &str, reply: &'static str) -> Entry {
        let mut engine = in_step();
        write(&mut engine, line, reply, &[":-1\r\n"]);
        let mut entries = engine.take_effects(usize::MAX);
        assert_eq!(entries.len(), 1, "{line}");
        entries.remove(0)
    }

    fn judged(entry: &Entry, replies: &[&'static str]) -> Option<Cause> {
        let bytes = |text: &&'static str| Bytes::from_static(text.as_bytes());
        verdict(entry, &replies.iter().map(bytes).collect::<Vec<_>>())
    }

    #[test]
    fn an_answer_that_the_primary_gave_too_proves_nothing_wrong() {
        for (line, reply) in [("DEL k", ":1\r\n"), ("SET k v", "+OK\r\n")] {
            assert_eq!(judged(&entry(line, reply), &[reply]), None, "{line}");
        }
    }

    #[test]
    fn the_end_of_a_key_that_is_given_more_is_compared_too() {
        let entry = entry("SADD s a b", ":2\r\n");
        assert_eq!(judged(&entry, &[":2\r\n", ":-1\r\n"]), None);
        assert_eq!(judged(&entry, &[":2\r\n", ":5\r\n"]), Some(Cause::Mismatch));
    }

    #[test]
    fn another_answer_is_about_the_key_and_an_error_is_about_the_server() {
        let entry = entry("SADD s a b", ":2\r\n");
        for (reply, cause) in [
            (":1\r\n", Cause::Mismatch),
            ("$-1\r\n", Cause::Mismatch),
            ("-WRONGTYPE not a set\r\n", Cause::Mismatch),
            ("-ERR no such key\r\n", Cause::Mismatch),
            ("-OOM command not allowed\r\n", Cause::Refused),
            ("-READONLY You can't write\r\n", Cause::Refused),
            ("-NOPERM no\r\n", Cause::Refused),
        ] {
            assert_eq!(judged(&entry, &[reply, ":-1\r\n"]), Some(cause), "{reply}");
        }
        assert_eq!(judged(&entry, &[]), Some(Cause::Refused), "an answer is missing");
    }

    #[test]
    fn a_transaction_is_judged_by_what_exec_answers() {
        let mut entry = entry("SADD s a b", ":2\r\n");
        entry.atomic = true;
        assert_eq!(replies(&entry), 4);
        let exec = |answer| judged(&entry, &["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", answer]);
        assert_eq!(exec("*2\r\n:2\r\n:-1\r\n"), None);
        assert_eq!(exec("*2\r\n:1\r\n:-1\r\n"), Some(Cause::Mismatch));
        assert_eq!(exec("*0\r\n"), Some(Cause::Refused));
        assert_eq!(exec("-EXECABORT Transaction discarded\r\n"), Some(Cause::Refused));
    }
}
