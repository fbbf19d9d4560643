//! What the source asks of clients that are its default user: to be known when the source is not
//! there any more to be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::migration::Migration;
use super::survey::connect;
use crate::proxy::{DefaultUser, password_digest};
use crate::server::{Broken, ConnectError, Connection, Endpoint, Secret, Setup};
use crate::status::{Phase, Side};

/// How long the source may take to answer before what is known stands.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is asked after a flip, and so how long logins may go on without a source that is back.
const LOOK: Duration = Duration::from_secs(2);

impl Migration {
    /// After a flip asks the source again and again: whether there is one is known before somebody
    /// wants to log in, and what it asked for last when there is none.
    pub(super) async fn watch_default_user(self: Arc<Self>) {
        while self.phase() != Phase::Finalized {
            sleep(LOOK).await;
            let direction = self.direction();
            if direction.primary == Side::Target {
                direction.route.authority.heard(self.learn_default_user().await);
            }
        }
    }

    /// Learns what the source asks of its default user now, and keeps it. False: it does not answer.
    pub(super) async fn learn_default_user(&self) -> bool {
        let source = self.world.endpoint(Side::Source);
        let Ok(Ok(user)) = timeout(PATIENCE, ask(source)).await else { return false };
        let before = std::mem::replace(&mut *self.world.default_user.lock(), user.clone());
        if user != before {
            let kept = self.keep(|state| {
                state.admits_anonymous = user.anonymous;
                state.passwords = user.passwords;
            });
            if let Err(error) = kept {
                warn!(error, "what the source asks of its default user can't be kept");
            }
        }
        true
    }
}

/// Asks the source.
///
/// # Errors
/// It can't be reached.
pub(super) async fn ask(source: &Endpoint) -> Result<DefaultUser, ConnectError> {
    let nobody = Setup { name: "crossfade-control", ..Setup::default() };
    let anonymous = match source.connect(&nobody).await {
        Ok(_) => true,
        // It has said nothing of its users.
        Err(error) if error.may_pass() => return Err(error),
        Err(_) => false,
    };
    let mut connection = connect(source).await?;
    let listed = digests(&mut connection).await.unwrap_or_default();
    let own = source.password.as_ref().filter(|_| source.user.is_none());
    let own = own.map(Secret::reveal).map(|password| password_digest(password.as_bytes()));
    let mut passwords: Vec<String> = listed.into_iter().chain(own).collect();
    passwords.sort_unstable();
    passwords.dedup();
    Ok(DefaultUser { anonymous, passwords })
}

/// The digests that the source tells; none when it does not tell.
async fn digests(connection: &mut Connection) -> Result<Vec<String>, Broken> {
    let user = connection.query(cmd("ACL").arg("GETUSER").arg("default")).await?;
    if let Some(passwords) = user.ok().and_then(listed) {
        return Ok(passwords);
    }
    let setting = connection.query(cmd("CONFIG").arg("GET").arg("requirepass")).await?;
    let setting: HashMap<String, Vec<u8>> = setting.unwrap_or_default();
    let passwords = setting.values().filter(|password| !password.is_empty());
    Ok(passwords.map(|password| password_digest(password)).collect())
}

/// The passwords in the answer to `ACL GETUSER`.
fn listed(mut user: HashMap<String, Value>) -> Option<Vec<String>> {
    redis::from_redis_value(user.remove("passwords")?).ok()
}
