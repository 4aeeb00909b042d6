//! Reads a segment from its beginning to its end, and says what is damaged in it.

use super::batch::{ALIGNMENT, BATCH_HEAD, BatchView, Spot};
use super::segment::{Seal, SegmentName};

/// Where a segment ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// There: what follows was never confirmed.
    At(Seal),
    /// Where nothing valid follows. All that was written was confirmed, as there is a later segment.
    Closed,
    /// Somewhere: the writer may have been stopped in the middle of a batch.
    Open,
}

/// What came before a segment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before {
    /// As its head says.
    Chain(Seal),
    /// Its head cannot be read: batches up to this sequence.
    Number(u64),
}

/// A segment to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: SegmentName,
    pub(super) salt: u64,
    pub(super) bytes: &'a [u8],
    /// Where its first batch begins.
    pub(super) start: u32,
    pub(super) before: Before,
    pub(super) end: End,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) end: Seal,
    /// From where to where nothing valid stands that was confirmed.
    pub(super) damage: Vec<(u32, u32)>,
    /// Bytes behind the end that a stopped write left.
    pub(super) torn: u32,
}

/// Calls `each` with every valid batch, in order.
pub(super) fn scan<'a>(source: Source<'a>, mut each: impl FnMut(BatchView<'a>)) -> Scanned {
    let (before, mut chain) = match source.before {
        Before::Chain(seal) => (seal, Some(seal.chain)),
        Before::Number(sequence) => (Seal { sequence, ..Seal::default() }, None),
    };
    let mut at = source.start;
    let mut damage = Vec::new();
    let mut end = Seal { epoch: source.name.epoch, segment: source.name.number, end: at, ..before };
    let limit = match source.end {
        End::At(seal) => seal.end,
        End::Closed | End::Open => u32::try_from(source.bytes.len()).unwrap_or(u32::MAX),
    };
    while at < limit {
        if let Some(batch) = source.batch(at, limit)
            && chain.is_none_or(|chain| chain == batch.head.chain)
            && (batch.head.sequence == end.sequence + 1 || chain.is_none())
            && batch.head.sequence > end.sequence
        {
            at += batch.head.length;
            (end.end, end.chain, end.sequence) = (at, batch.chain, batch.head.sequence);
            chain = Some(batch.chain);
            each(batch);
            continue;
        }
        let next = source.later(at + 1, limit, end.sequence);
        let confirmed = match source.end {
            End::At(_) | End::Closed => true,
            End::Open => source.confirms(at, limit, end.sequence),
        };
        match next.filter(|_| confirmed) {
            Some(next) => {
                damage.push((at, next));
                at = next;
                chain = None;
            }
            None => break,
        }
    }
    if let End::At(seal) = source.end {
        if at < seal.end {
            damage.push((at, seal.end));
        }
        end = seal;
    }
    let behind = usize::try_from(end.end).ok().and_then(|end| source.bytes.get(end..));
    let torn = match source.end {
        End::Open => behind.and_then(|behind| behind.iter().rposition(|byte| *byte != 0)),
        End::At(_) | End::Closed => None,
    };
    let torn = torn.map_or(0, |last| u32::try_from(last + 1).unwrap_or(u32::MAX));
    Scanned { end, damage, torn }
}

impl<'a> Source<'a> {
    fn batch(&self, at: u32, limit: u32) -> Option<BatchView<'a>> {
        let (from, to) = (usize::try_from(at).ok()?, usize::try_from(limit).ok()?);
        let bytes = self.bytes.get(from..to.min(self.bytes.len()))?;
        let spot = Spot { salt: self.salt, segment: self.name.number, offset: at };
        BatchView::parse(bytes, self.name.epoch, spot)
    }

    /// Where the next batch begins that came after batch `sequence`.
    fn later(&self, from: u32, limit: u32, sequence: u64) -> Option<u32> {
        let aligned = from.checked_next_multiple_of(ALIGNMENT as u32)?;
        let last = limit.checked_sub(BATCH_HEAD as u32)?;
        (aligned..=last).step_by(ALIGNMENT).find(|at| {
            let batch = self.looks_right(*at).then(|| self.batch(*at, limit)).flatten();
            batch.is_some_and(|batch| batch.head.sequence > sequence)
        })
    }

    /// A cheap look before the check of a whole batch.
    fn looks_right(&self, at: u32) -> bool {
        let bytes = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        bytes.is_some_and(|bytes| bytes.starts_with(b"OWB1"))
    }

    /// Whether a batch behind `from` says that the one after `sequence` was durable.
    fn confirms(&self, from: u32, limit: u32, sequence: u64) -> bool {
        let mut from = from + 1;
        while let Some(at) = self.later(from, limit, sequence) {
            let Some(batch) = self.batch(at, limit) else { return false };
            if batch.head.durable > sequence {
                return true;
            }
            from = at.saturating_add(batch.head.length);
        }
        false
    }

    /// Whether there is any batch in it.
    pub(super) fn has_batch(&self) -> bool {
        self.later(0, u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), 0).is_some()
    }
}
