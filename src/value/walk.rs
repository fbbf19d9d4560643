//! Walking over the keys of two servers: every key of the one is looked for on the other, then the
//! other way round. Several workers may share the pages.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::{CompareError, Comparer};
use crate::protocol::reserved_keys::is_reserved;
use crate::server::throttle::Throttle;
use crate::server::{Connection, Scan, ScanError};

/// Which server's keys are gone over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The first one's: what the second lacks, or holds in another state.
    There,
    /// The second one's: what only it holds.
    Back,
}

impl Way {
    /// Of two, the one that belongs to the server whose keys are gone over.
    pub(crate) fn of<T>(self, first: T, second: T) -> T {
        match self {
            Self::There => first,
            Self::Back => second,
        }
    }

    /// Those of a page that must be compared.
    pub(crate) async fn candidates<'a>(
        self,
        page: &'a Page,
        comparer: &mut Comparer,
    ) -> Result<Cow<'a, [Bytes]>, CompareError> {
        Ok(match self {
            Self::There => Cow::Borrowed(&page.keys),
            Self::Back => Cow::Owned(comparer.lacking_first(&page.keys).await?),
        })
    }
}

/// The users' keys of one database, page by page.
#[derive(Debug)]
pub(crate) struct Pages {
    scan: Mutex<(Scan, Connection)>,
    db: u32,
    most: usize,
    throttle: Arc<Throttle>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Page {
    /// What is on it, perhaps nothing.
    pub keys: Vec<Bytes>,
    began: Instant,
}

impl Pages {
    /// Pages of about `most` keys of `db`, in which the connection is; smaller ones while clients are
    /// given way to.
    pub(crate) fn new(
        connection: Connection,
        db: u32,
        most: usize,
        throttle: Arc<Throttle>,
    ) -> Self {
        Self { scan: Mutex::new((Scan::default(), connection)), db, most, throttle }
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&self) -> Result<Option<Page>, ScanError> {
        let mut scan = self.scan.lock().await;
        let (scan, connection) = &mut *scan;
        let Some(mut keys) = scan.next(self.throttle.step(self.most), connection).await? else {
            return Ok(None);
        };
        keys.retain(|key| !is_reserved(self.db, key));
        Ok(Some(Page { keys, began: Instant::now() }))
    }

    /// Rests after what was done with a page.
    pub(crate) async fn rest(&self, page: Page) {
        self.throttle.rest(page.keys.len(), page.began.elapsed()).await;
    }
}
