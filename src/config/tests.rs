use crate::protocol::databases::Databases;
use std::time::Duration;

use super::*;
use crate::server::Secret;

/// Reads options and variables given as TOML and pairs.
fn read_all(options: &str, variables: &[(&str, &str)]) -> Result<RunConfig, Faults> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    read(&options.parse().unwrap(), variables)
}

const SERVERS: &str = "source = 'redis://a'\ntarget = 'redis://b'\n";

fn faults(options: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let faults = read_all(options, variables).unwrap_err();
    faults.to_string().lines().map(str::to_owned).collect()
}

/// Writes a file and gives the options that name it.
fn with_file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crossfade.toml");
    fs::write(&path, text).unwrap();
    let option = format!("config = '{}'\n", path.display());
    (dir, option)
}

#[test]
fn two_urls_are_enough() {
    let config = read_all(SERVERS, &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:6380");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9680");
    assert_eq!(config.servers.databases, Databases::All);
    assert_eq!(config.mirror_buffer, 256 << 20);
    assert_eq!(config.expiry_tolerance, Duration::from_millis(50));
    assert_eq!(config.copying.target_policy, TargetPolicy::RequireEmpty);
}

#[test]
fn the_command_line_beats_the_environment_which_beats_the_file() {
    let (_dir, option) = with_file("ack = 'both'\nmax_clients = 7\ndrain-timeout = 3\n");
    let options = format!("{SERVERS}{option}drain-timeout = '1'");
    let variables = [("CROSSFADE_MAX_CLIENTS", "8"), ("CROSSFADE_DRAIN_TIMEOUT", "2")];
    let config = read_all(&options, &variables).unwrap();
    assert_eq!(config.ack, Ack::Both);
    assert_eq!(config.max_clients, 8);
    assert_eq!(config.drain_timeout, Duration::from_secs(1));
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let (dir, option) = with_file("mirror-buffer = 'lots'\nsauce = 1\n");
    let file = dir.path().join("crossfade.toml").display().to_string();
    let options = format!("{option}source = 'http://a'\nlisten = 'here'");
    let found = faults(&options, &[("CROSSFADE_ACK", "none")]);
    assert_eq!(
        found,
        [
            "--source: expected redis://, rediss://, unix:// or redis+sentinel://".to_owned(),
            "--target is required (or CROSSFADE_TARGET)".to_owned(),
            r#"--listen: expected an address and port such as 127.0.0.1:6380, not "here""#.into(),
            r#"CROSSFADE_ACK: expected source or both, not "none""#.into(),
            format!(
                "{file}: mirror-buffer: expected a size such as 1048576, 256mib or 1gb, not \"lots\""
            ),
            format!("{file}: sauce: there is no such option"),
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_one_line_without_its_content() {
    let (_dir, option) = with_file("ack = 'both'\nsource-password = hunter2\n");
    let found = faults(&option, &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("crossfade.toml:2: "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    assert!(faults("config = '/nowhere'", &[])[0].starts_with("--config \"/nowhere\": "));
}

#[test]
fn no_password_shows_in_debug_output_or_in_a_fault() {
    let options = "source = 'redis://u:hunter2@a'\ntarget = 'redis://b'\nadmin-token = 'hunter2'";
    let config = read_all(options, &[("CROSSFADE_TARGET_PASSWORD", "hunter2")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let found = faults("source = 'redis://u:hunter2@a:port'\ntarget = 'x:hunter2'", &[]);
    assert!(!found.join("\n").contains("hunter2"), "{found:?}");
}

#[test]
fn a_password_of_the_environment_fills_in_for_the_url() {
    let password = |source: &str| {
        let options = format!("source = '{source}'\ntarget = 'redis://b'");
        let variables = [("CROSSFADE_SOURCE_PASSWORD", "env")];
        read_all(&options, &variables).unwrap().servers.source.password
    };
    assert_eq!(password("redis://a"), Some(Secret::new("env")));
    assert_eq!(password("redis://u@a"), Some(Secret::new("env")));
    assert_eq!(password("redis://:url@a"), Some(Secret::new("url")));
}

#[test]
fn a_source_database_is_carried_into_the_targets() {
    let map = |source: &str, target: &str, list: &str| {
        let options = format!("source = '{source}'\ntarget = '{target}'\ndatabases = '{list}'");
        read_all(&options, &[]).map(|config| config.servers.databases)
    };
    assert_eq!(map("redis://a/3", "redis://b", "all"), Ok(Databases::one(3, 0)));
    assert_eq!(map("redis://a/3", "redis://b/5", "3"), Ok(Databases::one(3, 5)));
    assert_eq!(map("redis://a/3", "redis://a/5", "all"), Ok(Databases::one(3, 5)));
    assert_eq!(map("redis://a", "redis://b/0", "1,2"), Ok(Databases::same([1, 2])));
    assert!(map("redis://a/3", "redis://b", "4").is_err());
    assert!(map("redis://a", "redis://b/5", "all").is_err());
}

#[test]
fn a_server_is_never_migrated_into_itself() {
    let same = "source = 'redis://a:6379'\ntarget = 'redis://a'";
    assert_eq!(faults(same, &[]), ["--source and --target are the same server: a:6379"]);
    assert!(!faults("source = 'redis://a/1'\ntarget = 'redis://a/1'", &[]).is_empty());
}

#[test]
fn what_belongs_to_sentinels_is_for_urls_that_name_some() {
    let options = "source = 'redis+sentinel://h/m'\ntarget = 'redis://b'\n";
    let password = [("CROSSFADE_SOURCE_SENTINEL_PASSWORD", "hunter2")];
    let config = read_all(options, &password).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(
        faults(options, &[("CROSSFADE_TARGET_SENTINEL_PASSWORD", "hunter2")]),
        [
            "CROSSFADE_TARGET_SENTINEL_PASSWORD: the target URL names no sentinels (redis+sentinel://)"
        ]
    );
    assert_eq!(
        faults(&format!("{options}source-nat = '1.2.3.4:1'"), &[]),
        ["--source-nat: expected announced addresses and where to reach them, such as \
          10.0.0.1:6379=localhost:7001"]
    );
}

#[test]
fn an_admin_api_that_others_reach_needs_a_token() {
    let open = format!("{SERVERS}admin = '0.0.0.0:9680'");
    assert_eq!(
        faults(&open, &[]),
        ["--admin: 0.0.0.0:9680 is not a loopback: set --admin-token too"]
    );
    assert!(read_all(&open, &[("CROSSFADE_ADMIN_TOKEN", "t")]).is_ok());
    assert!(read_all(&open, &[("CROSSFADE_ADMIN_TOKEN", "")]).is_err());
}

#[test]
fn tls_options_without_tls_are_a_fault() {
    let options = format!("{SERVERS}source-tls-ca = '/ca.pem'");
    assert_eq!(
        faults(&options, &[]),
        ["--source-tls-ca: the source URL does not ask for TLS (rediss://)"]
    );
}

#[test]
fn a_list_in_the_file_is_one_and_a_word_may_be_in_upper_case() {
    let (_dir, option) = with_file(
        "databases = [3, 1]\nadmin-hosts = ['a.example', 'b.example']\nack = 'BOTH'\nallow-admin = 'no'\n",
    );
    let config = read_all(&format!("{SERVERS}{option}"), &[]).unwrap();
    assert_eq!(config.servers.databases, Databases::same([1, 3]));
    assert_eq!(config.admin_hosts, ["a.example", "b.example"]);
    assert_eq!((config.ack, config.allow_admin), (Ack::Both, false));
}

#[test]
fn what_a_higher_place_says_is_all_that_is_looked_at() {
    let (_dir, option) = with_file("max-clients = 'many'\n");
    let options = format!("{SERVERS}{option}max-clients = '3'");
    assert_eq!(read_all(&options, &[]).unwrap().max_clients, 3);
}
