//! The advisories that a policy asks for: of single messages, of slow consumers and fast producers.

use std::sync::Arc;

use super::Broker;
use super::advisory::{Advisory, path_of};
use super::eviction::Waiting;
use super::options::PolicyEntry;
use super::outbox::Delivery;
use super::subscription::Subscription;
use super::subscription::topic::Outcome;
use super::topic::{Published, TopicCell};
use crate::openwire::destination::ADVISORY_PREFIX;
use crate::openwire::map::Value;
use crate::openwire::{Destination, Message, ProducerInfo, Throwable};

impl Broker {
    /// Tells what became of a message at a destination, whose body is left out unless the policy says
    /// otherwise.
    pub(super) fn message_told(
        &self,
        what: &str,
        destination: &Destination,
        policy: &PolicyEntry,
        message: &Message,
        more: Vec<(&'static str, Value)>,
    ) {
        if destination.is_advisory() {
            return;
        }
        self.tell(|| {
            let mut payload = message.clone();
            if !policy.include_body_for_advisory {
                payload.content = None;
            }
            let id = payload.message_id.as_ref().map(ToString::to_string).unwrap_or_default();
            // ActiveMQ spells it so.
            let mut properties = vec![("orignalMessageId", Value::String(id.into()))];
            properties.extend(more);
            let topic = format!("{what}.{}", path_of(destination));
            Advisory { topic, data: Some(payload.into()), properties }
        });
    }

    fn message_at(
        &self,
        what: &str,
        destination: &Destination,
        policy: &PolicyEntry,
        message: &Message,
        mut more: Vec<(&'static str, Value)>,
    ) {
        more.push(("orignalDestination", Value::String(destination.to_string().into())));
        self.message_told(what, destination, policy, message, more);
    }

    /// A message was put in a queue or published to a topic.
    pub(super) fn delivered(
        &self,
        destination: &Destination,
        policy: &PolicyEntry,
        message: &Message,
    ) {
        if policy.advisory_for_delivery {
            self.message_at("MessageDelivered", destination, policy, message, Vec::new());
        }
    }

    /// A message was written to a consumer. Only deliveries that are to be [told](Delivery::told).
    pub fn was_dispatched(&self, delivery: &Delivery) {
        let (Some(message), Some(destination)) = (&delivery.message, &delivery.destination) else {
            return;
        };
        let policy = self.region.policies().entry_for(destination);
        if policy.advisory_for_dispatched {
            let id = Value::String(delivery.consumer_id.to_string().into());
            let more = vec![("consumerId", id)];
            self.message_at("MessageDispatched", destination, &policy, message, more);
        }
    }

    /// A message was acknowledged.
    pub(super) fn was_consumed(
        &self,
        destination: &Destination,
        policy: &PolicyEntry,
        message: &Message,
    ) {
        if policy.advisory_for_consumed {
            self.message_at("MessageConsumed", destination, policy, message, Vec::new());
        }
    }

    /// Does what follows from publishing a message to a topic.
    pub(super) fn published(
        &self,
        topic: &TopicCell,
        message: &Arc<Message>,
        published: Published,
    ) {
        let spooled = published.outcomes.iter();
        let spooled = spooled.filter_map(|(consumer, outcome)| Some((consumer, outcome.spooled?)));
        self.spool(message, spooled);
        self.delivered(&topic.destination, &topic.policy, message);
        if !published.heard {
            self.nobody_heard(topic, message);
        }
        for (consumer, outcome) in published.outcomes {
            self.follow(topic, &consumer, outcome);
        }
    }

    /// Does what follows from offering a message to a single topic consumer.
    pub(super) fn offered(
        &self,
        topic: &TopicCell,
        consumer: &Arc<Subscription>,
        message: &Arc<Message>,
        outcome: Outcome,
    ) {
        self.spool(message, outcome.spooled.map(|key| (consumer, key)).into_iter());
        self.follow(topic, consumer, outcome);
    }

    fn follow(&self, topic: &TopicCell, consumer: &Arc<Subscription>, outcome: Outcome) {
        if outcome.slow {
            self.consumer_is_slow(&topic.destination, &topic.policy, consumer);
        }
        for Waiting { message, destination, .. } in outcome.expired {
            self.expired_on(&destination, &message);
        }
        let id = consumer.id.to_string();
        for (Waiting { message, destination, .. }, count) in outcome.discarded {
            if topic.policy.advisory_for_discarding_messages {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                let more = vec![
                    ("discardedCount", Value::Int(count)),
                    ("consumerId", Value::String(id.as_str().into())),
                ];
                self.message_at("MessageDiscarded", &destination, &topic.policy, &message, more);
            }
            let cause = Throwable::new("java.lang.Throwable", &format!("TopicSubDiscard. ID:{id}"));
            self.bury(&destination, &message, None, &cause);
        }
    }

    pub(super) fn consumer_is_slow(
        &self,
        destination: &Destination,
        policy: &PolicyEntry,
        consumer: &Arc<Subscription>,
    ) {
        consumer.found_slow(self.now_ms());
        if policy.advisory_for_slow_consumers && !destination.is_advisory() {
            self.tell(|| Advisory {
                topic: format!("SlowConsumer.{}", path_of(destination)),
                data: Some((*consumer.info).clone().into()),
                properties: vec![("consumerId", Value::String(consumer.id.to_string().into()))],
            });
        }
    }

    /// A producer met a full destination, of which so many bytes are used.
    pub(super) fn is_full(
        &self,
        destination: &Destination,
        producer: Option<&Arc<ProducerInfo>>,
        used: usize,
    ) {
        let policy = self.region.policies().entry_for(destination);
        let path = path_of(destination);
        if policy.advisory_when_full {
            let name = format!("{}:memory:{destination}", self.name());
            self.tell(|| Advisory {
                topic: format!("FULL.{path}"),
                data: None,
                properties: vec![
                    ("usageName", Value::String(name.into())),
                    ("usageCount", Value::Long(i64::try_from(used).unwrap_or(i64::MAX))),
                ],
            });
        }
        if let Some(producer) = producer.filter(|_| policy.advisory_for_fast_producers) {
            let id = producer.producer_id.as_ref().map(ToString::to_string).unwrap_or_default();
            self.tell(|| Advisory {
                topic: format!("FastProducer.{path}"),
                data: Some((**producer).clone().into()),
                properties: vec![("producerId", Value::String(id.into()))],
            });
        }
    }

    /// Sends a non-persistent message that nobody heard to where somebody may.
    fn nobody_heard(&self, topic: &TopicCell, message: &Message) {
        let wanted = topic.policy.send_advisory_if_no_consumers && !message.persistent;
        if !wanted || topic.destination.is_advisory() {
            return;
        }
        let name = format!("{ADVISORY_PREFIX}NoConsumer.{}", path_of(&topic.destination));
        let copy = Message {
            destination: Some(Arc::new(Destination::topic(&name))),
            transaction_id: None,
            ..message.clone()
        };
        if let Err(refusal) = self.route(copy, false) {
            tracing::warn!("cannot tell that nobody hears {}: {refusal}", topic.destination);
        }
    }
}
