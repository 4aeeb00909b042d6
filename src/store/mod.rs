//! What keeps messages across a restart.
//!
//! * [`options`] is what a configuration can ask of it.
//! * [`place`] is where a message stands; [`group`] what is written together; [`ticket`] the promise
//!   that it is durable.
//! * [`owner`] is what the journal tells those whose messages it keeps; [`recovered`] what it held when
//!   it was opened.

pub mod group;
pub mod options;
pub mod owner;
pub mod place;
pub mod recovered;
pub mod ticket;

pub use group::{Add, Branch, Entry, Group, OwnerRecord};
pub use owner::{Fetched, Owner};
pub use place::{Key, Location, OwnerId};
pub use recovered::{Recovered, RecoveredOwner, Stored};
pub use ticket::Ticket;
