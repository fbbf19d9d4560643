//! The cluster.

use super::{Command, bulky, other, read, refused};
use crate::protocol::command::spec::NO_KEYS;
use crate::protocol::command::{Connection, Serve};

pub(super) const COMMANDS: &[Command] = &[
    other("ASKING", (3, 0), 1, Serve::Connection(Connection::Cluster)),
    read("CLUSTER", (3, 0), -2, NO_KEYS),
    refused("CLUSTER ADDSLOTS", (3, 0), -3, "the cluster cannot change during a migration"),
    refused("CLUSTER ADDSLOTSRANGE", (7, 0), -4, "the cluster cannot change during a migration"),
    refused("CLUSTER BUMPEPOCH", (3, 0), 2, "the cluster cannot change during a migration"),
    refused(
        "CLUSTER CANCELSLOTMIGRATIONS",
        (9, 0),
        2,
        "the cluster cannot change during a migration",
    )
    .valkey_only(),
    read("CLUSTER COUNT-FAILURE-REPORTS", (3, 0), 3, NO_KEYS),
    read("CLUSTER COUNTKEYSINSLOT", (3, 0), 3, NO_KEYS),
    refused("CLUSTER DELSLOTS", (3, 0), -3, "the cluster cannot change during a migration"),
    refused("CLUSTER DELSLOTSRANGE", (7, 0), -4, "the cluster cannot change during a migration"),
    refused("CLUSTER FAILOVER", (3, 0), -2, "the cluster cannot change during a migration"),
    refused("CLUSTER FLUSHSLOT", (9, 0), -3, "flushing slots is not mirrored").valkey_only(),
    refused("CLUSTER FLUSHSLOTS", (3, 0), 2, "the cluster cannot change during a migration"),
    refused("CLUSTER FORGET", (3, 0), 3, "the cluster cannot change during a migration"),
    bulky("CLUSTER GETKEYSINSLOT", (3, 0), 4, NO_KEYS),
    bulky("CLUSTER GETSLOTMIGRATIONS", (9, 0), 2, NO_KEYS).valkey_only(),
    read("CLUSTER HELP", (5, 0), 2, NO_KEYS),
    read("CLUSTER INFO", (3, 0), 2, NO_KEYS),
    read("CLUSTER KEYSLOT", (3, 0), 3, NO_KEYS),
    bulky("CLUSTER LINKS", (7, 0), 2, NO_KEYS),
    refused("CLUSTER MEET", (3, 0), -4, "the cluster cannot change during a migration"),
    refused("CLUSTER MIGRATESLOTS", (9, 0), -2, "the cluster cannot change during a migration")
        .valkey_only(),
    refused("CLUSTER MIGRATION", (8, 4), -2, "the cluster cannot change during a migration"),
    read("CLUSTER MYID", (3, 0), 2, NO_KEYS),
    read("CLUSTER MYSHARDID", (7, 2), 2, NO_KEYS),
    bulky("CLUSTER NODES", (3, 0), 2, NO_KEYS),
    read("CLUSTER REPLICAS", (5, 0), 3, NO_KEYS),
    refused("CLUSTER REPLICATE", (3, 0), 3, "the cluster cannot change during a migration"),
    refused("CLUSTER RESET", (3, 0), -2, "the cluster cannot change during a migration"),
    refused("CLUSTER SAVECONFIG", (3, 0), 2, "the cluster cannot change during a migration"),
    refused("CLUSTER SET-CONFIG-EPOCH", (3, 0), 3, "the cluster cannot change during a migration"),
    refused("CLUSTER SETSLOT", (3, 0), -4, "the cluster cannot change during a migration"),
    bulky("CLUSTER SHARDS", (7, 0), 2, NO_KEYS),
    read("CLUSTER SLAVES", (3, 0), 3, NO_KEYS),
    read("CLUSTER SLOT-STATS", (8, 0), -4, NO_KEYS).valkey_only(),
    bulky("CLUSTER SLOTS", (3, 0), 2, NO_KEYS),
    refused("CLUSTER SYNCSLOTS", (8, 4), -3, "the cluster cannot change during a migration")
        .valkey(9, 0),
    bulky("CLUSTERSCAN", (9, 1), -2, NO_KEYS).valkey_only(),
    other("READONLY", (3, 0), 1, Serve::Connection(Connection::Cluster)),
    other("READWRITE", (3, 0), 1, Serve::Connection(Connection::Cluster)),
];
