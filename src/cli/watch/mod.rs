//! `crossfade watch`: what the page of the admin API shows, in a terminal; a line at a time where
//! there is none.
//!
//! *Guarantees:* the terminal is left as it was; a migration that can't be heard for a while is waited
//! for, and what is shown meanwhile is told to be old.
//!
//! *Must not know:* how to change anything.

mod feed;
mod lines;
mod picture;
mod screen;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::time::interval;

use super::client::Api;
use super::runtime::block_on_one_thread;
use crate::failure::Failure;
use feed::Heard;
use lines::{Lines, Reader};
use picture::Picture;
use screen::Screen;

/// How often it is drawn though nothing was heard, to show just that.
const TICK: Duration = Duration::from_secs(1);
/// `q`, and what ends a program or an input: Ctrl-C, Ctrl-D.
const QUIT: [u8; 4] = [b'q', b'Q', 3, 4];

#[derive(clap::Args)]
#[command(after_long_help = "Examples:
  crossfade watch
  crossfade watch >> migration.log
  crossfade watch --json | jq .mirror.lag_seconds    (the status, each time it is told)

Exit status: 0 quit, 3 unreachable")]
pub(super) struct Args {
    #[command(flatten)]
    admin: Api,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let admin = &args.admin;
    // Who is mistaken in the address wants to know at once.
    admin.get::<Value>("/v1/status")?;
    let drawn = stdout().is_terminal() && !admin.json;
    let heard = feed::listen(admin.clone(), drawn);
    if drawn {
        block_on_one_thread(draw(Picture::of(admin.address()), heard))
    } else {
        block_on_one_thread(print(Lines::new(admin.json), heard))
    }
}

async fn draw(mut picture: Picture, mut heard: Receiver<Heard>) -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::no(format!("the terminal: {error}"));
    let mut resized = signal(SignalKind::window_change()).map_err(fault)?;
    let mut tick = interval(TICK);
    let screen = Screen::enter().map_err(fault)?;
    let quit = quit();
    tokio::pin!(quit);
    loop {
        tokio::select! {
            Some(heard) = heard.recv() => picture.take(heard),
            _ = resized.recv() => {}
            _ = tick.tick() => {}
            done = &mut quit => return done,
        }
        screen.draw(picture.lines(Screen::size())).map_err(fault)?;
    }
}

/// Waits for somebody who wants to leave.
async fn quit() -> Result<(), Failure> {
    let fault = |error: std::io::Error| Failure::no(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(fault)?;
    tokio::select! {
        () = screen::pressed(&QUIT) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

async fn print(mut lines: Lines, mut heard: Receiver<Heard>) -> Result<(), Failure> {
    while let Some(heard) = heard.recv().await {
        if lines.take(heard)? == Reader::Gone {
            break;
        }
    }
    Ok(())
}
