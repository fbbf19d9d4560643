//! Steps on their way to a lane, and what each means to the engine.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::{Unit, Write};
use crate::lane::{Job, Lane, ReplyQueue, Sample, Shape, SharedEngine, Sink};
use crate::metrics::CommandKind;
use crate::protocol::command::Command;
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Protocol, Request};
use crate::proxy::session::{Queued, translated};

pub(in crate::proxy) type Requests = SmallVec<[Request; 1]>;

/// Steps that were decided and not submitted yet, all for one lane.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    jobs: Vec<Job>,
}

/// A step before the engine has seen it. It is kept until a lane has taken its job, because a flip
/// may come between, and then it means something else to another engine.
#[derive(Clone, Debug)]
struct Step {
    /// As the client sent them.
    requests: Requests,
    meaning: Meaning,
    silent: bool,
}

/// What a step means to the engine.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Meaning {
    /// Nothing; may be asked twice.
    Read,
    /// Nothing, but it does something.
    Pass,
    /// Nothing yet: the server queues it for an `EXEC`.
    Queue,
    /// Nothing: the server ends a transaction or a watch, unless it refuses.
    End,
    /// One write.
    Write(Option<&'static Command>, Vec<Bytes>),
    /// A whole transaction, `MULTI` first and `EXEC` last.
    Block(Vec<Queued>),
    /// One like it for a single command, which is answered once.
    Flush(Vec<Queued>),
    /// The `EXEC` of a transaction that a session has queued.
    Exec(Vec<Queued>),
    /// A blocking command wrapped in a transaction.
    Attempt(&'static Command),
}

impl Batch {
    pub(super) fn add(&mut self, requests: Requests, meaning: Meaning, silent: bool) {
        self.steps.push(Step { requests, meaning, silent });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Steps that a server is to queue for an `EXEC`.
    pub(super) fn to_be_queued(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.meaning, Meaning::Queue)).count()
    }

    pub(super) fn ends_with_exec(&self) -> bool {
        self.steps.last().is_some_and(|step| matches!(step.meaning, Meaning::Exec(_)))
    }

    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }

    /// How many replies its client waits for; it is empty afterwards.
    pub(super) fn take_answers(&mut self) -> usize {
        let answers = |step: Step| step.meaning.shape().answers(step.requests.len());
        self.steps.drain(..).map(answers).sum()
    }

    /// Gives up the steps: the requests that their client expects an answer to.
    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        let steps = std::mem::take(&mut self.steps).into_iter();
        steps.flat_map(Step::answered).collect()
    }

    /// Nobody waits for answers any more.
    pub(super) fn forget_reads(&mut self) {
        self.steps.retain(|step| !matches!(step.meaning, Meaning::Read));
    }

    /// Gives the first `most` steps to a lane. What was taken, by its size and kind; `None` when the
    /// lane is held or has ended, and nothing was.
    pub(super) fn submit(
        &mut self,
        most: usize,
        lane: &Lane,
        there: &Destination<'_>,
    ) -> Option<impl Iterator<Item = (usize, CommandKind)>> {
        let count = most.min(self.steps.len());
        self.jobs.extend(self.steps.iter().take(count).map(|step| step.job(there)));
        if !lane.submit(&mut self.jobs) {
            self.jobs.clear();
            return None;
        }
        Some(self.steps.drain(..count).map(|step| (step.bytes(), step.meaning.kind())))
    }
}

/// What a step becomes a job for.
pub(super) struct Destination<'a> {
    pub(super) engine: &'a SharedEngine,
    pub(super) databases: &'a Databases,
    /// The client's database, by the server's number.
    pub(super) db: u32,
    pub(super) protocol: Protocol,
    pub(super) replies: &'a Arc<ReplyQueue>,
}

impl Step {
    fn bytes(&self) -> usize {
        self.requests.iter().map(|request| request.raw().len()).sum()
    }

    /// The requests that the client is answered one by one.
    fn answered(self) -> SmallVec<[Request; 1]> {
        match self.meaning {
            Meaning::Attempt(_) | Meaning::Flush(_) => {
                self.requests.into_iter().skip(1).take(1).collect()
            }
            _ => self.requests,
        }
    }

    fn job(&self, there: &Destination<'_>) -> Job {
        let requests: Requests =
            self.requests.iter().map(|request| translated(request, there.databases)).collect();
        let unit = self.meaning.unit(&requests, there).map(Box::new);
        let (replies, sample) = (there.replies.clone(), self.sample(&requests, there));
        let sink = if self.silent { Sink::Silent(replies) } else { Sink::Client(replies) };
        let repeatable = matches!(self.meaning, Meaning::Read);
        Job { requests, unit, sink, shape: self.meaning.shape(), repeatable, sample }
    }

    /// A share of the reads is asked of the secondary too.
    fn sample(&self, requests: &[Request], there: &Destination<'_>) -> Option<Box<Sample>> {
        if !there.engine.shadow.rate.is_on()
            || self.silent
            || !matches!(self.meaning, Meaning::Read)
        {
            return None;
        }
        there.engine.sample(requests.first()?, there.db, there.protocol)
    }
}

impl Meaning {
    fn shape(&self) -> Shape {
        match self {
            Self::Attempt(_) => Shape::Attempt,
            Self::Flush(_) => Shape::AsOne,
            Self::Queue | Self::End => Shape::Queue,
            _ => Shape::Each,
        }
    }

    fn kind(&self) -> CommandKind {
        match self {
            Self::Read => CommandKind::Read,
            Self::Pass | Self::Queue | Self::End => CommandKind::Other,
            Self::Write(..)
            | Self::Block(_)
            | Self::Flush(_)
            | Self::Exec(_)
            | Self::Attempt(_) => CommandKind::Write,
        }
    }

    fn unit(&self, requests: &[Request], there: &Destination<'_>) -> Option<Unit> {
        let Destination { databases, db, .. } = *there;
        let keyer = there.engine.keyer();
        match self {
            Self::Read | Self::Pass | Self::Queue | Self::End => None,
            Self::Write(command, unknown) => {
                let request = requests.first()?.clone();
                Some(keyer.unit([keyer.write(*command, request, db, unknown)], false))
            }
            Self::Attempt(command) => {
                let request = requests.get(1)?.clone();
                Some(keyer.unit([keyer.write(Some(command), request, db, &[])], true))
            }
            Self::Block(queued) | Self::Flush(queued) | Self::Exec(queued) => {
                let writes = queued.iter().map(|queued| {
                    let request = translated(&queued.request, databases);
                    // Where one of them leads elsewhere, probes behind all would ask there.
                    let db = databases.to(queued.db).unwrap_or(db);
                    if queued.writes {
                        keyer.write(queued.command, request, db, &queued.unknown_keys)
                    } else {
                        Write::passive(request, db)
                    }
                });
                Some(keyer.unit(writes, true))
            }
        }
    }
}
