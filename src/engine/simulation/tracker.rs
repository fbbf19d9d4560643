//! The connection on which the primary tells which keys are written.

use super::model::{Server, Word};
use super::trace;
use crate::engine::{Engine, Question, Woken};

#[derive(Default)]
pub(super) struct Tracker {
    asked: Option<Asked>,
}

struct Asked {
    /// `None`: the question with which a connection begins.
    question: Option<Question>,
    /// Whether the primary has answered.
    read: bool,
}

impl Tracker {
    pub(super) fn connect(&mut self, primary: &mut Server) {
        primary.words = Some(std::collections::VecDeque::new());
        self.asked = Some(Asked { question: None, read: false });
    }

    pub(super) fn cut(&mut self, engine: &mut Engine, primary: &mut Server) {
        if primary.words.take().is_some() {
            engine.tracking_ended();
        }
        *self = Self::default();
    }

    /// A word arrives (`listens`), or a question goes out and is answered.
    pub(super) fn go_on(
        &mut self,
        engine: &mut Engine,
        primary: &mut Server,
        listens: bool,
    ) -> Woken {
        let reading = primary.reading();
        let Some(words) = &mut primary.words else { return Woken::new() };
        if listens && let Some(word) = words.pop_front() {
            return self.hear(engine, word);
        }
        match &mut self.asked {
            None => {
                let question = engine.question();
                self.asked = question.map(|asked| Asked { question: Some(asked), read: false });
            }
            Some(asked) if !asked.read => {
                asked.read = true;
                words.push_back(Word::Answer(reading));
            }
            Some(_) => {}
        }
        Woken::new()
    }

    fn hear(&mut self, engine: &mut Engine, word: Word) -> Woken {
        trace(|| format!("told {word:?}"));
        match word {
            Word::Written(key) => engine.keys_were_written(&[key]),
            Word::Emptied => engine.keys_were_flushed(),
            Word::Answer(reading) => {
                let asked = self.asked.take().expect("a question");
                return match asked.question {
                    None => engine.tracking_began(&reading),
                    Some(question) => engine.answered(question, &reading),
                };
            }
        }
        Woken::new()
    }
}
