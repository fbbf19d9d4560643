//! Commands that wait for data: what is answered, what is not, and when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Migration, wait_until};

/// Long enough to see that something does not happen.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn a_client_that_wants_no_replies_waits_for_its_job_and_takes_it() {
    let migration = Migration::start();
    let mut other = migration.client();
    for silence in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        let mut silent = migration.client();
        for line in [silence, "BLPOP queue 0", "INCR after"] {
            silent.send(line);
        }
        std::thread::sleep(SILENCE);
        assert_eq!(other.ok("EXISTS after").integer(), 0, "{silence}: it did not wait");
        other.ok("RPUSH queue job");
        wait_until("what it sent behind is done", || other.ok("EXISTS after").integer() == 1);
        assert_eq!(other.ok("LLEN queue").integer(), 0, "{silence}: the job was not taken");
        if silence == "CLIENT REPLY OFF" {
            silent.send("CLIENT REPLY ON");
            assert_eq!(silent.reply().text(), "OK", "the first word since");
        } else {
            assert_eq!(silent.reply().integer(), 1, "the first word since");
        }
        other.ok("DEL after");
    }
    drop(other);
    migration.finish();
}
