//! Looking at both servers now and then, for what would make a flip impossible or unwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::foreign::{Baseline, Books, Foreign, Writers};
use super::halting::weigh;
use super::intent_file::{note_processes_if_settled, remember_servers};
use super::migration::{Course, Migration};
use super::phase::Blocker;
use super::users::{lacking, users};
use crate::check::rehearsal::User;
use crate::engine::Engine;
use crate::lane::SharedEngine;
use crate::pipeline::{Direction, UNREACHABLE_AFTER, connect_to_zero, mark};
use crate::protocol::reserved_keys::MARKER;
use crate::protocol::resp::{Reply, Request};
use crate::server::throttle;
use crate::server::{Clients, ServerInfo, told};
use crate::status::{Phase, Side};

/// How often.
const LOOK: Duration = Duration::from_millis(500);

/// Looks after one migration.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) migration: Arc<Migration>,
    /// Held while the marker is set or removed.
    pub(super) marking: tokio::sync::Mutex<()>,
    /// Locked behind the migration's course, never before it.
    watched: Mutex<Watched>,
}

/// What is remembered from look to look of the direction that serves.
#[derive(Debug)]
struct Watched {
    engine: Arc<SharedEngine>,
    /// Who was connected to the primary at the first look.
    baseline: Option<Baseline>,
    /// What the primary has counted, and we have sent.
    books: Books,
}

impl Watched {
    fn new(engine: Arc<SharedEngine>) -> Self {
        Self { engine, baseline: None, books: Books::default() }
    }
}

impl Health {
    pub(super) fn new(migration: Arc<Migration>) -> Arc<Self> {
        let watched = Mutex::new(Watched::new(migration.direction().engine.clone()));
        Arc::new(Self { migration, marking: tokio::sync::Mutex::default(), watched })
    }

    /// Looks until the process ends.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            self.look().await;
            sleep(LOOK).await;
        }
    }

    /// Looks once.
    pub(super) async fn look(&self) {
        let migration = &self.migration;
        let direction = migration.direction();
        direction.route.pool.close_vacant();
        let upstream = direction.route.pool.upstream();
        let answered = timeout(UNREACHABLE_AFTER, upstream.recognize()).await;
        let reached = answered.is_ok_and(|process| process.is_some());
        migration.course().seen.primary_answers = reached;
        if migration.phase() != Phase::Finalized {
            self.recognize_secondary(&direction).await;
            weigh(migration, &direction).await;
            note_processes_if_settled(&direction);
            remember_servers(migration, &direction);
            self.keep_marker().await;
            self.count_calls(&direction, false).await;
        }
        let mut blockers = self.foreign_clients(&direction).await;
        if direction.primary == Side::Source {
            blockers.extend(self.lacking_users(&direction).await);
            blockers.extend(self.refused_marker().await);
        }
        migration.course().seen.blockers = blockers;
    }

    /// A secondary that was demoted and promoted keeps its connections, and may hold other data.
    pub(super) async fn recognize_secondary(&self, direction: &Direction) {
        let side = direction.primary.other();
        let replies = self.migration.env.ask(side, &ServerInfo::questions()).await;
        self.migration.course().seen.secondary_answers = replies.is_some();
        if let Some(now) = replies.and_then(|replies| ServerInfo::answered(&replies)) {
            if now.is_replica() {
                self.migration.env.endpoint(side).doubt();
            }
            direction.peer.note(now, side.name(), &direction.engine);
        }
    }

    /// Holds what the primary counts against what it was sent; `held`: for the last look of a flip. Any
    /// other that comes so late would find the marker of the cut-over among the calls.
    pub(super) async fn count_calls(&self, direction: &Direction, held: bool) {
        let before = direction.engine.look(Engine::calls);
        let questions = ["server", "commandstats"].map(|section| Request::new(["INFO", section]));
        let asked = direction.route.pool.upstream().ask_all(&questions);
        let replies = timeout(UNREACHABLE_AFTER, asked).await.ok().flatten();
        let Some(told) = replies.and_then(|replies| told(&replies)) else { return };
        let after = direction.engine.look(Engine::calls);
        let foreign = {
            let course = self.migration.course();
            let Some(mut watched) = self.watched(&course, direction) else { return };
            if course.standing.is_held() != held {
                return;
            }
            watched.books.look(&before, &told, &after)
        };
        if !foreign.is_empty() {
            self.foreign_calls_found(foreign);
        }
    }

    /// What is remembered of this direction, unless it serves no longer: a flip may have come between.
    fn watched(&self, course: &Course, direction: &Direction) -> Option<MutexGuard<'_, Watched>> {
        if !std::ptr::eq(Arc::as_ptr(course.standing.route()), direction) {
            return None;
        }
        let mut watched = self.watched.lock();
        if !Arc::ptr_eq(&watched.engine, &direction.engine) {
            *watched = Watched::new(direction.engine.clone());
        }
        Some(watched)
    }

    fn foreign_calls_found(&self, calls: BTreeMap<&'static str, u64>) {
        let mut course = self.migration.course();
        warn!(
            ?calls,
            "somebody writes round the proxy: the servers may differ now; verify finds and mends it"
        );
        self.migration.metrics.foreign_writes.increment(calls.values().sum());
        course.seen.foreign = Some(Foreign::add(course.seen.foreign.take(), calls));
        course.seen.last_foreign = Some(Instant::now());
        course.doubt_verify();
    }

    /// Both servers were found equal by a comparison that began then, and no look since has seen
    /// anybody write round the proxy: whoever did before has done no harm that is left.
    pub(super) fn nobody_wrote_since(&self, began: Instant) -> bool {
        let seen = &mut self.migration.course().seen;
        let clean = seen.last_foreign.is_none_or(|seen| seen < began);
        if clean {
            seen.foreign = None;
            self.watched.lock().baseline = None;
        }
        clean
    }

    /// Connections to the primary that are not ours and whose last command was a write.
    async fn foreign_clients(&self, direction: &Direction) -> Vec<Blocker> {
        let reply = ask(direction, &["CLIENT", "LIST", "TYPE", "normal"]).await;
        let clients = reply.as_ref().map(Clients::answered).unwrap_or_default();
        let tag = self.migration.env.endpoint(direction.primary).tag.as_deref();
        let writers = {
            let course = self.migration.course();
            let Some(mut watched) = self.watched(&course, direction) else { return Vec::new() };
            let baseline = watched.baseline.get_or_insert_with(|| Baseline::take(&clients));
            baseline.writers(&clients, tag.unwrap_or_default())
        };
        self.foreign_clients_found(&writers);
        writers.told.into_iter().map(Blocker::ForeignClient).collect()
    }

    /// Whoever writes round the proxy has made the last comparison worthless.
    fn foreign_clients_found(&self, writers: &Writers) {
        let Some(idle) = writers.idle else { return };
        let mut course = self.migration.course();
        course.doubt_verify();
        let seen = &mut course.seen;
        // The server rounds down; what was written in that second is in its statistics.
        let wrote = Instant::now().checked_sub(Duration::from_secs(idle + 1));
        seen.last_foreign = seen.last_foreign.max(wrote);
        if seen.blockers.is_empty() {
            for finding in &writers.told {
                warn!(finding, "the servers may differ now; verify finds and mends it");
            }
        }
    }

    /// Users of the source whom the target lacks, or who may do something else there.
    async fn lacking_users(&self, direction: &Direction) -> Vec<Blocker> {
        let there = ask(direction, &["ACL", "LIST"]).await;
        let Some(there) = there.as_ref().and_then(users) else { return Vec::new() };
        if there.iter().all(User::is_default) {
            return Vec::new();
        }
        let question = Request::new(["ACL", "LIST"]);
        let listed = self.migration.env.ask(Side::Target, &[question]).await;
        let here = listed.and_then(|replies| users(replies.first()?));
        lacking(&there, here.as_deref())
    }

    /// The error of a source that could not be given the marker now. Asked with a command that counts
    /// as a write, and writes nothing.
    async fn refused_marker(&self) -> Option<Blocker> {
        let question = Request::new([b"SORT".as_ref(), MARKER]);
        let replies = self.migration.env.ask(Side::Source, &[question]).await?;
        let Some(Reply::Error(error)) = replies.first() else { return None };
        let passable: [&[u8]; 3] = [b"OOM", b"NOPERM", b"WRONGTYPE"];
        if passable.iter().any(|code| error.starts_with(code)) {
            return None;
        }
        Some(Blocker::RefusesWrites(String::from_utf8_lossy(error).into_owned()))
    }

    /// Puts the marker back on a source that has evicted it, or that somebody has deleted it from.
    async fn keep_marker(&self) {
        let _only_one = self.marking.lock().await;
        if self.migration.course().state().phase != Phase::CutOver {
            return;
        }
        let env = &self.migration.env;
        let question = Request::new([b"EXISTS".as_ref(), MARKER]);
        let replies = env.ask(Side::Source, &[question]).await;
        if replies.and_then(|replies| replies.first()?.integer()) != Some(0) {
            return;
        }
        let Ok(mut source) = connect_to_zero(env.endpoint(Side::Source)).await else { return };
        if let Ok(Ok(())) = mark(&mut source, true).await {
            info!("the marker of the cut-over was gone from the source, and has been put back");
        }
    }
}

async fn ask(direction: &Direction, args: &[&str]) -> Option<Reply> {
    let upstream = direction.route.pool.upstream();
    let reply = timeout(UNREACHABLE_AFTER, upstream.ask(&Request::new(args))).await;
    reply.ok().flatten().filter(|reply| !reply.is_error())
}

/// Tells background work how much clients do, until the process ends.
pub(super) async fn watch_traffic(migration: Arc<Migration>) {
    loop {
        let Some(registry) = migration.registry() else { return };
        if timeout(throttle::LOOK, registry.somebody_came()).await.is_ok() {
            migration.env.throttle.expect();
        }
        migration.env.throttle.look(registry.commands());
    }
}
