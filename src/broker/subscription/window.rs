//! What one consumer holds unacknowledged, and what an acknowledgement takes from it.
//!
//! ```text
//!            dispatch                         STANDARD, INDIVIDUAL, POISON, EXPIRED
//!  queue ------------> [ in flight, oldest first ] ----------------------------> gone
//!                          | the same in a transaction: marked `acked`,
//!                          v removed by the commit, unmarked by the rollback
//! ```
//!
//! The window is full when it holds `prefetch + extension` messages. DELIVERED widens it, because a
//! client that collects messages for one acknowledgement (transactions, CLIENT_ACKNOWLEDGE) would
//! otherwise stall at its prefetch; every consumed message takes one step of that back. With prefetch 0
//! the extension is what a pull asked for.
//!
//! **Invariant:** plain data; no lock, clock or socket.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::broker::queue::QueueCell;
use crate::broker::refusal::Refusal;
use crate::openwire::{Message, MessageAck, MessageId, ack_type};
use crate::store::Key;

/// A message that a consumer has and did not acknowledge.
#[derive(Debug, Clone)]
pub struct InFlight {
    pub message: Arc<Message>,
    /// Its place in the destination, where it returns to if the consumer goes.
    pub key: Key,
    /// How often it was delivered before.
    pub redeliveries: i32,
    /// The queue it is of; `None` for a durable subscription or a browser, which keep their own.
    pub queue: Option<Arc<QueueCell>>,
    /// Acknowledged in a transaction that is still open.
    pub acked: bool,
}

impl InFlight {
    fn is(&self, id: &MessageId) -> bool {
        self.message.message_id.as_ref().is_some_and(|own| own.names_same_message(id))
    }
}

/// What an acknowledgement did.
#[derive(Debug)]
pub enum Acked {
    /// These left the window.
    Consumed(Vec<InFlight>),
    /// These are acknowledged once the transaction commits.
    InTransaction(Vec<InFlight>),
    /// These left the window for the dead letter queue.
    Poisoned(Vec<InFlight>),
    /// These left the window because the client saw them expired.
    Expired(Vec<InFlight>),
    /// The window is wider, or nothing changed.
    Delivered,
    /// Nothing was dispatched yet: a failover client acknowledges what an earlier broker gave it.
    BeforeDispatch,
}

/// The prefetch window of a queue consumer, a browser or a durable subscriber.
#[derive(Debug, Default)]
pub struct Window {
    pub prefetch: usize,
    pub extension: usize,
    /// `usePrefetchExtension` of the destination's policy.
    pub extends: bool,
    in_flight: VecDeque<InFlight>,
    /// Whether anything was ever dispatched.
    dispatched: bool,
}

impl Window {
    pub fn new(prefetch: i32, extends: bool) -> Self {
        Self { prefetch: usize::try_from(prefetch).unwrap_or(0), extends, ..Self::default() }
    }

    /// How many messages may be dispatched now.
    pub fn room(&self) -> usize {
        if self.prefetch == 0 {
            return self.extension;
        }
        (self.prefetch + self.extension).saturating_sub(self.in_flight.len())
    }

    pub fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub fn dispatch(&mut self, message: InFlight) {
        debug_assert!(self.room() > 0, "dispatch beyond the window");
        self.dispatched = true;
        if self.prefetch == 0 {
            self.extension -= 1;
        }
        self.in_flight.push_back(message);
    }

    /// Takes out everything, as the consumer is gone.
    pub fn take_all(&mut self) -> Vec<InFlight> {
        self.extension = 0;
        self.in_flight.drain(..).collect()
    }

    /// Takes out what is of `queue`, which is removed.
    pub fn forget_queue(&mut self, queue: &Arc<QueueCell>) {
        self.in_flight.retain(|held| !held.queue.as_ref().is_some_and(|of| Arc::ptr_eq(of, queue)));
    }

    /// Applies an acknowledgement; `in_transaction` when it waits for a commit.
    ///
    /// # Errors
    /// An acknowledgement that does not fit what was dispatched, with ActiveMQ's texts.
    pub fn acknowledge(
        &mut self,
        ack: &MessageAck,
        in_transaction: bool,
    ) -> Result<Acked, Refusal> {
        if !self.dispatched {
            return Ok(Acked::BeforeDispatch);
        }
        match ack.ack_type {
            ack_type::STANDARD => {
                let range = self.standard_range(ack, in_transaction)?;
                Ok(self.consume(range, in_transaction))
            }
            ack_type::INDIVIDUAL => {
                let Some(at) = self.position(ack.last_message_id.as_ref()) else {
                    return Ok(Acked::Delivered);
                };
                if in_transaction {
                    self.extend(1);
                }
                Ok(self.consume(at..at + 1, in_transaction))
            }
            ack_type::DELIVERED => {
                self.position(ack.last_message_id.as_ref()).ok_or_else(|| uncorrelated(ack))?;
                self.extend(usize::try_from(ack.message_count).unwrap_or(0));
                Ok(Acked::Delivered)
            }
            ack_type::REDELIVERED => {
                self.loose_range(ack).ok_or_else(|| uncorrelated(ack))?;
                Ok(Acked::Delivered)
            }
            ack_type::POISON if in_transaction => {
                Err(Refusal::Jms(format!("Poison ack cannot be transacted: {}", describe(ack))))
            }
            ack_type::POISON => {
                let range = self.loose_range(ack).ok_or_else(|| uncorrelated(ack))?;
                self.contract(1);
                Ok(Acked::Poisoned(self.in_flight.drain(range).collect()))
            }
            ack_type::EXPIRED => {
                let range = self.loose_range(ack).ok_or_else(|| {
                    let ack = describe(ack);
                    Refusal::Jms(format!(
                        "Could not correlate expiration acknowledgment with dispatched message: {ack}"
                    ))
                })?;
                self.contract(1);
                Ok(Acked::Expired(self.in_flight.drain(range).collect()))
            }
            _ => Err(Refusal::Jms(format!("Invalid acknowledgment: {}", describe(ack)))),
        }
    }

    /// The transaction that acknowledged `messages` committed: they leave the window.
    pub fn committed(&mut self, messages: &[InFlight]) {
        for message in messages {
            if let Some(at) = self.in_flight.iter().position(|held| same_place(held, message)) {
                self.in_flight.remove(at);
            }
            self.contract(1);
        }
    }

    /// The transaction that acknowledged `messages` rolled back: the client keeps them and delivers
    /// them again by itself. Returns those that the window no longer holds.
    pub fn rolled_back(&mut self, messages: Vec<InFlight>) -> Vec<InFlight> {
        let mut gone = Vec::new();
        for message in messages {
            match self.in_flight.iter_mut().find(|held| same_place(held, &message)) {
                Some(held) => held.acked = false,
                None => gone.push(message),
            }
            self.contract(1);
        }
        gone
    }

    fn consume(&mut self, range: std::ops::Range<usize>, in_transaction: bool) -> Acked {
        if !in_transaction {
            let consumed: Vec<_> = self.in_flight.drain(range).collect();
            self.contract(consumed.len());
            return Acked::Consumed(consumed);
        }
        let marked = self.in_flight.range_mut(range).filter(|held| !held.acked);
        Acked::InTransaction(
            marked
                .map(|held| {
                    held.acked = true;
                    held.clone()
                })
                .collect(),
        )
    }

    fn position(&self, id: Option<&MessageId>) -> Option<usize> {
        let id = id?;
        self.in_flight.iter().position(|held| held.is(id))
    }

    /// From the first id, or the oldest message where it is absent, to the last id.
    fn loose_range(&self, ack: &MessageAck) -> Option<std::ops::Range<usize>> {
        let first = match &ack.first_message_id {
            None => 0,
            first => self.position(first.as_ref())?,
        };
        let last = self.position(ack.last_message_id.as_ref())?;
        (first <= last).then_some(first..last + 1)
    }

    fn standard_range(
        &self,
        ack: &MessageAck,
        in_transaction: bool,
    ) -> Result<std::ops::Range<usize>, Refusal> {
        let unmatched =
            |why: String| Refusal::Jms(format!("Unmatched acknowledge: {}; {why}", describe(ack)));
        let missing = |id: Option<&MessageId>, end: &str| {
            let id = id.map(ToString::to_string).unwrap_or_default();
            unmatched(format!("Could not find Message-ID {id} in dispatched-list ({end} of ack)"))
        };
        let first = match &ack.first_message_id {
            None => 0,
            first => {
                self.position(first.as_ref()).ok_or_else(|| missing(first.as_ref(), "start"))?
            }
        };
        let last = ack.last_message_id.as_ref();
        let last = self
            .position(last)
            .filter(|last| *last >= first)
            .ok_or_else(|| missing(last, "end"))?;
        let count = last + 1 - first;
        if !in_transaction && usize::try_from(ack.message_count) != Ok(count) {
            return Err(unmatched(format!(
                "Expected message count ({}) differs from count in dispatched-list ({count})",
                ack.message_count
            )));
        }
        Ok(first..last + 1)
    }

    fn extend(&mut self, by: usize) {
        if self.extends && self.prefetch > 0 {
            // Never beyond what is in flight: more would let one consumer take the whole queue.
            self.extension = (self.extension + by).min(self.in_flight.len());
        }
    }

    fn contract(&mut self, by: usize) {
        if self.prefetch > 0 {
            self.extension = self.extension.saturating_sub(by);
        }
    }
}

fn same_place(a: &InFlight, b: &InFlight) -> bool {
    let same_queue = match (&a.queue, &b.queue) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    a.key == b.key && same_queue
}

fn uncorrelated(ack: &MessageAck) -> Refusal {
    let ack = describe(ack);
    Refusal::Jms(format!("Could not correlate acknowledgment with dispatched message: {ack}"))
}

/// An acknowledgement as ActiveMQ prints it in its errors.
pub fn describe(ack: &MessageAck) -> String {
    fn or_null<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "null".to_owned(), |value| value.to_string())
    }
    let cause = ack.poison_cause.as_ref().map(ToString::to_string);
    format!(
        "MessageAck {{commandId = {}, responseRequired = {}, ackType = {}, consumerId = {}, \
         firstMessageId = {}, lastMessageId = {}, destination = {}, transactionId = {}, \
         messageCount = {}, poisonCause = {}}}",
        ack.command_id,
        ack.response_required,
        ack.ack_type,
        or_null(ack.consumer_id.as_ref()),
        or_null(ack.first_message_id.as_ref()),
        or_null(ack.last_message_id.as_ref()),
        or_null(ack.destination.as_ref()),
        or_null(ack.transaction_id.as_ref()),
        ack.message_count,
        or_null(cause),
    )
}
