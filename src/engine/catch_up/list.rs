//! How much of a list has been copied, and what writes to the list make of that. Pure.
//!
//! Elements of a list have no names, only places, and every push or pop at the head moves them all.
//! So a list is read from its head, each part while its key is held, and what is written between two
//! parts is done to the elements that have been copied: a push at the head is pushed there too, what
//! happens behind them will be read.

use bytes::Bytes;

use crate::protocol::resp::{Request, parse_integer};

/// A command for the elements that have been copied, without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The command's name.
    pub command: &'static str,
    /// What stands behind the key.
    pub arguments: Vec<Bytes>,
}

impl Edit {
    fn new(command: &'static str, arguments: impl IntoIterator<Item = Bytes>) -> Self {
        Self { command, arguments: arguments.into_iter().collect() }
    }

    /// Keeps the elements from one place to another, both included; none for an empty range.
    fn keep(first: usize, last: usize) -> Self {
        Self::new("LTRIM", [first, last].map(|place| Bytes::from(place.to_string())))
    }

    fn keep_none() -> Self {
        Self::keep(1, 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.arguments.iter().map(Bytes::len).sum()
    }
}

/// The first elements of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// So many of them have been copied.
    pub(super) copied: usize,
    /// So many elements the list has; not known before the first part is read, when nothing is
    /// copied either.
    pub(super) length: usize,
}

/// What a write means to the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// It is of no matter to what has been copied.
    Unread,
    Edit(Edit),
}

impl Prefix {
    /// What an effect on the list means; `None` when that can't be told.
    pub(super) fn follow(&mut self, request: &Request) -> Option<Followed> {
        let is = |names: &[&str]| names.iter().any(|name| request.is(0, name));
        let pushed = request.len().saturating_sub(2);
        if is(&["LPUSH", "LPUSHX"]) {
            self.length += pushed;
            if self.copied == 0 {
                return Some(Followed::Unread);
            }
            self.copied += pushed;
            // Their own: the request is a piece of a client's read buffer.
            let elements = request.args().skip(2).map(Bytes::copy_from_slice);
            return Some(Followed::Edit(Edit::new("LPUSH", elements)));
        }
        if is(&["RPUSH", "RPUSHX"]) {
            self.length += pushed;
            return Some(Followed::Unread);
        }
        if is(&["LPOP"]) {
            let popped = popped(request)?.min(self.length);
            return Some(self.keep(popped, self.length));
        }
        if is(&["RPOP"]) {
            let popped = popped(request)?.min(self.length);
            return Some(self.keep(0, self.length - popped));
        }
        if is(&["LTRIM"]) {
            let (first, last) = (self.place(request, 2)?, self.place(request, 3)?);
            let end = usize::try_from(last + 1).unwrap_or(0);
            return Some(self.keep(usize::try_from(first).unwrap_or(0), end));
        }
        if is(&["LSET"]) {
            return self.set(request);
        }
        None
    }

    /// Elements in front of `first` and from `end` on go.
    fn keep(&mut self, first: usize, end: usize) -> Followed {
        let before = self.copied;
        let end = end.min(self.length);
        self.length = end.saturating_sub(first);
        self.copied = before.min(end).saturating_sub(first);
        match (before, self.copied) {
            (before, copied) if before == copied => Followed::Unread,
            (_, 0) => Followed::Edit(Edit::keep_none()),
            (_, copied) => Followed::Edit(Edit::keep(first, first + copied - 1)),
        }
    }

    fn set(&self, request: &Request) -> Option<Followed> {
        if self.copied == 0 {
            return Some(Followed::Unread);
        }
        let place = usize::try_from(self.place(request, 2)?).ok()?;
        if place >= self.copied {
            return Some(Followed::Unread);
        }
        let element = Bytes::copy_from_slice(request.arg(3)?);
        Some(Followed::Edit(Edit::new("LSET", [Bytes::from(place.to_string()), element])))
    }

    /// A place as counted from the head; what lies in front of that is negative.
    fn place(&self, request: &Request, index: usize) -> Option<i64> {
        let place = parse_integer(request.arg(index)?)?;
        let length = i64::try_from(self.length).ok()?;
        Some(if place < 0 { place.saturating_add(length) } else { place.min(length) })
    }
}

fn popped(request: &Request) -> Option<usize> {
    match request.arg(2) {
        None => Some(1),
        Some(count) => usize::try_from(parse_integer(count)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    type List = VecDeque<String>;

    /// What a server makes of a command.
    fn execute(list: &mut List, words: &[String]) {
        let number = |index: usize| words[index].parse::<i64>().unwrap();
        let count = || words.get(1).map_or(1, |count| count.parse().unwrap());
        match words[0].as_str() {
            "LPUSH" => words[1..].iter().for_each(|word| list.push_front(word.clone())),
            "RPUSH" => list.extend(words[1..].iter().cloned()),
            "LPOP" => drop(list.drain(..list.len().min(count()))),
            "RPOP" => list.truncate(list.len().saturating_sub(count())),
            "LSET" => {
                let length = list.len() as i64;
                let place = if number(1) < 0 { length + number(1) } else { number(1) };
                list[usize::try_from(place).unwrap()] = words[2].clone();
            }
            _ => {
                let length = list.len() as i64;
                let place = |n: i64| if n < 0 { (length + n).max(-1) } else { n.min(length) };
                let (first, last) = (place(number(1)).max(0), place(number(2)));
                let kept = first..=last.min(length - 1);
                let kept = kept.map(|at| list[usize::try_from(at).unwrap()].clone());
                *list = kept.collect();
            }
        }
    }

    fn command() -> impl Strategy<Value = String> {
        let element = "[a-z]{1,2}";
        prop_oneof![
            (element, element).prop_map(|(a, b)| format!("LPUSH {a} {b}")),
            element.prop_map(|a| format!("RPUSH {a}")),
            (1..4_i64).prop_map(|count| format!("LPOP {count}")),
            Just("LPOP".to_owned()),
            (1..4_i64).prop_map(|count| format!("RPOP {count}")),
            (-9..9_i64, element).prop_map(|(at, a)| format!("LSET {at} {a}")),
            (-9..9_i64, -9..9_i64).prop_map(|(first, last)| format!("LTRIM {first} {last}")),
        ]
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn what_was_copied_stays_the_beginning_of_the_list(
            length in 0..9_usize, copied in 0..9_usize, commands in prop::collection::vec(command(), 0..12)
        ) {
            let mut list: List = (0..length).map(|n| format!("{n}")).collect();
            let mut copy: List = list.iter().take(copied).cloned().collect();
            let mut prefix = Prefix { copied: copy.len(), length };
            for line in commands {
                let mut words = words(&line);
                let beyond = |at: &String| {
                    let at: i64 = at.parse().unwrap();
                    at >= list.len() as i64 || at < -(list.len() as i64)
                };
                if words[0] == "LSET" && beyond(&words[1]) {
                    continue;
                }
                execute(&mut list, &words);
                words.insert(1, "key".to_owned());
                if let Some(Followed::Edit(edit)) = prefix.follow(&Request::new(&words)) {
                    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                    let mut edited = vec![edit.command.to_owned()];
                    edited.extend(edit.arguments.iter().map(text));
                    execute(&mut copy, &edited);
                }
                prop_assert_eq!(prefix, Prefix { copied: copy.len(), length: list.len() }, "{}", line);
                prop_assert!(list.iter().zip(&copy).all(|(a, b)| a == b), "{line}: {list:?} {copy:?}");
            }
        }
    }

    #[test]
    fn what_names_elements_by_their_value_can_not_be_followed() {
        let mut prefix = Prefix { copied: 2, length: 5 };
        for line in ["LINSERT k BEFORE a b", "LREM k 0 a", "SORT k STORE k", "EVAL s 1 k"] {
            assert_eq!(prefix.follow(&Request::new(line.split(' '))), None, "{line}");
        }
    }
}
