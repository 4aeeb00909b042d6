//! The broker core: what happens to a message between a producer and a consumer.
//!
//! * [`client`] is one logical connection: what its commands do. Start here.
//! * [`region`] finds destinations by name; [`queue`] and [`topic`] decide who gets what, [`backlog`]
//!   what of it is in memory; [`keeping`] ties both to the stores.
//! * `placing` is the way of a message into its destination; [`forwarding`] says where copies go.
//! * [`subscription`] is a consumer: its window, its filter, where its messages go.
//! * [`hearers`] chooses among the consumers of a topic.
//! * [`outbox`] is what a connection has to write; [`refusal`] what a client may not have.
//! * [`scheduler`] is what is sent later.
//! * [`arrivals`] is what came over bridges lately; [`why`] says why messages wait.
//! * [`transaction`], [`advisory`], [`mod@dead_letter`], [`groups`], [`usage`], [`policy`], [`plugins`],
//!   [`statistics`], [`recovery`], [`eviction`], [`redelivery`] hold one matter each; [`options`] is what a configuration
//!   can ask; `restore` brings back what the journal had.
//! * `virtual_demand` tells other brokers who wants what virtual destinations copy.
//! * [`timer`] and `housekeeping` are what happens without a command of a client.
//!
//! **Invariant:** a decision is a plain function call under the lock of one destination. Locks are
//! taken in one order: region, destination, subscription, outbox; never two destinations at once;
//! nothing here waits.

mod advisory;
pub mod arrivals;
pub mod backlog;
mod bridge_advisory;
pub mod client;
pub mod cluster;
pub mod dead_letter;
pub mod eviction;
pub mod forwarding;
pub mod groups;
pub mod hearers;
mod housekeeping;
pub mod keeping;
pub mod message;
pub mod options;
pub mod outbox;
mod placing;
pub mod plugins;
pub mod policy;
mod policy_advisory;
pub mod queue;
pub mod recovery;
pub mod redelivery;
pub mod refusal;
pub mod region;
mod restore;
pub mod scheduler;
pub mod statistics;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod timer;
pub mod topic;
pub mod transaction;
pub mod usage;
mod virtual_demand;
pub mod why;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use self::advisory::Advisories;
use self::arrivals::Arrivals;
use self::backlog::Keeper;
use self::bridge_advisory::Bridges;
use self::cluster::Cluster;
use self::dead_letter::Discarding;
use self::forwarding::Forwarding;
use self::keeping::Stores;
use self::options::PolicyEntry;
use self::plugins::Plugins;
use self::policy::Policies;
use self::queue::{Event, Moment, QueueCell, Removed};
use self::redelivery::Redeliveries;
use self::region::{Cell, Region};
use self::scheduler::Scheduler;
use self::statistics::Figures;
use self::subscription::durable::{self, Durable, DurableKey};
use self::timer::Timer;
use self::topic::TopicCell;
use self::transaction::Transaction;
use self::usage::Usage;
use crate::base::Clock;
use crate::base::id::IdGenerator;
use crate::openwire::{
    BrokerId, BrokerInfo, ConnectionId, ConnectionInfo, ConsumerInfo, Destination, DestinationInfo,
    XaTransactionId,
};
use crate::store::{Group, Journal, OwnerId, RecoveredOwner};

pub use crate::store::Ticket;
pub use client::{Client, Pulled, Room, Wait};
pub use options::BrokerOptions;
pub use outbox::{Closing, Delivery, Outbox, Outgoing, Probe};
pub use refusal::Refusal;

/// Where a logical connection comes from.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Name of the transport connector that accepted it.
    pub connector: String,
    /// As ActiveMQ writes it: `tcp://127.0.0.1:40784`.
    pub remote_address: String,
    /// It is another broker, which said so, or our own side of a bridge to one.
    pub network: bool,
}

/// The broker: everything that connections share.
#[derive(Debug)]
pub struct Broker {
    name: String,
    id: Arc<BrokerId>,
    options: BrokerOptions,
    clock: Arc<dyn Clock>,
    region: Region,
    forwarding: Forwarding,
    plugins: Plugins,
    redeliveries: Option<Redeliveries>,
    /// What is to be dropped rather than dead-lettered.
    discarding: Vec<Discarding>,
    stores: Stores,
    this: Weak<Self>,
    /// Bytes of the messages that wait or are with consumers.
    pub memory: Arc<Usage>,
    advisories: Advisories,
    scheduler: Scheduler,
    cluster: Cluster,
    bridges: Bridges,
    clients: Mutex<Clients>,
    durables: Mutex<HashMap<DurableKey, Arc<Durable>>>,
    /// XA branches, which any connection may end.
    branches: Mutex<HashMap<XaTransactionId, Transaction>>,
    /// Held while a bridge's message goes to its destination. Taken before all other locks.
    arrivals: Mutex<Arrivals>,
    /// Who says of the bridges why messages wait.
    explainer: OnceLock<Arc<dyn why::Explains>>,
    /// Temporary destinations of clients of other brokers, with the brokers between.
    mirrored: Mutex<HashMap<Arc<Destination>, Vec<Option<BrokerId>>>>,
    /// What was counted before the counters of the broker's statistics began anew.
    counted_before: Mutex<Figures>,
    /// Numbers messages as they arrive (brokerSequenceId).
    sequence: AtomicI64,
    /// The address told to clients and in advisories.
    url: Mutex<String>,
    stopping: AtomicBool,
    /// What is to be done later.
    pub timer: Timer,
}

#[derive(Debug, Default)]
struct Clients {
    by_connection: HashMap<ConnectionId, Arc<Client>>,
    by_client_id: HashMap<String, Arc<Client>>,
}

impl Broker {
    /// A broker without destinations. `memory_limit` is in bytes; `host` stands in generated ids.
    pub fn new(
        options: BrokerOptions,
        memory_limit: u64,
        host: &str,
        clock: Arc<dyn Clock>,
        stores: Stores,
    ) -> Arc<Self> {
        let ids = IdGenerator::new(host, std::process::id(), clock.now_ms());
        let id = options.broker_id.clone().unwrap_or_else(|| ids.generate());
        let scheduler = Scheduler::new(
            options.scheduler_support,
            options.max_scheduler_repeat_allowed,
            ids.generate(),
            &ids.generate(),
        );
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            stores,
            name: options.broker_name.clone(),
            id: Arc::new(BrokerId::new(id)),
            region: Region::new(Policies::new(options.policies.clone())),
            forwarding: Forwarding::new(&options),
            plugins: Plugins::new(&options.plugins),
            redeliveries: Redeliveries::of(&options.plugins),
            discarding: Discarding::all(&options.plugins),
            memory: Arc::new(Usage::new(memory_limit)),
            advisories: Advisories::new(options.advisory_support, &ids.generate()),
            scheduler,
            cluster: Cluster::default(),
            bridges: Bridges::default(),
            clients: Mutex::default(),
            durables: Mutex::default(),
            branches: Mutex::default(),
            arrivals: Mutex::default(),
            explainer: OnceLock::new(),
            mirrored: Mutex::default(),
            counted_before: Mutex::default(),
            sequence: AtomicI64::new(0),
            url: Mutex::default(),
            stopping: AtomicBool::new(false),
            timer: Timer::default(),
            options,
            clock,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> &Arc<BrokerId> {
        &self.id
    }

    pub fn options(&self) -> &BrokerOptions {
        &self.options
    }

    pub fn region(&self) -> &Region {
        &self.region
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The brokers that bridges go to, and who is told of them.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The address that clients are told, as `tcp://host:61616`.
    pub fn url(&self) -> String {
        self.url.lock().clone()
    }

    /// Sets what [`Self::url`] says.
    pub fn set_url(&self, url: &str) {
        url.clone_into(&mut self.url.lock());
    }

    /// What a client is told after the wire format.
    pub fn info(&self) -> BrokerInfo {
        BrokerInfo {
            broker_id: Some(Arc::clone(&self.id)),
            broker_name: Some(self.name.as_str().into()),
            broker_url: Some(self.url().into()),
            ..BrokerInfo::default()
        }
    }

    /// What keeps persistent messages.
    pub fn journal(&self) -> Option<Journal> {
        self.stores.journal.clone()
    }

    /// Whether the store is still ours: who has lost it says nothing more to anybody.
    pub fn is_owner(&self) -> bool {
        self.stores.journal.as_ref().is_none_or(Journal::check_owner)
    }

    /// Writes what waits and closes the stores. To be called when all connections have ended.
    pub fn close_stores(&self) {
        self.stores.close();
    }

    fn next_sequence(&self) -> i64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// From now on nothing that ends counts as a redelivery, and queues give out nothing more.
    pub fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Makes the destinations that exist from the start.
    ///
    /// # Errors
    /// A policy allows fewer destinations.
    pub fn create_destinations(&self) -> Result<(), Refusal> {
        for destination in self.options.destinations.clone() {
            self.find(&Arc::new(destination), None)?;
        }
        Ok(())
    }

    /// Registers a logical connection. One with the same ConnectionId is removed at once and its
    /// outbox told [`Closing::TakenOver`]: it is the half-open socket of a client that came back. So is
    /// a bridge with the client id of an older one: the peer, or the new master in its place, came back.
    ///
    /// # Errors
    /// No client id, or one that another connection has.
    pub fn connect(
        self: &Arc<Self>,
        info: &Arc<ConnectionInfo>,
        peer: &Peer,
        outbox: &Arc<Outbox>,
    ) -> Result<Arc<Client>, Refusal> {
        let client_id = info.client_id.as_ref().ok_or(Refusal::NoClientId)?.to_string();
        let connection_id = info.connection_id.as_deref().cloned().unwrap_or_default();
        let stale = self.clients.lock().by_connection.get(&connection_id).cloned();
        if let Some(stale) = stale {
            tracing::info!("Killing previous stale connection: {}", stale.peer.remote_address);
            stale.outbox.close(Closing::TakenOver);
            stale.close(-2);
        }
        let other = self.clients.lock().by_client_id.get(&client_id).cloned();
        if let Some(stale) = other.filter(|other| other.peer.network && peer.network) {
            tracing::info!(
                "Stopping an existing active network connection: {}",
                stale.peer.remote_address
            );
            stale.outbox.close(Closing::TakenOver);
            stale.close(-1);
        }
        let client = Arc::new(Client::new(self, info, &client_id, peer, outbox));
        {
            let mut clients = self.clients.lock();
            if let Some(other) = clients.by_client_id.get(&client_id) {
                return Err(Refusal::ClientIdInUse {
                    broker: self.name.clone(),
                    client_id,
                    remote_address: other.peer.remote_address.clone(),
                });
            }
            clients.by_client_id.insert(client_id, Arc::clone(&client));
            clients.by_connection.insert(connection_id, Arc::clone(&client));
        }
        self.connection_changed(client.public_info());
        Ok(client)
    }

    /// Asks the connection that has a client id whether its peer is still there, on behalf of another
    /// one that wants the id and is served by `outbox`. `None` where there is nobody else to ask.
    pub fn probe(&self, client_id: &str, outbox: &Arc<Outbox>) -> Option<Probe> {
        let owner = self.clients.lock().by_client_id.get(client_id).cloned()?;
        (!Arc::ptr_eq(&owner.outbox, outbox)).then(|| owner.outbox.probe())
    }

    /// Takes a connection off the register, if it is still this one.
    fn forget(&self, client: &Client) {
        let mut clients = self.clients.lock();
        let is_it = |other: &Arc<Client>| std::ptr::eq(Arc::as_ptr(other), client);
        if clients.by_connection.get(client.connection_id()).is_some_and(is_it) {
            clients.by_connection.remove(client.connection_id());
        }
        if clients.by_client_id.get(client.client_id()).is_some_and(is_it) {
            clients.by_client_id.remove(client.client_id());
        }
    }

    fn all_clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().by_connection.values().cloned().collect()
    }

    /// The consumers of all bridges to other brokers.
    pub fn network_consumers(&self) -> Vec<Arc<ConsumerInfo>> {
        let clients = self.all_clients().into_iter().filter(|client| client.peer.network);
        let infos = clients.flat_map(|client| client.consumer_infos());
        infos.filter(|info| info.network_subscription).collect()
    }

    /// All durable subscriptions, in use or not.
    pub fn durable_infos(&self) -> Vec<Arc<ConsumerInfo>> {
        let durables = self.durables.lock();
        let info = |durable: &Arc<Durable>| {
            Arc::new(ConsumerInfo {
                client_id: Some(durable.key.client_id.as_str().into()),
                ..(*durable.info).clone()
            })
        };
        durables.values().map(info).collect()
    }

    /// Consumers of these connections, and durable subscriptions that are away.
    fn consumer_infos(&self, clients: &[Arc<Client>]) -> Vec<Arc<ConsumerInfo>> {
        let mut infos: Vec<_> = clients.iter().flat_map(|client| client.consumer_infos()).collect();
        let durables = self.durables.lock();
        let away = durables.values().filter(|durable| !durable.is_active());
        infos.extend(away.map(|durable| Arc::clone(&durable.info)));
        infos
    }

    /// The destination, made and advertised if need be; temporary ones only for `creator`.
    fn find(
        &self,
        destination: &Arc<Destination>,
        creator: Option<&Arc<ConnectionId>>,
    ) -> Result<Cell, Refusal> {
        let temporary = creator.is_some() || self.options.allow_temp_auto_creation_on_send;
        let make = |policy| self.make(destination, policy, self.stores.owner_of(destination), None);
        let found = self.region.ensure(destination, temporary, self.moment(), make)?;
        if found.created {
            self.destination_changed(DestinationInfo {
                connection_id: creator.map(Arc::clone),
                destination: Some(Arc::clone(destination)),
                broker_path: self.path_to(destination),
                ..DestinationInfo::default()
            });
        }
        Ok(found.cell)
    }

    /// The brokers between this one and the owner of a temporary destination, if there are any.
    fn path_to(&self, destination: &Destination) -> Option<Vec<Option<BrokerId>>> {
        if destination.is_temporary() {
            self.mirrored.lock().get(destination).cloned()
        } else {
            None
        }
    }

    fn make(
        &self,
        destination: &Arc<Destination>,
        policy: Arc<PolicyEntry>,
        owner: Option<OwnerId>,
        recovered: Option<RecoveredOwner>,
    ) -> Cell {
        if !destination.is_queue() {
            return Cell::Topic(Arc::new(TopicCell::new(Arc::clone(destination), policy, owner)));
        }
        let store_first = self.stores.queues_store_first();
        let queue = QueueCell::new(Arc::clone(destination), policy, owner, store_first);
        let queue = Arc::new(queue);
        // Before the journal knows it: what an owner does not hold is not kept.
        if let Some(recovered) = recovered {
            queue.restore(recovered);
        }
        self.introduce(&queue);
        Cell::Queue(queue)
    }

    fn moment(&self) -> Moment<'_> {
        let short = self.is_memory_short() && self.stores.has_temporary_room();
        Moment { now_ms: self.now_ms(), open: !self.is_stopping(), short, memory: &self.memory }
    }

    /// Applies an event to a queue and does what follows. `false` when the queue was removed
    /// meanwhile.
    fn apply(&self, queue: &Arc<QueueCell>, event: Event) -> bool {
        let mut group = Group::default();
        let applied = self.apply_in(queue, event, &mut group);
        let _ticket = self.append(group);
        applied
    }

    /// The same, with the records for the caller to append.
    fn apply_in(&self, queue: &Arc<QueueCell>, event: Event, group: &mut Group) -> bool {
        let mut moment = self.moment();
        if let Event::Send { keeper: Keeper::Memory, .. } = &event {
            moment.short |= self.spills_from(queue);
        }
        let Some(effects) = queue.apply(event, moment) else { return false };
        self.carry_out(queue, effects, group);
        true
    }

    /// Applies an event to a durable subscription and does what follows.
    fn apply_durable(&self, durable: &Arc<Durable>, event: durable::Event) {
        let mut group = Group::default();
        self.apply_durable_in(durable, event, &mut group);
        let _ticket = self.append(group);
    }

    fn apply_durable_in(&self, durable: &Arc<Durable>, event: durable::Event, group: &mut Group) {
        let mut effects = durable.apply(event, self.moment());
        for (key, message) in std::mem::take(&mut effects.spilled) {
            self.spill_durables(&message, &[(Arc::clone(durable), key)]);
        }
        self.carry_out_durable(durable, effects, group);
    }

    /// Removes a destination with all it holds. Consumers that are left get nothing more of it.
    fn remove_destination(&self, destination: &Arc<Destination>, by: Option<&Arc<ConnectionId>>) {
        if let Some(cell) = self.region.remove(destination) {
            self.drop_cell(cell, by);
        }
    }

    /// Drops what a destination held that was taken out of the region.
    fn drop_cell(&self, cell: Cell, by: Option<&Arc<ConnectionId>>) {
        let destination = Arc::clone(cell.destination());
        match cell {
            Cell::Queue(queue) => {
                let (bytes, removed) = queue.remove();
                self.memory.free(bytes);
                self.forget_owner(queue.owner, &removed);
                self.forget_temporary(&queue.sides, &removed);
                for client in self.all_clients() {
                    client.forget_queue(&queue);
                }
            }
            Cell::Topic(topic) => {
                self.memory.free(topic.remove());
                self.forget_owner(topic.owner, &Removed::default());
            }
        }
        self.destination_changed(DestinationInfo {
            connection_id: by.map(Arc::clone),
            destination: Some(Arc::clone(&destination)),
            operation_type: client::REMOVE_OPERATION,
            broker_path: self.path_to(&destination),
            ..DestinationInfo::default()
        });
        self.mirrored.lock().remove(&destination);
    }

    /// Looks for expired messages where a period of `expireMessagesPeriod` ended after `since_ms`, the
    /// time of the last look. To be called as often as [`Policies::expire_period`] says.
    pub fn expire_messages(&self, since_ms: i64) {
        let now_ms = self.now_ms();
        use crate::openwire::DestinationKind::{Queue, TempQueue};
        for cell in self.region.all(Queue).into_iter().chain(self.region.all(TempQueue)) {
            if let Cell::Queue(queue) = cell
                && queue.policy.is_expire_due(since_ms, now_ms)
            {
                self.apply(&queue, Event::Expire);
            }
        }
        for cell in self.region.all(crate::openwire::DestinationKind::Topic) {
            if let Cell::Topic(topic) = cell {
                topic.drop_older(self);
            }
        }
        let durables: Vec<_> = self.durables.lock().values().cloned().collect();
        for durable in durables {
            let topic = durable.info.destination.as_ref();
            let policy = topic.map(|topic| self.region.policies().entry_for(topic));
            if policy.is_some_and(|policy| policy.is_expire_due(since_ms, now_ms)) {
                self.apply_durable(&durable, durable::Event::Expire);
            }
        }
    }
}
