//! The place of a bridge in a connection between two brokers.
//!
//! ```text
//!  the peer's commands ----> Bridge::take ----no----> what a client's command does
//!                                 | answers to what the bridge sent, news of consumers
//!  outbox --> Bridge::forward --> a bare message for the peer; what is not the bridge's is dispatched
//! ```
//!
//! So a connection with a bridge is served like any other: the other direction, in which the peer is a
//! client of this broker, needs nothing of its own.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::Failure;
use crate::broker::{Delivery, Outbox, Refusal};
use crate::openwire::{BrokerInfo, Command, Message, WireError};

/// What a bridge did with a command of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is not for the bridge.
    No,
    Yes,
    /// It is done with, and is to be answered if the peer wants an answer.
    Answer,
}

/// How a delivery is written.
#[derive(Debug)]
pub enum Forwarded {
    /// It is for a consumer of the peer: a dispatch.
    NotOurs,
    /// Not at all.
    Nothing,
    /// As this message.
    Message(Arc<Message>),
}

/// One direction of a bridge, from this broker to the peer, on a connection that carries it.
pub trait Bridge: fmt::Debug + Send {
    /// Looks at a command of the peer before anybody else does.
    ///
    /// # Errors
    /// The bridge cannot go on, which ends the connection.
    fn take(&mut self, command: &Command) -> Result<Taken, Failure>;

    /// Makes a message for the peer of a delivery to one of the bridge's own consumers.
    fn forward(&mut self, delivery: &Delivery) -> Forwarded;

    /// The message that [`Self::forward`] made cannot be said in the agreed format, now or later.
    fn bury(&mut self, delivery: &Delivery, why: &WireError);

    /// When to call [`Self::look`] again at the latest.
    fn next_look(&self) -> Instant;

    /// Does what has become due. While `reading` is false nothing is taken of what the peer sends.
    ///
    /// # Errors
    /// The bridge cannot go on, which ends the connection.
    fn look(&mut self, now: Instant, reading: bool) -> Result<(), Failure>;

    /// Gives back what is under way. The connection has ended.
    fn close(&mut self);
}

/// Makes bridges to brokers that connect to this one and want a bridge back.
pub trait Bridges: fmt::Debug + Send + Sync {
    /// The bridge to the broker that told `info`, which may be here; what it sends goes to `outbox`.
    /// `None` where the peer wants none. `version` is the OpenWire version agreed on.
    ///
    /// # Errors
    /// Its configuration cannot be read, or it may not have one.
    fn accept(
        &self,
        info: &BrokerInfo,
        version: u8,
        outbox: &Arc<Outbox>,
        remote_address: &str,
    ) -> Result<Option<Box<dyn Bridge>>, Refusal>;
}
