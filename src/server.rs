//! Builds the broker from a configuration, runs it, and takes it down in order. The only assembler.
//!
//! ```text
//! start: data directory -> broker -> ports open -> accept      ready is told here
//! stop:  ports close, clients get ShutdownInfo -> connections end -> broker
//! ```

use std::fs::{self, DirBuilder};
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

use crate::base::Clock;
use crate::broker::options::usage::MemoryLimit;
use crate::broker::{Broker, Refusal};
use crate::config::{Config, Notice};
use crate::connection;
use crate::transport::{Accepted, BindError, Listener};

/// Who may see the data directory: its owner.
const DATA_DIRECTORY_MODE: u32 = 0o700;
/// The least time between two looks for expired messages, whatever the policies say.
const EXPIRE_EVERY_MIN: Duration = Duration::from_millis(100);
/// The part of a machine's memory that a JVM takes for its heap unless told otherwise.
const HEAP_SHARE: u64 = 4;
/// Taken when the machine does not say how much memory it has.
const HEAP_DEFAULT_BYTES: u64 = 1 << 30;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot create the data directory {path}: {source}. Create it, or name another in `dataDirectory` or with -Dactivemq.data=DIR", path = path.display())]
    DataDirectory { path: PathBuf, source: io::Error },
    #[error("cannot create the destinations of the configuration: {0}")]
    Destinations(#[from] Refusal),
}

/// A broker that is being run.
#[derive(Debug)]
pub struct Server {
    broker: Arc<Broker>,
    /// As the log calls it: `openwired 0.1.0 (name, ID:…)`.
    title: String,
    began: Instant,
    /// Asked for from outside.
    stop: CancellationToken,
    /// Told to connectors and connections, once the broker knows that it ends.
    closing: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts the broker; on return it accepts connections. `heap_bytes` is the `-Xmx` of ActiveMQ's
    /// options, of which memory limits may be a percentage. Cancelling `stop` takes it down.
    ///
    /// # Errors
    /// When a port or directory cannot be had; then nothing is left running.
    pub async fn start(
        config: Config,
        heap_bytes: Option<u64>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<Self, ServerError> {
        let began = Instant::now();
        let Config { broker: options, connectors, notices, .. } = config;
        tell(&notices);
        if options.persistent {
            create_data_directory(&options.data_directory)?;
        }
        let memory_limit = match options.system_usage.memory.limit {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::PercentOfJvmHeap(percent) => {
                heap_bytes.unwrap_or_else(heap_of_machine) / 100 * u64::from(percent)
            }
        };
        let host = gethostname::gethostname();
        let broker = Broker::new(options, memory_limit, &host.to_string_lossy(), clock);
        let title = title(&broker);
        info!("{title} is starting");
        broker.create_destinations()?;
        let (closing, tasks) = (CancellationToken::new(), JoinSet::new());
        let mut server = Self { broker, title, began, stop, closing, tasks };
        let started = connectors.into_iter().filter(|connector| connector.options.auto_start);
        let listeners = started.map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = listeners.first() {
            server.broker.set_url(first.connector().publishable_uri());
        }
        for listener in listeners {
            server.accept(listener).await;
        }
        server.tasks.spawn(expire(Arc::clone(&server.broker), server.closing.clone()));
        info!("{} started", server.title);
        Ok(server)
    }

    async fn accept(&mut self, listener: Listener) {
        let (broker, closing) = (Arc::clone(&self.broker), self.closing.clone());
        let serve = move |accepted: Accepted| {
            connection::serve(accepted, Arc::clone(&broker), closing.clone())
        };
        let mut accepting: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(listener.run(self.closing.clone(), serve));
        // Runs up to its first wait, so that the log says `started` of the connectors first.
        if poll!(&mut accepting).is_pending() {
            self.tasks.spawn(accepting);
        }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
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
        info!("{} uptime {}", self.title, in_words(self.began.elapsed()));
        info!("{} is shutdown", self.title);
    }
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

/// What a JVM would take for its heap here: a quarter of what the process may use.
fn heap_of_machine() -> u64 {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let machine = read("/proc/meminfo");
    let machine = machine.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let container = read("/sys/fs/cgroup/memory.max").trim().parse::<u64>().ok();
    let most = [machine, container].into_iter().flatten().min();
    most.map_or(HEAP_DEFAULT_BYTES, |bytes| bytes / HEAP_SHARE)
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
