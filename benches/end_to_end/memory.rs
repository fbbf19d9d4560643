//! What the ledger holds while a million keys are copied, and after.

use std::time::Duration;

use crate::admin::{Admin, number};
use crate::contender::Contender;
use crate::process::{Process, Server};
use crate::stats::{head, row, title};
use crate::{Result, Scale};

const KEYS: u64 = 1_000_000;
/// The gauges are set now and then, not at every change.
const GAUGES_CATCH_UP: Duration = Duration::from_secs(3);
const MIB: f64 = 1024.0 * 1024.0;

/// One look at the ledger and at the process around it.
#[derive(Clone, Copy, Default)]
struct Look {
    marks: f64,
    bytes: f64,
    resident: f64,
}

pub(crate) fn run(scale: Scale) -> Result<()> {
    let keys = KEYS / scale.divisor;
    let source = Server::start()?;
    crate::data::fill(&mut source.client()?, keys)?;
    let contender = Contender::crossfade(source)?;
    let (Some(admin), Some(process)) = (&contender.admin, &contender.proxy) else { return Ok(()) };
    let peak = watch_backfill(admin, process)?;
    std::thread::sleep(GAUGES_CATCH_UP);
    let after = look(admin, process)?;
    title(&format!("Memory of the ledger: backfill of {keys} keys"));
    head(&["when", "marks", "ledger MiB", "bytes a mark", "process MiB"]);
    for (when, look) in [("largest", peak), ("after", after)] {
        row(&cells(when, look));
    }
    Ok(())
}

fn watch_backfill(admin: &Admin, process: &Process) -> Result<Look> {
    let mut peak = Look::default();
    while number(&admin.status()?, "/backfill/percent") < 100.0 {
        let now = look(admin, process)?;
        peak.marks = peak.marks.max(now.marks);
        peak.bytes = peak.bytes.max(now.bytes);
        peak.resident = peak.resident.max(now.resident);
        std::thread::sleep(Duration::from_millis(50));
    }
    admin.wait_for_mirroring()?;
    Ok(peak)
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
fn look(admin: &Admin, process: &Process) -> Result<Look> {
    Ok(Look {
        marks: admin.metric("crossfade_ledger_keys")?,
        bytes: admin.metric("crossfade_ledger_bytes")?,
        resident: process.resident()? as f64,
    })
}

fn cells(when: &str, look: Look) -> [String; 5] {
    let each = if look.marks > 0.0 { look.bytes / look.marks } else { 0.0 };
    [
        when.to_owned(),
        format!("{:.0}", look.marks),
        format!("{:.1}", look.bytes / MIB),
        format!("{each:.1}"),
        format!("{:.1}", look.resident / MIB),
    ]
}
