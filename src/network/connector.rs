//! Keeps the bridges of a connector up: finds a peer, has the bridge live, and begins again.
//!
//! ```text
//!             a member answers             it ends, however
//!  Searching -----------------> Connected ------------------> Waiting --pause--> Searching
//! ```
//!
//! Nothing else can happen: whatever fails at whatever step ends in a pause and another search.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bridge::{DemandBridge, Remote, Role, Watch};
use super::discovery::{Discovery, Group, Pace, group as group_of};
use super::multicast::Channel;
use super::options::{NetworkConnector, NetworkOptions};
use super::properties;
use super::search::{Found, search};
use super::status::{Board, State, Status};
use crate::base::uri::Uri;
use crate::broker::{Broker, Outbox};
use crate::connection::{Failure, serve_dialled};
use crate::openwire::BrokerId;
use crate::transport::TcpPath;

/// How long a peer that was asked may stay silent, at first; doubles while it stays silent again and again
/// although it can be reached, as one does that is overloaded.
const PATIENCE_MIN: Duration = Duration::from_millis(250);
const PATIENCE_MAX: Duration = Duration::from_secs(30);
/// Longest pause after bridges that failed at once.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A peer that answers so soon after it was silent may have been there all the time.
const REACHABLE: Duration = Duration::from_millis(60);
/// So often that may be by chance.
const CHANCES: u32 = 3;

/// One bridge of a connector: it lives as long as the broker.
#[derive(Debug)]
pub struct Supervisor {
    broker: Arc<Broker>,
    options: Arc<NetworkOptions>,
    group: Group,
    pace: Pace,
    uri: String,
    status: Arc<Status>,
    /// The brokers that bridges of this connector are connected to.
    bridged: Arc<Mutex<HashMap<BrokerId, String>>>,
    /// How often in a row the peer was silent and could be reached at once.
    stalls: u32,
}

/// What the bridges of one connector share.
#[derive(Debug)]
struct Shared {
    broker: Arc<Broker>,
    options: Arc<NetworkOptions>,
    uri: Uri,
    bridged: Arc<Mutex<HashMap<BrokerId, String>>>,
    board: Arc<Board>,
}

impl Shared {
    fn supervisor(&self, group: Group, pace: Pace) -> Supervisor {
        let status = Status::new(&self.options, &group.shown, false);
        self.board.add(&status);
        Supervisor {
            broker: Arc::clone(&self.broker),
            options: Arc::clone(&self.options),
            group,
            pace,
            uri: self.uri.to_string(),
            status,
            bridged: Arc::clone(&self.bridged),
            stalls: 0,
        }
    }
}

/// Keeps the bridges of a connector up until `shutdown`: one for each group of its peers. `own` is the
/// addresses that this broker announces, which it need not find.
///
/// # Errors
/// What of its `uri` is not served.
pub fn start(
    connector: NetworkConnector,
    broker: &Arc<Broker>,
    board: &Arc<Board>,
    own: Vec<String>,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), String> {
    let NetworkConnector { uri, options } = connector;
    let shared = Shared {
        broker: Arc::clone(broker),
        options: Arc::new(options),
        uri,
        bridged: Arc::default(),
        board: Arc::clone(board),
    };
    if shared.uri.scheme == "multicast" {
        let channel = Channel::read(&shared.uri)?;
        tasks.spawn(find(channel, shared, own, shutdown.clone()));
        return Ok(());
    }
    let Discovery { groups, pace } = Discovery::read(&shared.uri)?;
    for group in groups {
        tasks.spawn(shared.supervisor(group, pace).run(shutdown.clone()));
    }
    Ok(())
}

/// Bridges to whoever announces itself, for as long as it does.
async fn find(channel: Channel, shared: Shared, own: Vec<String>, shutdown: CancellationToken) {
    let mut bridges = JoinSet::new();
    let came = |service: &str, token: CancellationToken| {
        if own.iter().any(|own| own == service) {
            return;
        }
        let group = Uri::parse(service).map_err(|error| error.to_string());
        match group.and_then(|uri| group_of(&uri)) {
            Ok(group) => {
                bridges.spawn(shared.supervisor(group, Pace::default()).run(token));
            }
            Err(why) => tracing::debug!("{service} announces itself and is not bridged: {why}"),
        }
        // Those that have ended make room.
        while bridges.try_join_next().is_some() {}
    };
    channel.discover(shutdown, came).await;
    while bridges.join_next().await.is_some() {}
}

/// How a bridge ended.
#[derive(Debug)]
struct Ended {
    why: String,
    lived: Duration,
    silent: bool,
}

impl Supervisor {
    /// Keeps the bridge up until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (local, shown) = (self.broker.name().to_owned(), self.group.shown.clone());
        tracing::info!("Establishing network connection from vm://{local} to {shown}");
        let mut pause = Duration::ZERO;
        let mut silent = false;
        loop {
            self.status.enter(State::Searching);
            let began = Instant::now();
            let searching = search(&self.group, &self.pace, &self.broker, &self.status);
            let found = tokio::select! {
                () = shutdown.cancelled() => return,
                found = searching => found,
            };
            let Some(found) = found else {
                self.status.enter(State::GaveUp);
                let why = self.status.last_error().unwrap_or_default();
                tracing::error!(
                    "no bridge from vm://{local} to {shown}: gave up after the last of maxReconnectAttempts: {why}"
                );
                return;
            };
            let stalled = silent && began.elapsed() < REACHABLE;
            self.stalls = if stalled { self.stalls.saturating_add(1) } else { 0 };
            let ended = self.bridge(found, &shutdown).await;
            if shutdown.is_cancelled() {
                return;
            }
            silent = ended.silent;
            pause = if ended.lived < self.pace.lived_min {
                self.pace.after(pause * 2).min(PAUSE_MAX)
            } else {
                Duration::ZERO
            };
            if self.status.fail(&ended.why) {
                tracing::warn!("{local} bridge to {shown} stopped: {}", ended.why);
            } else {
                tracing::debug!("{local} bridge to {shown} stopped: {}", ended.why);
            }
            let ms = pause.as_millis() as u64;
            self.status.enter(State::Waiting { ms });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Has a bridge live on a connection until that ends.
    async fn bridge(&self, found: Found, shutdown: &CancellationToken) -> Ended {
        let Found { dialled, info, answers } = found;
        let began = Instant::now();
        let address = dialled.connector.publishable_uri().to_owned();
        let id = info.broker_id.as_deref().cloned().unwrap_or_default();
        let name = info.broker_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let failed = |why: String| Ended { why, lived: Duration::ZERO, silent: false };
        let Some(_here) = Here::enter(&self.bridged, &id, &address) else {
            return failed(format!("{name} at {address} has a bridge of this connector already"));
        };
        let properties = properties::write(&self.options, &self.uri, self.broker.name());
        let ends = dialled
            .stream
            .local_addr()
            .and_then(|local| Ok(TcpPath::new(local, dialled.stream.peer_addr()?)));
        let path = match ends {
            Ok(path) => path,
            Err(gone) => return failed(format!("{name} at {address}: {gone}")),
        };
        let watch = Watch { path, patience: answers.then(|| patience(self.stalls)) };
        let outbox = Arc::new(Outbox::default());
        let bridge = DemandBridge::open(
            &self.broker,
            &outbox,
            &self.options,
            Remote { info: &info, version: dialled.format.version, address: &address },
            Role::Initiator { properties, watch },
            Arc::clone(&self.status),
        );
        let bridge = match bridge {
            Ok(bridge) => Box::new(bridge),
            Err(refusal) => return failed(format!("this broker refuses it: {refusal}")),
        };
        let connected = State::Connected {
            remote_id: info.broker_id.clone().unwrap_or_default(),
            remote_name: name.clone(),
            remote_address: address.clone(),
        };
        let told_before = self.status.last_error();
        self.status.enter(connected);
        let local = self.broker.name();
        tracing::info!(
            "Network connection between vm://{local} and {address} ({name}) has been established."
        );
        let broker = Arc::clone(&self.broker);
        let served = serve_dialled(dialled, broker, bridge, outbox, shutdown.clone()).await;
        let lived = began.elapsed();
        if let Some(before) = told_before.filter(|_| lived < self.pace.lived_min) {
            // It did not really come up: the same failure again is no news.
            self.status.fail(&before);
        }
        let silent = matches!(served, Err(Failure::Silent { .. }));
        let why = match served {
            Ok(()) => format!("{name} at {address} closed it"),
            Err(failure) => format!("{name} at {address}: {failure}"),
        };
        Ended { why, lived, silent }
    }
}

fn patience(stalls: u32) -> Duration {
    let doubled = 1_u32.checked_shl(stalls.saturating_sub(CHANCES)).unwrap_or(u32::MAX);
    PATIENCE_MIN.saturating_mul(doubled).min(PATIENCE_MAX)
}

/// The place of a bridge in its connector: one for each broker.
struct Here {
    bridged: Arc<Mutex<HashMap<BrokerId, String>>>,
    id: BrokerId,
}

impl Here {
    fn enter(
        bridged: &Arc<Mutex<HashMap<BrokerId, String>>>,
        id: &BrokerId,
        address: &str,
    ) -> Option<Self> {
        let mut all = bridged.lock();
        if all.contains_key(id) {
            return None;
        }
        all.insert(id.clone(), address.to_owned());
        drop(all);
        Some(Self { bridged: Arc::clone(bridged), id: id.clone() })
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.bridged.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_a_peer_that_is_only_slow() {
        assert_eq!([0, 1, 3].map(patience), [PATIENCE_MIN; 3]);
        assert_eq!(patience(4), PATIENCE_MIN * 2);
        assert_eq!([20, 1000].map(patience), [PATIENCE_MAX; 2]);
    }
}
