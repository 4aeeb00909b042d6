//! What the broker does later, at a time.

use std::collections::BTreeMap;
use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Broker;
use super::queue::{Event, QueueCell};
use super::subscription::durable::{self, Durable};
use crate::store::Key;

/// Something that is due at a time. A queue that is gone by then has nothing to do.
#[derive(Debug, Clone)]
pub enum Due {
    /// A queue that waited for consumers goes on with those that are there.
    Start(Weak<QueueCell>),
    /// A queue looks for what bridges may have now.
    Look(Weak<QueueCell>),
    /// A message that waited to be delivered again is delivered.
    Redeliver(Weak<QueueCell>, Key),
    /// The same of a durable subscription.
    RedeliverDurable(Weak<Durable>, Key),
}

/// Everything that is to be done later, in the order of time.
#[derive(Debug, Default)]
pub struct Timer {
    due: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_time: BTreeMap<(i64, u64), Due>,
    /// Tells what is due at the same time apart.
    count: u64,
}

impl Timer {
    /// Has something done at `ms`, in milliseconds since 1970.
    pub fn at(&self, ms: i64, due: Due) {
        let mut waiting = self.due.lock();
        waiting.count += 1;
        let key = (ms, waiting.count);
        waiting.by_time.insert(key, due);
        let first = waiting.by_time.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(waiting);
        if first {
            self.changed.notify_one();
        }
    }

    /// When the next is due.
    pub fn next_ms(&self) -> Option<i64> {
        self.due.lock().by_time.first_key_value().map(|((ms, _), _)| *ms)
    }

    /// Wakes when something is due earlier than was known.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    fn take(&self, now_ms: i64) -> Vec<Due> {
        let mut waiting = self.due.lock();
        let later = waiting.by_time.split_off(&(now_ms.saturating_add(1), 0));
        std::mem::replace(&mut waiting.by_time, later).into_values().collect()
    }
}

impl Broker {
    /// Does all that is due by now. To be called when [`Timer::next_ms`] has come.
    pub fn do_due(&self) {
        for due in self.timer.take(self.now_ms()) {
            let (queue, event) = match due {
                Due::Start(queue) => (queue, Event::Started),
                Due::Look(queue) => (queue, Event::Look),
                Due::Redeliver(queue, key) => (queue, Event::Unlocked(vec![key])),
                Due::RedeliverDurable(durable, key) => {
                    if let Some(durable) = durable.upgrade() {
                        self.apply_durable(&durable, durable::Event::Unlocked(vec![key]));
                    }
                    continue;
                }
            };
            if let Some(queue) = queue.upgrade() {
                self.apply(&queue, event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_done_in_the_order_of_time() {
        let timer = Timer::default();
        for (ms, sequence) in [(30, 1), (10, 2), (10, 3), (20, 4)] {
            timer.at(ms, Due::Redeliver(Weak::new(), Key::new(0, sequence)));
        }
        let keys = |due: Vec<Due>| {
            let key = |due| match due {
                Due::Redeliver(_, key) | Due::RedeliverDurable(_, key) => key.sequence(),
                Due::Start(_) | Due::Look(_) => 0,
            };
            due.into_iter().map(key).collect::<Vec<_>>()
        };
        assert_eq!(timer.next_ms(), Some(10));
        assert_eq!(keys(timer.take(20)), [2, 3, 4]);
        assert_eq!((timer.next_ms(), keys(timer.take(29)).len()), (Some(30), 0));
    }
}
