//! Fuzzing without a special compiler: inputs from a corpus, mangled at random, into everything that
//! reads what others wrote. Each body says what must hold for any bytes at all.
//!
//! An ordinary run takes a second for each; `CROSSFADE_FUZZ_SECONDS` gives each of them more, and
//! `CROSSFADE_TEST_SEED` repeats a run. The input that broke something is printed. Sequences of
//! operations are the simulation's (`CROSSFADE_SIMULATION_RUNS`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod oracle;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use crossfade::control::{State, StateDir};
use crossfade::protocol::command;
use crossfade::protocol::resp::{Decoder, Frame, Reply, Request, Scanner};
use crossfade::server::Endpoint;
use oracle::Front;
use support::Rng;

/// The longest input, in bytes.
const LIMIT: usize = 2_000;

/// What is spliced in: the letters that parsers decide by, and numbers at the edges.
const TOKENS: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "*",
    "$",
    "+",
    "-",
    ":",
    "%",
    "|",
    ">",
    "~",
    "_",
    "\"",
    "'",
    "\\x",
    "\0",
    "\u{ff}",
    "-1",
    "0",
    "1",
    "1048577",
    "536870913",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
    "*3\r\n$3\r\nSET\r\n",
    "$5\r\nhello\r\n",
    "://",
    "@",
    "%00",
    "[",
    "]",
    "{",
    "}",
    "=",
    "#",
    "\"\"\"",
    "null",
    "hunter2",
    "KEYS",
    "STREAMS",
    "STORE",
    "LIMIT",
    "COUNT",
];

/// Mangles inputs of the corpus until the time is over.
fn fuzz(corpus: &[&[u8]], mut body: impl FnMut(&[u8], &mut Rng)) {
    let seconds = std::env::var("CROSSFADE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(1));
    let mut rng = Rng::seeded(Rng::arbitrary().number());
    let (started, mut runs) = (Instant::now(), 0_u64);
    for input in corpus {
        body(input, &mut rng);
    }
    while started.elapsed() < time {
        let input = mangled(corpus, &mut rng);
        let mut choices = rng.fork();
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| body(&input, &mut choices))) {
            eprintln!("after {runs} inputs: b\"{}\"", input.escape_ascii());
            resume_unwind(failure);
        }
        runs += 1;
    }
    eprintln!("{runs} inputs");
}

fn pick<'a>(corpus: &[&'a [u8]], rng: &mut Rng) -> &'a [u8] {
    corpus[index(rng, corpus.len())]
}

fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound.max(1) as u64)).unwrap()
}

fn mangled(corpus: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    let mut input = pick(corpus, rng).to_vec();
    for _ in 0..=rng.below(6) {
        let (a, b) = (index(rng, input.len() + 1), index(rng, input.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        match rng.below(7) {
            0 if !input.is_empty() => {
                let at = index(rng, input.len());
                input[at] ^= 1 << rng.below(8);
            }
            1 => drop(input.drain(from..to)),
            2 => input.truncate(to),
            3 => {
                let copy = input[from..to].to_vec();
                input.splice(from..from, copy);
            }
            4 => {
                let other = pick(corpus, rng);
                input.splice(from..to, other[index(rng, other.len())..].iter().copied());
            }
            _ => {
                let token = TOKENS[index(rng, TOKENS.len())];
                input.splice(from..from, token.bytes());
            }
        }
        input.truncate(LIMIT);
    }
    input
}

/// Cuts the input where chance wants it and hands over the pieces.
fn pieces<'a>(mut rest: &'a [u8], rng: &mut Rng) -> Vec<&'a [u8]> {
    let most = [1, 2, 7, 100, LIMIT][index(rng, 5)];
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + index(rng, most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What a client's bytes come to: its requests, and the error that ends them.
fn requests(pieces: &[&[u8]], stranger: bool) -> (Vec<Request>, Option<String>) {
    let (mut decoder, mut buffer, mut found) = (Decoder::default(), BytesMut::new(), Vec::new());
    decoder.restrict(stranger);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(request)) => found.push(request),
                Ok(None) => break,
                Err(error) => return (found, Some(error.to_string())),
            }
        }
        assert!(decoder.wanted(&buffer) <= (512 << 20) + 2, "more room than any request needs");
    }
    (found, None)
}

#[test]
fn any_bytes_of_a_client_in_any_pieces_are_the_same_requests() {
    let corpus: [&[u8]; 8] = [
        b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
        b"set a \"b c\\x41\\n\" 'd\\'e'\r\n\r\nget a\n",
        b"*0\r\n*-1\r\n*8\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$1\r\nc\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\nt\r\n$1\r\n>\r\n",
        b"*6\r\n$4\r\nEVAL\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        b"*5\r\n$11\r\nZUNIONSTORE\r\n$1\r\nd\r\n$1\r\n2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*6\r\n$4\r\nSORT\r\n$1\r\na\r\n$2\r\nBY\r\n$1\r\nx\r\n$5\r\nSTORE\r\n$1\r\nd\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    ];
    fuzz(&corpus, |input, rng| {
        let stranger = rng.one_in(4);
        let whole = requests(&[input], stranger);
        assert_eq!(requests(&pieces(input, rng), stranger), whole);
        for request in &whole.0 {
            assert!(!request.is_empty());
            let same = oracle::is_request(request.raw(), request);
            assert!(same || oracle::on_purpose_in_requests(request.raw()).is_some(), "{request:?}");
            let again = requests(&[request.raw()], false);
            assert_eq!(again, (vec![request.clone()], None), "what is forwarded is what was meant");
            if let Some(command) = command::lookup(request) {
                let _any = (command.serve(request), command.keys(request).is_ok());
            }
        }
    });
}

/// What a server's bytes come to.
fn replies(pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
    let (mut scanner, mut buffer, mut found) = (Scanner::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match scanner.next(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

#[test]
fn any_bytes_of_a_server_in_any_pieces_are_the_same_replies() {
    let corpus: [&[u8]; 7] = [
        b"+OK\r\n-ERR no\r\n:1\r\n$3\r\na\r\n\r\n$-1\r\n",
        b"*3\r\n*-1\r\n*2\r\n:1\r\n$0\r\n\r\n_\r\n",
        b"%1\r\n+a\r\n~1\r\n,1.5\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*1\r\n#t\r\n",
        b">2\r\n+invalidate\r\n*0\r\n",
        b"(3492890328409238509324850943850943825024385\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ];
    fuzz(&corpus, |input, rng| {
        let whole = replies(&[input]);
        assert_eq!(replies(&pieces(input, rng)), whole);
        for frame in &whole.0 {
            if let Ok(reply) = Reply::parse(&frame.raw) {
                assert!(reply.says_the_same_as(&reply) || format!("{reply:?}").contains("NaN"));
            }
        }
        // What is no whole reply is refused, not believed.
        let _any = Reply::parse(&Bytes::copy_from_slice(input));
    });
}

/// Our reading of the front of a server's bytes.
fn front(pieces: &[&[u8]]) -> Front<Reply> {
    let (found, refused) = replies(pieces);
    match found.first() {
        Some(frame) => match Reply::parse(&frame.raw) {
            Ok(reply) => Front::Whole(frame.raw.len(), reply),
            Err(_) => Front::Refused,
        },
        None if refused => Front::Refused,
        None => Front::Part,
    }
}

#[test]
fn any_bytes_of_a_server_say_what_another_reader_makes_of_them() {
    let corpus: [&[u8]; 8] = [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-1\r\n",
        b"*4\r\n*-1\r\n*2\r\n:1\r\n$0\r\n\r\n$-1\r\n$3\r\na\r\n\r\n",
        b"%2\r\n+a\r\n~2\r\n,1.5\r\n,inf\r\n$1\r\nb\r\n_\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*1\r\n#t\r\n",
        b">2\r\n+invalidate\r\n*0\r\n",
        b"*3\r\n(3492890328409238509324850943850943825024385\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\n",
    ];
    let (mut both, mut one) = (0_u64, 0_u64);
    fuzz(&corpus, |input, rng| {
        let ours = front(&pieces(input, rng));
        // The oracle recurses on what it reads.
        if input.iter().filter(|byte| b"*~>%|".contains(byte)).count() > 64 {
            return;
        }
        let theirs = oracle::front(&Bytes::copy_from_slice(input));
        match (&ours, &theirs) {
            (Front::Whole(length, ours), Front::Whole(same, theirs)) => {
                assert_eq!(length, same, "the same end of {ours:?}");
                assert!(oracle::agree(ours, theirs), "{ours:?} is not {theirs:?}");
                both += 1;
            }
            // The scanner finds ends, and does not look inside before the end is there.
            (Front::Part, Front::Part | Front::Refused) | (Front::Refused, Front::Refused) => {}
            _ => {
                let reason = oracle::on_purpose(input);
                assert!(reason.is_some(), "ours: {ours:?}, theirs: {theirs:?}");
                one += 1;
            }
        }
    });
    eprintln!("{both} replies understood by both, {one} by one of the two on purpose");
    assert!(both > 0);
}

#[test]
fn any_url_is_understood_or_refused_without_telling_its_password() {
    let corpus: [&[u8]; 5] = [
        b"redis://user:hunter2@host:6379/3",
        b"rediss://:hunter2@[::1]:1",
        b"unix://u:hunter2@/tmp/redis.sock?db=2",
        b"redis://al%40ice:hunter2%2F@db.example",
        b"REDIS://h",
    ];
    fuzz(&corpus, |input, _| {
        let url = String::from_utf8_lossy(input);
        match url.parse::<Endpoint>() {
            // The user may be named like the password; the password itself is not shown.
            Ok(endpoint) => assert!(format!("{:?}", endpoint.password).len() < 20),
            Err(error) => assert!(!error.to_string().contains("hunter2"), "{error}"),
        }
    });
}

#[test]
fn any_file_of_options_is_read_or_refused_with_a_reason() {
    let corpus: [&[u8]; 3] = [
        b"source = \"redis://old:6379\"\ntarget = \"redis://:hunter2@new:6379\"\nmirror-buffer = \"1gib\"\n",
        b"source_password = \"hunter2\"\nlisten = \"127.0.0.1:0\"\nadmin = \"[::1]:1\"\nadmin-token = 'hunter2'\n",
        b"databases = [0, 1]\nmax-clients = 5\nallow-admin = true\nack = 'both'\nbackfill-rate = 7\n[a.b]\nc = 1\n",
    ];
    let file = tempfile::NamedTempFile::new().unwrap();
    let options: toml::Table = format!("config = '{}'", file.path().display()).parse().unwrap();
    fuzz(&corpus, |input, _| {
        std::fs::write(file.path(), input).unwrap();
        let variables = [("CROSSFADE_TARGET_PASSWORD".to_owned(), "hunter2".to_owned())];
        match crossfade::config::read(&options, variables) {
            Ok(config) => {
                let _listen = config.listen;
            }
            Err(faults) => assert!(!faults.to_string().is_empty()),
        }
    });
}

#[test]
fn any_state_file_is_understood_or_refused_by_name() {
    let mine = State::new("a:1".to_owned(), "b:2".to_owned(), "All".to_owned(), [7; 8]);
    let home = tempfile::tempdir().unwrap();
    let directory = StateDir::open(home.path()).unwrap();
    directory.save(&mine).unwrap();
    let good = std::fs::read(home.path().join("state.json")).unwrap();
    fuzz(&[&good, b"{\"version\": 1}", b"[]", b""], |input, _| {
        std::fs::write(home.path().join("state.json"), input).unwrap();
        match directory.load(&mine) {
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("state.json"), "{error}"),
        }
    });
}
