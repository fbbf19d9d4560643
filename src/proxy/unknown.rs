//! Commands that the table does not know: modules', renamed, newer than crossfade.
//!
//! The server is asked. A read passes; a write is followed by copies of its keys; a write whose keys
//! nobody can tell is refused, because its effect would be lost.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::client::{Client, Close};
use super::session::{Needs, Reason};
use crate::protocol::resp::{Reply, Request};

/// How many names are remembered.
const LIMIT: usize = 1024;

/// What the server says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nonexistent,
    Read,
    Write,
}

/// What has been asked before.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    kinds: Mutex<HashMap<Vec<u8>, Kind>>,
}

impl Client {
    pub(super) async fn handle_unknown(&mut self, request: Request) -> Result<(), Close> {
        self.prepare(Needs::Route).await?;
        let kind = self.kind_of(&request).await;
        if matches!(kind, Some(Kind::Read | Kind::Write)) {
            self.rehearse_unknown(&request);
        }
        let written = self.keys_written(&request, kind).await;
        if self.session.is_queueing() {
            let queueing = self.session.on_queued_unknown(&request, written);
            return self.carry_out_queueing(queueing, request).await;
        }
        if kind == Some(Kind::Nonexistent) && !self.is_admitted().await {
            self.prepare(Needs::Answers).await?;
            self.error(&nonexistent(&request));
            return Ok(());
        }
        match written {
            Ok(keys) if keys.is_empty() => self.pass(request).await,
            Ok(keys) => self.write(request, None, keys).await,
            Err(reason) => {
                self.prepare(Needs::Answers).await?;
                self.refuse(&reason);
                Ok(())
            }
        }
    }

    async fn keys_written(
        &self,
        request: &Request,
        kind: Option<Kind>,
    ) -> Result<Vec<Bytes>, Reason> {
        match kind {
            Some(Kind::Nonexistent | Kind::Read) => Ok(Vec::new()),
            Some(Kind::Write) => {
                let keys = self.keys_of(request).await.filter(|keys| !keys.is_empty());
                let untold = "the keys of this unknown write command can't be told";
                keys.ok_or(Reason::Untold(untold))
            }
            None => Err(Reason::Untold("the server can't be asked about this unknown command")),
        }
    }

    async fn kind_of(&self, request: &Request) -> Option<Kind> {
        let name = request.name().to_ascii_lowercase();
        if let Some(kind) = self.shared.unknown.kinds.lock().get(&name) {
            return Some(*kind);
        }
        let question = Request::new([b"COMMAND".as_ref(), b"INFO", &name]);
        let reply = self.route.pool.upstream().ask(&question).await?;
        let kind = kind(&reply)?;
        let mut kinds = self.shared.unknown.kinds.lock();
        // A command that does not exist may be a typing error without end: not worth remembering.
        if kind != Kind::Nonexistent && kinds.len() < LIMIT {
            kinds.insert(name, kind);
        }
        Some(kind)
    }

    /// Whether the server lets the client in.
    async fn is_admitted(&self) -> bool {
        match self.upstream_context() {
            Ok(context) => self.route.pool.lanes(&context).await.is_ok(),
            Err(_) => true,
        }
    }

    async fn keys_of(&self, request: &Request) -> Option<Vec<Bytes>> {
        let args = [b"COMMAND".as_ref(), b"GETKEYS"].into_iter().chain(request.args());
        let reply = self.route.pool.upstream().ask(&Request::new(args)).await?;
        reply.items()?.iter().map(|key| key.text().cloned()).collect()
    }
}

/// What a server (since 7.0) says of a command that it does not know to whom it has not let in: it
/// looks the command up first.
fn nonexistent(request: &Request) -> String {
    let shown = |text: &[u8], most: usize| {
        String::from_utf8_lossy(text.get(..most).unwrap_or(text)).into_owned()
    };
    let mut args = String::new();
    for arg in request.args().skip(1) {
        if args.len() >= 128 {
            break;
        }
        let arg = shown(arg, 128 - args.len());
        args.extend(["'", &arg, "' "]);
    }
    let name = shown(request.name(), 128);
    format!("ERR unknown command '{name}', with args beginning with: {args}")
}

fn kind(reply: &Reply) -> Option<Kind> {
    let entry = reply.items()?.first()?;
    let Some(fields) = entry.items() else { return Some(Kind::Nonexistent) };
    let flags = fields.get(2)?.items()?;
    let has = |flag: &[u8]| flags.iter().any(|item| item.text().is_some_and(|text| text == flag));
    Some(if has(b"write") { Kind::Write } else { Kind::Read })
}
