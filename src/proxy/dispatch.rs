//! Deciding where each request goes, and sending many at once.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::client::{Client, Close, Way};
use super::session::{Action, Queued, Reason, Rules, translated};
use crate::engine::{Keyer, Unit, Write};
use crate::lane::{Job, Lane, Mailbox, Purpose, Refusal, Shape, Sink};
use crate::metrics::{ClientErrorKind, CommandKind};
use crate::protocol::command::{self, Command, Serve};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{self, Request};

type Requests = SmallVec<[Request; 1]>;

/// Steps that were decided and not submitted yet, all for one lane.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
    jobs: Vec<Job>,
}

/// A step before the engine has seen it. It is kept until a lane has taken its job, because a flip
/// may come between, and then it means something else to another engine.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// As the client sent them.
    pub(super) requests: Requests,
    pub(super) meaning: Meaning,
    pub(super) silent: bool,
}

/// What a step means to the engine.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// Nothing; may be asked twice.
    Read,
    /// Nothing, but it does something.
    Pass,
    /// Nothing yet: the server queues it for an `EXEC`.
    Queue,
    /// One write.
    Write(Option<&'static Command>, Vec<Bytes>),
    /// A whole transaction, `MULTI` first and `EXEC` last.
    Block(Vec<Queued>),
    /// The `EXEC` of a transaction that a session has queued.
    Exec(Vec<Queued>),
    /// A blocking command wrapped in a transaction.
    Attempt(&'static Command),
}

impl Client {
    /// Handles one request.
    pub(super) async fn handle(&mut self, request: Request) -> Result<(), Close> {
        if self.shared.pause.is_on() {
            self.wait_out_pause(self.session.is_paused_as_write(&request)).await?;
        }
        if self.shared.registry.is_monitored() {
            self.show_monitors(&request);
        }
        self.session.take_skip();
        let Some(command) = command::lookup(&request) else {
            // A web page that makes a browser speak to this port: the server hangs up too.
            if request.is(0, "POST") || request.is(0, "HOST:") {
                self.shared.complain(self.entry.id, "it speaks HTTP: possibly a cross-site attack");
                return Err(Close::Now);
            }
            return Box::pin(self.handle_unknown(request)).await;
        };
        self.last_command = command.name;
        let serve = command.serve(&request);
        self.entry.tally.came(kind(serve));
        match self.session.on_request(&request, (command, serve), &self.rules()) {
            Action::Read { rides } => self.beside_writes(request, Meaning::Read, rides).await,
            Action::Once { rides } => self.beside_writes(request, Meaning::Pass, rides).await,
            Action::Write => self.write(request, Some(command), Vec::new()).await,
            // What is seldom under way takes no room in the task of every client.
            action => Box::pin(self.carry_out(action, request, command)).await,
        }
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            databases: &self.route.databases,
            allow_admin: self.shared.allow_admin,
            checks_cursors: self.route.cursors.is_some(),
        }
    }

    /// Does what is more than sending a request.
    async fn carry_out(
        &mut self,
        action: Action,
        request: Request,
        command: &'static Command,
    ) -> Result<(), Close> {
        let done = match action {
            Action::ReadByScript if self.brings_script(&request) => {
                self.write(request, Some(command), Vec::new()).await
            }
            Action::Read { .. } | Action::ReadByScript => {
                self.beside_writes(request, Meaning::Read, false).await
            }
            Action::Once { .. } => self.pass(request).await,
            Action::Write => self.write(request, Some(command), Vec::new()).await,
            Action::Scan(place) => self.scan(request, place).await,
            Action::Block => self.block(request, command).await,
            Action::Multi => self.multi(request).await,
            Action::Watch(keys) => self.watch(request, keys).await,
            Action::Unwatch => self.end_by(request).await,
            Action::Queue => self.queue(request, command).await,
            Action::Subscribe => self.subscribe(request).await,
            Action::Confined => self.handle_confined(request).await,
            Action::Connection(kind) => self.connection(request, kind).await,
            Action::Alone => self.alone(request).await,
            Action::Refuse(reason) => self.refuse(&reason.to_string()).await,
        };
        self.leave_own();
        done
    }

    pub(super) async fn refuse(&mut self, reason: &str) -> Result<(), Close> {
        self.settle().await?;
        self.blame(ClientErrorKind::Refused);
        self.error(&format!("ERR crossfade: {reason}"));
        Ok(())
    }

    fn brings_script(&self, request: &Request) -> bool {
        self.route.hub.look(|engine| engine.brings_script(request))
    }

    /// A command that changes no key. One whose answer is short may ride behind what the client has
    /// under way; another would make others wait.
    async fn beside_writes(
        &mut self,
        request: Request,
        meaning: Meaning,
        rides: bool,
    ) -> Result<(), Close> {
        let purpose = match self.way {
            _ if !rides => Purpose::LongRead,
            Way::Lane(purpose) if self.is_busy() => purpose,
            _ => Purpose::Read,
        };
        self.enter(Way::Lane(purpose)).await?;
        self.add(SmallVec::from_iter([request]), meaning);
        Ok(())
    }

    /// Whether steps are under way.
    fn is_busy(&self) -> bool {
        self.submitted > self.answered || !self.batch.steps.is_empty()
    }

    /// A command that changes no key but must not be asked twice.
    pub(super) async fn pass(&mut self, request: Request) -> Result<(), Close> {
        self.beside_writes(request, Meaning::Pass, false).await
    }

    pub(super) async fn write(
        &mut self,
        request: Request,
        command: Option<&'static Command>,
        unknown_keys: Vec<Bytes>,
    ) -> Result<(), Close> {
        self.enter(Way::Lane(Purpose::Write)).await?;
        self.add(SmallVec::from_iter([request]), Meaning::Write(command, unknown_keys));
        Ok(())
    }

    /// Makes `way` the one that serves; before changing it, all steps in flight are answered.
    pub(super) async fn enter(&mut self, way: Way) -> Result<(), Close> {
        let way = if self.session.is_pinned() { Way::Own } else { way };
        if way != self.way {
            self.settle().await?;
            self.way = way;
            self.lane = None;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, requests: Requests, meaning: Meaning) {
        self.add_silently(requests, meaning, self.session.is_silent());
    }

    pub(super) fn add_silently(&mut self, requests: Requests, meaning: Meaning, silent: bool) {
        self.batch.steps.push(Step { requests, meaning, silent });
    }

    /// Gives the batched steps to the lane, waiting while it is held, or has given the client enough.
    ///
    /// A server executes what it has read of a client before it sees that the client is gone; but what
    /// only reads need not be done.
    pub(super) async fn submit(&mut self) -> Result<(), Close> {
        if self.gone {
            self.batch.forget_reads();
        }
        while !self.batch.steps.is_empty() {
            self.current_route().await?;
            self.break_exec();
            if self.room() == 0 {
                self.make_room().await?;
                if self.gone {
                    self.batch.forget_reads();
                }
                continue;
            }
            let Some(lane) = self.lane().await? else { continue };
            // Behind a step of its own a client waits, as on the server.
            if self.under_way() == 0
                && lane.is_stuck()
                && let Some(busy) = self.route.clone().pool.upstream().busy().await
            {
                self.refuse_as_busy(&busy);
                continue;
            }
            let client_db = self.session.context.db;
            let Some(db) = self.route.databases.to(client_db) else {
                self.refuse_batch(&Reason::Unmigrated(client_db).to_string());
                continue;
            };
            let room = self.room();
            self.batch.build(
                room,
                self.route.hub.keyer(),
                db,
                &self.mailbox,
                &self.route.databases,
            );
            let count = self.batch.jobs.len();
            if lane.submit(&mut self.batch.jobs) {
                self.submitted += count as u64;
                for step in self.batch.steps.drain(..count) {
                    self.asked +=
                        step.requests.iter().map(|request| request.raw().len()).sum::<usize>();
                    self.stopwatch.start(self.came, step.meaning.kind());
                }
            } else {
                self.batch.jobs.clear();
                if self.way != Way::Own {
                    self.lane = None;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The lane of the current way; when there is none, the batch is answered with the reason.
    async fn lane(&mut self) -> Result<Option<Arc<Lane>>, Close> {
        if let Some(lane) = &self.lane {
            return Ok(Some(lane.clone()));
        }
        if let (Way::Own, Some(lane)) = (self.way, self.own.clone()) {
            return Ok(Some(lane));
        }
        let context = match self.upstream_context() {
            Ok(context) => context,
            Err(reason) => {
                self.refuse_batch(&reason);
                return Ok(None);
            }
        };
        if self.lanes.as_ref().is_none_or(|lanes| !lanes.serve(&context)) {
            self.lanes = None;
            // Opening them is seldom, and takes no room in the task of every client.
            match Box::pin(self.route.clone().pool.lanes(&context)).await {
                Ok(lanes) => self.lanes = Some(lanes),
                Err(refusal) => return self.refuse_all(&refusal).map(|()| None),
            }
        }
        let purpose = match self.way {
            Way::Lane(purpose) => purpose,
            Way::Own => Purpose::Write,
        };
        self.lane = self.lanes.as_ref().map(|lanes| lanes.pick(purpose));
        Ok(self.lane.clone())
    }

    /// Answers the batch with what the server says of this client. Whom it does not know any more, it
    /// would have disconnected.
    fn refuse_all(&mut self, refusal: &Refusal) -> Result<(), Close> {
        for _ in 0..self.batch.take_answers() {
            self.refused(refusal);
        }
        match refusal {
            Refusal::Server(error) if error.starts_with("WRONGPASS") => Err(Close::Gracefully),
            _ => Ok(()),
        }
    }

    /// The client's context with the database under the primary's number.
    pub(super) fn upstream_context(&self) -> Result<crate::lane::Context, String> {
        let context = self.session.context_behind(&self.route.databases);
        context.map_err(|db| Reason::Unmigrated(db).to_string())
    }

    fn refuse_batch(&mut self, reason: &str) {
        for _ in 0..self.batch.take_answers() {
            self.blame(ClientErrorKind::Refused);
            self.error(&format!("ERR crossfade: {reason}"));
        }
    }

    /// Answers the batch as a server does while a script runs: a transaction may begin and end, but
    /// not hold anything.
    fn refuse_as_busy(&mut self, busy: &Bytes) {
        let busy = String::from_utf8_lossy(busy);
        for request in self.batch.take_requests() {
            if request.is(0, "MULTI") {
                self.reply(|out| resp::simple(out, "OK"));
            } else if request.is(0, "EXEC") {
                self.error(&format!("EXECABORT Transaction discarded because of: {busy}"));
            } else {
                self.error(&busy);
            }
        }
    }
}

fn kind(serve: Serve) -> CommandKind {
    match serve {
        Serve::Read { .. } => CommandKind::Read,
        Serve::Write | Serve::Barrier | Serve::Blocking | Serve::Script => CommandKind::Write,
        _ => CommandKind::Other,
    }
}

impl Batch {
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

    /// How many replies its clients wait for; it is empty afterwards.
    fn take_answers(&mut self) -> usize {
        let answers = |step: Step| step.meaning.shape().answers(step.requests.len());
        self.steps.drain(..).map(answers).sum()
    }

    /// Gives up the steps: the requests that their client expects an answer to.
    fn take_requests(&mut self) -> Vec<Request> {
        let steps = std::mem::take(&mut self.steps).into_iter();
        steps.flat_map(Step::answered).collect()
    }

    /// Nobody waits for answers any more.
    pub(super) fn forget_reads(&mut self) {
        self.steps.retain(|step| !matches!(step.meaning, Meaning::Read));
    }

    /// Makes jobs of the first `most` steps.
    fn build(
        &mut self,
        most: usize,
        keyer: &Keyer,
        db: u32,
        mailbox: &Arc<Mailbox>,
        databases: &Databases,
    ) {
        self.jobs.clear();
        let Self { steps, jobs } = self;
        let steps = steps.get(..most).unwrap_or(steps);
        jobs.extend(steps.iter().map(|step| {
            let requests = step.translated(databases);
            let unit = step.meaning.unit(&requests, keyer, db, databases);
            step.job(requests, unit, mailbox)
        }));
    }
}

impl Step {
    /// The requests as the server has to get them.
    fn translated(&self, databases: &Databases) -> Requests {
        self.requests.iter().map(|request| translated(request, databases)).collect()
    }

    /// The requests that the client is answered one by one.
    fn answered(self) -> SmallVec<[Request; 1]> {
        match self.meaning {
            Meaning::Attempt(_) => self.requests.into_iter().skip(1).take(1).collect(),
            _ => self.requests,
        }
    }

    fn job(&self, requests: Requests, unit: Option<Unit>, mailbox: &Arc<Mailbox>) -> Job {
        let sink =
            if self.silent { Sink::Silent(mailbox.clone()) } else { Sink::Client(mailbox.clone()) };
        let shape = self.meaning.shape();
        let repeatable = matches!(self.meaning, Meaning::Read);
        Job { requests, unit: unit.map(Box::new), sink, shape, repeatable }
    }
}

impl Meaning {
    fn shape(&self) -> Shape {
        match self {
            Self::Attempt(_) => Shape::Attempt,
            Self::Queue => Shape::Queue,
            _ => Shape::Each,
        }
    }

    fn kind(&self) -> CommandKind {
        match self {
            Self::Read => CommandKind::Read,
            Self::Pass | Self::Queue => CommandKind::Other,
            Self::Write(..) | Self::Block(_) | Self::Exec(_) | Self::Attempt(_) => {
                CommandKind::Write
            }
        }
    }

    fn unit(
        &self,
        requests: &[Request],
        keyer: &Keyer,
        db: u32,
        databases: &Databases,
    ) -> Option<Unit> {
        match self {
            Self::Read | Self::Pass | Self::Queue => None,
            Self::Write(command, unknown) => {
                let request = requests.first()?.clone();
                Some(keyer.unit([keyer.write(*command, request, db, unknown)], false))
            }
            Self::Attempt(command) => {
                let request = requests.get(1)?.clone();
                Some(keyer.unit([keyer.write(Some(command), request, db, &[])], true))
            }
            Self::Block(queued) | Self::Exec(queued) => {
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
