//! A broker whose memory is used up, with a temporary store.

use tempfile::TempDir;

use super::stored::SOON;
use super::*;
use crate::store::options::TempStoreOptions;
use crate::store::temporary::Temporary;

/// All the memory there is.
const MEMORY_BYTES: usize = 1 << 20;

/// A broker whose memory is taken by others, before anybody asked for the temporary store.
fn full(directory: &TempDir, entry: PolicyEntry) -> Bench {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let time = Arc::clone(&clock) as Arc<dyn Clock>;
    let around = directory.path().to_owned();
    let stores = Stores {
        temporary: Some(Temporary::new(around, TempStoreOptions::default(), time)),
        temp_limit_bytes: u64::MAX,
        ..Stores::default()
    };
    let bench = Bench::over(entry, MEMORY_BYTES as u64, stores, clock);
    bench.broker.memory.take(MEMORY_BYTES);
    bench
}

fn asks(bench: &mut Bench, destination: &str) -> Room {
    let destination = Destination::parse(destination, DestinationKind::Queue);
    let message = Message { destination: Some(Arc::new(destination)), ..Message::default() };
    bench.client("producer").0.room_for(&message).unwrap()
}

/// Asks until there is room, as a connection does before each message.
async fn is_let_in(bench: &mut Bench, destination: &str) {
    while let Room::Full(wait) = asks(bench, destination) {
        let waited = tokio::time::timeout(SOON, wait.wait()).await;
        waited.unwrap_or_else(|_| panic!("a producer for {destination} is held for ever")).unwrap();
    }
}

#[tokio::test]
async fn producers_go_on_as_soon_as_the_temporary_store_is_open() {
    for destination in ["Q", "topic://T", "topic://T,topic://U", "queue://Q,topic://T"] {
        let directory = TempDir::with_prefix("openwired-full-").unwrap();
        let mut bench = full(&directory, PolicyEntry::default());
        bench.consume("slow", "topic://T", |info| info.prefetch_size = 1);
        assert!(matches!(asks(&mut bench, destination), Room::Full(_)), "{destination}");
        is_let_in(&mut bench, destination).await;
        bench.broker.close_stores();
    }
}

#[tokio::test]
async fn what_goes_to_the_temporary_store_takes_no_memory_and_comes_in_order() {
    let directory = TempDir::with_prefix("openwired-full-").unwrap();
    let mut bench = full(&directory, PolicyEntry::default());
    bench.consume("slow", "topic://T", |info| info.prefetch_size = 1);
    let body = bytes::Bytes::from(vec![7; 20_000]);
    for _ in 0..200 {
        is_let_in(&mut bench, "topic://T").await;
        bench.send_with("topic://T", |message| {
            message.persistent = false;
            message.content = Some(body.clone());
        });
    }
    let (_, outbox) = bench.client("slow");
    for number in 0..200 {
        tokio::time::timeout(SOON, outbox.ready()).await.expect("the next message");
        assert_eq!(bench.got("slow"), number.to_string());
        bench.ack("slow", ack_type::STANDARD, 1);
    }
    assert_eq!(bench.broker.memory.used(), MEMORY_BYTES);
    bench.broker.close_stores();
}

#[tokio::test]
async fn what_has_to_wait_in_memory_waits_for_memory() {
    let directory = TempDir::with_prefix("openwired-full-").unwrap();
    let limit = Some(PendingMessageLimit::Constant(1000));
    let entry = PolicyEntry { pending_message_limit: limit, ..PolicyEntry::default() };
    let mut bench = full(&directory, entry);
    bench.consume("slow", "topic://T", |info| info.prefetch_size = 1);
    is_let_in(&mut bench, "Q").await;
    assert!(matches!(asks(&mut bench, "topic://T"), Room::Full(_)));
    bench.broker.memory.free(MEMORY_BYTES);
    is_let_in(&mut bench, "topic://T").await;
    bench.broker.close_stores();
}

#[tokio::test]
async fn what_durable_subscriptions_wait_for_takes_no_memory_and_comes_in_order() {
    let directory = TempDir::with_prefix("openwired-full-").unwrap();
    let mut bench = full(&directory, PolicyEntry::default());
    for name in ["lagging", "away"] {
        bench.consume(name, "topic://T", |info| {
            info.subscription_name = Some("s".into());
            info.prefetch_size = 1;
        });
    }
    bench.leave("away", -1);
    let body = bytes::Bytes::from(vec![7; 20_000]);
    for _ in 0..200 {
        is_let_in(&mut bench, "topic://T").await;
        bench.send_with("topic://T", |message| {
            message.persistent = false;
            message.content = Some(body.clone());
        });
    }
    bench.consume("away", "topic://T", |info| {
        info.subscription_name = Some("s".into());
        info.prefetch_size = 1;
    });
    for name in ["lagging", "away"] {
        let (_, outbox) = bench.client(name);
        for number in 0..200 {
            tokio::time::timeout(SOON, outbox.ready()).await.expect("the next message");
            assert_eq!(bench.got(name), number.to_string());
            bench.ack(name, ack_type::STANDARD, 1);
        }
    }
    assert_eq!(bench.broker.memory.used(), MEMORY_BYTES);
    bench.broker.close_stores();
}
