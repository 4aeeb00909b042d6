//! The handle of a store, and how it is opened.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::audit::Audit;
use super::bug::planted;
use super::disk::Disk;
use super::epoch::{Claimant, Epochs, Locking, Ownership};
use super::error::StoreError;
use super::follower::Follower;
use super::front::{Front, OwnerState};
use super::group::{Entry, Group, OwnerRecord};
use super::heart;
use super::keeper::Keeper;
use super::options::{JournalOptions, LockOptions, SyncStrategy};
use super::owner::{Fetched, Owner};
use super::place::{Key, Location, OwnerId};
use super::reader::Reader;
use super::recovered::{Recovered, RecoveredOwner, Stored};
use super::recovery::{Warm, recover_warm};
use super::replay::Replay;
use super::segment::{JOURNAL, SEGMENT_BYTES_MAX, SegmentName};
use super::shared::{Parts, Phase, Pressure, Settings, Shared, Wish};
use super::ticket::Ticket;
use super::writer::{self, Writer};
use crate::base::Activity;
use crate::base::clock::Clock;
use crate::openwire::{Destination, Message};

/// A segment must have room for its head.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;

/// The store of a broker: a cloneable handle.
///
/// Dropping the last one without [`Self::close`] is like a crash: what waits is not written any more.
#[derive(Debug, Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// Not where a test turns it by hand.
    writer: OnceLock<Arc<Mutex<Writer>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The writer, for the only one who waits.
#[derive(Debug)]
pub struct Turn<'a>(MutexGuard<'a, Writer>);

impl Turn<'_> {
    /// Writes what waits, and tells of it. Takes as long as the disk.
    pub fn write(mut self) {
        self.0.turn_for_one();
    }
}

/// What a journal is opened with.
pub struct Opening {
    /// Who opens it, for those who find it locked.
    pub node: String,
    pub locking: Locking,
    /// What was read of the store before it is ours.
    pub followed: Option<Follower>,
    /// How often to look that the store is still ours and to show that its owner works; `None` for one that
    /// nobody else wants.
    pub beat: Option<Duration>,
    pub clock: Arc<dyn Clock>,
    /// Called once, by a thread of the journal, when it fails. It has ended then.
    pub on_failure: Box<dyn Fn(&StoreError) + Send + Sync>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Opening {
    /// Alone on the store, at a time that stands still; a failure fails the test.
    pub fn of_test() -> Self {
        Self {
            node: "test".to_owned(),
            locking: Locking::Take,
            followed: None,
            beat: None,
            clock: Arc::new(crate::base::ManualClock::at(1)),
            on_failure: Box::new(|error| panic!("{error}")),
        }
    }
}

/// The parts of a journal whose threads are to be run, or which a test turns by hand.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) writer: Writer,
    pub(super) keeper: Keeper,
    pub(super) reader: Reader,
}

impl Journal {
    /// Opens or creates the store in `directory`: takes its lock, claims the next epoch, reads what is
    /// there.
    ///
    /// # Errors
    /// When another process has the lock, the directory holds the store of another broker, or the disk
    /// fails.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: &JournalOptions,
        opening: Opening,
    ) -> Result<(Self, Recovered), StoreError> {
        let beat = opening.beat;
        let (journal, recovered, hands) = Self::open_by_hand(disk, directory, options, opening)?;
        let Hands { writer, keeper, reader } = hands;
        let shared = Arc::clone(&journal.handle.shared);
        let writer = Arc::clone(journal.handle.writer.get_or_init(|| Arc::new(Mutex::new(writer))));
        journal.spawn("journal-writer", move || writer::run(&writer, &shared))?;
        journal.spawn("journal-keeper", move || keeper.run())?;
        journal.spawn("journal-reader", move || reader.run())?;
        if let Some(period) = beat {
            let shared = Arc::clone(&journal.handle.shared);
            journal.spawn("journal-heart", move || heart::run(&shared, period))?;
        }
        Ok((journal, recovered))
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = spawned.map_err(StoreError::io("start a thread for", self.directory()))?;
        self.handle.threads.lock().push(thread);
        Ok(())
    }

    /// Opens it without threads.
    pub(super) fn open_by_hand(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: &JournalOptions,
        opening: Opening,
    ) -> Result<(Self, Recovered, Hands), StoreError> {
        let Opening { node, locking, followed, beat, clock, on_failure } = opening;
        refuse_kahadb(&*disk, directory)?;
        create_directories(&*disk, directory)?;
        let started = Instant::now();
        let lock = options.lock.path(directory);
        let claimant = Claimant { node: &node, now_ms: clock.now_ms(), lock: &lock, locking };
        let early = if planted!(disk, ReadBeforeClaim) {
            let epochs = Epochs::open(&*disk, directory)?;
            Some(recover_warm(&*disk, directory, &epochs, Warm::default())?)
        } else {
            None
        };
        let ownership = Ownership::claim(&*disk, directory, claimant)?;
        if options.purge_store_on_startup {
            remove_segments(&*disk, directory, &ownership)?;
        }
        let followed = followed.map_or_else(Warm::default, Follower::into_warm);
        let found = match early {
            Some(found) => found,
            None => recover_warm(&*disk, directory, ownership.epochs(), followed)?,
        };
        let mut replay = found.replay;
        let tracked =
            (options.max_failover_producers_to_track, options.failover_producers_audit_depth);
        let audit = found.audit.map_or_else(
            || Audit::new(tracked.0, tracked.1),
            |audit| audit.bounded(tracked.0, tracked.1),
        );
        let batch_bytes =
            usize::try_from(options.journal_max_write_batch_size).unwrap_or(usize::MAX);
        let mut front = Front::new(&replay, audit.clone(), batch_bytes);
        let (mut recovered, orphans) = recovered(&mut replay, &mut front);
        recovered.damage = found.damage;
        let damaged = recovered.damage.iter().filter(|damage| damage.is_loss()).count();
        recovered.followed = found.followed;
        let messages: usize = recovered.owners.iter().map(|owner| owner.messages.len()).sum();
        info!(
            "the store {} has {messages} messages in {} segments, {} damaged places; epoch {}, {} {} ms",
            directory.display(),
            found.segments.len(),
            damaged,
            ownership.epoch,
            if found.followed { "followed, and taken over in" } else { "read in" },
            started.elapsed().as_millis()
        );
        let segment_bytes =
            options.journal_max_file_length.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let shared = Arc::new(Shared::new(Parts {
            disk,
            directory: directory.to_owned(),
            settings: Settings {
                segment_bytes: u32::try_from(segment_bytes).unwrap_or(u32::MAX),
                sync: options.sync,
                sync_interval: options.journal_disk_sync_interval,
                beat,
            },
            ownership,
            front,
            segments: found.segments,
            next_owner: replay.counters.next_owner,
            number: found.number,
            on_failure,
        }));
        let mut keeper = Keeper::new(Arc::clone(&shared), found.leftovers);
        let mut writer = Writer::new(Arc::clone(&shared), found.seals, audit, replay.counters);
        keeper.prepare_first()?;
        let first = shared.room.lock().next.take();
        if let Some(first) = first {
            writer.begin_first(first)?;
        }
        shared.wake_keeper();
        let mut reader = Reader::new(Arc::clone(&shared));
        // Without damage, these are messages of owners that were gone when they came.
        if damaged > 0 {
            for orphan in orphans {
                let adopted = adopt(&shared, &mut reader, &recovered, orphan);
                recovered.owners.extend(adopted);
            }
            recovered.owners.sort_by_key(|owner| owner.id);
        }
        let handle = Handle { shared, writer: OnceLock::new(), threads: Mutex::default() };
        let journal = Self { handle: Arc::new(handle) };
        Ok((journal, recovered, Hands { writer, keeper, reader }))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// A new owner's name; never used before in this store.
    pub fn next_owner(&self) -> OwnerId {
        OwnerId(self.shared().next_owner.fetch_add(1, Ordering::Relaxed))
    }

    /// Who is to be told of an owner's messages.
    pub fn register(&self, id: OwnerId, owner: Weak<dyn Owner>) {
        #[cfg(test)]
        if let (Some(show), Some(owner)) = (&*self.shared().on_register.lock(), owner.upgrade()) {
            show(id, &*owner);
        }
        self.shared().registry.lock().insert(id, owner);
        self.shared().may_clean_again();
    }

    /// Has each owner shown at the moment from which the journal may ask it.
    #[cfg(test)]
    pub(crate) fn on_register(&self, show: impl Fn(OwnerId, &dyn Owner) + Send + 'static) {
        *self.shared().on_register.lock() = Some(Box::new(show));
    }

    /// Appends changes. Takes no time and cannot fail: they go to a buffer, and the thread is woken, at
    /// the latest when somebody waits. A group without entries is durable when all that was appended
    /// before is.
    pub fn append(&self, group: Group) -> Ticket {
        let shared = self.shared();
        let mut group = group;
        if planted!(shared.disk, ForgetFirings) {
            group.entries.retain(|entry| !matches!(entry, Entry::Fired { .. }));
        }
        for entry in &group.entries {
            if let Entry::OwnerGone { id, .. } = entry {
                shared.registry.lock().remove(id);
            }
        }
        let mut front = shared.front.lock();
        if shared.phase() != Phase::Running {
            // Nobody is told of what comes after the end.
            return Ticket::never();
        }
        let wanted = group.wanted;
        let wake = front.is_empty() && !wanted;
        let ticket = if planted!(shared.disk, SplitGroups) {
            front.push_split(group)
        } else {
            front.push(group)
        };
        shared.unwritten.store(front.bytes, Ordering::Relaxed);
        drop(front);
        if wake {
            shared.work.notify_one();
        }
        if wanted { ticket.unasked(&self.handle.shared) } else { ticket }
    }

    /// The writer, if a single one waits for what was appended, nobody has asked for it yet, and nobody
    /// could share its sync: then it need not wait for another thread. Who takes it must have no lock that
    /// owners take.
    pub fn may_write(&self) -> Option<Turn<'_>> {
        let shared = self.shared();
        if shared.settings.sync != SyncStrategy::Always || !shared.front.lock().is_for_one() {
            return None;
        }
        let writer = self.handle.writer.get()?.try_lock()?;
        writer.is_for_one().then_some(Turn(writer))
    }

    /// Has the bodies read, in order, by the reader thread, which calls [`Owner::fetched`].
    pub fn fetch(&self, owner: Weak<dyn Owner>, wanted: Vec<(Key, Location)>) {
        self.shared().wishes.lock().push_back(Wish { owner: Some(owner), wanted });
        self.shared().wished.notify_one();
    }

    /// Whether a message with this producer sequence was stored before. When it was, it is durable no
    /// later than what is appended now.
    pub fn is_duplicate(&self, message: &Message) -> bool {
        self.shared().front.lock().audit.knows(message)
    }

    /// Whether producers may add now.
    pub fn pressure(&self) -> Pressure {
        self.shared().pressure()
    }

    /// Wakes when the pressure may have changed.
    pub fn changed(&self) -> &Notify {
        &self.shared().changed
    }

    /// Bytes that were written to the journal's files, needed or not, without what is allocated ahead.
    pub fn written_bytes(&self) -> u64 {
        self.shared().written_bytes()
    }

    /// Bytes of the journal's files.
    pub fn used_bytes(&self) -> u64 {
        self.shared().used_bytes()
    }

    /// Bytes of the journal that somebody needs.
    pub fn live_bytes(&self) -> u64 {
        self.shared().front.lock().live.total()
    }

    pub fn directory(&self) -> &Path {
        &self.shared().directory
    }

    /// Counts the owners of the store.
    pub fn epoch(&self) -> u64 {
        self.shared().ownership.epoch
    }

    /// Looks whether the store is still ours, for those who do something without a ticket, unless that was
    /// seen not long ago. If it is not, the journal fails.
    pub fn check_owner(&self) -> bool {
        let checked = self.shared().check_owner_now_and_then();
        checked.map_err(|error| self.shared().fail(error)).is_ok()
    }

    /// What its threads ask of the disk, for a watchdog.
    pub fn activities(&self) -> [&Activity; 4] {
        self.shared().activities.each()
    }

    /// What ended the journal, if it has failed.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared().failure()
    }

    /// Writes what waits, ends the threads and releases the lock.
    pub fn close(&self) {
        self.shared().enter(Phase::Closing);
        self.handle.join();
        self.shared().ownership.release();
    }
}

impl Handle {
    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // The last handle may have been dropped by a thread of the journal itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                error!("a thread of the store has panicked");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.enter(Phase::Ended);
        self.join();
    }
}

/// Deletes all that the store in `directory` holds (`deleteAllMessagesOnStartup`), and keeps who owned
/// it.
///
/// # Errors
/// When another process has the lock, or the disk fails.
pub fn purge(
    disk: &dyn Disk,
    directory: &Path,
    node: &str,
    clock: &dyn Clock,
) -> Result<(), StoreError> {
    refuse_kahadb(disk, directory)?;
    create_directories(disk, directory)?;
    let lock = LockOptions::default().path(directory);
    let claimant = Claimant { node, now_ms: clock.now_ms(), lock: &lock, locking: Locking::Take };
    let ownership = Ownership::claim(disk, directory, claimant)?;
    remove_segments(disk, directory, &ownership)
}

fn create_directories(disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
    for path in [directory, &directory.join(JOURNAL)] {
        disk.create_directory(path).map_err(StoreError::io("create", path))?;
    }
    Ok(())
}

/// Removes all segments, the oldest first, so that a stop in between leaves nothing that was removed.
fn remove_segments(
    disk: &dyn Disk,
    directory: &Path,
    ownership: &Ownership,
) -> Result<(), StoreError> {
    let journal = directory.join(JOURNAL);
    let names = disk.list(&journal).map_err(StoreError::io("list", &journal))?;
    let mut named: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let segment = ["log", "idx"].iter().find_map(|kind| SegmentName::parse(name, kind))?;
            Some((segment, name))
        })
        .collect();
    named.sort();
    for (_, name) in named {
        ownership.check()?;
        let path = journal.join(name);
        disk.remove(&path).map_err(StoreError::io("remove", &path))?;
        disk.sync_directory(&journal).map_err(StoreError::io("sync", &journal))?;
    }
    Ok(())
}

/// A directory of the Java broker is left as it is.
///
/// # Errors
/// When it is one.
pub fn refuse_kahadb(disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
    let Ok(names) = disk.list(directory) else { return Ok(()) };
    let of_java =
        |name: &String| name == "db.data" || name.starts_with("db-") && name.ends_with(".log");
    match names.into_iter().find(of_java) {
        Some(file) => Err(StoreError::KahaDb { directory: directory.to_owned(), file }),
        None => Ok(()),
    }
}

/// Messages whose owner's record is not there.
struct Orphans {
    id: OwnerId,
    sequence: u64,
    witness: u32,
    messages: BTreeMap<Key, Stored>,
}

/// Takes out of the replay what is told to the broker, and counts it as live.
fn recovered(replay: &mut Replay, front: &mut Front) -> (Recovered, Vec<Orphans>) {
    let mut owners = Vec::with_capacity(replay.owners.len());
    let mut orphans = Vec::new();
    for (id, mut owner) in std::mem::take(&mut replay.owners) {
        replay.counters.next_owner = replay.counters.next_owner.max(id.0.saturating_add(1));
        let messages = owner.take_messages();
        let (sequence, witness) = (owner.sequence, owner.witness);
        let Some((record, _)) = owner.record else {
            if !messages.is_empty() {
                orphans.push(Orphans { id, sequence, witness, messages });
            }
            continue;
        };
        owners.push(RecoveredOwner { id, record, messages, sequence });
    }
    owners.sort_by_key(|owner| owner.id);
    orphans.sort_by_key(|orphan| orphan.id);
    drop_replaced(&mut owners, front);
    owners.iter().for_each(|owner| count_live(front, owner));
    let mut branches: Vec<_> = std::mem::take(&mut replay.branches).into_values().collect();
    branches.sort_by_key(|(order, ..)| *order);
    let branches = branches.into_iter().map(|(_, branch, _)| branch).collect();
    let broker_sequence = replay.counters.broker_sequence;
    let (damage, followed) = (Vec::new(), false);
    (Recovered { owners, branches, broker_sequence, damage, followed }, orphans)
}

/// Of two owners that are the same, the older one was gone before the newer one came: that it was is
/// lost by damage.
fn drop_replaced(owners: &mut Vec<RecoveredOwner>, front: &mut Front) {
    let mut replaced: Vec<String> = Vec::new();
    let mut kept = Vec::with_capacity(owners.len());
    let mut seen = HashSet::new();
    for owner in std::mem::take(owners).into_iter().rev() {
        if seen.insert(identity(&owner.record)) {
            kept.push(owner);
            continue;
        }
        replaced.push(format!("{:?}", owner.id));
        let entries = vec![Entry::OwnerGone { id: owner.id, bytes: 0 }];
        let _ticket = front.push(Group { entries, wanted: false });
    }
    kept.reverse();
    *owners = kept;
    if !replaced.is_empty() {
        warn!("owners that were there twice, as it was damaged that they are gone: {replaced:?}");
    }
}

/// What no two owners that are there at the same time share.
fn identity(record: &OwnerRecord) -> (Option<Destination>, Option<(String, String)>) {
    match record {
        OwnerRecord::Scheduler { .. } => (None, None),
        OwnerRecord::Destination(destination) => (Some(destination.clone()), None),
        OwnerRecord::Durable { client_id, name, .. } => {
            (None, Some((client_id.clone(), name.clone())))
        }
    }
}

fn count_live(front: &mut Front, owner: &RecoveredOwner) {
    let (mut segment, mut bytes) = (0, 0);
    let id = owner.id;
    let is_scheduler = matches!(owner.record, OwnerRecord::Scheduler { .. });
    for (key, stored) in &owner.messages {
        if stored.at.segment != segment {
            front.live.add(segment, bytes);
            (segment, bytes) = (stored.at.segment, 0);
        }
        bytes += u64::from(stored.at.bytes);
        if stored.redeliveries > 0 {
            front.redeliveries.insert((id, *key), stored.redeliveries);
            if is_scheduler {
                front.due.insert((id, *key), stored.expiration);
            }
        }
    }
    front.live.add(segment, bytes);
}

/// Gives messages whose owner's record was damaged back to the queue that they were sent to; or to one
/// beside it, if that queue is there.
fn adopt(
    shared: &Shared,
    reader: &mut Reader,
    recovered: &Recovered,
    orphans: Orphans,
) -> Option<RecoveredOwner> {
    let Orphans { id, sequence, witness, messages } = orphans;
    let count = messages.len();
    let destination = messages.values().find_map(|stored| match reader.read(stored.at) {
        Ok(Fetched::Message(message)) => message.destination.clone(),
        Ok(Fetched::Moved | Fetched::Damaged(_)) | Err(_) => None,
    });
    let queue = destination.filter(|destination| destination.is_queue());
    let record = queue.map(|queue| OwnerRecord::Destination(Arc::unwrap_or_clone(queue)));
    let is_taken = |record: &OwnerRecord| {
        recovered.owners.iter().any(|owner| identity(&owner.record) == identity(record))
    };
    let record = record.map(|record| match &record {
        OwnerRecord::Destination(queue) if is_taken(&record) => {
            let name = format!("{}.RECOVERED.{}", queue.name(), id.0);
            OwnerRecord::Destination(Destination::queue(&name))
        }
        OwnerRecord::Destination(_)
        | OwnerRecord::Durable { .. }
        | OwnerRecord::Scheduler { .. } => record,
    });
    let Some(record) = record else {
        error!("{count} messages are lost, as it was damaged who holds them ({id:?})");
        return None;
    };
    warn!("it was damaged who holds {count} messages: taken to be {record:?}");
    let owner = RecoveredOwner { id, record, messages, sequence };
    let mut front = shared.front.lock();
    count_live(&mut front, &owner);
    front.owners.insert(id, OwnerState { sequence, witness, ..OwnerState::default() });
    front.begin();
    front.push_owner(id, owner.record.clone());
    Some(owner)
}
