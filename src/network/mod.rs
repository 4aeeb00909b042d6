//! Bridges to other brokers.
//!
//! ```text
//!  connector: one supervisor for each group of peers
//!     search -> a peer -> bridge on a connection (see `crate::connection`) -> its end -> search
//!  incoming: a peer connects and wants a bridge back -> bridge on the same connection
//! ```
//!
//! * [`options`] is what a configuration can ask of a bridge; [`rules`] which destinations it is for;
//!   [`properties`] how a duplex bridge tells it to the peer.
//! * [`discovery`] reads where peers are, [`search`] finds one that answers, [`connector`] keeps a bridge
//!   to it up; [`incoming`] answers those of other brokers.
//! * [`bridge`] is one direction: [`demand`] turns news of the peer's consumers into subscriptions here.
//! * [`status`] is how the bridges are; `explain` what they have to do with messages that wait.
//!
//! **Invariant:** a message leaves this broker only when the peer has confirmed it, and no failure ends
//! the search for a peer.

pub mod bridge;
pub mod connector;
pub mod demand;
pub mod discovery;
mod explain;
pub mod incoming;
pub mod options;
pub mod properties;
pub mod rules;
pub mod search;
pub mod status;
