//! For tests: an engine of two servers of one version, and writes that its primary has answered.

use bytes::Bytes;

use super::copy_batch::tests::engine as plain;
use super::ledger::Groups;
use super::{Answer, ConnId, Engine, Settings};
use crate::protocol::capability::{Capabilities, Family};
use crate::protocol::command;
use crate::protocol::resp::Request;

pub(crate) const SERVER: Capabilities = Capabilities { family: Family::Redis, version: (7, 0, 15) };

/// Every key is migrated.
pub(crate) fn in_step() -> Engine {
    engine(Groups::full())
}

/// No key is migrated.
pub(crate) fn uncopied() -> Engine {
    engine(Groups::default())
}

fn engine(migrated: Groups) -> Engine {
    let settings = plain(1 << 20).settings().clone();
    Engine::new(Settings { primary: SERVER, secondary: SERVER, ..settings }, migrated)
}

/// A client's write, with the primary's answers to it and to the probes behind it.
pub(crate) fn write(engine: &mut Engine, line: &str, reply: &'static str, probes: &[&'static str]) {
    let request = Request::new(line.split(' '));
    let write = engine.keyer().write(command::lookup(&request), request, 0, &[]);
    let mut unit = engine.keyer().unit([write], false);
    assert!(engine.begin(ConnId(1), &mut unit));
    let bytes = |text: &&'static str| Bytes::from_static(text.as_bytes());
    let probes: Vec<Bytes> = probes.iter().map(bytes).collect();
    engine.finish(ConnId(1), &unit, Answer { reply: &bytes(&reply), probes: &probes });
}
