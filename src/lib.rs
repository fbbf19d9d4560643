//! crossfade, the live migrator for Redis and Valkey.
//!
//! Clients talk to a proxy in front of the *primary*. Everything that their writes did is carried
//! to the *secondary*, and what was there before is copied, until both hold the same. Then the two
//! swap roles, and the same machinery carries everything back, so that the swap can be undone.
//!
//! This page is the map: the picture, the layers, what happens to a command, the rules and where
//! each is held. Every module says at its top what it guarantees and what it must not know.
//!
//! # The picture
//!
//! ```text
//!   clients                  crossfade run                          servers
//!
//!            bytes   +--------+  steps   +-------+   requests      +-----------+
//!   app  <---------> | proxy  | -------> | lane  | <-------------> |  primary  |
//!            replies +--------+  replies | pool  |   replies       +-----------+
//!                         ^   <--------- +-------+                   |       ^
//!                         |                  | begin, finish         | SCAN  | compare
//!                         | stage            v                       v DUMP  |
//!                    +---------+       +------------+  claim    +----------+ |
//!   operator <-----> | control | ----> |   engine   | <-------- | backfill | |
//!      admin API     +---------+       | order      |  accept   +----------+ |
//!                         |            | ledger     |                 +--------+
//!                         |            | effect log | observe, dirty  | verify |
//!                         |            | dirty keys | <-------------- +--------+
//!                         |            +------------+                      |
//!                         |                  | effects and copies          | compare
//!                         |                  v                             v
//!                         |            +------------+   requests     +-------------+
//!                         +----------> |   mirror   | <------------> |  secondary  |
//!                                      +------------+   replies      +-------------+
//! ```
//!
//! All in one [direction of mirroring](pipeline): an engine, a pool of lanes, a mirror, copiers. A
//! flip builds the opposite direction and points the clients at it.
//!
//! # Layers
//!
//! Imports point down; `tests/layering` has every edge in a table and fails on any other.
//!
//! | layer | modules | |
//! | --- | --- | --- |
//! | assembly | [`cli`] [`copy`] [`compare`] [`check`] [`control`] [`pipeline`] [`admin`] [`config`] [`failure`] | puts things together, speaks to operators; [`control`] owns the phase, [`pipeline`] is what it and [`copy`] run |
//! | roles | [`proxy`] [`mirror`] [`backfill`] [`verify`] | siblings that meet only in the engine |
//! | lanes | [`lane`] | pipelined connections, and the engine as tasks share it ([`lane::SharedEngine`]) |
//! | I/O | [`value`] [`server`] [`server::throttle`] [`net`] [`lane::record`] [`metrics`] [`metrics::latency`] [`admin::audit`] | servers, sockets, values read part by part, giving way, what a crash must not forget, how long servers take, what was done |
//! | core | [`engine`] [`engine::effect`] [`protocol::command`] [`protocol::payload`] [`engine::ledger`] [`protocol::resp`] [`value::diff`] [`status`] [`metrics::history`] [`protocol::databases`] [`protocol::capability`] [`protocol::reserved_keys`] | events in, decisions out: no socket, task, clock or log line |
//!
//! # The life of a write
//!
//! 1. The client's task finds a [`protocol::resp::Request`] in the bytes and looks its name up in the table
//!    ([`protocol::command::lookup`]); what the table does not know, the server is asked about.
//! 2. [`Keyer::write`](engine::Keyer::write) finds its keys and the probes to send behind it (the
//!    expiry that the key has afterwards, say). The step goes into the queue of a lane.
//! 3. The lane asks [`Engine::begin`](engine::Engine::begin). It waits while a write to one of the
//!    keys is in flight on another connection; then request and probes go out as they are.
//! 4. The primary answers. [`Engine::finish`](engine::Engine::finish) settles the step under one
//!    lock: [`engine::effect::of`] says what the write did. If all its keys are migrated, the effect goes
//!    to the end of the log; else the keys become dirty, and are copied later.
//! 5. The reply goes to the client, as it came. With `--ack both` it is held back until
//!    [`Engine::has_arrived`](engine::Engine::has_arrived).
//! 6. The [`mirror`] takes the effect from the log, sends it, and compares the secondary's answer
//!    with what the primary's implies. As expected: [`Engine::applied`](engine::Engine::applied),
//!    and the write has arrived. Anything else:
//!    [`Engine::diverged`](engine::Engine::diverged), and its keys are copied again.
//!
//! A transaction that came whole is one step. One that came piece by piece, a `WATCH` or a blocked
//! pop gets a connection of its own, which asks the same questions of the same engine.
//!
//! # The life of a read
//!
//! It goes down a read lane, past the engine, while its client has nothing in flight on another
//! lane; else behind that. One whose reply may be long has a lane for such, and waits until the
//! client's other steps are answered. So each client sees its own commands in its own order, and a
//! long reply stalls no write and no short read. A read may be asked again when its connection
//! breaks; a write never is.
//!
//! Where that is wanted, a share of them is asked of the secondary too, off the client's path
//! ([`verify`]): the two answers are held against each other if the keys were at rest all the while.
//!
//! # The life of a copy
//!
//! 1. A [pass](backfill::Pass) finds a key by `SCAN`, or the recopier takes a dirty one.
//!    What needs no copy is left out without a lock ([`engine::Lookup`]); for the others
//!    [`Engine::claim`](engine::Engine::claim) marks each as being copied and gives a ticket.
//! 2. A [copier](backfill::Copier) reads it on a connection of its own: expiry, idle time or
//!    frequency, `DUMP`. What is big, or has a layout that the secondary does not know, is read by
//!    commands, part by part ([`value`]).
//! 3. [`Engine::accept`](engine::Engine::accept) appends it to the log, if no write touched the key
//!    meanwhile and none is in flight; then the key is migrated and effects follow. Else it is dirty
//!    again. A small value that keeps being written is read while the copier holds it in the order; the
//!    copy of a big one follows the writes, and where it can't, the key rests until it is left alone.
//! 4. The mirror sends it between the effects, like one of them. Small values, which are nearly all,
//!    take these steps by the hundred: one lock, one entry of the log, one look at the answers.
//!
//! # The life of a flip
//!
//! 1. Refused, with every reason, unless every key is copied, the secondary is there, a fresh verify
//!    found both equal, and the phase will survive a crash; `force` passes over the last two.
//! 2. The opposite direction is prepared; subscribers open their channels on the next primary.
//! 3. Calm: while clients go on, no big key is dirty any more, and the secondary follows closely.
//! 4. Hold: new commands wait. Drain: writes in flight are answered, the log is empty, no key is
//!    dirty. Not within milliseconds: the hold is dropped, clients go on, and it is tried again. In
//!    time, subscribers part the events of mirrored writes from those of writes to come.
//! 5. A last look at both servers while nothing is in flight: is either another one, has somebody
//!    written round the proxy? Then the marker is set on the source, the phase is written and synced:
//!    the point of no return.
//! 6. The [stage](proxy::Stage) shows the new route, clients go on there, and the new direction's
//!    mirror runs back to the old primary. A rollback is the same with the sides swapped.
//!
//! # The rules, and where they are held
//!
//! | rule | what it says | held in |
//! | --- | --- | --- |
//! | one order | two writes to one key are never in flight on two connections, so replies come in the order of execution | `engine/order.rs` |
//! | effects, not requests | the secondary is told what has happened: no conditions, no relative times, no chance | `engine/effect/rules/` |
//! | position decides | a key gets effects only after its copy stands before them | `engine/settle.rs` |
//! | in doubt, copy the state | a mismatch, a lost connection, an overflow, an undeclared key make keys dirty | `Engine::mark_dirty` in `engine/mod.rs`; by name in `engine/dirty.rs`; worked off in `backfill/recopy.rs` |
//! | the application first | what does not fit into the log becomes dirty keys, what does not fit there dirty groups | `engine/log.rs`, `engine/dirty.rs` |
//! | copy without a race | a copy counts only if no write came between its claim and its place, or what came was read again | `engine/copies.rs`, `engine/catch_up.rs` |
//! | never twice | a write is sent to the primary once; unknown outcomes are in doubt | `lane/driver.rs`, `engine/unit.rs` |
//! | no early doubt | what broke in flight is copied only when the server is done with that connection | `lane/upstream.rs`; for the secondary `mirror/apply.rs` |
//! | a server is identified before it is trusted | another process at a server's address, or one with another history, may hold anything: everything is copied again | [`server::Lineage`], `lane/server_identity.rs`; for the secondary `mirror/apply.rs` |
//! | one node of a side takes the writes | every connection is dialled to the one that the sentinels name, and breaks when they name another, before what it answers is believed | `server/nodes.rs`; under the engine's lock `lane/driver.rs`, `mirror/apply.rs` |
//! | the only copy is nobody's to destroy | a primary that comes back (nearly) empty has nothing mirrored until the operator decides | `control/phase/halt.rs`, `control/halting.rs`, `Engine::halt` |
//! | scripts are overheard | what a script writes undeclared is told by the primary, and copied; none is sent while nobody listens | `engine/scripts.rs`, `mirror/tracker.rs` |
//! | what comes of doubt is in doubt | an effect that carries one key into another is as doubtful as that key | `engine/dependents.rs` |
//! | late words outlive early writes | what comes over other connections (a wait that was served, a script's key, data that were replaced) is not made up for by a write that was sent before it came | `Engine::mark_dirty_out_of_order` in `engine/mod.rs`, `engine/order.rs`, `engine/waits.rs` |
//! | expiry is absolute | what could create a key carries its end, and the end is compared | `engine/effect/expiry.rs`, `engine/effect/rules/` |
//! | two clocks | ends are told in the time of the server where they stand; a clock that is set is noticed | [`server::ClockGap`], `pipeline/clocks.rs` |
//! | parity | every answer of the secondary is held against the primary's | `mirror/judge.rs`, [`engine::effect::Expect`] |
//! | payloads travel only where they are read alike | what a server takes is tried at the start | `protocol/payload/acceptance.rs`, `value/scratch.rs` |
//! | clients go first | while they are served, backfill, verify, copy and compare take small steps with rests between | `server/throttle/mod.rs`; for clients that do not come through us `server/throttle/foreign_load.rs` |
//! | nobody waits for what nobody reads | the larger a client's replies are, the less is under way to it; what one that has gone would read is not asked; past a sum the worst reader goes | `lane/window.rs`, `lane/unread.rs`, `lane/job.rs` |
//! | connections live while they are used | lanes are the user's and not the password's, are closed when nobody holds them, end when the server refuses their user; while it is away one tries for all | `lane/lanes.rs`, `lane/shared.rs`, `lane/reach.rs` |
//! | clients that have left the source need it no more | while it does not answer, what was learnt of it and the target decide who may connect | `proxy/authority.rs`, `control/users.rs` |
//! | leave no trace | eviction clocks are left alone and carried over | `backfill/read.rs`, [`server::Setup`] |
//! | big values stall nobody | parts of bounded size, built under a scratch name; writes meanwhile are followed, or the copy waits for none | `backfill/whole.rs`, `engine/catch_up.rs`, `engine/resting.rs`, [`value`] |
//! | only writes of the same key wait | other clients' writes of other keys pass a write that waits | `engine/passing.rs`, `lane/driver.rs` |
//! | a difference is one | it is looked at again when nothing is on its way | `verify/settle.rs` |
//! | no false alarm | two answers are held against each other only if their keys were at rest from before the first until after the second | `engine/watch.rs`, `verify/shadow/` |
//! | a client is the same wherever it is served | what it is in is a state machine without connections; one function makes it anew on any other | `proxy/session/` |
//! | a flip happens whole or not | before the durable phase everything goes back by itself | `control/phase/flip.rs`, carried out by `control/flip.rs` |
//! | nobody writes unseen | what the primary has counted is held against what it was sent, also in the hold of a flip | `control/foreign.rs`, `engine/stats.rs` |
//! | nobody is held in vain | clients are held when what is left is known to fit, and for milliseconds | `control/calm.rs` |
//! | recorded before it is sent | what a crash would leave in doubt is on disk before the write goes out | `engine/intent.rs`; written by [`lane::SharedEngine::with`] to the [`record`](lane::record) |
//! | the phase is durable first | written beside, synced, renamed | `control/state.rs` |
//! | ours is not theirs | the keys that crossfade makes are never data | [`protocol::reserved_keys`] |
//!
//! What follows from them, for every interleaving of clients, copies, expiry and faults: once the
//! log is applied and no key is dirty, the secondary holds what the primary holds.
//!
//! # Phases
//!
//! ```text
//!                  pass done             hold, drain             phase durable
//!   backfilling ------------> mirroring ------------> cutting over ----------> cut over ---> finalized
//!        ^                     |  ^  ^                     |                    |   ^  finalize
//!        |   a pass is needed  |  |  |      not drained    |                    |   |
//!        +---------------------+  |  +---------------------+                    |   | not drained
//!                                 |                                             v   |
//!                                 +----------------------------------------- rolling back
//!                                              phase durable
//! ```
//!
//! [`status::Phase`] names them; which may follow which is `control/phase`'s to say, without a socket or a
//! clock. The source serves in the first three, the target from *cut over*
//! on; while it is held nobody does. A start with the state of an earlier process serves from the
//! side that the durable phase names; its first pass goes over the groups of keys that the [record](lane::record)
//! leaves in doubt, copies them and removes what the primary no longer holds. No believable record
//! means every group. The side that follows may be away; it is remembered, and judged when it is back.

pub(crate) mod admin;
pub(crate) mod backfill;
pub mod check;
pub mod cli;
pub mod compare;
pub mod config;
pub mod control;
pub(crate) mod copy;
pub mod engine;
pub mod failure;
pub(crate) mod lane;
pub(crate) mod metrics;
pub(crate) mod mirror;
pub mod net;
pub(crate) mod pipeline;
pub mod protocol;
pub(crate) mod proxy;
pub mod server;
pub mod status;
pub mod value;
pub(crate) mod verify;
