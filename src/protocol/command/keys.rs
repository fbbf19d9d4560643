//! Finding keys.

use thiserror::Error;

use super::{Command, Keys};
use crate::protocol::resp::Request;

/// The arguments do not follow the command's grammar.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the keys of this request cannot be told")]
pub struct KeyError;

pub(super) fn of(command: &Command, request: &Request) -> Result<Keys, KeyError> {
    if !command.takes(request.len()) {
        return Err(KeyError);
    }
    let mut keys = Keys::new();
    for spec in command.specs {
        spec.find(request, &mut keys)?;
    }
    Ok(keys)
}
