//! What a connection must be to serve a client, and why there may be none.

use thiserror::Error;

use crate::protocol::resp::Protocol;
use crate::server::Secret;

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// It has not logged in: the default user, where that needs no password.
    #[default]
    Anonymous,
    /// It has, with this name (`None` is the default user) and password.
    User(Option<String>, Secret),
}

impl Identity {
    /// The name, as the server has it.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::User(Some(user), _) => user,
            Self::Anonymous | Self::User(None, _) => "default",
        }
    }

    /// What logs it in.
    pub(crate) fn login(&self) -> Option<(Option<String>, Secret)> {
        match self {
            Self::Anonymous => None,
            Self::User(user, password) => Some((user.clone(), password.clone())),
        }
    }
}

/// What a connection must be to serve a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    /// Who.
    pub identity: Identity,
    /// In which protocol version.
    pub protocol: Protocol,
    /// In which of the server's databases.
    pub db: u32,
}

/// Why there is no lane for a context.
#[derive(Clone, Debug, Error)]
pub(crate) enum Refusal {
    /// The server's own error reply, code first.
    #[error("{0}")]
    Server(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// Too many contexts have clients.
    #[error(
        "{0} combinations of user, database and protocol version are in use: see --max-contexts"
    )]
    TooMany(usize),
    /// The server has no counterpart of the client's database.
    #[error("database {0} is not migrated")]
    Unmigrated(u32),
}

/// Who the source's default user is on another server.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    /// Who it is there.
    pub identity: Identity,
    /// Whether the source lets clients be the default user without logging in.
    pub for_anonymous: bool,
}
