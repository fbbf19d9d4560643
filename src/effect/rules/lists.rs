//! Lists: popped elsewhere, or after a wait.

use super::context::{same, steps};
use crate::effect::{Executed, Expiry, Outcome};
use crate::resp::{Builder, Reply, Request};

/// `LMPOP`, `BLMPOP`: the reply is the key and its elements.
pub(super) fn pop_elsewhere(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let [key, elements] = executed.reply.items()? else { return None };
    let elements = elements.items()?;
    let name = pop_name(executed.request)?;
    let key = key.text()?;
    Some(steps([match elements {
        [element] => same(Request::new([name, key]), element),
        _ => same(pop(name, key, elements.len())?, &Reply::Array(elements.to_vec())),
    }]))
}

/// `LPOP` or `RPOP`, after the side that stands behind the counted keys.
fn pop_name(request: &Request) -> Option<&'static [u8]> {
    let blocking = usize::from(request.is(0, "BLMPOP"));
    let keys = crate::resp::parse_integer(request.arg(1 + blocking)?)?;
    let side = usize::try_from(keys).ok()?.checked_add(2 + blocking)?;
    if request.is(side, "LEFT") {
        Some(b"LPOP")
    } else {
        request.is(side, "RIGHT").then_some(b"RPOP")
    }
}

fn pop(name: &[u8], key: &[u8], count: usize) -> Option<Request> {
    let mut builder = Builder::default();
    builder.push(name).push(key).push_integer(i64::try_from(count).ok()?);
    Some(builder.finish())
}

/// `BLPOP`, `BRPOP`: the reply is the key and the element.
pub(super) fn blocking_pop(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let [key, element] = executed.reply.items()? else { return None };
    let name: &[u8] = if executed.request.is(0, "BLPOP") { b"LPOP" } else { b"RPOP" };
    Some(steps([same(Request::new([name, key.text()?]), element)]))
}

/// `BLMOVE`, `BRPOPLPUSH` without their timeouts.
pub(super) fn blocking_move(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    if executed.expiry()? == Expiry::Missing || !executed.secondary_knows_it() {
        return None;
    }
    let (from, to) = (executed.arg(1)?, executed.arg(2)?);
    let request = if executed.request.is(0, "BRPOPLPUSH") {
        Request::new([b"RPOPLPUSH", from, to])
    } else {
        Request::new([b"LMOVE", from, to, executed.arg(3)?, executed.arg(4)?])
    };
    executed.checked(to, [same(request, executed.reply)])
}
