//! What the threads of a journal share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::bug::planted;
use super::disk::{Disk, File};
use super::epoch::Ownership;
use super::error::StoreError;
use super::front::Front;
use super::options::SyncStrategy;
use super::owner::Owner;
use super::place::{Key, Location, OwnerId};
use super::recovery::Sealed;
use super::segment::SegmentName;
use super::ticket::Batch;
use crate::base::Activity;

/// Bytes that may wait to be written before producers are held.
const UNWRITTEN_BYTES_MAX: usize = 8 << 20;

/// Told of the first failure.
pub(super) type OnFailure = Box<dyn Fn(&StoreError) + Send + Sync>;

/// How a journal is to work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) segment_bytes: u32,
    pub(super) sync: SyncStrategy,
    pub(super) sync_interval: Duration,
    /// How often it is looked whether the store is still ours when nothing is written.
    pub(super) beat: Option<Duration>,
}

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) ownership: Ownership,
    pub(super) front: Mutex<Front>,
    /// The writer waits here, with `front`.
    pub(super) work: Condvar,
    pub(super) unwritten: AtomicUsize,
    pub(super) registry: Mutex<HashMap<OwnerId, Weak<dyn Owner>, RandomState>>,
    pub(super) next_owner: AtomicU64,
    pub(super) segments: Mutex<BTreeMap<u32, Segment>>,
    /// Of the files of sealed segments.
    pub(super) sealed_bytes: AtomicU64,
    /// Bytes that are left in the segment which is written.
    pub(super) tail_room: AtomicU32,
    /// Something has changed since the keeper found nothing that it can clean.
    may_clean: AtomicBool,
    /// The keeper waits for something to become durable.
    pub(super) keeper_waits: AtomicBool,
    pub(super) room: Mutex<Room>,
    /// The keeper waits here, with `room`.
    pub(super) chores: Condvar,
    /// The writer waits here for a segment, with `room`.
    pub(super) ready: Condvar,
    pub(super) wishes: Mutex<VecDeque<Wish>>,
    /// The reader waits here, with `wishes`.
    pub(super) wished: Condvar,
    opened: Instant,
    /// When the store was seen to be ours, in milliseconds since it was opened.
    checked_ms: AtomicU64,
    /// The heart waits here for its next beat, or for the end.
    pub(super) heart: (Mutex<()>, Condvar),
    pub(super) activities: Activities,
    phase: AtomicU8,
    full: AtomicBool,
    pub(super) changed: Notify,
    /// The first failure. What the disk holds after it is unknown, so nothing more is written.
    broken: Mutex<Option<StoreError>>,
    on_failure: OnFailure,
    /// Shown each owner at the moment from which the journal may ask it.
    #[cfg(test)]
    pub(super) on_register: Mutex<Option<OnRegister>>,
}

#[cfg(test)]
pub(super) type OnRegister = Box<dyn Fn(OwnerId, &dyn Owner) + Send>;
/// What each thread asks of the disk.
#[derive(Debug, Default)]
pub(super) struct Activities {
    pub(super) writer: Activity,
    pub(super) keeper: Activity,
    pub(super) reader: Activity,
    pub(super) heart: Activity,
}

impl Activities {
    pub(super) fn each(&self) -> [&Activity; 4] {
        [&self.writer, &self.keeper, &self.reader, &self.heart]
    }
}

/// A segment that exists.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) salt: u64,
    /// Of its files.
    pub(super) length: u64,
    /// Once nothing is appended any more and all owners know where their messages lie in it.
    pub(super) sealed: Option<Sealed>,
}

/// The segment after the one that is written.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) next: Option<Prepared>,
    /// Bytes that the next one must have at least, once one is asked for.
    pub(super) asked: Option<u32>,
    /// The number of the newest segment, prepared or not.
    pub(super) number: u32,
    /// There may be something for the keeper to do.
    pub(super) dirty: bool,
}

/// A file that waits to become a segment.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) name: SegmentName,
    pub(super) file: Arc<dyn File>,
    pub(super) length: u32,
}

/// Bodies to be read.
#[derive(Debug)]
pub(super) struct Wish {
    /// Nobody asks to let go of files that are gone.
    pub(super) owner: Option<Weak<dyn Owner>>,
    pub(super) wanted: Vec<(Key, Location)>,
}

/// Whether producers may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    Free,
    /// More waits to be written than should.
    Congested,
    /// The disk has no room for another segment. What is left is kept for acknowledgements.
    Full,
}

/// How far the life of a journal has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running = 0,
    /// What waits is written, then it ends.
    Closing = 1,
    /// Nothing more is written.
    Ended = 2,
}

/// What a journal begins with.
pub(super) struct Parts {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) ownership: Ownership,
    pub(super) front: Front,
    pub(super) segments: Vec<Sealed>,
    pub(super) next_owner: u64,
    pub(super) number: u32,
    pub(super) on_failure: OnFailure,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        let sealed_bytes = parts.segments.iter().map(Sealed::used).sum();
        let segments = parts.segments.into_iter().map(|sealed| {
            let (name, salt, length) = (sealed.name, sealed.salt, sealed.used());
            (name.number, Segment { name, salt, length, sealed: Some(sealed) })
        });
        Self {
            disk: parts.disk,
            directory: parts.directory,
            settings: parts.settings,
            ownership: parts.ownership,
            front: Mutex::new(parts.front),
            work: Condvar::new(),
            unwritten: AtomicUsize::new(0),
            registry: Mutex::default(),
            next_owner: AtomicU64::new(parts.next_owner),
            segments: Mutex::new(segments.collect()),
            sealed_bytes: AtomicU64::new(sealed_bytes),
            tail_room: AtomicU32::new(0),
            may_clean: AtomicBool::new(true),
            keeper_waits: AtomicBool::new(false),
            room: Mutex::new(Room { number: parts.number, ..Room::default() }),
            chores: Condvar::new(),
            ready: Condvar::new(),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            opened: Instant::now(),
            checked_ms: AtomicU64::new(0),
            heart: (Mutex::new(()), Condvar::new()),
            activities: Activities::default(),
            phase: AtomicU8::new(Phase::Running as u8),
            full: AtomicBool::new(false),
            changed: Notify::new(),
            broken: Mutex::new(None),
            on_failure: parts.on_failure,
            #[cfg(test)]
            on_register: Mutex::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Closing,
            _ => Phase::Ended,
        }
    }

    /// Goes on to a later phase, and wakes all threads.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // Each lock is taken once, so that nobody who has just looked goes to sleep after this.
        drop(self.front.lock());
        self.work.notify_all();
        drop(self.room.lock());
        self.chores.notify_all();
        self.ready.notify_all();
        drop(self.wishes.lock());
        self.wished.notify_all();
        drop(self.heart.0.lock());
        self.heart.1.notify_all();
    }

    /// The journal has failed: it ends without a word to those who wait.
    pub(super) fn fail(&self, error: StoreError) {
        self.enter(Phase::Ended);
        let mut broken = self.broken.lock();
        if broken.is_none() {
            tracing::error!("the store {} has failed: {error}", self.directory.display());
            *broken = Some(error.clone());
            drop(broken);
            (self.on_failure)(&error);
        }
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.broken.lock().clone()
    }

    pub(super) fn pressure(&self) -> Pressure {
        if self.full.load(Ordering::Relaxed) {
            Pressure::Full
        } else if self.unwritten.load(Ordering::Relaxed) > UNWRITTEN_BYTES_MAX {
            Pressure::Congested
        } else {
            Pressure::Free
        }
    }

    /// Has the reader close the files of segments that are gone.
    pub(super) fn let_go_of_files(&self) {
        self.wishes.lock().push_back(Wish { owner: None, wanted: Vec::new() });
        self.wished.notify_one();
    }

    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) != full {
            self.changed.notify_waiters();
        }
    }

    /// So much waits to be written now.
    pub(super) fn set_unwritten(&self, bytes: usize) {
        let before = self.unwritten.swap(bytes, Ordering::Relaxed);
        if before > UNWRITTEN_BYTES_MAX && bytes <= UNWRITTEN_BYTES_MAX {
            self.changed.notify_waiters();
        }
    }

    /// Whether the store is still ours. What was made durable before may be confirmed then.
    pub(super) fn check_owner(&self) -> Result<(), StoreError> {
        if planted!(self.disk, NoOwnerCheck) {
            return Ok(());
        }
        self.ownership.check()?;
        self.checked_ms.store(self.age_ms(), Ordering::Relaxed);
        Ok(())
    }

    /// The same, unless that was seen not long ago.
    pub(super) fn check_owner_now_and_then(&self) -> Result<(), StoreError> {
        let Some(beat) = self.settings.beat else { return Ok(()) };
        let age = self.age_ms().saturating_sub(self.checked_ms.load(Ordering::Relaxed));
        if u128::from(age) < 2 * beat.as_millis() { Ok(()) } else { self.check_owner() }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn owner(&self, id: OwnerId) -> Option<Arc<dyn Owner>> {
        self.registry.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Somebody waits for this batch.
    pub(super) fn ask(&self, batch: &Arc<Batch>) {
        let mut front = self.front.lock();
        if front.is_next(batch) && !front.is_asked() {
            front.ask();
            drop(front);
            self.work.notify_one();
        }
    }

    /// The keeper may have something to do.
    pub(super) fn wake_keeper(&self) {
        self.may_clean.store(true, Ordering::Relaxed);
        self.room.lock().dirty = true;
        self.chores.notify_one();
    }

    /// Called when something has become durable.
    pub(super) fn wake_keeper_if_needed(&self) {
        if self.keeper_waits.load(Ordering::SeqCst) {
            drop(self.room.lock());
            self.chores.notify_one();
        } else if self.may_clean.load(Ordering::Relaxed) && self.must_clean() {
            self.wake_keeper();
        }
    }

    /// An owner was registered that cleaning may have waited for.
    pub(super) fn may_clean_again(&self) {
        self.may_clean.store(true, Ordering::Relaxed);
    }

    pub(super) fn tail_room(&self) -> u32 {
        self.tail_room.load(Ordering::Relaxed)
    }

    /// The keeper can clean nothing until something changes.
    pub(super) fn nothing_to_clean(&self) {
        self.may_clean.store(false, Ordering::Relaxed);
    }

    /// Whether files hold more than they should: then as much is garbage as must be copied at most, so
    /// that cleaning writes no more than was written before. One segment more may stay until half of the
    /// next one is used: in a queue that flows it is empty by then.
    pub(super) fn must_clean(&self) -> bool {
        let sealed = self.sealed_bytes.load(Ordering::Relaxed);
        let kept = self.front.lock().live.total().saturating_mul(2);
        let segment = self.settings.segment_bytes;
        let spare = if self.tail_room() > segment / 2 { u64::from(segment) } else { 0 };
        sealed > kept.saturating_add(spare)
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Bytes that were written, without what is only allocated; asked at every send.
    pub(super) fn written_bytes(&self) -> u64 {
        let room = self.tail_room.load(Ordering::Relaxed);
        let active = self.settings.segment_bytes.saturating_sub(room);
        self.sealed_bytes.load(Ordering::Relaxed) + u64::from(active)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let next = self.room.lock().next.as_ref().map_or(0, |next| u64::from(next.length));
        self.segments.lock().values().map(|segment| segment.length).sum::<u64>() + next
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("directory", &self.directory).finish_non_exhaustive()
    }
}
