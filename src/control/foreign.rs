//! Writers that go round the proxy, by what the primary counts: its calls of each write command, held
//! against those that were sent.
//!
//! *Rule: no false alarm.* A call that we sent is counted as begun before the primary can execute it,
//! and as ended only when it will not be executed any more. With `calls` of the primary, asked between
//! two looks at our counts, `begun - calls` is at least as large as `ended - calls` was at any time
//! before, as long as nobody else calls: the primary can't execute more of ours than had not ended
//! then. So the largest `ended - calls` that was seen is the bar; what is below it was somebody else's.
//! While nothing is in flight both are the same, and a single call shows; under load a few hide behind
//! what is in flight until there is a lull, or a flip holds the clients. Calls that fail, that are
//! refused, or get lost with a connection raise the bar when they have ended; statistics that are reset
//! do so at once.
//!
//! Scripts call commands that nobody sent. Where one ran since the last look, or a command that the
//! table does not know (a module's may call others), the bar is laid anew and nothing is said of other
//! commands. Whoever writes round an application that runs scripts all the time is found by the list of
//! clients, if at all. Commands that only write with some options, or that wait, are not looked at.
//!
//! Beside them, by the list of clients: connections that are not ours and whose last command wrote.
//!
//! *Must not know:* how the primary is asked.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use crate::engine::Calls;
use crate::protocol::command::{self, Command, Serve};
use crate::protocol::resp::Request;
use crate::server::{Called, Client, Clients, Info};

/// The bar of each command, since the direction began.
#[derive(Debug, Default)]
pub(super) struct Books {
    bars: BTreeMap<&'static str, i64>,
    /// Calls of scripts, and of what the table does not know.
    opaque: i64,
    /// Whose counts these are: another process began at nothing, or has followed one that did.
    process: String,
}

/// What was seen of others since the last clean verify.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    calls: BTreeMap<&'static str, u64>,
    seen: Instant,
}

impl Books {
    /// Holds what the primary says (`INFO commandstats`) against what was sent `before` it was asked
    /// and `after` it had answered. Gives the calls that were not ours, at least.
    pub(super) fn look(
        &mut self,
        before: &Calls,
        told: &Info,
        after: &Calls,
    ) -> BTreeMap<&'static str, u64> {
        if self.process != told.text("run_id") {
            *self = Self { process: told.text("run_id").to_owned(), ..Self::default() };
        }
        let (mut succeeded, mut opaque) = (BTreeMap::new(), 0);
        for (command, calls, failed) in told.calls().map(statistics) {
            match command {
                Some(command) => {
                    succeeded.insert(command.name, calls - failed);
                    // One that fails may have called others before.
                    opaque += if command.serve == Serve::Script { calls } else { 0 };
                }
                None => opaque += calls,
            }
        }
        let anew = std::mem::replace(&mut self.opaque, opaque) != opaque;
        let mut foreign = BTreeMap::new();
        for command in command::table().iter().filter(|command| tells(command)) {
            let calls = succeeded.get(command.name).copied().unwrap_or(0);
            let room = signed(after.begun(command)) - calls;
            let bar = signed(before.ended(command)) - calls;
            let known = self.bars.entry(command.name).or_insert(bar);
            let more = u64::try_from(*known - room).unwrap_or(0);
            // No script can call a script.
            let is_sure = !anew || command.serve == Serve::Script;
            if more > 0 && is_sure {
                foreign.insert(command.name, more);
            }
            *known = if more > 0 || anew { bar } else { bar.max(*known) };
        }
        foreign
    }
}

impl Foreign {
    /// What was known already, and more.
    pub(super) fn add(known: Option<Self>, more: BTreeMap<&'static str, u64>) -> Self {
        let mut calls = known.map(|known| known.calls).unwrap_or_default();
        for (name, count) in more {
            *calls.entry(name).or_default() += count;
        }
        Self { calls, seen: Instant::now() }
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let calls = self.calls.iter().map(|(name, count)| format!("{count} of {name}"));
        let (calls, ago) = (calls.collect::<Vec<_>>().join(", "), self.seen.elapsed().as_secs());
        format!(
            "somebody writes round the proxy: the server has counted calls that did not come from \
             here ({calls}), the last of them {ago} s ago; find the writer, then verify"
        )
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Whether its calls tell: each of them that succeeds is a write that was sent as one.
fn tells(command: &Command) -> bool {
    let writes = matches!(command.serve, Serve::Write | Serve::Barrier | Serve::Script);
    writes && !command.may_only_read()
}

/// Which command of the table it is, its calls, and how many of them failed.
fn statistics(told: Called<'_>) -> (Option<&'static Command>, i64, i64) {
    let command = command::lookup(&Request::new(told.command.split('|')));
    (command, signed(told.calls), signed(told.failed))
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

/// Connections that write round the proxy.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// One in words each.
    pub(super) told: Vec<String>,
    /// For how many seconds the last of them has done nothing.
    pub(super) idle: Option<u64>,
}

impl Baseline {
    pub(super) fn take(clients: &Clients) -> Self {
        let activities = clients.iter().filter_map(|client| activity(client, 0)).collect();
        Self { taken: Instant::now(), activities }
    }

    /// Those of the clients that have written since. Ours bear the `tag`.
    pub(super) fn writers(&self, clients: &Clients, tag: &str) -> Writers {
        let now = i64::try_from(self.taken.elapsed().as_secs()).unwrap_or(i64::MAX);
        let mut writers = Writers::default();
        for client in clients.iter() {
            let new = activity(client, now).is_some_and(|activity| self.is_new(activity));
            let told = if new { foreign_writer(client, tag) } else { None };
            if let (Some(told), Some(idle)) = (told, idle(client)) {
                writers.told.push(told);
                writers.idle = Some(writers.idle.map_or(idle, |least| least.min(idle)));
            }
        }
        writers
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::calls_of;

    fn look(books: &mut Books, before: &[&str], told: &str, after: &[&str]) -> Vec<String> {
        let (ended, begun) = (calls_of(before, before), calls_of(after, after));
        let foreign = books.look(&ended, &Info::new(told), &begun);
        foreign.into_iter().map(|(name, count)| format!("{name} {count}")).collect()
    }

    const NOTHING: [String; 0] = [];

    #[test]
    fn a_single_call_of_somebody_else_shows_when_nothing_is_in_flight() {
        let mut books = Books::default();
        let before = "cmdstat_set:calls=7,usec=1,failed_calls=0\r\ncmdstat_get:calls=1,usec=1\r\n";
        assert_eq!(look(&mut books, &[], before, &[]), NOTHING, "whatever was before");
        let ours = "cmdstat_set:calls=9,usec=1\r\ncmdstat_get:calls=500,usec=1\r\n";
        assert_eq!(look(&mut books, &["SET", "SET"], ours, &["SET", "SET"]), NOTHING);
        let theirs = "cmdstat_set:calls=10,usec=1\r\ncmdstat_xgroup|create:calls=1,usec=1\r\n";
        let sent = ["SET", "SET"];
        assert_eq!(look(&mut books, &sent, theirs, &sent), ["SET 1", "XGROUP CREATE 1"]);
        assert_eq!(look(&mut books, &sent, theirs, &sent), NOTHING, "each is told once");
    }

    #[test]
    fn what_a_replica_was_told_before_it_took_over_is_nobodys() {
        let mut books = Books::default();
        look(&mut books, &[], "run_id:a\r\ncmdstat_pexpireat:calls=7,usec=1\r\n", &[]);
        let promoted = "run_id:b\r\ncmdstat_pexpireat:calls=60,usec=1\r\n";
        assert_eq!(look(&mut books, &[], promoted, &[]), NOTHING);
        let theirs = "run_id:b\r\ncmdstat_pexpireat:calls=61,usec=1\r\n";
        assert_eq!(look(&mut books, &[], theirs, &[]), ["PEXPIREAT 1"]);
    }

    #[test]
    fn what_is_in_flight_hides_calls_only_until_it_is_answered() {
        let mut books = Books::default();
        look(&mut books, &[], "", &[]);
        let told = "cmdstat_incr:calls=3,usec=1";
        assert_eq!(look(&mut books, &["INCR"], told, &["INCR", "INCR", "INCR"]), NOTHING);
        let sent = ["INCR", "INCR"];
        assert_eq!(look(&mut books, &sent, told, &sent), ["INCR 1"]);
    }

    #[test]
    fn calls_that_fail_get_lost_or_are_forgotten_raise_no_alarm_and_hide_none_later() {
        let mut books = Books::default();
        look(&mut books, &[], "cmdstat_incr:calls=50,usec=1", &[]);
        let sent = ["INCR", "INCR", "INCR"];
        let told = "cmdstat_incr:calls=52,usec=1,failed_calls=1";
        assert_eq!(look(&mut books, &sent, told, &sent), NOTHING, "one failed, one got lost");
        assert_eq!(look(&mut books, &sent, "", &sent), NOTHING, "the statistics were reset");
        let told = "cmdstat_incr:calls=1,usec=1";
        assert_eq!(look(&mut books, &sent, told, &sent), ["INCR 1"]);
    }

    #[test]
    fn what_scripts_and_unknown_commands_call_is_nobodys_and_a_foreign_script_is() {
        let mut books = Books::default();
        look(&mut books, &[], "", &[]);
        let told = "cmdstat_eval:calls=1,usec=1,failed_calls=1\r\ncmdstat_set:calls=5,usec=1";
        assert_eq!(look(&mut books, &["EVAL"], told, &["EVAL"]), NOTHING);
        let told =
            format!("{told}\r\ncmdstat_del:calls=5,usec=1\r\ncmdstat_json.set:calls=1,usec=1");
        assert_eq!(look(&mut books, &["EVAL"], &told, &["EVAL"]), NOTHING);
        let told = told.replace("set:calls=5", "set:calls=6");
        assert_eq!(look(&mut books, &["EVAL"], &told, &["EVAL"]), ["SET 1"]);
        let told = told.replace("eval:calls=1", "eval:calls=2");
        assert_eq!(look(&mut books, &["EVAL"], &told, &["EVAL"]), ["EVAL 1"], "ours has failed");
    }

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
}
