//! An observation for people: rows under titles, as text or as a page.

use super::Observation;
use crate::admin::report::{self, Part};
use crate::check::finding::Level;
use crate::status::Rehearsal;

const TO_KNOW: &str = "To know";
/// Rows of a part that text shows.
const ROWS: usize = 12;

pub(super) fn text(seen: &Observation) -> String {
    let mut parts = parts(seen);
    for (title, rows) in &mut parts {
        if *title == TO_KNOW {
            // What is as it should be would fill the screen.
            rows.retain(|row| row.first().is_none_or(|level| level != "ok"));
        }
    }
    parts.retain(|(_, rows)| !rows.is_empty());
    for (_, rows) in &mut parts {
        let more = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        if more > 0 {
            rows.push(vec![format!("… {more} more, in --json")]);
        }
    }
    format!("{}\n{}\n", report::as_text(&parts).trim_start(), verdict(seen))
}

pub(super) fn html(seen: &Observation) -> String {
    let note = format!("{}: {}", report::moment(seen.at), verdict(seen));
    report::as_page("What a migration would meet", &note, &parts(seen))
}

fn verdict(seen: &Observation) -> &'static str {
    if seen.ready { "nothing in the way" } else { "there is something in the way" }
}

fn parts(seen: &Observation) -> Vec<Part> {
    vec![
        ("Servers", servers(seen)),
        ("Would fail on the target", failing(&seen.rehearsal)),
        (
            "Users to make there",
            seen.users.iter().map(|user| row([&user.name, &user.line])).collect(),
        ),
        (TO_KNOW, findings(seen)),
        ("How values travel", ways(seen)),
        ("Data", data(seen)),
        ("Big values, copied part by part", big(&seen.rehearsal)),
        ("Not passed by crossfade", refused(seen)),
        ("Waiting for data", blocking(seen)),
        ("Slowest commands", slow(seen)),
        ("Keys of scripts that they do not declare", undeclared(seen)),
    ]
}

fn row<const N: usize>(cells: [&dyn ToString; N]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

fn servers(seen: &Observation) -> Vec<Vec<String>> {
    let server = |name: &str, server: &super::Server| {
        let limit = match server.maxmemory {
            0 => "no limit".to_owned(),
            limit => format!("of {}, {}", size(limit), server.maxmemory_policy),
        };
        let who = format!("{} {}", server.kind, server.version);
        let memory = format!("{} in use, {limit}", size(server.used_memory));
        row([&name, &server.address, &who, &memory])
    };
    vec![server("source", &seen.source), server("target", &seen.target)]
}

fn failing(rehearsal: &Rehearsal) -> Vec<Vec<String>> {
    let commands = rehearsal.commands.iter().map(|used| {
        let who = if used.user.is_empty() { String::new() } else { format!(" ({})", used.user) };
        let times = times(used.count) + &who;
        row([&used.command, &used.pattern, &times, &used.why])
    });
    let crossings = rehearsal.crossslot.iter().map(|crossing| {
        let times = times(crossing.count);
        row([&crossing.command, &crossing.pattern, &times, &"its keys lie in several slots"])
    });
    let databases = rehearsal.databases.iter().map(|missing| {
        row([&"SELECT", &missing.db, &"", &"the target has no database of that number"])
    });
    let users = rehearsal.users.iter().map(|user| row([&"user", &user.user, &"", &user.why]));
    let scripts = rehearsal
        .scripts
        .iter()
        .map(|script| row([&"script", &script.script, &times(script.count), &script.why]));
    commands.chain(crossings).chain(databases).chain(users).chain(scripts).collect()
}

fn times(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn findings(seen: &Observation) -> Vec<Vec<String>> {
    let mut findings: Vec<_> = seen.findings.iter().collect();
    findings.retain(|finding| finding.topic != "payloads");
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let level = |level: Level| match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Blocker => "blocker",
    };
    findings
        .into_iter()
        .map(|finding| row([&level(finding.level), &finding.topic, &finding.text]))
        .collect()
}

fn ways(seen: &Observation) -> Vec<Vec<String>> {
    let ways = seen.findings.iter().filter(|finding| finding.topic == "payloads");
    ways.filter_map(|finding| {
        let (way, how) = finding.text.split_once(": ")?;
        Some(row([&way, &how]))
    })
    .collect()
}

fn data(seen: &Observation) -> Vec<Vec<String>> {
    let sample = &seen.sample;
    let average = sample.bytes.checked_div(sample.keys).unwrap_or(0);
    let which = if sample.complete { "all" } else { "a sample" };
    let mut rows = vec![row([
        &"sample",
        &format!("{} keys ({which}), {} each on average", sample.keys, size(average)),
    ])];
    if let (Some(rate), Some(seconds)) = (seen.estimate.keys_per_second, seen.estimate.seconds) {
        let text = format!(
            "about {} for {} keys, read at {rate:.0} a second",
            period(seconds),
            seen.estimate.keys
        );
        rows.push(row([&"copy", &text]));
    }
    rows.extend(seen.databases.iter().map(|database| {
        let there = if database.on_target { "" } else { ": the target has none of that number" };
        row([&"database", &format!("{}, {} keys{there}", database.db, database.keys)])
    }));
    for (what, names) in [("functions", &seen.functions), ("modules", &seen.modules)] {
        if !names.is_empty() {
            rows.push(row([&what, &names.join(", ")]));
        }
    }
    let clients = format!(
        "{} connected, {} of them waiting",
        seen.source.connected_clients, seen.source.blocked_clients
    );
    rows.push(row([&"clients", &clients]));
    rows.extend(seen.monitored.as_ref().map(|monitored| {
        let cut = if monitored.cut_short { ", then there was too much" } else { "" };
        let text = format!("{} commands in {:.1} s{cut}", monitored.commands, monitored.seconds);
        row([&"monitored", &text])
    }));
    rows
}

fn big(rehearsal: &Rehearsal) -> Vec<Vec<String>> {
    let big = rehearsal.big.iter();
    big.map(|big| {
        row([
            &big.pattern,
            &format!("database {}", big.db),
            &big.count,
            &format!("up to {}", size(big.bytes)),
        ])
    })
    .collect()
}

fn refused(seen: &Observation) -> Vec<Vec<String>> {
    let refused = seen.refused.iter();
    refused.map(|refused| row([&refused.command, &times(refused.count), &refused.why])).collect()
}

fn blocking(seen: &Observation) -> Vec<Vec<String>> {
    seen.blocking.iter().map(|used| row([&used.command, &times(used.count)])).collect()
}

fn slow(seen: &Observation) -> Vec<Vec<String>> {
    let slow = seen.slow.iter();
    slow.map(|slow| {
        let worst = format!("up to {:.1} ms", slow.microseconds as f64 / 1000.0);
        row([&slow.command, &slow.pattern, &times(slow.count), &worst])
    })
    .collect()
}

fn undeclared(seen: &Observation) -> Vec<Vec<String>> {
    let undeclared = seen.monitored.iter().flat_map(|monitored| &monitored.undeclared);
    undeclared.map(|keys| row([&keys.script, &keys.pattern, &times(keys.count)])).collect()
}

fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for next in ["KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

fn period(seconds: f64) -> String {
    match seconds {
        ..1.0 => "a second at most".to_owned(),
        1.0..60.0 => format!("{seconds:.0} s"),
        60.0..3600.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Refused;

    fn seen() -> Observation {
        let refused = Refused {
            command: "LMPOP".to_owned(),
            pattern: "<q>:*".to_owned(),
            why: "the target does not know it".to_owned(),
            count: 3,
            ..Refused::default()
        };
        let rehearsal = Rehearsal { commands: vec![refused], ..Rehearsal::default() };
        Observation { rehearsal, ..Observation::default() }
    }

    #[test]
    fn what_would_fail_is_told_and_the_empty_parts_are_left_out() {
        let text = text(&seen());
        assert!(text.contains("LMPOP  <q>:*  3 times  the target does not know it"), "{text}");
        assert!(!text.contains("Slowest"), "{text}");
        assert!(text.ends_with("there is something in the way\n"), "{text}");
    }

    #[test]
    fn a_pattern_is_never_markup() {
        let html = html(&seen());
        assert!(html.contains("&lt;q&gt;:*") && !html.contains("<q>"));
        assert!(!html.contains("http"), "it asks nobody for anything");
    }
}
