//! What `conf` and `docker` ship: the six nodes as processes and as containers, with traffic between
//! their groups while masters are killed; the image's health; the unit for systemd.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Consumer, Credentials, Producer, ProducerOptions, Session,
    Subscription, message,
};
use openwired::config::{self, Environment, Source};
use openwired::openwire::Destination;
use support::activemq;
use support::containers::{Containers, Image};
use support::daemon::BINARY;
use support::network;
use support::process::{PATIENCE, Process};
use tempfile::TempDir;

/// Of each Java producer, and the time between two of them.
const JAVA_MESSAGES: usize = 400;
const JAVA_PACE: Duration = Duration::from_millis(10);

/// The six nodes, however they run.
trait Cluster {
    /// Where the nodes of a group (0 or 1) listen.
    fn addresses(&self, group: usize) -> Vec<String>;
    /// Ends a group's master at once; says which node that was.
    fn kill_master(&self, group: usize) -> String;
    /// Starts nodes that were killed, which then wait as slaves.
    fn start_again(&self, nodes: &[String]);
    /// What the nodes said, for a test that failed.
    fn said(&self) -> String;
}

impl Cluster for Containers {
    fn addresses(&self, group: usize) -> Vec<String> {
        self.addresses(group)
    }

    fn kill_master(&self, group: usize) -> String {
        self.kill_master(group)
    }

    fn start_again(&self, nodes: &[String]) {
        self.start_again(nodes);
    }

    fn said(&self) -> String {
        self.said()
    }
}

/// Processes that `openwired start` leaves in the background, with the files of `conf/cluster` as they are.
struct Processes(TempDir);

impl Processes {
    fn start() -> Self {
        let dir = TempDir::with_prefix("openwired-cluster-").unwrap();
        for node in 1..=6 {
            let conf = dir.path().join(format!("mq{node}/conf"));
            fs::create_dir_all(&conf).unwrap();
            fs::copy(file_of(node), conf.join("activemq.xml")).unwrap();
        }
        let processes = Self(dir);
        for node in 1..=6 {
            let (status, text) = processes.run("start", node);
            assert!(status, "{text}");
        }
        processes
    }

    /// A command of `openwired` with a node's file, as a user gives it.
    fn run(&self, command: &str, node: usize) -> (bool, String) {
        let file = self.0.path().join(format!("mq{node}/conf/activemq.xml"));
        let done = Command::new(BINARY).arg(command).arg(file).env_clear().output().unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn log(&self, node: usize) -> String {
        let file = self.0.path().join(format!("mq{node}/data/activemq.log"));
        fs::read_to_string(file).unwrap_or_default()
    }
}

impl Cluster for Processes {
    fn addresses(&self, group: usize) -> Vec<String> {
        (group * 3 + 1..=group * 3 + 3).map(address_of).collect()
    }

    fn kill_master(&self, group: usize) -> String {
        let mut nodes = group * 3 + 1..=group * 3 + 3;
        // A slave's port is closed.
        let serves = |node: &usize| TcpStream::connect(address_of(*node)).is_ok();
        let master = nodes.find(serves).expect("a group has a master");
        let (killed, text) = self.run("kill", master);
        assert!(killed, "{text}");
        format!("mq{master}")
    }

    fn start_again(&self, nodes: &[String]) {
        for node in nodes {
            let (started, text) = self.run("start", node.trim_start_matches("mq").parse().unwrap());
            assert!(started, "{text}");
        }
    }

    fn said(&self) -> String {
        (1..=6).map(|node| format!("== mq{node}\n{}", self.log(node))).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for node in 1..=6 {
            self.run("kill", node);
        }
    }
}

fn address_of(node: usize) -> String {
    format!("127.0.0.1:{}", 61615 + node)
}

fn file_of(node: usize) -> PathBuf {
    format!("conf/cluster/mq{node}/conf/activemq.xml").into()
}

/// A producer of one group, and a consumer of the other. Both find a new master by themselves.
struct Way {
    producer: Producer,
    consumer: Consumer,
    _kept: [(Connection, Session); 2],
}

impl Way {
    async fn open(cluster: &impl Cluster, from: usize, to: usize, queue: &str) -> Self {
        let queue = Destination::queue(queue);
        let there = session(cluster, to).await;
        let consumer = there.1.consumer(&Subscription::to(queue.clone())).await.unwrap();
        let here = session(cluster, from).await;
        let producer = here.1.producer(Some(queue), ProducerOptions::default()).await.unwrap();
        Self { producer, consumer, _kept: [here, there] }
    }

    /// Sends these numbers, and waits until each came. After the consumer's broker was killed some that
    /// came before may come again.
    async fn carry(&self, numbers: Range<u32>, what: &str, cluster: &impl Cluster) {
        let began = Instant::now();
        for number in numbers.clone() {
            self.producer.send(message::text(&number.to_string())).await.unwrap();
        }
        let mut missing: BTreeSet<_> = numbers.collect();
        while !missing.is_empty() {
            let received = self.consumer.receive(Some(PATIENCE)).await.unwrap();
            let Some(received) = received else {
                panic!("{what}: {missing:?} did not come\n{}", cluster.said());
            };
            let number = message::text_of(&received).unwrap().parse().unwrap();
            missing.remove(&number);
        }
        println!("{what}: all came within {:?}", began.elapsed());
    }
}

async fn session(cluster: &impl Cluster, group: usize) -> (Connection, Session) {
    let addresses = cluster.addresses(group);
    let brokers: Vec<_> = addresses.iter().map(|address| format!("tcp://{address}")).collect();
    let brokers = brokers.join(",");
    let url = format!("failover:({brokers})?initialReconnectDelay=10&maxReconnectDelay=100");
    let url = BrokerUrl::parse(&url).unwrap();
    let connection = Connection::open(&url, &Credentials::default()).await.unwrap();
    let session = connection.session(AckMode::Auto).await.unwrap();
    (connection, session)
}

/// Messages go both ways, and still do when one master after the other was killed, and both at once.
fn messages_pass_while_masters_are_killed(cluster: &impl Cluster) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ways = both_ways(cluster).await;
        carry(&ways, 0..50, "at the start", cluster).await;
        let first = cluster.kill_master(0);
        carry(&ways, 50..100, &format!("{first} killed"), cluster).await;
        let second = cluster.kill_master(1);
        carry(&ways, 100..150, &format!("{second} killed"), cluster).await;
        drop(ways);

        let slaves = [first, second];
        cluster.start_again(&slaves);
        // A container that starts anew may have another port.
        let ways = both_ways(cluster).await;
        let killed = [0, 1].map(|group| cluster.kill_master(group));
        assert!(killed.iter().all(|node| !slaves.contains(node)), "{killed:?} of {slaves:?}");
        carry(&ways, 150..200, &format!("{killed:?} killed"), cluster).await;
    });
}

async fn both_ways(cluster: &impl Cluster) -> [Way; 2] {
    [Way::open(cluster, 0, 1, "A.TO.B").await, Way::open(cluster, 1, 0, "B.TO.A").await]
}

async fn carry(ways: &[Way; 2], numbers: Range<u32>, what: &str, cluster: &impl Cluster) {
    let [there, back] = ways;
    there.carry(numbers.clone(), &format!("{what}, from A"), cluster).await;
    back.carry(numbers, &format!("{what}, from B"), cluster).await;
}

#[test]
fn the_cluster_of_conf_runs_on_one_machine_as_it_is() {
    if !network::inside("the_cluster_of_conf_runs_on_one_machine_as_it_is") {
        return;
    }
    let cluster = Processes::start();
    messages_pass_while_masters_are_killed(&cluster);
    for node in 1..=6 {
        let (status, text) = cluster.run("stop", node);
        let stopped = text.contains(" FINISHED") || text.contains("not running");
        assert!(status && stopped, "mq{node}: {text}");
    }
}

#[test]
fn the_cluster_of_compose_runs_in_containers() {
    if !Image::can_be_made() {
        eprintln!(
            "No Docker engine answers here; the same cluster runs as processes in another test."
        );
        return;
    }
    messages_pass_while_masters_are_killed(&Containers::start("cluster"));
}

/// A Java producer of one group and a Java consumer of the other, each a process of its own.
struct JavaWay {
    name: &'static str,
    producer: Process,
    consumer: Process,
}

impl JavaWay {
    fn start(name: &'static str, from: &str, to: &str) -> Self {
        // It is ended when all came: it shall see what comes twice, too.
        let mut consumer =
            activemq::java_client("consumer", to, name, 2 * JAVA_MESSAGES, Duration::ZERO);
        let consumer = Process::start(&mut consumer);
        let mut producer = activemq::java_client("producer", from, name, JAVA_MESSAGES, JAVA_PACE);
        Self { name, producer: Process::start(&mut producer), consumer }
    }

    fn await_number(&self, number: usize) {
        // To the end of the line: 1 is not 10.
        self.consumer.wait_for_line_end(&format!(" Received test message: {number}"));
    }

    /// Waits for all messages; says how many came again. `kills` of them may have cost the consumer its
    /// broker, and each of these may repeat what was not acknowledged yet.
    fn finish(mut self, kills: usize) -> usize {
        assert!(self.producer.wait().success(), "{}: {}", self.name, self.producer.said());
        for number in 0..JAVA_MESSAGES {
            self.await_number(number);
        }
        let mut came: BTreeMap<String, usize> = BTreeMap::new();
        for line in self.consumer.said().lines() {
            if let Some((_, number)) = line.split_once(" Received test message: ") {
                *came.entry(number.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(came.len(), JAVA_MESSAGES, "{}", self.name);
        let often: Vec<_> = came.iter().filter(|(_, times)| **times > 1 + kills).collect();
        assert!(often.is_empty(), "{}: came too often: {often:?}", self.name);
        came.values().sum::<usize>() - JAVA_MESSAGES
    }
}

#[test]
fn java_clients_pass_messages_through_containers_while_masters_are_killed() {
    if !Image::can_be_made() {
        eprintln!("No Docker engine answers here; Java clients are tested with processes.");
        return;
    }
    let cluster = Containers::start("java");
    let url = |group: usize| {
        let brokers = cluster.addresses(group);
        let brokers: Vec<_> = brokers.iter().map(|address| format!("tcp://{address}")).collect();
        format!("failover:({})?initialReconnectDelay=10&maxReconnectDelay=100", brokers.join(","))
    };
    let (a, b) = (url(0), url(1));
    let ways = [JavaWay::start("JAVA.A.TO.B", &a, &b), JavaWay::start("JAVA.B.TO.A", &b, &a)];
    for (group, number) in [(0, JAVA_MESSAGES / 4), (1, JAVA_MESSAGES / 2)] {
        for way in &ways {
            way.await_number(number);
        }
        println!("{} is killed after {number} messages", cluster.kill_master(group));
    }
    for way in ways {
        let name = way.name;
        println!("{name}: {JAVA_MESSAGES} came, {} of them again", way.finish(1));
    }
}

#[test]
fn a_container_is_healthy_while_its_broker_runs() {
    if !Image::can_be_made() {
        eprintln!("No Docker engine answers here; `openwired status` is tested with processes.");
        return;
    }
    let image = Image::make("health");
    // The command of ActiveMQ's image is one of ours, too.
    let broker = image.run(&["activemq", "console"]);
    let other =
        image.run(&["openwired", "consumer", "--brokerUrl", "failover:(tcp://127.0.0.1:1)"]);
    image.await_health(&broker, "healthy");
    image.await_health(&other, "unhealthy");
}

#[test]
fn the_nodes_of_a_group_differ_in_their_names_and_ports_alone() {
    let without_its_own = |node: usize| {
        let own = [
            (format!("    mq{node} of"), "    NODE of"),
            (format!(":{}?", 61615 + node), ":PORT?"),
            (format!("\"{}\"", 8160 + node), "\"CONSOLE\""),
        ];
        let text = fs::read_to_string(file_of(node)).unwrap();
        own.into_iter().fold(text, |text, (own, common)| {
            assert_eq!(text.matches(&own).count(), 1, "mq{node}: {own}");
            text.replace(&own, common)
        })
    };
    for first in [1, 4] {
        for node in [first + 1, first + 2] {
            assert_eq!(without_its_own(node), without_its_own(first), "mq{node}");
        }
    }
}

#[test]
fn all_that_the_shipped_files_ask_for_is_served_but_the_console() {
    let shipped = (1..=6).map(file_of).chain([PathBuf::from("conf/activemq.xml")]);
    for file in shipped {
        let report = config::check(&Source::File(file.clone()), &Environment::default());
        assert!(report.faults.is_empty(), "{report}");
        let beside = report.notices.iter().map(ToString::to_string);
        let unserved: Vec<_> = beside.filter(|notice| !notice.contains("console")).collect();
        assert!(unserved.is_empty(), "{}: {unserved:?}", file.display());
    }
}

#[test]
fn the_image_is_built_from_all_that_cargo_asks_for() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let ignored: BTreeSet<_> = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| root.join(line.trim_start_matches('/')))
        .collect();
    let context = TempDir::with_prefix("openwired-context-").unwrap();
    let mut waiting = vec![root.clone()];
    while let Some(directory) = waiting.pop() {
        let to = context.path().join(directory.strip_prefix(&root).unwrap());
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                _ if ignored.contains(&entry.path()) => {}
                kind if kind.is_dir() => waiting.push(entry.path()),
                kind if kind.is_file() => {
                    fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
                }
                _ => {}
            }
        }
    }
    assert!(!context.path().join("target").exists() && !context.path().join(".git").exists());
    let read = Command::new(env!("CARGO"))
        .args(["fetch", "--offline", "--locked", "--target", "host-tuple"])
        .current_dir(context.path())
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn systemd_takes_the_unit() {
    let dir = TempDir::with_prefix("openwired-unit-").unwrap();
    let unit = fs::read_to_string("conf/openwired.service").unwrap();
    let installed = "/usr/local/bin/openwired";
    assert!(unit.contains(installed), "{unit}");
    let path = dir.path().join("openwired.service");
    fs::write(&path, unit.replace(installed, BINARY)).unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .expect("`systemd-analyze` runs; install it with: apt-get install systemd");
    let said = String::from_utf8_lossy(&verify.stderr);
    let of_unit: Vec<_> = said.lines().filter(|line| line.contains("openwired")).collect();
    assert!(verify.status.success() && of_unit.is_empty(), "{said}");
}
