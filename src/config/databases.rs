//! Which databases are migrated, and where each of them goes.

/// One database of the source and its place on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabasePair {
    /// Its number on the source, which is the number that clients use in every phase.
    pub source: u32,
    /// Its number on the target.
    pub target: u32,
}

/// Which databases are migrated, and where each of them goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseMap {
    /// All, each to its own number.
    #[default]
    All,
    /// These and no others; no two share a place.
    Listed(Vec<DatabasePair>),
}

impl DatabaseMap {
    /// These databases, each to its own number.
    pub fn same(numbers: impl IntoIterator<Item = u32>) -> Self {
        let pair = |number| DatabasePair { source: number, target: number };
        Self::Listed(numbers.into_iter().map(pair).collect())
    }

    /// One database, into one that may have another number.
    pub fn one(source: u32, target: u32) -> Self {
        Self::Listed(vec![DatabasePair { source, target }])
    }

    /// Where a database of the source lies on the target; none when it is not migrated.
    pub fn target_of(&self, source: u32) -> Option<u32> {
        match self {
            Self::All => Some(source),
            Self::Listed(pairs) => {
                pairs.iter().find(|pair| pair.source == source).map(|pair| pair.target)
            }
        }
    }

    /// Which database of the source lies there on the target.
    pub fn source_of(&self, target: u32) -> Option<u32> {
        match self {
            Self::All => Some(target),
            Self::Listed(pairs) => {
                pairs.iter().find(|pair| pair.target == target).map(|pair| pair.source)
            }
        }
    }

    /// Whether some database would be its own target, if both sides were one server.
    pub fn meets_itself(&self) -> bool {
        match self {
            Self::All => true,
            Self::Listed(pairs) => pairs.iter().any(|pair| self.source_of(pair.source).is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_databases_keep_their_numbers() {
        assert_eq!(DatabaseMap::All.target_of(7), Some(7));
        assert_eq!(DatabaseMap::All.source_of(7), Some(7));
    }

    #[test]
    fn a_listed_database_goes_where_it_was_told_and_the_others_nowhere() {
        let map = DatabaseMap::one(3, 0);
        assert_eq!((map.target_of(3), map.source_of(0)), (Some(0), Some(3)));
        assert_eq!((map.target_of(0), map.source_of(3)), (None, None));
        assert_eq!(DatabaseMap::same([1, 2]).target_of(2), Some(2));
    }

    #[test]
    fn one_server_may_be_both_sides_only_when_the_databases_are_apart() {
        assert!(DatabaseMap::All.meets_itself());
        assert!(DatabaseMap::same([1]).meets_itself());
        assert!(!DatabaseMap::one(1, 2).meets_itself());
    }
}
