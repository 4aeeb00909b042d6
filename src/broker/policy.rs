//! Which policy entry holds for a destination: the one with the most specific pattern, alone.

use std::sync::Arc;
use std::time::Duration;

use super::options::{PolicyEntry, PolicyMap};
use crate::openwire::Destination;

/// The policy map, ready to be asked.
#[derive(Debug)]
pub struct Policies {
    default: Arc<PolicyEntry>,
    entries: Vec<(Destination, Arc<PolicyEntry>)>,
    /// Whether any entry limits the memory of one destination.
    limit_memory: bool,
    /// Whether any entry has a `storeUsageHighWaterMark` below 100 %.
    mark_store: bool,
}

impl Policies {
    pub fn new(map: PolicyMap) -> Self {
        let mut entries: Vec<_> =
            map.entries.into_iter().map(|(pattern, entry)| (pattern, Arc::new(entry))).collect();
        entries.sort_by_cached_key(|(pattern, _)| std::cmp::Reverse(specificity(pattern)));
        let default: Arc<PolicyEntry> = Arc::new(map.default_entry.unwrap_or_default());
        let limit_memory = default.memory_limit.is_some()
            || entries.iter().any(|(_, entry)| entry.memory_limit.is_some());
        let mark_store = entries
            .iter()
            .map(|(_, entry)| entry)
            .chain([&default])
            .any(|entry| entry.store_usage_high_water_mark < 100);
        Self { default, entries, limit_memory, mark_store }
    }

    /// Whether any destination has a mark of its own in the store's limit.
    pub fn mark_store(&self) -> bool {
        self.mark_store
    }

    /// Whether any destination has a memory limit of its own, so that others need not be asked.
    pub fn limit_memory(&self) -> bool {
        self.limit_memory
    }

    /// The shortest `expireMessagesPeriod` of all entries; `None` when none has one.
    pub fn expire_period(&self) -> Option<Duration> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        let periods = entries.chain([&self.default]).map(|entry| entry.expire_messages_period);
        periods.flatten().min()
    }

    pub fn entry_for(&self, destination: &Destination) -> Arc<PolicyEntry> {
        let fits = self.entries.iter().find(|(pattern, _)| pattern.matches(destination));
        Arc::clone(fits.map_or(&self.default, |(_, entry)| entry))
    }

    /// How many destinations may fit the pattern that holds for `destination`, if that is limited.
    pub fn destinations_limit(&self, destination: &Destination) -> Option<(&Destination, u32)> {
        let fits = self.entries.iter().find(|(pattern, _)| pattern.matches(destination));
        fits.and_then(|(pattern, entry)| entry.max_destinations.map(|limit| (pattern, limit)))
    }
}

/// Per part: a name says more than `*`, which says more than `>`.
fn specificity(pattern: &Destination) -> Vec<u8> {
    let rank = |part: &str| match part {
        ">" => 0,
        "*" => 1,
        _ => 2,
    };
    pattern.name().split('.').map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_holds_alone() {
        let entry = |prefetch| PolicyEntry { queue_prefetch: prefetch, ..PolicyEntry::default() };
        let patterns = [(">", 1), ("A.>", 2), ("A.*", 3), ("A.B", 4), ("A.*.C", 5)];
        let entries =
            patterns.map(|(pattern, prefetch)| (Destination::queue(pattern), entry(prefetch)));
        let policies = Policies::new(PolicyMap { default_entry: None, entries: entries.into() });
        let prefetch = |name| policies.entry_for(&Destination::queue(name)).queue_prefetch;
        assert_eq!(["X", "A.X.Y", "A.X", "A.B", "A.X.C"].map(prefetch), [1, 2, 3, 4, 5]);
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
