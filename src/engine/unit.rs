//! A step: a write, or a transaction of several commands; and its way to the primary: lined up,
//! admitted to the order, or lost.

use smallvec::SmallVec;

use super::order::{Claim, Place};
use super::{Cause, ConnId, Engine, KeyRef, Woken};
use crate::engine::ledger::Fingerprint;
use crate::protocol::command::{Command, Reach};
use crate::protocol::resp::Request;

/// A key that a write touches.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    pub(super) named: KeyRef,
    pub(super) written: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// Its entry in the table; `None` for a command that only the server knows.
    pub(super) command: Option<&'static Command>,
    pub(super) request: Request,
    pub(super) db: u32,
    pub(super) touches: SmallVec<[Touch; 1]>,
    pub(super) reach: Reach,
    /// The probes to send behind it.
    pub(super) probes: SmallVec<[Request; 2]>,
    /// Whether it only reads.
    pub(super) passive: bool,
}

impl Write {
    /// A command of a transaction that only reads: it has its reply among the others'.
    pub(crate) fn passive(request: Request, db: u32) -> Self {
        let (touches, probes) = Default::default();
        Self { command: None, request, db, touches, reach: Reach::Keys, probes, passive: true }
    }

    pub(super) fn written_keys(&self) -> impl Iterator<Item = &KeyRef> {
        self.touches.iter().filter(|touch| touch.written).map(|touch| &touch.named)
    }
}

/// One step: what is claimed, sent, answered and mirrored together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    pub(super) writes: SmallVec<[Write; 1]>,
    /// Whether it is a transaction, to be mirrored as one.
    pub(super) atomic: bool,
    pub(super) fingerprints: SmallVec<[Fingerprint; 2]>,
    pub(super) everything: bool,
    /// Whether it runs scripts that are followed.
    pub(super) scripts: bool,
    /// Set for a command that waits on a connection of its own, and holds no keys: its number.
    pub(super) waits: Option<u64>,
    /// Under which numbering of databases the fingerprints were made.
    pub(super) numbering: u32,
}

impl Unit {
    /// The probes to send behind it, in order.
    pub(crate) fn probes(&self) -> impl Iterator<Item = &Request> {
        self.writes.iter().flat_map(|write| write.probes.iter())
    }

    /// Whether it empties databases, or makes them change places.
    pub(super) fn reaches_databases(&self) -> bool {
        let reaches = |write: &Write| !matches!(write.reach, Reach::Keys | Reach::Code);
        self.everything && self.writes.iter().any(reaches)
    }
}

impl Engine {
    /// Asks to send a step down `conn`, where no other waits; see `Order::begin`.
    pub(crate) fn begin(&mut self, conn: ConnId, unit: &mut Unit) -> bool {
        self.begin_from(Place::only(conn), unit)
    }

    /// Queues the step behind all that wait for one of its keys now, without asking to be sent yet.
    pub(super) fn line_up(&mut self, place: Place, unit: &mut Unit) {
        if unit.waits.is_some() {
            return;
        }
        if unit.numbering != self.spaces.numbering() {
            self.renumber(unit);
        }
        self.order.line_up(place, &unit.fingerprints);
    }

    /// Asks to send a step that waits, or would wait, at `place`.
    pub(super) fn begin_from(&mut self, place: Place, unit: &mut Unit) -> bool {
        if unit.waits.is_some() {
            self.begin_wait(unit);
            return true;
        }
        if unit.numbering != self.spaces.numbering() {
            self.renumber(unit);
        }
        let is_due = self.admits_script(place.conn, unit);
        if !is_due && !unit.everything {
            // Others may pass it meanwhile, but not on its keys.
            self.order.line_up(place, &unit.fingerprints);
        }
        let admitted = is_due && self.order.begin(place, claim(unit));
        if admitted {
            self.calls.begin(unit);
            self.touch_unit(unit);
            self.begin_script(unit);
        }
        if admitted && unit.everything {
            self.invalidate_all_observed();
        } else if admitted {
            unit.fingerprints.iter().for_each(|fingerprint| self.invalidate_observed(*fingerprint));
        }
        admitted
    }

    /// The connection is gone; nothing of it waits any more.
    pub(crate) fn disconnect(&mut self, conn: ConnId) -> Woken {
        self.scripts.disconnect(conn);
        self.order.forget(conn)
    }

    /// Connections broke with `steps` in flight, and the server may still be executing them.
    pub(crate) fn doubt(&mut self, steps: usize) {
        if self.in_doubt.0 == 0 {
            self.in_doubt.1 = self.now;
        }
        self.in_doubt.0 += steps;
    }

    /// A doubted step's outcome will never be known, but it is past.
    pub(crate) fn lost(&mut self, conn: ConnId, unit: &Unit) -> Woken {
        self.in_doubt.0 -= 1;
        self.calls.end(unit);
        if let Some(number) = unit.waits {
            self.end_wait(number, None);
            return Woken::new();
        }
        self.end_script(unit);
        if unit.everything && self.settings.mirroring {
            self.void_and_resync(Cause::Unknown);
            self.code_changes += 1;
            self.code_is_stale = true;
        }
        for write in &unit.writes {
            for named in write.written_keys() {
                self.mark_dirty(named, Cause::Unknown);
                self.stir(named.fingerprint);
            }
        }
        self.doubt_stirred();
        let woken = self.order.finish(conn, claim(unit));
        self.forget_served_meanwhile();
        woken
    }

    /// Somebody wants a key for itself for a moment: no write to it is in flight then; see
    /// `Order::begin`.
    pub(crate) fn hold(&mut self, conn: ConnId, named: &KeyRef) -> bool {
        let claim = Claim { keys: &[named.fingerprint], everything: false };
        self.order.begin(Place::only(conn), claim)
    }

    /// The moment is over, or never came; `conn` is not used again.
    pub(crate) fn release(&mut self, conn: ConnId, named: &KeyRef) -> Woken {
        let mut woken = Woken::new();
        if self.order.in_flight_on(conn) > 0 {
            let keys = &[named.fingerprint];
            woken = self.order.finish(conn, Claim { keys, everything: false });
        }
        woken.extend(self.order.forget(conn));
        woken
    }

    pub(super) fn renumber(&self, unit: &mut Unit) {
        for write in &mut unit.writes {
            let (db, command) = (write.db, write.command);
            let keys = command.and_then(|command| command.keys(&write.request).ok());
            for (index, touch) in write.touches.iter_mut().enumerate() {
                let other = keys.as_ref().and_then(|keys| keys.get(index)?.db);
                touch.named = self.key_ref(other.unwrap_or(db), touch.named.key.clone());
            }
        }
        let touches = unit.writes.iter().flat_map(|write| &write.touches);
        unit.fingerprints = touches.map(|touch| touch.named.fingerprint).collect();
        unit.numbering = self.spaces.numbering();
    }
}

pub(super) fn claim(unit: &Unit) -> Claim<'_> {
    Claim { keys: &unit.fingerprints, everything: unit.everything }
}
