//! Message groups: which consumer of a queue a group belongs to.
//!
//! ```text
//!             first message, or sequence 1                 sequence below 0, owner leaves, forgotten
//!  nobody's ----------------------------> owned by one ------------------------------------> nobody's
//! ```
//!
//! Groups beyond the limit are forgotten, the longest unused first; their next message finds a new
//! owner (`messageGroupMapFactoryType` cached, 1024).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::openwire::{ConsumerId, Message, Text};

/// What a message means for a consumer that could take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// In no group, or in one that is this consumer's.
    Free,
    /// The group becomes this consumer's.
    Takes,
    /// The group is another's.
    Foreign,
}

/// The owners of the groups of one queue.
#[derive(Debug)]
pub struct Groups {
    owners: LruCache<Text, Arc<ConsumerId>>,
    /// How many groups each consumer owns.
    counts: HashMap<Arc<ConsumerId>, usize>,
}

impl Groups {
    /// `limit` groups are remembered, at least one.
    pub fn new(limit: usize) -> Self {
        let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        // Not `new(limit)`, which would take the memory for all of them at once.
        let mut owners = LruCache::unbounded();
        owners.resize(limit);
        Self { owners, counts: HashMap::new() }
    }

    pub fn claim(&self, message: &Message, consumer: &Arc<ConsumerId>) -> Claim {
        let Some(group) = &message.group_id else { return Claim::Free };
        match self.owners.peek(group) {
            Some(owner) if message.group_sequence != 1 && owner == consumer => Claim::Free,
            Some(_) if message.group_sequence != 1 => Claim::Foreign,
            // Whoever gets the first message owns the rest.
            Some(_) | None => Claim::Takes,
        }
    }

    /// Notes that `consumer` was given `message`. Returns whether that closed the group, so that others
    /// may have what waited for its owner.
    pub fn dispatched(&mut self, message: &Message, consumer: &Arc<ConsumerId>) -> bool {
        let Some(group) = &message.group_id else { return false };
        if self.claim(message, consumer) == Claim::Takes {
            // What comes back is the former owner: of this group, or of the one now forgotten.
            let former = self.owners.push(group.clone(), Arc::clone(consumer));
            *self.counts.entry(Arc::clone(consumer)).or_default() += 1;
            if let Some((_, former)) = former {
                self.count_down(&former);
            }
            return false;
        }
        let closed = message.group_sequence < 0;
        if closed {
            self.owners.pop(group);
            self.count_down(consumer);
        } else {
            self.owners.promote(group);
        }
        closed
    }

    fn count_down(&mut self, consumer: &Arc<ConsumerId>) {
        let Some(count) = self.counts.get_mut(consumer) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(consumer);
        }
    }

    /// Frees the groups of a consumer that left. Returns whether it had any.
    pub fn remove_consumer(&mut self, consumer: &Arc<ConsumerId>) -> bool {
        if self.counts.remove(consumer).is_none() {
            return false;
        }
        let owned = self.owners.iter().filter(|(_, owner)| *owner == consumer);
        let owned: Vec<_> = owned.map(|(group, _)| group.clone()).collect();
        for group in owned {
            self.owners.pop(&group);
        }
        true
    }

    /// How many groups are the consumer's, by which less loaded consumers are preferred.
    pub fn owned_by(&self, consumer: &Arc<ConsumerId>) -> usize {
        self.counts.get(consumer).copied().unwrap_or(0)
    }
}
