//! One queue: what waits, who consumes, who gets what next.
//!
//! * [`event`] is what happens to it, [`cell`] the queue under its lock, [`dispatch`] who gets what next.
//!
//! ```text
//!   Send -> [ pending, by key ] --dispatch--> [ in flight, by key ] --Consumed--> gone
//!                 ^                                   |
//!                 +---- Unsubscribe: back to its key -+      expired: to Effects::expired
//! ```
//!
//! A key is the priority (where the policy sorts by it) and the sequence number, so a message that
//! comes back stands where it stood. Each consumer has a cursor: nothing pending before it is for that
//! consumer, so a selector looks at a message once, not at every dispatch. A cursor that comes to a cold
//! message waits there for the page that brings it.
//!
//! **Invariant:** a message is in `pending` or in `in_flight`, never in both. [`Queue::apply`] takes no
//! time, waits for nothing and cannot fail; what must happen outside the lock is in [`Effects`].

mod cell;
mod dispatch;
mod event;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::backlog::{Backlog, Held, Keeper, LINGERING_BYTES, LINGERING_BYTES_FEW, Near, Page};
use super::groups::Groups;
use super::keeping::MEMORY_HIGH_WATER_PERCENT;
use super::options::PolicyEntry;
use super::options::policy::MessageGroupMap;
use super::subscription::Subscription;
use super::subscription::window::InFlight;
use super::topic::Idle;
use crate::openwire::{ConsumerId, Message};
use crate::store::{Fetched, Key, Location};

pub use cell::QueueCell;
pub use event::{
    Browsed, Counters, Effects, Event, LastDelivered, Moment, Removed, near, seen_by_application,
};

#[derive(Debug)]
struct Consumer {
    subscription: Arc<Subscription>,
    /// Nothing pending before this is for the consumer.
    cursor: Key,
    /// The message at the cursor was found to be for the consumer.
    found: bool,
    /// The subscription knows that something waits here for room; an [`Event::Wake`] will come.
    noted: bool,
}

impl Consumer {
    fn new(subscription: Arc<Subscription>) -> Self {
        Self { subscription, cursor: Key::FIRST, found: false, noted: false }
    }

    /// Something is pending at `key` that was not there, or was another's.
    fn look_from(&mut self, key: Key) {
        if key <= self.cursor {
            self.cursor = key;
            self.found = false;
        }
    }

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
    pending: Backlog,
    in_flight: BTreeMap<Key, Held>,
    in_flight_bytes: usize,
    /// In the order in which they are asked: priority, fewest groups, who waited longest.
    consumers: Vec<Consumer>,
    /// The one consumer that gets everything while it is there.
    exclusive: Option<Arc<ConsumerId>>,
    /// Made with the first message that is in a group.
    groups: Option<Box<Groups>>,
    next_seq: u64,
    /// Keys whose messages are still to come, with where those lie already: the journal may be faster
    /// than who sends.
    reserved: BTreeMap<Key, Location>,
    /// Right behind the highest key that ever was here.
    frontier: Key,
    /// A message is given out only once it is stored.
    store_first: bool,
    /// The first cold message that a consumer stands before.
    cold_at: Option<Key>,
    /// Who waits for a page.
    browsers: Vec<Weak<Subscription>>,
    producers: i32,
    counters: Counters,
    idle: Idle,
    /// It waits for consumers, or for a time.
    start: Option<Start>,
    /// When bridges look again for what they may not have yet.
    look_ms: Option<i64>,
    /// The first message that a bridge passed over until then.
    passed_over: Option<Key>,
    removed: bool,
}

/// When a queue that got its first consumer begins to give out messages.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// At the latest; milliseconds since 1970.
    at_ms: i64,
    /// With so many consumers at once, where that is not 0.
    consumers: usize,
}

impl Queue {
    fn new(policy: Arc<PolicyEntry>, store_first: bool) -> Self {
        Self {
            policy,
            pending: Backlog::default(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            consumers: Vec::new(),
            exclusive: None,
            groups: None,
            next_seq: 0,
            reserved: BTreeMap::new(),
            frontier: Key::FIRST,
            store_first,
            cold_at: None,
            browsers: Vec::new(),
            producers: 0,
            counters: Counters::default(),
            idle: Idle::default(),
            start: None,
            look_ms: None,
            passed_over: None,
            removed: false,
        }
    }

    fn apply(&mut self, event: Event, effects: &mut Effects, now_ms: i64) {
        match event {
            Event::Send { key, message, keeper } => self.send(key, message, keeper),
            Event::SendLater { key, message, keeper } => self.send_later(key, message, keeper),
            Event::Subscribe(subscription) => {
                self.await_consumers(now_ms, effects);
                self.subscribe(subscription);
            }
            Event::Unsubscribe { consumer, unacked, last_delivered } => {
                self.unsubscribe(&consumer, &unacked, last_delivered, effects);
            }
            Event::Consumed(keys) => self.consumed(&keys, effects),
            Event::Returned(keys) => {
                for key in keys {
                    self.put_back(key, true, effects);
                }
            }
            Event::Locked(keys) => {
                for key in keys {
                    if let Some(held) = self.pending.take(key) {
                        self.insert_in_flight(key, held);
                    }
                }
            }
            Event::Unlocked(keys) => {
                for key in keys {
                    self.put_back(key, false, effects);
                }
            }
            Event::Wake(id) => self.forget_note(&id),
            Event::Expire => self.expire(now_ms, effects),
            Event::Fetched { page, short } => self.fetched(page, short, now_ms, effects),
            Event::Look => self.look_again(now_ms),
            Event::Stored | Event::Started => {}
        }
    }

    /// The first consumer comes: the policy may want to wait for others (`consumersBeforeDispatchStarts`,
    /// `timeBeforeDispatchStarts`).
    fn await_consumers(&mut self, now_ms: i64, effects: &mut Effects) {
        let consumers = self.policy.consumers_before_dispatch_starts as usize;
        let time = self.policy.time_before_dispatch_starts;
        let waits = consumers > 0 || !time.is_zero();
        if !waits || !self.consumers.is_empty() {
            return;
        }
        let time = if time.is_zero() { START_AFTER } else { time };
        let at_ms = now_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.start = Some(Start { at_ms, consumers });
        effects.start_ms = Some(at_ms);
    }

    /// Whether messages may be given out.
    fn has_started(&mut self, now_ms: i64) -> bool {
        let there = self.consumers.len();
        let enough = |start: &Start| {
            start.at_ms <= now_ms || (start.consumers > 0 && there >= start.consumers)
        };
        if self.start.as_ref().is_some_and(enough) {
            self.start = None;
        }
        self.start.is_none()
    }

    fn send_later(&mut self, key: Key, message: Arc<Message>, keeper: Keeper) {
        self.counters.enqueued += 1;
        self.counters.bytes += message.memory_bytes() as u64;
        let at = self.reserved.remove(&key).unwrap_or(Location::NONE);
        self.frontier = self.frontier.max(key.next());
        self.insert_in_flight(key, Held::new(message, keeper).placed(at));
    }

    fn reserve(&mut self, message: &Message) -> Key {
        let band = if self.policy.prioritized_messages {
            9 - message.priority.clamp(0, 9).unsigned_abs()
        } else {
            0
        };
        let key = Key::new(band, self.next_seq);
        self.next_seq += 1;
        self.reserved.insert(key, Location::NONE);
        key
    }

    fn send(&mut self, key: Key, message: Arc<Message>, keeper: Keeper) {
        self.counters.enqueued += 1;
        self.counters.bytes += message.memory_bytes() as u64;
        if message.group_id.is_some() {
            self.make_groups();
        }
        let at = self.reserved.remove(&key).unwrap_or(Location::NONE);
        self.insert_pending(key, Held::new(message, keeper).placed(at));
    }

    fn make_groups(&mut self) {
        let limit = group_limit(self.policy.message_groups);
        self.groups.get_or_insert_with(|| Box::new(Groups::new(limit)));
    }

    /// Puts a message where consumers find it, also those that have passed its place.
    fn insert_pending(&mut self, key: Key, held: Held) {
        self.pending.insert(key, held);
        if key < self.frontier {
            self.lower_cursors(key);
        } else {
            self.frontier = key.next();
        }
    }

    fn insert_in_flight(&mut self, key: Key, held: Held) {
        self.in_flight_bytes += held.message.as_ref().map_or(0, |message| message.memory_bytes());
        self.in_flight.insert(key, held);
    }

    fn take_in_flight(&mut self, key: Key) -> Option<Held> {
        let held = self.in_flight.remove(&key)?;
        self.in_flight_bytes -= held.message.as_ref().map_or(0, |message| message.memory_bytes());
        Some(held)
    }

    /// What was just sent and found no consumer goes to the temporary store.
    fn spill(&mut self, key: Key, effects: &mut Effects) {
        if let Some(message) = self.pending.spill(key) {
            effects.spilled.push((key, message));
        }
    }

    fn placed(
        &mut self,
        keeper: Keeper,
        key: Key,
        at: Location,
        near: Near,
    ) -> Option<(u64, usize)> {
        if let Some(held) = self.in_flight.get_mut(&key).filter(|held| held.keeper == keeper) {
            let before = std::mem::replace(&mut held.at, at);
            return Some((u64::from(before.bytes), 0));
        }
        if let Some(place) = self.reserved.get_mut(&key).filter(|_| keeper == Keeper::Journal) {
            let before = std::mem::replace(place, at);
            return Some((u64::from(before.bytes), 0));
        }
        self.pending.get(key).filter(|held| held.keeper == keeper)?;
        self.pending.placed(key, at, near)
    }

    fn memory_bytes(&self) -> usize {
        let count = self.pending.resident() + self.in_flight.len();
        self.policy.counted_bytes(count, self.pending.resident_bytes() + self.in_flight_bytes)
    }

    /// `cursorMemoryHighWaterMark` of the queue's own memory limit.
    fn high_water_bytes(&self) -> usize {
        let mark = usize::from(self.policy.cursor_memory_high_water_mark);
        let limit = self.policy.memory_limit.and_then(|limit| usize::try_from(limit).ok());
        limit.map_or(usize::MAX, |limit| limit / 100 * mark.min(MEMORY_HIGH_WATER_PERCENT))
    }

    fn fetched(
        &mut self,
        page: Vec<(Key, Fetched)>,
        short: bool,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let cursors = self.consumers.iter().map(|consumer| consumer.cursor);
        let passed = cursors.min().unwrap_or(Key::FIRST);
        let most = if short { LINGERING_BYTES_FEW } else { LINGERING_BYTES };
        let arrival = self.pending.fetched(page, passed, most.min(self.high_water_bytes()));
        effects.taken_bytes += arrival.taken_bytes;
        effects.freed_bytes += arrival.freed_bytes;
        effects.damaged = arrival.damaged;
        if arrival.grouped {
            self.make_groups();
        }
        self.expire(now_ms, effects);
        effects.browsers =
            std::mem::take(&mut self.browsers).into_iter().filter_map(|it| it.upgrade()).collect();
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
        self.insert_in_order(Consumer::new(subscription));
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

    fn unsubscribe(
        &mut self,
        id: &Arc<ConsumerId>,
        unacked: &[InFlight],
        last: LastDelivered,
        effects: &mut Effects,
    ) {
        let local = |it: &Consumer| !it.subscription.info.network_subscription;
        let served = self.consumers.iter().any(|it| it.subscription.id == *id && local(it));
        self.consumers.retain(|consumer| consumer.subscription.id != *id);
        if served && self.replays() {
            // What was only for those here may now go back to where it came from.
            for bridge in self.consumers.iter_mut().filter(|it| !local(it)) {
                bridge.look_from(Key::FIRST);
            }
        }
        if self.exclusive.as_ref() == Some(id) {
            self.exclusive = self.next_exclusive();
        }
        if self.groups.as_mut().is_some_and(|groups| groups.remove_consumer(id)) {
            self.lower_cursors(Key::FIRST);
        }
        let seen = seen_by_application(unacked, last);
        for (at, message) in unacked.iter().enumerate() {
            self.put_back(message.key, at < seen, effects);
        }
    }

    fn next_exclusive(&self) -> Option<Arc<ConsumerId>> {
        let all = self.policy.all_consumers_exclusive_by_default;
        let candidates = self.consumers.iter().filter(|c| all || c.subscription.info.exclusive);
        // The first of the highest priority; `max_by_key` would take the last.
        let best = candidates.rev().max_by_key(|consumer| consumer.subscription.info.priority)?;
        Some(Arc::clone(&best.subscription.id))
    }

    fn put_back(&mut self, key: Key, seen: bool, effects: &mut Effects) {
        let Some(mut held) = self.take_in_flight(key) else { return };
        if seen {
            held.set_redeliveries(held.redeliveries().saturating_add(1));
            effects.note_redelivered(key, &held);
        }
        self.insert_pending(key, held);
    }

    fn lower_cursors(&mut self, key: Key) {
        for consumer in &mut self.consumers {
            consumer.look_from(key);
        }
    }

    fn consumed(&mut self, keys: &[Key], effects: &mut Effects) {
        for key in keys {
            if let Some(held) = self.take_in_flight(*key) {
                self.counters.dequeued += 1;
                effects.forget(*key, &held);
            }
        }
    }

    fn expire(&mut self, now_ms: i64, effects: &mut Effects) {
        for key in self.pending.take_expired(now_ms, effects) {
            self.drop_expired(key, effects);
        }
    }

    fn drop_expired(&mut self, key: Key, effects: &mut Effects) {
        let Some(held) = self.pending.take(key) else { return };
        self.counters.expired += 1;
        self.counters.dequeued += 1;
        effects.forget(key, &held);
        effects.expired.extend(held.message);
    }

    fn clear(&mut self) -> (usize, Removed) {
        let mut effects = Effects::default();
        for (key, held) in
            self.pending.take_all().into_iter().chain(std::mem::take(&mut self.in_flight))
        {
            effects.forget(key, &held);
        }
        self.in_flight_bytes = 0;
        self.consumers.clear();
        self.exclusive = None;
        (effects.freed_bytes, effects.removed)
    }

    fn browse(
        &mut self,
        browser: &Arc<Subscription>,
        after: Option<Key>,
        last: u64,
    ) -> (Browsed, Option<Page>) {
        let from = after.map_or(Key::FIRST, Key::next);
        let waiting = self.pending.range(from).find(|(key, _)| key.sequence() < last);
        // What a prepared branch of an earlier run holds has no body, and is nobody's to see.
        let mut given = self.in_flight.range(from..).map(|(key, held)| (*key, held));
        let given = given.find(|(key, held)| key.sequence() < last && held.message.is_some());
        let next = match (waiting, given) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (one, other) => one.or(other),
        };
        let Some((key, held)) = next else { return (Browsed::End, None) };
        match &held.message {
            Some(message) => {
                (Browsed::Message(key, Arc::clone(message), held.redeliveries()), None)
            }
            None => {
                self.browsers.push(Arc::downgrade(browser));
                (Browsed::Cold, self.pending.page_from(key))
            }
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

/// How long a queue waits for its second consumer and further ones, unless the policy says.
const START_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// Groups that a queue without a limit of its own remembers.
const GROUPS_MAX: usize = 1 << 20;
