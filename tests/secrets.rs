//! What must not be told is not told, and what is told cannot be forged by a name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Launch, Migration, Outcome, Resp, Server, run_cli};

const SOURCE: &str = "hunter2-of-the-source";
const TARGET: &str = "hunter2-of-the-target";
const CLIENT: &str = "hunter2-of-a-client";
const TOKEN: &str = "hunter2-of-the-operator";

fn guarded(launch: impl FnOnce(Launch) -> Launch) -> Migration {
    let source = Server::source_with(&["--requirepass", SOURCE]);
    let target = Server::target_with(&["--requirepass", TARGET]);
    Migration::with(source, target, |start| {
        launch(start.variable("RUST_LOG", "trace").option("--admin-token", TOKEN))
    })
}

fn assert_silent(what: &str, text: &str) {
    let line = text.lines().find(|line| line.contains("hunter2"));
    assert!(line.is_none(), "{what} tells a secret: {line:?}");
}

#[test]
fn no_secret_is_in_any_log_line_answer_or_metric() {
    let migration = guarded(|launch| launch);
    let mut client = migration.client();
    for login in [
        format!("AUTH {CLIENT}"),
        format!("AUTH nobody {CLIENT}"),
        format!("HELLO 3 AUTH default {CLIENT}"),
        format!("AUTH {SOURCE}"),
        format!("HELLO 2 AUTH default {SOURCE}"),
        format!("ACL SETUSER someone on >{CLIENT} +@all ~*"),
        format!("AUTH someone {CLIENT}"),
        format!("CONFIG SET requirepass {CLIENT}"),
        format!("MIGRATE 127.0.0.1 1 k 0 5 AUTH {CLIENT}"),
        format!("SET hunter2:key {CLIENT}"),
    ] {
        client.call(login);
    }
    migration.crossfade.wait_converged();
    let admin = migration.crossfade.admin().clone();
    let refused = admin.clone().with_token(CLIENT).post("/v1/verify", &serde_json::json!({}));
    assert_eq!(refused.code, 401);
    assert_silent("a refusal", &refused.text);
    for path in ["/v1/status", "/v1/audit", "/v1/history", "/v1/report", "/metrics", "/"] {
        assert_silent(path, &admin.get(path).text);
    }
    // The level that shows keys and values is meant to.
    let told = migration.crossfade.log().lines();
    let told: Vec<&String> = told.iter().filter(|line| !line.contains("\"TRACE\"")).collect();
    assert!(!told.is_empty());
    for line in told {
        assert_silent("the log", line);
    }
    let all = migration.crossfade.log().lines().join("\n");
    for password in [SOURCE, TARGET, TOKEN] {
        assert!(!all.contains(password), "{password} is in the log");
    }
}

#[test]
fn no_failure_to_start_tells_a_secret() {
    let (source, target) = (Server::source_with(&["--requirepass", "other"]), Server::target());
    let (host, there) = (source.address(), target.url());
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), format!("source = \"redis://:{SOURCE}@h\"\ntarget = {TARGET} x"))
        .unwrap();
    let config = config.path().to_str().unwrap();
    let wrong = [
        format!("redis://:{SOURCE}@{host}"),
        format!("redis://{SOURCE}:{SOURCE}@{host}"),
        format!("rediss://:{SOURCE}@{host}"),
        format!("redis://:{SOURCE}@127.0.0.1:1"),
        format!("redis://:{SOURCE}@host:port"),
        format!("redis://:{SOURCE}@{host}/{SOURCE}"),
        format!("redis:/{SOURCE}"),
        format!("unix://{SOURCE}"),
        format!("redis://:%ff{SOURCE}@{host}"),
    ];
    let run = |words: &[&str]| -> Outcome {
        let outcome = run_cli(words);
        assert_ne!(outcome.code, 0, "{words:?}");
        outcome
    };
    for url in &wrong {
        for command in ["run", "check", "copy", "compare"] {
            let outcome = run(&[command, "--source", url, "--target", &there]);
            assert_silent(command, &outcome.stderr);
            assert_silent(command, &outcome.stdout);
        }
    }
    assert_silent("a broken file", &run(&["run", "--config", config]).stderr);
    let admin = ["status", "--admin", "127.0.0.1:1", "--admin-token", TOKEN];
    assert_silent("status", &run(&admin).stderr);
}

/// Breaks lines, quotes, terminals, JSON, HTML and the text format of metrics.
const NASTY: &[u8] = b"\n{\"level\":\"ERROR\"}\r\n\x1b[2J\"'\\\x00\xff<script>alert(1)</script>\ncrossfade_phase 7\n";

#[test]
fn no_name_breaks_a_log_line_a_metric_or_the_page() {
    let migration = guarded(|launch| launch.option("--log-format", "json"));
    let mut client = migration.client();
    client.ok(["AUTH", SOURCE]);
    for request in [
        vec![b"SET".as_slice(), NASTY, NASTY],
        vec![b"LPUSH", NASTY, b"x"],
        vec![NASTY, NASTY],
        vec![b"CLIENT", b"SETNAME", NASTY],
        vec![b"CLIENT", b"SETNAME", b"<b>\"'\\"],
        vec![b"CLIENT", b"SETINFO", b"LIB-NAME", NASTY],
        vec![b"HELLO", b"3", b"SETNAME", NASTY],
        vec![b"AUTH", NASTY, NASTY],
        vec![b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", NASTY],
        vec![b"FUNCTION", b"LOAD", NASTY],
        vec![b"SUBSCRIBE", NASTY],
    ] {
        let words: Vec<Vec<u8>> = request.into_iter().map(<[u8]>::to_vec).collect();
        let _any = client.call(words);
    }
    // Somebody who goes round the proxy is shown by what the server says of it.
    let mut stranger = Resp::connect(&migration.source.address());
    stranger.ok(["AUTH", SOURCE]);
    stranger.ok(["CLIENT", "SETNAME", "<script>\"'\\\\"]);
    stranger.ok([b"SET".as_slice(), NASTY, NASTY]);
    migration.crossfade.wait_status("the stranger is seen", |status| {
        status["blockers"].to_string().contains("round the proxy")
    });
    for line in migration.crossfade.log().lines() {
        let event: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("a line is no JSON ({error}): {line}"));
        assert!(event.is_object() && !line.contains('\x1b'), "{line}");
    }
    let metrics = migration.crossfade.admin().get("/metrics").text;
    assert!(!metrics.contains("script") && !metrics.contains("crossfade_phase 7"));
    let page = migration.crossfade.admin().get("/").text;
    assert!(
        !page.contains("alert(1)"),
        "the page holds no data, and puts what it fetches in as text"
    );
    let text = run_cli(&["status", "--admin", migration.crossfade.admin().address()]).stdout;
    assert!(!text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n'), "{text:?}");
}
