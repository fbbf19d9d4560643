//! What to do about each thing that stands in the way of a cut-over.

use crate::status::Advice;

/// By what a blocker begins with or holds. The first that fits counts.
const REMEDIES: [(&str, &str); 21] = [
    (
        "the backfill has not finished",
        "Wait; `crossfade resume --rate 0` lifts the limit of keys a second.",
    ),
    ("keys are being copied again", "Wait; the cause stands beside the copy."),
    ("verify has not run", "Verify: it compares every key of both servers."),
    ("verify is running", "Wait until it ends."),
    ("the last verify is stale", "Verify again: something has happened since."),
    (
        "the last verify found differences",
        "They were repaired. Find out where they came from, then verify again.",
    ),
    (
        "came back (nearly) empty",
        "Decide whose data count: resync and accept the emptiness, or move the clients by force.",
    ),
    ("is a replica now", "Promote it (REPLICAOF NO ONE)."),
    ("is unreachable", "Mend that server or the network; crossfade connects again by itself."),
    ("may hold other data", "Wait a moment: it is being looked at."),
    (
        "no --state-dir",
        "Restart with --state-dir, or force it and accept that a crash cannot be resumed.",
    ),
    (
        "the write-intent record can't be written",
        "Make room on the disk of the state directory; it clears by itself.",
    ),
    ("a client writes round the proxy", "Move that client to crossfade's address, then verify."),
    (
        "somebody writes round the proxy",
        "Find that writer (MONITOR on the source), move it here, then verify.",
    ),
    (
        "refuses writes",
        "Mend what its error names, or force the cut-over, which then goes without the marker.",
    ),
    (
        "lacks the user",
        "Create that user on the target with the same rights and passwords (ACL SETUSER).",
    ),
    (
        "has other rights or passwords",
        "Give that user the same rights and passwords on the target (ACL SETUSER).",
    ),
    ("does not tell its users", "Let crossfade's user run ACL LIST on the target, or force it."),
    ("function librar", "Drop that library on the target, or load the source's there."),
    ("the phase is", "There is nothing to cut over now."),
    ("hook", "The reason is the hook's own; mend what it names."),
];

/// What to do about it.
pub(super) fn on(blocker: &str) -> Advice {
    let fitting = REMEDIES.iter().find(|(words, _)| blocker.contains(words));
    let todo = fitting.map_or("Mend what it names; deploy/RUNBOOK.md has more.", |(_, todo)| todo);
    Advice { blocker: blocker.to_owned(), todo: todo.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_blocker_that_the_runbook_has_a_remedy_for_has_one_here() {
        let runbook = include_str!("../../deploy/RUNBOOK.md");
        let (_, table) = runbook.split_once("| blocker | remedy |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
        let blockers: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert!(blockers.len() > 5, "{blockers:?}");
        for blocker in blockers {
            let words = blocker.trim_end_matches([' ', '…', ':']);
            assert!(!on(words).todo.starts_with("Mend what it names; the"), "{words}");
        }
    }
}
