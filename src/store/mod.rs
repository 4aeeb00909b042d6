//! What keeps messages across a restart.
//!
//! * [`options`] is what a configuration can ask of it.
//! * [`place`] is where a message stands; [`group`] what is written together; [`ticket`] the promise
//!   that it is durable, on which whoever gets it waits, or writes it itself.
//! * [`owner`] is what the journal tells those whose messages it keeps; [`recovered`] what it held when
//!   it was opened.
//! * [`temporary`] is where non-persistent messages go that memory cannot hold.
//! * [`journal`] is the handle. Behind it are the buffer ([`front`]) and four threads: [`writer`],
//!   [`reader`], [`keeper`], which has the [`cleaner`] and writes [`footer`]s, and [`heart`], which looks
//!   that the store is still ours. They share [`shared`].
//! * [`segment`], [`batch`] and [`record`] are the layout of a file, from the outside in; [`audit`] is
//!   one of the records. `FORMAT.md` says what the files mean and what a stop can leave.
//! * [`recovery`] is the way back: [`scan`] reads a segment, [`replay`] keeps what is left in the end,
//!   [`damage`] is what is not as it was written; [`follower`] goes that way while another node is still the owner.
//! * [`inspect`] looks into a store without changing it.
//! * [`epoch`] says who may confirm; [`holder`] is what a lock's file says, [`mounts`] whether it can be
//!   believed; [`disk`] is what is asked of the machine.
//!
//! **Invariant:** a ticket completes only after its changes were synced and this process was seen to be
//! the owner after that. After the first failure none does, and nothing more is written.

mod audit;
mod batch;
mod bug;
mod cleaner;
pub mod damage;
pub mod disk;
mod epoch;
pub mod error;
pub mod follower;
mod footer;
mod front;
pub mod group;
mod heart;
pub mod holder;
pub mod inspect;
pub mod journal;
mod keeper;
pub mod mounts;
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
pub mod temporary;
#[cfg(test)]
mod tests;
pub mod ticket;
mod walk;
mod writer;

pub use audit::Audit;
#[cfg(feature = "planted-bugs")]
pub use bug::Bug;
pub use damage::Damage;
pub use disk::{Disk, RealDisk};
pub use epoch::Locking;
pub use error::StoreError;
pub use group::{Add, Branch, Entry, Group, OwnerRecord};
pub use journal::{Journal, Opening, Turn, purge};
pub use owner::{Fetched, Owner};
pub use place::{Key, Location, OwnerId};
pub use recovered::{Recovered, RecoveredOwner, Stored};
pub use shared::Pressure;
pub use ticket::Ticket;
