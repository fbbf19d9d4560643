//! What to do about a command that did not succeed.
//!
//! *Guarantees:* a failure stays as many lines as it was.

use crate::failure::Failure;

/// By what a failure says. The first that fits counts.
const STEPS: &[(&str, &str)] = &[
    ("refuses the token", "give the token of that run as CROSSFADE_ADMIN_TOKEN or --admin-token"),
    ("the admin API at", "is `crossfade run` up there? --admin says where to look"),
    ("WRONGPASS", CREDENTIALS),
    ("NOAUTH", CREDENTIALS),
    ("invalid password", CREDENTIALS),
    ("NOPERM", "`crossfade check` lists the rights that are needed (ACL SETUSER grants them)"),
    ("LOADING", "wait until the server has read its data"),
    ("Connection refused", "start that server, or mend its URL"),
    ("lookup address", "mend the host's name in the URL, or the name service"),
    ("no answer for", "look at the network and the firewall on the way to it"),
    ("closed by the server", "its log says why; a port for TLS wants rediss://"),
    ("certificate", "--source-tls-ca, --target-tls-ca and --admin-ca say whom to trust"),
    (
        "Address already in use",
        "end the process that has it, or choose another; port 0 takes a free one",
    ),
    ("Cannot assign requested address", "choose an address of this machine"),
    ("in use by another crossfade", "end that one, or give this one a directory of its own"),
    ("written by a newer crossfade", "start that version, or a newer one"),
    ("belongs to the migration of", "give this migration a directory of its own"),
    ("Permission denied", "let the user of this process read and write it"),
    ("No space left", "make room there"),
    ("is not a directory", "name one that exists"),
    ("can't be flushed", "let its user do that (ACL SETUSER), or empty the target by hand"),
    ("refuses INFO", "let its user run INFO (ACL SETUSER)"),
    (
        "did not drain in time",
        "nothing has changed: wait for lag 0, then try again with a longer --timeout-ms",
    ),
    ("a flip is under way", "wait until it has ended: seconds at most"),
    ("no flip is under way", "it has ended meanwhile: `crossfade status` shows how"),
    ("still being copied", "`crossfade watch` shows how far it is"),
    ("being copied again", "`crossfade watch` shows how far it is"),
    ("a verify is running already", "wait until it ends: `crossfade watch` shows how far it is"),
    ("verify runs in", "`crossfade watch` shows when the phase changes"),
    ("finalize leads from", "cut over first"),
    ("rollback leads from", "there is nothing to go back from"),
    ("nothing to copy again", "nothing has to be done"),
    ("can't be asked", "mend that server or the network, then try again"),
    ("was replaced", "wait until every key is copied again, then try again"),
    (
        "verify ended different",
        "find out where it came from, then verify again: what differed was copied again",
    ),
    ("verify ended", "something has happened meanwhile: verify again"),
];

const CREDENTIALS: &str =
    "mend user and password in its URL, CROSSFADE_SOURCE_PASSWORD or CROSSFADE_TARGET_PASSWORD";

/// The failure with what to do next, where it does not say so itself.
pub(super) fn told(failure: &Failure) -> String {
    let message = &failure.message;
    let step = STEPS.iter().find(|(words, _)| message.contains(words));
    step.map_or(message.clone(), |(_, step)| format!("{message}; {step}"))
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};
    use std::path::PathBuf;

    use super::*;
    use crate::control::StateError;

    fn is_told(message: &str) {
        let failure = Failure::no(message);
        assert_ne!(told(&failure), message, "nothing is said of what to do");
    }

    #[test]
    fn whatever_keeps_a_run_from_its_start_says_what_to_do() {
        for refusal in [
            "source 127.0.0.1:1: Connection refused (os error 111)",
            "source 127.0.0.1:1: WRONGPASS invalid username-password pair or user is disabled.",
            "target 127.0.0.1:1: NOAUTH Authentication required.",
            "target 127.0.0.1:1: ERR invalid password",
            "target 127.0.0.1:1: LOADING Redis is loading the dataset in memory",
            "source h:1: failed to lookup address information: Name or service not known",
            "source h:1: no answer for 5 s",
            "source h:1: connection closed by the server",
            "source h:1: invalid peer certificate: UnknownIssuer",
            "--listen 127.0.0.1:1: Address already in use (os error 98)",
            "--admin 8.8.8.8:1: Cannot assign requested address (os error 99)",
            "--hooks /x: is not a directory",
            "the target can't be flushed: NOPERM this user has no permissions",
            "the target refuses INFO",
        ] {
            is_told(refusal);
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_state_directory_says_what_to_do() {
        let path = PathBuf::from("/var/lib/crossfade/state.json");
        let system = |kind: ErrorKind, path: &PathBuf| StateError::Io {
            path: path.clone(),
            error: io::Error::new(
                kind,
                if kind == ErrorKind::PermissionDenied {
                    "Permission denied"
                } else {
                    "No space left on device"
                },
            ),
        };
        let error = |error: StateError| is_told(&format!("--state-dir {error}"));
        error(system(ErrorKind::PermissionDenied, &path));
        error(system(ErrorKind::StorageFull, &path));
        error(StateError::InUse(path.clone()));
        error(StateError::Newer { path: path.clone(), version: 9 });
        error(StateError::Foreign { path, source_address: "a".into(), target: "b".into() });
    }

    #[test]
    fn whatever_an_operator_is_refused_says_what_to_do() {
        for refusal in [
            "the admin API at 127.0.0.1:1: Connection refused",
            "the admin API at 127.0.0.1:1: it refuses the token (--admin-token)",
            "the mirror did not drain in time: 1 effects, 2 dirty keys, 3 writes in flight",
            "a flip is under way",
            "a verify is running already",
            "keys are still being copied: 7 of 9",
            "keys are being copied again to the source: 7 of 9",
            "verify runs in mirroring and cut_over, not in finalized",
            "there is nothing to copy again: the phase is finalized",
            "finalize leads from cut_over, and the phase is mirroring",
            "rollback leads from cut_over, and the phase is mirroring",
            "one of the servers can't be asked",
            "one of the servers was replaced: keys are copied again",
            "verify ended different",
            "verify ended stale",
        ] {
            is_told(refusal);
        }
    }

    #[test]
    fn what_says_by_itself_what_to_do_stays_as_it_is() {
        let failure = Failure::no("the target holds keys (1 in database 0): empty it, or choose …");
        assert_eq!(told(&failure), failure.message);
    }
}
