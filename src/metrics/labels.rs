//! The labels of metrics, each a closed set of values.

use crate::engine::Cause;
use crate::status::{Phase, Side};

/// A closed set of values for one label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All its values, in the order of [`Self::index`].
    const ALL: &'static [Self];
    /// One value's name.
    fn name(self) -> &'static str;
    /// One value's place in [`Self::ALL`].
    fn index(self) -> usize;
}

/// Declares a closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident as $key:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// What became of a command for the secondary.
    MirrorOutcome as "outcome" {
        /// Done, with the expected reply.
        Applied = "applied",
        /// Done, with another reply.
        Mismatched = "mismatched",
        /// Refused by the secondary.
        Failed = "failed",
        /// Not sent: its keys had not been copied yet, or were dirty.
        Skipped = "skipped",
    }
}

labels! {
    /// What became of a key in the backfill.
    BackfillOutcome as "outcome" {
        /// It is on the target now.
        Copied = "copied",
        /// There was nothing to do: it is gone, or was there already.
        Skipped = "skipped",
        /// It could not be copied.
        Failed = "failed",
    }
}

labels! {
    /// How a value got to the other server.
    SentBy as "way" {
        /// Its payload as it was.
        AsItIs = "as_it_is",
        /// Its payload under a footer written anew.
        Rewritten = "rewritten",
        /// Commands of its type.
        Commands = "by_commands",
    }
}

labels! {
    /// What verify found of a key.
    VerifyOutcome as "outcome" {
        /// The same on both.
        Equal = "equal",
        /// Only on the primary.
        Missing = "missing",
        /// Only on the secondary.
        Extra = "extra",
        /// Another type, value or expiry.
        Different = "different",
        /// Found wrong, and right after repair.
        Repaired = "repaired",
    }
}

labels! {
    /// What kind of command a client sent.
    CommandKind as "kind" {
        /// It changes nothing.
        Read = "read",
        /// It may change keys.
        Write = "write",
        /// It concerns the connection or the server.
        Other = "other",
    }
}

labels! {
    /// Why a client got an error from the proxy and not from the server, or was let go.
    ClientErrorKind as "kind" {
        /// What it sent is not RESP, or past a limit.
        Protocol = "protocol",
        /// The source does not let it in.
        Auth = "auth",
        /// The command is not carried.
        Refused = "refused",
        /// The primary can't be reached, or was lost.
        Upstream = "upstream",
        /// It reads too slowly.
        SlowReader = "slow_reader",
        /// There are too many clients.
        TooMany = "too_many",
        /// Its subscriptions could not follow a flip.
        Unmoved = "unmoved",
    }
}

impl Label for Cause {
    const KEY: &'static str = "cause";
    const ALL: &'static [Self] = &Cause::ALL;

    fn name(self) -> &'static str {
        self.label()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Phase {
    const KEY: &'static str = "phase";
    const ALL: &'static [Self] = &Phase::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Side {
    const KEY: &'static str = "role";
    const ALL: &'static [Self] = &Side::ALL;

    fn name(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        self as usize
    }
}
