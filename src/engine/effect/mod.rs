//! What a write did, as deterministic, unconditional commands for the other server.
//!
//! *What it is:* rule two of the design, effects and not requests. Given a request, the primary's
//! reply to it, and what a few probes sent right behind it answered, it says what the secondary has
//! to be told, and what the secondary should answer if it holds the same state (parity).
//!
//! *Guarantees:* a write that failed or did nothing has no effect; conditions are resolved, times
//! absolute, random results explicit; where the reply does not say enough, the answer is
//! [`Outcome::Recopy`], never a guess.
//!
//! *Must not know:* sockets, clocks, what is migrated, in which order things happen.

mod expiry;
mod rules;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::protocol::capability::Capabilities;
use crate::protocol::command::Command;
use crate::protocol::resp::{Reply, Request};

pub use expiry::{Ends, Expiry};

/// Requests that go to the primary right behind a write, on the same connection, because its reply
/// alone does not say what happened: the expiry that a key has after it, the first entry of a
/// trimmed stream. The client never sees their replies.
pub type Probes = SmallVec<[Request; 2]>;

/// One executed write.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// The command's entry in the table.
    pub command: &'static Command,
    /// As the client sent it.
    pub request: &'a Request,
    /// What the primary answered.
    pub reply: &'a Reply,
    /// What it answered to [`probes`], in their order. In a transaction they are asked behind its
    /// `EXEC`, so they tell the state at its end.
    pub probes: &'a [Reply],
    /// What the primary can do: which probes were sent.
    pub primary: &'a Capabilities,
    /// What the secondary can do: which commands it can be told.
    pub secondary: &'a Capabilities,
    /// What to add to the primary's clock to get the secondary's, in milliseconds; added to every
    /// absolute time.
    pub clock_offset: i64,
}

/// What the secondary has to do.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every outcome is an effect: a box would cost an allocation a write"
)]
pub enum Outcome {
    /// Nothing: the write failed, or changed nothing.
    Nothing,
    /// These commands.
    Apply(Effect),
    /// What happened can't be told by commands: the written keys must be copied again.
    Recopy,
}

/// Commands for the secondary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// What changes the state, in order.
    pub steps: SmallVec<[Step; 1]>,
    /// What compares the state that the steps led to (the expiries of the written keys, against
    /// zombies: the case "a key about to expire" of the design). In a transaction all checks follow
    /// all steps.
    pub checks: SmallVec<[Step; 1]>,
    /// Whether the steps alone give the written keys their whole state, whatever it was before
    /// (`SET`, `DEL`): such an effect is as good as a copy.
    pub total: bool,
}

/// One command for the secondary, and what it should answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The command.
    pub request: Request,
    /// What proves that both servers hold the same.
    pub expect: Expect,
}

/// What the secondary should answer to a step. Anything else is a mismatch, and the keys are
/// copied again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything but an error: the reply carries no state.
    Success,
    /// The same as this, whatever the protocol versions.
    Reply(Digest),
    /// The secondary's time of day, for the expiry probe behind it.
    Time,
    /// The answer to an expiry probe, within `tolerance` milliseconds.
    Expiry {
        /// What the primary's key has, on the secondary's clock.
        expiry: Expiry,
        /// 0 where both servers tell absolute times.
        tolerance: i64,
    },
}

/// The probes to send right behind `request`. None for a write whose reply says it all.
pub fn probes(command: &Command, request: &Request, primary: &Capabilities) -> Probes {
    rules::probes(command, request, primary)
}

/// What the secondary has to be told of one executed write.
pub fn of(executed: &Executed<'_>) -> Outcome {
    rules::outcome(executed)
}

impl Expect {
    /// Whether the secondary's `reply` is what was expected. `now` is what it said to the
    /// [`Self::Time`] before, where it tells only the time that is left of a key (`PTTL`), else 0.
    pub fn accepts(self, reply: &Reply, now: i64) -> bool {
        match self {
            Self::Success => !reply.is_error(),
            Self::Time => reply.unix_milliseconds().is_some(),
            Self::Reply(digest) => Digest::of(reply) == digest,
            Self::Expiry { expiry, tolerance } => reply
                .integer()
                .is_some_and(|answer| Expiry::from_answer(answer, now).is_near(expiry, tolerance)),
        }
    }
}

impl Outcome {
    /// The outcome of a single command.
    pub fn apply(request: Request, expect: Expect) -> Self {
        let steps = SmallVec::from_iter([Step { request, expect }]);
        Self::Apply(Effect { steps, ..Effect::default() })
    }
}

/// Equal for replies that say the same in either protocol version. Two different replies have the
/// same digest once in 2^64: then a mismatch goes unseen until the key's next write or `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The digest of a reply.
    pub fn of(reply: &Reply) -> Self {
        Self(hash(reply))
    }
}

fn hash(reply: &Reply) -> u64 {
    match reply {
        Reply::Integer(value) => scalar(b'i', &value.to_le_bytes()),
        Reply::Boolean(flag) => scalar(b'i', &i64::from(*flag).to_le_bytes()),
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Double(text) | Reply::BigNumber(text) => {
            scalar(b's', text)
        }
        Reply::Error(text) => scalar(b'e', text),
        Reply::Null => scalar(b'n', b""),
        Reply::Array(items) | Reply::Push(items) => ordered(items.iter()),
        Reply::Set(items) => items.iter().map(hash).fold(1, u64::wrapping_add),
        Reply::Map(pairs) => ordered(pairs.iter().flat_map(|(key, value)| [key, value])),
    }
}

fn scalar(kind: u8, bytes: &[u8]) -> u64 {
    xxh3_64(bytes).rotate_left(u32::from(kind % 64)) ^ u64::from(kind)
}

fn ordered<'a>(items: impl Iterator<Item = &'a Reply>) -> u64 {
    items.fold(0x9e37_79b9_7f4a_7c15, |sum, item| {
        (sum.rotate_left(5) ^ hash(item)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn digest(text: &'static str) -> Digest {
        Digest::of(&Reply::parse(&Bytes::from_static(text.as_bytes())).unwrap())
    }

    #[test]
    fn both_protocols_have_one_digest() {
        assert_eq!(digest("$-1\r\n"), digest("_\r\n"));
        assert_eq!(digest("$3\r\n1.5\r\n"), digest(",1.5\r\n"));
        assert_eq!(digest("*2\r\n:1\r\n:2\r\n"), digest("%1\r\n:1\r\n:2\r\n"));
    }

    #[test]
    fn order_and_kind_matter() {
        assert_ne!(digest("*2\r\n:1\r\n:2\r\n"), digest("*2\r\n:2\r\n:1\r\n"));
        assert_ne!(digest("+OK\r\n"), digest("-OK\r\n"));
        assert_ne!(digest(":1\r\n"), digest("$1\r\n1\r\n"));
    }
}
