//! Who gets the next message of a queue.

use std::sync::Arc;

use super::{Consumer, Effects, Queue, QueueCell};
use crate::broker::groups::Claim;
use crate::broker::subscription::Subscription;
use crate::broker::subscription::window::InFlight;
use crate::broker::why::Standing;
use crate::openwire::Message;
use crate::store::Key;

/// Where a consumer's cursor stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// Before a message for this consumer.
    Found(Key),
    Expired(Key),
    /// Before a body that is not in memory.
    Cold(Key),
    /// Before a message that is to be stored first.
    Unstored(Key),
    End,
}

impl Queue {
    /// How things stand: who could have the first message that waits, and why not.
    pub(super) fn standing(&self) -> Standing {
        let waiting = self.pending.range(Key::FIRST).find(|(_, held)| held.message.is_some());
        let first =
            waiting.and_then(|(_, held)| Some((held.message.clone()?, held.redeliveries())));
        let bar = |consumer: &Arc<Subscription>| {
            let (message, redeliveries) = first.as_ref()?;
            let groups = self.groups.as_ref();
            let claim = groups.map_or(Claim::Free, |groups| groups.claim(message, &consumer.id));
            if claim == Claim::Foreign {
                return Some("its message group is another consumer's".to_owned());
            }
            if self.exclusive.as_ref().is_some_and(|only| *only != consumer.id) {
                return Some("another consumer is exclusive".to_owned());
            }
            let unserved =
                consumer.info.network_subscription && self.is_unserved(message, *redeliveries);
            consumer.filter.bar(message, *redeliveries, unserved)
        };
        let consumers = self.consumers.iter().map(|it| Arc::clone(&it.subscription));
        Standing {
            pending: self.pending.len(),
            in_flight: self.in_flight.len(),
            consumers: consumers.map(|it| (Arc::clone(&it), bar(&it))).collect(),
            first: first.as_ref().map(|(message, _)| Arc::clone(message)),
        }
    }

    /// Whether a message that came over a bridge may go back where nobody takes it here: always, unless
    /// a `conditionalNetworkBridgeFilterFactory` says otherwise.
    pub(super) fn replays(&self) -> bool {
        let rule = self.policy.network_bridge_filter.as_ref();
        rule.is_none_or(|rule| rule.replay_when_no_consumers)
    }

    /// Whether nobody but bridges takes `message` here, and it may go back.
    fn is_unserved(&self, message: &Message, redeliveries: i32) -> bool {
        let rule = self.policy.network_bridge_filter.as_ref();
        let selective = rule.is_some_and(|rule| rule.selector_aware);
        let takes = |it: &Subscription| {
            !it.info.network_subscription
                && (!selective || it.filter.accepts(message, redeliveries))
        };
        self.replays() && !self.consumers.iter().any(|it| takes(&it.subscription))
    }

    fn accepts(&self, subscription: &Subscription, message: &Message, redeliveries: i32) -> bool {
        let unserved =
            subscription.info.network_subscription && self.is_unserved(message, redeliveries);
        subscription.filter.accepts_from(message, redeliveries, unserved)
    }

    /// Gives out messages until nothing waits that somebody may have and has room for.
    pub(super) fn dispatch(&mut self, cell: &Arc<QueueCell>, now_ms: i64, effects: &mut Effects) {
        self.cold_at = None;
        if !self.has_started(now_ms) {
            return;
        }
        while let Some((at, key)) = self.next_delivery(cell, now_ms, effects) {
            self.deliver(at, key, cell, now_ms, effects);
        }
        if effects.page.is_none() {
            effects.page = match self.cold_at {
                Some(key) => self.pending.page_from(key),
                None if self.consumers.is_empty() => None,
                None => self.pending.page_ahead(),
            };
        }
    }

    /// The oldest message that some consumer may have now, and the first consumer that may.
    fn next_delivery(
        &mut self,
        cell: &Arc<QueueCell>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Option<(usize, Key)> {
        let mut best: Option<(usize, Key)> = None;
        for at in 0..self.consumers.len() {
            let head = self.pending.first_key()?;
            let Some(consumer) = self.consumers.get_mut(at) else { break };
            let excluded =
                self.exclusive.as_ref().is_some_and(|only| consumer.subscription.id != *only);
            if excluded || !consumer.has_room(cell) {
                continue;
            }
            let Some(key) = self.next_for(at, now_ms, effects) else { continue };
            if best.is_none_or(|(_, other)| key < other) {
                best = Some((at, key));
            }
            if key == head {
                break;
            }
        }
        best
    }

    /// Moves the consumer's cursor to the next pending message it may have. Drops what it finds expired.
    fn next_for(&mut self, at: usize, now_ms: i64, effects: &mut Effects) -> Option<Key> {
        loop {
            let consumer = self.consumers.get(at)?;
            let stop = self.look(consumer, now_ms);
            if let Stop::Expired(key) = stop {
                self.drop_expired(key, effects);
                continue;
            }
            let frontier = self.frontier;
            let consumer = self.consumers.get_mut(at)?;
            match stop {
                Stop::Found(key) | Stop::Unstored(key) | Stop::Cold(key) | Stop::Expired(key) => {
                    consumer.cursor = key;
                }
                Stop::End => consumer.cursor = frontier,
            }
            if let Stop::Cold(key) = stop {
                self.cold_at = Some(self.cold_at.map_or(key, |other| other.min(key)));
            }
            return if let Stop::Found(key) = stop { Some(key) } else { None };
        }
    }

    /// Where a consumer comes to from its cursor on.
    fn look(&self, consumer: &Consumer, now_ms: i64) -> Stop {
        let subscription = &consumer.subscription;
        for (key, held) in self.pending.range(consumer.cursor) {
            let Some(message) = &held.message else { return Stop::Cold(key) };
            if self.store_first && held.is_being_stored() {
                return Stop::Unstored(key);
            }
            if message.is_expired(now_ms) {
                return Stop::Expired(key);
            }
            let claim = self
                .groups
                .as_ref()
                .map_or(Claim::Free, |groups| groups.claim(message, &subscription.id));
            if claim != Claim::Foreign && self.accepts(subscription, message, held.redeliveries()) {
                return Stop::Found(key);
            }
        }
        Stop::End
    }

    fn deliver(
        &mut self,
        at: usize,
        key: Key,
        cell: &Arc<QueueCell>,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let Some(consumer) = self.consumers.get(at) else { return };
        let subscription = Arc::clone(&consumer.subscription);
        let Some(held) = self.pending.take(key) else { return };
        let Some(message) = held.message.clone() else { return self.insert_pending(key, held) };
        let claim = self
            .groups
            .as_ref()
            .map_or(Claim::Free, |groups| groups.claim(&message, &subscription.id));
        let in_flight = InFlight {
            message: Arc::clone(&message),
            key,
            redeliveries: held.redeliveries(),
            queue: Some(Arc::clone(cell)),
            acked: false,
        };
        let first_of_group = claim == Claim::Takes;
        if !subscription.deliver(in_flight, &cell.destination, first_of_group, now_ms) {
            // The consumer left or another queue filled its window since it said it had room.
            self.insert_pending(key, held);
            return;
        }
        if self.policy.persist_jms_redelivered {
            effects.note_dispatched(key, &held);
        }
        let closed = self
            .groups
            .as_mut()
            .is_some_and(|groups| groups.dispatched(&message, &subscription.id));
        self.insert_in_flight(key, held);
        self.counters.dispatched += 1;
        if closed {
            self.lower_cursors(Key::FIRST);
        }
        if !self.policy.strict_order_dispatch
            && self.exclusive.is_none()
            && self.consumers.len() > 1
        {
            let consumer = self.consumers.remove(at);
            self.insert_in_order(consumer);
        }
    }
}
