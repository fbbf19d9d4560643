//! Scripts do whatever a script can: in other databases, to whole databases, in transactions, around
//! flips. What they did is on both servers all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Migration, Resp};

/// A script that calls these commands, one a line.
fn script(lines: &str) -> String {
    let call = |line: &str| {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        format!("redis.call({})", words.join(","))
    };
    lines.lines().map(call).collect::<Vec<_>>().join(" ")
}

fn words(words: Vec<&str>) -> Vec<Vec<u8>> {
    words.into_iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn run(client: &mut Resp, lines: &str) {
    client.ok(["EVAL", &script(lines), "0"]);
}

#[test]
fn what_scripts_do_in_other_databases_is_on_both() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    client.pipeline(["SET a 1", "SET b 2", "RPUSH c 3"]);
    for lines in [
        "SELECT 3\nSET x 1",
        "MOVE a 1",
        "COPY b d DB 2",
        "SELECT 3\nDEL x",
        "SELECT 9\nSET only 1\nSELECT 0\nDEL c",
    ] {
        run(&mut client, lines);
        migration.assert_equal();
    }
    drop(client);
    migration.finish();
}

#[test]
fn a_database_that_a_script_empties_or_exchanges_is_so_on_both() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    for lines in
        ["FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "SELECT 1\nFLUSHDB", "SET b 1\nFLUSHALL\nSET c 2"]
    {
        client.pipeline((0..50).map(|n| format!("SET key:{n} {n}")));
        client.pipeline(["SELECT 1", "SET other 1", "SELECT 0"]);
        run(&mut client, lines);
        migration.assert_equal();
        client.ok("FLUSHALL");
        run(&mut client, "SET after 1");
        migration.assert_equal();
    }
}

#[test]
fn a_script_in_a_transaction_is_followed_whole_or_step_by_step() {
    for steps in [false, true] {
        let migration = Migration::start();
        migration.crossfade.wait_phase("mirroring");
        let mut client = migration.client();
        let eval = script("SET undeclared 1");
        let requests: [&[&str]; 3] = [&["MULTI"], &["EVAL", &eval, "0"], &["EXEC"]];
        if steps {
            for request in requests {
                client.ok(words(request.to_vec()));
            }
        } else {
            client.pipeline(requests.map(|request| words(request.to_vec())));
        }
        migration.assert_equal();
        assert_eq!(migration.target.ok("GET undeclared").text(), "1");
    }
}

#[test]
fn a_script_whose_transaction_ends_behind_a_flip_is_followed_on_the_other_side() {
    let migration = Migration::lasting();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    client.ok("MULTI");
    client.ok(["EVAL", &script("SET undeclared 1"), "0"]);
    migration.crossfade.cut_over();
    client.ok("EXEC");
    migration.assert_equal();
    assert_eq!(migration.source.ok("GET undeclared").text(), "1");
    migration.crossfade.roll_back();
    assert_eq!(client.ok("GET undeclared").text(), "1");
    migration.assert_equal();
}

#[test]
fn a_set_is_not_taken_for_newer_than_a_script_that_ran_behind_it() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    let write = script("SET shared script").replace("'shared'", "ARGV[1]");
    for round in 0..20 {
        let keys: Vec<String> = (0..50).map(|n| format!("shared:{round}:{n}")).collect();
        let pairs = keys
            .iter()
            .flat_map(|key| [vec!["SET", key, "client"], vec!["EVAL", write.as_str(), "0", key]]);
        client.pipeline(pairs.map(words));
    }
    drop(client);
    migration.finish();
}

#[test]
fn scripts_acknowledged_around_flips_are_on_both() {
    let migration = Migration::lasting();
    migration.crossfade.wait_phase("mirroring");
    migration.crossfade.verify();
    let address = migration.crossfade.address();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (address, stop) = (&address, &stop);
            scope.spawn(move || {
                let mut client = Resp::connect(address);
                let body = "return redis.call('SET', 'made:' .. ARGV[1], '1')";
                let mut round = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let key = |n: i32| format!("{writer}:{round}:{n}");
                    let calls = (0..20).map(|n| words(vec!["EVAL", body, "0", &key(n)]));
                    let replies = client.pipeline(calls);
                    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
                    round += 1;
                }
            });
        }
        for _ in 0..3 {
            migration.crossfade.admin().cutover(5_000, true);
            migration.crossfade.admin().rollback(5_000);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    migration.assert_equal();
}

#[test]
fn the_body_of_a_read_only_script_is_known_on_the_new_primary() {
    let migration = Migration::lasting();
    if !migration.source.is_at_least(7, 0) {
        return;
    }
    // Not through crossfade, so that it tells nobody.
    let sha = migration.source.ok("SCRIPT LOAD return(ARGV[1])").text();
    migration.client().ok("EVAL_RO return(ARGV[1]) 0 once");
    migration.crossfade.cut_over();
    assert_eq!(migration.client().ok(format!("EVALSHA_RO {sha} 0 twice")).text(), "twice");
}

#[test]
fn what_no_server_tells_of_a_scripts_consumer_groups_is_found_and_mended_by_verify() {
    let migration = Migration::start();
    migration.crossfade.wait_phase("mirroring");
    let mut client = migration.client();
    client.ok("XADD stream 1-1 a b");
    run(&mut client, "XGROUP CREATE stream readers 0");
    migration.crossfade.wait_converged();
    assert_eq!(migration.crossfade.verify()["different"], 1);
    migration.assert_equal();
}
