//! The thread that keeps the files in order: it has the next segment ready before it is needed.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::error::StoreError;
use super::segment::{JOURNAL, SegmentName};
use super::shared::{Phase, Prepared, Shared};

/// Between two attempts to get room for a segment.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// Files that belong to nothing.
    leftovers: Vec<String>,
    retry: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, leftovers: Vec<String>) -> Self {
        Self { shared, leftovers, retry: None }
    }

    /// The life of the thread.
    pub(super) fn run(mut self) {
        while self.wait() {
            if let Err(error) = self.turn() {
                return self.shared.fail(error);
            }
        }
    }

    /// Returns when there is something to do, or with `false` at the end.
    fn wait(&self) -> bool {
        let mut room = self.shared.room.lock();
        while self.shared.phase() == Phase::Running && self.leftovers.is_empty() && !room.dirty {
            match (room.asked, self.retry) {
                (Some(_), None) => break,
                (Some(_), Some(retry)) => {
                    if self.shared.chores.wait_until(&mut room, retry).timed_out() {
                        break;
                    }
                }
                (None, _) => self.shared.chores.wait(&mut room),
            }
        }
        self.shared.phase() == Phase::Running
    }

    /// Does what there is to do.
    pub(super) fn turn(&mut self) -> Result<(), StoreError> {
        self.prepare()?;
        self.remove_leftovers()?;
        self.shared.room.lock().dirty = false;
        Ok(())
    }

    /// Makes the next segment, if it was asked for.
    fn prepare(&mut self) -> Result<(), StoreError> {
        let Some(bytes) = self.shared.room.lock().asked else { return Ok(()) };
        match self.shared.prepare(bytes) {
            Ok(()) => {
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
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn remove_leftovers(&mut self) -> Result<(), StoreError> {
        let journal = self.shared.directory.join(JOURNAL);
        while let Some(name) = self.leftovers.pop() {
            self.shared.ownership.check()?;
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
    /// Makes a file of at least so many bytes that waits to be the next segment.
    pub(super) fn prepare(&self, bytes: u32) -> Result<(), StoreError> {
        let (next, number) = {
            let mut room = self.room.lock();
            let next = room.next.take();
            if next.is_none() {
                room.number += 1;
            }
            (next, room.number)
        };
        let length = self.settings.segment_bytes.max(bytes);
        let next = next.map_or_else(|| self.create(number), Ok)?;
        let path = next.name.log_path(&self.directory);
        let grown = next.file.allocate(u64::from(length));
        let synced = grown.and_then(|()| self.disk.sync_directory(&self.directory.join(JOURNAL)));
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
        synced.map_err(StoreError::io("allocate", &path))
    }

    fn create(&self, number: u32) -> Result<Prepared, StoreError> {
        let name = SegmentName { number, epoch: self.ownership.epoch };
        let path = name.log_path(&self.directory);
        let file = self.disk.create(&path).map_err(StoreError::io("create", &path))?;
        Ok(Prepared { name, file, length: 0 })
    }
}
