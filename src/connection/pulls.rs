//! Pulls that found nothing yet and are to be answered with nothing when their time is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use crate::openwire::ConsumerId;

/// The pulls of one connection that have a time-out, at most one a consumer: a later one takes the
/// place of the one before, as the client waits for one at a time.
#[derive(Debug, Default)]
pub struct Pulls {
    by_time: BTreeMap<(Instant, u64), Pull>,
    by_consumer: HashMap<Arc<ConsumerId>, (Instant, u64)>,
    /// Tells pulls of the same instant apart.
    count: u64,
}

/// A pull that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    pub consumer: Arc<ConsumerId>,
    /// Which of the consumer's pulls it is, as the broker counts them.
    pub number: u64,
}

impl Pulls {
    pub fn wait(&mut self, pull: Pull, until: Instant) {
        self.forget(&pull.consumer);
        self.count += 1;
        let key = (until, self.count);
        self.by_consumer.insert(Arc::clone(&pull.consumer), key);
        self.by_time.insert(key, pull);
    }

    pub fn forget(&mut self, consumer: &ConsumerId) {
        if let Some(key) = self.by_consumer.remove(consumer) {
            self.by_time.remove(&key);
        }
    }

    /// When the next one is over.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one that is over.
    pub fn take_due(&mut self, now: Instant) -> Option<Pull> {
        let first = self.by_time.first_entry().filter(|entry| entry.key().0 <= now)?;
        let pull = first.remove();
        self.by_consumer.remove(&pull.consumer);
        Some(pull)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pulls_are_over_in_the_order_of_their_time_and_a_later_one_takes_the_place() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let [a, b] = [1, 2].map(|value| Arc::new(ConsumerId::new("ID:1", 1, value)));
        let pull = |consumer: &Arc<ConsumerId>, number| Pull { consumer: consumer.clone(), number };
        let mut pulls = Pulls::default();
        pulls.wait(pull(&a, 1), at(5));
        pulls.wait(pull(&b, 1), at(3));
        pulls.wait(pull(&b, 2), at(7));
        assert_eq!(pulls.next(), Some(at(5)));
        assert_eq!(pulls.take_due(at(4)), None);
        assert_eq!(pulls.take_due(at(7)), Some(pull(&a, 1)));
        assert_eq!(pulls.take_due(at(7)), Some(pull(&b, 2)));
        assert_eq!(pulls.take_due(at(7)), None);
        pulls.wait(pull(&a, 3), at(9));
        pulls.forget(&a);
        assert_eq!(pulls.next(), None);
    }
}
