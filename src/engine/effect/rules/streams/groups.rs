//! Groups: their positions, and reading through them.
//!
//! A group's position is not in the reply, so it is asked for: what `XINFO GROUPS` says right
//! behind the command is what the secondary is told. Entries delivered are claimed for the same
//! consumer, as Redis itself propagates a reading.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{field, id};
use crate::engine::effect::rules::context::{ask_expiry, same, steps, succeeds};
use crate::engine::effect::{Effect, Executed, Outcome, Probes, Step};
use crate::protocol::capability::Capabilities;
use crate::protocol::command::Command;
use crate::protocol::resp::{Builder, Reply, Request};

fn ask_groups(key: &[u8]) -> Request {
    Request::new([b"XINFO".as_ref(), b"GROUPS", key])
}

/// The group of this name in the reply to `XINFO GROUPS`.
fn group<'a>(groups: &'a Reply, name: &[u8]) -> Option<&'a Reply> {
    groups
        .items()?
        .iter()
        .find(|group| field(group, "name").and_then(Reply::text).is_some_and(|found| found == name))
}

/// Appends the position that `group` has: its last ID and, where both servers count them, how many
/// entries it has read.
fn push_position(
    builder: &mut Builder,
    group: &Reply,
    options: &[&[u8]],
    counts: bool,
) -> Option<()> {
    builder.push(field(group, "last-delivered-id")?.text()?);
    for option in options {
        builder.push(option);
    }
    let read = field(group, "entries-read").and_then(Reply::integer);
    if let Some(read) = read.filter(|_| counts) {
        builder.push(b"ENTRIESREAD").push_integer(read);
    }
    Some(())
}

pub(in crate::engine::effect::rules) fn position_probes(
    request: &Request,
    primary: &Capabilities,
) -> Probes {
    let mut probes = ask_expiry(request, 2, primary);
    probes.extend(request.arg(2).map(ask_groups));
    probes
}

/// `XGROUP CREATE` and `XGROUP SETID`, whose `$` means the last entry of the primary.
pub(in crate::engine::effect::rules) fn position(executed: &Executed<'_>) -> Option<Outcome> {
    let (key, name) = (executed.arg(2)?, executed.arg(3)?);
    let counted =
        (5..executed.request.len()).any(|index| executed.request.is(index, "ENTRIESREAD"));
    if counted && executed.primary != executed.secondary {
        // Versions differ in which counts they believe.
        return None;
    }
    let group = group(executed.later_probes().first()?, name)?;
    let makes = (5..executed.request.len()).any(|index| executed.request.is(index, "MKSTREAM"));
    let options: &[&[u8]] = if makes { &[b"MKSTREAM"] } else { &[] };
    let mut builder = Builder::default();
    builder.push(b"XGROUP").push(executed.arg(1)?).push(key).push(name);
    push_position(&mut builder, group, options, executed.secondary.since_redis(7, 0))?;
    executed.checked(key, [same(builder.finish(), executed.reply)])
}

/// `XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS key… id…`. With `CLAIM` new
/// entries and old ones come mixed, which the reply does not tell apart.
struct Reading<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    no_ack: bool,
    /// Each stream's key and the ID to read from.
    streams: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Reading<'a> {
    fn of(command: &Command, request: &'a Request) -> Option<Self> {
        let keys = command.keys(request).ok()?;
        let first = keys.first()?.index;
        let named = (1..first).find(|index| request.is(*index, "GROUP"))?;
        if (named + 3..first).any(|index| request.is(index, "CLAIM")) {
            return None;
        }
        let stream = |key: &crate::protocol::command::Key| {
            Some((request.arg(key.index)?, request.arg(key.index + keys.len())?))
        };
        Some(Self {
            group: request.arg(named + 1)?,
            consumer: request.arg(named + 2)?,
            no_ack: (named + 3..first).any(|index| request.is(index, "NOACK")),
            streams: keys.iter().map(stream).collect::<Option<_>>()?,
        })
    }
}

/// Makes a consumer, if there is none of the name. Who knows no command for it makes one of whoever
/// reads what is pending for him, here behind an ID that no entry has.
pub(super) fn create_consumer(
    executed: &Executed<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
) -> Step {
    const LAST: &[u8] = b"18446744073709551615-0";
    succeeds(if executed.secondary.since_redis(6, 2) {
        Request::new([b"XGROUP".as_ref(), b"CREATECONSUMER", key, group, consumer])
    } else {
        Request::new([b"XREADGROUP".as_ref(), b"GROUP", group, consumer, b"STREAMS", key, LAST])
    })
}

/// `XGROUP CREATECONSUMER`.
pub(in crate::engine::effect::rules) fn made_consumer(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let (key, group, consumer) = (executed.arg(2)?, executed.arg(3)?, executed.arg(4)?);
    Some(steps([create_consumer(executed, key, group, consumer)]))
}

/// The time, and the groups of each stream.
pub(in crate::engine::effect::rules) fn read_probes(
    command: &Command,
    request: &Request,
) -> Probes {
    let mut probes = Probes::from_iter([Request::new(["TIME"])]);
    if let Some(reading) = Reading::of(command, request) {
        probes.extend(reading.streams.iter().map(|(key, _)| ask_groups(key)));
    }
    probes
}

pub(in crate::engine::effect::rules) fn read_group(executed: &Executed<'_>) -> Option<Outcome> {
    let reading = Reading::of(executed.command, executed.request)?;
    let time = super::pending::now(executed)?;
    let mut read = delivered(executed.reply).into_iter().peekable();
    let mut effect = Effect::default();
    for (index, (key, from)) in reading.streams.iter().enumerate() {
        let stream = Stream { executed, reading: &reading, key, time };
        let entries = read.next_if(|(found, _)| found == key).map(|(_, entries)| entries);
        match entries {
            None => effect.steps.extend(stream.waited()),
            Some([]) => effect.steps.push(stream.consumer()),
            Some(entries) if *from == b">" => {
                let groups = executed.probes.get(index + 1)?;
                effect.steps.extend(stream.new_entries(entries, group(groups, reading.group)?)?);
            }
            Some(entries) => effect.steps.extend(stream.history(entries)?),
        }
    }
    Some(if effect.steps.is_empty() { Outcome::Nothing } else { Outcome::Apply(effect) })
}

/// What was read, in the order of the request's streams; those without anything are left out. The
/// reply is a list of keys and entries, or a map of them. One key may be named twice.
fn delivered(reply: &Reply) -> Vec<(&[u8], &[Reply])> {
    if let Reply::Map(pairs) = reply {
        return pairs.iter().filter_map(|(key, entries)| named(key, entries)).collect();
    }
    let streams = reply.items().unwrap_or_default().iter().filter_map(Reply::items);
    streams.filter_map(|stream| named(stream.first()?, stream.get(1)?)).collect()
}

fn named<'a>(key: &'a Reply, entries: &'a Reply) -> Option<(&'a [u8], &'a [Reply])> {
    Some((key.text()?, entries.items()?))
}

/// What a reading did to one stream.
struct Stream<'a> {
    executed: &'a Executed<'a>,
    reading: &'a Reading<'a>,
    key: &'a [u8],
    time: i64,
}

impl Stream<'_> {
    /// Finding nothing new creates the consumer all the same, since Redis 7.2.
    fn waited(&self) -> Option<Step> {
        self.executed.primary.since_redis(7, 2).then(|| self.consumer())
    }

    /// A reader becomes a consumer.
    fn consumer(&self) -> Step {
        let Reading { group, consumer, .. } = self.reading;
        create_consumer(self.executed, self.key, group, consumer)
    }

    /// New entries are pending for the consumer, delivered once, unless nobody has to acknowledge
    /// them.
    fn new_entries(&self, entries: &[Reply], group: &Reply) -> Option<Vec<Step>> {
        let mut steps = Vec::with_capacity(2);
        if self.reading.no_ack {
            steps.push(self.consumer());
        } else {
            let ids: Vec<_> = entries.iter().map(id).collect::<Option<_>>()?;
            let mut claim = self.claim(&ids);
            claim.push(b"RETRYCOUNT").push(b"1").push(b"FORCE").push(b"JUSTID");
            let expected = ids.into_iter().map(Reply::Bulk).collect();
            steps.push(same(claim.finish(), &Reply::Array(expected)));
        }
        let mut position = Builder::default();
        position.push(b"XGROUP").push(b"SETID").push(self.key).push(self.reading.group);
        push_position(&mut position, group, &[], self.executed.secondary.since_redis(7, 0))?;
        steps.push(succeeds(position.finish()));
        Some(steps)
    }

    /// Entries already pending count one more delivery. Those deleted since are null, and stay.
    fn history(&self, entries: &[Reply]) -> Option<SmallVec<[Step; 1]>> {
        let there: Vec<_> = entries.iter().filter(|entry| has_fields(entry)).cloned().collect();
        let mut steps = SmallVec::new();
        if !there.is_empty() {
            let ids: Vec<_> = there.iter().map(id).collect::<Option<_>>()?;
            steps.push(same(self.claim(&ids).finish(), &Reply::Array(there)));
        }
        Some(steps)
    }

    /// `XCLAIM key group consumer 0 id… TIME time`.
    fn claim(&self, ids: &[Bytes]) -> Builder {
        let mut claim = Builder::default();
        claim.push(b"XCLAIM").push(self.key).push(self.reading.group);
        claim.push(self.reading.consumer).push(b"0");
        for id in ids {
            claim.push(id);
        }
        claim.push(b"TIME").push_integer(self.time);
        claim
    }
}

fn has_fields(entry: &Reply) -> bool {
    entry.items().and_then(|entry| entry.get(1)).is_some_and(|fields| *fields != Reply::Null)
}
