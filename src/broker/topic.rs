//! One topic: who hears what is published.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Broker;
use super::options::PolicyEntry;
use super::subscription::Subscription;
use super::subscription::durable::Durable;
use crate::openwire::{ConsumerId, Destination, Message};
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
    producers: AtomicI32,
}

#[derive(Debug, Default)]
struct Topic {
    consumers: Vec<Arc<Subscription>>,
    durables: Vec<Arc<Durable>>,
    removed: bool,
}

impl TopicCell {
    pub fn new(
        destination: Arc<Destination>,
        policy: Arc<PolicyEntry>,
        owner: Option<OwnerId>,
    ) -> Self {
        Self {
            destination,
            policy,
            owner,
            topic: Mutex::default(),
            enqueued: AtomicU64::new(0),
            producers: AtomicI32::new(0),
        }
    }

    /// The durable subscriptions that `message` is for, with the place that it will have in each.
    pub fn reserve(&self, message: &Message) -> Vec<(Arc<Durable>, Key)> {
        let topic = self.topic.lock();
        let wanted =
            |durable: &Arc<Durable>| Some((Arc::clone(durable), durable.reserve(message)?));
        topic.durables.iter().filter_map(wanted).collect()
    }

    /// Gives the message to the consumers that hear this topic, apart from durable subscriptions. `false`
    /// when the topic was removed meanwhile.
    pub fn publish(&self, message: &Arc<Message>, broker: &Broker) -> bool {
        let topic = self.topic.lock();
        if topic.removed {
            return false;
        }
        self.enqueued.fetch_add(1, Ordering::Relaxed);
        for consumer in &topic.consumers {
            if consumer.filter.accepts(message, message.redelivery_counter) {
                consumer.publish(message, &self.destination, broker);
            }
        }
        true
    }

    /// Adds a consumer; one that is here by another name of its composite stays here once.
    pub fn subscribe(&self, consumer: Arc<Subscription>) {
        let mut topic = self.topic.lock();
        if topic.consumers.iter().all(|other| other.id != consumer.id) {
            topic.consumers.push(consumer);
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

    /// Forgets everyone; later publishing has no effect.
    pub fn remove(&self) {
        let mut topic = self.topic.lock();
        *topic = Topic { removed: true, ..Topic::default() };
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

    /// Messages published since the topic exists.
    pub fn enqueued(&self) -> u64 {
        self.enqueued.load(Ordering::Relaxed)
    }
}
