//! The fault matrix: whatever happens to either server in whatever phase, the clients are told the
//! truth and the servers end up equal.
//!
//! Each cell is one phase and one fault under mixed load. While only the secondary fails, no client
//! sees an error or loses its connection; nothing acknowledged is lost, except what a failover itself
//! lost; nothing refused was done; afterwards both servers hold the same, and crossfade's own
//! comparison finds so.
//!
//! A run takes the cells that have failed before and a few by chance (`CROSSFADE_TEST_SEED`);
//! `CROSSFADE_MATRIX=all` takes all of them, `CROSSFADE_MATRIX=Stopped` those that name the word.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod fault;
mod load;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use fault::{Fault, Primary, Secondary};
use load::Load;
use scene::{Phase, Scene};
use support::{Rng, assert_equal, wait_until};

/// Cells chosen by chance in each phase.
const BY_CHANCE: usize = 2;

#[test]
fn faults_while_backfilling() {
    cells(Phase::Backfilling, &[]);
}

#[test]
fn faults_while_mirroring() {
    cells(Phase::Mirroring, &[Fault::Primary(Primary::FailedOver)]);
}

#[test]
fn faults_during_a_cutover() {
    cells(Phase::CuttingOver, &[Fault::Secondary(Secondary::Stopped)]);
}

#[test]
fn faults_after_the_cutover() {
    cells(Phase::CutOver, &[]);
}

#[test]
fn faults_during_a_rollback() {
    cells(Phase::RollingBack, &[]);
}

#[test]
fn faults_after_a_rollback() {
    cells(Phase::RolledBack, &[]);
}

/// Runs the cells of one phase, all of them though some fail.
fn cells(phase: Phase, always: &[Fault]) {
    let mut rng = Rng::seeded(Rng::arbitrary().number());
    let failed: Vec<Fault> = chosen(phase, always, &mut rng)
        .into_iter()
        .filter(|fault| !passes(phase, *fault, &mut rng.fork()))
        .collect();
    assert!(failed.is_empty(), "{phase:?}: {failed:?}");
}

fn chosen(phase: Phase, always: &[Fault], rng: &mut Rng) -> Vec<Fault> {
    let all = Fault::ALL.into_iter();
    match std::env::var("CROSSFADE_MATRIX") {
        Ok(word) if word == "all" => all.collect(),
        Ok(word) => all.filter(|fault| format!("{phase:?} {fault:?}").contains(&word)).collect(),
        Err(_) => {
            let mut chosen = always.to_vec();
            while chosen.len() < always.len() + BY_CHANCE {
                let fault =
                    Fault::ALL[usize::try_from(rng.below(Fault::ALL.len() as u64)).unwrap()];
                if !chosen.contains(&fault) {
                    chosen.push(fault);
                }
            }
            chosen
        }
    }
}

fn passes(phase: Phase, fault: Fault, rng: &mut Rng) -> bool {
    let started = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(|| run(phase, fault, rng))).is_ok();
    let outcome = if passed { "ok" } else { "FAILED" };
    eprintln!("cell {phase:?} {fault:?}: {outcome} in {:?}", started.elapsed());
    passed
}

fn run(phase: Phase, fault: Fault, rng: &mut Rng) {
    let mut scene = Scene::in_phase(phase, rng);
    let load = Load::start(&scene.crossfade.address(), rng);
    load.run_for(100);
    let moved = if phase.is_a_flip() {
        scene.flip_and_meanwhile(&load, |scene| fault.strike(scene, &load))
    } else {
        fault.strike(&mut scene, &load);
        false
    };
    scene.flipped ^= moved;
    load.run_for(200);
    let record = load.stop();
    if matches!(fault, Fault::Secondary(_)) && !moved {
        record.assert_no_harm();
    }
    assert_eq!(scene.crossfade.admin().backfill(false, None).code, 200);
    let trusted = !(moved && fault.destroys());
    settle(&mut scene, trusted);
    if trusted {
        let lost = scene.lost;
        record.assert_kept(&scene.primary().server, lost);
    }
    assert!(!scene.crossfade.log().contains("panicked"), "a task panicked");
}

/// Waits until nothing is on its way any more, and compares in both manners; by hand first, unless
/// only the mending of a comparison can tell.
fn settle(scene: &mut Scene, trusted: bool) {
    let phase = if scene.flipped { "cut_over" } else { "mirroring" };
    scene.crossfade.wait_status("everything is copied", |status| {
        status["phase"] == phase && status["backfill"]["state"] == "done"
    });
    scene.crossfade.wait_converged();
    if trusted {
        assert_equal(&scene.source.server, &scene.target.server);
    }
    wait_until("a comparison may run", || scene.crossfade.status()["backfill"]["state"] == "done");
    scene.verify();
    assert_equal(&scene.source.server, &scene.target.server);
}
