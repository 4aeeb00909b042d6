//! What a slave reads of a store while another one writes it, so that little is left to read when it
//! becomes the owner. It changes nothing on the disk.
//!
//! **Invariant:** only what the writer says is durable is replayed, and all of that is read again unless
//! the store goes on from it when it is ours: see [`Warm`].

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, error};

use super::audit::Audit;
use super::batch::{BATCH_HEAD, BatchHead, BatchView, Spot};
use super::disk::{Disk, File};
use super::epoch::Epochs;
use super::error::StoreError;
use super::recovery::{Warm, follow, mark_batch, replay_batch};
use super::replay::Replay;
use super::segment::{HeadRead, JOURNAL, Seal, SegmentHead, SegmentName};

/// Bytes that are read at a time, if no batch is larger.
const CHUNK: usize = 256 << 10;
/// Bytes in which a batch is looked for first.
const GLANCE: usize = 4 << 10;
/// Bytes of the head of a segment that are looked at.
const HEAD_BYTES: usize = 64 << 10;
/// Changes of one owner that may wait to be folded: a slave may wait for years.
const FOLD_AT: usize = 1 << 10;
/// Names of owners that are gone. Beyond it, the store is read afresh.
const GONE_MAX: usize = 1 << 20;

/// How far a slave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Batches that were replayed, over the life of the store.
    pub sequence: u64,
    /// Batches that were seen; those behind `sequence` are not known to be durable.
    pub seen: u64,
    /// Nothing can be followed: the store is empty, or is damaged.
    pub is_cold: bool,
}

/// Reads along.
#[derive(Debug)]
pub struct Follower {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    replay: Replay,
    audit: Option<Audit>,
    read: BTreeMap<SegmentName, Seal>,
    reading: Reading,
}

/// The newest segment.
#[derive(Debug)]
struct Reading {
    name: SegmentName,
    salt: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Behind the last batch that was seen.
    seen: Seal,
    /// Behind the last one that was replayed.
    replayed: Seal,
    /// The highest sequence that is said to be durable.
    durable: u64,
    /// Seen, and not replayed.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    offset: u32,
}

/// What one look has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    More,
    Nothing,
    /// What is there does not go on from what was read.
    Broken,
}

impl Follower {
    pub fn new(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned(), state: None }
    }

    /// Reads what has come since. When it cannot, the store is read as a whole by who becomes its owner.
    pub fn advance(&mut self) -> Progress {
        if let Err(failure) = self.try_advance() {
            debug!("cannot follow {}: {failure}", self.directory.display());
            self.state = None;
        }
        self.progress()
    }

    pub fn progress(&self) -> Progress {
        let Some(state) = &self.state else {
            return Progress { is_cold: true, ..Progress::default() };
        };
        let Reading { seen, replayed, .. } = &state.reading;
        Progress { sequence: replayed.sequence, seen: seen.sequence, is_cold: false }
    }

    /// What was read, for the owner.
    pub(super) fn into_warm(self) -> Warm {
        self.state.map_or_else(Warm::default, |state| Warm {
            replay: state.replay,
            audit: state.audit,
            read: state.read,
            last: Some(state.reading.replayed),
        })
    }

    fn try_advance(&mut self) -> Result<(), StoreError> {
        if self.state.as_ref().is_some_and(|state| state.replay.gone() > GONE_MAX) {
            self.state = None;
        }
        if self.state.is_none() {
            self.state = begin(&*self.disk, &self.directory)?;
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        loop {
            match state.look(&*self.disk, &self.directory)? {
                Look::More => {}
                Look::Nothing => return Ok(()),
                Look::Broken => {
                    self.state = None;
                    return Ok(());
                }
            }
        }
    }
}

/// Reads all that is finished, and finds the segment behind it.
fn begin(disk: &dyn Disk, directory: &Path) -> Result<Option<State>, StoreError> {
    let epochs = Epochs::open(disk, directory)?;
    let Some((mut found, name, head, start)) = follow(disk, directory, &epochs)? else {
        return Ok(None);
    };
    found.replay.fold_at(FOLD_AT);
    let read = found.segments.iter().map(|sealed| (sealed.name, sealed.end)).collect();
    let path = name.log_path(directory);
    let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
    let reading = Reading::new(name, &head, start, path, file);
    Ok(Some(State { replay: found.replay, audit: found.audit, read, reading }))
}

impl State {
    /// Takes one part of what is there.
    fn look(&mut self, disk: &dyn Disk, directory: &Path) -> Result<Look, StoreError> {
        if self.reading.take()? {
            self.replay();
            return Ok(Look::More);
        }
        let Some((name, head, start)) = next_segment(disk, directory, self.reading.name)? else {
            return Ok(Look::Nothing);
        };
        // It may have been begun after the look at the one before.
        if self.reading.take()? {
            self.replay();
            return Ok(Look::More);
        }
        if head.before != self.reading.seen {
            return Ok(Look::Broken);
        }
        // A segment is begun when all that is in the one before is durable.
        self.reading.durable = u64::MAX;
        self.replay();
        self.read.insert(self.reading.name, self.reading.seen);
        self.forget_gone(disk, directory)?;
        let path = name.log_path(directory);
        let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
        self.reading = Reading::new(name, &head, start, path, file);
        Ok(Look::More)
    }

    /// Replays what is durable.
    fn replay(&mut self) {
        let Reading { name, salt, durable, pending, replayed, path, .. } = &mut self.reading;
        while let Some(Pending { bytes, offset }) = pending.front() {
            let spot = Spot { salt: *salt, segment: name.number, offset: *offset };
            let Some(batch) = BatchView::parse(bytes, name.epoch, spot) else { return };
            if batch.head.sequence > *durable {
                return;
            }
            let mut unknown = Vec::new();
            replay_batch(batch, name.number, &mut self.replay, &mut unknown);
            mark_batch(batch, &mut self.audit);
            for (offset, why) in unknown {
                error!("{}: the record at {offset} is not understood: {why}", path.display());
            }
            *replayed = Seal {
                end: offset + batch.head.length,
                chain: batch.chain,
                sequence: batch.head.sequence,
                ..*replayed
            };
            pending.pop_front();
        }
    }

    /// Segments that their owner has deleted are of no interest any more.
    fn forget_gone(&mut self, disk: &dyn Disk, directory: &Path) -> Result<(), StoreError> {
        let journal = directory.join(JOURNAL);
        let names = disk.list(&journal).map_err(StoreError::io("list", &journal))?;
        let mut oldest =
            names.iter().filter_map(|name| SegmentName::parse(name, "log")).collect::<Vec<_>>();
        oldest.sort();
        if let Some(oldest) = oldest.first() {
            self.read = self.read.split_off(oldest);
        }
        Ok(())
    }
}

impl Reading {
    fn new(
        name: SegmentName,
        head: &SegmentHead,
        start: u32,
        path: PathBuf,
        file: Arc<dyn File>,
    ) -> Self {
        let seen = Seal { epoch: name.epoch, segment: name.number, end: start, ..head.before };
        let (salt, durable, pending) = (head.salt, 0, VecDeque::new());
        Self { name, salt, path, file, seen, replayed: seen, durable, pending }
    }

    /// Takes the batches that came since; says whether there were any.
    fn take(&mut self) -> Result<bool, StoreError> {
        let mut taken = false;
        let mut wanted = GLANCE;
        loop {
            let mut bytes = vec![0; wanted];
            let read = self.file.read_at(&mut bytes, u64::from(self.seen.end));
            let read = read.map_err(StoreError::io("read", &self.path))?;
            bytes.truncate(read);
            let whole = read < wanted;
            let used = self.take_from(&bytes);
            taken |= used > 0;
            let rest = bytes.get(used..).unwrap_or_default();
            // The batch that begins there may be longer than what was read.
            let told = BatchHead::length_told(rest).unwrap_or(0);
            if whole || rest.len() >= BATCH_HEAD && told <= rest.len() {
                return Ok(taken);
            }
            wanted = told.max(CHUNK);
            let limit = self.file.length().map_err(StoreError::io("measure", &self.path))?;
            let left = limit.saturating_sub(u64::from(self.seen.end));
            if told as u64 > left {
                return Ok(taken);
            }
        }
    }

    /// Takes the whole batches at the beginning of these bytes; says how many bytes they have.
    fn take_from(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..) {
            let spot = Spot { salt: self.salt, segment: self.name.number, offset: self.seen.end };
            let Some(batch) = BatchView::parse(rest, self.name.epoch, spot) else { break };
            let follows = batch.head.chain == self.seen.chain
                && batch.head.sequence == self.seen.sequence + 1;
            let Some(bytes) = usize::try_from(batch.head.length)
                .ok()
                .filter(|_| follows)
                .and_then(|length| rest.get(..length))
            else {
                break;
            };
            self.pending.push_back(Pending { bytes: bytes.to_vec(), offset: self.seen.end });
            self.durable = self.durable.max(batch.head.durable);
            self.seen = Seal {
                end: self.seen.end + batch.head.length,
                chain: batch.chain,
                sequence: batch.head.sequence,
                ..self.seen
            };
            used += bytes.len();
        }
        used
    }
}

/// The segment after this one, once it is begun.
fn next_segment(
    disk: &dyn Disk,
    directory: &Path,
    after: SegmentName,
) -> Result<Option<(SegmentName, SegmentHead, u32)>, StoreError> {
    let journal = directory.join(JOURNAL);
    let names = disk.list(&journal).map_err(StoreError::io("list", &journal))?;
    let names = names.iter().filter_map(|name| SegmentName::parse(name, "log"));
    let newer = |name: &SegmentName| *name > after && name.epoch >= after.epoch;
    let mut names: Vec<_> = names.filter(newer).collect();
    names.sort();
    for name in names {
        let path = name.log_path(directory);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let mut bytes = vec![0; HEAD_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(StoreError::io("read", &path))?;
        bytes.truncate(read);
        // One that is only prepared, or was left behind by an owner that had lost the store, is none.
        if let HeadRead::Valid(head, start) = SegmentHead::parse(&bytes, name)
            && head.before.segment >= after.number
        {
            return Ok(Some((name, head, start)));
        }
    }
    Ok(None)
}
