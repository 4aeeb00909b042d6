//! What a node is at the moment, for those who ask.

use std::path::PathBuf;

use crate::store::follower::Progress;
use crate::store::holder::Told;

/// Master, or slave of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Slave {
        /// The file of the lock that it waits for.
        lock: PathBuf,
        holder: Told,
        /// How far it follows the holder.
        progress: Progress,
    },
    /// It serves clients, or is about to.
    Master {
        /// Of the store, with the file of its lock; `None` without a store.
        store: Option<(u64, PathBuf)>,
    },
}
