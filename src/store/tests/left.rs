//! What a store must still hold when parts of it are damaged: said once more, in the plainest way, from
//! the batches that are whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::hand::{Opened, directory, options};
use super::state::{Prepared, SENT_TO};
use crate::openwire::Destination;
use crate::store::disk::model::{Image, ModelDisk};
use crate::store::record::Record;
use crate::store::recovery::Sealed;
use crate::store::replay::{Change, events_of};
use crate::store::scan::scan;
use crate::store::{Branch, Key, Location, OwnerId, OwnerRecord, Recovered, Stored};

/// A batch and what it says.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) from: usize,
    pub(super) to: usize,
    durable: u64,
    sequence: u64,
    said: Vec<Said>,
}

/// A segment of a store that is whole.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) sealed: Sealed,
    pub(super) path: PathBuf,
    pub(super) index: PathBuf,
    pub(super) places: Vec<Place>,
    /// Something may have been written to it when the broker stopped.
    pub(super) is_last: bool,
}

#[derive(Debug, Clone)]
enum Said {
    Change(OwnerId, Key, Change),
    Owner(OwnerId, u64, OwnerRecord),
    Gone(OwnerId),
    Sequence(OwnerId, u64),
    Prepared(Branch),
    Outcome(i32),
    Counters(u64, i64),
}

/// What is left of a segment.
#[derive(Debug, Default)]
pub(super) struct Survival {
    /// From where to where it is damaged.
    pub(super) damage: Vec<(usize, usize)>,
    /// Where it ends, if that is before its end.
    pub(super) cut: Option<usize>,
}

impl Part {
    pub(super) fn end(&self) -> usize {
        self.sealed.end.end as usize
    }

    /// Bytes of the head.
    pub(super) fn start(&self) -> usize {
        self.sealed.start as usize
    }

    /// What is left of it, and says that to `left`.
    pub(super) fn survive(
        &self,
        is_touched: impl Fn(usize, usize) -> bool,
        left: &mut Left,
    ) -> Survival {
        let mut survival = Survival::default();
        if is_touched(0, self.start()) {
            survival.hole(0, self.start());
        }
        let whole: Vec<bool> =
            self.places.iter().map(|place| !is_touched(place.from, place.to)).collect();
        // Batches that are damaged one behind the other are one hole, which begins with this one.
        let mut first = None;
        for (index, place) in self.places.iter().enumerate() {
            if whole[index] {
                first = None;
                place.said.iter().for_each(|said| left.say(said.clone()));
                continue;
            }
            let first = *first.get_or_insert(place.sequence);
            let mut behind = self.places.iter().zip(&whole).skip(index + 1);
            let is_confirmed =
                !self.is_last || behind.any(|(later, whole)| *whole && later.durable >= first);
            if !is_confirmed {
                survival.cut = Some(place.from);
                break;
            }
            survival.hole(place.from, place.to);
        }
        survival
    }

    /// Where messages lie in it.
    pub(super) fn puts(&self) -> impl Iterator<Item = Location> {
        self.places.iter().flat_map(|place| &place.said).filter_map(|said| {
            if let Said::Change(_, _, Change::Put(stored)) = said {
                return Some(stored.at);
            }
            None
        })
    }

    /// All that it says.
    pub(super) fn say_all(&self, left: &mut Left) {
        self.survive(|_, _| false, left);
    }
}

impl Survival {
    fn hole(&mut self, from: usize, to: usize) {
        match self.damage.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.damage.push((from, to)),
        }
    }
}

/// The segments of a store that is whole, and reads them without their footers.
pub(super) fn parts(image: &Image) -> Vec<Part> {
    let disk = ModelDisk::of(image.clone());
    for path in disk.files(&directory().join("journal")) {
        if path.extension().is_some_and(|extension| extension == "idx") {
            disk.forget(&path);
        }
    }
    let opened = Opened::new(&disk, &options()).unwrap();
    assert_eq!(losses(&opened.recovered), [""; 0]);
    let segments = opened.journal.shared().segments.lock();
    let sealed: Vec<Sealed> =
        segments.values().filter_map(|segment| segment.sealed.clone()).collect();
    let count = sealed.len();
    let read = |(index, sealed): (usize, Sealed)| {
        let path = sealed.name.log_path(directory());
        let bytes = image.peek(&path).unwrap();
        let mut places = Vec::new();
        let scanned = scan(sealed.source(&bytes), |batch| {
            let mut said = Vec::new();
            let mut end = 0;
            for view in batch.records() {
                let record = Record::parse(view.kind, view.body).unwrap();
                let length = view.bytes.len();
                end = view.offset as usize + length;
                say(record, sealed.name.number, view.offset, length, &mut said);
            }
            let to = end.next_multiple_of(8);
            let from = to - batch.head.length as usize;
            let (durable, sequence) = (batch.head.durable, batch.head.sequence);
            places.push(Place { from, to, durable, sequence, said });
        });
        assert_eq!(scanned.damage, []);
        let index_path = sealed.name.index_path(directory());
        Part { sealed, path, index: index_path, places, is_last: index + 1 == count }
    };
    sealed.into_iter().enumerate().map(read).collect()
}

fn say(record: Record<'_>, segment: u32, offset: u32, length: usize, said: &mut Vec<Said>) {
    if let Record::Add(held) | Record::Copy(held) = &record {
        said.push(Said::Counters(0, held.broker_sequence));
    }
    events_of(&record, segment, offset, length, |event| {
        said.push(Said::Change(event.owner, event.key, event.change));
    });
    said.extend(match record {
        Record::Owner { id, sequence, record } => Some(Said::Owner(id, sequence, record)),
        Record::OwnerGone(id) => Some(Said::Gone(id)),
        Record::Sequence(id, sequence) => Some(Said::Sequence(id, sequence)),
        Record::Prepared(branch) => Some(Said::Prepared(branch)),
        Record::Outcome(xid) => Some(Said::Outcome(xid.format_id)),
        Record::Counters(counters) => {
            Some(Said::Counters(counters.next_owner, counters.broker_sequence))
        }
        Record::Add(_)
        | Record::Copy(_)
        | Record::Remove(..)
        | Record::Redelivered(..)
        | Record::Fired(..)
        | Record::Audit(_)
        | Record::Heard(..) => None,
    });
}

/// What was said, one after another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Left {
    owners: BTreeMap<OwnerId, LeftOwner>,
    gone: BTreeSet<OwnerId>,
    branches: Vec<Prepared>,
    broker_sequence: i64,
    next_owner: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct LeftOwner {
    record: Option<OwnerRecord>,
    messages: BTreeMap<Key, Stored>,
    sequence: u64,
}

impl Left {
    fn say(&mut self, said: Said) {
        match said {
            Said::Change(id, key, change) => {
                let Some(owner) = self.owner(id) else { return };
                owner.sequence = owner.sequence.max(key.sequence());
                match change {
                    Change::Put(stored) => drop(owner.messages.insert(key, stored)),
                    Change::Remove => drop(owner.messages.remove(&key)),
                    Change::Redelivered(count) => {
                        if let Some(stored) = owner.messages.get_mut(&key) {
                            stored.redeliveries = count;
                        }
                    }
                    Change::Fired(count, due_ms) => {
                        if let Some(stored) = owner.messages.get_mut(&key) {
                            (stored.redeliveries, stored.expiration) = (count, due_ms);
                        }
                    }
                }
            }
            Said::Owner(id, sequence, record) => {
                let Some(owner) = self.owner(id) else { return };
                owner.sequence = owner.sequence.max(sequence);
                owner.record = Some(record);
            }
            Said::Gone(id) => {
                self.next_owner = self.next_owner.max(id.0 + 1);
                self.owners.remove(&id);
                self.gone.insert(id);
            }
            Said::Sequence(id, sequence) => {
                let Some(owner) = self.owner(id) else { return };
                owner.sequence = owner.sequence.max(sequence);
            }
            Said::Prepared(branch) => {
                let branch = Prepared::from(&branch);
                self.branches.retain(|other| other.xid != branch.xid);
                self.branches.push(branch);
            }
            Said::Outcome(xid) => self.branches.retain(|branch| branch.xid != xid),
            Said::Counters(next_owner, broker_sequence) => {
                self.next_owner = self.next_owner.max(next_owner);
                self.broker_sequence = self.broker_sequence.max(broker_sequence);
            }
        }
    }

    fn owner(&mut self, id: OwnerId) -> Option<&mut LeftOwner> {
        if self.gone.contains(&id) {
            return None;
        }
        self.next_owner = self.next_owner.max(id.0 + 1);
        Some(self.owners.entry(id).or_default())
    }

    /// Where messages go whose owner is not known any more, if something was `lost`.
    pub(super) fn adopt(&mut self, lost: bool) {
        let mut names = BTreeSet::new();
        for (id, owner) in &mut self.owners {
            if owner.record.is_none() && lost && !owner.messages.is_empty() {
                let name = match names.insert(SENT_TO) {
                    true => SENT_TO.to_owned(),
                    false => format!("{SENT_TO}.RECOVERED.{}", id.0),
                };
                owner.record = Some(OwnerRecord::Destination(Destination::queue(&name)));
            }
        }
        self.owners.retain(|_, owner| owner.record.is_some());
        self.branches.sort_by_key(|branch| branch.xid);
        self.gone.clear();
    }

    /// What was recovered, in the same form.
    pub(super) fn of(recovered: &Recovered, next_owner: u64) -> Self {
        let owners = recovered.owners.iter().map(|owner| {
            let (record, messages) = (Some(owner.record.clone()), owner.messages.clone());
            (owner.id, LeftOwner { record, messages, sequence: owner.sequence })
        });
        let mut branches: Vec<_> = recovered.branches.iter().map(Prepared::from).collect();
        branches.sort_by_key(|branch| branch.xid);
        let broker_sequence = recovered.broker_sequence;
        Self {
            owners: owners.collect(),
            gone: BTreeSet::new(),
            branches,
            broker_sequence,
            next_owner,
        }
    }

    /// Says in few words what of `other` is not as it is here.
    pub(super) fn difference(&self, other: &Self) -> String {
        let of = |left: &Self| -> BTreeSet<String> {
            let owners = left.owners.iter().flat_map(|(id, owner)| {
                let own = format!("{id:?} up to {}: {:?}", owner.sequence, owner.record);
                let messages = owner.messages.iter();
                messages.map(move |it| format!("{id:?} {it:?}")).chain([own])
            });
            let branches = left.branches.iter().map(|branch| format!("{branch:?}"));
            let counters = format!("{} {}", left.next_owner, left.broker_sequence);
            owners.chain(branches).chain([counters]).collect()
        };
        let (ours, theirs) = (of(self), of(other));
        let missing: Vec<_> = ours.difference(&theirs).take(5).collect();
        let extra: Vec<_> = theirs.difference(&ours).take(5).collect();
        format!("missing {missing:#?}, unexpected {extra:#?}")
    }

    /// All messages.
    pub(super) fn messages(&self) -> impl Iterator<Item = (OwnerId, Key, Stored)> {
        self.owners
            .iter()
            .flat_map(|(id, owner)| owner.messages.iter().map(|(key, it)| (*id, *key, *it)))
    }
}

/// Names what may be lost.
pub(super) fn losses(recovered: &Recovered) -> Vec<String> {
    let losses = recovered.damage.iter().filter(|damage| damage.is_loss());
    losses.map(ToString::to_string).collect()
}

/// Whether a path is that of a footer.
pub(super) fn is_footer(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "idx")
}
