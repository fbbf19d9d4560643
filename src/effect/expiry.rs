//! When a key ends.

/// What is known of a key's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key is not there.
    Missing,
    /// It has no end.
    Never,
    /// At this Unix time in milliseconds.
    At(i64),
}
