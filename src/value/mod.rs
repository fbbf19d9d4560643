//! Values read, written and compared by the commands of their types.
//!
//! For what can't travel as a payload: a layout that the other server does not know, a value too
//! big to be dumped in one step. [`Reader`] asks one server for a value part by part, [`Writing`]
//! (pure) turns parts into commands that build it under a temporary key and rename it into place,
//! [`Transcription`] joins the two, and [`Comparer`] holds two servers' values against each other.
//!
//! *Guarantees:* nobody sees half a value under its own key; no step holds much more than
//! a mebibyte, unless one element is larger; a value of an unknown type is refused, never cut.
//!
//! *Must not know:* migration, which server is primary, why a value is wanted.

mod answer;
mod by_element;
mod by_value;
mod comparer;
pub mod diff;
mod key_info;
mod pace;
mod reader;
mod scratch;
mod stream;
mod transcribe;
mod walk;
mod writing;

pub use answer::{Fault, ReadError};
pub use comparer::{CompareError, Comparer, Side, Verdict};
pub(crate) use key_info::{KeyInfo, Type, key_info};
pub(crate) use reader::Reader;
pub use scratch::probe;
pub(crate) use scratch::{is_orphan, probe_key};
pub(crate) use transcribe::Transcription;
pub use transcribe::{TranscribeError, Transcribed, transcribe};
pub(crate) use walk::{Pages, Way};
pub use writing::CannotWrite;
pub(crate) use writing::Writing;
