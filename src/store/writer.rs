//! What appends: batches to the disk, a sync, a look whether we are still the owner, and only then the
//! news to those who wait.
//!
//! ```text
//!  append -> front --asked, or 1 ms old--> the writer's thread --turn--> disk -> those who wait
//!               \--for the only one who waits, before it asks--turn--/
//! ```
//!
//! Whoever takes a turn has the writer's lock, and nobody who has it waits for anything but the disk.

use std::collections::VecDeque;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use tracing::error;

use super::audit::Audit;
use super::batch::{BATCH_HEAD, BatchHead, Spot};
use super::bug::planted;
use super::disk::File;
use super::error::StoreError;
use super::front::{Chunk, Item, Taken};
use super::options::SyncStrategy;
use super::place::{Key, Location, OwnerId};
use super::record::{Counters, ProducerKey, RecordWriter};
use super::recovery::Sealed;
use super::replay::{Place, share};
use super::scan::Before;
use super::segment::{SEGMENT_BYTES_MAX, Seal, SegmentHead, SegmentName};
use super::shared::{Phase, Prepared, Segment, Shared};
use super::ticket::Batch;
use crate::base::fail_point::fail_point;
use crate::openwire::{WireError, XaTransactionId};

/// How long what nobody waits for may wait for company.
const LINGER: Duration = Duration::from_millis(1);
/// How long what nobody waits for may lie on the disk without a sync.
const UNSYNCED: Duration = Duration::from_millis(10);
/// Memory that is kept for the next batch while nothing is to be done.
const SPARE_BYTES: usize = 256 << 10;

/// Appends to the last segment.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    records: RecordWriter,
    active: Option<Active>,
    /// The segment before the first one of this epoch.
    before: Seal,
    seals: Vec<Seal>,
    sequence: u64,
    /// Of the last batch.
    chain: u64,
    /// Sequence of a batch that is durable, with all before it.
    durable: u64,
    /// What was written, not what waits: else a message could be known that was never stored.
    audit: Audit,
    counters: Counters,
    waiting: VecDeque<Encoded>,
    /// Written, and not yet told of.
    unfinished: Unfinished,
    /// How many waited for what was told last.
    last_waiters: usize,
    /// Full, and not yet told of.
    rolled: Vec<Sealed>,
    /// Since when something is written that is not synced.
    dirty: Option<Instant>,
    spare: BytesMut,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    name: SegmentName,
    path: PathBuf,
    file: Arc<dyn File>,
    start: u32,
    end: u32,
    length: u32,
    before: Seal,
}

/// Those who wait for what was written.
#[derive(Debug, Default)]
struct Unfinished {
    batches: Vec<Arc<Batch>>,
    placed: Vec<Placed>,
    waiters: usize,
    must_sync: bool,
}

/// A message that lies somewhere now.
#[derive(Debug, Clone, Copy)]
struct Placed {
    owner: OwnerId,
    key: Key,
    at: Location,
    copied: bool,
}

/// A batch without place.
#[derive(Debug, Default)]
struct Encoded {
    bytes: BytesMut,
    records: u32,
    /// Offsets count from the beginning of the batch.
    placed: Vec<Placed>,
    /// Records of owners, with the sequence that they say and their bytes, and of branches.
    owners: Vec<(OwnerId, u64, u32)>,
    /// What else says the highest key sequence of an owner.
    sequences: Vec<(OwnerId, u64)>,
    branches: Vec<(XaTransactionId, u32)>,
    added: Vec<Arc<crate::openwire::Message>>,
    /// Messages that came and went, by producer and sequence.
    heard: Vec<(ProducerKey, i64)>,
    next_owner: u64,
}

/// The life of the writer's thread. It has the writer while it takes a turn.
pub(super) fn run(writer: &Mutex<Writer>, shared: &Shared) {
    let mut waiting = false;
    loop {
        let due = if waiting { None } else { writer.lock().sync_due() };
        let sync_due = wait(shared, waiting, due);
        if shared.phase() == Phase::Ended {
            return;
        }
        let turn = {
            let mut writer = writer.lock();
            let turn = writer.observed_turn(sync_due);
            waiting = !writer.waiting.is_empty();
            turn
        };
        match turn {
            Ok(Turn::Done) => {}
            Ok(Turn::NoRoom) => wait_for_room(shared),
            Err(error) => return shared.fail(error),
        }
        let mut writer = writer.lock();
        if shared.phase() == Phase::Closing && writer.is_idle() {
            if let Err(error) = shared.activities.writer.during(|| writer.finish()) {
                shared.fail(error);
            }
            return;
        }
    }
}

/// Returns when there is something to do; says whether a sync is due.
fn wait(shared: &Shared, waiting: bool, sync_due: Option<Instant>) -> bool {
    let mut linger = None;
    let mut front = shared.front.lock();
    while shared.phase() == Phase::Running && !waiting && !front.is_asked() {
        if !front.is_empty() && linger.is_none() {
            linger = Some(Instant::now() + LINGER);
        }
        let Some(until) = [linger, sync_due].into_iter().flatten().min() else {
            shared.work.wait(&mut front);
            continue;
        };
        if shared.work.wait_until(&mut front, until).timed_out() {
            break;
        }
    }
    drop(front);
    sync_due.is_some_and(|due| due <= Instant::now())
}

fn wait_for_room(shared: &Shared) {
    let mut room = shared.room.lock();
    while room.asked.is_some() && shared.phase() == Phase::Running {
        shared.ready.wait(&mut room);
    }
    let asked = room.asked.filter(|_| shared.phase() == Phase::Closing);
    drop(room);
    // The keeper has ended.
    if let Some(bytes) = asked
        && let Err(error) = shared.prepare(bytes.max(shared.settings.segment_bytes))
    {
        error!("what waits to be stored is lost, and was not confirmed: {error}");
        shared.enter(Phase::Ended);
    }
}

/// How a turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Done,
    /// A segment is missing.
    NoRoom,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        seals: Vec<Seal>,
        audit: Audit,
        counters: Counters,
    ) -> Self {
        let before = seals.last().copied().unwrap_or_default();
        Self {
            shared,
            records: RecordWriter::new(),
            active: None,
            before,
            seals,
            sequence: before.sequence,
            chain: before.chain,
            durable: before.sequence,
            audit,
            counters,
            waiting: VecDeque::new(),
            unfinished: Unfinished::default(),
            last_waiters: 0,
            rolled: Vec::new(),
            dirty: None,
            spare: BytesMut::new(),
        }
    }

    /// Whether nobody but the one who waits for the next batch has waited for the last one, so that there
    /// is no company to be had.
    pub(super) fn is_for_one(&self) -> bool {
        self.last_waiters <= 1 && self.waiting.is_empty() && self.shared.phase() == Phase::Running
    }

    /// A turn of whoever has the writer. The thread goes on where there is no room.
    pub(super) fn turn_for_one(&mut self) {
        let shared = Arc::clone(&self.shared);
        match self.observed_turn(false) {
            Ok(Turn::Done) => {}
            Ok(Turn::NoRoom) => {
                shared.front.lock().ask();
                shared.work.notify_one();
            }
            Err(error) => shared.fail(error),
        }
    }

    fn observed_turn(&mut self, sync: bool) -> Result<Turn, StoreError> {
        let shared = Arc::clone(&self.shared);
        let turn = shared.activities.writer.during(|| self.turn(sync));
        if self.spare.capacity() > SPARE_BYTES && shared.front.lock().is_empty() {
            self.spare = BytesMut::new();
        }
        turn
    }

    /// When what was written without a sync has to be synced.
    fn sync_due(&self) -> Option<Instant> {
        let unsynced_max = match self.shared.settings.sync {
            SyncStrategy::Always => Some(UNSYNCED),
            SyncStrategy::Periodic => Some(self.shared.settings.sync_interval),
            SyncStrategy::Never => None,
        };
        self.dirty.zip(unsynced_max).map(|(since, most)| since + most)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.shared.front.lock().is_empty()
    }

    /// Writes what waits, and tells of it, if it is synced now. `sync` says that one is due.
    pub(super) fn turn(&mut self, sync: bool) -> Result<Turn, StoreError> {
        if self.waiting.is_empty() {
            self.take();
        }
        while let Some(encoded) = self.waiting.pop_front() {
            if let Some(encoded) = self.write(encoded)? {
                self.waiting.push_front(encoded);
                return Ok(Turn::NoRoom);
            }
        }
        if planted!(self.shared.disk, AckBeforeSync) {
            self.tell();
        }
        let checked_early = planted!(self.shared.disk, CheckBeforeSync);
        if checked_early {
            self.shared.check_owner()?;
        }
        let wanted = self.unfinished.waiters > 0;
        let sync = sync || self.unfinished.must_sync;
        match self.shared.settings.sync {
            SyncStrategy::Always if wanted || sync || self.dirty.is_none() => self.sync()?,
            SyncStrategy::Periodic | SyncStrategy::Never if sync => self.sync()?,
            SyncStrategy::Always => return Ok(Turn::Done),
            SyncStrategy::Periodic | SyncStrategy::Never => {}
        }
        if !checked_early {
            self.shared.check_owner()?;
        }
        fail_point!("j.after_check");
        self.tell();
        Ok(Turn::Done)
    }

    fn take(&mut self) {
        let mut front = self.shared.front.lock();
        let Some(Taken { chunks, batch, waiters, must_sync, .. }) = front.take() else { return };
        self.shared.set_unwritten(0);
        drop(front);
        self.unfinished.batches.push(batch);
        self.unfinished.waiters += waiters;
        self.unfinished.must_sync |= must_sync;
        for chunk in chunks {
            let encoded = self.encode(chunk);
            if encoded.records > 0 {
                self.waiting.push_back(encoded);
            }
        }
    }

    /// Says the items of a chunk as records.
    fn encode(&mut self, chunk: Chunk) -> Encoded {
        let mut bytes = mem::take(&mut self.spare);
        bytes.clear();
        bytes.resize(BATCH_HEAD, 0);
        let mut encoded = Encoded { bytes, ..Encoded::default() };
        for item in chunk.items {
            // What no version of OpenWire has a form for nobody could receive either.
            if let Err(error) = self.encode_item(&mut encoded, item) {
                error!("a message is not stored, as it cannot be encoded: {error}");
            }
        }
        encoded
    }

    fn encode_item(&mut self, encoded: &mut Encoded, item: Item) -> Result<(), WireError> {
        let out = &mut encoded.bytes;
        let offset = out.len();
        match item {
            Item::Add(add) if add.owners.is_empty() => return Ok(()),
            Item::Add(add) => {
                let length = self.records.add(out, &add)?;
                encoded.place(&add.owners, offset, length, false);
                encoded.added.push(add.message);
            }
            Item::Copy(copied) => {
                let length = self.records.copy(out, &copied)?;
                encoded.place(&copied.holders, offset, length, true);
            }
            Item::Remove(owner, keys) => {
                self.records.remove(out, owner, keys.into_iter())?;
            }
            Item::Redelivered(owner, key, count) => {
                self.records.redelivered(out, owner, key, count)?;
            }
            Item::Fired(owner, key, count, due_ms) => {
                self.records.fired(out, owner, key, count, due_ms)?;
            }
            Item::Owner(id, record) => {
                let sequence = self.sequence_of(id);
                let length = self.records.owner(out, id, sequence, &record);
                let length = length.inspect_err(|_| self.shared.front.lock().owner_failed(id))?;
                let bytes = u32::try_from(length).unwrap_or(u32::MAX);
                encoded.owners.push((id, sequence, bytes));
                encoded.next_owner = encoded.next_owner.max(id.0.saturating_add(1));
            }
            Item::OwnerGone(id) => {
                self.records.owner_gone(out, id)?;
            }
            Item::Prepared(branch) => {
                let failed = |_: &WireError| self.shared.front.lock().branch_failed(&branch.xid);
                let length = self.records.prepared(out, &branch).inspect_err(failed)?;
                let bytes = u32::try_from(length).unwrap_or(u32::MAX);
                encoded.branches.push((branch.xid, bytes));
            }
            Item::Outcome(xid) => {
                self.records.outcome(out, &xid)?;
            }
            Item::Sequence(id) => {
                let sequence = self.sequence_of(id);
                self.records.sequence(out, id, sequence)?;
                encoded.sequences.push((id, sequence));
            }
            Item::Heard(producer, sequence) => {
                self.records.heard(out, &producer, sequence)?;
                encoded.heard.push((producer, sequence));
            }
        }
        encoded.records += 1;
        Ok(())
    }

    fn sequence_of(&self, id: OwnerId) -> u64 {
        self.shared.front.lock().owners.get(&id).map_or(0, |owner| owner.sequence)
    }

    /// Writes a batch; gives it back when there is no segment to write it to.
    fn write(&mut self, mut encoded: Encoded) -> Result<Option<Encoded>, StoreError> {
        let length = encoded.bytes.len().next_multiple_of(super::batch::ALIGNMENT) as u64;
        let fits = self
            .active
            .as_ref()
            .is_some_and(|active| u64::from(active.end) + length <= u64::from(active.length));
        if !fits && !self.roll(length)? {
            return Ok(Some(encoded));
        }
        let Some(active) = &mut self.active else { return Ok(Some(encoded)) };
        let base = active.end;
        let spot =
            Spot { salt: self.shared.ownership.salt, segment: active.name.number, offset: base };
        let head = BatchHead {
            length: 0,
            epoch: self.shared.ownership.epoch,
            sequence: self.sequence + 1,
            durable: self.durable,
            chain: self.chain,
            records: encoded.records,
        };
        self.chain = head.seal(&mut encoded.bytes, spot);
        self.sequence += 1;
        self.dirty.get_or_insert_with(Instant::now);
        fail_point!("j.before_write");
        let written = active.file.write_at(&encoded.bytes, u64::from(base));
        written.map_err(StoreError::io("write", &active.path))?;
        fail_point!("j.after_write");
        active.end += u32::try_from(encoded.bytes.len()).unwrap_or(u32::MAX);
        let (segment, end, of) = (active.name.number, active.end, active.length);
        self.shared.tail_room.store(of - end, Ordering::Relaxed);
        self.stand(&mut encoded, segment, base);
        self.unfinished.placed.append(&mut encoded.placed);
        self.spare = encoded.bytes;
        if u64::from(end) * 4 > u64::from(of) * 3 {
            self.ask(0);
        }
        Ok(None)
    }

    /// Takes note of where the records of a batch stand.
    fn stand(&mut self, encoded: &mut Encoded, segment: u32, base: u32) {
        let mut front = self.shared.front.lock();
        for placed in &mut encoded.placed {
            placed.at.segment = segment;
            placed.at.offset += base;
            front.live.add(segment, u64::from(placed.at.bytes));
            front.sequence_stands(placed.owner, placed.key.sequence(), segment);
        }
        for (id, sequence, bytes) in encoded.owners.drain(..) {
            front.owner_stands(id, Place { segment, bytes });
            front.sequence_stands(id, sequence, segment);
        }
        for (id, sequence) in encoded.sequences.drain(..) {
            front.sequence_stands(id, sequence, segment);
        }
        for (xid, bytes) in encoded.branches.drain(..) {
            front.branch_stands(&xid, Place { segment, bytes });
        }
        drop(front);
        for (producer, sequence) in encoded.heard.drain(..) {
            self.audit.mark_sequence(producer, sequence);
        }
        for message in encoded.added.drain(..) {
            self.audit.mark(&message);
            let sequence = message.message_id.as_ref().map_or(0, |id| id.broker_sequence_id);
            self.counters.broker_sequence = self.counters.broker_sequence.max(sequence);
        }
        self.counters.next_owner = self.counters.next_owner.max(encoded.next_owner);
    }

    /// Asks for the next segment, unless there is one of that many bytes.
    fn ask(&self, bytes: u32) {
        let mut room = self.shared.room.lock();
        let enough = room.next.as_ref().is_some_and(|next| next.length >= bytes);
        if !enough && room.asked.is_none_or(|asked| asked < bytes) {
            room.asked = Some(bytes);
            self.shared.chores.notify_one();
        }
    }

    /// Begins the next segment, which must have room for a batch of `length` bytes; says whether there
    /// is one. All that was written before is durable then.
    fn roll(&mut self, length: u64) -> Result<bool, StoreError> {
        let head = self.next_head();
        let snapshot = self.snapshot();
        let needed = length + (head.length() + snapshot.bytes.len()) as u64 + 8;
        if needed > SEGMENT_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: length });
        }
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        let next = self.shared.room.lock().next.take_if(|next| next.length >= needed);
        let Some(next) = next else {
            self.ask(needed);
            return Ok(false);
        };
        self.sync()?;
        self.begin(next, head, snapshot)?;
        // A batch in it then says that its head was durable, so a head that is not is damaged.
        self.sync()?;
        Ok(true)
    }

    fn next_head(&self) -> SegmentHead {
        let before = self.active.as_ref().map_or(self.before, |active| Seal {
            epoch: active.name.epoch,
            segment: active.name.number,
            end: active.end,
            chain: self.chain,
            sequence: self.sequence,
        });
        let segments = self.shared.segments.lock();
        let exists = |seal: &&Seal| segments.values().any(|other| other.name.epoch == seal.epoch);
        let seals = self.seals.iter().filter(exists).copied().collect();
        let name = SegmentName { number: 0, epoch: self.shared.ownership.epoch };
        SegmentHead { name, salt: self.shared.ownership.salt, before, allocated: 0, seals }
    }

    /// What each segment begins with, so that only the last one must be read for it.
    fn snapshot(&mut self) -> Encoded {
        let mut bytes = BytesMut::zeroed(BATCH_HEAD);
        let written = self
            .records
            .counters(&mut bytes, self.counters)
            .and_then(|_| self.records.audit(&mut bytes, &self.audit));
        debug_assert!(written.is_ok(), "numbers and keys have no bounds");
        Encoded { bytes, records: 2, ..Encoded::default() }
    }

    /// Makes a prepared file the segment that is written.
    pub(super) fn begin_first(&mut self, next: Prepared) -> Result<(), StoreError> {
        let (head, snapshot) = (self.next_head(), self.snapshot());
        fail_point!("epoch.before_seal");
        self.begin(next, head, snapshot)?;
        fail_point!("epoch.after_seal");
        self.shared.check_owner()
    }

    fn begin(
        &mut self,
        next: Prepared,
        mut head: SegmentHead,
        mut snapshot: Encoded,
    ) -> Result<(), StoreError> {
        let Prepared { name, file, length } = next;
        (head.name, head.allocated) = (name, length);
        let path = name.log_path(&self.shared.directory);
        let (salt, epoch) = (head.salt, name.epoch);
        let before = head.before;
        let start = u32::try_from(head.length()).unwrap_or(u32::MAX);
        let spot = Spot { salt, segment: name.number, offset: start };
        let batch = BatchHead {
            length: 0,
            epoch,
            sequence: self.sequence + 1,
            durable: self.durable,
            chain: self.chain,
            records: snapshot.records,
        };
        let mut bytes = BytesMut::with_capacity(head.length() + snapshot.bytes.len() + 8);
        head.put(&mut bytes);
        self.chain = batch.seal(&mut snapshot.bytes, spot);
        self.sequence += 1;
        bytes.extend_from_slice(&snapshot.bytes);
        self.dirty.get_or_insert_with(Instant::now);
        file.write_at(&bytes, 0).map_err(StoreError::io("write", &path))?;
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let segment = Segment { name, salt, length: u64::from(length), sealed: None };
        self.shared.segments.lock().insert(name.number, segment);
        self.shared.tail_room.store(length - end, Ordering::Relaxed);
        let active = Active { name, path, file, start, end, length, before };
        if let Some(old) = self.active.replace(active) {
            self.rolled.push(Sealed {
                name: old.name,
                salt,
                start: old.start,
                before: Before::Chain(old.before),
                end: before,
                damage: Vec::new(),
                length: u64::from(old.length),
                index: None,
            });
        }
        // A head is durable before anything follows it: one that cannot be read is damage, never a
        // write that was stopped, unless nothing was confirmed behind it.
        self.sync()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if let Some(active) = self.active.as_ref().filter(|_| self.dirty.is_some()) {
            fail_point!("j.before_sync");
            let mut synced = active.file.sync();
            if synced.is_err() && planted!(self.shared.disk, RetrySync) {
                synced = active.file.sync();
            }
            synced.map_err(StoreError::io("sync", &active.path))?;
            self.dirty = None;
            fail_point!("j.after_sync");
        }
        self.durable = self.sequence;
        Ok(())
    }

    /// Tells those who wait, and owners where their messages lie.
    fn tell(&mut self) {
        let Unfinished { batches, mut placed, waiters, .. } = mem::take(&mut self.unfinished);
        self.last_waiters = waiters;
        for batch in batches {
            fail_point!("j.before_ack");
            batch.complete();
        }
        placed.sort_by_key(|placed| (placed.owner, placed.copied, placed.at.segment));
        let same = |a: &Placed, b: &Placed| {
            (a.owner, a.copied, a.at.segment) == (b.owner, b.copied, b.at.segment)
        };
        for run in placed.chunk_by(same) {
            let Some(first) = run.first() else { continue };
            let news: Vec<_> = run.iter().map(|placed| (placed.key, placed.at)).collect();
            let dead = match self.shared.owner(first.owner) {
                Some(owner) => owner.placed(&news),
                None => news.iter().map(|(_, at)| u64::from(at.bytes)).sum(),
            };
            let segment = (!first.copied).then_some(first.at.segment);
            self.shared.front.lock().live.drop(segment, dead);
        }
        self.publish();
        self.shared.wake_keeper_if_needed();
    }

    /// Hands full segments on, now that their messages' owners know of them.
    fn publish(&mut self) {
        if self.rolled.is_empty() {
            return;
        }
        let mut segments = self.shared.segments.lock();
        for sealed in self.rolled.drain(..) {
            self.shared.sealed_bytes.fetch_add(sealed.length, Ordering::Relaxed);
            if let Some(segment) = segments.get_mut(&sealed.name.number) {
                segment.sealed = Some(sealed);
            }
        }
        drop(segments);
        self.shared.wake_keeper();
    }

    /// Ends the segment such that damage in its last batches could not pass for a stopped write.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        self.shared.check_owner()?;
        self.tell();
        let snapshot = self.snapshot();
        // Without it the segment would look as if something had cut it off.
        if self.write(snapshot)?.is_some() {
            return Ok(());
        }
        self.sync()?;
        self.shared.check_owner()?;
        let Some(active) = &self.active else { return Ok(()) };
        let cut = active.file.truncate(u64::from(active.end));
        cut.map_err(StoreError::io("cut off", &active.path))
    }
}

impl Encoded {
    fn place(&mut self, holders: &[(OwnerId, Key)], offset: usize, length: usize, copied: bool) {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        let at = Location { segment: 0, offset, bytes: share(length, holders.len()) };
        let placed =
            holders.iter().map(|(owner, key)| Placed { owner: *owner, key: *key, at, copied });
        self.placed.extend(placed);
    }
}
