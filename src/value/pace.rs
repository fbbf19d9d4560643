//! How many elements to ask for at once.

/// What a part should hold, in bytes.
pub(super) const PART_BYTES: usize = 512 * 1024;
const FEWEST: usize = 16;
/// Each costs a server about a microsecond, for which all its clients wait.
const MOST: usize = 1024;

/// Follows the size of the elements. It depends on the value alone, so two readers of equal values
/// cut them at the same places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    count: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { count: 64 }
    }
}

impl Pace {
    pub(super) fn count(self) -> usize {
        self.count
    }

    /// Learns from a part; the count grows slowly, and shrinks at once.
    pub(super) fn learn(&mut self, elements: usize, bytes: usize) {
        let fitting = PART_BYTES.saturating_mul(elements.max(1)) / bytes.max(1);
        self.count = fitting.min(self.count * 4).clamp(FEWEST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_elements_are_asked_for_by_the_thousand_and_large_ones_by_the_dozen() {
        let mut pace = Pace::default();
        (0..3).for_each(|_| pace.learn(64, 640));
        assert_eq!(pace.count(), MOST);
        pace.learn(100, 100 * PART_BYTES);
        assert_eq!(pace.count(), FEWEST);
    }
}
