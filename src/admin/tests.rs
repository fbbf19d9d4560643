use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fake::{Fake, Running};
use super::*;
use crate::status::{Phase, Status};

impl Running {
    /// One request as it goes over the wire; the status code and the answer.
    async fn call(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = if headers.contains("host:") { "" } else { "host: localhost\r\n" };
        let request = format!(
            "{line} HTTP/1.1\r\n{host}connection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn json(&self, line: &str, body: &str) -> (u16, Value) {
        let (code, answer) = self.call(line, "", body).await;
        (code, serde_json::from_str(&answer).unwrap())
    }
}

fn refusing(refusal: Refusal) -> Fake {
    Fake { refusal: Some(refusal), ..Fake::default() }
}

#[tokio::test]
async fn status_health_and_metrics_are_there_for_anybody() {
    let running = Fake::default().serve(Some("token")).await;
    assert_eq!(running.call("GET /healthz", "", "").await.0, 200);
    assert_eq!(running.json("GET /v1/status", "").await.1["phase"], "backfilling");
    let (code, page) = running.call("GET /metrics", "", "").await;
    assert_eq!(code, 200);
    assert!(page.contains("crossfade_mirror_lag_seconds 0"));
    assert!(running.call("GET /", "", "").await.1.starts_with("<!doctype html>"));
}

#[tokio::test]
async fn readiness_comes_with_a_reason() {
    let running = Fake::default().serve(None).await;
    let away = running.json("GET /readyz", "").await;
    assert_eq!(away, (503, json!({"error": "the source is away"})));
    running.fake.status.lock().source.connected = true;
    assert_eq!(running.call("GET /readyz", "", "").await.0, 200);
}

#[tokio::test]
async fn a_change_needs_the_token_and_the_whole_of_it() {
    let running = Fake::default().serve(Some("secret")).await;
    for headers in ["", "authorization: Bearer secre\r\n", "authorization: Basic secret\r\n"] {
        assert_eq!(running.call("POST /v1/verify", headers, "").await.0, 401, "{headers}");
    }
    assert!(running.fake.asked.lock().is_empty());
    let right = "authorization: Bearer secret\r\n";
    assert_eq!(running.call("POST /v1/verify", right, "").await.0, 202);
}

#[tokio::test]
async fn a_strange_web_page_changes_nothing() {
    let running = Fake::default().serve(None).await;
    let strange = "origin: http://elsewhere\r\n";
    assert_eq!(running.call("POST /v1/cutover", strange, "").await.0, 403);
    assert_eq!(running.call("POST /v1/verify", "origin: http://localhost\r\n", "").await.0, 202);
    assert_eq!(*running.fake.asked.lock(), ["verify"]);
}

#[tokio::test]
async fn a_page_whose_name_leads_here_changes_nothing_and_reads_nothing_without_the_token() {
    let rebound = "origin: http://evil.example\r\nhost: evil.example\r\n";
    for token in [None, Some("secret")] {
        let running = Fake::default().serve(token).await;
        for line in
            ["POST /v1/cutover", "GET /", "GET /v1/status", "GET /v1/events", "GET /v1/audit"]
        {
            assert_eq!(running.call(line, rebound, "").await.0, 403, "{line}");
        }
        for line in ["GET /healthz", "GET /metrics"] {
            assert_eq!(running.call(line, rebound, "").await.0, 200, "{line}");
        }
        assert!(running.fake.asked.lock().is_empty());
    }
}

#[tokio::test]
async fn a_name_that_was_configured_or_comes_with_the_token_is_this_place() {
    let running = Fake::default().serve(Some("secret")).await;
    let token = "authorization: Bearer secret\r\n";
    let named = "host: crossfade.example:9680\r\n";
    assert_eq!(running.call("GET /v1/status", named, "").await.0, 200);
    let service = format!("host: crossfade.svc\r\n{token}");
    assert_eq!(running.call("GET /v1/status", &service, "").await.0, 200);
    assert_eq!(running.call("POST /v1/verify", &service, "").await.0, 202);
}

#[tokio::test]
async fn a_simple_form_changes_nothing() {
    let running = Fake::default().serve(None).await;
    let encoded = "content-type: application/x-www-form-urlencoded\r\n";
    let text = "content-type: text/plain\r\n";
    let body = r#"{"force":true}"#;
    assert_eq!(running.call("POST /v1/cutover", text, body).await.0, 415);
    assert_eq!(running.call("POST /v1/finalize", encoded, "force=true").await.0, 400);
    let old_browser = format!("{encoded}user-agent: Mozilla/5.0\r\n");
    assert_eq!(running.call("POST /v1/finalize", &old_browser, "").await.0, 415);
    assert!(running.fake.asked.lock().is_empty());
    // As `curl -d` has it.
    let curl = format!("{encoded}user-agent: curl/7.88.1\r\n");
    assert_eq!(running.call("POST /v1/cutover", &curl, r#"{"timeout_ms":1}"#).await.0, 200);
    assert_eq!(running.call("POST /v1/verify", "", "").await.0, 202);
}

#[tokio::test]
async fn what_was_asked_for_stands_in_the_audit_with_who_and_what_came_of_it() {
    let running = Fake::default().serve(None).await;
    let alice = "x-crossfade-actor: alice\r\n";
    running.call("POST /v1/cutover", alice, r#"{"timeout_ms":1,"force":true}"#).await;
    running
        .call("POST /v1/backfill", "user-agent: curl/8 x\r\n", r#"{"paused":true,"rate":9}"#)
        .await;
    let (_, deeds) = running.json("GET /v1/audit", "").await;
    assert_eq!(deeds[0]["actor"], "alice from 127.0.0.1");
    assert_eq!(deeds[0]["action"], "cutover --force");
    assert_eq!(deeds[0]["outcome"], "cut_over: clients were held for 1 ms");
    assert_eq!(deeds[1]["actor"], "curl/8 from 127.0.0.1");
    assert_eq!(deeds[1]["action"], "pause, at most 9 keys a second");
    let refused = Refusal::TimedOut { error: "too late".to_owned() };
    let running = refusing(refused).serve(None).await;
    running.call("POST /v1/rollback", "", "").await;
    assert_eq!(running.json("GET /v1/audit", "").await.1[0]["outcome"], "refused: too late");
}

#[tokio::test]
async fn nothing_of_the_page_is_inline_or_from_elsewhere() {
    let running = Fake::default().serve(None).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let page = read_until(&mut stream, "</html>").await;
    assert!(page.contains(&format!("content-security-policy: {}", page::POLICY)), "{page}");
    for inline in ["<style", "style=", " onclick", "javascript:", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for path in page::paths() {
        assert_eq!(running.call(&format!("GET {path}"), "", "").await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn the_last_hour_and_the_audit_are_told_from_where_the_caller_is() {
    let running = Fake::default().serve(None).await;
    let points = |answer: Value| answer["points"].as_array().unwrap().len();
    assert_eq!(points(running.json("GET /v1/history", "").await.1), 2);
    assert_eq!(points(running.json("GET /v1/history?after=1.0", "").await.1), 1);
    for number in 0..3 {
        running.fake.audit.note("a", &number.to_string(), "");
    }
    let (_, last) = running.json("GET /v1/audit?last=2", "").await;
    assert_eq!((last.as_array().unwrap().len(), &last[1]["action"]), (2, &json!("2")));
}

impl Running {
    /// Listens to events, past the head of the answer.
    async fn listen(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        stream
    }
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.unwrap();
        assert_ne!(count, 0, "{text}");
        text.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn whoever_listens_hears_of_what_is_and_of_each_change() {
    let running = Fake::default().serve(None).await;
    let mut stream = running.listen().await;
    let first = read_until(&mut stream, "\n\n\r\n").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    assert!(first.contains(r#""phase":"backfilling""#), "{first}");
    let status = Status { phase: Phase::CutOver, ..Status::default() };
    running.fake.news.send_replace(Arc::new(status));
    let second = read_until(&mut stream, "\n\n\r\n").await;
    assert!(second.contains(r#"data: {"version""#) && second.contains("cut_over"), "{second}");
}

#[tokio::test]
async fn no_more_than_a_number_listen_and_a_place_is_free_again_when_one_hangs_up() {
    let running = Fake::default().serve(None).await;
    let mut listeners = Vec::new();
    for _ in 0..events::LISTENERS {
        let mut stream = running.listen().await;
        read_until(&mut stream, "\n\n").await;
        listeners.push(stream);
    }
    assert_eq!(running.call("GET /v1/events", "", "").await.0, 503);
    listeners.pop();
    loop {
        // Who has gone is noticed at the next event.
        running.fake.news.send_replace(Arc::default());
        let mut stream = running.listen().await;
        if read_until(&mut stream, "\r\n").await.starts_with("HTTP/1.1 200") {
            return;
        }
    }
}

#[tokio::test]
async fn a_cutover_passes_its_wishes_on_and_tells_the_hold() {
    let running = Fake::default().serve(None).await;
    let body = r#"{"timeout_ms":20,"force":true}"#;
    let answer = running.json("POST /v1/cutover", body).await;
    assert_eq!(answer, (200, json!({"phase": "cut_over", "hold_ms": 20})));
    let answer = running.json("POST /v1/rollback", r#"{"timeout_ms":1}"#).await;
    assert_eq!(answer, (200, json!({"phase": "mirroring", "hold_ms": 1})));
    assert_eq!(*running.fake.asked.lock(), ["cutover 20ms true", "rollback 1ms false"]);
}

#[tokio::test]
async fn a_refusal_is_409_with_its_blockers_and_a_timeout_504() {
    let blockers = vec!["verify has not run".to_owned()];
    let conflict = Refusal::Conflict { error: "not ready".to_owned(), blockers };
    let running = refusing(conflict).serve(None).await;
    let expected = json!({"error": "not ready", "blockers": ["verify has not run"]});
    for verb in ["check", "cutover", "rollback", "resync", "finalize", "verify", "backfill"] {
        let answer = running.json(&format!("POST /v1/{verb}"), "").await;
        assert_eq!(answer, (409, expected.clone()), "{verb}");
    }
    let late = refusing(Refusal::TimedOut { error: "too late".to_owned() }).serve(None).await;
    let answer = late.json("POST /v1/cutover", "{}").await;
    assert_eq!(answer, (504, json!({"error": "too late"})));
}

#[tokio::test]
async fn a_rate_that_is_left_out_differs_from_one_that_is_null() {
    let running = Fake::default().serve(None).await;
    for body in [r#"{"paused":true}"#, r#"{"rate":null}"#, r#"{"paused":false,"rate":9}"#] {
        assert_eq!(running.json("POST /v1/backfill", body).await.0, 200);
    }
    let expected = [
        "backfill Some(true) None",
        "backfill None Some(None)",
        "backfill Some(false) Some(Some(9))",
    ];
    assert_eq!(*running.fake.asked.lock(), expected);
}

#[tokio::test]
async fn a_share_of_reads_is_a_number_from_0_to_100() {
    let running = Fake::default().serve(None).await;
    assert_eq!(running.json("POST /v1/shadow", r#"{"percent":12.5}"#).await.0, 200);
    for body in ["{}", r#"{"percent":101}"#, r#"{"percent":-1}"#, r#"{"percent":"5%"}"#] {
        assert_eq!(running.json("POST /v1/shadow", body).await.0, 400, "{body}");
    }
    assert_eq!(*running.fake.asked.lock(), ["shadow 12.5"]);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_with_a_json_error() {
    let running = Fake::default().serve(None).await;
    for body in ["{", "[]", r#"{"forse":true}"#, r#"{"timeout_ms":-1}"#, "\u{fffd}"] {
        let (code, answer) = running.json("POST /v1/cutover", body).await;
        assert_eq!(code, 400, "{body}");
        assert!(answer["error"].is_string(), "{body}");
    }
    assert_eq!(running.json("GET /v2", "").await.0, 404);
    assert_eq!(running.json("GET /v1/cutover", "").await.0, 405);
    assert_eq!(running.json("POST /v1/status", "").await.0, 405);
    assert!(running.fake.asked.lock().is_empty());
}

#[tokio::test]
async fn an_operator_who_hangs_up_does_not_stop_a_flip_half_way() {
    let running = Fake::default().serve(None).await;
    let body = r#"{"timeout_ms":100}"#;
    let call = running.call("POST /v1/cutover", "", body);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(*running.fake.asked.lock(), ["cutover 100ms false"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(running.fake.status.lock().phase, Phase::CutOver);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_does_not_come_to_a_whole_request_is_sent_away() {
    let running = Fake::default().serve(None).await;
    for said in
        ["", "GET /healthz HTTP/1.1\r\nhost: a", "POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n{"]
    {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        // That it ends is the point; whether with a word depends on what was said.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_take_longer_than_a_visitor_may_be_silent() {
    let running = Fake::default().serve(None).await;
    let answer = running.json("POST /v1/cutover", r#"{"timeout_ms":100000}"#).await;
    assert_eq!(answer, (200, json!({"phase": "cut_over", "hold_ms": 100_000})));
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let running = Fake::default().serve(None).await;
    assert_eq!(running.call("POST /v1/verify", "", &" ".repeat(100_000)).await.0, 400);
    assert!(running.fake.asked.lock().is_empty());
}
