//! What virtual destinations do that no Java test can ask for.

use super::*;
use crate::broker::options::forwarding::{Composite, Forward, Interceptor};

fn forwarding(from: &str, to: &[&str]) -> Interceptor {
    let forward = |to: &&str| Forward { destination: Destination::queue(to), selector: None };
    Interceptor::Composite(Composite {
        destination: Destination::queue(from),
        forward_to: to.iter().map(forward).collect(),
        ..Composite::default()
    })
}

fn bench(interceptors: Vec<Interceptor>) -> Bench {
    let destination_interceptors = Some(interceptors);
    Bench::configured(BrokerOptions { destination_interceptors, ..BrokerOptions::default() })
}

#[test]
fn a_circle_of_composites_is_refused() {
    let mut bench = bench(vec![forwarding("A", &["B"]), forwarding("B", &["A"])]);
    let refusal = bench.try_send("A", |_| ()).unwrap_err().to_string();
    assert_eq!(refusal, "queue://A forwards to itself, or more than 16 times");
}

#[test]
fn a_queue_that_comes_or_goes_is_seen_by_the_next_message() {
    let mut bench = Bench::configured(BrokerOptions::default());
    bench.consume("a", "Consumer.A.VirtualTopic.T", |_| ());
    bench.send("topic://VirtualTopic.T");
    bench.consume("b", "Consumer.B.VirtualTopic.T", |_| ());
    bench.send("topic://VirtualTopic.T");
    assert_eq!((bench.got("a"), bench.got("b")), ("0 1".into(), "1".into()));
    bench.leave("a", -1);
    let gone = Arc::new(Destination::queue("Consumer.A.VirtualTopic.T"));
    bench.broker.remove_destination(&gone, None);
    bench.send("topic://VirtualTopic.T");
    assert_eq!(bench.got("b"), "2");
    assert!(bench.broker.region().get(&gone).is_none(), "made again by a message");
}

/// What is told under `ActiveMQ.Advisory.VirtualDestination.Consumer.`: the rest of the topic's name, and
/// who came (+) or went (-).
fn told(bench: &mut Bench) -> Vec<String> {
    let messages = bench.messages("ear");
    let what = |data: &Command| {
        if let Command::ConsumerInfo(info) = data {
            let (id, to) = (info.consumer_id.as_ref().unwrap(), info.destination.as_ref().unwrap());
            let durable = info.subscription_name.as_ref().map_or("", |_| " durable");
            return format!("+{id} of {to}{durable}");
        }
        if let Command::RemoveInfo(info) = data
            && let Some(Command::ConsumerId(id)) = info.object_id.as_deref()
        {
            return format!("-{id}");
        }
        assert!(matches!(data, Command::RemoveSubscriptionInfo(_)), "{data:?}");
        "ends".to_owned()
    };
    let show = |message: &Arc<Message>| {
        let topic = message.destination.as_ref().unwrap().name().to_string();
        let rest = topic.strip_prefix("ActiveMQ.Advisory.VirtualDestination.Consumer.").unwrap();
        format!("{rest} {}", what(message.data_structure.as_ref().unwrap()))
    };
    messages.iter().map(show).collect()
}

fn telling(on_creation: bool) -> Bench {
    let mut bench = Bench::configured(BrokerOptions {
        destination_interceptors: Some(vec![
            Interceptor::VirtualTopic(Default::default()),
            forwarding("C", &["C.1", "C.2"]),
            forwarding("D", &["C.1"]),
        ]),
        use_virtual_dest_subs: true,
        use_virtual_dest_subs_on_creation: on_creation,
        ..BrokerOptions::default()
    });
    let all = "topic://ActiveMQ.Advisory.VirtualDestination.Consumer.>";
    bench.consume("ear", all, |info| info.prefetch_size = 1000);
    bench
}

#[test]
fn consumers_of_what_virtual_destinations_copy_to_are_told_as_theirs() {
    let mut bench = telling(false);
    bench.consume("a", "Consumer.A.VirtualTopic.T", |_| ());
    assert_eq!(told(&mut bench), ["Topic.VirtualTopic.T +ID:a:1:1 of topic://VirtualTopic.T"]);
    bench.leave("a", -1);
    assert_eq!(told(&mut bench), ["Topic.VirtualTopic.T -ID:a:1:1"]);
    bench.consume("b", "C.1,C.2", |_| ());
    let both = ["Queue.C +ID:b:1:1 of queue://C", "Queue.D +ID:b:1:1 of queue://D"];
    assert_eq!(told(&mut bench), both);
    bench.consume("c", "Consumer.*.>", |_| ());
    assert_eq!(
        told(&mut bench),
        ["Topic.VirtualTopic.> +ID:c:1:1 of topic://VirtualTopic.>"],
        "not of all topics"
    );
    bench.consume("d", "Consumer.A.Other", |_| ());
    bench.consume("e", "C", |_| ());
    assert_eq!(told(&mut bench), [""; 0], "nothing is copied to them");
}

#[test]
fn a_queue_that_virtual_destinations_copy_to_may_count_as_a_consumer() {
    let mut bench = telling(true);
    bench.send("C.2");
    let came = told(&mut bench);
    assert_eq!(came.len(), 1, "{came:?}");
    assert!(came.iter().all(|it| it.starts_with("Queue.C +") && it.ends_with(" of queue://C")));
    bench.send("C.2");
    assert_eq!(told(&mut bench), [""; 0], "once");
    let all = "topic://ActiveMQ.Advisory.VirtualDestination.Consumer.Queue.C";
    bench.consume("late", all, |_| ());
    let told_late = bench.messages("late");
    assert_eq!(told_late.len(), 1, "also to those who come later");
    let gone = Arc::new(Destination::queue("C.2"));
    bench.broker.remove_destination(&gone, None);
    let id = came.iter().find_map(|it| it.split(['+', ' ']).nth(2)).unwrap();
    assert_eq!(told(&mut bench), [format!("Queue.C -{id}")]);
    bench.send("topic://C.2");
    assert_eq!(told(&mut bench), [""; 0], "a topic is no queue");
}

#[test]
fn a_durable_subscriber_is_one_of_a_composite_topic_but_not_of_a_queue() {
    let target = |from: Destination| {
        let to = Forward { destination: Destination::topic("T"), selector: None };
        Interceptor::Composite(Composite {
            destination: from,
            forward_to: vec![to],
            ..Composite::default()
        })
    };
    let mut bench = Bench::configured(BrokerOptions {
        destination_interceptors: Some(vec![
            target(Destination::queue("C")),
            target(Destination::topic("C")),
        ]),
        use_virtual_dest_subs: true,
        ..BrokerOptions::default()
    });
    bench.consume("ear", "topic://ActiveMQ.Advisory.VirtualDestination.Consumer.>", |_| ());
    bench.consume("d", "topic://T", |info| info.subscription_name = Some("d".into()));
    let came = ["Queue.C +ID:d:1:1 of queue://C", "Topic.C +ID:d:1:1 of topic://C durable"];
    assert_eq!(told(&mut bench), came);
    bench.leave("d", -1);
    assert_eq!(told(&mut bench), ["Queue.C -ID:d:1:1", "Topic.C -ID:d:1:1"]);
    let end = crate::openwire::RemoveSubscriptionInfo {
        subscription_name: Some("d".into()),
        ..Default::default()
    };
    let _ticket = bench.client("d").0.remove_subscription(&end).unwrap();
    assert_eq!(told(&mut bench), ["Topic.C ends"]);
}
