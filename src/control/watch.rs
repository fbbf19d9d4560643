//! Looking at both servers now and then, for what would make a flip impossible or unwise.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::warn;

use super::course::doubt;
use super::direction::Direction;
use super::foreign::Foreign;
use super::migration::{Migration, PATIENCE};
use super::recording::note_processes_if_settled;
use crate::engine::Engine;
use crate::protocol::command::{self, Serve};
use crate::protocol::resp::{Reply, Request};
use crate::server::throttle;
use crate::server::{Client, Clients, ServerInfo, told};
use crate::status::{Phase, Side};

/// How often.
const LOOK: Duration = Duration::from_millis(500);

impl Migration {
    /// Looks until the process ends.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            self.look().await;
            sleep(LOOK).await;
        }
    }

    /// Tells background work how much clients do, until the process ends.
    pub(super) async fn watch_traffic(self: Arc<Self>) {
        loop {
            let Some(registry) = self.registry() else { return };
            if timeout(throttle::LOOK, registry.somebody_came()).await.is_ok() {
                self.world.courtesy.expect();
            }
            self.world.courtesy.look(registry.commands());
        }
    }

    /// Looks once.
    pub(super) async fn look(&self) {
        let direction = self.direction();
        direction.route.pool.close_vacant();
        let upstream = direction.route.pool.upstream();
        let answered = timeout(PATIENCE, upstream.recognize()).await;
        let reached = answered.is_ok_and(|process| process.is_some());
        self.primary_connected.store(reached, Ordering::Relaxed);
        if self.phase() != Phase::Finalized {
            self.recognize_secondary(&direction).await;
            self.weigh(&direction).await;
            note_processes_if_settled(&direction);
            self.keep_marker().await;
            self.count_calls(&direction, false).await;
        }
        let mut findings = self.foreign_writers(&direction).await;
        if direction.primary == Side::Source {
            findings.extend(self.lacking_users(&direction).await);
            findings.extend(self.unmarkable(&direction).await);
        }
        self.inner.lock().findings = findings;
    }

    /// A secondary that was demoted and promoted keeps its connections, and may hold other data.
    pub(super) async fn recognize_secondary(&self, direction: &Direction) {
        let side = direction.primary.other();
        let replies = self.ask_side(side, &ServerInfo::questions()).await;
        self.secondary_answers.store(replies.is_some(), Ordering::Relaxed);
        if let Some(now) = replies.and_then(|replies| ServerInfo::answered(&replies)) {
            direction.peer.note(now, side.name(), &direction.engine);
        }
    }

    /// Holds what the primary counts against what it was sent; `held`: for the last look of a flip. Any
    /// other that comes so late would find the marker of the cut-over among the calls.
    pub(super) async fn count_calls(&self, direction: &Direction, held: bool) {
        let before = direction.engine.look(Engine::calls);
        let reply = ask(direction, ["INFO", "commandstats"].as_slice()).await;
        let Some(told) = reply.and_then(|reply| told(&[reply])) else { return };
        let after = direction.engine.look(Engine::calls);
        let foreign = {
            let inner = self.inner.lock();
            // A flip may have come between, and these are the books of the next primary.
            let serves = std::ptr::eq(Arc::as_ptr(inner.standing.route()), direction);
            if !serves || inner.standing.is_held() != held {
                return;
            }
            self.books.lock().look(&before, &told, &after)
        };
        if !foreign.is_empty() {
            self.foreign_calls_found(foreign);
        }
    }

    fn foreign_calls_found(&self, calls: BTreeMap<&'static str, u64>) {
        let mut inner = self.inner.lock();
        warn!(
            ?calls,
            "somebody writes round the proxy: the servers may differ now; verify finds and mends it"
        );
        self.metrics.foreign_writes.increment(calls.values().sum());
        inner.foreign = Some(Foreign::add(inner.foreign.take(), calls));
        inner.foreign_seen = Some(Instant::now());
        doubt(&mut inner.verify);
    }

    /// Both servers were found equal by a comparison that began then, and no look since has seen
    /// anybody write round the proxy: whoever did before has done no harm that is left.
    pub(super) fn nobody_wrote_since(&self, began: Instant) -> bool {
        let mut inner = self.inner.lock();
        let clean = inner.foreign_seen.is_none_or(|seen| seen < began);
        if clean {
            inner.foreign = None;
            drop(inner);
            *self.baseline.lock() = None;
        }
        clean
    }

    /// Connections to the primary that are not ours and whose last command was a write.
    async fn foreign_writers(&self, direction: &Direction) -> Vec<String> {
        let reply = ask(direction, ["CLIENT", "LIST", "TYPE", "normal"].as_slice()).await;
        let clients = reply.as_ref().map(Clients::answered).unwrap_or_default();
        let (findings, idle) = self.writers_since(direction, &clients);
        if let Some(idle) = idle.into_iter().min() {
            self.foreign_writers_found(&findings, idle);
        }
        findings
    }

    /// Those of the clients that have written since the watch began, and how long ago.
    fn writers_since(&self, direction: &Direction, clients: &Clients) -> (Vec<String>, Vec<u64>) {
        let mut baseline = self.baseline.lock();
        let baseline = baseline.get_or_insert_with(|| Baseline {
            taken: Instant::now(),
            activities: clients.iter().filter_map(|client| activity(client, 0)).collect(),
        });
        let now = i64::try_from(baseline.taken.elapsed().as_secs()).unwrap_or(i64::MAX);
        let new = |client: &Client<'_>| {
            activity(*client, now).is_some_and(|activity| baseline.is_new(activity))
        };
        let tag = self.world.endpoint(direction.primary).tag.as_deref().unwrap_or_default();
        let writers = clients.iter().filter(new);
        writers.filter_map(|client| Some((foreign_writer(client, tag)?, idle(client)?))).unzip()
    }

    /// Whoever writes round the proxy has made the last comparison worthless.
    fn foreign_writers_found(&self, findings: &[String], idle: u64) {
        let mut inner = self.inner.lock();
        doubt(&mut inner.verify);
        // The server rounds down; what was written in that second is in its statistics.
        let wrote = Instant::now().checked_sub(Duration::from_secs(idle + 1));
        inner.foreign_seen = inner.foreign_seen.max(wrote);
        if inner.findings.is_empty() {
            for finding in findings {
                warn!(finding, "the servers may differ now; verify finds and mends it");
            }
        }
    }

    /// Users of the source whom the target lacks, or who may do something else there.
    async fn lacking_users(&self, direction: &Direction) -> Vec<String> {
        let Some(there) = users(ask(direction, ["ACL", "LIST"].as_slice()).await) else {
            return Vec::new();
        };
        if there.iter().all(|user| user.name == "default") {
            return Vec::new();
        }
        let request = Request::new(["ACL", "LIST"]);
        let listed = self.ask_side(Side::Target, std::slice::from_ref(&request)).await;
        let here = users(listed.and_then(|mut replies| replies.pop()));
        let mut findings = Vec::new();
        for user in there.iter().filter(|user| user.name != "default" && user.is_on()) {
            let twin = here.as_ref().map(|here| here.iter().find(|twin| twin.name == user.name));
            match twin {
                None => findings.push("the target does not tell its users (ACL LIST)".to_owned()),
                Some(None) => findings.push(format!("the target lacks the user '{}'", user.name)),
                Some(Some(twin)) if !twin.may_all_that(user) => findings.push(format!(
                    "the user '{}' has other rights or passwords on the target",
                    user.name
                )),
                Some(Some(_)) => {}
            }
        }
        findings.dedup();
        findings
    }
}

async fn ask(direction: &Direction, args: &[&str]) -> Option<Reply> {
    let upstream = direction.route.pool.upstream();
    let reply = timeout(PATIENCE, upstream.ask(&Request::new(args))).await;
    reply.ok().flatten().filter(|reply| !reply.is_error())
}

/// When somebody else's connection last did something, by what it tells: its number, and the second
/// of its last command, in the seconds since the first look.
type Activity = (i64, i64);

/// Who was connected at the first look. What they did before it is in the backfill.
#[derive(Debug)]
pub(super) struct Baseline {
    taken: Instant,
    activities: HashMap<i64, i64>,
}

impl Baseline {
    /// Whether a connection has done something since, give or take the second that the server
    /// rounds to.
    fn is_new(&self, (id, active): Activity) -> bool {
        self.activities.get(&id).is_none_or(|before| active > before + 1)
    }
}

fn activity(client: Client<'_>, now: i64) -> Option<Activity> {
    Some((client.field("id").parse().ok()?, now - i64::try_from(idle(client)?).ok()?))
}

/// For how many seconds a connection has done nothing.
fn idle(client: Client<'_>) -> Option<u64> {
    client.field("idle").parse().ok()
}

/// What is said of a client that is somebody else's and writes. Ours bear the migration's tag, for
/// anybody may take a name that begins like ours.
fn foreign_writer(client: Client<'_>, tag: &str) -> Option<String> {
    let field = |name: &str| client.field(name);
    let is_ours =
        |name: &str| name.starts_with("crossfade-") && name.split(':').nth(1) == Some(tag);
    if is_ours(field("name")) {
        return None;
    }
    let name = Request::new(field("cmd").split('|'));
    let writes = command::lookup(&name).is_some_and(|command| {
        matches!(command.serve, Serve::Write | Serve::Barrier | Serve::Blocking | Serve::Script)
    });
    writes.then(|| {
        let (address, name, cmd) = (field("addr"), field("name"), field("cmd"));
        format!("a client writes round the proxy: addr={address} name={name} cmd={cmd}")
    })
}

/// One line of `ACL LIST`.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    rules: Vec<String>,
}

impl User {
    fn is_on(&self) -> bool {
        self.rules.iter().any(|rule| rule == "on")
    }

    fn has(&self, rule: &str) -> bool {
        self.rules.iter().any(|own| own == rule)
    }

    /// Whether this user surely may do whatever `other` may, with the same passwords.
    fn may_all_that(&self, other: &Self) -> bool {
        let everything = self.has("~*") && self.has("&*") && self.has("+@all");
        let rights = |user: &Self| -> Vec<String> {
            user.rules.iter().filter(|rule| !rule.starts_with('#')).cloned().collect()
        };
        let passwords = other.rules.iter().filter(|rule| rule.starts_with('#'));
        self.is_on()
            && (self.has("nopass") || passwords.clone().all(|password| self.has(password)))
            && (everything || rights(self) == rights(other))
    }
}

fn users(reply: Option<Reply>) -> Option<Vec<User>> {
    let reply = reply?;
    let parse = |line: &Reply| {
        let line = String::from_utf8_lossy(line.text()?).into_owned();
        let mut words = line.split(' ').map(str::to_owned);
        (words.next()? == "user").then_some(())?;
        Some(User { name: words.next()?, rules: words.collect() })
    };
    Some(reply.items()?.iter().filter_map(parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_others_that_write_are_foreign_writers() {
        let line = "id=3 addr=1.2.3.4:5 name=cron age=1 cmd=set user=default";
        let foreign_writer = |line: &str| foreign_writer(Client(line), "ab");
        assert!(foreign_writer(line).unwrap().contains("addr=1.2.3.4:5 name=cron"));
        assert_eq!(foreign_writer("id=3 addr=1.2.3.4:5 name= cmd=get"), None);
        assert_eq!(foreign_writer("id=3 addr=x name=crossfade-lane:ab cmd=set"), None);
        for other in ["crossfade-lane", "crossfade-lane:cd", "crossfade-cron"] {
            let line = format!("id=3 addr=x name={other} cmd=set");
            assert!(foreign_writer(&line).is_some(), "{line}");
        }
    }

    #[test]
    fn a_user_that_may_do_less_is_told_from_one_that_may_do_more() {
        let user = |rules: &str| User {
            name: "u".to_owned(),
            rules: rules.split(' ').map(str::to_owned).collect(),
        };
        let app = user("on #aa ~app:* &* -@all +get");
        assert!(user("on #aa ~app:* &* -@all +get").may_all_that(&app));
        assert!(user("on #aa #bb ~* &* +@all").may_all_that(&app));
        assert!(!user("on #bb ~* &* +@all").may_all_that(&app));
        assert!(!user("on #aa ~other:* &* -@all +get").may_all_that(&app));
        assert!(!user("off #aa ~app:* &* -@all +get").may_all_that(&app));
    }
}
