//! Clients that know what they must see, whichever server serves them: nothing acknowledged is lost, done
//! twice or reordered, no command fails and no connection drops, across any number of flips.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::resp::{Resp, Value};
use super::server::Server;
use super::wait_until;

const COUNTERS: usize = 3;
const QUEUE: &str = "invariant:queue";

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    producers_done: AtomicBool,
    rounds: AtomicU64,
    increments: [AtomicU64; COUNTERS],
    journal: AtomicU64,
    produced: AtomicU64,
    consumed: Mutex<Vec<u64>>,
    lock_holders: AtomicU64,
}

/// The running clients.
pub struct Invariants {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

impl Invariants {
    /// Starts the clients on the address.
    pub fn start(address: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |body: fn(&mut Resp, &Shared), resp3: bool| {
            let shared = Arc::clone(&shared);
            let mut client =
                if resp3 { Resp::connect_resp3(address) } else { Resp::connect(address) };
            std::thread::spawn(move || body(&mut client, &shared))
        };
        let clients = vec![
            start(count, false),
            start(count, true),
            start(keep_journal, false),
            start(read_own_writes, true),
            start(lock, false),
            start(lock, true),
            start(produce, false),
        ];
        let consumers = vec![start(consume, false), start(consume, true)];
        Self { shared, clients, consumers }
    }

    /// Waits until the clients have gone round so many more times.
    pub fn run_for(&self, rounds: u64) {
        let goal = self.rounds() + rounds;
        wait_until("the invariants' clients have gone round", || {
            self.rounds() >= goal || self.clients.iter().any(JoinHandle::is_finished)
        });
    }

    /// Stops the clients and holds the server that serves now against what they were told.
    pub fn finish(self, primary: &Server) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(join);
        self.shared.producers_done.store(true, Ordering::Relaxed);
        self.consumers.into_iter().for_each(join);
        let mut client = primary.client();
        check_counters(&mut client, &self.shared);
        check_journal(&mut client, &self.shared);
        check_queue(&self.shared);
    }

    fn rounds(&self) -> u64 {
        self.shared.rounds.load(Ordering::Relaxed)
    }
}

fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Shared {
    /// True until the end, counting a round.
    fn goes_on(&self) -> bool {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        !self.over.load(Ordering::Relaxed)
    }
}

fn count(client: &mut Resp, shared: &Shared) {
    while shared.goes_on() {
        let requests = (0..COUNTERS).map(|index| format!("INCR invariant:counter:{index}"));
        for (reply, acknowledged) in client.pipeline(requests).iter().zip(&shared.increments) {
            assert!(matches!(reply, Value::Integer(_)), "INCR: {reply:?}");
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn check_counters(client: &mut Resp, shared: &Shared) {
    for (index, acknowledged) in shared.increments.iter().enumerate() {
        let value = client.ok(format!("GET invariant:counter:{index}")).integer();
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        assert_eq!(
            value.cast_unsigned(),
            acknowledged,
            "counter {index} lost or doubled increments"
        );
    }
}

fn keep_journal(client: &mut Resp, shared: &Shared) {
    while shared.goes_on() {
        let next = shared.journal.load(Ordering::Relaxed);
        let length = client.ok(format!("RPUSH invariant:journal {next}")).integer();
        assert_eq!(length.cast_unsigned(), next + 1, "the journal's length");
        shared.journal.store(next + 1, Ordering::Relaxed);
    }
}

fn check_journal(client: &mut Resp, shared: &Shared) {
    let journal = client.ok("LRANGE invariant:journal 0 -1").texts();
    let expected: Vec<String> =
        (0..shared.journal.load(Ordering::Relaxed)).map(|entry| entry.to_string()).collect();
    assert!(journal == expected, "the journal lost, doubled or reordered entries: {journal:?}");
}

fn read_own_writes(client: &mut Resp, shared: &Shared) {
    let mut value = 0_i64;
    while shared.goes_on() {
        value += 1;
        client.ok(format!("SET invariant:own {value}"));
        assert_eq!(client.ok("GET invariant:own").integer(), value, "a client reads what it wrote");
        let set = format!("SET invariant:own {value} EX 100");
        let replies = client.pipeline([set, "GET invariant:own".to_owned()]);
        assert_eq!(replies[1].integer(), value, "and in a pipeline");
    }
}

fn lock(client: &mut Resp, shared: &Shared) {
    const UNLOCK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
    let token = format!("{:?}", std::thread::current().id());
    while shared.goes_on() {
        let answer = client.ok(["SET", "invariant:lock", &token, "NX", "PX", "60000"]);
        if answer == Value::Null {
            continue;
        }
        let holders = shared.lock_holders.fetch_add(1, Ordering::SeqCst);
        assert_eq!(holders, 0, "two clients hold one lock");
        shared.lock_holders.fetch_sub(1, Ordering::SeqCst);
        let freed = client.ok(["EVAL", UNLOCK, "1", "invariant:lock", &token]);
        assert_eq!(freed, Value::Integer(1), "the lock was taken from its holder");
    }
}

fn produce(client: &mut Resp, shared: &Shared) {
    while shared.goes_on() {
        let element = shared.produced.load(Ordering::Relaxed);
        client.ok(format!("RPUSH {QUEUE} {element}"));
        shared.produced.store(element + 1, Ordering::Relaxed);
    }
}

/// Pops until the producers are done and the queue is empty.
fn consume(client: &mut Resp, shared: &Shared) {
    loop {
        let last = shared.producers_done.load(Ordering::Relaxed);
        match client.ok(format!("BLPOP {QUEUE} 0.2")) {
            Value::Null if last => return,
            Value::Null => {}
            popped => {
                let element = popped.elements()[1].integer().cast_unsigned();
                shared.consumed.lock().unwrap().push(element);
            }
        }
    }
}

fn check_queue(shared: &Shared) {
    let consumed = shared.consumed.lock().unwrap();
    let produced = shared.produced.load(Ordering::Relaxed);
    let distinct: BTreeSet<u64> = consumed.iter().copied().collect();
    let lost: Vec<u64> = (0..produced).filter(|element| !distinct.contains(element)).collect();
    assert!(lost.is_empty(), "{} of {produced} elements lost: {lost:?}", lost.len());
    assert_eq!(consumed.len(), distinct.len(), "elements were delivered twice");
}
