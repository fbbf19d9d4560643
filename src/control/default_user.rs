//! What the source asks of clients that are its default user: to be known when the source is not
//! there any more to be asked.

use super::survey::connect;
use crate::backend::{Broken, ConnectError, Connection, Endpoint, Secret, Setup};
use crate::proxy::{DefaultUser, password_digest};
use crate::resp::Reply;

/// Asks the source.
///
/// # Errors
/// It can't be reached.
pub(super) async fn ask(source: &Endpoint) -> Result<DefaultUser, ConnectError> {
    let nobody = Setup { name: "crossfade-control", ..Setup::default() };
    let anonymous = source.connect(&nobody).await.is_ok();
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
    let reply = connection.command(["ACL", "GETUSER", "default"]).await?;
    if let Some(passwords) = listed(&reply) {
        return Ok(passwords);
    }
    let reply = connection.command(["CONFIG", "GET", "requirepass"]).await?;
    let password = reply.items().and_then(|items| items.get(1)).and_then(Reply::text);
    Ok(password
        .filter(|password| !password.is_empty())
        .map(|text| password_digest(text))
        .into_iter()
        .collect())
}

/// The passwords in the reply to `ACL GETUSER`.
fn listed(reply: &Reply) -> Option<Vec<String>> {
    let items = reply.items()?;
    let place = items.iter().position(|item| item.text().is_some_and(|t| t == "passwords"))?;
    let digests = items.get(place + 1)?.items()?.iter().filter_map(Reply::text);
    Some(digests.map(|digest| String::from_utf8_lossy(digest).into_owned()).collect())
}
