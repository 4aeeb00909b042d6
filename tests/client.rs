//! The client against a real ActiveMQ Classic and against openwired: both understand it, and it them; and
//! what becomes of it when a broker is gone.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, Error, ProducerOptions, Subscription, message,
};
use openwired::openwire::{Destination, DestinationKind};
use support::activemq::ActiveMq;
use support::daemon::Daemon;

const SOON: Option<Duration> = Some(Duration::from_secs(20));
const SHORTLY: Option<Duration> = Some(Duration::from_millis(300));

async fn connect(url: &str) -> Connection {
    Connection::open(&BrokerUrl::parse(url).unwrap(), &Credentials::default()).await.unwrap()
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

/// The bodies that a fresh consumer gets, until nothing more comes; all are acknowledged.
async fn drain(connection: &Connection, queue: &str) -> Vec<String> {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue(queue))).await.unwrap();
    let mut bodies = Vec::new();
    while let Some(received) = consumer.receive(SHORTLY).await.unwrap() {
        bodies.push(message::text_of(&received).unwrap());
    }
    consumer.close().await.unwrap();
    session.close().await.unwrap();
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn activemq_understands_the_client() {
    let broker = ActiveMq::start("");
    everything(&broker.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openwired_understands_the_client() {
    let broker = Daemon::start();
    everything(&broker.url()).await;
}

async fn everything(url: &str) {
    every_wire_format(url).await;
    every_acknowledgement_mode(url).await;
    transactions(url).await;
    pulls_and_selectors(url).await;
    durable_subscriptions(url).await;
    refusals(url).await;
    temporary_queues(url).await;
    keep_alive(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_its_broker() {
    let first = Daemon::start();
    let port = first.port();
    let url = format!(
        "failover:(tcp://127.0.0.1:{port})?initialReconnectDelay=5&useExponentialBackOff=false"
    );
    let connection = connect(&url).await;
    let session = connection.session(AckMode::Client).await.unwrap();
    let queue = Destination::queue("OUTLIVES");
    let consumer = session.consumer(&Subscription::to(queue.clone())).await.unwrap();
    let transacted = connection.session(AckMode::Transacted).await.unwrap();
    let in_transaction =
        transacted.producer(Some(queue.clone()), ProducerOptions::default()).await.unwrap();
    in_transaction.send(message::text("lost with its transaction")).await.unwrap();
    send(&connection, "OUTLIVES", &["before"]).await;
    let before = consumer.receive(SOON).await.unwrap().unwrap();
    assert_eq!(message::text_of(&before).as_deref(), Some("before"));
    let temporary = connection.create_temporary(DestinationKind::TempQueue).await.unwrap();

    first.kill();
    let second = Daemon::start_on(port);
    // The broker in memory forgot everything; the connection did not: consumer, producer, temporary queue.
    send(&connection, "OUTLIVES", &["after"]).await;
    let after = consumer.receive(SOON).await.unwrap().unwrap();
    assert_eq!(message::text_of(&after).as_deref(), Some("after"));
    // Acknowledges `after` alone: `before` came over another socket.
    session.acknowledge().await.unwrap();
    let lost = transacted.commit().await.unwrap_err();
    assert!(matches!(lost, Error::TransactionRolledBack { in_doubt: false }), "{lost}");
    in_transaction.send(message::text("again")).await.unwrap();
    transacted.commit().await.unwrap();
    let again = consumer.receive(SOON).await.unwrap().unwrap();
    assert_eq!(message::text_of(&again).as_deref(), Some("again"));
    let replies = session.consumer(&Subscription::to((*temporary).clone())).await.unwrap();
    let anonymous = session.producer(None, ProducerOptions::default()).await.unwrap();
    let mut reply = message::text("reply");
    reply.destination = Some(temporary);
    anonymous.send(reply).await.unwrap();
    assert!(replies.receive(SOON).await.unwrap().is_some());
    connection.close().await.unwrap();
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_fails_after_the_time_that_failover_gives_it() {
    let broker = Daemon::start();
    let connection = connect(&format!("failover:({})?timeout=200", broker.url())).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Some(Destination::queue("TIMEOUT"));
    let producer = session.producer(queue, ProducerOptions::default()).await.unwrap();
    producer.send(message::text("there")).await.unwrap();
    broker.kill();
    let failed = producer.send(message::text("gone")).await.unwrap_err();
    assert!(matches!(failed, Error::SendTimeout { ms: 200 }), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_failover_a_lost_broker_ends_the_connection() {
    let broker = Daemon::start();
    let connection = connect(&broker.url()).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue("END"))).await.unwrap();
    broker.kill();
    let ended = consumer.receive(SOON).await.unwrap_err();
    assert!(matches!(ended, Error::ClosedByBroker { .. } | Error::Lost { .. }), "{ended}");
    let after = connection.session(AckMode::Auto).await.unwrap_err();
    assert!(matches!(after, Error::ClosedByBroker { .. } | Error::Lost { .. }), "{after}");
}

async fn every_wire_format(url: &str) {
    for version in [1, 2, 3, 6, 9, 10, 11, 12] {
        for options in [
            "",
            "&wireFormat.tightEncodingEnabled=false",
            "&wireFormat.cacheEnabled=false",
            "&wireFormat.sizePrefixDisabled=true",
            "&wireFormat.tightEncodingEnabled=false&wireFormat.sizePrefixDisabled=true",
        ] {
            let url = format!("{url}?wireFormat.version={version}{options}");
            let connection = connect(&url).await;
            send(&connection, "FORMATS", &["one", "zwei 😀"]).await;
            assert_eq!(drain(&connection, "FORMATS").await, ["one", "zwei 😀"], "{url}");
            connection.close().await.unwrap();
        }
    }
}

async fn every_acknowledgement_mode(url: &str) {
    for mode in [AckMode::Client, AckMode::DupsOk, AckMode::Individual, AckMode::Transacted] {
        let connection = connect(url).await;
        let numbers: Vec<_> = (0..40).map(|n| n.to_string()).collect();
        let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
        send(&connection, "MODES", &numbers).await;
        let session = connection.session(mode).await.unwrap();
        // Smaller than the number of messages, so that the window has to be opened on the way.
        let prefetch = Some(10);
        let subscription =
            Subscription { prefetch, ..Subscription::to(Destination::queue("MODES")) };
        let consumer = session.consumer(&subscription).await.unwrap();
        for number in &numbers {
            let received = consumer.receive(SOON).await.unwrap().unwrap_or_else(|| {
                panic!("{mode:?}: message {number} did not come");
            });
            assert_eq!(message::text_of(&received).as_deref(), Some(*number), "{mode:?}");
            if mode == AckMode::Individual {
                consumer.acknowledge(&received).await.unwrap();
            }
        }
        match mode {
            AckMode::Client => session.acknowledge().await.unwrap(),
            AckMode::Transacted => session.commit().await.unwrap(),
            AckMode::Auto | AckMode::DupsOk | AckMode::Individual => {}
        }
        consumer.close().await.unwrap();
        session.close().await.unwrap();
        assert!(drain(&connection, "MODES").await.is_empty(), "{mode:?}");
        connection.close().await.unwrap();
    }
}

async fn transactions(url: &str) {
    let connection = connect(url).await;
    let session = connection.session(AckMode::Transacted).await.unwrap();
    let queue = Destination::queue("TX");
    let producer = session.producer(Some(queue.clone()), ProducerOptions::default()).await.unwrap();
    producer.send(message::text("undone")).await.unwrap();
    session.rollback().await.unwrap();
    producer.send(message::text("done")).await.unwrap();
    session.commit().await.unwrap();
    let consumer = session.consumer(&Subscription::to(queue)).await.unwrap();
    for attempt in 0..3 {
        let received = consumer.receive(SOON).await.unwrap().unwrap();
        assert_eq!(message::text_of(&received).as_deref(), Some("done"));
        assert_eq!(received.redelivery_counter(), attempt);
        session.rollback().await.unwrap();
    }
    assert!(consumer.receive(SOON).await.unwrap().is_some());
    session.commit().await.unwrap();
    session.close().await.unwrap();
    assert!(drain(&connection, "TX").await.is_empty());
    connection.close().await.unwrap();
}

async fn pulls_and_selectors(url: &str) {
    let connection = connect(url).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let queue = Destination::queue("PULL?consumer.prefetchSize=0");
    let consumer = session.consumer(&Subscription::to(queue).with_options()).await.unwrap();
    assert!(consumer.receive(Some(Duration::ZERO)).await.unwrap().is_none());
    assert!(consumer.receive(SHORTLY).await.unwrap().is_none());
    send(&connection, "PULL", &["a", "b"]).await;
    let first = consumer.receive(None).await.unwrap().unwrap();
    assert_eq!(message::text_of(&first).as_deref(), Some("a"));
    let selector = Some("JMSPriority > 7".to_owned());
    let picky = Subscription { selector, ..Subscription::to(Destination::queue("PULL")) };
    let picky = session.consumer(&picky).await.unwrap();
    assert!(picky.receive(SHORTLY).await.unwrap().is_none());
    connection.close().await.unwrap();
}

async fn durable_subscriptions(url: &str) {
    let client_id = Some("durable-client".to_owned());
    let credentials = Credentials { client_id, ..Credentials::default() };
    let topic = Destination::topic("NEWS");
    let durable = Some("news".to_owned());
    let subscription = Subscription { durable, ..Subscription::to(topic.clone()) };
    let url = BrokerUrl::parse(url).unwrap();
    for round in 0..2 {
        let connection = Connection::open(&url, &credentials).await.unwrap();
        let session = connection.session(AckMode::Auto).await.unwrap();
        let consumer = session.consumer(&subscription).await.unwrap();
        if round == 1 {
            let kept = consumer.receive(SOON).await.unwrap().unwrap();
            assert_eq!(message::text_of(&kept).as_deref(), Some("while away"));
        }
        consumer.close().await.unwrap();
        let options = ProducerOptions::default();
        let producer = session.producer(Some(topic.clone()), options).await.unwrap();
        producer.send(message::text("while away")).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn refusals(url: &str) {
    let connection = connect(url).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let selector = Some("foo = = 1".to_owned());
    let bad = Subscription { selector, ..Subscription::to(Destination::queue("Q")) };
    let refused = session.consumer(&bad).await.unwrap_err();
    assert_eq!(refused.to_string(), "javax.jms.InvalidSelectorException: foo = = 1");
    // The connection is none the worse for it.
    send(&connection, "AFTER", &["still there"]).await;
    assert_eq!(drain(&connection, "AFTER").await, ["still there"]);
    connection.close().await.unwrap();
    let nobody = connect_error("tcp://127.0.0.1:1").await;
    assert!(matches!(nobody, Error::Connect { .. }), "{nobody}");
    let gave_up = connect_error(
        "failover:(tcp://127.0.0.1:1)?maxReconnectAttempts=2&initialReconnectDelay=1",
    )
    .await;
    assert!(matches!(gave_up, Error::GaveUp { attempts: 2, .. }), "{gave_up}");
}

async fn connect_error(url: &str) -> Error {
    let url = BrokerUrl::parse(url).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap_err()
}

async fn temporary_queues(url: &str) {
    let connection = connect(url).await;
    let queue = connection.create_temporary(DestinationKind::TempQueue).await.unwrap();
    let session = connection.session(AckMode::Auto).await.unwrap();
    let consumer = session.consumer(&Subscription::to((*queue).clone())).await.unwrap();
    let producer = session.producer(None, ProducerOptions::default()).await.unwrap();
    let mut request = message::text("reply here");
    request.destination = Some(queue);
    producer.send(request).await.unwrap();
    assert!(consumer.receive(SOON).await.unwrap().is_some());
    connection.close().await.unwrap();
}

/// Idle for several times the inactivity limit, the connection lives on.
async fn keep_alive(url: &str) {
    let options =
        "wireFormat.maxInactivityDuration=1500&wireFormat.maxInactivityDurationInitalDelay=1500";
    let connection = connect(&format!("{url}?{options}")).await;
    let session = connection.session(AckMode::Auto).await.unwrap();
    let idle = session.consumer(&Subscription::to(Destination::queue("IDLE"))).await.unwrap();
    let nothing = idle.receive(Some(Duration::from_millis(5000))).await.unwrap();
    assert!(nothing.is_none());
    send(&connection, "IDLE", &["awake"]).await;
    let received = idle.receive(SOON).await.unwrap().unwrap();
    assert_eq!(message::text_of(&received).as_deref(), Some("awake"));
    connection.close().await.unwrap();
}
