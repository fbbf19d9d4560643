//! The command table and the effects, held against real servers.

mod convergence;
mod keys;
mod server;
mod state;
mod table;
mod writes;
