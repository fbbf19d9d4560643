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
