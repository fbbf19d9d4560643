//! What keeps one server from being read.

use thiserror::Error;

use super::ReadError;
use crate::server::{Broken, ConnectError, ScanError};

/// What is wrong with one server.
#[derive(Debug, Error)]
pub enum Fault {
    /// It can't be reached, or refuses the credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refuses a question, or went away.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self::Read(match error {
            ScanError::Broken(broken) => broken.into(),
            refused @ ScanError::Refused(_) => ReadError::Refused(refused.to_string()),
        })
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Read(broken.into())
    }
}
