//! Where the migration stands, and what may come next.
//!
//! *What it is:* a [`Standing`] is phase, pass, halt, hold and next route in one value. An [`Event`]
//! makes the next one of it, with things [to do](Do), or is [refused](Refused).
//!
//! *Guarantees:* what is refused has changed nothing. A flip that is not committed gives back what was
//! before it; one that is has no way back but another flip, and the types say so: a `Flipping` can
//! be abandoned, a `Turned` can only serve.
//!
//! *Must not know:* sockets, tasks, files, clocks. Time comes as a value, since the start of the
//! process; what serves is a handle, `R`.

mod blocker;
mod event;
mod flip;
mod halt;
mod serving;
mod standing;
#[cfg(test)]
mod tests;

pub(super) use blocker::{Blocker, Facts, Remaining, Secondary};
pub(super) use event::{Consent, Do, Event, Refused};
pub(super) use halt::{Halt, is_nearly_empty};
pub(super) use serving::{Kept, KeysAtStart};
pub(super) use standing::Standing;
