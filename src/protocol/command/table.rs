//! The command table: its entries, and finding one of them by name.
//!
//! The files below `table/` hold them by group. A container (`XGROUP`) and its subcommands
//! (`XGROUP CREATE`) have entries of their own, except where all subcommands are treated alike
//! (`DEBUG`, `SENTINEL`).

mod collections;
mod connection;
mod keys;
mod server;

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use super::spec::{self, NO_KEYS, Spec};
use super::{Mirror, Reach, Serve};
use crate::protocol::capability::Since;
use crate::protocol::resp::{Request, parse_integer};

const GROUPS: [&[Command]; 11] = [
    server::CLUSTER,
    connection::CONNECTION,
    keys::GENERIC,
    collections::HASHES,
    collections::LISTS,
    connection::SCRIPTING,
    server::SERVER,
    collections::SETS,
    collections::STREAMS,
    keys::STRINGS,
    collections::ZSETS,
];

/// One command of the table.
#[derive(Clone, Debug)]
pub struct Command {
    /// The name in capitals; a subcommand's after a blank.
    pub name: &'static str,
    /// How it is served, before its arguments are looked at.
    pub serve: Serve,
    /// How what it did is told to the secondary.
    pub mirror: Mirror,
    /// The servers that know it.
    pub since: Since,
    /// How many arguments it takes, its name included; at least that many when negative.
    pub arity: i8,
    /// What its user should know that the columns of the table in `deploy/COMMANDS.md` do not say.
    pub note: &'static str,
    /// Options that came later than the command, and the servers that know them.
    pub later: &'static [(&'static str, Since)],
    pub(super) specs: &'static [Spec],
    varies: Varies,
    place: usize,
}

/// Which arguments decide how a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Varies {
    Never,
    /// Writes only with `STORE`.
    Sort,
    /// Writes only with `STORE` or `STOREDIST`.
    GeoRadius,
    /// Writes only with an option behind the key.
    GetEx,
    /// Writes only with an option before `FIELDS`.
    HGetEx,
    /// Writes only with something else than `GET`.
    BitField,
    /// Waits only with `BLOCK`.
    Block,
    /// Writes only with one key.
    PfCount,
}

impl Command {
    /// How this request of the command is served: `SORT` without `STORE`, `GETEX` without an
    /// option and `BITFIELD` with nothing but `GET` only read, `XREAD` blocks only with `BLOCK`.
    pub fn serve(&self, request: &Request) -> Serve {
        match self.varies {
            Varies::Sort if spec::sort_store(request).is_none() => Serve::Read { bulky: true },
            Varies::GeoRadius if spec::georadius_store(request).is_none() => {
                Serve::Read { bulky: true }
            }
            Varies::GetEx if request.len() <= 2 => Serve::Read { bulky: false },
            Varies::HGetEx if request.is(2, "FIELDS") => Serve::Read { bulky: true },
            Varies::BitField if only_gets(request) => Serve::Read { bulky: false },
            Varies::PfCount if request.len() != 2 => Serve::Read { bulky: false },
            Varies::Block if spec::blocks(request) => Serve::Blocking,
            _ => self.serve,
        }
    }

    /// Where it stands in the table.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Whether it takes keys.
    pub fn takes_keys(&self) -> bool {
        !self.specs.is_empty()
    }

    /// Whether it may take more than one key.
    pub fn takes_several_keys(&self) -> bool {
        self.specs.len() > 1 || self.specs.iter().any(|spec| !matches!(spec, Spec::At(..)))
    }

    /// Whether some requests of a command that writes only read.
    pub fn may_only_read(&self) -> bool {
        self.varies != Varies::Never
    }

    /// How far this request reaches beyond its keys.
    pub fn reach(&self, request: &Request) -> Reach {
        match self.name {
            "FLUSHDB" => Reach::Database,
            "FLUSHALL" => Reach::AllDatabases,
            "SWAPDB" => swapped(request),
            _ if self.serve == Serve::Barrier => Reach::Code,
            _ => Reach::Keys,
        }
    }

    /// Whether this many arguments, the name included, can be right.
    pub(super) fn takes(&self, arguments: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= arity } else { arguments == arity }
    }

    const fn valkey(mut self, major: u32, minor: u32) -> Self {
        self.since.valkey = Some((major, minor));
        self
    }

    const fn valkey_only(mut self) -> Self {
        self.since.valkey = self.since.redis;
        self.since.redis = None;
        self
    }

    const fn noted(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    const fn varies(mut self, varies: Varies) -> Self {
        self.varies = varies;
        self
    }

    const fn later(mut self, options: &'static [(&'static str, Since)]) -> Self {
        self.later = options;
        self
    }

    const fn keyed(mut self, specs: &'static [Spec]) -> Self {
        self.specs = specs;
        self
    }
}

/// `SWAPDB` with anything but two numbers is refused by the server, and then reaches nothing.
fn swapped(request: &Request) -> Reach {
    let database = |index| u32::try_from(parse_integer(request.arg(index)?)?).ok();
    match (database(1), database(2)) {
        (Some(one), Some(other)) => Reach::Swap(one, other),
        _ => Reach::Keys,
    }
}

/// Whether a `BITFIELD` holds nothing but `GET type offset`.
fn only_gets(request: &Request) -> bool {
    (2..request.len()).step_by(3).all(|index| request.is(index, "GET"))
}

const fn entry(name: &'static str, since: (u32, u32), arity: i8, serve: Serve) -> Command {
    Command {
        name,
        serve,
        mirror: Mirror::Never,
        since: Since::redis(since.0, since.1),
        arity,
        note: "",
        later: &[],
        specs: NO_KEYS,
        varies: Varies::Never,
        place: 0,
    }
}

const fn read(name: &'static str, since: (u32, u32), arity: i8, specs: &'static [Spec]) -> Command {
    entry(name, since, arity, Serve::Read { bulky: false }).keyed(specs)
}

const fn bulky(
    name: &'static str,
    since: (u32, u32),
    arity: i8,
    specs: &'static [Spec],
) -> Command {
    entry(name, since, arity, Serve::Read { bulky: true }).keyed(specs)
}

/// `rides`: it is short, and ends nothing that writes might wait for.
const fn once(name: &'static str, since: (u32, u32), arity: i8, rides: bool) -> Command {
    entry(name, since, arity, Serve::Once { rides })
}

const fn write(
    name: &'static str,
    since: (u32, u32),
    arity: i8,
    specs: &'static [Spec],
    mirror: Mirror,
) -> Command {
    Command { mirror, ..entry(name, since, arity, Serve::Write).keyed(specs) }
}

const fn blocking(
    name: &'static str,
    since: (u32, u32),
    arity: i8,
    specs: &'static [Spec],
    mirror: Mirror,
) -> Command {
    Command { mirror, ..entry(name, since, arity, Serve::Blocking).keyed(specs) }
}

const fn script(
    name: &'static str,
    since: (u32, u32),
    arity: i8,
    specs: &'static [Spec],
) -> Command {
    Command { mirror: Mirror::Script, ..entry(name, since, arity, Serve::Script).keyed(specs) }
}

const fn barrier(name: &'static str, since: (u32, u32), arity: i8, mirror: Mirror) -> Command {
    Command { mirror, ..entry(name, since, arity, Serve::Barrier) }
}

const fn other(name: &'static str, since: (u32, u32), arity: i8, serve: Serve) -> Command {
    entry(name, since, arity, serve)
}

const fn refused(
    name: &'static str,
    since: (u32, u32),
    arity: i8,
    reason: &'static str,
) -> Command {
    entry(name, since, arity, Serve::Refused(reason))
}

static TABLE: LazyLock<Vec<Command>> = LazyLock::new(|| {
    let mut commands: Vec<_> = GROUPS.concat();
    commands.sort_by_key(|command| command.name);
    for (place, command) in commands.iter_mut().enumerate() {
        command.place = place;
    }
    commands
});

static INDEX: LazyLock<Index> = LazyLock::new(|| Index::of(&TABLE));

/// The whole table in alphabetical order.
pub fn table() -> &'static [Command] {
    &TABLE
}

/// The entry of the request's command, subcommands included; `None` for one that is not known.
pub fn lookup(request: &Request) -> Option<&'static Command> {
    let mut name = Name::default();
    name.push(request.name())?;
    let entry = INDEX.find(name.as_bytes()).filter(|entry| !entry.subcommand)?;
    if !entry.container {
        return Some(entry.command);
    }
    let Some(subcommand) = request.arg(1) else { return Some(entry.command) };
    name.push(b" ")?.push(subcommand)?;
    INDEX.find(name.as_bytes()).map(|entry| entry.command)
}

/// A name in capitals on the stack. The longest that is known has 31 bytes.
#[derive(Default)]
struct Name {
    bytes: [u8; 32],
    len: usize,
}

impl Name {
    fn push(&mut self, text: &[u8]) -> Option<&mut Self> {
        let end = self.len.checked_add(text.len())?;
        let room = self.bytes.get_mut(self.len..end)?;
        room.copy_from_slice(text);
        room.make_ascii_uppercase();
        self.len = end;
        Some(self)
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Entry {
    command: &'static Command,
    /// Whether its subcommands have entries of their own.
    container: bool,
    /// Whether it is one, which no first argument can name: `"XGROUP CREATE"` is no command.
    subcommand: bool,
}

/// Open addressing over a quarter-full array: one hash and, nearly always, one comparison. Every
/// request passes here, so it is worth more than a general map.
struct Index {
    slots: Vec<Option<Entry>>,
}

/// A power of two.
const SLOTS: usize = 2048;

impl Index {
    fn of(table: &'static [Command]) -> Self {
        let mut index = Self { slots: vec![None; SLOTS] };
        let parents = table.iter().filter_map(|command| command.name.split_once(' '));
        let parents: Vec<_> = parents.map(|(parent, _)| parent).collect();
        for command in table {
            let container = parents.contains(&command.name);
            let subcommand = command.name.contains(' ');
            index.insert(Entry { command, container, subcommand });
        }
        index
    }

    fn insert(&mut self, entry: Entry) {
        let free = probe(entry.command.name.as_bytes())
            .find(|slot| self.slots.get(*slot).is_some_and(Option::is_none));
        if let Some(slot) = free.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = Some(entry);
        }
    }

    fn find(&self, name: &[u8]) -> Option<Entry> {
        probe(name)
            .map_while(|slot| self.slots.get(slot).copied().flatten())
            .find(|entry| entry.command.name.as_bytes() == name)
    }
}

/// The slots where `name` may be, in the order of search.
#[allow(clippy::cast_possible_truncation, reason = "only the lowest bits are wanted")]
fn probe(name: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let start = xxh3_64(name) as usize;
    (0..SLOTS).map(move |step| start.wrapping_add(step) % SLOTS)
}

#[cfg(test)]
mod tests;
