//! How far something is, on stderr, for people who wait. Nothing where stderr is no terminal.
//!
//! *Must not know:* what is counted.

use std::convert::Infallible;
use std::future::pending;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use tokio::sync::watch;

use super::logging;
use super::paint::{self, Line};
use super::status;
use crate::status::{BackfillState, Progress, Status};

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

/// Does `work` beside a line below the log, which shows how far the backfill is while there is one.
pub(super) async fn beside_backfill<T>(
    news: watch::Receiver<Arc<Status>>,
    work: impl Future<Output = T>,
) -> T {
    let done = tokio::select! {
        done = work => done,
        never = show_backfill(news) => match never {},
    };
    logging::show_below("");
    done
}

async fn show_backfill(mut news: watch::Receiver<Arc<Status>>) -> Infallible {
    // Before the first news nothing is known.
    while stderr().is_terminal() && news.changed().await.is_ok() {
        let status = news.borrow_and_update().clone();
        let line = match status.backfill.state {
            BackfillState::Done => Line::default(),
            _ => status::backfilling(&status),
        };
        // The last column stays free: some terminals go on to the next row there.
        let columns = paint::size(stderr()).columns.saturating_sub(1);
        logging::show_below(&line.cut(columns).text());
    }
    pending().await
}
