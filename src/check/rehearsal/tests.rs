use std::collections::BTreeSet;

use super::*;
use crate::protocol::capability::{Capabilities, Family};

fn redis(major: u32, minor: u32) -> Capabilities {
    Capabilities { family: Family::Redis, version: (major, minor, 0) }
}

fn between(source: Capabilities, target: Capabilities) -> Rehearsal {
    let rehearsal = Rehearsal::default();
    rehearsal.expect(Gaps::between(source, target));
    rehearsal
}

/// A client says these lines, one a second.
fn say(rehearsal: &Rehearsal, user: &str, lines: &[&str]) {
    for (second, line) in lines.iter().enumerate() {
        let request = Request::new(line.split(' '));
        let command = command::lookup(&request);
        let suspects = command.map_or(rehearsal.suspects_unknown(), |it| rehearsal.suspects(it));
        if suspects {
            let at = 1000 * second as Millis;
            rehearsal.hear(&Heard { user, command, request: &request, at });
        }
    }
}

fn named(rehearsal: &Rehearsal) -> Vec<String> {
    let shown = rehearsal.show(0, 0.0).commands.into_iter();
    shown.map(|used| format!("{} {} {}", used.command, used.pattern, used.count)).collect()
}

#[test]
fn what_the_target_lacks_is_counted_by_command_and_pattern_and_nothing_else() {
    let rehearsal = between(redis(7, 0), redis(6, 2));
    let lines =
        ["GET a", "LMPOP 1 q:1 LEFT", "LMPOP 1 q:2 LEFT", "EXPIRE k:1 10", "EXPIRE k:1 10 NX"];
    say(&rehearsal, "default", &lines);
    assert_eq!(named(&rehearsal), ["EXPIRE k:* 1", "LMPOP q:* 2"]);
}

#[test]
fn between_servers_that_know_the_same_no_plain_command_is_looked_at() {
    let rehearsal = between(redis(7, 0), redis(7, 0));
    let suspects = command::table().iter().filter(|command| rehearsal.suspects(command));
    let names: Vec<_> = suspects.map(|command| command.name).collect();
    assert_eq!(names, ["EVALSHA", "EVALSHA_RO", "SELECT"]);
}

#[test]
fn what_the_source_does_not_know_either_is_no_gap() {
    let rehearsal = between(redis(6, 2), redis(6, 0));
    say(&rehearsal, "default", &["LMPOP 1 q LEFT", "GETDEL k"]);
    assert_eq!(named(&rehearsal), ["GETDEL k 1"]);
}

#[test]
fn a_right_that_is_given_closes_its_gap() {
    let rehearsal = between(redis(7, 0), redis(7, 0));
    let rights = Rights { forbidden: BTreeSet::from(["KEYS"]), keys: None };
    let gaps = Gaps::between(redis(7, 0), redis(7, 0));
    let rights = [("app".to_owned(), rights)].into();
    rehearsal.expect(Gaps { rights, ..gaps.clone() });
    say(&rehearsal, "app", &["KEYS *"]);
    say(&rehearsal, "other", &["KEYS *"]);
    assert_eq!(named(&rehearsal), ["KEYS  1"]);
    assert!(rehearsal.blockers(0, 1)[0].starts_with("the user 'app' uses KEYS: "));
    rehearsal.expect(gaps);
    assert_eq!((named(&rehearsal).len(), rehearsal.blockers(0, 1).len()), (0, 0));
}

#[test]
fn keys_out_of_a_users_reach_are_told_from_those_within() {
    let line = |rules: &str| users([format!("user app on {rules}").as_str()]).remove(0);
    let keys = Some((line("~* +@all"), line("~app:* +@all")));
    let rights = Rights { keys, ..Default::default() };
    let rehearsal = Rehearsal::default();
    let gaps = Gaps::between(redis(7, 0), redis(7, 0));
    rehearsal.expect(Gaps { rights: [("app".to_owned(), rights)].into(), ..gaps });
    say(&rehearsal, "app", &["GET app:1", "GET other:1", "PING"]);
    assert_eq!(named(&rehearsal), ["GET other:* 1"]);
}

#[test]
fn a_command_that_only_the_servers_know_is_named_when_they_have_been_asked() {
    let rehearsal = between(redis(7, 0), redis(7, 0));
    say(&rehearsal, "default", &["MY.COMMAND k"]);
    assert!(rehearsal.questions().names.contains("MY.COMMAND"));
    let known = |lacking: &[&str]| Known {
        capabilities: redis(7, 0),
        lacking: Some(lacking.iter().map(|name| (*name).to_owned()).collect()),
    };
    let asked = |here: &[&str], there: &[&str]| Gaps {
        source: known(here),
        target: known(there),
        ..Gaps::default()
    };
    rehearsal.expect(asked(&[], &[]));
    assert!(named(&rehearsal).is_empty());
    rehearsal.expect(asked(&[], &["MY.COMMAND"]));
    assert_eq!(named(&rehearsal), ["MY.COMMAND  1"]);
    rehearsal.expect(asked(&["MY.COMMAND"], &["MY.COMMAND"]));
    assert!(named(&rehearsal).is_empty());
}

#[test]
fn scripts_are_named_by_what_they_call_and_by_their_absence() {
    let rehearsal = between(redis(7, 0), redis(6, 2));
    let body = "return{redis.call('LMPOP',1,KEYS[1],'LEFT'),redis.call('GET','x')}";
    say(&rehearsal, "default", &[&format!("EVAL {body} 0"), "EVAL return(1) 0"]);
    let digest = sha1(body.as_bytes());
    let other = "a".repeat(40);
    say(&rehearsal, "default", &[&format!("EVALSHA {digest} 0"), &format!("EVALSHA {other} 0")]);
    let gaps = Gaps::between(redis(7, 0), redis(6, 2));
    rehearsal.expect(Gaps { scripts: BTreeSet::from([other.clone()]), ..gaps });
    let mut shown = rehearsal.show(0, 0.0).scripts;
    shown.sort_by_key(|script| script.count);
    assert_eq!((&shown[0].script, shown[0].why.contains("loaded")), (&other, true));
    assert_eq!((&shown[1].script, shown[1].why.contains("LMPOP")), (&digest, true));
    assert!(!shown[1].why.contains("GET"));
    assert_eq!(shown.len(), 2);
}

#[test]
fn databases_are_named_that_only_the_source_has() {
    let rehearsal = between(redis(7, 0), redis(7, 0));
    say(&rehearsal, "default", &["SELECT 3", "SELECT 12", "SELECT x"]);
    assert_eq!(rehearsal.questions().databases, BTreeSet::from([3, 12]));
    let gaps = Gaps::between(redis(7, 0), redis(7, 0));
    rehearsal.expect(Gaps { databases: BTreeSet::from([12, 13]), ..gaps });
    let shown = rehearsal.show(2_000, 100.0).databases;
    assert_eq!((shown.len(), shown[0].db, shown[0].last), (1, 12, 99.0));
}

#[test]
fn keys_of_several_slots_matter_to_a_cluster_alone() {
    let lines = ["MGET a b", "MGET {a}1 {a}2", "GET a", "MSET u:1 v w:2 v"];
    let rehearsal = between(redis(7, 0), redis(7, 0));
    say(&rehearsal, "default", &lines);
    assert!(rehearsal.show(0, 0.0).crossslot.is_empty());
    let gaps = Gaps::between(redis(7, 0), redis(7, 0));
    rehearsal.expect(Gaps { is_cluster: true, ..gaps });
    say(&rehearsal, "default", &lines);
    let shown = rehearsal.show(0, 0.0).crossslot;
    let found: Vec<_> = shown.iter().map(|it| (it.command.as_str(), it.pattern.as_str())).collect();
    assert_eq!(found, [("MGET", "a"), ("MSET", "u:*")]);
    assert_eq!(rehearsal.blockers(3_000, 500).len(), 1, "the younger of them");
}

#[test]
fn what_is_older_than_the_window_is_shown_and_blocks_nothing() {
    let rehearsal = between(redis(7, 0), redis(6, 2));
    say(&rehearsal, "default", &["LMPOP 1 q LEFT"]);
    assert_eq!(rehearsal.blockers(10_000, 10_000).len(), 1);
    assert_eq!((rehearsal.blockers(10_001, 10_000).len(), named(&rehearsal).len()), (0, 1));
}

#[test]
fn nothing_is_learnt_while_clients_are_on_the_target() {
    let rehearsal = between(redis(7, 0), redis(6, 2));
    rehearsal.rest();
    say(&rehearsal, "default", &["LMPOP 1 q LEFT", "MY.COMMAND"]);
    assert!(named(&rehearsal).is_empty());
    rehearsal.go_on();
    say(&rehearsal, "default", &["LMPOP 1 q LEFT"]);
    assert_eq!(named(&rehearsal).len(), 1);
}

#[test]
fn whatever_clients_send_it_stays_small() {
    let rehearsal = between(redis(7, 0), redis(6, 2));
    let letters = |number: usize| -> String {
        [number / 676, number / 26 % 26, number % 26]
            .map(|at| char::from(b'a' + at as u8))
            .iter()
            .collect()
    };
    for number in 0..5_000 {
        let line = format!("LMPOP 1 {} LEFT", letters(number));
        say(
            &rehearsal,
            "default",
            &[&line, &format!("X{}", letters(number)), &format!("SELECT {number}")],
        );
    }
    let shown = rehearsal.show(0, 0.0);
    assert!(shown.commands.len() <= 501, "{}", shown.commands.len());
    assert!(shown.commands.iter().any(|used| used.pattern == "(others)"));
    let questions = rehearsal.questions();
    assert!(questions.names.len() <= 500 && questions.databases.len() <= 500);
}
