//! Who gets the next message of a queue.

use std::sync::Arc;
use std::time::Duration;

use super::{Consumer, Effects, Queue, QueueCell};
use crate::broker::groups::Claim;
use crate::broker::options::policy::ConditionalBridgeFilter;
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

/// Between two looks at what may go back.
const LOOKS_APART_MIN: Duration = Duration::from_millis(20);
const LOOKS_APART_MAX: Duration = Duration::from_secs(1);

impl Queue {
    pub(super) fn standing(&self, now_ms: i64) -> Standing {
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
            let back_ms = self.back_ms(consumer, message, *redeliveries);
            let later = |ms: i64| format!("it has to stay here for {} ms more", ms - now_ms);
            if let Some(why) = consumer.filter.bar(message, *redeliveries, back_ms.is_some()) {
                return Some(why);
            }
            let waits = back_ms.filter(|ms| *ms > now_ms);
            if waits.is_some() && !consumer.filter.accepts(message, *redeliveries) {
                return waits.map(later);
            }
            let opens = opens_ms(self.policy.network_bridge_filter.as_ref(), consumer, now_ms);
            opens.map(|ms| format!("rateLimit holds it back for {} ms more", ms - now_ms))
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

    /// From when on `message` may go back where it came from by a consumer, which is a bridge's: nobody else
    /// takes it here. `None` if it may not.
    fn back_ms(
        &self,
        consumer: &Subscription,
        message: &Message,
        redeliveries: i32,
    ) -> Option<i64> {
        if !consumer.info.network_subscription || !self.replays() {
            return None;
        }
        let rule = self.policy.network_bridge_filter.as_ref();
        let selective = rule.is_some_and(|rule| rule.selector_aware);
        let takes = |it: &Subscription| {
            !it.info.network_subscription
                && (!selective || it.filter.accepts(message, redeliveries))
        };
        if self.consumers.iter().any(|it| takes(&it.subscription)) {
            return None;
        }
        let delay = rule.map(|rule| rule.replay_delay).filter(|delay| !delay.is_zero());
        Some(delay.map_or(i64::MIN, |delay| {
            let ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            message.broker_in_time.saturating_add(ms).saturating_add(1)
        }))
    }

    /// Whether a consumer may have a message: from which time on, `None` for never.
    fn may_have_ms(&self, it: &Subscription, message: &Message, redeliveries: i32) -> Option<i64> {
        let back_ms = self.back_ms(it, message, redeliveries);
        let delayed = back_ms.is_some_and(|ms| ms > i64::MIN);
        if !delayed {
            let accepted = it.filter.accepts_from(message, redeliveries, back_ms.is_some());
            return accepted.then_some(i64::MIN);
        }
        if it.filter.accepts(message, redeliveries) {
            return Some(i64::MIN);
        }
        back_ms.filter(|_| it.filter.accepts_from(message, redeliveries, true))
    }

    /// The time has come for which bridges waited, unless they look at another one by now.
    pub(super) fn look_again(&mut self, now_ms: i64) {
        if self.look_ms.is_some_and(|ms| ms > now_ms) {
            return;
        }
        self.look_ms = None;
        if let Some(key) = self.passed_over.take() {
            let bridges = self.consumers.iter_mut();
            for bridge in bridges.filter(|it| it.subscription.info.network_subscription) {
                bridge.look_from(key);
            }
        }
    }

    /// Has bridges look again at `ms`.
    fn look_at(&mut self, ms: i64, effects: &mut Effects) {
        if self.look_ms.is_none_or(|before| ms < before) {
            self.look_ms = Some(ms);
            effects.look_ms = Some(ms);
        }
    }

    /// The same for what a bridge passed over, from the first such message on. Each look may go through all
    /// that waits, so messages that may go back one after the other go together, a little late.
    fn pass_over(&mut self, key: Key, ms: i64, now_ms: i64, effects: &mut Effects) {
        self.passed_over = Some(self.passed_over.map_or(key, |other| other.min(key)));
        let rule = self.policy.network_bridge_filter.as_ref();
        let delay = rule.map_or(LOOKS_APART_MAX, |rule| rule.replay_delay);
        let apart = (delay / 8).clamp(LOOKS_APART_MIN, LOOKS_APART_MAX).as_millis();
        let soonest = now_ms.saturating_add(i64::try_from(apart).unwrap_or(i64::MAX));
        self.look_at(ms.max(soonest), effects);
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
            let rule = self.policy.network_bridge_filter.as_ref();
            if let Some(ms) = opens_ms(rule, &consumer.subscription, now_ms) {
                self.look_at(ms, effects);
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
            let mut later = None;
            let stop = self.look(consumer, now_ms, &mut later);
            if let Some((key, ms)) = later {
                self.pass_over(key, ms, now_ms, effects);
            }
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
            // What a bridge may have depends on who else is there and on the time, and who has a group changes.
            consumer.found = matches!(stop, Stop::Found(_))
                && !consumer.subscription.info.network_subscription
                && self.groups.is_none();
            if let Stop::Cold(key) = stop {
                self.cold_at = Some(self.cold_at.map_or(key, |other| other.min(key)));
            }
            return if let Stop::Found(key) = stop { Some(key) } else { None };
        }
    }

    /// Where a consumer comes to from its cursor on. What it may have only `later` is passed over: the first
    /// such message, and the earliest time.
    fn look(&self, consumer: &Consumer, now_ms: i64, later: &mut Option<(Key, i64)>) -> Stop {
        let subscription = &consumer.subscription;
        for (key, held) in self.pending.range(consumer.cursor) {
            let Some(message) = &held.message else { return Stop::Cold(key) };
            if self.store_first && held.is_being_stored() {
                return Stop::Unstored(key);
            }
            if message.is_expired(now_ms) {
                return Stop::Expired(key);
            }
            if consumer.found && key == consumer.cursor {
                return Stop::Found(key);
            }
            let claim = self
                .groups
                .as_ref()
                .map_or(Claim::Free, |groups| groups.claim(message, &subscription.id));
            if claim == Claim::Foreign {
                continue;
            }
            match self.may_have_ms(subscription, message, held.redeliveries()) {
                Some(ms) if ms <= now_ms => return Stop::Found(key),
                Some(ms) => {
                    let (first, earliest) = later.unwrap_or((key, ms));
                    *later = Some((first, earliest.min(ms)));
                }
                None => {}
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
        if subscription.info.network_subscription {
            subscription.throttle.count(self.policy.network_bridge_filter.as_ref(), now_ms);
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

/// When a consumer may get another message, if not now (`rateLimit`).
fn opens_ms(
    rule: Option<&ConditionalBridgeFilter>,
    consumer: &Subscription,
    now_ms: i64,
) -> Option<i64> {
    consumer.throttle.opens_ms(rule.filter(|_| consumer.info.network_subscription), now_ms)
}
