//! How a client's state is made anew on any connection.
//!
//! A flip, another user, a subscription that goes ahead of a flip, and the first time that a client
//! needs a connection of its own: all of them open one for [`Anew::context`] and tell it the rest.

use super::{Session, numbers};
use crate::lane::Context;
use crate::protocol::databases::Databases;
use crate::protocol::resp::Request;

/// What makes a fresh connection the client's. Its commands and its messages may come over two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Anew {
    /// As whom to log in, in which protocol version and in which of the server's databases.
    pub(in crate::proxy) context: Context,
    /// What belongs to the connection for good. A `REDIRECT` names one of the proxy's clients.
    pub(in crate::proxy) settings: Vec<Request>,
    /// `MULTI`, and what the server is to have queued.
    pub(in crate::proxy) queue: Vec<Request>,
    /// Subscriptions, and how many confirmations of them will come.
    pub(in crate::proxy) subscriptions: (Vec<Request>, usize),
}

impl Session {
    /// What makes a connection to the server behind `databases` the client's; `unsent` of the queued
    /// requests were never sent, and follow by themselves. An error is the database that is not there.
    pub(in crate::proxy) fn anew(&self, databases: &Databases, unsent: usize) -> Result<Anew, u32> {
        Ok(Anew {
            context: self.context_behind(databases)?,
            settings: self.standing.told_again(),
            queue: self.queued_again(unsent, databases),
            subscriptions: (self.channels.told_again(), self.channels.count()),
        })
    }

    /// The client's context, with its database under the server's number.
    pub(in crate::proxy) fn context_behind(&self, databases: &Databases) -> Result<Context, u32> {
        let db = databases.to(self.context.db).ok_or(self.context.db)?;
        Ok(Context { db, ..self.context.clone() })
    }

    fn queued_again(&self, unsent: usize, databases: &Databases) -> Vec<Request> {
        let Some(queue) = self.queue() else { return Vec::new() };
        let told = queue.told_again(unsent).into_iter();
        told.map(|request| numbers::translated(&request, databases)).collect()
    }
}
