//! Bridges with `useVirtualDestSubs`: what consumers of a peer's virtual topics and composites draw over,
//! whichever kind of broker tells of them and whichever hears it.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::time::Duration;

use openwired::client::{AckMode, Connection, ProducerOptions, Subscription, message};
use openwired::openwire::Destination;
use support::sides::{Kind, SHORTLY, SOON, Side, connect, consumer, send, text};

/// How long a test waits for a message before it tries again.
const MOMENT: Option<Duration> = Some(Duration::from_millis(50));
/// How often.
const TRIES: usize = 400;

/// Two brokers; the first has a bridge to the second, on which only what is sent to virtual destinations of
/// the second may cross.
fn bridged(from: Kind, to: Kind, attributes: &str, inside: &str) -> (Side, Side) {
    let attributes = format!("brokerName='b' useVirtualDestSubs='true' {attributes}");
    let virtual_ones = "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>\
        <virtualTopic name='VirtualTopic.&gt;' prefix='Consumer.*.'/>\
        <compositeQueue name='ORDERS'><forwardTo>\
        <queue physicalName='ORDERS.KEPT'/><topic physicalName='ORDERS.NEWS'/></forwardTo></compositeQueue>\
        <compositeTopic name='PRICES'><forwardTo><queue physicalName='PRICES.KEPT'/></forwardTo>\
        </compositeTopic></virtualDestinations></virtualDestinationInterceptor></destinationInterceptors>";
    let b = to.start(&attributes, &format!("{inside}{virtual_ones}"));
    let bridge = format!(
        "<networkConnectors><networkConnector name='nc' uri='static:({})' useVirtualDestSubs='true'>\
         <dynamicallyIncludedDestinations><topic physicalName='VirtualTopic.&gt;'/>\
         <queue physicalName='ORDERS'/><topic physicalName='PRICES'/></dynamicallyIncludedDestinations>\
         </networkConnector></networkConnectors>",
        b.url()
    );
    (from.start("brokerName='a'", &bridge), b)
}

/// What is published on a topic there comes to a queue here, once, from the first message on that does.
async fn topic_feeds_queue(from: &Connection, to: &Connection, topic: &str, queue: &str) {
    let taken = consumer(to, &Subscription::to(Destination::queue(queue))).await;
    let session = from.session(AckMode::Auto).await.unwrap();
    let topic = Some(Destination::topic(topic));
    let producer = session.producer(topic, ProducerOptions::default()).await.unwrap();
    let mut sent = 0;
    let mut came = None;
    while came.is_none() {
        assert!(sent < TRIES, "nothing comes to {queue}");
        producer.send(message::text(&sent.to_string())).await.unwrap();
        sent += 1;
        came = text(&taken, MOMENT).await;
    }
    for n in sent..sent + 20 {
        producer.send(message::text(&n.to_string())).await.unwrap();
    }
    let first: usize = came.unwrap().parse().unwrap();
    for n in first + 1..sent + 20 {
        assert_eq!(text(&taken, SOON).await, Some(n.to_string()), "{queue}");
    }
    assert_eq!(text(&taken, SHORTLY).await, None, "{queue}: more than was sent");
    taken.close().await.unwrap();
}

/// What is sent to a composite queue there comes to the consumer of a target of the one here; nothing leaves
/// any more when that consumer is gone. ActiveMQ may mix up the first ones while a subscription opens, so they
/// need not be `ordered`.
async fn composite_feeds_target(
    from: &Connection,
    to: &Connection,
    target: Destination,
    ordered: bool,
) {
    let composite = Destination::queue("ORDERS");
    let taken = consumer(to, &Subscription::to(target)).await;
    send(from, &composite, (0..50).map(|n| n.to_string())).await;
    let mut got = Vec::new();
    while got.len() < 50
        && let Some(body) = text(&taken, SOON).await
    {
        got.push(body.parse::<usize>().unwrap());
    }
    if !ordered {
        got.sort_unstable();
    }
    assert_eq!(got, (0..50).collect::<Vec<_>>());
    assert_eq!(text(&taken, SHORTLY).await, None, "more than was sent");
    taken.close().await.unwrap();
    let mut stays = false;
    for _ in 0..TRIES {
        send(from, &composite, std::iter::once("late".to_owned())).await;
        let near = consumer(from, &Subscription::to(composite.clone())).await;
        stays = text(&near, MOMENT).await.is_some();
        near.close().await.unwrap();
        if stays {
            break;
        }
    }
    assert!(stays, "all of it still goes over");
}

async fn virtual_consumers_draw_over(from: Kind, to: Kind) {
    let (a, b) = bridged(from, to, "", "");
    let (near, far) = (connect(&a, None).await, connect(&b, None).await);
    let ordered = from == Kind::Ours;
    topic_feeds_queue(&near, &far, "VirtualTopic.T", "Consumer.B.VirtualTopic.T").await;
    topic_feeds_queue(&near, &far, "PRICES", "PRICES.KEPT").await;
    composite_feeds_target(&near, &far, Destination::topic("ORDERS.NEWS"), ordered).await;
    let left = consumer(&far, &Subscription::to(Destination::queue("ORDERS.KEPT"))).await;
    while text(&left, SHORTLY).await.is_some() {}
    left.close().await.unwrap();
    composite_feeds_target(&near, &far, Destination::queue("ORDERS.KEPT"), ordered).await;
}

/// A queue draws over what it is to have while nobody has consumed from it yet.
async fn queues_draw_over(from: Kind, to: Kind) {
    let made = "<destinations><queue physicalName='Consumer.B.VirtualTopic.MADE'/></destinations>";
    let (a, b) = bridged(from, to, "useVirtualDestSubsOnCreation='true'", made);
    let (near, far) = (connect(&a, None).await, connect(&b, None).await);
    let queue = Destination::queue("Consumer.B.VirtualTopic.MADE");
    let topic = Destination::topic("VirtualTopic.MADE");
    let mut sent = 0;
    loop {
        assert!(sent < TRIES, "nothing comes to a queue without consumers");
        send(&near, &topic, std::iter::once(sent.to_string())).await;
        sent += 1;
        let look = Subscription { browser: true, ..Subscription::to(queue.clone()) };
        let browser = consumer(&far, &look).await;
        let seen = text(&browser, MOMENT).await.is_some();
        browser.close().await.unwrap();
        if seen {
            break;
        }
    }
    send(&near, &topic, (sent..sent + 20).map(|n| n.to_string())).await;
    let taken = consumer(&far, &Subscription::to(queue)).await;
    let first: usize = text(&taken, SOON).await.unwrap().parse().unwrap();
    for n in first + 1..sent + 20 {
        assert_eq!(text(&taken, SOON).await, Some(n.to_string()));
    }
    assert_eq!(text(&taken, SHORTLY).await, None, "more than was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_virtual_destinations_draw_over_between_ours() {
    virtual_consumers_draw_over(Kind::Ours, Kind::Ours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_virtual_destinations_of_activemq_draw_over_what_is_ours() {
    virtual_consumers_draw_over(Kind::Ours, Kind::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_our_virtual_destinations_draw_over_what_is_activemqs() {
    virtual_consumers_draw_over(Kind::Classic, Kind::Ours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_virtual_destinations_draw_over_between_ours() {
    queues_draw_over(Kind::Ours, Kind::Ours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_virtual_destinations_of_activemq_draw_over_what_is_ours() {
    queues_draw_over(Kind::Ours, Kind::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_our_virtual_destinations_draw_over_what_is_activemqs() {
    queues_draw_over(Kind::Classic, Kind::Ours).await;
}
