//! What the facts mean for a migration. Pure.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::finding::Finding;
use super::permissions::Refusal;
use crate::config::TargetPolicy;
use crate::protocol::capability::{Capabilities, Family};
use crate::protocol::command;
use crate::protocol::databases::Databases;
use crate::protocol::payload::Acceptance;
use crate::protocol::resp::Request;
use crate::server::Library;

/// From this difference of the clocks on somebody should look after them, in milliseconds; expiries
/// are corrected for it all the same.
const CLOCKS_APART: i64 = 1000;
/// The layouts that have a number: `DUMP`'s type bytes.
const LAYOUTS: std::ops::Range<u8> = 0..27;

/// Who the servers are, and whether they may be source and target.
pub(super) fn servers(source: &Facts, target: &Facts, pairs: &[(u32, u32)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, facts) in [("source", source), ("target", target)] {
        let text =
            format!("{:?} {}, role {}", facts.capabilities.family, facts.version, facts.role);
        findings.push(match facts.role.as_str() {
            "master" => Finding::ok(name, text),
            _ => Finding::blocker(name, format!("{text}: not a master, so it takes no writes")),
        });
        if facts.info.number("cluster_enabled") == 1 {
            let text = "runs in cluster mode: only keys of this node's slots can be migrated";
            findings.push(Finding::warning(name, text));
        }
    }
    let one_server = !source.run_id.is_empty() && source.run_id == target.run_id;
    if one_server && pairs.iter().all(|(from, to)| from == to) {
        let text = "is the same server as the source, with the same databases";
        findings.push(Finding::blocker("target", text));
    } else if one_server {
        findings.push(Finding::warning("target", "is another database of the source's server"));
    }
    if source.marked {
        let text = "bears the marker of an earlier cut-over (the key crossfade:cutover): what it \
                    holds may be old; run needs its state directory or --ignore-cutover-marker";
        findings.push(Finding::blocker("source", text));
    }
    findings
}

/// Whether the clocks agree.
pub(super) fn clocks(offset: i64) -> Vec<Finding> {
    let text = format!("{offset} ms apart");
    vec![if offset.abs() < CLOCKS_APART {
        Finding::ok("clocks", text)
    } else {
        Finding::warning("clocks", format!("{text}; expiries will be corrected for it"))
    }]
}

/// Whether the target has the databases that are needed.
pub(super) fn databases(all_there: bool) -> Vec<Finding> {
    vec![if all_there {
        Finding::ok("databases", "the target has all that are needed")
    } else {
        let text = "the target has fewer than are needed: raise its databases, or choose some \
                    with --databases";
        Finding::blocker("databases", text)
    }]
}

/// What is to be copied, and what is in its way.
pub(super) fn keys(
    source: &Facts,
    target: &Facts,
    databases: &Databases,
    policy: TargetPolicy,
) -> Vec<Finding> {
    let count = |facts: &Facts, databases: &Databases| -> u64 {
        let keyspace = facts.info.keyspace().into_iter();
        keyspace.filter(|(db, _)| databases.to(*db).is_some()).map(|(_, keys)| keys).sum()
    };
    let held = count(target, &databases.reversed());
    let target = match policy {
        _ if held == 0 => Finding::ok("target", "is empty"),
        TargetPolicy::RequireEmpty => {
            let text = format!(
                "holds {held} keys already: empty it, or choose --target-policy overwrite or flush"
            );
            Finding::blocker("target", text)
        }
        TargetPolicy::Overwrite => {
            let text = format!("holds {held} keys already: those that the source has too are lost");
            Finding::warning("target", text)
        }
        TargetPolicy::Flush => {
            Finding::warning("target", format!("holds {held} keys already: they will be removed"))
        }
    };
    let text = format!("{} keys to migrate", count(source, databases));
    vec![Finding::ok("keys", text), target]
}

/// Whether the data will fit.
pub(super) fn memory(source: &Facts, target: &Facts) -> Vec<Finding> {
    let used = source.info.number("used_memory");
    let limit = target.info.number("maxmemory");
    let free = limit.saturating_sub(target.info.number("used_memory"));
    let mut findings = vec![match limit {
        0 => Finding::ok("memory", format!("{used} bytes used here, no limit there")),
        _ if used <= free => {
            Finding::ok("memory", format!("{used} bytes used here, {free} free there"))
        }
        _ => {
            let text = format!("{used} bytes used here, only {free} of maxmemory free there");
            Finding::blocker("memory", text)
        }
    }];
    let policy = target.info.text("maxmemory_policy");
    if limit > 0 && !policy.is_empty() && policy != "noeviction" {
        let text = format!("the target may evict keys ({policy}): verify would find them missing");
        findings.push(Finding::warning("eviction", text));
    }
    findings
}

/// Modules, function libraries, users.
pub(super) fn code(source: &Facts, target: &Facts) -> Vec<Finding> {
    let mut findings = vec![libraries(source, target)];
    let lacking = without(&source.modules, &target.modules);
    findings.push(if lacking.is_empty() {
        Finding::ok("modules", "the target has all of the source's")
    } else {
        let names = lacking.join(", ");
        Finding::warning(
            "modules",
            format!("the target lacks {names}: their values can't be copied"),
        )
    });
    let lacking = without(&source.users, &target.users);
    if !lacking.is_empty() {
        let names = lacking.join(", ");
        let text =
            format!("the target lacks {names}: their clients can't be served after a cut-over");
        findings.push(Finding::warning("users", text));
    }
    findings
}

fn libraries(source: &Facts, target: &Facts) -> Finding {
    let conflicting = |library: &&Library| {
        let same_name = |other: &&Library| other.name == library.name;
        target.libraries.iter().find(same_name).is_some_and(|other| other.code != library.code)
    };
    let names: Vec<_> =
        source.libraries.iter().filter(conflicting).map(|l| l.name.as_str()).collect();
    if !names.is_empty() {
        let text =
            format!("the target has different libraries of the same name: {}", names.join(", "));
        return Finding::blocker("functions", text);
    }
    if !source.libraries.is_empty() && !target.capabilities.since_redis(7, 0) {
        return Finding::blocker("functions", "the target is too old for the source's libraries");
    }
    Finding::ok("functions", format!("{} libraries to copy", source.libraries.len()))
}

fn without<'a>(all: &'a [String], present: &[String]) -> Vec<&'a str> {
    let present: BTreeSet<_> = present.iter().collect();
    all.iter().filter(|name| !present.contains(name)).map(String::as_str).collect()
}

/// How values will travel, there and, for a rollback, back.
pub(super) fn payloads(source: &Facts, target: &Facts, taken: Acceptance) -> Vec<Finding> {
    let here = Acceptance::expected(&source.capabilities);
    let (source, target) = (&source.capabilities, &target.capabilities);
    let there = format!("there: {}", way(source.family, here, taken));
    let back = format!("back: {}", way(target.family, taken, here));
    let mut findings = vec![Finding::ok("payloads", there), Finding::ok("payloads", back)];
    for (way, from, to) in [("there", source, target), ("back", target, source)] {
        let lost = cannot_be_held(from, to);
        findings.push(if lost.is_empty() {
            Finding::ok("values", format!("{way}: every type of value can be held"))
        } else {
            let lost = lost.join(" and ");
            let text = format!(
                "{way}: {lost} can't be held: such keys are left out, named, and block the flip"
            );
            Finding::warning("values", text)
        });
    }
    findings
}

/// What a server of `from` may hold that one of `to` cannot, whatever the way.
fn cannot_be_held(from: &Capabilities, to: &Capabilities) -> Vec<&'static str> {
    let fields = from.expires_hash_fields() && !to.expires_hash_fields();
    let vectors = from.since_redis(8, 0) && !to.since_redis(8, 0);
    let named = [(fields, "hashes with field expiry"), (vectors, "vector sets")];
    named.into_iter().filter_map(|(lost, name)| lost.then_some(name)).collect()
}

/// Commands that clients of the source have used, by its own count, and that the target lacks.
pub(super) fn commands(source: &Facts, target: &Facts) -> Vec<Finding> {
    let lacks = |name: &&str| {
        let request = Request::new(name.split('|'));
        command::lookup(&request).is_some_and(|known| !target.capabilities.knows(known.since))
    };
    let lacking: Vec<_> = source.used().filter(lacks).map(str::to_uppercase).collect();
    vec![if lacking.is_empty() {
        Finding::ok("commands", "the target knows all that the source has served")
    } else {
        let text = format!(
            "the source has served {}, which the target does not know: mirrored in other words, \
             but an error for clients after a cut-over",
            lacking.join(", ")
        );
        Finding::warning("commands", text)
    }]
}

/// Whether scripts could get into databases that are not migrated, or not under that number.
pub(super) fn scripts(source: &Facts, databases: &Databases) -> Vec<Finding> {
    let is_script = |name: &str| {
        let command = command::lookup(&Request::new([name]));
        command.is_some_and(|command| command.serve == command::Serve::Script)
    };
    if *databases == Databases::All || !source.used().any(is_script) {
        return Vec::new();
    }
    let text = "the source has run scripts: what they SELECT, MOVE or COPY by number is not \
                translated, and reaches databases that are not migrated";
    vec![Finding::warning("scripts", text)]
}

/// In words, how what `from` writes gets to `to`.
fn way(family: Family, from: Acceptance, to: Acceptance) -> String {
    let by_commands: Vec<_> = LAYOUTS
        .filter(|layout| from.knows(family, *layout) && !to.knows(family, *layout))
        .map(layout_name)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let footer = if to.takes_version(from.version()) {
        format!("version {} is taken as it is, at full speed", from.version())
    } else {
        let (theirs, ours) = (from.version(), to.version());
        format!("version {theirs} is rewritten to {ours}, nearly at full speed")
    };
    if by_commands.is_empty() {
        footer
    } else {
        format!("{footer}; by commands, several times slower: {}", by_commands.join(", "))
    }
}

fn layout_name(layout: u8) -> &'static str {
    match layout {
        15 | 19 | 21 | 26 => "streams",
        16 => "small hashes",
        17 => "small sorted sets",
        18 => "lists",
        20 => "small sets",
        22..=25 => "hashes with field expiry",
        _ => "values of old layouts or modules",
    }
}

/// What our user lacks on one server.
pub(super) fn permissions(name: &str, facts: &Facts, refusals: &[Refusal]) -> Vec<Finding> {
    if refusals.is_empty() {
        return vec![Finding::ok("permissions", format!("{name}: all that a migration needs"))];
    }
    let finding = |refusal: &Refusal| {
        let Refusal { rule, error, .. } = refusal;
        let user = &facts.user;
        let text = format!("{name}: {error} (to grant it: ACL SETUSER {user} +{rule} ~*)");
        if refusal.optional {
            Finding::warning("permissions", text)
        } else {
            Finding::blocker("permissions", text)
        }
    };
    refusals.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::finding::Level;
    use super::*;
    use crate::server::Info;

    fn redis(major: u32, minor: u32) -> Facts {
        let capabilities = Capabilities { family: Family::Redis, version: (major, minor, 0) };
        Facts { capabilities, role: "master".into(), run_id: "a".into(), ..Facts::default() }
    }

    fn with_info(facts: Facts, fields: &[(&str, &str)]) -> Facts {
        let line = |(name, value): &(&str, &str)| format!("{name}:{value}\r\n");
        let info: String = fields.iter().map(line).collect();
        Facts { info: Info::new(&info), ..facts }
    }

    fn using(commands: &[&str]) -> Facts {
        let line = |command: &&str| format!("cmdstat_{command}:calls=1,usec=1\r\n");
        let calls: String = commands.iter().map(line).collect();
        Facts { calls: Info::new(&calls), ..redis(7, 0) }
    }

    fn worst(findings: &[Finding]) -> Level {
        findings.iter().map(|finding| finding.level).max().unwrap()
    }

    #[test]
    fn one_server_twice_is_a_blocker_unless_the_databases_differ() {
        let facts = redis(7, 0);
        assert_eq!(worst(&servers(&facts, &facts, &[(0, 0)])), Level::Blocker);
        assert_eq!(worst(&servers(&facts, &facts, &[(0, 1)])), Level::Warning);
        let other = Facts { run_id: "b".into(), ..redis(7, 0) };
        assert_eq!(worst(&servers(&facts, &other, &[(0, 0)])), Level::Ok);
    }

    #[test]
    fn a_replica_takes_no_writes_and_a_marked_source_may_be_old() {
        let other = || Facts { run_id: "b".into(), ..redis(7, 0) };
        let replica = Facts { role: "slave".into(), ..other() };
        assert_eq!(worst(&servers(&redis(7, 0), &replica, &[])), Level::Blocker);
        let marked = Facts { marked: true, ..other() };
        assert_eq!(worst(&servers(&marked, &redis(7, 0), &[])), Level::Blocker);
    }

    #[test]
    fn what_does_not_fit_is_a_blocker() {
        let source = with_info(redis(7, 0), &[("used_memory", "100")]);
        for (limit, level) in [("0", Level::Ok), ("150", Level::Ok), ("149", Level::Blocker)] {
            let target = with_info(redis(7, 0), &[("maxmemory", limit), ("used_memory", "50")]);
            assert_eq!(worst(&memory(&source, &target)), level, "{limit}");
        }
    }

    #[test]
    fn a_target_with_keys_is_a_blocker_unless_told_what_to_do_about_them() {
        let used = with_info(redis(7, 0), &[("db1", "keys=3,expires=0")]);
        let judged = |target: &Facts, databases: &Databases, policy| {
            worst(&keys(&used, target, databases, policy))
        };
        let (refuse, all) = (TargetPolicy::RequireEmpty, Databases::All);
        assert_eq!(judged(&redis(7, 0), &all, refuse), Level::Ok);
        assert_eq!(judged(&used, &all, refuse), Level::Blocker);
        assert_eq!(judged(&used, &Databases::one(1, 0), refuse), Level::Ok);
        assert_eq!(judged(&used, &all, TargetPolicy::Flush), Level::Warning);
        assert_eq!(judged(&used, &all, TargetPolicy::Overwrite), Level::Warning);
    }

    #[test]
    fn too_few_databases_are_a_blocker() {
        assert_eq!(worst(&databases(true)), Level::Ok);
        assert_eq!(worst(&databases(false)), Level::Blocker);
    }

    #[test]
    fn libraries_of_one_name_must_be_the_same() {
        let with = |code: &'static str| {
            let library = Library { name: "l".into(), code: Bytes::from_static(code.as_bytes()) };
            Facts { libraries: vec![library], ..redis(7, 0) }
        };
        assert_eq!(worst(&code(&with("a"), &with("a"))), Level::Ok);
        assert_eq!(worst(&code(&with("a"), &with("b"))), Level::Blocker);
        assert_eq!(worst(&code(&with("a"), &redis(6, 2))), Level::Blocker);
    }

    #[test]
    fn how_values_travel_is_said_in_words() {
        let (old, new) = (redis(6, 2), redis(7, 0));
        let findings = payloads(&new, &old, Acceptance::expected(&old.capabilities));
        assert_eq!(
            findings[0].text,
            "there: version 10 is rewritten to 9, nearly at full speed; by commands, several times \
             slower: lists, small hashes, small sorted sets, streams"
        );
        assert_eq!(findings[1].text, "back: version 9 is taken as it is, at full speed");
    }

    #[test]
    fn what_one_side_cannot_hold_is_named_for_each_direction() {
        let (new, old) = (redis(8, 0), redis(7, 0));
        let findings = payloads(&new, &old, Acceptance::expected(&old.capabilities));
        assert_eq!(findings[2].level, Level::Warning);
        assert!(findings[2].text.starts_with("there: hashes with field expiry and vector sets"));
        assert_eq!(findings[3].level, Level::Ok);
    }

    #[test]
    fn commands_in_use_that_the_target_lacks_are_named() {
        let source = using(&["get", "xgroup|create", "lmpop"]);
        assert_eq!(worst(&commands(&source, &redis(7, 0))), Level::Ok);
        let findings = commands(&source, &redis(6, 2));
        assert!(findings[0].text.contains("served LMPOP, which"), "{}", findings[0].text);
    }

    #[test]
    fn scripts_beside_chosen_databases_are_warned_of() {
        let source = using(&["get", "evalsha"]);
        assert!(scripts(&source, &Databases::All).is_empty());
        assert!(scripts(&redis(7, 0), &Databases::one(2, 0)).is_empty());
        assert_eq!(worst(&scripts(&source, &Databases::one(2, 0))), Level::Warning);
    }

    #[test]
    fn a_lacking_permission_names_the_rule_that_grants_it() {
        let facts = Facts { user: "app".into(), ..redis(7, 0) };
        let refusal = |optional| Refusal { rule: "dump".into(), error: "NOPERM".into(), optional };
        let findings = permissions("source", &facts, &[refusal(false)]);
        assert_eq!(worst(&findings), Level::Blocker);
        assert!(findings[0].text.contains("ACL SETUSER app +dump"));
        assert_eq!(worst(&permissions("source", &facts, &[refusal(true)])), Level::Warning);
        assert_eq!(worst(&permissions("source", &facts, &[])), Level::Ok);
    }
}
