//! Tells clients of the other brokers of the cluster, as `updateClusterClients` and its relatives ask.
//!
//! ```text
//! a bridge comes or goes --> what each connector tells --> ConnectionControl to each of its clients
//! ```
//!
//! Only peers of bridges are known. A client puts what it is told in the place of what it was told before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Outbox;
use super::options::plugin::NamePattern;
use crate::openwire::{BrokerInfo, ConnectionControl, Text};

/// Brokers that a connector tells of, at most; without `updateClusterClientsOnRemove` none is forgotten.
const BROKERS_MAX: usize = 1000;
/// Longest address that is passed on, in bytes.
const URL_BYTES_MAX: usize = 1024;

/// What a connector tells its clients of other brokers.
#[derive(Debug, Default)]
pub struct ClusterOptions {
    /// Tell them at all.
    pub update: bool,
    /// Have them spread over the brokers again.
    pub rebalance: bool,
    /// Tell them when one is gone.
    pub update_on_remove: bool,
    /// Only brokers whose name fits one of these are told of; without any, all are.
    pub filter: Vec<NamePattern>,
}

/// The brokers that one connector tells of.
#[derive(Debug)]
struct Told {
    options: ClusterOptions,
    /// With how many bridges there are to each; this broker, which has none, is one of them.
    brokers: VecDeque<(String, u32)>,
    clients: HashMap<u64, Arc<Outbox>>,
}

impl Told {
    fn new(options: ClusterOptions, own: &str) -> Self {
        let brokers = VecDeque::from([(own.to_owned(), 1)]);
        Self { options, brokers, clients: HashMap::new() }
    }

    /// A bridge to a broker has come. Says whether there is news.
    fn add(&mut self, name: &str, url: &str) -> bool {
        let filter = &self.options.filter;
        let fits = filter.is_empty() || filter.iter().any(|one| one.fits(name));
        if !self.options.update || !fits {
            return false;
        }
        if let Some((_, bridges)) = self.brokers.iter_mut().find(|(known, _)| known == url) {
            *bridges = bridges.saturating_add(1);
            return false;
        }
        let room = self.brokers.len() < BROKERS_MAX;
        if room {
            self.brokers.push_back((url.to_owned(), 1));
        }
        room
    }

    /// A bridge to a broker is gone. Says whether there is news.
    fn remove(&mut self, url: &str) -> bool {
        if !self.options.update || !self.options.update_on_remove {
            return false;
        }
        let Some(at) = self.brokers.iter().position(|(known, _)| known == url) else {
            return false;
        };
        if let Some((_, bridges)) = self.brokers.get_mut(at) {
            *bridges -= 1;
            if *bridges > 0 {
                return false;
            }
        }
        self.brokers.remove(at);
        true
    }

    /// What the next client is told. To spread them, each is told another broker first.
    fn control(&mut self) -> ConnectionControl {
        let mut connected = String::new();
        if self.options.update {
            let urls: Vec<_> = self.brokers.iter().map(|(url, _)| url.as_str()).collect();
            connected = urls.join(",");
            if self.options.rebalance {
                self.brokers.rotate_left(1.min(self.brokers.len()));
            }
        }
        ConnectionControl {
            connected_brokers: Some(connected.into()),
            reconnect_to: Some("".into()),
            rebalance_connection: self.options.rebalance,
            ..ConnectionControl::default()
        }
    }

    fn tell(&mut self) {
        let clients: Vec<_> = self.clients.values().cloned().collect();
        for outbox in clients {
            outbox.command(self.control());
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// By the name of the connector.
    connectors: HashMap<String, Told>,
    numbered: u64,
}

/// The brokers that bridges go to, and the clients that are to know of them.
#[derive(Debug, Default)]
pub struct Cluster {
    state: Mutex<State>,
}

impl Cluster {
    /// Has a connector tell its clients. `own` is the address of this broker.
    pub fn serve(&self, connector: &str, options: ClusterOptions, own: &str) {
        self.state.lock().connectors.insert(connector.to_owned(), Told::new(options, own));
    }

    /// A bridge to a broker has come.
    pub(super) fn joined(&self, peer: &BrokerInfo) {
        let Some(url) = url_of(peer) else { return };
        let name = shown(&peer.broker_name);
        for told in self.state.lock().connectors.values_mut() {
            if told.add(&name, &url) {
                told.tell();
            }
        }
    }

    /// A bridge that has come is gone. Nobody is told if this broker itself is `stopping`.
    pub(super) fn left(&self, peer: &BrokerInfo, stopping: bool) {
        let Some(url) = url_of(peer).filter(|_| !stopping) else { return };
        for told in self.state.lock().connectors.values_mut() {
            if told.remove(&url) {
                told.tell();
            }
        }
    }

    /// Whether a connector tells of peers.
    pub(super) fn tells(&self, connector: &str) -> bool {
        self.state.lock().connectors.get(connector).is_some_and(|told| told.options.update)
    }

    /// Tells a client that has just connected. `again` is one that reconnects, which is left where it is.
    pub fn greet(&self, connector: &str, outbox: &Outbox, again: bool) {
        let mut state = self.state.lock();
        let control = state.connectors.get_mut(connector).map(Told::control);
        let control = control.unwrap_or_else(|| ConnectionControl {
            connected_brokers: Some("".into()),
            reconnect_to: Some("".into()),
            ..ConnectionControl::default()
        });
        let rebalance_connection = control.rebalance_connection && !again;
        outbox.command(ConnectionControl { rebalance_connection, ..control });
    }

    /// Has a client told of changes until it leaves with the number returned.
    pub fn enter(&self, connector: &str, outbox: &Arc<Outbox>) -> Option<u64> {
        let mut state = self.state.lock();
        state.numbered += 1;
        let number = state.numbered;
        let told = state.connectors.get_mut(connector).filter(|told| told.options.update)?;
        told.clients.insert(number, Arc::clone(outbox));
        Some(number)
    }

    pub fn leave(&self, connector: &str, number: u64) {
        if let Some(told) = self.state.lock().connectors.get_mut(connector) {
            told.clients.remove(&number);
        }
    }
}

/// The address of a peer, unless it would be taken for several, or is too long.
fn url_of(peer: &BrokerInfo) -> Option<String> {
    let url = shown(&peer.broker_url);
    let plain = !url.is_empty() && url.len() <= URL_BYTES_MAX;
    (plain && !url.contains([',', ' ', '\n'])).then_some(url)
}

fn shown(text: &Option<Text>) -> String {
    text.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rebalance: bool, update_on_remove: bool, filter: &[&str]) -> Told {
        let filter = filter.iter().map(|one| NamePattern::new(one).unwrap()).collect();
        let options = ClusterOptions { update: true, rebalance, update_on_remove, filter };
        Told::new(options, "own")
    }

    fn says(told: &mut Told) -> String {
        shown(&told.control().connected_brokers)
    }

    #[test]
    fn a_broker_is_told_of_once_however_many_bridges_there_are() {
        let mut told = told(false, true, &[]);
        assert_eq!(
            [told.add("b", "b1"), told.add("b", "b1"), told.add("c", "c1")],
            [true, false, true]
        );
        assert_eq!(says(&mut told), "own,b1,c1");
        assert_eq!([told.remove("b1"), told.remove("b1"), told.remove("b1")], [false, true, false]);
        assert_eq!(says(&mut told), "own,c1");
    }

    #[test]
    fn who_is_gone_stays_unless_removals_are_told() {
        let mut told = told(false, false, &[]);
        assert!(told.add("b", "b1") && !told.remove("b1") && !told.add("b", "b1"));
        assert_eq!(says(&mut told), "own,b1");
    }

    #[test]
    fn a_name_has_to_fit_a_part_of_the_filter_as_a_whole() {
        let mut told = told(false, true, &["b.", ".*1"]);
        let added =
            ["b2", "ab1", "ab2", "b22", ""].map(|name| told.add(name, &format!("at{name}")));
        assert_eq!(added, [true, true, false, false, false]);
    }

    #[test]
    fn clients_that_are_to_spread_are_told_another_first() {
        let mut told = told(true, true, &[]);
        told.add("b", "b1");
        assert_eq!(
            [says(&mut told), says(&mut told), says(&mut told)],
            ["own,b1", "b1,own", "own,b1"]
        );
    }

    #[test]
    fn no_more_are_told_of_than_there_is_room_for() {
        let mut told = told(false, false, &[]);
        let added = (0..2000).filter(|number| told.add("b", &number.to_string())).count();
        assert_eq!(added, BROKERS_MAX - 1);
    }
}
