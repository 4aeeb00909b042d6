//! A network of a group of openwired and a group of ActiveMQ, each with a master and a slave on one store:
//! messages of queues and topics cross both ways while the masters are killed in turn, whichever side began the
//! bridge, or with a bridge of each side.

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
use support::process::{self, PATIENCE, Process};
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
            group.master();
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
    fn master(&self) -> usize {
        process::await_master(&self.nodes)
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
        let nodes = self.nodes.iter().flatten();
        nodes.map(|node| format!("== {:?}\n{}\n", self.kind, node.said_last())).collect()
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

/// What carries the messages of a way, and so what may become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// Keeps everything.
    Queue,
    /// A topic with a durable subscriber: keeps everything from the first message that crossed on.
    Durable,
    /// A topic with a plain subscriber, who hears what is published while all serve.
    Topic,
}

/// What came.
#[derive(Default)]
struct Got {
    /// At which count of kills each number came last.
    times: BTreeMap<u64, u64>,
    /// Came again although no broker was killed since that may repeat it.
    doubled: Vec<u64>,
    repeated: usize,
    /// The last number, and in which time of quiet it came; 0 is none.
    last: Option<(u64, u64)>,
    /// Two numbers that came one after the other, though all served.
    gaps: Vec<(u64, u64)>,
}

/// What happens around a way.
#[derive(Default)]
struct Course {
    sent: AtomicU64,
    stop: AtomicBool,
    /// Grows before and after each kill that may make messages come again.
    kills: AtomicU64,
    /// The number of the time in which all serve; 0 while a broker may be gone.
    quiet: AtomicU64,
    got: Mutex<Got>,
}

/// Messages from a producer at one group to a consumer at the other.
struct Way {
    name: String,
    carrier: Carrier,
    to: Kind,
    course: Arc<Course>,
    producer: JoinHandle<()>,
    consumer: JoinHandle<()>,
}

async fn connect(group: &Group, client_id: Option<String>) -> Connection {
    let url = BrokerUrl::parse(&group.url()).unwrap();
    Connection::open(&url, &Credentials { client_id, ..Credentials::default() }).await.unwrap()
}

impl Way {
    async fn start(carrier: Carrier, from: &Group, to: &Group) -> Self {
        let name = format!("{carrier:?}.TO.{:?}", to.kind);
        let (destination, durable) = match carrier {
            Carrier::Queue => (Destination::queue(&name), None),
            Carrier::Durable => (Destination::topic(&name), Some("d".to_owned())),
            Carrier::Topic => (Destination::topic(&name), None),
        };
        let course = Arc::new(Course::default());
        let far = connect(to, durable.is_some().then(|| name.clone())).await;
        let subscription = Subscription { durable, ..Subscription::to(destination.clone()) };
        let session = far.session(AckMode::Auto).await.unwrap();
        let comes = session.consumer(&subscription).await.unwrap();
        let noted = Arc::clone(&course);
        let consumer = tokio::spawn(async move {
            let _open = (far, session);
            while let Some(received) = comes.receive(None).await.unwrap() {
                noted.note(message::text_of(&received).unwrap().parse().unwrap());
            }
        });
        let near = connect(from, None).await;
        let counted = Arc::clone(&course);
        let producer = tokio::spawn(async move {
            let session = near.session(AckMode::Auto).await.unwrap();
            let options = ProducerOptions::default();
            let producer = session.producer(Some(destination), options).await.unwrap();
            let mut pace = tokio::time::interval(PACE);
            while !counted.stop.load(Ordering::Acquire) {
                pace.tick().await;
                let next = counted.sent.load(Ordering::Acquire);
                producer.send(message::text(&next.to_string())).await.unwrap();
                counted.sent.store(next + 1, Ordering::Release);
            }
        });
        Self { name, carrier, to: to.kind, course, producer, consumer }
    }

    /// Waits until `count` messages came that are sent from now on; says how long the first one took.
    async fn flows(&self, count: usize) -> Option<Duration> {
        let began = Instant::now();
        let from = self.course.sent.load(Ordering::Acquire) + 1;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        let mut first = None;
        while began.elapsed() < PATIENCE {
            looks.tick().await;
            let came = self.course.got.lock().times.range(from..).count();
            if came > 0 && first.is_none() {
                first = Some(began.elapsed());
            }
            if came >= count {
                return first;
            }
        }
        None
    }

    /// A broker of this kind is about to be killed, or was.
    ///
    /// What openwired was sent it knows, also after it was killed; what the consumer had of it and did not
    /// acknowledge comes again only when the consumer's own broker is killed. ActiveMQ forgets what a bridge
    /// sent it as soon as a consumer has taken it, so there any kill may do. Of what a plain topic published
    /// nobody keeps anything, so a producer that is not sure sends it again.
    fn count_kill(&self, of: Kind) {
        self.course.quiet.store(0, Ordering::Release);
        let repeats = self.carrier == Carrier::Topic || self.to == Kind::Classic;
        let step = u64::from(repeats || of == self.to);
        self.course.kills.fetch_add(step, Ordering::AcqRel);
    }

    /// Stops, waits for the rest, and says what is wrong with what came.
    async fn finish(self) -> Vec<String> {
        self.course.stop.store(true, Ordering::Release);
        self.producer.await.unwrap();
        let sent = self.course.sent.load(Ordering::Acquire);
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !self.course.got.lock().times.contains_key(&(sent - 1)) && Instant::now() < deadline {
            looks.tick().await;
        }
        let missing = || -> Vec<u64> {
            let got = self.course.got.lock();
            let first = match self.carrier {
                Carrier::Queue => Some(0),
                Carrier::Durable => got.times.keys().next().copied(),
                Carrier::Topic => return Vec::new(),
            };
            (first.unwrap_or(0)..sent).filter(|n| !got.times.contains_key(n)).collect()
        };
        while !missing().is_empty() && Instant::now() < deadline {
            looks.tick().await;
        }
        self.consumer.abort();
        let (missing, name) = (missing(), &self.name);
        let got = self.course.got.lock();
        println!("{name}: {sent} sent, {} came, {} again", got.times.len(), got.repeated);
        let mut faults = Vec::new();
        if !missing.is_empty() {
            faults.push(format!("{name}: {} of {sent} lost: {missing:?}", missing.len()));
        }
        if !got.doubled.is_empty() {
            faults.push(format!("{name}: came twice: {:?}", got.doubled));
        }
        if !got.gaps.is_empty() {
            faults.push(format!("{name}: not one after the other: {:?}", got.gaps));
        }
        faults
    }
}

impl Course {
    fn note(&self, number: u64) {
        let (kills, quiet) =
            (self.kills.load(Ordering::Acquire), self.quiet.load(Ordering::Acquire));
        let mut got = self.got.lock();
        let before = got.times.insert(number, kills);
        got.repeated += usize::from(before.is_some());
        if before == Some(kills) {
            got.doubled.push(number);
        }
        if let Some((last, then)) = got.last.replace((number, quiet))
            && quiet != 0
            && then == quiet
            && number != last + 1
        {
            got.gaps.push((last, number));
        }
    }
}

/// Kills the masters of both groups in turn, while queues, durable topics and plain topics are in use both
/// ways.
async fn nothing_is_lost_while_masters_are_killed(mut ours: Group, mut classic: Group) {
    let mut ways = Vec::new();
    for carrier in [Carrier::Queue, Carrier::Durable, Carrier::Topic] {
        ways.push(Way::start(carrier, &ours, &classic).await);
        ways.push(Way::start(carrier, &classic, &ours).await);
    }
    let said = |ours: &Group, classic: &Group| format!("{}{}", ours.said(), classic.said());
    for (time, kind) in (1..).zip([Kind::Ours, Kind::Classic].repeat(ROUNDS)) {
        let what = format!("before kill {time}, of a master of {kind:?}");
        all_flow(&ways, &what, time, || said(&ours, &classic)).await;
        let group = if kind == Kind::Ours { &mut ours } else { &mut classic };
        let master = group.master();
        ways.iter().for_each(|way| way.count_kill(kind));
        group.kill(master);
        ways.iter().for_each(|way| way.count_kill(kind));
        group.master();
        group.start_node(master);
    }
    all_flow(&ways, "at the end", u64::MAX, || said(&ours, &classic)).await;
    let mut faults = Vec::new();
    for way in ways {
        faults.extend(way.finish().await);
    }
    assert!(faults.is_empty(), "{faults:#?}\n{}", said(&ours, &classic));
}

/// Waits until messages cross on all ways, and as many again in the quiet after that, the time of this number.
async fn all_flow(ways: &[Way], what: &str, time: u64, said: impl Fn() -> String) {
    for quiet in [0, time] {
        ways.iter().for_each(|way| way.course.quiet.store(quiet, Ordering::Release));
        for way in ways {
            let flows = way.flows(BETWEEN).await;
            assert!(flows.is_some(), "{what}: nothing comes by {}\n{}", way.name, said());
            if quiet == 0 {
                println!("{what}: {} flows after {flows:?}", way.name);
            }
        }
    }
}

fn bridge_to(ports: [u16; NODES], attributes: &str) -> String {
    let uri = format!("masterslave:({})", members(ports));
    format!(
        "<networkConnectors><networkConnector name='nc' uri='{uri}' {attributes}/></networkConnectors>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_both_kinds_may_be_killed_where_openwired_began_the_bridge() {
    let [ours, classic] = free_ports();
    let classic_group = Group::start(Kind::Classic, classic, "");
    let ours_group = Group::start(Kind::Ours, ours, &bridge_to(classic, "duplex='true'"));
    nothing_is_lost_while_masters_are_killed(ours_group, classic_group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_both_kinds_may_be_killed_where_activemq_began_the_bridge() {
    let [ours, classic] = free_ports();
    let ours_group = Group::start(Kind::Ours, ours, "");
    let classic_group = Group::start(Kind::Classic, classic, &bridge_to(ours, "duplex='true'"));
    nothing_is_lost_while_masters_are_killed(ours_group, classic_group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_of_both_kinds_may_be_killed_where_each_has_a_bridge_of_one_way() {
    let [ours, classic] = free_ports();
    let ours_group = Group::start(Kind::Ours, ours, &bridge_to(classic, ""));
    let classic_group = Group::start(Kind::Classic, classic, &bridge_to(ours, ""));
    nothing_is_lost_while_masters_are_killed(ours_group, classic_group).await;
}
