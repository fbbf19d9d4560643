//! One identity for each user, whichever of its passwords a client has given.
//!
//! A user may have several passwords, or take any; lanes are opened for users, not for passwords.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::lane::Identity;

/// What logs each user in, as far as it has been seen. As many as there are users.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<String, Identity>>);

impl Logins {
    /// The identity that clients of this user have.
    pub(super) fn known(&self, user: &str) -> Option<Identity> {
        self.0.lock().get(user).cloned()
    }

    /// From now on they have this one.
    pub(super) fn learn(&self, identity: &Identity) {
        self.0.lock().insert(identity.user().to_owned(), identity.clone());
    }
}
