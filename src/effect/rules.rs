//! The rules.

use super::{Executed, Outcome, Probes};
use crate::capability::Capabilities;
use crate::command::Command;
use crate::resp::Request;

pub(super) fn probes(_c: &Command, _r: &Request, _p: &Capabilities) -> Probes {
    Probes::new()
}

pub(super) fn outcome(_executed: &Executed<'_>) -> Outcome {
    Outcome::Recopy
}
