//! The table and `COMMAND`.

use crossfade::command::{self, Serve};
use crossfade::resp::{Reply, Request};

use super::server::{Server, text};

/// One command as the server describes it.
struct Described {
    name: String,
    arity: i64,
    flags: Vec<String>,
}

fn described() -> Vec<Described> {
    let server = Server::start();
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

/// Arities have been relaxed from version to version, never tightened.
#[test]
fn whatever_the_server_takes_is_taken() {
    for found in described() {
        let entry = find(&found.name).unwrap();
        let (ours, theirs) = (i64::from(entry.arity), found.arity);
        let relaxed = ours < 0 && ours.abs() <= theirs.abs();
        let own_entry = entry.name == found.name.replace('|', " ");
        assert!(ours == theirs || relaxed || !own_entry, "{}: {ours}, {theirs}", found.name);
    }
}

#[test]
fn what_the_server_calls_a_write_is_never_served_as_a_read() {
    for found in described() {
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

#[test]
fn the_readme_table_has_a_row_for_each_command() {
    let text = command::markdown();
    assert_eq!(text.lines().count(), command::table().len() + 2);
    assert!(text.contains("| `SET` | 1.0 | write |"), "{text}");
}
