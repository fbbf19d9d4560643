//! Reading a value part by part.

use bytes::Bytes;

use super::ReadError;
use super::answer::Answer;
use super::pace::{PART_BYTES, Pace};
use super::stream::StreamReader;
use crate::engine::effect::Expiry;
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Builder, Reply, Request, parse_integer};
use crate::server::Connection;
use crate::value::diff::{Field, Kind, Part};

/// Reads one value from one server, a part at a time; every question may find the key changed,
/// for one moment's state, keep writers away meanwhile or read again.
#[derive(Debug)]
pub(crate) struct Reader {
    key: Bytes,
    server: Capabilities,
    pace: Pace,
    place: Place,
}

/// What some elements of a value are now.
#[derive(Debug)]
pub(super) struct Elements {
    /// Those that are there.
    pub(super) present: Part,
    /// The names of those that are not.
    pub(super) missing: Vec<Bytes>,
}

#[derive(Debug)]
enum Place {
    /// So many bytes have been read; nothing at all before the beginning.
    Text {
        begun: bool,
        offset: usize,
    },
    Elements {
        index: usize,
    },
    /// `SSCAN`, `ZSCAN` or `HSCAN`.
    Scan {
        command: &'static str,
        cursor: Bytes,
    },
    Stream(StreamReader),
    End,
}

impl Reader {
    /// A reader at the beginning of the value.
    pub(crate) fn new(key: Bytes, kind: Kind, server: Capabilities) -> Self {
        let scan = |command| Place::Scan { command, cursor: Bytes::from_static(b"0") };
        let place = match kind {
            Kind::String => Place::Text { begun: false, offset: 0 },
            Kind::List => Place::Elements { index: 0 },
            Kind::Set => scan("SSCAN"),
            Kind::Zset => scan("ZSCAN"),
            Kind::Hash => scan("HSCAN"),
            Kind::Stream => Place::Stream(StreamReader::new(key.clone())),
        };
        Self { key, server, pace: Pace::default(), place }
    }

    /// The next part; `None` after the last. Sets, sorted sets and hashes may show an element twice
    /// while they are resized, as `SCAN` does.
    ///
    /// # Errors
    /// The connection is broken, the server refuses, or the key is no longer of its type.
    pub(crate) async fn next(&mut self, from: &mut Connection) -> Result<Option<Part>, ReadError> {
        match &mut self.place {
            Place::Text { begun, offset } => {
                let (begun, offset) = (*begun, *offset);
                self.text(begun, offset, from).await
            }
            Place::Elements { index } => {
                let index = *index;
                self.elements(index, from).await
            }
            Place::Scan { command, cursor } => {
                let (command, cursor) = (*command, cursor.clone());
                self.scan(command, &cursor, from).await.map(Some)
            }
            Place::Stream(stream) => stream.next(from, &mut self.pace).await,
            Place::End => Ok(None),
        }
    }

    /// Reads elements of a set, a sorted set or a hash again, as many of `names` as make a part, and
    /// takes their names out. Bytes of a string have [a way of their own](Self::bytes_again).
    pub(super) async fn again(
        &mut self,
        kind: Kind,
        names: &mut Vec<Bytes>,
        from: &mut Connection,
    ) -> Result<Elements, ReadError> {
        let names = names.split_off(names.len().saturating_sub(self.pace.count()));
        let question = match kind {
            Kind::Set => "SISMEMBER",
            Kind::Zset => "ZSCORE",
            _ => "HGET",
        };
        let ask = |name: &Bytes| Request::new([question.as_bytes(), &self.key, name]);
        let requests: Vec<_> = names.iter().map(ask).collect();
        let mut answers = Vec::with_capacity(names.len());
        for reply in from.ask_all(&requests).await? {
            answers.push(Answer::new(reply, question)?);
        }
        let found = names.into_iter().zip(answers);
        let (present, missing) = match kind {
            Kind::Set => {
                let (mut members, mut missing) = (Vec::new(), Vec::new());
                for (name, answer) in found {
                    if answer.integer()? == 1 { &mut members } else { &mut missing }.push(name);
                }
                (Part::Members(members), missing)
            }
            Kind::Zset => {
                let (found, missing) = split(found);
                let score = |(name, answer): (Bytes, Answer)| Ok((name, answer.parse()?));
                let scored: Result<_, ReadError> = found.into_iter().map(score).collect();
                (Part::Scored(scored?), missing)
            }
            _ => {
                let (found, missing) = split(found);
                let text = |(name, answer): (Bytes, Answer)| Ok((name, answer.text()?));
                let values: Result<_, ReadError> = found.into_iter().map(text).collect();
                let (fields, ended) = self.with_ends(values?, from).await?;
                (Part::Fields(fields), [missing, ended].concat())
            }
        };
        Ok(Elements { present, missing })
    }

    /// Asks how many elements, or bytes, the value has, with the question, where both servers must agree.
    pub(super) async fn size(
        &self,
        kind: Kind,
        from: &mut Connection,
    ) -> Result<Option<(Request, Reply)>, ReadError> {
        // Fields that have ended count until they are removed.
        let certain = kind != Kind::Hash || !self.server.expires_hash_fields();
        let length = || match kind {
            Kind::String => Some(Request::new([b"STRLEN", &self.key[..]])),
            Kind::List => Some(Request::new([b"LLEN", &self.key[..]])),
            _ => None,
        };
        let request = size_request(&self.key, kind).or_else(length).filter(|_| certain);
        let Some(request) = request else { return Ok(None) };
        let reply = from.ask(&request).await?;
        Ok(Some((request, reply)))
    }

    /// Reads bytes of a string again, as far as they have been read: the block that stands last in
    /// `blocks`, told by its first and its last byte, which is taken out. Gives its place too.
    pub(super) async fn bytes_again(
        &mut self,
        blocks: &mut Vec<Bytes>,
        from: &mut Connection,
    ) -> Result<Option<(usize, Bytes)>, ReadError> {
        let Place::Text { offset, .. } = self.place else { return Ok(None) };
        let block = blocks.pop().unwrap_or_default();
        let mut ends = block.split(|byte| *byte == b' ').filter_map(parse_integer);
        let mut end = || usize::try_from(ends.next()?).ok();
        let Some((first, last)) = end().zip(end()).filter(|(first, _)| *first < offset) else {
            return Ok(None);
        };
        let reply = self.range("GETRANGE", first, last.min(offset - 1), from).await?;
        Ok(Some((first, Answer::new(reply, "GETRANGE")?.text()?)))
    }

    /// The elements of a list from `index` on, as many as make a part, and how many the list has.
    pub(super) async fn elements_at(
        &mut self,
        index: usize,
        from: &mut Connection,
    ) -> Result<(Vec<Bytes>, usize), ReadError> {
        let last = index + self.pace.count() - 1;
        let mut range = Builder::default();
        range.push(b"LRANGE").push(&self.key).push_count(index).push_count(last);
        from.queue(&range.finish());
        from.queue(&Request::new([b"LLEN", &self.key[..]]));
        let (range, length) = (from.answer().await?, from.answer().await?);
        let elements = Answer::new(range, "LRANGE")?.texts()?;
        let length = Answer::new(length, "LLEN")?.integer()?;
        self.pace.learn(elements.len(), elements.iter().map(Bytes::len).sum());
        Ok((elements, usize::try_from(length).unwrap_or(0)))
    }

    async fn text(
        &mut self,
        begun: bool,
        offset: usize,
        from: &mut Connection,
    ) -> Result<Option<Part>, ReadError> {
        let last = offset + PART_BYTES - 1;
        let reply = self.range("GETRANGE", offset, last, from).await?;
        let text = Answer::new(reply, "GETRANGE")?.text()?;
        // Behind the last bytes there may be more by the time of the next question.
        self.place = Place::Text { begun: true, offset: offset + text.len() };
        // An empty string is a value too, and one part of it says so.
        Ok((!text.is_empty() || !begun).then_some(Part::Text(text)))
    }

    async fn elements(
        &mut self,
        index: usize,
        from: &mut Connection,
    ) -> Result<Option<Part>, ReadError> {
        let count = self.pace.count();
        let last = index + count - 1;
        let reply = self.range("LRANGE", index, last, from).await?;
        let elements = Answer::new(reply, "LRANGE")?.texts()?;
        let is_last = elements.len() < count;
        self.place = if is_last { Place::End } else { Place::Elements { index: last + 1 } };
        self.pace.learn(elements.len(), elements.iter().map(Bytes::len).sum());
        Ok((!elements.is_empty()).then_some(Part::Elements(elements)))
    }

    async fn range(
        &self,
        command: &str,
        first: usize,
        last: usize,
        from: &mut Connection,
    ) -> Result<Reply, ReadError> {
        let mut request = Builder::default();
        request.push(command.as_bytes()).push(&self.key).push_count(first).push_count(last);
        Ok(from.ask(&request.finish()).await?)
    }

    async fn scan(
        &mut self,
        command: &'static str,
        cursor: &[u8],
        from: &mut Connection,
    ) -> Result<Part, ReadError> {
        let mut request = Builder::default();
        request.push(command.as_bytes()).push(&self.key).push(cursor);
        request.push(b"COUNT").push_count(self.pace.count());
        let reply = from.ask(&request.finish()).await?;
        let [cursor, page] = Answer::new(reply, command)?.tuple()?;
        let (cursor, page) = (cursor.text()?, page.items()?);
        self.place = match cursor.as_ref() {
            b"0" => Place::End,
            _ => Place::Scan { command, cursor },
        };
        let elements = page.len();
        let part = match command {
            "SSCAN" => Part::Members(members(page)?),
            "ZSCAN" => Part::Scored(scored(page)?),
            _ => Part::Fields(self.fields(page, from).await?),
        };
        self.pace.learn(elements, weight(&part));
        Ok(part)
    }

    async fn fields(
        &self,
        page: Vec<Answer>,
        from: &mut Connection,
    ) -> Result<Vec<Field>, ReadError> {
        let text = |(name, value): (Answer, Answer)| Ok((name.text()?, value.text()?));
        let values: Result<_, ReadError> = pairs(page).map(text).collect();
        let (fields, _) = self.with_ends(values?, from).await?;
        Ok(fields)
    }

    /// Fields as they are read, and when they end; and the names of those that have since.
    async fn with_ends(
        &self,
        values: Vec<(Bytes, Bytes)>,
        from: &mut Connection,
    ) -> Result<(Vec<Field>, Vec<Bytes>), ReadError> {
        let names: Vec<_> = values.iter().map(|(name, _)| name.clone()).collect();
        let ends = field_ends(&self.key, &names, &self.server, from).await?;
        let (mut fields, mut ended) = (Vec::with_capacity(values.len()), Vec::new());
        for ((name, value), end) in values.into_iter().zip(ends) {
            match field(name.clone(), value, end) {
                Some(field) => fields.push(field),
                None => ended.push(name),
            }
        }
        Ok((fields, ended))
    }
}

/// A field that ends so; `None` when it has.
pub(super) fn field(name: Bytes, value: Bytes, end: Expiry) -> Option<Field> {
    let expires_at = match end {
        Expiry::Missing => return None,
        Expiry::Never => None,
        Expiry::At(at) => Some(at),
    };
    Some(Field { name, value, expires_at })
}

/// When each of the fields ends; none does where the server does not know such a thing.
pub(super) async fn field_ends(
    key: &[u8],
    names: &[Bytes],
    server: &Capabilities,
    from: &mut Connection,
) -> Result<Vec<Expiry>, ReadError> {
    if names.is_empty() || !server.expires_hash_fields() {
        return Ok(vec![Expiry::Never; names.len()]);
    }
    let mut request = Builder::default();
    request.push(b"HPEXPIRETIME").push(key).push(b"FIELDS").push_count(names.len());
    for name in names {
        request.push(name);
    }
    let reply = from.ask(&request.finish()).await?;
    let ends = Answer::new(reply, "HPEXPIRETIME")?.items()?;
    ends.into_iter().map(|at| Ok(Expiry::from_answer(at.integer()?, 0))).collect()
}

/// How many elements the value has, for the types without order.
pub(super) fn size_request(key: &[u8], kind: Kind) -> Option<Request> {
    let command = match kind {
        Kind::Set => "SCARD",
        Kind::Zset => "ZCARD",
        Kind::Hash => "HLEN",
        Kind::String | Kind::List | Kind::Stream => return None,
    };
    Some(Request::new([command.as_bytes(), key]))
}

fn members(page: Vec<Answer>) -> Result<Vec<Bytes>, ReadError> {
    page.into_iter().map(Answer::text).collect()
}

pub(super) fn scored(page: Vec<Answer>) -> Result<Vec<(Bytes, f64)>, ReadError> {
    pairs(page).map(|(member, score)| Ok((member.text()?, score.parse()?))).collect()
}

pub(super) fn pairs(page: Vec<Answer>) -> impl Iterator<Item = (Answer, Answer)> {
    let mut page = page.into_iter();
    std::iter::from_fn(move || Some((page.next()?, page.next()?)))
}

/// Those that are there, and the names of those that are not.
fn split(found: impl Iterator<Item = (Bytes, Answer)>) -> (Vec<(Bytes, Answer)>, Vec<Bytes>) {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for (name, answer) in found {
        match answer.optional() {
            Some(answer) => present.push((name, answer)),
            None => missing.push(name),
        }
    }
    (present, missing)
}

fn weight(part: &Part) -> usize {
    match part {
        Part::Members(members) => members.iter().map(Bytes::len).sum(),
        Part::Scored(scored) => scored.iter().map(|(member, _)| member.len() + 8).sum(),
        Part::Fields(fields) => fields.iter().map(|f| f.name.len() + f.value.len()).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_has_ended_between_two_questions_is_not_one_without_an_end() {
        let field = |at| field("f".into(), "v".into(), Expiry::from_answer(at, 0));
        assert_eq!(field(-2), None);
        assert_eq!(field(-1).unwrap().expires_at, None);
        assert_eq!(field(1_700_000_000_000).unwrap().expires_at, Some(1_700_000_000_000));
    }
}
