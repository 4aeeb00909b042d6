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
