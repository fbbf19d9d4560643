//! What a request costs through each contender: CPU of the proxy and of the source, throughput,
//! latency. The contenders take turns, so that a machine that slows down slows all of them.

use std::collections::BTreeMap;

use crate::admin::Admin;
use crate::bar::{self, Bar};
use crate::contender::Contender;
use crate::load::Load;
use crate::process::Process;
use crate::stats::{Samples, head, row, title};
use crate::{Result, Scale};

/// The keys that are read are written first.
const COMMANDS: [&str; 6] = ["set", "get", "incr", "lpush", "sadd", "hset"];
/// Clients, pipeline, requests, commands.
const SHAPES: [(u32, u32, u64, &[&str]); 3] =
    [(50, 1, 60_000, &COMMANDS), (50, 16, 400_000, &COMMANDS), (1000, 1, 60_000, &["set", "get"])];

#[derive(Default)]
struct Cost {
    throughput: Samples,
    p50: Samples,
    p99: Samples,
    proxy: Samples,
    source: Samples,
}

/// What is asked of crossfade for a command, in a shape of the load.
struct Asked {
    what: &'static str,
    shape: (u32, u32),
    command: &'static str,
    figure: fn(&Cost) -> &Samples,
    /// Whose figure it is held against.
    rival: &'static str,
    most: f64,
}

const ASKED: [Asked; 5] = [
    Asked {
        what: "proxy's CPU for a read",
        shape: (50, 1),
        command: "get",
        figure: |cost| &cost.proxy,
        rival: "nutcracker",
        most: 1.0,
    },
    Asked {
        what: "proxy's CPU for a mirrored write",
        shape: (50, 1),
        command: "set",
        figure: |cost| &cost.proxy,
        rival: "nutcracker",
        most: 1.15,
    },
    Asked {
        what: "proxy's CPU for a mirrored write",
        shape: (50, 16),
        command: "set",
        figure: |cost| &cost.proxy,
        rival: "nutcracker",
        most: 1.4,
    },
    Asked {
        what: "p99 of a read",
        shape: (50, 1),
        command: "get",
        figure: |cost| &cost.p99,
        rival: "nutcracker",
        most: 1.25,
    },
    Asked {
        what: "source's CPU for a read",
        shape: (50, 1),
        command: "get",
        figure: |cost| &cost.source,
        rival: "direct",
        most: 0.6,
    },
];

/// By command, then by contender, in the order of both lists.
type Costs = BTreeMap<(usize, usize), Cost>;

pub(crate) fn run(scale: Scale) -> Result<()> {
    let contenders = Contender::all()?;
    for contender in &contenders {
        contender.admin.as_ref().map_or(Ok(()), Admin::wait_for_mirroring)?;
    }
    for (clients, pipeline, requests, commands) in SHAPES {
        let requests = requests / scale.divisor;
        title(&format!(
            "Cost of a request: {clients} clients, pipeline {pipeline}, 64-byte values, \
             {requests} requests, rounds: {}",
            scale.repeats
        ));
        let shape = Load { test: "", clients, pipeline, requests };
        let costs = measure(&contenders, shape, commands, scale.repeats)?;
        print(&contenders, commands, &costs);
        let asked = ASKED.iter().filter(|asked| asked.shape == (clients, pipeline));
        bar::print(asked.map(|asked| asked.reached(&contenders, commands, &costs)));
    }
    Ok(())
}

impl Asked {
    fn reached(
        &self,
        contenders: &[Contender],
        commands: &[&str],
        costs: &Costs,
    ) -> (String, Option<f64>, Bar) {
        let Self { what, shape: (clients, pipeline), rival, .. } = self;
        let figure = |name| {
            let command = commands.iter().position(|command| *command == self.command)?;
            let position = contenders.iter().position(|contender| contender.name == name)?;
            costs.get(&(command, position)).map(self.figure)
        };
        let ours = figure("crossfade").zip(figure(rival));
        let what = format!("{what}, {clients} clients, pipeline {pipeline}, to {rival}'s");
        (what, ours.and_then(|(ours, theirs)| bar::ratio(ours, theirs)), Bar::AtMost(self.most))
    }
}

fn measure(
    all: &[Contender],
    shape: Load,
    commands: &[&'static str],
    repeats: usize,
) -> Result<Costs> {
    let mut costs = Costs::new();
    for _ in 0..repeats {
        for (command, test) in commands.iter().enumerate() {
            for (position, contender) in all.iter().enumerate() {
                let cost = costs.entry((command, position)).or_default();
                once(contender, Load { test, ..shape }, cost)?;
            }
        }
    }
    Ok(costs)
}

fn once(contender: &Contender, load: Load, cost: &mut Cost) -> Result<()> {
    let before = cpu(contender)?;
    let outcome = load.run(contender.port)?;
    // What the mirror does after the last answer belongs to the price.
    contender.settle()?;
    let after = cpu(contender)?;
    cost.throughput.add(outcome.requests_per_second / 1000.0);
    cost.p50.add(outcome.p50_ms);
    cost.p99.add(outcome.p99_ms);
    cost.source.add(micros_each(after.0 - before.0, load.requests));
    cost.proxy.add(micros_each(after.1 - before.1, load.requests));
    Ok(())
}

/// Seconds of CPU so far of the source and of the proxy.
fn cpu(contender: &Contender) -> Result<(f64, f64)> {
    let proxy = contender.proxy.as_ref().map_or(Ok(0.0), Process::cpu)?;
    Ok((contender.source.process.cpu()?, proxy))
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn micros_each(seconds: f64, requests: u64) -> f64 {
    seconds * 1e6 / requests as f64
}

fn print(contenders: &[Contender], commands: &[&str], costs: &Costs) {
    head(&["command", "through", "1000/s", "p50 ms", "p99 ms", "proxy µs CPU", "source µs CPU"]);
    for ((command, position), cost) in costs {
        let (Some(command), Some(contender)) = (commands.get(*command), contenders.get(*position))
        else {
            continue;
        };
        row(&[
            command.to_uppercase(),
            contender.name.to_owned(),
            cost.throughput.show(1),
            cost.p50.show(2),
            cost.p99.show(2),
            if contender.proxy.is_some() { cost.proxy.show(2) } else { "-".to_owned() },
            cost.source.show(2),
        ]);
    }
}
