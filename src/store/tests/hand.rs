//! A journal whose steps a test turns by hand, in one thread.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::state::{Held, Kept, Prepared, State, message, number_of};
use crate::store::disk::Disk;
use crate::store::disk::model::ModelDisk;
use crate::store::journal::Hands;
use crate::store::options::JournalOptions;
use crate::store::shared::Phase;
use crate::store::writer::Turn;
use crate::store::{
    Entry, Fetched, Group, Journal, Key, Location, Opening, Owner, OwnerId, OwnerRecord, Recovered,
    StoreError,
};

/// Where the store of every test lies.
pub(super) fn directory() -> &'static Path {
    Path::new("/data/store")
}

/// Small segments and small batches, so that there are many.
pub(super) fn options() -> JournalOptions {
    JournalOptions {
        journal_max_file_length: 4 << 10,
        journal_max_write_batch_size: 1 << 10,
        ..JournalOptions::default()
    }
}

/// Counts how often the journal says that it has failed.
pub(super) fn opening(failures: &Arc<AtomicU64>) -> Opening {
    let failures = Arc::clone(failures);
    Opening {
        on_failure: Box::new(move |_| {
            failures.fetch_add(1, Ordering::Relaxed);
        }),
        ..Opening::of_test()
    }
}

/// Who holds messages.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) messages: Mutex<BTreeMap<Key, Location>>,
    /// What it was told first of each message, in that order.
    pub(super) stored: Mutex<Vec<Key>>,
    fetched: Mutex<Vec<(Key, Fetched)>>,
    pub(super) leaving: Mutex<Option<Leaving>>,
}

/// A message that leaves when the journal has asked for it so many times.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) journal: Journal,
    pub(super) id: OwnerId,
    pub(super) key: Key,
    pub(super) times: u32,
}

impl Owner for Holder {
    fn placed(&self, placed: &[(Key, Location)]) -> u64 {
        let mut messages = self.messages.lock();
        let mut dead = 0;
        for (key, at) in placed {
            match messages.get_mut(key) {
                Some(old) => {
                    if old.is_none() {
                        self.stored.lock().push(*key);
                    }
                    dead += u64::from(std::mem::replace(old, *at).bytes);
                }
                None => dead += u64::from(at.bytes),
            }
        }
        dead
    }

    fn holds(&self, key: Key, at: Location) -> bool {
        let holds = self.messages.lock().get(&key) == Some(&at);
        let mut leaving = self.leaving.lock();
        if let Some(left) = leaving.as_mut().filter(|left| holds && left.key == key) {
            left.times -= 1;
        }
        if let Some(Leaving { journal, id, key, .. }) = leaving.take_if(|left| left.times == 0) {
            self.messages.lock().remove(&key);
            let entries = vec![Entry::Remove { owner: id, keys: vec![(key, at)] }];
            drop(journal.append(Group { entries, wanted: true }));
        }
        holds
    }

    fn fetched(&self, fetched: Vec<(Key, Fetched)>) {
        self.fetched.lock().extend(fetched);
    }
}

impl Holder {
    pub(super) fn weak(self: &Arc<Self>) -> Weak<dyn Owner> {
        Arc::downgrade(self) as Weak<dyn Owner>
    }
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) recovered: Recovered,
    pub(super) hands: Hands,
}

impl Opened {
    pub(super) fn new(disk: &ModelDisk, options: &JournalOptions) -> Result<Self, StoreError> {
        Self::told_to(disk, options, &Arc::default())
    }

    /// Counts how often it is told of a failure.
    pub(super) fn told_to(
        disk: &ModelDisk,
        options: &JournalOptions,
        failures: &Arc<AtomicU64>,
    ) -> Result<Self, StoreError> {
        Self::with(disk, options, opening(failures))
    }

    pub(super) fn with(
        disk: &ModelDisk,
        options: &JournalOptions,
        opening: Opening,
    ) -> Result<Self, StoreError> {
        Self::on(Arc::new(disk.clone()), options, opening)
    }

    pub(super) fn on(
        disk: Arc<dyn Disk>,
        options: &JournalOptions,
        opening: Opening,
    ) -> Result<Self, StoreError> {
        let (journal, recovered, hands) =
            Journal::open_by_hand(disk, directory(), options, opening)?;
        Ok(Self { journal, recovered, hands })
    }

    pub(super) fn is_running(&self) -> bool {
        self.journal.shared().phase() == Phase::Running
    }

    /// Has the writer do what it has to, and the keeper, too, when it waits for that.
    pub(super) fn write(&mut self, sync: bool) -> Turn {
        for _ in 0..3 {
            if self.journal.shared().phase() == Phase::Ended {
                return Turn::Done;
            }
            match self.hands.writer.turn(sync) {
                Ok(Turn::Done) => return Turn::Done,
                Ok(Turn::NoRoom) => self.keep(),
                Err(error) => self.journal.shared().fail(error),
            }
        }
        Turn::NoRoom
    }

    /// Has the keeper do a part of what it has to.
    pub(super) fn keep(&mut self) {
        if self.journal.shared().phase() == Phase::Ended {
            return;
        }
        if let Err(error) = self.hands.keeper.turn() {
            self.journal.shared().fail(error);
        }
    }

    /// As the threads do.
    pub(super) fn close(mut self) {
        self.journal.shared().enter(Phase::Closing);
        if self.write(true) == Turn::NoRoom {
            // What waits is lost, and was not confirmed.
            self.journal.shared().enter(Phase::Ended);
        }
        if self.journal.shared().phase() != Phase::Ended
            && let Err(error) = self.hands.writer.finish()
        {
            self.journal.shared().fail(error);
        }
        self.journal.close();
    }

    /// Reads a body back.
    pub(super) fn fetch(&mut self, key: Key, at: Location) -> Fetched {
        let (_, fetched) = self.fetch_all(vec![(key, at)]).pop().unwrap();
        fetched
    }

    /// Reads bodies back as one page.
    pub(super) fn fetch_all(&mut self, wanted: Vec<(Key, Location)>) -> Vec<(Key, Fetched)> {
        let holder = Arc::new(Holder::default());
        self.journal.fetch(holder.weak(), wanted);
        while self.hands.reader.turn() {}
        let mut fetched = holder.fetched.lock();
        std::mem::take(&mut *fetched)
    }

    /// What was recovered, with all bodies looked at.
    pub(super) fn state(&mut self, disk: &ModelDisk, bodies: &mut Bodies) -> Result<State, String> {
        let mut state = State::default();
        for index in 0..self.recovered.owners.len() {
            let owner = &self.recovered.owners[index];
            let (id, record) = (owner.id, owner.record.clone());
            let stored: Vec<_> = owner.messages.iter().map(|(key, it)| (*key, *it)).collect();
            let mut messages = BTreeMap::new();
            for (key, stored) in stored {
                let number = bodies.number(self, disk, id, key, stored.at)?;
                let expected = message(number).expiration;
                let is_scheduled = matches!(record, OwnerRecord::Scheduler { .. });
                if stored.expiration != expected && !is_scheduled {
                    return Err(format!("#{number} expires at {}", stored.expiration));
                }
                messages.insert(key, Kept { number, redeliveries: stored.redeliveries });
            }
            state.owners.insert(id, Held { record, messages });
        }
        for branch in &self.recovered.branches {
            let altered = branch.sends.iter().any(|sent| **sent != *message(number_of(sent)));
            if altered {
                return Err(format!("a message of branch {:?} is altered", branch.xid));
            }
            state.branches.push(Prepared::from(branch));
        }
        state.branches.sort_by_key(|branch| branch.xid);
        Ok(state)
    }
}

/// What was read at a place is remembered: places are never used twice, so the same bytes there are the
/// same message.
#[derive(Debug, Default)]
pub(super) struct Bodies(HashMap<Location, (i64, Vec<u8>)>);

impl Bodies {
    fn number(
        &mut self,
        opened: &mut Opened,
        disk: &ModelDisk,
        owner: OwnerId,
        key: Key,
        at: Location,
    ) -> Result<i64, String> {
        let record = record_at(opened, disk, at).unwrap_or_default();
        if let Some((number, known)) = self.0.get(&at)
            && *known == record
        {
            return Ok(*number);
        }
        match opened.fetch(key, at) {
            Fetched::Message(read) => {
                let number = number_of(&read);
                if *read != *message(number) {
                    return Err(format!("#{number} of {owner:?} at {at:?} is altered"));
                }
                self.0.insert(at, (number, record));
                Ok(number)
            }
            other @ (Fetched::Moved | Fetched::Damaged(_)) => {
                Err(format!("{key:?} of {owner:?} at {at:?} cannot be read: {other:?}"))
            }
        }
    }
}

/// The bytes of a record as they stand in its file.
fn record_at(opened: &Opened, disk: &ModelDisk, at: Location) -> Option<Vec<u8>> {
    let name = opened.journal.shared().segments.lock().get(&at.segment)?.name;
    let file = disk.peek(&name.log_path(directory()))?;
    let rest = file.get(at.offset as usize..)?;
    let length = u32::from_be_bytes(*rest.first_chunk()?);
    rest.get(..length as usize).map(<[u8]>::to_vec)
}
