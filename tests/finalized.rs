//! After `finalize` nothing needs the source any more: no client, no restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Crossfade, Launch, Resp, Server};

/// Connects without a word.
fn stranger(crossfade: &Crossfade) -> Resp {
    Resp::connect(&crossfade.address())
}

fn clients_log_in_as_ever(crossfade: &Crossfade) {
    assert!(stranger(crossfade).call("GET a").is_error(), "the source asked for a password");
    assert!(stranger(crossfade).call("HELLO 3").is_error());
    for wrong in ["AUTH other", "AUTH default other", "AUTH app no", "HELLO 3 AUTH default other"] {
        let mut client = stranger(crossfade);
        assert!(client.call(wrong).is_error(), "{wrong}");
        assert!(client.call("GET a").is_error(), "{wrong}");
    }
    for right in ["AUTH secret", "AUTH default secret", "AUTH app pw"] {
        let mut client = stranger(crossfade);
        client.ok(right);
        client.ok("INCR a");
    }
    let mut client = stranger(crossfade);
    assert!(!client.call("HELLO 3 AUTH default secret SETNAME me").is_error());
    assert_eq!(client.ok("CLIENT GETNAME").text(), "me");
    client.ok("INCR a");
}

#[test]
fn clients_log_in_and_a_restart_succeeds_without_the_source() {
    let mut source = Server::source_with(&["--requirepass", "secret"]);
    let target = Server::target_with(&["--requirepass", "other"]);
    for server in [&source, &target] {
        server.ok("ACL SETUSER app on >pw ~* &* +@all");
    }
    let state = target.directory().join("crossfade-state");
    let crossfade = Launch::between(&source, &target).state_dir(&state).start();
    let url = source.url();
    crossfade.cut_over();
    assert_eq!(crossfade.admin().finalize().code, 200);
    source.kill();
    clients_log_in_as_ever(&crossfade);
    crossfade.kill();

    let again = Launch::urls(&url, &target.url()).state_dir(&state).start();
    assert_eq!(again.phase(), "finalized");
    assert_eq!(again.status()["primary"], "target");
    clients_log_in_as_ever(&again);
    assert_eq!(target.ok("GET a").integer(), 8);
    again.finish();
}

#[test]
fn the_state_directory_is_nobody_elses_to_read_and_holds_no_password() {
    let source = Server::source_with(&["--requirepass", "a-long-secret"]);
    let target = Server::target();
    let state = target.directory().join("crossfade-state");
    let crossfade = Launch::between(&source, &target).state_dir(&state).start();
    crossfade.wait_converged();
    let file = state.join("state.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o077, 0);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("a-long-secret"));
    crossfade.finish();
}
