//! What waits for a topic consumer in the temporary store, because memory is short.
//!
//! ```text
//!  publish -> [ pending, in memory ] -> the consumer
//!      \-- memory is short --> [ spool: the newer part ] --pages--> the consumer, once pending is empty
//! ```
//!
//! **Invariant:** while there is a spool all that is published goes there, so all of it is newer than what
//! waits in memory. Keys are never used twice.

use std::sync::{Arc, OnceLock};

use super::{Role, Subscription};
use crate::broker::Broker;
use crate::broker::backlog::{Backlog, Held, Keeper, LINGERING_BYTES_FEW};
use crate::broker::keeping::Side;
use crate::broker::queue::{Effects, near};
use crate::openwire::Message;
use crate::store::{Fetched, Key, Location};

/// The newer part of what waits for one consumer.
#[derive(Debug, Default)]
pub struct Spool {
    waiting: Option<Box<Backlog>>,
    next_seq: u64,
}

impl Spool {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    pub fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Puts a message behind the others. Its memory is the caller's to count until its keeper has told
    /// where it lies; with [`Keeper::Memory`] until it is taken out.
    pub fn add(&mut self, message: &Arc<Message>, keeper: Keeper) -> Key {
        let key = Key::new(0, self.next_seq);
        self.next_seq += 1;
        let waiting = self.waiting.get_or_insert_default();
        waiting.insert(key, Held::new(Arc::clone(message), keeper));
        key
    }

    /// Takes the oldest out. `None` if there is none, or if it has to be read first: then `effects` has
    /// the page.
    pub fn take(&mut self, effects: &mut Effects) -> Option<Arc<Message>> {
        let waiting = self.waiting.as_mut()?;
        let key = waiting.first_key()?;
        let Some(message) = waiting.get(key)?.message.clone() else {
            effects.page = waiting.page_from(key);
            return None;
        };
        let held = waiting.take(key)?;
        effects.forget(key, &held);
        if waiting.is_empty() {
            self.waiting = None;
        }
        Some(message)
    }

    /// Has the next page read before it is needed.
    pub fn read_ahead(&mut self, effects: &mut Effects) {
        if let Some(waiting) = self.waiting.as_mut().filter(|_| effects.page.is_none()) {
            effects.page = waiting.page_ahead();
        }
    }

    fn placed(&mut self, placed: &[(Key, Location)], short: bool) -> (u64, usize) {
        let (mut dead, mut freed) = (0, 0);
        for (key, at) in placed {
            let waiting = self.waiting.as_mut();
            match waiting.and_then(|waiting| waiting.placed(*key, *at, near(short, true))) {
                Some((old, bytes)) => {
                    dead += old;
                    freed += bytes;
                }
                None => dead += u64::from(at.bytes),
            }
        }
        (dead, freed)
    }

    fn holds(&self, key: Key, at: Location) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.holds(key, at))
    }

    fn fetched(&mut self, page: Vec<(Key, Fetched)>, effects: &mut Effects) {
        let Some(waiting) = &mut self.waiting else { return };
        let arrival = waiting.fetched(page, Key::FIRST, LINGERING_BYTES_FEW);
        effects.taken_bytes += arrival.taken_bytes;
        effects.freed_bytes += arrival.freed_bytes;
        effects.damaged = arrival.damaged;
        if waiting.is_empty() {
            self.waiting = None;
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, effects: &mut Effects) {
        let waiting = self.waiting.take().map(|mut waiting| waiting.take_all());
        for (key, held) in waiting.into_iter().flatten() {
            effects.forget(key, &held);
        }
    }
}

impl Subscription {
    /// By which the temporary store calls it.
    pub(in crate::broker) fn spool_side(&self) -> &OnceLock<Arc<Side>> {
        &self.spool_side
    }

    /// The temporary store tells where messages lie; see [`crate::broker::queue::QueueCell::placed`].
    pub(in crate::broker) fn spool_placed(
        &self,
        placed: &[(Key, Location)],
        short: bool,
    ) -> (u64, usize) {
        match &self.role {
            Role::Topic(flow) => flow.lock().spool.placed(placed, short),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => {
                Spool::default().placed(placed, short)
            }
        }
    }

    /// Whether a message lies where the temporary store thinks.
    pub(in crate::broker) fn spool_holds(&self, key: Key, at: Location) -> bool {
        match &self.role {
            Role::Topic(flow) => flow.lock().spool.holds(key, at),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => false,
        }
    }

    /// Bodies came that were asked for: the consumer gets what it has room for.
    pub(in crate::broker) fn spool_fetched(
        self: &Arc<Self>,
        page: Vec<(Key, Fetched)>,
        broker: &Arc<Broker>,
    ) {
        let Role::Topic(flow) = &self.role else { return };
        let mut effects = Effects::default();
        {
            let mut flow = flow.lock();
            flow.spool.fetched(page, &mut effects);
            broker.memory.take(effects.taken_bytes);
        }
        broker.carry_out_spool(self, effects);
        self.wake(broker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Arc<Message> {
        Arc::new(Message { content: Some(vec![0; 100_000].into()), ..Message::default() })
    }

    fn at(offset: u32) -> Location {
        Location { segment: 1, offset, bytes: 100 }
    }

    #[test]
    fn what_is_written_leaves_memory_and_comes_back_in_order() {
        let mut spool = Spool::default();
        let keys: Vec<_> = (0..3).map(|_| spool.add(&message(), Keeper::Temporary)).collect();
        let placed: Vec<_> = keys.iter().zip(0..).map(|(key, offset)| (*key, at(offset))).collect();
        let (dead, freed) = spool.placed(&placed, true);
        assert_eq!((dead, freed), (0, 3 * message().memory_bytes()));
        let mut effects = Effects::default();
        assert!(spool.take(&mut effects).is_none());
        let wanted = effects.page.unwrap().wanted;
        assert_eq!(wanted, placed);
        let page = wanted.iter().map(|(key, _)| (*key, Fetched::Message(message()))).collect();
        let mut effects = Effects::default();
        spool.fetched(page, &mut effects);
        assert_eq!(effects.taken_bytes, freed);
        let mut effects = Effects::default();
        while spool.take(&mut effects).is_some() {}
        assert_eq!((effects.freed_bytes, spool.is_empty()), (freed, true));
        assert_eq!(effects.removed.temporary, placed);
    }

    #[test]
    fn a_key_is_not_used_again_once_the_spool_was_empty() {
        let mut spool = Spool::default();
        let first = spool.add(&message(), Keeper::Temporary);
        assert!(spool.take(&mut Effects::default()).is_some() && spool.is_empty());
        let second = spool.add(&message(), Keeper::Temporary);
        assert_ne!(first, second);
        // The store tells late of the first, which is gone.
        assert_eq!(spool.placed(&[(first, at(0))], true), (100, 0));
        assert!(spool.take(&mut Effects::default()).is_some());
    }

    #[test]
    fn what_memory_alone_keeps_is_given_out_too() {
        let mut spool = Spool::default();
        spool.add(&message(), Keeper::Memory);
        let mut effects = Effects::default();
        spool.clear(&mut effects);
        assert_eq!(effects.freed_bytes, message().memory_bytes());
        assert!(spool.is_empty() && effects.removed.temporary.is_empty());
    }
}
