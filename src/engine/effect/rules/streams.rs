//! Streams: entries get the IDs that they got, approximate trimming becomes exact, groups get the
//! position and the pending entries that reading left them with.

mod groups;
mod pending;

use bytes::Bytes;
use smallvec::SmallVec;

use super::context::{ask_expiry, same, steps, succeeds};
use super::verbatim;
use crate::engine::effect::{Executed, Outcome, Probes, Step};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Reply, Request};

pub(super) use groups::{made_consumer, position, position_probes, read_group, read_probes};
pub(super) use pending::{auto_claim, claim};

/// The value behind `name` in a list of names and values, or in a map.
fn field<'a>(record: &'a Reply, name: &str) -> Option<&'a Reply> {
    let is_name = |reply: &Reply| reply.text().is_some_and(|text| text == name.as_bytes());
    match record {
        Reply::Map(pairs) => pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value),
        record => {
            let mut pairs = record.items()?.chunks_exact(2);
            pairs.find(|pair| pair.first().is_some_and(is_name))?.get(1)
        }
    }
}

/// The ID of an entry, or of what stands for one when only IDs were asked for.
fn id(entry: &Reply) -> Option<Bytes> {
    entry.items().map_or(Some(entry), <[Reply]>::first)?.text().cloned()
}

/// The options of `XADD` and `XTRIM`.
#[derive(Default)]
struct Options {
    /// Where the argument behind the options lies: the ID of an `XADD`.
    end: usize,
    /// The arguments of a trimming with `~`, whose result no one but the primary knows.
    approximate: Option<std::ops::Range<usize>>,
    no_make_stream: Option<usize>,
}

/// The options from argument 2 on.
fn options(request: &Request) -> Options {
    let mut found = Options { end: 2, ..Options::default() };
    while found.end < request.len() {
        if request.is(found.end, "NOMKSTREAM") {
            found.no_make_stream = Some(found.end);
            found.end += 1;
        } else if request.is(found.end, "MAXLEN") || request.is(found.end, "MINID") {
            let start = found.end;
            let approximate = request.is(start + 1, "~");
            found.end += if approximate || request.is(start + 1, "=") { 3 } else { 2 };
            if request.is(found.end, "LIMIT") {
                found.end += 2;
            }
            if approximate {
                found.approximate = Some(start..found.end);
            }
        } else {
            break;
        }
    }
    found
}

/// What asks for the first entry that trimming has left.
fn first_entry(request: &Request) -> Option<Request> {
    Some(Request::new([b"XRANGE", request.arg(1)?, b"-", b"+", b"COUNT", b"1"]))
}

pub(super) fn add_probes(request: &Request, primary: &Capabilities) -> Probes {
    let mut probes = ask_expiry(request, 1, primary);
    if options(request).approximate.is_some() {
        probes.extend(first_entry(request));
    }
    probes
}

/// `XADD` with the ID that it got. An approximate trimming follows as an exact one, up to the
/// first entry that is left. Options that are not known are in the place of the ID, and what then
/// comes out differs from the primary's reply.
pub(super) fn add(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let options = options(executed.request);
    if !executed.secondary_knows_it() {
        return None;
    }
    let given = executed.arg(options.end)?;
    if !given.contains(&b'*') && !given.first()?.is_ascii_digit() {
        return None;
    }
    let mut adding: SmallVec<[Step; 2]> = SmallVec::new();
    adding.push(same(explicit(executed, &options)?, executed.reply));
    if options.approximate.is_some() {
        if !executed.secondary.since_redis(6, 2) {
            return None;
        }
        let first = first_left(executed.later_probes())?;
        adding.push(succeeds(trim_before(executed.arg(1)?, &first)));
    }
    executed.checked(executed.arg(1)?, adding)
}

/// The request with its ID written out, and without what is not to be repeated.
fn explicit(executed: &Executed<'_>, options: &Options) -> Option<Request> {
    let id = executed.reply.text()?;
    let dropped = |index: &usize| {
        Some(*index) == options.no_make_stream
            || options.approximate.as_ref().is_some_and(|range| range.contains(index))
    };
    let args = executed.request.args().enumerate().filter(|(index, _)| !dropped(index));
    Some(Request::new(args.map(|(index, arg)| if index == options.end { id } else { arg })))
}

fn first_left(probes: &[Reply]) -> Option<bytes::Bytes> {
    id(probes.first()?.items()?.first()?)
}

fn trim_before(key: &[u8], first: &[u8]) -> Request {
    Request::new([b"XTRIM", key, b"MINID", first])
}

pub(super) fn trim_probes(request: &Request) -> Probes {
    if options(request).approximate.is_some() {
        first_entry(request).into_iter().collect()
    } else {
        Probes::new()
    }
}

pub(super) fn trim(executed: &Executed<'_>) -> Option<Outcome> {
    if options(executed.request).approximate.is_none() {
        return verbatim::counted(executed);
    }
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let understood = options(executed.request).end == executed.request.len();
    if !understood || !executed.secondary.since_redis(6, 2) {
        return None;
    }
    let first = first_left(executed.probes)?;
    Some(steps([same(trim_before(executed.arg(1)?, &first), executed.reply)]))
}
