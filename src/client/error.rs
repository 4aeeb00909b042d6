//! What can go wrong for a client, in words for the one who called.

use std::io;
use std::sync::Arc;

use crate::base::uri::UriError;
use crate::openwire::{Throwable, WireError};

/// Why a client could not do what it was asked. Cloneable, because one lost connection fails many calls.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("broker URL `{url}`: {source}")]
    Uri { url: String, source: UriError },
    #[error("broker URL `{url}`: {reason}")]
    Option { url: String, reason: String },
    #[error(
        "cannot connect to {broker}: {source}. Is a broker running there? Name another with --brokerUrl"
    )]
    Connect { broker: String, source: Arc<io::Error> },
    #[error("{broker} did not answer within {ms} ms")]
    ConnectTimeout { broker: String, ms: u64 },
    #[error("{broker} does not speak OpenWire: {source}")]
    Handshake { broker: String, source: WireError },
    #[error(
        "Wire format negotiation timeout: {broker} did not send its wire format within {ms} ms"
    )]
    NegotiationTimeout { broker: String, ms: u64 },
    #[error("lost the connection to {broker}: {source}")]
    Lost { broker: String, source: Arc<io::Error> },
    #[error("{broker} broke the protocol: {source}")]
    Protocol { broker: String, source: WireError },
    #[error("Channel was inactive for too (>{ms}) long: {broker}")]
    Inactive { broker: String, ms: u64 },
    #[error("{broker} closed the connection")]
    ClosedByBroker { broker: String },
    #[error("{broker} sent {held} messages to a consumer that asked for {limit}")]
    TooManyMessages { broker: String, held: usize, limit: usize },
    #[error("gave up after {attempts} attempts to connect; the last: {last}")]
    GaveUp { attempts: u32, last: Box<Self> },
    /// The broker refused what was asked.
    #[error("{}", in_words(.0))]
    Refused(Box<Throwable>),
    #[error("the broker answered {expected} with {found}")]
    UnexpectedAnswer { expected: &'static str, found: &'static str },
    /// The transaction's messages were not sent and its receipts not taken; do it all again. After a
    /// connection lost during the commit itself the broker may have carried it out all the same.
    #[error("the connection was lost during a transaction, which is rolled back{}", if *.in_doubt { " (it was being committed: whether the broker did is unknown)" } else { "" })]
    TransactionRolledBack { in_doubt: bool },
    #[error("nothing could be sent for {ms} ms: no broker is connected")]
    SendTimeout { ms: u64 },
    #[error("the connection is closed")]
    Closed,
    #[error("message: {0}")]
    Message(#[from] WireError),
}

impl Error {
    /// Whether the same broker, or another of the list, may do better at the next attempt.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Handshake { .. }
            | Self::NegotiationTimeout { .. }
            | Self::Lost { .. }
            | Self::Protocol { .. }
            | Self::Inactive { .. }
            | Self::TooManyMessages { .. }
            | Self::ClosedByBroker { .. } => true,
            Self::Uri { .. }
            | Self::Option { .. }
            | Self::GaveUp { .. }
            | Self::Refused(_)
            | Self::UnexpectedAnswer { .. }
            | Self::TransactionRolledBack { .. }
            | Self::SendTimeout { .. }
            | Self::Closed
            | Self::Message(_) => false,
        }
    }
}

/// As Java prints an exception.
fn in_words(throwable: &Throwable) -> String {
    let class = throwable.class_name.as_ref().map(ToString::to_string).unwrap_or_default();
    match &throwable.message {
        Some(message) => format!("{class}: {message}"),
        None => class,
    }
}
