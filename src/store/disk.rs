//! The few things asked of a disk, so that tests can break each of them.

mod lock;
#[cfg(test)]
pub mod model;
mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;

/// A file system. Names of files are durable only once their directory is synced.
pub trait Disk: Debug + Send + Sync {
    /// Makes a directory that only its owner may enter, and those above it, if they are missing. They
    /// are durable at once.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that only its owner may read. Fails when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The names of what is in a directory, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Locks a file, made if need be, against every other process until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process has the lock.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// The file of a lock, made if need be, without the lock.
    fn open_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// The same as `lock`, but returns when the lock was had.
    fn await_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// Bytes that can still be had in a directory, as far as that is known.
    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    /// What is wrong with the journal on this disk.
    #[cfg(feature = "planted-bugs")]
    fn bug(&self) -> Option<super::bug::Bug> {
        None
    }
}

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Fills the buffer as far as the file goes, and says how far that was.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable. After a failure nobody knows what is.
    fn sync(&self) -> io::Result<()>;
    /// Syncs, and has what is read from now on come from the disk. After a sync that failed in another
    /// process, memory may hold what the disk does not, and the next sync says nothing of it.
    fn settle(&self) -> io::Result<()>;
    /// Grows the file to `length` bytes such that later writes into it need no space any more. What was
    /// not written reads as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    /// Behind this nothing was ever written, as far as the file system can tell without reading.
    fn data_end(&self) -> io::Result<u64> {
        self.length()
    }
}

/// A lock on a file, released when dropped.
pub trait Lock: Debug + Send + Sync {
    /// Writes into the file who has it, for others to read.
    fn say(&self, text: &str) -> io::Result<()>;
    /// Whether the name of the file still stands for the file that is locked. If it does not, another
    /// process can have the lock as well.
    fn is_in_place(&self) -> io::Result<bool>;
}

/// Reads what a file has behind `known` bytes, for which zeros stand, up to the last byte that was written.
pub(super) fn read_behind(file: &dyn File, known: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.data_end()?.max(known)).map_err(io::Error::other)?;
    // Zeros that nobody touches take no memory.
    let mut bytes = vec![0; length];
    let start = usize::try_from(known).map_err(io::Error::other)?;
    let read = file.read_at(bytes.get_mut(start..).unwrap_or_default(), known)?;
    bytes.truncate(start + read);
    Ok(bytes)
}

/// Reads a whole file, or as much of it as `limit` says, up to the last byte that was written.
pub(super) fn read_all(file: &dyn File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.data_end()?.min(limit);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
