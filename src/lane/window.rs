//! How much may be under way to somebody, when nobody knows how large a reply will be.
//!
//! It is judged by those that came before: who gets large replies has few steps under way, who gets
//! small ones many. What has not been sent can still be left out, and waits where it costs least.

/// Steps that may be unanswered, however small the replies are.
pub(crate) const MOST: usize = 4096;
/// And before anything is known of them.
const FIRST: usize = 2;

/// What is known of somebody's replies, and what room there is for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// For replies under way and those that have come, in bytes.
    room: usize,
    /// Steps that may always be under way, as long as there is any room.
    least: usize,
    /// How large the next reply is taken to be, in bytes.
    reply: Option<usize>,
}

impl Window {
    /// Room for so many bytes, as far as that can be known beforehand, and for so many steps anyway.
    pub(crate) fn new(room: usize, least: usize) -> Self {
        Self { room, least, reply: None }
    }

    /// How many steps may be unanswered while `unread` bytes wait to be read.
    pub(crate) fn steps(self, unread: usize) -> usize {
        let most = MOST.max(self.least);
        match (self.room.checked_sub(unread + 1), self.reply) {
            (None, _) => 0,
            (Some(_), None) => FIRST.clamp(self.least, most),
            (Some(room), Some(reply)) => (room / reply.max(1)).clamp(self.least, most),
        }
    }

    /// Whether nothing has come yet to judge by.
    pub(crate) fn is_new(self) -> bool {
        self.reply.is_none()
    }

    /// So many bytes came as replies to so many steps.
    pub(crate) fn learn(&mut self, bytes: usize, steps: usize) {
        let Some(mean) = bytes.checked_div(steps) else { return };
        // Up at once, down step by step: one short reply says little of the next.
        self.reply = Some(mean.max(self.reply.unwrap_or(0) / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    #[test]
    fn the_larger_the_replies_the_fewer_are_under_way() {
        let mut window = Window::new(ROOM, 1);
        assert_eq!(window.steps(0), FIRST);
        window.learn(20, 4);
        assert_eq!(window.steps(0), MOST);
        window.learn(4 << 20, 1);
        assert_eq!(window.steps(0), 1);
        window.learn(0, 0);
        assert_eq!(window.steps(0), 1, "nothing has been learnt");
        for _ in 0..20 {
            window.learn(5, 1);
        }
        assert_eq!(window.steps(0), MOST);
    }

    #[test]
    fn who_has_left_enough_unread_gets_no_more() {
        let mut window = Window::new(ROOM, 1);
        assert_eq!(window.steps(ROOM), 0);
        window.learn(100 << 10, 1);
        assert_eq!(window.steps(0), 10);
        assert_eq!(window.steps(ROOM / 2), 5);
        assert_eq!((window.steps(ROOM - 1), window.steps(ROOM)), (1, 0));
    }
}
