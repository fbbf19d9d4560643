//! Every arrow of the picture, and every one that must not be.

use std::time::Duration;

use super::*;
use crate::status::{Phase, Side, VerifyState};

type Place = Standing<&'static str>;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Nothing is in the way.
fn fine() -> Facts {
    Facts { verify: VerifyState::Clean, is_durable: true, ..Facts::default() }
}

fn start(phase: Phase, found: KeysAtStart) -> Place {
    Standing::start(Kept { phase, emptied: false }, found, "first", at(0))
}

fn mirroring() -> Place {
    start(Phase::Mirroring, KeysAtStart::Level)
}

fn cut_over() -> Place {
    start(Phase::CutOver, KeysAtStart::Level)
}

/// What comes of events that are all let in.
fn after(place: Place, events: impl IntoIterator<Item = Event<&'static str>>) -> Place {
    events.into_iter().fold(place, |place, event| place.on(event).unwrap().0)
}

fn todo(place: &Place, event: Event<&'static str>) -> Vec<Do<&'static str>> {
    place.clone().on(event).unwrap().1
}

fn refusal(place: &Place, event: Event<&'static str>) -> String {
    place.clone().on(event).unwrap_err().error
}

fn flip(to: Side) -> Event<&'static str> {
    Event::Flip(to, false, fine())
}

fn forced(to: Side) -> Event<&'static str> {
    Event::Flip(to, true, fine())
}

/// A flip as far as the hold.
fn held(place: Place, to: Side) -> Place {
    after(place, [flip(to), Event::Prepared("next"), Event::Draining, Event::Held])
}

fn committed() -> Event<&'static str> {
    Event::Committed(at(9))
}

/// One of each, by which nothing may ever be refused that has happened already.
fn happenings() -> Vec<Event<&'static str>> {
    vec![
        Event::Stopped(at(1)),
        Event::Halted(Halt::Replica, at(1)),
        Event::Halted(Halt::Emptied(1, 100), at(1)),
        Event::Recovered(at(1)),
        Event::PassDue(at(1)),
        Event::PassBegan(at(1), None),
        Event::PassBegan(at(1), Some("replaced".to_owned())),
        Event::PassDone,
        Event::Prepared("next"),
        Event::Draining,
        Event::Held,
        Event::Released,
        Event::Abandoned,
    ]
}

/// One place for each phase, and the halts of both sides.
fn places() -> Vec<Place> {
    let emptied = [Event::Stopped(at(1)), Event::Halted(Halt::Emptied(1, 100), at(2))];
    vec![
        start(Phase::Backfilling, KeysAtStart::All(None)),
        mirroring(),
        held(mirroring(), Side::Target),
        cut_over(),
        held(cut_over(), Side::Source),
        start(Phase::Finalized, KeysAtStart::Level),
        after(mirroring(), emptied.clone()),
        after(cut_over(), emptied),
    ]
}

#[test]
fn a_first_start_copies_everything_and_mirrors_once_it_has() {
    let place = start(Phase::Backfilling, KeysAtStart::All(None));
    assert_eq!((place.phase(), place.cause()), (Phase::Backfilling, None));
    let place = after(place, [Event::PassBegan(at(1), None), Event::PassDone]);
    assert_eq!(place, mirroring());
    assert_eq!(place.kept(), Kept { phase: Phase::Mirroring, emptied: false });
}

#[test]
fn a_restart_serves_from_the_side_that_the_kept_phase_names() {
    for (kept, level, all) in [
        (Phase::Backfilling, Phase::Mirroring, Phase::Backfilling),
        (Phase::Mirroring, Phase::Mirroring, Phase::Backfilling),
        (Phase::CutOver, Phase::CutOver, Phase::CutOver),
        (Phase::Finalized, Phase::Finalized, Phase::Finalized),
    ] {
        let all_lost = KeysAtStart::All(Some("no record".to_owned()));
        let some = KeysAtStart::Some("in doubt".to_owned());
        assert_eq!(start(kept, KeysAtStart::Level).phase(), level);
        assert_eq!(start(kept, all_lost).phase(), all);
        let some = start(kept, some);
        assert_eq!(some.phase(), level, "what is in doubt is known");
        assert_eq!(some.copying_since().is_some(), kept != Phase::Finalized);
    }
}

#[test]
fn a_restart_that_distrusts_the_side_that_serves_mirrors_nothing_before_it_has_looked() {
    for phase in [Phase::Mirroring, Phase::CutOver] {
        let place = start(phase, KeysAtStart::Distrusted("replaced".to_owned()));
        assert_eq!(place.halt(), Some(Halt::Unsure));
        assert!(!place.must_be_decided());
        let emptied =
            Standing::start(Kept { phase, emptied: true }, KeysAtStart::Level, "first", at(0));
        assert_eq!(emptied.halt(), Some(Halt::Unsure));
        assert!(emptied.must_be_decided(), "the operator was asked by an earlier process");
    }
}

#[test]
fn what_is_kept_of_a_place_leads_back_to_the_same_side() {
    for place in places() {
        let again = Standing::start(place.kept(), KeysAtStart::Level, "first", at(0));
        let primary = |place: &Place| place.kept().phase.primary();
        assert_eq!(primary(&again), primary(&place), "{place:?}");
        assert_eq!(again.must_be_decided(), place.must_be_decided(), "{place:?}");
    }
}

#[test]
fn mirroring_goes_back_to_backfilling_when_keys_must_be_copied_again_and_says_why() {
    let place = after(mirroring(), [Event::PassDue(at(1))]);
    assert_eq!(place.phase(), Phase::Backfilling);
    let why = Some("replaced".to_owned());
    let place = after(place, [Event::PassBegan(at(1), why.clone())]);
    assert_eq!((place.phase(), place.cause()), (Phase::Backfilling, why.as_ref()));
    let place = after(place, [Event::PassDone]);
    assert_eq!((place.phase(), place.cause()), (Phase::Mirroring, why.as_ref()), "it is told on");
}

#[test]
fn whatever_makes_keys_doubtful_makes_the_last_verify_worthless() {
    for event in [
        Event::Stopped(at(1)),
        Event::Halted(Halt::Replica, at(1)),
        Event::PassDue(at(1)),
        Event::PassBegan(at(1), Some("replaced".to_owned())),
        Event::Resync(at(1), Consent::Accepted),
    ] {
        for place in [mirroring(), cut_over()] {
            assert!(todo(&place, event.clone()).contains(&Do::DoubtVerify), "{event:?}");
        }
    }
    let rolled_back = todo(&held(cut_over(), Side::Source), committed());
    assert!(rolled_back.contains(&Do::DoubtVerify));
    assert!(!todo(&held(mirroring(), Side::Target), committed()).contains(&Do::DoubtVerify));
}

#[test]
fn a_cutover_leads_over_a_hold_to_the_target() {
    let place = after(mirroring(), [flip(Side::Target)]);
    assert_eq!(place.phase(), Phase::Mirroring, "nobody is held, nothing has begun");
    let place = after(place, [Event::Prepared("next")]);
    assert_eq!((place.route(), place.next()), (&"first", Some(&"next")));
    let place = after(place, [Event::Draining]);
    assert_eq!((place.phase(), place.is_held()), (Phase::CuttingOver, false));
    assert_eq!(todo(&place, Event::Held), [Do::Show, Do::Hold("first")]);
    let place = after(place, [Event::Held]);
    assert_eq!((place.phase(), place.is_held()), (Phase::CuttingOver, true));
    let turn = [Do::Hurry("first", false), Do::Turn("first", "next"), Do::Show];
    assert_eq!(todo(&place, committed()), turn);
    let place = after(place, [committed()]);
    assert_eq!((place.phase(), place.is_held()), (Phase::CutOver, false));
    assert_eq!((place.route(), place.next()), (&"next", None));
    assert_eq!(place.copying_since(), None, "the source has everything");
}

#[test]
fn a_rollback_leads_over_a_hold_back_to_the_source() {
    let place = held(cut_over(), Side::Source);
    assert_eq!(place.phase(), Phase::RollingBack);
    let place = after(place, [committed()]);
    assert_eq!((place.phase(), place.route()), (Phase::Mirroring, &"next"));
}

#[test]
fn a_flip_that_is_not_committed_gives_back_what_was_before_it_at_every_step() {
    for (before, to) in [(mirroring(), Side::Target), (cut_over(), Side::Source)] {
        let steps =
            [flip(to), Event::Prepared("next"), Event::Draining, Event::Held, Event::Released];
        for count in 1..=steps.len() {
            let place = after(before.clone(), steps.iter().take(count).cloned());
            assert_eq!(place.kept(), before.kept(), "nothing of it is durable");
            assert_eq!(after(place, [Event::Abandoned]), before);
        }
        let place = held(before, to);
        let released = [Do::Hurry("first", false), Do::Release("first"), Do::Show];
        assert_eq!(todo(&place, Event::Abandoned), released);
    }
}

#[test]
fn a_flip_that_is_committed_can_not_be_abandoned() {
    for (before, to) in [(mirroring(), Side::Target), (cut_over(), Side::Source)] {
        let place = after(held(before, to), [committed()]);
        assert_eq!(todo(&place, Event::Abandoned), []);
        assert_eq!(after(place.clone(), [Event::Abandoned, Event::Released]), place);
        assert_eq!(refusal(&place, committed()), "no flip is under way");
    }
}

#[test]
fn a_flip_is_committed_only_while_clients_are_held_and_there_is_where_to_go() {
    let steps = [flip(Side::Target), Event::Prepared("next"), Event::Draining];
    for count in 1..=steps.len() {
        let place = after(mirroring(), steps.iter().take(count).cloned());
        assert!(refusal(&place, committed()).contains("not held"), "{place:?}");
    }
    let nowhere = after(mirroring(), [flip(Side::Target), Event::Draining, Event::Held]);
    assert!(refusal(&nowhere, committed()).contains("nowhere to go"));
}

#[test]
fn a_server_that_turns_out_to_be_another_during_a_flip_ends_it() {
    for (before, to) in [(mirroring(), Side::Target), (cut_over(), Side::Source)] {
        for event in [Event::Stopped(at(1)), Event::PassDue(at(1))] {
            let place = after(held(before.clone(), to), [event]);
            assert!(place.may_go_on().unwrap_err().error.contains("was replaced"));
            assert!(refusal(&place, committed()).contains("was replaced"));
            let place = after(place, [Event::Abandoned]);
            assert!(place.copying_since().is_some(), "and is known after it");
        }
    }
}

#[test]
fn a_pass_that_ends_in_the_middle_of_a_flip_is_over_after_it() {
    let began = Event::PassBegan(at(1), Some("replaced".to_owned()));
    let place = after(held(mirroring(), Side::Target), [began, Event::PassDone, Event::Abandoned]);
    assert_eq!(place.phase(), Phase::Mirroring);
}

#[test]
fn one_flip_at_a_time() {
    for (place, to) in [(mirroring(), Side::Target), (cut_over(), Side::Source)] {
        let place = after(place, [flip(to)]);
        let all = [flip(Side::Target), flip(Side::Source), Event::Finalize, Event::Verify(fine())];
        let resync = Event::Resync(at(1), Consent::Accepted);
        for event in all.into_iter().chain([resync]) {
            assert_eq!(refusal(&place, event), "a flip is under way");
        }
    }
}

#[test]
fn every_phase_has_its_ways_out_and_no_other() {
    use Phase::{Backfilling, Finalized};
    for (place, lets) in [
        (start(Backfilling, KeysAtStart::All(None)), vec!["resync"]),
        (mirroring(), vec!["verify", "resync", "cutover"]),
        (cut_over(), vec!["verify", "resync", "rollback", "finalize"]),
        (start(Finalized, KeysAtStart::Level), vec![]),
    ] {
        let asked = [
            ("verify", Event::Verify(fine())),
            ("resync", Event::Resync(at(1), Consent::Holding(None))),
            ("cutover", forced(Side::Target)),
            ("rollback", forced(Side::Source)),
            ("finalize", Event::Finalize),
        ];
        for (name, event) in asked {
            let is_let_in = place.clone().on(event).is_ok();
            assert_eq!(is_let_in, lets.contains(&name), "{name} in {}", place.phase());
        }
    }
}

#[test]
fn refusals_name_the_phase_that_they_lead_from() {
    let place = mirroring();
    let rollback = "rollback leads from cut_over, and the phase is mirroring";
    assert_eq!(refusal(&place, flip(Side::Source)), rollback);
    let finalize = "finalize leads from cut_over, and the phase is mirroring";
    assert_eq!(refusal(&place, Event::Finalize), finalize);
    let cutover = "not ready to cut over: the phase is cut_over";
    assert_eq!(refusal(&cut_over(), forced(Side::Target)), cutover);
    let finalized = start(Phase::Finalized, KeysAtStart::Level);
    let resync = Event::Resync(at(1), Consent::Accepted);
    assert!(refusal(&finalized, resync).ends_with("the phase is finalized"));
}

#[test]
fn what_has_happened_is_never_refused_and_moves_nobody() {
    for place in places() {
        for event in happenings() {
            let (next, _) = place.clone().on(event.clone()).unwrap();
            assert_eq!(next.route(), place.route(), "{event:?} in {place:?}");
            assert_eq!(next.kept().phase.primary(), place.kept().phase.primary());
        }
    }
}

#[test]
fn a_finalized_migration_is_left_alone() {
    let place = after(cut_over(), [Event::Finalize]);
    assert_eq!(place.phase(), Phase::Finalized);
    assert_eq!(todo(&cut_over(), Event::Finalize), [Do::LetGo("first"), Do::Show]);
    for event in happenings() {
        assert_eq!(place.clone().on(event).unwrap(), (place.clone(), vec![]));
    }
}

#[test]
fn a_primary_that_has_its_keys_after_all_has_them_copied_again() {
    for (place, phase) in [(mirroring(), Phase::Backfilling), (cut_over(), Phase::CutOver)] {
        let place = after(place, [Event::Stopped(at(1))]);
        assert_eq!((place.halt(), place.phase()), (Some(Halt::Unsure), phase));
        assert_eq!(todo(&place, Event::Recovered(at(2))), [Do::GoOn("first"), Do::Show]);
        let place = after(place, [Event::Recovered(at(2))]);
        assert_eq!((place.halt(), place.copying_since()), (None, Some(at(2))));
    }
}

#[test]
fn a_halt_is_reported_once_and_named_as_the_cause() {
    for (halt, cause) in [(Halt::Replica, "replica"), (Halt::Emptied(1, 100), "emptied")] {
        let place = after(mirroring(), [Event::Stopped(at(1))]);
        let report = Do::Report(Side::Source, halt);
        assert!(todo(&place, Event::Halted(halt, at(2))).contains(&report));
        let place = after(place, [Event::Halted(halt, at(2))]);
        assert_eq!(place.cause().map(String::as_str), Some(cause));
        assert!(!todo(&place, Event::Halted(halt, at(3))).contains(&report));
    }
}

#[test]
fn a_pass_that_goes_on_under_a_halt_does_not_end_it() {
    let place = after(mirroring(), [Event::Stopped(at(1))]);
    let began = Event::PassBegan(at(2), Some("replaced".to_owned()));
    assert_eq!(after(place.clone(), [began, Event::PassDue(at(2)), Event::PassDone]), place);
}

#[test]
fn an_emptied_primary_waits_for_the_operator_whatever_is_found_later() {
    let emptied = Event::Halted(Halt::Emptied(1, 100), at(1));
    for place in [mirroring(), cut_over()] {
        let place = after(place, [emptied.clone(), Event::Halted(Halt::Replica, at(2))]);
        assert!(place.must_be_decided() && place.kept().emptied);
        let place = after(place, [emptied.clone()]);
        let holding = |sizes| Event::Resync(at(3), Consent::Holding(sizes));
        assert!(refusal(&place, holding(Some((1, 100)))).contains("accept_empty"));
        assert!(refusal(&place, holding(None)).contains("can't be asked"));
        for let_in in [holding(Some((90, 100))), Event::Resync(at(3), Consent::Accepted)] {
            let place = after(place.clone(), [let_in]);
            assert!(!place.must_be_decided());
            assert_eq!(place.halt(), None);
        }
    }
}

#[test]
fn nothing_is_copied_from_a_replica_not_even_when_asked() {
    let place = after(mirroring(), [Event::Halted(Halt::Replica, at(1))]);
    let resync = Event::Resync(at(2), Consent::Accepted);
    assert!(refusal(&place, resync).contains("promote it"));
    assert!(refusal(&place, forced(Side::Target)).contains("promote it"));
}

#[test]
fn clients_can_be_moved_by_force_to_the_side_that_has_kept_its_keys_and_the_other_is_filled() {
    let emptied = [Event::Stopped(at(1)), Event::Halted(Halt::Emptied(1, 100), at(1))];
    for (place, to, phase) in
        [(mirroring(), Side::Target, Phase::CutOver), (cut_over(), Side::Source, Phase::Mirroring)]
    {
        let place = after(place, emptied.clone());
        assert!(refusal(&place, flip(to)).contains("(nearly) empty"));
        let steps = [forced(to), Event::Prepared("next"), Event::Draining, Event::Held];
        let place = after(place, steps);
        assert_eq!(place.may_go_on(), Ok(()));
        let place = after(place, [committed()]);
        assert_eq!((place.phase(), place.copying_since()), (phase, Some(at(9))));
        assert!(!place.must_be_decided());
    }
}

#[test]
fn what_is_only_about_certainty_yields_to_force_and_nothing_else_does() {
    let certainty = [
        Facts { verify: VerifyState::Never, ..fine() },
        Facts { verify: VerifyState::Different, ..fine() },
        Facts { is_durable: false, ..fine() },
        Facts { found: vec![Blocker::NoUser("app".to_owned())], ..fine() },
        Facts { found: vec![Blocker::LeftOut("some keys".to_owned())], ..fine() },
    ];
    for facts in certainty {
        assert!(mirroring().on(Event::Flip(Side::Target, false, facts.clone())).is_err());
        assert!(mirroring().on(Event::Flip(Side::Target, true, facts)).is_ok());
    }
    for secondary in [Secondary::Connecting, Secondary::Away, Secondary::Replica] {
        let facts = Facts { secondary, ..fine() };
        assert!(mirroring().on(Event::Flip(Side::Target, true, facts)).is_err());
    }
    let copying = start(Phase::Backfilling, KeysAtStart::All(None));
    assert!(refusal(&copying, forced(Side::Target)).contains("the backfill has not finished"));
    let in_doubt = start(Phase::Mirroring, KeysAtStart::Some("in doubt".to_owned()));
    assert!(refusal(&in_doubt, forced(Side::Target)).contains("keys are being copied again"));
}

#[test]
fn a_rollback_waits_for_a_source_that_was_left_a_moment_ago_and_not_for_one_that_is_away() {
    let rollback = |secondary| Event::Flip(Side::Source, false, Facts { secondary, ..fine() });
    assert!(cut_over().on(rollback(Secondary::Connecting)).is_ok());
    assert_eq!(refusal(&cut_over(), rollback(Secondary::Away)), "the source is unreachable");
    let replica = refusal(&cut_over(), rollback(Secondary::Replica));
    assert_eq!(replica, "the source is a replica now: nothing can be written to it");
}

#[test]
fn a_rollback_that_would_lose_keys_is_refused() {
    let found = vec![Blocker::LeftOut("3 keys like 'x'".to_owned())];
    let facts = Facts { found, verify: VerifyState::Stale, ..fine() };
    let refused = refusal(&cut_over(), Event::Flip(Side::Source, false, facts));
    assert_eq!(refused, "a rollback would lose keys: 3 keys like 'x'");
    let copying = start(Phase::CutOver, KeysAtStart::Some("in doubt".to_owned()));
    let refused = refusal(&copying, flip(Side::Source));
    assert!(refused.starts_with("keys are being copied again to the source"), "{refused}");
}

#[test]
fn a_verify_runs_once_and_only_where_every_key_has_been_copied() {
    assert_eq!(todo(&mirroring(), Event::Verify(fine())), [Do::BeginVerify]);
    let running = Facts { verify: VerifyState::Running, ..fine() };
    assert_eq!(refusal(&mirroring(), Event::Verify(running)), "a verify is running already");
    let copying = start(Phase::Backfilling, KeysAtStart::All(None));
    let refused = refusal(&copying, Event::Verify(fine()));
    assert!(refused.starts_with("keys are still being copied"), "{refused}");
    let stopped = after(mirroring(), [Event::Stopped(at(1))]);
    assert!(refusal(&stopped, Event::Verify(fine())).contains("is being looked at"));
}

#[test]
fn what_is_for_the_operator_to_decide_is_among_the_blockers_on_both_sides() {
    let emptied = Event::Halted(Halt::Emptied(1, 100), at(1));
    for place in [mirroring(), cut_over()] {
        let blockers = after(place, [emptied.clone()]).blockers(&fine());
        let told = blockers.iter().any(|blocker| blocker.to_string().contains("(nearly) empty"));
        assert!(told, "{blockers:?}");
    }
}
