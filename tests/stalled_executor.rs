//! A master whose threads hang, all that serve connections, ends itself in time and is succeeded.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Session, Subscription, message,
};
use openwired::openwire::Destination;
use support::group::Group;

/// Exit code of a broker that hung.
const STALLED: i32 = 5;
const SOON: Duration = Duration::from_secs(20);
/// Beside the limit itself: looks at a tenth of it, the last words, and a busy machine.
const SLACK: Duration = Duration::from_secs(3);

async fn session(port: u16) -> Session {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    let connection = Connection::open(&url, &Credentials::default()).await.unwrap();
    connection.session(AckMode::Auto).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_threads_all_hang_ends_within_the_limit_and_is_succeeded() {
    let group = Group::new();
    let limit = Duration::from_millis(1000);
    let mut master =
        group.start_failing("a", "ack.before_journal=1:stall", &["-Dopenwired.stallLimit=1000"]);
    let port = master.port();
    let slave = group.slave("b");
    let queue = Destination::queue("Q");
    let sending = session(port).await;
    let producer = sending.producer(Some(queue.clone()), ProducerOptions::default()).await.unwrap();
    // One more than it can have threads.
    let clients = available_parallelism().unwrap().get() * 4 + 1;
    let (mut sessions, mut consumers) = (Vec::new(), Vec::new());
    for number in 0..clients {
        producer.send(message::text(&number.to_string())).await.unwrap();
        let subscription = Subscription { prefetch: Some(1), ..Subscription::to(queue.clone()) };
        let session = session(port).await;
        consumers.push(session.consumer(&subscription).await.unwrap());
        sessions.push(session);
    }
    // Each acknowledges one, and no acknowledgement comes back from where it is taken.
    let receiving = consumers
        .into_iter()
        .map(|consumer| tokio::spawn(async move { consumer.receive(Some(SOON)).await }));
    let receiving: Vec<_> = receiving.collect();
    let began = Instant::now();
    let status = master.process.wait();
    println!("{clients} clients; it ended {:?} after they began", began.elapsed());
    assert_eq!(status.code(), Some(STALLED), "{}", master.process.said());
    let why =
        "the threads that serve connections did nothing for 1000 ms: this broker ends at once";
    assert!(master.process.said().contains(why), "{}", master.process.said());
    assert!(began.elapsed() < limit + SLACK, "{:?}", began.elapsed());
    for receiving in receiving {
        receiving.abort();
    }
    let last = session(slave.port()).await;
    let left = last.consumer(&Subscription::to(queue)).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..clients {
        let received = left.receive(Some(SOON)).await.unwrap().expect("none was acknowledged");
        bodies.push(message::text_of(received.message()).unwrap().parse::<usize>().unwrap());
    }
    bodies.sort_unstable();
    assert_eq!(bodies, (0..clients).collect::<Vec<_>>());
}
