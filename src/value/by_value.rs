//! Small values held against each other, many keys in one round trip: by their dumps, and where those
//! differ, read whole.
//!
//! Two servers that hold the same small value in the same encoding dump the same bytes, so nearly every
//! key ends here. The others may still be equal: in another encoding, or a table's members in another
//! order.
//!
//! *Guarantees:* what is told to be the same is; what is not may still be, and is to be compared element
//! by element.

use bytes::Bytes;

use super::ReadError;
use super::answer::{Answer, refusal};
use super::reader::{pairs, scored};
use crate::protocol::resp::{Flat, Reply, Request, Row, about};
use crate::server::Connection;
use crate::value::diff::Kind;

/// What follows the value in a payload: version and checksum.
const FOOTER: usize = 10;
const DUMP: &[u8] = b"*2\r\n$4\r\nDUMP\r\n";

/// What `DUMP` answers for many keys, as it came.
pub(super) struct Dumps {
    answers: Bytes,
}

impl Dumps {
    pub(super) async fn ask(
        keys: &[&Bytes],
        connection: &mut Connection,
    ) -> Result<Self, ReadError> {
        let wire = connection.wire();
        wire.outgoing.write(|out| keys.iter().for_each(|key| about(out, DUMP, key)));
        let answers = wire.row(keys.len()).await?;
        match Row::new(&answers).find(|dump| matches!(dump, Flat::Error(_))) {
            Some(Flat::Error(text)) => Err(refusal(text)),
            _ => Ok(Self { answers }),
        }
    }

    /// The values without their footers, key by key: servers' versions may differ. `None` for a key
    /// that is not there.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        Row::new(&self.answers).map(|dump| Some(dump.text()?.split_last_chunk::<FOOTER>()?.0))
    }
}

/// More elements than a small value has.
const ALL: &str = "100000";

/// The type of a dumped value, where [`same_contents`] can tell about it: the payload's first byte as
/// `rdb.h` numbers types. Hashes whose fields end have others.
pub(super) fn dumped_kind(payload: &[u8]) -> Option<Kind> {
    Some(match payload.first()? {
        1 | 10 | 14 | 18 => Kind::List,
        2 | 11 | 20 => Kind::Set,
        3 | 5 | 12 | 17 => Kind::Zset,
        4 | 9 | 13 | 16 => Kind::Hash,
        _ => return None,
    })
}

/// What asks for the whole of a value: commands that clients seldom send, so that they can be told from
/// theirs.
pub(super) fn whole(key: &Bytes, kind: Kind) -> Request {
    let scan = match kind {
        Kind::Set => "SSCAN",
        Kind::Hash => "HSCAN",
        Kind::Zset => "ZSCAN",
        Kind::List | Kind::String | Kind::Stream => {
            return Request::new([b"LRANGE".as_ref(), key, b"0", b"-1"]);
        }
    };
    Request::new([scan.as_bytes(), key, b"0", b"COUNT", ALL.as_bytes()])
}

/// Whether two answers tell of the same value.
pub(super) fn same_contents(kind: Kind, first: Reply, second: Reply) -> bool {
    match (contents(kind, first), contents(kind, second)) {
        (Ok(first), Ok(second)) => first == second,
        _ => false,
    }
}

/// Elements, fields and their values, or members and the bits of their scores, in one order.
fn contents(kind: Kind, reply: Reply) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
    let answer = Answer::new(reply, "a value")?;
    let items = if kind == Kind::List { answer.items()? } else { page(answer)? };
    let mut contents: Vec<(Bytes, Bytes)> = match kind {
        Kind::Hash => pairs(items)
            .map(|(name, value)| Ok((name.text()?, value.text()?)))
            .collect::<Result<_, ReadError>>()?,
        // Servers write the same score in different digits.
        Kind::Zset => scored(items)?
            .into_iter()
            .map(|(member, score)| (member, Bytes::copy_from_slice(&score.to_bits().to_be_bytes())))
            .collect(),
        _ => items
            .into_iter()
            .map(|element| Ok((element.text()?, Bytes::new())))
            .collect::<Result<_, ReadError>>()?,
    };
    if kind != Kind::List {
        contents.sort_unstable();
        // As a scan may, while a table is resized.
        contents.dedup();
    }
    Ok(contents)
}

/// What a scan gave, when that is all.
fn page(answer: Answer) -> Result<Vec<Answer>, ReadError> {
    let [cursor, page] = answer.tuple()?;
    if cursor.text()? != "0" {
        return Err(ReadError::Unexpected("a scan"));
    }
    page.items()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: Kind, cursor: &str, words: &str) -> Reply {
        let text = |word: &str| Reply::Bulk(Bytes::copy_from_slice(word.as_bytes()));
        let words = Reply::Array(words.split(' ').map(text).collect());
        if kind == Kind::List { words } else { Reply::Array(vec![text(cursor), words]) }
    }

    fn told(kind: Kind, first: &str, second: &str) -> bool {
        same_contents(kind, reply(kind, "0", first), reply(kind, "0", second))
    }

    #[test]
    fn order_counts_in_lists_alone() {
        assert!(told(Kind::Set, "a b", "b a") && told(Kind::Hash, "a 1 b 2", "b 2 a 1"));
        assert!(told(Kind::List, "a b", "a b") && !told(Kind::List, "a b", "b a"));
    }

    #[test]
    fn what_differs_is_not_the_same() {
        assert!(!told(Kind::Set, "a b", "a c") && !told(Kind::Set, "a", "a b"));
        assert!(!told(Kind::Hash, "a 1 b 2", "a 2 b 1"));
        assert!(!told(Kind::Zset, "a 1 b 2", "a 1 b 3"));
    }

    #[test]
    fn scores_are_held_against_each_other_to_the_last_bit() {
        assert!(told(Kind::Zset, "a 0.1 b 3", "a 0.10000000000000001 b 3.0"));
        assert!(
            !told(Kind::Zset, "a 0", "a -0") && !told(Kind::Zset, "a 0.1", "a 0.10000000000000002")
        );
    }

    #[test]
    fn a_scan_may_say_things_twice_and_must_be_through() {
        assert!(told(Kind::Set, "a b a", "b a") && !told(Kind::Hash, "a 1 a 2", "a 1"));
        let unfinished = || reply(Kind::Set, "7", "a b");
        assert!(!same_contents(Kind::Set, unfinished(), unfinished()));
    }

    #[test]
    fn an_answer_that_is_none_is_never_the_same() {
        let error = || Reply::Error(Bytes::from_static(b"WRONGTYPE no"));
        assert!(!same_contents(Kind::Set, error(), error()));
    }
}
