//! What is written at once: it survives as a whole or not at all.

use bytes::{Buf, BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::record::RECORD_HEAD;

/// Bytes in front of the records of a batch, and what a batch is padded to.
pub(super) const BATCH_HEAD: usize = 48;
pub(super) const ALIGNMENT: usize = 8;

const MAGIC: u32 = u32::from_be_bytes(*b"OWB1");
const CHECK_AT: usize = 44;

/// What stands in front of the records of a batch, which begins at a multiple of 8.
///
/// ```text
///  0  magic     "OWB1"
///  4  length    u32   of the batch, with this and the zeros behind its records; a multiple of 8
///  8  epoch     u64
/// 16  sequence  u64   counted over the life of the store
/// 24  durable   u64   sequence of a batch that was durable, with all before it, when this was written
/// 32  chain     u64   of the batch before, see `chain`
/// 40  records   u32
/// 44  check     u32   CRC-32 over where it lies (see `checksum`) and all of it but these four bytes
/// 48  records
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) length: u32,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) durable: u64,
    pub(super) chain: u64,
    pub(super) records: u32,
}

/// Where something lies that has a check. The salt is a secret of the epoch, so that no client can
/// make a body that would pass for a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) salt: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
}

impl Spot {
    /// The check of what lies there: it is wrong for the same bytes anywhere else.
    pub(super) fn checksum(self, parts: [&[u8]; 2]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.salt.to_be_bytes());
        crc.update(&self.segment.to_be_bytes());
        crc.update(&self.offset.to_be_bytes());
        parts.iter().for_each(|part| crc.update(part));
        crc.finalize()
    }

    fn behind(self, bytes: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)),
            ..self
        }
    }
}

impl BatchHead {
    /// Makes a batch of records that stand behind [`BATCH_HEAD`] free bytes: writes checks, head and
    /// padding, and returns its chain, which the next one carries.
    pub(super) fn seal(mut self, bytes: &mut BytesMut, spot: Spot) -> u64 {
        let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
        bytes.put_bytes(0, padding);
        self.length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut at = BATCH_HEAD;
        for _ in 0..self.records {
            at += seal_record(bytes.get_mut(at..).unwrap_or_default(), spot.behind(at));
        }
        let Some((head, records)) = bytes.split_at_mut_checked(BATCH_HEAD) else { return 0 };
        self.put(head);
        let Some((covered, check)) = head.split_at_mut_checked(CHECK_AT) else { return 0 };
        check.copy_from_slice(&spot.checksum([covered, records]).to_be_bytes());
        chain(head, spot.salt)
    }

    fn put(&self, mut out: &mut [u8]) {
        out.put_u32(MAGIC);
        out.put_u32(self.length);
        out.put_u64(self.epoch);
        out.put_u64(self.sequence);
        out.put_u64(self.durable);
        out.put_u64(self.chain);
        out.put_u32(self.records);
    }

    /// Bytes that the batch takes which begins there, as far as its own first bytes say so.
    pub(super) fn length_told(bytes: &[u8]) -> Option<usize> {
        usize::try_from(Self::parse(bytes)?.length).ok()
    }

    /// What stands where a batch may begin; its check is not looked at.
    pub(super) fn parse(mut rest: &[u8]) -> Option<Self> {
        (rest.try_get_u32().ok()? == MAGIC).then_some(())?;
        Some(Self {
            length: rest.try_get_u32().ok()?,
            epoch: rest.try_get_u64().ok()?,
            sequence: rest.try_get_u64().ok()?,
            durable: rest.try_get_u64().ok()?,
            chain: rest.try_get_u64().ok()?,
            records: rest.try_get_u32().ok()?,
        })
    }
}

/// The chain of a batch: what the next one says of it.
fn chain(head: &[u8], salt: u64) -> u64 {
    xxh3_64_with_seed(head, salt)
}

/// Writes the check of the first record in `rest`; returns its length.
fn seal_record(rest: &mut [u8], spot: Spot) -> usize {
    let length = rest.first_chunk().map_or(0, |told| u32::from_be_bytes(*told));
    let length = usize::try_from(length).unwrap_or(usize::MAX).max(RECORD_HEAD);
    let check = record_check(rest.get(..length).unwrap_or_default(), spot);
    if let Some(place) = rest.get_mut(4..8) {
        place.copy_from_slice(&check.to_be_bytes());
    }
    length
}

fn record_check(record: &[u8], spot: Spot) -> u32 {
    let (length, rest) = record.split_at_checked(4).unwrap_or_default();
    spot.checksum([length, rest.get(4..).unwrap_or_default()])
}

/// A batch whose check is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchView<'a> {
    pub(super) head: BatchHead,
    pub(super) chain: u64,
    bytes: &'a [u8],
    offset: u32,
}

/// A record in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordView<'a> {
    pub(super) offset: u32,
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    /// All of it, with its head.
    pub(super) bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch that begins where `bytes` do, if there is one of this epoch.
    pub(super) fn parse(bytes: &'a [u8], epoch: u64, spot: Spot) -> Option<Self> {
        let head = BatchHead::parse(bytes)?;
        let length = usize::try_from(head.length).ok()?;
        let well_formed = length >= BATCH_HEAD && length.is_multiple_of(ALIGNMENT);
        (head.epoch == epoch && well_formed).then_some(())?;
        let (covered, rest) = bytes.get(..length)?.split_at_checked(CHECK_AT)?;
        let (check, records) = rest.split_first_chunk()?;
        (spot.checksum([covered, records]) == u32::from_be_bytes(*check)).then_some(())?;
        let chain = chain(bytes.get(..BATCH_HEAD)?, spot.salt);
        let view = Self { head, chain, bytes: bytes.get(..length)?, offset: spot.offset };
        (view.records().count() == usize::try_from(head.records).ok()?).then_some(view)
    }

    pub(super) fn records(self) -> impl Iterator<Item = RecordView<'a>> {
        let mut at = BATCH_HEAD;
        (0..self.head.records).map_while(move |_| {
            let rest = self.bytes.get(at..)?;
            let bytes = record_bytes(rest)?;
            let offset = self.offset.checked_add(u32::try_from(at).ok()?)?;
            at += bytes.len();
            RecordView::of(bytes, offset)
        })
    }
}

fn record_bytes(rest: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
    rest.get(..length).filter(|record| record.len() >= RECORD_HEAD)
}

impl<'a> RecordView<'a> {
    fn of(bytes: &'a [u8], offset: u32) -> Option<Self> {
        let body = bytes.get(RECORD_HEAD..)?;
        Some(Self { offset, kind: *bytes.get(RECORD_HEAD - 1)?, body, bytes })
    }

    /// The record that begins where `bytes` do, if its check is right.
    pub(super) fn parse(bytes: &'a [u8], spot: Spot) -> Option<Self> {
        let record = record_bytes(bytes)?;
        let check = record.get(4..8)?;
        (record_check(record, spot).to_be_bytes() == check).then_some(())?;
        Self::of(record, spot.offset)
    }

    /// As [`Self::parse`], whatever its check is.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn trust(bytes: &'a [u8], spot: Spot) -> Option<Self> {
        Self::of(record_bytes(bytes)?, spot.offset)
    }

    /// Bytes that it takes, as far as its own first bytes say so.
    pub(super) fn length_told(bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|told| u32::from_be_bytes(*told))
    }
}
