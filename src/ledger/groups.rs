//! Groups of keys: what is remembered when there is no room for names.

/// How many groups the keys fall into.
pub const GROUPS: usize = 65_536;
const WORDS: usize = GROUPS / 64;

/// One group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(pub u16);

/// A set of groups, 8 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct Groups(Box<[u64]>);

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Groups({} of {GROUPS})", self.len())
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self(vec![0; WORDS].into_boxed_slice())
    }
}

impl Groups {
    /// All of them.
    pub fn full() -> Self {
        Self(vec![u64::MAX; WORDS].into_boxed_slice())
    }

    /// Whether `group` is one of them.
    pub fn contains(&self, group: Group) -> bool {
        self.0.get(word(group)).is_some_and(|word| word & bit(group) != 0)
    }

    /// Adds `group`.
    pub fn insert(&mut self, group: Group) {
        if let Some(word) = self.0.get_mut(word(group)) {
            *word |= bit(group);
        }
    }

    /// Takes `group` out.
    pub fn remove(&mut self, group: Group) {
        if let Some(word) = self.0.get_mut(word(group)) {
            *word &= !bit(group);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Group> + '_ {
        (0..=u16::MAX).map(Group).filter(|group| self.contains(*group))
    }
}

fn word(group: Group) -> usize {
    usize::from(group.0) / 64
}

fn bit(group: Group) -> u64 {
    1 << (group.0 % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_and_go() {
        let mut groups = Groups::default();
        assert!(groups.is_empty());
        for id in [0, 63, 64, 65_535] {
            groups.insert(Group(id));
        }
        groups.remove(Group(63));
        assert_eq!(groups.iter().map(|group| group.0).collect::<Vec<_>>(), [0, 64, 65_535]);
        assert_eq!(Groups::full().len(), GROUPS);
    }
}
