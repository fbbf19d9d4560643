//! How a running migration is doing, as people read it.

use super::output::{columns, grouped, period};
use crate::status::{Backfill, BackfillState, Mirror, Record, Server, Shadow, Status, Verify};

pub(super) fn text(status: &Status) -> String {
    let mut rows = vec![
        ("phase", phase(status)),
        ("source", server(&status.source)),
        ("target", server(&status.target)),
        ("backfill", backfill(&status.backfill)),
        ("mirror", mirror(&status.mirror)),
        ("verify", verify(&status.verify)),
        ("reads", reads(&status.shadow)),
        ("record", record(&status.record)),
        ("clients", clients(status)),
        ("cutover", if status.ready { "ready" } else { "not ready" }.to_owned()),
    ];
    rows.extend(status.blockers.iter().map(|blocker| ("", blocker.clone())));
    columns(&rows)
}

fn phase(status: &Status) -> String {
    let uptime = period(status.uptime_seconds);
    format!("{}, the {} serves, up {uptime}", status.phase, status.primary)
}

fn server(server: &Server) -> String {
    let connected = if server.connected { "connected" } else { "NOT CONNECTED" };
    format!("{}  {}  {connected}", server.address, server.version)
}

fn backfill(backfill: &Backfill) -> String {
    let counts = format!(
        "{} copied, {} again, {} failed",
        grouped(backfill.copied),
        grouped(backfill.recopied),
        grouped(backfill.failed)
    );
    let state = match backfill.state {
        BackfillState::Done => "done".to_owned(),
        BackfillState::Paused => format!("paused at {:.1} %", backfill.percent),
        BackfillState::Running => {
            let left = backfill.eta_seconds.map_or("unknown".to_owned(), period);
            let speed = backfill.keys_per_second;
            format!("{:.1} %, {speed:.0} keys a second, {left} left", backfill.percent)
        }
    };
    let ways = backfill.ways;
    let ways = format!(
        "{} as they are, {} rewritten, {} by commands",
        grouped(ways.as_it_is),
        grouped(ways.rewritten),
        grouped(ways.by_commands)
    );
    let cause = backfill.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("{state}; {counts}{cause}; {ways}")
}

fn mirror(mirror: &Mirror) -> String {
    let degraded = if mirror.degraded { "DEGRADED; " } else { "" };
    format!(
        "{degraded}lag {}, {} queued ({} bytes), {} dirty keys; {} applied, {} mismatched, {} failed",
        period(mirror.lag_seconds),
        grouped(mirror.queued),
        grouped(mirror.queued_bytes),
        grouped(mirror.dirty_keys),
        grouped(mirror.applied),
        grouped(mirror.mismatched),
        grouped(mirror.failed)
    )
}

/// What a comparison found, in one line.
pub(super) fn verify(verify: &Verify) -> String {
    let state = verify.state.name();
    format!(
        "{state}; {} checked, {} missing, {} extra, {} different, {} repaired",
        grouped(verify.checked),
        grouped(verify.missing),
        grouped(verify.extra),
        grouped(verify.different),
        grouped(verify.repaired)
    )
}

/// What came of reads that the secondary was asked too.
fn reads(shadow: &Shadow) -> String {
    if shadow.percent == 0.0 && shadow.sampled == 0 {
        return "none is asked of both servers".to_owned();
    }
    let p99 = |took: Option<f64>| {
        took.map_or("unknown".to_owned(), |seconds| format!("{:.2} ms", seconds * 1000.0))
    };
    format!(
        "{} % of both servers: {} equal, {} different, {} refused, {} discarded; p99 source {}, target {}",
        shadow.percent,
        grouped(shadow.equal),
        grouped(shadow.different),
        grouped(shadow.refused),
        grouped(shadow.discarded),
        p99(shadow.source.p99),
        p99(shadow.target.p99)
    )
}

fn record(record: &Record) -> String {
    match &record.error {
        Some(error) => format!("CAN'T BE WRITTEN ({error}): a crash leaves everything in doubt"),
        None if record.kept => {
            format!("a crash leaves {} of 65,536 groups in doubt", grouped(record.groups))
        }
        None => "none is kept".to_owned(),
    }
}

fn clients(status: &Status) -> String {
    let clients = &status.clients;
    format!("{} connected, {} commands", grouped(clients.connected), grouped(clients.commands))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_every_part_and_each_blocker() {
        let blockers = vec!["verify has not run".to_owned(), "the target is away".to_owned()];
        let status = Status { blockers, ..Status::default() };
        let text = text(&status);
        assert!(text.starts_with("phase     backfilling, the source serves"), "{text}");
        assert!(text.contains("\n          verify has not run\n          the target is away\n"));
    }
}
