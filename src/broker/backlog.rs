//! What waits in one place, in order: the near part in memory, the rest where it is stored.
//!
//! ```text
//!           insert              placed: a body beyond the near part leaves memory
//!  message --------> [ resident ] ---------------------------------> [ cold: place only ]
//!                         ^                                                 |
//!                         +--- fetched: a page, asked for ahead of need ----+
//! ```
//!
//! A cold entry is 32 bytes. Only what a consumer is about to get is read back, a page at a time and at
//! most one page on its way.
//!
//! **Invariant:** what has no place yet is resident. The memory of resident bodies is counted by whoever
//! owns the backlog, from what the calls here return.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::queue::Effects;
use crate::base::ChunkMap;
use crate::openwire::Message;
use crate::store::{Fetched, Key, Location, Stored};

/// Messages that stay in memory beside those on their way to consumers.
const NEAR_MESSAGES: usize = 1024;
/// Bytes of them.
const NEAR_BYTES: usize = 1 << 20;
/// The part of both that stays while nobody consumes.
const FAR_SHARE: usize = 16;
/// Bytes of the journal that one page takes, beside its first message.
const PAGE_BYTES: u64 = 1 << 20;

/// Bytes of bodies that were read back and stay for those who come to them later.
pub const LINGERING_BYTES: usize = 16 << 20;
/// The same where memory is short, or one consumer takes all.
pub const LINGERING_BYTES_FEW: usize = 2 * NEAR_BYTES;

/// What keeps a message, so that it need not be in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Memory alone.
    Memory,
    /// The journal: it is there after a restart.
    Journal,
    /// The temporary store: it is not.
    Temporary,
}

/// A message that waits, or is with a consumer.
#[derive(Debug, Clone)]
pub struct Held {
    /// `None` while it is cold.
    pub message: Option<Arc<Message>>,
    /// Where it is kept; none until its keeper has told.
    pub at: Location,
    redeliveries: u16,
    pub keeper: Keeper,
}

impl Held {
    pub fn new(message: Arc<Message>, keeper: Keeper) -> Self {
        let mut held = Self {
            at: Location::NONE,
            redeliveries: 0,
            keeper,
            message: Some(Arc::clone(&message)),
        };
        held.set_redeliveries(message.redelivery_counter);
        held
    }

    /// The same, where its keeper has told already.
    pub fn placed(self, at: Location) -> Self {
        Self { at, ..self }
    }

    /// From what the journal had.
    pub fn stored(stored: &Stored) -> Self {
        Self {
            message: None,
            at: stored.at,
            redeliveries: u16::try_from(stored.redeliveries).unwrap_or(u16::MAX),
            keeper: Keeper::Journal,
        }
    }

    /// How often it was delivered in vain.
    pub fn redeliveries(&self) -> i32 {
        i32::from(self.redeliveries)
    }

    pub fn set_redeliveries(&mut self, count: i32) {
        let most = u16::MAX;
        self.redeliveries = u16::try_from(count.clamp(0, i32::from(most))).unwrap_or(most);
    }

    fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.memory_bytes())
    }

    /// Whether its keeper was given it and has not told where it lies.
    pub fn is_being_stored(&self) -> bool {
        self.keeper == Keeper::Journal && self.at.is_none()
    }
}

/// Messages to be read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub keeper: Keeper,
    pub wanted: Vec<(Key, Location)>,
}

/// What waits, by key.
#[derive(Debug, Default)]
pub struct Backlog {
    held: ChunkMap<Key, Held>,
    resident: usize,
    resident_bytes: usize,
    /// When what can expire does. May name messages that have left while they were cold.
    expiry: BTreeSet<(i64, Key)>,
    /// A page is on its way.
    fetching: bool,
    /// The page that came last; what of it is not taken by the next leaves memory again.
    page: Vec<Key>,
}

impl Backlog {
    /// What the journal had, all of it cold.
    pub fn restored(messages: BTreeMap<Key, Stored>) -> Self {
        let expires = messages.iter().filter(|(_, stored)| stored.expiration > 0);
        let expiry = expires.map(|(key, stored)| (stored.expiration, *key)).collect();
        let held = messages.into_iter().map(|(key, stored)| (key, Held::stored(&stored))).collect();
        Self { held, expiry, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Messages whose bodies are in memory.
    pub fn resident(&self) -> usize {
        self.resident
    }

    /// Bytes of the bodies in memory.
    pub fn resident_bytes(&self) -> usize {
        self.resident_bytes
    }

    fn has_cold(&self) -> bool {
        self.resident < self.held.len()
    }

    pub fn first_key(&self) -> Option<Key> {
        self.held.first_key()
    }

    pub fn range(&self, from: Key) -> impl Iterator<Item = (Key, &Held)> {
        self.held.range(from)
    }

    pub fn get(&self, key: Key) -> Option<&Held> {
        self.held.get(key)
    }

    pub fn insert(&mut self, key: Key, held: Held) {
        if let Some(message) = &held.message {
            self.resident += 1;
            self.resident_bytes += message.memory_bytes();
            if message.expiration > 0 {
                self.expiry.insert((message.expiration, key));
            }
        }
        let before = self.held.insert(key, held);
        debug_assert!(before.is_none(), "two messages at {key:?}");
    }

    pub fn take(&mut self, key: Key) -> Option<Held> {
        let held = self.held.remove(key)?;
        if let Some(message) = &held.message {
            self.resident -= 1;
            self.resident_bytes -= message.memory_bytes();
            if message.expiration > 0 {
                self.expiry.remove(&(message.expiration, key));
            }
        }
        Some(held)
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> ChunkMap<Key, Held> {
        let Self { held, .. } = std::mem::take(self);
        held
    }

    /// A keeper has told where a message lies. Where more than `near` is in memory, its body leaves.
    ///
    /// Returns bytes of its old place, and bytes of memory that became free. `None`: it is not here.
    pub fn placed(&mut self, key: Key, at: Location, near: Near) -> Option<(u64, usize)> {
        let held = self.held.get_mut(key)?;
        let before = std::mem::replace(&mut held.at, at);
        let far = self.resident > near.messages || self.resident_bytes > near.bytes;
        let freed = if far { self.cool(key) } else { 0 };
        Some((u64::from(before.bytes), freed))
    }

    /// A message that memory alone keeps is given to the temporary store, which tells when it has it.
    pub fn spill(&mut self, key: Key) -> Option<Arc<Message>> {
        let held = self.held.get_mut(key).filter(|held| held.keeper == Keeper::Memory)?;
        held.keeper = Keeper::Temporary;
        held.message.clone()
    }

    pub fn holds(&self, key: Key, at: Location) -> bool {
        self.held.get(key).is_some_and(|held| held.at == at)
    }

    /// Drops a body that can be read back. Returns the bytes of memory that became free.
    fn cool(&mut self, key: Key) -> usize {
        let Some(held) = self.held.get_mut(key).filter(|held| !held.at.is_none()) else {
            return 0;
        };
        let bytes = held.bytes();
        if held.message.take().is_some() {
            self.resident -= 1;
            self.resident_bytes -= bytes;
        }
        bytes
    }

    /// The page to be read because a consumer stands before the cold message `at`.
    #[must_use]
    pub fn page_from(&mut self, at: Key) -> Option<Page> {
        if self.fetching {
            return None;
        }
        let cold = self.held.range(at).filter(|(_, held)| held.message.is_none());
        let mut wanted = Vec::new();
        let mut keeper = None;
        let mut bytes = 0;
        for (key, held) in cold {
            bytes += u64::from(held.at.bytes);
            let full = wanted.len() == NEAR_MESSAGES || bytes > PAGE_BYTES;
            if keeper.is_some_and(|keeper| keeper != held.keeper) || (full && !wanted.is_empty()) {
                break;
            }
            keeper = Some(held.keeper);
            wanted.push((key, held.at));
        }
        self.fetching = !wanted.is_empty();
        Some(Page { keeper: keeper?, wanted })
    }

    /// The next page where less than half of the near part is in memory: what consumers come to next.
    #[must_use]
    pub fn page_ahead(&mut self) -> Option<Page> {
        let enough = self.resident > NEAR_MESSAGES / 2 || self.resident_bytes > NEAR_BYTES / 2;
        if self.fetching || enough || !self.has_cold() {
            return None;
        }
        let first = self.held.iter().find(|(_, held)| held.message.is_none());
        let first = first.map(|(key, _)| key)?;
        self.page_from(first)
    }

    /// A page came. All consumers have passed `passed`: what was read for them before that and not taken
    /// leaves memory again. So does the page before where more than `most` bytes are in memory, as browsers take
    /// nothing, and consumers with selectors may be far apart.
    pub fn fetched(&mut self, page: Vec<(Key, Fetched)>, passed: Key, most: usize) -> Arrival {
        self.fetching = false;
        let mut arrival = Arrival::default();
        let crowded = self.resident_bytes > most;
        for key in std::mem::take(&mut self.page) {
            if key < passed || crowded {
                arrival.freed_bytes += self.cool(key);
            }
        }
        for (key, fetched) in page {
            match fetched {
                Fetched::Message(message) => {
                    if let Some(held) = self.held.get_mut(key).filter(|held| held.message.is_none())
                    {
                        let bytes = message.memory_bytes();
                        arrival.taken_bytes += bytes;
                        self.resident += 1;
                        self.resident_bytes += bytes;
                        if message.expiration > 0 {
                            self.expiry.insert((message.expiration, key));
                        }
                        arrival.grouped |= message.group_id.is_some();
                        held.message = Some(message);
                        self.page.push(key);
                    }
                }
                Fetched::Moved => {}
                Fetched::Damaged(why) => {
                    if self.held.get(key).is_some_and(|held| held.message.is_none()) {
                        self.held.remove(key);
                        arrival.damaged.push(why);
                    }
                }
            }
        }
        arrival
    }

    /// Messages whose time is over at `now_ms`, to be taken out. Those that are cold are read first, as
    /// their dead letters need the body: `effects` gets the page, and they are found again once it came.
    pub fn take_expired(&mut self, now_ms: i64, effects: &mut Effects) -> Vec<Key> {
        let (mut over, mut cold) = (Vec::new(), Vec::new());
        while let Some((time, key)) =
            self.expiry.first().copied().filter(|(time, _)| *time < now_ms)
        {
            self.expiry.remove(&(time, key));
            match self.held.get(key) {
                Some(held) if held.message.is_some() => over.push(key),
                Some(_) => cold.push(key),
                None => {}
            }
        }
        if let Some(first) = cold.iter().min() {
            effects.page = self.page_from(*first);
        }
        // Any time that is over will do.
        self.expiry.extend(cold.into_iter().map(|key| (0, key)));
        over
    }
}

/// What the arrival of a page changed.
#[derive(Debug, Default)]
pub struct Arrival {
    /// Memory of the bodies that are resident now.
    pub taken_bytes: usize,
    /// Memory of those that no longer are.
    pub freed_bytes: usize,
    /// A message of a group is among them.
    pub grouped: bool,
    /// Why messages were taken out that cannot be read.
    pub damaged: Vec<String>,
}

/// How much of a backlog stays in memory when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    messages: usize,
    bytes: usize,
}

impl Near {
    /// What consumers come to next.
    pub const CONSUMED: Self = Self { messages: NEAR_MESSAGES, bytes: NEAR_BYTES };
    /// Nobody consumes, but somebody may come.
    pub const WAITING: Self =
        Self { messages: NEAR_MESSAGES / FAR_SHARE, bytes: NEAR_BYTES / FAR_SHARE };
    /// Memory is short.
    pub const NOTHING: Self = Self { messages: 0, bytes: 0 };

    /// At most so many bytes.
    pub fn within(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.min(bytes), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize) -> Arc<Message> {
        Arc::new(Message { content: Some(vec![0; size].into()), ..Message::default() })
    }

    fn at(offset: u32) -> Location {
        Location { segment: 1, offset, bytes: 100 }
    }

    fn key(sequence: u64) -> Key {
        Key::new(0, sequence)
    }

    /// `count` messages, all placed.
    fn filled(count: u32) -> Backlog {
        let mut backlog = Backlog::default();
        for number in 0..count {
            backlog.insert(key(number.into()), Held::new(message(0), Keeper::Journal));
            backlog.placed(key(number.into()), at(number), Near::CONSUMED).unwrap();
        }
        backlog
    }

    #[test]
    fn what_is_placed_beyond_the_near_part_is_cold_and_comes_back_by_pages() {
        let mut backlog = filled(3000);
        assert_eq!(backlog.resident, NEAR_MESSAGES);
        for number in 0..600 {
            backlog.take(key(number)).unwrap();
        }
        let page = backlog.page_ahead().unwrap();
        assert_eq!(page.wanted.len(), NEAR_MESSAGES);
        assert_eq!(page.wanted[0], (key(1024), at(1024)));
        assert_eq!(backlog.page_ahead(), None, "one page at a time");
        let bodies = page.wanted.iter().map(|(key, _)| (*key, Fetched::Message(message(0))));
        let arrival = backlog.fetched(bodies.collect(), Key::FIRST, LINGERING_BYTES_FEW);
        assert_eq!(arrival.taken_bytes, NEAR_MESSAGES * 1024);
        assert!(backlog.get(key(2047)).unwrap().message.is_some());
        assert!(backlog.get(key(2048)).unwrap().message.is_none());
    }

    #[test]
    fn what_all_consumers_passed_leaves_memory_when_the_next_page_comes() {
        let mut backlog = filled(4000);
        let page = backlog.page_from(key(2000)).unwrap();
        assert_eq!(page.wanted[0].0, key(2000));
        let bodies = page.wanted.iter().map(|(key, _)| (*key, Fetched::Message(message(0))));
        backlog.fetched(bodies.collect(), Key::FIRST, LINGERING_BYTES_FEW);
        let before = backlog.resident;
        let arrival = backlog.fetched(Vec::new(), key(2500), LINGERING_BYTES_FEW);
        assert_eq!(arrival.freed_bytes, 500 * 1024);
        assert_eq!(backlog.resident, before - 500);
    }

    #[test]
    fn what_was_read_stays_for_others_while_there_is_room() {
        let mut backlog = filled(4000);
        let mut come = |from: u64, most: usize| {
            let page = backlog.page_from(key(from)).unwrap();
            let bodies = page.wanted.iter().map(|(key, _)| (*key, Fetched::Message(message(0))));
            backlog.fetched(bodies.collect(), Key::FIRST, most).freed_bytes
        };
        assert_eq!(come(1024, LINGERING_BYTES), 0);
        assert_eq!(come(2048, LINGERING_BYTES), 0, "nobody has passed the page before");
        assert_eq!(come(3072, LINGERING_BYTES_FEW), 1024 * 1024, "there is less room");
        assert!(backlog.get(key(1024)).unwrap().message.is_some());
        assert!(backlog.get(key(2048)).unwrap().message.is_none());
    }

    #[test]
    fn what_has_no_place_stays_and_what_moved_is_asked_for_again() {
        let mut backlog = Backlog::default();
        for number in 0..1000 {
            backlog.insert(key(number), Held::new(message(0), Keeper::Memory));
        }
        assert_eq!(backlog.page_ahead(), None);
        let mut backlog = filled(1100);
        let page = backlog.page_from(Key::FIRST).unwrap();
        let moved = page.wanted.iter().map(|(key, _)| (*key, Fetched::Moved)).collect();
        backlog.fetched(moved, Key::FIRST, LINGERING_BYTES_FEW);
        assert_eq!(backlog.page_from(Key::FIRST).unwrap().wanted, page.wanted);
    }

    #[test]
    fn damage_takes_the_one_message_out_and_says_why() {
        let mut backlog = filled(1100);
        let damaged = vec![(key(1099), Fetched::Damaged("segment 1, offset 1099".to_owned()))];
        let arrival = backlog.fetched(damaged, Key::FIRST, LINGERING_BYTES_FEW);
        assert_eq!(arrival.damaged, ["segment 1, offset 1099"]);
        assert_eq!(backlog.len(), 1099);
    }

    #[test]
    fn memory_follows_the_bodies() {
        let mut backlog = filled(1);
        assert_eq!(backlog.resident_bytes(), 1024);
        let (old, freed) = backlog.placed(key(0), at(7), Near::CONSUMED).unwrap();
        assert_eq!((old, freed), (100, 0));
        assert!(backlog.holds(key(0), at(7)) && !backlog.holds(key(0), at(0)));
        backlog.take(key(0)).unwrap();
        assert_eq!(backlog.resident_bytes(), 0);
        assert_eq!(backlog.placed(key(0), at(9), Near::CONSUMED), None);
    }
}
