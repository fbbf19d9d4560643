//! What clients do that the target would refuse, learnt before they are moved there.
//!
//! *What it is:* [`Gaps`] say what the source takes and the target does not. A [`Rehearsal`] is shown
//! the commands of clients, and counts those that fall into a gap, by command and by what the names
//! of their keys have in common. The proxy shows it live traffic, `crossfade observe` what the
//! source's statistics and `MONITOR` tell.
//!
//! *Guarantees:* bounded, whatever clients send; it holds patterns of keys, and no value. What falls
//! into no gap costs a look at one bit.
//!
//! *Must not know:* servers, connections, clocks. Time comes as a value, since some fixed moment.

mod counted;
mod gaps;
mod glob;
mod learnt;
mod options;
mod scripts;
mod slot;
mod users;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

pub(crate) use counted::Millis;
pub(crate) use gaps::{Gaps, Known, Rights, is_served};
use learnt::Learnt;
pub(crate) use learnt::{Heard, Questions, sha1};
pub(crate) use users::{Categories, User, users};

use crate::protocol::command::{self, Command};
use crate::protocol::resp::Request;
use crate::status;

/// What is learnt of live traffic, as all clients share it.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// A bit for each command of the table that may fall into a gap.
    suspects: Vec<AtomicU64>,
    /// Whether clients are on the source, so that there is something to learn.
    is_on: AtomicBool,
    learnt: Mutex<Learnt>,
}

impl Default for Rehearsal {
    fn default() -> Self {
        let words = command::table().len().div_ceil(64);
        let suspects = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { suspects, is_on: AtomicBool::new(false), learnt: Mutex::default() }
    }
}

impl Rehearsal {
    /// Whether a command is to be [heard](Self::hear): what every command of a client asks.
    pub(crate) fn suspects(&self, command: &Command) -> bool {
        let place = command.place();
        let word = self.suspects.get(place / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (place % 64) & 1 == 1)
    }

    /// The same of a command that the table does not know.
    pub(crate) fn suspects_unknown(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A client has sent a command that may fall into a gap.
    pub(crate) fn hear(&self, heard: &Heard<'_>) {
        self.learnt.lock().hear(heard);
    }

    /// From now on these are the gaps. What was counted in one that is closed is not shown any more.
    pub(crate) fn expect(&self, gaps: Gaps) {
        self.learnt.lock().gaps = gaps;
        self.go_on();
    }

    /// Clients are on the source (again).
    pub(crate) fn go_on(&self) {
        let mut words = vec![0_u64; self.suspects.len()];
        for command in self.learnt.lock().gaps.suspects() {
            if let Some(word) = words.get_mut(command.place() / 64) {
                *word |= 1 << (command.place() % 64);
            }
        }
        self.is_on.store(true, Ordering::Relaxed);
        self.suspect(words);
    }

    /// Clients are on the target: what they do now is no rehearsal.
    pub(crate) fn rest(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.suspect(vec![0; self.suspects.len()]);
    }

    fn suspect(&self, words: Vec<u64>) {
        for (suspects, word) in self.suspects.iter().zip(words) {
            suspects.store(word, Ordering::Relaxed);
        }
    }

    /// Requests as a server has counted them: how often, and nothing of their arguments.
    pub(crate) fn tell(&self, used: &[(Request, u64)]) {
        let mut learnt = self.learnt.lock();
        for (request, count) in used {
            learnt.tell(request, *count);
        }
    }

    /// What a library calls that only the source knows.
    pub(crate) fn lacking_calls(&self, body: &[u8]) -> Option<String> {
        let calls = self.learnt.lock().gaps.lacking_calls(body);
        (!calls.is_empty()).then(|| calls.join(", "))
    }

    /// What the servers are to be asked before it can be said whether it is a gap.
    pub(crate) fn questions(&self) -> Questions {
        self.learnt.lock().questions()
    }

    /// A client is in this database, perhaps for long.
    pub(crate) fn stays_in_database(&self, db: u32, at: Millis) {
        self.learnt.lock().stays_in_database(db, at);
    }

    /// What has been learnt; `unix` is what `now` is in Unix seconds.
    pub(crate) fn show(&self, now: Millis, unix: f64) -> status::Rehearsal {
        self.learnt.lock().show(now, unix)
    }

    /// What of it is not older than `window`, a line each.
    pub(crate) fn blockers(&self, now: Millis, window: Millis) -> Vec<String> {
        self.learnt.lock().blockers(now.saturating_sub(window))
    }
}

#[cfg(test)]
mod tests;
