//! How many bytes a read asks for.

/// The least, in bytes: what most commands take, and what an allocator hands out at once.
const LEAST: usize = 512;
/// The most, in bytes.
const MOST: usize = 16 * 1024;

/// Follows what has come before: a client that sends one small command after the other has a small
/// buffer, which the processor still has at hand, one that sends many at once needs few reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSize(usize);

impl Default for ReadSize {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl ReadSize {
    /// For the next read, in bytes.
    pub(crate) fn bytes(self) -> usize {
        self.0
    }

    pub(crate) fn learn(&mut self, read: usize) {
        if read >= self.0 {
            self.0 = (self.0 * 4).min(MOST);
        } else if read < self.0 / 4 {
            self.0 = (self.0 / 2).max(LEAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_settles_where_reads_fit_and_goes_down_again() {
        let mut size = ReadSize::default();
        for _ in 0..4 {
            size.learn(600.min(size.bytes()));
        }
        assert_eq!(size.bytes(), 2048);
        for _ in 0..4 {
            size.learn(size.bytes());
        }
        assert_eq!(size.bytes(), MOST);
        for _ in 0..9 {
            size.learn(40);
        }
        assert_eq!(size.bytes(), LEAST);
    }
}
