//! The commands that build a value under a temporary key and put it into its place. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::scratch::building_key;
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Builder, Request};
use crate::value::diff::{Entry, Field, Group, Kind, Part, Pending, StreamId, StreamState};

/// How long half a value may lie about when nobody goes on with it, in milliseconds.
const ABANDONED_AFTER: i64 = 10 * 60 * 1000;
/// A group that makes an empty stream exist.
const STARTER: &[u8] = b"crossfade";

/// Why a value can't be written by commands.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CannotWrite {
    /// Without their end the fields would stay for ever.
    #[error("the server can't expire hash fields")]
    FieldExpiry,
}

/// One value on its way into a server.
#[derive(Debug)]
pub(crate) struct Writing {
    key: Bytes,
    temporary: Bytes,
    server: Capabilities,
    clock_offset: i64,
    begun: bool,
    /// The first entry of a stream that stays.
    first: Option<StreamId>,
    /// Entries that exist only to be handed out, and go at the end.
    gone: Vec<StreamId>,
}

impl Writing {
    /// A value for `key`; `clock_offset` is added to every time that was read from the other
    /// server, in milliseconds.
    pub(crate) fn new(key: Bytes, server: Capabilities, clock_offset: i64) -> Self {
        let temporary = building_key();
        let (begun, first, gone) = (false, None, Vec::new());
        Self { key, temporary, server, clock_offset, begun, first, gone }
    }

    /// The commands for the next part. All must succeed.
    ///
    /// # Errors
    /// The server has no commands for what the part holds.
    pub(crate) fn part(&mut self, part: &Part) -> Result<Vec<Request>, CannotWrite> {
        let mut requests = match part {
            Part::Text(text) => vec![self.text(text)],
            Part::Elements(elements) => vec![self.all("RPUSH", elements)],
            Part::Members(members) => vec![self.all("SADD", members)],
            Part::Scored(scored) => vec![self.scored(scored)],
            Part::Fields(fields) => self.fields(fields)?,
            Part::Entries(entries) => self.entries(entries),
            Part::Group(group) => self.group(group),
            Part::Pending { group, entries } => self.pending(group, entries),
            Part::Stream(state) => self.state(*state),
        };
        // A scan may give an empty page.
        requests.retain(|request| request.len() > 2);
        if !requests.is_empty() {
            self.begun = true;
            requests.push(self.builder("PEXPIRE").push_integer(ABANDONED_AFTER).finish());
        }
        Ok(requests)
    }

    /// The command that writes bytes of a string again.
    pub(super) fn overwrite(&self, place: usize, bytes: &[u8]) -> Request {
        self.builder("SETRANGE").push_count(place).push(bytes).finish()
    }

    /// A command of this name for what has been written so far.
    pub(super) fn edit(&self, command: &str, arguments: &[Bytes]) -> Request {
        self.all(command, arguments)
    }

    /// The command that takes elements out again; none for no elements.
    pub(super) fn without(&self, kind: Kind, names: &[Bytes]) -> Option<Request> {
        let command = match kind {
            Kind::Set => "SREM",
            Kind::Zset => "ZREM",
            _ => "HDEL",
        };
        (!names.is_empty()).then(|| self.all(command, names))
    }

    /// The commands that put the value into its place, to end when the other server's key does. The
    /// last of them fails when the value has ended meanwhile.
    pub(crate) fn finish(&self, expires_at: Option<i64>) -> Vec<Request> {
        let end = match expires_at {
            Some(at) => self.builder("PEXPIREAT").push_integer(self.shift(at)).finish(),
            None => self.builder("PERSIST").finish(),
        };
        vec![end, self.builder("RENAME").push(&self.key).finish()]
    }

    /// The command that removes what was written so far.
    pub(crate) fn abandon(&self) -> Request {
        // Where the server can, without anybody waiting for it.
        self.builder(if self.server.since_redis(4, 0) { "UNLINK" } else { "DEL" }).finish()
    }

    fn builder(&self, command: &str) -> Builder {
        let mut request = Builder::default();
        request.push(command.as_bytes()).push(&self.temporary);
        request
    }

    fn shift(&self, time: i64) -> i64 {
        time.saturating_add(self.clock_offset)
    }

    fn text(&self, text: &[u8]) -> Request {
        self.builder(if self.begun { "APPEND" } else { "SET" }).push(text).finish()
    }

    fn all(&self, command: &str, items: &[Bytes]) -> Request {
        let mut request = self.builder(command);
        for item in items {
            request.push(item);
        }
        request.finish()
    }

    fn scored(&self, scored: &[(Bytes, f64)]) -> Request {
        let mut request = self.builder("ZADD");
        for (member, score) in scored {
            // The shortest digits that give the same bits again.
            request.push(format!("{score:e}").as_bytes()).push(member);
        }
        request.finish()
    }

    fn fields(&self, fields: &[Field]) -> Result<Vec<Request>, CannotWrite> {
        let mut all = self.builder("HSET");
        let mut ends: BTreeMap<i64, Vec<&Bytes>> = BTreeMap::new();
        for field in fields {
            all.push(&field.name).push(&field.value);
            if let Some(at) = field.expires_at {
                ends.entry(self.shift(at)).or_default().push(&field.name);
            }
        }
        if !ends.is_empty() && !self.server.expires_hash_fields() {
            return Err(CannotWrite::FieldExpiry);
        }
        let end = |(at, names): (i64, Vec<&Bytes>)| {
            let mut request = self.builder("HPEXPIREAT");
            request.push_integer(at).push(b"FIELDS").push_count(names.len());
            for name in names {
                request.push(name);
            }
            request.finish()
        };
        Ok(std::iter::once(all.finish()).chain(ends.into_iter().map(end)).collect())
    }

    fn entries(&mut self, entries: &[Entry]) -> Vec<Request> {
        let add = |entry: &Entry| {
            let mut request = self.builder("XADD");
            request.push(entry.id.to_string().as_bytes());
            for field in &entry.fields {
                request.push(field);
            }
            if entry.fields.is_empty() {
                request.push(b"").push(b"");
            }
            request.finish()
        };
        let requests = entries.iter().map(add).collect();
        for entry in entries {
            if entry.fields.is_empty() {
                self.gone.push(entry.id);
            } else {
                self.first = self.first.or(Some(entry.id));
            }
        }
        requests
    }

    fn group(&self, group: &Group) -> Vec<Request> {
        let mut create = self.xgroup("CREATE", &group.name);
        create.push(group.last_delivered.to_string().as_bytes()).push(b"MKSTREAM");
        if let Some(read) = group.entries_read.filter(|_| self.server.since_redis(7, 0)) {
            create.push(b"ENTRIESREAD").push_integer(read);
        }
        let consumers = group.consumers.iter().map(|consumer| self.consumer(group, consumer));
        std::iter::once(create.finish()).chain(consumers).collect()
    }

    fn consumer(&self, group: &Group, consumer: &[u8]) -> Request {
        if self.server.since_redis(6, 2) {
            return self.xgroup("CREATECONSUMER", &group.name).push(consumer).finish();
        }
        // A consumer that reads its own past there comes to be, and gets nothing.
        let read = [b"XREADGROUP".as_ref(), b"GROUP", &group.name, consumer];
        Request::new(read.into_iter().chain([b"STREAMS".as_ref(), &self.temporary, b"0"]))
    }

    fn xgroup(&self, subcommand: &str, group: &[u8]) -> Builder {
        let mut request = Builder::default();
        request.push(b"XGROUP").push(subcommand.as_bytes()).push(&self.temporary).push(group);
        request
    }

    fn pending(&self, group: &[u8], entries: &[Pending]) -> Vec<Request> {
        let claim = |entry: &Pending| {
            let mut request = self.builder("XCLAIM");
            request.push(group).push(&entry.consumer).push_integer(0);
            request.push(entry.id.to_string().as_bytes());
            request.push(b"TIME").push_integer(self.shift(entry.delivered_at));
            request.push(b"RETRYCOUNT").push_integer(entry.deliveries);
            request.push(b"FORCE").push(b"JUSTID").finish()
        };
        entries.iter().map(claim).collect()
    }

    fn state(&mut self, state: StreamState) -> Vec<Request> {
        let mut requests = Vec::new();
        if !self.begun {
            let mut create = self.xgroup("CREATE", STARTER);
            requests.push(create.push(b"0").push(b"MKSTREAM").finish());
            requests.push(self.xgroup("DESTROY", STARTER).finish());
        }
        requests.extend(self.remove_gone());
        requests.push(self.set_id(state));
        requests
    }

    /// What stands before the first entry was trimmed, and is trimmed here: deleting it would raise
    /// the highest deleted ID, which can't be lowered to none again.
    fn remove_gone(&mut self) -> Vec<Request> {
        let mut gone = std::mem::take(&mut self.gone);
        let mut requests = Vec::new();
        let leads = |id: &StreamId| self.first.is_none_or(|first| *id < first);
        if self.server.since_redis(6, 2) && gone.first().is_some_and(leads) {
            gone.retain(|id| !leads(id));
            let mut trim = self.builder("XTRIM");
            match self.first {
                Some(first) => trim.push(b"MINID").push(first.to_string().as_bytes()),
                None => trim.push(b"MAXLEN").push(b"0"),
            };
            requests.push(trim.finish());
        }
        for ids in gone.chunks(4096) {
            let mut delete = self.builder("XDEL");
            for id in ids {
                delete.push(id.to_string().as_bytes());
            }
            requests.push(delete.finish());
        }
        requests
    }

    fn set_id(&self, state: StreamState) -> Request {
        let mut request = self.builder("XSETID");
        request.push(state.last.to_string().as_bytes());
        if let (Some(added), true) = (state.entries_added, self.server.since_redis(7, 0)) {
            request.push(b"ENTRIESADDED").push_integer(added);
            let deleted = state.max_deleted.unwrap_or_default();
            request.push(b"MAXDELETEDID").push(deleted.to_string().as_bytes());
        }
        request.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::capability::Family;

    fn server(major: u32, minor: u32) -> Capabilities {
        Capabilities { family: Family::Redis, version: (major, minor, 0) }
    }

    fn writing(major: u32, minor: u32) -> Writing {
        let mut writing = Writing::new(Bytes::from_static(b"k"), server(major, minor), 100);
        writing.temporary = Bytes::from_static(b"t");
        writing
    }

    fn lines(requests: &[Request]) -> Vec<String> {
        let line = |request: &Request| {
            let args: Vec<_> = request.args().map(String::from_utf8_lossy).collect();
            args.join(" ")
        };
        requests.iter().map(line).collect()
    }

    fn id(text: &str) -> StreamId {
        text.parse().unwrap()
    }

    #[test]
    fn a_value_is_built_aside_and_renamed_into_place() {
        let mut writing = writing(7, 0);
        let part = Part::Text(Bytes::from_static(b"ab"));
        assert_eq!(lines(&writing.part(&part).unwrap()), ["SET t ab", "PEXPIRE t 600000"]);
        assert_eq!(lines(&writing.part(&part).unwrap()), ["APPEND t ab", "PEXPIRE t 600000"]);
        assert_eq!(lines(&writing.finish(None)), ["PERSIST t", "RENAME t k"]);
        assert_eq!(lines(&writing.finish(Some(5))), ["PEXPIREAT t 105", "RENAME t k"]);
    }

    #[test]
    fn an_empty_page_of_a_scan_writes_nothing() {
        assert!(writing(7, 0).part(&Part::Members(vec![])).unwrap().is_empty());
    }

    #[test]
    fn scores_are_written_to_the_last_bit() {
        let scores = [0.1, -0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, f64::MAX];
        let scored: Vec<_> = scores.map(|score| (Bytes::from_static(b"m"), score)).to_vec();
        let requests = writing(7, 0).part(&Part::Scored(scored)).unwrap();
        for (index, score) in scores.iter().enumerate() {
            let text =
                String::from_utf8_lossy(requests[0].arg(2 + 2 * index).unwrap()).into_owned();
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), score.to_bits());
        }
    }

    #[test]
    fn fields_that_end_together_end_by_one_command() {
        let field = |name, expires_at| Field { name, value: Bytes::from_static(b"v"), expires_at };
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let part = Part::Fields(vec![field(a, Some(7)), field(b, Some(7))]);
        assert_eq!(
            lines(&writing(7, 4).part(&part).unwrap()),
            ["HSET t a v b v", "HPEXPIREAT t 107 FIELDS 2 a b", "PEXPIRE t 600000"]
        );
        assert_eq!(writing(7, 2).part(&part), Err(CannotWrite::FieldExpiry));
    }

    #[test]
    fn an_entry_that_is_gone_is_added_handed_out_and_removed() {
        let mut writing = writing(7, 0);
        let entry = |id_text, fields| Entry { id: id(id_text), fields };
        let there = vec![Bytes::from_static(b"f"), Bytes::from_static(b"v")];
        let entries = vec![entry("1-1", vec![]), entry("2-0", there), entry("2-1", vec![])];
        assert_eq!(
            lines(&writing.part(&Part::Entries(entries)).unwrap())[..3],
            ["XADD t 1-1  ", "XADD t 2-0 f v", "XADD t 2-1  "]
        );
        let (group, consumer) = (Bytes::from_static(b"g"), Bytes::from_static(b"c"));
        let pending = Pending { id: id("1-1"), consumer, delivered_at: 9, deliveries: 2 };
        assert_eq!(
            lines(&writing.part(&Part::Pending { group, entries: vec![pending] }).unwrap())[0],
            "XCLAIM t g c 0 1-1 TIME 109 RETRYCOUNT 2 FORCE JUSTID"
        );
        let state =
            StreamState { last: id("3-0"), entries_added: Some(4), max_deleted: Some(id("2-1")) };
        assert_eq!(
            lines(&writing.part(&Part::Stream(state)).unwrap())[..3],
            ["XTRIM t MINID 2-0", "XDEL t 2-1", "XSETID t 3-0 ENTRIESADDED 4 MAXDELETEDID 2-1"]
        );
    }

    #[test]
    fn an_empty_stream_comes_to_be_by_a_group_that_goes_again() {
        let state = StreamState { last: id("3-0"), entries_added: Some(4), max_deleted: None };
        assert_eq!(
            lines(&writing(6, 2).part(&Part::Stream(state)).unwrap())[..3],
            ["XGROUP CREATE t crossfade 0 MKSTREAM", "XGROUP DESTROY t crossfade", "XSETID t 3-0"]
        );
    }
}
