//! `crossfade copy` of a generated data set, then `crossfade compare` of the two servers: how fast,
//! and what it costs all three processes.

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
    let (mut copy, mut compare) = (Cost::default(), Cost::default());
    for _ in 0..scale.repeats {
        let (source, target) = (Server::start()?, Server::start()?);
        crate::data::fill(&mut source.client()?, keys)?;
        copy.measure("copy", keys, &source, &target)?;
        let copied: u64 = redis::cmd("DBSIZE").query(&mut target.client()?)?;
        if copied != keys {
            return Err(format!("copy: {copied} of {keys} keys arrived").into());
        }
        compare.measure("compare", keys, &source, &target)?;
    }
    title(&format!("copy and compare: {keys} keys of four types, rounds: {}", scale.repeats));
    head(&["", "1000 keys/s", "crossfade CPU s", "source CPU s", "target CPU s"]);
    row(&copy.cells("copy"));
    row(&compare.cells("compare"));
    Ok(())
}

impl Cost {
    #[allow(clippy::cast_precision_loss, reason = "counts of keys are far below 2^52")]
    fn measure(&mut self, verb: &str, keys: u64, source: &Server, target: &Server) -> Result<()> {
        let before = (children_cpu()?, source.process.cpu()?, target.process.cpu()?);
        let began = Instant::now();
        let output = crossfade_between(verb, source, target).output()?;
        let elapsed = began.elapsed();
        if !output.status.success() {
            return Err(format!("{verb}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        self.rate.add(keys as f64 / elapsed.as_secs_f64() / 1000.0);
        self.crossfade.add(children_cpu()? - before.0);
        self.source.add(source.process.cpu()? - before.1);
        self.target.add(target.process.cpu()? - before.2);
        Ok(())
    }

    fn cells(&self, verb: &str) -> [String; 5] {
        let Self { rate, crossfade, source, target } = self;
        [verb.to_owned(), rate.show(1), crossfade.show(2), source.show(2), target.show(2)]
    }
}
