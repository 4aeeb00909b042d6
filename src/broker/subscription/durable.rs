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
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::window::InFlight;
use super::{Filter, Subscription};
use crate::broker::backlog::{Backlog, Held, Keeper, LINGERING_BYTES_FEW, Near};
use crate::broker::hearers::Hearers;
use crate::broker::keeping::Side;
use crate::broker::queue::{Effects, LastDelivered, Moment, Removed, near};
use crate::openwire::{ConsumerInfo, Message};
use crate::store::{Fetched, Key, Location, OwnerId, RecoveredOwner};

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
    /// What the journal calls it; `None` where nothing is stored.
    pub owner: Option<OwnerId>,
    /// By which its keepers call it: the journal, and the temporary store.
    pub sides: [OnceLock<Arc<Side>>; 2],
    /// What is not persistent waits for its consumer too while that is away (`keepDurableSubsActive`).
    pub keeps_all: bool,
    state: Mutex<State>,
}

/// Something that happened to a durable subscription.
#[derive(Debug)]
pub enum Event {
    /// A topic published a message; with the key that [`Durable::reserve`] gave.
    Publish { key: Key, message: Arc<Message>, keeper: Keeper },
    /// What its consumer rejected comes again, but not yet; [`Event::Unlocked`] says when.
    PublishLater { key: Key, message: Arc<Message>, keeper: Keeper },
    /// Its consumer is gone; `unacked` is what that held.
    Deactivate { unacked: Vec<InFlight>, last_delivered: LastDelivered },
    /// Left for good.
    Consumed(Vec<Key>),
    /// Rolled back after the consumer had gone.
    Returned(Vec<Key>),
    /// Acknowledged by a prepared branch that was there before this broker.
    Locked(Vec<Key>),
    /// That branch rolled back.
    Unlocked(Vec<Key>),
    /// Its consumer may have room.
    Wake,
    /// Look for what expired.
    Expire,
    /// Bodies came that were asked for.
    Fetched(Vec<(Key, Fetched)>),
    /// What waited to be stored first is stored.
    Stored,
}

#[derive(Debug)]
struct State {
    filter: Filter,
    pending: Backlog,
    in_flight: BTreeMap<Key, Held>,
    next_seq: u64,
    /// Keys whose messages are still to come, with where those lie already.
    reserved: BTreeMap<Key, Location>,
    /// A message is given out only once it is stored.
    store_first: bool,
    active: Option<Arc<Subscription>>,
    /// When it was first seen without its consumer, in milliseconds since 1970.
    away_since: Option<i64>,
    removed: bool,
}

impl Durable {
    pub fn new(
        key: DurableKey,
        info: Arc<ConsumerInfo>,
        filter: Filter,
        owner: Option<OwnerId>,
        store_first: bool,
    ) -> Self {
        let state = State {
            filter,
            pending: Backlog::default(),
            in_flight: BTreeMap::new(),
            next_seq: 0,
            reserved: BTreeMap::new(),
            store_first,
            active: None,
            away_since: None,
            removed: false,
        };
        let sides = Default::default();
        Self { key, info, owner, sides, keeps_all: true, state: Mutex::new(state) }
    }

    /// Takes over what the journal had.
    pub fn restore(&self, recovered: RecoveredOwner) {
        let mut state = self.state.lock();
        state.next_seq = recovered.sequence + 1;
        state.pending = Backlog::restored(recovered.messages);
    }

    /// Whether its consumer has been away for `ms` milliseconds. Time counts from the first such look
    /// after it left.
    pub fn is_away_for(&self, now_ms: i64, ms: i64) -> bool {
        let mut state = self.state.lock();
        if state.active.is_some() {
            state.away_since = None;
            return false;
        }
        let since = *state.away_since.get_or_insert(now_ms);
        now_ms - since >= ms
    }

    pub fn is_active(&self) -> bool {
        self.state.lock().active.is_some()
    }

    pub fn pending_count(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Whether messages wait until they are stored.
    pub fn stores_first(&self) -> bool {
        self.state.lock().store_first
    }

    /// Its consumer is here. Returns whether it was free.
    pub fn activate(&self, consumer: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock();
        if state.active.is_some() {
            return false;
        }
        state.filter = consumer.filter.clone();
        state.active = Some(Arc::clone(consumer));
        state.away_since = None;
        true
    }

    /// The place that `message` will have here, if this subscription is among `hearers` and wants it.
    pub fn reserve(&self, message: &Message, hearers: &Hearers) -> Option<Key> {
        let mut state = self.state.lock();
        let wanted = state.filter.is_among(hearers)
            && state.filter.accepts(message, message.redelivery_counter);
        let missed = !self.keeps_all && !message.persistent && state.active.is_none();
        if state.removed || !wanted || missed {
            return None;
        }
        Some(state.next_key())
    }

    /// The place of a message that comes again. `None` when the subscription is gone.
    pub fn reserve_again(&self) -> Option<Key> {
        let mut state = self.state.lock();
        (!state.removed).then(|| state.next_key())
    }

    /// Applies an event and gives the consumer what it has room for.
    #[must_use]
    pub fn apply(&self, event: Event, moment: Moment<'_>) -> Effects {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let mut published = None;
        if let Event::Publish { key, keeper: Keeper::Memory, .. } = &event
            && moment.short
        {
            published = Some(*key);
        }
        if !state.removed {
            state.apply(event, moment.now_ms, &mut effects);
            if moment.open {
                state.dispatch(moment.now_ms, &mut effects);
            }
        }
        // What its consumer did not get at once goes to the temporary store.
        if let Some(key) = published {
            effects.spilled.extend(state.pending.spill(key).map(|message| (key, message)));
        }
        moment.memory.take(effects.taken_bytes);
        effects
    }

    /// A keeper tells where messages lie; see [`crate::broker::queue::QueueCell::placed`].
    pub fn placed(&self, keeper: Keeper, placed: &[(Key, Location)], short: bool) -> (u64, usize) {
        let mut state = self.state.lock();
        let near = near(short, state.active.is_some());
        let (mut dead, mut freed) = (0, 0);
        for (key, at) in placed {
            match state.placed(keeper, *key, *at, near) {
                Some((old, bytes)) => {
                    dead += old;
                    freed += bytes;
                }
                None => dead += u64::from(at.bytes),
            }
        }
        (dead, freed)
    }

    /// Whether a message lies where its keeper thinks.
    pub fn holds(&self, keeper: Keeper, key: Key, at: Location) -> bool {
        let state = self.state.lock();
        let is_it = |held: &Held| held.keeper == keeper && held.at == at;
        let held = state.pending.get(key).or_else(|| state.in_flight.get(&key));
        let comes = keeper == Keeper::Journal && state.reserved.get(&key) == Some(&at);
        held.is_some_and(is_it) || comes
    }

    /// Drops the subscription with all that waits. Returns what was in memory, in bytes, and what its
    /// keepers need not keep any more.
    pub fn remove(&self) -> (usize, Removed) {
        let mut state = self.state.lock();
        state.removed = true;
        let mut effects = Effects::default();
        let in_flight = std::mem::take(&mut state.in_flight);
        for (key, held) in state.pending.take_all().into_iter().chain(in_flight) {
            effects.forget(key, &held);
        }
        (effects.freed_bytes, effects.removed)
    }
}

impl State {
    fn next_key(&mut self) -> Key {
        let key = Key::new(0, self.next_seq);
        self.next_seq += 1;
        self.reserved.insert(key, Location::NONE);
        key
    }

    fn placed(
        &mut self,
        keeper: Keeper,
        key: Key,
        at: Location,
        near: Near,
    ) -> Option<(u64, usize)> {
        if let Some(place) = self.reserved.get_mut(&key).filter(|_| keeper == Keeper::Journal) {
            let before = std::mem::replace(place, at);
            return Some((u64::from(before.bytes), 0));
        }
        if let Some(held) = self.in_flight.get_mut(&key).filter(|held| held.keeper == keeper) {
            let before = std::mem::replace(&mut held.at, at);
            return Some((u64::from(before.bytes), 0));
        }
        self.pending.get(key).filter(|held| held.keeper == keeper)?;
        self.pending.placed(key, at, near)
    }

    fn apply(&mut self, event: Event, now_ms: i64, effects: &mut Effects) {
        match event {
            Event::Publish { key, message, keeper } => {
                effects.taken_bytes += message.memory_bytes();
                let at = self.reserved.remove(&key).unwrap_or(Location::NONE);
                self.pending.insert(key, Held::new(message, keeper).placed(at));
            }
            Event::PublishLater { key, message, keeper } => {
                effects.taken_bytes += message.memory_bytes();
                let at = self.reserved.remove(&key).unwrap_or(Location::NONE);
                self.in_flight.insert(key, Held::new(message, keeper).placed(at));
            }
            Event::Deactivate { unacked, last_delivered } => {
                self.active = None;
                for held in unacked {
                    let seen = seen_by_application(&held, last_delivered);
                    self.put_back(held.key, seen, effects);
                }
            }
            Event::Consumed(keys) => {
                for key in keys {
                    if let Some(held) = self.in_flight.remove(&key) {
                        effects.forget(key, &held);
                    }
                }
            }
            Event::Returned(keys) => {
                for key in keys {
                    self.put_back(key, true, effects);
                }
            }
            Event::Locked(keys) => {
                for key in keys {
                    if let Some(held) = self.pending.take(key) {
                        self.in_flight.insert(key, held);
                    }
                }
            }
            Event::Unlocked(keys) => {
                for key in keys {
                    self.put_back(key, false, effects);
                }
            }
            Event::Expire => self.expire(now_ms, effects),
            Event::Fetched(page) => {
                let arrival = self.pending.fetched(page, Key::FIRST, LINGERING_BYTES_FEW);
                effects.taken_bytes += arrival.taken_bytes;
                effects.freed_bytes += arrival.freed_bytes;
                effects.damaged = arrival.damaged;
                self.expire(now_ms, effects);
            }
            Event::Wake | Event::Stored => {}
        }
    }

    fn put_back(&mut self, key: Key, seen: bool, effects: &mut Effects) {
        let Some(mut held) = self.in_flight.remove(&key) else { return };
        if seen {
            held.set_redeliveries(held.redeliveries().saturating_add(1));
            effects.note_redelivered(key, &held);
        }
        self.pending.insert(key, held);
    }

    fn dispatch(&mut self, now_ms: i64, effects: &mut Effects) {
        let Some(consumer) = self.active.clone() else { return };
        let mut cold = None;
        while let Some(key) = self.pending.first_key() {
            let Some(held) = self.pending.get(key) else { break };
            let Some(message) = held.message.clone() else {
                cold = Some(key);
                break;
            };
            if message.is_expired(now_ms) {
                self.drop_expired(key, effects);
                continue;
            }
            if self.store_first && held.is_being_stored() || !consumer.has_room() {
                break;
            }
            let Some(held) = self.pending.take(key) else { break };
            let Some(destination) = message.destination.clone() else { break };
            let redeliveries = held.redeliveries();
            let given = InFlight { message, key, redeliveries, queue: None, acked: false };
            if !consumer.deliver(given, &destination, false, now_ms) {
                self.pending.insert(key, held);
                break;
            }
            self.in_flight.insert(key, held);
        }
        if effects.page.is_none() {
            effects.page = match cold {
                Some(key) => self.pending.page_from(key),
                None => self.pending.page_ahead(),
            };
        }
    }

    fn expire(&mut self, now_ms: i64, effects: &mut Effects) {
        for key in self.pending.take_expired(now_ms, effects) {
            self.drop_expired(key, effects);
        }
    }

    fn drop_expired(&mut self, key: Key, effects: &mut Effects) {
        let Some(held) = self.pending.take(key) else { return };
        effects.forget(key, &held);
        effects.expired.extend(held.message);
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
