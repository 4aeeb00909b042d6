//! The pid file: who runs here, told safely from a file that a dead or foreign process left.
//!
//! **Invariant:** the running broker holds an exclusive lock on its pid file. The lock, not the
//! number, says that it runs: numbers are given to other programs again, locks die with their owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// What a pid file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// The file is there, but the process it names is gone or is another program.
    Outdated,
    /// The broker runs.
    Running(Pid),
}

/// Why there is no pid file of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    #[error("ActiveMQ is already running (pid '{}')", .0.as_raw_nonzero())]
    Running(Pid),
    #[error("cannot write the pid file {path}: {source}. Make its directory writable, or name another file with ACTIVEMQ_PIDFILE", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the pid file {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// The pid file of this process; removed when dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Keeps the lock.
    _locked: File,
}

impl PidFile {
    /// Writes this process's number, unless another broker holds the file.
    pub(super) fn create(path: &Path) -> Result<Self, PidFileError> {
        let failed = |source| PidFileError::Write { path: path.to_owned(), source };
        if let State::Running(pid) = state(path)? {
            return Err(PidFileError::Running(pid));
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            // Another start was faster by a moment.
            Err(TryLockError::WouldBlock) => {
                let text = fs::read_to_string(path).map_err(failed)?;
                let rival = parse(&text).unwrap_or_else(rustix::process::getpid);
                return Err(PidFileError::Running(rival));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        written.and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove the pid file {}: {error}", self.path.display());
        }
    }
}

/// Looks at the file, its lock and the process it names.
pub(super) fn state(path: &Path) -> Result<State, PidFileError> {
    let failed = |source| PidFileError::Read { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(State::Absent),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    // Only a file that names a living process is locked here, and only for this moment.
    let Some(pid) = parse(&text).filter(|pid| test_kill_process(*pid).is_ok()) else {
        return Ok(State::Outdated);
    };
    let locked = match file.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    };
    let running = locked || is_java_broker(pid);
    Ok(if running { State::Running(pid) } else { State::Outdated })
}

/// Neither the file nor the directory that it should be in is there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Asks the process to stop (SIGTERM) or ends it (SIGKILL). One that is gone already is no error.
pub(super) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn parse(text: &str) -> Option<Pid> {
    Pid::from_raw(text.trim().parse().ok().filter(|pid| *pid > 0)?)
}

/// Whether the process is the Java broker whose place this one takes: its script writes the same file
/// without a lock.
fn is_java_broker(pid: Pid) -> bool {
    let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let mut words = command.split(|byte| *byte == 0);
    words.any(|word| word.ends_with(b"activemq.jar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_says_running_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activemq.pid");
        assert_eq!(state(&path).unwrap(), State::Absent);
        let held = PidFile::create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        assert_eq!(state(&path).unwrap(), State::Running(rustix::process::getpid()));
        assert!(matches!(PidFile::create(&path), Err(PidFileError::Running(_))));
        drop(held);
        assert_eq!(state(&path).unwrap(), State::Absent);
    }

    #[test]
    fn a_number_that_another_program_got_is_not_the_broker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activemq.pid");
        // This test lives, but holds no lock.
        for text in [format!("{}\n", std::process::id()), String::new(), "none".into(), "-1".into()]
        {
            fs::write(&path, &text).unwrap();
            assert_eq!(state(&path).unwrap(), State::Outdated, "{text:?}");
        }
        let held = PidFile::create(&path).unwrap();
        assert_eq!(state(&path).unwrap(), State::Running(rustix::process::getpid()));
        drop(held);
    }
}
