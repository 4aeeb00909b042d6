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
use super::queue::{Event, QueueCell};
use super::refusal::Refusal;
use super::region::Cell;
use super::subscription::durable::{self, Durable};
use super::topic::TopicCell;
use super::{Broker, keeping};
use crate::openwire::Message;
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
    /// With the durable subscriptions that it is for.
    Topic(Arc<TopicCell>, Vec<(Arc<Durable>, Key)>, Keeper),
}

fn keeper(stored: bool) -> Keeper {
    if stored { Keeper::Journal } else { Keeper::Memory }
}

impl Broker {
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
    /// composite's. What is to be stored goes to `group`. A pattern is a name like any other here:
    /// ActiveMQ matches it with consumers, not with destinations.
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
        if destination.is_composite() {
            for member in destination.members() {
                let copy = Message {
                    original_destination: Some(Arc::clone(&destination)),
                    destination: Some(Arc::new(member)),
                    ..message.clone()
                };
                self.place(copy, group, placements)?;
            }
            return Ok(());
        }
        let mut message = message;
        let mut id = message.message_id.take().unwrap_or_default();
        id.broker_sequence_id = self.next_sequence();
        message.message_id = Some(id);
        let message = Arc::new(message);
        if message.is_expired(self.now_ms()) {
            self.expired_on(&destination, &message);
            return Ok(());
        }
        let place = match self.find(&destination, None)? {
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
                    group.entries.push(Entry::Add(Add { owners, message, redeliveries: 0 }));
                }
                Place::Topic(topic, durables, keeper(stored))
            }
        };
        placements.push(Placement { place, message });
        Ok(())
    }

    /// Puts a message where [`Self::place`] said, once its record is appended.
    pub(super) fn put(&self, placement: Placement) {
        let Placement { place, message } = placement;
        let there = match place {
            Place::Queue(queue, key, keeper) => {
                let bytes = message.memory_bytes();
                self.memory.take(bytes);
                let event = Event::Send { key, message: Arc::clone(&message), keeper };
                let there = self.apply(&queue, event);
                if !there {
                    self.memory.free(bytes);
                }
                there
            }
            Place::Topic(topic, durables, keeper) => {
                self.publish(&topic, durables, keeper, &message)
            }
        };
        if there {
            return;
        }
        // The destination was removed meanwhile: it is made again.
        let again = Arc::unwrap_or_clone(message);
        if let Err(refusal) = self.route(again, false) {
            tracing::warn!("a message is lost whose destination was removed: {refusal}");
        }
    }

    /// Gives a message to everyone who hears a topic. `false` when the topic was removed meanwhile.
    pub(super) fn publish(
        &self,
        topic: &TopicCell,
        durables: Vec<(Arc<Durable>, Key)>,
        keeper: Keeper,
        message: &Arc<Message>,
    ) -> bool {
        let there = topic.publish(message, self);
        for (durable, key) in durables.into_iter().filter(|_| there) {
            let message = Arc::clone(message);
            self.apply_durable(&durable, durable::Event::Publish { key, message, keeper });
        }
        there
    }
}
