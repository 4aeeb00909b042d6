//! Plays scripts against a broker without sockets: what is delivered to whom, in which order.

mod bridge_filter;
mod random;
mod scheduled;
mod spooling;
mod stored;
mod virtual_destinations;

use std::collections::HashMap;
use std::sync::Arc;

use super::keeping::Stores;
use super::options::policy::{DeadLetterStrategy, PendingMessageLimit};
use super::options::{PolicyEntry, PolicyMap};
use super::*;
use crate::base::ManualClock;
use crate::openwire::{
    Command, ConnectionId, ConsumerControl, ConsumerId, DestinationKind, LocalTransactionId,
    Message, MessageAck, MessageId, MessagePull, ProducerId, TransactionId, TransactionInfo,
    ack_type, transaction_kind,
};

/// A broker with named clients; each client has one session.
pub(crate) struct Bench {
    pub(crate) broker: Arc<Broker>,
    clock: Arc<ManualClock>,
    clients: HashMap<&'static str, (Arc<Client>, Arc<Outbox>)>,
    held: HashMap<&'static str, Vec<(Arc<Message>, i32)>>,
    sent: i64,
}

impl Bench {
    fn new() -> Self {
        Self::with(PolicyEntry::default())
    }

    /// With a policy for all queues and topics.
    fn with(entry: PolicyEntry) -> Self {
        Self::over(entry, 1 << 20, Stores::default(), Arc::new(ManualClock::at(1_000_000)))
    }

    /// The same, with what keeps messages, and what they may take in memory.
    fn over(
        entry: PolicyEntry,
        memory_bytes: u64,
        stores: Stores,
        clock: Arc<ManualClock>,
    ) -> Self {
        let entries =
            vec![(Destination::queue(">"), entry.clone()), (Destination::topic(">"), entry)];
        let policies = PolicyMap { default_entry: None, entries };
        Self::of(
            BrokerOptions { policies, ..BrokerOptions::default() },
            memory_bytes,
            stores,
            clock,
        )
    }

    /// A broker with these options.
    fn configured(options: BrokerOptions) -> Self {
        Self::of(options, 1 << 20, Stores::default(), Arc::new(ManualClock::at(1_000_000)))
    }

    /// A broker that is configured so.
    fn of(
        options: BrokerOptions,
        memory_bytes: u64,
        stores: Stores,
        clock: Arc<ManualClock>,
    ) -> Self {
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let broker = Broker::new(options, memory_bytes, "host", time, stores);
        Self { broker, clock, clients: HashMap::new(), held: HashMap::new(), sent: 0 }
    }

    fn client(&mut self, name: &'static str) -> (Arc<Client>, Arc<Outbox>) {
        let broker = &self.broker;
        self.clients.entry(name).or_insert_with(|| connect(broker, name, false)).clone()
    }

    /// Connects a client as one that was connected before.
    fn reconnect(&mut self, name: &'static str) {
        self.clients.insert(name, connect(&self.broker, name, true));
    }

    fn consumer_id(name: &'static str) -> Arc<ConsumerId> {
        Arc::new(ConsumerId::new(format!("ID:{name}"), 1, 1))
    }

    fn consume(
        &mut self,
        name: &'static str,
        destination: &str,
        change: impl FnOnce(&mut ConsumerInfo),
    ) {
        self.try_consume(name, destination, change).unwrap();
    }

    fn try_consume(
        &mut self,
        name: &'static str,
        destination: &str,
        change: impl FnOnce(&mut ConsumerInfo),
    ) -> Result<(), Refusal> {
        let mut info = ConsumerInfo {
            consumer_id: Some(Self::consumer_id(name)),
            destination: Some(Arc::new(Destination::parse(destination, DestinationKind::Queue))),
            prefetch_size: 100,
            ..ConsumerInfo::default()
        };
        change(&mut info);
        self.client(name).0.add_consumer(&Arc::new(info)).map(|_| ())
    }

    fn leave(&mut self, name: &'static str, last_delivered: i64) {
        self.client(name).0.remove_consumer(&Self::consumer_id(name), last_delivered);
        self.held.remove(name);
    }

    fn send(&mut self, destination: &str) {
        self.send_with(destination, |_| ());
    }

    fn send_with(&mut self, destination: &str, change: impl FnOnce(&mut Message)) {
        let _ticket = self.try_send(destination, change).unwrap();
    }

    fn try_send(
        &mut self,
        destination: &str,
        change: impl FnOnce(&mut Message),
    ) -> Result<Ticket, Refusal> {
        let producer = Arc::new(ProducerId::new("ID:producer", 1, 1));
        let mut message = Message {
            producer_id: Some(Arc::clone(&producer)),
            message_id: Some(MessageId::new(producer, self.sent)),
            destination: Some(Arc::new(Destination::parse(destination, DestinationKind::Queue))),
            persistent: true,
            priority: 4,
            ..Message::default()
        };
        self.sent += 1;
        change(&mut message);
        self.client("producer").0.send(message)
    }

    /// What was delivered to a client since the last look: numbers of sent messages, `*` for each
    /// redelivery, `end` for a delivery without a message, `!` for the first of a group.
    fn got(&mut self, name: &'static str) -> String {
        let (_, outbox) = self.client(name);
        let mut batch = Vec::new();
        let bytes = outbox.take(&mut batch);
        outbox.written(bytes);
        let mut shown = Vec::new();
        for outgoing in batch {
            let Outgoing::Delivery(delivery) = outgoing else { continue };
            let Some(message) = delivery.message else {
                shown.push("end".to_owned());
                continue;
            };
            let number = message.message_id.as_ref().unwrap().producer_sequence_id;
            let again = "*".repeat(usize::try_from(delivery.redelivery_counter).unwrap());
            let first = if delivery.first_of_group { "!" } else { "" };
            shown.push(format!("{number}{again}{first}"));
            self.held.entry(name).or_default().push((message, delivery.redelivery_counter));
        }
        shown.join(" ")
    }

    /// The messages that were delivered to a client since the last look.
    fn messages(&mut self, name: &'static str) -> Vec<Arc<Message>> {
        self.got(name);
        self.held.remove(name).unwrap_or_default().into_iter().map(|(message, _)| message).collect()
    }

    /// Acknowledges the oldest `count` messages that a client holds.
    fn ack(&mut self, name: &'static str, kind: i8, count: usize) {
        self.try_ack(name, kind, count, None).unwrap();
    }

    fn try_ack(
        &mut self,
        name: &'static str,
        kind: i8,
        count: usize,
        transaction: Option<i64>,
    ) -> Result<(), Refusal> {
        let held = self.held.get(name).cloned().unwrap_or_default();
        let id = |at: usize| held.get(at).and_then(|(message, _)| message.message_id.clone());
        let ack = MessageAck {
            consumer_id: Some(Self::consumer_id(name)),
            ack_type: kind,
            first_message_id: id(0),
            last_message_id: id(count.max(1) - 1),
            message_count: i32::try_from(count).unwrap(),
            transaction_id: transaction.map(|value| Arc::new(Self::transaction(name, value))),
            ..MessageAck::default()
        };
        let _ticket = self.client(name).0.ack(&ack)?;
        if kind != ack_type::DELIVERED && kind != ack_type::REDELIVERED && transaction.is_none() {
            self.held.entry(name).or_default().drain(..count);
        }
        Ok(())
    }

    fn transaction(name: &str, value: i64) -> TransactionId {
        let connection_id = Some(Arc::new(ConnectionId::new(format!("ID:{name}"))));
        TransactionId::Local(LocalTransactionId { value, connection_id })
    }

    fn transact(&mut self, name: &'static str, kind: i8, value: i64) -> Result<(), Refusal> {
        let info = TransactionInfo {
            transaction_id: Some(Arc::new(Self::transaction(name, value))),
            kind,
            ..TransactionInfo::default()
        };
        let (_, _ticket) = self.client(name).0.transaction(&info)?;
        Ok(())
    }
}

fn connect(
    broker: &Arc<Broker>,
    name: &str,
    failover_reconnect: bool,
) -> (Arc<Client>, Arc<Outbox>) {
    let outbox = Arc::new(Outbox::default());
    let info = ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId::new(format!("ID:{name}")))),
        client_id: Some(name.into()),
        failover_reconnect,
        ..ConnectionInfo::default()
    };
    let peer = Peer {
        connector: "openwire".to_owned(),
        remote_address: "tcp://test".to_owned(),
        network: false,
    };
    let client = broker.connect(&Arc::new(info), &peer, &outbox).unwrap();
    (client, outbox)
}

#[test]
fn a_consumer_never_holds_more_than_its_prefetch() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 2);
    (0..3).for_each(|_| bench.send("Q"));
    assert_eq!(bench.got("a"), "0 1");
    bench.ack("a", ack_type::STANDARD, 1);
    assert_eq!(bench.got("a"), "2");
}

#[test]
fn consumers_take_turns() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("b", "Q", |_| ());
    (0..4).for_each(|_| bench.send("Q"));
    assert_eq!((bench.got("a"), bench.got("b")), ("0 2".into(), "1 3".into()));
}

#[test]
fn a_consumer_of_higher_priority_is_served_until_it_is_full() {
    let mut bench = Bench::new();
    bench.consume("low", "Q", |_| ());
    bench.consume("high", "Q", |info| (info.priority, info.prefetch_size) = (5, 2));
    (0..3).for_each(|_| bench.send("Q"));
    assert_eq!((bench.got("high"), bench.got("low")), ("0 1".into(), "2".into()));
}

#[test]
fn what_a_lost_consumer_held_comes_first_and_counts_as_seen() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 2);
    (0..3).for_each(|_| bench.send("Q"));
    assert_eq!(bench.got("a"), "0 1");
    bench.leave("a", -2);
    bench.consume("b", "Q", |_| ());
    assert_eq!(bench.got("b"), "0* 1* 2");
}

#[test]
fn a_broker_that_stops_gives_what_one_consumer_held_to_no_other() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("b", "Q", |_| ());
    bench.send("Q");
    assert_eq!((bench.got("a"), bench.got("b")), ("0".into(), String::new()));
    bench.broker.begin_stop();
    bench.leave("a", -1);
    bench.send("Q");
    assert_eq!(bench.got("b"), "");
}

#[test]
fn what_the_application_did_not_see_is_not_redelivered() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    (0..3).for_each(|_| bench.send("Q"));
    bench.got("a");
    let second = bench.held["a"][1].0.message_id.as_ref().unwrap().broker_sequence_id;
    bench.leave("a", second);
    bench.consume("b", "Q", |_| ());
    assert_eq!(bench.got("b"), "0* 1* 2");
    bench.leave("b", -1);
    bench.consume("c", "Q", |_| ());
    assert_eq!(bench.got("c"), "0* 1* 2");
}

#[test]
fn delivered_widens_the_window_until_the_messages_are_consumed() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 2);
    (0..5).for_each(|_| bench.send("Q"));
    assert_eq!(bench.got("a"), "0 1");
    bench.ack("a", ack_type::DELIVERED, 2);
    assert_eq!(bench.got("a"), "2 3");
    bench.ack("a", ack_type::STANDARD, 4);
    assert_eq!(bench.got("a"), "4");
}

#[test]
fn an_individual_ack_takes_one_message_out_of_the_middle() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    (0..3).for_each(|_| bench.send("Q"));
    bench.got("a");
    let ack = MessageAck {
        consumer_id: Some(Bench::consumer_id("a")),
        ack_type: ack_type::INDIVIDUAL,
        last_message_id: bench.held["a"][1].0.message_id.clone(),
        message_count: 1,
        ..MessageAck::default()
    };
    let _ticket = bench.client("a").0.ack(&ack).unwrap();
    bench.leave("a", -1);
    bench.consume("b", "Q", |_| ());
    assert_eq!(bench.got("b"), "0 2");
}

#[test]
fn an_ack_whose_count_is_wrong_is_refused_with_activemqs_text() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    (0..2).for_each(|_| bench.send("Q"));
    bench.got("a");
    let ack = MessageAck {
        consumer_id: Some(Bench::consumer_id("a")),
        ack_type: ack_type::STANDARD,
        last_message_id: bench.held["a"][1].0.message_id.clone(),
        message_count: 7,
        ..MessageAck::default()
    };
    let refusal = bench.client("a").0.ack(&ack).unwrap_err().to_string();
    let text = "Expected message count (7) differs from count in dispatched-list (2)";
    assert!(refusal.starts_with("Unmatched acknowledge: MessageAck {commandId = 0"), "{refusal}");
    assert!(refusal.ends_with(text), "{refusal}");
}

#[test]
fn an_ack_before_anything_was_dispatched_is_ignored() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    assert_eq!(bench.try_ack("a", ack_type::STANDARD, 0, None), Ok(()));
}

#[test]
fn a_selector_takes_its_messages_past_those_of_others() {
    let mut bench = Bench::new();
    bench.consume("red", "Q", |info| info.selector = Some("JMSType = 'red'".into()));
    for kind in ["blue", "red", "blue", "red"] {
        bench.send_with("Q", |message| message.kind = Some(kind.into()));
    }
    assert_eq!(bench.got("red"), "1 3");
    bench.consume("any", "Q", |_| ());
    assert_eq!(bench.got("any"), "0 2");
}

#[test]
fn what_a_consumer_was_about_to_get_is_looked_at_again_when_another_had_it() {
    let entry = PolicyEntry {
        strict_order_dispatch: true,
        consumers_before_dispatch_starts: 3,
        ..PolicyEntry::default()
    };
    let mut bench = Bench::with(entry);
    for kind in ["third's", "theirs"] {
        bench.send_with("Q", |message| message.kind = Some(kind.into()));
    }
    for (name, selector) in [
        ("first", "JMSType = 'theirs'"),
        ("second", "JMSType = 'theirs' AND JMSXDeliveryCount < 2"),
        ("third", "JMSType = 'third''s'"),
    ] {
        bench.consume(name, "Q", |info| info.selector = Some(selector.into()));
    }
    let got = ["first", "second", "third"].map(|name| bench.got(name));
    assert_eq!(got, ["1", "", "0"]);
    bench.leave("first", -2);
    assert_eq!(bench.got("second"), "", "it would come a second time");
    bench.consume("last", "Q", |_| ());
    assert_eq!(bench.got("last"), "1*");
}

#[test]
fn an_exclusive_consumer_gets_all_until_it_leaves() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("b", "Q", |info| info.exclusive = true);
    bench.consume("c", "Q", |info| info.exclusive = true);
    (0..2).for_each(|_| bench.send("Q"));
    assert_eq!(
        (bench.got("a"), bench.got("b"), bench.got("c")),
        ("".into(), "0 1".into(), "".into())
    );
    bench.leave("b", -1);
    assert_eq!(bench.got("c"), "0 1");
}

#[test]
fn a_group_stays_with_its_consumer_and_moves_when_that_leaves() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("b", "Q", |_| ());
    let group =
        |name: &'static str| move |message: &mut Message| message.group_id = Some(name.into());
    for name in ["x", "y", "x", "y", "x"] {
        bench.send_with("Q", group(name));
    }
    assert_eq!((bench.got("a"), bench.got("b")), ("0! 2 4".into(), "1! 3".into()));
    bench.leave("a", -1);
    assert_eq!(bench.got("b"), "0! 2 4");
}

#[test]
fn a_closed_group_is_anybodys() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 1);
    let part = |sequence: i32| {
        move |message: &mut Message| {
            (message.group_id, message.group_sequence) = (Some("x".into()), sequence);
        }
    };
    bench.send_with("Q", part(1));
    bench.send_with("Q", part(-1));
    bench.consume("b", "Q", |_| ());
    bench.send_with("Q", part(0));
    assert_eq!((bench.got("a"), bench.got("b")), ("0!".into(), "".into()));
    bench.ack("a", ack_type::STANDARD, 1);
    assert_eq!((bench.got("a"), bench.got("b")), ("1".into(), "2!".into()));
}

#[test]
fn a_browser_sees_everything_in_order_takes_nothing_and_comes_to_an_end() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 1);
    (0..4).for_each(|_| bench.send("Q"));
    assert_eq!(bench.got("a"), "0");
    bench.consume("look", "Q", |info| (info.browser, info.prefetch_size) = (true, 3));
    assert_eq!(bench.got("look"), "0 1 2");
    bench.ack("look", ack_type::STANDARD, 1);
    assert_eq!(bench.got("look"), "3 end");
    bench.leave("look", -2);
    bench.ack("a", ack_type::STANDARD, 1);
    assert_eq!(bench.got("a"), "1");
}

#[test]
fn a_pull_takes_one_message_or_hears_that_there_is_none() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 0);
    (0..2).for_each(|_| bench.send("Q"));
    assert_eq!(bench.got("a"), "");
    let pull = |bench: &mut Bench, timeout| {
        let pull = MessagePull {
            consumer_id: Some(Bench::consumer_id("a")),
            timeout,
            ..MessagePull::default()
        };
        bench.client("a").0.pull(&pull).unwrap()
    };
    assert_eq!(pull(&mut bench, -1), Pulled::Answered);
    assert_eq!(bench.got("a"), "0");
    assert_eq!(pull(&mut bench, 500), Pulled::Answered);
    assert_eq!(bench.got("a"), "1");
    assert_eq!(pull(&mut bench, -1), Pulled::Answered);
    assert_eq!(bench.got("a"), "end");
    let Pulled::WaitMs { ms: 500, pull: late } = pull(&mut bench, 500) else { panic!("no wait") };
    bench.send("Q");
    assert_eq!(bench.got("a"), "2");
    bench.client("a").0.pull_timed_out(&Bench::consumer_id("a"), late);
    assert_eq!(bench.got("a"), "", "the pull was answered with a message");
    let Pulled::WaitMs { pull: later, .. } = pull(&mut bench, 500) else { panic!("no wait") };
    bench.client("a").0.pull_timed_out(&Bench::consumer_id("a"), late);
    assert_eq!(bench.got("a"), "", "that was the time-out of an older pull");
    bench.client("a").0.pull_timed_out(&Bench::consumer_id("a"), later);
    assert_eq!(bench.got("a"), "end");
}

#[test]
fn a_consumer_restored_with_prefetch_0_flows_once_it_says_its_prefetch() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 0);
    bench.send("Q");
    assert_eq!(bench.got("a"), "");
    let control = ConsumerControl {
        consumer_id: Some((*Bench::consumer_id("a")).clone()),
        prefetch: 10,
        ..ConsumerControl::default()
    };
    bench.client("a").0.control_consumer(&control);
    assert_eq!(bench.got("a"), "0");
}

#[test]
fn higher_priority_is_delivered_first_where_the_policy_says_so() {
    let policy = PolicyEntry { prioritized_messages: true, ..PolicyEntry::default() };
    let mut bench = Bench::with(policy);
    for priority in [4, 9, 0, 9] {
        bench.send_with("Q", |message| message.priority = priority);
    }
    bench.consume("a", "Q", |info| info.prefetch_size = 3);
    assert_eq!(bench.got("a"), "1 3 0");
}

#[test]
fn a_wildcard_consumer_hears_queues_that_come_later() {
    let mut bench = Bench::new();
    bench.send("A.1");
    bench.consume("a", "A.*", |_| ());
    bench.send("A.2");
    bench.send("B.1");
    assert_eq!(bench.got("a"), "0 1");
    bench.ack("a", ack_type::STANDARD, 2);
    bench.leave("a", -2);
    bench.send("A.1");
    bench.consume("b", "A.>", |_| ());
    assert_eq!(bench.got("b"), "3");
}

#[test]
fn room_goes_to_the_queue_of_a_wildcard_consumer_that_waits_longest() {
    let mut bench = Bench::new();
    bench.consume("a", "A.*", |info| info.prefetch_size = 2);
    for name in ["A.1", "A.2", "A.3", "A.4", "A.3", "A.5"] {
        bench.send(name);
    }
    bench.consume("b", "A.5", |_| ());
    assert_eq!((bench.got("a"), bench.got("b")), ("0 1".into(), "5".into()));
    for next in ["2", "3", "4", ""] {
        bench.ack("a", ack_type::STANDARD, 1);
        assert_eq!(bench.got("a"), next);
    }
}

#[test]
fn a_pull_over_many_queues_gets_what_one_of_them_has() {
    let mut bench = Bench::new();
    bench.consume("a", "A.*", |info| info.prefetch_size = 0);
    for name in ["A.1", "A.2", "A.1"] {
        bench.send(name);
    }
    for got in ["0", "1", "2"] {
        let pull = MessagePull {
            consumer_id: Some(Bench::consumer_id("a")),
            timeout: -1,
            ..MessagePull::default()
        };
        assert_eq!(bench.client("a").0.pull(&pull).unwrap(), Pulled::Answered);
        assert_eq!(bench.got("a"), got);
    }
}

#[test]
fn a_consumer_that_names_a_destination_twice_hears_it_once() {
    let mut bench = Bench::new();
    bench.consume("q", "A.1,A.*,A.>", |_| ());
    bench.consume("t", "topic://A.1,topic://A.>", |_| ());
    for name in ["A.1", "A.2", "topic://A.1", "topic://A.2"] {
        bench.send(name);
    }
    assert_eq!((bench.got("q"), bench.got("t")), ("0 1".into(), "2 3".into()));
}

#[test]
fn a_send_to_a_pattern_reaches_no_destination_that_fits_it() {
    let mut bench = Bench::new();
    bench.consume("a", "A.1", |_| ());
    bench.send("A.*");
    assert_eq!(bench.got("a"), "");
    bench.consume("b", "A.>", |_| ());
    assert_eq!(bench.got("b"), "0");
}

#[test]
fn a_composite_send_leaves_a_copy_everywhere() {
    let mut bench = Bench::new();
    bench.consume("a", "A", |_| ());
    bench.consume("t", "topic://T", |_| ());
    bench.send("A,topic://T");
    assert_eq!((bench.got("a"), bench.got("t")), ("0".into(), "0".into()));
    let copy = &bench.held["a"][0].0;
    assert_eq!(copy.destination.as_ref().unwrap().to_string(), "queue://A");
    assert_eq!(copy.original_destination.as_ref().unwrap().name(), "A,topic://T");
}

#[test]
fn a_topic_consumer_hears_what_is_published_while_it_is_there_and_not_its_own() {
    let mut bench = Bench::new();
    bench.send("topic://T");
    bench.consume("a", "topic://T", |_| ());
    bench.consume("producer", "topic://T", |info| info.no_local = true);
    bench.send("topic://T");
    assert_eq!((bench.got("a"), bench.got("producer")), ("1".into(), "".into()));
}

#[test]
fn a_slow_topic_consumer_keeps_the_newest_within_its_limit() {
    let limit = Some(PendingMessageLimit::Constant(2));
    let mut bench =
        Bench::with(PolicyEntry { pending_message_limit: limit, ..PolicyEntry::default() });
    bench.consume("a", "topic://T", |info| info.prefetch_size = 1);
    (0..5).for_each(|_| bench.send_with("topic://T", |message| message.persistent = false));
    assert_eq!(bench.got("a"), "0");
    for next in ["3", "4", ""] {
        bench.ack("a", ack_type::STANDARD, 1);
        assert_eq!(bench.got("a"), next);
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(bench.broker.memory.used(), 0);
}

#[test]
fn a_durable_subscriber_finds_what_was_published_while_it_was_away() {
    let mut bench = Bench::new();
    let durable = |info: &mut ConsumerInfo| info.subscription_name = Some("s".into());
    bench.consume("a", "topic://T", durable);
    bench.send("topic://T");
    assert_eq!(bench.got("a"), "0");
    bench.leave("a", -2);
    bench.send("topic://T");
    bench.consume("a", "topic://T", durable);
    assert_eq!(bench.got("a"), "0* 1");
    bench.ack("a", ack_type::STANDARD, 2);
    let in_use = bench.client("a").0.remove_subscription(&subscription("s")).unwrap_err();
    assert_eq!(in_use, Refusal::DurableActive);
    bench.leave("a", -1);
    let _ticket = bench.client("a").0.remove_subscription(&subscription("s")).unwrap();
    let gone = bench.client("a").0.remove_subscription(&subscription("s")).unwrap_err();
    assert_eq!(
        gone.to_string(),
        "No durable subscription exists for clientID: a and subscriptionName: s"
    );
    assert_eq!(bench.broker.memory.used(), 0);
}

fn subscription(name: &str) -> crate::openwire::RemoveSubscriptionInfo {
    crate::openwire::RemoveSubscriptionInfo {
        subscription_name: Some(name.into()),
        ..Default::default()
    }
}

#[test]
fn a_durable_subscriber_that_changes_its_selector_starts_anew() {
    let mut bench = Bench::new();
    bench.consume("a", "topic://T", |info| info.subscription_name = Some("s".into()));
    bench.leave("a", -1);
    bench.send("topic://T");
    bench.consume("a", "topic://T", |info| {
        info.subscription_name = Some("s".into());
        info.selector = Some("JMSType = 'x'".into());
    });
    bench.send("topic://T");
    bench.send_with("topic://T", |message| message.kind = Some("x".into()));
    assert_eq!(bench.got("a"), "2");
}

#[test]
fn what_is_sent_in_a_transaction_is_there_with_the_commit_or_never() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    let ends = [(1, transaction_kind::COMMIT_ONE_PHASE, "0"), (2, transaction_kind::ROLLBACK, "")];
    for (value, end, delivered) in ends {
        bench.transact("producer", transaction_kind::BEGIN, value).unwrap();
        bench.send_with("Q", |message| {
            message.transaction_id = Some(Arc::new(Bench::transaction("producer", value)));
        });
        assert_eq!(bench.got("a"), "");
        bench.transact("producer", end, value).unwrap();
        assert_eq!(bench.got("a"), delivered);
    }
    let refusal = bench.transact("producer", transaction_kind::ROLLBACK, 2).unwrap_err();
    assert_eq!(refusal.to_string(), "Transaction 'TX:ID:producer:2' has not been started.");
}

#[test]
fn what_was_acknowledged_in_a_transaction_stays_with_the_consumer_after_a_rollback() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 2);
    (0..3).for_each(|_| bench.send("Q"));
    bench.got("a");
    bench.transact("a", transaction_kind::BEGIN, 1).unwrap();
    bench.try_ack("a", ack_type::STANDARD, 2, Some(1)).unwrap();
    bench.transact("a", transaction_kind::ROLLBACK, 1).unwrap();
    assert_eq!(bench.got("a"), "", "the client redelivers by itself");
    bench.transact("a", transaction_kind::BEGIN, 2).unwrap();
    bench.try_ack("a", ack_type::STANDARD, 2, Some(2)).unwrap();
    assert_eq!(bench.got("a"), "");
    bench.transact("a", transaction_kind::COMMIT_ONE_PHASE, 2).unwrap();
    assert_eq!(bench.got("a"), "2");
}

/// A consumer that moves messages must not send them without taking them.
#[test]
fn a_transaction_whose_ack_comes_before_dispatch_is_rolled_back_as_a_whole() {
    let mut bench = Bench::new();
    bench.consume("producer", "From", |_| ());
    bench.consume("a", "To", |_| ());
    for end in [transaction_kind::COMMIT_ONE_PHASE, transaction_kind::PREPARE] {
        bench.transact("producer", transaction_kind::BEGIN, 1).unwrap();
        let id = Arc::new(Bench::transaction("producer", 1));
        bench.send_with("To", |message| message.transaction_id = Some(id));
        bench.try_ack("producer", ack_type::STANDARD, 1, Some(1)).unwrap();
        let refusal = bench.transact("producer", end, 1).unwrap_err();
        let thrown = refusal.to_throwable();
        assert_eq!(
            thrown.to_string(),
            "javax.transaction.xa.XAException: COMMIT FAILED: Transaction marked rollback only \
             xaErrorCode:100"
        );
        let cause = thrown.cause.unwrap().to_string();
        assert!(cause.starts_with("javax.jms.TransactionRolledBackException: "), "{cause}");
        assert_eq!(bench.got("a"), "");
        let gone = bench.transact("producer", transaction_kind::ROLLBACK, 1).unwrap_err();
        assert!(matches!(gone, Refusal::NoSuchTransaction { .. }), "{gone}");
    }
}

#[test]
fn what_an_earlier_broker_had_delivered_does_no_harm_when_it_is_counted() {
    let mut bench = Bench::new();
    for again in [false, true] {
        if again {
            bench.reconnect("a");
        }
        bench.consume("a", "Q", |_| ());
        bench.send("Q");
        assert_eq!(bench.got("a").len(), 1);
        let ack = MessageAck {
            consumer_id: Some(Bench::consumer_id("a")),
            ack_type: ack_type::DELIVERED,
            last_message_id: Some(MessageId::default()),
            message_count: 1,
            ..MessageAck::default()
        };
        let acked = bench.client("a").0.ack(&ack);
        assert_eq!(acked.is_ok(), again, "{acked:?}");
        bench.ack("a", ack_type::STANDARD, 1);
    }
}

#[test]
fn a_transaction_whose_consumer_is_gone_is_rolled_back_as_a_whole() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.send("Q");
    bench.got("a");
    bench.transact("a", transaction_kind::BEGIN, 1).unwrap();
    bench.client("a").0.remove_consumer(&Bench::consumer_id("a"), -2);
    bench.try_ack("a", ack_type::STANDARD, 1, Some(1)).unwrap();
    let refusal = bench.transact("a", transaction_kind::COMMIT_ONE_PHASE, 1).unwrap_err();
    assert!(matches!(refusal, Refusal::RolledBack { .. }), "{refusal}");
}

/// Its manager decides alone.
#[test]
fn a_branch_that_is_prepared_is_not_rolled_back_because_of_what_comes_later() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    let id = Arc::new(TransactionId::Xa(XaTransactionId {
        format_id: 1,
        global_transaction_id: Some(bytes::Bytes::from_static(b"g")),
        branch_qualifier: Some(bytes::Bytes::from_static(b"b")),
    }));
    let step = |bench: &mut Bench, kind| {
        let info = TransactionInfo {
            transaction_id: Some(Arc::clone(&id)),
            kind,
            ..TransactionInfo::default()
        };
        bench.client("producer").0.transaction(&info).map(|_| ())
    };
    step(&mut bench, transaction_kind::BEGIN).unwrap();
    bench.send_with("Q", |message| message.transaction_id = Some(Arc::clone(&id)));
    step(&mut bench, transaction_kind::PREPARE).unwrap();
    let refusal = Refusal::Jms("too late".to_owned());
    bench.client("producer").0.refused_in(&id, &refusal);
    step(&mut bench, transaction_kind::COMMIT_TWO_PHASE).unwrap();
    assert_eq!(bench.got("a"), "0");
}

#[test]
fn an_ack_of_what_was_only_delivered_leaves_the_transaction_whole() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.transact("a", transaction_kind::BEGIN, 1).unwrap();
    bench.try_ack("a", ack_type::DELIVERED, 1, Some(1)).unwrap();
    bench.transact("a", transaction_kind::COMMIT_ONE_PHASE, 1).unwrap();
}

#[test]
fn an_open_transaction_of_a_lost_connection_gives_back_what_it_took() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    (0..2).for_each(|_| bench.send("Q"));
    bench.got("a");
    bench.transact("a", transaction_kind::BEGIN, 1).unwrap();
    bench.try_ack("a", ack_type::STANDARD, 1, Some(1)).unwrap();
    bench.client("a").0.close(-2);
    bench.consume("b", "Q", |_| ());
    assert_eq!(bench.got("b"), "0* 1*");
}

#[test]
fn a_poison_ack_moves_the_message_to_the_dead_letter_queue_and_says_why() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("dlq", "ActiveMQ.DLQ", |_| ());
    bench.send("Q");
    bench.got("a");
    bench.ack("a", ack_type::POISON, 1);
    assert_eq!(bench.got("dlq"), "0");
    let letter = &bench.held["dlq"][0].0;
    assert_eq!(letter.original_destination.as_ref().unwrap().to_string(), "queue://Q");
    let properties = letter.marshalled_properties.as_ref().unwrap();
    let cause = crate::openwire::map::get(properties, "dlqDeliveryFailureCause").unwrap();
    assert!(cause.is_some());
}

#[test]
fn an_expired_message_goes_to_the_dead_letter_queue_if_it_was_persistent() {
    let mut bench = Bench::new();
    bench.consume("dlq", "ActiveMQ.DLQ", |_| ());
    let now = bench.broker.now_ms();
    for persistent in [true, false] {
        bench.send_with("Q", |message| {
            (message.expiration, message.persistent) = (now + 10, persistent);
        });
    }
    bench.clock.advance(11);
    bench.broker.expire_messages(now - 30_000);
    assert_eq!(bench.got("dlq"), "0");
    bench.consume("a", "Q", |_| ());
    assert_eq!(bench.got("a"), "");
    let discard = DeadLetterStrategy { process_expired: false, ..Default::default() };
    let mut bench = Bench::with(PolicyEntry { dead_letter: discard, ..PolicyEntry::default() });
    bench.consume("dlq", "ActiveMQ.DLQ", |_| ());
    bench.send_with("Q", |message| message.expiration = now - 1);
    assert_eq!(bench.got("dlq"), "");
}

#[test]
fn a_second_connection_of_the_same_id_takes_over_and_another_of_the_same_client_is_refused() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.send("Q");
    let (_, old) = bench.client("a");
    let info = |id: &str| {
        Arc::new(ConnectionInfo {
            connection_id: Some(Arc::new(ConnectionId::new(id))),
            client_id: Some("a".into()),
            ..ConnectionInfo::default()
        })
    };
    let peer =
        Peer { connector: String::new(), remote_address: "tcp://new".to_owned(), network: false };
    let fresh = Arc::new(Outbox::default());
    let refusal = bench.broker.connect(&info("ID:other"), &peer, &fresh).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Broker: localhost - Client: a already connected from tcp://test"
    );
    bench.broker.connect(&info("ID:a"), &peer, &fresh).unwrap();
    assert!(matches!(old.closing(), Some(Closing::TakenOver)));
    bench.consume("b", "Q", |_| ());
    assert_eq!(bench.got("b"), "0*");
}

#[test]
fn temporary_destinations_end_with_their_connection_and_are_for_its_consumers_alone() {
    let mut bench = Bench::new();
    let temp = "temp-queue://ID:a:1";
    let missing = bench.try_send(temp, |_| ()).unwrap_err();
    assert_eq!(missing.to_string(), temp);
    let info = DestinationInfo {
        destination: Some(Arc::new(Destination::parse(temp, DestinationKind::Queue))),
        ..DestinationInfo::default()
    };
    let _ticket = bench.client("a").0.destination(&info).unwrap();
    bench.send(temp);
    let refusal = bench.try_consume("b", temp, |_| ()).unwrap_err();
    assert!(refusal.to_string().contains("created by another connection"), "{refusal}");
    bench.client("a").0.close(-2);
    assert!(bench.try_send(temp, |_| ()).is_err());
    assert_eq!(bench.broker.memory.used(), 0);
}

#[test]
fn a_destination_with_consumers_is_not_removed() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    let remove = DestinationInfo {
        destination: Some(Arc::new(Destination::queue("Q"))),
        operation_type: 1,
        ..DestinationInfo::default()
    };
    let refusal = bench.client("b").0.destination(&remove).unwrap_err().to_string();
    let start =
        "Destination: queue://Q still has an active subscription: QueueSubscription: consumer=";
    assert!(refusal.starts_with(start), "{refusal}");
    bench.leave("a", -1);
    bench.send("Q");
    let _ticket = bench.client("b").0.destination(&remove).unwrap();
    bench.consume("a", "Q", |_| ());
    assert_eq!(bench.got("a"), "");
    assert_eq!(bench.broker.memory.used(), 0);
}

#[test]
fn a_new_listener_hears_of_the_consumers_that_are_there_and_of_those_that_come() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |_| ());
    bench.consume("ear", "topic://ActiveMQ.Advisory.Consumer.>", |_| ());
    bench.consume("b", "Q", |_| ());
    bench.leave("b", -1);
    bench.got("ear");
    let heard: Vec<_> = bench.held["ear"]
        .iter()
        .map(|(message, _)| {
            let properties = message.marshalled_properties.as_ref().unwrap();
            let count = crate::openwire::map::get(properties, "consumerCount").unwrap();
            let name = message.data_structure.as_ref().map(Command::name);
            (name, message.target_consumer_id.is_some(), count)
        })
        .collect();
    let count = |n| Some(crate::openwire::map::Value::Int(n));
    assert_eq!(
        heard,
        [
            (Some("ConsumerInfo"), true, count(1)),
            (Some("ConsumerInfo"), false, count(2)),
            (Some("RemoveInfo"), false, count(1)),
        ]
    );
}

#[test]
fn memory_in_use_returns_to_nothing_when_everything_is_consumed() {
    let mut bench = Bench::new();
    bench.consume("a", "Q", |info| info.prefetch_size = 2);
    (0..10).for_each(|_| bench.send("Q"));
    assert_eq!(bench.broker.memory.used(), 10 * message::MESSAGE_BYTES_MIN);
    for _ in 0..5 {
        bench.got("a");
        bench.ack("a", ack_type::STANDARD, 2);
    }
    assert_eq!(bench.broker.memory.used(), 0);
}

#[test]
fn a_full_broker_holds_producers_or_refuses_them() {
    let mut bench = Bench::new();
    while bench.broker.memory.used() < 1 << 20 {
        bench.send("Q");
    }
    let message =
        Message { destination: Some(Arc::new(Destination::queue("Q"))), ..Message::default() };
    assert!(matches!(bench.client("producer").0.room_for(&message), Ok(Room::Full(_))));
}

#[test]
fn a_reader_that_does_not_read_stops_only_itself() {
    let mut bench = Bench::new();
    bench.consume("slow", "topic://T", |info| info.prefetch_size = 32_767);
    bench.consume("fast", "topic://T", |info| info.prefetch_size = 32_767);
    let body = bytes::Bytes::from(vec![0; 100_000]);
    let mut fast = 0;
    for _ in 0..60 {
        bench.send_with("topic://T", |message| message.content = Some(body.clone()));
        fast += bench.got("fast").split_whitespace().count();
    }
    assert_eq!(fast, 60);
    let written = bench.got("slow").split_whitespace().count();
    assert!(written < 60, "{written} messages of 100 kB went past the outbox limit");
    let mut total = written;
    while total < 60 {
        let more = bench.got("slow").split_whitespace().count();
        assert!(more > 0, "dispatch did not go on after the outbox drained at {total}");
        total += more;
    }
}
