//! One topic: who hears what is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Broker;
use super::hearers::Hearers;
use super::options::PolicyEntry;
use super::recovery::Kept;
use super::statistics::Figures;
use super::subscription::durable::Durable;
use super::subscription::topic::Outcome;
use super::subscription::{Role, Subscription};
use super::usage::{Charge, Warned};
use crate::openwire::{ConsumerId, ConsumerInfo, Destination, Message};
use crate::store::{Key, OwnerId};

/// A topic under its lock, which keeps what one producer published in order for every consumer.
#[derive(Debug)]
pub struct TopicCell {
    pub destination: Arc<Destination>,
    pub policy: Arc<PolicyEntry>,
    /// What the journal calls it; `None` where nothing of it is stored.
    pub owner: Option<OwnerId>,
    topic: Mutex<Topic>,
    enqueued: AtomicU64,
    enqueued_bytes: AtomicU64,
    producers: AtomicI32,
    /// When the log last said that producers are held here.
    pub warned: Warned,
    /// Bytes of the messages that wait in memory for consumers.
    waiting_bytes: Arc<AtomicUsize>,
}

/// Since when a destination is not used.
#[derive(Debug, Default)]
pub struct Idle {
    /// Milliseconds since 1970, and how many messages had come by then.
    since: Option<(i64, u64)>,
}

impl Idle {
    /// Looks whether it is idle for `ms`. What came and went between two looks was use, too.
    pub fn is_over(&mut self, used: bool, enqueued: u64, now_ms: i64, ms: i64) -> bool {
        match self.since.filter(|(_, then)| !used && *then == enqueued) {
            Some((since, _)) => now_ms - since >= ms,
            None => {
                self.since = (!used).then_some((now_ms, enqueued));
                false
            }
        }
    }
}

#[derive(Debug, Default)]
struct Topic {
    consumers: Vec<Arc<Subscription>>,
    durables: Vec<Arc<Durable>>,
    /// For consumers that come later, where the policy says so.
    kept: Option<Box<Kept>>,
    idle: Idle,
    removed: bool,
}

/// What follows, outside the lock, from publishing a message.
#[derive(Debug, Default)]
pub struct Published {
    /// Whether anybody hears the topic.
    pub heard: bool,
    pub outcomes: Vec<(Arc<Subscription>, Outcome)>,
}

impl Topic {
    fn recovered_for(
        &self,
        info: &ConsumerInfo,
        policy: &PolicyEntry,
        broker: &Broker,
    ) -> Vec<Arc<Message>> {
        let asks = info.retroactive || policy.always_retroactive;
        let kept = self.kept.as_ref().filter(|_| asks);
        kept.map(|kept| kept.recovered(broker.now_ms())).unwrap_or_default()
    }

    /// Keeps a message, where the policy says so.
    fn keep(&mut self, message: &Arc<Message>, broker: &Broker) {
        if let Some(kept) = &mut self.kept {
            let before = kept.bytes();
            kept.add(message, broker.now_ms(), broker.is_memory_short());
            broker.memory.take(kept.bytes().saturating_sub(before));
            broker.memory.free(before.saturating_sub(kept.bytes()));
        }
    }
}

impl TopicCell {
    pub fn new(
        destination: Arc<Destination>,
        policy: Arc<PolicyEntry>,
        owner: Option<OwnerId>,
    ) -> Self {
        let kept = policy.subscription_recovery.as_ref().map(|it| Box::new(Kept::new(it)));
        Self {
            destination,
            policy,
            owner,
            topic: Mutex::new(Topic { kept, ..Topic::default() }),
            enqueued: AtomicU64::new(0),
            enqueued_bytes: AtomicU64::new(0),
            producers: AtomicI32::new(0),
            warned: Warned::default(),
            waiting_bytes: Arc::default(),
        }
    }

    /// Bytes that the messages count for which wait in memory for consumers; each counts once.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing that waits for its consumers has to be in memory.
    pub fn spools(&self) -> bool {
        let topic = self.topic.lock();
        let spools = |it: &Arc<Subscription>| match &it.role {
            Role::Topic(flow) => flow.lock().may_spool(),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => false,
        };
        topic.consumers.iter().all(spools)
    }

    pub fn has_durables(&self) -> bool {
        !self.topic.lock().durables.is_empty()
    }

    fn hearers(&self, topic: &Topic, message: &Message) -> Hearers {
        let consumers = topic.consumers.iter().map(|consumer| &*consumer.info);
        let all = consumers.chain(topic.durables.iter().map(|durable| &*durable.info));
        Hearers::of(self.policy.dispatch_policy.as_ref(), &self.destination, message, all)
    }

    /// The durable subscriptions that `message` is for, with the place that it will have in each.
    pub fn reserve(&self, message: &Message) -> Vec<(Arc<Durable>, Key)> {
        let topic = self.topic.lock();
        if topic.durables.is_empty() {
            return Vec::new();
        }
        let hearers = self.hearers(&topic, message);
        let wanted = |durable: &Arc<Durable>| {
            Some((Arc::clone(durable), durable.reserve(message, &hearers)?))
        };
        topic.durables.iter().filter_map(wanted).collect()
    }

    /// Gives the message to the consumers that hear this topic, apart from durable subscriptions. `None`
    /// when the topic was removed meanwhile.
    pub fn publish(&self, message: &Arc<Message>, broker: &Broker) -> Option<Published> {
        let mut topic = self.topic.lock();
        if topic.removed {
            return None;
        }
        self.enqueued.fetch_add(1, Ordering::Relaxed);
        self.enqueued_bytes.fetch_add(message.memory_bytes() as u64, Ordering::Relaxed);
        let heard = !topic.consumers.is_empty() || !topic.durables.is_empty();
        let mut published = Published { heard, ..Published::default() };
        let mut charge = None;
        let mut charged = || Arc::clone(charge.get_or_insert_with(|| self.charge(message, broker)));
        let hearers = self.hearers(&topic, message);
        for consumer in &topic.consumers {
            let filter = &consumer.filter;
            if filter.is_among(&hearers)
                && filter.accepts(message, message.redelivery_counter)
                && self.is_in_time_for(consumer, broker)
            {
                let outcome = consumer.publish(message, &self.destination, broker, &mut charged);
                if !outcome.is_nothing() {
                    published.outcomes.push((Arc::clone(consumer), outcome));
                }
            }
        }
        topic.keep(message, broker);
        Some(published)
    }

    /// Whether a consumer gets a message now that is for it; what comes too fast for a bridge it does not get at
    /// all (`rateLimit`).
    fn is_in_time_for(&self, consumer: &Subscription, broker: &Broker) -> bool {
        let rule = self.policy.network_bridge_filter.as_ref();
        if rule.is_none() || !consumer.info.network_subscription {
            return true;
        }
        let now_ms = broker.now_ms();
        let open = consumer.throttle.opens_ms(rule, now_ms).is_none();
        if open {
            consumer.throttle.count(rule, now_ms);
        }
        open
    }

    /// Takes the memory of a message that is to wait.
    fn charge(&self, message: &Message, broker: &Broker) -> Arc<Charge> {
        let bytes = message.memory_bytes();
        let counted = self.policy.counted_bytes(1, bytes);
        Charge::take(bytes, &broker.memory, counted, &self.waiting_bytes)
    }

    /// Adds a consumer, and gives it what was kept for it; one that is here by another name of its
    /// composite stays here once. Returns what follows from that outside the lock; `None` when the topic
    /// was removed meanwhile.
    pub fn subscribe(
        &self,
        consumer: &Arc<Subscription>,
        broker: &Broker,
    ) -> Option<Vec<(Arc<Message>, Outcome)>> {
        let mut topic = self.topic.lock();
        if topic.removed {
            return None;
        }
        if topic.consumers.iter().any(|other| other.id == consumer.id) {
            return Some(Vec::new());
        }
        topic.consumers.push(Arc::clone(consumer));
        let mut outcomes = Vec::new();
        for message in topic.recovered_for(&consumer.info, &self.policy, broker) {
            if consumer.filter.accepts(&message, 0) {
                let mut charged = || self.charge(&message, broker);
                let outcome = consumer.publish(&message, &self.destination, broker, &mut charged);
                outcomes.push((message, outcome));
            }
        }
        Some(outcomes)
    }

    /// The same where nothing was published yet.
    pub fn subscribe_first(&self, consumer: &Arc<Subscription>) {
        self.topic.lock().consumers.push(Arc::clone(consumer));
    }

    /// What was kept, for a consumer that asks for it.
    pub fn recovered_for(&self, info: &ConsumerInfo, broker: &Broker) -> Vec<Arc<Message>> {
        self.topic.lock().recovered_for(info, &self.policy, broker)
    }

    /// Drops what was kept too long.
    pub fn drop_older(&self, broker: &Broker) {
        if let Some(kept) = &mut self.topic.lock().kept {
            let before = kept.bytes();
            kept.drop_older(broker.now_ms());
            broker.memory.free(before - kept.bytes());
        }
    }

    pub fn unsubscribe(&self, id: &Arc<ConsumerId>) {
        self.topic.lock().consumers.retain(|consumer| consumer.id != *id);
    }

    pub fn add_durable(&self, durable: Arc<Durable>) {
        let mut topic = self.topic.lock();
        if !topic.durables.iter().any(|other| Arc::ptr_eq(other, &durable)) {
            topic.durables.push(durable);
        }
    }

    pub fn remove_durable(&self, durable: &Arc<Durable>) {
        self.topic.lock().durables.retain(|other| !Arc::ptr_eq(other, durable));
    }

    /// Whether nobody has used it for `ms` milliseconds; then it is removed, as if by [`Self::remove`],
    /// which has nothing left to do. Time counts from the first such look.
    pub fn is_idle_for(&self, now_ms: i64, ms: i64) -> bool {
        let mut topic = self.topic.lock();
        let counts = |it: &Arc<Subscription>| self.policy.keeps_in_use(&it.info);
        let used = topic.consumers.iter().any(counts)
            || !topic.durables.is_empty()
            || self.producers.load(Ordering::Relaxed) > 0;
        let over = topic.idle.is_over(used, self.enqueued(), now_ms, ms);
        topic.removed |= over;
        over
    }

    /// Forgets everyone and everything; later publishing has no effect. Returns the bytes of memory that
    /// became free.
    pub fn remove(&self) -> usize {
        let mut topic = self.topic.lock();
        let freed = topic.kept.as_ref().map_or(0, |kept| kept.bytes());
        *topic = Topic { removed: true, ..Topic::default() };
        freed
    }

    /// Consumers now here, durable ones that are away included.
    pub fn consumer_count(&self) -> usize {
        let topic = self.topic.lock();
        topic.consumers.len() + topic.durables.len()
    }

    /// Counts a producer that came (1) or went (-1); returns how many there are.
    pub fn producers(&self, change: i32) -> i32 {
        self.producers.fetch_add(change, Ordering::Relaxed) + change
    }

    pub fn figures(&self) -> Figures {
        let topic = self.topic.lock();
        let flows = topic.consumers.iter().filter_map(|consumer| match &consumer.role {
            Role::Topic(flow) => Some(flow),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => None,
        });
        let mut figures = Figures {
            enqueued: self.enqueued(),
            enqueued_bytes: self.enqueued_bytes.load(Ordering::Relaxed),
            memory: (topic.kept.as_ref().map_or(0, |kept| kept.bytes()) + self.waiting_bytes())
                as u64,
            consumers: (topic.consumers.len() + topic.durables.len()) as u64,
            producers: u64::try_from(self.producers.load(Ordering::Relaxed)).unwrap_or(0),
            ..Figures::default()
        };
        for flow in flows {
            let flow = flow.lock();
            figures.dequeued += flow.consumed;
            figures.in_flight += flow.in_flight as u64;
            figures.dispatched += flow.consumed + flow.in_flight as u64;
        }
        for durable in &topic.durables {
            figures.size += durable.pending_count() as u64;
        }
        figures
    }

    /// Messages published since the topic exists.
    pub fn enqueued(&self) -> u64 {
        self.enqueued.load(Ordering::Relaxed)
    }
}
