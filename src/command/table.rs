//! The command table.

use super::{Reach, Serve};
use crate::resp::Request;

/// One command of the table.
#[derive(Debug)]
pub struct Command {
    /// The name in capitals; a subcommand's after a blank.
    pub name: &'static str,
    /// How it is served, before its arguments are looked at.
    pub serve: Serve,
}

impl Command {
    /// How this request of the command is served: `SORT` without `STORE`, `GETEX` without an
    /// option and `BITFIELD` with nothing but `GET` only read, `XREAD` blocks only with `BLOCK`.
    pub fn serve(&self, _request: &Request) -> Serve {
        self.serve
    }

    /// How far this request reaches beyond its keys.
    pub fn reach(&self, _request: &Request) -> Reach {
        Reach::Keys
    }
}

/// The entry of the request's command, subcommands included; `None` for one that is not known.
pub fn lookup(_request: &Request) -> Option<&'static Command> {
    None
}

/// The whole table in alphabetical order.
pub fn table() -> &'static [Command] {
    &[]
}
