//! What a `<conditionalNetworkBridgeFilterFactory>` keeps from a bridge, and until when.

use std::time::Duration;

use super::*;
use crate::broker::options::policy::ConditionalBridgeFilter;
use crate::openwire::NetworkBridgeFilter;

fn bench(filter: ConditionalBridgeFilter) -> Bench {
    Bench::with(PolicyEntry { network_bridge_filter: Some(filter), ..PolicyEntry::default() })
}

fn path() -> Option<Vec<Option<BrokerId>>> {
    Some(vec![Some(BrokerId::new("B"))])
}

/// Opens the consumer of a bridge to broker B.
fn bridge(bench: &mut Bench, destination: &str) {
    bench.consume("bridge", destination, |info| {
        info.network_subscription = true;
        info.broker_path = path();
        info.additional_predicate = Some(NetworkBridgeFilter {
            network_broker_id: Some(Arc::new(BrokerId::new("B"))),
            message_ttl: 1,
            consumer_ttl: 1,
            ..NetworkBridgeFilter::default()
        });
    });
}

/// Sends what came from broker B.
fn send_from_there(bench: &mut Bench, change: impl FnOnce(&mut Message)) {
    bench.send_with("Q", |message| {
        message.broker_path = path();
        change(message);
    });
}

/// What the bridge gets when so many milliseconds have passed.
fn after(bench: &mut Bench, ms: i64) -> String {
    bench.clock.advance(ms);
    bench.broker.do_due();
    bench.got("bridge")
}

fn replays(delay_ms: u64) -> ConditionalBridgeFilter {
    ConditionalBridgeFilter {
        replay_when_no_consumers: true,
        replay_delay: Duration::from_millis(delay_ms),
        ..ConditionalBridgeFilter::default()
    }
}

#[test]
fn what_came_over_a_bridge_goes_back_only_after_a_while() {
    let mut bench = bench(replays(1000));
    bridge(&mut bench, "Q");
    send_from_there(&mut bench, |_| ());
    bench.send("Q");
    assert_eq!(bench.got("bridge"), "1", "what was sent here goes at once");
    let why = bench.broker.why(&Destination::queue("Q"));
    assert!(
        why.iter().any(|line| line.ends_with("it has to stay here for 1001 ms more")),
        "{why:?}"
    );
    assert_eq!(after(&mut bench, 1000), "");
    assert_eq!(after(&mut bench, 1), "0");
}

#[test]
fn messages_that_may_go_back_one_after_the_other_go_together_and_in_order() {
    let mut bench = bench(replays(1000));
    bridge(&mut bench, "Q");
    for _ in 0..4 {
        send_from_there(&mut bench, |_| ());
        bench.clock.advance(50);
    }
    assert_eq!(after(&mut bench, 801), "0", "exactly");
    assert_eq!(after(&mut bench, 100), "");
    assert_eq!(after(&mut bench, 25), "1 2");
    assert_eq!(after(&mut bench, 125), "3");
    assert_eq!(bench.broker.timer.next_ms(), None, "nothing is left to look for");
}

#[test]
fn what_has_a_consumer_here_by_then_stays() {
    let mut bench = bench(replays(1000));
    bridge(&mut bench, "Q");
    send_from_there(&mut bench, |_| ());
    bench.clock.advance(900);
    bench.consume("near", "Q", |info| info.prefetch_size = 0);
    assert_eq!(after(&mut bench, 200), "");
    bench.leave("near", -1);
    assert_eq!(bench.got("bridge"), "0", "it was here long enough");
}

#[test]
fn a_consumer_that_does_not_want_a_message_keeps_it_here_unless_selectors_count() {
    for (selector_aware, goes) in [(false, ""), (true, "0")] {
        let mut bench = bench(ConditionalBridgeFilter { selector_aware, ..replays(0) });
        bench.consume("near", "Q", |info| info.selector = Some("JMSType = 'red'".into()));
        bridge(&mut bench, "Q");
        send_from_there(&mut bench, |message| message.kind = Some("blue".into()));
        send_from_there(&mut bench, |message| message.kind = Some("red".into()));
        assert_eq!((bench.got("bridge"), bench.got("near")), (goes.into(), "1".into()));
    }
}

#[test]
fn a_bridge_gets_no_more_from_a_queue_than_its_rate() {
    let mut bench = bench(ConditionalBridgeFilter {
        rate_limit: Some(2),
        rate_duration: Duration::from_millis(500),
        ..ConditionalBridgeFilter::default()
    });
    bridge(&mut bench, "Q");
    for _ in 0..5 {
        bench.send("Q");
    }
    assert_eq!(bench.got("bridge"), "0 1");
    assert_eq!(
        bench.broker.why(&Destination::queue("Q")).get(1).map(String::as_str),
        Some(
            "bridge consumer ID:bridge:1:1 does not get ID:producer:1:1:2: rateLimit holds it back for 501 ms more"
        )
    );
    assert_eq!(after(&mut bench, 500), "");
    assert_eq!(after(&mut bench, 1), "2 3");
    assert_eq!(after(&mut bench, 501), "4");
    bench.consume("near", "Q", |_| ());
    for _ in 0..4 {
        bench.send("Q");
    }
    assert_eq!((bench.got("bridge"), bench.got("near")), ("5".into(), "6 7 8".into()));
}

#[test]
fn what_a_topic_publishes_beyond_the_rate_a_bridge_does_not_get() {
    let mut bench = bench(ConditionalBridgeFilter {
        rate_limit: Some(2),
        ..ConditionalBridgeFilter::default()
    });
    bridge(&mut bench, "topic://T");
    bench.consume("near", "topic://T", |_| ());
    for _ in 0..3 {
        bench.send("topic://T");
    }
    bench.clock.advance(1001);
    bench.send("topic://T");
    assert_eq!((bench.got("bridge"), bench.got("near")), ("0 1 3".into(), "0 1 2 3".into()));
}
