//! What a connection does when nothing happens, in time that the tests turn.

use std::time::Duration;

use openwired::openwire::*;
use tokio::time::{Instant, sleep};

#[path = "support/peer.rs"]
mod peer;

use peer::*;

const ID: &str = "ID:peer-1-1:1";
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_for_half_a_minute_is_dropped() {
    let broker = broker();
    let topic = Destination::topic("T");
    let mut deaf = Peer::inside(&broker, 1024, &offer()).await;
    deaf.log_in(ID).await;
    deaf.ask(consumer_info(ID, -1, 1, &topic)).await;
    let mut peer = Peer::inside(&broker, 1024, &offer()).await;
    peer.log_in("ID:other").await;
    peer.ask(producer_info("ID:other", -1, 1)).await;
    let began = Instant::now();
    for sequence in 1..=100 {
        peer.ask(message("ID:other", -1, 1, sequence, &topic)).await;
    }
    sleep(29 * SECOND).await;
    assert!(deaf.is_open().await, "{:?}", began.elapsed());
    sleep(2 * SECOND).await;
    assert!(!deaf.is_open().await);
    let again = Peer::inside(&broker, 1024, &offer()).await.refused_or_in(ID).await;
    assert_eq!(again, None, "what it had is gone, so its client id is free");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_every_ten_seconds_and_dropped_after_thirty() {
    let broker = broker();
    let began = Instant::now();
    let mut peer = Peer::inside(&broker, 4096, &Offer::default()).await;
    peer.log_in(ID).await;
    // What it was told at the start counts for the first ten.
    for second in [20, 30] {
        assert_eq!(peer.expect().await, KeepAliveInfo::default().into());
        assert_eq!(began.elapsed().as_secs(), second);
    }
    peer.closed().await;
    assert_eq!(began.elapsed().as_secs(), 40, "thirty after the initial delay");
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_long_before_it_logs_in() {
    let broker = broker();
    let mut peer = Peer::inside(&broker, 4096, &Offer::default()).await;
    for _ in 0..60 {
        sleep(10 * SECOND).await;
        peer.send(KeepAliveInfo::default()).await;
    }
    peer.log_in(ID).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_watches_nothing_is_not_watched() {
    let broker = broker();
    let mut peer = Peer::inside(&broker, 4096, &offer()).await;
    peer.log_in(ID).await;
    sleep(3600 * SECOND).await;
    assert!(matches!(peer.ask(FlushCommand::default()).await, Command::Response(_)));
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_answered_with_nothing_when_its_time_is_over_and_not_before() {
    let broker = broker();
    let mut peer = Peer::inside(&broker, 4096, &offer()).await;
    peer.log_in(ID).await;
    let consumer =
        ConsumerInfo { prefetch_size: 0, ..consumer_info(ID, -1, 1, &Destination::queue("Q")) };
    peer.ask(consumer.clone()).await;
    let pull = MessagePull {
        consumer_id: consumer.consumer_id,
        destination: consumer.destination,
        timeout: 700,
        ..MessagePull::default()
    };
    let asked = Instant::now();
    peer.send(pull).await;
    let Command::MessageDispatch(nothing) = peer.expect().await else { panic!() };
    assert_eq!((&nothing.message, asked.elapsed().as_millis()), (&None, 700));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_may_not_stay_has_two_seconds() {
    let broker = broker();
    let mut peer = Peer::inside(&broker, 4096, &offer()).await;
    let nameless = ConnectionInfo { client_id: None, ..connection_info(ID) };
    let refused = Instant::now();
    let (class, text) = peer.refused(nameless).await;
    assert_eq!(class, "javax.jms.InvalidClientIDException");
    assert_eq!(text, "No clientID specified for connection request");
    assert!(matches!(peer.ask(FlushCommand::default()).await, Command::Response(_)));
    peer.closed().await;
    assert_eq!(refused.elapsed().as_secs(), 2);
}

/// Another connection with the client id of `ID`.
fn namesake() -> ConnectionInfo {
    let client_id = connection_info(ID).client_id;
    ConnectionInfo { client_id, ..connection_info("ID:namesake-1-1:1") }
}

fn probe() -> Command {
    KeepAliveInfo { response_required: true, ..KeepAliveInfo::default() }.into()
}

#[tokio::test(start_paused = true)]
async fn a_client_id_is_free_for_another_when_its_owner_is_silent_for_two_seconds() {
    let broker = broker();
    let mut silent = Peer::inside(&broker, 4096, &Offer::default()).await;
    silent.log_in(ID).await;
    silent.ask(consumer_info(ID, -1, 1, &Destination::queue("Q"))).await;
    let mut other = Peer::inside(&broker, 4096, &Offer::default()).await;
    let asked = Instant::now();
    // All that a failover client says at once has to wait for the first.
    let session = session_info("ID:namesake-1-1:1", 1);
    other.send_all([namesake().asking(1), session.asking(2)]).await;
    assert!(matches!(other.answer_to(1).await, Command::Response(_)));
    assert_eq!(asked.elapsed().as_secs(), 2);
    assert!(matches!(other.answer_to(2).await, Command::Response(_)));
    assert_eq!(silent.closed().await, [probe()]);
}

#[tokio::test(start_paused = true)]
async fn a_client_id_stays_with_an_owner_that_answers() {
    let broker = broker();
    let mut owner = Peer::inside(&broker, 4096, &Offer::default()).await;
    owner.log_in(ID).await;
    let mut others = Vec::new();
    for id in 0..3 {
        let mut other = Peer::inside(&broker, 4096, &Offer::default()).await;
        let connection_id = connection_info(&format!("ID:other-1-1:{id}")).connection_id;
        other.send(ConnectionInfo { connection_id, ..namesake() }.asking(1)).await;
        others.push(other);
    }
    let asked = Instant::now();
    assert_eq!(owner.expect().await, probe());
    owner.send(KeepAliveInfo::default()).await;
    for mut other in others {
        let Command::ExceptionResponse(refused) = other.answer_to(1).await else { panic!() };
        let exception = refused.exception.clone().unwrap();
        assert_eq!(exception.class_name, Some("javax.jms.InvalidClientIDException".into()));
        let text =
            "Broker: b - Client: client of ID:peer-1-1:1 already connected from tcp://127.0.0.1:1";
        assert_eq!(exception.message, Some(text.into()));
    }
    assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits longer than for the answer");
    assert!(matches!(owner.ask(FlushCommand::default()).await, Command::Response(_)));
}

#[tokio::test(start_paused = true)]
async fn a_client_id_is_free_when_its_owner_reads_nothing_any_more() {
    let broker = broker();
    let topic = Destination::topic("T");
    let mut deaf = Peer::inside(&broker, 1024, &Offer::default()).await;
    deaf.log_in(ID).await;
    deaf.ask(consumer_info(ID, -1, 1, &topic)).await;
    let mut peer = Peer::inside(&broker, 1024, &offer()).await;
    peer.log_in("ID:other").await;
    peer.ask(producer_info("ID:other", -1, 1)).await;
    for sequence in 1..=100 {
        peer.ask(message("ID:other", -1, 1, sequence, &topic)).await;
    }
    let mut other = Peer::inside(&broker, 4096, &Offer::default()).await;
    let asked = Instant::now();
    assert!(matches!(other.ask(namesake()).await, Command::Response(_)));
    assert_eq!(asked.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_silence_of_an_owner_that_agreed_on_no_watch_says_nothing() {
    let broker = broker();
    let mut owner = Peer::inside(&broker, 4096, &offer()).await;
    owner.log_in(ID).await;
    let mut other = Peer::inside(&broker, 4096, &Offer::default()).await;
    let (class, _) = other.refused(namesake()).await;
    assert_eq!(class, "javax.jms.InvalidClientIDException");
    assert!(matches!(owner.ask(FlushCommand::default()).await, Command::Response(_)));
}

#[tokio::test(start_paused = true)]
async fn two_connections_of_one_socket_cannot_have_one_client_id() {
    let broker = broker();
    let mut peer = Peer::inside(&broker, 4096, &Offer::default()).await;
    peer.log_in(ID).await;
    let asked = Instant::now();
    let (class, _) = peer.refused(namesake()).await;
    assert_eq!(
        (class.as_str(), asked.elapsed()),
        ("javax.jms.InvalidClientIDException", Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_never_reads_is_heard_only_so_far() {
    let broker = broker();
    let mut deaf = Peer::inside(&broker, 1024, &offer()).await;
    deaf.log_in(ID).await;
    let asked = FlushCommand { command_id: 7, response_required: true };
    let mut said = 0_usize;
    while said < 1_000_000 && deaf.takes(asked.clone()).await {
        said += 1;
    }
    assert!(said < 50_000, "{said} answers wait");
}
