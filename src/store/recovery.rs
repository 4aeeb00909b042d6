//! The way back: from the files of a store to what it held.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::info;

use super::audit::Audit;
use super::batch::{ALIGNMENT, BatchHead, BatchView};
use super::bug::planted;
use super::damage::Damage;
use super::disk::{Disk, File, read_all, read_behind};
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
    pub(super) damage: Vec<Damage>,
    /// Most of it was read before.
    pub(super) followed: bool,
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

/// What was read of a store before it was ours. Nothing of it counts unless what is read then goes on
/// from it.
#[derive(Debug, Default)]
pub(super) struct Warm {
    pub(super) replay: Replay,
    pub(super) audit: Option<Audit>,
    /// Where each segment ends that was read as a whole.
    pub(super) read: BTreeMap<SegmentName, Seal>,
    /// How far the one behind them was read.
    pub(super) last: Option<Seal>,
}

/// What is to be read of a segment.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Whole,
    /// What is behind this.
    Behind(Seal),
    Nothing,
}

/// Reads what the journal in `directory` holds. Changes nothing; unless it `owns` the store: then what is
/// damaged is copied aside, and what was read is durable.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    epochs: &Epochs,
    owns: bool,
) -> Result<Found, StoreError> {
    let mut recovery = Recovery { disk, directory, epochs, owns, damage: Vec::new() };
    let survey = recovery.survey()?;
    recovery.read_all(survey, Warm::default())
}

/// The same for the owner of a store of which most was read before.
pub(super) fn recover_warm(
    disk: &dyn Disk,
    directory: &Path,
    epochs: &Epochs,
    warm: Warm,
) -> Result<Found, StoreError> {
    let mut recovery = Recovery { disk, directory, epochs, owns: true, damage: Vec::new() };
    let survey = recovery.survey()?;
    if warm.last.is_none() || warm.fits(&survey) {
        return recovery.read_all(survey, warm);
    }
    info!("{}: what was read as a slave is not what counts: it is read again", directory.display());
    recovery.read_all(survey, Warm::default())
}

/// Reads what another owner has finished, and says which segment comes behind that. `None` when there is
/// nothing to follow, or what there is is damaged, which the next owner sees to.
pub(super) fn follow(
    disk: &dyn Disk,
    directory: &Path,
    epochs: &Epochs,
) -> Result<Option<(Found, SegmentName, SegmentHead, u32)>, StoreError> {
    let mut recovery = Recovery { disk, directory, epochs, owns: false, damage: Vec::new() };
    let mut survey = recovery.survey()?;
    let Some((Candidate { name, head: Some((head, start)), .. }, _)) = survey.used.pop() else {
        return Ok(None);
    };
    let found = recovery.read_all(survey, Warm::default())?;
    let is_whole = !found.damage.iter().any(Damage::is_loss);
    let goes_on = found.segments.last().is_none_or(|sealed| sealed.end == head.before);
    Ok((is_whole && goes_on).then_some((found, name, head, start)))
}

/// The segments of a store.
#[derive(Debug)]
struct Survey {
    /// Those that count, the oldest first, with their ends.
    used: Vec<(Candidate, End)>,
    leftovers: Vec<String>,
    number: u32,
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
    damage: Vec<Damage>,
}

/// What lies in the directory of the segments.
struct Listing {
    /// All files that hold anything.
    candidates: Vec<Candidate>,
    footers: Vec<SegmentName>,
    /// The highest number in a name.
    number: u32,
}

impl Warm {
    /// What is left to read of a segment.
    fn rest(&self, name: SegmentName) -> Rest {
        if self.read.contains_key(&name) {
            return Rest::Nothing;
        }
        let is_last = |last: &Seal| (last.epoch, last.segment) == (name.epoch, name.number);
        self.last.filter(is_last).map_or(Rest::Whole, Rest::Behind)
    }

    /// Whether what was read is the beginning of what counts.
    fn fits(&self, survey: &Survey) -> bool {
        let Some(last) = self.last else { return false };
        let last_name = SegmentName { number: last.segment, epoch: last.epoch };
        let goes_on = |name, end| match (end, self.rest(name)) {
            (End::At(seal), Rest::Nothing) => self.read.get(&name) == Some(&seal),
            (End::Closed | End::Open, Rest::Nothing) => false,
            (End::At(seal), Rest::Behind(_)) => {
                seal == last || seal.epoch == last.epoch && seal.sequence > last.sequence
            }
            (End::Closed | End::Open, Rest::Behind(_)) => true,
            // Behind what was read only, so that changes come in their order.
            (_, Rest::Whole) => name > last_name,
        };
        let is_last = |found: &Candidate| found.name == last_name && found.head.is_some();
        survey.used.iter().any(|(found, _)| is_last(found))
            && survey.used.iter().all(|(found, end)| goes_on(found.name, *end))
    }
}

impl Recovery<'_> {
    fn survey(&mut self) -> Result<Survey, StoreError> {
        let mut leftovers = Vec::new();
        let Listing { candidates, footers, number } = self.candidates(&mut leftovers)?;
        self.check_slots(&candidates);
        let heads =
            || candidates.iter().filter_map(|found| found.head.as_ref().map(|(head, _)| head));
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
        // One who lost the store before its first segment was written says nothing of those that count.
        let ends: BTreeMap<SegmentName, Seal> = heads()
            .filter(|head| belongs(head.name))
            .map(|head| head.before)
            .chain(seals.values().copied())
            .map(|seal| (SegmentName { number: seal.segment, epoch: seal.epoch }, seal))
            .collect();
        let (mut used, strays): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|found| belongs(found.name));
        leftovers.extend(strays.iter().map(|stray| stray.name.log()));
        used.sort_by_key(|found| found.name);
        let unused = footers.iter().filter(|name| !used.iter().any(|found| found.name == **name));
        leftovers.extend(unused.map(|name| name.index()));
        let epochs_used: Vec<u64> = used.iter().map(|found| found.name.epoch).collect();
        let mut ended = Vec::with_capacity(used.len());
        for (index, found) in used.into_iter().enumerate() {
            let next = epochs_used.get(index + 1);
            let known = ends.get(&found.name).copied();
            let footer = || self.seal_of_footer(&found, footers.contains(&found.name));
            let end = match known.map_or_else(footer, |seal| Ok(Some(seal)))? {
                Some(seal) => End::At(seal),
                // A later segment of the same epoch was begun when all of this one was durable.
                None if next == Some(&found.name.epoch) => End::Closed,
                None => End::Open,
            };
            if next.is_none() && matches!(end, End::At(_)) {
                // Only what has a segment behind it gets a footer.
                self.note(Damage::Missing { after: found.name.number, before: None });
            }
            ended.push((found, end));
        }
        Ok(Survey { used: ended, leftovers, number })
    }

    /// Reads all segments, without what was read before, which must fit.
    fn read_all(&mut self, survey: Survey, mut warm: Warm) -> Result<Found, StoreError> {
        let (mut replay, mut audit) = (std::mem::take(&mut warm.replay), warm.audit.take());
        let Survey { used, mut leftovers, number } = survey;
        let mut segments: Vec<Sealed> = Vec::new();
        let mut progress = Progress::new(used.len());
        for (index, (found, end)) in used.into_iter().enumerate() {
            progress.at(self.directory, index);
            let before = segments.last().map(|sealed| sealed.end);
            self.missing(before, &found);
            let before = before.unwrap_or_default();
            let sealed = match (warm.rest(found.name), end) {
                (Rest::Nothing, End::At(seal)) => self.known(&found, seal),
                (rest, _) => self.read(&found, before, end, rest, (&mut replay, &mut audit))?,
            };
            match sealed {
                Some(sealed) => segments.push(sealed),
                None => leftovers.push(found.name.log()),
            }
        }
        if audit.is_none() {
            audit = self.audit(&segments)?;
        }
        let mut seals: Vec<Seal> = Vec::new();
        for sealed in &segments {
            match seals.last_mut() {
                Some(last) if last.epoch == sealed.end.epoch => *last = sealed.end,
                _ => seals.push(sealed.end),
            }
        }
        let (damage, followed) = (std::mem::take(&mut self.damage), warm.last.is_some());
        Ok(Found { replay, segments, seals, audit, leftovers, number, damage, followed })
    }

    /// A segment that was read before. Its footer, if there is one, was not looked at: it is a cache.
    fn known(&self, found: &Candidate, end: Seal) -> Option<Sealed> {
        let Candidate { name, length, salt, head } = found;
        let (head, start) = head.as_ref()?;
        let index = self.disk.open(&name.index_path(self.directory));
        let index = index.and_then(|file| file.length()).ok().filter(|length| *length > 0);
        Some(Sealed {
            name: *name,
            salt: *salt,
            start: *start,
            before: Before::Chain(head.before),
            end,
            damage: Vec::new(),
            length: *length,
            index,
        })
    }

    fn note(&mut self, damage: Damage) {
        damage.tell(self.directory);
        self.damage.push(damage);
    }

    fn candidates(&mut self, leftovers: &mut Vec<String>) -> Result<Listing, StoreError> {
        let journal = self.directory.join(JOURNAL);
        let listed = self.disk.list(&journal).map_err(StoreError::io("list", &journal))?;
        let named = |extension: &str| {
            let names = listed.iter().filter_map(|name| SegmentName::parse(name, extension));
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        let (names, footers) = (named("log"), named("idx"));
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
        Ok(Listing { candidates, footers, number })
    }

    /// Compares what `EPOCH` says of epochs with what their segments say, which counts.
    fn check_slots(&mut self, candidates: &[Candidate]) {
        let heads = candidates.iter().filter_map(|found| found.head.as_ref().map(|(head, _)| head));
        let salts: BTreeMap<u64, u64> = heads.map(|head| (head.name.epoch, head.salt)).collect();
        for (epoch, salt) in salts {
            if self.epochs.salt_of(epoch) != Some(salt) {
                self.note(Damage::Slot { epoch });
            }
        }
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
        &mut self,
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
                self.set_aside(found.name)?;
                leftovers.push(found.name.log());
            }
        }
        *candidates = kept;
        Ok(())
    }

    /// Keeps a file in which batches stand that cannot be read, as nothing says with which salt: it is
    /// not one that was only begun.
    fn set_aside(&mut self, name: SegmentName) -> Result<(), StoreError> {
        let bytes = self.load(name, 0)?.unwrap_or_default();
        if batches_by_look(&bytes, name.epoch) < 2 {
            return Ok(());
        }
        self.note(Damage::Unreadable { file: name.log() });
        if self.owns {
            self.quarantine(name, &bytes, 0, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }

    fn has_batch(&self, found: &Candidate) -> Result<bool, StoreError> {
        let bytes = self.load(found.name, 0)?.unwrap_or_default();
        let (name, salt, bytes) = (found.name, found.salt, &bytes[..]);
        let source =
            Source { name, salt, bytes, start: 0, before: Before::Number(0), end: End::Open };
        Ok(source.has_batch())
    }

    /// All bytes of a segment, with zeros for those in front of `known`; `None` when it is gone: the owner
    /// before us was still deleting what nobody needs.
    fn load(&self, name: SegmentName, known: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = name.log_path(self.directory);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        read_behind(&*file, known).map(Some).map_err(StoreError::io("read", &path))
    }

    /// Notes a gap between a segment and the one before.
    fn missing(&mut self, before: Option<Seal>, found: &Candidate) {
        let (Some(before), Some((head, _))) = (before, &found.head) else { return };
        if head.before.segment != before.segment {
            let (after, before) = (before.segment, Some(found.name.number));
            self.note(Damage::Missing { after, before });
        }
    }

    /// Replays one segment; `None` when it is none after all.
    fn read(
        &mut self,
        found: &Candidate,
        last: Seal,
        end: End,
        rest: Rest,
        (replay, audit): (&mut Replay, &mut Option<Audit>),
    ) -> Result<Option<Sealed>, StoreError> {
        let Candidate { name, length, salt, .. } = *found;
        if let (Rest::Whole, End::At(end), Some((head, start))) = (rest, end, &found.head)
            && audit.is_none()
            && let Some(index) = self.read_footer(name, salt, &end, replay)?
        {
            let (start, before) = (*start, Before::Chain(head.before));
            let (damage, index) = (Vec::new(), Some(index));
            return Ok(Some(Sealed { name, salt, start, before, end, damage, length, index }));
        }
        if self.owns && !matches!(end, End::At(_)) {
            self.settle(name)?;
        }
        let known = match rest {
            Rest::Behind(seal) => u64::from(seal.end),
            Rest::Whole | Rest::Nothing => 0,
        };
        let Some(bytes) = self.load(name, known)? else { return Ok(None) };
        let read = match rest {
            Rest::Behind(_) => None,
            Rest::Whole | Rest::Nothing => match SegmentHead::parse(&bytes, name) {
                HeadRead::Valid(head, start) => Some((head, start)),
                HeadRead::Blank | HeadRead::Damaged | HeadRead::Format(_) => None,
            },
        };
        let head = read.as_ref().or_else(|| found.head.as_ref().filter(|_| known > 0));
        let head = head.map(|(head, start)| (*start, Before::Chain(head.before)));
        // Without a head, the chain that leads into the segment is not known for certain.
        let (start, before) = head.unwrap_or((0, Before::Number(last.sequence)));
        let whole = Source { name, salt, bytes: &bytes, start, before, end };
        let source = match rest {
            Rest::Behind(seal) => Source { start: seal.end, before: Before::Chain(seal), ..whole },
            Rest::Whole | Rest::Nothing => whole,
        };
        let mut unknown = Vec::new();
        let mut batches = 0;
        let mut ends_in_order = false;
        let scanned = scan(source, |batch| {
            batches += 1;
            ends_in_order = batch.records().any(|record| record.kind == Kind::Counters as u8);
            replay_batch(batch, name.number, replay, &mut unknown);
            if audit.is_some() {
                mark_batch(batch, audit);
            }
        });
        if head.is_none() && batches == 0 && matches!(end, End::Open) {
            return Ok(None);
        }
        if head.is_none() {
            self.note(Damage::Head { file: name.log() });
        }
        for (offset, why) in unknown {
            self.note(Damage::Record { file: name.log(), offset, why });
        }
        if scanned.torn > 0 {
            let (from, bytes) = (scanned.end.end, scanned.torn);
            self.note(Damage::Torn { file: name.log(), from, bytes });
        }
        // Before anything follows the first batch, all of the file is there.
        let allocated = found.head.as_ref().map_or(0, |(head, _)| u64::from(head.allocated));
        if matches!(end, End::Open) && batches > 1 && !ends_in_order && length < allocated {
            self.note(Damage::Short { file: name.log(), length });
        }
        let skips = planted!(self.disk, SkipBadBatch);
        for (from, to) in scanned.damage.iter().copied().filter(|_| !skips) {
            self.note(Damage::Bytes { file: name.log(), from, to });
            if self.owns {
                self.quarantine(name, &bytes, from, to)?;
            }
        }
        let (end, mut damage) = (scanned.end, scanned.damage);
        if skips {
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

    /// Where a segment ends, as its footer says. There is one only if a later segment was begun.
    fn seal_of_footer(&self, found: &Candidate, listed: bool) -> Result<Option<Seal>, StoreError> {
        if !listed {
            return Ok(None);
        }
        let bytes = self.load_footer(found.name)?;
        let seal = bytes.and_then(|bytes| footer::seal(&bytes, found.salt));
        let (epoch, segment) = (found.name.epoch, found.name.number);
        Ok(seal.filter(|seal| (seal.epoch, seal.segment) == (epoch, segment)))
    }

    fn load_footer(&self, name: SegmentName) -> Result<Option<Vec<u8>>, StoreError> {
        let path = name.index_path(self.directory);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        read_all(&*file, u64::MAX).map(Some).map_err(StoreError::io("read", &path))
    }

    /// Replays the footer of a segment, if there is one; says how long it is.
    fn read_footer(
        &mut self,
        name: SegmentName,
        salt: u64,
        end: &Seal,
        replay: &mut Replay,
    ) -> Result<Option<u64>, StoreError> {
        let Some(bytes) = self.load_footer(name)? else { return Ok(None) };
        let trusted = planted!(self.disk, TrustFooter);
        let replayed = footer::replay(&bytes, salt, end, trusted, replay).unwrap_or(false);
        if !replayed {
            self.note(Damage::Footer { file: name.index() });
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
        self.disk.create_directory(&directory).map_err(StoreError::io("create", &directory))?;
        let file = match self.disk.create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            created => created.map_err(StoreError::io("create", &path))?,
        };
        info!("the bytes are kept in {}", path.display());
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
        scan(sealed.source(&bytes), |batch| mark_batch(batch, &mut audit));
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

/// Takes note of the messages in a batch, or of a whole snapshot.
pub(super) fn mark_batch(batch: BatchView<'_>, audit: &mut Option<Audit>) {
    for record in batch.records() {
        let kinds = [Kind::Audit, Kind::Add, Kind::Heard];
        if !kinds.into_iter().any(|kind| kind as u8 == record.kind) {
            continue;
        }
        match (Record::parse(record.kind, record.body), audit.as_mut()) {
            (Ok(Record::Audit(snapshot)), _) => *audit = Some(snapshot),
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
}

pub(super) fn replay_batch(
    batch: BatchView<'_>,
    segment: u32,
    replay: &mut Replay,
    unknown: &mut Vec<(u32, String)>,
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
            Err(error) => unknown.push((view.offset, error.to_string())),
        }
    }
}

/// Places that look like the beginning of a batch of this epoch, whose check may be wrong.
fn batches_by_look(bytes: &[u8], epoch: u64) -> usize {
    let heads = bytes.chunks(ALIGNMENT).enumerate().filter(|(index, _)| {
        let head = bytes.get(index * ALIGNMENT..).and_then(BatchHead::parse);
        head.is_some_and(|head| head.epoch == epoch)
    });
    heads.count()
}
