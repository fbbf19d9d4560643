//! Showing the rehearsal what clients do that the target might refuse.

use super::client::Client;
use crate::check::rehearsal::Heard;
use crate::protocol::command::{self, Command};
use crate::protocol::resp::Request;

impl Client {
    /// Shows a command for which there is reason to.
    pub(super) fn rehearse(&self, request: &Request, command: &'static Command) {
        if self.shared.rehearsal.suspects(command) {
            self.be_heard(request, Some(command));
        }
    }

    /// The same of one that only the server knows.
    pub(super) fn rehearse_unknown(&self, request: &Request) {
        if self.shared.rehearsal.suspects_unknown() {
            self.be_heard(request, None);
        }
    }

    /// The same of a transaction that came whole.
    pub(super) fn rehearse_all(&self, requests: &[Request]) {
        for request in requests {
            if let Some(command) = command::lookup(request) {
                self.rehearse(request, command);
            }
        }
    }

    #[cold]
    fn be_heard(&self, request: &Request, command: Option<&'static Command>) {
        let (user, at) = (self.session.context.identity.user(), self.route.engine.now());
        self.shared.rehearsal.hear(&Heard { user, command, request, at });
    }
}
