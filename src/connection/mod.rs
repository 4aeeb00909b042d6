//! One client: negotiation, inactivity, sessions, what each command does.
//!
//! ```text
//! socket -> frames -> decoder -> commands -> broker
//!                                   |          |
//! socket <- writer <- encoder <---- outbox <---+        all in one task, see `link`
//! ```
//!
//! * [`negotiation`] is the first frame of each side; [`inactivity`] watches that the peer lives.
//! * `commands` says what each command does, with [`session`] as the register of what is open,
//!   `sends` for messages that wait for memory, [`pulls`] for those that wait for a message and
//!   [`later`] for all other waiting. `replayed` watches what a client repeats that comes from another
//!   broker.
//! * [`bridge`] is the place of a bridge in a connection between two brokers.
//! * [`writer`] turns the outbox into bytes; `link` ties all to a stream.
//!
//! **Invariant:** a connection waits for its peer, for the disk or for memory only at one place, where
//! it waits for all of them at once. So a peer that does not read is still heard, and one that does
//! not write is still served.

pub mod bridge;
mod commands;
mod failure;
pub mod inactivity;
pub mod later;
mod link;
pub mod negotiation;
pub mod pulls;
mod replayed;
mod sends;
pub mod session;
pub mod writer;

pub use failure::Failure;
pub use link::{Dialled, serve, serve_dialled};
