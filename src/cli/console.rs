//! `console`: the broker in this process, in the foreground or as the daemon that `start` made.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::{Common, Configuration};
use super::layout::Layout;
use super::pid_file::PidFile;
use super::status_file::StatusFile;
use super::{daemon, log, source};
use crate::base::SystemClock;
use crate::config;
use crate::server::role::Role;
use crate::server::{Server, create_data_directory};

/// Threads that serve connections, at most; more cores than that help no broker.
const WORKERS_MAX: usize = 32;

/// How many threads serve connections on so many cores. The journal has one of its own, and the fewer
/// there are, the less often they wake each other for nothing.
fn workers(cores: usize) -> usize {
    cores.saturating_sub(1).clamp(1, WORKERS_MAX)
}

/// Runs the broker until it is told to stop.
pub(super) fn run(
    layout: &Layout,
    common: &Common,
    configuration: &Configuration,
    detached: bool,
) -> anyhow::Result<ExitCode> {
    if detached {
        daemon::detach()?;
    }
    create_data_directory(&layout.data)?;
    log::start(common.log.as_deref(), &layout.log_file(), !detached)?;
    let _held = PidFile::create(&layout.pid_file)?;
    if !detached {
        banner(layout, configuration);
    }
    if detached {
        tracing::info!("Loading message broker from: {}", named(configuration));
    }
    let source = source::resolve(configuration.conf.as_deref(), layout)?;
    let environment = source::environment(layout, configuration.strict);
    let config = match config::load(&source, &environment) {
        Ok(config) => config,
        Err(refused) => {
            for fault in &refused.faults {
                tracing::error!("{fault}");
                eprintln!("ERROR: {fault}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers(cores))
        .thread_name("openwired-worker")
        .enable_all()
        .build()
        .context("cannot start the threads of the broker")?;
    let served = runtime.block_on(serve(layout, config, detached));
    if let Err(error) = &served {
        tracing::error!("{}", super::in_words(error));
    }
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(layout: &Layout, config: config::Config, detached: bool) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let clock = Arc::new(SystemClock);
    let mut status = StatusFile::beside(&layout.pid_file);
    let mut is_slave = false;
    let on_role = |role: Role| {
        if let Err(failure) = status.say(&role) {
            tracing::warn!("{failure:#}");
        }
        // A slave is up, too: whoever starts a node is not kept waiting for it to become master.
        let becomes_slave = matches!(role, Role::Slave { .. }) && !is_slave;
        is_slave |= becomes_slave;
        if detached
            && becomes_slave
            && let Err(failure) = daemon::report_ready(layout)
        {
            tracing::warn!("{failure:#}");
        }
    };
    let stall_limit = stall_limit(&layout.definitions)?;
    let running = async {
        let started =
            Server::start(config, layout.heap_bytes, clock, stop.clone(), stall_limit, on_role)
                .await?;
        let Some(server) = started else { return Ok(()) };
        if detached {
            daemon::report_ready(layout)?;
        }
        server.run().await;
        Ok::<(), anyhow::Error>(())
    };
    tokio::pin!(running);
    loop {
        let name = tokio::select! {
            ended = &mut running => return ended,
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if stop.is_cancelled() {
            tracing::warn!("{name} a second time: ending at once");
            return Ok(());
        }
        tracing::debug!("{name}: stopping");
        stop.cancel();
    }
}

/// How long a master may do nothing, in milliseconds, as `-D` says; 0 for ever.
const STALL_LIMIT: &str = "openwired.stallLimit";
const STALL_LIMIT_DEFAULT_MS: u64 = 5000;
/// A shorter time could be that of a busy machine.
const STALL_LIMIT_MIN_MS: u64 = 1000;

fn stall_limit(definitions: &[(String, String)]) -> anyhow::Result<Option<Duration>> {
    let said = definitions.iter().rev().find(|(name, _)| name == STALL_LIMIT);
    let ms = match said {
        None => STALL_LIMIT_DEFAULT_MS,
        Some((name, text)) => text
            .parse()
            .ok()
            .filter(|ms| *ms == 0 || *ms >= STALL_LIMIT_MIN_MS)
            .with_context(|| {
                format!(
                    "-D{name}={text} is no number of milliseconds: say 0 for never, or at least \
                     {STALL_LIMIT_MIN_MS}"
                )
            })?,
    };
    Ok((ms > 0).then(|| Duration::from_millis(ms)))
}

/// What ActiveMQ prints before its log begins.
fn banner(layout: &Layout, configuration: &Configuration) {
    let Layout { home, base, conf, data, pid_file, .. } = layout;
    println!(
        "INFO: Starting in foreground, this is just for debugging purposes (stop process by pressing CTRL+C)"
    );
    println!("INFO: Creating pidfile {}", pid_file.display());
    println!("openwired {}", env!("CARGO_PKG_VERSION"));
    for (name, path) in [("HOME", home), ("BASE", base), ("CONF", conf), ("DATA", data)] {
        println!("ACTIVEMQ_{name}: {}", path.display());
    }
    println!("Loading message broker from: {}", named(configuration));
}

fn named(configuration: &Configuration) -> &str {
    configuration.conf.as_deref().unwrap_or("xbean:activemq.xml")
}
