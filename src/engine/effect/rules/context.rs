//! What the rules have in common: the request's arguments, the probes' answers, and the shapes of
//! effects.

use bytes::Bytes;

use crate::engine::effect::{
    Digest, Effect, Ends, Executed, Expect, Expiry, Outcome, Probes, Step, expiry,
};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Builder, Reply, Request};

/// What asks for the expiry of the key at argument `index`.
pub(super) fn ask_expiry(request: &Request, index: usize, primary: &Capabilities) -> Probes {
    request.arg(index).map(|key| Ends::told_by(primary).requests(key)).unwrap_or_default()
}

/// A step whose reply must equal `reply`.
pub(super) fn same(request: Request, reply: &Reply) -> Step {
    Step { request, expect: Expect::Reply(Digest::of(reply)) }
}

/// A step that must answer this number.
pub(super) fn answers(request: Request, count: usize) -> Step {
    same(request, &Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// A step that must not fail.
pub(super) fn succeeds(request: Request) -> Step {
    Step { request, expect: Expect::Success }
}

pub(super) fn steps(steps: impl IntoIterator<Item = Step>) -> Outcome {
    Outcome::Apply(Effect { steps: steps.into_iter().collect(), ..Effect::default() })
}

/// Steps that give the written keys their whole state.
pub(super) fn total(steps: impl IntoIterator<Item = Request>) -> Outcome {
    let steps = steps.into_iter().map(succeeds).collect();
    Outcome::Apply(Effect { steps, total: true, ..Effect::default() })
}

/// The key is gone, whatever it was.
pub(super) fn delete(key: &[u8]) -> Outcome {
    total([Request::new([b"DEL", key])])
}

/// The name, the key and then `rest`.
pub(super) fn with_items(head: [&[u8]; 2], rest: &[Bytes]) -> Request {
    Request::new(head.into_iter().chain(rest.iter().map(AsRef::as_ref)))
}

/// The texts of an array's elements; `None` when one has none.
pub(super) fn texts(items: &[Reply]) -> Option<Vec<Bytes>> {
    items.iter().map(|item| item.text().cloned()).collect()
}

/// The request without the arguments that `drop` picks by their index.
pub(super) fn without(request: &Request, drop: impl Fn(usize) -> bool) -> Request {
    let kept = request.args().enumerate().filter(|(index, _)| !drop(*index));
    Request::new(kept.map(|(_, arg)| arg))
}

impl<'a> Executed<'a> {
    pub(super) fn arg(&self, index: usize) -> Option<&'a [u8]> {
        self.request.arg(index)
    }

    /// Whether the reply says that nothing was done: a number below 1, a null, an empty list.
    pub(super) fn changed_nothing(&self) -> bool {
        match self.reply {
            Reply::Integer(count) => *count < 1,
            Reply::Boolean(done) => !done,
            Reply::Null => true,
            reply => reply.items().is_some_and(<[Reply]>::is_empty),
        }
    }

    /// Whether the secondary has the command itself with the options that were used, not only a way
    /// to say the same.
    pub(super) fn secondary_knows_it(&self) -> bool {
        let used =
            |option: &str| (2..self.request.len()).any(|index| self.request.is(index, option));
        let lacks = |(option, since): &(&str, _)| !self.secondary.knows(*since) && used(option);
        self.secondary.knows(self.command.since) && !self.command.later.iter().any(lacks)
    }

    /// What the expiry probe said, on the secondary's clock. It is always the first probe.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        Some(Ends::told_by(self.primary).answer(self.probes)?.shifted(self.clock_offset))
    }

    /// The probes behind the one for the expiry.
    pub(super) fn later_probes(&self) -> &'a [Reply] {
        self.probes.get(Ends::told_by(self.primary).replies()..).unwrap_or_default()
    }

    /// Steps that may create `key`: without it they are its removal, with it its expiry is
    /// compared, so that a key which expired on one side alone is noticed.
    pub(super) fn checked(
        &self,
        key: &[u8],
        steps: impl IntoIterator<Item = Step>,
    ) -> Option<Outcome> {
        let expiry = self.expiry()?;
        if expiry == Expiry::Missing {
            return Some(delete(key));
        }
        Some(Outcome::Apply(Effect {
            steps: steps.into_iter().collect(),
            checks: expiry::check(key, expiry, self.primary, self.secondary),
            total: false,
        }))
    }

    /// `SET key value` with the expiry that the key has now, which says all there is to say.
    pub(super) fn set(&self, key: &[u8], value: &[u8], expiry: Expiry) -> Outcome {
        let set = || Request::new([b"SET", key, value]);
        let time = match expiry {
            Expiry::Missing => return delete(key),
            Expiry::Never => return total([set()]),
            Expiry::At(time) => time,
        };
        if self.secondary.sets_absolute_expiry() {
            let mut builder = Builder::default();
            builder.push(b"SET").push(key).push(value).push(b"PXAT").push_integer(time);
            total([builder.finish()])
        } else {
            total([set(), expire_at(key, time)])
        }
    }
}

pub(super) fn expire_at(key: &[u8], time: i64) -> Request {
    let mut builder = Builder::default();
    builder.push(b"PEXPIREAT").push(key).push_integer(time);
    builder.finish()
}
