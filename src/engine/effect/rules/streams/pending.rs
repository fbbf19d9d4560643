//! Claiming pending entries.

use bytes::Bytes;

use super::groups::create_consumer;
use super::id;
use crate::engine::effect::rules::context::{answers, same, steps, with_items};
use crate::engine::effect::{Executed, Outcome, Step};
use crate::protocol::resp::{Builder, Reply, Request, parse_integer};

/// `XCLAIM key group consumer min-idle id… [option…]`. Only when everything asked for was claimed:
/// an entry that was not may have been too young, or deleted and for that dropped.
pub(in crate::engine::effect::rules) fn claim(executed: &Executed<'_>) -> Option<Outcome> {
    let options = (5..executed.request.len()).find(|index| !is_id(executed.request, *index));
    let options = options.unwrap_or(executed.request.len());
    let claimed = executed.reply.items()?;
    if claimed.len() != options.checked_sub(5)? || claimed.contains(&Reply::Null) {
        return None;
    }
    let ids: Vec<_> = claimed.iter().map(id).collect::<Option<_>>()?;
    let mut claim = start(executed, &ids)?;
    let mut time = now(executed)?;
    let mut index = options;
    while let Some(option) = executed.arg(index) {
        match option.to_ascii_uppercase().as_slice() {
            b"IDLE" => time = now(executed)?.checked_sub(number(executed, index + 1)?)?,
            b"TIME" => time = number(executed, index + 1)?.checked_add(executed.clock_offset)?,
            b"RETRYCOUNT" | b"LASTID" => {
                claim.push(option).push(executed.arg(index + 1)?);
            }
            b"FORCE" | b"JUSTID" => {
                claim.push(option);
                index += 1;
                continue;
            }
            _ => return None,
        }
        index += 2;
    }
    claim.push(b"TIME").push_integer(time);
    Some(steps([same(claim.finish(), executed.reply)]))
}

/// `XAUTOCLAIM key group consumer min-idle start [COUNT n] [JUSTID]`: a cursor, what was claimed,
/// and since Redis 7.0 what was found deleted, and is therefore not pending any more.
pub(in crate::engine::effect::rules) fn auto_claim(executed: &Executed<'_>) -> Option<Outcome> {
    let [_cursor, claimed, rest @ ..] = executed.reply.items()? else { return None };
    let claimed = claimed.items()?;
    let deleted = rest.first().map_or(Some([].as_slice()), Reply::items)?;
    if claimed.contains(&Reply::Null) {
        return None;
    }
    let mut effects: Vec<Step> = Vec::with_capacity(2);
    if claimed.is_empty() {
        // Claiming nothing creates the consumer all the same, since Redis 7.2.
        let (key, group, consumer) = (executed.arg(1)?, executed.arg(2)?, executed.arg(3)?);
        let creates = executed.primary.since_redis(7, 2);
        effects.extend(creates.then(|| create_consumer(executed, key, group, consumer)));
    } else {
        let ids: Vec<_> = claimed.iter().map(id).collect::<Option<_>>()?;
        let mut claim = start(executed, &ids)?;
        claim.push(b"TIME").push_integer(now(executed)?);
        if (6..executed.request.len()).any(|index| executed.request.is(index, "JUSTID")) {
            claim.push(b"JUSTID");
        }
        effects.push(same(claim.finish(), &Reply::Array(claimed.to_vec())));
    }
    if !deleted.is_empty() {
        effects.push(acknowledge(executed, deleted)?);
    }
    Some(if effects.is_empty() { Outcome::Nothing } else { steps(effects) })
}

fn acknowledge(executed: &Executed<'_>, deleted: &[Reply]) -> Option<Step> {
    let ids: Vec<_> = deleted.iter().map(id).collect::<Option<_>>()?;
    let ids: Vec<Bytes> = std::iter::once(executed.request.arg_bytes(2)?).chain(ids).collect();
    Some(answers(with_items([b"XACK", executed.arg(1)?], &ids), deleted.len()))
}

/// `XCLAIM key group consumer 0 id…`
fn start(executed: &Executed<'_>, ids: &[Bytes]) -> Option<Builder> {
    let mut claim = Builder::default();
    claim.push(b"XCLAIM");
    for index in 1..=3 {
        claim.push(executed.arg(index)?);
    }
    claim.push(b"0");
    for id in ids {
        claim.push(id);
    }
    Some(claim)
}

/// The time of a command that asked for it, on the secondary's clock.
pub(super) fn now(executed: &Executed<'_>) -> Option<i64> {
    executed.probes.first()?.unix_milliseconds()?.checked_add(executed.clock_offset)
}

fn number(executed: &Executed<'_>, index: usize) -> Option<i64> {
    parse_integer(executed.arg(index)?)
}

fn is_id(request: &Request, index: usize) -> bool {
    request.arg(index).and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}
