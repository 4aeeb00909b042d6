//! A raw OpenWire peer and a broker in this process for it to talk to.

#![allow(dead_code, reason = "each test binary takes the part it needs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use openwired::base::SystemClock;
use openwired::base::uri::Uri;
use openwired::broker::Broker;
use openwired::broker::keeping::Stores;
use openwired::broker::options::BrokerOptions;
use openwired::connection;
use openwired::openwire::{
    Command, ConnectionId, ConnectionInfo, ConsumerId, ConsumerInfo, Decoder, Destination, Encoder,
    KeepAliveInfo, Message, MessageClass, MessageId, Offer, ProducerId, ProducerInfo, SessionId,
    SessionInfo, WireFormat, negotiate,
};
use openwired::transport::options::{
    ConnectorOptions, Security, TransportConnector, TransportOptions, WireFormatOptions,
};
use openwired::transport::{Accepted, Connector, FrameReader, Listener, Slot};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest time a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with one connector.
pub(crate) struct Served {
    pub(crate) broker: Arc<Broker>,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
}

/// A connector on a free port of the loopback.
pub(crate) fn connector() -> TransportConnector {
    TransportConnector {
        name: Some("openwire".to_owned()),
        uri: Uri::parse("tcp://127.0.0.1:0").unwrap(),
        security: Security::Plain,
        host: "127.0.0.1".to_owned(),
        port: 0,
        transport: TransportOptions::default(),
        options: ConnectorOptions::default(),
    }
}

/// A connector with these options of the wire format.
pub(crate) fn connector_with(wire_format: WireFormatOptions) -> TransportConnector {
    let transport = TransportOptions { wire_format, ..TransportOptions::default() };
    TransportConnector { transport, ..connector() }
}

impl Served {
    pub(crate) fn start() -> Self {
        Self::with(connector())
    }

    pub(crate) fn with(connector: TransportConnector) -> Self {
        let options = BrokerOptions { broker_name: "b".to_owned(), ..BrokerOptions::default() };
        Self::broker(options, 64 << 20, connector)
    }

    pub(crate) fn broker(
        options: BrokerOptions,
        memory_limit: u64,
        connector: TransportConnector,
    ) -> Self {
        let broker =
            Broker::new(options, memory_limit, "host", Arc::new(SystemClock), Stores::default());
        let listener = Listener::bind(connector).unwrap();
        let address = listener.connector().address;
        let shutdown = CancellationToken::new();
        let (served, stopping) = (Arc::clone(&broker), shutdown.clone());
        let ended = tokio::spawn(listener.run(shutdown.clone(), move |accepted| {
            connection::serve(accepted, Arc::clone(&served), None, stopping.clone())
        }));
        Self { broker, address, shutdown, ended }
    }

    /// Begins the orderly stop.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Returns when the last connection has ended.
    pub(crate) async fn stopped(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.ended).await.expect("the listener ends").unwrap();
    }
}

/// The other end of a connection, which says and hears single commands.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
    frames: FrameReader,
    encoder: Encoder,
    decoder: Decoder,
    /// Heard while something else was waited for.
    heard: VecDeque<Command>,
    numbered: i32,
    pub(crate) format: WireFormat,
}

/// What a peer offers unless a test says otherwise: no watch for inactivity.
pub(crate) fn offer() -> Offer {
    Offer { max_inactivity_ms: 0, ..Offer::default() }
}

impl Peer {
    /// Connects and agrees on the wire format; the BrokerInfo is the first thing to be heard.
    pub(crate) async fn connect(served: &Served) -> Self {
        Self::offering(served, &offer()).await
    }

    pub(crate) async fn offering(served: &Served, offer: &Offer) -> Self {
        Self::at(served.address, offer).await
    }

    /// Connects to any broker.
    pub(crate) async fn at(address: SocketAddr, offer: &Offer) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, offer).await
    }

    /// Connects and logs in.
    pub(crate) async fn logged_in(served: &Served, id: &str) -> Self {
        let mut peer = Self::connect(served).await;
        peer.log_in(id).await;
        peer
    }
}

impl Peer<DuplexStream> {
    /// A connection inside the process, whose buffers hold `bytes` in each direction.
    pub(crate) async fn inside(broker: &Arc<Broker>, bytes: usize, offer: &Offer) -> Self {
        let (stream, theirs) = tokio::io::duplex(bytes);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let connector = Arc::new(Connector::new(connector(), address));
        let accepted =
            Accepted { stream: theirs, peer: address, connector, slot: Slot::uncounted() };
        let stop = CancellationToken::new();
        tokio::spawn(connection::serve(accepted, Arc::clone(broker), None, stop));
        Self::over(stream, offer).await
    }
}

/// A broker without connectors.
pub(crate) fn broker() -> Arc<Broker> {
    let options = BrokerOptions { broker_name: "b".to_owned(), ..BrokerOptions::default() };
    Broker::new(options, 64 << 20, "host", Arc::new(SystemClock), Stores::default())
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Peer<S> {
    async fn over(mut stream: S, offer: &Offer) -> Self {
        let mut bytes = BytesMut::new();
        Encoder::new(&WireFormat::HANDSHAKE).encode(&offer.to_info().unwrap(), &mut bytes).unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut peer = Self {
            stream,
            frames: FrameReader::new(0),
            encoder: Encoder::new(&WireFormat::HANDSHAKE),
            decoder: Decoder::new(&WireFormat::HANDSHAKE),
            heard: VecDeque::new(),
            numbered: 0,
            format: WireFormat::HANDSHAKE,
        };
        let Some(Command::WireFormatInfo(info)) = peer.hear().await else {
            panic!("the broker begins with its WireFormatInfo")
        };
        peer.format = negotiate(offer, &Offer::from_info(&info, 1).unwrap());
        // What a test sends is the test's business; the broker has to mind its limits.
        let unbounded = WireFormat { max_frame_size: 0, ..peer.format.clone() };
        peer.encoder = Encoder::new(&unbounded);
        peer.decoder = Decoder::new(&unbounded);
        peer
    }

    /// Takes the BrokerInfo and opens a logical connection.
    pub(crate) async fn log_in(&mut self, id: &str) {
        let Command::BrokerInfo(_) = self.expect().await else {
            panic!("BrokerInfo follows the wire format")
        };
        let answer = self.ask(connection_info(id)).await;
        assert!(matches!(answer, Command::Response(_)), "{answer:?}");
    }

    /// Sends commands in one write, as they are.
    pub(crate) async fn send_all(&mut self, commands: impl IntoIterator<Item = Command>) {
        let mut bytes = BytesMut::new();
        for command in commands {
            self.encoder.encode(&command, &mut bytes).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Sends a command as it is.
    pub(crate) async fn send(&mut self, command: impl Into<Command>) {
        self.send_all([command.into()]).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a command that requires a response and returns that response.
    pub(crate) async fn ask(&mut self, command: impl Asked) -> Command {
        self.numbered += 1;
        let id = 1_000_000 + self.numbered;
        self.send(command.asking(id)).await;
        self.answer_to(id).await
    }

    /// The response to a command; everything else that is heard before it is kept for [`Self::expect`].
    pub(crate) async fn answer_to(&mut self, id: i32) -> Command {
        let is_answer = |command: &Command| correlation(command) == Some(id);
        if let Some(at) = self.heard.iter().position(is_answer) {
            return self.heard.remove(at).unwrap();
        }
        loop {
            let command = self.hear().await.expect("the connection stays open");
            if is_answer(&command) {
                return command;
            }
            self.heard.push_back(command);
        }
    }

    /// The class and text of the exception that answers a command.
    pub(crate) async fn refused(&mut self, command: impl Asked) -> (String, String) {
        let Command::ExceptionResponse(response) = self.ask(command).await else {
            panic!("the command was not refused")
        };
        let exception = response.exception.clone().unwrap();
        (exception.class_name.unwrap().to_string(), exception.message.unwrap().to_string())
    }

    /// The next command.
    pub(crate) async fn expect(&mut self) -> Command {
        self.next().await.expect("the connection stays open")
    }

    /// The next command; `None` when the broker closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        match self.heard.pop_front() {
            Some(command) => Some(command),
            None => self.hear().await,
        }
    }

    /// Waits for the broker to close; what comes before is returned.
    pub(crate) async fn closed(&mut self) -> Vec<Command> {
        let mut last = Vec::new();
        while let Some(command) = self.next().await {
            last.push(command);
        }
        last
    }

    /// Whether the broker still takes what is sent.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.takes(KeepAliveInfo::default()).await
    }

    /// Sends a command, unless the broker closes while it does.
    pub(crate) async fn takes(&mut self, command: impl Into<Command>) -> bool {
        let mut bytes = BytesMut::new();
        self.encoder.encode(&command.into(), &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.is_ok()
    }

    /// Logs in; the text of the refusal, if it is refused.
    pub(crate) async fn refused_or_in(&mut self, id: &str) -> Option<String> {
        if let Command::ExceptionResponse(refused) = self.ask(connection_info(id)).await {
            return refused.exception.clone().map(|exception| exception.to_string());
        }
        None
    }

    async fn hear(&mut self) -> Option<Command> {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return self.decoder.decode(frame).unwrap();
            }
            let Self { frames, stream, .. } = self;
            let filled = poll_fn(|context| frames.poll_fill(context, stream));
            match timeout(PATIENCE, filled).await.expect("something is heard in time") {
                Ok(0) => return None,
                Ok(_) => {}
                // A broker that closes while we still send resets the connection.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub(crate) fn correlation(command: &Command) -> Option<i32> {
    if let Command::Response(it) = command {
        Some(it.correlation_id)
    } else if let Command::ExceptionResponse(it) = command {
        Some(it.correlation_id)
    } else if let Command::IntegerResponse(it) = command {
        Some(it.correlation_id)
    } else if let Command::DataArrayResponse(it) = command {
        Some(it.correlation_id)
    } else {
        None
    }
}

/// A command that can require a response.
pub(crate) trait Asked {
    fn asking(self, id: i32) -> Command;
}

macro_rules! asked {
    ($($name:ident)*) => { $(
        impl Asked for openwired::openwire::$name {
            fn asking(mut self, id: i32) -> Command {
                self.command_id = id;
                self.response_required = true;
                self.into()
            }
        }
    )* };
}

asked! {
    ConnectionInfo SessionInfo ConsumerInfo ProducerInfo RemoveInfo Message MessageAck TransactionInfo
    DestinationInfo RemoveSubscriptionInfo ControlCommand FlushCommand ConsumerControl
    ConnectionControl MessagePull
}

pub(crate) fn connection_info(id: &str) -> ConnectionInfo {
    ConnectionInfo {
        connection_id: Some(Arc::new(ConnectionId { value: Some(id.into()) })),
        client_id: Some(format!("client of {id}").into()),
        client_master: true,
        ..ConnectionInfo::default()
    }
}

pub(crate) fn session_info(id: &str, session: i64) -> SessionInfo {
    let session_id = SessionId { connection_id: Some(id.into()), value: session };
    SessionInfo { session_id: Some(Arc::new(session_id)), ..SessionInfo::default() }
}

pub(crate) fn consumer_info(
    id: &str,
    session: i64,
    value: i64,
    destination: &Destination,
) -> ConsumerInfo {
    ConsumerInfo {
        consumer_id: Some(Arc::new(ConsumerId::new(id, session, value))),
        destination: Some(Arc::new(destination.clone())),
        prefetch_size: 1000,
        dispatch_async: true,
        ..ConsumerInfo::default()
    }
}

pub(crate) fn producer_info(id: &str, session: i64, value: i64) -> ProducerInfo {
    let producer_id = Arc::new(ProducerId::new(id, session, value));
    ProducerInfo { producer_id: Some(producer_id), ..ProducerInfo::default() }
}

/// A text message of a producer of session 1.
pub(crate) fn message(
    id: &str,
    session: i64,
    producer: i64,
    sequence: i64,
    destination: &Destination,
) -> Message {
    let producer_id = Arc::new(ProducerId::new(id, session, producer));
    Message {
        class: MessageClass::Text,
        producer_id: Some(Arc::clone(&producer_id)),
        destination: Some(Arc::new(destination.clone())),
        message_id: Some(MessageId::new(producer_id, sequence)),
        priority: 4,
        ..Message::default()
    }
}
