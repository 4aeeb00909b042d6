//! R8: masters that are deposed under load by nodes that their lock does not keep away. Nothing that any
//! of them has confirmed is lost, and each of them ends.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::Destination;
use support::group::{Group, Node};
use tokio::task::JoinHandle;

/// Takeovers, unless `CONTESTED=count` says otherwise.
const TAKEOVERS: u64 = 100;
/// Exit code of a broker whose store another one may have.
const OWNER_LOST: i32 = 4;
/// How long what is left may take to come.
const MOMENT: Option<Duration> = Some(Duration::from_millis(500));

/// How a lock is made worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The next node does not ask for it.
    Ignored,
    Removed,
    Renamed,
    Replaced,
    /// Its holder stands still meanwhile.
    ReplacedWhileStopped,
}

const WAYS: [Way; 5] =
    [Way::Ignored, Way::Removed, Way::Renamed, Way::Replaced, Way::ReplacedWhileStopped];

async fn connect(port: u16) -> Connection {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

/// Sends until it is refused; what was confirmed.
fn load(port: u16, next: Arc<AtomicU64>) -> JoinHandle<Vec<u64>> {
    tokio::spawn(async move {
        let mut confirmed = Vec::new();
        let connection = connect(port).await;
        let Ok(session) = connection.session(AckMode::Auto).await else { return confirmed };
        let queue = Some(Destination::queue("Q"));
        let Ok(producer) = session.producer(queue, ProducerOptions::default()).await else {
            return confirmed;
        };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if producer.send(message::text(&number.to_string())).await.is_err() {
                return confirmed;
            }
            confirmed.push(number);
        }
    })
}

/// Makes the lock worthless; the next node, which has the store then.
fn depose(group: &Group, master: &Node, way: Way, name: &str) -> Node {
    let slave = || group.slave(name);
    match way {
        Way::Ignored => group.start_with(name, "useLock='false'", &[]),
        Way::Removed => {
            let slave = slave();
            fs::remove_file(group.lock()).unwrap();
            slave
        }
        Way::Renamed => {
            let slave = slave();
            fs::rename(group.lock(), group.store().join(format!("lock-{name}"))).unwrap();
            slave
        }
        Way::Replaced | Way::ReplacedWhileStopped => {
            let slave = slave();
            if way == Way::ReplacedWhileStopped {
                master.process.signal("STOP");
            }
            let new = group.store().join(format!("lock-{name}"));
            fs::write(&new, "").unwrap();
            fs::rename(new, group.lock()).unwrap();
            slave
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_that_are_deposed_under_load_lose_nothing_they_have_confirmed() {
    let count = std::env::var("CONTESTED").ok().and_then(|count| count.parse().ok());
    let group = Group::with("lockKeepAlivePeriod='50'", "");
    let next = Arc::<AtomicU64>::default();
    let mut confirmed = Vec::new();
    let mut master = group.master("n0");
    let mut slowest = Duration::ZERO;
    for takeover in 1..=count.unwrap_or(TAKEOVERS) {
        let way = WAYS[takeover as usize % WAYS.len()];
        let sending = load(master.port(), Arc::clone(&next));
        let before = next.load(Ordering::Relaxed);
        while next.load(Ordering::Relaxed) < before + 10 {
            assert!(!sending.is_finished(), "the master is gone: {}", master.process.said());
            tokio::task::yield_now().await;
        }
        // A node without a lock goes away before the next one that asks for it.
        let successor = depose(&group, &master, way, &format!("n{takeover}"));
        successor.port();
        if way == Way::ReplacedWhileStopped {
            master.process.signal("CONT");
        }
        let began = Instant::now();
        let status = master.process.wait();
        slowest = slowest.max(began.elapsed());
        assert_eq!(status.code(), Some(OWNER_LOST), "{way:?}: {}", master.process.said());
        confirmed.extend(sending.await.unwrap());
        master = successor;
    }
    let connection = connect(master.port()).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue("Q"))).await.unwrap();
    let mut there = BTreeSet::new();
    while let Some(received) = consumer.receive(MOMENT).await.unwrap() {
        let text = message::text_of(received.message()).unwrap();
        assert!(there.insert(text.parse::<u64>().unwrap()), "{text} came twice");
    }
    let lost: Vec<_> = confirmed.iter().filter(|number| !there.contains(number)).collect();
    println!(
        "{} confirmed, {} there, {} lost; a deposed master was gone within {slowest:?}",
        confirmed.len(),
        there.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    assert!(master.process.terminate().success());
}
