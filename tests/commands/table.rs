//! The table and `COMMAND` of every server at hand.

use std::path::Path;

use crossfade::protocol::command::{self, Serve};
use crossfade::protocol::resp::{Reply, Request};

use super::programs::all_servers;
use super::server::{Server, text};

/// One command as the server describes it.
struct Described {
    name: String,
    arity: i64,
    flags: Vec<String>,
}

/// What every server at hand has.
fn described() -> Vec<Described> {
    all_servers().iter().flat_map(|program| described_by(program)).collect()
}

fn described_by(program: &Path) -> Vec<Described> {
    let server = Server::of(program);
    let reply = server.connect().ask("COMMAND");
    let mut found = Vec::new();
    for command in reply.items().unwrap() {
        let command = command.items().unwrap();
        found.push(describe(command));
        let subcommands = command.get(9).and_then(Reply::items).unwrap_or_default();
        found.extend(subcommands.iter().map(|subcommand| describe(subcommand.items().unwrap())));
    }
    found
}

fn describe(command: &[Reply]) -> Described {
    Described {
        name: text(&command[0]).to_uppercase(),
        arity: command[1].integer().unwrap(),
        flags: command[2].items().unwrap().iter().map(text).collect(),
    }
}

fn find(name: &str) -> Option<&'static command::Command> {
    command::lookup(&Request::new(name.split('|')))
}

impl Described {
    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|found| found == flag)
    }
}

#[test]
fn every_command_of_the_server_is_known() {
    let unknown: Vec<_> = described()
        .into_iter()
        .map(|found| found.name)
        .filter(|name| find(name).is_none())
        .collect();
    assert_eq!(unknown, [""; 0]);
}

/// Arities have been relaxed from version to version, never tightened; 0 is none.
#[test]
fn whatever_the_server_takes_is_taken() {
    let mut refused = Vec::new();
    for found in described() {
        let Some(entry) = find(&found.name) else { continue };
        let (ours, theirs) = (i64::from(entry.arity), found.arity);
        let relaxed = ours < 0 && (ours.abs() <= theirs.abs() || theirs == 0);
        let own_entry = entry.name == found.name.replace('|', " ");
        if ours != theirs && !relaxed && own_entry {
            refused.push(format!("{}: {ours}, {theirs}", found.name));
        }
    }
    assert_eq!(refused, [""; 0]);
}

#[test]
fn what_the_server_calls_a_write_is_never_served_as_a_read() {
    for found in described() {
        // Before Redis 7.0 a container has the flags of all its subcommands together.
        let container = format!("{} ", found.name);
        if command::table().iter().any(|entry| entry.name.starts_with(&container)) {
            continue;
        }
        let serve = find(&found.name).unwrap().serve;
        let reads = matches!(serve, Serve::Read { .. });
        assert!(!(found.is("write") && reads), "{}", found.name);
        let writes = matches!(serve, Serve::Write | Serve::Barrier);
        // PFCOUNT renews the count that is cached in the value, and is replicated for that.
        let replicated = found.is("may_replicate") || found.name == "PFCOUNT";
        assert!(!(found.is("readonly") && writes && !replicated), "{}", found.name);
        if found.is("blocking") && found.is("write") && found.name != "XREADGROUP" {
            assert_eq!(serve, Serve::Blocking, "{}", found.name);
        }
    }
}

/// The last words of what only asks, though the server does not call it a read.
const ASKS: [&str; 49] = [
    "CAT",
    "CHANNELS",
    "COUNT",
    "COUNT-FAILURE-REPORTS",
    "COUNTKEYSINSLOT",
    "DOCS",
    "DOCTOR",
    "DRYRUN",
    "DUMP",
    "ECHO",
    "EXISTS",
    "GENPASS",
    "GET",
    "GETKEYS",
    "GETKEYSANDFLAGS",
    "GETKEYSINSLOT",
    "GETSLOTMIGRATIONS",
    "GETUSER",
    "GRAPH",
    "HELP",
    "HISTOGRAM",
    "HISTORY",
    "INFO",
    "KEYSLOT",
    "LASTSAVE",
    "LATEST",
    "LEN",
    "LINKS",
    "LIST",
    "MALLOC-STATS",
    "MYID",
    "MYSHARDID",
    "NODES",
    "NUMPAT",
    "NUMSUB",
    "PING",
    "REPLICAS",
    "ROLE",
    "SHARDCHANNELS",
    "SHARDNUMSUB",
    "SHARDS",
    "SHOW",
    "SLAVES",
    "SLOT-STATS",
    "SLOTS",
    "STATS",
    "TIME",
    "USERS",
    "WHOAMI",
];

#[test]
fn what_may_be_sent_twice_only_asks() {
    for found in described() {
        let entry = find(&found.name).unwrap();
        if !matches!(entry.serve, Serve::Read { .. }) {
            continue;
        }
        assert!(!found.is("may_replicate"), "{} reaches replicas", found.name);
        let word = found.name.rsplit('|').next().unwrap();
        // A container alone is an error.
        let container = format!("{} ", entry.name);
        let is_container = command::table().iter().any(|other| other.name.starts_with(&container));
        let asks = is_container || ASKS.contains(&word);
        assert!(found.is("readonly") || asks, "what does {} do?", found.name);
    }
}

#[test]
fn the_readme_table_has_a_row_for_each_command() {
    let text = command::markdown();
    assert_eq!(text.lines().count(), command::table().len() + 2);
    assert!(text.contains("| `SET` | 1.0 | write |"), "{text}");
}
