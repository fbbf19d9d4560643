//! A source that is full, or refuses writes, can be left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Launch, Migration, Server, all_servers, source_with_keys, wait_until};

#[test]
fn a_source_over_its_maxmemory_can_be_left_and_come_back_to() {
    for program in all_servers() {
        let source = Server::start(&program, &["--maxmemory-policy", "noeviction"]);
        let target = Server::start(&program, &[]);
        source.client().pipeline((0..200).map(|n| format!("SET plain:{n} {n}")));
        let state = source.directory().join("crossfade-state");
        let crossfade = Launch::between(&source, &target).state_dir(&state).start();
        let migration = Migration { crossfade, source, target };
        migration.crossfade.wait_converged();
        migration.source.ok("CONFIG SET maxmemory 1");
        assert!(migration.client().call("SET a 1").is_error());
        migration.crossfade.cut_over();
        assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 1);
        migration.client().ok("DEL plain:1");
        migration.assert_equal();
        migration.crossfade.roll_back();
        assert_eq!(migration.source.ok("EXISTS crossfade:cutover").integer(), 0);
        migration.assert_equal();
    }
}

#[test]
fn a_source_that_refuses_writes_says_so_beforehand_and_is_left_by_force() {
    let migration = Migration::lasting_of(source_with_keys(200));
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    migration.source.ok("CONFIG SET min-replicas-to-write 3");
    wait_until("the blocker is named", || {
        migration.crossfade.status()["blockers"].to_string().contains("NOREPLICAS")
    });
    let refused = migration.crossfade.admin().cutover(1_000, false);
    assert_eq!(refused.code, 409, "{}", refused.text);
    let forced = migration.crossfade.admin().cutover(5_000, true);
    assert_eq!(forced.code, 200, "{}", forced.text);
    assert_eq!(migration.client().ok("INCR plain:7").integer(), 8);
    migration.source.ok("CONFIG SET min-replicas-to-write 0");
    wait_until("the marker is put there", || {
        migration.source.ok("EXISTS crossfade:cutover").integer() == 1
    });
    migration.assert_equal();
}

#[test]
fn a_source_that_cannot_save_is_left_by_force_although_it_refuses_a_ping_too() {
    let migration = Migration::lasting_of(source_with_keys(200));
    migration.crossfade.wait_converged();
    migration.crossfade.verify();
    // A folder stands where the dump is to be, and the save fails.
    std::fs::create_dir_all(migration.source.directory().join("dump.rdb/in-the-way")).unwrap();
    migration.source.ok("CONFIG SET stop-writes-on-bgsave-error yes");
    migration.source.ok(["CONFIG", "SET", "save", "3600 1"]);
    migration.source.ok("BGSAVE");
    wait_until("the save has failed", || migration.source.client().call("PING").is_error());
    let forced = migration.crossfade.admin().cutover(5_000, true);
    assert_eq!(forced.code, 200, "{}", forced.text);
    assert_eq!(migration.client().ok("INCR plain:7").integer(), 8);
    migration.source.ok("CONFIG SET stop-writes-on-bgsave-error no");
    migration.assert_equal();
}

#[test]
fn a_marker_that_is_lost_is_put_back() {
    let migration = Migration::lasting();
    migration.crossfade.wait_converged();
    migration.crossfade.cut_over();
    for lost in ["DEL crossfade:cutover", "PEXPIRE crossfade:cutover 1"] {
        migration.source.ok(lost);
        wait_until("it is there again", || {
            migration.source.ok("TTL crossfade:cutover").integer() == -1
        });
    }
    migration.crossfade.roll_back();
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(
        migration.source.ok("EXISTS crossfade:cutover").integer(),
        0,
        "not after a rollback"
    );
}
