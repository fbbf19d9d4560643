//! Keys of any type, all keys at once, and code.

use super::context::{answers, delete, expire_at, steps, succeeds, total, without};
use crate::engine::effect::{Executed, Expiry, Outcome};
use crate::protocol::resp::{Builder, Request};

/// `GETDEL`, and deletions under a condition.
pub(super) fn removed(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    executed.arg(1).map(delete)
}

/// An expiry that was set, whichever way it was given. Without one something else has happened to
/// the key since, within its transaction.
pub(super) fn expire(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let key = executed.arg(1)?;
    match executed.expiry()? {
        Expiry::Missing => Some(delete(key)),
        Expiry::Never => None,
        Expiry::At(time) => Some(steps([answers(expire_at(key, time), 1)])),
    }
}

/// `GETEX` with an option. Its reply is the value, which tells only that the key was there: whether
/// there was an end to take away is not known, so that is checked.
pub(super) fn get_and_expire(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let key = executed.arg(1)?;
    match executed.expiry()? {
        Expiry::At(time) => Some(steps([answers(expire_at(key, time), 1)])),
        _ => executed.checked(key, [succeeds(Request::new([b"PERSIST", key]))]),
    }
}

/// With the expiry that the key got; its idle time or frequency, if given, is kept. What the primary
/// restored, a server of its kind that is not older restores too.
pub(super) fn restore(executed: &Executed<'_>) -> Option<Outcome> {
    if !executed.secondary.reads_payloads_of(executed.primary) {
        return None;
    }
    let (key, payload) = (executed.arg(1)?, executed.arg(3)?);
    let time = match executed.expiry()? {
        Expiry::Missing => return Some(delete(key)),
        Expiry::Never => 0,
        Expiry::At(time) => time,
    };
    let mut builder = Builder::default();
    builder.push(b"RESTORE").push(key).push_integer(time).push(payload);
    builder.push(b"REPLACE").push(b"ABSTTL");
    for index in 4..executed.request.len() {
        if executed.request.is(index, "IDLETIME") || executed.request.is(index, "FREQ") {
            builder.push(executed.arg(index)?).push(executed.arg(index + 1)?);
        }
    }
    Some(total([builder.finish()]))
}

pub(super) fn rename_if_absent(executed: &Executed<'_>) -> Option<Outcome> {
    let (from, to) = (executed.arg(1)?, executed.arg(2)?);
    if executed.changed_nothing() || from == to {
        return Some(Outcome::Nothing);
    }
    if executed.expiry()? == Expiry::Missing {
        return None;
    }
    executed.checked(to, [succeeds(Request::new([b"RENAME", from, to]))])
}

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
