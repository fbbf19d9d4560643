//! Tools that others wrote: what they expect of a server they get from the proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use redis::Commands;
use std::process::{Command, Output};
use support::Migration;

/// Runs a tool against the proxy; it must succeed.
fn run(migration: &Migration, program: &str, arguments: &[&str]) -> String {
    let address = migration.crossfade.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let Output { status, stdout, stderr } =
        Command::new(program).args(["-h", host, "-p", port]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{program}: {text}{}", String::from_utf8_lossy(&stderr));
    text
}

#[test]
fn the_benchmark_of_redis_runs_to_its_end_and_both_sides_are_equal() {
    let migration = Migration::start();
    let tests = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";
    for pipeline in ["1", "32"] {
        let report = run(
            &migration,
            "redis-benchmark",
            &["-q", "-n", "3000", "-r", "500", "-P", pipeline, "-t", tests],
        );
        assert!(!report.to_lowercase().contains("error"), "{report}");
    }
    migration.finish();
}

#[test]
fn redis_cli_reads_its_commands_from_a_pipe() {
    let migration = Migration::start();
    assert_eq!(run(&migration, "redis-cli", &["SET", "a", "1"]).trim(), "OK");
    assert_eq!(run(&migration, "redis-cli", &["-3", "HGETALL", "nothing"]).trim(), "");
    assert_eq!(run(&migration, "redis-cli", &["-n", "2", "INCR", "a"]).trim(), "1");
    let report = run(&migration, "redis-cli", &["--scan"]);
    assert_eq!(report.trim(), "a");
    migration.finish();
}

#[test]
fn a_client_library_uses_pipelines_and_transactions() {
    let migration = Migration::start();
    let client =
        redis::Client::open(format!("redis://{}/1", migration.crossfade.address())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let _: () = connection.set("a", 1).unwrap();
    let sums: (i64, i64) =
        redis::pipe().atomic().incr("a", 1).incr("a", 10).query(&mut connection).unwrap();
    assert_eq!(sums, (2, 12));
    let all: Vec<i64> = (0..100)
        .fold(redis::pipe(), |mut pipe, _| pipe.incr("b", 1).to_owned())
        .query(&mut connection)
        .unwrap();
    assert_eq!(all, (1..=100).collect::<Vec<_>>());
    drop(connection);
    migration.finish();
}
