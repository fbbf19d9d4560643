//! Any version to any other, any engine to any engine: whole migrations, there and back.
//!
//! The servers are those that `make servers` put beside the installed one; on a machine with fewer, there
//! are fewer pairs. `CROSSFADE_TEST_PAIRS=all` runs every ordered pair instead of a round through all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::{Path, PathBuf};
use support::{Dialect, Launch, Migration, Rng, Server, Value, Workload};
use support::{all_servers, every_encoding, fill_speaking};

/// The pairs to run: every one, or a round in which each server is once source and once target. A
/// migration goes there and back, so the round meets each of its pairs in both directions.
fn pairs() -> Vec<(PathBuf, PathBuf)> {
    let servers = all_servers();
    if servers.len() == 1 {
        eprintln!("SKIPPED: no other servers in CROSSFADE_TEST_SERVERS or .cache/servers");
    }
    let only = std::env::var("CROSSFADE_TEST_PAIRS").unwrap_or_default();
    let all = servers.iter().flat_map(|from| servers.iter().map(move |to| (from, to)));
    let next = servers.iter().zip(servers.iter().cycle().skip(1));
    let chosen: Vec<_> = if only == "all" { all.collect() } else { next.collect() };
    chosen.into_iter().map(|(from, to)| (from.clone(), to.clone())).collect()
}

/// Everything that a server would show of a migration after it: settings, libraries, scratch keys.
fn traces(server: &Server) -> Vec<Value> {
    let mut traces = vec![server.ok("CONFIG GET *"), server.ok("INFO modules")];
    traces.extend(server.knows("FUNCTION").then(|| server.ok("FUNCTION LIST")));
    traces.extend(server.knows("ACL").then(|| server.ok("ACL LIST")));
    traces
}

/// Keys of crossfade's own, in any database.
fn own_keys(server: &Server) -> Vec<String> {
    let mut client = server.client();
    let mut found = Vec::new();
    for database in 0..16 {
        client.ok(format!("SELECT {database}"));
        found.extend(client.ok("KEYS crossfade:*").texts());
    }
    found
}

fn migrates_there_and_back(from: &Path, to: &Path) {
    let mut rng = Rng::seeded(8);
    let (source, target) = (Server::start(from, &[]), Server::start(to, &[]));
    let dialect = Dialect::of(&source, &target);
    every_encoding(&mut source.client(), dialect.field_expiry);
    fill_speaking(dialect, &mut source.client(), &mut rng, 300);
    let before = (traces(&source), traces(&target));
    let state = source.directory().join("state");
    let crossfade = Launch::between(&source, &target)
        .state_dir(&state)
        .expect_log("does not tell which keys scripts write")
        .start();
    let migration = Migration { crossfade, source, target };
    let address = migration.crossfade.address();
    let traffic = |rng: &mut Rng| {
        let workload = Workload::speaking(dialect, &address, rng, 3);
        workload.run_for(400);
        workload
    };
    let workload = traffic(&mut rng);
    migration.crossfade.wait_phase("mirroring");
    workload.stop();
    migration.assert_equal();
    migration.crossfade.cut_over();
    traffic(&mut rng).stop();
    migration.assert_equal();
    assert_eq!(own_keys(&migration.source), ["crossfade:cutover"]);
    migration.crossfade.roll_back();
    traffic(&mut rng).stop();
    migration.assert_equal();
    let Migration { crossfade, source, target } = migration;
    crossfade.finish();
    assert!(own_keys(&source).is_empty() && own_keys(&target).is_empty());
    assert!(before == (traces(&source), traces(&target)), "the servers were left as they were");
}

#[test]
fn every_pair_of_versions_is_migrated_there_and_back_and_bears_no_trace() {
    for (from, to) in pairs() {
        eprintln!("{} -> {}", from.display(), to.display());
        migrates_there_and_back(&from, &to);
    }
}

/// A server that has the command, of those at hand; says so when there is none.
fn one_that_knows(command: &str) -> Option<Server> {
    let mut servers = all_servers().into_iter().map(|program| Server::start(&program, &[]));
    let found = servers.find(|server| server.knows(command));
    if found.is_none() {
        eprintln!("SKIPPED: no server at hand knows {command}");
    }
    found
}

fn lasting(source: Server, target: Server) -> Migration {
    let state = source.directory().join("state");
    Migration::with(source, target, |launch| launch.state_dir(&state))
}

fn wait_for_blockers(migration: &Migration, hold: impl Fn(&str) -> bool) {
    migration.crossfade.wait_status("the blockers are as they should be", |status| {
        status["phase"] == "mirroring" && hold(&status["blockers"].to_string())
    });
}

#[test]
fn what_the_target_cannot_hold_is_named_and_blocks_the_cutover_until_it_is_gone() {
    let (Some(source), target) = (one_that_knows("VADD"), Server::target()) else { return };
    if target.knows("VADD") {
        return eprintln!("SKIPPED: the target knows VADD");
    }
    let mut client = source.client();
    client.pipeline((0..3).map(|n| format!("VADD vectors:{n} VALUES 2 0.5 0.{n} a")));
    client.ok("HSET ending f 1 g 2");
    client.ok("HPEXPIREAT ending 4102444800123 FIELDS 1 f");
    client.ok("SET plain 1");
    drop(client);
    let migration = lasting(source, target);
    wait_for_blockers(&migration, |blockers| {
        blockers.contains("3 keys like 'vectors:*'")
            && blockers.contains("vectorset")
            && blockers.contains("1 keys like 'ending'")
    });
    let status = migration.crossfade.status();
    assert_eq!(
        (&status["backfill"]["left_out"], &status["mirror"]["dirty_keys"]),
        (&4.into(), &4.into())
    );
    let mut client = migration.client();
    client.ok("HSET ending h 3");
    client.ok("INCR plain");
    assert_eq!(migration.crossfade.admin().cutover(1_000, false).code, 409);
    client.ok("DEL vectors:0 vectors:1 vectors:2");
    client.ok("HPERSIST ending FIELDS 1 f");
    wait_for_blockers(&migration, |blockers| !blockers.contains("left out"));
    migration.assert_equal();
    migration.crossfade.cut_over();
    drop(client);
    migration.finish();
}

#[test]
fn fields_that_end_are_told_to_the_target_and_no_hash_is_copied_again_for_it() {
    let (Some(source), Some(target)) = (one_that_knows("HSETEX"), one_that_knows("HSETEX")) else {
        return;
    };
    let migration = lasting(source, target);
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    for line in [
        "HSET h a 1 b 2 c 3 d 4 e 5",
        "HEXPIRE h 1000 FIELDS 3 a b none",
        "HPEXPIRE h 2000000 GT FIELDS 2 a c",
        "HEXPIREAT h 4102444800 NX FIELDS 2 c d",
        "HPEXPIREAT h 1 FIELDS 2 e none",
        "HPERSIST h FIELDS 2 b none",
        "HINCRBYFLOAT h a 1.5",
        "HINCRBYFLOAT h b 1.5",
        "HINCRBYFLOAT h new 1.5",
        "HGETEX h EX 3000 FIELDS 2 b none",
        "HGETEX h PERSIST FIELDS 2 a b",
        "HGETDEL h FIELDS 2 c none",
        "HSETEX h FNX EX 1000 FIELDS 2 f 6 g 7",
        "HSETEX h FNX EX 1000 FIELDS 1 f 8",
        "HSETEX h FIELDS 1 f 9",
        "HSETEX made PX 1000000 FIELDS 1 a 1",
        "MULTI",
        "HSETEX made PX 2000000 FIELDS 1 b 1",
        "HINCRBYFLOAT made b 1.5",
        "EXEC",
    ] {
        client.ok(line);
    }
    migration.assert_equal();
    let status = migration.crossfade.status();
    assert_eq!(status["backfill"]["recopied"], 0, "{status}");
    assert_eq!(status["mirror"]["mismatched"], 0, "{status}");
    migration.finish();
}

#[test]
fn a_modules_value_travels_as_it_is_to_a_server_that_has_the_module() {
    let servers = all_servers().into_iter().map(|program| Server::start(&program, &[]));
    let mut knowing = servers.filter(|server| server.knows("VADD"));
    let (Some(source), Some(target)) = (knowing.next(), knowing.next()) else {
        return eprintln!("SKIPPED: no two servers at hand know VADD");
    };
    source.client().pipeline((0..50).map(|n| format!("VADD vectors VALUES 2 0.5 0.{n} m{n}")));
    source.ok("PEXPIREAT vectors 4102444800123");
    let migration = lasting(source, target);
    migration.crossfade.wait_converged();
    migration.client().ok("VADD vectors VALUES 2 1 1 last");
    migration.crossfade.wait_converged();
    for question in ["VCARD vectors", "VEMB vectors m7", "VEMB vectors last", "PEXPIRETIME vectors"]
    {
        assert_eq!(migration.source.ok(question), migration.target.ok(question), "{question}");
    }
    assert_eq!(migration.crossfade.status()["backfill"]["left_out"], 0);
}

const LIBRARY: &str = "#!lua name=mine\nredis.register_function('mine', function() return 1 end)";

#[test]
fn a_library_that_the_target_cannot_take_is_named_and_blocks_until_it_is_settled() {
    let (source, target) = (Server::source(), Server::target());
    source.ok(["FUNCTION", "LOAD", LIBRARY]);
    target.ok(["FUNCTION", "LOAD", &LIBRARY.replace("return 1", "return 2")]);
    let migration = lasting(source, target);
    wait_for_blockers(&migration, |blockers| blockers.contains("library named mine"));
    assert_eq!(migration.target.ok("FCALL mine 0").integer(), 2, "it is left as it was");
    migration.target.ok("FUNCTION DELETE mine");
    wait_for_blockers(&migration, |blockers| !blockers.contains("library"));
    assert_eq!(migration.target.ok("FCALL mine 0").integer(), 1);
    migration.finish();
}
