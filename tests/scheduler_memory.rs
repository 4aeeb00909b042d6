//! What messages that wait for their time may cost in memory beside the journal.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openwired::base::{Clock, SystemClock};
use openwired::broker::keeping::Stores;
use openwired::broker::{Broker, BrokerOptions, Client, Outbox, Peer};
use openwired::openwire::map::{PrimitiveMap, Value};
use openwired::openwire::{
    ConnectionId, ConnectionInfo, Destination, Message, MessageId, ProducerId,
};
use openwired::store::Locking;
use openwired::store::disk::RealDisk;
use openwired::store::journal::{Journal, Opening};
use openwired::store::options::JournalOptions;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: u32 = 100_000;
const BYTES_MAX: f64 = 100.0;
const SOON: Duration = Duration::from_secs(60);

/// Bytes on the heap.
fn heap() -> f64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated as f64) - (stats.bytes_deallocated as f64)
}

fn open(directory: &Path) -> Arc<Broker> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opening = Opening {
        node: "test".to_owned(),
        locking: Locking::Take,
        followed: None,
        beat: None,
        clock: Arc::clone(&clock),
        on_failure: Box::new(|failure| panic!("{failure}")),
    };
    let options = JournalOptions::default();
    let (journal, recovered) =
        Journal::open(Arc::new(RealDisk), directory, &options, opening).unwrap();
    let stores =
        Stores { journal: Some(journal), store_limit_bytes: u64::MAX, ..Stores::default() };
    let options = BrokerOptions { scheduler_support: true, ..BrokerOptions::default() };
    let broker = Broker::new(options, 64 << 20, "host", clock, stores);
    broker.restore(recovered).unwrap();
    broker
}

fn connect(broker: &Arc<Broker>) -> Arc<Client> {
    let info = ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId::new("ID:producer"))),
        client_id: Some("producer".into()),
        ..ConnectionInfo::default()
    };
    let peer = Peer {
        connector: "openwire".to_owned(),
        remote_address: "tcp://127.0.0.1:1".to_owned(),
        network: false,
    };
    broker.connect(&Arc::new(info), &peer, &Arc::new(Outbox::default())).unwrap()
}

/// An hour and more from now, in no order.
fn message(number: u32) -> Message {
    let delay = 3_600_000 + i64::from(number.wrapping_mul(2_654_435_769) % 86_400_000);
    let properties: PrimitiveMap =
        [("AMQ_SCHEDULED_DELAY", Value::Long(delay))].into_iter().collect();
    let producer = Arc::new(ProducerId::new("ID:producer", 1, 1));
    Message {
        message_id: Some(MessageId::new(producer, number.into())),
        destination: Some(Arc::new(Destination::queue("Q"))),
        persistent: true,
        marshalled_properties: Some(properties.encode().unwrap()),
        content: Some(vec![7; 200].into()),
        ..Message::default()
    }
}

/// The only test of this file, so that nothing else allocates meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_that_wait_cost_at_most_a_hundred_bytes_each() {
    let directory = tempfile::tempdir().unwrap();
    let broker = open(directory.path());
    let client = connect(&broker);
    let before = heap();
    for number in 0..MESSAGES {
        let ticket = client.send(message(number)).unwrap();
        if number % 1000 == 999 {
            tokio::time::timeout(SOON, ticket.durable()).await.unwrap();
        }
    }
    let stored = broker.memory.freed_until(None, || broker.memory.used() == 0);
    tokio::time::timeout(SOON, stored).await.unwrap();
    let each = (heap() - before) / f64::from(MESSAGES);
    println!("{each:.1} bytes each");
    assert_eq!(broker.scheduler().len(), MESSAGES as usize);
    assert!(each <= BYTES_MAX, "{each:.1} bytes each");
    broker.close_stores();
    drop((client, broker));

    let before = heap();
    let broker = open(directory.path());
    let each = (heap() - before) / f64::from(MESSAGES);
    println!("{each:.1} bytes each after a restart");
    assert_eq!(broker.scheduler().len(), MESSAGES as usize);
    assert!(each <= BYTES_MAX, "{each:.1} bytes each after a restart");
    broker.close_stores();
}
