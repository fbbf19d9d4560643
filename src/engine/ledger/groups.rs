//! Groups of keys: what is remembered when there is no room for names.

/// How many groups the keys fall into.
pub(crate) const GROUPS: usize = 65_536;
/// How many words hold them.
pub(crate) const WORDS: usize = GROUPS / 64;

/// One group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Keeps those that are in `other` too.
    pub fn retain(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Those that are not in here.
    #[must_use]
    pub fn others(&self) -> Self {
        Self(self.0.iter().map(|word| !word).collect())
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

    /// Whether all of them are in here.
    pub fn is_full(&self) -> bool {
        self.0.iter().all(|word| *word == u64::MAX)
    }

    /// As bits, 64 groups a word.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// From what [`Self::words`] gave; `None` for another number of words.
    pub fn from_words(words: Vec<u64>) -> Option<Self> {
        (words.len() == WORDS).then(|| Self(words.into_boxed_slice()))
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

    #[test]
    fn sets_of_groups_are_joined_cut_and_turned_round() {
        let (mut one, mut two) = (Groups::default(), Groups::default());
        one.insert(Group(3));
        two.insert(Group(900));
        let others = one.others();
        assert!(!others.contains(Group(3)) && others.len() == GROUPS - 1);
        one.extend(&two);
        assert_eq!(one.len(), 2);
        one.retain(&others);
        assert_eq!(one, two);
        assert!(Groups::full().is_full() && !others.is_full());
        assert_eq!(Groups::from_words(one.words().to_vec()), Some(two));
        assert_eq!(Groups::from_words(vec![0]), None);
    }
}
