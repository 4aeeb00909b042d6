//! Which messages of which producers were stored, so that one that is sent again is known.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::{Buf, BufMut, BytesMut};
use foldhash::fast::RandomState;

use super::record::{Malformed, ProducerKey, is_bridged, producer_of, put_part, take_part};
use crate::openwire::{Message, Text};

const WORD: i64 = u64::BITS as i64;
/// No producer counts that far, so that sums of these numbers stay in range.
const SEQUENCE_MAX: i64 = i64::MAX / 2;

/// Producers remembered of whose messages came over bridges: a bridge brings those of many, and after
/// it broke sends again what was under way.
const BRIDGED_PRODUCERS_MAX: usize = 16_384;
/// Sequence numbers remembered of each of those.
const BRIDGED_DEPTH: i64 = 8192;

/// The last sequence numbers of the producers that sent last.
///
/// ```text
/// producers u32, depth u32, then for each producer, the least recent one of each kind first:
///   connection part, session u64, producer u64, first sequence u64, words u32, words x bits u64
/// ```
#[derive(Debug, Clone)]
pub struct Audit {
    producers: usize,
    depth: i64,
    windows: HashMap<ProducerKey, Window, RandomState>,
    /// When each producer sent last, counted in messages.
    recent: BTreeMap<u64, ProducerKey>,
    /// The same of those whose messages came over bridges.
    recent_bridged: BTreeMap<u64, ProducerKey>,
    clock: u64,
}

/// Bit `n` stands for sequence number `first + n`; `first` is a multiple of 64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Window {
    used: u64,
    first: i64,
    words: VecDeque<u64>,
}

impl Audit {
    /// Of so many producers, the last `depth` sequence numbers of each.
    pub fn new(producers: u32, depth: u32) -> Self {
        Self {
            producers: usize::try_from(producers).unwrap_or(usize::MAX).max(1),
            depth: i64::from(depth).max(WORD),
            windows: HashMap::default(),
            recent: BTreeMap::new(),
            recent_bridged: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Whether this very message was marked. One that is older than what is remembered was not: to
    /// store it twice is better than not to store it.
    pub fn knows(&self, message: &Message) -> bool {
        let Some((producer, sequence)) = producer_of(message) else { return false };
        self.windows.get(&producer).is_some_and(|window| window.has(sequence))
    }

    pub fn mark(&mut self, message: &Message) {
        if let Some((producer, sequence)) = producer_of(message) {
            self.mark_sequence(producer, sequence);
        }
    }

    pub(super) fn mark_sequence(&mut self, producer: ProducerKey, sequence: i64) {
        if !(0..SEQUENCE_MAX).contains(&sequence) {
            return;
        }
        let (depth, recent) = if is_bridged(&producer) {
            (BRIDGED_DEPTH, &mut self.recent_bridged)
        } else {
            (self.depth, &mut self.recent)
        };
        let window = self.windows.entry(producer.clone()).or_default();
        window.set(sequence, depth);
        if window.used == self.clock && self.clock > 0 {
            return;
        }
        self.clock += 1;
        recent.remove(&window.used);
        window.used = self.clock;
        recent.insert(self.clock, producer);
        self.forget();
    }

    /// Takes a mark back.
    pub fn unmark(&mut self, message: &Message) {
        let Some((producer, sequence)) = producer_of(message) else { return };
        if let Some(window) = self.windows.get_mut(&producer) {
            window.clear(sequence);
        }
    }

    fn forget(&mut self) {
        let kinds =
            [(&mut self.recent, self.producers), (&mut self.recent_bridged, BRIDGED_PRODUCERS_MAX)];
        for (recent, limit) in kinds {
            while recent.len() > limit
                && let Some((_, producer)) = recent.pop_first()
            {
                self.windows.remove(&producer);
            }
        }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        let producers = self.recent.len() + self.recent_bridged.len();
        out.put_u32(u32::try_from(producers).unwrap_or(u32::MAX));
        out.put_u32(u32::try_from(self.depth).unwrap_or(u32::MAX));
        for producer in self.recent.values().chain(self.recent_bridged.values()) {
            let Some(window) = self.windows.get(producer) else { continue };
            put_part(out, producer.0.as_bytes());
            out.put_i64(producer.1);
            out.put_i64(producer.2);
            out.put_i64(window.first);
            out.put_u32(u32::try_from(window.words.len()).unwrap_or(u32::MAX));
            window.words.iter().for_each(|word| out.put_u64(*word));
        }
    }

    pub(super) fn parse(rest: &mut &[u8]) -> Result<Self, Malformed> {
        let (producers, depth) = (rest.try_get_u32()?, rest.try_get_u32()?);
        // Bounded by nothing until `bounded` says how many are remembered from now on.
        let mut audit = Self { producers: usize::MAX, ..Self::new(producers, depth) };
        for _ in 0..producers {
            let connection = Text::from_modified_utf8(take_part(rest)?).ok_or(Malformed::Range)?;
            let producer = (connection, rest.try_get_i64()?, rest.try_get_i64()?);
            let first = rest.try_get_i64()?;
            if !(0..SEQUENCE_MAX).contains(&first) || first % WORD != 0 {
                return Err(Malformed::Range);
            }
            let words = (0..rest.try_get_u32()?)
                .map(|_| Ok(rest.try_get_u64()?))
                .collect::<Result<_, Malformed>>()?;
            audit.clock += 1;
            let bridged = is_bridged(&producer);
            let recent = if bridged { &mut audit.recent_bridged } else { &mut audit.recent };
            recent.insert(audit.clock, producer.clone());
            audit.windows.insert(producer, Window { used: audit.clock, first, words });
        }
        Ok(audit)
    }

    /// The same memory with the bounds that hold now.
    pub(super) fn bounded(mut self, producers: u32, depth: u32) -> Self {
        let bounds = Self::new(producers, depth);
        (self.producers, self.depth) = (bounds.producers, bounds.depth);
        self.forget();
        self
    }
}

impl Window {
    fn word(&self, sequence: i64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.first)?.div_euclid(WORD)).ok()
    }

    fn has(&self, sequence: i64) -> bool {
        let bits = self.word(sequence).and_then(|word| self.words.get(word));
        bits.is_some_and(|bits| bits >> sequence.rem_euclid(WORD) & 1 == 1)
    }

    fn clear(&mut self, sequence: i64) {
        if let Some(bits) = self.word(sequence).and_then(|word| self.words.get_mut(word)) {
            *bits &= !(1 << sequence.rem_euclid(WORD));
        }
    }

    fn set(&mut self, sequence: i64, depth: i64) {
        let start = sequence - sequence.rem_euclid(WORD);
        let lowest = (start - depth + WORD).max(0);
        let lowest = lowest - lowest.rem_euclid(WORD);
        if self.words.is_empty() || self.first + self.words.len() as i64 * WORD <= lowest {
            self.words.clear();
            self.first = start;
        }
        while self.first < lowest && self.words.len() > 1 {
            self.words.pop_front();
            self.first += WORD;
        }
        // A number before the window is put in front of it, as far as the window may reach back.
        let end = self.first + self.words.len() as i64 * WORD;
        while start < self.first && start >= (end - depth).max(0) {
            self.words.push_front(0);
            self.first -= WORD;
        }
        while self.first + self.words.len() as i64 * WORD <= start {
            self.words.push_back(0);
        }
        if let Some(bits) = self.word(sequence).and_then(|word| self.words.get_mut(word)) {
            *bits |= 1 << sequence.rem_euclid(WORD);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::openwire::{MessageId, ProducerId};

    fn message(producer: i64, sequence: i64) -> Message {
        let producer = Arc::new(ProducerId::new("ID:c", 1, producer));
        Message { message_id: Some(MessageId::new(producer, sequence)), ..Message::default() }
    }

    fn known(audit: &Audit, producer: i64, sequences: impl Iterator<Item = i64>) -> Vec<i64> {
        sequences.filter(|n| audit.knows(&message(producer, *n))).collect()
    }

    #[test]
    fn what_was_marked_is_known_in_any_order() {
        let mut audit = Audit::new(2, 2048);
        for sequence in [100, 3, 7, 2100, 99] {
            audit.mark(&message(1, sequence));
        }
        assert_eq!(known(&audit, 1, 0..3000), [99, 100, 2100]);
        assert_eq!(known(&audit, 2, 0..3000), [0; 0]);
    }

    #[test]
    fn a_mark_can_be_taken_back() {
        let mut audit = Audit::new(2, 2048);
        (0..5).for_each(|sequence| audit.mark(&message(1, sequence)));
        audit.unmark(&message(1, 3));
        audit.unmark(&message(1, 3000));
        audit.unmark(&message(2, 3));
        assert_eq!(known(&audit, 1, 0..10), [0, 1, 2, 4]);
    }

    #[test]
    fn a_snapshot_of_few_producers_does_not_bound_those_behind_it() {
        let mut bytes = BytesMut::new();
        Audit::new(64, 2048).put(&mut bytes);
        let mut audit = Audit::parse(&mut &bytes[..]).unwrap();
        (1..=3).for_each(|producer| audit.mark(&message(producer, 5)));
        let audit = audit.bounded(64, 2048);
        for producer in 1..=3 {
            assert_eq!(known(&audit, producer, 0..10), [5]);
        }
    }

    #[test]
    fn who_sent_longest_ago_is_forgotten() {
        let mut audit = Audit::new(2, 64);
        for producer in [1, 2, 1, 3] {
            audit.mark(&message(producer, 5));
        }
        let knows = [1, 2, 3].map(|producer| audit.knows(&message(producer, 5)));
        assert_eq!(knows, [true, false, true]);
    }

    fn bridged(producer: i64, sequence: i64, hops: usize) -> Message {
        let path = vec![Some(crate::openwire::BrokerId::new("ID:a")); hops];
        Message { broker_path: Some(path), ..message(producer, sequence) }
    }

    #[test]
    fn what_came_over_bridges_is_remembered_apart_and_by_the_length_of_its_way() {
        let mut audit = Audit::new(2, 64);
        audit.mark(&message(0, 5));
        (1..=500).for_each(|producer| audit.mark(&bridged(producer, 5, 1)));
        assert!(audit.knows(&message(0, 5)) && audit.knows(&bridged(1, 5, 1)));
        assert!(!audit.knows(&bridged(1, 5, 2)) && !audit.knows(&message(1, 5)));
        let mut bytes = BytesMut::new();
        audit.put(&mut bytes);
        let read = Audit::parse(&mut &bytes[..]).unwrap().bounded(2, 64);
        assert!(read.knows(&message(0, 5)) && read.knows(&bridged(1, 5, 1)));
        let last = BRIDGED_PRODUCERS_MAX as i64 + 500;
        (501..=last).for_each(|producer| audit.mark(&bridged(producer, 5, 1)));
        assert!(!audit.knows(&bridged(1, 5, 1)) && audit.knows(&bridged(501, 5, 1)));
    }

    #[test]
    fn it_survives_its_record() {
        let mut audit = Audit::new(64, 2048);
        for n in 0..200 {
            audit.mark(&message(n % 70, n * n));
        }
        let mut bytes = BytesMut::new();
        audit.put(&mut bytes);
        let read = Audit::parse(&mut &bytes[..]).unwrap();
        for producer in 0..70 {
            let all = (0..200).flat_map(|n| [n * n, n * n + 1]);
            assert_eq!(known(&read, producer, all.clone()), known(&audit, producer, all));
        }
    }
}
