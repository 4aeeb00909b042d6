//! What recovery finds that is not as it was written.

use std::fmt;
use std::path::Path;

use tracing::{error, info, warn};

/// A place in a store that is not as it was written. Each is named in the log when it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Nothing valid stands between these offsets of a segment, though something was confirmed there.
    Bytes { file: String, from: u32, to: u32 },
    /// The head of a segment cannot be read. What follows it can.
    Head { file: String },
    /// A record whose check is right says nothing that is understood.
    Record { file: String, offset: u32, why: String },
    /// The last segment is shorter than it was made.
    Short { file: String, length: u64 },
    /// There are no segments between these numbers, or behind the first one.
    Missing { after: u32, before: Option<u32> },
    /// A file that batches stand in, none of which can be read.
    Unreadable { file: String },
    /// The last segment ends in something that was being written when the broker stopped: what was
    /// not confirmed, unless damage hides in its very last batches.
    Torn { file: String, from: u32, bytes: u32 },
    /// A footer is not that of its segment.
    Footer { file: String },
    /// The slot of an epoch in `EPOCH` is not what its segments say.
    Slot { epoch: u64 },
}

impl Damage {
    /// Whether something that was confirmed may be lost.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Bytes { .. }
            | Self::Head { .. }
            | Self::Record { .. }
            | Self::Short { .. }
            | Self::Missing { .. }
            | Self::Unreadable { .. } => true,
            Self::Torn { .. } | Self::Footer { .. } | Self::Slot { .. } => false,
        }
    }

    /// Names it in the log, with the directory of the store.
    pub(super) fn tell(&self, store: &Path) {
        let store = store.display();
        match self {
            Self::Torn { .. } | Self::Slot { .. } => warn!("the store {store}: {self}"),
            Self::Footer { .. } => info!("the store {store}: {self}"),
            Self::Bytes { .. }
            | Self::Head { .. }
            | Self::Record { .. }
            | Self::Short { .. }
            | Self::Missing { .. }
            | Self::Unreadable { .. } => error!("the store {store}: {self}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { file, from, to } => {
                write!(f, "{file} is damaged from {from} to {to}: what was stored there is lost")
            }
            Self::Head { file } => {
                write!(f, "the head of {file} is damaged: the rest is read without it")
            }
            Self::Record { file, offset, why } => {
                write!(f, "the record at {offset} of {file} is not understood: {why}")
            }
            Self::Short { file, length } => {
                write!(f, "{file} was cut off at {length}: what was stored behind that is lost")
            }
            Self::Missing { after, before: Some(before) } => write!(
                f,
                "journal segments between {after} and {before} are missing: what they held is lost, \
                 and what they removed may be back"
            ),
            Self::Missing { after, before: None } => write!(
                f,
                "the journal segment behind {after} is missing: what it held is lost, and what it \
                 removed may be back"
            ),
            Self::Unreadable { file } => {
                write!(f, "{file} cannot be read: what was stored in it is lost")
            }
            Self::Torn { file, from, bytes } => write!(
                f,
                "{file} is cut off at {from}: the {bytes} bytes behind were being written when the \
                 broker stopped"
            ),
            Self::Footer { file } => {
                write!(f, "{file} is not whole, or of another segment: it will be made again")
            }
            Self::Slot { epoch } => write!(
                f,
                "the slot of epoch {epoch} in EPOCH is damaged: the segments of the epoch say the same"
            ),
        }
    }
}
