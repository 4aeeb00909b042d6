//! Why messages of a queue wait, in words for people: what `openwired why QUEUE` asks.
//!
//! The question is a message to the queue [`QUESTION`] with the name behind it; the answer, a text, goes
//! to its `replyTo`.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::queue::QueueCell;
use super::refusal::Refusal;
use super::region::Cell;
use super::subscription::Subscription;
use super::{Broker, Ticket};
use crate::openwire::{BrokerId, Destination, Message, MessageClass, MessageId, Text};

/// What is in front of the name of a queue that is asked about.
pub const QUESTION: &str = "openwired.why.";
/// Consumers that are told of one by one.
const CONSUMERS_MAX: usize = 50;

/// Someone who knows more of why messages wait, as the bridges do.
pub trait Explains: Debug + Send + Sync {
    /// Lines about a queue; `demand` is the brokers whose consumers already draw from it.
    fn explain(&self, queue: &Destination, demand: &[Arc<BrokerId>]) -> Vec<String>;
}

/// A queue as someone sees it who asks.
#[derive(Debug)]
pub struct Standing {
    pub pending: usize,
    pub in_flight: usize,
    /// In the order in which they are asked, each with what keeps the first message from it.
    pub consumers: Vec<(Arc<Subscription>, Option<String>)>,
    /// The first message that waits and is in memory.
    pub first: Option<Arc<Message>>,
}

/// The queue that a message asks about.
pub fn asked(message: &Message) -> Option<Destination> {
    let to = message.destination.as_ref().filter(|to| to.is_queue() && !to.is_temporary())?;
    Some(Destination::queue(to.name().strip_prefix(QUESTION)?))
}

impl Broker {
    /// Has someone take part in explanations; the first stands.
    pub fn set_explainer(&self, explainer: Arc<dyn Explains>) {
        let there = self.explainer.set(explainer).is_err();
        debug_assert!(!there, "there is one assembler");
    }

    /// Why messages of `queue` wait, a line each.
    pub fn why(&self, queue: &Destination) -> Vec<String> {
        let Some(Cell::Queue(cell)) = self.region.get(queue) else {
            return vec![format!(
                "{queue} is not there: nothing was sent to it, or it was removed"
            )];
        };
        let mut lines = self.told_of(&cell);
        let demand: Vec<_> =
            cell.standing(self.now_ms()).consumers.iter().filter_map(peer_of).collect();
        if let Some(explainer) = self.explainer.get() {
            lines.extend(explainer.explain(queue, &demand));
        }
        lines
    }

    fn told_of(&self, cell: &Arc<QueueCell>) -> Vec<String> {
        let Standing { pending, in_flight, consumers, first } = cell.standing(self.now_ms());
        let queue = &cell.destination;
        let mut lines =
            vec![format!("{queue}: {pending} messages wait, {in_flight} are with consumers")];
        if consumers.is_empty() {
            lines.push("nobody takes from it: neither a consumer here nor a bridge".to_owned());
        }
        if self.memory.is_full() {
            lines.push("memoryUsage is used up: producers are held".to_owned());
        }
        let id = first.and_then(|message| message.message_id.as_ref().map(MessageId::to_string));
        let id = id.unwrap_or_default();
        let all = consumers.len();
        for (consumer, bar) in consumers.into_iter().take(CONSUMERS_MAX) {
            let (held, prefetch) = consumer.held_of_prefetch();
            let of =
                if consumer.info.network_subscription { "bridge consumer" } else { "consumer" };
            let who = format!("{of} {}", consumer.id);
            lines.push(match bar {
                Some(why) => format!("{who} does not get {id}: {why}"),
                None if held >= prefetch && prefetch > 0 => {
                    format!("{who} holds all of its prefetch, {held} messages, unacknowledged")
                }
                None => format!("{who} holds {held} of its prefetch of {prefetch}"),
            });
        }
        if all > CONSUMERS_MAX {
            lines.push(format!("and {} more consumers", all - CONSUMERS_MAX));
        }
        lines
    }

    /// Answers a message that asks about a queue.
    pub(super) fn answer_why(
        &self,
        queue: &Destination,
        asked: &Message,
    ) -> Result<Ticket, Refusal> {
        let Some(reply_to) = asked.reply_to.clone() else {
            return Err(Refusal::InvalidDestination("the question has no replyTo".to_owned()));
        };
        let text = Text::from(self.why(queue).join("\n").as_str());
        let mut content = BytesMut::new();
        content.put_i32(i32::try_from(text.as_bytes().len()).unwrap_or(i32::MAX));
        content.put_slice(text.as_bytes());
        let answer = Message {
            class: MessageClass::Text,
            destination: Some(Arc::new(reply_to)),
            correlation_id: asked.correlation_id.clone(),
            message_id: asked.message_id.clone(),
            producer_id: asked.producer_id.clone(),
            content: Some(content.freeze()),
            timestamp: self.now_ms(),
            ..Message::default()
        };
        self.route(answer, false)
    }
}

fn peer_of((consumer, _): &(Arc<Subscription>, Option<String>)) -> Option<Arc<BrokerId>> {
    consumer.info.additional_predicate.as_ref()?.network_broker_id.clone()
}
