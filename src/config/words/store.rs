//! `<persistenceAdapter>`, `<tempDataStore>`, `<jobSchedulerStore>`.

use super::destination::Patterned;
use super::standing::{
    ALLOCATED, ARCHIVE, CHECKED, GROUPED, JMX, JVM, LEVEL_DB, OLD_STORE, ONE_JOURNAL, PAGE_FILE,
    RECLAIMED, SERVED, SQL, SQL_LOCK, STOPS_ON_ERROR, STORE_FORMAT,
};
use super::usage::DISK_USAGE;
use crate::broker::options::usage::DiskUsage;
use crate::config::Config;
use crate::config::value::{self, Expected, one_of};
use crate::config::vocabulary::{Words, child, known, opaque, rule, set, with};
use crate::store::options::{
    FilteredJournal, JournalOptions, JournalsOptions, LockOptions, Locker, PurgeRecoveredXa,
    SchedulerStoreOptions, StoreOptions, SyncStrategy, TempStoreOptions,
};

pub(super) static PERSISTENCE_ADAPTER: Words<Config> = Words {
    element: "persistenceAdapter",
    attributes: &[],
    children: &[
        rule!("kahaDB", SERVED, |to, from, reading| {
            let mut journal = JournalOptions::default();
            reading.fill(&KAHA_DB, from, &mut journal);
            to.store = StoreOptions::Journal(Box::new(journal));
        }),
        rule!("mKahaDB", ONE_JOURNAL, |to, from, reading| {
            let mut journals = JournalsOptions::default();
            reading.fill(&M_KAHA_DB, from, &mut journals);
            to.store = StoreOptions::Journals(Box::new(journals));
        }),
        rule!("memoryPersistenceAdapter", SERVED, |to, from, reading| {
            reading.fill(&MEMORY_ADAPTER, from, &mut ());
            to.store = StoreOptions::Memory;
        }),
        opaque!("jdbcPersistenceAdapter", SQL),
        opaque!("journalPersistenceAdapter", SQL),
        opaque!("journaledJDBC", SQL),
        opaque!("levelDB", LEVEL_DB),
        opaque!("replicatedLevelDB", LEVEL_DB),
        opaque!("amqPersistenceAdapter", OLD_STORE),
        opaque!("kahaPersistenceAdapter", OLD_STORE),
    ],
};

/// `<persistenceFactory>`.
pub(super) static PERSISTENCE_FACTORY: Words<Config> = Words {
    element: "persistenceFactory",
    attributes: &[],
    children: &[
        opaque!("journalPersistenceAdapterFactory", SQL),
        opaque!("journaledJDBC", SQL),
        opaque!("amqPersistenceAdapterFactory", OLD_STORE),
    ],
};

pub(super) static MEMORY_ADAPTER: Words<()> = Words {
    element: "memoryPersistenceAdapter",
    attributes: &[
        known!("createTransactionStore", value::boolean, JVM),
        known!("useExternalMessageReferences", value::boolean, JVM),
    ],
    children: &[],
};

pub(super) static KAHA_DB: Words<JournalOptions> = Words {
    element: "kahaDB",
    attributes: &[
        set!("directory", value::path => directory, SERVED),
        set!("indexDirectory", value::path => index_directory, PAGE_FILE),
        set!("journalMaxFileLength", value::bytes => journal_max_file_length, SERVED),
        set!("journalMaxWriteBatchSize", value::bytes => journal_max_write_batch_size, GROUPED),
        with!("journalDiskSyncStrategy", SERVED, |to, text| {
            to.sync = sync_strategy(text)?;
            Ok(())
        }),
        with!("enableJournalDiskSyncs", SERVED, |to, text| {
            let on = value::boolean(text)?;
            to.sync = if on { SyncStrategy::Always } else { SyncStrategy::Never };
            Ok(())
        }),
        set!("journalDiskSyncInterval", value::millis => journal_disk_sync_interval, SERVED),
        set!("checksumJournalFiles", value::boolean => checksum_journal_files, CHECKED),
        set!("checkForCorruptJournalFiles", value::boolean =>
            check_for_corrupt_journal_files, CHECKED),
        set!("ignoreMissingJournalfiles", value::boolean => ignore_missing_journal_files, CHECKED),
        set!("preallocationScope", preallocation_scope => preallocation_scope, ALLOCATED),
        set!("preallocationStrategy", preallocation_strategy => preallocation_strategy, ALLOCATED),
        set!("archiveDataLogs", value::boolean => archive_data_logs, ARCHIVE),
        set!("directoryArchive", value::path => directory_archive, ARCHIVE),
        set!("archiveCorruptedIndex", value::boolean => archive_corrupted_index, PAGE_FILE),
        set!("cleanupOnStop", value::boolean => cleanup_on_stop, RECLAIMED),
        set!("cleanupInterval", value::millis => cleanup_interval, RECLAIMED),
        set!("checkpointInterval", value::millis => checkpoint_interval, PAGE_FILE),
        set!("enableAckCompaction", value::boolean => enable_ack_compaction, RECLAIMED),
        set!("compactAcksAfterNoGC", value::count => compact_acks_after_no_gc, RECLAIMED),
        set!("compactAcksIgnoresStoreGrowth", value::boolean =>
            compact_acks_ignores_store_growth, RECLAIMED),
        set!("concurrentStoreAndDispatchQueues", value::boolean =>
            concurrent_store_and_dispatch_queues, SERVED),
        set!("concurrentStoreAndDispatchTopics", value::boolean =>
            concurrent_store_and_dispatch_topics, SERVED),
        set!("maxAsyncJobs", value::count => max_async_jobs, GROUPED),
        set!("maxFailoverProducersToTrack", value::count =>
            max_failover_producers_to_track, SERVED),
        set!("failoverProducersAuditDepth", value::count => failover_producers_audit_depth, SERVED),
        set!("enableSubscriptionStatistics", value::boolean =>
            enable_subscription_statistics, JMX),
        with!("purgeRecoveredXATransactionStrategy", SERVED, |to, text| {
            to.purge_recovered_xa = purge_recovered_xa(text)?;
            Ok(())
        }),
        set!("purgeStoreOnStartup", value::boolean => purge_store_on_startup, SERVED),
        set!("storeOpenWireVersion", value::integer => store_open_wire_version, STORE_FORMAT),
        set!("stopOnError", value::boolean => stop_on_error, STOPS_ON_ERROR),
        set!("indexCacheSize", value::bytes => index.cache_size, PAGE_FILE),
        set!("indexWriteBatchSize", value::bytes => index.write_batch_size, PAGE_FILE),
        set!("enableIndexWriteAsync", value::boolean => index.enable_write_async, PAGE_FILE),
        set!("enableIndexDiskSyncs", value::boolean => index.enable_disk_syncs, PAGE_FILE),
        set!("enableIndexRecoveryFile", value::boolean => index.enable_recovery_file, PAGE_FILE),
        set!("enableIndexPageCaching", value::boolean => index.enable_page_caching, PAGE_FILE),
        set!("useIndexLFRUEviction", value::boolean => index.use_lfru_eviction, PAGE_FILE),
        set!("indexLFUEvictionFactor", value::decimal => index.lfu_eviction_factor, PAGE_FILE),
        set!("forceRecoverIndex", value::boolean => index.force_recover, PAGE_FILE),
        set!("useLock", value::boolean => lock.use_lock, SERVED),
        set!("lockKeepAlivePeriod", value::millis_or_none => lock.keep_alive_period, SERVED),
        set!("databaseLockedWaitDelay", value::millis => lock.acquire_sleep_interval, SERVED),
        set!("failIfDatabaseIsLocked", value::boolean => lock.fail_if_locked, SERVED),
        known!("brokerName", value::text, JVM),
    ],
    children: &[
        child!("locker", LOCKER => lock, SERVED),
        opaque!("transactionIdTransformer", JVM),
        opaque!("scheduledThreadPoolExecutor", JVM),
        opaque!("usageManager", JVM),
    ],
};

pub(super) static LOCKER: Words<LockOptions> = Words {
    element: "locker",
    attributes: &[],
    children: &[
        child!("shared-file-locker", SHARED_FILE_LOCKER, SERVED),
        opaque!("database-locker", SQL_LOCK),
        opaque!("lease-database-locker", SQL_LOCK),
        opaque!("transact-database-locker", SQL_LOCK),
    ],
};

pub(super) static SHARED_FILE_LOCKER: Words<LockOptions> = Words {
    element: "shared-file-locker",
    attributes: &[
        with!("directory", SERVED, |to, text| {
            to.locker = Locker::SharedFile { directory: Some(value::path(text)?) };
            Ok(())
        }),
        set!("lockAcquireSleepInterval", value::millis => acquire_sleep_interval, SERVED),
        set!("failIfLocked", value::boolean => fail_if_locked, SERVED),
        known!("name", value::text, JVM),
    ],
    children: &[],
};

pub(super) static M_KAHA_DB: Words<JournalsOptions> = Words {
    element: "mKahaDB",
    attributes: &[
        set!("directory", value::path => directory, SERVED),
        set!("journalMaxFileLength", value::bytes => journal_max_file_length, SERVED),
        set!("journalWriteBatchSize", value::bytes => journal_write_batch_size, GROUPED),
        set!("journalCleanupInterval", value::millis_or_none => journal_cleanup_interval, RECLAIMED),
        set!("checkForCorruption", value::boolean => check_for_corruption, CHECKED),
        set!("useLock", value::boolean => lock.use_lock, SERVED),
        set!("lockKeepAlivePeriod", value::millis_or_none => lock.keep_alive_period, SERVED),
        known!("brokerName", value::text, JVM),
        known!("stopOnError", value::boolean, JVM),
    ],
    children: &[
        child!("filteredPersistenceAdapters", FILTERED_ADAPTERS => stores, ONE_JOURNAL),
        child!("locker", LOCKER => lock, SERVED),
        opaque!("transactionStore", JVM),
        opaque!("usageManager", JVM),
    ],
};

pub(super) static FILTERED_ADAPTERS: Words<Vec<FilteredJournal>> = Words {
    element: "filteredPersistenceAdapters",
    attributes: &[],
    children: &[rule!("filteredKahaDB", SERVED, |to, from, reading| {
        let mut filtered = Patterned::<FilteredJournal>::default();
        reading.fill(&FILTERED_KAHA_DB, from, &mut filtered);
        filtered.value.destination = filtered.pattern;
        to.push(filtered.value);
    })],
};

pub(super) static FILTERED_KAHA_DB: Words<Patterned<FilteredJournal>> = Words {
    element: "filteredKahaDB",
    attributes: &[
        Patterned::QUEUE,
        Patterned::TOPIC,
        Patterned::TEMP_QUEUE,
        Patterned::TEMP_TOPIC,
        set!("perDestination", value::boolean => value.per_destination, SERVED),
    ],
    children: &[
        Patterned::DESTINATION,
        child!("persistenceAdapter", FILTERED_STORE => value.journal, SERVED),
        child!("adapter", FILTERED_STORE => value.journal, SERVED),
        rule!("usage", SERVED, |to, from, reading| {
            let mut usage = DiskUsage::default();
            reading.fill(&FILTERED_USAGE, from, &mut usage);
            to.value.usage_limit = Some(usage.limit).filter(|bytes| *bytes > 0);
        }),
    ],
};

pub(super) static FILTERED_STORE: Words<JournalOptions> = Words {
    element: "persistenceAdapter",
    attributes: &[],
    children: &[child!("kahaDB", KAHA_DB, ONE_JOURNAL)],
};

pub(super) static FILTERED_USAGE: Words<DiskUsage> = Words {
    element: "usage",
    attributes: &[],
    children: &[child!("storeUsage", DISK_USAGE, ONE_JOURNAL)],
};

pub(super) static TEMP_DATA_STORE: Words<TempStoreOptions> = Words {
    element: "tempDataStore",
    attributes: &[],
    children: &[child!("pListStoreImpl", P_LIST_STORE, SERVED)],
};

pub(super) static P_LIST_STORE: Words<TempStoreOptions> = Words {
    element: "pListStoreImpl",
    attributes: &[
        set!("directory", value::path => directory, SERVED),
        set!("journalMaxFileLength", value::bytes => journal_max_file_length, SERVED),
        set!("journalMaxWriteBatchSize", value::bytes => journal_max_write_batch_size, GROUPED),
        set!("cleanupInterval", value::millis => cleanup_interval, RECLAIMED),
        known!("failIfDatabaseIsLocked", value::boolean, JVM),
        known!("lazyInit", value::boolean, JVM),
        known!("indexDirectory", value::path, PAGE_FILE),
        known!("indexCacheSize", value::bytes, PAGE_FILE),
        known!("indexPageSize", value::bytes, PAGE_FILE),
        known!("indexWriteBatchSize", value::bytes, PAGE_FILE),
        known!("indexEnablePageCaching", value::boolean, PAGE_FILE),
        known!("enableIndexWriteAsync", value::boolean, PAGE_FILE),
    ],
    children: &[],
};

/// `<jobSchedulerStore>`: its children are beans of Java or `kahaDB`-like stores.
pub(super) static JOB_SCHEDULER_HOLDER: Words<SchedulerStoreOptions> = Words {
    element: "jobSchedulerStore",
    attributes: &[],
    children: &[
        child!("jobSchedulerStoreImpl", JOB_SCHEDULER_STORE, SERVED),
        child!("inMemoryJobSchedulerStore", JOB_SCHEDULER_STORE, SERVED),
    ],
};

pub(super) static JOB_SCHEDULER_STORE: Words<SchedulerStoreOptions> = Words {
    element: "jobSchedulerStoreImpl",
    attributes: &[
        set!("directory", value::path => directory, SERVED),
        set!("journalMaxFileLength", value::bytes => journal_max_file_length, SERVED),
        set!("failIfDatabaseIsLocked", value::boolean => fail_if_database_is_locked, SERVED),
        known!("checkpointInterval", value::millis, PAGE_FILE),
        known!("cleanupInterval", value::millis, PAGE_FILE),
        known!("enableIndexWriteAsync", value::boolean, PAGE_FILE),
    ],
    children: &[],
};

fn sync_strategy(text: &str) -> Result<SyncStrategy, Expected> {
    one_of(
        text,
        &[
            ("always", SyncStrategy::Always),
            ("periodic", SyncStrategy::Periodic),
            ("never", SyncStrategy::Never),
        ],
    )
}

fn purge_recovered_xa(text: &str) -> Result<PurgeRecoveredXa, Expected> {
    one_of(
        text,
        &[
            ("NEVER", PurgeRecoveredXa::Never),
            ("COMMIT", PurgeRecoveredXa::Commit),
            ("ROLLBACK", PurgeRecoveredXa::Rollback),
        ],
    )
}

fn preallocation_scope(text: &str) -> Result<String, Expected> {
    let known = ["entire_journal", "entire_journal_async", "none"];
    one_of(text, &known.map(|word| (word, word))).map(str::to_owned)
}

fn preallocation_strategy(text: &str) -> Result<String, Expected> {
    let known = ["sparse_file", "os_kernel_copy", "zeros", "chunked_zeros"];
    one_of(text, &known.map(|word| (word, word))).map(str::to_owned)
}
