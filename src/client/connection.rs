//! A connection to a broker, or to whichever broker of a list is there.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, timeout};

use super::driver::{Driver, Outgoing, Shared};
use super::state::{CONNECTION_COMMAND_ID, OnLoss, Pending, State};
use super::url::BrokerUrl;
use super::{AckMode, Error, Session};
use crate::base::id::IdGenerator;
use crate::base::{Clock, SystemClock};
use crate::openwire::{
    Command, ConnectionId, ConnectionInfo, Destination, DestinationInfo, DestinationKind,
    RemoveInfo,
};

/// Commands that may wait for the writer before callers wait too.
const OUTGOING_MAX: usize = 1024;
/// Time that a broker may take to confirm the end of a connection.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Who connects.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    pub user: Option<String>,
    pub password: Option<String>,
    /// Unique at the broker, and needed for durable subscriptions; one is made up without it.
    pub client_id: Option<String>,
}

/// A logical connection; with `failover:` it outlives its sockets. Clones are the same connection,
/// which ends when the last of them and of its sessions is dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
    pub(super) url: Arc<BrokerUrl>,
    id: Arc<ConnectionId>,
    numbers: Arc<Mutex<Numbers>>,
}

/// The last numbers given to what belongs to a connection.
#[derive(Debug, Default)]
struct Numbers {
    session: i64,
    temporary: i64,
    transaction: i64,
}

/// An answer on its way.
#[derive(Debug)]
#[must_use]
pub struct Answer(oneshot::Receiver<Result<Command, Error>>);

impl Answer {
    /// Waits for it.
    ///
    /// # Errors
    /// What the broker refused, or why there will be no answer.
    pub async fn wait(self) -> Result<Command, Error> {
        self.0.await.unwrap_or(Err(Error::Closed))
    }
}

impl Connection {
    /// Connects, and returns when the broker has accepted the connection.
    ///
    /// # Errors
    /// When no broker can be reached (with `failover:` only after its attempts, by default never), or
    /// when the broker refuses, as for a wrong password.
    pub async fn open(url: &BrokerUrl, credentials: &Credentials) -> Result<Self, Error> {
        let ids = ids();
        let id = Arc::new(ConnectionId::new(ids.generate()));
        let pick = |said: &Option<String>, otherwise: &Option<String>| {
            said.as_ref().or(otherwise.as_ref()).map(|text| text.as_str().into())
        };
        let client_id = pick(&credentials.client_id, &url.jms.client_id);
        let info = ConnectionInfo {
            command_id: CONNECTION_COMMAND_ID,
            response_required: true,
            connection_id: Some(Arc::clone(&id)),
            client_id: client_id.or_else(|| Some(ids.generate().into())),
            user_name: pick(&credentials.user, &url.jms.user_name),
            password: pick(&credentials.password, &url.jms.password),
            manageable: true,
            client_master: true,
            fault_tolerant: url.failover.is_some(),
            ..ConnectionInfo::default()
        };
        let (answer, opened) = oneshot::channel();
        let mut state = State::new(info);
        let pending = Pending { answer, on_loss: OnLoss::Restored, sent: None };
        state.pending.insert(CONNECTION_COMMAND_ID, pending);
        let shared = Arc::new(Shared::new(state));
        let (outgoing, taken) = mpsc::channel(OUTGOING_MAX);
        let seed = SystemClock.now_ms() as u64
            ^ u64::from(std::process::id()) << 32
            ^ Arc::as_ptr(&shared) as u64;
        let driver = Driver::new(Arc::clone(&shared), taken, url.clone(), seed);
        tokio::spawn(driver.run());
        let url = Arc::new(url.clone());
        let connection = Self { shared, outgoing, url, id, numbers: Arc::default() };
        Answer(opened).wait().await?;
        Ok(connection)
    }

    pub fn id(&self) -> &Arc<ConnectionId> {
        &self.id
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn session(&self, mode: AckMode) -> Result<Session, Error> {
        let number = {
            let mut numbers = self.numbers.lock();
            numbers.session += 1;
            numbers.session
        };
        Session::open(self.clone(), number, mode).await
    }

    /// Creates a temporary queue or topic, which lives as long as this connection.
    ///
    /// # Errors
    /// When the broker refuses or the connection has ended.
    pub async fn create_temporary(&self, kind: DestinationKind) -> Result<Arc<Destination>, Error> {
        let number = {
            let mut numbers = self.numbers.lock();
            numbers.temporary += 1;
            numbers.temporary
        };
        let name = format!("{}:{number}", self.id);
        let destination = Arc::new(Destination::new(kind, &name));
        let info = |command_id| DestinationInfo {
            command_id,
            response_required: true,
            connection_id: Some(Arc::clone(&self.id)),
            destination: Some(Arc::clone(&destination)),
            ..DestinationInfo::default()
        };
        let add = |id: i32| {
            let info = info(id);
            self.shared.state.lock().objects.add_temporary(info.clone());
            info.into()
        };
        self.request(OnLoss::Restored, None, add).await?;
        Ok(destination)
    }

    /// Ends the connection in order: what was sent before is taken by the broker first.
    ///
    /// # Errors
    /// When the broker does not confirm it. The connection is over in any case.
    pub async fn close(self) -> Result<(), Error> {
        let remove = |command_id| {
            let object_id = Some(Arc::new(Command::ConnectionId(Arc::clone(&self.id))));
            let info = RemoveInfo {
                command_id,
                response_required: true,
                object_id,
                last_delivered_sequence_id: -1,
            };
            info.into()
        };
        let removed = timeout(CLOSE_MAX, self.request(OnLoss::Settled, None, remove)).await;
        match removed {
            Ok(Ok(_) | Err(Error::TransactionRolledBack { .. })) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::SendTimeout { ms: CLOSE_MAX.as_millis() as u64 }),
        }
    }

    /// Sends a command that asks for a response and waits for it.
    pub(super) async fn request(
        &self,
        on_loss: OnLoss,
        only_in: Option<u64>,
        command: impl FnOnce(i32) -> Command,
    ) -> Result<Command, Error> {
        self.start_request(on_loss, only_in, command).await?.wait().await
    }

    /// Sends a command that asks for a response, and returns when it is under way.
    pub(super) async fn start_request(
        &self,
        on_loss: OnLoss,
        only_in: Option<u64>,
        command: impl FnOnce(i32) -> Command,
    ) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = self.shared.state.lock();
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            let id = state.next_command_id();
            state.pending.insert(id, Pending { answer, on_loss, sent: None });
            id
        };
        self.push(Outgoing { command: command(id), only_in }).await?;
        Ok(Answer(answered))
    }

    /// Sends a command that asks for no response.
    pub(super) async fn send(
        &self,
        only_in: Option<u64>,
        command: impl FnOnce(i32) -> Command,
    ) -> Result<(), Error> {
        let id = {
            let mut state = self.shared.state.lock();
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            state.next_command_id()
        };
        self.push(Outgoing { command: command(id), only_in }).await
    }

    async fn push(&self, outgoing: Outgoing) -> Result<(), Error> {
        let sent = self.outgoing.send(outgoing).await;
        sent.map_err(|_| self.shared.state.lock().ended.clone().unwrap_or(Error::Closed))
    }

    /// What the broker said of an earlier command that asked for no answer.
    pub(super) fn check(&self) -> Result<(), Error> {
        let complaint = self.shared.state.lock().complaint.take();
        complaint.map_or(Ok(()), |throwable| Err(Error::Refused(Box::new(throwable))))
    }

    /// Counts sockets: grows with each that is lost.
    pub(super) fn generation(&self) -> u64 {
        self.shared.state.lock().generation
    }

    pub(super) fn next_transaction(&self) -> i64 {
        let mut numbers = self.numbers.lock();
        numbers.transaction += 1;
        numbers.transaction
    }
}

fn ids() -> IdGenerator {
    let host = gethostname::gethostname();
    IdGenerator::new(&host.to_string_lossy(), std::process::id(), SystemClock.now_ms())
}
