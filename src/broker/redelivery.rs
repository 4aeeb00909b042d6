//! The broker, not the client, waits between deliveries (`<redeliveryPlugin>`).
//!
//! A message that a consumer rejects for good goes back to its queue or durable subscription, where nobody
//! gets it before its delay is over. It is stored at once: after a crash it is delivered without the rest of the delay.

use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use super::options::Plugin;
use super::options::plugin::{Redelivery, RedeliveryPolicy};
use super::policy::order;
use super::queue::{Event, QueueCell};
use super::subscription::durable::{self, Durable};
use super::subscription::window::InFlight;
use super::subscription::{Role, Subscription};
use super::timer::Due;
use super::{backlog::Keeper, keeping};
use crate::openwire::map::{PrimitiveMap, Value};
use crate::openwire::{Destination, Message};
use crate::store::Group;

/// On a message that is delivered again: how long it waited, in milliseconds.
const DELAY_PROPERTY: &str = "redeliveryDelay";

/// What becomes of a message that a consumer rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Delivered again after so many milliseconds.
    Again(i64),
    DeadLetter,
    Dropped,
}

/// The plugin with its entries, the more specific before those whose patterns fit theirs.
#[derive(Debug)]
pub struct Redeliveries {
    options: Redelivery,
}

impl Redeliveries {
    pub fn of(plugins: &[Plugin]) -> Option<Self> {
        let mut found = None;
        for plugin in plugins {
            if let Plugin::Redelivery(options) = plugin {
                let mut options = options.clone();
                options.entries.sort_by(|one, other| order(&one.0, &other.0));
                found = Some(Self { options });
            }
        }
        found
    }

    fn fate(&self, destination: &Destination, redeliveries: i32) -> Fate {
        let entry = self.options.entries.iter().find(|(pattern, _)| pattern.matches(destination));
        let policy = entry.map(|(_, policy)| policy).or(self.options.default_entry.as_ref());
        let Some(policy) = policy else {
            return if self.options.fallback_to_dead_letter {
                Fate::DeadLetter
            } else {
                Fate::Dropped
            };
        };
        let count = u32::try_from(redeliveries).unwrap_or(0);
        if policy.maximum_redeliveries.is_none_or(|most| count < most) {
            Fate::Again(delay_ms(policy, count))
        } else if self.options.send_to_dlq_if_max_retries_exceeded {
            Fate::DeadLetter
        } else {
            Fate::Dropped
        }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How long a message waits that came `count` times before.
fn delay_ms(policy: &RedeliveryPolicy, count: u32) -> i64 {
    let mut delay = ms(policy.initial_redelivery_delay);
    // Beyond this a delay has long met its bounds.
    for _ in 0..count.min(1000) {
        delay = next_delay(policy, delay);
    }
    delay as i64
}

fn next_delay(policy: &RedeliveryPolicy, previous: f64) -> f64 {
    let plain = ms(policy.redelivery_delay);
    let mut next = plain;
    if previous > 0.0 && policy.use_exponential_back_off && policy.back_off_multiplier > 1.0 {
        next = previous * policy.back_off_multiplier;
        if let Some(most) = policy.maximum_redelivery_delay {
            next = next.min(ms(most).max(plain));
        }
    }
    if policy.use_collision_avoidance {
        let most = f64::from(policy.collision_avoidance_percent) / 100.0;
        next += next * most * (fastrand::f64() * 2.0 - 1.0);
    }
    next
}

impl Broker {
    /// Has a message that was rejected delivered again, or drops it, where the plugin says so. `false`
    /// where it is to be dead-lettered.
    pub(super) fn redelivers(&self, consumer: &Subscription, held: &InFlight) -> bool {
        let (Some(redeliveries), Some(from)) = (&self.redeliveries, held.destination()) else {
            return false;
        };
        if held.message.is_expired(self.now_ms()) {
            return false;
        }
        match redeliveries.fate(&from, held.redeliveries) {
            Fate::DeadLetter => return false,
            Fate::Dropped => {
                tracing::debug!("dropped what was rejected: {:?}", held.message.message_id)
            }
            Fate::Again(delay) => match (&held.queue, &consumer.role) {
                (Some(queue), _) => self.send_later(queue, again(held, delay), delay),
                (None, Role::Durable(durable)) => {
                    self.publish_later(durable, again(held, delay), delay);
                }
                (None, Role::Queue(_) | Role::Browser(_) | Role::Topic(_)) => return false,
            },
        }
        true
    }

    /// Puts a message into a queue where nobody gets it for so many milliseconds.
    fn send_later(&self, queue: &Arc<QueueCell>, message: Message, delay_ms: i64) {
        let message = Arc::new(message);
        let key = queue.reserve(&message);
        let owner = queue.owner.filter(|_| message.persistent);
        let keeper = if owner.is_some() { Keeper::Journal } else { Keeper::Memory };
        let mut group = Group::default();
        group.entries.extend(owner.map(|owner| keeping::added(owner, key, &message)));
        let _ticket = self.append(group);
        let bytes = message.memory_bytes();
        self.memory.take(bytes);
        if !self.apply(queue, Event::SendLater { key, message, keeper }) {
            // Removed with all it held.
            self.memory.free(bytes);
        }
        let due = Due::Redeliver(Arc::downgrade(queue), key);
        self.timer.at(self.now_ms().saturating_add(delay_ms), due);
    }

    /// Puts a message into a durable subscription that does not get it for so many milliseconds.
    fn publish_later(&self, durable: &Arc<Durable>, message: Message, delay_ms: i64) {
        let message = Arc::new(message);
        let Some(key) = durable.reserve_again() else { return };
        let owner = durable.owner.filter(|_| message.persistent);
        let keeper = if owner.is_some() { Keeper::Journal } else { Keeper::Memory };
        let mut group = Group::default();
        group.entries.extend(owner.map(|owner| keeping::added(owner, key, &message)));
        let _ticket = self.append(group);
        self.apply_durable(durable, durable::Event::PublishLater { key, message, keeper });
        let due = Due::RedeliverDurable(Arc::downgrade(durable), key);
        self.timer.at(self.now_ms().saturating_add(delay_ms), due);
    }
}

/// The message as it comes again. Properties that cannot be read stay as they are.
fn again(held: &InFlight, delay_ms: i64) -> Message {
    let mut message = (*held.message).clone();
    message.transaction_id = None;
    message.redelivery_counter = held.redeliveries.saturating_add(1);
    let properties = match message.marshalled_properties.as_deref() {
        None | Some([]) => Some(PrimitiveMap::new()),
        Some(bytes) => PrimitiveMap::decode(bytes).ok().map(Option::unwrap_or_default),
    };
    if let Some(mut properties) = properties {
        properties.insert(DELAY_PROPERTY, Value::Long(delay_ms));
        if let Ok(encoded) = properties.encode() {
            message.marshalled_properties = Some(encoded);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RedeliveryPolicy {
        let most = Some(Duration::from_secs(30));
        RedeliveryPolicy {
            maximum_redeliveries: Some(4),
            use_exponential_back_off: true,
            maximum_redelivery_delay: most,
            ..RedeliveryPolicy::default()
        }
    }

    #[test]
    fn delays_grow_up_to_their_bound() {
        assert_eq!(
            [0, 1, 2, 3].map(|count| delay_ms(&policy(), count)),
            [1000, 5000, 25_000, 30_000]
        );
        let plain = RedeliveryPolicy { use_exponential_back_off: false, ..policy() };
        assert_eq!([0, 1, 2].map(|count| delay_ms(&plain, count)), [1000; 3]);
    }

    #[test]
    fn a_collision_is_avoided_by_at_most_its_percentage() {
        let seed = fastrand::u64(..);
        fastrand::seed(seed);
        let policy =
            RedeliveryPolicy { use_collision_avoidance: true, ..RedeliveryPolicy::default() };
        for _ in 0..1000 {
            let delay = delay_ms(&policy, 1);
            assert!((850..=1150).contains(&delay), "{delay} with seed {seed}");
        }
    }

    #[test]
    fn the_most_specific_entry_says_how_often() {
        let never = RedeliveryPolicy { maximum_redeliveries: Some(0), ..policy() };
        let options = Redelivery {
            entries: vec![(Destination::queue(">"), never), (Destination::queue("A.>"), policy())],
            ..Redelivery::default()
        };
        let redeliveries = Redeliveries::of(&[Plugin::Redelivery(options)]).unwrap();
        let fate = |name: &str, count| redeliveries.fate(&Destination::queue(name), count);
        assert_eq!(fate("A.B", 0), Fate::Again(1000));
        assert_eq!(fate("A.B", 4), Fate::DeadLetter);
        assert_eq!(fate("B", 0), Fate::DeadLetter);
        let nobody = Redelivery { fallback_to_dead_letter: false, ..Redelivery::default() };
        let redeliveries = Redeliveries::of(&[Plugin::Redelivery(nobody)]).unwrap();
        assert_eq!(redeliveries.fate(&Destination::queue("A"), 0), Fate::Dropped);
    }
}
