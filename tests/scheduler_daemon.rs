//! Scheduled messages of a real daemon that is killed again and again: none is lost, and none that was
//! confirmed comes a second time.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::map::{PrimitiveMap, Value};
use openwired::openwire::{Destination, Message};
use support::daemon::{Home, port_in};
use support::process::Process;

const SOON: Option<Duration> = Some(Duration::from_secs(20));
/// Longer than any delay and period here: what has not come after it does not come.
const QUIET: Option<Duration> = Some(Duration::from_secs(3));
const CRASHES: usize = 8;
const MESSAGES: usize = 150;
const DELAY_MAX_MS: i64 = 1500;
const REPEATS: i32 = 30;

const CONFIGURATION: &str = r#"<broker xmlns="http://activemq.apache.org/schema/core" brokerName="test"
    dataDirectory="${activemq.data}" schedulerSupport="true">
  <persistenceAdapter><kahaDB directory="${activemq.data}/kahadb"/></persistenceAdapter>
  <transportConnectors><transportConnector name="openwire" uri="tcp://127.0.0.1:0"/></transportConnectors>
</broker>
"#;

fn start(home: &Home) -> (Process, u16) {
    let process = Process::start(&mut home.command(&["console"]));
    process.wait_for(") started");
    let port = port_in(&process.wait_for("Listening for connections at: "));
    (process, port)
}

async fn connect(port: u16) -> Connection {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

fn asking(body: &str, properties: &[(&'static str, Value)]) -> Message {
    let properties: PrimitiveMap = properties.iter().cloned().collect();
    message::with_properties(message::text(body), &properties).unwrap()
}

/// What came, and what of it was confirmed, by body.
#[derive(Debug, Default)]
struct Ledger {
    came: BTreeMap<String, usize>,
    confirmed: BTreeMap<String, usize>,
}

impl Ledger {
    /// Takes up to `count` messages, each in a transaction of its own; ends early where nothing comes or
    /// the broker is gone.
    async fn take(&mut self, connection: &Connection, count: usize, patience: Option<Duration>) {
        let session = connection.session(AckMode::Transacted).await.unwrap();
        let subscription = Subscription::to(Destination::queue("Q"));
        let consumer = session.consumer(&subscription).await.unwrap();
        for _ in 0..count {
            let Ok(Some(received)) = consumer.receive(patience).await else { return };
            let body = message::text_of(received.message()).unwrap();
            *self.came.entry(body.clone()).or_default() += 1;
            if session.commit().await.is_ok() {
                *self.confirmed.entry(body).or_default() += 1;
            } else {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_lost_and_none_that_was_confirmed_comes_again_after_kills() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let home = Home::new(CONFIGURATION);
    let mut ledger = Ledger::default();
    let mut sent = BTreeSet::new();
    for round in 0..CRASHES {
        let (mut broker, port) = start(&home);
        let connection = connect(port).await;
        let session = connection.session(AckMode::Auto).await.unwrap();
        let queue = Some(Destination::queue("Q"));
        let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
        for number in 0..MESSAGES {
            let body = format!("{round}.{number}");
            let delay = Value::Long(dice.i64(1..DELAY_MAX_MS));
            producer.send(asking(&body, &[("AMQ_SCHEDULED_DELAY", delay)])).await.unwrap();
            sent.insert(body);
        }
        let repeat = [
            ("AMQ_SCHEDULED_PERIOD", Value::Long(20)),
            ("AMQ_SCHEDULED_REPEAT", Value::Int(REPEATS)),
        ];
        producer.send(asking(&format!("{round}.again"), &repeat)).await.unwrap();
        // Killed while messages are due, are being stored, given out and confirmed.
        let taken = dice.usize(1..MESSAGES);
        ledger.take(&connection, taken, SOON).await;
        broker.kill();
    }
    let (mut broker, port) = start(&home);
    ledger.take(&connect(port).await, usize::MAX, QUIET).await;
    assert!(broker.terminate().success());

    let mut twice = 0;
    for body in &sent {
        let came = ledger.came.get(body).copied().unwrap_or_default();
        assert!(came > 0, "{body} is lost");
        assert_eq!(ledger.confirmed.get(body), Some(&1), "{body} was confirmed");
        twice += came - 1;
    }
    println!("{} messages, {twice} came twice, {CRASHES} kills", sent.len());
    let expected = 1 + usize::try_from(REPEATS).unwrap();
    for round in 0..CRASHES {
        // Each kill may come between a repeat and the record of it.
        let came = ledger.confirmed[&format!("{round}.again")];
        assert!((expected..=expected + CRASHES).contains(&came), "{round}: {came} of {expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_by_the_broker_that_takes_over() {
    let home = Home::new(CONFIGURATION);
    let (mut first, port) = start(&home);
    let session = connect(port).await.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("Q"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    let delay = [("AMQ_SCHEDULED_DELAY", Value::Long(1000))];
    producer.send(asking("kept", &delay)).await.unwrap();
    let other = Home::new(CONFIGURATION);
    let data = format!("-Dactivemq.data={}", home.data().display());
    let pid_file = other.path().join("second.pid");
    let mut command = other.command(&["console", &data]);
    let mut second = Process::start(command.env("ACTIVEMQ_PIDFILE", pid_file));
    second.wait_for("is locked by another server. This broker is now in slave mode");
    first.kill();
    second.wait_for(") started");
    let port = port_in(&second.wait_for("Listening for connections at: "));
    let mut ledger = Ledger::default();
    ledger.take(&connect(port).await, 1, SOON).await;
    assert_eq!(ledger.confirmed.get("kept"), Some(&1));
    assert!(second.terminate().success());
}
