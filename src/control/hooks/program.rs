//! Running one program: JSON in, a few words out, not for long.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{News, PATIENCE};

/// Of what it prints, in bytes; the rest is read and forgotten.
const OUTPUT: u64 = 4096;
/// Letters of its reason.
const LETTERS: usize = 300;

/// Runs the program of an event, if there is one.
///
/// # Errors
/// It failed, could not be run, or did not end: why, in its own words where it has any.
pub(super) async fn run(directory: &Path, news: &News) -> Result<(), String> {
    let path = directory.join(news.hook.name());
    if !path.exists() {
        return Ok(());
    }
    let child =
        command(&path, news).spawn().map_err(|error| format!("it can't be run: {error}"))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Ok(end) = timeout(PATIENCE, attend(child, news)).await {
        return end;
    }
    // It may have started others.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    Err(format!("it did not end within {} s", PATIENCE.as_secs()))
}

fn command(path: &Path, news: &News) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    // Our own options are among them, and some of these are secret.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CROSSFADE_") {
            command.env_remove(name);
        }
    }
    let status = &news.status;
    command.env("CROSSFADE_EVENT", news.hook.name());
    command.env("CROSSFADE_PHASE", status.phase.name());
    command.env("CROSSFADE_PRIMARY", status.primary.name());
    command.env("CROSSFADE_SOURCE_ADDRESS", &status.source.address);
    command.env("CROSSFADE_TARGET_ADDRESS", &status.target.address);
    for (name, fact) in &news.facts {
        command.env(format!("CROSSFADE_{name}"), fact);
    }
    command
}

async fn attend(mut child: Child, news: &News) -> Result<(), String> {
    let (input, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let told = async {
        if let Some(mut input) = input {
            // Whoever does not want to know closes it.
            let _ = input.write_all(news.json().to_string().as_bytes()).await;
        }
    };
    let (status, out, err, ()) = tokio::join!(child.wait(), words(out), words(err), told);
    judge(status.map_err(|error| error.to_string())?, &[err, out])
}

fn judge(status: ExitStatus, said: &[String]) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let line = said.iter().flat_map(|said| said.lines()).find(|line| !line.trim().is_empty());
    Err(line.map_or_else(|| status.to_string(), |line| line.trim().chars().take(LETTERS).collect()))
}

/// What is printed, as far as it matters.
async fn words(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else { return String::new() };
    let mut bytes = Vec::new();
    // What can't be read any more was not said.
    let _ = (&mut output).take(OUTPUT).read_to_end(&mut bytes).await;
    let _ = copy(&mut output, &mut sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use super::*;
    use crate::control::hooks::Hook;
    use crate::status::Status;

    async fn run_script(script: &str) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("before-cutover");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let facts = vec![("FORCE", "no".to_owned())];
        let news = News { hook: Hook::BeforeCutover, facts, status: Arc::new(Status::default()) };
        run(dir.path(), &news).await
    }

    #[tokio::test]
    async fn a_program_is_told_the_status_and_the_facts_and_its_first_line_is_the_reason() {
        assert_eq!(run_script("exit 0").await, Ok(()));
        assert_eq!(run_script("echo; echo frozen; echo more; exit 3").await, Err("frozen".into()));
        let script = "echo \"$CROSSFADE_EVENT $CROSSFADE_PHASE $CROSSFADE_FORCE\"; exit 1";
        assert_eq!(run_script(script).await, Err("before-cutover backfilling no".into()));
        let script = "grep -o '\"event\":\"[a-z-]*\"' >&2; exit 1";
        assert_eq!(run_script(script).await, Err(r#""event":"before-cutover""#.into()));
        assert!(run_script("exit 7").await.unwrap_err().contains('7'));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_is_killed_and_refuses() {
        let reason = run_script("sleep 1000").await.unwrap_err();
        assert_eq!(reason, "it did not end within 20 s");
    }

    #[tokio::test]
    async fn what_it_prints_without_end_is_not_kept() {
        let script = "head -c 20000000 /dev/zero | tr '\\0' x; exit 1";
        assert_eq!(run_script(script).await.unwrap_err().len(), LETTERS);
    }

    #[tokio::test]
    async fn what_can_not_be_run_refuses_and_what_is_not_there_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let status = Arc::new(Status::default());
        let news = News { hook: Hook::OnPhase, facts: Vec::new(), status };
        assert_eq!(run(dir.path(), &news).await, Ok(()));
        fs::write(dir.path().join("on-phase"), "").unwrap();
        assert!(run(dir.path(), &news).await.unwrap_err().contains("can't be run"));
    }
}
