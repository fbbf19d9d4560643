//! Shadow reads: what clients read is asked of the secondary too, and compared.
//!
//! *What it is:* a sampled read comes here with the primary's answer. When the secondary has all that
//! the primary had done before it was asked, it is asked the same. Where the answers differ both
//! servers are asked once more, with the ends of the keys; only what differs then is a difference. Its
//! keys are copied again.
//!
//! *Guarantees:* a difference that is counted is one, whatever clients, copies and expiry do meanwhile:
//! an answer counts only if its keys were at rest from before the primary was asked until the secondary
//! had answered ([`Witness`](crate::engine::Witness)). No client waits, and nothing grows.
//!
//! *Must not know:* phases, clients.

mod lines;
mod second_look;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::engine::Cause;
use crate::lane::{Sample, SharedEngine};
use crate::protocol::capability::{Capabilities, Since};
use crate::protocol::databases::Databases;
use crate::server::Endpoint;

use lines::{Answer, Lines, PATIENCE};
use second_look::SecondLook;
use tally::Outcome;

pub(crate) use tally::{ReadTally, Unlike};

/// Reads that the secondary is asked at once: more, and each would wait for the others.
const BATCH: usize = 32;
/// Answers that differ and wait for a second look.
const SUSPECTS: usize = 64;
/// After a secondary that can't be asked.
const PAUSE: Duration = Duration::from_millis(500);
/// Servers on which a field of a hash may end by itself.
const FIELDS_END: Since = Since { redis: Some((7, 4)), valkey: Some((9, 0)) };
/// Differences that are named in the log.
const NAMED: u64 = 50;

/// What is asked, of whom.
#[derive(Debug)]
pub(crate) struct Shadowing {
    /// The engine between the two, and the reads.
    pub engine: Arc<SharedEngine>,
    /// Who serves.
    pub primary: (Endpoint, Capabilities),
    /// Who follows.
    pub secondary: Endpoint,
    /// From the primary's numbers to the secondary's.
    pub databases: Databases,
    /// How far the ends of a key may lie apart.
    pub tolerance: Duration,
    /// Whether the primary is the source.
    pub from_source: bool,
    /// What has come of it.
    pub tally: Arc<ReadTally>,
}

impl Shadowing {
    /// Asks until it is stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (suspects, suspected) = mpsc::channel(SUSPECTS);
        let work = async { tokio::join!(self.ask(suspects), self.look_again(suspected)) };
        tokio::select! {
            _ = work => {}
            () = stop.cancelled() => {}
        }
    }

    async fn ask(&self, suspects: mpsc::Sender<Sample>) {
        let mut lines = Lines::to(self.secondary.clone(), self.databases.clone());
        loop {
            let mut samples = self.engine.shadow.take(BATCH).await;
            self.wait_for_effects(&samples).await;
            self.keep_borne_out(&mut samples);
            samples.sort_by_key(|sample| lines.of(sample));
            let answers = Self::answers(&samples, &mut lines).await;
            self.judge(samples, answers, &suspects);
        }
    }

    /// Waits until the secondary has what the primary had done before; not for long.
    async fn wait_for_effects(&self, samples: &[Sample]) {
        let arrived = self.engine.until(|engine| {
            samples.iter().all(|sample| engine.has_caught_up_with(&sample.witness))
        });
        let _ = timeout(PATIENCE, arrived).await;
    }

    /// Lets those go of which nothing can be learnt any more.
    fn keep_borne_out(&self, samples: &mut Vec<Sample>) {
        let before = samples.len();
        self.engine.look(|engine| {
            samples.retain(|sample| {
                engine.has_caught_up_with(&sample.witness) && engine.bears_out(&sample.witness)
            });
        });
        self.tally.count(Outcome::Discarded, before - samples.len());
    }

    /// What the secondary says to each.
    async fn answers(samples: &[Sample], lines: &mut Lines) -> Vec<Option<Answer>> {
        let mut answers = Vec::with_capacity(samples.len());
        for alike in samples.chunk_by(|a, b| lines.of(a) == lines.of(b)).collect::<Vec<_>>() {
            let Some(line) = alike.first().map(|sample| lines.of(sample)) else { continue };
            let requests = alike.iter().map(|sample| &sample.request);
            if let Some(told) = lines.ask(line, requests).await {
                answers.extend(told.into_iter().map(Some));
            } else {
                answers.extend(alike.iter().map(|_| None));
                sleep(PAUSE).await;
            }
        }
        answers
    }

    fn judge(
        &self,
        samples: Vec<Sample>,
        answers: Vec<Option<Answer>>,
        suspects: &mpsc::Sender<Sample>,
    ) {
        let borne_out: Vec<bool> = self.engine.look(|engine| {
            samples.iter().map(|sample| engine.bears_out(&sample.witness)).collect()
        });
        for ((sample, answer), borne_out) in samples.into_iter().zip(answers).zip(borne_out) {
            if let Some(answer) = &answer {
                self.tally.took(self.from_source, sample.took, answer.took);
            }
            let counts = answer.filter(|_| borne_out);
            let outcome =
                counts.map_or(Some(Outcome::Discarded), |answer| outcome(&sample, &answer));
            let outcome = match outcome {
                None => suspects.try_send(sample).err().map(|_| Outcome::Discarded),
                known => known,
            };
            if let Some(outcome) = outcome {
                self.tally.count(outcome, 1);
            }
        }
    }

    async fn look_again(&self, mut suspects: mpsc::Receiver<Sample>) {
        let mut second_look = SecondLook {
            engine: self.engine.clone(),
            primary: Lines::to(self.primary.0.clone(), Databases::All),
            secondary: Lines::to(self.secondary.clone(), self.databases.clone()),
            fields_end: self.primary.1.knows(FIELDS_END),
            tolerance: self.tolerance,
        };
        while let Some(sample) = suspects.recv().await {
            let outcome = second_look.settle(&sample).await;
            if outcome == Outcome::Different {
                self.found(&sample);
            }
            self.tally.count(outcome, 1);
        }
    }

    /// The servers really differ.
    fn found(&self, sample: &Sample) {
        let unlike = Unlike::of(sample);
        if self.tally.different() < NAMED {
            let Unlike { db, key, command } = &unlike;
            warn!(db, %key, %command, "the secondary answers a read otherwise; its keys are copied again");
        }
        self.tally.keep(unlike);
        self.engine.with(|engine| {
            for key in sample.witness.keys() {
                let named = engine.key_ref(sample.db, key.clone());
                engine.mark_dirty(&named, Cause::Shadow);
            }
        });
    }
}

/// What comes of the secondary's answer; `None` when it differs, or may.
fn outcome(sample: &Sample, answer: &Answer) -> Option<Outcome> {
    match sample.likeness.holds(&sample.reply, &answer.reply) {
        Some(true) => Some(Outcome::Equal),
        _ if answer.is_refusal() => Some(Outcome::Refused),
        Some(false) => None,
        None => Some(Outcome::Discarded),
    }
}
