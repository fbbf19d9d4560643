//! The connection on which the primary tells which keys are written.

use bytes::Bytes;

use super::model::{Server, Word};
use crate::engine::{Cause, Engine};

#[derive(Default)]
pub(super) struct Tracker {
    /// A question, and whether the primary has read it.
    asked: Option<(u64, bool)>,
}

impl Tracker {
    /// Begins to listen; gives up what an earlier connection heard.
    pub(super) fn connect(&mut self, primary: &mut Server) {
        primary.words = Some(std::collections::VecDeque::new());
        self.asked = None;
    }

    /// The connection breaks.
    pub(super) fn cut(&mut self, engine: &mut Engine, primary: &mut Server) {
        if primary.words.take().is_some() && engine.scripts_are_open() {
            engine.distrust(Cause::Unknown);
        }
        self.asked = None;
    }

    /// One word arrives, or a question goes out.
    pub(super) fn go_on(&mut self, engine: &mut Engine, primary: &mut Server, listens: bool) {
        let reading = primary.reading();
        let Some(words) = &mut primary.words else { return };
        if listens && let Some(word) = words.pop_front() {
            return self.hear(engine, word);
        }
        match &mut self.asked {
            None => self.asked = engine.unfenced_scripts().map(|count| (count, false)),
            Some((count, read)) if !*read => {
                *read = true;
                words.push_back(Word::Answer(*count, reading));
            }
            Some(_) => {}
        }
    }

    fn hear(&mut self, engine: &mut Engine, word: Word) {
        match word {
            Word::Written(key) => engine.written_by_scripts(&[Bytes::clone(&key)]),
            Word::Emptied => {}
            Word::Answer(count, _) => {
                self.asked = None;
                engine.scripts_fenced(count);
            }
        }
    }
}
