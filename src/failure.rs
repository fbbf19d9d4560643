//! How a command ends when it does not end well: an exit status and one message for people.
//!
//! *Guarantees:* the statuses are those that the interface promises.
//!
//! *Must not know:* which command it was, or where the message is printed.

use std::fmt;
use std::process::ExitCode;

use thiserror::Error;

use crate::server::{ConnectError, OneBroke};
use crate::value::{CompareError, Fault, ReadError};

/// What the exit status of the process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// The answer is no: a blocker, a difference, a refusal.
    No = 1,
    /// The command line, the environment or the file is wrong.
    Usage = 2,
    /// A server or the admin API can't be reached, or refuses the credentials.
    Unreachable = 3,
}

/// One of the two servers keeps a command from its result.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The source can't be reached, refuses, or went away.
    #[error("source {0}")]
    Source(#[source] Fault),
    /// The same of the target.
    #[error("target {0}")]
    Target(#[source] Fault),
}

impl From<CompareError> for ServerError {
    fn from(error: CompareError) -> Self {
        match error {
            CompareError::First(error) => Self::Source(error.into()),
            CompareError::Second(error) => Self::Target(error.into()),
        }
    }
}

/// The source is asked first.
impl From<OneBroke> for ServerError {
    fn from(error: OneBroke) -> Self {
        match error {
            OneBroke::First(broken) => Self::Source(broken.into()),
            OneBroke::Second(broken) => Self::Target(broken.into()),
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let (ServerError::Source(fault) | ServerError::Target(fault)) = &error;
        match fault {
            Fault::Connect(_) | Fault::Read(ReadError::Broken(_)) => {
                Self::unreachable(error.to_string())
            }
            Fault::Read(_) => Self::no(error.to_string()),
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the shell.
    pub exit: ExitStatus,
    /// For people; empty when what was printed already says it all.
    pub message: String,
}

impl Failure {
    /// The answer is no, and why.
    pub fn no(message: impl Into<String>) -> Self {
        Self { exit: ExitStatus::No, message: message.into() }
    }

    /// The answer is no, as what was printed already says.
    pub fn silent() -> Self {
        Self::no("")
    }

    /// Something given to us is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: ExitStatus::Usage, message: message.into() }
    }

    /// Somebody can't be reached or does not let us in.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: ExitStatus::Unreachable, message: message.into() }
    }

    /// `role` (the source, the target) can't be reached or refuses.
    pub fn connect(role: impl fmt::Display, error: &ConnectError) -> Self {
        Self::unreachable(format!("{role} {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
