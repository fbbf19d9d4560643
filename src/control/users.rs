//! The users of the source, and who of them the target serves alike; what is asked of the default
//! user is to be known when the source is not there any more to be asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::migration::Migration;
use super::phase::Blocker;
use crate::check::rehearsal::{self, User};
use crate::pipeline::connect;
use crate::protocol::resp::Reply;
use crate::proxy::{DefaultUser, password_digest};
use crate::server::{Broken, ConnectError, Connection, Endpoint, Secret, Setup};
use crate::status::{Phase, Side};

/// How long the source may take to answer before what is known stands.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked after a flip, and so how long logins may go on without a source that is back.
const LOOK: Duration = Duration::from_secs(2);

/// After a flip asks the source again and again: whether there is one is known before somebody
/// wants to log in, and what it asked for last when there is none.
pub(super) async fn watch_default(migration: Arc<Migration>) {
    while migration.phase() != Phase::Finalized {
        sleep(LOOK).await;
        let direction = migration.direction();
        if direction.primary == Side::Target {
            direction.route.authority.heard(learn_default(&migration).await);
        }
    }
}

/// Learns what the source asks of its default user now, and keeps it. False: it does not answer.
pub(super) async fn learn_default(migration: &Migration) -> bool {
    let source = migration.env.endpoint(Side::Source);
    let Ok(Ok(user)) = timeout(ANSWERS_WITHIN, ask_default(source)).await else { return false };
    let before = std::mem::replace(&mut *migration.env.default_user.lock(), user.clone());
    if user != before {
        let kept = migration.keep(|state| {
            state.admits_anonymous = user.anonymous;
            state.passwords = user.passwords;
        });
        if let Err(error) = kept {
            warn!(error, "what the source asks of its default user can't be kept");
        }
    }
    true
}

/// Asks what the source asks of its default user.
pub(super) async fn ask_default(source: &Endpoint) -> Result<DefaultUser, ConnectError> {
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

/// Who of `there`, the answer to `ACL LIST`, is served otherwise by the target, whose answer is `here`.
pub(super) fn lacking(there: &[User], here: Option<&[User]>) -> Vec<Blocker> {
    let named = there.iter().filter(|user| !user.is_default() && user.is_on());
    let Some(here) = here else {
        return named.take(1).map(|_| Blocker::UsersUntold).collect();
    };
    let lacking = named.filter_map(|user| match here.iter().find(|twin| twin.name == user.name) {
        None => Some(Blocker::NoUser(user.name.clone())),
        Some(twin) if !twin.may_all_that(user) => Some(Blocker::OtherUser(user.name.clone())),
        Some(_) => None,
    });
    lacking.collect()
}

/// Those in the answer to `ACL LIST`.
pub(super) fn users(reply: &Reply) -> Option<Vec<User>> {
    let lines = reply.items()?.iter().filter_map(Reply::text);
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line)).collect();
    Some(rehearsal::users(lines.iter().map(AsRef::as_ref)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_that_are_on_and_are_served_otherwise_are_told() {
        let user = |name: &str, rules: &[&str]| {
            let line = format!("user {name} {}", rules.join(" "));
            rehearsal::users([line.as_str()]).remove(0)
        };
        let there = [user("default", &["on"]), user("app", &["on", "+get"]), user("old", &["off"])];
        assert_eq!(lacking(&there, None), [Blocker::UsersUntold]);
        assert_eq!(lacking(&there, Some(&[])), [Blocker::NoUser("app".to_owned())]);
        let weaker = [user("app", &["on", "+set"])];
        assert_eq!(lacking(&there, Some(&weaker)), [Blocker::OtherUser("app".to_owned())]);
        assert_eq!(lacking(&there, Some(&there)), []);
    }
}
