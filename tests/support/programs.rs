//! The programs of the servers that are there to be tested with.
#![allow(unreachable_pub, reason = "a module shared by test binaries has no outside")]

use std::path::{Path, PathBuf};

/// Every server in the directory that `CROSSFADE_TEST_SERVERS` names, one below a name of its own
/// (`redis-8.0/redis-server`) as `make servers` lays them out in `.cache/servers`, which counts without
/// the variable; and the one that is installed.
pub fn all_servers() -> Vec<PathBuf> {
    let directory = std::env::var_os("CROSSFADE_TEST_SERVERS").map(PathBuf::from);
    let directory =
        directory.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/servers"));
    let homes = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let binaries = |home: PathBuf| ["redis-server", "valkey-server"].map(|name| home.join(name));
    let found = homes.flat_map(|home| binaries(home.path())).filter(|binary| binary.exists());
    let mut programs: Vec<PathBuf> = found.collect();
    programs.push(PathBuf::from("redis-server"));
    programs.sort();
    programs
}
