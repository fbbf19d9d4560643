//! How long another client of the source waits while one big value is copied, and the memory that
//! crossfade takes for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::Connection;

use crate::contender::crossfade_between;
use crate::process::{Process, Server, log_in};
use crate::stats::{head, row, title};
use crate::{Result, Scale};

const ELEMENTS: u64 = 1_000_000;
const STRING: u64 = 500 * 1024 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// How many elements one script call makes.
const BATCH: u64 = 10_000;
const FILL: &str = r"
for n = ARGV[2], ARGV[3] do
  local element = 'element:' .. string.format('%.0f', n)
  if ARGV[1] == 'set' then redis.call('SADD', 'big', element)
  elseif ARGV[1] == 'list' then redis.call('RPUSH', 'big', element)
  else redis.call('HSET', 'big', element, element) end
end";

pub(crate) fn run(scale: Scale) -> Result<()> {
    let elements = ELEMENTS / scale.divisor;
    title(&format!("One big value copied: {elements} elements, or {} MiB", string(scale) >> 20));
    head(&["value", "seconds", "longest wait of another client ms", "crossfade MiB"]);
    for kind in ["set", "list", "hash", "string"] {
        let (source, target) = (Server::start()?, Server::start()?);
        fill(kind, scale, &mut source.client()?)?;
        row(&measure(kind, &source, &target)?);
    }
    Ok(())
}

fn string(scale: Scale) -> u64 {
    STRING / scale.divisor
}

fn fill(kind: &str, scale: Scale, server: &mut Connection) -> Result<()> {
    if kind == "string" {
        let last = string(scale) - 1;
        return Ok(redis::cmd("SETRANGE").arg("big").arg(last).arg("x").exec(server)?);
    }
    let elements = ELEMENTS / scale.divisor;
    for first in (0..elements).step_by(usize::try_from(BATCH)?) {
        let last = elements.min(first + BATCH) - 1;
        redis::cmd("EVAL").arg(FILL).arg(0).arg(kind).arg(first).arg(last).exec(server)?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
fn measure(kind: &str, source: &Server, target: &Server) -> Result<[String; 4]> {
    let home = tempfile::tempdir()?;
    let other = Other::start(source.client()?);
    let began = Instant::now();
    let mut copy = Process::start(crossfade_between("copy", source, target), log_in(home.path()))?;
    let mut resident = 0;
    while copy.is_running()? {
        // It may end between the two looks.
        resident = copy.resident().unwrap_or(0).max(resident);
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let longest = other.stop()?;
    let there: u64 = redis::cmd("EXISTS").arg("big").query(&mut target.client()?)?;
    if there == 0 {
        return Err(format!("copy of a {kind}: {}", copy.output()).into());
    }
    Ok([
        kind.to_owned(),
        format!("{:.1}", took.as_secs_f64()),
        format!("{:.1}", longest.as_secs_f64() * 1000.0),
        format!("{:.0}", resident as f64 / MIB),
    ])
}

/// A client that asks the server something all the time.
struct Other {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<redis::RedisResult<Duration>>,
}

impl Other {
    fn start(mut server: Connection) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                redis::cmd("PING").exec(&mut server)?;
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_micros(500));
            }
            Ok(longest)
        });
        Self { stop, thread }
    }

    /// The longest that it has waited.
    fn stop(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the other client panicked")??)
    }
}
