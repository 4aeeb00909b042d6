//! What keeps messages across a restart.
//!
//! * [`options`] is what a configuration can ask of it.
//! * [`place`] is where a message stands; [`group`] what is written together; [`ticket`] the promise
//!   that it is durable.
//! * [`owner`] is what the journal tells those whose messages it keeps; [`recovered`] what it held when
//!   it was opened.
//! * [`journal`] is the store itself; [`disk`] what is asked of the machine.

mod audit;
mod batch;
mod bug;
mod cleaner;
pub mod disk;
mod epoch;
pub mod error;
mod footer;
mod front;
pub mod group;
pub mod journal;
mod keeper;
pub mod options;
pub mod owner;
pub mod place;
mod reader;
mod record;
pub mod recovered;
mod recovery;
mod replay;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
pub mod ticket;
mod writer;

#[cfg(feature = "planted-bugs")]
pub use bug::Bug;
pub use disk::{Disk, RealDisk};
pub use error::StoreError;
pub use group::{Add, Branch, Entry, Group, OwnerRecord};
pub use journal::{Journal, Opening, purge};
pub use owner::{Fetched, Owner};
pub use place::{Key, Location, OwnerId};
pub use recovered::{Recovered, RecoveredOwner, Stored};
pub use shared::Pressure;
pub use ticket::Ticket;
