//! Sets.

use super::context::{answers, steps, texts, with_items};
use crate::engine::effect::{Executed, Outcome};

/// The members that `SPOP` took, one or a list of them.
pub(super) fn pop(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let one = std::slice::from_ref(executed.reply);
    let members = texts(executed.reply.items().unwrap_or(one))?;
    Some(steps([answers(with_items([b"SREM", executed.arg(1)?], &members), members.len())]))
}
