//! Streams: entries get the IDs that they got, approximate trimming becomes exact, groups get the
//! position and the pending entries that reading left them with.

mod entries;
mod groups;
mod pending;

pub(super) use entries::{add, add_probes, trim, trim_probes};
pub(super) use groups::{made_consumer, position, position_probes, read_group, read_probes};
pub(super) use pending::{auto_claim, claim};

use bytes::Bytes;

use crate::protocol::resp::Reply;

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
