//! A daemon that ends at each named place of a bridge, and comes back: its messages come to the other
//! broker once, in order. With a bug planted they do not, which shows that this test would see it.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::Destination;
use support::daemon::{Daemon, Home, named_configuration, port_in};
use support::process::Process;
use support::proxy::Proxy;

const MESSAGES: usize = 300;
const PLACES: [&str; 3] =
    ["bridge.before_forward", "bridge.after_remote_ack", "bridge.before_local_ack"];

async fn connect(url: &str) -> Connection {
    Connection::open(&BrokerUrl::parse(url).unwrap(), &Credentials::default()).await.unwrap()
}

fn stored(name: &str, inside: &str, port: u16) -> String {
    named_configuration(name, inside, port).replace("persistent=\"false\"", "persistent=\"true\"")
}

/// What comes to the other broker when this one ends at `place` for the `n`-th time.
async fn carried(place: &str, n: u64) -> Vec<usize> {
    let b = Daemon::with(&stored("b", "", 0));
    let uri = format!("static:({})", b.url());
    let bridge =
        format!("<networkConnectors><networkConnector name='nc' uri='{uri}'/></networkConnectors>");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = Home::new(&stored("a", &bridge, port));
    let mut dying = home.command(&["console"]);
    dying.env("OPENWIRED_FAIL_POINT", format!("{place}={n}"));
    let mut first = Process::start(&mut dying);
    first.wait_for(") started");
    let queue = Destination::queue("Q");
    let far = connect(&b.url()).await;
    let session = far.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(queue.clone())).await.unwrap();
    let near =
        connect(&format!("failover:(tcp://127.0.0.1:{port})?initialReconnectDelay=10")).await;
    let sending = tokio::spawn(async move {
        let session = near.session(AckMode::Auto).await.unwrap();
        let producer = session.producer(Some(queue), ProducerOptions::default()).await.unwrap();
        for number in 0..MESSAGES {
            producer.send(message::text(&number.to_string())).await.unwrap();
        }
    });
    tokio::task::spawn_blocking(move || first.wait()).await.unwrap();
    let _second = Process::start(&mut home.command(&["console"]));
    let mut came = Vec::new();
    while let Some(received) = consumer.receive(Some(Duration::from_secs(3))).await.unwrap() {
        came.push(message::text_of(&received).unwrap().parse().unwrap());
    }
    sending.await.unwrap();
    came
}

fn all() -> Vec<usize> {
    (0..MESSAGES).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ends_anywhere_on_a_bridge_loses_and_doubles_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for place in PLACES {
        for _ in 0..2 {
            let n = dice.u64(1..=MESSAGES as u64 / 2);
            assert_eq!(carried(place, n).await, all(), "{place}={n}, seed {seed}");
        }
    }
}

/// What comes over a bridge whose connection ends after each number of frames in turn, of how many
/// messages, when these bugs are planted in the sender and in the receiver.
async fn cut(sender: &str, receiver: &str) -> (Vec<usize>, usize) {
    const STEPS: usize = 30;
    let start = |configuration: &str, bug: &str| {
        let home = Home::new(configuration);
        let process = Process::start(home.command(&["console"]).env("OPENWIRED_BUG", bug));
        process.wait_for(") started");
        let port = port_in(&process.wait_for("Listening for connections at: "));
        (home, process, format!("tcp://127.0.0.1:{port}"))
    };
    let b = start(&stored("b", "", 0), receiver);
    let proxy = Proxy::start(b.2.replace("tcp://", ""), STEPS).await;
    let bridge = format!(
        "<networkConnectors><networkConnector name='nc' \
         uri='static:(tcp://127.0.0.1:{})'/></networkConnectors>",
        proxy.port
    );
    let a = start(&stored("a", &bridge, 0), sender);
    let queue = Destination::queue("Q");
    let (near, far) = (connect(&a.2).await, connect(&b.2).await);
    let session = far.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(queue.clone())).await.unwrap();
    let session = near.session(AckMode::Auto).await.unwrap();
    let producer = session.producer(Some(queue), ProducerOptions::default()).await.unwrap();
    let mut sent = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while proxy.connections.load(Ordering::Acquire) <= STEPS {
        pace.tick().await;
        producer.send(message::text(&sent.to_string())).await.unwrap();
        sent += 1;
    }
    let mut came = Vec::new();
    while let Some(received) = consumer.receive(Some(Duration::from_secs(3))).await.unwrap() {
        came.push(message::text_of(&received).unwrap().parse().unwrap());
    }
    (came, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bug_what_crosses_is_what_was_sent() {
    let (came, sent) = cut("", "").await;
    assert_eq!(came, (0..sent).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_leave_before_they_are_confirmed_are_missed() {
    let (came, sent) = cut("ack-before-answer", "").await;
    assert!((0..sent).any(|number| !came.contains(&number)), "{sent} sent: {came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_taken_again_are_seen() {
    let (came, sent) = cut("", "take-again").await;
    assert!(came.len() > sent, "{sent} sent: {came:?}");
}
