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
        for (key, at) in wanted {
            let read = self.read(at).unwrap_or_else(|error| {
                // A disk that fails for good is found by the writer.
                error!("a message cannot be read: {error}");
                Fetched::Damaged(error.to_string())
            });
            fetched.push((key, read));
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

    pub(super) fn read(&mut self, at: Location) -> Result<Fetched, StoreError> {
        let Some(open) = self.open(at.segment)? else { return Ok(Fetched::Moved) };
        let bytes = self.bytes(&open, at)?;
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
    fn bytes(&self, open: &Open, at: Location) -> Result<Bytes, StoreError> {
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

fn damaged(open: &Open, at: Location) -> Fetched {
    let text = format!("{} is damaged at {}", open.path.display(), at.offset);
    error!("{text}: a message that was stored there cannot be read any more");
    Fetched::Damaged(text)
}
