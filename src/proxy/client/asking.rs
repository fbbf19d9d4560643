//! Questions that are asked in a client's place, whose answers are looked at before it gets them.

use bytes::Bytes;
use tokio::task::yield_now;

use super::{Client, Close};
use crate::lane::{Job, Lost, Purpose, Refusal};
use crate::protocol::resp::Request;
use crate::proxy::Route;
use crate::proxy::session::Needs;

impl Client {
    /// Asks the server that serves. `None`: it can't be asked, and the client has been told why.
    pub(in crate::proxy) async fn ask(
        &mut self,
        question: impl Fn(&Route) -> Request,
    ) -> Result<Option<Bytes>, Close> {
        match self.try_to_ask(Purpose::LongRead, question).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) => {
                self.refused(&refusal);
                Ok(None)
            }
        }
    }

    /// Asks on a lane for `purpose`, or where everything of the client is asked: on its own connection.
    /// While a flip is under way nothing is asked; then it is another question, maybe.
    pub(in crate::proxy) async fn try_to_ask(
        &mut self,
        purpose: Purpose,
        question: impl Fn(&Route) -> Request,
    ) -> Result<Result<Bytes, Refusal>, Close> {
        loop {
            self.prepare(Needs::Route).await?;
            let own = self.own.clone().filter(|_| self.session.is_pinned());
            let lane = match (own, self.upstream_context()) {
                (Some(own), _) => Ok(own),
                (None, Ok(context)) => self.route.pool.lane(&context, purpose).await,
                (None, Err(refusal)) => Err(refusal),
            };
            let lane = match lane {
                Ok(lane) => lane,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match lane.ask(Job::read, question(&self.route)).await {
                Some(Ok(answer)) => return Ok(Ok(answer)),
                Some(Err(Lost::Refused(refusal))) => return Ok(Err(refusal)),
                Some(Err(Lost::Connection(_))) => return Err(Close::Now),
                None => yield_now().await,
            }
        }
    }

    /// Asks the client's own connection, which is told what it asks, too. `None` as in [`Self::ask`].
    pub(in crate::proxy) async fn ask_own(
        &mut self,
        request: &Request,
    ) -> Result<Option<Bytes>, Close> {
        while self.prepare(Needs::Connection).await? {
            let Some(own) = self.own.clone() else { break };
            let (told, relay) = match self.as_told(request).await {
                Ok(told) => told,
                Err(error) => {
                    self.error(error);
                    break;
                }
            };
            let Some(answer) = own.ask(Job::pass, told).await else {
                yield_now().await;
                continue;
            };
            let answer = answer.map_err(|_| Close::Now)?;
            if request.is(1, "TRACKING") && !answer.starts_with(b"-") {
                self.relay = relay;
            }
            return Ok(Some(answer));
        }
        Ok(None)
    }
}
