//! Numbers of databases inside commands.
//!
//! A client numbers databases as the source does. Which number the server has for one depends on who
//! serves when the command is sent, so it is put in then and not before: what was queued before a
//! flip means the same database after it.

use crate::protocol::command;
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Request, parse_integer};

/// A database that a request names and that is not migrated, as the client numbers it.
pub(super) fn unmigrated(request: &Request, databases: &Databases) -> Option<u32> {
    if *databases == Databases::All {
        return None;
    }
    let places = command::databases(request);
    let mut named = places.iter().filter_map(|place| number(request, *place));
    named.find(|db| databases.to(*db).is_none())
}

/// A request as the server behind `databases` has to get it.
pub(in crate::proxy) fn translated(request: &Request, databases: &Databases) -> Request {
    if *databases == Databases::All {
        return request.clone();
    }
    let places = command::databases(request);
    if places.is_empty() {
        return request.clone();
    }
    let args = request.args().enumerate().map(|(index, arg)| {
        let named = places.contains(&index).then(|| number(request, index)).flatten();
        match named.and_then(|db| databases.to(db)) {
            Some(db) => db.to_string().into_bytes(),
            // What is no number: the server has the words for it.
            None => arg.to_vec(),
        }
    });
    Request::new(args)
}

/// The database that an argument names.
pub(in crate::proxy) fn number(request: &Request, index: usize) -> Option<u32> {
    u32::try_from(parse_integer(request.arg(index)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_database_is_translated_and_no_other() {
        let databases = Databases::one(2, 0);
        for (request, expected) in [
            ("SELECT 2", "SELECT 0"),
            ("select 2", "select 0"),
            ("SELECT x", "SELECT x"),
            ("SELECT 2 2", "SELECT 2 2"),
            ("MOVE 2 2", "MOVE 2 0"),
            ("SWAPDB 2 2", "SWAPDB 0 0"),
            ("COPY 2 2", "COPY 2 2"),
            ("COPY DB DB DB 2", "COPY DB DB DB 0"),
            ("COPY 2 2 REPLACE db 2 DB 2", "COPY 2 2 REPLACE db 0 DB 0"),
            ("COPY 2 2 DB DB 2", "COPY 2 2 DB DB 2"),
            ("SET 2 2", "SET 2 2"),
        ] {
            let request = Request::new(request.split(' '));
            let expected = Request::new(expected.split(' '));
            assert_eq!(translated(&request, &databases), expected);
            assert_eq!(translated(&request, &Databases::All), request);
        }
    }
}
