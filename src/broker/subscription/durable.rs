//! A durable subscription: a private queue of what its topics published, with at most one consumer.
//!
//! ```text
//!            activate (consumer comes)
//!   offline ---------------------------> active      publish -> pending -> window of the consumer
//!      ^                                    |
//!      +--- deactivate: what the consumer --+
//!           held goes back to its place
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::window::InFlight;
use super::{Filter, Subscription};
use crate::broker::Broker;
use crate::broker::queue::{Key, LastDelivered};
use crate::openwire::{ConsumerInfo, Destination, Message};

/// Messages whose time was over, with where they were.
pub type Expired = Vec<(Arc<Destination>, Arc<Message>)>;

/// What names a durable subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DurableKey {
    pub client_id: String,
    pub name: String,
}

impl fmt::Display for DurableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client_id, self.name)
    }
}

/// A durable subscription, with or without its consumer.
#[derive(Debug)]
pub struct Durable {
    pub key: DurableKey,
    /// As it was when the subscription was made or last activated.
    pub info: Arc<ConsumerInfo>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    filter: Filter,
    pending: BTreeMap<Key, Waiting>,
    next_seq: u64,
    active: Option<Arc<Subscription>>,
    removed: bool,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    destination: Arc<Destination>,
    redeliveries: i32,
}

impl Durable {
    pub fn new(key: DurableKey, info: Arc<ConsumerInfo>, filter: Filter) -> Self {
        let state =
            State { filter, pending: BTreeMap::new(), next_seq: 0, active: None, removed: false };
        Self { key, info, state: Mutex::new(state) }
    }

    pub fn is_active(&self) -> bool {
        self.state.lock().active.is_some()
    }

    pub fn pending_count(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Its consumer is here. Returns whether it was free.
    pub fn activate(&self, consumer: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock();
        if state.active.is_some() {
            return false;
        }
        state.filter = consumer.filter.clone();
        state.active = Some(Arc::clone(consumer));
        true
    }

    /// Its consumer is gone; `unacked` is what that held.
    pub fn deactivate(&self, unacked: Vec<InFlight>, last_delivered: LastDelivered) {
        let mut state = self.state.lock();
        state.active = None;
        for held in unacked {
            let seen = seen_by_application(&held, last_delivered);
            state.put_back(held, seen);
        }
    }

    /// Rolled back after the consumer had gone.
    pub fn give_back(&self, held: Vec<InFlight>) {
        let mut state = self.state.lock();
        for held in held {
            state.put_back(held, true);
        }
    }

    /// A topic published a message.
    pub fn publish(
        &self,
        message: &Arc<Message>,
        destination: &Arc<Destination>,
        broker: &Broker,
    ) -> Expired {
        {
            let mut state = self.state.lock();
            if state.removed || !state.filter.accepts(message, message.redelivery_counter) {
                return Expired::new();
            }
            let key = Key::in_order(state.next_seq);
            state.next_seq += 1;
            broker.memory.take(message.memory_bytes());
            let waiting = Waiting {
                message: Arc::clone(message),
                destination: Arc::clone(destination),
                redeliveries: message.redelivery_counter,
            };
            state.pending.insert(key, waiting);
        }
        self.dispatch(broker)
    }

    /// Gives the consumer what it has room for. Returns what it found expired, which the caller reports
    /// once it holds no lock.
    #[must_use]
    pub fn dispatch(&self, broker: &Broker) -> Expired {
        let mut expired = Expired::new();
        let mut state = self.state.lock();
        let now_ms = broker.now_ms();
        while let Some(consumer) = state.active.clone() {
            let Some(first) = state.pending.first_entry() else { break };
            if first.get().message.is_expired(now_ms) {
                let waiting = first.remove();
                broker.memory.free(waiting.message.memory_bytes());
                expired.push((waiting.destination, waiting.message));
                continue;
            }
            if !consumer.has_room() {
                break;
            }
            let (key, waiting) = first.remove_entry();
            let held = InFlight {
                message: Arc::clone(&waiting.message),
                key,
                redeliveries: waiting.redeliveries,
                queue: None,
                acked: false,
            };
            if !consumer.deliver(held, &waiting.destination, false, now_ms) {
                state.pending.insert(key, waiting);
                break;
            }
        }
        expired
    }

    /// Drops what waits and is over at `now_ms`.
    #[must_use]
    pub fn expire(&self, broker: &Broker) -> Expired {
        let mut state = self.state.lock();
        let now_ms = broker.now_ms();
        let over = state.pending.iter().filter(|(_, waiting)| waiting.message.is_expired(now_ms));
        let keys: Vec<_> = over.map(|(key, _)| *key).collect();
        let waiting = keys.iter().filter_map(|key| state.pending.remove(key));
        let expired: Expired =
            waiting.map(|waiting| (waiting.destination, waiting.message)).collect();
        for (_, message) in &expired {
            broker.memory.free(message.memory_bytes());
        }
        expired
    }

    /// Drops the subscription with all that waits.
    pub fn remove(&self, broker: &Broker) {
        let mut state = self.state.lock();
        state.removed = true;
        for waiting in std::mem::take(&mut state.pending).into_values() {
            broker.memory.free(waiting.message.memory_bytes());
        }
    }
}

impl State {
    fn put_back(&mut self, held: InFlight, seen: bool) {
        // What was published to a wildcard subscription names its own topic.
        let Some(destination) = held.message.destination.clone() else { return };
        let waiting = Waiting {
            redeliveries: held.redeliveries.saturating_add(i32::from(seen)),
            message: held.message,
            destination,
        };
        self.pending.insert(held.key, waiting);
    }
}

/// Unlike a queue, a durable subscription goes by the sequence number alone, and takes 0 for unknown.
fn seen_by_application(held: &InFlight, last: LastDelivered) -> bool {
    match last {
        LastDelivered::Unknown | LastDelivered::UpTo(0) => true,
        LastDelivered::Nothing | LastDelivered::BrokerStopping => false,
        LastDelivered::UpTo(sequence) => {
            held.message.message_id.as_ref().is_some_and(|id| id.broker_sequence_id <= sequence)
        }
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, active={}, pending={}", self.key, self.is_active(), self.pending_count())
    }
}
