//! `crossfade copy` of a generated data set, then `crossfade compare` of the two servers: how fast,
//! and what it costs all three processes. Beside it what a script would do, one thing after the
//! other: `SCAN`, `DUMP`, `RESTORE`; and what the server's own replication does, which forks and
//! sends everything in one stream. Each server has a core, and whoever copies runs where there is room.

use std::time::{Duration, Instant};

use crate::bar::{self, Bar, ratio};
use crate::contender::crossfade_between;
use crate::process::{PROXY_CORE, SERVER_CORE, Server, children_cpu};
use crate::stats::{Samples, head, row, title};
use crate::{Result, Scale};

const KEYS: u64 = 1_090_000;
/// Keys that the script asks for at once.
const PAGE: u32 = 128;

#[derive(Default)]
struct Cost {
    rate: Samples,
    crossfade: Samples,
    source: Samples,
    target: Samples,
}

pub(crate) fn run(scale: Scale) -> Result<()> {
    let keys = KEYS / scale.divisor;
    let (mut script, mut replica): (Cost, Cost) = Default::default();
    let (mut copy, mut compare): (Cost, Cost) = Default::default();
    for _ in 0..scale.repeats {
        let (source, target) = (Server::start_on(SERVER_CORE)?, Server::start_on(PROXY_CORE)?);
        crate::data::fill(&mut source.client()?, keys)?;
        script.measure(keys, &source, &target, || bare_loop(&source, &target))?;
        redis::cmd("FLUSHALL").exec(&mut target.client()?)?;
        replica.measure(keys, &source, &target, || replicate(&source, &target))?;
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut target.client()?)?;
        redis::cmd("FLUSHALL").exec(&mut target.client()?)?;
        copy.measure(keys, &source, &target, || crossfade("copy", &source, &target))?;
        let copied: u64 = redis::cmd("DBSIZE").query(&mut target.client()?)?;
        if copied != keys {
            return Err(format!("copy: {copied} of {keys} keys arrived").into());
        }
        compare.measure(keys, &source, &target, || crossfade("compare", &source, &target))?;
    }
    title(&format!("copy and compare: {keys} keys of four types, rounds: {}", scale.repeats));
    head(&["", "1000 keys/s", "crossfade CPU s", "source CPU s", "target CPU s"]);
    row(&script.cells("a bare loop"));
    row(&replica.cells("replicaof, the child's CPU not counted"));
    row(&copy.cells("copy"));
    row(&compare.cells("compare"));
    let of_all = copy.crossfade.median().map(|seconds| seconds * scale.divisor as f64);
    bar::print(
        [
            ("copy's rate, to the bare loop's", ratio(&copy.rate, &script.rate), Bar::AtLeast(1.2)),
            ("copy's rate, to replicaof's", ratio(&copy.rate, &replica.rate), Bar::AtLeast(0.6)),
            ("crossfade's CPU s for a copy of 1,090,000 keys", of_all, Bar::AtMost(1.0)),
            ("compare's rate, to copy's", ratio(&compare.rate, &copy.rate), Bar::AtLeast(0.9)),
        ]
        .map(|(what, figure, bar)| (what.to_owned(), figure, bar)),
    );
    Ok(())
}

fn crossfade(verb: &str, source: &Server, target: &Server) -> Result<()> {
    let output = crossfade_between(verb, source, target).output()?;
    if !output.status.success() {
        return Err(format!("{verb}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

/// A page at a time, each step pipelined.
fn bare_loop(source: &Server, target: &Server) -> Result<()> {
    let (mut source, mut target) = (source.client()?, target.client()?);
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        let (next, keys): (u64, Vec<Vec<u8>>) =
            scan.arg(cursor).arg("COUNT").arg(PAGE).query(&mut source)?;
        let (mut dumps, mut restores) = (redis::pipe(), redis::pipe());
        for key in &keys {
            dumps.cmd("DUMP").arg(key);
        }
        let payloads: Vec<Vec<u8>> = dumps.query(&mut source)?;
        for (key, payload) in keys.iter().zip(payloads) {
            restores.cmd("RESTORE").arg(key).arg(0).arg(payload).arg("REPLACE").ignore();
        }
        restores.exec(&mut target)?;
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// The target becomes a replica of the source, which does not wait for others to become one too.
fn replicate(source: &Server, target: &Server) -> Result<()> {
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("repl-diskless-sync-delay").arg(0).exec(&mut source.client()?)?;
    let mut target = target.client()?;
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(source.port).exec(&mut target)?;
    loop {
        let info: String = redis::cmd("INFO").arg("replication").query(&mut target)?;
        if info.contains("master_link_status:up") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Cost {
    #[allow(clippy::cast_precision_loss, reason = "counts of keys are far below 2^52")]
    fn measure(
        &mut self,
        keys: u64,
        source: &Server,
        target: &Server,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let before = (children_cpu()?, source.process.cpu()?, target.process.cpu()?);
        let began = Instant::now();
        work()?;
        let elapsed = began.elapsed();
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
