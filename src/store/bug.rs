//! Bugs that tests can plant, to see that they are found. Without the feature they do not exist.

/// What a disk that is asked for it does to the journal on it.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Tickets complete before the sync.
    AckBeforeSync,
    /// A sync that failed is tried again, and counts if that works.
    RetrySync,
    /// Nobody looks whether the store has another owner.
    NoOwnerCheck,
    /// Whether the store has another owner is looked at before the sync, and not after it.
    CheckBeforeSync,
    /// What the store holds is read before it is claimed.
    ReadBeforeClaim,
    /// Damage is passed over without a word.
    SkipBadBatch,
    /// A group may be spread over two batches.
    SplitGroups,
    /// A segment goes before the copies of what is in it are durable.
    DeleteEarly,
    /// The name of a new segment is not made durable.
    NoDirectorySync,
    /// A message may be copied after it was removed.
    CopyRemoved,
    /// A footer counts whatever segment it was made of.
    TrustFooter,
    /// The check of a message is not looked at when it is read again.
    NoRecordCheck,
    /// What stands in a sealed segment only is not said again before it goes.
    ForgetStates,
    /// That a scheduled message was sent, and when it is due again, is not written.
    ForgetFirings,
    /// A copy of a scheduled message is due when the message was due first.
    CopyFirstDue,
}

/// Whether a bug was planted in what a disk carries.
macro_rules! planted {
    ($disk:expr, $bug:ident) => {{
        #[cfg(feature = "planted-bugs")]
        let planted = $disk.bug() == Some(crate::store::bug::Bug::$bug);
        #[cfg(not(feature = "planted-bugs"))]
        let planted = false;
        planted
    }};
}

pub(super) use planted;
