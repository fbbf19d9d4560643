//! Bad input: the server's error, the end of that one connection, and no harm to any other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{Migration, Twins, assert_same};

#[test]
fn a_malformed_request_gets_the_servers_error_and_closes_only_its_client() {
    let twins = Twins::start();
    let mut bystander = twins.migration.client();
    let malformed: [&[u8]; 9] = [
        b"*1\r\n+PING\r\n",
        b"*x\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-5\r\nPING\r\n",
        b"*1\r\n$600000000\r\n",
        b"*2147483648\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"SET \"unbalanced\r\n",
        b"*3\r\n$3\r\nSET\r\n:1\r\n",
    ];
    for bytes in malformed {
        let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
        for client in [&mut plain, &mut proxied] {
            client.send("SET before 1");
            client.send_raw(bytes);
        }
        let name = bytes.escape_ascii().to_string();
        assert_same(&name, &plain.read_to_close(), &proxied.read_to_close());
        assert_eq!(bystander.ok("PING").text(), "PONG");
    }
    twins.migration.assert_equal();
}

#[test]
fn an_endless_line_is_cut_off_as_by_the_server() {
    let twins = Twins::start();
    // One byte past the limit: more would lie unread when the server closes, and its error might be lost.
    let line = vec![b'a'; 64 * 1024 + 1];
    let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
    for client in [&mut plain, &mut proxied] {
        client.send_raw(&line);
    }
    assert_same(
        "64 KiB and a byte without an end",
        &plain.read_to_close(),
        &proxied.read_to_close(),
    );
}

#[test]
fn a_line_with_a_nul_never_ends_as_with_the_server() {
    let twins = Twins::start();
    let lines: [(&[u8], &[u8]); 6] = [
        (b"", b"PING\0\r\nPING\r\n"),
        (b"", b"\0\r\nPING\r\n"),
        (b"", b"ECHO \"a\0b\"\nPING\n"),
        (b"", b"*1\0\r\n$4\r\nPING\r\n"),
        (b"*1\r\n", b"$4\0\r\nPING\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n", b"\0\r\nPING\r\n"),
    ];
    for (before, line) in lines {
        // As long as any line may be and a byte longer: that the server says to each of them.
        let padding = vec![b'a'; 64 * 1024 + 1 - line.len()];
        let (mut plain, mut proxied) = (twins.plain.client(), twins.migration.client());
        for client in [&mut plain, &mut proxied] {
            client.send("SET before 1");
            client.send_raw(&[before, line].concat());
            client.send_raw(&padding);
        }
        let name = [before, line].concat().escape_ascii().to_string();
        assert_same(&name, &plain.read_to_close(), &proxied.read_to_close());
    }
}

#[test]
fn a_client_that_reads_nothing_is_bounded_and_harms_no_other() {
    let migration = Migration::start();
    let mut client = migration.client();
    let value = vec![b'x'; 1_000_000];
    client.ok([b"SET".as_slice(), b"large", &value]);
    let before = migration.crossfade.resident_bytes();
    let mut deaf = migration.client();
    for _ in 0..2_000 {
        deaf.send("GET large");
    }
    for _ in 0..200 {
        client.ok("INCR counter");
    }
    let grown = migration.crossfade.resident_bytes().saturating_sub(before);
    assert!(grown < 300_000_000, "2 GB of unread replies made the proxy grow by {grown} bytes");
}
