//! One queue: what waits, who consumes, who gets what next.
//!
//! ```text
//!   Send -> [ pending, by key ] --dispatch--> [ in flight, by key ] --Consumed--> gone
//!                 ^                                   |
//!                 +---- Unsubscribe: back to its key -+      expired: to Effects::expired
//! ```
//!
//! A key is the priority (where the policy sorts by it) and the sequence number, so a message that
//! comes back stands where it stood. Each consumer has a cursor: nothing pending before it is for that
//! consumer, so a selector looks at a message once, not at every dispatch.
//!
//! **Invariant:** a message is in `pending` or in `in_flight`, never in both. [`Queue::apply`] takes no
//! time, waits for nothing and cannot fail; what must happen outside the lock is in [`Effects`].

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::groups::{Claim, Groups};
use super::options::PolicyEntry;
use super::options::policy::MessageGroupMap;
use super::subscription::Subscription;
use super::subscription::window::InFlight;
use crate::openwire::{ConsumerId, Destination, Message};

/// The place of a message in its queue: what sorts lower is delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// 9 minus the message's priority where the policy sorts by priority, else 0.
    band: u8,
    seq: u64,
}

impl Key {
    const FIRST: Self = Self { band: 0, seq: 0 };

    /// The place of message number `seq` where nothing is sorted by priority.
    pub fn in_order(seq: u64) -> Self {
        Self { band: 0, seq }
    }
}

/// A message that the queue holds.
#[derive(Debug, Clone)]
struct Held {
    message: Arc<Message>,
    redeliveries: i32,
}

/// Something that happened to the queue.
#[derive(Debug)]
pub enum Event {
    Send(Arc<Message>),
    Subscribe(Arc<Subscription>),
    /// A consumer is gone; `unacked` is what its window held of this queue.
    Unsubscribe {
        consumer: Arc<ConsumerId>,
        unacked: Vec<InFlight>,
        last_delivered: LastDelivered,
    },
    /// Left for good: acknowledged, dead-lettered or expired.
    Consumed(Vec<InFlight>),
    /// Rolled back after its consumer had gone.
    Returned(Vec<InFlight>),
    /// A consumer has room again that was noted to have none.
    Wake(Arc<ConsumerId>),
    /// Look for what expired.
    Expire,
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
}

/// Counters since the queue exists, as the console shows them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    pub enqueued: u64,
    pub dequeued: u64,
    pub dispatched: u64,
    pub expired: u64,
}

/// A queue under its lock.
#[derive(Debug)]
pub struct QueueCell {
    pub destination: Arc<Destination>,
    queue: Mutex<Queue>,
}

impl QueueCell {
    pub fn new(destination: Arc<Destination>, policy: Arc<PolicyEntry>) -> Self {
        Self { destination, queue: Mutex::new(Queue::new(policy)) }
    }

    /// Applies an event and, while `open`, gives out what somebody has room for. A broker that stops
    /// gives out nothing more: what one consumer leaves behind would go to the next, which leaves too.
    /// `None` when the queue was removed meanwhile: the event had no effect.
    #[must_use]
    pub fn apply(self: &Arc<Self>, event: Event, now_ms: i64, open: bool) -> Option<Effects> {
        let mut queue = self.queue.lock();
        if queue.removed {
            return None;
        }
        let mut effects = Effects::default();
        queue.apply(event, &mut effects, now_ms);
        if open {
            queue.dispatch(self, now_ms, &mut effects);
        }
        Some(effects)
    }

    /// Takes out everything; later events have no effect. Returns the bytes that became free.
    pub fn remove(&self) -> usize {
        let mut queue = self.queue.lock();
        queue.removed = true;
        queue.clear()
    }

    pub fn consumer_count(&self) -> usize {
        self.queue.lock().consumers.len()
    }

    pub fn counters(&self) -> Counters {
        self.queue.lock().counters.clone()
    }

    /// The next message after `after` in delivery order, with consumers or not, up to number `last`.
    pub fn browse(&self, after: Option<Key>, last: u64) -> Option<(Key, Arc<Message>, i32)> {
        self.queue.lock().browse(after, last)
    }

    /// The number of the newest message; a browser looks no further.
    pub fn newest(&self) -> u64 {
        self.queue.lock().next_seq
    }

    /// Counts a producer that came (1) or went (-1); returns how many there are.
    pub fn producers(&self, change: i32) -> i32 {
        let mut queue = self.queue.lock();
        queue.producers += change;
        queue.producers
    }

    /// What `subscription` holds, for errors that name it.
    pub fn pending_count(&self) -> usize {
        self.queue.lock().pending.len()
    }

    pub fn policy(&self) -> Arc<PolicyEntry> {
        Arc::clone(&self.queue.lock().policy)
    }

    pub fn memory_bytes(&self) -> usize {
        self.queue.lock().bytes
    }
}

#[derive(Debug)]
struct Consumer {
    subscription: Arc<Subscription>,
    /// Nothing pending before this is for the consumer.
    cursor: Key,
    /// The subscription knows that something waits here for room; an [`Event::Wake`] will come.
    noted: bool,
}

impl Consumer {
    fn has_room(&mut self, cell: &Arc<QueueCell>) -> bool {
        if self.noted {
            return self.subscription.has_room();
        }
        let room = self.subscription.has_room_or_notes(cell);
        self.noted = !room;
        room
    }
}

#[derive(Debug)]
struct Queue {
    policy: Arc<PolicyEntry>,
    pending: BTreeMap<Key, Held>,
    in_flight: BTreeMap<Key, Held>,
    /// In the order in which they are asked: priority, fewest groups, who waited longest.
    consumers: Vec<Consumer>,
    /// The one consumer that gets everything while it is there.
    exclusive: Option<Arc<ConsumerId>>,
    /// Made with the first message that is in a group.
    groups: Option<Box<Groups>>,
    next_seq: u64,
    /// Pending messages that can expire.
    expiring: usize,
    bytes: usize,
    producers: i32,
    counters: Counters,
    removed: bool,
}

impl Queue {
    fn new(policy: Arc<PolicyEntry>) -> Self {
        Self {
            policy,
            pending: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            consumers: Vec::new(),
            exclusive: None,
            groups: None,
            next_seq: 0,
            expiring: 0,
            bytes: 0,
            producers: 0,
            counters: Counters::default(),
            removed: false,
        }
    }

    fn apply(&mut self, event: Event, effects: &mut Effects, now_ms: i64) {
        match event {
            Event::Send(message) => self.send(message),
            Event::Subscribe(subscription) => self.subscribe(subscription),
            Event::Unsubscribe { consumer, unacked, last_delivered } => {
                self.unsubscribe(&consumer, unacked, last_delivered);
            }
            Event::Consumed(messages) => self.consumed(&messages, effects),
            Event::Returned(messages) => {
                for message in messages {
                    self.put_back(&message, true);
                }
            }
            Event::Wake(id) => self.forget_note(&id),
            Event::Expire => self.expire(now_ms, effects),
        }
    }

    fn send(&mut self, message: Arc<Message>) {
        let band = if self.policy.prioritized_messages {
            9 - message.priority.clamp(0, 9).unsigned_abs()
        } else {
            0
        };
        let key = Key { band, seq: self.next_seq };
        self.next_seq += 1;
        self.counters.enqueued += 1;
        self.bytes += message.memory_bytes();
        if message.group_id.is_some() && self.groups.is_none() {
            self.groups = Some(Box::new(Groups::new(group_limit(self.policy.message_groups))));
        }
        let redeliveries = message.redelivery_counter;
        self.insert_pending(key, Held { message, redeliveries });
        if band > 0 || self.policy.prioritized_messages {
            self.lower_cursors(key);
        }
    }

    fn insert_pending(&mut self, key: Key, held: Held) {
        self.expiring += usize::from(held.message.expiration > 0);
        self.pending.insert(key, held);
    }

    fn take_pending(&mut self, key: Key) -> Option<Held> {
        let held = self.pending.remove(&key)?;
        self.expiring -= usize::from(held.message.expiration > 0);
        Some(held)
    }

    fn subscribe(&mut self, subscription: Arc<Subscription>) {
        let info = &subscription.info;
        if info.exclusive || self.policy.all_consumers_exclusive_by_default {
            let current = self.exclusive_priority();
            let wins = current.is_none_or(|now| info.priority == i8::MAX || info.priority > now);
            if wins {
                self.exclusive = Some(Arc::clone(&subscription.id));
            }
        }
        self.insert_in_order(Consumer { subscription, cursor: Key::FIRST, noted: false });
    }

    fn forget_note(&mut self, id: &Arc<ConsumerId>) {
        let consumer = self.consumers.iter_mut().find(|it| it.subscription.id == *id);
        if let Some(consumer) = consumer {
            consumer.noted = false;
        }
    }

    fn exclusive_priority(&self) -> Option<i8> {
        let id = self.exclusive.as_ref()?;
        let consumer = self.consumers.iter().find(|consumer| consumer.subscription.id == *id)?;
        Some(consumer.subscription.info.priority)
    }

    /// Puts a consumer behind all that are to be asked before or beside it.
    fn insert_in_order(&mut self, consumer: Consumer) {
        let rank = self.rank(&consumer.subscription);
        let at = self.consumers.partition_point(|other| self.rank(&other.subscription) <= rank);
        self.consumers.insert(at, consumer);
    }

    /// What sorts lower is asked first.
    fn rank(&self, subscription: &Subscription) -> (i32, usize) {
        let priority = if self.policy.use_consumer_priority {
            -i32::from(subscription.info.priority)
        } else {
            0
        };
        let groups = self.groups.as_ref().map_or(0, |groups| groups.owned_by(&subscription.id));
        (priority, groups)
    }

    fn unsubscribe(&mut self, id: &Arc<ConsumerId>, unacked: Vec<InFlight>, last: LastDelivered) {
        self.consumers.retain(|consumer| consumer.subscription.id != *id);
        if self.exclusive.as_ref() == Some(id) {
            self.exclusive = self.next_exclusive();
        }
        if self.groups.as_mut().is_some_and(|groups| groups.remove_consumer(id)) {
            self.lower_cursors(Key::FIRST);
        }
        let seen = seen_by_application(&unacked, last);
        for (at, message) in unacked.iter().enumerate() {
            self.put_back(message, at < seen);
        }
    }

    fn next_exclusive(&self) -> Option<Arc<ConsumerId>> {
        let all = self.policy.all_consumers_exclusive_by_default;
        let candidates = self.consumers.iter().filter(|c| all || c.subscription.info.exclusive);
        // The first of the highest priority; `max_by_key` would take the last.
        let best = candidates.rev().max_by_key(|consumer| consumer.subscription.info.priority)?;
        Some(Arc::clone(&best.subscription.id))
    }

    fn put_back(&mut self, message: &InFlight, seen: bool) {
        let Some(mut held) = self.in_flight.remove(&message.key) else { return };
        held.redeliveries = message.redeliveries.saturating_add(i32::from(seen));
        self.insert_pending(message.key, held);
        self.lower_cursors(message.key);
    }

    fn lower_cursors(&mut self, key: Key) {
        for consumer in &mut self.consumers {
            consumer.cursor = consumer.cursor.min(key);
        }
    }

    fn consumed(&mut self, messages: &[InFlight], effects: &mut Effects) {
        for message in messages {
            if let Some(held) = self.in_flight.remove(&message.key) {
                self.counters.dequeued += 1;
                self.free(&held, effects);
            }
        }
    }

    fn free(&mut self, held: &Held, effects: &mut Effects) {
        let bytes = held.message.memory_bytes();
        self.bytes = self.bytes.saturating_sub(bytes);
        effects.freed_bytes += bytes;
    }

    fn expire(&mut self, now_ms: i64, effects: &mut Effects) {
        if self.expiring == 0 {
            return;
        }
        let over = self.pending.iter().filter(|(_, held)| held.message.is_expired(now_ms));
        let keys: Vec<_> = over.map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_expired(key, effects);
        }
    }

    fn drop_expired(&mut self, key: Key, effects: &mut Effects) {
        let Some(held) = self.take_pending(key) else { return };
        self.counters.expired += 1;
        self.counters.dequeued += 1;
        self.free(&held, effects);
        effects.expired.push(held.message);
    }

    fn clear(&mut self) -> usize {
        self.in_flight.clear();
        self.pending.clear();
        self.consumers.clear();
        self.exclusive = None;
        std::mem::take(&mut self.bytes)
    }

    /// Gives out messages until nothing waits that somebody may have and has room for.
    fn dispatch(&mut self, cell: &Arc<QueueCell>, now_ms: i64, effects: &mut Effects) {
        while let Some((at, key)) = self.next_delivery(cell, now_ms, effects) {
            self.deliver(at, key, cell, now_ms);
        }
    }

    /// The oldest message that some consumer may have now, and the first consumer that may.
    fn next_delivery(
        &mut self,
        cell: &Arc<QueueCell>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Option<(usize, Key)> {
        let mut best: Option<(usize, Key)> = None;
        for at in 0..self.consumers.len() {
            let head = *self.pending.keys().next()?;
            let Some(consumer) = self.consumers.get_mut(at) else { break };
            let excluded =
                self.exclusive.as_ref().is_some_and(|only| consumer.subscription.id != *only);
            if excluded || !consumer.has_room(cell) {
                continue;
            }
            let Some(key) = self.next_for(at, now_ms, effects) else { continue };
            if best.is_none_or(|(_, other)| key < other) {
                best = Some((at, key));
            }
            if key == head {
                break;
            }
        }
        best
    }

    /// Moves the consumer's cursor to the next pending message it may have. Drops what it finds expired.
    fn next_for(&mut self, at: usize, now_ms: i64, effects: &mut Effects) -> Option<Key> {
        loop {
            let consumer = self.consumers.get(at)?;
            let subscription = &consumer.subscription;
            let mut expired = None;
            let mut found = None;
            for (key, held) in self.pending.range(consumer.cursor..) {
                if held.message.is_expired(now_ms) {
                    expired = Some(*key);
                    break;
                }
                let claim = self
                    .groups
                    .as_ref()
                    .map_or(Claim::Free, |groups| groups.claim(&held.message, &subscription.id));
                if claim != Claim::Foreign
                    && subscription.filter.accepts(&held.message, held.redeliveries)
                {
                    found = Some(*key);
                    break;
                }
            }
            if let Some(key) = expired {
                self.drop_expired(key, effects);
                continue;
            }
            let end = Key { band: u8::MAX, seq: u64::MAX };
            // Where nothing is sorted by priority, what comes later has a higher number than all.
            let nothing =
                if self.policy.prioritized_messages { end } else { Key::in_order(self.next_seq) };
            let consumer = self.consumers.get_mut(at)?;
            consumer.cursor = found.unwrap_or(nothing);
            return found;
        }
    }

    fn deliver(&mut self, at: usize, key: Key, cell: &Arc<QueueCell>, now_ms: i64) {
        let Some(held) = self.take_pending(key) else { return };
        let Some(consumer) = self.consumers.get(at) else { return };
        let subscription = Arc::clone(&consumer.subscription);
        let claim = self
            .groups
            .as_ref()
            .map_or(Claim::Free, |groups| groups.claim(&held.message, &subscription.id));
        let message = InFlight {
            message: Arc::clone(&held.message),
            key,
            redeliveries: held.redeliveries,
            queue: Some(Arc::clone(cell)),
            acked: false,
        };
        let first_of_group = claim == Claim::Takes;
        if !subscription.deliver(message, &cell.destination, first_of_group, now_ms) {
            // The consumer left or another queue filled its window since it said it had room.
            self.insert_pending(key, held);
            return;
        }
        let closed = self
            .groups
            .as_mut()
            .is_some_and(|groups| groups.dispatched(&held.message, &subscription.id));
        self.in_flight.insert(key, held);
        self.counters.dispatched += 1;
        if closed {
            self.lower_cursors(Key::FIRST);
        }
        if !self.policy.strict_order_dispatch
            && self.exclusive.is_none()
            && self.consumers.len() > 1
        {
            let consumer = self.consumers.remove(at);
            self.insert_in_order(consumer);
        }
    }

    fn browse(&self, after: Option<Key>, last: u64) -> Option<(Key, Arc<Message>, i32)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = |map: &BTreeMap<Key, Held>| {
            let mut range = map.range((from, Bound::Unbounded)).filter(|(key, _)| key.seq < last);
            range.next().map(|(key, held)| (*key, Arc::clone(&held.message), held.redeliveries))
        };
        match (next(&self.pending), next(&self.in_flight)) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (one, other) => one.or(other),
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

fn group_limit(map: MessageGroupMap) -> usize {
    match map {
        MessageGroupMap::Cached { groups } => groups as usize,
        MessageGroupMap::HashBucket { buckets, .. } => buckets as usize,
        MessageGroupMap::Simple => GROUPS_MAX,
    }
}

/// Groups that a queue without a limit of its own remembers.
const GROUPS_MAX: usize = 1 << 20;
