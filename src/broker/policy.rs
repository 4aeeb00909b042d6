//! Which policy entry holds for a destination: the one with the most specific pattern, alone.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::message::MESSAGE_BYTES_MIN;
use super::options::{PolicyEntry, PolicyMap};
use crate::openwire::{ConsumerInfo, Destination, Message};
use crate::store::Audit;

/// The policy map, ready to be asked.
#[derive(Debug)]
pub struct Policies {
    default: Policy,
    /// The more specific before those whose patterns fit theirs.
    entries: Vec<(Destination, Policy)>,
    /// Whether any entry limits the memory of one destination.
    limit_memory: bool,
    /// Whether any entry has a `storeUsageHighWaterMark` below 100 %.
    mark_store: bool,
    /// Whether any entry has `advisoryForDispatched`.
    tell_dispatched: bool,
}

/// An entry, with what is remembered for all destinations that it holds for.
#[derive(Debug, Clone)]
struct Policy {
    entry: Arc<PolicyEntry>,
    /// The messages that died there (`enableAudit` of the dead letter strategy).
    dead: Option<Arc<Mutex<Audit>>>,
}

impl Policy {
    fn new(entry: PolicyEntry) -> Self {
        let letters = &entry.dead_letter;
        let audit = || Audit::new(letters.max_producers_to_audit, letters.max_audit_depth);
        let dead = letters.enable_audit.then(|| Arc::new(Mutex::new(audit())));
        Self { entry: Arc::new(entry), dead }
    }
}

impl Policies {
    pub fn new(map: PolicyMap) -> Self {
        let mut entries: Vec<(Destination, Policy)> = Vec::new();
        for (pattern, entry) in map.entries {
            let policy = Policy::new(entry);
            for member in pattern.members() {
                // One after the other: the order of two patterns says nothing of a third.
                let less = |other: &(Destination, Policy)| order(&member, &other.0).is_lt();
                let at = entries.iter().position(less).unwrap_or(entries.len());
                entries.insert(at, (member, policy.clone()));
            }
        }
        let default = Policy::new(map.default_entry.unwrap_or_default());
        let all = || entries.iter().map(|(_, policy)| policy).chain([&default]);
        let limit_memory = all().any(|policy| policy.entry.memory_limit.is_some());
        let mark_store = all().any(|policy| policy.entry.store_usage_high_water_mark < 100);
        let tell_dispatched = all().any(|policy| policy.entry.advisory_for_dispatched);
        Self { default, entries, limit_memory, mark_store, tell_dispatched }
    }

    /// Every entry, the default one last.
    pub fn all(&self) -> impl Iterator<Item = &Arc<PolicyEntry>> {
        self.entries.iter().map(|(_, policy)| policy).chain([&self.default]).map(|it| &it.entry)
    }

    /// Whether any destination has a mark of its own in the store's limit.
    pub fn mark_store(&self) -> bool {
        self.mark_store
    }

    /// Whether any destination wants deliveries told, so that others need not be asked.
    pub fn tell_dispatched(&self) -> bool {
        self.tell_dispatched
    }

    /// Whether any destination has a memory limit of its own, so that others need not be asked.
    pub fn limit_memory(&self) -> bool {
        self.limit_memory
    }

    /// The shortest `expireMessagesPeriod` of all entries; `None` when none has one.
    pub fn expire_period(&self) -> Option<Duration> {
        self.all().filter_map(|entry| entry.expire_messages_period).min()
    }

    fn policy_for(&self, destination: &Destination) -> &Policy {
        let fits = |pattern: &Destination| {
            if destination.is_composite() {
                destination.members().iter().any(|member| pattern.matches(member))
            } else {
                pattern.matches(destination)
            }
        };
        let first = self.entries.iter().find(|(pattern, _)| fits(pattern));
        first.map_or(&self.default, |(_, policy)| policy)
    }

    pub fn entry_for(&self, destination: &Destination) -> Arc<PolicyEntry> {
        Arc::clone(&self.policy_for(destination).entry)
    }

    /// Notes that a message died at `destination`. Returns whether it had died there before, or at
    /// another destination of the same policy entry.
    pub fn dies(&self, destination: &Destination, message: &Message) -> bool {
        let Some(dead) = &self.policy_for(destination).dead else { return false };
        let mut dead = dead.lock();
        let known = dead.knows(message);
        dead.mark(message);
        known
    }

    /// Forgets a death: its letter was taken out of `letters`.
    pub fn forget_death(&self, letters: &Destination, message: &Message) {
        if let Some(dead) = &self.policy_for(letters).dead {
            dead.lock().unmark(message);
        }
    }

    /// How many destinations may fit the pattern that holds for `destination`, if that is limited.
    pub fn destinations_limit(&self, destination: &Destination) -> Option<(&Destination, u32)> {
        let fits = self.entries.iter().find(|(pattern, _)| pattern.matches(destination));
        fits.and_then(|(pattern, policy)| {
            policy.entry.max_destinations.map(|limit| (pattern, limit))
        })
    }
}

impl PolicyEntry {
    /// Whether a destination with this consumer is not idle (`gcWithNetworkConsumers`).
    pub fn keeps_in_use(&self, consumer: &ConsumerInfo) -> bool {
        !(self.gc_with_network_consumers && consumer.network_subscription)
    }

    /// What `count` messages of together `bytes` bytes count for in `memoryLimit` (`minimumMessageSize`).
    pub fn counted_bytes(&self, count: usize, bytes: usize) -> usize {
        let each = usize::try_from(self.minimum_message_size).unwrap_or(usize::MAX);
        if each == MESSAGE_BYTES_MIN {
            return bytes;
        }
        let least = count.saturating_mul(MESSAGE_BYTES_MIN);
        bytes.saturating_sub(least).saturating_add(count.saturating_mul(each))
    }
}

/// Which of two patterns is asked first: a name before a pattern, a pattern before one that it fits, and
/// of others the first by name.
pub fn order(one: &Destination, other: &Destination) -> Ordering {
    match (one.is_pattern(), other.is_pattern()) {
        (false, true) => return Ordering::Less,
        (true, false) => return Ordering::Greater,
        (false, false) | (true, true) => {}
    }
    match (one.matches(other), other.matches(one)) {
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (true, true) | (false, false) => one.name().cmp(&other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_holds_alone() {
        let entry = |prefetch| PolicyEntry { queue_prefetch: prefetch, ..PolicyEntry::default() };
        let patterns = [(">", 1), ("A.>", 2), ("A.*", 3), ("A.B", 4), ("A.*.C,X.*", 5)];
        let entries =
            patterns.map(|(pattern, prefetch)| (Destination::queue(pattern), entry(prefetch)));
        let policies = Policies::new(PolicyMap { default_entry: None, entries: entries.into() });
        let prefetch = |name| policies.entry_for(&Destination::queue(name)).queue_prefetch;
        assert_eq!(["X", "A.X.Y", "A.X", "A.B", "A.X.C"].map(prefetch), [1, 2, 3, 4, 5]);
        assert_eq!(["X.Y", "Y,A.B"].map(prefetch), [5, 4], "of several");
        assert_eq!(policies.entry_for(&Destination::topic("A.B")).queue_prefetch, 1000);
    }

    #[test]
    fn each_entry_looks_for_expired_messages_at_its_own_period() {
        let every = |ms| PolicyEntry {
            expire_messages_period: Some(Duration::from_millis(ms)),
            ..PolicyEntry::default()
        };
        let entries = vec![
            (Destination::queue("fast"), every(500)),
            (Destination::queue("slow"), every(60_000)),
        ];
        let policies = Policies::new(PolicyMap { default_entry: None, entries });
        assert_eq!(policies.expire_period(), Some(Duration::from_millis(500)));
        let due = |name: &str, since, now| {
            policies.entry_for(&Destination::queue(name)).is_expire_due(since, now)
        };
        assert!(due("fast", 400, 900) && !due("slow", 400, 900) && !due("other", 400, 900));
        assert!(due("other", 29_900, 30_400) && !due("slow", 29_900, 30_400));
        assert!(due("slow", 59_900, 60_400));
        let never = PolicyEntry { expire_messages_period: None, ..PolicyEntry::default() };
        assert!(!never.is_expire_due(0, i64::MAX));
    }
}
