//! Producers, what they send, and whether there is room for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Client, removal_of};
use crate::base::bug::planted_bug;
use crate::broker::keeping::TemporaryRoom;
use crate::broker::queue::QueueCell;
use crate::broker::refusal::Refusal;
use crate::broker::region::Cell;
use crate::broker::{Broker, why};
use crate::openwire::{Command, Destination, Message, ProducerId, ProducerInfo};
use crate::store::{Pressure, Ticket};

/// Whether a message may be sent now.
#[derive(Debug)]
pub enum Room {
    Free,
    /// A limit is reached.
    Full(Wait),
}

/// A producer held at a limit.
#[derive(Debug)]
pub struct Wait {
    broker: Arc<Broker>,
    destination: Arc<Destination>,
    producer: Option<Arc<ProducerId>>,
    kept: Kept,
    give_up_after: Option<Duration>,
    /// `blockedProducerWarningInterval`.
    warn_every: Option<Duration>,
}

/// Whether a message has to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Not,
    /// By queues, and by topics that have durable subscriptions.
    Persistent,
    /// Wherever it is sent to: until then.
    Scheduled,
}

impl Kept {
    fn of(persistent: bool) -> Self {
        if persistent { Self::Persistent } else { Self::Not }
    }
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortage {
    Memory,
    /// Disk: the limit of `storeUsage` is reached, or the file system is full.
    Store {
        limit_bytes: u64,
        /// `storeUsageHighWaterMark`.
        percent: u8,
    },
    /// More waits to be written than there should; a moment helps.
    Writing,
}

/// A held producer is first named in the log after this long.
const WARN_AFTER: Duration = Duration::from_secs(1);

impl Wait {
    /// Returns when there is room.
    ///
    /// # Errors
    /// `sendFailIfNoSpaceAfterTimeout` is over.
    pub async fn wait(self) -> Result<(), Refusal> {
        match self.give_up_after {
            None => self.room().await,
            Some(limit) => {
                let in_time = tokio::time::timeout(limit, self.room()).await;
                in_time.map_err(|_| self.no_space())?;
            }
        }
        Ok(())
    }

    async fn room(&self) {
        let broker = &self.broker;
        let journal = broker.stores.journal.as_ref().map(|journal| journal.changed());
        let temporary = broker.stores.temporary.as_ref().map(|store| store.changed());
        let changed = if self.kept == Kept::Not { temporary } else { journal };
        let has_room = || broker.shortage(&self.destination, self.kept).is_none();
        let room = broker.memory.freed_until(changed, has_room);
        tokio::pin!(room);
        let Some(every) = self.warn_every else { return room.await };
        let began = tokio::time::Instant::now();
        let mut next = WARN_AFTER;
        while tokio::time::timeout_at(began + next, &mut room).await.is_err() {
            self.warn(next, every);
            next += every.max(WARN_AFTER);
        }
    }

    /// Says that the producer is held, unless the log has just said it of another one of the destination.
    fn warn(&self, blocked: Duration, every: Duration) {
        let Some(shortage) = self.broker.shortage(&self.destination, self.kept) else {
            return;
        };
        let Self { destination, .. } = self;
        let cell = self.broker.region.get(destination);
        if cell.is_some_and(|cell| !cell.warned().is_due(self.broker.now_ms(), every)) {
            return;
        }
        let producer = self.producer.as_ref().map(ToString::to_string).unwrap_or_default();
        let held = match shortage {
            Shortage::Memory => format!("{shortage}. Producer ({producer}) stopped"),
            Shortage::Store { .. } | Shortage::Writing => {
                format!("{shortage}. Stopping producer ({producer})")
            }
        };
        let seconds = blocked.as_secs();
        tracing::warn!(
            "{held} to prevent flooding {destination}. See {FLOW_CONTROL_PAGE} for more info \
             (blocking for: {seconds}s)"
        );
    }

    fn no_space(&self) -> Refusal {
        let shortage = self.broker.shortage(&self.destination, self.kept);
        no_space(shortage.unwrap_or(Shortage::Memory), &self.destination)
    }
}

const FLOW_CONTROL_PAGE: &str = "http://activemq.apache.org/producer-flow-control.html";

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => write!(f, "Usage Manager Memory Limit reached"),
            Self::Store { limit_bytes, percent } => {
                write!(f, "Persistent store is Full, {percent}% of {limit_bytes}")
            }
            Self::Writing => write!(f, "The disk is slower than what is sent"),
        }
    }
}

fn no_space(shortage: Shortage, destination: &Destination) -> Refusal {
    Refusal::ResourceAllocation(format!(
        "{shortage} on {destination}. See {FLOW_CONTROL_PAGE} for more info"
    ))
}

impl Broker {
    /// What messages for this destination have to wait for.
    fn shortage(&self, destination: &Destination, kept: Kept) -> Option<Shortage> {
        // What memory cannot hold goes to the temporary store.
        let spills = kept == Kept::Not
            && if self.memory.is_full() {
                self.spills(destination)
            } else {
                self.is_full_for(destination) && self.spills_at_limit(destination)
            };
        match spills.then(|| self.stores.temporary_room()) {
            Some(TemporaryRoom::Free) => return None,
            Some(TemporaryRoom::Congested | TemporaryRoom::Opening) => {
                return Some(Shortage::Writing);
            }
            Some(TemporaryRoom::Nothing) | None if self.is_full_for(destination) => {
                return Some(Shortage::Memory);
            }
            Some(TemporaryRoom::Nothing) | None => {}
        }
        let journal = self.stores.journal.as_ref().filter(|_| kept != Kept::Not)?;
        if destination.is_temporary() {
            return None;
        }
        let limit_bytes = self.stores.store_limit_bytes;
        let percent = self.store_mark(destination);
        let shortage = match journal.pressure() {
            Pressure::Full => Some(Shortage::Store { limit_bytes, percent: 100 }),
            Pressure::Congested => Some(Shortage::Writing),
            Pressure::Free if journal.written_bytes() >= mark_bytes(limit_bytes, percent) => {
                Some(Shortage::Store { limit_bytes, percent })
            }
            Pressure::Free => None,
        };
        shortage.filter(|_| kept == Kept::Scheduled || self.is_stored(destination))
    }

    /// Whether what is persistent is stored that is sent here, be it by what it is copied to.
    fn is_stored(&self, destination: &Destination) -> bool {
        destination.members().iter().any(|member| {
            let heard = match self.region.get(member) {
                Some(Cell::Topic(topic)) => topic.has_durables(),
                Some(Cell::Queue(_)) => true,
                None => member.is_queue(),
            };
            heard || self.forwarding.concerns(member)
        })
    }

    /// Whether what waits at this destination goes to the temporary store when memory is short.
    fn spills(&self, destination: &Destination) -> bool {
        destination.members().iter().all(|member| match self.region.get(member) {
            Some(Cell::Topic(topic)) => topic.spools(),
            Some(Cell::Queue(_)) | None => true,
        })
    }

    /// Whether what waits here goes to the temporary store when it reaches `memoryLimit`. Without a journal
    /// ActiveMQ keeps all that waits in memory.
    fn spills_at_limit(&self, destination: &Destination) -> bool {
        let is_queue = destination.is_queue() && !destination.is_composite();
        is_queue && !destination.is_temporary() && self.stores.journal.is_some()
    }

    /// Whether a message that comes to this queue now is to go to the temporary store.
    pub(in crate::broker) fn spills_from(&self, queue: &QueueCell) -> bool {
        queue.policy.memory_limit.is_some()
            && self.spills_at_limit(&queue.destination)
            && queue.is_over_mark()
            && self.stores.has_temporary_room()
    }

    /// What a producer has to wait for, where its destination has it wait.
    fn held_by(&self, destination: &Destination, kept: Kept) -> Option<Shortage> {
        let shortage = self.shortage(destination, kept)?;
        let own_limit = shortage == Shortage::Memory && !self.memory.is_full();
        let goes_on =
            own_limit && !self.region.policies().entry_for(destination).producer_flow_control;
        (!goes_on).then_some(shortage)
    }

    /// `sendFailIfNoSpace`, of the destination or of the broker.
    fn fails_when_full(&self, destination: &Destination) -> bool {
        let policy = self.region.policies().entry_for(destination);
        policy
            .send_fail_if_no_space
            .unwrap_or_else(|| self.options.usage_for_producers().send_fail_if_no_space)
    }

    /// Why a message for this destination would be refused, if it would.
    pub(in crate::broker) fn refuses(
        &self,
        destination: &Destination,
        persistent: bool,
    ) -> Option<Refusal> {
        let shortage = self.held_by(destination, Kept::of(persistent))?;
        let fails = shortage != Shortage::Writing && self.fails_when_full(destination);
        fails.then(|| no_space(shortage, destination))
    }

    /// Destinations whose room a message needs as well: those that virtual destinations copy it to.
    fn copied_to(
        &self,
        destination: &Arc<Destination>,
        message: &Message,
    ) -> Vec<Arc<Destination>> {
        if !self.region.policies().limit_memory() || !self.forwarding.concerns(destination) {
            return Vec::new();
        }
        let mut to = Vec::new();
        for it in self.forwarding.virtual_topics(destination) {
            let queues = it.queues(destination, &self.region);
            let queues = queues.iter().map(|queue| Arc::clone(&queue.destination));
            let passed_over = |queue: &Arc<Destination>| {
                it.options.drop_on_resource_limit
                    && self.refuses(queue, message.persistent).is_some()
            };
            to.extend(queues.filter(|queue| !passed_over(queue)));
        }
        for composite in self.forwarding.composites(destination) {
            to.extend(composite.targets(message).cloned().map(Arc::new));
        }
        to
    }

    /// What the broker's own messages for this destination have to wait for; `None` when there is room.
    pub(in crate::broker) fn wait_for_room(
        &self,
        destination: &Arc<Destination>,
        persistent: bool,
    ) -> Option<Wait> {
        let kept = Kept::of(persistent);
        self.held_by(destination, kept)?;
        let policy = self.region.policies().entry_for(destination);
        Some(Wait {
            broker: self.this.upgrade()?,
            destination: Arc::clone(destination),
            producer: None,
            kept,
            give_up_after: None,
            warn_every: policy.blocked_producer_warning_interval,
        })
    }

    /// `storeUsageHighWaterMark` of this destination, in percent.
    fn store_mark(&self, destination: &Destination) -> u8 {
        if !self.region.policies().mark_store() {
            return 100;
        }
        self.region.policies().entry_for(destination).store_usage_high_water_mark.min(100)
    }

    fn tell_full(&self, destination: &Destination, producer: Option<&Arc<ProducerInfo>>) {
        let used = match self.region.get(destination) {
            Some(Cell::Queue(queue)) => queue.memory_bytes(),
            Some(Cell::Topic(topic)) => topic.waiting_bytes(),
            None => self.memory.used(),
        };
        self.is_full(destination, producer, used);
    }

    /// Whether messages for this destination have to wait for memory.
    fn is_full_for(&self, destination: &Destination) -> bool {
        if self.memory.is_full() || !self.region.policies().limit_memory() {
            return self.memory.is_full();
        }
        let limit = self.region.policies().entry_for(destination).memory_limit;
        match (limit, self.region.get(destination)) {
            (Some(limit), Some(Cell::Queue(queue))) => queue.memory_bytes() as u64 >= limit,
            (Some(limit), Some(Cell::Topic(topic))) => topic.waiting_bytes() as u64 >= limit,
            (None, _) | (_, None) => false,
        }
    }
}

fn mark_bytes(limit_bytes: u64, percent: u8) -> u64 {
    if percent == 100 { limit_bytes } else { limit_bytes / 100 * u64::from(percent) }
}

/// As the logging plugin writes it.
fn sending(message: &Message) -> String {
    let id = message.message_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let to = message.destination.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("Sending message: {id} to {to}")
}

impl Client {
    /// Registers a producer; its destination is made if need be.
    ///
    /// # Errors
    /// The destination cannot be made.
    pub fn add_producer(&self, info: &Arc<ProducerInfo>) -> Result<(), Refusal> {
        let plugins = &self.broker.plugins;
        let info = &plugins.dot_in(info, |info| &mut info.destination);
        plugins.log(
            |it| it.log_producer_events,
            || format!("Adding Producer: {:?} to {:?}", info.producer_id, info.destination),
        );
        let Some(id) = &info.producer_id else {
            return Err(Refusal::Jms("a producer without an id".to_owned()));
        };
        if self.state.lock().producers.contains_key(id) {
            return Ok(());
        }
        let cells = self.cells_for_producer(info)?;
        self.open_state()?.producers.insert(Arc::clone(id), Arc::clone(info));
        for cell in cells {
            cell.producers(1);
        }
        if let Some(destination) = &info.destination {
            self.broker.producers_changed(destination, Command::ProducerInfo(Arc::clone(info)));
        } else {
            self.broker.anonymous_producers_changed(Command::ProducerInfo(Arc::clone(info)));
        }
        Ok(())
    }

    fn cells_for_producer(&self, info: &ProducerInfo) -> Result<Vec<Cell>, Refusal> {
        let Some(destination) = &info.destination else { return Ok(Vec::new()) };
        let members = destination.members().into_iter();
        members.map(|member| self.broker.find(&Arc::new(member), None)).collect()
    }

    /// Forgets a producer; an unknown one is nothing to forget.
    pub fn remove_producer(&self, id: &ProducerId) {
        let info = self.state.lock().producers.remove(id);
        if let Some(info) = info {
            self.dispose_producer(&info);
        }
    }

    pub(super) fn dispose_producer(&self, info: &ProducerInfo) {
        let Some(destination) = &info.destination else {
            if let Some(id) = info.producer_id.clone().map(Command::ProducerId) {
                self.broker.anonymous_producers_changed(removal_of(id));
            }
            return;
        };
        for member in destination.members() {
            if let Some(cell) = self.broker.region.get(&member) {
                cell.producers(-1);
            }
        }
        if !destination.is_temporary() || self.broker.region.get(destination).is_some() {
            let id = info.producer_id.clone().map(Command::ProducerId);
            if let Some(id) = id {
                self.broker.producers_changed(destination, removal_of(id));
            }
        }
    }

    /// Asks before a send whether there is room for it.
    ///
    /// # Errors
    /// There is none, and the configuration says fail (`sendFailIfNoSpace`).
    pub fn room_for(&self, message: &Message) -> Result<Room, Refusal> {
        let Some(destination) = &message.destination else { return Ok(Room::Free) };
        let dotted = self.broker.plugins.dotted(destination);
        let destination = dotted.as_ref().unwrap_or(destination);
        for queue in self.broker.copied_to(destination, message) {
            if let Room::Full(wait) = self.room_at(&queue, message)? {
                return Ok(Room::Full(wait));
            }
        }
        self.room_at(destination, message)
    }

    fn producer(&self, message: &Message) -> Option<Arc<ProducerInfo>> {
        let id = message.producer_id.as_ref()?;
        self.state.lock().producers.get(id).cloned()
    }

    fn room_at(&self, destination: &Arc<Destination>, message: &Message) -> Result<Room, Refusal> {
        if destination.is_advisory() {
            return Ok(Room::Free);
        }
        // All that is sent later is stored. One whose properties say nonsense is refused when it is sent.
        let scheduled =
            || self.broker.scheduler.order_of(message).is_ok_and(|order| order.is_some());
        let needs_no_look =
            message.persistent && destination.is_queue() && !destination.is_composite();
        let kept = match needs_no_look {
            false if scheduled() => Kept::Scheduled,
            _ => Kept::of(message.persistent),
        };
        let Some(shortage) = self.broker.held_by(destination, kept) else {
            return Ok(Room::Free);
        };
        if shortage == Shortage::Memory {
            self.broker.tell_full(destination, self.producer(message).as_ref());
        }
        if self.broker.fails_when_full(destination) && shortage != Shortage::Writing {
            return Err(no_space(shortage, destination));
        }
        let usage = self.broker.options.usage_for_producers();
        let policy = self.broker.region.policies().entry_for(destination);
        let policy_timeout = policy.send_fail_if_no_space_after_timeout;
        Ok(Room::Full(Wait {
            broker: Arc::clone(&self.broker),
            destination: Arc::clone(destination),
            producer: message.producer_id.clone(),
            kept,
            give_up_after: policy_timeout.or(usage.send_fail_if_no_space_after_timeout),
            warn_every: policy.blocked_producer_warning_interval,
        }))
    }

    /// Sends a message, or adds it to the transaction that it names. The response may leave once the
    /// ticket is durable.
    ///
    /// # Errors
    /// The destination is not there and cannot be made, or the transaction is unknown or too large.
    pub fn send(&self, mut message: Message) -> Result<Ticket, Refusal> {
        message.broker_in_time = self.broker.now_ms();
        message.recieved_by_df_bridge = false;
        let wanted = message.response_required;
        if let Some(queue) = why::asked(&message) {
            return self.broker.answer_why(&queue, &message);
        }
        if self.broker.options.populate_jmsx_user_id && !self.peer.network {
            message.user_id = self.info.user_name.clone();
        }
        let plugins = &self.broker.plugins;
        plugins.dot(&mut message.destination);
        plugins.log(|it| it.log_producer_events, || sending(&message));
        if self.broker.answers(&message) {
            return Ok(self.broker.written(wanted));
        }
        if let Some(request) = self.broker.scheduler.request_of(&message)? {
            return self.broker.manage_scheduler(request, wanted);
        }
        let now_ms = message.broker_in_time;
        plugins.stamp(&mut message, self.broker.name(), now_ms);
        if self.peer.network && message.transaction_id.is_none() {
            return self.arrive(message);
        }
        if self.was_stored(&message) {
            tracing::debug!(
                "dropped what was sent again after a failover: {:?}",
                message.message_id
            );
            return Ok(self.broker.written(wanted));
        }
        match message.transaction_id.clone() {
            None => self.broker.accept(message, wanted),
            Some(transaction) => {
                self.check_destination(&message)?;
                self.broker.scheduler.order_of(&message)?;
                self.send_in(&transaction, message)?;
                Ok(Ticket::done())
            }
        }
    }

    /// Takes what a bridge brings, once. Not even a bridge that took over from one that is still being
    /// read can bring a message twice: the second waits here until the first has its place.
    fn arrive(&self, message: Message) -> Result<Ticket, Refusal> {
        let mut arrivals = self.broker.arrivals.lock();
        let wanted = message.response_required;
        let stored = self.broker.stores.journal.as_ref().filter(|_| message.persistent);
        let known = arrivals.knows(&message) || stored.is_some_and(|it| it.is_duplicate(&message));
        if known && !planted_bug!("take-again") {
            tracing::debug!("dropped what a bridge sent again: {:?}", message.message_id);
            return Ok(self.broker.written(wanted));
        }
        let arrival = Message {
            message_id: message.message_id.clone(),
            broker_path: message.broker_path.clone(),
            ..Message::default()
        };
        let ticket = self.broker.accept(message, wanted)?;
        arrivals.note(&arrival);
        Ok(ticket)
    }

    /// Whether a client that came back sends what the journal has, or had, already. Only such a client
    /// repeats itself.
    fn was_stored(&self, message: &Message) -> bool {
        self.info.failover_reconnect
            && message.persistent
            && self.broker.stores.journal.as_ref().is_some_and(|it| it.is_duplicate(message))
    }

    /// A send in a transaction fails at once where it could not succeed later.
    fn check_destination(&self, message: &Message) -> Result<(), Refusal> {
        let members = message.destination.as_ref().map(|d| d.members()).unwrap_or_default();
        for member in members {
            self.broker.find(&Arc::new(member), None)?;
        }
        Ok(())
    }
}
