//! The small OpenWire client behind `producer`, `consumer` and the bridges.
//!
//! ```text
//! Connection -> Session -> Producer, Consumer     handles; many tasks may use them
//!      |  commands (bounded)        ^ dispatches (bounded by prefetch)
//!      v                            |
//!   driver: finds a broker (search), opens a socket (link), restores what was open (state)
//! ```
//!
//! * [`url`] reads broker URLs with the option names of the Java client.
//! * [`link`] is one negotiated socket, for those who speak the protocol themselves.
//!
//! **Invariant:** what the broker has not confirmed is sent again on the next socket with the same ids,
//! and what came over a lost socket is never acknowledged on another.

mod connection;
mod consumer;
mod deliveries;
mod driver;
mod error;
pub mod link;
pub mod message;
mod producer;
mod search;
mod session;
mod state;
pub mod url;

pub use connection::{Answer, Connection, Credentials};
pub use consumer::{Consumer, Received, Subscription};
pub use error::Error;
pub use link::Link;
pub use producer::{Producer, ProducerOptions};
pub use session::{AckMode, Session};
pub use url::BrokerUrl;
