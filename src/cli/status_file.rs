//! The status file: what a node is at the moment, beside its pid file, for `status` to read.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::server::role::Role;
use crate::store::disk::RealDisk;
use crate::store::holder::{self, Told};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "role")]
pub(super) enum Status {
    Slave {
        /// The file of the lock that it waits for.
        lock: PathBuf,
        /// Batches of the journal that it has read, and that it has seen and does not know to be durable.
        read: u64,
        lag: u64,
        /// It will have to read the store as a whole.
        cold: bool,
    },
    Master {
        /// Counts the masters of its store.
        epoch: Option<u64>,
        lock: Option<PathBuf>,
    },
}

impl From<&Role> for Status {
    fn from(role: &Role) -> Self {
        match role {
            Role::Slave { lock, progress, .. } => Self::Slave {
                lock: lock.clone(),
                read: progress.sequence,
                lag: progress.seen - progress.sequence,
                cold: progress.is_cold,
            },
            Role::Master { store } => {
                let (epoch, lock) = store.clone().unzip();
                Self::Master { epoch, lock }
            }
        }
    }
}

/// The file of a node that runs.
#[derive(Debug)]
pub(super) struct StatusFile {
    path: PathBuf,
    said: Option<Status>,
}

impl StatusFile {
    /// The one beside a pid file.
    pub(super) fn beside(pid_file: &Path) -> Self {
        Self { path: path_beside(pid_file), said: None }
    }

    /// Says what the node is now, if that is news.
    pub(super) fn say(&mut self, role: &Role) -> anyhow::Result<()> {
        let status = Status::from(role);
        if self.said.as_ref() != Some(&status) {
            write(&self.path, &status)
                .with_context(|| format!("cannot write the status file {}", self.path.display()))?;
            self.said = Some(status);
        }
        Ok(())
    }
}

fn path_beside(pid_file: &Path) -> PathBuf {
    pid_file.with_extension("status")
}

/// As a whole or not at all: `status` may look at any moment.
fn write(path: &Path, status: &Status) -> io::Result<()> {
    let new = path.with_extension("status.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(&serde_json::to_vec(status)?)?;
    fs::rename(new, path)
}

/// What the node beside a pid file said last; `None` when it never ran.
pub(super) fn read(pid_file: &Path) -> anyhow::Result<Option<Status>> {
    let path = path_beside(pid_file);
    let failed = || format!("cannot read the status file {}", path.display());
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(serde_json::from_slice(&read.with_context(failed)?).with_context(failed)?)),
    }
}

impl Status {
    /// What `status` prints of a node that runs.
    pub(super) fn of_running(&self) -> String {
        match self {
            Self::Slave { lock, read, lag, cold } => {
                let how = match (cold, lag) {
                    (true, _) => "it reads the whole store when it takes over".to_owned(),
                    (false, 0) => format!("it follows, up to batch {read}"),
                    (false, lag) => format!("it follows, up to batch {read}, {lag} behind"),
                };
                format!("slave, waiting for the lock held by {}; {how}", told(lock))
            }
            Self::Master { epoch: Some(epoch), .. } => format!("master, epoch {epoch}"),
            Self::Master { epoch: None, .. } => "master, without a store".to_owned(),
        }
    }

    /// What `status` prints of a node that does not run: who has the store now.
    pub(super) fn of_stopped(&self) -> Option<String> {
        let (was, lock) = match self {
            Self::Slave { lock, .. } => ("slave", lock),
            Self::Master { lock: Some(lock), .. } => ("master", lock),
            Self::Master { lock: None, .. } => return None,
        };
        Some(match holder::is_held(&RealDisk, lock) {
            Ok(true) => format!("was {was}; the lock is held by {}", told(lock)),
            Ok(false) => format!("was {was}; nobody has the lock {}", lock.display()),
            Err(failure) => format!("was {was}; {failure}"),
        })
    }
}

fn told(lock: &Path) -> Told {
    holder::told(&RealDisk, lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::follower::Progress;

    #[test]
    fn what_a_node_says_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("activemq.pid");
        assert_eq!(read(&pid_file).unwrap(), None);
        let mut file = StatusFile::beside(&pid_file);
        let progress = Progress { sequence: 7, seen: 9, is_cold: false };
        let lock = directory.path().join("lock");
        file.say(&Role::Slave { lock: lock.clone(), holder: Told::Nothing, progress }).unwrap();
        let status = read(&pid_file).unwrap().unwrap();
        let text = status.of_running();
        assert_eq!(
            text,
            "slave, waiting for the lock held by another process; it follows, up to batch 7, 2 behind"
        );
        file.say(&Role::Master { store: Some((3, lock)) }).unwrap();
        let status = read(&pid_file).unwrap().unwrap();
        assert_eq!(status.of_running(), "master, epoch 3");
        let stopped = status.of_stopped().unwrap();
        assert!(stopped.starts_with("was master; nobody has the lock"), "{stopped}");
    }

    #[test]
    fn a_file_that_is_no_status_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("activemq.pid");
        fs::write(directory.path().join("activemq.status"), "{").unwrap();
        let failure = format!("{:#}", read(&pid_file).unwrap_err());
        assert!(failure.contains("activemq.status"), "{failure}");
    }
}
