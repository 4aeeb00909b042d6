//! Bridges between brokers of both kinds, in both roles: what consumers of one get of producers of the
//! other.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Consumer, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::{Destination, DestinationKind, Message};
use support::activemq::ActiveMq;
use support::daemon::Daemon;

const SOON: Option<Duration> = Some(Duration::from_secs(20));
const SHORTLY: Option<Duration> = Some(Duration::from_millis(300));

/// A broker of either kind.
enum Side {
    Ours(Daemon),
    Classic(ActiveMq),
}

impl Side {
    fn url(&self) -> String {
        match self {
            Self::Ours(daemon) => daemon.url(),
            Self::Classic(broker) => broker.url(),
        }
    }
}

fn ours(name: &str, inside: &str) -> Side {
    Side::Ours(Daemon::with(&support::daemon::named_configuration(name, inside, 0)))
}

fn classic(name: &str, inside: &str) -> Side {
    Side::Classic(ActiveMq::start_named(name, inside))
}

fn connector(to: &Side, attributes: &str) -> String {
    let uri = format!("static:({})", to.url());
    format!(
        "<networkConnectors><networkConnector name='nc' uri='{uri}' {attributes}/></networkConnectors>"
    )
}

async fn connect(side: &Side, client_id: Option<&str>) -> Connection {
    let credentials =
        Credentials { client_id: client_id.map(str::to_owned), ..Credentials::default() };
    Connection::open(&BrokerUrl::parse(&side.url()).unwrap(), &credentials).await.unwrap()
}

async fn consumer(connection: &Connection, subscription: &Subscription) -> Consumer {
    connection.session(AckMode::Auto).await.unwrap().consumer(subscription).await.unwrap()
}

async fn send(connection: &Connection, to: &Destination, bodies: impl Iterator<Item = String>) {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let producer = session.producer(Some(to.clone()), ProducerOptions::default()).await.unwrap();
    for body in bodies {
        producer.send(message::text(&body)).await.unwrap();
    }
    session.close().await.unwrap();
}

async fn text(consumer: &Consumer, patience: Option<Duration>) -> Option<String> {
    let received = consumer.receive(patience).await.unwrap()?;
    Some(message::text_of(&received).unwrap())
}

/// Sends `count` numbered messages from one side and wants them on the other: all, once, in order.
async fn carries(from: &Connection, to: &Connection, queue: &str, count: usize, first: bool) {
    let destination = Destination::queue(queue);
    let bodies = || (0..count).map(|n| n.to_string());
    if first {
        send(from, &destination, bodies()).await;
    }
    let consumer = consumer(to, &Subscription::to(destination.clone())).await;
    if !first {
        send(from, &destination, bodies()).await;
    }
    for n in 0..count {
        assert_eq!(text(&consumer, SOON).await, Some(n.to_string()), "{queue}");
    }
    assert_eq!(text(&consumer, SHORTLY).await, None, "{queue}: more than was sent");
    consumer.close().await.unwrap();
}

async fn carries_topics(from: &Connection, to: &Connection, topic: &str) {
    let destination = Destination::topic(topic);
    let consumer = consumer(to, &Subscription::to(destination.clone())).await;
    let session = from.session(AckMode::Auto).await.unwrap();
    let producer = session.producer(Some(destination), ProducerOptions::default()).await.unwrap();
    // Nobody tells when the news of the consumer have arrived but a message that comes over.
    let news = |body: &str| Message { persistent: false, ..message::text(body) };
    let mut greetings = 0;
    let mut heard = loop {
        producer.send(news(&format!("greeting {greetings}"))).await.unwrap();
        greetings += 1;
        if let Some(heard) = text(&consumer, Some(Duration::from_millis(50))).await {
            break heard;
        }
        assert!(greetings < 400, "nothing of {topic} comes over");
    };
    for n in 0..50 {
        producer.send(news(&n.to_string())).await.unwrap();
    }
    while heard.starts_with("greeting") {
        heard = text(&consumer, SOON).await.unwrap();
    }
    for n in 0..50 {
        assert_eq!(heard, n.to_string());
        heard = text(&consumer, if n < 49 { SOON } else { SHORTLY }).await.unwrap_or_default();
    }
    assert_eq!(heard, "", "more than was sent");
    consumer.close().await.unwrap();
}

/// A durable subscriber gets what was published on the other side while it was away.
async fn carries_durable(from: &Connection, to: &Side, topic: &str) {
    let destination = Destination::topic(topic);
    let subscription =
        Subscription { durable: Some("d".to_owned()), ..Subscription::to(destination.clone()) };
    let client = format!("durable-{topic}");
    let there = connect(to, Some(&client)).await;
    let first = consumer(&there, &subscription).await;
    let mut sent = 0;
    loop {
        send(from, &destination, std::iter::once(format!("greeting {sent}"))).await;
        sent += 1;
        if text(&first, Some(Duration::from_millis(50))).await.is_some() {
            break;
        }
        assert!(sent < 400, "nothing of {topic} comes over");
    }
    while text(&first, SHORTLY).await.is_some() {}
    first.close().await.unwrap();
    there.close().await.unwrap();
    send(from, &destination, (0..20).map(|n| n.to_string())).await;
    let there = connect(to, Some(&client)).await;
    let second = consumer(&there, &subscription).await;
    for n in 0..20 {
        assert_eq!(text(&second, SOON).await, Some(n.to_string()), "{topic}");
    }
    assert_eq!(text(&second, SHORTLY).await, None);
    there.close().await.unwrap();
}

/// A request goes one way and its reply, to a temporary queue, the other.
async fn answers_requests(from: &Connection, to: &Connection, queue: &str) {
    let destination = Destination::queue(queue);
    let requests = consumer(to, &Subscription::to(destination.clone())).await;
    let temporary = from.create_temporary(DestinationKind::TempQueue).await.unwrap();
    let replies = consumer(from, &Subscription::to((*temporary).clone())).await;
    let asking = from.session(AckMode::Auto).await.unwrap();
    let producer = asking.producer(Some(destination), ProducerOptions::default()).await.unwrap();
    let answering = to.session(AckMode::Auto).await.unwrap();
    for n in 0..20 {
        let mut request = message::text(&n.to_string());
        request.reply_to = Some((*temporary).clone());
        producer.send(request).await.unwrap();
        let request = requests.receive(SOON).await.unwrap().expect("the request comes over");
        let reply_to = request.message().reply_to.clone().unwrap();
        let reply = format!("re {}", message::text_of(&request).unwrap());
        let answer = answering.producer(Some(reply_to), ProducerOptions::default()).await.unwrap();
        answer.send(message::text(&reply)).await.unwrap();
        assert_eq!(text(&replies, SOON).await, Some(format!("re {n}")));
        answer.close().await.unwrap();
    }
    requests.close().await.unwrap();
}

async fn one_way(a: &Side, b: &Side) {
    let (from, to) = (connect(a, None).await, connect(b, None).await);
    carries(&from, &to, "FIRST.SENT", 200, true).await;
    carries(&from, &to, "FIRST.CONSUMED", 200, false).await;
    carries_topics(&from, &to, "NEWS").await;
    carries_durable(&from, b, "KEPT").await;
}

async fn both_ways(a: &Side, b: &Side) {
    let (from, to) = (connect(a, None).await, connect(b, None).await);
    one_way(a, b).await;
    carries(&to, &from, "BACK.FIRST.SENT", 200, true).await;
    carries(&to, &from, "BACK.FIRST.CONSUMED", 200, false).await;
    carries_topics(&to, &from, "BACK.NEWS").await;
    carries_durable(&to, a, "BACK.KEPT").await;
    answers_requests(&from, &to, "REQUESTS").await;
    answers_requests(&to, &from, "BACK.REQUESTS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_between_ours() {
    let b = ours("b", "");
    let a = ours("a", &connector(&b, ""));
    one_way(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_to_activemq() {
    let b = classic("b", "");
    let a = ours("a", &connector(&b, ""));
    one_way(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_from_activemq() {
    let b = ours("b", "");
    let a = classic("a", &connector(&b, ""));
    one_way(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplex_between_ours() {
    let b = ours("b", "");
    let a = ours("a", &connector(&b, "duplex='true'"));
    both_ways(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplex_to_activemq() {
    let b = classic("b", "");
    let a = ours("a", &connector(&b, "duplex='true'"));
    both_ways(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplex_from_activemq() {
    let b = ours("b", "");
    let a = classic("a", &connector(&b, "duplex='true'"));
    both_ways(&a, &b).await;
}
