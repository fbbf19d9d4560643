use clap::{CommandFactory, Parser};
use tokio::task::spawn_blocking;

use super::*;
use crate::admin::Refusal;
use crate::admin::fake::{Fake, Running};
use crate::failure::ExitStatus;
use crate::status::VerifyState;

/// Runs a command line, all of it but the printing of the failure.
async fn command(line: String) -> Result<(), Failure> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let run = move || Cli::try_parse_from(words).unwrap().command.run();
    spawn_blocking(run).await.unwrap()
}

impl Running {
    async fn command(&self, words: &str) -> Result<(), Failure> {
        command(format!("crossfade {words} --admin {}", self.address)).await
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn each_command_makes_its_call() {
    let running = Fake { verdict: VerifyState::Clean, ..Fake::default() }.serve(None).await;
    for words in [
        "status",
        "verify --json",
        "cutover --timeout-ms 2 --force",
        "rollback --timeout-ms 1",
        "resync --accept-empty",
        "finalize",
        "shadow 5%",
        "shadow 0",
        "pause",
        "resume",
        "resume --rate 7",
        "resume --rate 0",
    ] {
        assert_eq!(running.command(words).await, Ok(()), "{words}");
    }
    let expected = [
        "verify",
        "cutover 2ms true",
        "rollback 1ms false",
        "resync true",
        "finalize",
        "shadow 5",
        "shadow 0",
        "backfill Some(true) None",
        "backfill Some(false) None",
        "backfill Some(false) Some(Some(7))",
        "backfill Some(false) Some(None)",
    ];
    assert_eq!(*running.fake.asked.lock(), expected);
}

#[tokio::test]
async fn a_verify_that_does_not_end_clean_is_a_no() {
    let running = Fake { verdict: VerifyState::Different, ..Fake::default() }.serve(None).await;
    let failure = running.command("verify").await.unwrap_err();
    assert_eq!(failure, Failure::no("verify ended different"));
}

#[tokio::test]
async fn a_refusal_is_a_no_with_its_reasons() {
    let refusal = Refusal::Conflict { error: "not ready".into(), blockers: vec!["lag".into()] };
    let running = Fake { refusal: Some(refusal), ..Fake::default() }.serve(None).await;
    let failure = running.command("cutover").await.unwrap_err();
    assert_eq!(failure, Failure::no("not ready\n  lag"));
}

#[tokio::test]
async fn a_token_opens_and_its_lack_counts_as_unreachable() {
    let running = Fake::default().serve(Some("t")).await;
    let failure = running.command("finalize").await.unwrap_err();
    assert_eq!(failure.exit, ExitStatus::Unreachable);
    assert_eq!(running.command("finalize --admin-token t").await, Ok(()));
}

#[tokio::test]
async fn an_admin_api_that_is_not_there_is_one_line() {
    // Port 1 is reserved, and nobody listens there.
    let failure = command("crossfade status --admin 127.0.0.1:1".to_owned()).await.unwrap_err();
    assert_eq!(failure.exit, ExitStatus::Unreachable);
    assert!(failure.message.contains("127.0.0.1:1: "), "{}", failure.message);
    assert_eq!(failure.message.lines().count(), 1);
}

#[tokio::test]
async fn wrong_settings_are_a_wrong_usage() {
    let line = "crossfade check --source x --target redis://b";
    assert_eq!(command(line.to_owned()).await.unwrap_err().exit, ExitStatus::Usage);
}
