//! Looks into a store without changing it, also while a broker has it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;

use super::batch::{RecordView, Spot};
use super::damage::Damage;
use super::disk::{Disk, read_all};
use super::epoch::Epochs;
use super::error::StoreError;
use super::footer;
use super::group::OwnerRecord;
use super::place::{Key, OwnerId};
use super::record::{Held, Record, decode_message};
use super::recovered::Stored;
use super::recovery::{Found, Sealed, recover};
use super::scan::scan;

/// What a store holds and what keeps its files.
#[derive(Debug)]
pub struct Stats {
    /// The last one that was claimed.
    pub epoch: u64,
    /// The oldest first.
    pub segments: Vec<SegmentStats>,
    pub owners: Vec<OwnerStats>,
    /// Prepared branches that wait for their outcome.
    pub branches: Vec<BranchStats>,
    pub broker_sequence: i64,
}

#[derive(Debug)]
pub struct SegmentStats {
    pub file: String,
    /// Of the file, and of what is needed in it.
    pub bytes: u64,
    pub live_bytes: u64,
    pub has_footer: bool,
    /// From where to where it is damaged.
    pub damage: Vec<(u32, u32)>,
    /// Who has how many messages in it, the most first.
    pub pinned_by: Vec<(String, usize)>,
}

#[derive(Debug)]
pub struct OwnerStats {
    pub name: String,
    pub messages: usize,
    pub bytes: u64,
    /// The oldest segment that holds one.
    pub oldest_file: Option<String>,
}

#[derive(Debug)]
pub struct BranchStats {
    pub xid: String,
    pub sends: usize,
    pub acks: usize,
    pub file: Option<String>,
}

/// Whether all that a store holds can be read.
#[derive(Debug, Default)]
pub struct Verification {
    pub segments: usize,
    pub messages: usize,
    /// One for each thing that is wrong.
    pub problems: Vec<String>,
}

/// Names what an owner is.
fn name_of(id: OwnerId, record: Option<&OwnerRecord>) -> String {
    match record {
        Some(OwnerRecord::Destination(destination)) => destination.to_string(),
        Some(OwnerRecord::Durable { client_id, name, .. }) => {
            format!("durable subscription {client_id}:{name}")
        }
        Some(OwnerRecord::Scheduler { id }) => format!("scheduler {id}"),
        None => format!("unknown owner {}", id.0),
    }
}

/// Messages by where they lie.
type ByPlace = BTreeMap<u32, BTreeMap<(OwnerId, Key), Stored>>;

/// Reads a store, with the messages of each owner whose record is there, by segment.
fn read(disk: &dyn Disk, directory: &Path) -> Result<(Found, ByPlace), StoreError> {
    let epochs = Epochs::open(disk, directory)?;
    let mut found = recover(disk, directory, &epochs, false)?;
    let mut messages = ByPlace::new();
    for (id, owner) in &mut found.replay.owners {
        let taken = owner.take_messages();
        if owner.record.is_none() {
            continue;
        }
        for (key, stored) in taken {
            messages.entry(stored.at.segment).or_default().insert((*id, key), stored);
        }
    }
    Ok((found, messages))
}

/// Counts what is in a store.
///
/// # Errors
/// When the files cannot be read.
pub fn stats(disk: &dyn Disk, directory: &Path) -> Result<Stats, StoreError> {
    let epoch = Epochs::open(disk, directory)?.last(directory)?;
    let (found, messages) = read(disk, directory)?;
    let records = |id: &OwnerId| {
        let owner = found.replay.owners.get(id);
        owner.and_then(|owner| owner.record.as_ref()).map(|(record, _)| record)
    };
    let file = |segment: u32| {
        let mut segments = found.segments.iter();
        segments.find(|sealed| sealed.name.number == segment).map(|sealed| sealed.name.log())
    };
    let segments = found.segments.iter().map(|sealed| {
        let held = messages.get(&sealed.name.number);
        let mut owners: BTreeMap<OwnerId, usize> = BTreeMap::new();
        for (id, _) in held.into_iter().flat_map(BTreeMap::keys) {
            *owners.entry(*id).or_default() += 1;
        }
        let mut pinned_by: Vec<_> =
            owners.iter().map(|(id, count)| (name_of(*id, records(id)), *count)).collect();
        pinned_by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        SegmentStats {
            file: sealed.name.log(),
            bytes: sealed.length,
            live_bytes: held
                .map_or(0, |held| held.values().map(|stored| u64::from(stored.at.bytes)).sum()),
            has_footer: sealed.index.is_some(),
            damage: sealed.damage.clone(),
            pinned_by,
        }
    });
    let segments = segments.collect();
    let mut ids: Vec<_> = found.replay.owners.keys().filter(|id| records(id).is_some()).collect();
    ids.sort();
    let owners = ids.into_iter().map(|id| {
        let held = |held: &BTreeMap<(OwnerId, Key), Stored>| -> (usize, u64) {
            let first = (*id, Key::from_bits(0));
            let mine = held.range(first..).take_while(|((owner, _), _)| owner == id);
            mine.fold((0, 0), |(count, bytes), (_, stored)| {
                (count + 1, bytes + u64::from(stored.at.bytes))
            })
        };
        let by_segment: Vec<_> =
            messages.iter().map(|(segment, all)| (*segment, held(all))).collect();
        let oldest = by_segment.iter().find(|(_, (count, _))| *count > 0);
        OwnerStats {
            name: name_of(*id, records(id)),
            messages: by_segment.iter().map(|(_, (count, _))| count).sum(),
            bytes: by_segment.iter().map(|(_, (_, bytes))| bytes).sum(),
            oldest_file: oldest.and_then(|(segment, _)| file(*segment)),
        }
    });
    let owners = owners.collect();
    let branches = found.replay.branches.values().map(|(_, branch, place)| BranchStats {
        xid: branch.xid.to_string(),
        sends: branch.sends.len(),
        acks: branch.acks.len(),
        file: file(place.segment),
    });
    let branches = branches.collect();
    let broker_sequence = found.replay.counters.broker_sequence;
    Ok(Stats { epoch, segments, owners, branches, broker_sequence })
}

/// Reads all that a store holds, each message with its check, and compares footers with segments.
///
/// # Errors
/// When the files cannot be read at all.
pub fn verify(disk: &dyn Disk, directory: &Path) -> Result<Verification, StoreError> {
    let (found, messages) = read(disk, directory)?;
    let mut verification =
        Verification { segments: found.segments.len(), ..Verification::default() };
    for sealed in &found.segments {
        let bytes = Bytes::from(sealed.load(disk, directory)?);
        let file = sealed.name.log();
        // A segment with a footer was not read as a whole yet.
        let mut builder = footer::Builder::default();
        let scanned = scan(sealed.source(&bytes), |batch| builder.take(sealed.name.number, batch));
        let undamaged = scanned.damage.is_empty();
        for (from, to) in scanned.damage {
            verification.problems.push(format!("{file} is damaged from {from} to {to}"));
        }
        let expected = undamaged.then(|| builder.finish(sealed)).flatten();
        if sealed.index.is_some() && expected != footer_of(disk, directory, sealed)? {
            verification
                .problems
                .push(format!("{} is not the footer of {file}", sealed.name.index()));
        }
        let held = messages.get(&sealed.name.number);
        for ((id, key), stored) in held.into_iter().flatten() {
            verification.messages += 1;
            if !is_whole(sealed, &bytes, stored.at.offset) {
                let owner = found.replay.owners.get(id).and_then(|owner| owner.record.as_ref());
                let name = name_of(*id, owner.map(|(record, _)| record));
                let offset = stored.at.offset;
                verification
                    .problems
                    .push(format!("{file}: message {key:?} of {name} at {offset} cannot be read"));
            }
        }
    }
    // Damaged bytes were named above, also those in segments that recovery did not read as a whole; and
    // a broker may be writing.
    let others = found
        .damage
        .iter()
        .filter(|damage| !matches!(damage, Damage::Bytes { .. } | Damage::Torn { .. }));
    verification.problems.extend(others.map(Damage::to_string));
    Ok(verification)
}

fn footer_of(
    disk: &dyn Disk,
    directory: &Path,
    sealed: &Sealed,
) -> Result<Option<bytes::BytesMut>, StoreError> {
    let path = sealed.name.index_path(directory);
    let file = disk.open(&path).map_err(StoreError::io("open", &path))?;
    let bytes = read_all(&*file, u64::MAX).map_err(StoreError::io("read", &path))?;
    Ok(Some(bytes.as_slice().into()))
}

fn is_whole(sealed: &Sealed, bytes: &Bytes, offset: u32) -> bool {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    let spot = Spot { salt: sealed.salt, segment: sealed.name.number, offset };
    let record = rest.and_then(|rest| RecordView::parse(rest, spot));
    record.is_some_and(|record| match Record::parse(record.kind, record.body) {
        Ok(Record::Add(held) | Record::Copy(held)) => {
            decode_message(bytes.slice_ref(held.message)).is_ok()
        }
        Ok(_) | Err(_) => false,
    })
}

/// Writes a line for each batch and record.
///
/// # Errors
/// When the files cannot be read, or the output is closed.
pub fn dump(disk: &dyn Disk, directory: &Path, out: &mut dyn Write) -> Result<(), StoreError> {
    let epochs = Epochs::open(disk, directory)?;
    let found = recover(disk, directory, &epochs, false)?;
    for sealed in &found.segments {
        let bytes = sealed.load(disk, directory)?;
        dump_segment(sealed, &bytes, out).map_err(StoreError::io("dump", directory))?;
    }
    Ok(())
}

fn dump_segment(sealed: &Sealed, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} up to {}", sealed.name.log(), sealed.end.end)?;
    let mut written = Ok(());
    let scanned = scan(sealed.source(bytes), |batch| {
        let head = batch.head;
        if written.is_ok() {
            written = writeln!(
                out,
                "  batch {}: {} bytes, {} records, durable up to {}",
                head.sequence, head.length, head.records, head.durable
            );
        }
        for view in batch.records() {
            if written.is_ok() {
                written = writeln!(out, "    {:>10} {}", view.offset, Shown(view));
            }
        }
    });
    written?;
    for (from, to) in scanned.damage {
        writeln!(out, "  damaged from {from} to {to}")?;
    }
    Ok(())
}

/// A record in one line.
struct Shown<'a>(RecordView<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.bytes.len();
        match Record::parse(self.0.kind, self.0.body) {
            Ok(Record::Add(held)) => show_held(f, "add", bytes, &held),
            Ok(Record::Copy(held)) => show_held(f, "copy", bytes, &held),
            Ok(Record::Remove(owner, keys)) => {
                write!(f, "remove from {}:", owner.0)?;
                keys.iter().try_for_each(|key| write!(f, " {key:?}"))
            }
            Ok(Record::Redelivered(owner, key, count)) => {
                write!(f, "redelivered {key:?} of {}: {count} times", owner.0)
            }
            Ok(Record::Fired(owner, key, count, due_ms)) => {
                write!(f, "fired {key:?} of {}: {count} times, due again at {due_ms}", owner.0)
            }
            Ok(Record::Owner { id, sequence, record }) => {
                let name = name_of(id, Some(&record));
                write!(f, "owner {}: {name}, keys up to {sequence}", id.0)
            }
            Ok(Record::OwnerGone(id)) => write!(f, "owner {} is gone", id.0),
            Ok(Record::Prepared(branch)) => {
                let (sends, acks) = (branch.sends.len(), branch.acks.len());
                write!(f, "prepared {}: {sends} sends, {acks} acks, {bytes} bytes", branch.xid)
            }
            Ok(Record::Outcome(xid)) => write!(f, "outcome of {xid}"),
            Ok(Record::Audit(_)) => write!(f, "audit of producers, {bytes} bytes"),
            Ok(Record::Counters(counters)) => {
                let (owner, sequence) = (counters.next_owner, counters.broker_sequence);
                write!(f, "next owner {owner}, broker sequence {sequence}")
            }
            Ok(Record::Sequence(id, sequence)) => {
                write!(f, "owner {}: keys up to {sequence}", id.0)
            }
            Ok(Record::Heard((connection, session, producer), sequence)) => {
                write!(f, "heard {connection}:{session}:{producer}:{sequence}")
            }
            Err(error) => write!(f, "kind {}, not understood: {error}", self.0.kind),
        }
    }
}

fn show_held(f: &mut fmt::Formatter<'_>, what: &str, bytes: usize, held: &Held<'_>) -> fmt::Result {
    write!(f, "{what} {bytes} bytes to")?;
    held.holders().try_for_each(|(owner, key)| write!(f, " {}:{key:?}", owner.0))?;
    let message = decode_message(Bytes::copy_from_slice(held.message));
    match message.as_ref().map(|message| &message.message_id) {
        Ok(Some(id)) => write!(f, ", {id}")?,
        Ok(None) => write!(f, ", without id")?,
        Err(error) => write!(f, ", not understood: {error}")?,
    }
    if held.redeliveries > 0 {
        write!(f, ", redelivered {} times", held.redeliveries)?;
    }
    Ok(())
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let live: u64 = self.segments.iter().map(|segment| segment.live_bytes).sum();
        writeln!(
            f,
            "epoch {}, {} segments of {used} bytes, {live} of them needed, broker sequence {}",
            self.epoch,
            self.segments.len(),
            self.broker_sequence
        )?;
        for segment in &self.segments {
            write!(f, "{:<24} {:>12} {:>12}", segment.file, segment.bytes, segment.live_bytes)?;
            for (name, count) in segment.pinned_by.iter().take(PINNED_BY_SHOWN) {
                write!(f, "  {name}: {count}")?;
            }
            match segment.pinned_by.len().saturating_sub(PINNED_BY_SHOWN) {
                0 => {}
                more => write!(f, "  and {more} more")?,
            }
            for (from, to) in &segment.damage {
                write!(f, "  DAMAGED from {from} to {to}")?;
            }
            writeln!(f)?;
        }
        for owner in &self.owners {
            let OwnerStats { name, messages, bytes, oldest_file } = owner;
            write!(f, "{name}: {messages} messages, {bytes} bytes")?;
            match oldest_file {
                Some(file) => writeln!(f, ", the oldest in {file}")?,
                None => writeln!(f)?,
            }
        }
        for branch in &self.branches {
            let BranchStats { xid, sends, acks, .. } = branch;
            writeln!(f, "prepared {xid}: {sends} sends, {acks} acknowledgements")?;
        }
        Ok(())
    }
}

/// Owners that are named beside a segment.
const PINNED_BY_SHOWN: usize = 3;

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
        writeln!(
            f,
            "{} segments, {} messages, {} problems",
            self.segments,
            self.messages,
            self.problems.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::openwire::{Destination, Message, XaTransactionId};
    use crate::store::options::JournalOptions;
    use crate::store::{Add, Branch, Entry, Group, Journal, Opening, RealDisk};

    fn filled(directory: &Path) -> Journal {
        let opening = Opening::of_test();
        let options = JournalOptions::default();
        let (journal, _) = Journal::open(Arc::new(RealDisk), directory, &options, opening).unwrap();
        let id = journal.next_owner();
        let record = OwnerRecord::Destination(Destination::queue("Q"));
        let branch =
            Branch { xid: XaTransactionId::default(), sends: vec![Arc::default()], acks: vec![] };
        let mut entries = vec![Entry::Owner { id, record }, Entry::Prepared(branch)];
        for n in 0..3 {
            let message = Arc::new(Message { persistent: true, ..Message::default() });
            let owners = vec![(id, Key::new(0, n))];
            entries.push(Entry::Add(Add { owners, message, redeliveries: n as u32, due_ms: None }));
        }
        drop(journal.append(Group { entries, wanted: true }));
        journal.close();
        journal
    }

    #[test]
    fn what_a_store_holds_can_be_seen() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let stats = stats(&RealDisk, directory.path()).unwrap();
        assert_eq!(stats.epoch, 1);
        assert_eq!(stats.segments[0].pinned_by, [("queue://Q".to_owned(), 3)]);
        assert_eq!((stats.owners[0].messages, stats.branches[0].sends), (3, 1));
        let mut lines = Vec::new();
        dump(&RealDisk, directory.path(), &mut lines).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        for part in ["owner 0: queue://Q", "to 0:0/2", "redelivered 2 times", "prepared XID"] {
            assert!(lines.contains(part), "{part} in\n{lines}");
        }
        let verified = verify(&RealDisk, directory.path()).unwrap();
        assert_eq!((verified.messages, verified.problems.len()), (3, 0), "{verified}");
    }

    #[test]
    fn damage_is_named() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = directory.path().join("journal/000001-00000001.log");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let verified = verify(&RealDisk, directory.path()).unwrap();
        assert!(verified.problems[0].contains("000001-00000001.log is damaged"), "{verified}");
        assert!(!directory.path().join("quarantine").exists());
    }
}
