//! R8: the journal itself, with a lock that is worth nothing: a second owner comes before any operation
//! that the first one asks of the disk, and both go on.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::hand::{Holder, Opened, opening, options};
use super::state::{message, queue};
use super::{scaled, seed};
use crate::store::disk::model::ModelDisk;
use crate::store::disk::{Disk, File, Lock};
use crate::store::{
    Add, Entry, Group, Key, Location, Locking, Opening, OwnerId, StoreError, Ticket,
};

/// Messages that one owner sends.
const MESSAGES: u64 = 30;

/// A disk whose user is stopped before one operation, until it may go on. Over a network, what the user
/// has written and not synced is seen by nobody else.
#[derive(Debug, Clone)]
struct GatedDisk {
    disk: ModelDisk,
    gate: Arc<Gate>,
    unsynced: Unsynced,
}

/// Writes by file.
type Unsynced = Arc<Mutex<HashMap<PathBuf, Vec<(u64, Vec<u8>)>>>>;

#[derive(Debug)]
struct Gate {
    operations: Arc<AtomicU64>,
    /// Before which operation.
    at: u64,
    reached: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    path: PathBuf,
    gate: Arc<Gate>,
    unsynced: Unsynced,
}

impl GatedDisk {
    fn gated(&self, file: Arc<dyn File>, path: &Path) -> Arc<dyn File> {
        let (gate, unsynced) = (Arc::clone(&self.gate), Arc::clone(&self.unsynced));
        Arc::new(GatedFile { file, path: path.to_owned(), gate, unsynced })
    }
}

impl GatedFile {
    /// Shows others what was written.
    fn flush(&self) -> io::Result<()> {
        let written = self.unsynced.lock().remove(&self.path).unwrap_or_default();
        written.iter().try_for_each(|(offset, bytes)| self.file.write_at(bytes, *offset))
    }
}

impl Gate {
    fn pass(&self) {
        if self.operations.fetch_add(1, Ordering::SeqCst) == self.at {
            self.reached.send(()).unwrap();
            // Without anybody who says so there is no reason to wait either.
            self.go_on.lock().recv().unwrap_or_default();
        }
    }
}

impl Disk for GatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.gate.pass();
        self.disk.create_directory(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.gate.pass();
        Ok(self.gated(self.disk.create(path)?, path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.gate.pass();
        Ok(self.gated(self.disk.open(path)?, path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.gate.pass();
        self.disk.list(directory)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.pass();
        self.disk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.gate.pass();
        self.disk.sync_directory(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }

    fn open_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.open_lock(path)
    }

    fn await_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.disk.await_lock(path)
    }

    #[cfg(feature = "planted-bugs")]
    fn bug(&self) -> Option<crate::store::Bug> {
        self.disk.bug()
    }
}

impl File for GatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass();
        let mut read = self.file.read_at(buffer, offset)?;
        for (start, bytes) in self.unsynced.lock().get(&self.path).into_iter().flatten() {
            for (at, byte) in (*start..).zip(bytes) {
                let place = at.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
                if let Some(place) = place.filter(|place| *place < buffer.len()) {
                    buffer[place] = *byte;
                    read = read.max(place + 1);
                }
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass();
        let mut unsynced = self.unsynced.lock();
        unsynced.entry(self.path.clone()).or_default().push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.flush()?;
        self.file.sync()
    }

    fn settle(&self) -> io::Result<()> {
        self.gate.pass();
        self.flush()?;
        self.file.settle()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.gate.pass();
        self.file.allocate(length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.gate.pass();
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.gate.pass();
        self.file.length()
    }
}

/// What one owner was told.
#[derive(Debug, Default)]
struct Told {
    /// Messages that are stored, and those of them that are removed, or may be.
    stored: Vec<Key>,
    removed: Vec<Key>,
    perhaps_removed: Vec<Key>,
    failure: Option<StoreError>,
}

/// Opens the store without a lock, sends, acknowledges and cleans, as long as it is the owner.
fn live(disk: Arc<dyn Disk>, node: u64) -> Told {
    let mut told = Told::default();
    let failures = Arc::default();
    let opening = Opening { locking: Locking::Without, ..opening(&failures) };
    let mut opened = match Opened::on(disk, &options(), opening) {
        Ok(opened) => opened,
        Err(failure) => {
            told.failure = Some(failure);
            return told;
        }
    };
    let holder = Arc::new(Holder::default());
    let known = opened.recovered.owners.first();
    let id = known.map_or_else(|| opened.journal.next_owner(), |owner| owner.id);
    for owner in &opened.recovered.owners {
        let places = owner.messages.iter().map(|(key, stored)| (*key, stored.at));
        holder.messages.lock().extend(places);
    }
    opened.journal.register(id, holder.weak());
    let mut tickets: Vec<(Ticket, Key, Option<Key>)> = Vec::new();
    for number in 1..=MESSAGES {
        let mut entries = Vec::new();
        if number == 1 && opened.recovered.owners.is_empty() {
            entries.push(Entry::Owner { id, record: queue(id.0) });
        }
        let key = Key::new(0, node * 1000 + number);
        holder.messages.lock().insert(key, Location::NONE);
        let message = message((node * 1000 + number) as i64);
        entries.push(Entry::Add(Add {
            owners: vec![(id, key)],
            message,
            redeliveries: 0,
            due_ms: None,
        }));
        let removed = remove_one(&holder, id, number, &mut entries);
        let ticket = opened.journal.append(Group { entries, wanted: true });
        told.perhaps_removed.extend(removed);
        tickets.push((ticket, key, removed));
        opened.write(true);
        opened.keep();
    }
    for (ticket, key, removed) in tickets {
        if ticket.is_durable() {
            told.stored.push(key);
            told.removed.extend(removed);
        }
    }
    told.failure = opened.journal.failure();
    told
}

/// Acknowledges an old message with most of the new ones, so that segments can go.
fn remove_one(
    holder: &Holder,
    owner: OwnerId,
    number: u64,
    entries: &mut Vec<Entry>,
) -> Option<Key> {
    let mut messages = holder.messages.lock();
    let oldest = messages.iter().find(|(_, at)| !at.is_none()).map(|(key, at)| (*key, *at));
    let (key, at) = oldest.filter(|_| number > 4 && !number.is_multiple_of(5))?;
    messages.remove(&key);
    entries.push(Entry::Remove { owner, keys: vec![(key, at)] });
    Some(key)
}

/// One owner on a disk with a gate, in a thread of its own.
struct Gated {
    owner: JoinHandle<Told>,
    reached: Receiver<()>,
    go_on: SyncSender<()>,
    operations: Arc<AtomicU64>,
}

impl Gated {
    fn start(disk: &ModelDisk, node: u64, at: u64) -> Self {
        let (reached, is_reached) = sync_channel(1);
        let (go_on, goes_on) = sync_channel(1);
        let operations = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&operations);
        let gate = Gate { operations: counted, at, reached, go_on: Mutex::new(goes_on) };
        let unsynced = Arc::default();
        let gated = GatedDisk { disk: disk.clone(), gate: Arc::new(gate), unsynced };
        // Bugs are planted for a thread.
        #[cfg(feature = "planted-bugs")]
        let bug = disk.bug();
        let owner = thread::spawn(move || {
            #[cfg(feature = "planted-bugs")]
            ModelDisk::plant(bug);
            live(Arc::new(gated), node)
        });
        Self { owner, reached: is_reached, go_on, operations }
    }

    /// Returns when it stands at its gate, or has ended without coming there.
    fn stop(&self) {
        // The gate goes with the owner.
        self.reached.recv().unwrap_or_default();
    }

    fn go_on(self) -> Told {
        drop(self.go_on);
        self.owner.join().unwrap()
    }
}

/// Everything that was confirmed is there for the next owner, and nothing that is gone.
fn check(disk: &ModelDisk, told: &[&Told]) -> Result<(), String> {
    let opening = Opening { locking: Locking::Without, ..opening(&Arc::default()) };
    let opened = Opened::on(Arc::new(disk.clone()), &options(), opening);
    let opened = opened.map_err(|failure| failure.to_string())?;
    let owners = opened.recovered.owners.iter();
    let there: Vec<Key> = owners.flat_map(|owner| owner.messages.keys().copied()).collect();
    let mut gone = told.iter().flat_map(|told| &told.perhaps_removed).collect::<Vec<_>>();
    gone.sort();
    for told in told {
        for key in told.stored.iter().filter(|key| gone.binary_search(key).is_err()) {
            if !there.contains(key) {
                return Err(format!("{key:?} was confirmed and is lost: {told:?}"));
            }
        }
        if let Some(key) = told.removed.iter().find(|key| there.contains(key)) {
            return Err(format!("{key:?} was removed and is back: {told:?}"));
        }
        if let Some(failure) = told.failure.as_ref().filter(|failure| !failure.is_loss()) {
            return Err(format!("an owner failed otherwise: {failure}"));
        }
    }
    Ok(())
}

/// How many operations an owner asks for that is alone.
fn operations() -> u64 {
    let gated = Gated::start(&ModelDisk::default(), 1, u64::MAX);
    let operations = Arc::clone(&gated.operations);
    let told = gated.go_on();
    assert_eq!((told.stored.len() as u64, told.failure.is_none()), (MESSAGES, true), "{told:?}");
    operations.load(Ordering::SeqCst)
}

/// The second owner comes before one operation of the first; and is itself stopped before one, while the
/// first goes on, if that is said.
fn contest(disk: &ModelDisk, first_at: u64, second_at: Option<u64>) -> Result<(), String> {
    let first = Gated::start(disk, 1, first_at);
    first.stop();
    let second = Gated::start(disk, 2, second_at.unwrap_or(u64::MAX));
    let (first, second) = if second_at.is_some() {
        second.stop();
        (first.go_on(), second.go_on())
    } else {
        let second = second.go_on();
        (first.go_on(), second)
    };
    let third = live(Arc::new(disk.clone()), 3);
    check(disk, &[&first, &second, &third])
        .map_err(|why| format!("at {first_at} and {second_at:?}: {why}"))
}

#[test]
fn a_second_owner_before_any_operation_of_the_first_loses_nothing() {
    let operations = operations();
    println!("{operations} moments");
    for at in 0..operations {
        contest(&ModelDisk::default(), at, None).unwrap();
    }
}

#[test]
fn a_claimant_that_comes_too_late_ends_nothing_of_its_successor() {
    let operations = operations();
    // From its slot in `EPOCH` to its first segment, which says where all before it ends.
    for first in 13..19 {
        for second in (20..operations).step_by(5) {
            contest(&ModelDisk::default(), first, Some(second)).unwrap();
        }
    }
}

#[test]
fn two_owners_that_stop_each_other_anywhere_lose_nothing() {
    let operations = operations();
    let mut dice = fastrand::Rng::with_seed(seed());
    for _ in 0..scaled(400) {
        let (first, second) = (dice.u64(..operations), dice.u64(..operations));
        contest(&ModelDisk::default(), first, Some(second)).unwrap();
    }
}

/// A second owner before each operation, and what a single stop does not show.
#[cfg(feature = "planted-bugs")]
pub(super) fn contest_each() -> Result<(), String> {
    let operations = operations();
    (0..operations).try_for_each(|at| contest(&ModelDisk::default(), at, None))?;
    let mut dice = fastrand::Rng::with_seed(seed());
    (0..400).try_for_each(|_| {
        let (first, second) = (dice.u64(..operations), dice.u64(..operations));
        contest(&ModelDisk::default(), first, Some(second))
    })
}
