//! `FLUSHALL` where not every database is migrated: it empties those that are, and no other, for on the
//! server that serves they may be somebody else's.

use super::{Queued, Session};
use crate::protocol::command::{Serve, lookup};
use crate::protocol::databases::Databases;
use crate::protocol::resp::Request;

/// What does it instead.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Flush {
    /// Where one is migrated, which its clients are in.
    One(Request),
    /// One transaction, from `MULTI` to `EXEC`, and what is queued between.
    Each(Vec<Request>, Vec<Queued>),
}

impl Flush {
    /// Whether `request` must not reach all databases.
    pub(super) fn is_confined(request: &Request, databases: &Databases) -> bool {
        *databases != Databases::All && request.is(0, "FLUSHALL")
    }

    /// The `FLUSHDB` for a `FLUSHALL`, where that is all of it.
    pub(super) fn of_one(flushall: &Request, databases: &Databases) -> Option<Request> {
        let is_one = matches!(databases, Databases::Only(pairs) if pairs.len() == 1);
        is_one.then(|| flushdb(flushall))
    }
}

impl Session {
    /// What empties the migrated databases, with the options of `flushall`. Whether these are right,
    /// the server says. A `SELECT` that fails leads nowhere else than to a database of these.
    pub(in crate::proxy) fn flush(&self, flushall: &Request, databases: &Databases) -> Flush {
        let flush = flushdb(flushall);
        let pairs = match databases {
            Databases::Only(pairs) if pairs.len() > 1 => pairs,
            _ => return Flush::One(flush),
        };
        let mut queued = Vec::with_capacity(2 * pairs.len() + 1);
        for (db, _) in pairs {
            queued.push(Queued::passive(select(*db), *db));
            queued.push(queued_flush(&flush, *db));
        }
        queued.push(Queued::passive(select(self.context.db), self.context.db));
        let requests = queued.iter().map(|queued| queued.request.clone());
        let (multi, exec) = (Request::new(["MULTI"]), Request::new(["EXEC"]));
        Flush::Each(std::iter::once(multi).chain(requests).chain([exec]).collect(), queued)
    }
}

fn flushdb(flushall: &Request) -> Request {
    Request::new(std::iter::once(b"FLUSHDB".as_ref()).chain(flushall.args().skip(1)))
}

fn select(db: u32) -> Request {
    Request::new(["SELECT", &db.to_string()])
}

pub(super) fn queued_flush(flush: &Request, db: u32) -> Queued {
    match lookup(flush) {
        Some(command) => Queued::of(flush, command, Serve::Barrier, db),
        None => Queued::passive(flush.clone(), db),
    }
}
