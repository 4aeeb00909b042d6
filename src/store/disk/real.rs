//! The disk of the machine.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, seek, statvfs};
use rustix::io::Errno;

use super::lock::{FileLock, Wait};
use super::{Disk, File, Lock};

/// Bytes of zeros written at a time where the file system cannot allocate.
const ZEROS: usize = 1 << 20;

/// Files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        self.create_directory(parent)?;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        self.sync_directory(parent)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(private().create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(private().open(path)?))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(FileLock::take(path, Wait::No)?))
    }

    fn open_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(FileLock::open(path)?))
    }

    fn await_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(FileLock::take(path, Wait::Yes)?))
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let free = statvfs(directory)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// A write that ends early has failed: what stopped it would be found by a second one only.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        loop {
            match FileExt::write_at(self, bytes, offset) {
                Ok(written) if written == bytes.len() => return Ok(()),
                Ok(_) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Not `File::sync_data`, which tries again after an interruption.
        Ok(rustix::fs::fdatasync(self)?)
    }

    fn settle(&self) -> io::Result<()> {
        File::sync(self)?;
        Ok(fadvise(self, 0, None, Advice::DontNeed)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let present = self.metadata()?.len();
        if length <= present {
            return Ok(());
        }
        match fallocate(self, FallocateFlags::empty(), present, length - present) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, present, length),
            done => Ok(done?),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    /// Asks for the last extent that is no hole. Segments have few.
    fn data_end(&self) -> io::Result<u64> {
        let length = self.length()?;
        let mut end = 0;
        while end < length {
            let hole = match seek(self, SeekFrom::Data(end)) {
                Ok(data) => seek(self, SeekFrom::Hole(data)),
                Err(Errno::NXIO) => return Ok(end),
                failed => failed,
            };
            match hole {
                Ok(hole) if hole > end => end = hole,
                // What the file system cannot tell is found by reading.
                Ok(_) | Err(_) => return Ok(length),
            }
        }
        Ok(length)
    }
}

fn write_zeros(file: &fs::File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(ZEROS).min(ZEROS);
        file.write_all_at(zeros.get(..length).unwrap_or(&zeros), at)?;
        at += length as u64;
    }
    Ok(())
}
