//! Reading a stream: entries, groups with their pending entries, and what it remembers.
//!
//! An entry that was trimmed or deleted stays pending for whoever was given it. No command can
//! make such an entry, except by adding it, handing it out and deleting it, in the order of the
//! IDs. So the pending IDs are collected first, and those without an entry are shown among the
//! entries as ones without fields.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::ReadError;
use super::answer::Answer;
use super::pace::Pace;
use crate::protocol::resp::{Builder, Request};
use crate::server::Connection;
use crate::value::diff::{Entry, Group, Part, Pending, StreamId, StreamState};

/// Pending entries in one part.
const PENDING: i64 = 4096;

/// The stream's part of a reader. It holds the pending IDs, 16 bytes each and the set's overhead.
#[derive(Debug)]
pub(super) struct StreamReader {
    key: Bytes,
    place: Place,
    groups: Vec<Group>,
    pending: BTreeSet<StreamId>,
}

#[derive(Debug)]
enum Place {
    Start,
    Entries(StreamId),
    Group(usize),
    Pending(usize, StreamId),
    State,
    End,
}

impl StreamReader {
    pub(super) fn new(key: Bytes) -> Self {
        Self { key, place: Place::Start, groups: Vec::new(), pending: BTreeSet::new() }
    }

    pub(super) async fn next(
        &mut self,
        from: &mut Connection,
        pace: &mut Pace,
    ) -> Result<Option<Part>, ReadError> {
        loop {
            let part = match self.place {
                Place::Start => self.start(from).await?,
                Place::Entries(first) => self.entries(first, from, pace).await?,
                Place::Group(index) => self.group(index),
                Place::Pending(index, first) => self.pending(index, first, from).await?,
                Place::State => Some(self.state(from).await?),
                Place::End => return Ok(None),
            };
            if part.is_some() {
                return Ok(part);
            }
        }
    }

    async fn start(&mut self, from: &mut Connection) -> Result<Option<Part>, ReadError> {
        self.groups = read_groups(&self.key, from).await?;
        for group in &self.groups {
            let mut first = Some(StreamId::default());
            while let Some(id) = first {
                let page = read_pending(&self.key, &group.name, id, from).await?;
                first = page.last().and_then(|last| last.id.next());
                self.pending.extend(page.into_iter().map(|entry| entry.id));
            }
        }
        self.place = Place::Entries(StreamId::default());
        Ok(None)
    }

    async fn entries(
        &mut self,
        first: StreamId,
        from: &mut Connection,
        pace: &mut Pace,
    ) -> Result<Option<Part>, ReadError> {
        let found = read_entries(&self.key, first, pace.count(), from).await?;
        let bytes = found.iter().flat_map(|entry| &entry.fields).map(Bytes::len).sum();
        let is_last = found.len() < pace.count();
        pace.learn(found.len(), bytes);
        let last = found.last().map(|entry| entry.id).filter(|_| !is_last);
        self.place = last.and_then(StreamId::next).map_or(Place::Group(0), Place::Entries);
        let entries = self.with_gone(found, last);
        Ok((!entries.is_empty()).then_some(Part::Entries(entries)))
    }

    /// Puts the pending entries that are gone among those that are there, up to `last`.
    fn with_gone(&mut self, page: Vec<Entry>, last: Option<StreamId>) -> Vec<Entry> {
        for entry in &page {
            self.pending.remove(&entry.id);
        }
        let later = last.map_or_else(BTreeSet::new, |last| self.pending.split_off(&last));
        let gone = std::mem::replace(&mut self.pending, later);
        let mut entries = page;
        if !gone.is_empty() {
            entries.extend(gone.into_iter().map(|id| Entry { id, fields: Vec::new() }));
            entries.sort_unstable_by_key(|entry| entry.id);
        }
        entries
    }

    fn group(&mut self, index: usize) -> Option<Part> {
        let group = self.groups.get(index).cloned();
        self.place = match group {
            Some(_) => Place::Pending(index, StreamId::default()),
            None => Place::State,
        };
        group.map(Part::Group)
    }

    async fn pending(
        &mut self,
        index: usize,
        first: StreamId,
        from: &mut Connection,
    ) -> Result<Option<Part>, ReadError> {
        let Some(group) = self.groups.get(index).map(|group| group.name.clone()) else {
            return Ok(None);
        };
        let entries = read_pending(&self.key, &group, first, from).await?;
        let next = entries.last().and_then(|last| last.id.next());
        self.place = next.map_or(Place::Group(index + 1), |next| Place::Pending(index, next));
        Ok((!entries.is_empty()).then_some(Part::Pending { group, entries }))
    }

    async fn state(&mut self, from: &mut Connection) -> Result<Part, ReadError> {
        self.place = Place::End;
        let reply = from.command([b"XINFO".as_ref(), b"STREAM", &self.key]).await?;
        let mut info = Answer::new(reply, "XINFO STREAM")?.items()?;
        let mut field = |name: &str| Answer::field(&mut info, name);
        let last = field("last-generated-id").ok_or(ReadError::Unexpected("XINFO STREAM"))?;
        Ok(Part::Stream(StreamState {
            last: last.parse()?,
            entries_added: field("entries-added").map(Answer::integer).transpose()?,
            max_deleted: field("max-deleted-entry-id").map(Answer::parse).transpose()?,
        }))
    }
}

async fn read_entries(
    key: &[u8],
    first: StreamId,
    count: usize,
    from: &mut Connection,
) -> Result<Vec<Entry>, ReadError> {
    let mut request = Builder::default();
    request.push(b"XRANGE").push(key).push(first.to_string().as_bytes()).push(b"+");
    request.push(b"COUNT").push_count(count);
    let reply = from.ask(&request.finish()).await?;
    let entry = |answer: Answer| {
        let [id, fields] = answer.tuple()?;
        Ok(Entry { id: id.parse()?, fields: fields.texts()? })
    };
    Answer::new(reply, "XRANGE")?.items()?.into_iter().map(entry).collect()
}

async fn read_groups(key: &[u8], from: &mut Connection) -> Result<Vec<Group>, ReadError> {
    let unexpected = || ReadError::Unexpected("XINFO GROUPS");
    let reply = from.command([b"XINFO".as_ref(), b"GROUPS", key]).await?;
    let mut groups = Vec::new();
    for group in Answer::new(reply, "XINFO GROUPS")?.items()? {
        let mut info = group.items()?;
        let mut field = |name: &str| Answer::field(&mut info, name);
        let entries_read = field("entries-read").and_then(Answer::optional);
        let name = field("name").ok_or_else(unexpected)?.text()?;
        groups.push(Group {
            last_delivered: field("last-delivered-id").ok_or_else(unexpected)?.parse()?,
            entries_read: entries_read.map(Answer::integer).transpose()?,
            consumers: read_consumers(key, &name, from).await?,
            name,
        });
    }
    Ok(groups)
}

async fn read_consumers(
    key: &[u8],
    group: &[u8],
    from: &mut Connection,
) -> Result<Vec<Bytes>, ReadError> {
    let reply = from.command([b"XINFO".as_ref(), b"CONSUMERS", key, group]).await?;
    let name = |consumer: Answer| {
        let mut info = consumer.items()?;
        let name = Answer::field(&mut info, "name");
        name.ok_or(ReadError::Unexpected("XINFO CONSUMERS"))?.text()
    };
    Answer::new(reply, "XINFO CONSUMERS")?.items()?.into_iter().map(name).collect()
}

/// The server tells the age of a delivery; its clock, asked beside, makes it a time.
async fn read_pending(
    key: &[u8],
    group: &[u8],
    first: StreamId,
    from: &mut Connection,
) -> Result<Vec<Pending>, ReadError> {
    let mut request = Builder::default();
    request.push(b"XPENDING").push(key).push(group);
    request.push(first.to_string().as_bytes()).push(b"+").push_integer(PENDING);
    from.queue(&Request::new(["TIME"]));
    from.queue(&request.finish());
    let (time, page) = (from.answer().await?, from.answer().await?);
    let now = Answer::new(time, "TIME")?.milliseconds()?;
    let pending = |answer: Answer| {
        let [id, consumer, age, deliveries] = answer.tuple()?;
        Ok(Pending {
            id: id.parse()?,
            consumer: consumer.text()?,
            delivered_at: now - age.integer()?,
            deliveries: deliveries.integer()?,
        })
    };
    Answer::new(page, "XPENDING")?.items()?.into_iter().map(pending).collect()
}
