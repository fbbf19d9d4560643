//! Replies to a pipeline, read one behind the other without making anything of them.

use super::{line_end, parse_integer};

/// One reply, or the head of one with elements: those come next in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flat<'a> {
    /// `+`, `$` and every other string.
    Text(&'a [u8]),
    /// `-`: code first.
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// So many elements follow.
    Elements(usize),
    /// A null of any kind.
    Null,
}

impl<'a> Flat<'a> {
    /// The value of an integer reply.
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Iterates over the replies in a frame of whole ones; ends at what it does not understand.
#[derive(Debug)]
pub struct Row<'a> {
    rest: &'a [u8],
}

impl<'a> Row<'a> {
    /// All that is in `raw`.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { rest: raw }
    }

    fn bulk(&mut self, digits: &[u8]) -> Option<Flat<'a>> {
        let Ok(len) = usize::try_from(parse_integer(digits)?) else { return Some(Flat::Null) };
        let text = self.rest.get(..len)?;
        self.rest = self.rest.get(len + 2..)?;
        Some(Flat::Text(text))
    }
}

impl<'a> Iterator for Row<'a> {
    type Item = Flat<'a>;

    fn next(&mut self) -> Option<Flat<'a>> {
        let end = line_end(self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        let (kind, line) = line.split_first()?;
        self.rest = rest.get(2..)?;
        Some(match kind {
            b'$' => self.bulk(line)?,
            b':' => Flat::Integer(parse_integer(line)?),
            b'-' => Flat::Error(line),
            b'*' => usize::try_from(parse_integer(line)?).map_or(Flat::Null, Flat::Elements),
            b'_' => Flat::Null,
            b'+' => Flat::Text(line),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_one_by_one_and_elements_behind_their_head() {
        let row =
            Row::new(b"+OK\r\n:-2\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n$1\r\n1\r\n:2\r\n-ERR no\r\n");
        let expected = [
            Flat::Text(b"OK"),
            Flat::Integer(-2),
            Flat::Text(b"a\r\n"),
            Flat::Null,
            Flat::Elements(2),
            Flat::Text(b"1"),
            Flat::Integer(2),
            Flat::Error(b"ERR no"),
        ];
        assert_eq!(row.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_row_ends_where_it_is_cut_short() {
        assert_eq!(Row::new(b"$3\r\nab").next(), None);
        assert_eq!(Row::new(b":1").next(), None);
    }
}
