use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::engine::effect::{Digest, Expect, Expiry, Step};
use crate::protocol::capability::Family;
use crate::protocol::command::{lookup, table};
use crate::protocol::resp::Reply;

const REDIS_7: Capabilities = Capabilities { family: Family::Redis, version: (7, 0, 15) };
const REDIS_8: Capabilities = Capabilities { family: Family::Redis, version: (8, 0, 0) };
const REDIS_6_0: Capabilities = Capabilities { family: Family::Redis, version: (6, 0, 0) };

fn reply(text: &str) -> Reply {
    Reply::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn outcome_on(line: &str, answer: &str, probes: &[&str], secondary: &Capabilities) -> Outcome {
    outcome_between(&REDIS_7, line, answer, probes, secondary)
}

fn outcome_between(
    primary: &Capabilities,
    line: &str,
    answer: &str,
    probes: &[&str],
    secondary: &Capabilities,
) -> Outcome {
    let request = Request::new(line.split(' '));
    outcome(&Executed {
        command: lookup(&request).unwrap(),
        request: &request,
        reply: &reply(answer),
        probes: &probes.iter().map(|probe| reply(probe)).collect::<Vec<_>>(),
        primary,
        secondary,
        clock_offset: 1000,
    })
}

/// The outcome in words: the steps, then the checks in brackets; `!` marks a total effect.
fn told(line: &str, answer: &str, probes: &[&str]) -> String {
    in_words(&outcome_on(line, answer, probes, &REDIS_7))
}

fn in_words(outcome: &Outcome) -> String {
    let Outcome::Apply(effect) = outcome else { return format!("{outcome:?}") };
    let steps: Vec<_> = effect.steps.iter().map(words).collect();
    let checks: Vec<_> = effect.checks.iter().map(|check| format!(" [{}]", words(check))).collect();
    let total = if effect.total { "!" } else { "" };
    format!("{}{}{total}", steps.join("; "), checks.concat())
}

fn words(step: &Step) -> String {
    let args: Vec<_> = step.request.args().map(String::from_utf8_lossy).collect();
    match step.expect {
        Expect::Expiry { expiry: Expiry::At(time), .. } => format!("{} = {time}", args.join(" ")),
        Expect::Expiry { expiry, .. } => format!("{} = {expiry:?}", args.join(" ")),
        _ => args.join(" "),
    }
}

const OK: &str = "+OK\r\n";
const NIL: &str = "$-1\r\n";
const ONE: &str = ":1\r\n";
const ZERO: &str = ":0\r\n";
const NEVER: &str = ":-1\r\n";
const MISSING: &str = ":-2\r\n";
const AT_5000: &str = ":5000\r\n";

#[test]
fn a_set_says_what_it_left_behind() {
    for (line, answer, probes, effect) in [
        ("SET k v", OK, &[][..], "SET k v!"),
        ("SET k v NX", OK, &[], "SET k v!"),
        ("SET k v NX", NIL, &[], "Nothing"),
        ("SET k v EX 5", OK, &[AT_5000], "SET k v PXAT 6000!"),
        ("SET k v EX 5", OK, &[NEVER], "SET k v!"),
        ("SET k v PX 1", OK, &[MISSING], "DEL k!"),
        ("SET k v KEEPTTL", OK, &[AT_5000], "SET k v PXAT 6000!"),
        ("SET k v NX GET", NIL, &[], "SET k v!"),
        ("SET k v NX GET", "+old\r\n", &[], "Nothing"),
        ("SET k v XX GET", NIL, &[], "Nothing"),
        ("SET k v XX GET", "+old\r\n", &[], "SET k v!"),
        ("SET k v IFEQ old GET", "+old\r\n", &[], "SET k v!"),
        ("SET k v IFEQ old GET", "+new\r\n", &[], "Nothing"),
        ("SET k v IFNE old GET", "+new\r\n", &[], "Recopy"),
        ("SET k v IFNE old", OK, &[], "SET k v!"),
        ("SET k v WHATEVER", OK, &[], "Recopy"),
        ("SET k v EX 5", OK, &[], "Recopy"),
        ("SET k v", "-ERR no\r\n", &[], "Nothing"),
    ] {
        assert_eq!(told(line, answer, probes), effect, "{line} {answer:?}");
    }
}

#[test]
fn what_may_create_a_key_compares_its_expiry() {
    for (line, answer, probes, effect) in [
        ("INCR k", ONE, &[NEVER][..], "INCR k [PEXPIRETIME k = Never]"),
        ("INCR k", ONE, &[AT_5000], "INCR k [PEXPIRETIME k = 6000]"),
        ("INCR k", ONE, &[MISSING], "DEL k!"),
        ("SADD k a", ZERO, &[NEVER], "Nothing"),
        ("HSET k f v", ZERO, &[NEVER], "HSET k f v [PEXPIRETIME k = Never]"),
        ("HSETNX k f v", ONE, &[NEVER], "HSET k f v [PEXPIRETIME k = Never]"),
        ("LMOVE a b LEFT LEFT", "+x\r\n", &[NEVER], "LMOVE a b LEFT LEFT [PEXPIRETIME b = Never]"),
        ("LMOVE a b LEFT LEFT", "+x\r\n", &[MISSING], "Recopy"),
        (
            "BLMOVE a b LEFT LEFT 0",
            "+x\r\n",
            &[NEVER],
            "LMOVE a b LEFT LEFT [PEXPIRETIME b = Never]",
        ),
        ("ZINCRBY k 1 m", ",2.5\r\n", &[NEVER], "ZADD k 2.5 m [PEXPIRETIME k = Never]"),
        ("LPUSH k a", ONE, &[], "LPUSH k a"),
    ] {
        assert_eq!(told(line, answer, probes), effect, "{line} {answer:?}");
    }
}

#[test]
fn random_waiting_and_relative_writes_become_explicit() {
    let two = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    let scored = "*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\nm\r\n,1\r\n";
    for (line, answer, probes, effect) in [
        ("SPOP k", "$1\r\na\r\n", &[][..], "SREM k a"),
        ("SPOP k 2", two, &[], "SREM k a b"),
        ("SPOP k 2", "~0\r\n", &[], "Nothing"),
        ("ZPOPMIN k", "*2\r\n$1\r\na\r\n,1\r\n", &[], "ZREM k a"),
        ("ZPOPMIN k 1", "*1\r\n*2\r\n$1\r\na\r\n,1\r\n", &[], "ZREM k a"),
        ("ZMPOP 1 k MIN", scored, &[], "ZREM k m"),
        ("BZPOPMAX j k 0", "*3\r\n$1\r\nk\r\n$1\r\nm\r\n,1\r\n", &[], "ZREM k m"),
        ("BLPOP a c 0", two, &[], "LPOP a"),
        ("BLPOP a c 0", "*-1\r\n", &[], "Nothing"),
        ("LMPOP 1 a RIGHT", "*2\r\n$1\r\na\r\n*1\r\n$1\r\nx\r\n", &[], "RPOP a"),
        ("EXPIRE k 5 NX", ONE, &[AT_5000], "PEXPIREAT k 6000"),
        ("EXPIRE k 5 NX", ZERO, &[AT_5000], "Nothing"),
        ("EXPIRE k -5", ONE, &[MISSING], "DEL k!"),
        ("GETEX k PERSIST", "+v\r\n", &[NEVER], "PERSIST k [PEXPIRETIME k = Never]"),
        ("GETDEL k", "+v\r\n", &[], "DEL k!"),
        ("DELEX k IFEQ v", ONE, &[], "DEL k!"),
        ("INCRBYFLOAT k 1", "$3\r\n2.5\r\n", &[AT_5000], "SET k 2.5 PXAT 6000!"),
        (
            "RESTORE k 5 dump IDLETIME 7",
            OK,
            &[AT_5000],
            "RESTORE k 6000 dump REPLACE ABSTTL IDLETIME 7!",
        ),
        ("FUNCTION LOAD code", "+lib\r\n", &[], "FUNCTION LOAD REPLACE code!"),
        ("MSETNX a 1 b 2", ONE, &[], "MSET a 1 b 2!"),
        ("SUNIONSTORE d a b", ONE, &[], "Recopy"),
        ("EVAL return 1 a", "-ERR halfway\r\n", &[], "Recopy"),
        ("HGETDEL k FIELDS 2 f g", "*2\r\n$-1\r\n$1\r\nv\r\n", &[], "HDEL k g"),
    ] {
        assert_eq!(told(line, answer, probes), effect, "{line} {answer:?}");
    }
}

#[test]
fn fields_that_end_get_the_time_that_the_primary_names() {
    let ends = |line: &str, answer: &str, probes: &[&str]| {
        in_words(&outcome_between(&REDIS_8, line, answer, probes, &REDIS_8))
    };
    let (both_5000, one_5000) = ("*2\r\n:5000\r\n:5000\r\n", "*2\r\n:5000\r\n:-1\r\n");
    for (line, answer, probes, effect) in [
        (
            "HEXPIRE k 5 NX FIELDS 2 f g",
            "*2\r\n:1\r\n:1\r\n",
            &[both_5000][..],
            "HPEXPIREAT k 6000 FIELDS 2 f g",
        ),
        (
            "HEXPIRE k 5 NX FIELDS 2 f g",
            "*2\r\n:1\r\n:0\r\n",
            &[one_5000],
            "HPEXPIREAT k 6000 FIELDS 1 f",
        ),
        ("HEXPIRE k 5 FIELDS 2 f g", "*2\r\n:1\r\n:1\r\n", &[one_5000], "Recopy"),
        ("HEXPIRE k 5 FIELDS 2 f g", "*2\r\n:0\r\n:-2\r\n", &[one_5000], "Nothing"),
        ("HPEXPIREAT k 1 FIELDS 2 f g", "*2\r\n:-2\r\n:2\r\n", &[], "HDEL k g"),
        ("HPEXPIRE k 1 FIELDS 1 f", "*1\r\n:1\r\n", &["*1\r\n:-2\r\n"], "Recopy"),
        ("HPERSIST k FIELDS 1 f", "*1\r\n:1\r\n", &[], "HPERSIST k FIELDS 1 f"),
        (
            "HGETEX k EX 5 FIELDS 2 f g",
            "*2\r\n+v\r\n$-1\r\n",
            &["*2\r\n:5000\r\n:-2\r\n"],
            "HGETEX k PXAT 6000 FIELDS 2 f g",
        ),
        (
            "HGETEX k PERSIST FIELDS 1 f",
            "*1\r\n+v\r\n",
            &["*1\r\n:-1\r\n"],
            "HGETEX k PERSIST FIELDS 1 f",
        ),
        ("HGETEX k EX 5 FIELDS 1 f", "*1\r\n$-1\r\n", &["*1\r\n:-2\r\n"], "Nothing"),
        ("HSETEX k FNX EX 5 FIELDS 1 f v", ZERO, &[NEVER, "*1\r\n:-1\r\n"], "Nothing"),
        (
            "HSETEX k EX 5 FIELDS 2 f v g w",
            ONE,
            &[NEVER, both_5000],
            "HSET k f v g w; HPEXPIREAT k 6000 FIELDS 2 f g [PEXPIRETIME k = Never]",
        ),
        ("HSETEX k KEEPTTL FIELDS 2 f v g w", ONE, &[NEVER, one_5000], "Recopy"),
        (
            "HINCRBYFLOAT k f 1",
            "$1\r\n2\r\n",
            &[NEVER, "*1\r\n:5000\r\n"],
            "HSET k f 2; HPEXPIREAT k 6000 FIELDS 1 f [PEXPIRETIME k = Never]",
        ),
        (
            "HINCRBYFLOAT k f 1",
            "$1\r\n2\r\n",
            &[NEVER, "*1\r\n:-1\r\n"],
            "HSET k f 2 [PEXPIRETIME k = Never]",
        ),
    ] {
        assert_eq!(ends(line, answer, probes), effect, "{line} {answer:?}");
    }
    let told = |line: &str, answer: &str, probe: &str, secondary: &Capabilities| {
        in_words(&outcome_between(&REDIS_8, line, answer, &[NEVER, probe], secondary))
    };
    let (sum, ends) = ("$1\r\n2\r\n", "*1\r\n:5000\r\n");
    assert_eq!(told("HINCRBYFLOAT k f 1", sum, ends, &REDIS_7), "Recopy");
    assert_eq!(told("HSETEX k EX 5 FIELDS 1 f v", ONE, ends, &REDIS_7), "Recopy");
}

#[test]
fn what_is_asked_of_ending_fields_names_them_alone() {
    let asked = |line: &str, primary: &Capabilities| {
        let request = Request::new(line.split(' '));
        let asked = probes(lookup(&request).unwrap(), &request, primary);
        let words = |request: &Request| {
            request.args().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
        };
        asked.iter().map(words).collect::<Vec<_>>().join("; ")
    };
    for (line, questions) in [
        ("HEXPIRE k 5 NX FIELDS 2 f g", "HPEXPIRETIME k FIELDS 2 f g"),
        ("HGETEX k FIELDS 1 f PERSIST", "HPEXPIRETIME k FIELDS 1 f"),
        ("HSETEX k FIELDS 2 f v g w EX 5", "PEXPIRETIME k; HPEXPIRETIME k FIELDS 2 f g"),
        ("HEXPIRE k 5 FIELDS 9 f g", ""),
        ("HEXPIRE k 5 FIELDS 9223372036854775807 f", ""),
        ("HEXPIRE k 5 NX f g", ""),
        ("HINCRBYFLOAT k f 1", "PEXPIRETIME k; HPEXPIRETIME k FIELDS 1 f"),
    ] {
        assert_eq!(asked(line, &REDIS_8), questions, "{line}");
    }
    assert_eq!(asked("HINCRBYFLOAT k f 1", &REDIS_7), "PEXPIRETIME k");
}

#[test]
fn streams_get_their_ids_positions_and_times() {
    let first = "*1\r\n*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
    let time = "*2\r\n$1\r\n7\r\n$4\r\n5000\r\n";
    let groups = "*1\r\n*6\r\n$4\r\nname\r\n$1\r\ng\r\n$17\r\nlast-delivered-id\r\n$3\r\n4-0\r\n\
                  $12\r\nentries-read\r\n:3\r\n";
    let read = &format!("*1\r\n*2\r\n$1\r\nk\r\n{first}");
    for (line, answer, probes, effect) in [
        (
            "XADD k NOMKSTREAM * f v",
            "$3\r\n9-1\r\n",
            &[NEVER][..],
            "XADD k 9-1 f v [PEXPIRETIME k = Never]",
        ),
        ("XADD k NOMKSTREAM * f v", NIL, &[MISSING], "Nothing"),
        (
            "XADD k MAXLEN = 5 * f v",
            "$3\r\n9-1\r\n",
            &[NEVER],
            "XADD k MAXLEN = 5 9-1 f v [PEXPIRETIME k = Never]",
        ),
        (
            "XADD k MAXLEN ~ 5 LIMIT 9 * f v",
            "$3\r\n9-1\r\n",
            &[NEVER, first],
            "XADD k 9-1 f v; XTRIM k MINID 4-0 [PEXPIRETIME k = Never]",
        ),
        ("XADD k MAXLEN ~ 0 * f v", "$3\r\n9-1\r\n", &[NEVER, "*0\r\n"], "Recopy"),
        ("XTRIM k MAXLEN ~ 5", ONE, &[first], "XTRIM k MINID 4-0"),
        ("XTRIM k MAXLEN ~ 5 DELREF", ONE, &[first], "Recopy"),
        ("XREADGROUP GROUP g c CLAIM 5 STREAMS k >", read, &[time], "Recopy"),
        (
            "XGROUP CREATE k g $ MKSTREAM",
            OK,
            &[NEVER, groups],
            "XGROUP CREATE k g 4-0 MKSTREAM ENTRIESREAD 3 [PEXPIRETIME k = Never]",
        ),
        (
            "XREADGROUP GROUP g c STREAMS k >",
            read,
            &[time, groups],
            "XCLAIM k g c 0 4-0 TIME 8005 RETRYCOUNT 1 FORCE JUSTID; XGROUP SETID k g 4-0 ENTRIESREAD 3",
        ),
        (
            "XREADGROUP GROUP g c NOACK STREAMS k >",
            read,
            &[time, groups],
            "XGROUP CREATECONSUMER k g c; XGROUP SETID k g 4-0 ENTRIESREAD 3",
        ),
        ("XREADGROUP GROUP g c STREAMS k 0", read, &[time, groups], "XCLAIM k g c 0 4-0 TIME 8005"),
        ("XREADGROUP GROUP g c STREAMS k >", "*-1\r\n", &[time, groups], "Nothing"),
        ("XCLAIM k g c 9 4-0 IDLE 5 FORCE", first, &[time], "XCLAIM k g c 0 4-0 FORCE TIME 8000"),
        ("XCLAIM k g c 9 4-0 5-0", first, &[time], "Recopy"),
        (
            "XAUTOCLAIM k g c 9 0 JUSTID",
            "*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n4-0\r\n*1\r\n$3\r\n3-0\r\n",
            &[time],
            "XCLAIM k g c 0 4-0 TIME 8005 JUSTID; XACK k g 3-0",
        ),
    ] {
        assert_eq!(told(line, answer, probes), effect, "{line} {answer:?}");
    }
}

#[test]
fn an_older_secondary_is_told_in_its_own_words() {
    let told = |line: &str, answer: &str, probes: &[&str]| {
        in_words(&outcome_on(line, answer, probes, &REDIS_6_0))
    };
    assert_eq!(told("SET k v EX 5", OK, &[AT_5000]), "SET k v; PEXPIREAT k 6000!");
    assert_eq!(told("INCR k", ONE, &[AT_5000]), "INCR k [TIME] [PTTL k = 6000]");
    assert_eq!(
        told("LMOVE a b LEFT RIGHT", "+x\r\n", &[NEVER]),
        "LPOP a; RPUSH b x [TIME] [PTTL b = Never]"
    );
    assert_eq!(told("RPOPLPUSH a b", "+x\r\n", &[NEVER]), "RPOPLPUSH a b [TIME] [PTTL b = Never]");
    let two = "*2\r\n$1\r\na\r\n$1\r\nb\r\n";
    assert_eq!(told("RPOP k 5", two, &[]), "RPOP k; RPOP k");
    let of_a_key = format!("*2\r\n$1\r\nk\r\n{two}");
    assert_eq!(told("LMPOP 1 k LEFT COUNT 2", &of_a_key, &[]), "LPOP k; LPOP k");
    assert_eq!(
        told("XGROUP CREATECONSUMER k g c", ONE, &[]),
        "XREADGROUP GROUP g c STREAMS k 18446744073709551615-0"
    );
    assert_eq!(told("ZADD k GT 1 m", ONE, &[NEVER]), "Recopy");
    assert_eq!(told("XADD k MINID 1 * f v", "+9-1\r\n", &[NEVER]), "Recopy");
    assert_eq!(told("RESTORE k 0 dump", OK, &[NEVER]), "Recopy");
    assert_eq!(told("GETDEL k", "+v\r\n", &[]), "DEL k!");
    assert_eq!(told("FLUSHALL SYNC", OK, &[]), "FLUSHALL!");
    assert_eq!(told("FUNCTION FLUSH", OK, &[]), "Recopy");
}

#[test]
fn parity_is_the_primarys_reply() {
    let Outcome::Apply(effect) = outcome_on("INCR k", ONE, &[NEVER], &REDIS_7) else { panic!() };
    let step = &effect.steps[0];
    assert_eq!(step.expect, Expect::Reply(Digest::of(&Reply::Integer(1))));
    assert!(step.expect.accepts(&reply(ONE), 0) && !step.expect.accepts(&reply(":43\r\n"), 0));
    let check = &effect.checks[0];
    assert!(check.expect.accepts(&reply(NEVER), 0) && !check.expect.accepts(&reply(AT_5000), 0));
}

#[test]
fn a_time_left_is_compared_on_the_secondarys_clock() {
    let outcome = outcome_on("INCR k", ONE, &[AT_5000], &REDIS_6_0);
    let Outcome::Apply(effect) = outcome else { panic!() };
    let [time, left] = effect.checks.as_slice() else { panic!() };
    assert!(time.expect.accepts(&reply("*2\r\n$1\r\n4\r\n$1\r\n0\r\n"), 0));
    assert!(left.expect.accepts(&reply(":2010\r\n"), 4000));
    assert!(!left.expect.accepts(&reply(":2100\r\n"), 4000));
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let text = || "[a-z0-9*-]{0,6}".prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Reply::Null),
        any::<i64>().prop_map(Reply::Integer),
        text().prop_map(Reply::Bulk),
        text().prop_map(Reply::Simple),
        text().prop_map(Reply::Double),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Reply::Array),
            prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Reply::Map),
        ]
    })
}

fn any_argument() -> impl Strategy<Value = String> {
    let words: Vec<_> = "STREAMS GROUP BLOCK STORE BY GET LIMIT MAXLEN ~ = LIMIT * > $ 0 -1 2 \
        9223372036854775807 1-1 DB NX XX KEEPTTL PX IFEQ FIELDS LEFT MKSTREAM JUSTID TIME IDLE"
        .split_whitespace()
        .collect();
    prop_oneof![prop::sample::select(words).prop_map(String::from), "\\PC{0,4}"]
}

proptest! {
    #[test]
    fn hostile_requests_and_replies_never_panic(
        index in 0..table().len(),
        arguments in prop::collection::vec(any_argument(), 0..9),
        reply in any_reply(),
        probes in prop::collection::vec(any_reply(), 0..4),
        old in any::<bool>(),
    ) {
        let command = &table()[index];
        let name = command.name.split(' ').map(String::from);
        let request = Request::new(name.chain(arguments));
        let server = if old { &REDIS_6_0 } else { &REDIS_7 };
        let _ = (command.serve(&request), command.reach(&request), command.keys(&request));
        let _ = super::probes(command, &request, server);
        let _ = outcome(&Executed {
            command,
            request: &request,
            reply: &reply,
            probes: &probes,
            primary: server,
            secondary: server,
            clock_offset: i64::MAX,
        });
    }
}
