//! How long a request takes at a modest, steady rate, half of the requests being writes: through
//! each contender, and through crossfade while its backfill runs.
//!
//! Many connections with one request each at a time: a request is sent when it is due, whatever
//! became of those on other connections, and one that could not be sent in time counts from when it
//! was due. So a stall shows in all requests that it delayed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::admin::Admin;
use crate::contender::Contender;
use crate::process::Server;
use crate::stats::{Samples, head, row, title};
use crate::{Result, Scale};

const CONNECTIONS: u32 = 64;
/// Between two requests of one connection: 8,000 a second in all.
const PACE: Duration = Duration::from_millis(8);
/// How much later than due a thread may be woken before that counts as waiting.
const LATE: Duration = Duration::from_millis(1);
const SPELL: Duration = Duration::from_secs(10);
/// Keys that the backfill copies meanwhile, slowly enough to last for the whole spell.
const KEYS: u64 = 400_000;
const BACKFILL: &str = "crossfade, backfilling";

#[derive(Default)]
struct Latency {
    p50: Samples,
    p99: Samples,
    worst: Samples,
}

pub(crate) fn run(scale: Scale) -> Result<()> {
    let contenders = Contender::all()?;
    for contender in &contenders {
        contender.admin.as_ref().map_or(Ok(()), Admin::wait_for_mirroring)?;
    }
    let spell = SPELL / u32::try_from(scale.divisor)?;
    let mut seen: Vec<_> = contenders.iter().map(|it| (it.name, Latency::default())).collect();
    let mut backfilling = Latency::default();
    for _ in 0..scale.repeats {
        for (contender, (_, latency)) in contenders.iter().zip(&mut seen) {
            latency.add(&measure(contender.port, spell)?);
        }
        let source = Server::start()?;
        crate::data::fill(&mut source.client()?, KEYS / scale.divisor)?;
        let contender = Contender::crossfade(source)?;
        backfilling.add(&measure(contender.port, spell)?);
    }
    seen.push((BACKFILL, backfilling));
    title(&format!(
        "Latency at {} requests a second, half of them writes, {CONNECTIONS} clients, rounds: {}",
        u128::from(CONNECTIONS) * 1000 / PACE.as_millis(),
        scale.repeats
    ));
    head(&["through", "p50 µs", "p99 µs", "longest ms"]);
    for (name, Latency { p50, p99, worst }) in &seen {
        row(&[(*name).to_owned(), p50.show(0), p99.show(0), worst.show(1)]);
    }
    Ok(())
}

impl Latency {
    /// From times in microseconds, ascending.
    fn add(&mut self, times: &[f64]) {
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1));
        for (samples, value) in [(&mut self.p50, at(50)), (&mut self.p99, at(99))] {
            samples.add(value.copied().unwrap_or_default());
        }
        self.worst.add(times.last().copied().unwrap_or_default() / 1000.0);
    }
}

/// The times of all requests in microseconds, ascending.
fn measure(port: u16, spell: Duration) -> Result<Vec<f64>> {
    let start = Instant::now() + Duration::from_millis(50);
    let clients: Vec<JoinHandle<std::io::Result<Vec<f64>>>> = (0..CONNECTIONS)
        .map(|number| {
            let first = start + PACE * number / CONNECTIONS;
            std::thread::spawn(move || client(port, number, first, start + spell))
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.join().map_err(|_| "a client panicked")??);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn client(port: u16, number: u32, first: Instant, end: Instant) -> std::io::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let (mut times, mut due) = (Vec::new(), first);
    let key = format!("bench:latency:{number}");
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // The replies are `+OK` and the 64 bytes.
        let (request, answer) = match times.len() % 2 {
            0 => (request(&["SET", &key, &format!("{:064}", times.len())]), 5),
            _ => (request(&["GET", &key]), 71),
        };
        let mut reply = vec![0; answer];
        let sent = Instant::now();
        let since = if sent.duration_since(due) > LATE { due } else { sent };
        stream.write_all(request.as_bytes())?;
        stream.read_exact(&mut reply)?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
        due += PACE;
    }
    Ok(times)
}

fn request(words: &[&str]) -> String {
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}
