//! What a configuration can ask of the store, of its lock and of the scheduler's store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::options::options;
use crate::openwire::Destination;

/// `<persistenceAdapter>`.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreOptions {
    /// `persistent="false"` or `<memoryPersistenceAdapter>`.
    Memory,
    Journal(Box<JournalOptions>),
    /// `<mKahaDB>`: a journal for each group of destinations.
    Journals(Box<JournalsOptions>),
}

options! {
    /// `<kahaDB>`. What concerns its page file (`index…`) is read, and has no counterpart here.
    pub struct JournalOptions {
        /// Where the files lie; `<dataDirectory>/<brokerName>/KahaDB` when absent.
        directory: Option<PathBuf> = None,
        index_directory: Option<PathBuf> = None,
        /// Size in bytes at which a new file begins.
        journal_max_file_length: u64 = 32 << 20,
        /// Most bytes of one write.
        journal_max_write_batch_size: u64 = 4 << 20,
        sync: SyncStrategy = SyncStrategy::Always,
        /// Between two syncs of `SyncStrategy::Periodic`.
        journal_disk_sync_interval: Duration = Duration::from_millis(1000),
        checksum_journal_files: bool = true,
        check_for_corrupt_journal_files: bool = false,
        ignore_missing_journal_files: bool = false,
        preallocation_scope: String = "entire_journal".to_owned(),
        preallocation_strategy: String = "sparse_file".to_owned(),
        /// Move files that are done with to `directory_archive`, rather than delete them.
        archive_data_logs: bool = false,
        directory_archive: Option<PathBuf> = None,
        archive_corrupted_index: bool = false,
        cleanup_on_stop: bool = true,
        /// How often files that are done with are looked for.
        cleanup_interval: Duration = Duration::from_millis(30_000),
        checkpoint_interval: Duration = Duration::from_millis(5000),
        enable_ack_compaction: bool = true,
        compact_acks_after_no_gc: u32 = 10,
        compact_acks_ignores_store_growth: bool = false,

        /// A queue message may be delivered before it is stored; when acknowledged by then, it is
        /// not stored at all.
        concurrent_store_and_dispatch_queues: bool = true,
        concurrent_store_and_dispatch_topics: bool = false,
        max_async_jobs: u32 = 10_000,
        /// Producers of which the last sequence number is kept, to drop what is sent again.
        max_failover_producers_to_track: u32 = 64,
        failover_producers_audit_depth: u32 = 2048,
        enable_subscription_statistics: bool = false,
        purge_recovered_xa: PurgeRecoveredXa = PurgeRecoveredXa::Never,
        purge_store_on_startup: bool = false,
        /// OpenWire version of stored messages; `None` takes the broker's.
        store_open_wire_version: Option<i32> = None,
        stop_on_error: bool = false,

        index: IndexOptions = IndexOptions::default(),
        lock: LockOptions = LockOptions::default(),
    }

    /// KahaDB's page file.
    pub struct IndexOptions {
        cache_size: u64 = 10_000,
        write_batch_size: u64 = 1000,
        enable_write_async: bool = false,
        enable_disk_syncs: bool = true,
        enable_recovery_file: bool = true,
        enable_page_caching: bool = true,
        use_lfru_eviction: bool = false,
        lfu_eviction_factor: f64 = 0.2,
        force_recover: bool = false,
    }

    /// Who may be master.
    pub struct LockOptions {
        use_lock: bool = true,
        locker: Locker = Locker::SharedFile { directory: None },
        /// Between two attempts of a slave, beside that it is woken where the file system can.
        acquire_sleep_interval: Duration = Duration::from_millis(100),
        /// Exit, rather than wait as slave.
        fail_if_locked: bool = false,
        /// Between two looks of the master whether it still holds the lock; `None` never.
        keep_alive_period: Option<Duration> = None,
    }

    /// `<mKahaDB>`.
    pub struct JournalsOptions {
        directory: Option<PathBuf> = None,
        stores: Vec<FilteredJournal> = Vec::new(),
        journal_max_file_length: u64 = 32 << 20,
        journal_write_batch_size: u64 = 4 << 20,
        journal_cleanup_interval: Option<Duration> = Some(Duration::from_millis(30_000)),
        check_for_corruption: bool = true,
        lock: LockOptions = LockOptions::default(),
    }

    /// `<filteredKahaDB>`.
    pub struct FilteredJournal {
        /// Destinations it is for; all when absent.
        destination: Option<Destination> = None,
        /// One journal for each destination.
        per_destination: bool = false,
        journal: JournalOptions = JournalOptions::default(),
        /// Bytes; `None` shares the broker's limit.
        usage_limit: Option<u64> = None,
    }

    /// `<pListStoreImpl>`: where non-persistent messages go that memory cannot hold.
    pub struct TempStoreOptions {
        directory: Option<PathBuf> = None,
        journal_max_file_length: u64 = 32 << 20,
        journal_max_write_batch_size: u64 = 4 << 20,
        cleanup_interval: Duration = Duration::from_millis(30_000),
    }

    /// `<jobSchedulerStore>`.
    pub struct SchedulerStoreOptions {
        /// `<dataDirectory>/<brokerName>/scheduler` when absent.
        directory: Option<PathBuf> = None,
        journal_max_file_length: u64 = 32 << 20,
        fail_if_database_is_locked: bool = false,
    }
}

/// When a write counts as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStrategy {
    Always,
    Periodic,
    Never,
}

/// What becomes of prepared transactions found at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeRecoveredXa {
    Never,
    Commit,
    Rollback,
}

/// What tells master and slaves apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locker {
    /// A lock on a file in this directory; the store's own when absent.
    SharedFile { directory: Option<PathBuf> },
}

/// The file that is locked.
const LOCK_FILE: &str = "lock";

impl LockOptions {
    /// The file whose lock the master of the store in `directory` has.
    pub fn path(&self, directory: &Path) -> PathBuf {
        let Locker::SharedFile { directory: own } = &self.locker;
        own.as_deref().unwrap_or(directory).join(LOCK_FILE)
    }
}
