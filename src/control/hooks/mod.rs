//! Telling others what happens to a migration, and asking them before a cut-over.
//!
//! *What it is:* executables of a directory, by the name of the event, and an address that gets the
//! same JSON by POST.
//!
//! *Guarantees:* nobody waits for them but the operator who cuts over, for [`PATIENCE`] at most; what
//! they print is bounded, and so is the queue of what they are told; they are given no secret.
//!
//! *Must not know:* what leads to an event.

mod program;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::server::Secret;
use crate::status::Status;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Events that may wait to be told.
const QUEUE: usize = 64;

/// What there is to tell, or to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Clients are about to be handed to the target: whoever fails refuses it.
    BeforeCutover,
    /// The target serves.
    AfterCutover,
    /// The source serves again.
    AfterRollback,
    /// Something new stands in the way of a cut-over.
    OnBlocker,
    /// Another phase.
    OnPhase,
}

impl Hook {
    /// The name of its program, and its name in the JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BeforeCutover => "before-cutover",
            Self::AfterCutover => "after-cutover",
            Self::AfterRollback => "after-rollback",
            Self::OnBlocker => "on-blocker",
            Self::OnPhase => "on-phase",
        }
    }
}

/// An event with all that is told of it.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// Which.
    pub hook: Hook,
    /// What it is about, by names of variables (without `CROSSFADE_`).
    pub facts: Vec<(&'static str, String)>,
    /// How everything stood.
    pub status: Arc<Status>,
}

impl News {
    /// The status, with the event beside its fields.
    fn json(&self) -> Value {
        let mut fields = Map::from_iter([("event".to_owned(), self.hook.name().into())]);
        let facts = self.facts.iter();
        fields.extend(facts.map(|(name, fact)| (name.to_lowercase(), fact.clone().into())));
        if let Ok(Value::Object(status)) = serde_json::to_value(self.status.as_ref()) {
            fields.extend(status);
        }
        Value::Object(fields)
    }
}

/// Who is told.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    programs: Option<PathBuf>,
    queues: Vec<mpsc::Sender<Arc<News>>>,
}

impl Hooks {
    /// Begins to tell.
    pub(crate) fn start(programs: Option<PathBuf>, webhook: Option<Secret>) -> Self {
        let mut queues = Vec::new();
        if let Some(directory) = programs.clone() {
            let (queue, news) = mpsc::channel(QUEUE);
            tokio::spawn(tell_programs(directory, news));
            queues.push(queue);
        }
        if let Some(address) = webhook {
            let (queue, news) = mpsc::channel(QUEUE);
            tokio::spawn(webhook::tell(address, news));
            queues.push(queue);
        }
        Self { programs, queues }
    }

    /// Tells in the background. Whoever has not heard the last [`QUEUE`] events misses this one.
    pub(crate) fn tell(&self, news: News) {
        let news = Arc::new(news);
        for queue in &self.queues {
            if queue.try_send(news.clone()).is_err() {
                warn!(event = news.hook.name(), "a hook is too far behind to be told");
            }
        }
    }

    /// Asks the program, and tells the address.
    ///
    /// # Errors
    /// It says no, or could not be asked: why.
    pub(crate) async fn ask(&self, news: News) -> Result<(), String> {
        self.tell_address(&news);
        let Some(directory) = &self.programs else { return Ok(()) };
        program::run(directory, &news).await
    }

    /// The queue of the address is the last.
    fn tell_address(&self, news: &News) {
        let others = usize::from(self.programs.is_some());
        if let Some(address) = self.queues.get(others) {
            // What could not be told is no reason against a cut-over.
            let _ = address.try_send(Arc::new(news.clone()));
        }
    }
}

async fn tell_programs(directory: PathBuf, mut queue: mpsc::Receiver<Arc<News>>) {
    while let Some(news) = queue.recv().await {
        let event = news.hook.name();
        match program::run(&directory, &news).await {
            Ok(()) => info!(event, "hook is done"),
            Err(reason) => warn!(event, reason, "hook failed"),
        }
    }
}
