//! Who is master: the node that has the lock of the store. The others wait as slaves, and read along.
//!
//! The lock keeps nodes out of each other's way. That two masters at once would lose nothing is seen to by
//! the epochs of the store, not here. So a slave may go on without the lock when its holder does nothing
//! any more: a process that hangs keeps its lock for ever.

use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ServerError;
use super::following::Following;
use super::role::Role;
use crate::store::Locking;
use crate::store::disk::{Disk, Lock, RealDisk};
use crate::store::error::StoreError;
use crate::store::follower::Follower;
use crate::store::holder::{self, Told};
use crate::store::mounts::{self, Locks};
use crate::store::options::LockOptions;

/// The least time between two looks for a lock that another node has.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
/// How often a slave reads along, where that costs no way over a network, and where it does.
const FOLLOW_EVERY: Duration = Duration::from_millis(25);
const FOLLOW_EVERY_REMOTE: Duration = Duration::from_millis(100);
/// How often a slave looks whether its master works, and says what it is itself.
const NOTE_EVERY: Duration = Duration::from_millis(500);

/// The way of one node to the store.
#[derive(Debug)]
pub(super) struct Election<F> {
    directory: PathBuf,
    lock: PathBuf,
    use_lock: bool,
    fail_if_locked: bool,
    look_every: Duration,
    locks: Locks,
    /// How long a holder may do nothing; `None` for ever.
    lease: Option<Duration>,
    /// Called when this node is a slave, and then whenever there is news.
    on_role: F,
    /// There was a master when this node came.
    is_slave: bool,
    holder: Watched,
    following: Option<Following>,
}

/// The last who was seen to be master, and since when its heart was not seen to beat.
#[derive(Debug)]
struct Watched {
    told: Option<Told>,
    since: Instant,
}

/// What a node opens the store with.
#[derive(Debug)]
pub(super) struct Elected {
    pub locking: Locking,
    pub followed: Option<Follower>,
}

/// A thread that stands in the queue for the lock. It may never come back, and ends with the process.
type Waiter = oneshot::Receiver<io::Result<Box<dyn Lock>>>;

impl<F: FnMut(Role) + Send> Election<F> {
    /// # Errors
    /// When locks in that directory mean nothing.
    pub(super) fn new(
        directory: &Path,
        options: &LockOptions,
        lease: Option<Duration>,
        on_role: F,
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
            lease,
            on_role,
            is_slave: false,
            holder: Watched { told: None, since: Instant::now() },
            following: None,
        })
    }

    /// Returns when this node may open the store. `None` when the broker is stopped first.
    ///
    /// # Errors
    /// When another node is master and this one shall not wait, or locks do not work.
    pub(super) async fn elect(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Option<Elected>, ServerError> {
        let locking = loop {
            let locking = match self.first_look().await? {
                Some(locking) => Some(locking),
                None => self.wait(stop).await?,
            };
            match locking {
                None => return Ok(None),
                Some(Locking::Held(lock)) => {
                    if !self.is_left(stop).await? {
                        return Ok(None);
                    }
                    // Its file may have been replaced meanwhile.
                    if let Some(locking) = self.test(lock).await? {
                        break locking;
                    }
                }
                Some(locking @ (Locking::Take | Locking::Without)) => break locking,
            }
        };
        let followed = match self.following.take() {
            Some(following) => Some(blocking(move || following.finish()).await),
            None => None,
        };
        Ok(Some(Elected { locking, followed }))
    }

    async fn first_look(&self) -> Result<Option<Locking>, StoreError> {
        if self.use_lock { self.look().await } else { Ok(Some(Locking::Without)) }
    }

    /// Waits, with the lock, for the end of a master that works without it; `false` when the broker is
    /// stopped first.
    async fn is_left(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let Some(lease) = self.lease else { return Ok(true) };
        let start = Instant::now();
        loop {
            let lock = self.lock.clone();
            let told = blocking(move || holder::told(&RealDisk, &lock)).await;
            if !matches!(&told, Told::Holder(holder) if !holder.has_lock) {
                return Ok(true);
            }
            if self.following.is_none() {
                self.become_slave()?;
            }
            let silent = self.holder.note(told, Instant::now());
            if silent >= lease && start.elapsed() >= lease {
                return Ok(true);
            }
            self.tell();
            tokio::select! {
                () = stop.cancelled() => return Ok(false),
                () = sleep(NOTE_EVERY.min(lease / 4)) => {}
            }
        }
    }

    /// Waits as a slave.
    async fn wait(&mut self, stop: &CancellationToken) -> Result<Option<Locking>, ServerError> {
        self.become_slave()?;
        let mut waiter = self.stand_in_queue()?;
        let mut look_at = Instant::now() + self.look_every;
        let mut note_at = Instant::now() + NOTE_EVERY;
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    info!("attempt to obtain lock aborted due to shutdown");
                    return Ok(None);
                }
                lock = next(&mut waiter) => match lock {
                    Ok(lock) => match self.test(lock).await? {
                        Some(locking) => return Ok(Some(locking)),
                        None => waiter = self.stand_in_queue()?,
                    },
                    // What the file system cannot wait for is looked for.
                    Err(failure) => {
                        warn!("cannot wait for the lock {}: {failure}", self.lock.display());
                        waiter = None;
                    }
                },
                () = sleep_until(look_at) => {
                    if let Some(lock) = self.look().await? {
                        return Ok(Some(lock));
                    }
                    look_at = Instant::now() + self.look_every;
                }
                () = sleep_until(note_at) => {
                    if self.note().await {
                        return Ok(Some(Locking::Without));
                    }
                    note_at = Instant::now() + NOTE_EVERY;
                }
            }
        }
    }

    /// Takes the lock if it is free.
    async fn look(&self) -> Result<Option<Locking>, StoreError> {
        let (directory, lock) = (self.directory.clone(), self.lock.clone());
        match blocking(move || holder::take(&RealDisk, &directory, &lock)).await {
            Ok(lock) => self.test(lock).await,
            Err(StoreError::Locked { .. }) if !self.fail_if_locked => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A lock that a second one does not respect is none. `None` for that of a file which others do not
    /// find any more: it was removed or replaced while this node stood in its queue.
    async fn test(&self, lock: Box<dyn Lock>) -> Result<Option<Locking>, StoreError> {
        let (directory, path) = (self.directory.clone(), self.lock.clone());
        let tested = move || {
            let in_place = lock.is_in_place().map_err(StoreError::io("look at", &path))?;
            if !in_place {
                return Ok(None);
            }
            holder::test(&RealDisk, &directory, &path)?;
            Ok(Some(Locking::Held(lock)))
        };
        blocking(tested).await
    }

    fn become_slave(&mut self) -> Result<(), StoreError> {
        if !self.is_slave {
            info!(
                "Database {} is locked by another server. This broker is now in slave mode waiting a \
                 lock to be acquired",
                self.lock.display()
            );
            self.is_slave = true;
        }
        if self.following.is_some() {
            return Ok(());
        }
        self.holder = Watched { told: None, since: Instant::now() };
        let period = if self.locks == Locks::Local { FOLLOW_EVERY } else { FOLLOW_EVERY_REMOTE };
        self.following = Some(Following::start(&self.directory, period)?);
        let told = holder::told(&RealDisk, &self.lock);
        self.holder.note(told, Instant::now());
        self.tell();
        Ok(())
    }

    /// Looks at the master; says whether this node may go on without its lock.
    async fn note(&mut self) -> bool {
        let lock = self.lock.clone();
        let told = blocking(move || holder::told(&RealDisk, &lock)).await;
        let silent = self.holder.note(told, Instant::now());
        self.tell();
        // Only of one that was seen to count is it known that it should.
        let counts = matches!(self.holder.told, Some(Told::Holder(_)));
        let is_over = counts && self.lease.is_some_and(|lease| silent >= lease);
        if is_over {
            let told = self.holder.told.as_ref().unwrap_or(&Told::Nothing);
            warn!(
                "the holder of the lock, {told}, has done nothing for {} ms: this broker takes over \
                 without the lock",
                silent.as_millis()
            );
        }
        is_over
    }

    fn tell(&mut self) {
        let progress = self.following.as_ref().map(Following::progress).unwrap_or_default();
        let holder = self.holder.told.clone().unwrap_or(Told::Nothing);
        (self.on_role)(Role::Slave { lock: self.lock.clone(), holder, progress });
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

impl Watched {
    /// Takes note of what the lock says now, and says it when that is another node; one that has just taken
    /// the lock did not write yet. Returns for how long nothing has moved.
    fn note(&mut self, told: Told, now: Instant) -> Duration {
        let is_same = self.told.as_ref().is_some_and(|known| known.is_same(&told));
        if told != Told::Nothing && !is_same {
            info!("the lock is held by {told}");
        }
        if self.told.as_ref() != Some(&told) {
            self.told = Some(told);
            self.since = now;
        }
        now.saturating_duration_since(self.since)
    }
}

/// Never returns when nobody stands in the queue.
async fn next(waiter: &mut Option<Waiter>) -> io::Result<Box<dyn Lock>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::holder::Holder;

    fn holder(pid: u32, beat: u64) -> Told {
        Told::Holder(Holder { pid, beat, ..Holder::default() })
    }

    #[test]
    fn a_holder_is_silent_as_long_as_neither_it_nor_its_beat_changes() {
        let start = Instant::now();
        let mut watched = Watched { told: None, since: start };
        let mut note = |told, ms| watched.note(told, start + Duration::from_millis(ms)).as_millis();
        assert_eq!(note(holder(1, 7), 100), 0);
        assert_eq!(note(holder(1, 7), 600), 500);
        assert_eq!(note(holder(1, 8), 1100), 0);
        assert_eq!(note(holder(1, 8), 6100), 5000);
        assert_eq!(note(holder(2, 8), 6200), 0, "another one");
        assert_eq!(note(Told::Nothing, 6300), 0);
    }
}
