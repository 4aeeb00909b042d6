//! What consumers acknowledge.

use std::sync::Arc;

use super::Client;
use crate::base::fail_point::fail_point;
use crate::broker::Broker;
use crate::broker::queue::{Event, QueueCell};
use crate::broker::refusal::Refusal;
use crate::broker::subscription::durable;
use crate::broker::subscription::window::{Acked, InFlight, describe};
use crate::broker::subscription::{Role, Subscription};
use crate::broker::transaction::Step;
use crate::openwire::{MessageAck, Throwable, ack_type};
use crate::store::{Group, Key, Ticket};

impl Client {
    /// Applies an acknowledgement, or adds it to the transaction that it names. One for a consumer that
    /// is gone changes nothing: its messages are the queue's again.
    ///
    /// # Errors
    /// It does not fit what the consumer holds, or its transaction is unknown.
    pub fn ack(&self, ack: &MessageAck) -> Result<Ticket, Refusal> {
        if let Some(transaction) = &ack.transaction_id {
            self.check_transaction(transaction)?;
        }
        let consumer = ack.consumer_id.as_ref().and_then(|id| self.consumer(id));
        let Some(consumer) = consumer else {
            if ack.transaction_id.is_some() {
                self.ignore(ack, "no matching consumer, ignoring ack");
            }
            return Ok(Ticket::done());
        };
        consumer.pace.acked(self.broker.now_ms());
        match &consumer.role {
            Role::Topic(flow) => {
                let consumed = flow.lock().acknowledge(ack, ack.transaction_id.is_some())?;
                let later = ack.transaction_id.as_ref().filter(|_| {
                    consumed == 0
                        && [ack_type::STANDARD, ack_type::INDIVIDUAL].contains(&ack.ack_type)
                });
                if let Some(transaction) = later {
                    let count = usize::try_from(ack.message_count).unwrap_or(0);
                    let step = Step::AckTopic { consumer: Arc::clone(&consumer), count };
                    self.add_step(transaction, step)?;
                }
                consumer.wake(&self.broker);
            }
            Role::Browser(_) => {
                consumer.acknowledge(ack, false)?;
                consumer.wake(&self.broker);
            }
            Role::Queue(_) | Role::Durable(_) => return self.ack_held(&consumer, ack),
        }
        Ok(Ticket::done())
    }

    fn ack_held(&self, consumer: &Arc<Subscription>, ack: &MessageAck) -> Result<Ticket, Refusal> {
        let mut group = Group { wanted: ack.response_required, ..Group::default() };
        let acked = match consumer.acknowledge(ack, ack.transaction_id.is_some()) {
            // It counts what an earlier broker had delivered, and cannot know that it is not here.
            Err(stale) if self.info.failover_reconnect && ack.ack_type == ack_type::DELIVERED => {
                tracing::debug!("{stale}");
                Acked::Delivered
            }
            acked => acked?,
        };
        match acked {
            Acked::Consumed(messages) => self.broker.consumed(consumer, messages, &mut group),
            Acked::InTransaction(messages) => {
                if let Some(transaction) = &ack.transaction_id {
                    let step = Step::Ack { consumer: Arc::clone(consumer), messages };
                    self.add_step(transaction, step)?;
                }
                // An INDIVIDUAL ack in a transaction widens the window.
                consumer.wake(&self.broker);
            }
            Acked::Poisoned(messages) => {
                let unknown = Throwable::new("java.lang.Throwable", "no cause was given");
                let cause = ack.poison_cause.as_ref().unwrap_or(&unknown);
                for held in messages.iter().filter(|held| !self.broker.redelivers(consumer, held)) {
                    self.broker.bury_held(consumer, held, cause);
                }
                self.broker.consumed(consumer, messages, &mut group);
            }
            Acked::Expired(messages) => {
                for held in &messages {
                    if let Some(destination) = held.destination() {
                        self.broker.expired_on(&destination, &held.message);
                    }
                }
                self.broker.consumed(consumer, messages, &mut group);
            }
            Acked::Delivered => consumer.wake(&self.broker),
            Acked::BeforeDispatch => self.ignore(
                ack,
                "Ignoring ack received before dispatch; result of failover with an outstanding ack. \
                 Acked messages will be replayed if present on this broker. Ignored ack:",
            ),
        }
        fail_point!("ack.before_journal");
        Ok(self.broker.append(group))
    }

    /// Does nothing for an acknowledgement. A transaction that it is of must not commit the rest: its
    /// messages come again, and what was sent for them would be sent twice.
    pub fn ignore(&self, ack: &MessageAck, why: &str) {
        tracing::warn!("{why} {}", describe(ack));
        let consumes = [ack_type::STANDARD, ack_type::INDIVIDUAL].contains(&ack.ack_type);
        if let Some(transaction) = ack.transaction_id.as_ref().filter(|_| consumes) {
            let cause = Throwable::new("javax.jms.JMSException", why);
            self.doom(transaction, Refusal::RolledBack { cause });
        }
    }
}

impl InFlight {
    /// Where it was delivered from.
    pub(in crate::broker) fn destination(&self) -> Option<Arc<crate::openwire::Destination>> {
        match &self.queue {
            Some(queue) => Some(Arc::clone(&queue.destination)),
            None => self.message.destination.clone(),
        }
    }
}

impl Broker {
    /// Messages left a consumer for good. The records of it go to `group`.
    pub(super) fn consumed(
        &self,
        consumer: &Arc<Subscription>,
        messages: Vec<InFlight>,
        group: &mut Group,
    ) {
        match &consumer.role {
            Role::Durable(durable) => {
                for held in &messages {
                    if let Some(topic) = &held.message.destination {
                        let policy = self.region.policies().entry_for(topic);
                        self.was_consumed(topic, &policy, &held.message);
                    }
                }
                let keys = messages.iter().map(|held| held.key).collect();
                self.apply_durable_in(durable, durable::Event::Consumed(keys), group);
            }
            Role::Queue(_) => {
                self.forget_deaths(&messages);
                for held in &messages {
                    if let Some(queue) = &held.queue {
                        self.was_consumed(&queue.destination, &queue.policy, &held.message);
                    }
                }
                for (queue, keys) in by_queue(messages) {
                    self.apply_in(&queue, Event::Consumed(keys), group);
                }
                // The room may be for the messages of another of its queues.
                consumer.wake_queues(self);
            }
            Role::Browser(_) | Role::Topic(_) => {}
        }
    }

    /// What is taken out of a dead letter queue may die again.
    fn forget_deaths(&self, messages: &[InFlight]) {
        for held in messages {
            if let Some(queue) = held.queue.as_ref().filter(|queue| queue.has_dead_letters()) {
                self.region.policies().forget_death(&queue.destination, &held.message);
            }
        }
    }

    fn bury_held(&self, consumer: &Subscription, held: &InFlight, cause: &Throwable) {
        let durable = match &consumer.role {
            Role::Durable(durable) => Some(&durable.key),
            Role::Queue(_) | Role::Browser(_) | Role::Topic(_) => None,
        };
        if let Some(destination) = held.destination() {
            self.bury(&destination, &held.message, durable, cause);
        }
    }
}

/// Sorts messages by the queue they are of.
pub(super) fn by_queue(messages: Vec<InFlight>) -> Vec<(Arc<QueueCell>, Vec<Key>)> {
    let mut sorted: Vec<(Arc<QueueCell>, Vec<Key>)> = Vec::new();
    for held in messages {
        let Some(queue) = held.queue else { continue };
        match sorted.iter_mut().find(|(of, _)| Arc::ptr_eq(of, &queue)) {
            Some((_, keys)) => keys.push(held.key),
            None => sorted.push((queue, vec![held.key])),
        }
    }
    sorted
}
