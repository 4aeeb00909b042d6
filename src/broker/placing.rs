//! The way of a message into its destination.
//!
//! ```text
//!  place: the destination and a key in it, for each member of a composite   -> records of the group
//!  append: the group goes to the journal                                    -> Ticket
//!  put: the message waits in its queue, or is given out; topics publish it
//! ```
//!
//! A transaction places all it sends, appends them as one group, and then puts them.
//!
//! **Invariant:** what is put with [`Keeper::Journal`] was appended before.

use std::sync::Arc;

use super::backlog::Keeper;
use super::forwarding::FORWARDS_MAX;
use super::queue::{Event, QueueCell};
use super::refusal::Refusal;
use super::region::Cell;
use super::subscription::durable::{self, Durable};
use super::topic::TopicCell;
use super::{Broker, keeping};
use crate::openwire::{ConsumerInfo, Destination, Message};
use crate::store::{Add, Entry, Group, Key, Ticket};

/// A message on its way into a destination.
#[derive(Debug)]
pub(super) struct Placement {
    place: Place,
    message: Arc<Message>,
}

#[derive(Debug)]
enum Place {
    Queue(Arc<QueueCell>, Key, Keeper),
    /// Among the messages that are sent later, at this time.
    Scheduled(Key, i64),
    /// With the durable subscriptions that it is for.
    Topic(Arc<TopicCell>, Vec<(Arc<Durable>, Key)>, Keeper),
}

/// What a message and its copies gather on their way.
struct Way<'a> {
    group: &'a mut Group,
    placements: &'a mut Vec<Placement>,
    /// How many virtual destinations the copy under way has come through.
    forwards: u32,
}

/// A copy that is for `to` and says that it was sent to `from`.
fn copy_for(message: &Message, to: &Arc<Destination>, from: &Arc<Destination>) -> Message {
    Message {
        original_destination: Some(Arc::clone(from)),
        destination: Some(Arc::clone(to)),
        ..message.clone()
    }
}

impl Placement {
    /// A message to be sent at this time, in milliseconds since 1970.
    pub(super) fn scheduled(key: Key, due_ms: i64, message: Arc<Message>) -> Self {
        Self { place: Place::Scheduled(key, due_ms), message }
    }
}

fn keeper(stored: bool) -> Keeper {
    if stored { Keeper::Journal } else { Keeper::Memory }
}

impl Broker {
    /// Takes in a message that a client sent, for its destination or for the scheduler. `wanted` says that
    /// somebody waits for the ticket.
    pub(super) fn accept(&self, message: Message, wanted: bool) -> Result<Ticket, Refusal> {
        let Some(order) = self.scheduler.order_of(&message)? else {
            return self.route(message, wanted);
        };
        let mut group = Group { wanted, ..Group::default() };
        let mut placements = Vec::new();
        self.schedule(&order, message, &mut group, &mut placements);
        let ticket = self.append(group);
        placements.into_iter().for_each(|placement| self.put(placement));
        Ok(ticket)
    }

    /// Takes a message to its destination, or a copy to each of a composite's. `wanted` says that
    /// somebody waits for the ticket.
    pub(super) fn route(&self, message: Message, wanted: bool) -> Result<Ticket, Refusal> {
        let mut group = Group { wanted, ..Group::default() };
        let mut placements = Vec::new();
        let (is_persistent, expiration) = (message.persistent, message.expiration);
        let placed = self.place(message, &mut group, &mut placements);
        let may_be_dead = is_persistent && expiration > 0;
        let ticket = self.append_or_wait(group, may_be_dead);
        placements.into_iter().for_each(|placement| self.put(placement));
        placed.map(|()| ticket)
    }

    /// Appends a group. One that is empty although it was for a message that `may_be_dead` is as durable
    /// as the dead letter, which was appended before.
    pub(super) fn append_or_wait(&self, group: Group, may_be_dead: bool) -> Ticket {
        if may_be_dead && group.entries.is_empty() {
            return self.written(group.wanted);
        }
        self.append(group)
    }

    /// Finds the place that a message will have at its destination, or copies of it at each of a
    /// composite's and wherever virtual destinations forward it. What is to be stored goes to `group`. A
    /// pattern is a name like any other here: ActiveMQ matches it with consumers, not with destinations.
    pub(super) fn place(
        &self,
        message: Message,
        group: &mut Group,
        placements: &mut Vec<Placement>,
    ) -> Result<(), Refusal> {
        let Some(destination) = message.destination.clone() else {
            return Err(Refusal::InvalidDestination(
                "Cannot publish to a null destination".to_owned(),
            ));
        };
        let mut way = Way { group, placements, forwards: 0 };
        if destination.is_composite() {
            for member in destination.members() {
                let member = Arc::new(member);
                let copy = copy_for(&message, &member, &destination);
                self.place_from(&member, copy, &mut way)?;
            }
            return Ok(());
        }
        self.place_from(&destination, message, &mut way)
    }

    /// Places a message that comes to `at`, with the copies that are made of it there.
    fn place_from(
        &self,
        at: &Arc<Destination>,
        message: Message,
        way: &mut Way<'_>,
    ) -> Result<(), Refusal> {
        if !self.forwarding.concerns(at) {
            return self.place_at(at, message, way);
        }
        if way.forwards == FORWARDS_MAX {
            return Err(Refusal::IllegalState(format!(
                "{at} forwards to itself, or more than {FORWARDS_MAX} times"
            )));
        }
        way.forwards += 1;
        let placed = self.forward(at, &message, way).and_then(|stays| match stays {
            true => self.place_at(at, message, way),
            false => self.find(at, None).map(drop),
        });
        way.forwards -= 1;
        placed
    }

    /// Places the copies that virtual destinations make of a message that comes to `at`. Returns whether
    /// it stays there itself.
    fn forward(
        &self,
        at: &Arc<Destination>,
        message: &Message,
        way: &mut Way<'_>,
    ) -> Result<bool, Refusal> {
        for mirror in self.forwarding.mirrors(at) {
            let mirror = Arc::new(mirror);
            let copy = Message { destination: Some(Arc::clone(&mirror)), ..message.clone() };
            self.place_from(&mirror, copy, way)?;
        }
        for it in self.forwarding.virtual_topics(at) {
            if it.options.local && message.broker_path.is_some() {
                continue;
            }
            for queue in it.queues(at, &self.region).iter() {
                let copy = if it.options.set_original_destination {
                    copy_for(message, &queue.destination, at)
                } else {
                    message.clone()
                };
                let full = it.options.drop_on_resource_limit
                    && self.refuses(&queue.destination, message.persistent).is_some();
                if !full && it.is_for(queue, &copy) {
                    self.place_from(&queue.destination, copy, way)?;
                }
            }
        }
        let (mut composites, mut kept) = (0, false);
        for composite in self.forwarding.composites(at) {
            let mut forwarded = 0;
            for target in composite.targets(message) {
                let target = Arc::new(target.clone());
                self.place_from(&target, copy_for(message, &target, at), way)?;
                forwarded += 1;
            }
            composites += 1;
            kept |= composite.keeps(forwarded);
        }
        Ok(composites == 0 || kept)
    }

    /// Places a message in one destination.
    fn place_at(
        &self,
        at: &Arc<Destination>,
        mut message: Message,
        way: &mut Way<'_>,
    ) -> Result<(), Refusal> {
        let mut id = message.message_id.take().unwrap_or_default();
        id.broker_sequence_id = self.next_sequence();
        message.message_id = Some(id);
        let message = Arc::new(message);
        if message.is_expired(self.now_ms()) {
            self.expired_on(at, &message);
            return Ok(());
        }
        let group = &mut *way.group;
        let place = match self.find(at, None)? {
            Cell::Queue(queue) => {
                let key = queue.reserve(&message);
                let owner = queue.owner.filter(|_| message.persistent);
                group.entries.extend(owner.map(|owner| keeping::added(owner, key, &message)));
                Place::Queue(queue, key, keeper(owner.is_some()))
            }
            Cell::Topic(topic) => {
                let durables = topic.reserve(&message);
                let owner = |(durable, key): &(Arc<Durable>, Key)| Some((durable.owner?, *key));
                let owners: Vec<_> = durables.iter().filter_map(owner).collect();
                let stored = message.persistent && !owners.is_empty();
                if stored {
                    let message = Arc::clone(&message);
                    group.entries.push(Entry::Add(Add {
                        owners,
                        message,
                        redeliveries: 0,
                        due_ms: None,
                    }));
                }
                Place::Topic(topic, durables, keeper(stored))
            }
        };
        way.placements.push(Placement { place, message });
        Ok(())
    }

    /// Puts a message where [`Self::place`] said, once its record is appended.
    pub(super) fn put(&self, placement: Placement) {
        let Placement { place, message } = placement;
        let (at, there) = match place {
            Place::Scheduled(key, due_ms) => return self.put_scheduled(key, due_ms, message),
            Place::Queue(queue, key, keeper) => {
                let bytes = message.memory_bytes();
                self.memory.take(bytes);
                let event = Event::Send { key, message: Arc::clone(&message), keeper };
                let there = self.apply(&queue, event);
                if there {
                    self.delivered(&queue.destination, &queue.policy, &message);
                } else {
                    self.memory.free(bytes);
                }
                (Arc::clone(&queue.destination), there)
            }
            Place::Topic(topic, durables, keeper) => {
                let there = self.publish(&topic, durables, keeper, &message);
                (Arc::clone(&topic.destination), there)
            }
        };
        if there {
            return;
        }
        // The destination was removed meanwhile: it is made again.
        self.send_at(&at, Arc::unwrap_or_clone(message));
    }

    /// Gives a message to everyone who hears a topic. `false` when the topic was removed meanwhile.
    pub(super) fn publish(
        &self,
        topic: &TopicCell,
        durables: Vec<(Arc<Durable>, Key)>,
        keeper: Keeper,
        message: &Arc<Message>,
    ) -> bool {
        let Some(published) = topic.publish(message, self) else { return false };
        let mut spilled = Vec::new();
        for (durable, key) in durables {
            let message = Arc::clone(message);
            let event = durable::Event::Publish { key, message, keeper };
            let mut effects = durable.apply(event, self.moment());
            let goes = !std::mem::take(&mut effects.spilled).is_empty();
            let mut group = Group::default();
            self.carry_out_durable(&durable, effects, &mut group);
            let _ticket = self.append(group);
            spilled.extend(goes.then_some((durable, key)));
        }
        self.spill_durables(message, &spilled);
        self.published(topic, message, published);
        true
    }

    /// Puts what a topic has kept into a queue of it that gets its first consumer.
    pub(super) fn recover_queue(&self, queue: &Arc<QueueCell>, info: &ConsumerInfo) {
        for topic in self.forwarding.topics_of(&queue.destination) {
            let topic = Arc::new(topic);
            let Some(Cell::Topic(cell)) = self.region.get(&topic) else { continue };
            for message in cell.recovered_for(info, self) {
                let copy = copy_for(&message, &queue.destination, &topic);
                self.send_at(&queue.destination, copy);
            }
        }
    }

    /// Takes a message to this very destination.
    fn send_at(&self, at: &Arc<Destination>, message: Message) {
        let mut group = Group::default();
        let mut placements = Vec::new();
        let mut way = Way { group: &mut group, placements: &mut placements, forwards: 0 };
        if let Err(refusal) = self.place_at(at, message, &mut way) {
            tracing::warn!("a message to {at} is lost: {refusal}");
        }
        let _ticket = self.append(group);
        placements.into_iter().for_each(|placement| self.put(placement));
    }
}
