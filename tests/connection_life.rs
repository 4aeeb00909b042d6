//! What a peer sees of its connection, from the first byte to the last, whatever it sends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use openwired::broker::options::BrokerOptions;
use openwired::openwire::*;
use openwired::transport::options::{ConnectorOptions, TransportOptions, WireFormatOptions};
use openwired::transport::{BindError, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "support/peer.rs"]
mod peer;

use peer::*;

const ID: &str = "ID:peer-1-1:1";

fn queue() -> Destination {
    Destination::queue("Q")
}

fn text(throwable: &Option<Throwable>) -> String {
    throwable.as_ref().unwrap().message.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn a_client_is_told_who_the_broker_is_and_may_log_in() {
    let served = Served::start();
    let mut peer = Peer::connect(&served).await;
    let Command::BrokerInfo(info) = peer.expect().await else { panic!() };
    assert_eq!(info.broker_name, Some("b".into()));
    assert_eq!(info.broker_url, Some(format!("tcp://{}", served.address).as_str().into()));
    assert_eq!(info.broker_id.as_ref(), Some(served.broker.id()));
    let info = ConnectionInfo { manageable: true, ..connection_info(ID) };
    let Command::Response(_) = peer.ask(info).await else { panic!() };
    let Command::ConnectionControl(control) = peer.expect().await else { panic!() };
    assert_eq!(control.connected_brokers, Some("".into()));
    served.stopped().await;
}

#[tokio::test]
async fn garbage_ends_the_connection_and_no_other() {
    let served = Served::start();
    let mut other = Peer::logged_in(&served, ID).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 64], &[0, 0, 0, 9, 1, b'X', 0, 0, 0, 0]]
    {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = Vec::new();
        // Reset or end, both mean closed.
        let _closed = stream.read_to_end(&mut said).await;
        assert!(said.len() < 600, "nothing but the WireFormatInfo was said");
    }
    assert!(matches!(other.ask(FlushCommand::default()).await, Command::Response(_)));
    served.stopped().await;
}

#[tokio::test]
async fn an_unknown_command_ends_the_connection() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.send_bytes(&[0, 0, 0, 5, 99, 0, 0, 0, 0]).await;
    assert!(peer.closed().await.is_empty());
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.send(ConnectionId { value: Some("no command".into()) }).await;
    assert!(peer.closed().await.is_empty());
    served.stopped().await;
}

#[tokio::test]
async fn a_frame_longer_than_agreed_ends_the_connection_before_it_is_read() {
    let wire_format = WireFormatOptions { max_frame_bytes: 100_000, ..Default::default() };
    let served = Served::with(connector_with(wire_format));
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    let content = Some(vec![7; 90_000].into());
    let fits = Message { content, ..message(ID, -1, 1, 1, &queue()) };
    assert!(matches!(peer.ask(fits).await, Command::Response(_)));
    peer.send_bytes(&200_000_i32.to_be_bytes()).await;
    assert!(peer.closed().await.is_empty());
    served.stopped().await;
}

#[tokio::test]
async fn a_message_too_long_for_its_consumer_is_dead_lettered_and_the_next_one_arrives() {
    let served = Served::start();
    let mut sender = Peer::logged_in(&served, ID).await;
    sender.ask(producer_info(ID, -1, 1)).await;
    let mut short = Peer::offering(&served, &Offer { max_frame_size: 2000, ..offer() }).await;
    short.log_in("ID:short").await;
    short.ask(consumer_info("ID:short", -1, 1, &queue())).await;
    let persistent = Message { persistent: true, ..message(ID, -1, 1, 1, &queue()) };
    let long = Message { content: Some(vec![7; 5000].into()), ..persistent.clone() };
    sender.ask(long).await;
    sender.ask(Message { persistent: true, ..message(ID, -1, 1, 2, &queue()) }).await;
    let Command::MessageDispatch(dispatch) = short.expect().await else { panic!() };
    let arrived = dispatch.message.as_ref().unwrap().message_id.as_ref().unwrap();
    assert_eq!(arrived.producer_sequence_id, 2);
    let dead = Destination::queue("ActiveMQ.DLQ");
    sender.send(consumer_info(ID, -1, 2, &dead)).await;
    let Command::MessageDispatch(dispatch) = sender.expect().await else { panic!() };
    let letter = dispatch.message.as_ref().unwrap();
    assert_eq!(letter.message_id.as_ref().unwrap().producer_sequence_id, 1);
    let properties = letter.marshalled_properties.as_ref().unwrap();
    let cause = map::get(properties, "dlqDeliveryFailureCause").unwrap();
    let Some(Value::String(cause)) = cause else { panic!("{cause:?}") };
    assert!(cause.to_str().contains("larger than max allowed"), "{cause}");
    served.stopped().await;
}

#[tokio::test]
async fn a_stranger_may_only_send_short_frames() {
    let served = Served::start();
    let mut peer = Peer::connect(&served).await;
    peer.send_bytes(&65_537_i32.to_be_bytes()).await;
    assert!(matches!(peer.closed().await[..], [Command::BrokerInfo(_)]));
    served.stopped().await;
}

#[tokio::test]
async fn what_follows_the_login_in_one_write_may_be_long() {
    let served = Served::start();
    let mut peer = Peer::connect(&served).await;
    let content = Some(vec![7; 200_000].into());
    let long = Message { content, ..message(ID, -1, 1, 1, &queue()) };
    let commands =
        [connection_info(ID).asking(1), producer_info(ID, -1, 1).asking(2), long.asking(3)];
    peer.send_all(commands).await;
    for id in 1..=3 {
        assert!(matches!(peer.answer_to(id).await, Command::Response(_)));
    }
    served.stopped().await;
}

#[tokio::test]
async fn frames_without_sizes_are_served_where_both_sides_want_that() {
    for (tight, cache) in [(true, true), (false, false)] {
        let wire_format = WireFormatOptions { size_prefix_disabled: true, ..Default::default() };
        let served = Served::with(connector_with(wire_format));
        let offer = Offer { size_prefix_disabled: true, tight_encoding: tight, cache, ..offer() };
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let mut bytes = bytes::BytesMut::new();
        let info = offer.to_info().unwrap();
        Encoder::new(&WireFormat::HANDSHAKE).encode(&info, &mut bytes).unwrap();
        stream.write_all(&bytes).await.unwrap();
        let theirs = read_prefixed(&mut stream).await;
        let Command::WireFormatInfo(theirs) = theirs else { panic!() };
        let format = negotiate(&offer, &Offer::from_info(&theirs, 1).unwrap());
        assert!(format.size_prefix_disabled);
        let mut said = bytes::BytesMut::new();
        let mut encoder = Encoder::new(&format);
        let content = Some(vec![7; 300_000].into());
        let long = Message { content, ..message(ID, -1, 1, 1, &queue()) };
        let commands =
            [connection_info(ID).asking(1), producer_info(ID, -1, 1).asking(2), long.asking(3)];
        for command in commands {
            encoder.encode(&command, &mut said).unwrap();
        }
        stream.write_all(&said).await.unwrap();
        let mut decoder = Decoder::new(&format);
        let (mut heard, mut commands) = (bytes::BytesMut::new(), Vec::new());
        while commands.len() < 4 {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0);
            while let Some((Some(command), used)) =
                decoder.decode_prefix(&heard.clone().freeze()).unwrap()
            {
                let _read = heard.split_to(used);
                commands.push(command);
            }
        }
        let answered: Vec<_> = commands.iter().filter_map(correlation).collect();
        assert_eq!(answered, [1, 2, 3], "tight {tight}, cache {cache}");
        served.stopped().await;
    }
}

async fn read_prefixed(stream: &mut TcpStream) -> Command {
    let length = stream.read_i32().await.unwrap();
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    Decoder::new(&WireFormat::HANDSHAKE).decode(payload.into()).unwrap().unwrap()
}

#[tokio::test]
async fn a_silent_socket_is_left_after_the_time_for_negotiation() {
    let wire_format = WireFormatOptions {
        max_inactivity_initial_delay: Duration::from_millis(50),
        ..Default::default()
    };
    let served = Served::with(connector_with(wire_format));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!(said[4..13], *b"\x01ActiveMQ", "the broker does not wait to say its own");
    served.stopped().await;
}

#[tokio::test]
async fn a_keep_alive_is_echoed_and_never_answered_otherwise() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.send(KeepAliveInfo { command_id: 5, response_required: true }).await;
    let echo = KeepAliveInfo { command_id: 5, response_required: false };
    assert_eq!(peer.expect().await, echo.into());
    peer.send(KeepAliveInfo::default()).await;
    peer.ask(FlushCommand::default()).await;
    served.stopped().await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_dropped_and_one_that_is_idle_is_kept() {
    let served = Served::start();
    // Long enough that a busy machine is not taken for a silent peer.
    let offer = Offer { max_inactivity_ms: 1500, initial_delay_ms: 1, ..Offer::default() };
    let mut silent = Peer::offering(&served, &offer).await;
    silent.log_in(ID).await;
    let mut idle = Peer::offering(&served, &offer).await;
    idle.log_in("ID:idle").await;
    let kept = async {
        for _ in 0..5 {
            assert_eq!(idle.expect().await, KeepAliveInfo::default().into());
            idle.send(KeepAliveInfo::default()).await;
        }
        idle.ask(FlushCommand::default()).await
    };
    let (last, kept) = tokio::join!(silent.closed(), kept);
    assert!(!last.is_empty(), "it was asked for a sign of life");
    assert!(last.iter().all(|command| matches!(command, Command::KeepAliveInfo(_))), "{last:?}");
    assert!(matches!(kept, Command::Response(_)));
    served.stopped().await;
}

#[tokio::test]
async fn a_connector_that_does_not_watch_keeps_a_silent_peer_and_lets_it_watch() {
    let transport = TransportOptions { use_inactivity_monitor: false, ..Default::default() };
    let served = Served::with(openwired::transport::options::TransportConnector {
        transport,
        ..connector()
    });
    let offer = Offer { max_inactivity_ms: 50, initial_delay_ms: 1, ..Offer::default() };
    let mut unwatched = Peer::offering(&served, &offer).await;
    unwatched.log_in(ID).await;
    assert_eq!(unwatched.format.max_inactivity_ms, 50, "the peer watches as it wished");
    // One that is watched with the same times is left long before: so much time has passed.
    let watching = Served::start();
    let mut watched = Peer::offering(&watching, &offer).await;
    watched.closed().await;
    watching.stopped().await;
    // Had a keep-alive been sent, it would be heard before the answer.
    unwatched.send(FlushCommand { command_id: 7, response_required: true }).await;
    let heard = unwatched.expect().await;
    assert!(matches!(heard, Command::Response(_)), "{heard:?}");
    served.stopped().await;
}

#[tokio::test]
async fn a_connector_holds_no_more_connections_than_it_may() {
    let transport = TransportOptions { maximum_connections: 2, ..Default::default() };
    let served = Served::with(openwired::transport::options::TransportConnector {
        transport,
        ..connector()
    });
    let first = Peer::logged_in(&served, "ID:1").await;
    let _second = Peer::logged_in(&served, "ID:2").await;
    let mut third = TcpStream::connect(served.address).await.unwrap();
    let mut said = Vec::new();
    // Reset or end, both mean closed.
    let _closed = third.read_to_end(&mut said).await;
    assert!(said.is_empty());
    drop(first);
    // The broker learns of the end in its own time.
    let mut patience = 400;
    let mut again = loop {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let mut byte = [0];
        if matches!(stream.read(&mut byte).await, Ok(1)) {
            break stream;
        }
        patience -= 1;
        assert!(patience > 0, "the place of a connection that ended is free");
    };
    again.shutdown().await.unwrap();
    served.stopped().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_connector_and_what_to_do() {
    let taken = Listener::bind(connector()).unwrap();
    let mut second = connector();
    second.port = taken.connector().address.port();
    let error = Listener::bind(second).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }));
    let port = taken.connector().address.port();
    let text = error.to_string();
    let begin = format!(
        "Failed to bind transport connector `openwire` to 127.0.0.1:{port}: the port is in use."
    );
    assert!(text.starts_with(&begin), "{text}");
    let mut elsewhere = connector();
    elsewhere.host = "192.0.2.1".to_owned();
    let error = Listener::bind(elsewhere).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
}

#[tokio::test]
async fn a_client_id_in_use_is_refused_with_the_address_of_its_owner() {
    let served = Served::start();
    let first = Peer::logged_in(&served, "ID:1").await;
    let address = first.stream.local_addr().unwrap();
    let mut second = Peer::connect(&served).await;
    let client_id = connection_info("ID:1").client_id;
    let info = ConnectionInfo { client_id, ..connection_info("ID:2") };
    let (class, text) = second.refused(info).await;
    assert_eq!(class, "javax.jms.InvalidClientIDException");
    let expected =
        format!("Broker: b - Client: client of ID:1 already connected from tcp://{address}");
    assert_eq!(text, expected);
    served.stopped().await;
}

#[tokio::test]
async fn a_second_socket_with_the_same_connection_id_takes_over() {
    let served = Served::start();
    let mut first = Peer::logged_in(&served, ID).await;
    first.ask(consumer_info(ID, -1, 1, &queue())).await;
    let mut second = Peer::logged_in(&served, ID).await;
    assert!(first.closed().await.is_empty(), "no ShutdownInfo, which would call the client back");
    second.ask(consumer_info(ID, -1, 1, &queue())).await;
    second.ask(producer_info(ID, -1, 1)).await;
    second.ask(message(ID, -1, 1, 1, &queue())).await;
    assert!(matches!(second.expect().await, Command::MessageDispatch(_)));
    served.stopped().await;
}

#[tokio::test]
async fn a_failover_client_restores_itself_without_waiting_for_answers() {
    let served = Served::start();
    let mut producer = Peer::logged_in(&served, "ID:producer").await;
    producer.ask(producer_info("ID:producer", -1, 1)).await;
    for sequence in 1..=3 {
        producer.ask(message("ID:producer", -1, 1, sequence, &queue())).await;
    }
    let mut peer = Peer::connect(&served).await;
    let info = ConnectionInfo {
        failover_reconnect: true,
        fault_tolerant: true,
        manageable: true,
        ..connection_info(ID)
    };
    let consumer = ConsumerInfo { prefetch_size: 0, ..consumer_info(ID, 1, 1, &queue()) };
    let control = ConsumerControl {
        consumer_id: consumer.consumer_id.as_deref().cloned(),
        destination: Some(queue()),
        prefetch: 2,
        ..ConsumerControl::default()
    };
    let advisory = Destination::topic("ActiveMQ.Advisory.TempQueue,ActiveMQ.Advisory.TempTopic");
    peer.send_all([
        ConnectionControl { fault_tolerant: true, ..Default::default() }.into(),
        info.asking(1),
        session_info(ID, -1).into(),
        session_info(ID, 1).into(),
        consumer_info(ID, -1, 1, &advisory).asking(2),
        producer_info(ID, 1, 1).asking(5),
        consumer.clone().asking(7),
        control.into(),
    ])
    .await;
    for id in [1, 2, 5, 7] {
        assert!(matches!(peer.answer_to(id).await, Command::Response(_)), "command {id}");
    }
    let mut dispatched = 0;
    while dispatched < 2 {
        let command = peer.expect().await;
        if let Command::MessageDispatch(dispatch) = command {
            dispatched += 1;
            assert_eq!(dispatch.consumer_id, consumer.consumer_id);
        } else {
            let greeting =
                matches!(command, Command::BrokerInfo(_) | Command::ConnectionControl(_));
            assert!(greeting, "{command:?}");
        }
    }
    for again in
        [session_info(ID, 1).asking(8), producer_info(ID, 1, 1).asking(9), consumer.asking(10)]
    {
        peer.send(again).await;
    }
    for id in [8, 9, 10] {
        assert!(matches!(peer.answer_to(id).await, Command::Response(_)), "command {id} again");
    }
    served.stopped().await;
}

/// A client comes from another broker with an open transaction: BEGIN is its command 20, the send 21. The
/// answer to its commit as command `commit`, and whether the message is in the queue then.
async fn committed_after_failover(commit: i32, receives: bool) -> (Command, bool) {
    let served = Served::start();
    let mut peer = Peer::connect(&served).await;
    let info = ConnectionInfo { failover_reconnect: true, ..connection_info(ID) };
    let local = LocalTransactionId { value: 1, connection_id: info.connection_id.clone() };
    let id = Some(Arc::new(TransactionId::Local(local)));
    let step = |kind| TransactionInfo {
        kind,
        connection_id: info.connection_id.clone(),
        transaction_id: id.clone(),
        ..TransactionInfo::default()
    };
    let consumer = consumer_info(ID, 1, 1, &Destination::queue("received"));
    let begin = TransactionInfo { command_id: 20, ..step(transaction_kind::BEGIN) };
    let sent = Message { transaction_id: id.clone(), ..message(ID, 1, 1, 1, &queue()) };
    peer.send_all([info.clone().asking(1), session_info(ID, 1).into()]).await;
    if receives {
        peer.send(consumer.asking(5)).await;
    }
    peer.send_all([
        producer_info(ID, 1, 1).asking(6),
        begin.into(),
        Message { command_id: 21, response_required: false, ..sent }.into(),
        step(transaction_kind::COMMIT_ONE_PHASE).asking(commit),
    ])
    .await;
    let answer = peer.answer_to(commit).await;
    let mut reader = Peer::logged_in(&served, "ID:reader").await;
    let pulls = ConsumerInfo { prefetch_size: 0, ..consumer_info("ID:reader", -1, 1, &queue()) };
    reader.ask(pulls.clone()).await;
    let pull = MessagePull {
        consumer_id: pulls.consumer_id,
        destination: pulls.destination,
        timeout: -1,
        ..MessagePull::default()
    };
    reader.send(pull).await;
    let Command::MessageDispatch(dispatch) = reader.expect().await else { panic!() };
    served.stopped().await;
    (answer, dispatch.message.is_some())
}

#[tokio::test]
async fn a_transaction_from_another_broker_is_committed_unless_an_acknowledgement_may_be_lost() {
    for (commit, receives) in [(22, true), (22, false), (23, false)] {
        let (answer, there) = committed_after_failover(commit, receives).await;
        assert!(matches!(answer, Command::Response(_)), "{answer:?}");
        assert!(there);
    }
    let (answer, there) = committed_after_failover(23, true).await;
    let Command::ExceptionResponse(refused) = answer else { panic!("{answer:?}") };
    let expected = format!(
        "Transaction in doubt due to failover, an acknowledgement may be lost. Forcing rollback of TX:{ID}:1"
    );
    assert_eq!(text(&refused.exception), expected);
    assert!(!there);
}

#[tokio::test]
async fn clients_are_told_that_the_broker_stops_after_all_their_answers() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    let mut stranger = Peer::connect(&served).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    let count = 100;
    for sequence in 1..=count {
        peer.ask(message(ID, -1, 1, sequence.into(), &queue())).await;
    }
    served.stop();
    assert!(matches!(peer.closed().await[..], [Command::ShutdownInfo(_)]));
    let last = stranger.closed().await;
    assert!(matches!(last[..], [Command::BrokerInfo(_), Command::ShutdownInfo(_)]), "{last:?}");
    served.stopped().await;
}

#[tokio::test]
async fn a_goodbye_ends_the_connection_after_its_answers() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    let connection = Command::ConnectionId(connection_info(ID).connection_id.unwrap());
    let remove = RemoveInfo { object_id: Some(Arc::new(connection)), ..RemoveInfo::default() };
    peer.send_all([remove.asking(9), ShutdownInfo::default().into()]).await;
    let last = peer.closed().await;
    assert_eq!(last.iter().filter_map(correlation).collect::<Vec<_>>(), [9]);
    let _again = Peer::logged_in(&served, ID).await;
    served.stopped().await;
}

#[tokio::test]
async fn what_fails_without_asking_for_a_response_is_a_connection_error_and_the_connection_stays() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.send(consumer_info(ID, 7, 1, &queue())).await;
    let Command::ConnectionError(error) = peer.expect().await else { panic!() };
    let expected =
        format!("b Cannot add a consumer to a session that had not been registered: {ID}:7");
    assert_eq!(text(&error.exception), expected);
    assert_eq!(error.connection_id, None);
    peer.ask(FlushCommand::default()).await;
    let (class, text) = peer.refused(consumer_info(ID, 7, 1, &queue())).await;
    assert_eq!((class.as_str(), text), ("java.lang.IllegalStateException", expected));
    served.stopped().await;
}

#[tokio::test]
async fn commands_without_effect_are_answered_and_stop_nothing() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    let shutdown = ControlCommand { command: Some("shutdown".into()), ..Default::default() };
    assert!(matches!(peer.ask(shutdown).await, Command::Response(_)));
    assert!(matches!(peer.ask(ConnectionControl::default()).await, Command::Response(_)));
    let ack = MessageAck {
        consumer_id: Some(Arc::new(ConsumerId::new(ID, 1, 99))),
        ack_type: ack_type::STANDARD,
        message_count: 1,
        ..MessageAck::default()
    };
    assert!(matches!(peer.ask(ack).await, Command::Response(_)));
    peer.ask(FlushCommand::default()).await;
    served.stopped().await;
}

#[tokio::test]
async fn a_broker_says_once_and_first_that_it_is_one() {
    let served = Served::start();
    let info = || BrokerInfo { network_connection: true, ..BrokerInfo::default() };
    for late in [false, true] {
        let mut peer = Peer::connect(&served).await;
        if late {
            peer.log_in("ID:late").await;
        } else {
            peer.send(info()).await;
        }
        peer.send(info()).await;
        let heard = peer.closed().await;
        assert!(heard.iter().all(|it| !matches!(it, Command::ConnectionError(_))), "{heard:?}");
    }
    served.stopped().await;
}

#[tokio::test]
async fn what_a_bridge_sends_again_is_taken_once() {
    let served = Served::start();
    let mut first = Peer::connect(&served).await;
    first.send(BrokerInfo { network_connection: true, ..BrokerInfo::default() }).await;
    first.log_in("ID:bridge").await;
    first.ask(producer_info("ID:bridge", -1, 1)).await;
    let over = |hops: usize| Message {
        message_id: Some(MessageId::new(Arc::new(ProducerId::new("ID:far", 1, 1)), 7)),
        broker_path: Some(vec![Some(BrokerId::new("ID:a")); hops]),
        ..message("ID:bridge", -1, 1, 1, &queue())
    };
    first.ask(over(1)).await;
    // The bridge comes back while the broker still has its old connection, and takes that over.
    let mut second = Peer::connect(&served).await;
    second.send(BrokerInfo { network_connection: true, ..BrokerInfo::default() }).await;
    let again = ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId::new("ID:again"))),
        ..connection_info("ID:bridge")
    };
    second.ask(again).await;
    first.closed().await;
    second.ask(producer_info("ID:again", -1, 1)).await;
    for hops in [1, 1, 3] {
        let producer_id = Some(Arc::new(ProducerId::new("ID:again", -1, 1)));
        second.ask(Message { producer_id, ..over(hops) }).await;
    }
    let mut consumer = Peer::logged_in(&served, "ID:c").await;
    consumer.ask(consumer_info("ID:c", -1, 1, &queue())).await;
    for hops in [1, 3] {
        let Command::MessageDispatch(dispatch) = consumer.expect().await else { panic!() };
        assert_eq!(dispatch.message.as_ref().unwrap().hops(), hops);
    }
    served.stopped().await;
}

#[tokio::test]
async fn several_connections_may_share_a_socket_and_end_one_by_one() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, "ID:1").await;
    peer.ask(connection_info("ID:2")).await;
    peer.ask(consumer_info("ID:1", -1, 1, &queue())).await;
    peer.ask(producer_info("ID:2", -1, 1)).await;
    let connection = Command::ConnectionId(connection_info("ID:1").connection_id.unwrap());
    let remove = RemoveInfo { object_id: Some(Arc::new(connection)), ..RemoveInfo::default() };
    peer.ask(remove).await;
    peer.ask(message("ID:2", -1, 1, 1, &queue())).await;
    peer.ask(consumer_info("ID:2", -1, 1, &queue())).await;
    let Command::MessageDispatch(dispatch) = peer.expect().await else { panic!() };
    assert_eq!(dispatch.consumer_id, Some(Arc::new(ConsumerId::new("ID:2", -1, 1))));
    served.stopped().await;
}

#[tokio::test]
async fn limits_per_connection_are_those_of_the_connector() {
    let options = ConnectorOptions {
        maximum_consumers_allowed_per_connection: Some(1),
        maximum_producers_allowed_per_connection: Some(1),
        ..ConnectorOptions::default()
    };
    let served =
        Served::with(openwired::transport::options::TransportConnector { options, ..connector() });
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.ask(consumer_info(ID, -1, 1, &queue())).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    let (class, text) = peer.refused(consumer_info(ID, -1, 2, &queue())).await;
    assert_eq!(class, "java.lang.IllegalStateException");
    assert_eq!(text, format!("Can't add consumer on connection {ID}: at maximum limit: 1"));
    let (_, text) = peer.refused(producer_info(ID, -1, 2)).await;
    assert_eq!(text, format!("Can't add producer on connection {ID}: at maximum limit: 1"));
    served.stopped().await;
}

#[tokio::test]
async fn a_windowed_producer_gets_back_what_each_message_took() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.ask(ProducerInfo { window_size: 4096, ..producer_info(ID, -1, 1) }).await;
    let content = Some(vec![7; 100].into());
    peer.send(Message { content, ..message(ID, -1, 1, 1, &queue()) }).await;
    let Command::ProducerAck(ack) = peer.expect().await else { panic!() };
    assert_eq!(ack.size, 1024 + 100);
    assert_eq!(ack.producer_id, Some(ProducerId::new(ID, -1, 1)));
    peer.ask(message(ID, -1, 1, 2, &queue())).await;
    peer.ask(FlushCommand::default()).await;
    served.stopped().await;
}

#[tokio::test]
async fn a_pull_without_a_time_is_answered_at_once_or_when_a_message_comes() {
    let served = Served::start();
    let mut peer = Peer::logged_in(&served, ID).await;
    let consumer = ConsumerInfo { prefetch_size: 0, ..consumer_info(ID, -1, 1, &queue()) };
    let pull = |timeout| MessagePull {
        consumer_id: consumer.consumer_id.clone(),
        destination: consumer.destination.clone(),
        timeout,
        ..MessagePull::default()
    };
    peer.ask(consumer.clone()).await;
    peer.send(pull(-1)).await;
    let Command::MessageDispatch(nothing) = peer.expect().await else { panic!() };
    assert_eq!((&nothing.message, &nothing.consumer_id), (&None, &consumer.consumer_id));
    peer.send(pull(0)).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    peer.ask(message(ID, -1, 1, 1, &queue())).await;
    let Command::MessageDispatch(found) = peer.expect().await else { panic!() };
    assert!(found.message.is_some());
    served.stopped().await;
}

/// Has one of these peers hold a message and go in some way; says the redelivery counter that the next
/// consumer sees.
async fn redelivered_after(version: i32, last_delivered: Option<i64>) -> i32 {
    let served = Served::start();
    let offer = Offer { version, ..offer() };
    let mut first = Peer::offering(&served, &offer).await;
    first.log_in(ID).await;
    first.ask(producer_info(ID, -1, 1)).await;
    first.ask(message(ID, -1, 1, 1, &queue())).await;
    let consumer = consumer_info(ID, -1, 1, &queue());
    first.ask(consumer.clone()).await;
    assert!(matches!(first.expect().await, Command::MessageDispatch(_)));
    let id = "ID:next";
    let mut next = Peer::logged_in(&served, id).await;
    next.ask(consumer_info(id, -1, 1, &queue())).await;
    match last_delivered {
        Some(last_delivered_sequence_id) => {
            let object_id = consumer.consumer_id.map(Command::ConsumerId).map(Arc::new);
            let remove =
                RemoveInfo { object_id, last_delivered_sequence_id, ..RemoveInfo::default() };
            first.ask(remove).await;
        }
        None => drop(first),
    }
    let Command::MessageDispatch(dispatch) = next.expect().await else { panic!() };
    served.stopped().await;
    dispatch.redelivery_counter
}

#[tokio::test]
async fn what_a_consumer_had_counts_as_delivered_as_far_as_it_says() {
    assert_eq!(redelivered_after(12, Some(-1)).await, 0, "it saw nothing");
    assert_eq!(redelivered_after(12, Some(i64::MAX)).await, 0, "it names one it does not have");
    assert_eq!(redelivered_after(12, Some(-2)).await, 1, "it cannot say");
    assert_eq!(redelivered_after(4, Some(0)).await, 1, "its version cannot say");
    assert_eq!(redelivered_after(12, None).await, 1, "it just went");
}

#[tokio::test]
async fn strangers_that_take_their_time_go_when_there_are_many() {
    let wire_format = WireFormatOptions {
        max_inactivity_initial_delay: Duration::from_secs(1),
        ..Default::default()
    };
    let served = Served::with(connector_with(wire_format));
    let mut known = Peer::logged_in(&served, ID).await;
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(Peer::connect(&served).await);
    }
    let last = strangers[0].closed().await;
    assert!(matches!(last[..], [Command::BrokerInfo(_)]), "{last:?}");
    known.ask(FlushCommand::default()).await;
    served.stopped().await;
}

/// A broker whose memory one message fills, and a peer with a producer.
async fn little_memory(options: BrokerOptions) -> (Served, Peer) {
    let served = Served::broker(options, 1024, connector());
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    peer.ask(message(ID, -1, 1, 1, &queue())).await;
    (served, peer)
}

/// Consumes so many messages on a connection of its own, which makes room for as many.
async fn consume(served: &Served, count: usize) -> Vec<i64> {
    let id = "ID:consumer";
    let mut consumer = Peer::logged_in(served, id).await;
    consumer.ask(consumer_info(id, -1, 1, &queue())).await;
    let mut sequences = Vec::new();
    while sequences.len() < count {
        let Command::MessageDispatch(dispatch) = consumer.expect().await else { panic!() };
        let message_id = dispatch.message.as_ref().unwrap().message_id.clone().unwrap();
        sequences.push(message_id.producer_sequence_id);
        let ack = MessageAck {
            consumer_id: dispatch.consumer_id.clone(),
            destination: dispatch.destination.clone(),
            ack_type: ack_type::INDIVIDUAL,
            last_message_id: Some(message_id),
            message_count: 1,
            ..MessageAck::default()
        };
        consumer.ask(ack).await;
    }
    sequences
}

#[tokio::test]
async fn a_producer_that_waits_for_its_answer_is_answered_once_there_is_memory() {
    let (served, mut peer) = little_memory(BrokerOptions::default()).await;
    peer.send(message(ID, -1, 1, 2, &queue()).asking(2)).await;
    peer.send(message(ID, -1, 1, 3, &queue()).asking(3)).await;
    assert!(matches!(peer.ask(FlushCommand::default()).await, Command::Response(_)));
    assert_eq!(consume(&served, 3).await, [1, 2, 3], "in the order sent");
    assert!(matches!(peer.answer_to(2).await, Command::Response(_)));
    assert!(matches!(peer.answer_to(3).await, Command::Response(_)));
    served.stopped().await;
}

#[tokio::test]
async fn a_producer_that_does_not_wait_is_read_no_further_until_there_is_memory() {
    let (served, mut peer) = little_memory(BrokerOptions::default()).await;
    for sequence in 2..=5 {
        peer.send(message(ID, -1, 1, sequence, &queue())).await;
    }
    peer.send(FlushCommand::default().asking(9)).await;
    assert_eq!(consume(&served, 5).await, [1, 2, 3, 4, 5]);
    assert!(matches!(peer.answer_to(9).await, Command::Response(_)));
    served.stopped().await;
}

#[tokio::test]
async fn a_producer_may_be_refused_instead_of_held() {
    let mut options = BrokerOptions::default();
    options.system_usage.send_fail_if_no_space = true;
    let (served, mut peer) = little_memory(options).await;
    let (class, text) = peer.refused(message(ID, -1, 1, 2, &queue())).await;
    assert_eq!(class, "javax.jms.ResourceAllocationException");
    assert!(text.starts_with("Usage Manager Memory Limit reached on queue://Q."), "{text}");
    served.stopped().await;
    let mut options = BrokerOptions::default();
    options.system_usage.send_fail_if_no_space_after_timeout = Some(Duration::from_millis(20));
    let (served, mut peer) = little_memory(options).await;
    let (class, _) = peer.refused(message(ID, -1, 1, 2, &queue())).await;
    assert_eq!(class, "javax.jms.ResourceAllocationException");
    peer.send(message(ID, -1, 1, 3, &queue())).await;
    assert!(matches!(peer.expect().await, Command::ConnectionError(_)));
    served.stopped().await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_heard_and_costs_a_bounded_queue() {
    let served = Served::start();
    let mut deaf = Peer::logged_in(&served, "ID:deaf").await;
    let consumer = ConsumerInfo {
        prefetch_size: 30_000,
        ..consumer_info("ID:deaf", -1, 1, &Destination::topic("T"))
    };
    deaf.ask(consumer).await;
    deaf.ask(producer_info("ID:deaf", -1, 1)).await;
    let mut peer = Peer::logged_in(&served, ID).await;
    peer.ask(producer_info(ID, -1, 1)).await;
    let content = Some(vec![7; 100_000].into());
    for sequence in 1..=200 {
        let content = content.clone();
        let sent = Message { content, ..message(ID, -1, 1, sequence, &Destination::topic("T")) };
        peer.ask(sent).await;
    }
    // Twenty megabytes wait for the deaf one, which may still send.
    deaf.send(message("ID:deaf", -1, 1, 1, &queue())).await;
    assert_eq!(consume(&served, 1).await, [1]);
    for _ in 1..=200 {
        assert!(matches!(deaf.expect().await, Command::MessageDispatch(_)));
    }
    served.stopped().await;
}
