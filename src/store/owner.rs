//! What the journal tells those whose messages it keeps.

use std::fmt;
use std::sync::Arc;

use super::place::{Key, Location};
use crate::openwire::Message;

/// A holder of messages. The journal calls it from threads of its own and holds no lock meanwhile.
pub trait Owner: fmt::Debug + Send + Sync {
    /// Messages are durable and lie at these places from now on, for the first time or because they
    /// were moved. Returns how many bytes of the journal nobody needs any more: those of messages that
    /// have left meanwhile, and those of the places where messages lay before.
    fn placed(&self, placed: &[(Key, Location)]) -> u64;

    /// Whether the owner has this message and was told that it lies there.
    fn holds(&self, key: Key, at: Location) -> bool;

    /// What was asked for with `fetch`, in that order.
    fn fetched(&self, fetched: Vec<(Key, Fetched)>);
}

/// What became of a body that was asked for.
#[derive(Debug)]
pub enum Fetched {
    Message(Arc<Message>),
    /// The file that it lay in is gone, so it was moved: look up its place and ask again.
    Moved,
    /// What lies there is not what was written. The text names file and offset.
    Damaged(String),
}
