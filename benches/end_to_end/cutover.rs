//! How long clients are held by a flip while they send 20,000 commands a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{self, MissedTickBehavior, interval_at};

use crate::admin::Admin;
use crate::contender::Contender;
use crate::process::Server;
use crate::stats::{Samples, head, row, title};
use crate::{Result, Scale};

const KEYS: u64 = 200_000;
const CLIENTS: u32 = 500;
/// With this many clients, a command each in this time makes 20,000 a second.
const PACE: Duration = Duration::from_millis(25);
/// The time between two flips, in which the load settles.
const SPELL: Duration = Duration::from_secs(2);
/// For so long the clients' waits are looked at; held commands are answered within it.
const LOOK: Duration = Duration::from_millis(200);

/// What the clients have seen since the last look.
#[derive(Default)]
struct Seen {
    commands: AtomicU64,
    errors: AtomicU64,
    slowest_micros: AtomicU64,
    stop: AtomicBool,
}

#[derive(Default)]
struct Flips {
    before: Samples,
    hold: Samples,
    slowest: Samples,
}

pub(crate) fn run(scale: Scale) -> Result<()> {
    let source = Server::start()?;
    crate::data::fill(&mut source.client()?, KEYS / scale.divisor)?;
    let contender = Contender::crossfade(source)?;
    let Some(admin) = &contender.admin else { return Ok(()) };
    admin.wait_for_mirroring()?;

    let (runtime, seen) = (Runtime::new()?, Arc::new(Seen::default()));
    let clients = start_clients(&runtime, contender.port, &seen)?;
    let began = Instant::now();
    let mut flips = [("cutover", Flips::default()), ("rollback", Flips::default())];
    for _ in 0..scale.repeats {
        for (direction, figures) in &mut flips {
            flip(admin, direction, figures, &seen)?;
        }
    }
    let rate = seen.commands.load(Ordering::Relaxed) / began.elapsed().as_secs().max(1);
    seen.stop.store(true, Ordering::Relaxed);
    let results = runtime.block_on(clients.join_all());
    print(&flips, rate, seen.errors.load(Ordering::Relaxed));
    results.into_iter().collect::<redis::RedisResult<()>>().map_err(Into::into)
}

/// Clients that are all connected.
fn start_clients(
    runtime: &Runtime,
    port: u16,
    seen: &Arc<Seen>,
) -> Result<JoinSet<redis::RedisResult<()>>> {
    let server = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let connect = || runtime.block_on(server.get_multiplexed_async_connection());
    let connections: Vec<_> = (0..CLIENTS).map(|_| connect()).collect::<redis::RedisResult<_>>()?;
    let mut clients = JoinSet::new();
    for (number, connection) in (0..).zip(connections) {
        clients.spawn_on(client(connection, number, Arc::clone(seen)), runtime.handle());
    }
    Ok(clients)
}

/// One client with one command at a time; a tick that was missed is made up for.
async fn client(
    mut connection: MultiplexedConnection,
    number: u32,
    seen: Arc<Seen>,
) -> redis::RedisResult<()> {
    // They take turns.
    let first = time::Instant::now() + PACE * number / CLIENTS;
    let mut ticks = interval_at(first, PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let command = redis::cmd("INCR").arg(format!("bench:counter:{number}")).clone();
    while !seen.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let sent = Instant::now();
        let answer: redis::RedisResult<i64> = command.query_async(&mut connection).await;
        seen.note(sent.elapsed(), answer.is_err());
    }
    Ok(())
}

impl Seen {
    fn note(&self, took: Duration, failed: bool) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
        self.commands.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    fn forget_slowest(&self) {
        self.slowest_micros.store(0, Ordering::Relaxed);
    }

    #[allow(clippy::cast_precision_loss, reason = "a wait in microseconds is far below 2^52")]
    fn slowest_millis(&self) -> f64 {
        self.slowest_micros.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

fn flip(admin: &Admin, direction: &str, figures: &mut Flips, seen: &Seen) -> Result<()> {
    std::thread::sleep(SPELL);
    seen.forget_slowest();
    std::thread::sleep(LOOK);
    figures.before.add(seen.slowest_millis());
    seen.forget_slowest();
    figures.hold.add(admin.flip(direction)?);
    std::thread::sleep(LOOK);
    figures.slowest.add(seen.slowest_millis());
    Ok(())
}

fn print(flips: &[(&str, Flips)], rate: u64, errors: u64) {
    title(&format!(
        "Hold of a flip: {CLIENTS} clients sending {rate} INCR a second, errors seen: {errors}"
    ));
    head(&["flip", "hold ms", "longest wait of a client ms", "in the same time before ms"]);
    for (direction, figures) in flips {
        let figures = [&figures.hold, &figures.slowest, &figures.before].map(|each| each.show(1));
        row(&[&[(*direction).to_owned()], &figures[..]].concat());
    }
}
