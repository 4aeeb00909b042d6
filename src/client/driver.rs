//! The task of a connection: finds a broker, opens there what was open, reads, writes, starts again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::Error;
use super::link::{Link, LinkReader, LinkWriter, WRITE_BYTES};
use super::search::{Search, Step, is_preferred};
use super::state::{CONNECTION_COMMAND_ID, State};
use super::url::{BrokerUrl, Endpoint, Failover};
use crate::openwire::{
    Command, ConnectionControl, KeepAliveInfo, MessageDispatch, ShutdownInfo, WireError,
};

/// Commands taken from the channel at once.
const BATCH: usize = 256;
/// How often a client with `priorityBackup` looks whether a preferred broker is there.
const PREFERRED_EVERY: Duration = Duration::from_secs(5);
/// Time that the farewell to a broker may take.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// A command on its way to the writer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) command: Command,
    /// The socket for which alone it means something, as an acknowledgement does.
    pub(super) only_in: Option<u64>,
}

/// What the driver and the handles of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// The broker asked whether we are alive.
    echo: Notify,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), echo: Notify::new() }
    }
}

/// The state of the task itself.
#[derive(Debug)]
pub(super) struct Driver {
    shared: Arc<Shared>,
    outgoing: mpsc::Receiver<Outgoing>,
    url: BrokerUrl,
    random: fastrand::Rng,
    /// Taken from the channel, but not written.
    unwritten: VecDeque<Outgoing>,
    /// To be sent again on the next socket.
    again: Vec<Command>,
    connected_before: bool,
    /// The broker that was lost last.
    lost: Option<usize>,
}

/// How the service of one socket ended.
enum End {
    /// All handles are gone.
    Released,
    Lost(Error),
    /// Another broker is to be had, and wanted.
    Move(usize),
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        outgoing: mpsc::Receiver<Outgoing>,
        url: BrokerUrl,
        seed: u64,
    ) -> Self {
        Self {
            shared,
            outgoing,
            url,
            random: fastrand::Rng::with_seed(seed),
            unwritten: VecDeque::new(),
            again: Vec::new(),
            connected_before: false,
            lost: None,
        }
    }

    /// Runs until all handles are gone or nothing more can be done.
    pub(super) async fn run(mut self) {
        loop {
            let (link, broker) = match self.find().await {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(error) => return self.end(error),
            };
            if self.connected_before {
                tracing::info!("Successfully reconnected to {}", link.broker);
            }
            let again = self.connected_before;
            let end = self.serve(link, broker, again).await;
            self.connected_before = true;
            self.again = self.shared.state.lock().lose_socket();
            match end {
                End::Released => return,
                End::Move(to) => self.lost = Some(broker).filter(|_| to != broker),
                End::Lost(error) if self.url.failover.is_some() && error.may_pass() => {
                    self.lost = Some(broker);
                    tracing::warn!(
                        "Transport failed, attempting to automatically reconnect: {error}"
                    );
                }
                End::Lost(error) => return self.end(error),
            }
        }
    }

    fn end(&self, why: Error) {
        self.shared.state.lock().end(&why);
    }

    /// Connects to one of the brokers. `None` when nobody wants a connection any more.
    async fn find(&mut self) -> Result<Option<(Link, usize)>, Error> {
        let Some(failover) = self.url.failover.clone() else {
            return match self.url.brokers.first() {
                Some(broker) => Ok(Some((Link::open(broker).await?, 0))),
                None => Err(Error::Closed),
            };
        };
        let lost = self.lost.take();
        let mut random = self.random.clone();
        let brokers = self.url.brokers.len();
        let mut search = Search::new(&failover, brokers, !self.connected_before, lost, &mut random);
        let mut last = Error::Closed;
        let mut patience = failover.timeout.map(|limit| Instant::now() + limit);
        let found = loop {
            match search.next() {
                Step::Try(broker) => {
                    let Some(endpoint) = self.url.brokers.get(broker) else { continue };
                    match Link::open(endpoint).await {
                        Ok(link) => break Ok(Some((link, broker))),
                        Err(error) => {
                            tracing::debug!("{error}");
                            last = error;
                        }
                    }
                }
                Step::Wait(pause) => {
                    if search.is_worth_a_warning() {
                        tracing::warn!("still not connected: {last}");
                    }
                    if !self.pause(pause, &failover, &mut patience).await {
                        break Ok(None);
                    }
                }
                Step::GiveUp { attempts } => {
                    break Err(Error::GaveUp { attempts, last: Box::new(last) });
                }
            }
        };
        self.random = random;
        found
    }

    /// Waits before the next round; false when all handles are gone meanwhile. Beyond the time-out of
    /// `failover:` what waits to be sent fails.
    async fn pause(
        &mut self,
        pause: Duration,
        failover: &Failover,
        patience: &mut Option<Instant>,
    ) -> bool {
        sleep(pause).await;
        if let (Some(limit), Some(until)) = (failover.timeout, *patience)
            && Instant::now() >= until
        {
            *patience = Some(Instant::now() + limit);
            self.unwritten.clear();
            self.again.clear();
            while self.outgoing.try_recv().is_ok() {}
            let ms = limit.as_millis() as u64;
            let mut state = self.shared.state.lock();
            // A connection that is still being opened goes on being opened.
            let opening = state.pending.remove(&CONNECTION_COMMAND_ID);
            state.fail_pending(&Error::SendTimeout { ms });
            state.pending.extend(opening.map(|opening| (CONNECTION_COMMAND_ID, opening)));
        }
        !self.outgoing.is_closed() || !self.outgoing.is_empty()
    }

    async fn serve(&mut self, link: Link, broker: usize, again: bool) -> End {
        let Link { mut reader, mut writer, format, broker: address, .. } = link;
        if let Err(error) = self.reopen(&mut writer, again).await {
            return End::Lost(error);
        }
        let updates = self.url.failover.as_ref().is_some_and(|it| it.update_uris_supported);
        let shared = Arc::clone(&self.shared);
        let url = Mutex::new(None);
        let end = {
            let incoming = Incoming { shared: &shared, address: &address, moved: &url, updates };
            let preferred = prefer(&self.url, broker);
            let writing = write(
                &shared,
                &mut self.outgoing,
                &mut self.unwritten,
                &mut writer,
                format.max_inactivity_ms,
            );
            tokio::select! {
                error = incoming.read(&mut reader) => End::Lost(error),
                end = writing => end,
                to = preferred => End::Move(to),
            }
        };
        if let Some(brokers) = url.into_inner() {
            self.url.brokers = brokers;
            self.lost = None;
        }
        if matches!(end, End::Released | End::Move(_)) {
            farewell(&mut writer).await;
        }
        end
    }

    /// Opens on a new socket what was open on the last one, and sends again what it left unanswered.
    async fn reopen(&mut self, writer: &mut LinkWriter, again: bool) -> Result<(), Error> {
        let restored = self.shared.state.lock().objects.restore(again);
        for command in restored {
            put(&self.shared, writer, &command);
        }
        for command in std::mem::take(&mut self.again) {
            put(&self.shared, writer, &command);
            if writer.buffered() >= WRITE_BYTES {
                writer.flush().await?;
            }
        }
        writer.flush().await
    }
}

/// Encodes one command. What cannot be said fails alone; the connection goes on.
fn put(shared: &Shared, writer: &mut LinkWriter, command: &Command) {
    let (id, wants_answer) = command.header().unwrap_or_default();
    match writer.put(command) {
        Ok(()) if wants_answer => {
            if let Some(pending) = shared.state.lock().pending.get_mut(&id) {
                pending.sent = Some(command.clone());
            }
        }
        Ok(()) => {}
        Err(error) => {
            if !shared.state.lock().answer(id, Err(Error::Message(error.clone()))) {
                complain(shared, &error);
            }
        }
    }
}

fn complain(shared: &Shared, error: &WireError) {
    tracing::warn!("a command could not be sent: {error}");
    let throwable = crate::openwire::Throwable::new("java.io.IOException", &error.to_string());
    shared.state.lock().complaint.get_or_insert(throwable);
}

/// Tells the broker that the connection ends in order.
async fn farewell(writer: &mut LinkWriter) {
    if writer.put(&ShutdownInfo::default().into()).is_ok() {
        // A broker that does not take it learns from the closed socket.
        drop(timeout_at(Instant::now() + FAREWELL_MAX, writer.flush()).await);
    }
}

/// Returns when a broker that `priorityBackup` prefers accepts connections; never without that option.
async fn prefer(url: &BrokerUrl, connected: usize) -> usize {
    if is_preferred(url, connected) {
        return std::future::pending().await;
    }
    loop {
        sleep(PREFERRED_EVERY).await;
        for (number, endpoint) in url.brokers.iter().enumerate() {
            if is_preferred(url, number) && Link::open(endpoint).await.is_ok() {
                return number;
            }
        }
    }
}

async fn write(
    shared: &Shared,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    unwritten: &mut VecDeque<Outgoing>,
    writer: &mut LinkWriter,
    inactivity_ms: u64,
) -> End {
    // A third of the inactivity, so that one late tick does no harm.
    let beat = Duration::from_millis((inactivity_ms / 3).max(1));
    let mut ticks = interval(beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    let mut wrote = true;
    loop {
        if let Err(error) = write_waiting(shared, unwritten, writer).await {
            return End::Lost(error);
        }
        tokio::select! {
            biased;
            () = shared.echo.notified() => {
                put(shared, writer, &KeepAliveInfo::default().into());
            }
            taken = outgoing.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return End::Released;
                }
                unwritten.extend(batch.drain(..));
                wrote = true;
                continue;
            }
            _ = ticks.tick(), if inactivity_ms > 0 => {
                if !std::mem::take(&mut wrote) {
                    put(shared, writer, &KeepAliveInfo::default().into());
                }
            }
        }
        if let Err(error) = writer.flush().await {
            return End::Lost(error);
        }
    }
}

/// Writes what waits. A command leaves `unwritten` only after the socket took it.
async fn write_waiting(
    shared: &Shared,
    unwritten: &mut VecDeque<Outgoing>,
    writer: &mut LinkWriter,
) -> Result<(), Error> {
    while !unwritten.is_empty() {
        let generation = shared.state.lock().generation;
        let mut encoded = 0;
        for outgoing in unwritten.iter() {
            encoded += 1;
            if outgoing.only_in.is_some_and(|socket| socket != generation) {
                settle_outdated(shared, &outgoing.command);
                continue;
            }
            put(shared, writer, &outgoing.command);
            if writer.buffered() >= WRITE_BYTES {
                break;
            }
        }
        writer.flush().await?;
        unwritten.drain(..encoded);
    }
    Ok(())
}

/// A command of a socket that is gone is not sent; who waits for its answer hears so.
fn settle_outdated(shared: &Shared, command: &Command) {
    if let Some((id, true)) = command.header() {
        let rolled_back = Error::TransactionRolledBack { in_doubt: false };
        shared.state.lock().answer(id, Err(rolled_back));
    }
}

/// The reading side of one socket.
struct Incoming<'a> {
    shared: &'a Shared,
    address: &'a str,
    /// The brokers that the connected one told, where that is wanted.
    moved: &'a Mutex<Option<Vec<Endpoint>>>,
    updates: bool,
}

impl Incoming<'_> {
    /// Reads until the socket is of no more use, and says why.
    async fn read(&self, reader: &mut LinkReader) -> Error {
        loop {
            let taken = match reader.next().await {
                Ok(command) => self.take(command),
                Err(error) => return error,
            };
            if let Err(error) = taken {
                return error;
            }
        }
    }

    fn take(&self, command: Command) -> Result<(), Error> {
        if let Some(correlation_id) = correlation_of(&command) {
            return self.answer(correlation_id, command);
        }
        let closed = || Error::ClosedByBroker { broker: self.address.to_owned() };
        if let Command::MessageDispatch(dispatch) = command {
            return self.dispatch(dispatch);
        }
        if let Command::KeepAliveInfo(alive) = &command {
            if alive.response_required {
                self.shared.echo.notify_one();
            }
        } else if let Command::ConnectionControl(control) = &command {
            return self.control(control);
        } else if let Command::ConsumerControl(control) = &command {
            let state = self.shared.state.lock();
            let consumer = control.consumer_id.as_ref().and_then(|id| state.objects.consumer(id));
            if let Some(consumer) = consumer {
                consumer.set_prefetch(control.prefetch);
                if control.close {
                    consumer.end(Error::Closed);
                }
            }
        } else if let Command::ConnectionError(error) = &command {
            if let Some(throwable) = &error.exception {
                tracing::warn!("{}", Error::Refused(Box::new(throwable.clone())));
                self.shared.state.lock().complaint.get_or_insert_with(|| throwable.clone());
            }
        } else if let Command::ShutdownInfo(_) = &command {
            return Err(closed());
        } else {
            tracing::trace!("{} from {}", command.name(), self.address);
        }
        Ok(())
    }

    fn answer(&self, correlation_id: i32, command: Command) -> Result<(), Error> {
        let refused = refusal_of(&command);
        let answer = refused.clone().map_or(Ok(command), Err);
        let awaited = self.shared.state.lock().answer(correlation_id, answer);
        match refused {
            // Without the connection itself nothing works.
            Some(error) if correlation_id == CONNECTION_COMMAND_ID => Err(error),
            Some(error) if !awaited => {
                tracing::warn!("{error}");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn dispatch(&self, dispatch: Arc<MessageDispatch>) -> Result<(), Error> {
        let state = self.shared.state.lock();
        let id = dispatch.consumer_id.as_ref();
        // A consumer may be closed while messages are under way to it.
        let Some(consumer) = id.and_then(|id| state.objects.consumer(id)) else { return Ok(()) };
        consumer.push(dispatch).map_err(|(held, limit)| Error::TooManyMessages {
            broker: self.address.to_owned(),
            held,
            limit,
        })
    }

    fn control(&self, control: &ConnectionControl) -> Result<(), Error> {
        let closed = || Error::ClosedByBroker { broker: self.address.to_owned() };
        if self.updates {
            let told = |text: &Option<crate::openwire::Text>| {
                let list = text.as_ref().map(ToString::to_string).unwrap_or_default();
                let known = list.split(',').filter(|one| !one.trim().is_empty());
                known
                    .filter_map(|one| BrokerUrl::parse(one.trim()).ok())
                    .flat_map(|it| it.brokers)
                    .collect::<Vec<_>>()
            };
            let brokers = told(&control.connected_brokers);
            if !brokers.is_empty() {
                *self.moved.lock() = Some(brokers);
            }
            let to = told(&control.reconnect_to);
            if !to.is_empty() {
                *self.moved.lock() = Some(to);
                return Err(closed());
            }
            if control.rebalance_connection {
                return Err(closed());
            }
        }
        if control.close || control.exit { Err(closed()) } else { Ok(()) }
    }
}

/// Which command a response answers; `None` for what is no response.
fn correlation_of(command: &Command) -> Option<i32> {
    if let Command::Response(it) = command {
        Some(it.correlation_id)
    } else if let Command::ExceptionResponse(it) = command {
        Some(it.correlation_id)
    } else if let Command::DataResponse(it) = command {
        Some(it.correlation_id)
    } else if let Command::DataArrayResponse(it) = command {
        Some(it.correlation_id)
    } else if let Command::IntegerResponse(it) = command {
        Some(it.correlation_id)
    } else {
        None
    }
}

fn refusal_of(command: &Command) -> Option<Error> {
    if let Command::ExceptionResponse(it) = command {
        Some(Error::Refused(Box::new(it.exception.clone().unwrap_or_default())))
    } else {
        None
    }
}
