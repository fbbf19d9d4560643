//! TLS: in front towards clients and operators, behind towards the servers, and who is let in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossfade::net::{TlsOptions, client_config};
use support::{Launch, Outcome, Resp, Server, run_cli};

/// Certificates of an authority of our own, made by `openssl`.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        let words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem";
        authority.openssl(words);
        authority
    }

    fn openssl(&self, words: &str) {
        let output = Command::new("openssl")
            .args(words.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate for 127.0.0.1 and localhost, good for a server and for a client.
    fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        std::fs::write(self.path("names"), names).unwrap();
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names -out {name}.pem"
        ));
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Says one line over TLS, and what is answered first; an error when there is no TLS to be had.
fn ask(address: &str, options: &TlsOptions, line: &str) -> std::io::Result<String> {
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let config = client_config(options).unwrap();
    let session = rustls::ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, TcpStream::connect(address)?);
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca: Some(authority.certificate()), ..TlsOptions::default() }
}

#[test]
fn clients_are_served_over_tls_and_in_no_other_way() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("proxy");
    let (source, target) = (Server::source(), Server::target());
    let crossfade = Launch::between(&source, &target)
        .option("--listen-tls-cert", text(&certificate))
        .option("--listen-tls-key", text(&key))
        .start();
    let address = crossfade.address();
    let answer = ask(&address, &trusting(&authority), "SET a 1").unwrap();
    assert_eq!(answer, "+OK\r\n");
    assert_eq!(source.ok("GET a").integer(), 1);
    assert!(ask(&address, &trusting(&stranger), "PING").is_err(), "the certificate is not trusted");
    let mut plain = Resp::connect(&address);
    plain.send("SET a 2");
    let refused = plain.read_to_close();
    assert!(!refused.starts_with(b"+"), "{}", refused.escape_ascii());
    assert_eq!(source.ok("GET a").integer(), 1);
    // One that says nothing at all keeps nobody out.
    let _silent = Resp::connect(&address);
    assert_eq!(ask(&address, &trusting(&authority), "PING").unwrap(), "+PONG\r\n");
    crossfade.finish();
}

#[test]
fn with_an_authority_for_clients_only_those_with_its_certificate_come_in() {
    let authority = Authority::new();
    let (certificate, key) = authority.certify("proxy");
    let (mine, my_key) = authority.certify("client");
    let (source, target) = (Server::source(), Server::target());
    let crossfade = Launch::between(&source, &target)
        .option("--listen-tls-cert", text(&certificate))
        .option("--listen-tls-key", text(&key))
        .option("--listen-tls-ca", text(&authority.certificate()))
        .start();
    let known = TlsOptions { certificate: Some(mine), key: Some(my_key), ..trusting(&authority) };
    assert_eq!(ask(&crossfade.address(), &known, "PING").unwrap(), "+PONG\r\n");
    let unknown = ask(&crossfade.address(), &trusting(&authority), "PING");
    assert!(unknown.is_err(), "{unknown:?}");
    crossfade.finish();
}

#[test]
fn the_admin_api_speaks_https_to_those_who_trust_it() {
    let authority = Authority::new();
    let (certificate, key) = authority.certify("proxy");
    let (source, target) = (Server::source(), Server::target());
    let crossfade = Launch::between(&source, &target)
        .option("--admin-tls-cert", text(&certificate))
        .option("--admin-tls-key", text(&key))
        .option("--admin-token", "t0ken")
        .start();
    let address = crossfade.admin().address().to_owned();
    let https = format!("https://{address}");
    let ca = authority.certificate();
    let told = run_cli(&["status", "--admin", &https, "--admin-ca", text(&ca)]);
    assert_eq!(told.code, 0, "{told:?}");
    let implied =
        run_cli(&["pause", "--admin", &address, "--admin-ca", text(&ca), "--admin-token", "t0ken"]);
    assert_eq!(implied.code, 0, "{implied:?}");
    let untrusted = run_cli(&["status", "--admin", &https]);
    assert_eq!(untrusted.code, 3, "{untrusted:?}");
    assert!(untrusted.stderr.contains("ertificate"), "{untrusted:?}");
    assert_eq!(run_cli(&["status", "--admin", &address]).code, 3, "plain HTTP is not spoken");
    crossfade.finish();
}

#[test]
fn with_an_authority_for_operators_the_commands_show_their_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("proxy");
    let (mine, my_key) = authority.certify("operator");
    let (theirs, their_key) = stranger.certify("operator");
    let ca = authority.certificate();
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (Server::source(), Server::target());
    let crossfade = Launch::between(&source, &target)
        .option("--admin-tls-cert", text(&certificate))
        .option("--admin-tls-key", text(&key))
        .option("--admin-tls-ca", text(&ca))
        .state_dir(directory.path())
        .start();
    let address = crossfade.admin().address().to_owned();
    let at = |command: &str, more: &[&str]| {
        let at = [command, "--admin", &address, "--admin-ca", text(&ca)];
        run_cli(&[&at, more].concat())
    };
    let known = ["--admin-cert", text(&mine), "--admin-key", text(&my_key)];
    for command in ["status", "verify", "cutover", "rollback"] {
        let done = at(command, &known);
        assert_eq!(done.code, 0, "{command}: {done:?}");
    }
    assert_eq!(at("status", &[]).code, 3, "nobody knows who that is");
    let unknown = at("status", &["--admin-cert", text(&theirs), "--admin-key", text(&their_key)]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let unfit = at("status", &["--admin-cert", text(&mine), "--admin-key", text(&their_key)]);
    assert_eq!(unfit.code, 2, "{unfit:?}");
    assert!(unfit.stderr.contains("--admin-cert"), "{unfit:?}");
    assert_eq!(at("status", &["--admin-cert", text(&mine)]).code, 2, "a key belongs to it");
    crossfade.finish();
}

/// A server that speaks TLS, at the URL.
fn tls_server(authority: &Authority, clients_too: &str) -> (Server, String) {
    let (certificate, key) = authority.certify("server");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = port.to_string();
    let ca = authority.certificate();
    let options = [
        ["--tls-port", &port],
        ["--tls-cert-file", text(&certificate)],
        ["--tls-key-file", text(&key)],
        ["--tls-ca-cert-file", text(&ca)],
        ["--tls-auth-clients", clients_too],
    ];
    // The distribution's, which is built with TLS.
    let server = Server::start(Path::new("redis-server"), &options.concat());
    (server, format!("rediss://127.0.0.1:{port}"))
}

#[test]
fn a_server_is_verified_against_the_authority_that_was_named() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (source, target) = (Server::source(), tls_server(&authority, "no"));
    let check = |ca: &Authority| -> Outcome {
        let ca = ca.certificate();
        run_cli(&[
            "check",
            "--source",
            &source.url(),
            "--target",
            &target.1,
            "--target-tls-ca",
            text(&ca),
        ])
    };
    assert_eq!(check(&authority).code, 0, "{:?}", check(&authority));
    let refused = check(&stranger);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("target") && refused.stderr.contains("certificate"),
        "{refused:?}"
    );
    let untrusted = run_cli(&["check", "--source", &source.url(), "--target", &target.1]);
    assert_eq!(untrusted.code, 3, "the system's authorities do not know it: {untrusted:?}");
}

#[test]
fn a_migration_to_a_server_that_asks_for_a_certificate_shows_its_own() {
    let authority = Authority::new();
    let (mine, my_key) = authority.certify("client");
    let (source, (target, url)) = (Server::source(), tls_server(&authority, "yes"));
    let ca = authority.certificate();
    let refused = run_cli(&[
        "check",
        "--source",
        &source.url(),
        "--target",
        &url,
        "--target-tls-ca",
        text(&ca),
    ]);
    assert_eq!(refused.code, 3, "{refused:?}");
    let crossfade = Launch::urls(&source.url(), &url)
        .option("--target-tls-ca", text(&ca))
        .option("--target-tls-cert", text(&mine))
        .option("--target-tls-key", text(&my_key))
        .start();
    crossfade.client().ok("SET a 1");
    crossfade.wait_converged();
    assert_eq!(target.ok("GET a").integer(), 1);
    crossfade.finish();
}
