//! How a running migration is doing, as people read it: what `crossfade status` prints once and
//! `crossfade watch` draws again and again.
//!
//! *Guarantees:* what matters most comes first. It fits into 80 columns and 24 rows, as long as nobody
//! has given a long name to a server.

use super::output::{grouped, period, size};
use super::paint::{Line, Size, wrap};
use crate::status::{
    Advice, Backfill, BackfillState, Mirror, Phase, Record, Server, Shadow, Side, Status, Verify,
    VerifyState,
};

/// The column in which rows begin, behind their labels.
pub(super) const MARGIN: usize = 12;
/// Rows that blockers get in the smallest of terminals.
const FEWEST: usize = 3;
/// Patterns of names that are told.
const PATTERNS: usize = 2;

/// A line of its own, or more of the one above when it has no label.
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) line: Line,
}

impl Row {
    /// With its label in the margin.
    pub(super) fn whole(self) -> Line {
        Line::default().faint(self.label).padded(MARGIN).then(self.line)
    }
}

/// Everything, for so much room.
pub(super) fn lines(status: &Status, room: Size) -> Vec<Line> {
    rows(status, room).into_iter().map(Row::whole).collect()
}

/// The same, for whoever adds to it.
pub(super) fn rows(status: &Status, room: Size) -> Vec<Row> {
    let first = Rows::default().row("phase", phase(status)).row("next", next(status));
    let servers = Rows::default()
        .row("source", server(status, Side::Source))
        .row("target", server(status, Side::Target));
    let last = match status.phase {
        // There is nothing left that could go wrong between the two.
        Phase::Finalized => servers.row("clients", clients(status)),
        _ => servers
            .rows("backfill", backfill(status))
            .rows("mirror", mirror(&status.mirror))
            .rows("verify", compared(&status.verify))
            .rows("reads", reads(&status.shadow))
            .row("clients", clients(status))
            .rows("last flip", last_flip(status))
            .row("record", record(&status.record)),
    };
    let left = room.rows.saturating_sub(first.0.len() + last.0.len()).max(FEWEST);
    let width = room.columns.saturating_sub(MARGIN + 2);
    let blockers = in_the_way(status, width, left);
    first.rows("in the way", blockers).0.into_iter().chain(last.0).collect()
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    fn row(mut self, label: &'static str, line: Line) -> Self {
        self.0.push(Row { label, line });
        self
    }

    fn rows(self, label: &'static str, lines: Vec<Line>) -> Self {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        labels.zip(lines).fold(self, |rows, (label, line)| rows.row(label, line))
    }
}

pub(super) fn phase(status: &Status) -> Line {
    let Status { verify, backfill, ready, .. } = status;
    let line = Line::default().strong(status.phase).plain(": ");
    match status.phase {
        Phase::Backfilling if backfill.state == BackfillState::Paused => {
            line.plain("the copy has stopped")
        }
        Phase::Backfilling => line.plain("existing keys are being copied"),
        Phase::Mirroring if *ready => line.good("ready to cut over"),
        Phase::Mirroring if verify.state == VerifyState::Running => {
            line.plain("both servers are being compared")
        }
        Phase::Mirroring => line.plain("every key is on the target"),
        Phase::CuttingOver | Phase::RollingBack => line.plain("clients are being moved"),
        Phase::CutOver => line.plain("the target serves, and the source follows"),
        Phase::Finalized => line.plain("the source is let go"),
    }
}

/// What leads on.
fn next(status: &Status) -> Line {
    let command = |words: &str| Line::default().strong(format!("crossfade {words}"));
    match status.phase {
        Phase::Backfilling if status.backfill.state == BackfillState::Paused => command("resume"),
        Phase::Backfilling => Line::from("wait until every key is copied"),
        Phase::Mirroring if status.ready => command("cutover"),
        Phase::Mirroring => match status.verify.state {
            VerifyState::Running => Line::from("wait until they are compared"),
            VerifyState::Clean => Line::from("see to what stands in the way"),
            _ => command("verify"),
        },
        Phase::CuttingOver | Phase::RollingBack => Line::from("wait a moment"),
        Phase::CutOver => command("finalize").plain(", or ").then(command("rollback")),
        Phase::Finalized => {
            Line::from(format!("let the applications connect to {}", status.target.address))
        }
    }
}

/// What keeps from a cut-over, each with what to do about it, in so many rows.
fn in_the_way(status: &Status, columns: usize, rows: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, advice) in told(status).iter().enumerate() {
        let more = told_in_rows(advice, columns);
        let left = told(status).len() - index;
        // The last row may have to say that there is more.
        let needed = lines.len() + more.len() + usize::from(left > 1);
        if needed > rows && index > 0 {
            lines.push(Line::default().bad(format!("{left} more: crossfade status | less")));
            break;
        }
        lines.extend(more);
    }
    lines
}

/// Once clients have been moved there is no way to stand in, but still something to decide.
fn told(status: &Status) -> Vec<Advice> {
    let before = matches!(status.phase, Phase::Backfilling | Phase::Mirroring);
    let decide = |advice: &&Advice| before || advice.blocker.contains("(nearly) empty");
    status.advice.iter().filter(decide).cloned().collect()
}

fn told_in_rows(advice: &Advice, columns: usize) -> Vec<Line> {
    let blocker = wrap(&advice.blocker, columns).into_iter().enumerate();
    let blocker = blocker
        .map(|(row, text)| Line::default().bad(if row == 0 { "! " } else { "  " }).plain(text));
    let todo = wrap(&advice.todo, columns).into_iter();
    blocker.chain(todo.map(|text| Line::from("  ").faint(text))).collect()
}

fn server(status: &Status, side: Side) -> Line {
    let Server { address, version, connected, .. } = match side {
        Side::Source => &status.source,
        Side::Target => &status.target,
    };
    let widest = status.source.address.chars().count().max(status.target.address.chars().count());
    let line = Line::from(format!("{address:widest$}  {version:7}  "));
    if status.phase == Phase::Finalized && side == Side::Source {
        return line.faint("let go");
    }
    let line = line.plain(if status.primary == side { "serves " } else { "follows" });
    if *connected { line.plain("  reached") } else { line.bad("  NOT REACHED") }
}

/// How far the copy is, in one line.
pub(super) fn backfilling(status: &Status) -> Line {
    let Backfill { state, percent, total_estimate, .. } = status.backfill;
    let line = Line::from(format!("{percent:.1} % of about {} keys", grouped(total_estimate)));
    if state == BackfillState::Paused {
        return line.plain(", ").bad("paused");
    }
    let left = status.backfill.eta_seconds.map(|left| format!(", {} left", period(left.ceil())));
    line.plain(format!(", {:.0} a second", status.backfill.keys_per_second))
        .plain(left.unwrap_or_default())
}

fn backfill(status: &Status) -> Vec<Line> {
    let Backfill { state, copied, recopied, failed, left_out, ways, cause, held_by, .. } =
        &status.backfill;
    let done = *state == BackfillState::Done;
    let first = if done { Line::from("done") } else { backfilling(status) };
    let why = cause.as_ref().map(|cause| Line::from(format!("again because: {cause}")));
    let held = held_by.as_ref().filter(|_| !done);
    let held = held.map(|held| Line::from(format!("held back: {held}")));
    let counts = format!("{} copied, {} again", grouped(*copied), grouped(*recopied));
    let counts = Line::from(counts).then(ill(*failed, "failed")).then(ill(*left_out, "left out"));
    let others = ways.rewritten + ways.by_commands;
    let ways = (others > 0).then(|| {
        Line::from(format!(
            "{} as they are, {} rewritten, {} by commands",
            grouped(ways.as_it_is),
            grouped(ways.rewritten),
            grouped(ways.by_commands)
        ))
    });
    [Some(first), why, held, Some(counts), ways].into_iter().flatten().collect()
}

/// A number that had better be 0.
fn ill(number: u64, what: &str) -> Line {
    let text = format!("{} {what}", grouped(number));
    let line = Line::from(", ");
    if number == 0 { line.plain(text) } else { line.bad(text) }
}

fn mirror(mirror: &Mirror) -> Vec<Line> {
    let Mirror { applied, mismatched, failed, .. } = *mirror;
    let counts = Line::from(format!("{} as expected", grouped(applied)));
    let counts = counts.then(ill(mismatched, "mismatched")).then(ill(failed, "refused"));
    vec![lag(mirror), counts]
}

pub(super) fn lag(mirror: &Mirror) -> Line {
    let line = if mirror.degraded { Line::default().bad("DEGRADED, ") } else { Line::default() };
    line.plain(format!(
        "lag {}, {} queued ({}), {} dirty keys",
        period(mirror.lag_seconds),
        grouped(mirror.queued),
        size(mirror.queued_bytes),
        grouped(mirror.dirty_keys)
    ))
}

/// What a comparison found, in one line.
pub(super) fn verify(verify: &Verify) -> String {
    let state = verify.state.name();
    format!("{state}; {} checked, {}", grouped(verify.checked), found(verify))
}

fn found(verify: &Verify) -> String {
    format!(
        "{} missing, {} extra, {} different, {} repaired",
        grouped(verify.missing),
        grouped(verify.extra),
        grouped(verify.different),
        grouped(verify.repaired)
    )
}

fn compared(verify: &Verify) -> Vec<Line> {
    let name = verify.state.name();
    let state = match verify.state {
        VerifyState::Never => return vec![Line::from(name)],
        VerifyState::Clean => Line::default().good(name),
        VerifyState::Different => Line::default().bad(name),
        VerifyState::Running | VerifyState::Stale => Line::from(name),
    };
    let first = state.plain(format!(", {} keys checked", grouped(verify.checked)));
    let patterns = verify.patterns.iter().take(PATTERNS).map(|pattern| {
        Line::from(format!(
            "{}: {} missing, {} extra, {} different",
            pattern.pattern,
            grouped(pattern.missing),
            grouped(pattern.extra),
            grouped(pattern.different)
        ))
    });
    [first, Line::from(found(verify))].into_iter().chain(patterns).collect()
}

/// What came of reads that the secondary was asked too.
fn reads(shadow: &Shadow) -> Vec<Line> {
    if shadow.percent == 0.0 && shadow.sampled == 0 {
        return Vec::new();
    }
    let equal = grouped(shadow.equal);
    let line = Line::from(format!("{} % of both servers: {equal} equal", shadow.percent));
    vec![line.then(ill(shadow.different, "different")).then(ill(shadow.refused, "refused"))]
}

fn clients(status: &Status) -> Line {
    let clients = &status.clients;
    Line::from(format!(
        "{} connected, {} commands, up {}",
        grouped(clients.connected),
        grouped(clients.commands),
        period(status.uptime_seconds)
    ))
}

fn last_flip(status: &Status) -> Vec<Line> {
    let flip = &status.cutover;
    let done = flip.to.zip(flip.hold_ms).map(|(side, hold)| {
        Line::from(format!("to the {side}; clients were held for {} ms", grouped(hold)))
    });
    let failed = flip.last_error.as_ref().map(|error| Line::default().bad(error));
    done.into_iter().chain(failed).collect()
}

fn record(record: &Record) -> Line {
    match &record.error {
        Some(error) => Line::default()
            .bad(format!("CAN'T BE WRITTEN ({error}): a crash leaves everything in doubt")),
        None if record.kept => Line::from(format!(
            "a crash leaves {} of 65,536 groups in doubt",
            grouped(record.groups)
        )),
        None => Line::from("none is kept: a crash leaves everything in doubt"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Pattern;

    const SMALL: Size = Size { columns: 80, rows: 24 };

    fn advice(number: usize) -> Vec<Advice> {
        let one = |number| Advice {
            blocker: format!("blocker number {number} of a migration that has many"),
            todo: "Do what has to be done about it. ".repeat(5),
        };
        (0..number).map(one).collect()
    }

    fn text(status: &Status, room: Size) -> Vec<String> {
        lines(status, room).iter().map(Line::text).collect()
    }

    /// As much as there can be to say, in numbers as large as they get.
    fn full() -> Status {
        const MANY: u64 = 2_345_678_901;
        let pattern = Pattern { pattern: "session:*".into(), missing: 1, extra: 2, different: 3 };
        let mut status = Status { advice: advice(9), ..Status::default() };
        for server in [&mut status.source, &mut status.target] {
            server.address = "cache-01.production.internal:6379".into();
            server.version = "7.0.15".into();
        }
        let backfill = &mut status.backfill;
        (backfill.copied, backfill.recopied, backfill.total_estimate) = (MANY, 12_345_678, MANY);
        (backfill.keys_per_second, backfill.eta_seconds) = (345_678.9, Some(54_321.0));
        backfill.cause = Some("replaced".into());
        backfill.held_by = Some("the clients".into());
        backfill.ways.rewritten = MANY;
        status.mirror =
            Mirror { applied: MANY, queued: 123_456, dirty_keys: 123_456, ..Mirror::default() };
        status.mirror.queued_bytes = 200 << 20;
        status.verify.state = VerifyState::Different;
        status.verify.checked = MANY;
        status.verify.patterns = vec![pattern; 9];
        (status.shadow.percent, status.shadow.equal) = (12.5, MANY);
        status.cutover.to = Some(Side::Target);
        status.cutover.hold_ms = Some(12);
        status
    }

    #[test]
    fn people_see_every_part_and_each_blocker_with_what_to_do() {
        let advice = vec![
            Advice { blocker: "verify has not run".into(), todo: "Verify.".into() },
            Advice { blocker: "the target is away".into(), todo: "Mend it.".into() },
        ];
        let text = text(&Status { advice, ..Status::default() }, Size::ENDLESS).join("\n");
        assert!(text.starts_with("phase       backfilling: existing keys"), "{text}");
        let blockers =
            "in the way  ! verify has not run\n              Verify.\n            ! the target";
        assert!(text.contains(blockers), "{text}");
    }

    #[test]
    fn everything_that_there_can_be_to_say_fits_on_one_screen() {
        let text = text(&full(), SMALL);
        assert!(text.len() <= SMALL.rows, "{} rows:\n{}", text.len(), text.join("\n"));
        let wide: Vec<&String> =
            text.iter().filter(|line| line.chars().count() > SMALL.columns).collect();
        assert_eq!(wide, [""; 0]);
    }

    #[test]
    fn blockers_that_have_no_room_are_counted_and_all_are_told_where_there_is() {
        let short = text(&full(), SMALL);
        let more = short.iter().find(|line| line.contains(" more: ")).unwrap();
        let shown = short.iter().filter(|line| line.contains("! blocker")).count();
        assert!(more.contains(&format!("{} more", 9 - shown)), "{more}");
        assert_eq!(
            text(&full(), Size::ENDLESS).iter().filter(|line| line.contains("! blocker")).count(),
            9
        );
    }

    #[test]
    fn after_a_cut_over_only_what_is_to_be_decided_is_told() {
        let blockers = ["the phase is cut_over", "the target came back (nearly) empty"];
        let advice =
            blockers.map(|blocker| Advice { blocker: blocker.into(), todo: String::new() });
        let status = Status { phase: Phase::CutOver, advice: advice.to_vec(), ..Status::default() };
        let text = text(&status, SMALL).join("\n");
        assert!(text.contains("(nearly) empty") && !text.contains("the phase is"), "{text}");
    }

    #[test]
    fn each_phase_says_what_leads_on() {
        let next = |phase, ready| next(&Status { phase, ready, ..Status::default() }).text();
        assert_eq!(next(Phase::Mirroring, false), "crossfade verify");
        assert_eq!(next(Phase::Mirroring, true), "crossfade cutover");
        assert_eq!(next(Phase::CutOver, false), "crossfade finalize, or crossfade rollback");
    }
}
