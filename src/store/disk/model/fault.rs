//! Operations that fail as they are told to.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Act;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Any operation, with that error; nothing is done.
    Os(Errno),
    /// A write, half of which is done.
    ShortWrite,
    /// A read.
    Read,
    /// A sync: what it was to make durable will never be, although it can be read, and the next sync
    /// succeeds.
    SyncLoses,
}

impl Failure {
    pub const ALL: [Self; 8] = [
        Self::Os(Errno::IO),
        Self::Os(Errno::NOSPC),
        Self::Os(Errno::DQUOT),
        Self::Os(Errno::STALE),
        Self::Os(Errno::INTR),
        Self::ShortWrite,
        Self::Read,
        Self::SyncLoses,
    ];

    fn fits(self, act: Act) -> bool {
        match self {
            Self::Os(_) => true,
            Self::ShortWrite => act == Act::Write,
            Self::Read => act == Act::Read,
            Self::SyncLoses => act == Act::Sync,
        }
    }

    fn verdict(self) -> Verdict {
        match self {
            Self::Os(errno) => Verdict::Fail(errno.into()),
            Self::ShortWrite => Verdict::Fail(ErrorKind::WriteZero.into()),
            Self::Read => Verdict::Fail(Errno::IO.into()),
            Self::SyncLoses => Verdict::Lose(Errno::IO.into()),
        }
    }
}

/// One failure of an operation, or of all from that one on.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub failure: Failure,
    /// Which one fails, counted from 0 among those that can fail so.
    pub at: u64,
    pub sticky: bool,
}

/// What becomes of an operation.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass,
    Fail(io::Error),
    /// It fails, and takes what was not synced with it.
    Lose(io::Error),
}

impl Verdict {
    pub(super) fn into_result(self) -> io::Result<()> {
        match self {
            Self::Pass => Ok(()),
            Self::Fail(error) | Self::Lose(error) => Err(error),
        }
    }
}

/// A plan, and what has come of it.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    plan: Option<Fault>,
    /// Operations that could have failed.
    pub count: u64,
    /// Those that did.
    pub failed: u64,
    /// What failed first, and of which file.
    pub first: Option<(Act, PathBuf)>,
    /// Files of which a sync has failed in this process.
    unsynced: BTreeSet<usize>,
    /// Syncs of such a file.
    pub retried_syncs: u64,
}

impl Faults {
    pub(super) fn new(plan: Option<Fault>) -> Self {
        Self { plan, ..Self::default() }
    }

    pub(super) fn judge(&mut self, act: Act, path: &Path) -> Verdict {
        let Some(fault) = self.plan.filter(|fault| fault.failure.fits(act)) else {
            return Verdict::Pass;
        };
        let count = self.count;
        self.count += 1;
        if count < fault.at || count > fault.at && !fault.sticky {
            return Verdict::Pass;
        }
        self.failed += 1;
        self.first.get_or_insert_with(|| (act, path.to_owned()));
        fault.failure.verdict()
    }

    pub(super) fn new_process(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn synced(&mut self, file: usize, failed: bool) {
        self.retried_syncs += u64::from(self.unsynced.contains(&file));
        if failed {
            self.unsynced.insert(file);
        }
    }
}
