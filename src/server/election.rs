//! Who is master: the node that has the lock of the store. The others wait as slaves.
//!
//! The lock keeps nodes out of each other's way. That two masters at once would lose nothing is seen to by
//! the epochs of the store, not here.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ServerError;
use crate::store::Locking;
use crate::store::disk::{Disk, Lock, RealDisk};
use crate::store::error::StoreError;
use crate::store::holder::{self, Told};
use crate::store::mounts::{self, Locks};
use crate::store::options::LockOptions;

/// The least time between two looks for a lock that another node has.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);

/// The way of one node to the lock.
#[derive(Debug)]
pub(super) struct Election<F> {
    directory: PathBuf,
    lock: PathBuf,
    use_lock: bool,
    fail_if_locked: bool,
    look_every: Duration,
    locks: Locks,
    /// Called when another node turns out to be master.
    on_slave: Option<F>,
    /// The last who was seen to be master.
    holder: Option<Told>,
}

/// A thread that stands in the queue for the lock. It may never come back, and ends with the process.
type Waiter = oneshot::Receiver<io::Result<Box<dyn Lock>>>;

impl<F: FnOnce() + Send> Election<F> {
    /// # Errors
    /// When locks in that directory mean nothing.
    pub(super) fn new(
        directory: &Path,
        options: &LockOptions,
        on_slave: F,
    ) -> Result<Self, StoreError> {
        let lock = options.path(directory);
        let locks = if options.use_lock { mounts::check(&lock)? } else { Locks::Remote };
        Ok(Self {
            directory: directory.to_owned(),
            lock,
            use_lock: options.use_lock,
            fail_if_locked: options.fail_if_locked,
            look_every: options.acquire_sleep_interval.max(LOOK_EVERY_MIN),
            locks,
            on_slave: Some(on_slave),
            holder: None,
        })
    }

    /// Returns when this node may open the store, with what it opens it with. `None` when the broker is
    /// stopped first.
    ///
    /// # Errors
    /// When another node is master and this one shall not wait, or locks do not work.
    pub(super) async fn locking(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Option<Locking>, ServerError> {
        if !self.use_lock {
            return Ok(Some(Locking::Without));
        }
        if let Some(lock) = self.look().await? {
            return Ok(Some(lock));
        }
        self.become_slave();
        let mut waiter = self.stand_in_queue()?;
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    info!("attempt to obtain lock aborted due to shutdown");
                    return Ok(None);
                }
                lock = wait(&mut waiter) => match lock {
                    Ok(lock) => return Ok(Some(self.test(lock).await?)),
                    // What the file system cannot wait for is looked for.
                    Err(failure) => {
                        warn!("cannot wait for the lock {}: {failure}", self.lock.display());
                        waiter = None;
                    }
                },
                () = tokio::time::sleep(self.look_every) => {
                    if let Some(lock) = self.look().await? {
                        return Ok(Some(lock));
                    }
                    self.note_holder();
                }
            }
        }
    }

    /// Takes the lock if it is free.
    async fn look(&self) -> Result<Option<Locking>, StoreError> {
        let (directory, lock) = (self.directory.clone(), self.lock.clone());
        match blocking(move || holder::take(&RealDisk, &directory, &lock)).await {
            Ok(lock) => self.test(lock).await.map(Some),
            Err(StoreError::Locked { .. }) if !self.fail_if_locked => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A lock that a second one does not respect is none.
    async fn test(&self, lock: Box<dyn Lock>) -> Result<Locking, StoreError> {
        let (directory, path) = (self.directory.clone(), self.lock.clone());
        blocking(move || holder::test(&RealDisk, &directory, &path)).await?;
        Ok(Locking::Held(lock))
    }

    fn become_slave(&mut self) {
        if let Some(on_slave) = self.on_slave.take() {
            info!(
                "Database {} is locked by another server. This broker is now in slave mode waiting a \
                 lock to be acquired",
                self.lock.display()
            );
            on_slave();
        }
        self.note_holder();
    }

    /// Says who is master, when that is another one. One that has just taken the lock did not write yet.
    fn note_holder(&mut self) {
        let told = holder::told(&RealDisk, &self.lock);
        if told != Told::Nothing && !self.holder.as_ref().is_some_and(|known| known.is_same(&told))
        {
            info!("the lock is held by {told}");
        }
        self.holder = Some(told);
    }

    fn stand_in_queue(&self) -> Result<Option<Waiter>, ServerError> {
        if self.locks == Locks::Remote {
            return Ok(None);
        }
        let (tell, told) = oneshot::channel();
        let lock = self.lock.clone();
        let waiting = move || {
            // Nobody may want it any more: then it is free again at once.
            drop(tell.send(RealDisk.await_lock(&lock)));
        };
        let spawned = thread::Builder::new().name("lock-waiter".to_owned()).spawn(waiting);
        spawned.map_err(StoreError::io("start a thread for", &self.lock))?;
        Ok(Some(told))
    }
}

/// Never returns when nobody waits.
async fn wait(waiter: &mut Option<Waiter>) -> io::Result<Box<dyn Lock>> {
    match waiter {
        Some(waiter) => waiter.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
        None => std::future::pending().await,
    }
}

/// Does in another thread what may take its time.
pub(super) async fn blocking<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(run).await {
        Ok(done) => done,
        Err(panicked) => resume_unwind(panicked.into_panic()),
    }
}
