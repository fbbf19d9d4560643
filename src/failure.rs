//! How a command ends when it does not end well: an exit status and one message for people.
//!
//! *Guarantees:* the statuses are those that the interface promises.
//!
//! *Must not know:* which command it was, or where the message is printed.

use std::fmt;
use std::process::ExitCode;

use crate::backend::ConnectError;

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
