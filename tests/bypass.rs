//! Writers that go round the proxy are found however short they stay, and no client of the proxy is
//! ever taken for one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;
use support::{Crossfade, Launch, Migration, Rng, Server, Workload, all_servers, wait_until};

fn ready(migration: &Migration) {
    migration.crossfade.wait_converged();
    assert_eq!(migration.crossfade.verify()["state"], "clean");
    assert_eq!(migration.crossfade.status()["ready"], true, "{:#}", migration.crossfade.status());
}

fn foreign_writes(crossfade: &Crossfade) -> u64 {
    let page = crossfade.admin().get("/metrics").text;
    let line = page.lines().find(|line| line.starts_with("crossfade_foreign_writes_total "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// What `status` says of writers round the proxy by their calls.
fn seen(crossfade: &Crossfade) -> Option<String> {
    let status = crossfade.status();
    let blockers = status["blockers"].as_array().unwrap().iter();
    let mut texts = blockers.map(|blocker| blocker.as_str().unwrap().to_owned());
    texts.find(|text| text.contains("the server has counted calls"))
}

#[test]
fn writers_that_connect_for_one_command_block_the_cutover_until_a_verify_was_clean() {
    let migration = Migration::lasting();
    migration.client().ok("INCR orders");
    ready(&migration);
    for _ in 0..30 {
        migration.source.ok("INCR orders");
        std::thread::sleep(Duration::from_millis(20));
    }
    migration.crossfade.wait_status("the verify is stale", |status| {
        status["verify"]["state"] == "stale" && status["ready"] == false
    });
    wait_until("all are counted", || foreign_writes(&migration.crossfade) == 30);
    let seen = seen(&migration.crossfade).expect("a blocker");
    assert!(seen.contains("30 of INCR"), "{seen}");
    let refused = migration.crossfade.admin().cutover(1_000, false);
    assert_eq!(refused.code, 409, "{}", refused.text);
    ready(&migration);
    assert_eq!(migration.crossfade.admin().cutover(5_000, false).code, 200);
    assert_eq!(migration.client().ok("INCR orders").integer(), 32);
    migration.assert_equal();
}

#[test]
fn one_write_in_a_quiet_second_is_seen_also_by_the_cutover_itself() {
    let migration = Migration::lasting();
    ready(&migration);
    migration.source.ok("SET a 1");
    let refused = migration.crossfade.admin().cutover(1_000, false);
    assert_eq!(refused.code, 409, "{}", refused.text);
    assert!(refused.text.contains("1 of SET"), "{}", refused.text);
    ready(&migration);
    migration.crossfade.cut_over();
    migration.crossfade.wait_converged();
    std::thread::sleep(Duration::from_millis(700));
    migration.target.ok("SADD s 1");
    wait_until("it is seen on the target too", || foreign_writes(&migration.crossfade) == 2);
}

#[test]
fn a_name_like_ours_hides_nobody() {
    let migration = Migration::lasting();
    ready(&migration);
    let mut foreign = migration.source.client();
    foreign.ok("CLIENT SETNAME crossfade-cron");
    wait_until("it is named", || {
        foreign.ok("SET a 1");
        migration.crossfade.status()["blockers"].to_string().contains("name=crossfade-cron")
    });
}

#[test]
fn no_client_of_the_proxy_is_taken_for_one_that_goes_round_it() {
    for program in all_servers() {
        let source = Server::start(&program, &[]);
        let target = Server::start(&program, &[]);
        let state = source.directory().join("crossfade-state");
        let crossfade = Launch::between(&source, &target).state_dir(&state);
        let crossfade = crossfade.flag("--allow-admin").start();
        crossfade.wait_converged();
        let mut rng = Rng::seeded(7);
        let workload = Workload::start(&crossfade.address(), &mut rng, 4);
        let mut client = crossfade.client();
        for round in 0..4 {
            workload.run_for(600);
            for line in [
                "SET a",
                "SET a 1 NX XX",
                "INCR list:x y",
                "LPUSH a 1",
                "ZUNIONSTORE d x k",
                "EVAL return(redis.call('SET','hidden',redis.call('INCR','n'))) 0",
                "EVAL redis.call('SET','hidden','1')return(redis.call('NONSENSE')) 0",
                "EVALSHA 0000000000000000000000000000000000000000 0",
                "SORT a BY nosort",
                "PFCOUNT a b",
                "GETEX a",
                "EXEC",
                "MULTI",
                "SET m 1",
                "SET m",
                "EXEC",
                "MULTI",
                "INCR m",
                "LPUSH m 1",
                "EXEC",
                "BLPOP nothing 0.01",
                "WATCH a",
                "MULTI",
                "SET a 2",
                "DISCARD",
                "SELECT 3",
                "SET b 1",
                "SELECT 0",
            ] {
                client.call(line);
            }
            if round == 2 {
                client.ok("CONFIG RESETSTAT");
            }
            let mut dying = crossfade.client();
            dying.send("BLPOP nothing 0");
            dying.send("SET never 1");
            drop(dying);
        }
        workload.stop();
        crossfade.wait_converged();
        std::thread::sleep(Duration::from_millis(1_200));
        assert_eq!(foreign_writes(&crossfade), 0, "{}: {:?}", program.display(), seen(&crossfade));
    }
}
