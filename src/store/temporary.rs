//! Where non-persistent messages go that memory cannot hold.
//!
//! It is a journal without syncs, in a directory that belongs to one process:
//! `<tmp_storage>/openwired-<pid>`. What a process left that is gone is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::disk::RealDisk;
use super::epoch::Locking;
use super::error::StoreError;
use super::journal::{Journal, Opening};
use super::options::{JournalOptions, SyncStrategy, TempStoreOptions};
use crate::base::Clock;

const PREFIX: &str = "openwired-";

/// The store of what need not survive: opened when memory is short for the first time, gone when the
/// broker ends.
#[derive(Debug)]
pub struct Temporary {
    directory: PathBuf,
    options: TempStoreOptions,
    clock: Arc<dyn Clock>,
    journal: Arc<OnceLock<Journal>>,
    opening: AtomicBool,
    failed: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Temporary {
    /// A store in a directory of its own below `around`.
    pub fn new(around: PathBuf, options: TempStoreOptions, clock: Arc<dyn Clock>) -> Self {
        let directory = around.join(format!("{PREFIX}{}", std::process::id()));
        Self {
            directory,
            options,
            clock,
            journal: Arc::default(),
            opening: AtomicBool::new(false),
            failed: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Wakes when there may be room, or no more hope of it.
    pub fn changed(&self) -> &Notify {
        self.journal.get().map_or(&self.changed, Journal::changed)
    }

    /// Whether it cannot be opened.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The store, if it is open.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    /// The store, if it is open. If not, a thread opens it: whoever asks must not wait.
    pub fn opened(&self) -> Option<&Journal> {
        if let Some(journal) = self.journal.get() {
            return Some(journal);
        }
        if !self.opening.swap(true, Ordering::AcqRel) {
            let (directory, clock) = (self.directory.clone(), Arc::clone(&self.clock));
            let (options, place) = (self.options.clone(), Arc::clone(&self.journal));
            let (failed, changed) = (Arc::clone(&self.failed), Arc::clone(&self.changed));
            std::thread::spawn(move || {
                match open(&directory, &options, clock) {
                    Ok(journal) => {
                        tracing::info!(
                            "memory is short: non-persistent messages go to {}",
                            directory.display()
                        );
                        // Set once: `opening` lets only one thread come here.
                        place.get_or_init(|| journal);
                    }
                    Err(failure) => {
                        tracing::error!("non-persistent messages stay in memory: {failure}");
                        failed.store(true, Ordering::Release);
                    }
                }
                changed.notify_waiters();
            });
        }
        None
    }

    /// Ends it with all it holds.
    pub fn close(&self) {
        if let Some(journal) = self.journal.get() {
            journal.close();
            if let Err(failure) = fs::remove_dir_all(&self.directory) {
                tracing::warn!("cannot remove {}: {failure}", self.directory.display());
            }
        }
    }
}

fn open(
    directory: &Path,
    options: &TempStoreOptions,
    clock: Arc<dyn Clock>,
) -> Result<Journal, StoreError> {
    remove_stale(directory);
    let options = JournalOptions {
        journal_max_file_length: options.journal_max_file_length,
        sync: SyncStrategy::Never,
        ..JournalOptions::default()
    };
    let opening = Opening {
        node: String::new(),
        locking: Locking::Take,
        followed: None,
        beat: None,
        clock,
        on_failure: Box::new(|failure| {
            tracing::error!("the temporary store failed, what it held is lost: {failure}");
        }),
    };
    let (journal, _) = Journal::open(Arc::new(RealDisk), directory, &options, opening)?;
    Ok(journal)
}

/// Removes what processes left beside `own` that did not end in order.
fn remove_stale(own: &Path) {
    let siblings = own.parent().and_then(|around| fs::read_dir(around).ok()).into_iter().flatten();
    for path in siblings.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let pid = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX));
        let gone = pid.is_some_and(|pid| {
            pid.bytes().all(|digit| digit.is_ascii_digit())
                && !Path::new("/proc").join(pid).exists()
        });
        if (gone || path == own)
            && let Err(failure) = fs::remove_dir_all(&path)
        {
            tracing::warn!("cannot remove {}: {failure}", path.display());
        }
    }
}
