//! What a transaction collects until it is committed or rolled back.
//!
//! ```text
//!   BEGIN -> [ sends and acknowledgements ] --COMMIT--> done in order, under no common lock
//!                        |     \--PREPARE (XA)--> prepared, waits for the second phase
//!                        +--ROLLBACK--> sends dropped; what was acknowledged stays with its consumer,
//!                                       or goes back to its queue if that has gone
//! ```

use std::sync::Arc;

use super::subscription::Subscription;
use super::subscription::window::InFlight;
use crate::openwire::{ConnectionId, Message};

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
}
