//! Why a connection ended otherwise than its peer or the broker wanted.

use std::io;
use std::time::Duration;

use crate::openwire::WireError;

/// What ends a connection. Where ActiveMQ has words for it, these are they: operators look for them.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("Wire format negotiation timeout: peer did not send his wire format.")]
    NegotiationTimeout,
    #[error("the peer does not speak OpenWire: it began with `{begin}`")]
    NotOpenWire { begin: String },
    #[error("Channel was inactive for too (>{}) long: {peer}", limit.as_millis())]
    Inactive { limit: Duration, peer: String },
    #[error("Channel was inactive (no connection attempt made) for too (>{}) long: {peer}", limit.as_millis())]
    NotConnected { limit: Duration, peer: String },
    #[error("the peer takes no bytes: nothing could be written for {} ms", limit.as_millis())]
    WriteStalled { limit: Duration },
    #[error("Protocol violation: a peer may not send {0}")]
    Unexpected(&'static str),
    /// What ends a bridge, and with it the connection.
    #[error("{0}")]
    Bridge(String),
    /// Nothing came from the peer, which was asked to say something.
    #[error("the peer was asked whether it is there and did not answer for {} ms", silence.as_millis())]
    Silent { silence: Duration },
    /// The system has sent it again and heard nothing of it: the network carries nothing.
    #[error("what was sent to the peer {} ms ago has not arrived", silence.as_millis())]
    Unheard { silence: Duration },
}

impl Failure {
    /// Whether the peer just went, which is worth a line in the log only to those who ask for it.
    pub fn is_remote_close(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let gone = [UnexpectedEof, ConnectionReset, BrokenPipe, ConnectionAborted];
        matches!(self, Self::Io(error) if gone.contains(&error.kind()))
    }
}
