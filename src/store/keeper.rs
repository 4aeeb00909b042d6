//! The thread that keeps the files in order: it has the next segment ready before it is needed, cleans
//! old ones, and writes the footers of those that stay.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::bug::planted;
use super::cleaner::{Cleaner, Step};
use super::error::StoreError;
use super::footer;
use super::recovery::Sealed;
use super::segment::{JOURNAL, SegmentName};
use super::shared::{Phase, Prepared, Shared};
use super::walk::walk;
use crate::base::fail_point::fail_point;

/// Between two attempts to get room for a segment.
const RETRY: Duration = Duration::from_millis(200);
/// Parts of cleaning that are done before the disk counts as full.
const STEPS_BEFORE_FULL: usize = 16;
/// Segments that must be free beside the next one, for acknowledgements.
const RESERVE: u64 = 2;
/// Which parts of a segment are made do with while the disk is full, if there is room for one.
const SMALL: [u32; 2] = [4, 16];
/// Bytes that the first segment of an epoch must have.
const FIRST_MIN: u32 = 64 << 10;

#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// Files that belong to nothing.
    leftovers: Vec<String>,
    /// When a whole segment, and one that is just large enough, is tried again.
    retry: Option<Instant>,
    retry_less: Option<Instant>,
    cleaner: Cleaner,
    /// Segments that get no footer: they are damaged, or the disk has failed to take it.
    given_up: HashSet<SegmentName>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, leftovers: Vec<String>) -> Self {
        let cleaner = Cleaner::new(Arc::clone(&shared));
        Self { shared, leftovers, retry: None, retry_less: None, cleaner, given_up: HashSet::new() }
    }

    /// The life of the thread.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while self.wait() {
            if let Err(error) = shared.activities.keeper.during(|| self.turn()) {
                return self.shared.fail(error);
            }
        }
    }

    /// Returns when there is something to do, or with `false` at the end.
    fn wait(&self) -> bool {
        let shared = &self.shared;
        let mut room = shared.room.lock();
        // Set before the look, so that what becomes durable after it wakes this thread.
        shared.keeper_waits.store(self.cleaner.is_waiting(), Ordering::SeqCst);
        while shared.phase() == Phase::Running && !room.dirty && !self.cleaner.is_ready() {
            let needed = room.asked.is_some() || shared.is_full();
            // The writer stands still when it has asked for room for something.
            let urgent = room.asked.is_some_and(|bytes| bytes > 0);
            let retry = if urgent { self.retry_less } else { self.retry };
            match retry.filter(|_| needed) {
                Some(retry) => {
                    if shared.chores.wait_until(&mut room, retry).timed_out() {
                        break;
                    }
                }
                None if needed => break,
                None => shared.chores.wait(&mut room),
            }
        }
        shared.phase() == Phase::Running
    }

    /// Does a part of what there is to do.
    pub(super) fn turn(&mut self) -> Result<(), StoreError> {
        self.shared.room.lock().dirty = false;
        self.prepare()?;
        self.remove_leftovers()?;
        let more = match self.cleaner.step()? {
            Step::Done => true,
            Step::Idle => self.tidy()?,
            Step::Waiting => false,
        };
        self.shared.room.lock().dirty |= more;
        Ok(())
    }

    /// Cuts off what one sealed segment has behind its end and writes its footer; says whether there
    /// was one to do.
    fn tidy(&mut self) -> Result<bool, StoreError> {
        let next = {
            let segments = self.shared.segments.lock();
            let mut sealed = segments.values().filter_map(|segment| segment.sealed.as_ref());
            sealed.find(|sealed| self.is_untidy(sealed)).cloned()
        };
        let Some(mut sealed) = next else { return Ok(false) };
        self.shared.check_owner()?;
        let is_full = self.shared.is_full();
        let trimmed = self.trim(&mut sealed);
        let indexed = trimmed.and_then(|()| if is_full { Ok(()) } else { self.index(&mut sealed) });
        // Only space and time are lost.
        let failed = indexed.inspect_err(|error| warn!("{error}")).is_err();
        if failed || sealed.index.is_none() && !is_full {
            self.given_up.insert(sealed.name);
        }
        if let Some(segment) = self.shared.segments.lock().get_mut(&sealed.name.number) {
            self.shared.sealed_bytes.fetch_add(sealed.used(), Ordering::Relaxed);
            self.shared.sealed_bytes.fetch_sub(segment.length, Ordering::Relaxed);
            segment.length = sealed.used();
            segment.sealed = Some(sealed);
        }
        Ok(true)
    }

    /// While the disk is full, footers wait: what is left is for acknowledgements.
    fn is_untidy(&self, sealed: &Sealed) -> bool {
        let has_rest = sealed.length > u64::from(sealed.end.end);
        let wants_footer = sealed.index.is_none() && !self.shared.is_full();
        (has_rest || wants_footer) && !self.given_up.contains(&sealed.name)
    }

    fn trim(&self, sealed: &mut Sealed) -> Result<(), StoreError> {
        let end = u64::from(sealed.end.end);
        if sealed.length > end {
            let path = sealed.name.log_path(&self.shared.directory);
            let file = self.shared.disk.open(&path).map_err(StoreError::io("open", &path))?;
            file.truncate(end).map_err(StoreError::io("cut off", &path))?;
            sealed.length = end;
        }
        Ok(())
    }

    fn index(&self, sealed: &mut Sealed) -> Result<(), StoreError> {
        let shared = &self.shared;
        let log = sealed.name.log_path(&shared.directory);
        let file = shared.disk.open(&log).map_err(StoreError::io("open", &log))?;
        let mut builder = footer::Builder::default();
        let whole = walk(&*file, sealed, |batch| builder.take(sealed.name.number, batch));
        if !whole.map_err(StoreError::io("read", &log))? {
            return Ok(());
        }
        let Some(footer) = builder.finish(sealed) else { return Ok(()) };
        let path = sealed.name.index_path(&shared.directory);
        match shared.disk.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fail_point!("idx.before_publish");
        let file = shared.disk.create(&path).map_err(StoreError::io("create", &path))?;
        file.write_at(&footer, 0).map_err(StoreError::io("write", &path))?;
        fail_point!("idx.after_publish");
        sealed.index = Some(footer.len() as u64);
        Ok(())
    }

    /// Makes the next segment, if it was asked for, or as large as it should be, if it is not.
    fn prepare(&mut self) -> Result<(), StoreError> {
        let asked = self.shared.room.lock().asked;
        let Some(bytes) = asked.or_else(|| self.shared.is_full().then_some(0)) else {
            return Ok(());
        };
        let mut prepared = self.shared.prepare_whole(bytes);
        // Room that nobody needs is taken back before producers are held.
        if self.retry.is_none() && prepared.as_ref().is_err_and(StoreError::is_full) {
            for _ in 0..STEPS_BEFORE_FULL {
                if self.cleaner.step()? != Step::Done {
                    break;
                }
            }
            prepared = self.shared.prepare_whole(bytes);
        }
        match prepared {
            Ok(()) => {
                self.retry_less = None;
                if self.retry.take().is_some() {
                    info!("the store {} has room again", self.shared.directory.display());
                }
                self.shared.set_full(false);
                Ok(())
            }
            Err(error) if error.is_full() => {
                if self.retry.replace(Instant::now() + RETRY).is_none() {
                    warn!("no room for another segment, producers are held: {error}");
                }
                self.shared.set_full(true);
                self.prepare_less(bytes)
            }
            Err(error) => Err(error),
        }
    }

    /// While the disk is full, acknowledgements go into a segment that is just large enough. Producers
    /// stay held.
    fn prepare_less(&mut self, bytes: u32) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        self.retry_less = None;
        for part in SMALL {
            match self.shared.prepare(bytes.max(self.shared.settings.segment_bytes / part)) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
        }
        self.retry_less = Some(Instant::now() + RETRY);
        Ok(())
    }

    /// Makes the first segment of an epoch. On a full disk it may be smaller than it should be.
    pub(super) fn prepare_first(&mut self) -> Result<(), StoreError> {
        let mut length = self.shared.settings.segment_bytes;
        let mut prepared = self.shared.prepare_whole(length);
        if prepared.as_ref().is_err_and(StoreError::is_full) {
            self.remove_leftovers()?;
            prepared = self.shared.prepare_whole(length);
        }
        while let Err(error) = &prepared
            && error.is_full()
            && length / 2 >= FIRST_MIN
        {
            if !self.shared.is_full() {
                warn!("no room for a segment, producers are held: {error}");
                self.shared.set_full(true);
            }
            length /= 2;
            prepared = self.shared.prepare(length);
        }
        prepared
    }

    fn remove_leftovers(&mut self) -> Result<(), StoreError> {
        let journal = self.shared.directory.join(JOURNAL);
        while let Some(name) = self.leftovers.pop() {
            self.shared.check_owner()?;
            let path = journal.join(&name);
            match self.shared.disk.remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path)(error));
                }
                _ => info!("removed {}, which nothing was confirmed in", path.display()),
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Makes the next segment, as large as it should be, or larger, if the reserve is free beside it: what
    /// producers have sent when they are held must not take the room of acknowledgements.
    fn prepare_whole(&self, bytes: u32) -> Result<(), StoreError> {
        let journal = self.directory.join(JOURNAL);
        let length = self.settings.segment_bytes.max(bytes);
        let free = self.disk.free_bytes(&journal).map_err(StoreError::io("measure", &journal))?;
        let present = self.room.lock().next.as_ref().map_or(0, |next| next.length);
        let reserve = RESERVE * u64::from(self.settings.segment_bytes);
        if free < u64::from(length - present.min(length)) + reserve {
            let full = ErrorKind::StorageFull.into();
            return Err(StoreError::io("allocate", &journal)(full));
        }
        self.prepare(length)
    }

    /// Makes a file of so many bytes that waits to be the next segment.
    pub(super) fn prepare(&self, length: u32) -> Result<(), StoreError> {
        let (next, number) = {
            let mut room = self.room.lock();
            let next = room.next.take();
            if next.is_none() {
                room.number += 1;
            }
            (next, room.number)
        };
        let next = next.map_or_else(|| self.create(number), Ok)?;
        let path = next.name.log_path(&self.directory);
        let grown = next.file.allocate(u64::from(length));
        let grown = grown.map_err(StoreError::io("allocate", &path));
        let synced = grown.and_then(|()| {
            if planted!(self.disk, NoDirectorySync) {
                return Ok(());
            }
            let journal = self.directory.join(JOURNAL);
            fail_point!("j.roll.before_dirsync");
            let synced = self.disk.sync_directory(&journal);
            synced.map_err(StoreError::io(StoreError::SYNC, &journal))
        });
        let mut room = self.room.lock();
        if synced.is_ok() {
            room.asked = None;
            room.next = Some(Prepared { length, ..next });
            self.ready.notify_one();
        } else if next.length > 0 {
            room.next = Some(next);
        } else {
            drop(room);
            // A file that takes no space is not worth keeping; the number is not used again.
            self.disk.remove(&path).map_err(StoreError::io("remove", &path))?;
        }
        synced
    }

    fn create(&self, number: u32) -> Result<Prepared, StoreError> {
        let name = SegmentName { number, epoch: self.ownership.epoch };
        let path = name.log_path(&self.directory);
        fail_point!("j.roll.before_create");
        let file = self.disk.create(&path).map_err(StoreError::io("create", &path))?;
        fail_point!("j.roll.after_create");
        Ok(Prepared { name, file, length: 0 })
    }
}
