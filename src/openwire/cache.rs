//! The value cache of one direction of a connection: ids and destinations that travel once and are
//! named by a slot afterwards.
//!
//! The sender owns the table and the receiver mirrors it, so both must see every frame, in order.
//! The sender's steps are those of ActiveMQ (WIRE.md section 7), which makes frames byte for byte
//! the same as Java's.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::wire_format::CACHE_SLOTS_MIN;
use super::{
    BrokerId, Command, ConnectionId, ConsumerId, Destination, ProducerId, SessionId, TransactionId,
    WireError,
};

/// New values that one frame may put into the table. A Java sender leaves as many slots free before
/// each frame and hands out slots in use once a frame takes more.
pub const NEW_VALUES_PER_FRAME_MAX: usize = 100;

/// Bytes on the wire of all the values a peer may have cached with us at a time.
pub const CACHED_BYTES_MAX: usize = 16 << 20;

/// The index that says: use the value, do not store it.
const NOT_STORED: i16 = -1;

/// A value as the cache knows it. An id is the same value in whatever field it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CachedValue {
    /// An absent value takes a slot like any other.
    Null,
    BrokerId(Arc<BrokerId>),
    ConnectionId(Arc<ConnectionId>),
    SessionId(Arc<SessionId>),
    ConsumerId(Arc<ConsumerId>),
    ProducerId(Arc<ProducerId>),
    Destination(Arc<Destination>),
    TransactionId(Arc<TransactionId>),
    /// What a field for any structure can hold besides ids.
    Other(Arc<Command>),
}

/// The sending side.
///
/// **Invariant:** `ring[slot]` is a value exactly if `slots[value]` is `slot`.
#[derive(Debug)]
pub(super) struct SenderTable {
    size: usize,
    /// Holds at most 16383 values, so a peer that picks names which collide gains nothing by it.
    slots: HashMap<CachedValue, i16, RandomState>,
    /// Grows to `size` on the first lap, so an idle connection pays for what it used.
    ring: Vec<Option<CachedValue>>,
    next: usize,
    evict: usize,
    new_in_frame: usize,
}

/// What to write for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The slot that holds it.
    At(i16),
    New,
}

impl SenderTable {
    /// With fewer than [`CACHE_SLOTS_MIN`] slots nothing is ever stored: every value travels as
    /// "new, not stored", which all receivers take.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            slots: HashMap::default(),
            ring: Vec::new(),
            next: 0,
            evict: 0,
            new_in_frame: 0,
        }
    }

    /// Makes room for the values of one frame.
    pub(super) fn start_frame(&mut self) {
        self.new_in_frame = 0;
        while self.slots.len() > self.size.saturating_sub(CACHE_SLOTS_MIN) {
            if let Some(value) = self.ring.get_mut(self.evict).and_then(Option::take) {
                self.slots.remove(&value);
            }
            self.evict = (self.evict + 1) % self.size;
        }
    }

    pub(super) fn find(&self, value: &CachedValue) -> Known {
        self.slots.get(value).map_or(Known::New, |slot| Known::At(*slot))
    }

    /// Gives a new value a slot; [`NOT_STORED`] when there is none for it.
    pub(super) fn add(&mut self, value: CachedValue) -> i16 {
        if self.size < CACHE_SLOTS_MIN || self.new_in_frame >= NEW_VALUES_PER_FRAME_MAX {
            return NOT_STORED;
        }
        let Ok(slot) = i16::try_from(self.next) else { return NOT_STORED };
        self.new_in_frame += 1;
        match self.ring.get_mut(self.next) {
            Some(place) => *place = Some(value.clone()),
            None => self.ring.push(Some(value.clone())),
        }
        self.next = (self.next + 1) % self.size;
        self.slots.insert(value, slot);
        slot
    }

    /// Takes back what the frame added: it will not be sent. The slots behind `next` were free when
    /// the frame began, so they are free again.
    pub(super) fn forget_frame(&mut self) {
        for _ in 0..std::mem::take(&mut self.new_in_frame) {
            self.next = (self.next + self.size - 1) % self.size;
            if let Some(value) = self.ring.get_mut(self.next).and_then(Option::take) {
                self.slots.remove(&value);
            }
        }
    }
}

/// Slots that are allocated together, so that memory follows the values that arrived.
const PAGE_SLOTS: usize = 32;

type Page = [Option<Held>; PAGE_SLOTS];

/// A value in its slot, and the bytes it took on the wire.
#[derive(Debug, Clone)]
struct Held {
    value: CachedValue,
    bytes: usize,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct ReceiverTable {
    size: usize,
    pages: Vec<Option<Box<Page>>>,
    /// Of all values held; at most [`CACHED_BYTES_MAX`].
    bytes: usize,
    /// What slots held before the frame that is being tried, newest last; `None` when no frame is on
    /// trial.
    undo: Option<Vec<(usize, Option<Held>)>>,
}

impl ReceiverTable {
    pub(super) fn new(size: usize) -> Self {
        Self { size, pages: Vec::new(), bytes: 0, undo: None }
    }

    /// Checks an index that came at `offset`; `None` is [`NOT_STORED`], which only a new value may
    /// have.
    pub(super) fn slot(
        &self,
        index: i16,
        new: bool,
        offset: usize,
    ) -> Result<Option<usize>, WireError> {
        match usize::try_from(index) {
            Ok(slot) if slot < self.size => Ok(Some(slot)),
            Err(_) if index == NOT_STORED && new => Ok(None),
            _ => Err(WireError::CacheIndex { offset, index, slots: self.size }),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&CachedValue> {
        let page = self.pages.get(slot / PAGE_SLOTS)?.as_deref()?;
        page.get(slot % PAGE_SLOTS)?.as_ref().map(|held| &held.value)
    }

    /// Stores a value that took `bytes` on the wire.
    pub(super) fn set(
        &mut self,
        slot: usize,
        value: CachedValue,
        bytes: usize,
    ) -> Result<(), WireError> {
        let old = self.replace(slot, Some(Held { value, bytes }));
        if let Some(undo) = &mut self.undo {
            undo.push((slot, old));
        }
        if self.bytes > CACHED_BYTES_MAX {
            return Err(WireError::CacheFull { limit: CACHED_BYTES_MAX });
        }
        Ok(())
    }

    fn replace(&mut self, slot: usize, held: Option<Held>) -> Option<Held> {
        let index = slot / PAGE_SLOTS;
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, || None);
        }
        let page = self.pages.get_mut(index)?.get_or_insert_default();
        let place = page.get_mut(slot % PAGE_SLOTS)?;
        let old = std::mem::replace(place, held);
        let bytes = |held: &Option<Held>| held.as_ref().map_or(0, |held| held.bytes);
        self.bytes = self.bytes + bytes(place) - bytes(&old);
        old
    }

    /// From here on [`Self::roll_back`] can undo.
    pub(super) fn start_trial(&mut self) {
        self.undo = Some(Vec::new());
    }

    /// What was stored since the start of the trial stays.
    pub(super) fn commit(&mut self) {
        self.undo = None;
    }

    /// The table is again as at the start of the trial.
    pub(super) fn roll_back(&mut self) {
        for (slot, old) in self.undo.take().unwrap_or_default().into_iter().rev() {
            self.replace(slot, old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(n: i64) -> CachedValue {
        CachedValue::SessionId(Arc::new(SessionId::new("ID:c", n)))
    }

    /// Sends frames of the given values and says what was written: `+slot` for a new one.
    fn sent(table: &mut SenderTable, values: impl IntoIterator<Item = i64>) -> String {
        table.start_frame();
        let mut words = Vec::new();
        for n in values {
            words.push(match table.find(&value(n)) {
                Known::At(slot) => format!("{slot}"),
                Known::New => format!("+{}", table.add(value(n))),
            });
        }
        words.join(" ")
    }

    #[test]
    fn a_value_travels_once_and_is_a_slot_afterwards() {
        let mut table = SenderTable::new(1024);
        assert_eq!(sent(&mut table, [7, 8, 7]), "+0 +1 0");
        assert_eq!(sent(&mut table, [8, 9]), "1 +2");
    }

    #[test]
    fn the_oldest_go_when_fewer_than_a_hundred_slots_are_free() {
        let mut table = SenderTable::new(102);
        assert_eq!(sent(&mut table, 0..3), "+0 +1 +2");
        // Three are more than 102 - 100, so the first one goes before the next frame.
        assert_eq!(sent(&mut table, [1, 2, 0]), "1 2 +3");
        assert_eq!(sent(&mut table, 10..110).split(' ').count(), 100);
        // The ring has wrapped: slots 4 to 101, then 0 and 1.
        assert_eq!(sent(&mut table, [108, 109]), "0 1");
    }

    #[test]
    fn a_frame_stores_no_more_than_a_hundred_values() {
        let mut table = SenderTable::new(150);
        let words = sent(&mut table, 0..103);
        assert!(words.ends_with("+98 +99 +-1 +-1 +-1"), "{words}");
        assert_eq!(sent(&mut table, [500]), "+100");
    }

    #[test]
    fn a_frame_that_is_not_sent_leaves_no_value_behind() {
        let mut table = SenderTable::new(120);
        assert_eq!(sent(&mut table, 0..10).split(' ').count(), 10);
        assert_eq!(sent(&mut table, [3, 50, 51]), "3 +10 +11");
        table.forget_frame();
        assert_eq!(sent(&mut table, [51, 3]), "+10 3");
    }

    #[test]
    fn a_cache_below_a_hundred_slots_stores_nothing() {
        let mut table = SenderTable::new(50);
        assert_eq!(sent(&mut table, [1, 1]), "+-1 +-1");
    }

    #[test]
    fn an_index_out_of_bounds_is_refused() {
        let table = ReceiverTable::new(100);
        assert_eq!(table.slot(99, false, 0), Ok(Some(99)));
        assert_eq!(table.slot(-1, true, 0), Ok(None));
        for (index, new) in [(100, true), (100, false), (-1, false), (-2, true)] {
            assert!(table.slot(index, new, 0).is_err(), "{index} {new}");
        }
    }

    #[test]
    fn a_trial_leaves_no_trace_when_it_is_rolled_back() {
        let mut table = ReceiverTable::new(16383);
        table.set(5, value(1), 10).unwrap();
        table.start_trial();
        table.set(5, value(2), 20).unwrap();
        table.set(5, value(3), 30).unwrap();
        table.set(16382, value(4), 40).unwrap();
        table.roll_back();
        assert_eq!((table.get(5), table.get(16382)), (Some(&value(1)), None));
        assert_eq!(table.bytes, 10);
        table.start_trial();
        table.set(5, value(2), 20).unwrap();
        table.commit();
        assert_eq!((table.get(5), table.bytes), (Some(&value(2)), 20));
    }

    #[test]
    fn a_peer_cannot_cache_without_end() {
        let mut table = ReceiverTable::new(1024);
        let big = CACHED_BYTES_MAX / 2;
        table.set(0, value(0), big).unwrap();
        table.set(1, value(1), big).unwrap();
        assert_eq!(
            table.set(2, value(2), 1),
            Err(WireError::CacheFull { limit: CACHED_BYTES_MAX })
        );
    }
}
