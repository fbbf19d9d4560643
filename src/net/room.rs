//! How much room a read is given.

/// The least, in bytes: what most commands take, and what an allocator hands out at once.
const LEAST: usize = 512;
/// The most, in bytes.
const MOST: usize = 16 * 1024;

/// Follows what has come before: a client that sends one small command after the other has a small
/// buffer, which the processor still has at hand, one that sends many at once needs few reads.
#[derive(Clone, Copy, Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Room {
    /// For the next read, in bytes.
    pub fn bytes(self) -> usize {
        self.0
    }

    /// So many bytes were read.
    pub fn learn(&mut self, read: usize) {
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
    fn room_settles_where_reads_fit_and_goes_down_again() {
        let mut room = Room::default();
        for _ in 0..4 {
            room.learn(600.min(room.bytes()));
        }
        assert_eq!(room.bytes(), 2048);
        for _ in 0..4 {
            room.learn(room.bytes());
        }
        assert_eq!(room.bytes(), MOST);
        for _ in 0..9 {
            room.learn(40);
        }
        assert_eq!(room.bytes(), LEAST);
    }
}
