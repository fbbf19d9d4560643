//! A progress bar on stderr, for people who wait.
//!
//! *Must not know:* what is counted.

use std::convert::Infallible;
use std::future::pending;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use tokio::sync::watch;

use crate::status::Progress;

/// Does `work` beside a bar that shows how far it is, and goes when it is done.
pub(super) async fn beside_bar<T>(
    doing: &'static str,
    progress: watch::Receiver<Progress>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = show(bar(doing), progress) => match never {},
    }
}

async fn show(bar: ProgressBar, mut progress: watch::Receiver<Progress>) -> Infallible {
    while progress.changed().await.is_ok() {
        let Progress { done, total } = *progress.borrow_and_update();
        bar.set_length(total);
        bar.set_position(done);
    }
    pending().await
}

/// Hidden unless stderr is a terminal.
fn bar(doing: &'static str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0).with_message(doing).with_finish(ProgressFinish::AndClear);
    match ProgressStyle::with_template("{msg} {wide_bar} {percent}% {per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
