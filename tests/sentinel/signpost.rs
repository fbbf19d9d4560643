//! What Sentinel clients are told by `--listen-sentinel`.

use std::process::Command;

use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};

use crate::support::{Crossfade, Launch, Resp, Rng, Server};

/// A migration that answers Sentinel clients, and where.
struct Signposted {
    crossfade: Crossfade,
    asked_at: String,
    source: Server,
    _target: Server,
}

fn signposted(source: Server, options: impl FnOnce(Launch) -> Launch) -> Signposted {
    let target = Server::target();
    let mut ports = Rng::arbitrary();
    let asked_at = format!("127.0.0.1:{}", 32_700 + ports.below(60));
    let launch = Launch::between(&source, &target).option("--listen-sentinel", &asked_at);
    let crossfade = options(launch).start();
    Signposted { crossfade, asked_at, source, _target: target }
}

/// What redis-py makes of it, as its documentation says to ask.
const PYTHON: &str = "
import sys
from redis.sentinel import Sentinel
host, port = sys.argv[1].split(':')
sentinel = Sentinel([(host, int(port))], socket_timeout=5)
print('%s:%d' % sentinel.discover_master('mymaster'), sentinel.discover_slaves('mymaster'))
master = sentinel.master_for('mymaster', socket_timeout=5)
master.set('by', 'python')
print(master.get('by'))
";

#[test]
fn redis_py_finds_its_primary() {
    let signposted = signposted(Server::source(), |launch| launch);
    let python = |arguments: &[&str]| Command::new("/usr/bin/python3").args(arguments).output();
    if !python(&["-c", "import redis"]).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no python3-redis");
        return;
    }
    let output = python(&["-c", PYTHON, &signposted.asked_at]).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!("{} []\nb'python'\n", signposted.crossfade.address());
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(signposted.source.ok("GET by").text(), "python");
    signposted.crossfade.finish();
}

#[test]
fn the_redis_crate_finds_its_primary_before_and_after_a_flip() {
    let signposted = signposted(Server::source(), |launch| launch);
    let asked = format!("redis://{}", signposted.asked_at);
    let mut sentinel = Sentinel::build(vec![asked]).unwrap();
    let mut write = |value: &str| {
        let client = sentinel.master_for("mymaster", None::<&SentinelNodeConnectionInfo>).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("SET").arg("k").arg(value).exec(&mut connection).unwrap();
    };
    write("before");
    signposted.crossfade.wait_converged();
    signposted.crossfade.verify();
    assert_eq!(signposted.crossfade.admin().cutover(5_000, true).code, 200);
    write("after");
    assert_eq!(signposted.crossfade.client().ok("GET k").text(), "after");
    signposted.crossfade.finish();
}

#[test]
fn what_is_announced_is_told_and_a_login_is_judged_as_a_clients() {
    let source = Server::source_with(&["--requirepass", "right"]);
    let signposted = signposted(source, |launch| launch.option("--announce", "db.example:7"));
    let mut client = Resp::connect(&signposted.asked_at);
    assert!(client.call("AUTH wrong").text().starts_with("WRONGPASS"));
    client.ok("AUTH right");
    let told = client.ok("SENTINEL GET-MASTER-ADDR-BY-NAME whatever");
    assert_eq!(told.texts(), ["db.example", "7"]);
    assert!(client.call("SENTINEL FAILOVER whatever").text().starts_with("ERR crossfade: "));
    let greeting = client.ok("HELLO 3 AUTH default right").texts();
    assert!(greeting.contains(&"sentinel".to_owned()), "{greeting:?}");
    client.ok("QUIT");
    signposted.crossfade.finish();
}
