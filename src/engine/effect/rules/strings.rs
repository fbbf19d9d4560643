//! Strings.

use super::context::{ask_expiry, total};
use crate::engine::effect::{Executed, Expiry, Outcome, Probes};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Reply, Request};

#[derive(Default)]
struct SetOptions<'a> {
    /// `EX`, `PX`, `EXAT`, `PXAT` or `KEEPTTL`: the key may have an end.
    expires: bool,
    /// Replies with the old value, not with whether it was set.
    get: bool,
    condition: Option<Condition<'a>>,
}

enum Condition<'a> {
    Absent,
    Present,
    Equal(&'a [u8]),
    /// One whose outcome an old value does not tell.
    Other,
}

/// The options, or `None` when there is one that is not known.
fn set_options(request: &Request) -> Option<SetOptions<'_>> {
    let mut options = SetOptions::default();
    let mut index = 3;
    while let Some(name) = request.arg(index) {
        index += 1;
        match name.to_ascii_uppercase().as_slice() {
            b"NX" => options.condition = Some(Condition::Absent),
            b"XX" => options.condition = Some(Condition::Present),
            b"GET" => options.get = true,
            b"KEEPTTL" => options.expires = true,
            b"EX" | b"PX" | b"EXAT" | b"PXAT" => {
                options.expires = true;
                index += 1;
            }
            b"IFEQ" => {
                options.condition = Some(Condition::Equal(request.arg(index)?));
                index += 1;
            }
            b"IFNE" | b"IFDEQ" | b"IFDNE" => {
                options.condition = Some(Condition::Other);
                index += 1;
            }
            _ => return None,
        }
    }
    Some(options)
}

/// Only a `SET` that may leave the key with an expiry asks for it.
pub(super) fn set_probes(request: &Request, primary: &Capabilities) -> Probes {
    match set_options(request) {
        Some(options) if options.expires => ask_expiry(request, 1, primary),
        _ => Probes::new(),
    }
}

pub(super) fn set(executed: &Executed<'_>) -> Option<Outcome> {
    let (key, value) = (executed.arg(1)?, executed.arg(2)?);
    if executed.request.len() == 3 {
        return Some(total([executed.request.clone()]));
    }
    let options = set_options(executed.request)?;
    if !was_set(&options, executed.reply)? {
        return Some(Outcome::Nothing);
    }
    let expiry = if options.expires { executed.expiry()? } else { Expiry::Never };
    Some(executed.set(key, value, expiry))
}

/// Whether the value was set. With `GET` the reply is the old value, so the condition has to be
/// weighed against it.
fn was_set(options: &SetOptions<'_>, reply: &Reply) -> Option<bool> {
    if !options.get {
        return Some(*reply != Reply::Null);
    }
    match options.condition {
        None => Some(true),
        Some(Condition::Absent) => Some(*reply == Reply::Null),
        Some(Condition::Present) => Some(*reply != Reply::Null),
        Some(Condition::Equal(wanted)) => Some(reply.text().is_some_and(|old| old == wanted)),
        Some(Condition::Other) => None,
    }
}

pub(super) fn set_if_absent(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    Some(executed.set(executed.arg(1)?, executed.arg(2)?, Expiry::Never))
}

pub(super) fn set_expiring(executed: &Executed<'_>) -> Option<Outcome> {
    Some(executed.set(executed.arg(1)?, executed.arg(3)?, executed.expiry()?))
}

pub(super) fn get_set(executed: &Executed<'_>) -> Option<Outcome> {
    Some(executed.set(executed.arg(1)?, executed.arg(2)?, Expiry::Never))
}

pub(super) fn mset_if_absent(executed: &Executed<'_>) -> Outcome {
    if executed.changed_nothing() {
        return Outcome::Nothing;
    }
    let pairs = executed.request.args().skip(1);
    total([Request::new(std::iter::once(b"MSET".as_ref()).chain(pairs))])
}

/// Two servers may round differently; the sum itself does not.
pub(super) fn incr_by_float(executed: &Executed<'_>) -> Option<Outcome> {
    Some(executed.set(executed.arg(1)?, executed.reply.text()?, executed.expiry()?))
}
