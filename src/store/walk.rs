//! Reads a segment that is whole, batch by batch, with no more of it in memory than a part.

use std::io;

use super::batch::{BATCH_HEAD, BatchHead, BatchView, Spot};
use super::disk::File;
use super::recovery::Sealed;
use super::scan::Before;

/// Bytes that are read at a time, if no batch is larger.
const PART: usize = 256 << 10;

/// Calls `each` with every batch of a sealed segment, in order. Returns `false` as soon as something is not
/// as it was sealed: [`scan`](super::scan::scan) says what.
pub(super) fn walk(
    file: &dyn File,
    sealed: &Sealed,
    mut each: impl FnMut(BatchView<'_>),
) -> io::Result<bool> {
    let Sealed { name, salt, start, before, end, .. } = *sealed;
    let Before::Chain(before) = before else { return Ok(false) };
    let (mut at, mut chain, mut sequence) = (start, before.chain, before.sequence);
    let mut part = Part { file, bytes: Vec::new(), offset: 0 };
    while at < end.end {
        let head = BatchHead::length_told(part.at(at, BATCH_HEAD)?);
        let left = usize::try_from(end.end - at).unwrap_or(usize::MAX);
        let Some(length) = head.filter(|length| *length <= left) else { return Ok(false) };
        let spot = Spot { salt, segment: name.number, offset: at };
        let batch = BatchView::parse(part.at(at, length)?, name.epoch, spot);
        let follows = |batch: &BatchView<'_>| {
            batch.head.chain == chain && batch.head.sequence == sequence + 1
        };
        let Some(batch) = batch.filter(follows) else { return Ok(false) };
        at += batch.head.length;
        (chain, sequence) = (batch.chain, batch.head.sequence);
        each(batch);
    }
    Ok((at, chain, sequence) == (end.end, end.chain, end.sequence))
}

/// The part of a file that was read last.
struct Part<'a> {
    file: &'a dyn File,
    bytes: Vec<u8>,
    offset: u32,
}

impl Part<'_> {
    /// So many bytes from `offset` on, or fewer at the end of the file.
    fn at(&mut self, offset: u32, length: usize) -> io::Result<&[u8]> {
        let from = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
        if from.saturating_add(length) <= self.bytes.len() {
            return Ok(self.bytes.get(from..).unwrap_or_default());
        }
        self.bytes.resize(length.max(PART), 0);
        self.offset = offset;
        let read = self.file.read_at(&mut self.bytes, u64::from(offset))?;
        self.bytes.truncate(read);
        Ok(&self.bytes)
    }
}
