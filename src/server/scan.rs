//! The keys of one database, page by page.

use bytes::Bytes;
use thiserror::Error;

use super::{Broken, Connection};
use crate::protocol::resp::Reply;

/// Why there is no next page.
#[derive(Debug, Error)]
pub enum ScanError {
    /// The connection is broken; the scan goes on where it stood on another one to the same process.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The server's error, code first, or what it said in place of a page.
    #[error("SCAN is refused: {0}")]
    Refused(String),
}

/// Goes over all keys once; one that is there from start to end is seen, some twice.
#[derive(Debug)]
pub(crate) struct Scan {
    /// `None` once it is through.
    cursor: Option<Bytes>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { cursor: Some(Bytes::from_static(b"0")) }
    }
}

impl Scan {
    /// The next keys, about `count`, perhaps none; `None` after the last. Asked of the database in
    /// which the connection is.
    ///
    /// # Errors
    /// No page came; the next call asks for the same one.
    pub(crate) async fn next(
        &mut self,
        count: usize,
        connection: &mut Connection,
    ) -> Result<Option<Vec<Bytes>>, ScanError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let count = count.to_string();
        let request = [b"SCAN".as_ref(), cursor, b"COUNT", count.as_bytes()];
        self.take(connection.command(request).await?).map(Some)
    }

    fn take(&mut self, reply: Reply) -> Result<Vec<Bytes>, ScanError> {
        match reply {
            Reply::Error(text) => {
                Err(ScanError::Refused(String::from_utf8_lossy(&text).into_owned()))
            }
            reply => match reply.items() {
                Some([cursor, Reply::Array(keys)]) => {
                    self.cursor = cursor.text().filter(|next| next.as_ref() != b"0").cloned();
                    Ok(keys.iter().filter_map(|key| key.text().cloned()).collect())
                }
                _ => Err(ScanError::Refused(format!("{reply:?}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(cursor: &'static str, keys: &[&'static str]) -> Reply {
        let text = |text: &'static str| Reply::Bulk(text.into());
        Reply::Array(vec![text(cursor), Reply::Array(keys.iter().copied().map(text).collect())])
    }

    #[test]
    fn a_scan_goes_on_behind_each_page_and_ends_with_cursor_0() {
        let mut scan = Scan::default();
        assert_eq!(scan.take(page("17", &["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(scan.cursor.as_deref(), Some(b"17".as_ref()));
        assert!(scan.take(page("0", &[])).unwrap().is_empty());
        assert_eq!(scan.cursor, None);
    }

    #[test]
    fn what_is_no_page_leaves_the_scan_where_it_stood() {
        let mut scan = Scan::default();
        scan.take(page("17", &[])).unwrap();
        let refused = scan.take(Reply::Error("NOPERM scan".into())).unwrap_err();
        assert_eq!(refused.to_string(), "SCAN is refused: NOPERM scan");
        assert!(scan.take(Reply::Integer(1)).is_err());
        assert_eq!(scan.cursor.as_deref(), Some(b"17".as_ref()));
    }
}
