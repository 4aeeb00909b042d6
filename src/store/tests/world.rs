//! A store and what it is to hold: what was confirmed is in it after everything that can happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::hand::{Bodies, Holder, Leaving, Opened, opening};
use super::left::losses;
use super::state::{State, message, number_of};
use crate::store::disk::model::{Image, ModelDisk};
use crate::store::follower::Follower;
use crate::store::options::JournalOptions;
use crate::store::{Add, Entry, Group, Key, Location, Opening, OwnerId, OwnerRecord, Ticket};

/// What is to be there after the groups up to one.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    pub(super) state: State,
    /// The highest number of a message so far.
    pub(super) sent: i64,
    /// Above all numbers of owners so far.
    pub(super) owners: u64,
}

/// What a store was asked for, and what of it was confirmed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// After each group; the first is what was there when the store was opened.
    past: Vec<Arc<Past>>,
    tickets: Vec<Ticket>,
    owners: BTreeMap<OwnerId, Arc<Holder>>,
    known: Known,
}

/// What was told to owners, and so is durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The highest key sequence of each owner.
    sequences: BTreeMap<OwnerId, u64>,
    /// Numbers of messages, the last ones only.
    messages: Vec<i64>,
    /// The highest one.
    highest: i64,
}

/// What a store may hold after its end.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// One of these; the first has all that was confirmed.
    pub(super) pasts: Vec<Arc<Past>>,
    pub(super) known: Known,
}

/// How a life of a store ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Close,
    /// Nothing more is written.
    Crash,
    /// What was not synced is treated as a subset of that number says.
    PowerCut(u64),
}

impl Ledger {
    /// Takes note of what owners were told since, and says what may be found.
    pub(super) fn expected(&mut self) -> Expected {
        let past = self.past.last().cloned().unwrap_or_default();
        for (id, holder) in &self.owners {
            for key in holder.stored.lock().drain(..) {
                let sequence = self.known.sequences.entry(*id).or_default();
                *sequence = key.sequence().max(*sequence);
                let held = past.state.owners.get(id).and_then(|held| held.messages.get(&key));
                self.known.messages.extend(held.map(|kept| kept.number));
            }
        }
        let highest = self.known.messages.iter().copied().max().unwrap_or(0);
        self.known.highest = self.known.highest.max(highest);
        let old = self.known.messages.len().saturating_sub(8);
        self.known.messages.drain(..old);
        let confirmed = self.tickets.iter().take_while(|ticket| ticket.is_durable()).count();
        let pasts = self.past.get(confirmed..).unwrap_or_default().to_vec();
        Expected { pasts, known: self.known.clone() }
    }

    /// Tickets that are durable although one before is not.
    fn is_out_of_order(&self) -> bool {
        let mut open = self.tickets.iter().skip_while(|ticket| ticket.is_durable());
        open.any(Ticket::is_durable)
    }
}

impl Expected {
    fn none() -> Self {
        Self { pasts: vec![Arc::default()], known: Known::default() }
    }

    /// Which of the pasts a store holds; why it holds none of them otherwise.
    pub(super) fn check(
        &self,
        opened: &mut Opened,
        disk: &ModelDisk,
        bodies: &mut Bodies,
    ) -> Result<Arc<Past>, String> {
        let lost = losses(&opened.recovered);
        if !lost.is_empty() {
            return Err(format!("taken for damage: {lost:?}"));
        }
        let state = opened.state(disk, bodies)?;
        let mut matching = self.pasts.iter().filter(|past| past.state == state);
        let Some(first) = matching.next() else {
            let differences: Vec<_> =
                self.pasts.iter().map(|past| past.state.difference(&state)).collect();
            return Err(format!("none of what may be there:\n  {}", differences.join("\n  ")));
        };
        // What came and went leaves no trace that must be there, but may leave one.
        let sent = matching.next_back().map_or(first.sent, |last| last.sent);
        let past = Arc::new(Past { sent, ..Past::clone(first) });
        for owner in &opened.recovered.owners {
            let used = self.known.sequences.get(&owner.id).copied().unwrap_or(0);
            if owner.sequence < used {
                return Err(format!("{:?} may use {used} again: {}", owner.id, owner.sequence));
            }
        }
        let next = opened.journal.next_owner().0;
        if next < past.owners {
            return Err(format!("owner {next} may be used again"));
        }
        let highest = opened.recovered.broker_sequence;
        if highest < self.known.highest {
            return Err(format!("number {} may be used again: {highest}", self.known.highest));
        }
        let is_known = |number: &i64| opened.journal.is_duplicate(&message(*number));
        if let Some(number) = self.known.messages.iter().find(|number| !is_known(number)) {
            return Err(format!("#{number} would be stored again"));
        }
        let sent = self.pasts.last().map_or(0, |past| past.sent);
        if let Some(number) = (past.sent + 1..=sent + 1).find(is_known) {
            return Err(format!("#{number} was never stored, and would be dropped"));
        }
        Ok(past)
    }
}

/// A store that is used, with a disk that loses power.
#[derive(Debug)]
pub(super) struct World {
    pub(super) disk: ModelDisk,
    pub(super) options: JournalOptions,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) bodies: Bodies,
    opened: Option<Opened>,
    next_keys: BTreeMap<OwnerId, u64>,
    /// The last message's number.
    number: i64,
    /// How often it was told of a failure.
    pub(super) failures: Arc<AtomicU64>,
    /// Who opens the store next.
    pub(super) slave: Option<Follower>,
}

impl World {
    pub(super) fn new(disk: ModelDisk, options: JournalOptions) -> Self {
        let ledger =
            Arc::new(Mutex::new(Ledger { past: vec![Arc::default()], ..Ledger::default() }));
        Self {
            disk,
            options,
            ledger,
            bodies: Bodies::default(),
            opened: None,
            next_keys: BTreeMap::new(),
            number: 0,
            failures: Arc::default(),
            slave: None,
        }
    }

    pub(super) fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().unwrap()
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// What is to be there now.
    pub(super) fn state(&self) -> State {
        self.ledger.lock().past.last().unwrap().state.clone()
    }

    /// Opens the store, which must hold all that was confirmed. `Ok(false)`: the disk has failed.
    pub(super) fn open(&mut self) -> Result<bool, String> {
        let followed = self.slave.take();
        let opening = Opening { followed, ..opening(&self.failures) };
        let opened = Opened::with(&self.disk, &self.options, opening);
        let Ok(mut opened) = opened else { return Ok(false) };
        let expected = self.ledger.lock().expected();
        let check = || expected.check(&mut opened, &self.disk, &mut self.bodies);
        let past = self.disk.spare(check)?;
        let mut owners = BTreeMap::new();
        self.next_keys.clear();
        for owner in &opened.recovered.owners {
            let holder = Arc::new(Holder::default());
            let places = owner.messages.iter().map(|(key, stored)| (*key, stored.at));
            holder.messages.lock().extend(places);
            opened.journal.register(owner.id, holder.weak());
            owners.insert(owner.id, holder);
            self.next_keys.insert(owner.id, owner.sequence + 1);
        }
        let mut ledger = self.ledger.lock();
        let known = expected.known;
        *ledger = Ledger { past: vec![past], tickets: Vec::new(), owners, known };
        drop(ledger);
        self.opened = Some(opened);
        Ok(true)
    }

    pub(super) fn end(&mut self, end: End) {
        let Some(opened) = self.opened.take() else { return };
        match end {
            End::Close => opened.close(),
            End::Crash => drop(opened),
            End::PowerCut(subset) => {
                drop(opened);
                // Whatever is cut now must leave what was confirmed by now.
                self.disk.lose_power(subset);
            }
        }
    }

    pub(super) fn append(&mut self, entries: Vec<Entry>, wanted: bool) -> Ticket {
        let mut past = Past::clone(self.ledger.lock().past.last().unwrap());
        for entry in &entries {
            past.state.apply(entry);
            self.prepare(entry, &mut past);
        }
        let ticket = self.opened().journal.append(Group { entries, wanted });
        let mut ledger = self.ledger.lock();
        ledger.past.push(Arc::new(past));
        ledger.tickets.push(ticket.clone());
        ticket
    }

    /// What the broker would do with an owner before it appends.
    fn prepare(&self, entry: &Entry, past: &mut Past) {
        let mut ledger = self.ledger.lock();
        match entry {
            Entry::Add(add) => {
                past.sent = past.sent.max(number_of(&add.message));
                for (id, key) in &add.owners {
                    ledger.owners[id].messages.lock().insert(*key, Location::NONE);
                }
            }
            Entry::Remove { owner, keys } => {
                let mut messages = ledger.owners[owner].messages.lock();
                for (key, _) in keys {
                    messages.remove(key);
                }
            }
            Entry::Owner { id, .. } if !ledger.owners.contains_key(id) => {
                past.owners = past.owners.max(id.0 + 1);
                let holder = Arc::new(Holder::default());
                self.opened.as_ref().unwrap().journal.register(*id, holder.weak());
                ledger.owners.insert(*id, holder);
            }
            Entry::OwnerGone { id, .. } => drop(ledger.owners.remove(id)),
            Entry::Prepared(branch) => {
                let sent = branch.sends.iter().map(|message| number_of(message)).max();
                past.sent = past.sent.max(sent.unwrap_or(0));
            }
            Entry::Owner { .. }
            | Entry::Redelivered { .. }
            | Entry::Fired { .. }
            | Entry::Outcome(_) => {}
        }
    }

    /// A message for some owners.
    pub(super) fn add(&mut self, owners: &[OwnerId], redeliveries: u32) -> Entry {
        self.number += 1;
        self.add_again(self.number, owners, redeliveries)
    }

    pub(super) fn add_again(
        &mut self,
        number: i64,
        owners: &[OwnerId],
        redeliveries: u32,
    ) -> Entry {
        let owners = owners.iter().map(|id| (*id, self.next_key(*id))).collect();
        Entry::Add(Add { owners, message: message(number), redeliveries, due_ms: None })
    }

    pub(super) fn next_number(&mut self) -> i64 {
        self.number += 1;
        self.number
    }

    fn next_key(&mut self, id: OwnerId) -> Key {
        let next = self.next_keys.entry(id).or_default();
        *next += 1;
        // Two bands, so that keys do not come in their order.
        Key::new((*next % 2) as u8, *next)
    }

    pub(super) fn remove(&self, owner: OwnerId, keys: &[Key]) -> Entry {
        let ledger = self.ledger.lock();
        let messages = ledger.owners[&owner].messages.lock();
        Entry::Remove { owner, keys: keys.iter().map(|key| (*key, messages[key])).collect() }
    }

    pub(super) fn owner(&mut self, record: impl FnOnce(u64) -> OwnerRecord) -> (OwnerId, Entry) {
        let id = self.opened().journal.next_owner();
        (id, Entry::Owner { id, record: record(id.0) })
    }

    pub(super) fn owner_gone(&self, id: OwnerId) -> Entry {
        let ledger = self.ledger.lock();
        let bytes = ledger.owners[&id].messages.lock().values().map(|at| u64::from(at.bytes)).sum();
        Entry::OwnerGone { id, bytes }
    }

    /// Bytes of the journal that messages need.
    pub(super) fn live_bytes(&self) -> u64 {
        let ledger = self.ledger.lock();
        let holders = ledger.owners.values();
        holders
            .map(|holder| {
                holder.messages.lock().values().map(|at| u64::from(at.bytes)).sum::<u64>()
            })
            .sum()
    }

    pub(super) fn holds(&self, id: OwnerId, key: Key) -> bool {
        self.ledger.lock().owners[&id].messages.lock().contains_key(&key)
    }

    /// Removes a message right after an owner has said, for that many times, that it holds it.
    pub(super) fn remove_when_asked(&mut self, id: OwnerId, key: Key, times: u32) {
        let holder = Arc::clone(&self.ledger.lock().owners[&id]);
        let journal = self.opened().journal.clone();
        *holder.leaving.lock() = Some(Leaving { journal, id, key, times });
    }

    /// No ticket may be durable before one that came earlier.
    pub(super) fn check_order(&self) -> Result<(), String> {
        match self.ledger.lock().is_out_of_order() {
            true => Err("confirmed out of order".to_owned()),
            false => Ok(()),
        }
    }

    /// How many groups were confirmed.
    pub(super) fn confirmed(&self) -> usize {
        self.ledger.lock().tickets.iter().filter(|ticket| ticket.is_durable()).count()
    }
}

/// Opens what a power cut has left; all that was confirmed must be in it, and the same once more when
/// it is opened again.
pub(super) fn recover(
    image: Image,
    expected: &Expected,
    options: &JournalOptions,
    bodies: &mut Bodies,
    again: bool,
) -> Result<(), String> {
    let disk = ModelDisk::of(image);
    let mut opened = Opened::new(&disk, options).map_err(|error| error.to_string())?;
    let past = expected.check(&mut opened, &disk, bodies)?;
    if again {
        let first = opened.recovered;
        drop((opened.journal, opened.hands));
        let mut opened = Opened::new(&disk, options).map_err(|error| error.to_string())?;
        let only = Expected { pasts: vec![past], known: expected.known.clone() };
        only.check(&mut opened, &disk, bodies).map_err(|why| format!("a second time: {why}"))?;
        if format!("{:?}", first.owners) != format!("{:?}", opened.recovered.owners) {
            return Err("a second recovery differs".to_owned());
        }
    }
    Ok(())
}

impl Default for Expected {
    fn default() -> Self {
        Self::none()
    }
}
