//! What the parts of a command's way through the proxy cost: finding requests and replies in bytes,
//! knowing the command and its keys, telling its effect, marking its key.
//!
//! `cargo bench --bench parts` compares with the last run on this machine. A budget to hold them
//! against: a server spends less than a microsecond on a pipelined command.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput};
use crossfade::engine::effect::{self, Executed};
use crossfade::engine::ledger::{Groups, Ledger, Seed, State};
use crossfade::protocol::capability::Capabilities;
use crossfade::protocol::command;
use crossfade::protocol::resp::{Decoder, Reply, Request, Scanner};

const PIPELINE: u64 = 1000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decoding(&mut criterion);
    scanning(&mut criterion);
    commands(&mut criterion);
    effects(&mut criterion);
    ledger(&mut criterion);
    claims(&mut criterion);
    criterion.final_summary();
}

fn set() -> Request {
    Request::new(["SET", "user:1234567", &"v".repeat(64)])
}

/// The same bytes many times over, as one read of a busy connection has them.
fn pipeline(once: &[u8]) -> BytesMut {
    BytesMut::from(once.repeat(usize::try_from(PIPELINE).unwrap_or(0)).as_slice())
}

fn decoding(criterion: &mut Criterion) {
    let buffer = pipeline(set().raw());
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(PIPELINE));
    group.bench_function("pipelined SET of 64 bytes", |bencher| {
        let run = |mut buffer: BytesMut| {
            let mut decoder = Decoder::default();
            while let Ok(Some(request)) = decoder.next(&mut buffer) {
                black_box(request);
            }
        };
        bencher.iter_batched(|| buffer.clone(), run, BatchSize::SmallInput);
    });
}

fn scanning(criterion: &mut Criterion) {
    let buffer = pipeline(b"+OK\r\n");
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(PIPELINE));
    group.bench_function("pipelined +OK", |bencher| {
        let run = |mut buffer: BytesMut| {
            let mut scanner = Scanner::default();
            while let Ok(Some(frame)) = scanner.next(&mut buffer) {
                black_box(frame);
            }
        };
        bencher.iter_batched(|| buffer.clone(), run, BatchSize::SmallInput);
    });
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command and keys");
    for (name, request) in [
        ("SET", set()),
        ("MSET of 10", Request::new(["MSET"].into_iter().chain(["key:1234"; 20]))),
        ("EVAL of 2", Request::new(["EVAL", "return 1", "2", "key:1", "key:2", "argument"])),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| command::lookup(black_box(&request)).map(|found| found.keys(&request)));
        });
    }
}

fn effects(criterion: &mut Criterion) {
    let servers = Capabilities { version: (7, 0, 0), ..Capabilities::default() };
    let mut group = criterion.benchmark_group("effect");
    for (name, request, reply) in [
        ("SET", set(), Reply::Simple("OK".into())),
        ("INCR", Request::new(["INCR", "counter"]), Reply::Integer(42)),
        ("SPOP", Request::new(["SPOP", "set"]), Reply::Bulk("member".into())),
    ] {
        let Some(command) = command::lookup(&request) else { continue };
        // No expiry, to each that is asked about.
        let probes = effect::probes(command, &request, &servers).len();
        let probes = vec![Reply::Integer(-1); probes];
        let executed = Executed {
            command,
            request: &request,
            reply: &reply,
            probes: &probes,
            primary: &servers,
            secondary: &servers,
            clock_offset: 0,
        };
        group.bench_function(name, |bencher| bencher.iter(|| effect::of(black_box(&executed))));
    }
}

fn ledger(criterion: &mut Criterion) {
    let (mut ledger, seed) = (Ledger::new(Groups::default()), Seed::from_bytes([7; 8]));
    for number in 0..1_000_000_u32 {
        ledger.set(0, seed.fingerprint(0, &number.to_le_bytes()), State::Migrated);
    }
    let mut number = 0_u32;
    criterion.bench_function("ledger: state of a key among a million marks", |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(7919) % 1_000_000;
            ledger.state(0, seed.fingerprint(0, &number.to_le_bytes()))
        });
    });
}

/// Keys claimed together, as a backfill does.
const BATCH: usize = 128;

/// What marking one more key costs, from the first to so many: it must not grow with their number.
fn claims(criterion: &mut Criterion) {
    let seed = Seed::from_bytes([7; 8]);
    let mut group = criterion.benchmark_group("ledger: claim and settle each key");
    group.sample_size(10);
    for keys in [1_000_000_u32, 20_000_000] {
        group.throughput(Throughput::Elements(u64::from(keys)));
        group.bench_function(format!("{keys} keys"), |bencher| {
            bencher.iter(|| {
                let mut ledger = Ledger::new(Groups::default());
                for first in (0..keys).step_by(BATCH) {
                    let batch = first..first + BATCH as u32;
                    let batch = batch.map(|number| seed.fingerprint(0, &number.to_le_bytes()));
                    let batch: Vec<_> = batch.collect();
                    ledger.marks().fetch(batch.iter().copied());
                    for key in &batch {
                        black_box(ledger.claim(0, *key));
                    }
                    for key in &batch {
                        black_box(ledger.settle(0, *key));
                    }
                }
                assert!(ledger.bytes() / keys as usize <= 24, "{} bytes", ledger.bytes());
                ledger
            });
        });
    }
    group.finish();
}
