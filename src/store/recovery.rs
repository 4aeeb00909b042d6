//! The way back: from the files of a store to what it held.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{error, info, warn};

use super::audit::Audit;
use super::batch::BatchView;
use super::bug::planted;
use super::disk::{Disk, File, read_all};
use super::epoch::Epochs;
use super::error::StoreError;
use super::footer;
use super::record::{Kind, Record, decode_message};
use super::replay::{Place, Replay, events_of};
use super::scan::{Before, End, Source, scan};
use super::segment::{FORMAT, HeadRead, JOURNAL, Seal, SegmentHead, SegmentName};

/// Bytes in which the head of a segment is looked for first, and at most.
const HEAD_BYTES: u64 = 4 << 10;
const HEAD_BYTES_MAX: u64 = 16 << 20;
/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(1);
const QUARANTINE: &str = "quarantine";

/// A segment that nothing is appended to any more.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) name: SegmentName,
    pub(super) salt: u64,
    pub(super) start: u32,
    pub(super) before: Before,
    pub(super) end: Seal,
    /// What recovery has set aside.
    pub(super) damage: Vec<(u32, u32)>,
    /// Of its file.
    pub(super) length: u64,
    /// Of its footer, if it has one.
    pub(super) index: Option<u64>,
}

/// What the files of a store held.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) replay: Replay,
    /// The oldest first.
    pub(super) segments: Vec<Sealed>,
    pub(super) seals: Vec<Seal>,
    pub(super) audit: Option<Audit>,
    /// Files that belong to nothing: prepared and never used, or written by an owner that was one no more.
    pub(super) leftovers: Vec<String>,
    /// The highest number in the name of any segment.
    pub(super) number: u32,
    /// Damaged places.
    pub(super) damage: usize,
}

/// A file that may be a segment.
#[derive(Debug)]
struct Candidate {
    name: SegmentName,
    length: u64,
    salt: u64,
    /// With its length.
    head: Option<(SegmentHead, u32)>,
}

/// Reads what the journal in `directory` holds. Changes nothing; unless it `owns` the store: then what is
/// damaged is copied aside, and what was read is durable.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    epochs: &Epochs,
    owns: bool,
) -> Result<Found, StoreError> {
    let recovery = Recovery { disk, directory, epochs, owns };
    let mut leftovers = Vec::new();
    let (candidates, number) = recovery.candidates(&mut leftovers)?;
    let heads = || candidates.iter().filter_map(|found| found.head.as_ref().map(|(head, _)| head));
    let seals: BTreeMap<u64, Seal> = heads()
        .max_by_key(|head| head.name.epoch)
        .map(|head| head.seals.iter().map(|seal| (seal.epoch, *seal)).collect())
        .unwrap_or_default();
    let top = candidates.iter().map(|found| found.name.epoch).max().unwrap_or(0);
    let top_is_known = heads().any(|head| head.name.epoch == top);
    let belongs = |name: SegmentName| {
        name.epoch == top
            || seals.get(&name.epoch).is_some_and(|seal| name.number <= seal.segment)
            || !top_is_known && !seals.contains_key(&name.epoch)
    };
    let ends: BTreeMap<SegmentName, Seal> = heads()
        .map(|head| head.before)
        .chain(seals.values().copied())
        .map(|seal| (SegmentName { number: seal.segment, epoch: seal.epoch }, seal))
        .collect();
    let (mut used, strays): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|found| belongs(found.name));
    leftovers.extend(strays.iter().map(|stray| stray.name.log()));
    used.sort_by_key(|found| found.name);
    leftovers.extend(recovery.unused_footers(&used)?);

    let mut replay = Replay::default();
    let mut segments: Vec<Sealed> = Vec::new();
    let mut damage = 0;
    let count = used.len();
    let mut progress = Progress::new(count);
    for (index, found) in used.into_iter().enumerate() {
        progress.at(directory, index);
        let end = match ends.get(&found.name) {
            Some(seal) => End::At(*seal),
            None if index + 1 == count => End::Open,
            None => End::Closed,
        };
        let before = segments.last().map(|sealed| sealed.end);
        damage += recovery.missing(before, &found);
        match recovery.read(&found, before.unwrap_or_default(), end, &mut replay)? {
            Some(sealed) => {
                damage += sealed.damage.len();
                segments.push(sealed);
            }
            None => leftovers.push(found.name.log()),
        }
    }
    let audit = recovery.audit(&segments)?;
    let mut seals: Vec<Seal> = Vec::new();
    for sealed in &segments {
        match seals.last_mut() {
            Some(last) if last.epoch == sealed.end.epoch => *last = sealed.end,
            _ => seals.push(sealed.end),
        }
    }
    Ok(Found { replay, segments, seals, audit, leftovers, number, damage })
}

/// Says how long it takes, if it takes long.
struct Progress {
    started: Instant,
    told: Instant,
    count: usize,
}

impl Progress {
    fn new(count: usize) -> Self {
        Self { started: Instant::now(), told: Instant::now(), count }
    }

    fn at(&mut self, directory: &Path, done: usize) {
        if self.told.elapsed() < PROGRESS {
            return;
        }
        self.told = Instant::now();
        let left = self.count.saturating_sub(done);
        let seconds = self.started.elapsed().as_secs_f64() * left as f64 / done.max(1) as f64;
        info!(
            "reading the store {}: {done} of {} segments, about {seconds:.0} s to go",
            directory.display(),
            self.count
        );
    }
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    directory: &'a Path,
    epochs: &'a Epochs,
    owns: bool,
}

impl Recovery<'_> {
    /// All files that hold anything, and the highest number in a name.
    fn candidates(&self, leftovers: &mut Vec<String>) -> Result<(Vec<Candidate>, u32), StoreError> {
        let journal = self.directory.join(JOURNAL);
        let names = self.disk.list(&journal).map_err(StoreError::io("list", &journal))?;
        let mut names: Vec<_> =
            names.iter().filter_map(|name| SegmentName::parse(name, "log")).collect();
        names.sort();
        let number = names.last().map_or(0, |name| name.number);
        let mut candidates = Vec::new();
        for name in names {
            let path = name.log_path(self.directory);
            let file = match self.disk.open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(StoreError::io("open", &path))?,
            };
            let length = file.length().map_err(StoreError::io("measure", &path))?;
            match self.head(name, &*file, length)? {
                HeadRead::Valid(head, length_of_head) => {
                    let (salt, head) = (head.salt, Some((head, length_of_head)));
                    candidates.push(Candidate { name, length, salt, head });
                }
                HeadRead::Blank if length == 0 => leftovers.push(name.log()),
                HeadRead::Blank | HeadRead::Damaged => {
                    let salt = self.epochs.salt_of(name.epoch).unwrap_or(0);
                    candidates.push(Candidate { name, length, salt, head: None });
                }
                HeadRead::Format(found) => {
                    return Err(StoreError::Format { path, found, known: FORMAT });
                }
            }
        }
        self.drop_unused(&mut candidates, leftovers)?;
        Ok((candidates, number))
    }

    /// Footers of segments that are gone.
    fn unused_footers(&self, used: &[Candidate]) -> Result<Vec<String>, StoreError> {
        let journal = self.directory.join(JOURNAL);
        let mut names = self.disk.list(&journal).map_err(StoreError::io("list", &journal))?;
        names.retain(|name| {
            SegmentName::parse(name, "idx")
                .is_some_and(|index| !used.iter().any(|found| found.name == index))
        });
        Ok(names)
    }

    fn head(
        &self,
        name: SegmentName,
        file: &dyn File,
        length: u64,
    ) -> Result<HeadRead, StoreError> {
        let mut limit = HEAD_BYTES;
        loop {
            let bytes = read_all(file, limit)
                .map_err(StoreError::io("read", &name.log_path(self.directory)))?;
            let read = SegmentHead::parse(&bytes, name);
            if limit >= length.min(HEAD_BYTES_MAX) || !matches!(read, HeadRead::Damaged) {
                return Ok(read);
            }
            limit *= 16;
        }
    }

    /// Files without a valid head are segments only if something was confirmed in them.
    fn drop_unused(
        &self,
        candidates: &mut Vec<Candidate>,
        leftovers: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let heads = || candidates.iter().filter_map(|found| found.head.as_ref());
        let known: Vec<(u64, u32)> = heads()
            .flat_map(|(head, _)| head.seals.iter().chain([&head.before]))
            .map(|seal| (seal.epoch, seal.segment))
            .collect();
        let salts: BTreeMap<u64, u64> =
            heads().map(|(head, _)| (head.name.epoch, head.salt)).collect();
        let mut kept = Vec::new();
        for mut found in candidates.drain(..) {
            found.salt = salts.get(&found.name.epoch).copied().unwrap_or(found.salt);
            let is_known = known.contains(&(found.name.epoch, found.name.number));
            if found.head.is_some() || is_known || self.has_batch(&found)? {
                kept.push(found);
            } else {
                leftovers.push(found.name.log());
            }
        }
        *candidates = kept;
        Ok(())
    }

    fn has_batch(&self, found: &Candidate) -> Result<bool, StoreError> {
        let bytes = self.load(found.name)?.unwrap_or_default();
        let (name, salt, bytes) = (found.name, found.salt, &bytes[..]);
        let source =
            Source { name, salt, bytes, start: 0, before: Before::Number(0), end: End::Open };
        Ok(source.has_batch())
    }

    /// All bytes of a segment; `None` when it is gone: the owner before us was still deleting what
    /// nobody needs.
    fn load(&self, name: SegmentName) -> Result<Option<Vec<u8>>, StoreError> {
        let path = name.log_path(self.directory);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        read_all(&*file, u64::MAX).map(Some).map_err(StoreError::io("read", &path))
    }

    /// Counts a gap between a segment and the one before.
    fn missing(&self, before: Option<Seal>, found: &Candidate) -> usize {
        let (Some(before), Some((head, _))) = (before, &found.head) else { return 0 };
        if head.before.segment == before.segment {
            return 0;
        }
        error!(
            "journal segments between {} and {} are missing: what they held is lost, and what they \
             removed may be back",
            before.segment, found.name.number
        );
        1
    }

    /// Replays one segment; `None` when it is none after all.
    fn read(
        &self,
        found: &Candidate,
        last: Seal,
        end: End,
        replay: &mut Replay,
    ) -> Result<Option<Sealed>, StoreError> {
        let Candidate { name, length, salt, .. } = *found;
        let path = name.log_path(self.directory);
        if let (End::At(end), Some((head, start))) = (end, &found.head)
            && let Some(index) = self.read_footer(name, salt, &end, replay)?
        {
            let (start, before) = (*start, Before::Chain(head.before));
            let (damage, index) = (Vec::new(), Some(index));
            return Ok(Some(Sealed { name, salt, start, before, end, damage, length, index }));
        }
        if self.owns && !matches!(end, End::At(_)) {
            self.settle(name)?;
        }
        let Some(bytes) = self.load(name)? else { return Ok(None) };
        let head = match SegmentHead::parse(&bytes, name) {
            HeadRead::Valid(head, start) => Some((start, Before::Chain(head.before))),
            HeadRead::Blank | HeadRead::Damaged | HeadRead::Format(_) => None,
        };
        // Without a head, the chain that leads into the segment is not known for certain.
        let (start, before) = head.unwrap_or((0, Before::Number(last.sequence)));
        let source = Source { name, salt, bytes: &bytes, start, before, end };
        let mut unknown = Vec::new();
        let mut batches = 0;
        let scanned = scan(source, |batch| {
            batches += 1;
            replay_batch(batch, name.number, replay, &mut unknown);
        });
        if head.is_none() && batches == 0 && matches!(end, End::Open) {
            return Ok(None);
        }
        for text in unknown {
            error!("{}: {text}", path.display());
        }
        if scanned.torn > 0 {
            warn!(
                "{}: cut off at {}: the {} bytes behind were being written when the broker stopped",
                path.display(),
                scanned.end.end,
                scanned.torn
            );
        }
        for (from, to) in scanned.damage.iter().filter(|_| self.owns) {
            self.quarantine(name, &bytes, *from, *to)?;
        }
        let (end, mut damage) = (scanned.end, scanned.damage);
        if planted!(self.disk, SkipBadBatch) {
            damage.clear();
        }
        Ok(Some(Sealed { name, salt, start, before, end, damage, length, index: None }))
    }

    /// Makes a segment durable before it counts: the owner before us may have been stopped before its
    /// sync, or by one that failed.
    fn settle(&self, name: SegmentName) -> Result<(), StoreError> {
        let path = name.log_path(self.directory);
        match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            opened => opened.and_then(|file| file.settle()).map_err(StoreError::io("sync", &path)),
        }
    }

    /// Replays the footer of a segment, if there is one; says how long it is.
    fn read_footer(
        &self,
        name: SegmentName,
        salt: u64,
        end: &Seal,
        replay: &mut Replay,
    ) -> Result<Option<u64>, StoreError> {
        let path = name.index_path(self.directory);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let bytes = read_all(&*file, u64::MAX).map_err(StoreError::io("read", &path))?;
        let trusted = planted!(self.disk, TrustFooter);
        let replayed = footer::replay(&bytes, salt, end, trusted, replay).unwrap_or(false);
        if !replayed {
            info!("{} is not whole, or of another segment: it will be made again", path.display());
        }
        Ok(replayed.then_some(bytes.len() as u64))
    }

    /// Keeps damaged bytes for people to look at.
    fn quarantine(
        &self,
        name: SegmentName,
        bytes: &[u8],
        from: u32,
        to: u32,
    ) -> Result<(), StoreError> {
        let directory = self.directory.join(QUARANTINE);
        let path = directory.join(format!("{}-{from}-{to}", name.log()));
        error!(
            "{}: damaged from {from} to {to}: what was stored there is lost; the bytes are kept in {}",
            name.log_path(self.directory).display(),
            path.display()
        );
        self.disk.create_directory(&directory).map_err(StoreError::io("create", &directory))?;
        let file = match self.disk.create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            created => created.map_err(StoreError::io("create", &path))?,
        };
        let end = usize::try_from(to).unwrap_or(usize::MAX).min(bytes.len());
        let damaged = usize::try_from(from).ok().and_then(|from| bytes.get(from..end));
        file.write_at(damaged.unwrap_or_default(), 0).map_err(StoreError::io("write", &path))?;
        file.sync().map_err(StoreError::io("sync", &path))
    }

    /// The audit: its last snapshot, and the messages behind that.
    fn audit(&self, segments: &[Sealed]) -> Result<Option<Audit>, StoreError> {
        for (index, sealed) in segments.iter().enumerate().rev() {
            let mut audit = self.audit_from(sealed, None)?;
            if audit.is_some() {
                for sealed in segments.get(index + 1..).unwrap_or_default() {
                    audit = self.audit_from(sealed, audit)?;
                }
                return Ok(audit);
            }
        }
        Ok(None)
    }

    fn audit_from(
        &self,
        sealed: &Sealed,
        mut audit: Option<Audit>,
    ) -> Result<Option<Audit>, StoreError> {
        let bytes = sealed.load(self.disk, self.directory)?;
        scan(sealed.source(&bytes), |batch| {
            for record in batch.records() {
                let kinds = [Kind::Audit, Kind::Add, Kind::Heard];
                if !kinds.into_iter().any(|kind| kind as u8 == record.kind) {
                    continue;
                }
                match (Record::parse(record.kind, record.body), &mut audit) {
                    (Ok(Record::Audit(snapshot)), _) => audit = Some(snapshot),
                    (Ok(Record::Add(held)), Some(audit)) => {
                        if let Ok(message) = decode_message(Bytes::copy_from_slice(held.message)) {
                            audit.mark(&message);
                        }
                    }
                    (Ok(Record::Heard(producer, sequence)), Some(audit)) => {
                        audit.mark_sequence(producer, sequence);
                    }
                    _ => {}
                }
            }
        });
        Ok(audit)
    }
}

impl Sealed {
    /// Bytes of all its files.
    pub(super) fn used(&self) -> u64 {
        self.length + self.index.unwrap_or(0)
    }

    /// All of its bytes up to its end.
    pub(super) fn load(&self, disk: &dyn Disk, directory: &Path) -> Result<Vec<u8>, StoreError> {
        let path = self.name.log_path(directory);
        let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
        read_all(&*file, u64::from(self.end.end)).map_err(StoreError::io("read", &path))
    }

    pub(super) fn source<'a>(&self, bytes: &'a [u8]) -> Source<'a> {
        let Self { name, salt, start, before, .. } = *self;
        Source { name, salt, bytes, start, before, end: End::At(self.end) }
    }
}

fn replay_batch(
    batch: BatchView<'_>,
    segment: u32,
    replay: &mut Replay,
    unknown: &mut Vec<String>,
) {
    for view in batch.records() {
        let bytes = view.bytes.len();
        match Record::parse(view.kind, view.body) {
            Ok(record) => {
                if let Record::Add(held) | Record::Copy(held) = &record {
                    let counters = &mut replay.counters;
                    counters.broker_sequence = counters.broker_sequence.max(held.broker_sequence);
                }
                events_of(&record, segment, view.offset, bytes, |event| {
                    replay.events(segment, event.owner, [(event.key, event.change)].into_iter());
                });
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                replay.state(record, Place { segment, bytes });
            }
            Err(error) => {
                unknown.push(format!("the record at {} is not understood: {error}", view.offset))
            }
        }
    }
}
