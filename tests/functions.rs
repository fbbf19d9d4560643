//! Function libraries: what the secondary did not take is mended like a key, and what is somebody
//! else's is left alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Launch, Migration, Server, Value, wait_until};

fn library(name: &str, result: u32) -> String {
    format!("#!lua name={name}\nredis.register_function('{name}', function() return {result} end)")
}

fn load(server: &Server, name: &str, result: u32) {
    server.ok(["FUNCTION", "LOAD", &library(name, result)]);
}

/// The code of a server's libraries, in order.
fn libraries(server: &Server) -> Vec<String> {
    let code = |library: Value| library.elements().pop().unwrap().text();
    let list = server.ok("FUNCTION LIST WITHCODE").elements();
    let mut libraries: Vec<_> = list.into_iter().map(code).collect();
    libraries.sort();
    libraries
}

fn dirty_keys(migration: &Migration) -> u64 {
    migration.crossfade.status()["mirror"]["dirty_keys"].as_u64().unwrap()
}

#[test]
fn a_change_of_libraries_that_the_target_did_not_take_is_mended() {
    let migration = Migration::start();
    migration.crossfade.wait_converged();
    migration.target.ok("ACL SETUSER default -function");
    let mut client = migration.client();
    for name in ["one", "two"] {
        client.ok(["FUNCTION", "LOAD", &library(name, 1)]);
    }
    wait_until("it counts as dirty", || dirty_keys(&migration) > 0);
    migration.target.ok("ACL SETUSER default +function -function|delete");
    wait_until("both are there", || libraries(&migration.target).len() == 2);
    migration.crossfade.wait_converged();
    client.ok("FUNCTION DELETE one");
    wait_until("it counts as dirty", || dirty_keys(&migration) > 0);
    assert_eq!(libraries(&migration.target).len(), 2);
    migration.target.ok("ACL SETUSER default +function");
    migration.assert_equal();
    assert_eq!(libraries(&migration.target), libraries(&migration.source));
    client.ok("FUNCTION FLUSH");
    client.ok(["FUNCTION", "LOAD", &library("three", 3)]);
    migration.assert_equal();
    assert_eq!(libraries(&migration.target), libraries(&migration.source));
}

#[test]
fn a_target_that_comes_back_without_its_libraries_is_given_them_again() {
    let source = Server::source();
    load(&source, "one", 1);
    let mut migration = Migration::of(source);
    migration.crossfade.wait_converged();
    migration.target.restart_empty();
    wait_until("they are there again", || libraries(&migration.target).len() == 1);
    migration.assert_equal();
}

#[test]
fn libraries_that_the_target_had_at_the_first_start_are_left_alone() {
    let (source, target) = (Server::source(), Server::target());
    load(&source, "ours", 1);
    load(&target, "theirs", 2);
    let state = target.directory().join("crossfade-state");
    let launch = || Launch::between(&source, &target).state_dir(&state);
    let crossfade = launch().start();
    crossfade.wait_settled();
    assert_eq!(libraries(&target).len(), 2);
    target.ok("ACL SETUSER default -function");
    crossfade.client().ok("FUNCTION DELETE ours");
    crossfade.kill();
    target.ok("ACL SETUSER default +function");
    let crossfade = launch().start();
    crossfade.wait_settled();
    wait_until("ours is gone", || libraries(&target).len() == 1);
    assert!(libraries(&target)[0].contains("theirs"));
    crossfade.finish();
}
