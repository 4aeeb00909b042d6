//! What a store held when it was opened.

use std::collections::BTreeMap;

use super::damage::Damage;
use super::group::{Branch, OwnerRecord};
use super::place::{Key, Location, OwnerId};

/// Everything that is to be there again.
#[derive(Debug, Default)]
pub struct Recovered {
    /// In the order in which they came to be.
    pub owners: Vec<RecoveredOwner>,
    /// Prepared XA branches, which wait for their outcome.
    pub branches: Vec<Branch>,
    /// The highest `brokerSequenceId` of a message that was ever stored.
    pub broker_sequence: i64,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
    /// Most of it was read before this node was the owner.
    pub followed: bool,
}

/// A queue, topic, durable subscription or the scheduler with what it holds.
#[derive(Debug)]
pub struct RecoveredOwner {
    pub id: OwnerId,
    pub record: OwnerRecord,
    pub messages: BTreeMap<Key, Stored>,
    /// The highest sequence number of a key it ever used; 0 when it used none.
    pub sequence: u64,
}

/// What is known of a stored message without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    pub at: Location,
    /// How often it was delivered in vain; of a scheduled message, how often it was sent.
    pub redeliveries: u32,
    /// Milliseconds since 1970 when its time to live is over; 0 lives for ever. Of a scheduled message,
    /// when it is due.
    pub expiration: i64,
}
