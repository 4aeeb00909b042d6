//! Advisory messages: the broker tells on topics under `ActiveMQ.Advisory.` what happens to it.
//!
//! Clients learn of temporary destinations from them, bridges of consumers. A new consumer of an
//! advisory topic first hears, addressed to it alone, what is there already.
//!
//! **Invariant:** advisories are sent one at a time and under no other lock, so every listener hears
//! them in one order.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Broker;
use super::backlog::Keeper;
use super::client::REMOVE_OPERATION;
use super::region::Cell;
use super::subscription::Subscription;
use super::usage::Charge;
use super::virtual_demand;
use crate::openwire::destination::ADVISORY_PREFIX;
use crate::openwire::map::{PrimitiveMap, Value};
use crate::openwire::{
    Command, ConnectionId, ConsumerId, Destination, DestinationInfo, DestinationKind, Message,
    MessageId, ProducerId,
};

/// What advisories need of the broker that sends them.
#[derive(Debug)]
pub(super) struct Advisories {
    pub(super) enabled: bool,
    producer_id: Arc<ProducerId>,
    sequence: AtomicI64,
    /// Consumers of advisory topics or of patterns; without any nothing is sent.
    listeners: AtomicUsize,
    order: Mutex<()>,
}

impl Advisories {
    pub(super) fn new(enabled: bool, connection_id: &str) -> Self {
        Self {
            enabled,
            producer_id: Arc::new(ProducerId::new(connection_id, 0, 0)),
            sequence: AtomicI64::new(0),
            listeners: AtomicUsize::new(0),
            order: Mutex::new(()),
        }
    }

    /// Of the connection that advisories are said to come from; no client has it.
    pub(super) fn connection_id(&self) -> String {
        self.producer_id.connection_id.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Whether a consumer of `destination`, one member of a composite, may hear advisories.
pub(super) fn listens(destination: &Destination) -> bool {
    destination.class == DestinationKind::Topic
        && (destination.is_advisory() || destination.is_pattern())
}

/// `Queue.X`, `Topic.X`, and for temporary ones as well: the rest of an advisory topic's name.
pub(super) fn path_of(destination: &Destination) -> String {
    let kind = if destination.is_queue() { "Queue" } else { "Topic" };
    format!("{kind}.{}", destination.name())
}

/// The topic about destinations of this kind.
fn destination_topic(kind: DestinationKind) -> &'static str {
    match kind {
        DestinationKind::Queue => "Queue",
        DestinationKind::Topic => "Topic",
        DestinationKind::TempQueue => "TempQueue",
        DestinationKind::TempTopic => "TempTopic",
    }
}

/// Something to tell.
#[derive(Debug)]
pub(super) struct Advisory {
    /// After `ActiveMQ.Advisory.`.
    pub(super) topic: String,
    pub(super) data: Option<Command>,
    pub(super) properties: Vec<(&'static str, Value)>,
}

impl Broker {
    pub(super) fn count_listener(&self, change: isize) {
        if change > 0 {
            self.advisories.listeners.fetch_add(1, Ordering::Relaxed);
        } else {
            self.advisories.listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn tells(&self) -> bool {
        self.advisories.enabled && self.advisories.listeners.load(Ordering::Relaxed) > 0
    }

    /// Tells everyone who listens.
    pub(super) fn tell(&self, advisory: impl FnOnce() -> Advisory) {
        if self.tells() {
            self.publish_advisory(advisory(), None);
        }
    }

    /// A message of the broker itself.
    pub(super) fn own_message(&self) -> Message {
        let sequence = self.advisories.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let producer_id = Arc::clone(&self.advisories.producer_id);
        Message {
            message_id: Some(MessageId::new(Arc::clone(&producer_id), sequence)),
            producer_id: Some(producer_id),
            ..Message::default()
        }
    }

    fn publish_advisory(&self, advisory: Advisory, only: Option<&Arc<ConsumerId>>) {
        let own = self.own_message();
        let message_id = own
            .message_id
            .clone()
            .map(|id| MessageId { broker_sequence_id: self.next_sequence(), ..id });
        let name = format!("{ADVISORY_PREFIX}{}", advisory.topic);
        let topic = Arc::new(Destination::topic(&name));
        let mut properties: PrimitiveMap = advisory.properties.into_iter().collect();
        let text = |text: &str| Value::String(text.into());
        properties.insert("originBrokerName", text(self.name()));
        let id = self.id.value.as_ref().map(|id| Value::String(id.clone()));
        properties.insert("originBrokerId", id.unwrap_or_default());
        properties.insert("originBrokerURL", text(&self.url()));
        let message = Arc::new(Message {
            message_id,
            destination: Some(Arc::clone(&topic)),
            kind: Some("Advisory".into()),
            data_structure: advisory.data,
            target_consumer_id: only.map(Arc::clone),
            // Four names and numbers always fit a map.
            marshalled_properties: properties.encode().ok(),
            broker_in_time: self.now_ms(),
            ..own
        });
        let _in_order = self.advisories.order.lock();
        match self.region.get(&topic) {
            Some(Cell::Topic(cell)) => {
                let durables = cell.reserve(&message);
                self.publish(&cell, durables, Keeper::Memory, &message);
            }
            Some(Cell::Queue(_)) | None => {
                for consumer in self.region.pattern_consumers(&topic) {
                    if consumer.filter.accepts(&message, 0) {
                        let nowhere = Arc::default();
                        let bytes = message.memory_bytes();
                        let mut charged = || Charge::take(bytes, &self.memory, bytes, &nowhere);
                        let outcome = consumer.publish(&message, &topic, self, &mut charged);
                        let spooled = outcome.spooled.map(|key| (&consumer, key));
                        self.spool(&message, spooled.into_iter());
                    }
                }
            }
        }
    }

    pub(super) fn connection_changed(&self, data: impl Into<Command>) {
        self.tell(|| Advisory {
            topic: "Connection".to_owned(),
            data: Some(data.into()),
            properties: Vec::new(),
        });
    }

    pub(super) fn destination_changed(&self, info: DestinationInfo) {
        let Some(destination) = info.destination.clone() else { return };
        if destination.is_advisory() {
            return;
        }
        self.virtual_queue_changed(&destination, info.operation_type == REMOVE_OPERATION);
        self.tell(|| Advisory {
            topic: destination_topic(destination.class).to_owned(),
            data: Some(info.into()),
            properties: Vec::new(),
        });
    }

    /// A consumer of `destination` came or went: `data` is its ConsumerInfo, RemoveInfo or
    /// RemoveSubscriptionInfo.
    pub(super) fn consumers_changed(&self, destination: &Destination, data: impl Into<Command>) {
        if !destination.is_advisory() {
            let data = data.into();
            self.virtual_consumers_changed(destination, &data);
            self.tell(|| self.consumer_advisory(destination, data));
        }
    }

    pub(super) fn consumer_advisory(&self, destination: &Destination, data: Command) -> Advisory {
        let cells = self.cells_of(destination);
        let count: usize = cells.iter().map(Cell::consumer_count).sum();
        Advisory {
            topic: format!("Consumer.{}", path_of(destination)),
            data: Some(data),
            properties: vec![(
                "consumerCount",
                Value::Int(i32::try_from(count).unwrap_or(i32::MAX)),
            )],
        }
    }

    pub(super) fn producers_changed(&self, destination: &Destination, data: impl Into<Command>) {
        if !destination.is_advisory() {
            self.tell(|| self.producer_advisory(destination, data.into()));
        }
    }

    fn producer_advisory(&self, destination: &Destination, data: Command) -> Advisory {
        let count = self.cells_of(destination).iter().map(|cell| cell.producers(0)).sum();
        Advisory {
            topic: format!("Producer.{}", path_of(destination)),
            data: Some(data),
            properties: vec![("producerCount", Value::Int(count))],
        }
    }

    /// The existing destinations that a name, pattern or composite stands for.
    fn cells_of(&self, destination: &Destination) -> Vec<Cell> {
        let of = |member: Destination| {
            if member.is_pattern() {
                self.region.matching(&member)
            } else {
                self.region.get(&member).into_iter().collect()
            }
        };
        destination.members().into_iter().flat_map(of).collect()
    }

    /// `message` expired on, or was dead-lettered from (`MessageDLQd`), a destination.
    pub(super) fn message_left(
        &self,
        how: &str,
        destination: &Destination,
        message: &Arc<Message>,
    ) {
        let policy = self.region.policies().entry_for(destination);
        self.message_told(how, destination, &policy, message, Vec::new());
    }

    /// A producer that names no destination came or went.
    pub(super) fn anonymous_producers_changed(&self, data: impl Into<Command>) {
        if self.options.anonymous_producer_advisory_support {
            self.tell(|| Advisory {
                topic: "Producer.Anonymous".to_owned(),
                data: Some(data.into()),
                properties: Vec::new(),
            });
        }
    }

    /// Tells a new consumer of advisory topics what is there already.
    pub(super) fn replay(&self, consumer: &Arc<Subscription>, member: &Destination) {
        if !self.advisories.enabled || !listens(member) {
            return;
        }
        for advisory in self.present(member) {
            let topic = Destination::topic(&format!("{ADVISORY_PREFIX}{}", advisory.topic));
            if *member == topic || member.matches(&topic) {
                self.publish_advisory(advisory, Some(&consumer.id));
            }
        }
    }

    /// What is there now, as advisories; only of the sections that `listener` may hear at all.
    fn present(&self, listener: &Destination) -> Vec<Advisory> {
        let mut all = Vec::new();
        let clients = self.all_clients();
        if may_hear(listener, "Connection") {
            all.extend(clients.iter().map(|client| Advisory {
                topic: "Connection".to_owned(),
                data: Some(client.public_info().into()),
                properties: Vec::new(),
            }));
        }
        let kinds = [
            DestinationKind::Queue,
            DestinationKind::Topic,
            DestinationKind::TempQueue,
            DestinationKind::TempTopic,
        ];
        for kind in kinds.into_iter().filter(|kind| may_hear(listener, destination_topic(*kind))) {
            let cells = self.region.all(kind);
            let shown = cells.iter().map(Cell::destination).filter(|d| !d.is_advisory());
            all.extend(shown.map(|destination| {
                Advisory {
                    topic: destination_topic(kind).to_owned(),
                    data: Some(
                        DestinationInfo {
                            connection_id: destination
                                .temporary_owner()
                                .map(|owner| Arc::new(ConnectionId::new(owner))),
                            destination: Some(Arc::clone(destination)),
                            broker_path: self.path_to(destination),
                            ..DestinationInfo::default()
                        }
                        .into(),
                    ),
                    properties: Vec::new(),
                }
            }));
        }
        if may_hear(listener, "Producer") {
            for info in clients.iter().flat_map(|client| client.producer_infos()) {
                if let Some(destination) = info.destination.clone().filter(|d| !d.is_advisory()) {
                    all.push(self.producer_advisory(&destination, Command::ProducerInfo(info)));
                }
            }
        }
        if may_hear(listener, virtual_demand::SECTION) {
            all.extend(self.present_virtual_consumers(&self.consumer_infos(&clients)));
        }
        if may_hear(listener, "Consumer") {
            for info in self.consumer_infos(&clients) {
                if let Some(destination) = info.destination.clone().filter(|d| !d.is_advisory()) {
                    all.push(self.consumer_advisory(&destination, Command::ConsumerInfo(info)));
                }
            }
        }
        if may_hear(listener, "MasterBroker") {
            // That it has become the master, it has said before anybody could hear it.
            all.push(Advisory {
                topic: "MasterBroker".to_owned(),
                data: None,
                properties: Vec::new(),
            });
        }
        if may_hear(listener, "NetworkBridge") {
            all.extend(self.bridges.present());
        }
        all
    }
}

/// Whether a consumer of `listener` can hear an advisory topic whose name goes on with `section`.
fn may_hear(listener: &Destination, section: &str) -> bool {
    let name = listener.name();
    match name.strip_prefix(ADVISORY_PREFIX) {
        Some(rest) => {
            rest.split('.').next().is_some_and(|part| [section, "*", ">"].contains(&part))
        }
        None => listener.is_pattern(),
    }
}
