//! The six nodes of `tests/config/cluster`, in the two hosts of a network of the test's own.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::daemon::Home;
use super::network;
use super::process::{self, Process};

/// Where the files look for the stores.
const STORES: &str = "/usr/local/mqcluster";

/// Two groups of three nodes; each group has a master and two slaves.
#[derive(Debug)]
pub struct Cluster {
    homes: Vec<Home>,
    nodes: Vec<Option<Process>>,
    _stores: TempDir,
}

impl Cluster {
    /// Starts all, and returns when both masters serve.
    pub fn start() -> Self {
        let stores = TempDir::with_prefix("openwired-stores-").unwrap();
        let place = stores.path().display().to_string();
        let homes: Vec<_> = (1..=6).map(|node| home(node, &place)).collect();
        let mut cluster = Self { homes, nodes: Vec::new(), _stores: stores };
        cluster.nodes = (0..6).map(|_| None).collect();
        for group in [0, 1] {
            for node in 0..3 {
                cluster.start_node(group * 3 + node);
                cluster.master(group);
            }
        }
        cluster
    }

    pub fn start_node(&mut self, node: usize) {
        let (host, _) = network::HOSTS[node / 3];
        let home = &self.homes[node];
        let mut command = network::on(host, &home.command(&["console"]));
        self.nodes[node] = Some(Process::start(&mut command));
    }

    pub fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node].take() {
            process.kill();
        }
    }

    /// The node of a group (0 or 1) that serves, once there is one.
    pub fn master(&self, group: usize) -> usize {
        let first = group * 3;
        first + process::await_master(&self.nodes[first..first + 3])
    }

    /// The URL of a group's clients.
    pub fn url(group: usize) -> String {
        let (_, address) = network::HOSTS[group];
        let first = 61616 + group * 3;
        let brokers: Vec<_> =
            (first..first + 3).map(|port| format!("tcp://{address}:{port}")).collect();
        format!(
            "failover:({})?initialReconnectDelay=10&maxReconnectDelay=50&randomize=false",
            brokers.join(",")
        )
    }

    /// What all nodes said last, for a test that failed.
    pub fn said(&self) -> String {
        let said = self.homes.iter().enumerate().map(|(at, home)| {
            let log = home.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            format!("== mq{}\n{last}\n", at + 1)
        });
        said.collect()
    }
}

/// The directory of a node, with the files that its users wrote.
fn home(node: usize, stores: &str) -> Home {
    let from = Path::new("tests/config/cluster").join(format!("mq{node}"));
    let text = fs::read_to_string(from.join("activemq.xml")).unwrap();
    assert!(text.contains(STORES), "{text}");
    let home = Home::new(&text.replace(STORES, stores));
    for file in ["credentials.properties", "jetty-realm.properties", "jetty.xml"] {
        fs::copy(from.join(file), home.path().join("conf").join(file)).unwrap();
    }
    home
}
