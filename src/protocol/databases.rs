//! Which databases are migrated, and which number each has on the other server.
//!
//! *Must not know:* which server is which.

/// Databases of one server and their numbers on the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Databases {
    /// All of them, under their own numbers.
    #[default]
    All,
    /// Only these: number here, number there. No two share a place.
    Only(Vec<(u32, u32)>),
}

impl Databases {
    /// These databases, each to its own number.
    pub fn same(numbers: impl IntoIterator<Item = u32>) -> Self {
        Self::Only(numbers.into_iter().map(|number| (number, number)).collect())
    }

    /// One database, into one that may have another number.
    pub fn one(here: u32, there: u32) -> Self {
        Self::Only(vec![(here, there)])
    }

    /// The number there of a database here; `None` for one that is not migrated.
    pub fn to(&self, db: u32) -> Option<u32> {
        match self {
            Self::All => Some(db),
            Self::Only(pairs) => {
                pairs.iter().find(|(here, _)| *here == db).map(|(_, there)| *there)
            }
        }
    }

    /// The same seen from the other server.
    #[must_use]
    pub fn reversed(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Only(pairs) => {
                Self::Only(pairs.iter().map(|(here, there)| (*there, *here)).collect())
            }
        }
    }

    /// Whether some database would be its own copy, if both sides were one server.
    pub fn meets_itself(&self) -> bool {
        match self {
            Self::All => true,
            Self::Only(pairs) => {
                pairs.iter().any(|(here, _)| pairs.iter().any(|(_, there)| there == here))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_not_listed_goes_nowhere() {
        assert_eq!(Databases::All.to(7), Some(7));
        let one = Databases::one(3, 5);
        assert_eq!((one.to(3), one.to(5), one.reversed().to(5)), (Some(5), None, Some(3)));
    }

    #[test]
    fn two_databases_of_one_server_may_be_source_and_target() {
        assert!(Databases::All.meets_itself() && Databases::one(1, 1).meets_itself());
        assert!(!Databases::one(0, 1).meets_itself());
    }
}
