//! What the changes of a journal, one after another, leave in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::group::{Branch, OwnerRecord};
use super::place::{Key, Location, OwnerId};
use super::record::{Counters, Record};
use super::recovered::Stored;
use crate::openwire::XaTransactionId;

type Map<K, V> = HashMap<K, V, RandomState>;

/// For a store that is read at once.
const FOLD_AT: usize = 1 << 16;

/// A change of one message, as footers keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) owner: OwnerId,
    pub(super) key: Key,
    pub(super) change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It lies there now.
    Put(Stored),
    Remove,
    Redelivered(u32),
    /// Sent so often, and due again then.
    Fired(u32, i64),
}

/// Where a record lies that says what is so until another one says otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) bytes: u32,
}

#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) owners: Map<OwnerId, ReplayedOwner>,
    gone: HashSet<OwnerId, RandomState>,
    /// In the order in which they were prepared first.
    pub(super) branches: Map<XaTransactionId, (u64, Branch, Place)>,
    prepared: u64,
    pub(super) counters: Counters,
    /// Changes of one owner are folded once there are that many, or as many as there are messages; 0
    /// stands for [`FOLD_AT`].
    fold_at: usize,
}

/// What is known of an owner.
#[derive(Debug, Default)]
pub(super) struct ReplayedOwner {
    pub(super) record: Option<(OwnerRecord, Place)>,
    /// The highest sequence number of a key, and the last segment that says so.
    pub(super) sequence: u64,
    pub(super) witness: u32,
    /// In the order of their keys, each once.
    settled: Vec<(Key, Stored)>,
    /// What came after.
    recent: Vec<(Key, Change)>,
    /// Above all keys so far.
    free: u64,
}

impl Replay {
    /// Folds changes earlier, so that they take less memory.
    pub(super) fn fold_at(&mut self, changes: usize) {
        self.fold_at = changes;
        self.owners.values_mut().for_each(ReplayedOwner::fold);
    }

    /// How many owners are gone.
    pub(super) fn gone(&self) -> usize {
        self.gone.len()
    }

    /// Changes of messages of one owner that a segment makes, in their order.
    pub(super) fn events(
        &mut self,
        segment: u32,
        id: OwnerId,
        changes: impl Iterator<Item = (Key, Change)>,
    ) {
        if self.gone.contains(&id) {
            return;
        }
        let fold_at = if self.fold_at == 0 { FOLD_AT } else { self.fold_at };
        let owner = self.owners.entry(id).or_default();
        for (key, change) in changes {
            owner.note(key.sequence(), segment);
            owner.change(key, change, fold_at);
        }
    }

    /// A record that is no change of a message; those are events.
    pub(super) fn state(&mut self, record: Record<'_>, place: Place) {
        match record {
            Record::Owner { id, sequence, record } => {
                self.counters.next_owner = self.counters.next_owner.max(id.0.saturating_add(1));
                if self.gone.contains(&id) {
                    return;
                }
                let owner = self.owners.entry(id).or_default();
                owner.note(sequence, place.segment);
                owner.record = Some((record, place));
            }
            Record::OwnerGone(id) => {
                self.counters.next_owner = self.counters.next_owner.max(id.0.saturating_add(1));
                self.owners.remove(&id);
                self.gone.insert(id);
            }
            Record::Sequence(id, sequence) => {
                if !self.gone.contains(&id) {
                    self.owners.entry(id).or_default().note(sequence, place.segment);
                }
            }
            Record::Prepared(branch) => {
                self.prepared += 1;
                let order = self.branches.get(&branch.xid).map_or(self.prepared, |found| found.0);
                self.branches.insert(branch.xid.clone(), (order, branch, place));
            }
            Record::Outcome(xid) => {
                self.branches.remove(&xid);
            }
            Record::Counters(counters) => {
                let ours = &mut self.counters;
                ours.next_owner = ours.next_owner.max(counters.next_owner);
                ours.broker_sequence = ours.broker_sequence.max(counters.broker_sequence);
            }
            Record::Audit(_)
            | Record::Heard(..)
            | Record::Add(_)
            | Record::Copy(_)
            | Record::Remove(..)
            | Record::Redelivered(..)
            | Record::Fired(..) => {}
        }
    }
}

/// The changes of messages that a record in `segment` at `offset` makes.
pub(super) fn events_of(
    record: &Record<'_>,
    segment: u32,
    offset: u32,
    bytes: usize,
    mut event: impl FnMut(Event),
) {
    match record {
        Record::Add(held) | Record::Copy(held) => {
            let holders = held.holders();
            let at = Location { segment, offset, bytes: share(bytes, holders.len()) };
            let stored =
                Stored { at, redeliveries: held.redeliveries, expiration: held.expiration };
            holders.for_each(|(owner, key)| {
                event(Event { owner, key, change: Change::Put(stored) });
            });
        }
        Record::Remove(owner, keys) => keys.iter().for_each(|key| {
            event(Event { owner: *owner, key, change: Change::Remove });
        }),
        Record::Redelivered(owner, key, count) => {
            event(Event { owner: *owner, key: *key, change: Change::Redelivered(*count) });
        }
        Record::Fired(owner, key, count, due_ms) => {
            event(Event { owner: *owner, key: *key, change: Change::Fired(*count, *due_ms) });
        }
        Record::Owner { .. }
        | Record::OwnerGone(_)
        | Record::Prepared(_)
        | Record::Outcome(_)
        | Record::Audit(_)
        | Record::Counters(_)
        | Record::Sequence(..)
        | Record::Heard(..) => {}
    }
}

/// What of a record's bytes each of its holders keeps alive.
pub(super) fn share(bytes: usize, holders: usize) -> u32 {
    u32::try_from(bytes / holders.max(1)).unwrap_or(u32::MAX)
}

impl ReplayedOwner {
    fn note(&mut self, sequence: u64, segment: u32) {
        if sequence >= self.sequence {
            self.sequence = sequence;
            self.witness = segment;
        }
    }

    fn change(&mut self, key: Key, change: Change, fold_at: usize) {
        let bits = key.to_bits();
        match change {
            // As messages come, most are behind all others.
            Change::Put(stored) if bits >= self.free => self.settled.push((key, stored)),
            Change::Put(_) | Change::Remove | Change::Redelivered(_) | Change::Fired(..) => {
                self.recent.push((key, change));
                if self.recent.len() >= fold_at.max(self.settled.len()) {
                    self.fold();
                }
            }
        }
        self.free = self.free.max(bits.saturating_add(1));
    }

    /// Brings the recent changes into the settled messages. What came last counts.
    fn fold(&mut self) {
        if self.recent.is_empty() {
            return;
        }
        let mut recent = std::mem::take(&mut self.recent);
        // Stable: changes of one key stay in their order.
        recent.sort_by_key(|(key, _)| *key);
        let old = std::mem::take(&mut self.settled);
        let mut merged = Vec::with_capacity(old.len() + recent.len());
        let mut old = old.into_iter().peekable();
        for changes in recent.chunk_by(|a, b| a.0 == b.0) {
            let Some((key, _)) = changes.first().copied() else { continue };
            while let Some(before) = old.next_if(|(other, _)| *other < key) {
                merged.push(before);
            }
            let before = old.next_if(|(other, _)| *other == key).map(|(_, stored)| stored);
            let after = changes.iter().fold(before, |stored, (_, change)| match *change {
                Change::Put(stored) => Some(stored),
                Change::Remove => None,
                Change::Redelivered(count) => {
                    stored.map(|stored| Stored { redeliveries: count, ..stored })
                }
                Change::Fired(redeliveries, expiration) => {
                    stored.map(|stored| Stored { redeliveries, expiration, ..stored })
                }
            });
            merged.extend(after.map(|stored| (key, stored)));
        }
        merged.extend(old);
        self.settled = merged;
    }

    /// The messages that are left.
    pub(super) fn take_messages(&mut self) -> BTreeMap<Key, Stored> {
        self.fold();
        std::mem::take(&mut self.settled).into_iter().collect()
    }
}
