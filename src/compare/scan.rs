//! The keys of one database, page by page.

use bytes::Bytes;

use super::Fault;
use crate::backend::Connection;
use crate::own_keys::is_ours;
use crate::resp::Reply;
use crate::value::ReadError;

/// Goes over all keys once; one that is there from start to end is seen, some twice.
#[derive(Debug)]
pub(super) struct Scan {
    connection: Connection,
    /// `None` once the scan is through.
    cursor: Option<Bytes>,
    db: u32,
}

impl Scan {
    /// A scan of `db`, in which the connection is.
    pub(super) fn new(connection: Connection, db: u32) -> Self {
        Self { connection, cursor: Some(Bytes::from_static(b"0")), db }
    }

    /// The next keys, about so many, perhaps none; `None` after the last.
    pub(super) async fn next(&mut self, count: usize) -> Result<Option<Vec<Bytes>>, Fault> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let count = count.to_string();
        let request = [b"SCAN".as_ref(), &cursor, b"COUNT", count.as_bytes()];
        let reply = self.connection.command(request).await?;
        if let Reply::Error(text) = &reply {
            return Err(ReadError::Refused(String::from_utf8_lossy(text).into_owned()).into());
        }
        let [cursor, page] = reply.items().unwrap_or_default() else {
            return Err(ReadError::Unexpected("SCAN").into());
        };
        self.cursor = cursor.text().filter(|cursor| cursor.as_ref() != b"0").cloned();
        let keys = page.items().unwrap_or_default().iter().filter_map(Reply::text);
        Ok(Some(keys.filter(|key| !is_ours(self.db, key)).cloned().collect()))
    }
}
