//! Builds the broker from a configuration, runs it, and takes it down in order. The only assembler.
//!
//! ```text
//! start: data directory -> store (a slave waits here) -> broker -> ports open -> accept -> bridges
//! stop:  ports close, clients get ShutdownInfo -> connections end -> broker -> store
//! ```
//!
//! * [`stores`] opens what keeps messages, once [`election`] has found that this node may; [`following`]
//!   reads along until then. [`role`] is what the node is meanwhile. The [`watchdog`]
//!   ends a node that hangs; [`chores`] is what is done from time to time, `schedule`
//!   what is sent later.

mod chores;
mod election;
mod following;
pub mod role;
mod schedule;
pub mod stores;
mod watchdog;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::poll;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::role::Role;
use self::stores::Opened;
use crate::base::uri::Uri;
use crate::base::{Clock, machine};
use crate::broker::cluster::ClusterOptions;
use crate::broker::options::plugin::NamePattern;
use crate::broker::options::usage::MemoryLimit;
use crate::broker::{Broker, Refusal};
use crate::config::{Config, Notice};
use crate::connection;
use crate::connection::bridge::Bridges;
use crate::network;
use crate::network::incoming::Incoming;
use crate::network::multicast::Channel;
use crate::network::options::NetworkConnector;
use crate::network::status::Board;
use crate::store::error::StoreError;
use crate::transport::{Accepted, BindError, Listener};

/// Who may see the data directory: its owner.
const DATA_DIRECTORY_MODE: u32 = 0o700;
/// The least time between two looks for expired messages, whatever the policies say.
const EXPIRE_EVERY_MIN: Duration = Duration::from_millis(100);
/// Taken when the machine does not say how much memory it has.
const MEMORY_DEFAULT_BYTES: u64 = 1 << 30;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot create the data directory {path}: {source}. Create it, or name another in `dataDirectory` or with -Dactivemq.data=DIR", path = path.display())]
    DataDirectory { path: PathBuf, source: io::Error },
    #[error("cannot create the destinations of the configuration: {0}")]
    Destinations(Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot bring back what the store holds: {0}")]
    Restore(Refusal),
}

/// A broker that is being run.
#[derive(Debug)]
pub struct Server {
    broker: Arc<Broker>,
    bridges: Arc<Board>,
    /// As the log calls it: `openwired 0.1.0 (name, ID:…)`.
    title: String,
    began: Instant,
    /// Asked for from outside.
    stop: CancellationToken,
    /// Told to connectors and connections, once the broker knows that it ends.
    closing: CancellationToken,
    /// Ends the watchdog.
    unwatched: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts the broker; on return it accepts connections. `heap_bytes` is the `-Xmx` of ActiveMQ's
    /// options, of which memory limits may be a percentage. `on_role` is called when another broker
    /// has the store and this one waits, with each news of that, and when the store is its own.
    /// Cancelling `stop` takes it down; `None` when that came first.
    ///
    /// # Errors
    /// When a port, directory or store cannot be had; then nothing is left running.
    pub async fn start(
        config: Config,
        heap_bytes: Option<u64>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
        stall_limit: Option<Duration>,
        on_role: impl FnMut(Role) + Send,
    ) -> Result<Option<Self>, ServerError> {
        let began = Instant::now();
        let Config { broker: options, connectors, network, store, temp_store, notices, .. } =
            config;
        tell(&notices);
        if options.persistent {
            create_data_directory(&options.data_directory)?;
        }
        let memory_limit = memory_limit(options.usage_for_producers().memory.limit, heap_bytes);
        let memory_limit = options.memory_for_producers(memory_limit);
        let opened =
            stores::open(&options, store, temp_store, &clock, &stop, stall_limit, on_role).await?;
        let Some(Opened { stores, recovered, purge }) = opened else { return Ok(None) };
        let host = gethostname::gethostname();
        let broker = Broker::new(options, memory_limit, &host.to_string_lossy(), clock, stores);
        let title = title(&broker);
        info!("{title} is starting");
        broker.restore(recovered).map_err(ServerError::Restore)?;
        if let Some(strategy) = purge {
            broker.purge_recovered_branches(strategy);
        }
        broker.create_destinations().map_err(ServerError::Destinations)?;
        let unwatched = CancellationToken::new();
        if let Some(limit) = stall_limit {
            watchdog::start(broker.journal(), limit, unwatched.clone())?;
        }
        let (closing, tasks) = (CancellationToken::new(), JoinSet::new());
        let bridges = Arc::default();
        let mut server = Self { broker, bridges, title, began, stop, closing, unwatched, tasks };
        let started = connectors.into_iter().filter(|connector| connector.options.auto_start);
        let listeners = started.map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
        // As in ActiveMQ, that of the first connector whose clients are told of the cluster, if any.
        let of_cluster = |listener: &&Listener| {
            let options = &listener.connector().options.options;
            options.update_cluster_clients || options.rebalance_cluster_clients
        };
        if let Some(first) = listeners.iter().find(of_cluster).or_else(|| listeners.first()) {
            server.broker.set_url(first.connector().publishable_uri());
        }
        for listener in &listeners {
            let connector = listener.connector();
            let options = &connector.options.options;
            let options = ClusterOptions {
                update: options.update_cluster_clients,
                rebalance: options.rebalance_cluster_clients,
                update_on_remove: options.update_cluster_clients_on_remove,
                filter: cluster_filter(options.update_cluster_filter.as_deref()),
            };
            server.broker.cluster().serve(connector.name(), options, &server.broker.url());
        }
        let told = |listener: &Listener| {
            let connector = listener.connector();
            let uri = connector.options.options.discovery_uri.clone()?;
            Some((connector.publishable_uri().to_owned(), uri))
        };
        let announced = listeners.iter().filter_map(told).collect();
        for listener in listeners {
            server.accept(listener).await;
        }
        server.bridge(network, announced);
        server.tasks.spawn(expire(Arc::clone(&server.broker), server.closing.clone()));
        chores::begin(&server.broker, &server.closing, &mut server.tasks);
        let schedule = schedule::run(Arc::clone(&server.broker), server.closing.clone());
        server.tasks.spawn(schedule);
        info!("{} started", server.title);
        Ok(Some(server))
    }

    async fn accept(&mut self, listener: Listener) {
        let (broker, closing) = (Arc::clone(&self.broker), self.closing.clone());
        let bridges: Arc<dyn Bridges> = Arc::new(Incoming::new(&broker, &self.bridges));
        let serve = move |accepted: Accepted| {
            let bridges = Some(Arc::clone(&bridges));
            connection::serve(accepted, Arc::clone(&broker), bridges, closing.clone())
        };
        let mut accepting: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(listener.run(self.closing.clone(), serve));
        // Runs up to its first wait, so that the log says `started` of the connectors first.
        if poll!(&mut accepting).is_pending() {
            self.tasks.spawn(accepting);
        }
    }

    /// Starts the bridges to other brokers, and tells of the connectors in `announced`.
    fn bridge(&mut self, network: Vec<NetworkConnector>, announced: Vec<(String, Uri)>) {
        self.broker.set_explainer(Arc::<Board>::clone(&self.bridges));
        let own: Vec<_> = announced.iter().map(|(address, _)| address.clone()).collect();
        for (address, uri) in announced {
            match Channel::read(&uri) {
                Ok(channel) => {
                    self.tasks.spawn(channel.announce(address, self.closing.clone()));
                }
                Err(why) => warn!("{address} is not announced at {uri}: {why}"),
            }
        }
        for connector in network.into_iter().filter(|connector| connector.options.auto_start) {
            let (broker, board) = (&self.broker, &self.bridges);
            let (tasks, closing) = (&mut self.tasks, &self.closing);
            let started =
                network::connector::start(connector, broker, board, own.clone(), tasks, closing);
            if let Err(why) = started {
                // The configuration was checked for it before.
                warn!("a network connector is not started: {why}");
            }
        }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// How the bridges to other brokers are.
    pub fn bridges(&self) -> &Arc<Board> {
        &self.bridges
    }

    /// Runs until stopped, and returns when all of it is down.
    pub async fn run(mut self) {
        self.stop.cancelled().await;
        info!("{} is shutting down", self.title);
        // Before any connection ends: what they leave behind was not delivered in vain.
        self.broker.begin_stop();
        self.closing.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(failure) = ended {
                error!("a task of the broker failed: {failure}");
            }
        }
        let broker = Arc::clone(&self.broker);
        if let Err(failure) = tokio::task::spawn_blocking(move || broker.close_stores()).await {
            error!("the store was not closed in order: {failure}");
        }
        self.unwatched.cancel();
        info!("{} uptime {}", self.title, in_words(self.began.elapsed()));
        info!("{} is shutdown", self.title);
    }
}

fn cluster_filter(patterns: Option<&str>) -> Vec<NamePattern> {
    NamePattern::list(patterns.unwrap_or_default()).unwrap_or_else(|error| {
        // The configuration was checked for it before.
        warn!("updateClusterFilter is not served: {error}");
        Vec::new()
    })
}

fn title(broker: &Broker) -> String {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    format!("{name} {version} ({}, {})", broker.name(), broker.id())
}

fn tell(notices: &[Notice]) {
    for notice in notices {
        if notice.weight.is_warn() {
            warn!("{notice}");
        } else {
            info!("{notice}");
        }
    }
}

/// Creates a directory that only its owner may enter; one that is there stays as it is.
///
/// # Errors
/// With the directory and what to do.
pub fn create_data_directory(path: &Path) -> Result<(), ServerError> {
    let created = DirBuilder::new().recursive(true).mode(DATA_DIRECTORY_MODE).create(path);
    created.map_err(|source| ServerError::DataDirectory { path: path.to_owned(), source })
}

/// Bytes that messages may take. A percentage is of the heap that ActiveMQ was given with `-Xmx`, or
/// else of the memory that this process may use.
fn memory_limit(limit: MemoryLimit, heap_bytes: Option<u64>) -> u64 {
    let percent = match limit {
        MemoryLimit::Bytes(bytes) => return bytes,
        MemoryLimit::PercentOfJvmHeap(percent) => percent,
    };
    let (whole, of) = match heap_bytes {
        Some(heap) => (heap, "that -Xmx names"),
        None => match machine::available_memory() {
            Some(memory) => (memory, "that this process may use"),
            None => (MEMORY_DEFAULT_BYTES, "taken for granted, as the machine does not tell"),
        },
    };
    let bytes = whole / 100 * u64::from(percent);
    info!(
        "memoryUsage: percentOfJvmHeap={percent} is {} MiB of the {} MiB {of}",
        bytes >> 20,
        whole >> 20
    );
    bytes
}

async fn expire(broker: Arc<Broker>, closing: CancellationToken) {
    let Some(period) = broker.region().policies().expire_period() else { return };
    let mut ticks = tokio::time::interval(period.max(EXPIRE_EVERY_MIN));
    ticks.tick().await;
    let mut last_ms = broker.now_ms();
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = ticks.tick() => {
                let now_ms = broker.now_ms();
                broker.expire_messages(last_ms);
                last_ms = now_ms;
            }
        }
    }
}

/// As ActiveMQ says an uptime: `3 hours 2 minutes`, `1.234 seconds`.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{:.3} seconds", time.as_secs_f64());
    }
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let said = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{count} {unit}{plural}")
    });
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_uptime_is_said_in_its_units() {
        let said = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(in_words(Duration::from_millis(1234)), "1.234 seconds");
        assert_eq!(said(61), "1 minute 1 second");
        assert_eq!(said(2 * 86_400 + 3 * 3600), "2 days 3 hours");
    }

    #[test]
    fn a_data_directory_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/data");
        create_data_directory(&path).unwrap();
        create_data_directory(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(dir.path().join("file"), "").unwrap();
        let refused = create_data_directory(&dir.path().join("file/data")).unwrap_err().to_string();
        assert!(refused.contains("file/data") && refused.contains("-Dactivemq.data"), "{refused}");
    }
}
