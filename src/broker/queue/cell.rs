//! A queue under its lock: what the rest of the broker sees of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{Browsed, Consumer, Counters, Effects, Event, Moment, Queue, Removed, near};
use crate::broker::backlog::{Backlog, Held, Keeper, Page};
use crate::broker::keeping::Side;
use crate::broker::options::PolicyEntry;
use crate::broker::statistics::Figures;
use crate::broker::subscription::Subscription;
use crate::broker::usage::Warned;
use crate::broker::why::Standing;
use crate::openwire::{Destination, Message};
use crate::store::{Key, Location, OwnerId, RecoveredOwner};

/// A queue under its lock.
#[derive(Debug)]
pub struct QueueCell {
    pub destination: Arc<Destination>,
    /// What the journal calls it; `None` where nothing of it is stored.
    pub owner: Option<OwnerId>,
    /// By which its keepers call it: the journal, and the temporary store.
    pub sides: [OnceLock<Arc<Side>>; 2],
    /// Dead letters were sent here.
    dead_letters: AtomicBool,
    /// When the log last said that producers are held here.
    pub warned: Warned,
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
            warned: Warned::default(),
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
    pub fn apply(self: &Arc<Self>, event: Event, moment: Moment<'_>) -> Option<Effects> {
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
        moment.memory.take(effects.taken_bytes);
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
    pub fn standing(&self, now_ms: i64) -> Standing {
        self.queue.lock().standing(now_ms)
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
            memory: queue.memory_bytes() as u64,
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

    /// Whether so much of its own memory is taken that what comes need not wait there.
    pub fn is_over_mark(&self) -> bool {
        let queue = self.queue.lock();
        queue.memory_bytes() >= queue.high_water_bytes()
    }

    /// Bytes that its messages in memory count for.
    pub fn memory_bytes(&self) -> usize {
        self.queue.lock().memory_bytes()
    }
}
