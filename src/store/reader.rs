//! The thread that reads bodies back.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use tracing::error;

use super::batch::{RecordView, Spot};
#[cfg(feature = "planted-bugs")]
use super::bug::planted;
use super::disk::File;
use super::error::StoreError;
use super::owner::Fetched;
use super::place::Location;
use super::record::{RECORD_HEAD, Record, decode_message};
use super::shared::{Phase, Shared, Wish};

/// Files that are kept open.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// Bytes that one call of the disk reads at most, where more than one record is wanted.
const STRETCH_BYTES: u64 = 256 << 10;
/// Bytes between two records that are read with them, as that costs less than another call.
const GAP: u64 = 4 << 10;

#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    files: LruCache<u32, Open>,
}

#[derive(Debug, Clone)]
struct Open {
    path: PathBuf,
    file: Arc<dyn File>,
    salt: u64,
}

/// Neighbouring records of a segment, read by one call of the disk.
#[derive(Debug, Default)]
struct Stretch {
    segment: u32,
    offset: u32,
    bytes: Vec<u8>,
}

impl Stretch {
    /// Whether a record that begins at `at` was to be in here.
    fn reaches(&self, at: Location) -> bool {
        at.segment == self.segment && self.from(at).is_some_and(|bytes| !bytes.is_empty())
    }

    /// All bytes of the record at `at`, if they are here.
    fn record(&self, at: Location) -> Option<&[u8]> {
        let bytes = self.from(at).filter(|_| at.segment == self.segment)?;
        let told = RecordView::length_told(bytes)?;
        bytes.get(..usize::try_from(told).ok()?)
    }

    fn from(&self, at: Location) -> Option<&[u8]> {
        let start = at.offset.checked_sub(self.offset)?;
        self.bytes.get(usize::try_from(start).ok()?..)
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, files: LruCache::new(OPEN_FILES) }
    }

    /// The life of the thread.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while self.wait() {
            shared.activities.reader.during(|| self.turn());
        }
    }

    /// Returns when there is something to do, or with `false` at the end.
    fn wait(&self) -> bool {
        let mut wishes = self.shared.wishes.lock();
        while self.shared.phase() == Phase::Running && wishes.is_empty() {
            self.shared.wished.wait(&mut wishes);
        }
        self.shared.phase() == Phase::Running
    }

    /// Reads what one owner asked for; says whether there was anything.
    pub(super) fn turn(&mut self) -> bool {
        let Some(Wish { owner, wanted }) = self.shared.wishes.lock().pop_front() else {
            return false;
        };
        let Some(owner) = owner else {
            self.close_gone();
            return true;
        };
        // Whoever is gone needs no bodies.
        if owner.strong_count() == 0 {
            return true;
        }
        let mut fetched = Vec::with_capacity(wanted.len());
        let mut stretch = Stretch::default();
        for (number, (key, at)) in wanted.iter().enumerate() {
            if !stretch.reaches(*at) {
                stretch = self.stretch(wanted.iter().skip(number).map(|(_, at)| *at));
            }
            let read = self.read_in(&stretch, *at).unwrap_or_else(|error| {
                // A disk that fails for good is found by the writer.
                error!("a message cannot be read: {error}");
                Fetched::Damaged(error.to_string())
            });
            fetched.push((*key, read));
        }
        if let Some(owner) = owner.upgrade() {
            owner.fetched(fetched);
        }
        true
    }

    /// Lets go of files that were removed: while they are open, the disk keeps their space.
    fn close_gone(&mut self) {
        let segments = self.shared.segments.lock();
        let numbers: Vec<_> = self.files.iter().map(|(number, _)| *number).collect();
        for number in numbers.into_iter().filter(|number| !segments.contains_key(number)) {
            self.files.pop(&number);
        }
    }

    /// Reads at once what lies close together from the first of `wanted` on. Empty where the first stands
    /// alone, and where that fails: then each is read for itself, and says what is wrong.
    fn stretch(&mut self, wanted: impl Iterator<Item = Location> + Clone) -> Stretch {
        let (Some(first), Some(length)) = (wanted.clone().next(), together(wanted)) else {
            return Stretch::default();
        };
        let mut bytes = Vec::new();
        if let Ok(Some(open)) = self.open(first.segment) {
            bytes.resize(length, 0);
            let read = open.file.read_at(&mut bytes, first.offset.into());
            bytes.truncate(read.unwrap_or(0));
        }
        Stretch { segment: first.segment, offset: first.offset, bytes }
    }

    pub(super) fn read(&mut self, at: Location) -> Result<Fetched, StoreError> {
        self.read_in(&Stretch::default(), at)
    }

    /// Reads one message, out of `stretch` where that has all of it.
    fn read_in(&mut self, stretch: &Stretch, at: Location) -> Result<Fetched, StoreError> {
        let Some(open) = self.open(at.segment)? else { return Ok(Fetched::Moved) };
        let bytes = match stretch.record(at) {
            Some(record) => Bytes::copy_from_slice(record),
            None => Self::bytes(&open, at)?,
        };
        let spot = Spot { salt: open.salt, segment: at.segment, offset: at.offset };
        let record = RecordView::parse(&bytes, spot);
        #[cfg(feature = "planted-bugs")]
        let record = match planted!(self.shared.disk, NoRecordCheck) {
            true => RecordView::trust(&bytes, spot),
            false => record,
        };
        let head = bytes.len() - record.map_or(0, |record| record.body.len());
        let message = record.and_then(|record| match Record::parse(record.kind, record.body) {
            Ok(Record::Add(held) | Record::Copy(held)) => {
                let start = head + record.body.len() - held.message.len();
                decode_message(bytes.slice(start..)).ok()
            }
            Ok(_) | Err(_) => None,
        });
        Ok(message.map_or_else(|| damaged(&open, at), Fetched::Message))
    }

    /// All bytes of a record.
    fn bytes(open: &Open, at: Location) -> Result<Bytes, StoreError> {
        let read = |length: u32| {
            let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            let read = open.file.read_at(&mut buffer, u64::from(at.offset));
            let read = read.map_err(StoreError::io("read", &open.path))?;
            buffer.truncate(read);
            Ok(buffer)
        };
        let mut bytes = read(at.bytes.max(RECORD_HEAD as u32))?;
        let told = RecordView::length_told(&bytes).unwrap_or(0);
        if u64::from(told) > bytes.len() as u64 {
            // Before that much memory is taken, the file must have as much.
            let length = open.file.length().map_err(StoreError::io("measure", &open.path))?;
            if u64::from(at.offset) + u64::from(told) <= length {
                bytes = read(told)?;
            }
        }
        bytes.truncate(usize::try_from(told).unwrap_or(usize::MAX));
        Ok(bytes.into())
    }

    /// A segment's file; `None` when it is gone.
    fn open(&mut self, number: u32) -> Result<Option<Open>, StoreError> {
        let segment = self.shared.segments.lock().get(&number).cloned();
        let Some(segment) = segment else {
            self.files.pop(&number);
            return Ok(None);
        };
        if let Some(open) = self.files.get(&number) {
            return Ok(Some(open.clone()));
        }
        let path = segment.name.log_path(&self.shared.directory);
        let file = match self.shared.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let open = Open { path, file, salt: segment.salt };
        self.files.put(number, open.clone());
        Ok(Some(open))
    }
}

/// How many bytes from the first of `wanted` on are to be read at once. `None` where the next does not lie
/// close behind it.
fn together(mut wanted: impl Iterator<Item = Location>) -> Option<usize> {
    let first = wanted.next()?;
    let start = u64::from(first.offset);
    let mut end = first.end();
    for next in wanted {
        let offset = u64::from(next.offset);
        let follows = next.segment == first.segment && offset >= start && offset <= end + GAP;
        if !follows || next.end() - start > STRETCH_BYTES {
            break;
        }
        end = end.max(next.end());
    }
    usize::try_from(end - start).ok().filter(|_| end > first.end())
}

fn damaged(open: &Open, at: Location) -> Fetched {
    let text = format!("{} is damaged at {}", open.path.display(), at.offset);
    error!("{text}: a message that was stored there cannot be read any more");
    Fetched::Damaged(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u32, offset: u32, bytes: u32) -> Location {
        Location { segment, offset, bytes }
    }

    fn length(wanted: &[Location]) -> Option<usize> {
        together(wanted.iter().copied())
    }

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(length(&[]), None);
        assert_eq!(length(&[at(1, 100, 300)]), None, "alone");
        assert_eq!(length(&[at(1, 100, 300), at(1, 400, 300), at(1, 700, 300)]), Some(900));
        assert_eq!(length(&[at(1, 100, 300), at(2, 400, 300)]), None, "another segment");
        assert_eq!(length(&[at(1, 100, 300), at(1, 10, 30)]), None, "before it");
        // A record that several owners share keeps less alive than it is long.
        assert_eq!(length(&[at(1, 100, 100), at(1, 400, 100)]), Some(400));
        let far = at(1, 401 + GAP as u32, 300);
        assert_eq!(length(&[at(1, 100, 300), far]), None);
        assert_eq!(length(&[at(1, 100, 300), at(1, 400, 1), far]), Some(601 + GAP as usize));
    }

    #[test]
    fn so_much_is_read_at_once_and_no_more() {
        let half = STRETCH_BYTES as u32 / 2;
        let wanted = [at(1, 0, half), at(1, half, half), at(1, 2 * half, 1)];
        assert_eq!(length(&wanted), Some(2 * half as usize));
        assert_eq!(length(&[at(1, 0, half), at(1, half, half + 1)]), None);
        assert_eq!(length(&[at(1, 0, u32::MAX), at(1, u32::MAX, u32::MAX)]), None);
    }
}
