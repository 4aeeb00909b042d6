//! Opens the stores that a configuration asks for.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::ServerError;
use super::election::{Elected, Election, blocking};
use super::role::Role;
use crate::base::Clock;
use crate::broker::keeping::Stores;
use crate::broker::options::BrokerOptions;
use crate::broker::options::usage::DiskUsage;
use crate::store::disk::RealDisk;
use crate::store::error::StoreError;
use crate::store::journal::{Journal, Opening, refuse_kahadb};
use crate::store::options::{
    JournalOptions, JournalsOptions, PurgeRecoveredXa, StoreOptions, TempStoreOptions,
};
use crate::store::temporary::Temporary;
use crate::store::{Entry, Group, Recovered};

/// Exit code of a process whose store failed: nothing is confirmed any more, and a slave may take over.
pub const STORE_FAILED: i32 = 3;
/// Exit code of a process whose store another one has taken over.
pub const OWNER_LOST: i32 = 4;

/// How often a master looks, at least, that the store is still its own, and shows that it works.
const BEAT: Duration = Duration::from_secs(1);
/// How often a master shows that it works in the time after which a slave goes on without it.
const BEATS_PER_LEASE: u32 = 4;
/// A shorter `lockKeepAlivePeriod` is not kept.
const BEAT_MIN: Duration = Duration::from_millis(50);

/// What [`open`] found.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub stores: Stores,
    pub recovered: Recovered,
    pub purge: Option<PurgeRecoveredXa>,
}

/// Opens the journal, waiting for its lock as a slave where the configuration says so, and prepares the
/// temporary store. `None` when the broker was stopped while it waited.
pub(super) async fn open(
    broker: &BrokerOptions,
    store: StoreOptions,
    temporary: TempStoreOptions,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
    lease: Option<Duration>,
    mut on_role: impl FnMut(Role) + Send,
) -> Result<Option<Opened>, ServerError> {
    let mut opened = Opened::default();
    let usage = broker.usage_for_producers();
    if let Some(options) = journal_of(store) {
        let directory = options.directory.clone().unwrap_or_default();
        let store_first = (
            options.concurrent_store_and_dispatch_queues,
            options.concurrent_store_and_dispatch_topics,
        );
        opened.purge = Some(options.purge_recovered_xa);
        let purge = broker.delete_all_messages_on_startup || options.purge_store_on_startup;
        let node = format!("{} on {}", broker.broker_name, gethostname::gethostname().display());
        let keep_alive = options.lock.keep_alive_period.unwrap_or(BEAT);
        let beat = keep_alive.min(lease.map_or(BEAT, |lease| lease / BEATS_PER_LEASE));
        let attempt = Attempt {
            beat: beat.clamp(BEAT_MIN, BEAT),
            directory: directory.clone(),
            options,
            purge,
            clock: clock.clone(),
            node,
            broker: broker.broker_name.clone(),
        };
        let owned = attempt.until_owned(stop, lease, &mut on_role).await?;
        let Some((journal, recovered)) = owned else { return Ok(None) };
        let lock = attempt.options.lock.path(&directory);
        on_role(Role::Master { store: Some((journal.epoch(), lock)) });
        opened.stores.journal = Some(journal);
        opened.recovered = recovered;
        (opened.stores.dispatch_queues_first, opened.stores.dispatch_topics_first) = store_first;
        let used = opened.stores.journal.as_ref().map_or(0, Journal::used_bytes);
        opened.stores.store_limit_bytes =
            limit_bytes("Store", &usage.store, &directory, used, broker.adjust_usage_limits);
    }
    if opened.stores.journal.is_none() {
        on_role(Role::Master { store: None });
    }
    let directory = temporary.directory.clone().unwrap_or_default();
    opened.stores.temp_limit_bytes =
        limit_bytes("Temporary Store", &usage.temp, &directory, 0, broker.adjust_usage_limits);
    opened.stores.temporary = Some(Temporary::new(directory, temporary, Arc::clone(clock)));
    Ok(Some(opened))
}

/// The one journal of a configuration.
fn journal_of(store: StoreOptions) -> Option<JournalOptions> {
    match store {
        StoreOptions::Memory => None,
        StoreOptions::Journal(journal) => Some(*journal),
        StoreOptions::Journals(journals) => {
            let JournalsOptions { directory, stores, journal_max_file_length, lock, .. } =
                *journals;
            let first = stores.into_iter().next().map(|filtered| filtered.journal);
            let first = first.unwrap_or_default();
            Some(JournalOptions { directory, journal_max_file_length, lock, ..first })
        }
    }
}

/// What it takes to open the journal.
#[derive(Debug, Clone)]
struct Attempt {
    directory: PathBuf,
    options: JournalOptions,
    purge: bool,
    clock: Arc<dyn Clock>,
    /// The broker and its machine.
    node: String,
    /// As the log calls it.
    broker: String,
    beat: Duration,
}

impl Attempt {
    /// Waits as a slave until the store is ours. `None` when the broker is stopped first.
    async fn until_owned(
        &self,
        stop: &CancellationToken,
        lease: Option<Duration>,
        on_role: impl FnMut(Role) + Send,
    ) -> Result<Option<(Journal, Recovered)>, ServerError> {
        refuse_kahadb(&RealDisk, &self.directory)?;
        let lock = &self.options.lock;
        let mut election = Election::new(&self.directory, lock, lease, on_role)?;
        loop {
            let Some(elected) = election.elect(stop).await? else { return Ok(None) };
            let attempt = self.clone();
            match blocking(move || attempt.once(elected)).await {
                Ok(opened) => return Ok(Some(opened)),
                // Another node was faster by a moment.
                Err(failure) if failure.is_loss() => warn!("{failure}"),
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    fn once(&self, elected: Elected) -> Result<(Journal, Recovered), StoreError> {
        let Elected { locking, followed } = elected;
        let opening = Opening {
            node: self.node.clone(),
            locking,
            followed,
            beat: Some(self.beat),
            clock: Arc::clone(&self.clock),
            on_failure: failing(self.broker.clone()),
        };
        let disk = Arc::new(RealDisk);
        let (journal, recovered) = Journal::open(disk, &self.directory, &self.options, opening)?;
        if !self.purge {
            return Ok((journal, recovered));
        }
        warn!("all messages of {} are deleted, as configured", self.directory.display());
        let _ticket = journal.append(purged(recovered));
        Ok((journal, Recovered::default()))
    }
}

/// What makes a store forget all that it held.
fn purged(recovered: Recovered) -> Group {
    let gone = recovered.owners.into_iter().map(|owner| {
        let bytes = owner.messages.values().map(|stored| u64::from(stored.at.bytes)).sum();
        Entry::OwnerGone { id: owner.id, bytes }
    });
    let outcomes = recovered.branches.into_iter().map(|branch| Entry::Outcome(branch.xid));
    Group { entries: gone.chain(outcomes).collect(), wanted: false }
}

/// What is done when the store has failed. After a failed write nobody knows what the disk holds, and after
/// a loss of the store it is not ours: the process ends, so that nothing is promised any more and clients
/// go to the broker that takes over.
fn failing(broker: String) -> Box<dyn Fn(&StoreError) + Send + Sync> {
    Box::new(move |failure| {
        if failure.is_loss() {
            error!(
                "{broker}, no longer able to keep the exclusive lock so giving up being a master"
            );
            error!("the store was lost, this broker ends at once: {failure}");
            process::exit(OWNER_LOST);
        }
        error!("the store failed, this broker ends at once: {failure}");
        process::exit(STORE_FAILED);
    })
}

/// The limit that holds on this disk, of which the store has `used` bytes already.
fn limit_bytes(what: &str, usage: &DiskUsage, directory: &Path, used: u64, adjust: bool) -> u64 {
    let there = directory.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
    let (total, usable) = (fs2::total_space(there).ok(), fs2::available_space(there).ok());
    let limit = match usage.percent_limit {
        Some(percent) => {
            usage.total.or(total).map_or(usage.limit, |total| total / 100 * u64::from(percent))
        }
        None => usage.limit,
    };
    match usable.map(|usable| usable + used).filter(|usable| adjust && *usable < limit) {
        Some(usable) => {
            let mb = |bytes: u64| bytes >> 20;
            warn!(
                "{what} limit is {} mb. The data directory: {} only has {} mb of usable space. - \
                 resetting to maximum available disk space: {} mb",
                mb(limit),
                directory.display(),
                mb(usable),
                mb(usable)
            );
            usable
        }
        None => limit,
    }
}
