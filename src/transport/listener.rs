//! Accepts the connections of one connector.
//!
//! **Invariant:** nothing that happens to one connection, nor a lack of file descriptors, ends the
//! accept loop; only the broker's shutdown does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::admission::{Admission, Slot};
use super::options::TransportConnector;
use super::{Connector, socket};

/// How long to wait before accepting again when the system had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections have to write what waits and say goodbye when the broker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why a connector cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "Failed to bind transport connector `{connector}` to {address}: the port is in use. Stop \
         what listens there (`ss -ltnp` names it), or give the connector another port in its `uri`."
    )]
    PortInUse { connector: String, address: String, source: io::Error },
    #[error(
        "Failed to bind transport connector `{connector}` to {address}: {source}. Ports below 1024 \
         need the right to bind them; give the connector a higher port in its `uri`."
    )]
    NotAllowed { connector: String, address: String, source: io::Error },
    #[error(
        "Failed to bind transport connector `{connector}` to {address}: {source}. The host in its \
         `uri` must be an address of this machine, or 0.0.0.0 for all of them."
    )]
    NoSuchAddress { connector: String, address: String, source: io::Error },
    #[error("Failed to bind transport connector `{connector}` to {address}: {source}")]
    Other { connector: String, address: String, source: io::Error },
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted<S = TcpStream> {
    pub stream: S,
    pub peer: SocketAddr,
    pub connector: Arc<Connector>,
    /// Held while the connection lives.
    pub slot: Slot,
}

/// An open port that accepts nothing until [`Self::run`].
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    connector: Arc<Connector>,
    admission: Arc<Admission>,
}

impl Listener {
    /// Opens the port of a connector and says so in the log.
    ///
    /// # Errors
    /// When the port cannot be opened; the text says what to do.
    pub fn bind(options: TransportConnector) -> Result<Self, BindError> {
        let opened = socket::listen(&options.host, options.port, &options.transport)
            .and_then(|tcp| Ok((tcp.local_addr()?, tcp)));
        let (address, tcp) = opened.map_err(|source| bind_error(&options, source))?;
        let connector = Arc::new(Connector::new(options, address));
        info!("Listening for connections at: {}", connector.listening_uri());
        let maximum = connector.options.transport.maximum_connections;
        Ok(Self { tcp, connector, admission: Admission::new(maximum) })
    }

    pub fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Accepts until `shutdown`, then closes the port, and returns when the last connection ended
    /// or its time to do so is over.
    pub async fn run<F, C>(self, shutdown: CancellationToken, serve: F)
    where
        F: Fn(Accepted) -> C,
        C: Future<Output = ()> + Send + 'static,
    {
        let Self { tcp, connector, admission } = self;
        info!("Connector {} started", connector.name());
        let mut connections = JoinSet::new();
        let mut refused = Refusals::default();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    refused = Refusals::default();
                    if let Some(accepted) = admit(stream, peer, &connector, &admission) {
                        connections.spawn(serve(accepted));
                    }
                }
                Err(error) => refused.wait(&error).await,
            }
        }
        drop(tcp);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
            let left = connections.len();
            warn!("{left} connections of {} did not end in time and are cut", connector.name());
            connections.shutdown().await;
        }
        info!("Connector {} stopped", connector.name());
    }
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    connector: &Arc<Connector>,
    admission: &Arc<Admission>,
) -> Option<Accepted> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let slot = match admission.admit() {
        Ok(slot) => slot,
        Err(refused) => {
            warn!("Could not accept connection : {refused}");
            debug!("The connection refused came from tcp://{peer}");
            return None;
        }
    };
    if let Err(error) = socket::configure(&stream, &connector.options.transport) {
        debug!("tcp://{peer} left before it was served: {error}");
        return None;
    }
    Some(Accepted { stream, peer, connector: Arc::clone(connector), slot })
}

/// Connections in a row that the system did not hand over.
#[derive(Debug, Default)]
struct Refusals {
    told: bool,
}

impl Refusals {
    /// A connection that was reset before it was accepted concerns only its peer. Anything else is a
    /// lack of something, which passes; accepting at once again would spin, and each try need not be
    /// told.
    async fn wait(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            debug!("Could not accept connection : {error}");
            return;
        }
        if !std::mem::replace(&mut self.told, true) {
            warn!(
                "Could not accept connection : {error}. Trying again every {} ms; if files are \
                 short, raise the limit (`ulimit -n`)",
                ACCEPT_PAUSE.as_millis()
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = ended
        && failed.is_panic()
    {
        error!("A connection was dropped by a fault of the broker: {failed}");
    }
}

fn bind_error(options: &TransportConnector, source: io::Error) -> BindError {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, NotFound, PermissionDenied};
    let address = format!("{}:{}", options.host, options.port);
    let connector = options.name.clone().unwrap_or_else(|| options.uri.to_string());
    // What comes without a number of the system is a host name that nobody knows.
    let kind = source.raw_os_error().map_or(NotFound, |_| source.kind());
    if kind == AddrInUse {
        BindError::PortInUse { connector, address, source }
    } else if kind == PermissionDenied {
        BindError::NotAllowed { connector, address, source }
    } else if matches!(kind, AddrNotAvailable | NotFound) {
        BindError::NoSuchAddress { connector, address, source }
    } else {
        BindError::Other { connector, address, source }
    }
}
