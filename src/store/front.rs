//! What waits to be written, and what is known of owners and branches. Under one lock, which nothing
//! slow is done under.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::audit::Audit;
use super::group::{Add, Branch, Entry, Group, OwnerRecord};
use super::place::{Key, OwnerId};
use super::record::{Copied, ProducerKey, producer_of};
use super::replay::{Place, Replay};
use super::ticket::{Batch, Ticket};
use crate::openwire::{Message, XaTransactionId};

type Map<K, V> = HashMap<K, V, RandomState>;

/// What a change takes in the buffer beside its message, about.
const ITEM_BYTES: usize = 128;

/// Most that somebody else than the writer's thread writes.
const ONE_BYTES_MAX: usize = 1 << 20;

/// A change on its way to the disk.
#[derive(Debug)]
pub(super) enum Item {
    Add(Add),
    Copy(Copied),
    Remove(OwnerId, Vec<Key>),
    Redelivered(OwnerId, Key, u32),
    Fired(OwnerId, Key, u32, i64),
    Owner(OwnerId, OwnerRecord),
    OwnerGone(OwnerId),
    Prepared(Branch),
    Outcome(XaTransactionId),
    /// Says the highest key of an owner again.
    Sequence(OwnerId),
    /// A message came and went, but its producer may not know and send it again.
    Heard(ProducerKey, i64),
}

/// What is written as one batch.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) items: Vec<Item>,
    /// Where the `Add` of a message stands that nobody removed yet.
    adds: Map<(OwnerId, Key), usize>,
    bytes: usize,
}

/// All that waited, to be written and synced together.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) chunks: Vec<Chunk>,
    pub(super) batch: Arc<Batch>,
    /// How many wait for it, or will.
    pub(super) waiters: usize,
    /// The writer's thread is to begin.
    asked: bool,
    /// Must be synced whatever the strategy is.
    pub(super) must_sync: bool,
}

#[derive(Debug)]
pub(super) struct Front {
    taken: Taken,
    /// Bytes of one batch, about.
    batch_bytes: usize,
    /// What waits, about.
    pub(super) bytes: usize,
    pub(super) owners: Map<OwnerId, OwnerState>,
    pub(super) branches: Map<XaTransactionId, Standing>,
    /// Counts that are not zero.
    pub(super) redeliveries: Map<(OwnerId, Key), u32>,
    /// When scheduled messages are due that were sent before.
    pub(super) due: Map<(OwnerId, Key), i64>,
    /// Messages that are about to be copied, as long as nobody has removed them.
    pub(super) copying: HashSet<(OwnerId, Key), RandomState>,
    pub(super) audit: Audit,
    pub(super) live: Live,
}

/// What is known of an owner that is there.
#[derive(Debug, Default)]
pub(super) struct OwnerState {
    /// The highest sequence number of its keys, and the last segment that says so.
    pub(super) sequence: u64,
    pub(super) witness: u32,
    pub(super) standing: Standing,
}

/// Where the record stands that says what is so.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) place: Place,
    /// Newer ones that are on their way to the disk.
    pub(super) pending: u32,
}

/// Bytes that somebody needs.
#[derive(Debug, Default)]
pub(super) struct Live {
    total: i64,
    /// By segment: no less than what is live in it.
    segments: BTreeMap<u32, i64>,
}

impl Live {
    pub(super) fn add(&mut self, segment: u32, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.total += bytes;
        *self.segments.entry(segment).or_default() += bytes;
    }

    /// Bytes of a segment, as far as it is known of which, are not needed any more.
    pub(super) fn drop(&mut self, segment: Option<u32>, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.total -= bytes;
        if let Some(live) = segment.and_then(|segment| self.segments.get_mut(&segment)) {
            *live -= bytes;
        }
    }

    pub(super) fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }

    /// Corrects the sum, if so many bytes were seen to be live; says whether that was needed.
    pub(super) fn raise_to(&mut self, bytes: u64) -> bool {
        let corrected = self.total() < bytes;
        if corrected {
            self.total = i64::try_from(bytes).unwrap_or(i64::MAX);
        }
        corrected
    }

    pub(super) fn total(&self) -> u64 {
        u64::try_from(self.total).unwrap_or(0)
    }

    /// Most that can be live in a segment.
    pub(super) fn of(&self, segment: u32) -> u64 {
        self.segments.get(&segment).map_or(0, |live| u64::try_from(*live).unwrap_or(0))
    }
}

impl Front {
    pub(super) fn new(replay: &Replay, audit: Audit, batch_bytes: usize) -> Self {
        let mut live = Live::default();
        let mut owners = Map::default();
        for (id, owner) in &replay.owners {
            let Some((_, place)) = owner.record else { continue };
            live.add(place.segment, u64::from(place.bytes));
            let standing = Standing { place, pending: 0 };
            let (sequence, witness) = (owner.sequence, owner.witness);
            owners.insert(*id, OwnerState { sequence, witness, standing });
        }
        let mut branches = Map::default();
        for (xid, (_, _, place)) in &replay.branches {
            live.add(place.segment, u64::from(place.bytes));
            branches.insert(xid.clone(), Standing { place: *place, pending: 0 });
        }
        Self {
            taken: Taken::default(),
            batch_bytes,
            bytes: 0,
            owners,
            branches,
            redeliveries: Map::default(),
            due: Map::default(),
            copying: HashSet::default(),
            audit,
            live,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.chunks.is_empty()
    }

    /// Whether the writer's thread was asked for what is here.
    pub(super) fn is_asked(&self) -> bool {
        self.taken.asked
    }

    pub(super) fn ask(&mut self) {
        self.taken.asked = true;
    }

    /// Whether that batch is to be written next.
    pub(super) fn is_next(&self, batch: &Arc<Batch>) -> bool {
        Arc::ptr_eq(&self.taken.batch, batch)
    }

    /// Whether the only one who waits may write it.
    pub(super) fn is_for_one(&self) -> bool {
        self.taken.waiters == 1 && !self.taken.asked && self.bytes <= ONE_BYTES_MAX
    }

    pub(super) fn take(&mut self) -> Option<Taken> {
        self.bytes = 0;
        (!self.is_empty()).then(|| mem::take(&mut self.taken))
    }

    /// Appends the changes of a group.
    pub(super) fn push(&mut self, group: Group) -> Ticket {
        self.begin();
        for entry in group.entries {
            self.push_entry(entry);
        }
        self.end(group.wanted)
    }

    /// Begins a group of items, which will be in one batch.
    pub(super) fn begin(&mut self) {
        if self.taken.chunks.last().is_none_or(|chunk| chunk.bytes >= self.batch_bytes) {
            self.taken.chunks.push(Chunk::default());
        }
    }

    /// As [`Self::push`], but each change is in a batch of its own.
    pub(super) fn push_split(&mut self, group: Group) -> Ticket {
        for entry in group.entries {
            self.taken.chunks.push(Chunk::default());
            self.push_entry(entry);
        }
        self.end(group.wanted)
    }

    /// Ends a group that somebody waits for, or not.
    pub(super) fn end(&mut self, wanted: bool) -> Ticket {
        self.taken.waiters += usize::from(wanted);
        Ticket::of(&self.taken.batch)
    }

    /// What was pushed so far must be synced whatever the strategy is.
    pub(super) fn must_sync(&mut self) {
        self.taken.must_sync = true;
    }

    pub(super) fn push_item(&mut self, item: Item, bytes: usize) {
        let Some(chunk) = self.taken.chunks.last_mut() else { return };
        chunk.items.push(item);
        chunk.bytes += ITEM_BYTES + bytes;
        self.bytes += ITEM_BYTES + bytes;
    }

    fn push_entry(&mut self, entry: Entry) {
        match entry {
            Entry::Add(add) => self.push_add(add),
            Entry::Remove { owner, keys } => {
                let mut written = Vec::with_capacity(keys.len());
                for (key, at) in keys {
                    self.live.drop(Some(at.segment), u64::from(at.bytes));
                    self.redeliveries.remove(&(owner, key));
                    self.due.remove(&(owner, key));
                    self.copying.remove(&(owner, key));
                    if !at.is_none() || !self.cancel(owner, key) {
                        written.push(key);
                    }
                }
                if !written.is_empty() {
                    let bytes = written.len() * size_of::<Key>();
                    self.push_item(Item::Remove(owner, written), bytes);
                }
            }
            Entry::Redelivered { owner, key, count } => {
                self.count_redeliveries(owner, key, count);
                self.push_item(Item::Redelivered(owner, key, count), 0);
            }
            Entry::Fired { owner, key, count, due_ms } => {
                self.count_redeliveries(owner, key, count);
                self.due.insert((owner, key), due_ms);
                self.push_item(Item::Fired(owner, key, count, due_ms), 0);
            }
            Entry::Owner { id, record } => self.push_owner(id, record),
            Entry::OwnerGone { id, bytes } => {
                self.live.drop(None, bytes);
                if let Some(owner) = self.owners.remove(&id) {
                    self.drop_place(owner.standing.place);
                }
                self.redeliveries.retain(|(owner, _), _| *owner != id);
                self.due.retain(|(owner, _), _| *owner != id);
                self.copying.retain(|(owner, _)| *owner != id);
                self.push_item(Item::OwnerGone(id), 0);
            }
            Entry::Prepared(branch) => self.push_branch(branch),
            Entry::Outcome(xid) => {
                if let Some(branch) = self.branches.remove(&xid) {
                    self.drop_place(branch.place);
                }
                self.push_item(Item::Outcome(xid), 0);
            }
        }
    }

    pub(super) fn push_owner(&mut self, id: OwnerId, record: OwnerRecord) {
        self.owners.entry(id).or_default().standing.pending += 1;
        self.push_item(Item::Owner(id, record), 0);
    }

    pub(super) fn push_branch(&mut self, branch: Branch) {
        self.branches.entry(branch.xid.clone()).or_default().pending += 1;
        let bytes = branch.sends.iter().map(|message| bytes_of(message)).sum();
        self.push_item(Item::Prepared(branch), bytes);
    }

    fn push_add(&mut self, add: Add) {
        self.audit.mark(&add.message);
        let Some(chunk) = self.taken.chunks.last_mut() else { return };
        let index = chunk.items.len();
        for holder in &add.owners {
            chunk.adds.insert(*holder, index);
            if add.redeliveries > 0 {
                self.redeliveries.insert(*holder, add.redeliveries);
            }
        }
        let bytes = bytes_of(&add.message);
        self.push_item(Item::Add(add), bytes);
    }

    fn count_redeliveries(&mut self, owner: OwnerId, key: Key, count: u32) {
        if count == 0 {
            self.redeliveries.remove(&(owner, key));
        } else {
            self.redeliveries.insert((owner, key), count);
        }
    }

    /// Takes a message back that waits in the same batch that its removal would be in; that it was sent
    /// is still said. In another batch it must stay: that one may survive without this one.
    fn cancel(&mut self, owner: OwnerId, key: Key) -> bool {
        let Some(chunk) = self.taken.chunks.last_mut() else { return false };
        let Some(index) = chunk.adds.remove(&(owner, key)) else { return false };
        let Some(Item::Add(add)) = chunk.items.get_mut(index) else { return false };
        add.owners.retain(|holder| *holder != (owner, key));
        if add.owners.is_empty() {
            let bytes = bytes_of(&add.message);
            // The message need not live until the batch is written.
            let message = mem::take(&mut add.message);
            if let (Some((producer, sequence)), Some(item)) =
                (producer_of(&message), chunk.items.get_mut(index))
            {
                *item = Item::Heard(producer, sequence);
            }
            chunk.bytes = chunk.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        true
    }

    /// Whether a segment holds what is so of an owner or a branch.
    pub(super) fn has_states_in(&self, segment: u32) -> bool {
        self.owners.values().any(|owner| owner.standing.is_in(segment))
            || self.branches.values().any(|branch| branch.is_in(segment))
    }

    /// Owners whose highest key sequence no later segment says, and none that is on its way.
    pub(super) fn witnessed_in(&self, segment: u32) -> Vec<OwnerId> {
        let witnessed = self.owners.iter().filter(|(_, owner)| {
            owner.witness == segment && owner.sequence > 0 && owner.standing.pending == 0
        });
        witnessed.map(|(id, _)| *id).collect()
    }

    fn drop_place(&mut self, place: Place) {
        self.live.drop(Some(place.segment), u64::from(place.bytes));
    }

    /// The record of an owner that was on its way stands there now.
    pub(super) fn owner_stands(&mut self, id: OwnerId, place: Place) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let old = owner.standing.stands(place);
        self.drop_place(old);
        self.live.add(place.segment, u64::from(place.bytes));
    }

    /// The record of an owner that was on its way cannot be written.
    pub(super) fn owner_failed(&mut self, id: OwnerId) {
        if let Some(owner) = self.owners.get_mut(&id) {
            owner.standing.pending = owner.standing.pending.saturating_sub(1);
        }
    }

    /// The record of a branch that was on its way cannot be written.
    pub(super) fn branch_failed(&mut self, xid: &XaTransactionId) {
        if let Some(branch) = self.branches.get_mut(xid) {
            branch.pending = branch.pending.saturating_sub(1);
        }
    }

    /// The record of a branch that was on its way stands there now.
    pub(super) fn branch_stands(&mut self, xid: &XaTransactionId, place: Place) {
        let Some(branch) = self.branches.get_mut(xid) else { return };
        let old = branch.stands(place);
        self.drop_place(old);
        self.live.add(place.segment, u64::from(place.bytes));
    }

    /// A record that says this key sequence of an owner stands in this segment.
    pub(super) fn sequence_stands(&mut self, id: OwnerId, sequence: u64, segment: u32) {
        if let Some(owner) = self.owners.get_mut(&id)
            && sequence >= owner.sequence
        {
            owner.sequence = sequence;
            owner.witness = segment;
        }
    }
}

impl Standing {
    /// Whether it is the newest one, and stands in this segment.
    pub(super) fn is_in(&self, segment: u32) -> bool {
        self.pending == 0 && self.place.segment == segment
    }

    /// Returns where the one before stood.
    fn stands(&mut self, place: Place) -> Place {
        self.pending = self.pending.saturating_sub(1);
        mem::replace(&mut self.place, place)
    }
}

/// What a message takes in memory and on the disk, about.
fn bytes_of(message: &Message) -> usize {
    let slices = [&message.marshalled_properties, &message.content];
    slices.into_iter().flatten().map(|slice| slice.len()).sum::<usize>() + ITEM_BYTES
}
