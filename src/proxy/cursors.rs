//! The cursors of `SCAN` and its kin, across a flip.
//!
//! A cursor means something only to the server that gave it. After a flip, a cursor that the present
//! primary has not given starts over at 0: what was seen comes again, which the contract of `SCAN`
//! allows; nothing is missed, which it forbids.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Route;
use crate::protocol::resp::{Reply, Request};

/// How many cursors are remembered; older ones start over.
const LIMIT: usize = 100_000;

/// The cursors that a primary has given since it serves.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    inner: Mutex<(HashSet<Bytes>, VecDeque<Bytes>)>,
}

impl Cursors {
    fn knows(&self, cursor: &[u8]) -> bool {
        cursor == b"0" || self.inner.lock().0.contains(cursor)
    }

    fn note(&self, cursor: &[u8]) {
        let mut inner = self.inner.lock();
        let cursor = Bytes::copy_from_slice(cursor);
        if inner.0.insert(cursor.clone()) {
            inner.1.push_back(cursor);
        }
        if inner.1.len() > LIMIT
            && let Some(oldest) = inner.1.pop_front()
        {
            inner.0.remove(&oldest);
        }
    }
}

impl Route {
    /// The request as it is, or from the start, where this server has not given its cursor.
    pub(super) fn scan_from_known(&self, request: &Request, place: usize) -> Request {
        match (&self.cursors, request.arg(place)) {
            (Some(cursors), Some(cursor)) if !cursors.knows(cursor) => started_over(request, place),
            _ => request.clone(),
        }
    }

    /// The server has answered with a cursor.
    pub(super) fn note_cursor(&self, reply: &Bytes) {
        let reply = Reply::parse(reply).unwrap_or(Reply::Null);
        let next = reply.items().and_then(|items| items.first()?.text());
        if let (Some(next), Some(cursors)) = (next, &self.cursors) {
            cursors.note(next);
        }
    }
}

fn started_over(request: &Request, place: usize) -> Request {
    let args = request.args().enumerate();
    Request::new(args.map(|(index, arg)| if index == place { b"0".as_ref() } else { arg }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_server_starts_over() {
        let cursors = Cursors::default();
        cursors.note(b"17");
        assert!(cursors.knows(b"17") && cursors.knows(b"0") && !cursors.knows(b"18"));
        let request = started_over(&Request::new(["HSCAN", "h", "18", "COUNT", "5"]), 2);
        assert_eq!(request, Request::new(["HSCAN", "h", "0", "COUNT", "5"]));
    }
}
