//! The labels of metrics, each a closed set of values.

/// A closed set of values for one label.
pub(crate) trait Label: Copy + 'static {
    const KEY: &'static str;
    /// In the order of [`Self::index`].
    const ALL: &'static [Self];
    fn name(self) -> &'static str;
    fn index(self) -> usize;
}

/// Declares a closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident as $key:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum $name {
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
