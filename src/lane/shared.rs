//! A lane as others hold it, and its life over several connections.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::driver::Driver;
use super::queue::Queue;
use super::reach::RETRY;
use super::server_identity::Origin;
use super::{Job, Lost, Refusal, ReplyQueue, Sink, Upstream};
use crate::protocol::resp::Request;
use crate::server::{ConnectError, Setup, Wire};

/// A handle to a lane; its task ends after the last one is dropped.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: Arc<Queue>,
    id: Option<i64>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Lane {
    /// A lane for many, which survives its connection.
    pub(super) fn shared(upstream: &Arc<Upstream>, setup: Setup, wire: Wire) -> Arc<Self> {
        let (queue, id) = (Arc::new(Queue::default()), wire.id);
        let task = serve_shared(upstream.clone(), setup, wire, queue.clone());
        upstream.tasks.spawn(task);
        Arc::new(Self { queue, id })
    }

    /// A session: a lane for one client, which ends with its connection.
    pub(super) fn session(upstream: &Arc<Upstream>, wire: Wire, client: Arc<ReplyQueue>) -> Self {
        let (queue, id) = (Arc::new(Queue::default()), wire.id);
        let engine = upstream.engine.clone();
        let driver =
            Driver::new(engine, wire, queue.clone(), VecDeque::new(), Some(client.clone()));
        let origin = upstream.identity.origin(id);
        upstream.tasks.spawn(serve_session(upstream.clone(), driver, client, origin));
        Self { queue, id }
    }

    /// A lane that leads nowhere.
    #[cfg(test)]
    pub(super) fn to_nowhere() -> Arc<Self> {
        Arc::new(Self { queue: Arc::default(), id: None })
    }

    /// The number that the server gave the (first) connection.
    pub(crate) fn id(&self) -> Option<i64> {
        self.id
    }

    /// Gives jobs to the lane; false, and nothing taken, when it is held or has ended.
    #[must_use]
    pub(crate) fn submit(&self, jobs: &mut Vec<Job>) -> bool {
        self.queue.push(jobs)
    }

    /// Asks one question, with the job that `make` makes of it. `None`: as in [`Self::submit`].
    pub(crate) async fn ask(
        &self,
        make: fn(Request, Sink) -> Job,
        question: Request,
    ) -> Option<Result<Bytes, Lost>> {
        let (sender, receiver) = oneshot::channel();
        if !self.submit(&mut vec![make(question, Sink::Task(sender))]) {
            return None;
        }
        let gone = || Lost::Connection("server".to_owned());
        let replies = receiver.await.unwrap_or_else(|_| Err(gone()));
        Some(replies.and_then(|replies| replies.into_iter().next().ok_or_else(gone)))
    }

    /// Takes no more jobs, or takes them again.
    pub(crate) fn hold(&self, held: bool) {
        self.queue.hold(held);
    }

    /// Whether the server will not have it any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.has_ended()
    }

    /// Whether nothing has come back for longer than any ordinary command takes.
    pub(crate) fn is_stuck(&self) -> bool {
        self.queue.is_stuck()
    }

    /// Whether every job has been answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.outstanding() == 0
    }
}

async fn serve_session(
    upstream: Arc<Upstream>,
    mut driver: Driver,
    client: Arc<ReplyQueue>,
    origin: Option<Origin>,
) {
    if driver.run().await.is_err() {
        client.disconnect();
    }
    let (_, doubt) = driver.give_up(upstream.name);
    upstream.settle(doubt, origin.as_ref()).await;
}

async fn serve_shared(upstream: Arc<Upstream>, setup: Setup, mut wire: Wire, queue: Arc<Queue>) {
    let mut backlog = VecDeque::new();
    loop {
        let origin = upstream.identity.origin(wire.id);
        let mut driver = Driver::new(upstream.engine.clone(), wire, queue.clone(), backlog, None);
        let Err(error) = driver.run().await else { return };
        let (again, doubt) = driver.give_up(upstream.name);
        backlog = again;
        info!(server = upstream.name, %error, "lane lost its connection");
        if queue.is_closed() {
            fail_all(&queue, backlog, &Lost::Connection(upstream.name.to_owned()));
            return upstream.settle(doubt, origin.as_ref()).await;
        }
        let next = reconnect(&upstream, &setup, &queue, &mut backlog).await;
        upstream.finish(origin.as_ref()).await;
        doubt.resolve();
        let Some(next) = next else { return };
        wire = next;
    }
}

/// Tries until the server is back; jobs that have waited too long are refused meanwhile. A server that
/// is there and refuses ends the lane: the user is gone, or has another password.
async fn reconnect(
    upstream: &Upstream,
    setup: &Setup,
    queue: &Arc<Queue>,
    backlog: &mut VecDeque<Job>,
) -> Option<Wire> {
    let mut waiting: VecDeque<(Instant, Job)> =
        backlog.drain(..).map(|job| (Instant::now(), job)).collect();
    loop {
        let error = match upstream.connect(setup).await {
            Ok(wire) => {
                backlog.extend(waiting.into_iter().map(|(_, job)| job));
                return Some(wire);
            }
            Err(error) if error.may_pass() => error,
            Err(error) => {
                info!(server = upstream.name, %error, "lane ended: the server refuses its user");
                let waiting = waiting.into_iter().map(|(_, job)| job).chain(queue.end());
                fail_all(
                    queue,
                    waiting,
                    &Lost::Refused(Refusal::Server(error.reason().to_owned())),
                );
                return None;
            }
        };
        let mut fresh = VecDeque::new();
        let taken =
            std::future::poll_fn(|cx| std::task::Poll::Ready(queue.poll_take(cx, &mut fresh)))
                .await;
        waiting.extend(fresh.into_iter().map(|job| (Instant::now(), job)));
        refuse_overdue(upstream, queue, &mut waiting, &error);
        if taken == std::task::Poll::Ready(false) && waiting.is_empty() {
            return None;
        }
        sleep(RETRY).await;
    }
}

fn refuse_overdue(
    upstream: &Upstream,
    queue: &Queue,
    waiting: &mut VecDeque<(Instant, Job)>,
    error: &ConnectError,
) {
    let reason = format!("the {} is unreachable: {error}", upstream.name);
    let lost = Lost::Refused(Refusal::Unreachable(reason));
    let mut refused = 0;
    while waiting.front().is_some_and(|(since, _)| since.elapsed() >= upstream.timeout) {
        if let Some((_, job)) = waiting.pop_front() {
            queue.answered(1);
            job.lose(&lost);
            refused += 1;
        }
    }
    if refused > 0 {
        warn!(server = upstream.name, %error, commands = refused, "commands refused: no server");
    }
}

fn fail_all(queue: &Queue, backlog: impl IntoIterator<Item = Job>, lost: &Lost) {
    for job in backlog {
        queue.answered(1);
        job.lose(lost);
    }
}
