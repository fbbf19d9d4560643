//! The table of `deploy/COMMANDS.md`.

use std::fmt::Write;

use super::{Command, Serve, table};

/// The table as Markdown: every command, the servers that know it, how it is served, and how its
/// effect reaches the secondary or why it does not pass.
pub fn markdown() -> String {
    let mut text =
        String::from("| command | since | served | mirrored |\n| --- | --- | --- | --- |\n");
    for command in table() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            command.name,
            command.since,
            served(command.serve),
            last_column(command)
        );
    }
    text
}

fn served(serve: Serve) -> &'static str {
    match serve {
        Serve::Read { .. } => "read",
        Serve::Once { .. } => "sent once",
        Serve::Write => "write",
        Serve::Barrier => "write, ordered with all others",
        Serve::Blocking => "write that may wait",
        Serve::Script => "script",
        Serve::Transaction(_) => "transaction",
        Serve::Subscribe => "subscription",
        Serve::Connection(_) => "by the proxy",
        Serve::Session => "on a connection of its own",
        Serve::Admin => "with `--allow-admin`",
        Serve::Refused(_) => "refused",
    }
}

fn last_column(command: &Command) -> &'static str {
    match command.serve {
        Serve::Refused(reason) => reason,
        _ if !command.note.is_empty() => command.note,
        _ => command.mirror.words(),
    }
}
