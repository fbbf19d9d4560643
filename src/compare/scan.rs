//! The keys of one database, page by page.

use bytes::Bytes;

use super::Fault;
use crate::backend::Connection;
use crate::resp::Reply;
use crate::value::ReadError;

/// Keys asked for at once. Enough for one page to keep both servers busy for a millisecond.
const PAGE: &str = "512";
/// What crossfade itself leaves on a source after a cut-over.
const MARKER: &[u8] = b"crossfade:cutover";

/// Goes over all keys once; one that is there from start to end is seen, some twice.
#[derive(Debug)]
pub(super) struct Scan {
    connection: Connection,
    /// `None` once the scan is through.
    cursor: Option<Bytes>,
    /// Whether the database may hold the cut-over's marker.
    skips_marker: bool,
}

impl Scan {
    pub(super) fn new(connection: Connection, skips_marker: bool) -> Self {
        Self { connection, cursor: Some(Bytes::from_static(b"0")), skips_marker }
    }

    /// The next keys, which may be none; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Fault> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let request = [b"SCAN".as_ref(), &cursor, b"COUNT", PAGE.as_bytes()];
        let reply = self.connection.command(request).await?;
        if let Reply::Error(text) = &reply {
            return Err(ReadError::Refused(String::from_utf8_lossy(text).into_owned()).into());
        }
        let [cursor, page] = reply.items().unwrap_or_default() else {
            return Err(ReadError::Unexpected("SCAN").into());
        };
        self.cursor = cursor.text().filter(|cursor| cursor.as_ref() != b"0").cloned();
        let keys = page.items().unwrap_or_default().iter().filter_map(Reply::text);
        Ok(Some(keys.filter(|key| !self.is_marker(key)).cloned().collect()))
    }

    fn is_marker(&self, key: &[u8]) -> bool {
        self.skips_marker && key == MARKER
    }
}
