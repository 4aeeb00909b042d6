//! What the broker wants written to one connection.
//!
//! ```text
//! destinations --push--> [ queue of Outgoing ] --take--> the connection's writer --> socket
//!                 full? the subscription notes itself in `waiting` and dispatch to it pauses
//!                 drained below half: the writer wakes the waiting subscriptions
//! ```
//!
//! **Invariant:** pushing never waits. Deliveries are bounded by the credit of their consumers and
//! by [`Outbox::has_room`], which dispatch asks first; everything else is an answer to a command
//! of the peer, whose reader stops while its outbox is full.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::openwire::{Command, ConsumerId, Destination, Message, Throwable};

/// Bytes that may wait for a slow reader before dispatch to its connection pauses.
pub const OUTBOX_BYTES_MAX: usize = 4 << 20;

/// Bytes of answers that may wait for a peer before nothing more is read from it. Deliveries do not
/// count: a consumer that is slow to read must still be heard.
pub const ANSWERS_BYTES_MAX: usize = 1 << 20;

/// What an entry without a message body is taken to cost.
const ENTRY_BYTES: usize = 64;

/// One thing to write.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A command as it is.
    Command(Command),
    /// A message for a consumer.
    Delivery(Delivery),
}

/// A message on its way to one consumer. The message is shared; what differs per delivery is here.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub consumer_id: Arc<ConsumerId>,
    /// `None` ends a browse or answers a pull that found nothing.
    pub message: Option<Arc<Message>>,
    /// Where the message was, which for a wildcard consumer is not what it subscribed to.
    pub destination: Option<Arc<Destination>>,
    pub redelivery_counter: i32,
    /// Milliseconds since 1970 when the broker dispatched it.
    pub broker_out_time: i64,
    /// The first message of its group for this consumer.
    pub first_of_group: bool,
    /// The policy wants it told when it is written (`advisoryForDispatched`).
    pub told: bool,
}

/// Someone to wake when an outbox has room again.
pub trait Resume: fmt::Debug + Send + Sync {
    fn resume(self: Arc<Self>);
}

/// Why a connection has to end, as decided by the broker.
#[derive(Debug, Clone)]
pub enum Closing {
    /// Another socket brought the same ConnectionId.
    TakenOver,
    /// The broker stops: the peer gets a ShutdownInfo.
    BrokerStopping,
    /// A ConnectionError with this exception is written first.
    Failed(Throwable),
}

/// The queue between the broker and the writer of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Notify,
    /// Something that does not wait for the writer: a probe, or the end.
    urgent: AtomicBool,
    urgent_wake: AtomicWaker,
}

/// A question to a peer whether it is still there.
#[derive(Debug)]
pub struct Probe(watch::Receiver<()>);

impl Probe {
    /// Returns when the peer has shown life, was seen to be silent, or is gone.
    pub async fn over(mut self) {
        // Nothing is ever sent: the sender goes when the probe is over.
        while self.0.changed().await.is_ok() {}
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// Those of `bytes` that are no deliveries and were not taken yet.
    answer_bytes: usize,
    /// Weak: a consumer holds its outbox.
    waiting: Vec<Weak<dyn Resume>>,
    closing: Option<Closing>,
    /// Held while somebody wants to know whether the peer is there.
    probe: Option<watch::Sender<()>>,
    /// The connection is gone: there is nobody to ask any more.
    gone: bool,
}

impl Outbox {
    pub fn command(&self, command: impl Into<Command>) {
        self.push(Outgoing::Command(command.into()), ENTRY_BYTES, ENTRY_BYTES);
    }

    pub fn delivery(&self, delivery: Delivery) {
        let body = delivery.message.as_ref().map_or(0, |message| message.memory_bytes());
        self.push(Outgoing::Delivery(delivery), body + ENTRY_BYTES, 0);
    }

    fn push(&self, outgoing: Outgoing, bytes: usize, answer_bytes: usize) {
        let mut state = self.state.lock();
        state.bytes += bytes;
        state.answer_bytes += answer_bytes;
        state.queue.push_back(outgoing);
        let first = state.queue.len() == 1;
        drop(state);
        if first {
            self.wake.notify_one();
        }
    }

    /// Whether dispatch may go on. If not, `then` is resumed once the writer has caught up.
    pub fn has_room(&self, then: impl FnOnce() -> Weak<dyn Resume>) -> bool {
        let mut state = self.state.lock();
        if state.bytes < OUTBOX_BYTES_MAX {
            return true;
        }
        state.waiting.push(then());
        false
    }

    /// Whether the peer reads slower than it causes answers; its reader then waits.
    pub fn is_full(&self) -> bool {
        self.state.lock().answer_bytes >= ANSWERS_BYTES_MAX
    }

    /// Moves everything that waits into `batch`. The bytes stay counted until [`Self::written`].
    ///
    /// Returns how many bytes that was.
    pub fn take(&self, batch: &mut Vec<Outgoing>) -> usize {
        let mut state = self.state.lock();
        batch.extend(state.queue.drain(..));
        state.answer_bytes = 0;
        if state.queue.capacity() > IDLE_CAPACITY {
            state.queue = VecDeque::new();
        }
        state.bytes
    }

    /// The socket took `bytes` that [`Self::take`] handed out; paused dispatch goes on.
    pub fn written(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        let resumed = if state.bytes <= OUTBOX_BYTES_MAX / 2 {
            std::mem::take(&mut state.waiting)
        } else {
            Vec::new()
        };
        drop(state);
        for waiting in resumed.into_iter().filter_map(|waiting| waiting.upgrade()) {
            waiting.resume();
        }
    }

    /// Returns when there is something to take or the connection has to close.
    pub async fn ready(&self) {
        loop {
            {
                let state = self.state.lock();
                if !state.queue.is_empty() || state.closing.is_some() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Asks the connection to end. The first reason stands.
    pub fn close(&self, why: Closing) {
        self.state.lock().closing.get_or_insert(why);
        self.wake.notify_one();
        self.urge();
    }

    /// Has the connection find out whether its peer is still there. All who ask at a time share one
    /// probe.
    pub fn probe(&self) -> Probe {
        let mut state = self.state.lock();
        if let Some(running) = &state.probe {
            return Probe(running.subscribe());
        }
        let (sender, receiver) = watch::channel(());
        if !state.gone {
            state.probe = Some(sender);
            drop(state);
            self.urge();
        }
        Probe(receiver)
    }

    /// Whether somebody waits for the end of a probe.
    pub fn is_probed(&self) -> bool {
        self.state.lock().probe.is_some()
    }

    /// Lets those go on who asked for a probe.
    pub fn end_probe(&self) {
        self.state.lock().probe = None;
    }

    /// The connection has ended, and with it everything it had; whoever probes it need not wait.
    pub fn gone(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        state.probe = None;
    }

    fn urge(&self) {
        self.urgent.store(true, Ordering::Release);
        self.urgent_wake.wake();
    }

    /// Ready once after each probe asked for and each [`Self::close`], however much waits to be
    /// written. For the one task that serves the connection.
    pub fn poll_urgent(&self, context: &Context<'_>) -> Poll<()> {
        self.urgent_wake.register(context.waker());
        if self.urgent.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub fn closing(&self) -> Option<Closing> {
        self.state.lock().closing.clone()
    }
}

/// Entries an idle outbox may keep room for.
const IDLE_CAPACITY: usize = 32;
