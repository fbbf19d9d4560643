//! The page of the admin API in a real browser: a migration is driven by clicks alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Browser, Driver, Invariants, Migration, Server, source_with_keys};

const TOKEN: &str = "a long random word";

/// A migration that asks for a token.
fn guarded(source: Server) -> Migration {
    let state = source.directory().join("crossfade-state");
    Migration::with(source, Server::target(), |launch| {
        launch.state_dir(&state).option("--admin-token", TOKEN)
    })
}

fn open<'a>(driver: &'a Driver, migration: &Migration) -> Browser<'a> {
    let browser = driver.browser();
    browser.open(&format!("http://{}/", migration.crossfade.admin().address()));
    browser
}

/// Clicks a button and says yes to what it asks.
fn confirm(browser: &Browser, button: &str) {
    browser.click(button);
    browser.sees("#confirm", "Leave it");
    browser.click("#do");
}

fn log_in(browser: &Browser) {
    browser.sees("#login", "Token");
    browser.type_into("#token", TOKEN);
    browser.type_into("#name", "alice");
    browser.click("#login button.main");
}

/// Names of elements that a screen reader would have to guess.
const NAMELESS: &str =
    "return [...document.querySelectorAll('button, input, dialog, section, svg, progress')]
    .filter((found) => !(found.getAttribute('aria-label') || found.labels?.length
        || document.getElementById(found.getAttribute('aria-labelledby') ?? '')
        || (found.tagName === 'BUTTON' && found.textContent.trim())))
    .map((found) => found.outerHTML.slice(0, 80))";

#[test]
fn a_whole_migration_is_driven_by_clicks_and_a_second_browser_follows_it() {
    let Some(driver) = Driver::start() else { return };
    let migration = guarded(source_with_keys(2_000));
    let invariants = Invariants::start(&migration.crossfade.address());
    let (first, second) = (open(&driver, &migration), open(&driver, &migration));
    first.sees("#headline", "Every key is on the target");
    first.sees("#link", "live");
    confirm(&first, "#check");
    log_in(&first);
    first.sees("#findings", "The check: ready");
    first.picture("1-checked");
    confirm(&first, "#verify");
    first.sees("#headline", "Ready to cut over");
    second.sees("#headline", "Ready to cut over");
    first.click("#cutover");
    first.sees("#stakes", "last verify: clean");
    first.picture("2-cutover");
    first.click("#do");
    first.sees("#outcome", "Clients were held for");
    second.sees("#headline", "The target serves");
    invariants.run_for(6_000);
    first.sees("[data-chart=servers] .now", "target p50");
    first.picture("3-cut-over");
    confirm(&first, "#rollback");
    first.sees("#outcome", "The source serves again");
    confirm(&first, "#verify");
    first.sees("#headline", "Ready to cut over");
    confirm(&first, "#cutover");
    second.sees("#headline", "The target serves");
    invariants.finish(&migration.target);
    first.click("#finalize");
    first.sees("#sure", "no way back");
    assert_eq!(first.run("return document.getElementById('do').disabled"), true);
    first.click("#sure input");
    first.click("#do");
    first.sees("#headline", "The source is let go");
    second.sees("#headline", "The source is let go");
    assert_eq!(migration.crossfade.phase(), "finalized");
    first.sees("#audit", "alice (page) from 127.0.0.1");
    first.picture("4-finalized");
    assert_eq!(first.run(NAMELESS), serde_json::json!([]));
    for browser in [&first, &second] {
        let complaints = browser.complaints();
        // The answer that asks for the token.
        let others = complaints.iter().filter(|complaint| !complaint.contains("401"));
        assert_eq!(others.count(), 0, "{complaints:#?}");
    }
    drop((first, second));
    migration.crossfade.finish();
}

#[test]
fn a_wrong_token_changes_nothing_and_is_asked_for_again() {
    let Some(driver) = Driver::start() else { return };
    let migration = guarded(source_with_keys(10));
    let browser = open(&driver, &migration);
    browser.sees("#headline", "Every key is on the target");
    confirm(&browser, "#verify");
    browser.sees("#login", "bears the admin token");
    browser.type_into("#token", "wrong");
    browser.click("#login button.main");
    browser.sees("#login-text", "refused");
    assert_eq!(migration.crossfade.status()["verify"]["state"], "never");
    browser.click("#login button[value=no]");
    browser.sees("#outcome", "Nothing was done");
    confirm(&browser, "#verify");
    log_in(&browser);
    browser.sees("#headline", "Ready to cut over");
    let kept = browser.run("return [localStorage.length, sessionStorage.length, document.cookie]");
    assert_eq!(kept, serde_json::json!([0, 0, ""]));
    drop(browser);
    migration.finish();
}

#[test]
fn a_question_is_withdrawn_when_somebody_else_has_changed_the_phase() {
    let Some(driver) = Driver::start() else { return };
    let migration = Migration::lasting_of(source_with_keys(10));
    let browser = open(&driver, &migration);
    browser.sees("#headline", "Every key is on the target");
    browser.click("#cutover");
    browser.sees("#stakes", "in the way: verify has not run");
    assert_eq!(browser.run("return document.getElementById('do').disabled"), true);
    migration.crossfade.cut_over();
    browser.sees("#outcome", "the phase has changed");
    browser.sees("#headline", "The target serves");
    drop(browser);
    migration.finish();
}

#[test]
fn a_refusal_is_told_in_its_own_words_and_a_phone_has_room_for_everything() {
    let Some(driver) = Driver::start() else { return };
    let mut migration = Migration::of(source_with_keys(10));
    migration.crossfade.expect_log("clients stay where they are");
    let browser = open(&driver, &migration);
    browser.resize(390, 844);
    browser.sees("#blockers", "no --state-dir");
    browser.sees("#blockers", "Restart with --state-dir");
    assert_eq!(browser.run("return document.documentElement.scrollWidth <= innerWidth"), true);
    browser.picture("5-phone");
    migration.crossfade.verify();
    browser.sees("#headline", "Something stands in the way");
    migration.target.freeze();
    browser.click("#cutover");
    browser.click("#sure input");
    browser.click("#do");
    browser.sees("#outcome", "Not done: ");
    migration.target.thaw();
    drop(browser);
    migration.finish();
}

#[test]
fn a_page_that_is_left_open_does_not_grow() {
    let Some(driver) = Driver::start() else { return };
    let migration = Migration::lasting_of(source_with_keys(10));
    let browser = open(&driver, &migration);
    browser.sees("#headline", "Every key is on the target");
    browser.sees("#audit", "every key is copied");
    let elements = || browser.run("return document.querySelectorAll('*').length");
    let (before, uptime) = (elements(), browser.text("#version"));
    support::wait_until("events have come", || browser.text("#version") != uptime);
    browser.sees("[data-chart=lag] .now", "s");
    assert_eq!(elements(), before);
    drop(browser);
    migration.finish();
}

#[test]
#[ignore = "draws the picture of the README, in a minute and a half"]
fn the_picture_of_the_readme_can_be_drawn_anew() {
    let Some(driver) = Driver::start() else { return };
    let migration = Migration::lasting_of(source_with_keys(20_000));
    let invariants = Invariants::start(&migration.crossfade.address());
    let browser = open(&driver, &migration);
    std::thread::sleep(std::time::Duration::from_secs(80));
    confirm(&browser, "#verify");
    browser.sees("#outcome", "They were found equal");
    browser.resize(1040, 1010);
    browser.picture("page");
    invariants.finish(&migration.source);
    drop(browser);
    migration.finish();
}
