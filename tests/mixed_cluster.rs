//! A network of a group of openwired and a group of ActiveMQ, each with a master and a slave on one store:
//! messages cross both ways while the masters are killed in turn, whichever side began the bridge.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure fails the test")]

mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::Destination;
use parking_lot::Mutex;
use support::activemq;
use support::daemon::Home;
use support::process::{PATIENCE, Process};
use support::sides::Kind;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Between two messages of a producer.
const PACE: Duration = Duration::from_millis(5);
/// Each group's.
const NODES: usize = 2;
/// How often the master of each group is killed.
const ROUNDS: usize = 2;
/// Messages that cross between two kills.
const BETWEEN: usize = 50;

/// Nodes of one kind on one store.
struct Group {
    kind: Kind,
    homes: Vec<Home>,
    nodes: Vec<Option<Process>>,
    ports: [u16; NODES],
    _store: TempDir,
}

impl Group {
    /// Starts the nodes; returns when one of them serves.
    fn start(kind: Kind, ports: [u16; NODES], bridge: &str) -> Self {
        let store = TempDir::with_prefix("openwired-mixed-").unwrap();
        let directory = store.path().join("kahadb").display().to_string();
        let homes = ports.map(|port| Home::new(&configuration(kind, &directory, bridge, port)));
        let nodes = (0..NODES).map(|_| None).collect();
        let mut group = Self { kind, homes: homes.into(), nodes, ports, _store: store };
        for node in 0..NODES {
            group.start_node(node);
            group.await_master();
        }
        group
    }

    fn start_node(&mut self, node: usize) {
        let home = &self.homes[node];
        let mut command: Command = match self.kind {
            Kind::Ours => home.command(&["console"]),
            Kind::Classic => activemq::command(&home.path().join("conf/activemq.xml"), home.path()),
        };
        self.nodes[node] = Some(Process::start(&mut command));
    }

    /// The node that serves, once there is one.
    fn await_master(&self) -> usize {
        let serves = |node: &Option<Process>| {
            node.as_ref().is_some_and(|process| process.said().contains(") started"))
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(master) = self.nodes.iter().position(serves) {
                return master;
            }
            assert!(Instant::now() < deadline, "no master:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self, node: usize) {
        let mut process = self.nodes[node].take().unwrap();
        process.kill();
    }

    fn url(&self) -> String {
        let options = "?initialReconnectDelay=10&maxReconnectDelay=50&randomize=false";
        format!("failover:({}){options}", members(self.ports))
    }

    /// What the nodes said last, for a test that failed.
    fn said(&self) -> String {
        let of = |process: &Process| {
            let said = process.said();
            let lines: Vec<_> = said.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        let nodes = self.nodes.iter().flatten();
        nodes.map(|node| format!("== {:?}\n{}\n", self.kind, of(node))).collect()
    }
}

fn members(ports: [u16; NODES]) -> String {
    ports.map(|port| format!("tcp://127.0.0.1:{port}")).join(",")
}

fn configuration(kind: Kind, store: &str, bridge: &str, port: u16) -> String {
    let name = if kind == Kind::Ours { "ours" } else { "classic" };
    let attributes = format!("brokerName='{name}' dataDirectory='{store}-{port}'");
    let inside = format!(
        "{bridge}<persistenceAdapter><kahaDB directory='{store}'>\
         <locker><shared-file-locker lockAcquireSleepInterval='100'/></locker>\
         </kahaDB></persistenceAdapter>"
    );
    activemq::configuration(&attributes, &inside, port)
}

fn free_ports() -> [[u16; NODES]; 2] {
    let held = [(); NODES * 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [a, b, c, d] = held.map(|listener| listener.local_addr().unwrap().port());
    [[a, b], [c, d]]
}

/// What came, and at which count of kills each number came last.
#[derive(Default)]
struct Got {
    times: BTreeMap<u64, u64>,
    /// Came again although no broker was killed since that may repeat it.
    doubled: Vec<u64>,
    repeated: usize,
}

/// Messages from a producer at one group to a consumer at the other.
struct Way {
    name: &'static str,
    got: Arc<Mutex<Got>>,
    sent: Arc<AtomicU64>,
    /// Grows before and after each kill that may make messages come again.
    kills: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    producer: JoinHandle<()>,
    consumer: JoinHandle<()>,
}

async fn connect(group: &Group) -> Connection {
    let url = BrokerUrl::parse(&group.url()).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

impl Way {
    async fn start(name: &'static str, from: &Group, to: &Group) -> Self {
        let queue = Destination::queue(name);
        let (got, kills) = (Arc::new(Mutex::new(Got::default())), Arc::new(AtomicU64::new(0)));
        let (noted, counted) = (Arc::clone(&got), Arc::clone(&kills));
        let (far, subscription) = (connect(to).await, Subscription::to(queue.clone()));
        let consumer = tokio::spawn(async move {
            let session = far.session(AckMode::Auto).await.unwrap();
            let consumer = session.consumer(&subscription).await.unwrap();
            while let Some(received) = consumer.receive(None).await.unwrap() {
                let number = message::text_of(&received).unwrap().parse().unwrap();
                noted.lock().note(number, counted.load(Ordering::Acquire));
            }
        });
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (number, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let near = connect(from).await;
        let producer = tokio::spawn(async move {
            let session = near.session(AckMode::Auto).await.unwrap();
            let producer = session.producer(Some(queue), ProducerOptions::default()).await.unwrap();
            let mut pace = tokio::time::interval(PACE);
            while !stopped.load(Ordering::Acquire) {
                pace.tick().await;
                let next = number.load(Ordering::Acquire);
                producer.send(message::text(&next.to_string())).await.unwrap();
                number.store(next + 1, Ordering::Release);
            }
        });
        Self { name, got, sent, kills, stop, producer, consumer }
    }

    /// Waits until `count` messages came that are sent from now on; says how long the first one took.
    async fn flows(&self, count: usize) -> Option<Duration> {
        let began = Instant::now();
        let from = self.sent.load(Ordering::Acquire) + 1;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let mut first = None;
        while began.elapsed() < PATIENCE {
            looks.tick().await;
            let came = self.got.lock().times.range(from..).count();
            if came > 0 && first.is_none() {
                first = Some(began.elapsed());
            }
            if came >= count {
                return first;
            }
        }
        None
    }

    /// Stops, waits for the rest, and says what is wrong with what came.
    async fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Release);
        self.producer.await.unwrap();
        let sent = self.sent.load(Ordering::Acquire);
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while (self.got.lock().times.len() as u64) < sent && Instant::now() < deadline {
            looks.tick().await;
        }
        self.consumer.abort();
        let (got, name) = (self.got.lock(), self.name);
        let missing: Vec<_> = (0..sent).filter(|n| !got.times.contains_key(n)).collect();
        println!("{name}: {sent} sent, {} came, {} again", got.times.len(), got.repeated);
        let mut faults = Vec::new();
        if !missing.is_empty() {
            faults.push(format!("{name}: {} of {sent} lost: {missing:?}", missing.len()));
        }
        if !got.doubled.is_empty() {
            faults.push(format!("{name}: came twice: {:?}", got.doubled));
        }
        faults
    }
}

impl Got {
    fn note(&mut self, number: u64, kills: u64) {
        let before = self.times.insert(number, kills);
        self.repeated += usize::from(before.is_some());
        if before == Some(kills) {
            self.doubled.push(number);
        }
    }
}

/// Kills the masters of both groups in turn.
async fn nothing_is_lost_while_masters_are_killed(mut ours: Group, mut classic: Group) {
    let to_classic = Way::start("TO.CLASSIC", &ours, &classic).await;
    let to_ours = Way::start("TO.OURS", &classic, &ours).await;
    let said = |ours: &Group, classic: &Group| format!("{}{}", ours.said(), classic.said());
    for round in 0..=ROUNDS {
        for kind in [Kind::Ours, Kind::Classic] {
            let (one, other) = tokio::join!(to_classic.flows(BETWEEN), to_ours.flows(BETWEEN));
            let what = format!("round {round}, before a master of {kind:?} is killed");
            assert!(
                one.is_some() && other.is_some(),
                "{what}: {one:?} {other:?}\n{}",
                said(&ours, &classic)
            );
            println!("{what}: flows after {one:?} and {other:?}");
            if round == ROUNDS {
                break;
            }
            // What openwired was sent it knows, also after it was killed; what the consumer had of it and
            // did not acknowledge comes again only when the consumer's own broker is killed. ActiveMQ
            // forgets what a bridge sent it as soon as a consumer has taken it, so there any kill may do.
            let step = u64::from(kind == Kind::Ours);
            let count = || {
                to_classic.kills.fetch_add(1, Ordering::AcqRel);
                to_ours.kills.fetch_add(step, Ordering::AcqRel);
            };
            let group = if kind == Kind::Ours { &mut ours } else { &mut classic };
            let master = group.await_master();
            count();
            group.kill(master);
            count();
            group.await_master();
            group.start_node(master);
        }
    }
    let mut faults = to_classic.finish().await;
    faults.extend(to_ours.finish().await);
    assert!(faults.is_empty(), "{faults:#?}\n{}", said(&ours, &classic));
}

fn bridge_to(ports: [u16; NODES]) -> String {
    let uri = format!("masterslave:({})", members(ports));
    format!(
        "<networkConnectors><networkConnector name='nc' duplex='true' uri='{uri}'/></networkConnectors>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_both_kinds_may_be_killed_where_openwired_began_the_bridge() {
    let [ours, classic] = free_ports();
    let classic_group = Group::start(Kind::Classic, classic, "");
    let ours_group = Group::start(Kind::Ours, ours, &bridge_to(classic));
    nothing_is_lost_while_masters_are_killed(ours_group, classic_group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_both_kinds_may_be_killed_where_activemq_began_the_bridge() {
    let [ours, classic] = free_ports();
    let ours_group = Group::start(Kind::Ours, ours, "");
    let classic_group = Group::start(Kind::Classic, classic, &bridge_to(ours));
    nothing_is_lost_while_masters_are_killed(ours_group, classic_group).await;
}
