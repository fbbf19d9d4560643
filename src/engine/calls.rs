//! How many calls of each command have been sent to the primary, and of how many it is certain that
//! they will not be executed any more. Held against what the primary counts itself, this tells
//! whether somebody else calls too.

use super::{Engine, Unit};
use crate::protocol::command::{Command, table};

/// Counts since the start, by a command's place in the table.
#[derive(Clone, Debug)]
pub struct Calls {
    begun: Vec<u64>,
    ended: Vec<u64>,
}

impl Calls {
    pub(super) fn new() -> Self {
        let none = vec![0; table().len()];
        Self { begun: none.clone(), ended: none }
    }

    /// Calls that the primary has been sent, or is about to be.
    pub fn begun(&self, command: &Command) -> u64 {
        self.begun.get(command.place()).copied().unwrap_or(0)
    }

    /// Calls that it has answered, or will never execute.
    pub fn ended(&self, command: &Command) -> u64 {
        self.ended.get(command.place()).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, unit: &Unit) {
        count(&mut self.begun, unit);
    }

    pub(super) fn end(&mut self, unit: &Unit) {
        count(&mut self.ended, unit);
    }
}

fn count(counts: &mut [u64], unit: &Unit) {
    for command in unit.writes.iter().filter_map(|write| write.command) {
        if let Some(count) = counts.get_mut(command.place()) {
            *count += 1;
        }
    }
}

impl Engine {
    /// What the primary has been sent.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::command::lookup;
    use crate::protocol::resp::Request;

    /// As if these had been sent and had ended.
    pub(crate) fn calls_of(begun: &[&str], ended: &[&str]) -> Calls {
        let mut calls = Calls::new();
        for (names, counts) in [(begun, &mut calls.begun), (ended, &mut calls.ended)] {
            for name in names {
                let command = lookup(&Request::new(name.split(' '))).unwrap();
                counts[command.place()] += 1;
            }
        }
        calls
    }
}
