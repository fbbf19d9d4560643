//! What crossfade costs, measured from outside: the real binary between real servers, beside the
//! proxies that people run today.
//!
//! `cargo bench --bench end_to_end` runs every part, in a few minutes; `-- requests latency copy
//! cutover memory stall` runs those named, `-- --quick` each of them once and shorter. The tables
//! come out as Markdown; what is asked of crossfade stands below them, as ratios beside their bars.
//!
//! On a machine that has other work to do, `chrt -r 5` before the benchmark's own binary keeps that
//! work out of the figures, as far as the system lets it.
//!
//! It knows nothing of crossfade's insides: only its commands and its admin API.

mod admin;
mod bar;
mod contender;
mod copy;
mod cutover;
mod data;
mod latency;
mod load;
mod memory;
mod process;
mod requests;
mod stall;
mod stats;

use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much of each measurement is done.
#[derive(Clone, Copy)]
struct Scale {
    /// How often each measurement is repeated.
    repeats: usize,
    /// What request and key counts are divided by.
    divisor: u64,
}

const FULL: Scale = Scale { repeats: 3, divisor: 1 };
const QUICK: Scale = Scale { repeats: 1, divisor: 10 };

type Part = fn(Scale) -> Result<()>;

const PARTS: [(&str, Part); 6] = [
    ("requests", requests::run),
    ("latency", latency::run),
    ("copy", copy::run),
    ("cutover", cutover::run),
    ("memory", memory::run),
    ("stall", stall::run),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = if arguments.iter().any(|word| word == "--quick") { QUICK } else { FULL };
    let named: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    describe_machine();
    for (name, part) in PARTS {
        if named.is_empty() || named.iter().any(|wanted| *wanted == name) {
            part(scale)?;
        }
    }
    Ok(())
}

fn describe_machine() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("Machine: {} ({cores} cores), {}.", processor(), process::server_version());
    println!(
        "Servers and load run on core 0, a proxy alone on core 1, all on the loopback interface."
    );
    println!("Each figure is a median, with the smallest and the largest in brackets.");
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}
