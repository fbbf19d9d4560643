//! Writes that are repeated as they came: what they do depends on the state alone, and their reply
//! shows whether both servers held the same.

use super::context::{same as same_reply, steps, total as total_effect};
use crate::engine::effect::{Executed, Expiry, Outcome};

/// Always repeated.
pub(super) fn same(executed: &Executed<'_>) -> Option<Outcome> {
    executed.secondary_knows_it().then(|| steps([repeated(executed)]))
}

/// Repeated unless nothing changed.
pub(super) fn counted(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() { Some(Outcome::Nothing) } else { same(executed) }
}

/// Repeated, and the key's expiry compared.
pub(super) fn creates(executed: &Executed<'_>) -> Option<Outcome> {
    if !executed.secondary_knows_it() {
        return None;
    }
    executed.checked(executed.arg(1)?, [repeated(executed)])
}

/// Both of the above.
pub(super) fn counted_creates(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() { Some(Outcome::Nothing) } else { creates(executed) }
}

/// Repeated from one key to another, whose expiry is compared. With a destination that has already
/// gone there is no telling what became of the first key.
pub(super) fn transfer(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    if !executed.secondary_knows_it() || executed.expiry()? == Expiry::Missing {
        return None;
    }
    executed.checked(executed.arg(2)?, [repeated(executed)])
}

/// Repeated, right whatever was there before.
pub(super) fn total(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    executed.secondary_knows_it().then(|| total_effect([executed.request.clone()]))
}

fn repeated(executed: &Executed<'_>) -> crate::engine::effect::Step {
    same_reply(executed.request.clone(), executed.reply)
}
