//! How the bridges are, for those who ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::options::NetworkOptions;
use crate::openwire::BrokerId;

/// What a bridge is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Looking for a peer that answers.
    Searching,
    /// Messages flow.
    Connected { remote_id: Arc<BrokerId>, remote_name: String, remote_address: String },
    /// The connection ended; it is looked for again in so many milliseconds.
    Waiting { ms: u64 },
    /// As many attempts failed as `maxReconnectAttempts` allows.
    GaveUp,
}

/// One bridge.
#[derive(Debug)]
pub struct Status {
    /// Of the network connector.
    pub name: String,
    /// Where its peers are.
    pub peers: String,
    /// The peer began it and this broker only answers.
    pub created_by_duplex: bool,
    pub options: Arc<NetworkOptions>,
    state: Mutex<Details>,
    forwarded: AtomicU64,
    subscriptions: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Details {
    state: State,
    last_error: Option<String>,
    /// Destinations for which the peer takes nothing, and why.
    refused: BTreeMap<String, String>,
}

/// Destinations of which a refusal is remembered.
const REFUSED_MAX: usize = 1000;

impl Status {
    pub fn new(options: &Arc<NetworkOptions>, peers: &str, created_by_duplex: bool) -> Arc<Self> {
        let details =
            Details { state: State::Searching, last_error: None, refused: BTreeMap::new() };
        Arc::new(Self {
            name: options.name.clone(),
            peers: peers.to_owned(),
            created_by_duplex,
            options: Arc::clone(options),
            state: Mutex::new(details),
            forwarded: AtomicU64::new(0),
            subscriptions: AtomicUsize::new(0),
        })
    }

    pub fn state(&self) -> State {
        self.state.lock().state.clone()
    }

    pub fn last_error(&self) -> Option<String> {
        self.state.lock().last_error.clone()
    }

    /// Messages that the peer confirmed since the bridge exists.
    pub fn forwarded_count(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// Subscriptions here that stand for the peer's consumers.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    /// Why the peer takes nothing for a destination, if it does not.
    pub fn refusal(&self, destination: &str) -> Option<String> {
        self.state.lock().refused.get(destination).cloned()
    }

    /// Enters a state. Says whether that is a change worth a line in the log.
    pub fn enter(&self, state: State) -> bool {
        let mut details = self.state.lock();
        let changed = details.state != state;
        if matches!(state, State::Connected { .. }) {
            details.last_error = None;
            details.refused.clear();
        }
        details.state = state;
        changed
    }

    /// Notes a failure. Says whether it is another one than the last.
    pub fn fail(&self, why: &str) -> bool {
        let mut details = self.state.lock();
        if details.last_error.as_deref() == Some(why) {
            return false;
        }
        details.last_error = Some(why.to_owned());
        true
    }

    pub(super) fn forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_subscriptions(&self, count: usize) {
        self.subscriptions.store(count, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, destination: &str, why: &str) {
        let mut details = self.state.lock();
        if details.refused.len() < REFUSED_MAX {
            details.refused.insert(destination.to_owned(), why.to_owned());
        }
    }
}

/// All bridges of a broker. Those that peers began are here while they live.
#[derive(Debug, Default)]
pub struct Board {
    bridges: Mutex<Vec<Weak<Status>>>,
}

impl Board {
    pub fn add(&self, status: &Arc<Status>) {
        let mut bridges = self.bridges.lock();
        bridges.retain(|other| other.strong_count() > 0);
        bridges.push(Arc::downgrade(status));
    }

    pub fn all(&self) -> Vec<Arc<Status>> {
        self.bridges.lock().iter().filter_map(Weak::upgrade).collect()
    }
}
