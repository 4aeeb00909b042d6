//! What a transaction collects until it is committed or rolled back.
//!
//! ```text
//!   BEGIN -> [ sends and acknowledgements ] --COMMIT--> stored as one, then done in order, under no
//!                        |                                  common lock
//!                        |     \--PREPARE (XA)--> prepared and stored, waits for the second phase, also
//!                        |                        across restarts
//!                        +--a part fails unnoticed, or is lost--> only ROLLBACK is left: COMMIT and PREPARE do it, too
//!                        |
//!                        +--ROLLBACK--> sends dropped; what was acknowledged stays with its consumer,
//!                                       or goes back to its queue if that has gone
//! ```

use std::sync::Arc;

use super::queue::QueueCell;
use super::refusal::Refusal;
use super::subscription::Subscription;
use super::subscription::durable::Durable;
use super::subscription::window::InFlight;
use crate::openwire::{ConnectionId, Message};
use crate::store::Key;

/// One thing that waits for the commit.
#[derive(Debug)]
pub enum Step {
    Send(Box<Message>),
    Ack {
        consumer: Arc<Subscription>,
        messages: Vec<InFlight>,
    },
    /// A topic consumer acknowledged so many; it counts them, no more.
    AckTopic {
        consumer: Arc<Subscription>,
        count: usize,
    },
    /// Messages that were acknowledged before a restart; no consumer has them.
    AckLocked(Locked),
}

/// Where messages are that a branch from before a restart acknowledged.
#[derive(Debug)]
pub enum Locked {
    Queue(Arc<QueueCell>, Vec<Key>),
    Durable(Arc<Durable>, Vec<Key>),
}

/// An open transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    pub steps: Vec<Step>,
    /// Sends among the steps.
    pub sends: usize,
    /// Memory of the messages to send.
    pub bytes: usize,
    /// The connection that began it, for an XA branch.
    pub owner: Option<Arc<ConnectionId>>,
    /// Prepared: takes no more steps, survives its connection.
    pub prepared: bool,
    /// What a commit is refused with: a part of it failed and nobody waited for the answer, or is lost, so
    /// the client may take it for whole.
    pub rollback_only: Option<Refusal>,
}
