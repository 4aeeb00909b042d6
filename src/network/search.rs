//! Looks for a peer: all members of a group side by side, again and again, until one answers.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

use super::discovery::{Group, Pace};
use super::status::Status;
use crate::broker::Broker;
use crate::client::url::Endpoint;
use crate::connection::{Dialled, Failure, negotiation};
use crate::openwire::{BrokerInfo, Command, Decoder, WireFormat};
use crate::transport::options::{ConnectorOptions, Security, TransportConnector, TransportOptions};
use crate::transport::{Connector, FrameReader};

/// How long one attempt waits for the system to connect. Others begin meanwhile, so that a network that
/// was cut is found whole at once.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a peer may take to say who it is.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Attempts to reach one broker at the same time: those that begin while the first one waits.
const ATTEMPTS_MAX: usize = 14;

/// A peer that answered.
#[derive(Debug)]
pub struct Found {
    pub dialled: Dialled<TcpStream>,
    pub info: Arc<BrokerInfo>,
    /// It is a broker of this kind, which answers when it is asked whether it is there.
    pub answers: bool,
}

/// Why a member of a group is not used.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    #[error("{0}")]
    Connect(io::Error),
    #[error("no connection within {} ms", CONNECT_MAX.as_millis())]
    Time,
    #[error("{0}")]
    Handshake(Failure),
    #[error("the peer did not say who it is within {} ms", HANDSHAKE_MAX.as_millis())]
    Silent,
    #[error("it is this broker itself")]
    Loop,
}

/// Looks until one member of `group` answers; `None` when `pace` allows no more rounds.
pub async fn search(group: &Group, pace: &Pace, broker: &Broker, status: &Status) -> Option<Found> {
    let mut attempts = FuturesUnordered::new();
    let mut under_way = vec![0; group.members.len()];
    let mut failed = vec![false; group.members.len()];
    let (mut round, mut pause, mut next, mut told) = (0, Duration::ZERO, Instant::now(), false);
    loop {
        tokio::select! {
            Some((at, endpoint, found)) = attempts.next(), if !attempts.is_empty() => {
                if let Some(count) = under_way.get_mut(at) {
                    *count -= 1;
                }
                match found {
                    Ok(found) => return Some(found),
                    Err(missed) => {
                        if let Some(failed) = failed.get_mut(at) {
                            *failed = true;
                        }
                        // That a slave refuses is as it should be; that all do is told once.
                        let tells = !told && failed.iter().all(|failed| *failed);
                        told |= tells;
                        tell(&missed, endpoint, tells, broker, status);
                    }
                }
            }
            () = sleep_until(next) => {
                if pace.rounds_max.is_some_and(|limit| round >= limit) {
                    return None;
                }
                round += 1;
                for (at, (endpoint, count)) in group.members.iter().zip(&mut under_way).enumerate() {
                    if *count < ATTEMPTS_MAX {
                        *count += 1;
                        attempts.push(async move { (at, endpoint, dial(endpoint, broker).await) });
                    }
                }
                pause = pace.after(pause);
                next += pause;
            }
        }
    }
}

/// Says why a peer is not found.
fn tell(missed: &Missed, endpoint: &Endpoint, warns: bool, broker: &Broker, status: &Status) {
    let (local, address) = (broker.name(), endpoint.address());
    let why = format!("{address}: {missed}");
    status.fail(&why);
    if warns {
        tracing::warn!(
            "Could not start network bridge between: vm://{local} and: {address} due to: {missed}"
        );
    } else {
        tracing::debug!("no bridge from {local} to {why}");
    }
}

/// Connects, negotiates, and hears who the peer is.
async fn dial(endpoint: &Endpoint, broker: &Broker) -> Result<Found, Missed> {
    let limit = match endpoint.connection_timeout {
        Duration::ZERO => CONNECT_MAX,
        said => said.min(CONNECT_MAX),
    };
    let connecting = timeout(limit, connect(endpoint)).await;
    let stream = connecting.map_err(|_| Missed::Time)?.map_err(Missed::Connect)?;
    let found = timeout(HANDSHAKE_MAX, greet(stream, endpoint)).await;
    let found = found.map_err(|_| Missed::Silent)?.map_err(Missed::Handshake)?;
    if found.info.broker_id.as_deref() == Some(&**broker.id()) {
        return Err(Missed::Loop);
    }
    Ok(found)
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let socket = socket2::SockRef::from(&stream);
                socket.set_keepalive(endpoint.keep_alive)?;
                if let Some(bytes) = endpoint.socket_buffer_bytes {
                    socket.set_recv_buffer_size(bytes)?;
                    socket.set_send_buffer_size(bytes)?;
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn greet(mut stream: TcpStream, endpoint: &Endpoint) -> Result<Found, Failure> {
    let mut frames = FrameReader::new(WireFormat::HANDSHAKE.max_frame_size);
    let (format, provider) =
        negotiation::handshake_dialled(&mut stream, &mut frames, &endpoint.offer, HANDSHAKE_MAX)
            .await?;
    frames.limit_frames(format.max_frame_size);
    let mut decoder = Decoder::new(&format);
    let info = loop {
        if let Some(frame) = frames.next_frame()? {
            match decoder.decode(frame)? {
                Some(Command::BrokerInfo(info)) => break info,
                Some(Command::KeepAliveInfo(_)) | None => continue,
                Some(other) => return Err(Failure::Unexpected(other.name())),
            }
        }
        if poll_fn(|context| frames.poll_fill(context, &mut stream)).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    };
    let address = stream.peer_addr()?;
    let dialled =
        Dialled { stream, frames, decoder, format, connector: Arc::new(side(endpoint, address)) };
    let answers = provider.is_some_and(|name| name.to_str() == env!("CARGO_PKG_NAME"));
    Ok(Found { dialled, info, answers })
}

/// The peer as a connection knows a connector.
fn side(endpoint: &Endpoint, address: std::net::SocketAddr) -> Connector {
    let transport = TransportOptions {
        use_inactivity_monitor: endpoint.inactivity_monitor,
        ..TransportOptions::default()
    };
    let target = crate::base::uri::Target::Authority {
        host: endpoint.host.clone(),
        port: Some(endpoint.port),
        path: String::new(),
    };
    let uri = crate::base::uri::Uri { scheme: "tcp".to_owned(), target, query: Vec::new() };
    let options = TransportConnector {
        name: None,
        uri,
        security: Security::Plain,
        host: endpoint.host.clone(),
        port: endpoint.port,
        transport,
        options: ConnectorOptions::default(),
    };
    Connector::new(options, address)
}
