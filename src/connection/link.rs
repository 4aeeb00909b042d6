//! Ties a stream to the commands that come over it, in one task.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{debug, info, warn};

use super::bridge::{Bridge, Bridges};
use super::commands::{Conversation, LAST_DELIVERED_NONE, LAST_DELIVERED_UNKNOWN, Next};
use super::inactivity::{Inactivity, Look};
use super::later::Due;
use super::writer::Writer;
use super::{Failure, negotiation};
use crate::broker::{Broker, Closing, Outbox};
use crate::openwire::{
    BrokerInfo, Command, ConnectionError, Decoder, KeepAliveInfo, ShutdownInfo, WireFormat,
};
use crate::transport::{Accepted, Connector, FrameReader, Slot};

/// Longest frame of a peer that did not yet say who it is.
const STRANGER_FRAME_BYTES_MAX: u64 = 64 << 10;
/// How long a peer that may not stay gets to read why. ActiveMQ's time.
const UNWANTED_STAYS: Duration = Duration::from_secs(2);
/// Longest time without one byte of progress in writing, unless the connector has a shorter one.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long the last bytes may take.
const FLUSH_GRACE: Duration = Duration::from_secs(2);
/// How long a peer gets to close its side, so that nothing it still sends destroys what it was sent.
const LINGER: Duration = Duration::from_millis(250);
/// How long a peer gets to show that it is there, when another one wants its client id.
const PROBE_SILENCE_MAX: Duration = Duration::from_secs(2);
/// A peer that had this much to say at once lets other connections of this thread go first.
const FAIR_BYTES: usize = 32 << 10;
/// As good as never.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the other tasks of this thread would go on in another one.
fn may_block() -> bool {
    Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread
}

/// Serves one connection until its end. `bridges` makes the bridge back for a peer that is a broker;
/// without it there is none.
pub async fn serve<S>(
    accepted: Accepted<S>,
    broker: Arc<Broker>,
    bridges: Option<Arc<dyn Bridges>>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Accepted { mut stream, peer, connector, slot } = accepted;
    let address = format!("tcp://{peer}");
    debug!("Starting connection: {address}");
    let mut frames = FrameReader::new(WireFormat::HANDSHAKE.max_frame_size);
    let options = &connector.options.transport;
    let agreed = tokio::select! {
        () = shutdown.cancelled() => return,
        agreed = negotiation::handshake(&mut stream, &mut frames, options) => agreed,
    };
    let ended = match agreed {
        Ok(format) => {
            debug!("{address} after negotiation: {format:?}");
            let conversation = Conversation::new(
                broker,
                bridges,
                Arc::clone(&connector),
                slot,
                address.clone(),
                format.version,
            );
            conversation.introduce();
            Link::new(stream, frames, format, conversation, &shutdown).run().await
        }
        Err(failure) => Err(failure),
    };
    if let Err(failure) = ended {
        log_failure(&failure, &address, &connector);
    }
    debug!("Connection Stopped: {address}");
}

/// A socket to another broker that this one opened, past the negotiation.
#[derive(Debug)]
pub struct Dialled<S> {
    pub stream: S,
    pub frames: FrameReader,
    /// It has read the peer's BrokerInfo.
    pub decoder: Decoder,
    pub format: WireFormat,
    /// The peer as if it were a connector: its address, and the options of our side.
    pub connector: Arc<Connector>,
}

/// Serves a connection to another broker with a bridge on it until its end, which is no failure when
/// the peer or this broker said goodbye.
///
/// # Errors
/// Why it broke.
pub async fn serve_dialled<S>(
    dialled: Dialled<S>,
    broker: Arc<Broker>,
    bridge: Box<dyn Bridge>,
    outbox: Arc<Outbox>,
    shutdown: CancellationToken,
) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Dialled { stream, frames, decoder, format, connector } = dialled;
    let address = connector.publishable_uri().to_owned();
    let slot = Slot::uncounted();
    let mut conversation =
        Conversation::new(broker, None, connector, slot, address, format.version);
    conversation.outbox = outbox;
    conversation.carry(bridge);
    let mut link = Link::new(stream, frames, format, conversation, &shutdown);
    link.decoder = decoder;
    link.stranger_until = None;
    link.frames.limit_frames(link.format.max_frame_size);
    link.run().await
}

fn log_failure(failure: &Failure, address: &str, connector: &Connector) {
    if failure.is_remote_close() && !connector.options.options.warn_on_remote_close {
        debug!("Transport Connection to: {address} failed: {failure}");
    } else {
        warn!("Transport Connection to: {address} failed: {failure}");
    }
}

/// Why a connection ends without a fault.
#[derive(Debug)]
enum End {
    /// The peer said goodbye, or may not stay.
    Goodbye,
    /// The broker stops.
    Stopping,
    /// The broker says why.
    Broker(Closing),
}

/// What a connection waited for.
#[derive(Debug)]
enum Event {
    /// The peer sent bytes, or, with 0, closed its side.
    Read(usize),
    /// All that waited was written.
    Written,
    /// The broker has something to say.
    Outbox,
    /// The broker wants the peer probed, or the end.
    Urgent,
    Due(Due),
    Time,
    Stopping,
}

struct Link<S> {
    stream: S,
    frames: FrameReader,
    decoder: Decoder,
    format: WireFormat,
    writer: Writer,
    conversation: Conversation,
    inactivity: Option<Inactivity>,
    write_stall_max: Duration,
    /// Longest silence of the peer that the connector allows.
    read_silence_max: Option<Duration>,
    received_at: Instant,
    /// Until then a stranger may stay, however many there are.
    stranger_until: Option<Instant>,
    unwanted: Option<(Instant, String)>,
    /// By then a peer that was asked whether it is there has to say something.
    probed_until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// Of a token of its own, so that connections do not meet at a lock whenever they wait.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Link<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    fn new(
        stream: S,
        mut frames: FrameReader,
        format: WireFormat,
        conversation: Conversation,
        shutdown: &CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let options = &conversation.connector.options.transport;
        let inactivity = options.use_inactivity_monitor.then(|| {
            let limit = Duration::from_millis(format.max_inactivity_ms);
            Inactivity::start(now, limit, Duration::from_millis(format.initial_delay_ms))
        });
        let stall = options.so_write_timeout.filter(|limit| !limit.is_zero());
        let stranger_stays = options.wire_format.max_inactivity_initial_delay;
        frames.limit_frames(stranger_limit(&format));
        Self {
            stream,
            frames,
            decoder: Decoder::new(&format),
            writer: Writer::new(&format),
            inactivity: inactivity.flatten(),
            write_stall_max: stall.unwrap_or(WRITE_STALL_MAX).min(WRITE_STALL_MAX),
            read_silence_max: options.so_timeout.filter(|limit| !limit.is_zero()),
            received_at: now,
            stranger_until: Some(now + stranger_stays),
            unwanted: None,
            probed_until: None,
            timer: Box::pin(sleep_until(now + FAR)),
            format,
            conversation,
            stopping: Box::pin(shutdown.child_token().cancelled_owned()),
        }
    }

    async fn run(mut self) -> Result<(), Failure> {
        let ended = loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(failure) => break Err(failure),
            }
        };
        match ended {
            Ok(end) => {
                self.finish(end).await;
                Ok(())
            }
            Err(failure) => {
                self.conversation.close(LAST_DELIVERED_UNKNOWN);
                Err(failure)
            }
        }
    }

    /// Handles what came, then waits for one thing to happen.
    async fn step(&mut self) -> Result<Option<End>, Failure> {
        if let Some(end) = self.take_commands()? {
            return Ok(Some(end));
        }
        if let Some(closing) = self.conversation.outbox.closing() {
            return Ok(Some(End::Broker(closing)));
        }
        self.set_timer();
        match self.wait().await? {
            Event::Read(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Event::Read(bytes) => {
                if bytes >= FAIR_BYTES {
                    tokio::task::yield_now().await;
                }
                self.received_at = Instant::now();
                if let Some(inactivity) = &mut self.inactivity {
                    inactivity.received(self.received_at);
                }
                if self.probed_until.take().is_some() {
                    self.conversation.outbox.end_probe();
                }
                Ok(None)
            }
            Event::Written => {
                if let Some(inactivity) = &mut self.inactivity {
                    inactivity.sent();
                }
                Ok(None)
            }
            Event::Outbox => Ok(None),
            Event::Urgent => {
                self.probe();
                Ok(None)
            }
            Event::Due(due) => {
                let next = self.conversation.resume(due);
                Ok(self.follow(next))
            }
            Event::Time => self.look_at_the_time(),
            Event::Stopping => Ok(Some(End::Stopping)),
        }
    }

    /// Whether commands are taken from the peer now.
    fn is_reading(&self) -> bool {
        self.conversation.takes_more() && !self.conversation.outbox.is_full()
    }

    /// Handles all commands that arrived, unless one of them has the others wait.
    fn take_commands(&mut self) -> Result<Option<End>, Failure> {
        if self.conversation.outbox.is_full() {
            return Ok(None);
        }
        while self.conversation.takes_more() {
            let Some(command) = self.next_command()? else { break };
            let next = self.conversation.handle(command)?;
            if let Some(end) = self.follow(next) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn follow(&mut self, next: Next) -> Option<End> {
        match next {
            Next::Go => {}
            Next::Known => {
                self.stranger_until = None;
                self.frames.limit_frames(self.format.max_frame_size);
            }
            Next::Unwanted { reason } => {
                let until = Instant::now() + UNWANTED_STAYS;
                self.unwanted.get_or_insert((until, reason));
            }
            Next::Goodbye => return Some(End::Goodbye),
        }
        None
    }

    /// Asks the peer whether it is there, if the broker wants to know.
    fn probe(&mut self) {
        if self.probed_until.is_none() && self.conversation.outbox.is_probed() {
            self.probed_until = Some(Instant::now() + PROBE_SILENCE_MAX);
            let question = KeepAliveInfo { response_required: true, ..KeepAliveInfo::default() };
            self.conversation.outbox.command(question);
        }
    }

    fn next_command(&mut self) -> Result<Option<Command>, Failure> {
        if self.format.size_prefix_disabled {
            return self.next_command_without_size();
        }
        while let Some(frame) = self.frames.next_frame()? {
            if let Some(command) = self.decoder.decode(frame)? {
                return Ok(Some(command));
            }
        }
        Ok(None)
    }

    fn next_command_without_size(&mut self) -> Result<Option<Command>, Failure> {
        loop {
            let unread = self.frames.unread();
            if unread.is_empty() || unread.len() < self.decoder.bytes_needed() {
                return Ok(None);
            }
            let unread = Bytes::copy_from_slice(unread);
            let Some((command, used)) = self.decoder.decode_prefix(&unread)? else {
                if self.stranger_until.is_some() {
                    let format = WireFormat {
                        max_frame_size: stranger_limit(&self.format),
                        ..self.format.clone()
                    };
                    format.check_frame_size(self.decoder.bytes_needed() as u64)?;
                }
                return Ok(None);
            };
            self.frames.consume(used);
            if command.is_some() {
                return Ok(command);
            }
        }
    }

    /// Waits until something happens, for everything at once.
    async fn wait(&mut self) -> Result<Event, Failure> {
        let reading = self.is_reading();
        let outbox = Arc::clone(&self.conversation.outbox);
        let mut ready = pin!(outbox.ready());
        poll_fn(|context| {
            if self.stopping.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Event::Stopping));
            }
            if outbox.poll_urgent(context).is_ready() {
                return Poll::Ready(Ok(Event::Urgent));
            }
            if let Poll::Ready(written) = self.poll_write(context) {
                let wrote = written?;
                if wrote {
                    return Poll::Ready(Ok(Event::Written));
                }
                if ready.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(Event::Outbox));
                }
            }
            if reading && let Poll::Ready(read) = self.frames.poll_fill(context, &mut self.stream) {
                return Poll::Ready(read.map(Event::Read).map_err(Failure::from));
            }
            self.write_for_one();
            if let Poll::Ready(due) = self.conversation.later.poll_next(context) {
                return Poll::Ready(Ok(Event::Due(due)));
            }
            self.timer.as_mut().poll(context).map(|()| Ok(Event::Time))
        })
        .await
    }

    /// Stores what a response waits for in this thread, if nobody else waits for the disk: two changes of
    /// threads less, each of which takes as long as a fast disk. The other connections of this thread go
    /// on in another one.
    fn write_for_one(&self) {
        if !self.conversation.later.has_responses() || !may_block() {
            return;
        }
        if let Some(turn) = self.conversation.broker.may_write() {
            block_in_place(|| turn.write());
        }
    }

    /// Ready when nothing waits to be written; says whether something was.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        // One that was stopped for long may have been deposed meanwhile.
        if !self.conversation.broker.is_owner() {
            return Poll::Pending;
        }
        let Conversation { outbox, bridge, .. } = &mut self.conversation;
        let written = self.writer.poll_write(context, &mut self.stream, outbox, bridge);
        for undeliverable in self.writer.take_undeliverable() {
            self.conversation.bury(&undeliverable);
        }
        for delivery in self.writer.take_told() {
            self.conversation.broker.was_dispatched(&delivery);
        }
        written
    }

    /// The timer may be early, which costs a look; it is never late. So it is not set for every
    /// command.
    fn set_timer(&mut self) {
        let next = self.next_look();
        if next < self.timer.deadline() {
            self.timer.as_mut().reset(next);
        }
    }

    fn next_look(&self) -> Instant {
        let times = [
            self.inactivity.as_ref().map(Inactivity::next),
            self.conversation.pulls.next(),
            self.writer.stalled_since().map(|since| since + self.write_stall_max),
            self.read_silence_max.map(|limit| self.received_at + limit),
            self.stranger_until,
            self.probed_until,
            self.unwanted.as_ref().map(|(until, _)| *until),
            self.conversation.bridge.as_ref().map(|bridge| bridge.next_look()),
        ];
        let next = times.into_iter().flatten().min();
        next.unwrap_or_else(|| self.timer.deadline().max(Instant::now() + FAR))
    }

    fn look_at_the_time(&mut self) -> Result<Option<End>, Failure> {
        let now = Instant::now();
        let reading = self.is_reading();
        self.conversation.end_pulls(now);
        if let Some((_, reason)) = self.unwanted.take_if(|(until, _)| *until <= now) {
            info!("Stopping {} because {reason}", self.conversation.peer.remote_address);
            return Ok(Some(End::Goodbye));
        }
        if self.writer.stalled_since().is_some_and(|since| since + self.write_stall_max <= now) {
            return Err(Failure::WriteStalled { limit: self.write_stall_max });
        }
        if let Some(limit) = self.read_silence_max.filter(|limit| self.received_at + *limit <= now)
        {
            if reading {
                return Err(self.inactive(limit));
            }
            self.received_at = now;
        }
        self.look_at_stranger(now)?;
        self.look_at_probe(now, reading)?;
        if let Some(bridge) = &mut self.conversation.bridge {
            bridge.look(now, reading)?;
        }
        let look = self.inactivity.as_mut().map_or(Look::Quiet, |it| it.look(now, reading));
        match look {
            Look::Quiet => {}
            Look::KeepAlive => self.conversation.outbox.command(KeepAliveInfo::default()),
            Look::Dead(limit) => return Err(self.inactive(limit)),
        }
        let next = self.next_look();
        self.timer.as_mut().reset(next);
        Ok(None)
    }

    /// A peer that does not say who it is may stay, as in ActiveMQ, unless there are many such.
    fn look_at_stranger(&mut self, now: Instant) -> Result<(), Failure> {
        if self.stranger_until.is_none_or(|until| now < until) {
            return Ok(());
        }
        let transport = &self.conversation.connector.options.transport;
        let limit = transport.wire_format.max_inactivity_initial_delay;
        if self.conversation.slot.is_crowded() {
            let peer = self.conversation.peer.remote_address.clone();
            return Err(Failure::NotConnected { limit, peer });
        }
        self.stranger_until = Some(now + limit.max(Duration::from_secs(1)));
        Ok(())
    }

    /// The silence of a peer that watches nothing says nothing: it need not answer. Nor does silence
    /// while nothing is read.
    fn look_at_probe(&mut self, now: Instant, reading: bool) -> Result<(), Failure> {
        if self.probed_until.take_if(|until| *until <= now).is_none() {
            return Ok(());
        }
        if reading && self.inactivity.is_some() {
            return Err(Failure::Silent { silence: PROBE_SILENCE_MAX });
        }
        self.conversation.outbox.end_probe();
        Ok(())
    }

    fn inactive(&self, limit: Duration) -> Failure {
        Failure::Inactive { limit, peer: self.conversation.peer.remote_address.clone() }
    }

    /// Says what is left to say, and closes.
    async fn finish(mut self, end: End) {
        let outbox = Arc::clone(&self.conversation.outbox);
        let last_delivered = match end {
            End::Broker(Closing::TakenOver) => {
                debug!(
                    "Killing previous stale connection: {}",
                    self.conversation.peer.remote_address
                );
                self.conversation.close(LAST_DELIVERED_UNKNOWN);
                return;
            }
            End::Goodbye => LAST_DELIVERED_UNKNOWN,
            End::Stopping | End::Broker(Closing::BrokerStopping) => {
                // What the broker took it also confirms; a producer without an answer sends again.
                let answered = timeout(FLUSH_GRACE, self.answer_the_rest()).await;
                debug!("all answered before the broker stops: {}", answered.is_ok());
                outbox.command(ShutdownInfo::default());
                LAST_DELIVERED_NONE
            }
            End::Broker(Closing::Failed(exception)) => {
                let exception = Some(exception);
                outbox.command(ConnectionError { exception, ..ConnectionError::default() });
                LAST_DELIVERED_UNKNOWN
            }
        };
        // Before the last bytes leave, so that a peer that reads them finds its consumers gone.
        self.conversation.close(last_delivered);
        let flushed = timeout(FLUSH_GRACE, self.flush()).await;
        debug!("Stopping connection: {:?}", flushed);
    }

    async fn answer_the_rest(&mut self) {
        while self.conversation.later.has_responses() {
            let due = poll_fn(|context| self.conversation.later.poll_next(context)).await;
            if let Due::Respond(response) = due {
                self.conversation.outbox.command(response);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        while poll_fn(|context| self.poll_write(context)).await? {}
        self.stream.shutdown().await?;
        let mut ignored = [0; 1024];
        let closed_by_peer = async {
            while self.stream.read(&mut ignored).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match timeout(LINGER, closed_by_peer).await {
            Ok(closed) => Ok(closed?),
            Err(_) => Ok(()),
        }
    }
}

fn stranger_limit(format: &WireFormat) -> u64 {
    match format.max_frame_size {
        0 => STRANGER_FRAME_BYTES_MAX,
        agreed => agreed.min(STRANGER_FRAME_BYTES_MAX),
    }
}

impl Conversation {
    /// Says who we are, which a client's `getBrokerName` waits for.
    fn introduce(&self) {
        let info = self.broker.info();
        let url = info.broker_url.filter(|url| !url.to_str().is_empty());
        self.outbox.command(BrokerInfo {
            broker_url: Some(url.unwrap_or_else(|| self.connector.publishable_uri().into())),
            peer_broker_infos: self.broker.peers(self.connector.name()),
            ..info
        });
    }
}
