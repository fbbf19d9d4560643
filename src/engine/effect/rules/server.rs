//! Barriers: flushes and code.

use super::context::{total, without};
use crate::engine::effect::{Executed, Outcome};
use crate::protocol::resp::Request;

/// `SYNC` came with 6.2; `ASYNC` is older for keys and as old for scripts. Both are only about how
/// the memory is given back.
pub(super) fn flush(executed: &Executed<'_>) -> Option<Outcome> {
    if !executed.secondary_knows_it() {
        return None;
    }
    let bare = !executed.secondary.since_redis(6, 2);
    let first_option = executed.command.name.split(' ').count();
    Some(total([without(executed.request, |index| bare && index >= first_option)]))
}

/// A library that was loaded is the one to have, whichever the secondary has.
pub(super) fn function_load(executed: &Executed<'_>) -> Option<Outcome> {
    let code = executed.arg(executed.request.len().checked_sub(1)?)?;
    executed
        .secondary_knows_it()
        .then(|| total([Request::new([b"FUNCTION", b"LOAD".as_ref(), b"REPLACE", code])]))
}
