//! Where a message stands: in its owner's order, and in the files of the journal.

use std::fmt;

/// Names who holds messages in a journal: a queue, a durable subscription, or the scheduler. A topic has
/// one, too, so that it is there again after a restart. Never used twice in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);

/// The place of a message among those of its owner: what sorts lower is delivered first. Never used
/// twice by one owner.
///
/// ```text
///   63      60 59                                                     0
///  [  band    |  sequence number, counted by the owner                ]
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    pub const FIRST: Self = Self(0);
    const BAND_SHIFT: u32 = 60;
    const SEQUENCE_MASK: u64 = (1 << Self::BAND_SHIFT) - 1;

    /// Message number `sequence` in `band`: 9 minus the message's priority where the owner sorts by
    /// priority, else 0.
    pub fn new(band: u8, sequence: u64) -> Self {
        debug_assert!(band < 10 && sequence <= Self::SEQUENCE_MASK, "band {band}, {sequence}");
        Self(u64::from(band) << Self::BAND_SHIFT | sequence)
    }

    /// What sorts right behind it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn sequence(self) -> u64 {
        self.0 & Self::SEQUENCE_MASK
    }

    /// As it stands in a record.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From a record.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0 >> Self::BAND_SHIFT, self.sequence())
    }
}

/// Where the record of a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Sequence number of the segment; 0 is none.
    pub segment: u32,
    /// Bytes from the beginning of the segment to the record.
    pub offset: u32,
    /// Bytes of the journal that this message keeps alive: those of the record, divided by its owners.
    pub bytes: u32,
}

impl Location {
    /// Of a message that is in memory only: not stored, or not yet.
    pub const NONE: Self = Self { segment: 0, offset: 0, bytes: 0 };

    pub fn is_none(self) -> bool {
        self.segment == 0
    }

    /// Bytes from the beginning of the segment to the end of what this message keeps alive.
    pub(super) fn end(self) -> u64 {
        u64::from(self.offset) + u64::from(self.bytes)
    }
}
