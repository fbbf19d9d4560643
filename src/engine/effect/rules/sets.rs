//! Sets and sorted sets: what was popped is removed by name, and a score is set rather than added to.

use bytes::Bytes;

use super::context::{answers, steps, succeeds, texts, with_items};
use super::verbatim;
use crate::engine::effect::{Executed, Outcome};
use crate::protocol::resp::{Reply, Request};

/// The members that `SPOP` took, one or a list of them.
pub(super) fn spop(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let one = std::slice::from_ref(executed.reply);
    let members = texts(executed.reply.items().unwrap_or(one))?;
    Some(steps([answers(with_items([b"SREM", executed.arg(1)?], &members), members.len())]))
}

/// `ZPOPMIN`, `ZPOPMAX`: members and scores, flat in RESP2, in pairs in RESP3.
pub(super) fn zpop(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    remove(executed.arg(1)?, executed.reply.items()?)
}

/// `ZMPOP`, `BZMPOP`: the key, then pairs of member and score.
pub(super) fn zpop_elsewhere(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let [key, pairs] = executed.reply.items()? else { return None };
    remove(key.text()?, pairs.items()?)
}

/// `BZPOPMIN`, `BZPOPMAX`: the key, the member, the score.
pub(super) fn blocking_zpop(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let [key, scored @ ..] = executed.reply.items()? else { return None };
    remove(key.text()?, scored)
}

fn remove(key: &[u8], scored: &[Reply]) -> Option<Outcome> {
    let members = members(scored)?;
    Some(steps([answers(with_items([b"ZREM", key], &members), members.len())]))
}

fn members(scored: &[Reply]) -> Option<Vec<Bytes>> {
    let pairs = scored.iter().all(|item| item.items().is_some());
    if pairs {
        scored.iter().map(|pair| pair.items()?.first()?.text().cloned()).collect()
    } else {
        scored.iter().step_by(2).map(|member| member.text().cloned()).collect()
    }
}

pub(super) fn zincr_by(executed: &Executed<'_>) -> Option<Outcome> {
    set_score(executed, executed.arg(3)?)
}

/// `ZADD`; with `INCR` it is a `ZINCRBY` with conditions, and a null says that they were not met.
pub(super) fn zadd(executed: &Executed<'_>) -> Option<Outcome> {
    match executed.reply {
        Reply::Integer(_) => verbatim::creates(executed),
        Reply::Null => Some(Outcome::Nothing),
        _ => set_score(executed, executed.arg(executed.request.len().checked_sub(1)?)?),
    }
}

/// The score itself rather than the sum that made it: servers write it down differently, so that
/// replies can't be compared, but each reads back exactly what the other wrote.
fn set_score(executed: &Executed<'_>, member: &[u8]) -> Option<Outcome> {
    let (key, score) = (executed.arg(1)?, executed.reply.text()?);
    executed.checked(key, [succeeds(Request::new([b"ZADD", key, score, member]))])
}
