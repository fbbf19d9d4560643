//! What is drawn on a terminal: `crossfade watch`, and how far `crossfade run` is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use support::{Launch, Migration, Server, Terminal, command, source_with_keys, wait_until};

/// A way to leave.
type Leave = fn(&mut Terminal);

fn watch(migration: &Migration, columns: u16, rows: u16) -> Terminal {
    let admin = migration.crossfade.admin().address();
    Terminal::start(command().args(["watch", "--admin", admin]), columns, rows)
}

#[test]
fn a_migration_is_watched_from_its_start_to_its_end_on_a_small_screen() {
    let source = source_with_keys(500);
    let state = source.directory().join("crossfade-state");
    let migration = Migration::with(source, Server::target(), |launch| {
        launch.state_dir(&state).option("--backfill-rate", "100")
    });
    let mut terminal = watch(&migration, 80, 24);
    terminal.sees("▶ copy");
    terminal.sees("of about 500 keys");
    terminal.sees("verify has not run");
    terminal.sees("Verify: it compares every key");
    terminal.sees("q quits");
    migration.speed_up();
    terminal.sees("crossfade verify");
    migration.crossfade.cut_over();
    terminal.sees("▶ finalize");
    terminal.sees("to the target; clients were held for");
    assert_eq!(migration.crossfade.admin().finalize().code, 200);
    terminal.sees("✓ finalize");
    terminal.press("q");
    assert!(terminal.wait().success());
    wait_until("the terminal is as before", || terminal.is_usual());
}

#[test]
fn a_window_that_grows_is_filled() {
    let migration = Migration::start();
    let terminal = watch(&migration, 40, 10);
    terminal.sees("rows more have no");
    terminal.sees("…");
    terminal.resize(120, 40);
    terminal.sees("q quits");
    wait_until("every row is there", || {
        terminal.rows().iter().any(|row| row.starts_with("record"))
    });
    assert!(!terminal.is_usual());
}

#[test]
fn whoever_leaves_by_whatever_way_gets_the_terminal_back() {
    let migration = Migration::start();
    let ways: [Leave; 4] = [
        |terminal| terminal.press("\x03"),
        |terminal| terminal.press("\x04"),
        |terminal| terminal.signal("TERM"),
        |terminal| terminal.signal("HUP"),
    ];
    for leave in ways {
        let mut terminal = watch(&migration, 80, 24);
        terminal.sees("q quits");
        terminal.press("xyz\x1b[A");
        leave(&mut terminal);
        assert!(terminal.wait().success());
        wait_until("the terminal is as before", || terminal.is_usual());
    }
}

#[test]
fn a_migration_that_ends_leaves_what_was_heard_last_and_says_so() {
    let migration = Migration::start();
    let mut terminal = watch(&migration, 80, 24);
    terminal.sees("q quits");
    let Migration { crossfade, source: _source, target: _target } = migration;
    crossfade.finish();
    terminal.sees("NO NEWS for");
    terminal.sees("serves");
    terminal.press("q");
    assert!(terminal.wait().success());
}

#[test]
fn where_nothing_can_be_drawn_lines_are_printed_until_nobody_reads_them() {
    let migration = Migration::start();
    for (more, holds) in
        [(&[][..], "UTC mirroring: every key"), (&["--json"], "\"phase\":\"mirroring\"")]
    {
        migration.crossfade.wait_phase("mirroring");
        let admin = migration.crossfade.admin().address();
        let mut watch = command();
        watch.args(["watch", "--admin", admin]).args(more).stdout(Stdio::piped());
        let mut child = watch.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(holds), "{line}");
        assert!(!line.contains('\x1b'), "{line}");
        drop(lines);
        migration.crossfade.admin().backfill(true, None);
        migration.crossfade.admin().backfill(false, None);
        migration.crossfade.verify();
        assert!(child.wait().unwrap().success(), "a reader that has gone away is no error");
    }
}

#[test]
fn a_run_on_a_terminal_shows_how_far_the_backfill_is_below_its_log() {
    let (source, target) = (source_with_keys(400), Server::target());
    let launch = Launch::between(&source, &target).option("--backfill-rate", "100");
    let mut terminal = Terminal::start(launch.command(), 100, 30);
    terminal.sees("ready listen=");
    terminal.sees("of about 400 keys");
    let below =
        |rows: &[String]| rows.iter().filter(|row| row.contains("of about 400 keys")).count();
    assert_eq!(below(&terminal.rows()), 1, "{:#?}", terminal.rows());
    wait_until("it is done and the line is gone", || below(&terminal.rows()) == 0);
    terminal.press("\x03");
    terminal.sees("stopping");
    assert!(terminal.wait().success());
    assert!(terminal.is_usual());
}
