//! Several nodes on one store: who is master, what slaves say and do, and how one follows another.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::Destination;
use support::group::{Group, Node};

const SOON: Option<Duration> = Some(Duration::from_secs(20));
/// Exit code of a broker whose store another one may have.
const OWNER_LOST: i32 = 4;
/// Exit code of a broker that hung.
const STALLED: i32 = 5;

async fn connect(port: u16) -> Connection {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

async fn send(connection: &Connection, body: &str) {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    producer.send(message::text(body)).await.unwrap();
    session.close().await.unwrap();
}

/// The next `count` bodies, acknowledged.
async fn take(connection: &Connection, count: usize) -> Vec<String> {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue("Q"))).await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let received = consumer.receive(SOON).await.unwrap();
        let received = received.unwrap_or_else(|| panic!("{} of {count}", bodies.len()));
        bodies.push(message::text_of(received.message()).unwrap_or_default());
    }
    session.close().await.unwrap();
    bodies
}

/// Waits until one of these is master, and the others are not.
fn master_of(nodes: &[Node]) -> usize {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let masters = nodes.iter().enumerate().filter(|(_, node)| node.is_master());
        let masters: Vec<_> = masters.map(|(index, _)| index).collect();
        match masters[..] {
            [] => assert!(Instant::now() < deadline, "no master: {nodes:#?}"),
            [only] => return only,
            _ => panic!("{} masters: {nodes:#?}", masters.len()),
        }
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_that_start_at_once_one_is_master_and_the_next_follows_it() {
    let group = Group::new();
    let mut nodes: Vec<_> = ["a", "b", "c"].iter().map(|name| group.start(name)).collect();
    let mut left = Vec::new();
    for body in ["one", "two", "three"] {
        let master = nodes.remove(master_of(&nodes));
        for slave in &nodes {
            let said = slave.process.wait_for("the lock is held by ");
            assert!(said.contains("pid"), "{said}");
        }
        send(&connect(master.port()).await, body).await;
        left.push(master);
        left.last_mut().unwrap().process.kill();
    }
    let last = group.master("d");
    assert_eq!(take(&connect(last.port()).await, 3).await, ["one", "two", "three"]);
}

#[test]
fn a_slave_opens_no_port_and_ends_at_once_when_it_is_told_to() {
    let group = Group::new();
    let master = group.master("a");
    let mut slave = group.slave("b");
    let holder =
        format!("the lock is held by a on {}, pid {}, since", host(), master.process.pid());
    slave.process.wait_for(&holder);
    let began = Instant::now();
    assert!(slave.process.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let said = slave.process.said();
    assert!(said.contains("attempt to obtain lock aborted due to shutdown"), "{said}");
    assert!(!said.contains("Listening"), "{said}");
    assert!(
        said.contains("Database ") && said.contains("lock is locked by another server"),
        "{said}"
    );
}

#[test]
fn a_node_that_shall_not_wait_ends_and_says_who_has_the_lock() {
    for (attributes, children) in [
        ("failIfDatabaseIsLocked='true'", ""),
        ("", "<locker><shared-file-locker failIfLocked='true'/></locker>"),
    ] {
        let group = Group::with(attributes, children);
        let _master = group.master("a");
        let mut other = group.start("b");
        assert_eq!(other.process.wait().code(), Some(1));
        let said = other.process.said();
        assert!(said.contains("is locked by a on "), "{said}");
    }
}

#[test]
fn the_lock_may_be_in_a_directory_of_its_own() {
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = elsewhere.path().join("locks").display().to_string();
    let locker = format!("<locker><shared-file-locker directory='{directory}'/></locker>");
    let group = Group::with("", &locker);
    let mut master = group.master("a");
    let slave = group.slave("b");
    assert!(elsewhere.path().join("locks/lock").exists() && !group.lock().exists());
    master.process.kill();
    slave.port();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_lock_file_is_gone_ends_and_another_one_goes_on() {
    let group = Group::new();
    let mut master = group.master("a");
    let slave = group.slave("b");
    send(&connect(master.port()).await, "kept").await;
    fs::remove_file(group.lock()).unwrap();
    assert_eq!(master.process.wait().code(), Some(OWNER_LOST));
    let said = master.process.said();
    assert!(
        said.contains("a, no longer able to keep the exclusive lock so giving up being a master"),
        "{said}"
    );
    assert_eq!(take(&connect(slave.port()).await, 1).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_lock_deposes_the_master_which_confirms_nothing_more() {
    let group = Group::new();
    let mut master = group.master("a");
    let connection = connect(master.port()).await;
    send(&connection, "kept").await;
    let other = group.start_with("b", "useLock='false'", &[]);
    let port = other.port();
    let session = connection.session(AckMode::Auto).await;
    if let Ok(session) = session {
        let queue = Some(Destination::queue("Q"));
        if let Ok(producer) = session.producer(queue, ProducerOptions::default()).await {
            producer.send(message::text("too late")).await.unwrap_err();
        }
    }
    assert_eq!(master.process.wait().code(), Some(OWNER_LOST), "{}", master.process.said());
    assert_eq!(take(&connect(port).await, 1).await, ["kept"]);
}

#[test]
fn a_master_that_is_stopped_is_succeeded_at_once() {
    let group = Group::new();
    let mut master = group.master("a");
    let slave = group.slave("b");
    master.process.signal("TERM");
    assert!(master.process.wait().success());
    let began = Instant::now();
    slave.port();
    println!("{:?} from the end of the one to the start of the other", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_has_read_what_is_there_when_it_takes_over() {
    let group = Group::new();
    let mut master = group.master("a");
    let slave = group.slave("b");
    let connection = connect(master.port()).await;
    for number in 0..20 {
        send(&connection, &number.to_string()).await;
    }
    wait_for_status(&slave, "it follows, up to batch 2");
    master.process.kill();
    let bodies = take(&connect(slave.port()).await, 20).await;
    assert_eq!(bodies, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    let said = slave.process.said();
    assert!(said.contains("followed, and taken over in"), "{said}");
}

#[test]
fn status_says_who_is_master_and_who_waits() {
    let group = Group::new();
    let mut master = group.master("a");
    let mut slave = group.slave("b");
    assert!(wait_for_status(&master, "master, epoch 1").contains("ActiveMQ is running"));
    let waits = format!("slave, waiting for the lock held by a on {}, pid", host());
    wait_for_status(&slave, &waits);
    assert!(slave.process.terminate().success());
    let (said, code) = status(&slave);
    assert!(said.contains("ActiveMQ not running") && code == Some(1), "{said}");
    assert!(said.contains("was slave; the lock is held by a on "), "{said}");
    master.process.kill();
    let (said, _) = status(&master);
    assert!(said.contains("was master; nobody has the lock"), "{said}");
}

fn status(node: &Node) -> (String, Option<i32>) {
    let output = node.command(&["status"]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// Asks a node until it says so.
fn wait_for_status(node: &Node, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (said, _) = status(node);
        if said.contains(text) {
            return said;
        }
        assert!(Instant::now() < deadline, "it never said `{text}`: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_is_succeeded_and_confirms_nothing_when_it_runs_again() {
    let group = Group::new();
    let lease = ["-Dopenwired.stallLimit=1000"];
    let mut master = group.start_with("a", "", &lease);
    let connection = connect(master.port()).await;
    send(&connection, "kept").await;
    let mut slave = group.start_with("b", "", &lease);
    slave.process.wait_for("the lock is held by a on ");
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    master.process.signal("STOP");
    let unheard = tokio::spawn(async move { producer.send(message::text("unheard")).await });
    slave.process.wait_for("this broker takes over without the lock");
    let port = slave.port();
    assert_eq!(take(&connect(port).await, 1).await, ["kept"]);
    master.process.signal("CONT");
    let began = Instant::now();
    assert_eq!(master.process.wait().code(), Some(OWNER_LOST), "{}", master.process.said());
    println!("gone {:?} after it ran again", began.elapsed());
    assert!(unheard.await.unwrap().is_err(), "a deposed master has confirmed a message");
    // The one that has no lock keeps the store while another one has it.
    let third = group.start_with("c", "", &lease);
    third.process.wait_for("the lock is held by b on ");
    send(&connect(port).await, "to b").await;
    assert!(slave.process.terminate().success());
    // What the hanging one had read and never answered may be there.
    let connection = connect(third.port()).await;
    let mut bodies = take(&connection, 1).await;
    if bodies == ["unheard"] {
        bodies = take(&connection, 1).await;
    }
    assert_eq!(bodies, ["to b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_disk_hangs_ends_and_is_succeeded() {
    let group = Group::new();
    let lease = ["-Dopenwired.stallLimit=1000"];
    let mut master = group.start_on_slow_disk("a", 60, &lease);
    let connection = connect(master.port()).await;
    let slave = group.slave("b");
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    let mut confirmed = 0;
    loop {
        let sent = producer.send(message::text(&confirmed.to_string()));
        match tokio::time::timeout(Duration::from_secs(1), sent).await {
            Ok(sent) => sent.unwrap(),
            Err(_) => break,
        }
        confirmed += 1;
        assert!(confirmed < 1000, "the disk hangs long before");
    }
    let began = Instant::now();
    master.process.wait_for("did nothing for 1000 ms: this broker ends at once");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(master.process.wait().code(), Some(STALLED), "{}", master.process.said());
    let bodies = take(&connect(slave.port()).await, confirmed).await;
    assert_eq!(bodies, (0..confirmed).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_limit_that_is_no_number_of_milliseconds_is_refused() {
    let group = Group::new();
    let mut node = group.start_with("a", "", &["-Dopenwired.stallLimit=soon"]);
    assert_eq!(node.process.wait().code(), Some(1));
    assert!(node.process.said().contains("-Dopenwired.stallLimit=soon"));
}

fn host() -> String {
    gethostname::gethostname().display().to_string()
}
