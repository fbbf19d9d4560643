//! Clients that keep a record of what they were told.
//!
//! Some write anything at all, and are judged by the comparison of the servers alone. The others each
//! keep a journal, a list to which they append numbers: what was acknowledged must be in it, in order
//! and once, and what was refused must not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Dialect, Resp, Rng, Server, Value, random_write, wait_until};

const JOURNALS: usize = 3;
const SCRIBBLERS: usize = 2;

/// A pause between two steps, so that two servers and a proxy keep pace on a small machine.
const BREATH: Duration = Duration::from_millis(1);

/// What became of an entry.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Acknowledged(Instant),
    Refused,
    /// The connection broke before the answer.
    Unknown,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    answered: AtomicU64,
    journals: [Mutex<Vec<Fate>>; JOURNALS],
    /// What no client should have seen while the primary was well.
    harm: Mutex<Vec<String>>,
}

/// The running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients on the address.
    pub(crate) fn start(address: &str, rng: &mut Rng) -> Self {
        let shared = Arc::new(Shared::default());
        let scribblers = (0..SCRIBBLERS).map(|_| {
            let (mut client, mut rng) = (Client::new(address, &shared), rng.fork());
            std::thread::spawn(move || client.scribble(&mut rng))
        });
        let journals = (0..JOURNALS).map(|index| {
            let mut client = Client::new(address, &shared);
            std::thread::spawn(move || client.keep_journal(index))
        });
        let threads = scribblers.chain(journals).collect();
        Self { shared, threads }
    }

    /// Waits until so many more requests have been answered well.
    pub(crate) fn run_for(&self, commands: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + commands;
        wait_until("the clients are served", || {
            self.shared.answered.load(Ordering::Relaxed) >= goal
        });
    }

    /// Stops the clients; what they saw is in the record.
    pub(crate) fn stop(self) -> Record {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        let journals = self.shared.journals.iter().map(|journal| journal.lock().unwrap().clone());
        let harm = self.shared.harm.lock().unwrap().clone();
        Record { journals: journals.collect(), harm }
    }
}

/// What clients were told.
pub(crate) struct Record {
    journals: Vec<Vec<Fate>>,
    harm: Vec<String>,
}

impl Record {
    /// Fails when a client was refused or dropped.
    pub(crate) fn assert_no_harm(&self) {
        let first: Vec<&String> = self.harm.iter().take(3).collect();
        assert!(first.is_empty(), "clients were harmed {} times: {first:?}", self.harm.len());
    }

    /// Holds a server against what clients were told. What was acknowledged between the two moments
    /// may be missing: the server that knew it is gone.
    pub(crate) fn assert_kept(&self, server: &Server, lost: Option<(Instant, Instant)>) {
        for (index, fates) in self.journals.iter().enumerate() {
            let journal = server.ok(format!("LRANGE journal:{index} 0 -1")).texts();
            let journal: Vec<usize> = journal.iter().map(|entry| entry.parse().unwrap()).collect();
            assert!(journal.is_sorted_by(|a, b| a < b), "journal {index}: reordered or doubled");
            for (entry, fate) in fates.iter().enumerate() {
                let kept = journal.binary_search(&entry).is_ok();
                match fate {
                    Fate::Acknowledged(at) => {
                        let excused = lost.is_some_and(|(from, to)| (from..=to).contains(at));
                        assert!(
                            kept || excused,
                            "journal {index}: {entry} was acknowledged, and lost"
                        );
                    }
                    Fate::Refused => {
                        assert!(!kept, "journal {index}: {entry} was refused, and is there");
                    }
                    Fate::Unknown => {}
                }
            }
        }
    }
}

/// A client that comes back when it is dropped.
struct Client {
    address: String,
    connection: Option<Resp>,
    shared: Arc<Shared>,
}

impl Client {
    fn new(address: &str, shared: &Arc<Shared>) -> Self {
        Self { address: address.to_owned(), connection: None, shared: Arc::clone(shared) }
    }

    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// One request; `None` when the connection broke.
    fn call(&mut self, request: Vec<Vec<u8>>) -> Option<Value> {
        std::thread::sleep(BREATH);
        if self.connection.is_none() {
            self.connection = Resp::try_connect(&self.address).ok();
        }
        let answer = self.connection.as_mut()?.try_call(request);
        let harm = match answer {
            Ok(Value::Error(error)) if is_harm(&error) => {
                self.note(String::from_utf8_lossy(&error).into_owned());
                return Some(Value::Error(error));
            }
            Ok(reply) => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                return Some(reply);
            }
            Err(error) => error.to_string(),
        };
        self.note(harm);
        self.connection = None;
        None
    }

    fn note(&self, harm: String) {
        self.shared.harm.lock().unwrap().push(harm);
    }

    fn scribble(&mut self, rng: &mut Rng) {
        while !self.is_over() {
            self.call(random_write(rng, Dialect::FULL));
        }
    }

    fn keep_journal(&mut self, index: usize) {
        let mut entry = 0_usize;
        while !self.is_over() {
            let request = format!("RPUSH journal:{index} {entry}");
            let request = request.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let fate = match self.call(request) {
                Some(Value::Integer(_)) => Fate::Acknowledged(Instant::now()),
                Some(_) => Fate::Refused,
                None => Fate::Unknown,
            };
            self.shared.journals[index].lock().unwrap().push(fate);
            entry += 1;
        }
    }
}

/// An error that a healthy server would not have given.
fn is_harm(error: &[u8]) -> bool {
    let error = String::from_utf8_lossy(error);
    ["crossfade", "OOM", "READONLY", "NOPERM", "LOADING"].iter().any(|word| error.contains(word))
}
