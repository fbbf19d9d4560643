//! Lists: popped, moved, after a wait too.

use super::context::{same, steps, succeeds};
use crate::engine::effect::{Executed, Expiry, Outcome};
use crate::protocol::resp::{Builder, Reply, Request};

/// `LPOP`, `RPOP`, of one element or of a count.
pub(super) fn pop(executed: &Executed<'_>) -> Option<Outcome> {
    match executed.reply {
        _ if executed.changed_nothing() => Some(Outcome::Nothing),
        Reply::Array(elements) => popped(executed, executed.arg(0)?, executed.arg(1)?, elements),
        element => Some(steps([same(executed.request.clone(), element)])),
    }
}

/// `LMPOP`, `BLMPOP`: the reply is the key and its elements.
pub(super) fn pop_elsewhere(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let [key, elements] = executed.reply.items()? else { return None };
    popped(executed, pop_name(executed.request)?, key.text()?, elements.items()?)
}

/// At once, or one by one where the secondary knows no count (before 6.2).
fn popped(executed: &Executed<'_>, name: &[u8], key: &[u8], elements: &[Reply]) -> Option<Outcome> {
    if elements.len() == 1 || !executed.secondary.since_redis(6, 2) {
        let one = |element| same(Request::new([name, key]), element);
        return Some(steps(elements.iter().map(one)));
    }
    let mut pop = Builder::default();
    pop.push(name).push(key).push_integer(i64::try_from(elements.len()).ok()?);
    Some(steps([same(pop.finish(), &Reply::Array(elements.to_vec()))]))
}

/// `LPOP` or `RPOP`, after the side that stands behind the counted keys.
fn pop_name(request: &Request) -> Option<&'static [u8]> {
    let blocking = usize::from(request.is(0, "BLMPOP"));
    let keys = crate::protocol::resp::parse_integer(request.arg(1 + blocking)?)?;
    let side = usize::try_from(keys).ok()?.checked_add(2 + blocking)?;
    if request.is(side, "LEFT") {
        Some(b"LPOP")
    } else {
        request.is(side, "RIGHT").then_some(b"RPOP")
    }
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

/// `LMOVE`, `RPOPLPUSH`; `BLMOVE`, `BRPOPLPUSH` without their timeouts. With a destination that has
/// already gone there is no telling what became of the first key.
pub(super) fn moved(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    if executed.expiry()? == Expiry::Missing {
        return None;
    }
    let (from, to) = (executed.arg(1)?, executed.arg(2)?);
    let request = executed.request;
    if request.is(0, "RPOPLPUSH") || request.is(0, "BRPOPLPUSH") {
        return executed
            .checked(to, [same(Request::new([b"RPOPLPUSH", from, to]), executed.reply)]);
    }
    if executed.secondary.since_redis(6, 2) {
        let request = Request::new([b"LMOVE", from, to, executed.arg(3)?, executed.arg(4)?]);
        return executed.checked(to, [same(request, executed.reply)]);
    }
    let pop: &[u8] = if request.is(3, "LEFT") { b"LPOP" } else { b"RPOP" };
    let push: &[u8] = if request.is(4, "LEFT") { b"LPUSH" } else { b"RPUSH" };
    let popped = same(Request::new([pop, from]), executed.reply);
    let pushed = succeeds(Request::new([push, to, executed.reply.text()?]));
    executed.checked(to, [popped, pushed])
}
