//! A file of the journal: its name and what stands at its beginning.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, BytesMut};

use super::batch::Spot;

/// The directory of the segments in that of the store.
pub(super) const JOURNAL: &str = "journal";
/// Most bytes of a segment: offsets have four bytes.
pub(super) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64 & !7;

const MAGIC: u64 = u64::from_be_bytes(*b"OWJRNL\r\n");
pub(super) const FORMAT: u32 = 1;
const FIXED: usize = 80;
const CHECK_AT: usize = 76;
const SEAL_BYTES: usize = 32;

/// Names a segment. Numbers are never used twice in a store, whatever the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentName {
    pub(super) number: u32,
    pub(super) epoch: u64,
}

impl SegmentName {
    pub(super) fn log(self) -> String {
        format!("{:06}-{:08}.log", self.epoch, self.number)
    }

    pub(super) fn index(self) -> String {
        format!("{:06}-{:08}.idx", self.epoch, self.number)
    }

    pub(super) fn log_path(self, directory: &Path) -> PathBuf {
        directory.join(JOURNAL).join(self.log())
    }

    pub(super) fn index_path(self, directory: &Path) -> PathBuf {
        directory.join(JOURNAL).join(self.index())
    }

    /// Reads a name that ends in `.log` or `.idx`.
    pub(super) fn parse(name: &str, extension: &str) -> Option<Self> {
        let (epoch, number) = name.strip_suffix(extension)?.strip_suffix('.')?.split_once('-')?;
        let parsed = Self { number: number.parse().ok()?, epoch: epoch.parse().ok()? };
        (parsed.number > 0 && [parsed.log(), parsed.index()].iter().any(|known| known == name))
            .then_some(parsed)
    }
}

/// Where a segment, or all of an epoch, ends for ever. What lies behind was never confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seal {
    pub(super) epoch: u64,
    pub(super) segment: u32,
    pub(super) end: u32,
    /// Chain and sequence of the last batch.
    pub(super) chain: u64,
    pub(super) sequence: u64,
}

/// What a segment begins with.
///
/// ```text
///  0  magic     "OWJRNL\r\n"
///  8  format    u32
/// 12  length    u32   of this head, with the seals
/// 16  epoch     u64
/// 24  salt      u64   of the epoch
/// 32  segment   u32   its number
/// 36  seals     u32
/// 40  before    the segment before this one, as it ended; all zeros for the first of a store
/// 72  allocated u32   bytes of the file when it was begun
/// 76  check     u32   CRC-32 over salt, segment and all of the head but these four bytes
/// 80  seals     of all older epochs that still have segments; an older epoch without has nothing
///
/// a seal:
///  0  epoch u64, 8 segment u32, 12 end u32, 16 chain u64, 24 sequence u64
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) name: SegmentName,
    pub(super) salt: u64,
    pub(super) before: Seal,
    pub(super) allocated: u32,
    pub(super) seals: Vec<Seal>,
}

/// A head as it was read.
#[derive(Debug)]
pub(super) enum HeadRead {
    Valid(SegmentHead, u32),
    /// Nothing was written: the file was prepared and not used.
    Blank,
    Damaged,
    /// By another version.
    Format(u32),
}

impl SegmentHead {
    pub(super) fn length(&self) -> usize {
        FIXED + self.seals.len() * SEAL_BYTES
    }

    fn spot(name: SegmentName, salt: u64) -> Spot {
        Spot { salt, segment: name.number, offset: 0 }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u64(MAGIC);
        out.put_u32(FORMAT);
        out.put_u32(u32::try_from(self.length()).unwrap_or(u32::MAX));
        out.put_u64(self.name.epoch);
        out.put_u64(self.salt);
        out.put_u32(self.name.number);
        out.put_u32(u32::try_from(self.seals.len()).unwrap_or(u32::MAX));
        self.before.put(out);
        out.put_u32(self.allocated);
        out.put_u32(0);
        self.seals.iter().for_each(|seal| seal.put(out));
        let Some(head) = out.get_mut(start..) else { return };
        let (covered, rest) = head.split_at_mut_checked(CHECK_AT).unwrap_or_default();
        let (place, seals) = rest.split_at_mut_checked(4).unwrap_or_default();
        let check = Self::spot(self.name, self.salt).checksum([covered, seals]);
        place.copy_from_slice(&check.to_be_bytes());
    }

    /// Reads the head of the segment of that name from the beginning of its file.
    pub(super) fn parse(bytes: &[u8], name: SegmentName) -> HeadRead {
        let fixed = bytes.get(..FIXED).unwrap_or(bytes);
        if fixed.iter().all(|byte| *byte == 0) {
            return HeadRead::Blank;
        }
        Self::read(bytes, name).unwrap_or(HeadRead::Damaged)
    }

    fn read(bytes: &[u8], name: SegmentName) -> Option<HeadRead> {
        let mut rest = bytes;
        (rest.try_get_u64().ok()? == MAGIC).then_some(())?;
        let format = rest.try_get_u32().ok()?;
        let length = rest.try_get_u32().ok()?;
        let epoch = rest.try_get_u64().ok()?;
        let salt = rest.try_get_u64().ok()?;
        let number = rest.try_get_u32().ok()?;
        let count = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        let before = Seal::take(&mut rest)?;
        let allocated = rest.try_get_u32().ok()?;
        let head = bytes.get(..usize::try_from(length).ok()?)?;
        let (covered, behind) = head.split_at_checked(CHECK_AT)?;
        let (check, mut seals) = behind.split_first_chunk()?;
        let right = Self::spot(name, salt).checksum([covered, seals]) == u32::from_be_bytes(*check);
        (right && name == SegmentName { number, epoch }).then_some(())?;
        if format != FORMAT {
            return Some(HeadRead::Format(format));
        }
        (seals.len() == count.checked_mul(SEAL_BYTES)?).then_some(())?;
        let seals = (0..count).map(|_| Seal::take(&mut seals)).collect::<Option<_>>()?;
        Some(HeadRead::Valid(Self { name, salt, before, allocated, seals }, length))
    }
}

impl Seal {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u64(self.epoch);
        out.put_u32(self.segment);
        out.put_u32(self.end);
        out.put_u64(self.chain);
        out.put_u64(self.sequence);
    }

    pub(super) fn take(rest: &mut &[u8]) -> Option<Self> {
        Some(Self {
            epoch: rest.try_get_u64().ok()?,
            segment: rest.try_get_u32().ok()?,
            end: rest.try_get_u32().ok()?,
            chain: rest.try_get_u64().ok()?,
            sequence: rest.try_get_u64().ok()?,
        })
    }
}
