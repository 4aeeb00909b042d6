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
//! consumer, so a selector looks at a message once, not at every dispatch. A cursor that comes to a cold
//! message waits there for the page that brings it.
//!
//! **Invariant:** a message is in `pending` or in `in_flight`, never in both. [`Queue::apply`] takes no
//! time, waits for nothing and cannot fail; what must happen outside the lock is in [`Effects`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::backlog::{Backlog, Held, Keeper, Near, Page};
use super::groups::{Claim, Groups};
use super::keeping::Side;
use super::options::PolicyEntry;
use super::options::policy::MessageGroupMap;
use super::statistics::Figures;
use super::subscription::Subscription;
use super::subscription::window::InFlight;
use super::topic::Idle;
use super::why::Standing;
use crate::openwire::{ConsumerId, Destination, Message};
use crate::store::{Fetched, Key, Location, OwnerId, RecoveredOwner};

/// Something that happened to the queue.
#[derive(Debug)]
pub enum Event {
    /// With the key that [`QueueCell::reserve`] gave.
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
    /// Bodies came that were asked for.
    Fetched(Vec<(Key, Fetched)>),
    /// What waited to be stored first is stored.
    Stored,
    /// With the key that [`QueueCell::reserve`] gave: nobody gets it before [`Event::Unlocked`].
    SendLater {
        key: Key,
        message: Arc<Message>,
        keeper: Keeper,
    },
    /// The time is over for which the queue waited for consumers.
    Started,
}

/// What holds while an event is applied.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Whether messages are given out. A broker that stops gives out nothing more: what one consumer
    /// leaves behind would go to the next, which leaves too.
    pub open: bool,
    /// Memory is short: what waits and can be kept elsewhere goes there.
    pub short: bool,
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
    /// Bytes of memory that bodies took which were read back.
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

/// A queue under its lock.
#[derive(Debug)]
pub struct QueueCell {
    pub destination: Arc<Destination>,
    /// What the journal calls it; `None` where nothing of it is stored.
    pub owner: Option<OwnerId>,
    /// By which its keepers call it: the journal, and the temporary store.
    pub sides: [std::sync::OnceLock<Arc<Side>>; 2],
    /// Dead letters were sent here.
    dead_letters: AtomicBool,
    pub policy: Arc<PolicyEntry>,
    queue: Mutex<Queue>,
}

impl QueueCell {
    pub fn new(
        destination: Arc<Destination>,
        policy: Arc<PolicyEntry>,
        owner: Option<OwnerId>,
        store_first: bool,
    ) -> Self {
        let queue = Mutex::new(Queue::new(Arc::clone(&policy), store_first));
        Self {
            destination,
            owner,
            sides: Default::default(),
            dead_letters: AtomicBool::new(false),
            policy,
            queue,
        }
    }

    /// Notes that dead letters are sent here.
    pub fn holds_dead_letters(&self) {
        self.dead_letters.store(true, Ordering::Relaxed);
    }

    pub fn has_dead_letters(&self) -> bool {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// Takes over what the journal had.
    pub fn restore(&self, recovered: RecoveredOwner) {
        let mut queue = self.queue.lock();
        queue.next_seq = recovered.sequence + 1;
        queue.frontier =
            recovered.messages.last_key_value().map_or(Key::FIRST, |(key, _)| key.next());
        queue.pending = Backlog::restored(recovered.messages);
    }

    /// The place that `message` will have. Keys are never given twice, so one whose message does not
    /// come is only a gap.
    pub fn reserve(&self, message: &Message) -> Key {
        self.queue.lock().reserve(message)
    }

    /// Applies an event and gives out what somebody has room for. `None` when the queue was removed
    /// meanwhile: the event had no effect.
    #[must_use]
    pub fn apply(self: &Arc<Self>, event: Event, moment: Moment) -> Option<Effects> {
        let mut queue = self.queue.lock();
        if queue.removed {
            return None;
        }
        let mut effects = Effects::default();
        let mut sent = None;
        if let Event::Send { key, keeper: Keeper::Memory, .. } = &event
            && moment.short
        {
            sent = Some(*key);
        }
        queue.apply(event, &mut effects, moment.now_ms);
        if moment.open {
            queue.dispatch(self, moment.now_ms, &mut effects);
        }
        if let Some(key) = sent {
            queue.spill(key, &mut effects);
        }
        Some(effects)
    }

    /// A keeper tells where messages lie. `short` says that there is little memory. Returns bytes that
    /// the keeper need not keep any more and bytes of memory that became free.
    pub fn placed(&self, keeper: Keeper, placed: &[(Key, Location)], short: bool) -> (u64, usize) {
        let mut queue = self.queue.lock();
        let near = near(short, !queue.consumers.is_empty()).within(queue.high_water_bytes());
        let (mut dead, mut freed) = (0, 0);
        for (key, at) in placed {
            match queue.placed(keeper, *key, *at, near) {
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
        let queue = self.queue.lock();
        let is_it = |held: &Held| held.keeper == keeper && held.at == at;
        let held = queue.pending.get(key).or_else(|| queue.in_flight.get(&key));
        let comes = keeper == Keeper::Journal && queue.reserved.get(&key) == Some(&at);
        held.is_some_and(is_it) || comes
    }

    /// Whether messages wait until they are stored.
    pub fn stores_first(&self) -> bool {
        self.queue.lock().store_first
    }

    /// Takes out everything; later events have no effect. Returns what was in memory, in bytes, and
    /// what its keepers need not keep any more.
    pub fn remove(&self) -> (usize, Removed) {
        let mut queue = self.queue.lock();
        queue.removed = true;
        queue.clear()
    }

    /// Whether it is empty and nobody has used it for `ms` milliseconds; then it takes no more events.
    /// Time counts from the first such look.
    pub fn is_idle_for(&self, now_ms: i64, ms: i64) -> bool {
        let mut queue = self.queue.lock();
        let counts = |it: &Consumer| self.policy.keeps_in_use(&it.subscription.info);
        let used = queue.consumers.iter().any(counts)
            || queue.producers > 0
            || !queue.pending.is_empty()
            || !queue.in_flight.is_empty()
            || !queue.reserved.is_empty();
        let enqueued = queue.counters.enqueued;
        let over = queue.idle.is_over(used, enqueued, now_ms, ms);
        queue.removed |= over;
        over
    }

    pub fn consumer_count(&self) -> usize {
        self.queue.lock().consumers.len()
    }

    /// Whether some consumer wants a message like this one.
    pub fn has_consumer_for(&self, message: &Message) -> bool {
        let queue = self.queue.lock();
        queue.consumers.iter().any(|consumer| consumer.subscription.filter.accepts(message, 0))
    }

    pub fn counters(&self) -> Counters {
        self.queue.lock().counters.clone()
    }

    /// The next message after `after` in delivery order, with consumers or not, up to number `last`.
    /// With a page to be read if it is cold.
    pub fn browse(
        &self,
        browser: &Arc<Subscription>,
        after: Option<Key>,
        last: u64,
    ) -> (Browsed, Option<Page>) {
        self.queue.lock().browse(browser, after, last)
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

    /// Messages that wait for a consumer.
    pub fn pending_count(&self) -> usize {
        self.queue.lock().pending.len()
    }

    /// How things stand, for someone who asks why messages wait.
    pub fn standing(&self) -> Standing {
        self.queue.lock().standing()
    }

    pub fn policy(&self) -> Arc<PolicyEntry> {
        Arc::clone(&self.queue.lock().policy)
    }

    pub fn figures(&self) -> Figures {
        let queue = self.queue.lock();
        let Counters { enqueued, dequeued, dispatched, expired, bytes } = queue.counters;
        let in_flight = queue.in_flight.len() as u64;
        Figures {
            size: queue.pending.len() as u64 + in_flight,
            enqueued,
            dequeued,
            dispatched,
            expired,
            in_flight,
            cached: queue.pending.resident() as u64 + in_flight,
            enqueued_bytes: bytes,
            memory: (queue.pending.resident_bytes() + queue.in_flight_bytes) as u64,
            consumers: queue.consumers.len() as u64,
            producers: u64::try_from(queue.producers).unwrap_or(0),
        }
    }

    /// When the oldest message that is in memory came, in milliseconds since 1970.
    pub fn first_in_time(&self) -> Option<i64> {
        let queue = self.queue.lock();
        let waiting = queue.pending.range(Key::FIRST).next();
        let given = queue.in_flight.first_key_value().map(|(key, held)| (*key, held));
        let first = waiting.into_iter().chain(given).min_by_key(|(key, _)| *key);
        first.and_then(|(_, held)| held.message.as_ref()).map(|message| message.broker_in_time)
    }

    /// Bytes of its messages in memory.
    pub fn memory_bytes(&self) -> usize {
        let queue = self.queue.lock();
        queue.pending.resident_bytes() + queue.in_flight_bytes
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
            Event::Fetched(page) => self.fetched(page, now_ms, effects),
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

    /// `cursorMemoryHighWaterMark` of the queue's own memory limit.
    fn high_water_bytes(&self) -> usize {
        let percent = usize::from(self.policy.cursor_memory_high_water_mark);
        let limit = self.policy.memory_limit.and_then(|limit| usize::try_from(limit).ok());
        limit.map_or(usize::MAX, |limit| limit / 100 * percent)
    }

    fn fetched(&mut self, page: Vec<(Key, Fetched)>, now_ms: i64, effects: &mut Effects) {
        let cursors = self.consumers.iter().map(|consumer| consumer.cursor);
        let passed = cursors.min().unwrap_or(Key::FIRST);
        let arrival = self.pending.fetched(page, passed);
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
                bridge.cursor = Key::FIRST;
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

    fn standing(&self) -> Standing {
        let waiting = self.pending.range(Key::FIRST).find(|(_, held)| held.message.is_some());
        let first =
            waiting.and_then(|(_, held)| Some((held.message.clone()?, held.redeliveries())));
        let bar = |consumer: &Arc<Subscription>| {
            let (message, redeliveries) = first.as_ref()?;
            let groups = self.groups.as_ref();
            let claim = groups.map_or(Claim::Free, |groups| groups.claim(message, &consumer.id));
            if claim == Claim::Foreign {
                return Some("its message group is another consumer's".to_owned());
            }
            if self.exclusive.as_ref().is_some_and(|only| *only != consumer.id) {
                return Some("another consumer is exclusive".to_owned());
            }
            let unserved =
                consumer.info.network_subscription && self.is_unserved(message, *redeliveries);
            consumer.filter.bar(message, *redeliveries, unserved)
        };
        let consumers = self.consumers.iter().map(|it| Arc::clone(&it.subscription));
        Standing {
            pending: self.pending.len(),
            in_flight: self.in_flight.len(),
            consumers: consumers.map(|it| (Arc::clone(&it), bar(&it))).collect(),
            first: first.as_ref().map(|(message, _)| Arc::clone(message)),
        }
    }

    /// Whether a message that came over a bridge may go back where nobody takes it here: always, unless
    /// a `conditionalNetworkBridgeFilterFactory` says otherwise.
    fn replays(&self) -> bool {
        let rule = self.policy.network_bridge_filter.as_ref();
        rule.is_none_or(|rule| rule.replay_when_no_consumers)
    }

    /// Whether nobody but bridges takes `message` here, and it may go back.
    fn is_unserved(&self, message: &Message, redeliveries: i32) -> bool {
        let rule = self.policy.network_bridge_filter.as_ref();
        let selective = rule.is_some_and(|rule| rule.selector_aware);
        let takes = |it: &Subscription| {
            !it.info.network_subscription
                && (!selective || it.filter.accepts(message, redeliveries))
        };
        self.replays() && !self.consumers.iter().any(|it| takes(&it.subscription))
    }

    fn accepts(&self, subscription: &Subscription, message: &Message, redeliveries: i32) -> bool {
        let unserved =
            subscription.info.network_subscription && self.is_unserved(message, redeliveries);
        subscription.filter.accepts_from(message, redeliveries, unserved)
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
            consumer.cursor = consumer.cursor.min(key);
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

    /// Gives out messages until nothing waits that somebody may have and has room for.
    fn dispatch(&mut self, cell: &Arc<QueueCell>, now_ms: i64, effects: &mut Effects) {
        self.cold_at = None;
        if !self.has_started(now_ms) {
            return;
        }
        while let Some((at, key)) = self.next_delivery(cell, now_ms, effects) {
            self.deliver(at, key, cell, now_ms, effects);
        }
        if effects.page.is_none() {
            effects.page = match self.cold_at {
                Some(key) => self.pending.page_from(key),
                None if self.consumers.is_empty() => None,
                None => self.pending.page_ahead(),
            };
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
            let head = self.pending.first_key()?;
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
            let stop = self.look(consumer, now_ms);
            if let Stop::Expired(key) = stop {
                self.drop_expired(key, effects);
                continue;
            }
            let frontier = self.frontier;
            let consumer = self.consumers.get_mut(at)?;
            match stop {
                Stop::Found(key) | Stop::Unstored(key) | Stop::Cold(key) | Stop::Expired(key) => {
                    consumer.cursor = key;
                }
                Stop::End => consumer.cursor = frontier,
            }
            if let Stop::Cold(key) = stop {
                self.cold_at = Some(self.cold_at.map_or(key, |other| other.min(key)));
            }
            return if let Stop::Found(key) = stop { Some(key) } else { None };
        }
    }

    /// Where a consumer comes to from its cursor on.
    fn look(&self, consumer: &Consumer, now_ms: i64) -> Stop {
        let subscription = &consumer.subscription;
        for (key, held) in self.pending.range(consumer.cursor) {
            let Some(message) = &held.message else { return Stop::Cold(key) };
            if self.store_first && held.is_being_stored() {
                return Stop::Unstored(key);
            }
            if message.is_expired(now_ms) {
                return Stop::Expired(key);
            }
            let claim = self
                .groups
                .as_ref()
                .map_or(Claim::Free, |groups| groups.claim(message, &subscription.id));
            if claim != Claim::Foreign && self.accepts(subscription, message, held.redeliveries()) {
                return Stop::Found(key);
            }
        }
        Stop::End
    }

    fn deliver(
        &mut self,
        at: usize,
        key: Key,
        cell: &Arc<QueueCell>,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let Some(consumer) = self.consumers.get(at) else { return };
        let subscription = Arc::clone(&consumer.subscription);
        let Some(held) = self.pending.take(key) else { return };
        let Some(message) = held.message.clone() else { return self.insert_pending(key, held) };
        let claim = self
            .groups
            .as_ref()
            .map_or(Claim::Free, |groups| groups.claim(&message, &subscription.id));
        let in_flight = InFlight {
            message: Arc::clone(&message),
            key,
            redeliveries: held.redeliveries(),
            queue: Some(Arc::clone(cell)),
            acked: false,
        };
        let first_of_group = claim == Claim::Takes;
        if !subscription.deliver(in_flight, &cell.destination, first_of_group, now_ms) {
            // The consumer left or another queue filled its window since it said it had room.
            self.insert_pending(key, held);
            return;
        }
        if self.policy.persist_jms_redelivered {
            effects.note_dispatched(key, &held);
        }
        let closed = self
            .groups
            .as_mut()
            .is_some_and(|groups| groups.dispatched(&message, &subscription.id));
        self.insert_in_flight(key, held);
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

/// How much of what waits stays in memory.
pub fn near(short: bool, consumed: bool) -> Near {
    match (short, consumed) {
        (true, _) => Near::NOTHING,
        (false, true) => Near::CONSUMED,
        (false, false) => Near::WAITING,
    }
}

/// Where a consumer's cursor stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// Before a message for this consumer.
    Found(Key),
    Expired(Key),
    /// Before a body that is not in memory.
    Cold(Key),
    /// Before a message that is to be stored first.
    Unstored(Key),
    End,
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
    fn note_dispatched(&mut self, key: Key, held: &Held) {
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
