//! The lock on a file of the machine, which a Java broker respects as well.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::fstatfs;

use super::Lock;
use super::real::private;

/// File systems that turn `flock` into a record lock of the whole file, which Java respects; a second
/// record lock would be refused by the first. As `statfs` numbers them.
const FLOCK_IS_RECORD_LOCK: [u32; 4] = [NFS, 0x517B, 0xFE53_4D42, 0xFF53_4D42];
const NFS: u32 = 0x6969;

/// Whether to wait for a lock that another process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    Yes,
}

/// A file that is locked, as a whole with `flock`, and its first byte with a record lock. Both belong to
/// the open file: they end with it, and not when another file is closed. `flock` alone would not keep a
/// Java broker away, which locks records.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    file: File,
    /// Others see what is written once it is synced only.
    is_remote: bool,
}

impl FileLock {
    /// Locks a file, which is made if need be.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it and this one shall not wait.
    pub(super) fn take(path: &Path, wait: Wait) -> io::Result<Self> {
        let taken = Self::open(path)?;
        // In one order, so that two that wait cannot have one half each.
        if !taken.is_remote {
            lock_first_byte(&taken.file, wait)?;
        }
        match wait {
            Wait::No => taken.file.try_lock_exclusive()?,
            Wait::Yes => taken.file.lock_exclusive()?,
        }
        Ok(taken)
    }

    /// The file, which is made if need be, without a lock.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = private().create(true).truncate(false).open(path)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "these numbers have 32 bits, whatever the type is"
        )]
        let kind = fstatfs(&file)?.f_type as u32;
        let is_remote = FLOCK_IS_RECORD_LOCK.contains(&kind);
        Ok(Self { path: path.to_owned(), file, is_remote })
    }
}

impl Lock for FileLock {
    fn say(&self, text: &str) -> io::Result<()> {
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)?;
        if self.is_remote { self.file.sync_data() } else { Ok(()) }
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Locks the byte that a Java broker locks in a file of any length.
fn lock_first_byte(file: &File, wait: Wait) -> io::Result<()> {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    let asked = match wait {
        Wait::No => FcntlArg::F_OFD_SETLK(&byte),
        Wait::Yes => FcntlArg::F_OFD_SETLKW(&byte),
    };
    match fcntl(file, asked) {
        Ok(_) => Ok(()),
        // Both are said of a lock that another one has.
        Err(nix::Error::EACCES | nix::Error::EAGAIN) => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn is_taken(path: &Path) -> bool {
        let taken = FileLock::take(path, Wait::No);
        taken.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[test]
    fn a_lock_keeps_others_away_until_it_is_dropped_and_says_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::take(&path, Wait::No).unwrap();
        held.say("a longer text").unwrap();
        held.say("short").unwrap();
        assert!(is_taken(&path));
        // As Java does; a record lock of a process is gone when it closes any file with that name.
        drop(File::open(&path).unwrap());
        assert!(is_taken(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        drop(held);
        assert!(!is_taken(&path));
    }

    #[test]
    fn each_half_of_a_lock_keeps_others_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let file = private().create(true).open(&path).unwrap();
        lock_first_byte(&file, Wait::No).unwrap();
        assert!(is_taken(&path));
        drop(file);
        let file = private().open(&path).unwrap();
        file.try_lock_exclusive().unwrap();
        assert!(is_taken(&path));
    }

    /// As Java does it, for a process.
    fn lock_as_java(file: &File) -> nix::Result<libc::c_int> {
        let all = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 8,
            l_pid: 0,
        };
        fcntl(file, FcntlArg::F_SETLK(&all))
    }

    #[test]
    fn a_java_broker_and_this_one_keep_each_other_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::take(&path, Wait::No).unwrap();
        let java = private().open(&path).unwrap();
        assert_eq!(lock_as_java(&java), Err(nix::Error::EAGAIN));
        drop(held);
        assert_eq!(lock_as_java(&java), Ok(0));
        assert!(is_taken(&path));
        drop(java);
        assert!(!is_taken(&path));
    }

    #[test]
    fn who_waits_has_the_lock_as_soon_as_it_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::take(&path, Wait::No).unwrap();
        let (tell, told) = mpsc::channel();
        let other = path.clone();
        let waiting = thread::spawn(move || {
            tell.send(()).unwrap();
            FileLock::take(&other, Wait::Yes)
        });
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(held);
        let taken = waiting.join().unwrap().unwrap();
        assert!(is_taken(&path));
        drop(taken);
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = FileLock::take(&path, Wait::No).unwrap();
        assert!(held.is_in_place().unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!held.is_in_place().unwrap());
        fs::write(&path, "").unwrap();
        assert!(!held.is_in_place().unwrap());
    }
}
