//! Moves what is still needed out of the oldest segment, so that its file can go. Segments go from the
//! oldest end only, so what removed a message is never gone before the message is.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use tracing::{debug, error, warn};

use super::batch::{RecordView, Spot};
use super::bug::planted;
use super::error::StoreError;
use super::front::{Front, Item};
use super::owner::Owner;
use super::place::{Key, Location, OwnerId};
use super::record::{Copied, Held, Record};
use super::recovery::Sealed;
use super::replay::share;
use super::scan::scan;
use super::segment::JOURNAL;
use super::shared::Shared;
use super::ticket::Ticket;
use crate::base::fail_point::fail_point;
use crate::openwire::XaTransactionId;

type Map<K, V> = HashMap<K, V, RandomState>;

/// Bytes that are copied before the cleaner waits until they are durable.
const CHUNK_BYTES: usize = 1 << 20;
/// Owners' records in one group.
const OWNERS_MAX: usize = 1000;
/// So many small segments may lie around, and as many for each one that is needed.
const SEGMENTS_FREE: u64 = 64;
const SEGMENTS_PER_LIVE: u64 = 4;

#[derive(Debug)]
pub(super) struct Cleaner {
    shared: Arc<Shared>,
    cleaning: Option<Cleaning>,
    /// The oldest segment is damaged. It stays, until recovery has set aside what is damaged.
    stuck: bool,
    streak: Option<Streak>,
}

/// What was cleaned without a break, because files hold more than they should. Once all of them were,
/// everything that is live was copied: if that is more than was counted, an owner has told of bytes
/// twice, and cleaning would never end.
#[derive(Debug)]
struct Streak {
    segments_left: u64,
    copied: u64,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is nothing to clean, or it cannot be cleaned now.
    Idle,
    Done,
    /// What was copied is not durable yet.
    Waiting,
}

/// A segment that is being emptied.
#[derive(Debug)]
struct Cleaning {
    sealed: Sealed,
    bytes: Bytes,
    /// Offsets of messages that were not looked at.
    messages: std::vec::IntoIter<u32>,
    /// The last record in this segment of each owner and branch.
    owners: Map<OwnerId, u32>,
    branches: Map<XaTransactionId, u32>,
    stage: Stage,
    ticket: Option<Ticket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Messages,
    Owners,
    Delete,
}

/// A message in the segment, and who holds it.
#[derive(Debug)]
struct Candidate {
    at: Location,
    holders: Vec<(OwnerId, Key)>,
    record: u32,
}

/// An owner that is there has not been registered yet.
struct NotReady;

impl Cleaner {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, cleaning: None, stuck: false, streak: None }
    }

    /// Whether a step can do something about what was begun.
    pub(super) fn is_ready(&self) -> bool {
        let ticket = self.cleaning.as_ref().map(|cleaning| &cleaning.ticket);
        ticket.is_some_and(|ticket| ticket.as_ref().is_none_or(Ticket::is_durable))
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.cleaning.is_some()
    }

    /// Does a part of what there is to do.
    pub(super) fn step(&mut self) -> Result<Step, StoreError> {
        let Some(mut cleaning) = self.cleaning.take() else {
            self.cleaning = self.begin()?;
            return Ok(if self.cleaning.is_some() { Step::Done } else { Step::Idle });
        };
        let durable = cleaning.ticket.as_ref().is_none_or(Ticket::is_durable);
        if !durable && !planted!(self.shared.disk, DeleteEarly) {
            self.cleaning = Some(cleaning);
            return Ok(Step::Waiting);
        }
        match cleaning.stage {
            Stage::Messages => {
                if self.copy_messages(&mut cleaning).is_err() {
                    self.shared.nothing_to_clean();
                    return Ok(Step::Idle);
                }
                if cleaning.messages.len() == 0 {
                    cleaning.stage = Stage::Owners;
                }
            }
            Stage::Owners => {
                if !planted!(self.shared.disk, ForgetStates) {
                    cleaning.ticket = Some(self.copy_states(&cleaning));
                }
                cleaning.stage = Stage::Delete;
            }
            Stage::Delete => {
                self.delete(&cleaning.sealed)?;
                return Ok(Step::Done);
            }
        }
        self.cleaning = Some(cleaning);
        Ok(Step::Done)
    }

    /// The oldest segment, if it must go.
    fn begin(&mut self) -> Result<Option<Cleaning>, StoreError> {
        if self.stuck {
            return Ok(None);
        }
        let (sealed, count) = {
            let segments = self.shared.segments.lock();
            let oldest = segments.first_key_value().and_then(|(_, oldest)| oldest.sealed.clone());
            (oldest, segments.len() as u64)
        };
        let Some(sealed) = sealed else { return Ok(None) };
        let number = sealed.name.number;
        let (live, total, states) = {
            let front = self.shared.front.lock();
            (front.live.of(number), front.live.total(), front.has_states_in(number))
        };
        let needed = total / u64::from(self.shared.settings.segment_bytes);
        let too_many = count > SEGMENTS_FREE + SEGMENTS_PER_LIVE * needed;
        let must_clean = self.shared.must_clean();
        if !must_clean {
            self.streak = None;
        } else if self.streak.is_none() {
            self.streak = Some(Streak { segments_left: count, copied: 0 });
        }
        if live > 0 && !too_many && !must_clean {
            return Ok(None);
        }
        // The last bytes before the disk is full are for acknowledgements.
        if self.shared.is_full() && live > u64::from(self.shared.tail_room()) / 2 {
            return Ok(None);
        }
        if live == 0 && !states {
            return Ok(Some(Cleaning::nothing_in(sealed)));
        }
        let cleaning = Cleaning::read(&self.shared, sealed);
        if cleaning.is_none() {
            self.stuck = true;
            self.shared.nothing_to_clean();
        }
        Ok(cleaning)
    }

    /// Copies some messages that are still held, those that nobody removes meanwhile.
    fn copy_messages(&mut self, cleaning: &mut Cleaning) -> Result<(), NotReady> {
        let mut owners = Map::default();
        let mut candidates = Vec::new();
        let mut bytes = 0;
        while bytes < CHUNK_BYTES
            && let Some(offset) = cleaning.messages.next()
        {
            let Some((view, held)) = cleaning.message(offset) else { continue };
            let holders = held.holders();
            let share = share(view.bytes.len(), holders.len());
            let at = Location { segment: cleaning.sealed.name.number, offset, bytes: share };
            let mut candidate = Candidate { at, holders: holders.collect(), record: offset };
            self.drop_removed(&mut candidate, &mut owners)?;
            if !candidate.holders.is_empty() {
                bytes += view.bytes.len();
                candidates.push(candidate);
            }
        }
        if candidates.is_empty() {
            return Ok(());
        }
        if let Some(streak) = &mut self.streak {
            streak.copied += bytes as u64;
        }
        // From now on `copying` forgets what is removed; what was removed before is found by asking
        // again. So a copy never comes after the removal of its message.
        let holders = candidates.iter().flat_map(|candidate| candidate.holders.iter().copied());
        self.shared.front.lock().copying.extend(holders);
        for candidate in &mut candidates {
            self.drop_removed(candidate, &mut owners)?;
        }
        let mut front = self.shared.front.lock();
        front.begin();
        for Candidate { mut holders, record, .. } in candidates {
            if !planted!(self.shared.disk, CopyRemoved) {
                holders.retain(|holder| front.copying.contains(holder));
            }
            if planted!(self.shared.disk, CopyFirstDue) {
                front.due.retain(|holder, _| !holders.contains(holder));
            }
            cleaning.copy(&mut front, holders, record);
        }
        front.copying.clear();
        cleaning.ticket = Some(self.end(front));
        Ok(())
    }

    /// Keeps the holders that still have the message.
    fn drop_removed(
        &self,
        candidate: &mut Candidate,
        owners: &mut Map<OwnerId, Option<Arc<dyn Owner>>>,
    ) -> Result<(), NotReady> {
        let mut not_ready = false;
        candidate.holders.retain(|(id, key)| {
            let owner = owners.entry(*id).or_insert_with(|| self.shared.owner(*id));
            match owner {
                Some(owner) => owner.holds(*key, candidate.at),
                None => {
                    not_ready |= self.shared.front.lock().owners.contains_key(id);
                    false
                }
            }
        });
        if not_ready {
            self.shared.front.lock().copying.clear();
            return Err(NotReady);
        }
        Ok(())
    }

    /// Says again what stands in this segment only. Durable once all that was decided before is, too:
    /// only then may the segment go, or a removal that it counted on could be lost.
    fn copy_states(&self, cleaning: &Cleaning) -> Ticket {
        let number = cleaning.sealed.name.number;
        let mut front = self.shared.front.lock();
        front.begin();
        for (pushed, (id, offset)) in cleaning.owners.iter().enumerate() {
            if pushed % OWNERS_MAX == OWNERS_MAX - 1 {
                front.begin();
            }
            if front.owners.get(id).is_some_and(|owner| owner.standing.is_in(number))
                && let Some(Record::Owner { record, .. }) = cleaning.record(*offset)
            {
                front.push_owner(*id, record);
            }
        }
        for (xid, offset) in &cleaning.branches {
            if front.branches.get(xid).is_some_and(|standing| standing.is_in(number))
                && let Some(Record::Prepared(branch)) = cleaning.record(*offset)
            {
                front.push_branch(branch);
            }
        }
        for id in front.witnessed_in(number) {
            front.push_item(Item::Sequence(id), 0);
        }
        self.end(front)
    }

    fn end(&self, mut front: parking_lot::MutexGuard<'_, Front>) -> Ticket {
        front.must_sync();
        front.ask();
        let ticket = front.end(true);
        self.shared.set_unwritten(front.bytes);
        drop(front);
        self.shared.work.notify_one();
        ticket
    }

    /// Counts a segment that is done with.
    fn end_streak(&mut self) {
        let Some(streak) = &mut self.streak else { return };
        streak.segments_left = streak.segments_left.saturating_sub(1);
        if streak.segments_left == 0 {
            if self.shared.front.lock().live.raise_to(streak.copied) {
                warn!("less was counted as needed than the {} bytes that are", streak.copied);
            }
            self.streak = None;
        }
    }

    fn delete(&mut self, sealed: &Sealed) -> Result<(), StoreError> {
        self.end_streak();
        let shared = &self.shared;
        let number = sealed.name.number;
        shared.check_owner()?;
        let gone = shared.segments.lock().remove(&number);
        shared
            .sealed_bytes
            .fetch_sub(gone.map_or(0, |gone| gone.length), std::sync::atomic::Ordering::Relaxed);
        shared.front.lock().live.forget(number);
        fail_point!("seg.before_unlink");
        for path in
            [sealed.name.log_path(&shared.directory), sealed.name.index_path(&shared.directory)]
        {
            match shared.disk.remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        fail_point!("seg.after_unlink");
        // Before the next one goes: a segment must not be back when a later one is gone.
        let journal = shared.directory.join(JOURNAL);
        shared.disk.sync_directory(&journal).map_err(StoreError::io("sync", &journal))?;
        shared.let_go_of_files();
        debug!("{} is gone: nothing in it is needed", sealed.name.log());
        Ok(())
    }
}

impl Cleaning {
    fn nothing_in(sealed: Sealed) -> Self {
        Self {
            sealed,
            bytes: Bytes::new(),
            messages: Vec::new().into_iter(),
            owners: Map::default(),
            branches: Map::default(),
            stage: Stage::Owners,
            ticket: None,
        }
    }

    /// Reads what stands in a segment; `None` when it is damaged where it was not before.
    fn read(shared: &Shared, sealed: Sealed) -> Option<Self> {
        let path = sealed.name.log_path(&shared.directory);
        let keep = |why: &dyn std::fmt::Display| {
            error!(
                "{} is kept, with all that came after it: {why}; the next start sets aside what is \
                 damaged",
                path.display()
            );
        };
        let bytes = sealed.load(&*shared.disk, &shared.directory);
        let bytes = bytes.inspect_err(|error| keep(error)).ok()?;
        let mut messages = Vec::new();
        let mut owners = Map::default();
        let mut branches = Map::default();
        let scanned = scan(sealed.source(&bytes), |batch| {
            for view in batch.records() {
                match Record::parse(view.kind, view.body) {
                    Ok(Record::Add(_) | Record::Copy(_)) => messages.push(view.offset),
                    Ok(Record::Owner { id, .. }) => {
                        owners.insert(id, view.offset);
                    }
                    Ok(Record::Prepared(branch)) => {
                        branches.insert(branch.xid, view.offset);
                    }
                    _ => {}
                }
            }
        });
        if scanned.damage != sealed.damage {
            keep(&format!("damaged at {:?}", scanned.damage));
            return None;
        }
        Some(Self {
            sealed,
            bytes: bytes.into(),
            messages: messages.into_iter(),
            owners,
            branches,
            stage: Stage::Messages,
            ticket: None,
        })
    }

    fn view(&self, offset: u32) -> Option<RecordView<'_>> {
        let segment = self.sealed.name.number;
        let spot = Spot { salt: self.sealed.salt, segment, offset };
        RecordView::parse(self.bytes.get(usize::try_from(offset).ok()?..)?, spot)
    }

    fn record(&self, offset: u32) -> Option<Record<'_>> {
        let view = self.view(offset)?;
        Record::parse(view.kind, view.body).ok()
    }

    fn message(&self, offset: u32) -> Option<(RecordView<'_>, Held<'_>)> {
        let view = self.view(offset)?;
        match Record::parse(view.kind, view.body) {
            Ok(Record::Add(held) | Record::Copy(held)) => Some((view, held)),
            _ => None,
        }
    }

    fn copy(&self, front: &mut Front, holders: Vec<(OwnerId, Key)>, record: u32) {
        let Some((_, held)) = self.message(record) else { return };
        let count = |front: &Front, holder| front.redeliveries.get(holder).copied().unwrap_or(0);
        let Some(redeliveries) = holders.first().map(|holder| count(front, holder)) else { return };
        let others: Vec<_> = holders
            .iter()
            .map(|holder| (*holder, count(front, holder)))
            .filter(|(_, other)| *other != redeliveries)
            .collect();
        let due = holders.first().and_then(|holder| front.due.get(holder).copied());
        let (expiration, broker_sequence) = (due.unwrap_or(held.expiration), held.broker_sequence);
        let message = self.bytes.slice_ref(held.message);
        let bytes = message.len();
        let copied = Copied { holders, redeliveries, expiration, broker_sequence, message };
        front.push_item(Item::Copy(copied), bytes);
        for ((owner, key), count) in others {
            front.push_item(Item::Redelivered(owner, key, count), 0);
        }
    }
}
