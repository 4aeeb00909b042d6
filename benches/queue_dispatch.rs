//! The broker core without sockets: a message from its producer through the destination into the
//! outboxes of its consumers, and their acknowledgements back.
//!
//! `cargo bench --bench queue_dispatch`. A broker has 5 us of a core for all of its work on a message
//! (5.17.2 takes about 30), so the core's share should stay below 2 us. Times are per round: one
//! message, or one transaction. Those said below are of 2 cores busy with other work: to beat.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use openwired::base::SystemClock;
use openwired::broker::keeping::Stores;
use openwired::broker::{Broker, BrokerOptions, Client, Delivery, Outbox, Outgoing, Peer};
use openwired::openwire::{
    ConnectionId, ConnectionInfo, ConsumerId, ConsumerInfo, Destination, LocalTransactionId,
    Message, MessageAck, MessageClass, MessageId, PrimitiveMap, ProducerId, TransactionId,
    TransactionInfo, ack_type, transaction_kind,
};

const BODY_BYTES: usize = 1024;
const MEMORY_BYTES: u64 = 1 << 30;
const PREFETCH: i32 = 1000;

/// Messages of one transaction.
const BATCH: i64 = 100;

/// A broker with a producer and consumers, each on a connection of its own.
struct Core {
    broker: Arc<Broker>,
    producer: Arc<Client>,
    producer_id: Arc<ProducerId>,
    destination: Arc<Destination>,
    body: Bytes,
    sent: i64,
    consumers: Vec<Consumer>,
    batch: Vec<Outgoing>,
}

struct Consumer {
    client: Arc<Client>,
    outbox: Arc<Outbox>,
}

impl Core {
    fn new(destination: Destination) -> Self {
        let options = BrokerOptions::default();
        let broker =
            Broker::new(options, MEMORY_BYTES, "bench", Arc::new(SystemClock), Stores::default());
        let producer = connect(&broker, "producer").client;
        let producer_id =
            Arc::new(ProducerId::new("ID:producer-host-41234-1795379901917-1:1", 1, 1));
        let (destination, body) = (Arc::new(destination), Bytes::from(vec![0x5A; BODY_BYTES]));
        let (consumers, batch) = (Vec::new(), Vec::new());
        Self { broker, producer, producer_id, destination, body, sent: 0, consumers, batch }
    }

    fn consumer(&mut self, selector: Option<&str>) {
        let number = self.consumers.len();
        let consumer = connect(&self.broker, &format!("consumer-{number}"));
        let info = ConsumerInfo {
            consumer_id: Some(Arc::new(ConsumerId::new(format!("ID:consumer-{number}"), 1, 1))),
            destination: Some(Arc::clone(&self.destination)),
            prefetch_size: PREFETCH,
            selector: selector.map(Into::into),
            ..ConsumerInfo::default()
        };
        let _ticket = consumer.client.add_consumer(&Arc::new(info)).unwrap();
        self.consumers.push(consumer);
    }

    fn send(&mut self, properties: Option<Bytes>, transaction: Option<&Arc<TransactionId>>) {
        self.sent += 1;
        let message = Message {
            class: MessageClass::Bytes,
            producer_id: Some(Arc::clone(&self.producer_id)),
            message_id: Some(MessageId::new(Arc::clone(&self.producer_id), self.sent)),
            destination: Some(Arc::clone(&self.destination)),
            transaction_id: transaction.cloned(),
            content: Some(self.body.clone()),
            marshalled_properties: properties,
            priority: 4,
            ..Message::default()
        };
        let ticket = self.producer.send(message).unwrap();
        assert!(ticket.is_durable());
    }

    fn transaction(&self, id: &Arc<TransactionId>, kind: i8) {
        let transaction_id = Some(Arc::clone(id));
        let info = TransactionInfo { transaction_id, kind, ..TransactionInfo::default() };
        let (_response, ticket) = self.producer.transaction(&info).unwrap();
        assert!(ticket.is_durable());
    }

    /// Takes what waits for the consumers and acknowledges each message; returns how many there were.
    fn receive(&mut self) -> usize {
        let mut received = 0;
        for Consumer { client, outbox } in &self.consumers {
            let bytes = outbox.take(&mut self.batch);
            outbox.written(bytes);
            for outgoing in self.batch.drain(..) {
                let Outgoing::Delivery(delivery) = outgoing else { continue };
                let ticket = client.ack(&acknowledge(&delivery)).unwrap();
                assert!(ticket.is_durable());
                received += 1;
            }
        }
        received
    }
}

fn connect(broker: &Arc<Broker>, name: &str) -> Consumer {
    let outbox = Arc::new(Outbox::default());
    let info = ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId::new(format!("ID:{name}")))),
        client_id: Some(name.into()),
        ..ConnectionInfo::default()
    };
    let peer = Peer {
        connector: "openwire".to_owned(),
        remote_address: "tcp://bench".to_owned(),
        network: false,
    };
    let client = broker.connect(&Arc::new(info), &peer, &outbox).unwrap();
    Consumer { client, outbox }
}

fn acknowledge(delivery: &Delivery) -> MessageAck {
    let id = delivery.message.as_ref().and_then(|message| message.message_id.clone());
    MessageAck {
        destination: delivery.destination.clone(),
        consumer_id: Some(Arc::clone(&delivery.consumer_id)),
        ack_type: ack_type::STANDARD,
        first_message_id: id.clone(),
        last_message_id: id,
        message_count: 1,
        ..MessageAck::default()
    }
}

/// When written: 2.1 us.
fn one_consumer(c: &mut Criterion) {
    let mut core = Core::new(Destination::queue("ORDERS"));
    core.consumer(None);
    one_by_one(c, "queue, 1 consumer", &mut core, 1, |_| None);
}

/// When written: 3.2 us; to beat: that of one consumer.
fn ten_consumers(c: &mut Criterion) {
    let mut core = Core::new(Destination::queue("ORDERS"));
    (0..10).for_each(|_| core.consumer(None));
    one_by_one(c, "queue, 10 consumers in turn", &mut core, 1, |_| None);
}

/// When written: 2.2 us: a selector that takes another shard costs next to nothing.
fn ten_selectors(c: &mut Criterion) {
    let mut core = Core::new(Destination::queue("ORDERS"));
    (0..10).for_each(|shard| core.consumer(Some(&format!("shard = {shard}"))));
    let shards: Vec<Bytes> = (0..10)
        .map(|shard| [("shard", shard)].into_iter().collect::<PrimitiveMap>().encode().unwrap())
        .collect();
    one_by_one(c, "queue, 10 disjoint selectors", &mut core, 1, |number| {
        shards.get(number % shards.len()).cloned()
    });
}

/// When written: 29 us for 50 deliveries.
fn topic(c: &mut Criterion) {
    let mut core = Core::new(Destination::topic("PRICES"));
    (0..50).for_each(|_| core.consumer(None));
    one_by_one(c, "topic, 50 consumers", &mut core, 50, |_| None);
}

/// Each message is received and acknowledged before the next one is sent.
fn one_by_one(
    c: &mut Criterion,
    name: &str,
    core: &mut Core,
    deliveries: usize,
    properties: impl Fn(usize) -> Option<Bytes>,
) {
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function(name, |b| {
        b.iter(|| {
            core.send(properties(number), None);
            number += 1;
            assert_eq!(black_box(core.receive()), deliveries);
        });
    });
    group.finish();
}

/// When written: 160 us for 100 messages.
fn transaction_of_100(c: &mut Criterion) {
    let mut core = Core::new(Destination::queue("ORDERS"));
    core.consumer(None);
    let connection_id = Some(Arc::new(ConnectionId::new("ID:producer")));
    let mut value = 0;
    let mut group = c.benchmark_group("core");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("transaction of 100", |b| {
        b.iter(|| {
            value += 1;
            let local = LocalTransactionId { value, connection_id: connection_id.clone() };
            let id = Arc::new(TransactionId::Local(local));
            core.transaction(&id, transaction_kind::BEGIN);
            (0..BATCH).for_each(|_| core.send(None, Some(&id)));
            core.transaction(&id, transaction_kind::COMMIT_ONE_PHASE);
            assert_eq!(black_box(core.receive()) as i64, BATCH);
        });
    });
    group.finish();
}

criterion_group!(benches, one_consumer, ten_consumers, ten_selectors, topic, transaction_of_100);
criterion_main!(benches);
