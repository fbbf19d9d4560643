//! What becomes of which request in which state, by hand.

use std::time::Duration;

use bytes::BytesMut;

use super::{
    Action, Anew, Budget, Needs, Queueing, Reason, Redirection, Rules, Session, Share, Wait,
};
use crate::protocol::command::{Connection, lookup};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Protocol, Request};

const PLAIN: Rules<'static> =
    Rules { databases: &Databases::All, allow_admin: false, checks_cursors: false };

fn request(line: &str) -> Request {
    Request::new(line.split(' '))
}

fn action(session: &Session, line: &str, rules: &Rules<'_>) -> Action {
    let request = request(line);
    let command = lookup(&request).unwrap();
    session.on_request(&request, (command, command.serve(&request)), rules)
}

fn queueing() -> Session {
    let mut session = Session::default();
    session.begin(Share::of(Budget::of_queues()));
    session
}

fn queued(session: &Session, line: &str) -> Queueing {
    let request = request(line);
    session.on_queued(&request, lookup(&request).unwrap(), &PLAIN)
}

#[test]
fn a_plain_client_is_served_by_what_its_command_does() {
    let plain = Session::default();
    for (line, expected) in [
        ("GET k", Action::Read { rides: true }),
        ("PUBLISH c m", Action::Once { rides: true }),
        ("SET k v", Action::Write),
        ("FLUSHALL", Action::Write),
        ("EVAL_RO x 0", Action::ReadByScript),
        ("SCAN 17", Action::Read { rides: false }),
        ("BLPOP k 0", Action::Block),
        ("MULTI", Action::Multi),
        ("MULTI x", Action::Once { rides: false }),
        ("EXEC", Action::Once { rides: false }),
        ("WATCH a b", Action::Watch(2)),
        ("UNWATCH", Action::Once { rides: false }),
        ("SUBSCRIBE a", Action::Subscribe),
        ("SELECT 1", Action::Connection(Connection::Select)),
        ("READONLY", Action::Once { rides: false }),
        ("WAIT 1 0", Action::Alone),
        ("CONFIG SET a b", Action::Refuse(Reason::NeedsFlag("CONFIG SET"))),
    ] {
        assert_eq!(action(&plain, line, &PLAIN), expected, "{line}");
    }
    assert!(matches!(action(&plain, "SHUTDOWN", &PLAIN), Action::Refuse(Reason::Never(_))));
}

#[test]
fn what_is_answered_here_waits_for_what_came_before_and_what_is_sent_on_goes_behind_it() {
    let plain = Session::default();
    for (line, expected) in [
        ("GET k", Needs::Nothing),
        ("SET k v", Needs::Nothing),
        ("SELECT x", Needs::Nothing),
        ("MULTI", Needs::Route),
        ("SELECT 1", Needs::Answers),
        ("BLPOP k 0", Needs::Answers),
        ("CLIENT ID", Needs::Answers),
        ("QUIT", Needs::Answers),
        ("CONFIG SET a b", Needs::Answers),
        ("AUTH x", Needs::AnswersAndRoute),
        ("SUBSCRIBE a", Needs::AnswersAndRoute),
        ("WATCH a", Needs::Connection),
        ("WAIT 1 0", Needs::Connection),
    ] {
        assert_eq!(action(&plain, line, &PLAIN).needs(), expected, "{line}");
    }
    for (line, expected) in [
        ("SET k v", Needs::Nothing),
        ("DISCARD", Needs::Answers),
        ("EXEC", Needs::Answers),
        ("SHUTDOWN", Needs::Answers),
        ("SELECT 1", Needs::AnswersAndRoute),
    ] {
        assert_eq!(queued(&queueing(), line).needs(), expected, "{line}");
    }
}

#[test]
fn what_the_route_and_the_options_say_is_followed() {
    let (plain, one) = (Session::default(), Databases::one(0, 3));
    let rules = Rules { databases: &one, allow_admin: true, checks_cursors: true };
    for (line, expected) in [
        ("SELECT 1", Action::Refuse(Reason::Unmigrated(1))),
        ("CONFIG SET a b", Action::Once { rides: false }),
        ("SCAN 17", Action::Scan(1)),
        ("HSCAN h 17", Action::Scan(2)),
    ] {
        assert_eq!(action(&plain, line, &rules), expected, "{line}");
    }
    assert_eq!(plain.anew(&one, 0).unwrap().context.db, 3, "under the server's number");
    assert_eq!(plain.anew(&Databases::one(1, 1), 0), Err(0));
}

#[test]
fn a_subscriber_is_confined_in_resp2_only() {
    let mut session = Session::default();
    session.channels.sent(&request("SUBSCRIBE a"));
    assert!(!session.channels.is_confirmed());
    session.channels.note(request("subscribe a 1").raw());
    assert!(session.channels.is_confirmed());
    assert_eq!(action(&session, "GET k", &PLAIN), Action::Confined);
    assert_eq!(action(&session, "UNSUBSCRIBE", &PLAIN), Action::Subscribe);
    assert_eq!(action(&session, "QUIT", &PLAIN), Action::Connection(Connection::Quit));
    session.context.protocol = Protocol::Resp3;
    assert_eq!(action(&session, "GET k", &PLAIN), Action::Read { rides: true });
}

#[test]
fn a_transaction_holds_what_can_be_carried_and_is_poisoned_by_the_rest() {
    let session = queueing();
    assert_eq!(action(&session, "GET k", &PLAIN), Action::Queue);
    for line in ["GET k", "SET k v", "BLPOP k 0", "WAIT 0 0", "INFO", "CLIENT ID", "UNWATCH"] {
        assert!(matches!(queued(&session, line), Queueing::Keep(_)), "{line}");
    }
    assert!(matches!(queued(&session, "SELECT 1"), Queueing::Select));
    assert!(matches!(queued(&session, "EXEC"), Queueing::Exec));
    assert!(matches!(queued(&session, "EXEC x"), Queueing::Pass));
    assert!(matches!(queued(&session, "MULTI"), Queueing::Pass));
    assert!(matches!(queued(&session, "DISCARD"), Queueing::Discard));
    assert!(matches!(queued(&session, "QUIT"), Queueing::Leave(Connection::Quit)));
    for line in ["SUBSCRIBE a", "CONFIG SET a b", "CLIENT TRACKING ON", "HELLO 3", "SHUTDOWN"] {
        assert!(matches!(queued(&session, line), Queueing::Poison(_)), "{line}");
    }
}

#[test]
fn what_was_not_sent_of_a_queue_follows_by_itself() {
    let mut session = queueing();
    for line in ["SET a 1", "SET b 2"] {
        let Queueing::Keep(queued) = queued(&session, line) else { panic!("{line}") };
        assert!(session.queue_up(queued));
    }
    let queue = |session: &Session, unsent| session.anew(&Databases::All, unsent).unwrap().queue;
    assert_eq!(queue(&session, 0), ["MULTI", "SET a 1", "SET b 2"].map(request));
    assert_eq!(queue(&session, 1), ["MULTI", "SET a 1"].map(request));
    assert_eq!(queue(&session, 3), []);
    session.spoil();
    assert_eq!(queue(&session, 0).len(), 2, "MULTI, and what makes it fail");
    assert_eq!(session.queued(), Some(2), "as the server counts them");
}

#[test]
fn a_refused_multi_begins_nothing_and_leaves_the_watch() {
    let mut session = queueing();
    session.spoil();
    session.begun();
    assert!(!session.has_transaction());
    session.watch(2);
    session.begin(Share::of(Budget::of_queues()));
    session.spoil();
    session.begun();
    assert_eq!((session.is_queueing(), session.watched()), (false, 2));
}

#[test]
fn a_refused_discard_or_unwatch_ends_nothing() {
    let mut session = queueing();
    session.watch(1);
    session.ending();
    session.spoil();
    session.ended();
    assert!(session.is_queueing() && session.watched() == 1);
    session.ending();
    session.ended();
    assert!(!session.has_transaction(), "the next one was not refused");
}

#[test]
fn a_watch_that_was_left_behind_makes_exec_answer_nil_unless_it_fails_anyway() {
    let mut session = Session::default();
    session.watch(1);
    session.begin(Share::of(Budget::of_queues()));
    assert!(!session.breaks_exec());
    session.moved();
    assert!(session.breaks_exec());
    session.spoil();
    assert!(!session.breaks_exec());
}

#[test]
fn replies_are_left_out_for_one_command_or_until_they_are_wanted() {
    let mut session = Session::default();
    let mut silent = |line: &str| {
        session.take_skip();
        let silent = session.is_silent();
        if line.starts_with("CLIENT REPLY") {
            session.set_replies(&request(line));
        }
        silent
    };
    for (line, expected) in [
        ("CLIENT REPLY SKIP", false),
        ("GET k", true),
        ("GET k", false),
        ("CLIENT REPLY SKIP", false),
        ("CLIENT REPLY SKIP", true),
        ("GET k", true),
        ("CLIENT REPLY OFF", false),
        ("CLIENT REPLY SKIP", true),
        ("GET k", true),
        ("GET k", true),
        ("CLIENT REPLY ON", true),
        ("GET k", false),
    ] {
        assert_eq!(silent(line), expected, "{line}");
    }
}

#[test]
fn tracking_is_repeated_as_it_was_told_and_its_receiver_is_named_anew() {
    let mut session = Session::default();
    for line in ["CLIENT TRACKING ON BCAST PREFIX a", "CLIENT TRACKING ON REDIRECT 7"] {
        session.on_answer(&request(line), b"+OK\r\n");
    }
    session.on_answer(&request("CLIENT NO-TOUCH ON"), b"-ERR unknown\r\n");
    let settings = session.anew(&Databases::All, 0).unwrap().settings;
    assert_eq!(settings.len(), 2, "what was refused is not repeated");
    assert_eq!(session.standing.redirect(), Some(7));
    let redirection = Redirection::of(&settings[1]).unwrap();
    let told = redirection.to(&settings[1], 42);
    assert_eq!(told, request("CLIENT TRACKING ON REDIRECT 42"));
    session.on_answer(&request("CLIENT TRACKING OFF"), b"+OK\r\n");
    assert!(!session.needs_connection() && session.standing.redirect().is_none());
}

#[test]
fn what_a_client_says_of_itself_is_known_when_the_server_accepts_it_and_needs_no_connection() {
    let mut session = Session::default();
    session.on_answer(&request("CLIENT NO-EVICT ON"), b"-NOPERM no\r\n");
    session.on_answer(&request("MONITOR"), b"-NOPERM no\r\n");
    assert!(!session.no_evict && !session.monitors);
    for line in ["CLIENT NO-EVICT ON", "MONITOR", "CLIENT SETNAME me", "CLIENT SETINFO LIB-VER 7"] {
        session.on_answer(&request(line), b"+OK\r\n");
    }
    assert!(session.no_evict && session.monitors && session.library.version == "7");
    session.block(request("BLPOP k 0"));
    assert!(!session.needs_connection());
    assert_eq!(session.anew(&Databases::All, 0), Ok(Anew::default()));
    session.reset();
    assert!(!session.no_evict && !session.monitors && session.wait().is_none());
    assert_eq!(session.library.version, "7", "it is still built with that");
}

#[test]
fn nothing_is_said_as_the_command_and_the_protocol_have_it() {
    for (line, protocol, expected) in [
        ("BLPOP k 1", Protocol::Resp2, "*-1\r\n"),
        ("BLMOVE a b LEFT LEFT 1", Protocol::Resp2, "$-1\r\n"),
        ("BLMOVE a b LEFT LEFT 1", Protocol::Resp3, "_\r\n"),
    ] {
        let mut session = Session::default();
        session.context.protocol = protocol;
        session.block(request(line));
        let mut out = BytesMut::new();
        session.answer_nothing(&mut out);
        assert_eq!(out, expected, "{line}");
    }
}

#[test]
fn a_client_waits_until_it_is_answered() {
    let mut session = Session::default();
    session.block(request("BLPOP k 0"));
    assert_eq!(session.wait(), Some(Wait::Endless));
    session.block(request("BLPOP k 0.5"));
    assert_eq!(session.wait(), Some(Wait::Timed));
    session.unblock();
    assert_eq!((session.wait(), session.blocked_again(Duration::ZERO)), (None, None));
}
