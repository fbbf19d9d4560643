//! Who decides whether a client may connect.
//!
//! The source does, as long as it answers. After a flip it may be dead, or stuck: that is why clients
//! have left it. Then the target decides, which has the source's named users; only the default user
//! may be another there, so it is judged by what the source was last seen to ask of it. That the
//! source does not answer is found out by one login and remembered for all, until somebody who has
//! the time sees that it does.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::lane::{Identity, Upstream};
use crate::protocol::resp::Request;

/// How long a login waits for a source that serves nobody any more.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the source asks of its default user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultUser {
    /// Whether it needs no password.
    pub anonymous: bool,
    /// Digests of the passwords that are right.
    pub passwords: Vec<String>,
}

/// The source, or what is known of it.
#[derive(Debug)]
pub(crate) struct Authority {
    source: Arc<Upstream>,
    /// What it asked of its default user last; `None` while it serves clients itself, and nobody
    /// can stand in for it.
    known: Option<Arc<Mutex<DefaultUser>>>,
    hearing: watch::Sender<Hearing>,
}

/// Whether the source is worth asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Answers,
    Silent,
    LetGo,
}

/// What becomes of a request about users when there is no source to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is known here.
    Answer(&'static str),
    /// The target is asked this, as the client that it would be by then.
    Ask(Request, Identity),
}

impl Authority {
    /// The source decides; while it does not answer, `known` of it and the server that serves.
    pub(crate) fn new(source: Arc<Upstream>, known: Option<Arc<Mutex<DefaultUser>>>) -> Self {
        Self { source, known, hearing: watch::Sender::new(Hearing::Answers) }
    }

    /// The source is asked no more.
    pub(crate) fn let_go(&self) {
        self.hearing.send_replace(Hearing::LetGo);
    }

    /// Whether the source has answered just now.
    pub(crate) fn heard(&self, answers: bool) {
        let now = if answers { Hearing::Answers } else { Hearing::Silent };
        self.hearing.send_if_modified(|hearing| {
            let changes = *hearing != now && *hearing != Hearing::LetGo;
            if changes {
                *hearing = now;
            }
            changes
        });
    }

    pub(super) fn source(&self) -> &Arc<Upstream> {
        &self.source
    }

    /// What stands in for the source, where anything does.
    pub(super) fn known(&self) -> Option<DefaultUser> {
        self.known.as_ref().map(|known| known.lock().clone())
    }

    /// The source's answer. `None`: it is not to be had, or not soon.
    pub(super) async fn ask(&self, asked: impl Future<Output = Option<Bytes>>) -> Option<Bytes> {
        if self.known.is_none() {
            return asked.await;
        }
        let mut hearing = self.hearing.subscribe();
        let deaf = hearing.wait_for(|hearing| *hearing != Hearing::Answers);
        let answer = tokio::select! {
            biased;
            _ = deaf => return None,
            answer = timeout(PATIENCE, asked) => answer.ok().flatten().filter(is_answer),
        };
        self.heard(answer.is_some());
        answer
    }
}

/// A server without room for one more connection has not looked at what it was asked.
fn is_answer(reply: &Bytes) -> bool {
    !reply.starts_with(b"-ERR max number of clients")
}

/// Whether a request says who the client is; a greeting without that needs nobody to be asked.
pub(super) fn logs_in(request: &Request) -> bool {
    request.is(0, "AUTH") || (1..request.len()).any(|index| request.is(index, "AUTH"))
}

/// The digest of a password, as `ACL` shows it.
pub(crate) fn password_digest(password: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, password).as_ref() {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl DefaultUser {
    /// Judges an `AUTH` or a `HELLO` of a client that is `identity` now.
    pub(super) fn judge(&self, request: &Request, identity: &Identity) -> Decision {
        let place = (1..request.len()).find(|index| request.is(*index, "AUTH"));
        let (user, password) = match (request.is(0, "AUTH"), place) {
            (true, _) if request.len() == 2 => (None, request.arg(1)),
            (true, _) => (request.arg(1), request.arg(2)),
            (false, Some(place)) => (request.arg(place + 1), request.arg(place + 2)),
            (false, None) => return self.judge_bare(request, identity),
        };
        match (user, password) {
            (None | Some(b"default"), Some(password)) => {
                self.judge_default(request, user.is_some(), password, place)
            }
            _ => Decision::Ask(request.clone(), identity.clone()),
        }
    }

    /// A `HELLO` that does not log in.
    fn judge_bare(&self, request: &Request, identity: &Identity) -> Decision {
        if *identity == Identity::Anonymous && !self.anonymous {
            return Decision::Answer(
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise \
                 the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
                 client and select the RESP protocol version at the same time\r\n",
            );
        }
        Decision::Ask(request.clone(), identity.clone())
    }

    fn judge_default(
        &self,
        request: &Request,
        named: bool,
        password: &[u8],
        place: Option<usize>,
    ) -> Decision {
        let known = self.passwords.contains(&password_digest(password));
        match (known || (self.anonymous && named), place) {
            (true, None) => Decision::Answer("+OK\r\n"),
            (true, Some(place)) => {
                let outside = |index: &usize| !(place..place + 3).contains(index);
                let kept =
                    (0..request.len()).filter(outside).filter_map(|index| request.arg(index));
                Decision::Ask(Request::new(kept), Identity::Anonymous)
            }
            (false, _) if self.anonymous && !named => Decision::Answer(
                "-ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?\r\n",
            ),
            (false, _) => Decision::Answer(
                "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(user: &DefaultUser, words: &str) -> Decision {
        user.judge(&Request::new(words.split(' ')), &Identity::Anonymous)
    }

    fn guarded() -> DefaultUser {
        DefaultUser { anonymous: false, passwords: vec![password_digest(b"pw")] }
    }

    #[test]
    fn the_digest_is_the_one_that_acl_shows() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(password_digest(b""), empty);
    }

    #[test]
    fn the_default_user_is_judged_by_what_the_source_asked_of_it() {
        for right in ["AUTH pw", "AUTH default pw"] {
            assert_eq!(judge(&guarded(), right), Decision::Answer("+OK\r\n"));
        }
        for wrong in ["AUTH no", "AUTH default no", "HELLO 3 AUTH default no", "HELLO 3"] {
            let decision = judge(&guarded(), wrong);
            assert!(matches!(decision, Decision::Answer(text) if text.starts_with('-')), "{wrong}");
        }
        let open = DefaultUser { anonymous: true, passwords: Vec::new() };
        assert!(
            matches!(judge(&open, "AUTH x"), Decision::Answer(text) if text.starts_with("-ERR"))
        );
        assert_eq!(judge(&open, "AUTH default x"), Decision::Answer("+OK\r\n"));
    }

    #[test]
    fn the_target_greets_whom_it_does_not_know_by_that_password() {
        let asked = Request::new(["HELLO", "3", "SETNAME", "me"]);
        assert_eq!(
            judge(&guarded(), "HELLO 3 AUTH default pw SETNAME me"),
            Decision::Ask(asked, Identity::Anonymous)
        );
        let named = Request::new(["AUTH", "app", "secret"]);
        assert_eq!(judge(&guarded(), "AUTH app secret"), Decision::Ask(named, Identity::Anonymous));
    }
}
