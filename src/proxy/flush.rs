//! `FLUSHALL` of a client where not every database is migrated.

use super::client::{Client, Close, Meaning, Way};
use super::session::{Flush, Reason};
use crate::lane::Purpose;
use crate::protocol::command::lookup;
use crate::protocol::resp::Request;

impl Client {
    /// Empties the databases that are migrated.
    pub(super) async fn flush_migrated(&mut self, flushall: &Request) -> Result<(), Close> {
        let (requests, queued) = match self.session.flush(flushall, &self.route.databases) {
            Flush::One(flush) => {
                let command = lookup(&flush);
                return self.write(flush, command, Vec::new()).await;
            }
            Flush::Each(requests, queued) => (requests, queued),
        };
        if !self.may_attempt().await {
            self.refuse(&Reason::FlushNeedsMulti);
            return Ok(());
        }
        self.send(Way::Lane(Purpose::Write), requests.into(), Meaning::Flush(queued)).await
    }
}
