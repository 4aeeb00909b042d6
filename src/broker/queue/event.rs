//! What can happen to a queue, and what follows from it outside its lock.

use std::sync::Arc;

use crate::broker::backlog::{Held, Keeper, Near, Page};
use crate::broker::subscription::Subscription;
use crate::broker::subscription::window::InFlight;
use crate::broker::usage::Usage;
use crate::openwire::{ConsumerId, Message};
use crate::store::{Fetched, Key, Location};

/// Something that happened to the queue.
#[derive(Debug)]
pub enum Event {
    /// With the key that [`reserve`](super::QueueCell::reserve) gave.
    Send {
        key: Key,
        message: Arc<Message>,
        keeper: Keeper,
    },
    Subscribe(Arc<Subscription>),
    /// A consumer is gone; `unacked` is what its window held of this queue.
    Unsubscribe {
        consumer: Arc<ConsumerId>,
        unacked: Vec<InFlight>,
        last_delivered: LastDelivered,
    },
    /// Left for good: acknowledged, dead-lettered or expired.
    Consumed(Vec<Key>),
    /// Rolled back after its consumer had gone.
    Returned(Vec<Key>),
    /// Acknowledged by a prepared branch that was there before this broker: nobody gets them before
    /// its outcome.
    Locked(Vec<Key>),
    /// That branch rolled back: they are as they were.
    Unlocked(Vec<Key>),
    /// A consumer has room again that was noted to have none.
    Wake(Arc<ConsumerId>),
    /// Look for what expired.
    Expire,
    /// Bodies came that were asked for. `short` says that there is little memory.
    Fetched {
        page: Vec<(Key, Fetched)>,
        short: bool,
    },
    /// What waited to be stored first is stored.
    Stored,
    /// With the key that [`reserve`](super::QueueCell::reserve) gave: nobody gets it before [`Event::Unlocked`].
    SendLater {
        key: Key,
        message: Arc<Message>,
        keeper: Keeper,
    },
    /// The time is over for which the queue waited for consumers.
    Started,
    /// Bridges may have what they could not have before.
    Look,
}

/// What holds while an event is applied.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Whether messages are given out. A broker that stops gives out nothing more: what one consumer
    /// leaves behind would go to the next, which leaves too.
    pub open: bool,
    /// Memory is short, or that of the queue: what waits and can be kept elsewhere goes there.
    pub short: bool,
    /// Counts what is taken before the lock is released: it may be given back as soon as that is.
    pub memory: &'a Usage,
}

/// What the client said of the messages its consumer leaves behind (RemoveInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastDelivered {
    /// -2, and what an abrupt end means: all of them may have been seen.
    Unknown,
    /// -1: the application saw none.
    Nothing,
    /// The application saw up to the one with this brokerSequenceId.
    UpTo(i64),
    /// The broker stops: nothing is counted.
    BrokerStopping,
}

impl LastDelivered {
    /// From `RemoveInfo::last_delivered_sequence_id`.
    pub fn from_wire(sequence: i64) -> Self {
        match sequence {
            -1 => Self::Nothing,
            0.. => Self::UpTo(sequence),
            _ => Self::Unknown,
        }
    }
}

/// What has to happen once the lock is released.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages that left the queue because their time was over.
    pub expired: Vec<Arc<Message>>,
    /// Bytes of memory that became free.
    pub freed_bytes: usize,
    /// Bytes of memory that bodies took which were read back. They are counted already.
    pub taken_bytes: usize,
    /// What left for good, for each keeper to forget.
    pub removed: Removed,
    /// Messages whose redelivery counter the journal is to keep.
    pub redelivered: Vec<(Key, u32)>,
    /// What is to go to the temporary store.
    pub spilled: Vec<(Key, Arc<Message>)>,
    /// What is to be read back.
    pub page: Option<Page>,
    /// When the queue is to be told [`Event::Started`].
    pub start_ms: Option<i64>,
    /// When the queue is to be told [`Event::Look`].
    pub look_ms: Option<i64>,
    /// Browsers that waited for a page.
    pub browsers: Vec<Arc<Subscription>>,
    /// Why messages were taken out that could not be read back.
    pub damaged: Vec<String>,
}

/// Messages that their keepers need not keep any more.
#[derive(Debug, Default)]
pub struct Removed {
    pub journal: Vec<(Key, Location)>,
    pub temporary: Vec<(Key, Location)>,
}

impl Removed {
    pub fn push(&mut self, key: Key, held: &Held) {
        match held.keeper {
            Keeper::Memory => {}
            Keeper::Journal => self.journal.push((key, held.at)),
            Keeper::Temporary => self.temporary.push((key, held.at)),
        }
    }
}

/// What a browser finds next.
#[derive(Debug)]
pub enum Browsed {
    Message(Key, Arc<Message>, i32),
    /// The next message has to be read first; the browser is woken when it was.
    Cold,
    End,
}

/// Counters since the queue exists, as the console shows them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    pub enqueued: u64,
    pub dequeued: u64,
    pub dispatched: u64,
    pub expired: u64,
    /// Of all messages that were enqueued.
    pub bytes: u64,
}

/// How much of what waits stays in memory.
pub fn near(short: bool, consumed: bool) -> Near {
    match (short, consumed) {
        (true, _) => Near::NOTHING,
        (false, true) => Near::CONSUMED,
        (false, false) => Near::WAITING,
    }
}

impl Effects {
    /// A message left for good.
    pub fn forget(&mut self, key: Key, held: &Held) {
        self.freed_bytes += held.message.as_ref().map_or(0, |message| message.memory_bytes());
        self.removed.push(key, held);
    }

    pub fn note_redelivered(&mut self, key: Key, held: &Held) {
        if held.keeper == Keeper::Journal {
            self.redelivered.push((key, u32::try_from(held.redeliveries()).unwrap_or(0)));
        }
    }

    /// Where `persistJMSRedelivered` says so, what was given out counts as delivered after a restart.
    pub(super) fn note_dispatched(&mut self, key: Key, held: &Held) {
        if held.keeper == Keeper::Journal {
            self.redelivered.push((key, u32::try_from(held.redeliveries()).unwrap_or(0) + 1));
        }
    }
}

/// How many of `unacked`, in dispatch order, the application has seen.
pub fn seen_by_application(unacked: &[InFlight], last: LastDelivered) -> usize {
    match last {
        LastDelivered::Unknown => unacked.len(),
        LastDelivered::Nothing | LastDelivered::BrokerStopping => 0,
        LastDelivered::UpTo(sequence) => {
            let is_last = |held: &InFlight| {
                held.message.message_id.as_ref().is_some_and(|id| id.broker_sequence_id == sequence)
            };
            unacked.iter().position(is_last).map_or(0, |at| at + 1)
        }
    }
}
