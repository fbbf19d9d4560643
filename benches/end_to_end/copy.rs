//! `crossfade copy` of a generated data set: how fast, and what it costs all three processes.

use std::time::Instant;

use crate::contender::crossfade_between;
use crate::process::{Server, children_cpu};
use crate::stats::{Samples, head, row, title};
use crate::{Result, Scale};

const KEYS: u64 = 300_000;

#[derive(Default)]
struct Cost {
    rate: Samples,
    crossfade: Samples,
    source: Samples,
    target: Samples,
}

pub(crate) fn run(scale: Scale) -> Result<()> {
    let keys = KEYS / scale.divisor;
    let mut cost = Cost::default();
    for _ in 0..scale.repeats {
        once(keys, &mut cost)?;
    }
    title(&format!("crossfade copy: {keys} keys of four types, rounds: {}", scale.repeats));
    head(&["1000 keys/s", "crossfade CPU s", "source CPU s", "target CPU s"]);
    row(&[cost.rate.show(1), cost.crossfade.show(2), cost.source.show(2), cost.target.show(2)]);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts of keys are far below 2^52")]
fn once(keys: u64, cost: &mut Cost) -> Result<()> {
    let (source, target) = (Server::start()?, Server::start()?);
    crate::data::fill(&mut source.client()?, keys)?;
    let before = (children_cpu()?, source.process.cpu()?, target.process.cpu()?);
    let began = Instant::now();
    let output = crossfade_between("copy", &source, &target).output()?;
    let elapsed = began.elapsed();
    if !output.status.success() {
        return Err(format!("copy: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let copied: u64 = redis::cmd("DBSIZE").query(&mut target.client()?)?;
    if copied != keys {
        return Err(format!("copy: {copied} of {keys} keys arrived").into());
    }
    cost.rate.add(keys as f64 / elapsed.as_secs_f64() / 1000.0);
    cost.crossfade.add(children_cpu()? - before.0);
    cost.source.add(source.process.cpu()? - before.1);
    cost.target.add(target.process.cpu()? - before.2);
    Ok(())
}
