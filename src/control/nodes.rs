//! How the servers of each side look from outside.

use super::migration::{Course, Migration};
use crate::server::{Replica, ServerInfo};
use crate::status::{Kind, Node, NodeRole, Server, Side};

/// One side, which follows with so much lag unless it serves.
pub(super) fn server(migration: &Migration, course: &Course, side: Side, lag: f64) -> Server {
    let (direction, endpoint) = (course.standing.route(), migration.env.endpoint(side));
    let (known, connected, lag_seconds) = if side == direction.primary {
        let known = direction.route.pool.upstream().identity.known();
        (known, course.seen.primary_answers, 0.0)
    } else {
        (direction.peer.known(), direction.peer.is_connected(), lag)
    };
    let address = endpoint.address();
    let primary =
        Node { address: address.clone(), role: NodeRole::Primary, connected, lag_seconds };
    let ServerInfo { version, replicas, .. } = known;
    Server {
        address,
        version,
        connected,
        kind: if endpoint.sentinels().is_some() { Kind::Sentinel } else { Kind::Standalone },
        nodes: std::iter::once(primary).chain(replicas.into_iter().map(replica)).collect(),
    }
}

fn replica(told: Replica) -> Node {
    Node {
        address: told.address,
        role: NodeRole::Replica,
        connected: told.is_online,
        lag_seconds: told.lag as f64,
    }
}
