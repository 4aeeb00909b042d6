//! Bridges between brokers of both kinds, in both roles: what consumers of one get of producers of the
//! other.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::time::{Duration, Instant};

use openwired::client::{AckMode, Connection, Consumer, ProducerOptions, Subscription, message};
use openwired::openwire::{Command, Destination, DestinationKind, Message, Value};
use support::daemon::Daemon;
use support::proxy::Proxy;
use support::sides::{
    SHORTLY, SOON, Side, classic, connect, connector, consumer, ours, send, stored, text,
};

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
async fn duplex_between_ours_with_stores() {
    let b = stored("b", "");
    let a = stored("a", &connector(&b, "duplex='true'"));
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

/// The next bridge that a broker tells of: whether it has started, whether the peer began it, and the peer.
async fn told(consumer: &Consumer) -> (Option<Value>, Option<Value>, String) {
    let message = consumer.receive(SOON).await.unwrap().expect("nothing of a bridge");
    let Some(Command::BrokerInfo(peer)) = &message.data_structure else { panic!("{message:?}") };
    assert!(peer.network_properties.is_none(), "they have passwords in them");
    let property = |name| message::property(&message, name);
    (
        property("started"),
        property("createdByDuplex"),
        peer.broker_name.as_ref().unwrap().to_string(),
    )
}

async fn bridges_are_told_of(a: Side, b: Side) {
    let yes_no = |value| Some(Value::Boolean(value));
    let bridges = Subscription::to(Destination::topic("ActiveMQ.Advisory.NetworkBridge"));
    let (at_a, at_b) = (connect(&a, None).await, connect(&b, None).await);
    let here = consumer(&at_a, &bridges).await;
    assert_eq!(told(&here).await, (yes_no(true), yes_no(false), "b".to_owned()));
    let there = consumer(&at_b, &bridges).await;
    assert_eq!(told(&there).await, (yes_no(true), yes_no(true), "a".to_owned()));
    let late = consumer(&at_a, &bridges).await;
    assert_eq!(told(&late).await, (yes_no(true), yes_no(false), "b".to_owned()));
    drop(b);
    let mut last = told(&here).await;
    // What is there ActiveMQ says to all when somebody comes.
    while matches!(a, Side::Classic(_)) && last.0 == yes_no(true) {
        last = told(&here).await;
    }
    assert_eq!(last, (yes_no(false), None, "b".to_owned()));
}

#[tokio::test]
async fn a_bridge_that_starts_or_stops_is_told_of() {
    let b = ours("b", "");
    let a = ours("a", &connector(&b, "duplex='true'"));
    bridges_are_told_of(a, b).await;
}

#[tokio::test]
async fn activemq_tells_the_same_of_bridges() {
    let b = ours("b", "");
    let a = classic("a", &connector(&b, "duplex='true'"));
    bridges_are_told_of(a, b).await;
}

/// A peer refuses what is too much for it; where that is asked for, it is told, with the message.
#[tokio::test]
async fn what_a_peer_refuses_is_told_of() {
    let full = "<systemUsage><systemUsage sendFailIfNoSpace='true'>\
        <memoryUsage><memoryUsage limit='64kb'/></memoryUsage></systemUsage></systemUsage>";
    let b = ours("b", full);
    let a = ours("a", &connector(&b, "advisoryForFailedForward='true'"));
    let (from, to) = (connect(&a, None).await, connect(&b, None).await);
    let failures = Destination::topic("ActiveMQ.Advisory.NetworkBridge.ForwardFailure");
    let failures = consumer(&from, &Subscription::to(failures)).await;
    let queue = Destination::queue("large");
    let slow = Subscription { prefetch: Some(1), ..Subscription::to(queue.clone()) };
    let _slow = consumer(&to, &slow).await;
    let body = "x".repeat(20_000);
    send(&from, &queue, (0..10).map(|_| body.clone())).await;
    let failed = failures.receive(SOON).await.unwrap().expect("nothing failed");
    let Some(Command::Message(refused)) = &failed.data_structure else { panic!("{failed:?}") };
    assert_eq!(message::text_of(refused), Some(body));
    let Some(Value::String(cause)) = message::property(&failed, "cause") else { panic!() };
    assert!(cause.to_string().contains("Usage Manager"), "{cause}");
}

/// What comes over a bridge that is to compress is compressed, and reads as it was sent.
async fn compresses(a: Side, b: Side) {
    let (from, to) = (connect(&a, None).await, connect(&b, None).await);
    let queue = Destination::queue("long");
    let long = "again ".repeat(1000);
    let consumer = consumer(&to, &Subscription::to(queue.clone())).await;
    send(&from, &queue, std::iter::once(long.clone())).await;
    let received = consumer.receive(SOON).await.unwrap().unwrap();
    assert!(received.compressed && received.content.as_ref().unwrap().len() < long.len() / 10);
    assert_eq!(message::text_of(&received), Some(long));
}

#[tokio::test]
async fn a_bridge_compresses_if_it_is_told_to() {
    let b = ours("b", "");
    let a = ours("a", &connector(&b, "useCompression='true'"));
    compresses(a, b).await;
}

#[tokio::test]
async fn a_bridge_of_activemq_compresses_in_the_same_way() {
    let b = ours("b", "");
    let a = classic("a", &connector(&b, "useCompression='true'"));
    compresses(a, b).await;
}

fn why(side: &Side, queue: &str) -> String {
    let Side::Ours(daemon) = side else { panic!("only ours can be asked") };
    let asked = daemon.home().command(&["why", queue, "--brokerUrl", &daemon.url()]).output();
    let asked = asked.unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    String::from_utf8(asked.stdout).unwrap()
}

/// Draws ten messages over the bridge and leaves all but one of them; then somebody on the other side wants
/// them. Returns how long the first of them was here.
async fn moves_back(a: &Side, b: &Side) -> Duration {
    let (near, far) = (connect(a, None).await, connect(b, None).await);
    let queue = Destination::queue("MOVES");
    // A consumer that takes one of ten draws all of them over.
    let slow = Subscription { prefetch: Some(1), ..Subscription::to(queue.clone()) };
    let session = far.session(AckMode::Individual).await.unwrap();
    let leaves = session.consumer(&slow).await.unwrap();
    send(&near, &queue, (0..10).map(|n| n.to_string())).await;
    let first = leaves.receive(SOON).await.unwrap().unwrap();
    let came = Instant::now();
    leaves.acknowledge(&first).await.unwrap();
    while !why(b, "MOVES").contains("8 messages wait") {
        tokio::task::yield_now().await;
    }
    let told = why(a, "MOVES");
    assert!(
        told.contains("queue://MOVES: 0 messages wait") && told.contains("bridge nc"),
        "{told}"
    );
    leaves.close().await.unwrap();
    let consumer = consumer(&near, &Subscription::to(queue)).await;
    assert_eq!(text(&consumer, SOON).await.as_deref(), Some("1"));
    let stayed = came.elapsed();
    for n in 2..10 {
        assert_eq!(text(&consumer, SOON).await, Some(n.to_string()));
    }
    assert_eq!(text(&consumer, SHORTLY).await, None);
    stayed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_here_any_more_goes_back_to_where_the_consumers_are() {
    let b = ours("b", "");
    let a = ours("a", &connector(&b, "duplex='true'"));
    moves_back(&a, &b).await;
}

/// A policy for all queues with these words for bridges.
fn bridge_filter(attributes: &str) -> String {
    format!(
        "<destinationPolicy><policyMap><policyEntries><policyEntry queue='>'>\
         <networkBridgeFilterFactory><conditionalNetworkBridgeFilterFactory {attributes}/>\
         </networkBridgeFilterFactory></policyEntry></policyEntries></policyMap></destinationPolicy>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_back_waits_as_long_as_its_policy_says() {
    let waits = bridge_filter("replayWhenNoConsumers='true' replayDelay='3000'");
    let b = ours("b", &waits);
    let a = ours("a", &connector(&b, "duplex='true'"));
    let stayed = moves_back(&a, &b).await;
    // It came a little before its consumer saw it.
    assert!(stayed > Duration::from_millis(2500), "{stayed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_takes_no_more_over_than_the_rate_of_its_policy() {
    let b = classic("b", "");
    let slow = bridge_filter("rateLimit='10' rateDuration='250'");
    let a = ours("a", &format!("{slow}{}", connector(&b, "")));
    let (from, to) = (connect(&a, None).await, connect(&b, None).await);
    let began = Instant::now();
    carries(&from, &to, "SLOW", 50, true).await;
    // Five lots, with four spans between the first and the last.
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn why_messages_wait_is_said_of_bridges_too() {
    let b = ours("b", "");
    let excluded = "<networkConnectors><networkConnector name='nc' uri='static:(URL)'>\
         <excludedDestinations><queue physicalName='SECRET.>'/></excludedDestinations>\
         </networkConnector><networkConnector name='dead' uri='static:(tcp://127.0.0.1:1)'/>\
         </networkConnectors>";
    let a = ours("a", &excluded.replace("URL", &b.url()));
    let near = connect(&a, None).await;
    send(&near, &Destination::queue("SECRET.Q"), std::iter::once("x".to_owned())).await;
    send(&near, &Destination::queue("Q"), std::iter::once("x".to_owned())).await;
    let mut told = String::new();
    while !told.contains("Connection refused") || !told.contains("is connected") {
        told = why(&a, "SECRET.Q");
    }
    assert!(told.contains("queue://SECRET.Q: 1 messages wait, 0 are with consumers"), "{told}");
    assert!(told.contains("nobody takes from it"), "{told}");
    assert!(told.contains("bridge nc to tcp://127.0.0.1"), "{told}");
    assert!(told.contains("excludes this queue"), "{told}");
    assert!(told.contains("bridge dead to tcp://127.0.0.1:1 is not connected"), "{told}");
    let told = why(&a, "queue://Q");
    assert!(told.contains("is connected, but b has no consumer of it"), "{told}");
    assert!(why(&a, "NOT.THERE").contains("queue://NOT.THERE is not there"));
}

/// A peer dies after each number of frames in turn, from the accepted connection on, while messages flow
/// both ways.
async fn survives_deaths_at_every_step(b: Side, once: bool) {
    const STEPS: usize = 40;
    let to = b.url().replace("tcp://", "");
    let proxy = Proxy::start(to, STEPS).await;
    let bridge = format!(
        "<networkConnectors><networkConnector name='nc' duplex='true' \
         uri='static:(tcp://127.0.0.1:{})'/></networkConnectors>",
        proxy.port
    );
    let a = ours("a", &bridge);
    let (near, far) = (connect(&a, None).await, connect(&b, None).await);
    let mut all = Vec::new();
    for (name, from, to) in [("THERE", near.clone(), far.clone()), ("BACK", far, near)] {
        let queue = Destination::queue(name);
        let consumer = consumer(&to, &Subscription::to(queue.clone())).await;
        let seen = std::sync::Arc::clone(&proxy.connections);
        let sending = tokio::spawn(async move {
            let session = from.session(AckMode::Auto).await.unwrap();
            let producer = session.producer(Some(queue), ProducerOptions::default()).await.unwrap();
            let mut sent = 0;
            let mut pace = tokio::time::interval(Duration::from_millis(5));
            // Until a connection is passed whole, and some more.
            let mut more = 50;
            while more > 0 {
                pace.tick().await;
                producer.send(message::text(&sent.to_string())).await.unwrap();
                sent += 1;
                let whole = seen.load(std::sync::atomic::Ordering::Acquire) > STEPS;
                more -= usize::from(whole);
            }
            sent
        });
        all.push((consumer, sending));
    }
    for (consumer, sending) in all {
        let mut heard = Vec::new();
        let sent = sending.await.unwrap();
        while let Some(body) = text(&consumer, Some(Duration::from_secs(2))).await {
            heard.push(body.parse::<usize>().unwrap());
        }
        if !once {
            // ActiveMQ does not know what was sent before.
            heard.sort_unstable();
            heard.dedup();
        }
        assert_eq!(heard, (0..sent).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_at_any_step_costs_nothing() {
    survives_deaths_at_every_step(ours("b", ""), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activemq_that_dies_at_any_step_costs_nothing() {
    survives_deaths_at_every_step(classic("b", ""), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_takes_the_bridge_over_from_one_that_hangs() {
    let b = ours("b", "");
    let inside = connector(&b, "duplex='true'");
    let first = ours("a", &inside);
    let (near, far) = (connect(&first, None).await, connect(&b, None).await);
    carries(&near, &far, "FIRST", 10, false).await;
    let Side::Ours(frozen) = &first else { panic!() };
    frozen.process.signal("STOP");
    // Of the same name, as the nodes of a group are; its socket to the peer lives as long as it.
    let second = ours("a", &inside);
    let near = connect(&second, None).await;
    let began = Instant::now();
    carries(&near, &far, "SECOND", 10, false).await;
    carries(&far, &near, "SECOND.BACK", 10, false).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    frozen.process.signal("CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_of_brokers_the_one_that_answers_gets_the_bridge() {
    let (one, other) = (ours("b", ""), ours("b", ""));
    let proxy = Proxy::start(other.url().replace("tcp://", ""), 1).await;
    for scheme in ["masterslave:(LIST)", "static:(failover:(LIST)?maxReconnectAttempts=0)"] {
        // A port where nobody is, and one where somebody hangs up once.
        let list = format!(
            "tcp://127.0.0.1:1,tcp://127.0.0.1:{}",
            if scheme.starts_with("master") { proxy.port.to_string() } else { port(&one) }
        );
        let uri = scheme.replace("LIST", &list);
        let inside = format!(
            "<networkConnectors><networkConnector name='nc' duplex='true' uri='{uri}'/>\
             </networkConnectors>"
        );
        let a = ours("a", &inside);
        let to = if scheme.starts_with("master") { &other } else { &one };
        let (near, far) = (connect(&a, None).await, connect(to, None).await);
        carries(&near, &far, "LISTED", 20, true).await;
        carries(&far, &near, "LISTED.BACK", 20, true).await;
    }
}

fn port(side: &Side) -> String {
    side.url().rsplit(':').next().unwrap().to_owned()
}

#[test]
fn brokers_find_each_other_by_multicast() {
    if !support::network::inside("brokers_find_each_other_by_multicast") {
        return;
    }
    let announced = |name: &str, inside: &str| {
        let port = "tcp://127.0.0.1:0\"";
        let told = format!("{port} discoveryUri=\"multicast://default?keepAliveInterval=100\"");
        let configuration = support::daemon::named_configuration(name, inside, 0);
        assert!(configuration.contains(port));
        Side::Ours(Daemon::with(&configuration.replace(port, &told)))
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let finds = "<networkConnectors><networkConnector name='nc' uri='multicast://default'/>\
                     </networkConnectors>";
        let a = announced("a", finds);
        // One that came later, and one that takes its place.
        for queue in ["FOUND", "FOUND.NEXT"] {
            let b = announced("b", finds);
            let (near, far) = (connect(&a, None).await, connect(&b, None).await);
            carries(&near, &far, queue, 20, true).await;
            carries(&far, &near, &format!("{queue}.BACK"), 20, true).await;
            let told = why(&a, queue);
            assert!(!told.contains(&format!("{} is", a.url())), "no bridge to itself: {told}");
        }
    });
}
