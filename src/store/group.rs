//! What is written together: the changes that stand or fall as one.

use std::sync::Arc;

use super::place::{Key, Location, OwnerId};
use crate::openwire::{ConsumerInfo, Destination, Message, XaTransactionId};

/// Changes that survive a crash all together or not at all.
#[derive(Debug, Default)]
pub struct Group {
    pub entries: Vec<Entry>,
    /// Somebody waits for the ticket: the batch is synced at once. What nobody waits for may be synced
    /// a moment later.
    pub wanted: bool,
}

/// One change.
#[derive(Debug)]
pub enum Entry {
    Add(Add),
    /// Messages left their owner for good. With where they lie, as far as the owner was told; what is
    /// not written yet need not be written any more.
    Remove {
        owner: OwnerId,
        keys: Vec<(Key, Location)>,
    },
    /// A message was delivered `count` times in vain.
    Redelivered {
        owner: OwnerId,
        key: Key,
        count: u32,
    },
    /// A scheduled message was sent for the `count`th time, and is due again.
    Fired {
        owner: OwnerId,
        key: Key,
        count: u32,
        /// Milliseconds since 1970.
        due_ms: i64,
    },
    /// An owner that is new, or has changed.
    Owner {
        id: OwnerId,
        record: OwnerRecord,
    },
    /// An owner is gone with all it held, which are `bytes` of the journal.
    OwnerGone {
        id: OwnerId,
        bytes: u64,
    },
    /// An XA branch is prepared: it waits for its outcome across restarts.
    Prepared(Branch),
    /// The outcome of a prepared branch is known; what it did stands beside it in the group.
    Outcome(XaTransactionId),
}

/// A message and who holds it: one owner, or every durable subscription that a topic gave it to. The
/// body is stored once; each owner removes it for itself.
#[derive(Debug)]
pub struct Add {
    pub owners: Vec<(OwnerId, Key)>,
    pub message: Arc<Message>,
    pub redeliveries: u32,
    /// When it is to be sent, in milliseconds since 1970, if the scheduler holds it.
    pub due_ms: Option<i64>,
}

/// What an owner is.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnerRecord {
    /// A queue or a topic.
    Destination(Destination),
    Durable {
        client_id: String,
        name: String,
        info: Box<ConsumerInfo>,
    },
    /// The holder of scheduled messages, of which a store has one.
    Scheduler {
        /// What the ids of its jobs begin with; no other broker has the same.
        id: String,
    },
}

/// A prepared XA branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    pub xid: XaTransactionId,
    /// In the order in which they were sent; each names its destination.
    pub sends: Vec<Arc<Message>>,
    /// Messages that the branch acknowledged.
    pub acks: Vec<(OwnerId, Key)>,
}
