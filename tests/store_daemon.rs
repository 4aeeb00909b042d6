//! The journal of a real daemon: what survives, what is refused, what the tools say, and its end when the
//! disk fails.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::{Destination, Message};
use support::daemon::{BINARY, Home, port_in};
use support::process::Process;

const SOON: Option<Duration> = Some(Duration::from_secs(20));
/// Exit code of a broker whose store has failed.
const STORE_FAILED: i32 = 3;

/// A persistent broker with further elements in its configuration.
fn configuration(inside: &str, store: &str) -> String {
    format!(
        r#"<broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" dataDirectory="${{activemq.data}}">
  <persistenceAdapter><kahaDB directory="${{activemq.data}}/kahadb" {store}/></persistenceAdapter>
  {inside}
  <transportConnectors><transportConnector name="openwire" uri="tcp://127.0.0.1:0"/></transportConnectors>
</broker>
"#
    )
}

/// A directory that outlives the brokers that are started in it.
struct Node {
    home: Home,
}

impl Node {
    fn new(inside: &str, store: &str) -> Self {
        Self { home: Home::new(&configuration(inside, store)) }
    }

    fn store(&self) -> PathBuf {
        self.home.data().join("kahadb")
    }

    fn start(&self) -> (Process, u16) {
        self.start_by(&mut self.home.command(&["console"]))
    }

    fn start_by(&self, command: &mut Command) -> (Process, u16) {
        let process = Process::start(command);
        process.wait_for(") started");
        let port = port_in(&process.wait_for("Listening for connections at: "));
        (process, port)
    }

    /// What `openwired store …` says of the store, and its exit code.
    fn tool(&self, what: &str) -> (String, Option<i32>) {
        let mut command = self.home.command(&["store", what]);
        let output = command.arg(self.store()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (text.concat(), output.status.code())
    }

    /// The newest file of the journal that has anything in it.
    fn newest_segment(&self) -> PathBuf {
        let files = fs::read_dir(self.store().join("journal")).unwrap();
        let mut logs: Vec<_> = files
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs.pop().unwrap()
    }
}

/// The binary in a mount namespace of its own, where `data` is a disk of so many MiB.
fn on_small_disk(home: &Home, megabytes: u32) -> Command {
    let data = home.data();
    fs::create_dir_all(&data).unwrap();
    let data = data.display();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m none '{data}' && exec '{BINARY}' console --log info,openwired::store=debug"
    );
    let plain = home.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).env_clear();
    command.current_dir(home.path());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn host() -> String {
    gethostname::gethostname().display().to_string()
}

async fn connect(port: u16) -> Connection {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

async fn send(connection: &Connection, queue: &str, bodies: &[&str]) {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let destination = Some(Destination::queue(queue));
    let producer = session.producer(destination, ProducerOptions::default()).await.unwrap();
    for body in bodies {
        producer.send(message::text(body)).await.unwrap();
    }
    session.close().await.unwrap();
}

/// The next `count` bodies, acknowledged.
async fn take(connection: &Connection, queue: &str, count: usize) -> Vec<String> {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue(queue))).await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let received = consumer.receive(SOON).await.unwrap();
        let received = received.unwrap_or_else(|| panic!("{} of {count}", bodies.len()));
        bodies.push(message::text_of(received.message()).unwrap_or_default());
    }
    consumer.close().await.unwrap();
    session.close().await.unwrap();
    bodies
}

fn large(persistent: bool) -> Message {
    Message { persistent, ..message::bytes(vec![7; 64 << 10].into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_kill_and_the_tools_see_it() {
    let node = Node::new("", "");
    let (mut broker, port) = node.start();
    send(&connect(port).await, "Q", &["one", "two", "three"]).await;
    broker.kill();

    let (verified, code) = node.tool("verify");
    assert_eq!(code, Some(0), "{verified}");
    assert!(verified.contains("3 messages, 0 problems"), "{verified}");
    let (stats, _) = node.tool("stats");
    assert!(stats.contains("queue://Q: 3 messages"), "{stats}");
    let (dumped, _) = node.tool("dump");
    assert_eq!(dumped.lines().filter(|line| line.contains("add ")).count(), 3, "{dumped}");

    let (mut broker, port) = node.start();
    assert_eq!(take(&connect(port).await, "Q", 3).await, ["one", "two", "three"]);
    assert!(broker.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_everything_else_is_served() {
    let node = Node::new("", "");
    let (mut broker, port) = node.start();
    let connection = connect(port).await;
    for body in ["one", "two", "three"] {
        send(&connection, "Q", &[body]).await;
    }
    broker.kill();
    let segment = node.newest_segment();
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"TWO", at as u64).unwrap();

    let name = segment.file_name().unwrap().to_str().unwrap();
    let (verified, code) = node.tool("verify");
    assert_eq!(code, Some(1), "{verified}");
    assert!(verified.contains(name), "{verified}");
    let (broker, port) = node.start();
    assert_eq!(take(&connect(port).await, "Q", 2).await, ["one", "three"]);
    let said = broker.said();
    assert!(said.lines().any(|line| line.contains(name) && line.contains("damage")), "{said}");
}

#[test]
fn a_directory_of_the_java_broker_is_left_alone() {
    let node = Node::new("", "");
    fs::create_dir_all(node.store()).unwrap();
    for file in ["db.data", "db-1.log"] {
        fs::write(node.store().join(file), "KahaDB").unwrap();
    }
    let output = node.home.command(&["console"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("holds a KahaDB of the Java broker"), "{said}");
    let mut files: Vec<_> =
        fs::read_dir(node.store()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["db-1.log", "db.data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_one_directory_waits_and_goes_on() {
    let node = Node::new("", "");
    let (mut first, port) = node.start();
    send(&connect(port).await, "Q", &["kept"]).await;
    let second = Home::new(&configuration("", ""));
    let data = format!("-Dactivemq.data={}", node.home.data().display());
    let pid_file = second.path().join("second.pid");
    let mut command = second.command(&["console", &data]);
    let mut second = Process::start(command.env("ACTIVEMQ_PIDFILE", pid_file));
    second.wait_for("is locked by another server. This broker is now in slave mode");
    second.wait_for(&format!("the lock is held by test on {}, pid {}, since", host(), first.pid()));
    assert!(!second.said().contains("Listening for connections"), "{}", second.said());
    first.kill();
    second.wait_for(") started");
    let port = port_in(&second.wait_for("Listening for connections at: "));
    assert_eq!(take(&connect(port).await, "Q", 1).await, ["kept"]);
    assert!(second.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_process_and_confirms_nothing_more() {
    let node = Node::new("", "");
    let plain = node.home.command(&["console"]);
    let mut traced = Command::new("strace");
    let inject = "inject=fdatasync:error=EIO:when=40+";
    let quiet = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=fdatasync", "-e", inject];
    traced.args(quiet).args(["-o", "/dev/null", BINARY, "console"]).env_clear();
    traced.current_dir(node.home.path());
    traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (mut broker, port) = node.start_by(&mut traced);
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    let mut confirmed = 0;
    let failed = loop {
        let began = Instant::now();
        match producer.send(message::text(&confirmed.to_string())).await {
            Ok(()) => confirmed += 1,
            Err(_) => break began,
        }
        assert!(confirmed < 1000, "the disk fails long before");
    };
    let status = broker.wait();
    // With the tracer's own end in it; without one it is a few milliseconds.
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
    assert_eq!(status.code(), Some(STORE_FAILED), "{}", broker.said());
    assert!(broker.said().contains("the store failed, this broker ends at once"));

    let (_broker, port) = node.start();
    let got = take(&connect(port).await, "Q", confirmed).await;
    let want: Vec<_> = (0..confirmed).map(|number| number.to_string()).collect();
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_producers_while_consumers_go_on() {
    let node = Node::new("", "journalMaxFileLength='8mb'");
    let (broker, port) = node.start_by(&mut on_small_disk(&node.home, 40));
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = || Some(Destination::queue("Q"));
    let producer = session.producer(queue(), ProducerOptions::default()).await.unwrap();
    let mut confirmed = 0;
    // Held means: no answer, until there is room again.
    let held = loop {
        let mut sending = Box::pin(producer.send(large(true)));
        match tokio::time::timeout(Duration::from_secs(3), &mut sending).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => break sending,
        }
        confirmed += 1;
        assert!(confirmed < 2000, "the disk has 40 MiB");
    };
    assert!(confirmed > 200, "only {confirmed} messages of 64 KiB on 40 MiB");
    let other = connect(port).await;
    assert_eq!(take(&other, "Q", confirmed - 20).await.len(), confirmed - 20);
    let went_on = tokio::time::timeout(Duration::from_secs(20), held).await;
    went_on.unwrap_or_else(|_| panic!("held for ever:\n{}", broker.said())).unwrap();
    send(&connection, "Q2", &["after"]).await;
    assert_eq!(take(&other, "Q", 21).await.len(), 21);
    assert_eq!(take(&other, "Q2", 1).await, ["after"]);
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_others_take_refuses_producers_until_it_is_back() {
    let usage = "<systemUsage><systemUsage sendFailIfNoSpace='true'/></systemUsage>";
    let node = Node::new(usage, "journalMaxFileLength='1mb'");
    let (broker, port) = node.start_by(&mut on_small_disk(&node.home, 24));
    // The disk is in the broker's own mount namespace.
    let data = format!("/proc/{}/root{}", broker.pid(), node.home.data().display());
    let filler = Path::new(&data).join("filler");
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    for round in 0..5 {
        producer.send(large(true)).await.unwrap();
        // As much as there is.
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&filler).unwrap();
        let block = vec![1; 64 << 10];
        let mut length = 0;
        while file.write_all_at(&block, length).is_ok() {
            length += block.len() as u64;
        }
        drop(file);
        let mut confirmed = 1;
        // What was let in before anybody knew that there is no room is held, not refused.
        let held = loop {
            let began = Instant::now();
            let mut sending = Box::pin(producer.send(large(true)));
            match tokio::time::timeout(Duration::from_secs(3), &mut sending).await {
                Ok(Ok(())) => confirmed += 1,
                Ok(Err(refusal)) => {
                    assert!(refusal.to_string().contains("Full"), "{refusal}");
                    println!(
                        "round {round}: {confirmed} x 64 KiB, refused in {:?}",
                        began.elapsed()
                    );
                    assert!(began.elapsed() < Duration::from_secs(1));
                    break None;
                }
                Err(_) => break Some(sending),
            }
            assert!(confirmed < 100, "round {round}: the disk is full");
        };
        assert_eq!(take(&connect(port).await, "Q", confirmed).await.len(), confirmed);
        fs::remove_file(&filler).unwrap();
        let freed = Instant::now();
        let mut later = 1;
        if let Some(held) = held {
            tokio::time::timeout(SOON.unwrap(), held).await.expect("held for ever").unwrap();
            later += 1;
        }
        while let Err(refusal) = producer.send(large(true)).await {
            assert!(freed.elapsed() < Duration::from_secs(10), "there is room again: {refusal}");
            tokio::task::yield_now().await;
        }
        println!("round {round}: back after {:?}", freed.elapsed());
        assert_eq!(take(&connect(port).await, "Q", later).await.len(), later);
    }
    assert!(!broker.said().contains("the store failed"), "{}", broker.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_the_store_refuses_producers_where_the_configuration_says_so() {
    let usage = "<systemUsage><systemUsage sendFailIfNoSpace='true'>
        <storeUsage><storeUsage limit='4 mb'/></storeUsage></systemUsage></systemUsage>";
    let node = Node::new(usage, "journalMaxFileLength='1mb'");
    let (_broker, port) = node.start();
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    let mut confirmed = 0;
    let refusal = loop {
        match producer.send(large(true)).await {
            Ok(()) => confirmed += 1,
            Err(refusal) => break refusal.to_string(),
        }
        assert!(confirmed < 1000, "the limit is 4 MiB");
    };
    assert!(refusal.contains("Persistent store is Full, 100% of 4194304"), "{refusal}");
    assert!((40..80).contains(&confirmed), "{confirmed} x 64 KiB");
    producer.send(large(false)).await.unwrap();
    assert_eq!(take(&connection, "Q", confirmed + 1).await.len(), confirmed + 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(refusal) = producer.send(large(true)).await {
        assert!(Instant::now() < deadline, "there is room again: {refusal}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn non_persistent_messages_go_to_the_disk_when_memory_is_short() {
    let usage = "<systemUsage><systemUsage>
        <memoryUsage><memoryUsage limit='2 mb'/></memoryUsage></systemUsage></systemUsage>";
    let node = Node::new(usage, "");
    let (mut broker, port) = node.start();
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    for number in 0..300 {
        let body = format!("{number:>60000}");
        let sent = producer.send(Message { persistent: false, ..message::text(&body) });
        tokio::time::timeout(Duration::from_secs(20), sent).await.expect("not held").unwrap();
    }
    broker.wait_for("memory is short: non-persistent messages go to");
    let got = take(&connection, "Q", 300).await;
    let numbers: Vec<usize> = got.iter().map(|body| body.trim().parse().unwrap()).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    assert!(broker.terminate().success());
    let left = fs::read_dir(node.home.data().join("test/tmp_storage")).unwrap().count();
    assert_eq!(left, 0, "the temporary store goes with its broker");
}

/// Every file below a directory, with its length.
fn sizes(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, data) = (entry.path(), entry.metadata().unwrap());
        if data.is_dir() {
            found.extend(sizes(&path));
        } else {
            found.push((path.display().to_string(), data.len()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_change_nothing_also_while_a_broker_serves() {
    let node = Node::new("", "");
    let (_broker, port) = node.start();
    send(&connect(port).await, "Q", &["one"]).await;
    let before = sizes(&node.store());
    for tool in ["verify", "stats", "dump"] {
        let (said, code) = node.tool(tool);
        assert_eq!(code, Some(0), "{tool}: {said}");
    }
    assert_eq!(sizes(&node.store()), before);
    let nowhere = node.home.command(&["store", "verify", "nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nowhere"));
}
