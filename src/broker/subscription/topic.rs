//! The flow of messages to a plain topic consumer: what it holds is only counted, what does not fit
//! waits, and what waits too long in too great a number is dropped.
//!
//! ```text
//!  publish --room--> outbox, in_flight + 1 --ack n--> in_flight - n
//!      \--none--> [ pending, at most `limit` ] --room--> outbox
//!                      |
//!                      v over the limit: what the policy says is discarded
//! ```
//!
//! Where there is no limit and memory is short, what comes goes to the [`Spool`].

use std::collections::VecDeque;
use std::sync::Arc;

use super::spool::Spool;
use super::{Role, Subscription};
use crate::broker::Broker;
use crate::broker::backlog::Keeper;
use crate::broker::eviction::{Waiting, evict};
use crate::broker::options::policy::MessageEviction;
use crate::broker::queue::Effects;
use crate::broker::refusal::Refusal;
use crate::broker::subscription::window::describe;
use crate::broker::usage::Charge;
use crate::openwire::{Destination, Message, MessageAck, ack_type};
use crate::store::Key;

/// Counts and waiting messages of one topic consumer.
#[derive(Debug, Default)]
pub struct TopicFlow {
    pub prefetch: usize,
    pub extension: usize,
    pub in_flight: usize,
    /// Messages acknowledged since the consumer exists.
    pub consumed: u64,
    /// Messages dropped because too many waited.
    pub discarded: u64,
    pending: VecDeque<Waiting>,
    /// What is newer than that.
    pub(super) spool: Spool,
    /// Most messages that may wait; `None` has no limit but memory.
    limit: Option<usize>,
    /// Which of them go when there are more.
    eviction: MessageEviction,
    /// Whether the log already says that it is slow.
    slow: bool,
    closed: bool,
}

impl TopicFlow {
    pub fn new(prefetch: i32, limit: Option<usize>, eviction: MessageEviction) -> Self {
        let prefetch = usize::try_from(prefetch).unwrap_or(0);
        Self { prefetch, limit, eviction, ..Self::default() }
    }

    /// Takes out what is too much, with the count of what was discarded.
    fn evict(&mut self, now_ms: i64, outcome: &mut Outcome) {
        let most = self.eviction.evict_expired_high_watermark as usize;
        if self.pending.len() > self.limit.unwrap_or(most).min(most) {
            let expired = |it: &Waiting| it.message.is_expired(now_ms);
            let (gone, kept) =
                std::mem::take(&mut self.pending).into_iter().partition::<Vec<_>, _>(expired);
            self.pending = kept.into();
            outcome.expired.extend(gone);
        }
        while self.is_over_limit() {
            for waiting in evict(&self.eviction.order, &mut self.pending) {
                self.discarded += 1;
                outcome.discarded.push((waiting, self.discarded));
            }
        }
    }

    fn room(&self) -> usize {
        if self.prefetch == 0 {
            return self.extension;
        }
        (self.prefetch + self.extension).saturating_sub(self.in_flight)
    }

    fn dispatched(&mut self) {
        self.in_flight += 1;
        if self.prefetch == 0 {
            self.extension -= 1;
        }
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len() + self.spool.len()
    }

    /// Whether what waits may be elsewhere than in memory: how much there is has no other limit.
    pub fn may_spool(&self) -> bool {
        self.limit.is_none()
    }

    /// Whether what comes next does not wait in memory. A spool ends when the consumer has all of it.
    fn spools(&self, broker: &Broker) -> bool {
        let short = || broker.is_memory_short() && broker.stores.has_temporary_room();
        self.may_spool() && (!self.spool.is_empty() || short())
    }

    /// The next message that waits, if it is at hand.
    fn next_waiting(&mut self, effects: &mut Effects) -> Option<(Arc<Message>, Arc<Destination>)> {
        if let Some(Waiting { message, destination, .. }) = self.pending.pop_front() {
            return Some((message, destination));
        }
        let message = self.spool.take(effects)?;
        let destination = message.destination.clone()?;
        Some((message, destination))
    }

    /// Whether more waits than the policy allows beyond the prefetch. What the prefetch has room for
    /// waits for the connection alone, and that is no reason to drop it.
    fn is_over_limit(&self) -> bool {
        self.limit.is_some_and(|limit| self.pending.len() > limit.saturating_add(self.room()))
    }

    pub fn open_pull(&mut self) {
        if self.prefetch == 0 {
            self.extension = 1;
        }
    }

    pub fn end_pull(&mut self) -> bool {
        self.prefetch == 0 && std::mem::take(&mut self.extension) > 0
    }

    pub fn pull_waits(&self) -> bool {
        self.prefetch == 0 && self.extension > 0
    }

    /// Applies an acknowledgement. Ids are not looked at: the window moves by the count.
    ///
    /// Returns how many messages were consumed now; in a transaction that is for the commit to count.
    ///
    /// # Errors
    /// A kind of acknowledgement that no topic consumer can send.
    pub fn acknowledge(
        &mut self,
        ack: &MessageAck,
        in_transaction: bool,
    ) -> Result<usize, Refusal> {
        let count = usize::try_from(ack.message_count).unwrap_or(0);
        match ack.ack_type {
            ack_type::POISON if in_transaction => {
                Err(Refusal::Jms(format!("Poison ack cannot be transacted: {}", describe(ack))))
            }
            ack_type::INDIVIDUAL if in_transaction => {
                self.extend(1);
                Ok(0)
            }
            ack_type::STANDARD if in_transaction => Ok(0),
            ack_type::STANDARD | ack_type::INDIVIDUAL | ack_type::POISON | ack_type::EXPIRED => {
                self.consume(count);
                Ok(count)
            }
            ack_type::DELIVERED => {
                self.extend(count);
                Ok(0)
            }
            ack_type::REDELIVERED => Ok(0),
            _ => Err(Refusal::Jms(format!("Invalid acknowledgment: {}", describe(ack)))),
        }
    }

    /// `count` messages are consumed: at once, or by a commit.
    pub fn consume(&mut self, count: usize) {
        self.in_flight = self.in_flight.saturating_sub(count);
        self.consumed += count as u64;
        self.contract(count);
    }

    /// A transaction that acknowledged `count` messages rolled back.
    pub fn contract(&mut self, count: usize) {
        if self.prefetch > 0 {
            self.extension = self.extension.saturating_sub(count);
        }
    }

    fn extend(&mut self, count: usize) {
        if self.prefetch > 0 {
            self.extension = (self.extension + count).min(self.in_flight);
        }
    }
}

/// What follows, outside the locks, from offering a message to a consumer.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was dropped, each with how many have been dropped by then.
    pub discarded: Vec<(Waiting, u64)>,
    pub expired: Vec<Waiting>,
    /// The consumer was found slow, just now.
    pub slow: bool,
    /// The place that the message has in the temporary store, to which it is still to be given.
    pub spooled: Option<Key>,
}

impl Outcome {
    pub fn is_nothing(&self) -> bool {
        let Self { discarded, expired, slow, spooled } = self;
        !slow && discarded.is_empty() && expired.is_empty() && spooled.is_none()
    }
}

impl Subscription {
    /// Offers a published message: delivers it, lets it wait, or drops what is too much. One that waits
    /// in memory is `charged`.
    pub(in crate::broker) fn publish(
        self: &Arc<Self>,
        message: &Arc<Message>,
        destination: &Arc<Destination>,
        broker: &Broker,
        charged: &mut dyn FnMut() -> Arc<Charge>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Role::Topic(flow) = &self.role else { return outcome };
        let mut flow = flow.lock();
        if flow.closed {
            return outcome;
        }
        if flow.pending_count() == 0 && flow.room() > 0 && self.outbox_has_room() {
            flow.dispatched();
            let redeliveries = message.redelivery_counter;
            self.write(message, destination, redeliveries, false, broker.now_ms());
            return outcome;
        }
        if !flow.slow && flow.prefetch > 1 && flow.pending_count() > flow.prefetch {
            flow.slow = true;
            outcome.slow = true;
            tracing::warn!(
                "TopicSubscription: consumer={}: has twice its prefetch limit pending, without an ack; \
                 it appears to be slow",
                self.id
            );
        }
        if flow.limit == Some(0) && flow.room() == 0 {
            flow.discarded += 1;
            return outcome;
        }
        if flow.spools(broker) {
            let room = broker.stores.has_temporary_room();
            let keeper = if room { Keeper::Temporary } else { Keeper::Memory };
            broker.memory.take(message.memory_bytes());
            outcome.spooled = Some(flow.spool.add(message, keeper)).filter(|_| room);
            return outcome;
        }
        let (message, destination) = (Arc::clone(message), Arc::clone(destination));
        flow.pending.push_back(Waiting { message, destination, charge: charged() });
        flow.evict(broker.now_ms(), &mut outcome);
        outcome
    }

    /// Delivers what waits, as far as there is room.
    pub(super) fn drain_topic(self: &Arc<Self>, broker: &Broker) -> Effects {
        let mut effects = Effects::default();
        let Role::Topic(flow) = &self.role else { return effects };
        let mut flow = flow.lock();
        let now_ms = broker.now_ms();
        while flow.room() > 0 && flow.pending_count() > 0 && self.outbox_has_room() {
            let Some((message, destination)) = flow.next_waiting(&mut effects) else { break };
            if message.is_expired(now_ms) {
                effects.expired.push(message);
                continue;
            }
            flow.dispatched();
            let redeliveries = message.redelivery_counter;
            self.write(&message, &destination, redeliveries, false, now_ms);
        }
        flow.spool.read_ahead(&mut effects);
        if flow.pending_count() == 0 && flow.slow {
            flow.slow = false;
            self.pace.fast();
        }
        effects
    }

    /// Drops what waits: the consumer is gone.
    pub(in crate::broker) fn close_topic(&self, broker: &Broker) {
        let Role::Topic(flow) = &self.role else { return };
        let mut effects = Effects::default();
        {
            let mut flow = flow.lock();
            flow.closed = true;
            flow.pending.clear();
            flow.spool.clear(&mut effects);
        }
        broker.memory.free(effects.freed_bytes);
        broker.forget_spool(self, &effects.removed);
    }
}
