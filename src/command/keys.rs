//! Finding keys.

use thiserror::Error;

use super::{Command, Keys};
use crate::resp::Request;

/// The arguments do not follow the command's grammar.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the keys of this request cannot be told")]
pub struct KeyError;

pub(super) fn of(_command: &Command, _request: &Request) -> Result<Keys, KeyError> {
    Err(KeyError)
}
