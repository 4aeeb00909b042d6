//! What goes wrong with the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the store cannot be opened, or has ended. Nothing is retried: after the first failure what the
/// disk holds is unknown, and the next owner reads it afresh.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store {directory} is locked by {holder}")]
    Locked { directory: PathBuf, holder: String },
    #[error(
        "epoch {epoch} of the store {directory} was claimed by another node at the same moment"
    )]
    Contended { directory: PathBuf, epoch: u64 },
    #[error("the store {directory} has another owner: it is beyond epoch {epoch}, which was ours")]
    Deposed { directory: PathBuf, epoch: u64 },
    #[error(
        "the lock file of the store {directory} was removed or replaced, so that another broker can have \
         the lock, too"
    )]
    LockLost { directory: PathBuf },
    #[error("the store {directory} cannot be shared: {reason}")]
    UnsafeMount { directory: PathBuf, reason: String },
    #[error(
        "{directory} holds a KahaDB of the Java broker ({file}), which cannot be read here: let its \
         consumers drain it with the Java broker, or name an empty directory in \
         <kahaDB directory=\"..\">"
    )]
    KahaDb { directory: PathBuf, file: String },
    #[error("{path} has format {found}; this version reads {known}")]
    Format { path: PathBuf, found: u32, known: u32 },
    #[error("changes of {bytes} bytes are more than one segment can hold")]
    TooLarge { bytes: u64 },
    #[error("cannot {doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: Arc<io::Error> },
}

impl StoreError {
    /// For what must not be tried again.
    pub(super) const SYNC: &str = "sync";

    /// For `map_err`: names what was being done with which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether another process has the store now, or can have it.
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Contended { .. } | Self::Deposed { .. } | Self::LockLost { .. })
    }

    /// Whether the disk or the quota is used up. A sync that fails for that has failed as any other.
    pub(super) fn is_full(&self) -> bool {
        let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { doing, source, .. }
            if *doing != Self::SYNC && kinds.contains(&source.kind()))
    }
}
