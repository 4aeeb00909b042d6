//! One consumer as the broker sees it: what it accepts, what it may hold, where its messages go.
//!
//! * [`window`] counts what a queue consumer or durable subscriber holds and what an ack takes.
//! * [`topic`] is the flow of a plain topic consumer, which holds only a count; [`spool`] is what waits for
//!   it on disk.
//! * [`pace`] is how fast it acknowledges.
//! * [`durable`] is a durable subscription, which outlives its consumers.
//! * [`browse`] walks a queue for a browser.
//! * [`throttle`] is how fast a bridge may take them.
//! * [`forwarding`] is which messages a bridge's consumer takes to its peer.
//!
//! **Invariant:** locks are taken destination, then subscription, then outbox.

pub mod browse;
pub mod durable;
pub mod forwarding;
pub mod pace;
pub mod spool;
pub mod throttle;
pub mod topic;
pub mod window;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use self::browse::Browse;
use self::durable::Durable;
use self::forwarding::Forwarding;
use self::pace::Pace;
use self::throttle::Throttle;
use self::topic::TopicFlow;
use self::window::{Acked, InFlight, Window};
use super::hearers::Hearers;
use super::keeping::Side;
use super::outbox::{Delivery, Outbox, Resume};
use super::queue::QueueCell;
use super::refusal::Refusal;
use super::{Broker, Event};
use crate::openwire::{ConsumerId, ConsumerInfo, Destination, Message, MessageAck, Text};
use crate::selector::{Delivered, Selector};

/// Which messages a consumer may have at all.
#[derive(Debug, Clone)]
pub struct Filter {
    selector: Option<Selector>,
    /// `noLocal`: not what came over this connection.
    not_from: Option<Text>,
    /// The rule of a bridge.
    forwarding: Option<Forwarding>,
    consumer: Arc<ConsumerId>,
    /// Of the consumer's connection.
    client_id: Arc<str>,
}

impl Filter {
    /// # Errors
    /// The selector is no selector.
    pub fn new(
        info: &ConsumerInfo,
        id: &Arc<ConsumerId>,
        client_id: &str,
    ) -> Result<Self, Refusal> {
        let selector = Selector::parse_optional(info.selector.as_ref()).map_err(|error| {
            let text = info.selector.as_ref().map(ToString::to_string).unwrap_or_default();
            Refusal::InvalidSelector(error.throwable(&text))
        })?;
        let not_from = if info.no_local { id.connection_id.clone() } else { None };
        let forwarding = Forwarding::of(info);
        let (consumer, client_id) = (Arc::clone(id), client_id.into());
        Ok(Self { selector, not_from, forwarding, consumer, client_id })
    }

    /// Whether the consumer is one of those that may get a message.
    pub fn is_among(&self, hearers: &Hearers) -> bool {
        hearers.include(&self.consumer, &self.client_id)
    }

    /// What keeps a message of a queue from this consumer, in words; see [`Self::accepts_from`].
    pub fn bar(&self, message: &Message, redeliveries: i32, unserved: bool) -> Option<String> {
        let barred = self.forwarding.as_ref().and_then(|rule| rule.bars(message, unserved));
        if let Some(barred) = barred {
            return Some(barred.to_string());
        }
        let wanted = self.accepts_from(message, redeliveries, unserved);
        (!wanted).then(|| "its selector does not take it".to_owned())
    }

    pub fn accepts(&self, message: &Message, redeliveries: i32) -> bool {
        self.accepts_from(message, redeliveries, false)
    }

    /// The same for a message of a queue; `unserved` says that nobody but bridges takes it there.
    pub fn accepts_from(&self, message: &Message, redeliveries: i32, unserved: bool) -> bool {
        let forwarding = self.forwarding.as_ref();
        if forwarding.is_some_and(|rule| rule.bars(message, unserved).is_some()) {
            return false;
        }
        if message.target_consumer_id.as_ref().is_some_and(|target| *target != self.consumer) {
            return false;
        }
        if self.not_from.is_some() {
            let producer = message.message_id.as_ref().and_then(|id| id.producer_id.as_ref());
            if producer.is_some_and(|producer| producer.connection_id == self.not_from) {
                return false;
            }
        }
        let delivered = Delivered { message, redelivery_counter: redeliveries };
        self.selector.as_ref().is_none_or(|selector| selector.matches(&delivered))
    }
}

/// What kind of consumer it is.
#[derive(Debug)]
pub enum Role {
    /// Takes messages from queues.
    Queue(Mutex<Vec<Arc<QueueCell>>>),
    /// Looks at the messages of queues.
    Browser(Mutex<Browse>),
    /// Hears what topics publish.
    Topic(Mutex<TopicFlow>),
    /// The consumer of a durable subscription.
    Durable(Arc<Durable>),
}

/// A consumer.
#[derive(Debug)]
pub struct Subscription {
    pub id: Arc<ConsumerId>,
    pub info: Arc<ConsumerInfo>,
    pub filter: Filter,
    pub role: Role,
    window: Mutex<WindowState>,
    outbox: Arc<Outbox>,
    broker: Weak<Broker>,
    /// Noted in the outbox, to be resumed when that has room.
    waiting: AtomicBool,
    /// For the slow consumer strategies.
    pub pace: Pace,
    /// Of a bridge's consumer.
    pub throttle: Throttle,
    /// Some policy has `advisoryForDispatched`.
    tells_dispatch: bool,
    /// By which the temporary store calls it.
    spool_side: OnceLock<Arc<Side>>,
}

#[derive(Debug)]
struct WindowState {
    window: Window,
    closed: bool,
    /// Queues that had a message for this consumer and found no room, in the order in which they came.
    blocked: VecDeque<Arc<QueueCell>>,
    /// Counts pulls, so that the time-out of an old one does not end a new one.
    pulls: u64,
}

impl Subscription {
    pub fn new(
        info: Arc<ConsumerInfo>,
        filter: Filter,
        role: Role,
        extends: bool,
        outbox: &Arc<Outbox>,
        broker: &Arc<Broker>,
    ) -> Self {
        Self {
            id: Arc::clone(&filter.consumer),
            window: Mutex::new(WindowState {
                window: Window::new(info.prefetch_size, extends),
                closed: false,
                blocked: VecDeque::new(),
                pulls: 0,
            }),
            info,
            filter,
            role,
            outbox: Arc::clone(outbox),
            broker: Arc::downgrade(broker),
            waiting: AtomicBool::new(false),
            pace: Pace::new(broker.now_ms()),
            throttle: Throttle::default(),
            tells_dispatch: broker.region.policies().tell_dispatched(),
            spool_side: OnceLock::new(),
        }
    }

    /// Notes that this consumer is slow now.
    pub fn found_slow(&self, now_ms: i64) {
        self.pace.slow(now_ms);
    }

    /// Whether a message may be delivered now: the window has room and the peer reads.
    pub fn has_room(self: &Arc<Self>) -> bool {
        self.window_has_room() && self.outbox_has_room()
    }

    /// The same for a queue. Where there is none the queue is noted, to get [`Event::Wake`] once
    /// there is room, so that a consumer of many queues need not ask them all.
    pub fn has_room_or_notes(self: &Arc<Self>, queue: &Arc<QueueCell>) -> bool {
        loop {
            {
                let mut state = self.window.lock();
                if state.closed {
                    return false;
                }
                if state.window.room() == 0 {
                    state.blocked.push_back(Arc::clone(queue));
                    return false;
                }
            }
            if self.outbox_has_room() {
                return true;
            }
            self.window.lock().blocked.push_back(Arc::clone(queue));
            if self.waiting.load(Ordering::Acquire) {
                return false;
            }
            // The peer has read meanwhile, and who told so may have come before the note.
            self.window.lock().blocked.retain(|other| !Arc::ptr_eq(other, queue));
        }
    }

    /// The next queue to wake: noted, while there is room.
    fn next_blocked(&self) -> Option<Arc<QueueCell>> {
        if self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.window.lock();
        if state.closed || state.window.room() == 0 { None } else { state.blocked.pop_front() }
    }

    /// Where its messages go.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Messages in the window.
    pub fn window_len(&self) -> usize {
        self.window.lock().window.len()
    }

    fn window_has_room(&self) -> bool {
        let state = self.window.lock();
        !state.closed && state.window.room() > 0
    }

    /// Whether the peer reads. If not, the subscription is resumed when it does.
    pub fn outbox_has_room(self: &Arc<Self>) -> bool {
        if self.waiting.load(Ordering::Acquire) {
            return false;
        }
        self.outbox.has_room(|| {
            self.waiting.store(true, Ordering::Release);
            let weak: Weak<Self> = Arc::downgrade(self);
            weak as Weak<dyn Resume>
        })
    }

    /// Delivers a message into the window. Returns whether it was taken; not if the window has closed
    /// or filled meanwhile.
    pub fn deliver(
        &self,
        held: InFlight,
        destination: &Arc<Destination>,
        first_of_group: bool,
        now_ms: i64,
    ) -> bool {
        let mut state = self.window.lock();
        if state.closed || state.window.room() == 0 {
            return false;
        }
        // Under the lock: what is dispatched later is written later.
        self.write(&held.message, destination, held.redeliveries, first_of_group, now_ms);
        state.window.dispatch(held);
        true
    }

    /// Puts a message into the outbox, past the window.
    fn write(
        &self,
        message: &Arc<Message>,
        destination: &Arc<Destination>,
        redelivery_counter: i32,
        first_of_group: bool,
        now_ms: i64,
    ) {
        self.outbox.delivery(Delivery {
            consumer_id: Arc::clone(&self.id),
            message: Some(Arc::clone(message)),
            destination: Some(Arc::clone(destination)),
            redelivery_counter,
            broker_out_time: now_ms,
            first_of_group,
            told: self.tells_dispatch && !self.info.browser && !destination.is_advisory(),
        });
    }

    /// The delivery without a message: end of a browse, or nothing to pull.
    fn write_nothing(&self, now_ms: i64) {
        self.outbox.delivery(Delivery {
            consumer_id: Arc::clone(&self.id),
            message: None,
            destination: None,
            redelivery_counter: 0,
            broker_out_time: now_ms,
            first_of_group: false,
            told: false,
        });
    }

    /// Applies an acknowledgement to the window.
    ///
    /// # Errors
    /// See [`Window::acknowledge`].
    pub fn acknowledge(&self, ack: &MessageAck, in_transaction: bool) -> Result<Acked, Refusal> {
        self.window.lock().window.acknowledge(ack, in_transaction)
    }

    /// See [`Window::committed`].
    pub fn committed(&self, messages: &[InFlight]) {
        self.window.lock().window.committed(messages);
    }

    /// See [`Window::rolled_back`].
    pub fn rolled_back(&self, messages: Vec<InFlight>) -> Vec<InFlight> {
        self.window.lock().window.rolled_back(messages)
    }

    /// How many messages it holds unacknowledged, and its prefetch.
    pub fn held_of_prefetch(&self) -> (usize, usize) {
        let state = self.window.lock();
        (state.window.len(), state.window.prefetch)
    }

    /// Closes the window and takes out what it held, apart from what an open transaction has.
    pub fn close(&self) -> Vec<InFlight> {
        let mut state = self.window.lock();
        state.closed = true;
        let mut unacked = state.window.take_all();
        unacked.retain(|held| !held.acked);
        unacked
    }

    pub fn forget_queue(&self, queue: &Arc<QueueCell>) {
        {
            let mut state = self.window.lock();
            state.window.forget_queue(queue);
            state.blocked.retain(|other| !Arc::ptr_eq(other, queue));
        }
        if let Role::Queue(queues) = &self.role {
            queues.lock().retain(|other| !Arc::ptr_eq(other, queue));
        }
    }

    pub fn set_prefetch(&self, prefetch: i32) {
        let prefetch = usize::try_from(prefetch).unwrap_or(0);
        self.window.lock().window.prefetch = prefetch;
        if let Role::Topic(flow) = &self.role {
            flow.lock().prefetch = prefetch;
        }
    }

    /// A pull wants one message. Returns its number.
    pub fn open_pull(&self) -> u64 {
        let mut state = self.window.lock();
        state.pulls += 1;
        if state.window.prefetch == 0 {
            state.window.extension = 1;
        }
        if let Role::Topic(flow) = &self.role {
            flow.lock().open_pull();
        }
        state.pulls
    }

    /// Answers pull number `pull` with nothing, unless it was answered. Returns whether it now is.
    pub fn end_pull(&self, pull: u64, now_ms: i64) -> bool {
        let mut state = self.window.lock();
        if state.closed || state.pulls != pull {
            return false;
        }
        let unanswered = match &self.role {
            Role::Topic(flow) => flow.lock().end_pull(),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => {
                state.window.prefetch == 0 && std::mem::take(&mut state.window.extension) > 0
            }
        };
        if unanswered {
            self.write_nothing(now_ms);
        }
        unanswered
    }

    /// Whether pull number `pull` still waits for a message.
    pub fn pull_waits(&self, pull: u64) -> bool {
        let state = self.window.lock();
        let waits = match &self.role {
            Role::Topic(flow) => flow.lock().pull_waits(),
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => state.window.extension > 0,
        };
        state.pulls == pull && waits
    }

    /// Has queues dispatch for which there was no room before.
    pub fn wake_queues(&self, broker: &Broker) {
        while let Some(queue) = self.next_blocked() {
            broker.apply(&queue, Event::Wake(Arc::clone(&self.id)));
        }
    }

    /// Dispatches whatever this consumer has room for now.
    pub fn wake(self: &Arc<Self>, broker: &Arc<Broker>) {
        match &self.role {
            Role::Queue(_) => self.wake_queues(broker),
            Role::Browser(browse) => self.browse(&mut browse.lock(), broker),
            Role::Topic(_) => broker.carry_out_spool(self, self.drain_topic(broker)),
            Role::Durable(durable) => broker.apply_durable(durable, durable::Event::Wake),
        }
    }
}

impl Resume for Subscription {
    fn resume(self: Arc<Self>) {
        self.waiting.store(false, Ordering::Release);
        if let Some(broker) = self.broker.upgrade() {
            self.wake(&broker);
        }
    }
}

/// As ActiveMQ prints a subscription in its errors.
impl std::fmt::Display for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.role {
            Role::Queue(queues) => {
                let queues = queues.lock().clone();
                let state = self.window.lock();
                let window = &state.window;
                write!(
                    f,
                    "QueueSubscription: consumer={}, destinations={}, dispatched={}, delivered={}, \
                     pending=0, prefetch={}, prefetchExtension={}",
                    self.id,
                    queues.len(),
                    window.len(),
                    window.extension,
                    window.prefetch,
                    window.extension
                )
            }
            Role::Browser(_) => write!(f, "QueueBrowserSubscription: consumer={}", self.id),
            Role::Topic(flow) => {
                let flow = flow.lock();
                write!(
                    f,
                    "TopicSubscription: consumer={}, destinations=1, dispatched={}, delivered={}, \
                     matched={}, discarded={}, prefetchExtension={}",
                    self.id,
                    flow.in_flight,
                    flow.consumed,
                    flow.pending_count(),
                    flow.discarded,
                    flow.extension
                )
            }
            Role::Durable(durable) => {
                write!(f, "DurableTopicSubscription-{durable}, id={}", self.id)
            }
        }
    }
}
