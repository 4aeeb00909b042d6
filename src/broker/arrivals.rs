//! What came over bridges lately, so that a message that a bridge sends again is known.
//!
//! A bridge that lost its connection cannot know what of its last messages arrived, and sends them
//! again. What is stored is in the journal's own memory too, which survives a restart; this one also
//! knows what is not stored, and what is just on its way into its destination.

use std::collections::{HashSet, VecDeque};

use crate::openwire::{Message, MessageKey};

/// Messages that are remembered: more than bridges can have under way.
const REMEMBERED_MAX: usize = 32_768;

/// A message and how many brokers it had passed: one that rightly comes again came by a longer way.
type Arrival = (MessageKey, usize);

/// The last messages that came over bridges.
#[derive(Debug, Default)]
pub struct Arrivals {
    known: HashSet<Arrival>,
    oldest_first: VecDeque<Arrival>,
}

impl Arrivals {
    pub fn knows(&self, message: &Message) -> bool {
        arrival(message).is_some_and(|arrival| self.known.contains(&arrival))
    }

    pub fn note(&mut self, message: &Message) {
        let Some(arrival) = arrival(message) else { return };
        if self.known.insert(arrival.clone()) {
            self.oldest_first.push_back(arrival);
        }
        while self.oldest_first.len() > REMEMBERED_MAX {
            let Some(oldest) = self.oldest_first.pop_front() else { return };
            self.known.remove(&oldest);
        }
    }
}

fn arrival(message: &Message) -> Option<Arrival> {
    Some((message.message_id.as_ref()?.key(), message.hops()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::openwire::{BrokerId, MessageId, ProducerId};

    fn message(sequence: i64, hops: usize) -> Message {
        let producer = Arc::new(ProducerId::new("ID:c", 1, 1));
        Message {
            message_id: Some(MessageId::new(producer, sequence)),
            broker_path: Some(vec![Some(BrokerId::new("A")); hops]),
            ..Message::default()
        }
    }

    #[test]
    fn a_message_is_known_by_its_id_and_the_length_of_its_way() {
        let mut arrivals = Arrivals::default();
        arrivals.note(&message(1, 1));
        assert!(arrivals.knows(&message(1, 1)));
        assert!(!arrivals.knows(&message(2, 1)) && !arrivals.knows(&message(1, 3)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut arrivals = Arrivals::default();
        let last = REMEMBERED_MAX as i64;
        (0..=last).for_each(|sequence| arrivals.note(&message(sequence, 1)));
        assert!(!arrivals.knows(&message(0, 1)) && arrivals.knows(&message(1, 1)));
        assert_eq!((arrivals.known.len(), arrivals.oldest_first.len()), (32_768, 32_768));
    }
}
