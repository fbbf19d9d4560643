//! Databases: which are migrated and to where, and what `SWAPDB` does to their numbers.

/// Which of the primary's databases are migrated, and under which number on the secondary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Databases {
    /// All of them, under their own numbers.
    #[default]
    All,
    /// Only these: number on the primary, number on the secondary.
    Only(Vec<(u32, u32)>),
}

impl Databases {
    /// The secondary's number for a database; `None` for one that is not migrated.
    pub fn to(&self, db: u32) -> Option<u32> {
        match self {
            Self::All => Some(db),
            Self::Only(pairs) => pairs.iter().find(|(from, _)| *from == db).map(|(_, to)| *to),
        }
    }

    /// The same seen from the other side.
    #[must_use]
    pub fn reversed(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Only(pairs) => Self::Only(pairs.iter().map(|(from, to)| (*to, *from)).collect()),
        }
    }
}

/// Marks belong to what a database holds, not to its number: each number stands for a space, and
/// `SWAPDB` makes two numbers change spaces.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    /// Numbers whose space is another number's.
    moved: Vec<(u32, u32)>,
    numbering: u32,
}

impl Spaces {
    /// The space that a database number stands for now.
    pub(super) fn of(&self, db: u32) -> u32 {
        self.moved.iter().find(|(number, _)| *number == db).map_or(db, |(_, space)| *space)
    }

    /// The number under which a space is reached now.
    pub(super) fn number(&self, space: u32) -> u32 {
        self.moved.iter().find(|(_, moved)| *moved == space).map_or(space, |(number, _)| *number)
    }

    /// Two numbers change spaces.
    pub(super) fn swap(&mut self, a: u32, b: u32) {
        let (space_a, space_b) = (self.of(a), self.of(b));
        self.moved.retain(|(number, _)| *number != a && *number != b);
        self.moved.extend([(a, space_b), (b, space_a)].into_iter().filter(|(n, s)| n != s));
        self.numbering += 1;
    }

    /// Changes with every swap.
    pub(super) fn numbering(&self) -> u32 {
        self.numbering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_numbers_change_spaces() {
        let mut spaces = Spaces::default();
        spaces.swap(0, 1);
        spaces.swap(1, 2);
        assert_eq!([0, 1, 2, 3].map(|db| spaces.of(db)), [1, 2, 0, 3]);
        assert_eq!([0, 1, 2, 3].map(|space| spaces.number(space)), [2, 0, 1, 3]);
    }
}
