//! The keys that crossfade itself puts on a server.
//!
//! *Guarantees:* such a key is told from the application's by its name alone, so that none is ever
//! copied, compared or mirrored as if it were data.
//!
//! *Must not know:* what is done with them.

/// The marker that a flip leaves on the source, in database 0.
pub(crate) const MARKER: &[u8] = b"crossfade:cutover";

/// What the name of a key begins with under which a value is built.
pub(crate) const BUILDING: &str = "crossfade:tmp:";

/// What the name of a key begins with that something is tried with.
pub(crate) const PROBE: &str = "crossfade:probe:";

/// Whether a key of database `db` is crossfade's own.
pub(crate) fn is_reserved(db: u32, key: &[u8]) -> bool {
    let is_scratch = |prefix: &str| key.starts_with(prefix.as_bytes());
    (db == 0 && key == MARKER) || is_scratch(BUILDING) || is_scratch(PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_reserved_only_where_a_flip_leaves_it() {
        assert!(is_reserved(0, MARKER));
        assert!(!is_reserved(1, MARKER));
        assert!(!is_reserved(0, b"crossfade:cutover:plan"));
    }
}
