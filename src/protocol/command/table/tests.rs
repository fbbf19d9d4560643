use super::*;
use crate::protocol::command::Connection;

fn find(args: &[&str]) -> Option<&'static str> {
    lookup(&Request::new(args)).map(|command| command.name)
}

#[test]
fn any_case_finds_the_command() {
    assert_eq!(find(&["gEt", "k"]), Some("GET"));
    assert_eq!(find(&["xgroup", "create", "k"]), Some("XGROUP CREATE"));
    assert_eq!(find(&["client", "setname", "x"]), Some("CLIENT SETNAME"));
    assert_eq!(find(&["COMMAND"]), Some("COMMAND"));
}

#[test]
fn what_is_not_known_is_not_guessed_at() {
    assert_eq!(find(&["NONSENSE"]), None);
    assert_eq!(find(&["XGROUP", "NONSENSE"]), None);
    assert_eq!(find(&["XGROUP CREATE", "k"]), None);
    assert_eq!(find(&[&"x".repeat(1000)]), None);
    assert_eq!(find(&[""]), None);
}

#[test]
fn every_entry_is_found_by_its_own_name() {
    for command in table() {
        let args: Vec<_> = command.name.split(' ').collect();
        assert_eq!(find(&args), Some(command.name));
    }
}

#[test]
fn the_table_is_sorted_and_names_nothing_twice() {
    assert!(table().windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn arguments_decide_whether_it_reads_writes_or_waits() {
    let serve = |text: &str| {
        let request = Request::new(text.split(' '));
        lookup(&request).unwrap().serve(&request)
    };
    assert_eq!(serve("SORT k BY STORE GET STORE"), Serve::Read { bulky: true });
    assert_eq!(serve("SORT k STORE d"), Serve::Write);
    assert_eq!(serve("GETEX k"), Serve::Read { bulky: false });
    assert_eq!(serve("GETEX k PERSIST"), Serve::Write);
    assert_eq!(serve("BITFIELD k GET u8 0 GET u8 8"), Serve::Read { bulky: false });
    assert_eq!(serve("BITFIELD k GET u8 0 SET u8 8 1"), Serve::Write);
    assert_eq!(serve("GEORADIUS k 1 2 3 km"), Serve::Read { bulky: true });
    assert_eq!(serve("GEORADIUS k 1 2 3 km STORE d"), Serve::Write);
    assert_eq!(serve("XREAD COUNT 1 STREAMS block 0"), Serve::Read { bulky: true });
    assert_eq!(serve("XREAD block 0 STREAMS k 0"), Serve::Blocking);
    assert_eq!(serve("XREADGROUP GROUP BLOCK c STREAMS k >"), Serve::Write);
    assert_eq!(serve("XREADGROUP GROUP g c BLOCK 1 STREAMS k >"), Serve::Blocking);
}

#[test]
fn what_does_something_is_never_taken_for_a_read() {
    let serve = |name: &str| lookup(&Request::new(name.split(' '))).unwrap().serve;
    for name in ["PUBLISH", "SPUBLISH"] {
        assert!(matches!(serve(name), Serve::Once { .. }), "{name}");
    }
    for name in ["SCRIPT KILL", "FUNCTION KILL"] {
        assert_eq!(serve(name), Serve::Connection(Connection::Interrupt), "{name}");
    }
}

#[test]
fn a_write_reaches_no_further_than_it_says() {
    let reach = |text: &str| {
        let request = Request::new(text.split(' '));
        lookup(&request).unwrap().reach(&request)
    };
    assert_eq!(reach("SET k v"), Reach::Keys);
    assert_eq!(reach("FLUSHDB"), Reach::Database);
    assert_eq!(reach("FLUSHALL ASYNC"), Reach::AllDatabases);
    assert_eq!(reach("SWAPDB 0 1"), Reach::Swap(0, 1));
    assert_eq!(reach("SWAPDB x 1"), Reach::Keys);
    assert_eq!(reach("FUNCTION LOAD code"), Reach::Code);
}
