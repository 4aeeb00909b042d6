//! Opening and closing consumers, changing their prefetch, answering pulls.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Client, removal_of};
use crate::broker::advisory::listens;
use crate::broker::backlog::Keeper;
use crate::broker::hearers::Hearers;
use crate::broker::options::PolicyEntry;
use crate::broker::options::policy::PendingMessageLimit;
use crate::broker::queue::{Event, QueueCell};
use crate::broker::refusal::Refusal;
use crate::broker::region::Cell;
use crate::broker::subscription::browse::Browse;
use crate::broker::subscription::durable::{self, Durable, DurableKey};
use crate::broker::subscription::topic::TopicFlow;
use crate::broker::subscription::window::InFlight;
use crate::broker::subscription::{Filter, Role, Subscription};
use crate::openwire::{
    Command, ConsumerControl, ConsumerId, ConsumerInfo, Destination, DestinationKind, MessagePull,
};
use crate::store::{OwnerId, RecoveredOwner, Ticket};

/// Prefetch sizes that a client sends when nobody chose one; only these the policy replaces.
const STOCK_QUEUE_PREFETCH: i32 = 1000;
const STOCK_BROWSER_PREFETCH: i32 = 500;
const STOCK_TOPIC_PREFETCH: i32 = 32_767;
const STOCK_DURABLE_PREFETCH: i32 = 100;

/// What a pull consumer is told, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// A message is in the outbox, or the empty delivery is.
    Answered,
    /// Nothing yet: [`Client::pull_timed_out`] is to be called after so many milliseconds.
    WaitMs { ms: u64, pull: u64 },
    /// Nothing yet, and the consumer waits for ever.
    Waiting,
}

impl Client {
    /// Opens a consumer. Deliveries go to the outbox given to `connect`. One that is open already stays
    /// as it is. A durable subscription is there for ever once the ticket is durable.
    ///
    /// # Errors
    /// The selector is none, the destination is not there or not this connection's, or the durable
    /// subscription is in use.
    pub fn add_consumer(&self, info: &Arc<ConsumerInfo>) -> Result<Ticket, Refusal> {
        let plugins = &self.broker.plugins;
        let info = &plugins.dot_in(info, |info| &mut info.destination);
        plugins.log(
            |it| it.log_consumer_events,
            || format!("Adding Consumer: {:?} of {:?}", info.consumer_id, info.destination),
        );
        let (Some(id), Some(destination)) = (&info.consumer_id, &info.destination) else {
            return Err(Refusal::InvalidDestination("a consumer without destination".to_owned()));
        };
        if self.consumer(id).is_some() {
            return Ok(Ticket::done());
        }
        let members = destination.members();
        for member in &members {
            self.may_consume(member)?;
        }
        let policy = self.broker.region.policies().entry_for(destination);
        let info = self.with_policy_prefetch(info, &policy);
        let info = self.with_client_id(info);
        let filter = Filter::new(&info, id, &self.client_id)?;
        let durable = info.subscription_name.is_some() && destination.is_topic();
        let consumer = if durable {
            self.open_durable(&info, &members, &filter, &policy)?
        } else {
            self.open(&info, &members, filter, &policy)?
        };
        for member in members.iter().filter(|member| listens(member)) {
            self.broker.count_listener(1);
            self.broker.replay(&consumer, member);
        }
        self.broker.consumers_changed(destination, Command::ConsumerInfo(Arc::clone(&info)));
        Ok(self.broker.written(durable && info.response_required))
    }

    /// Temporary destinations are for consumers of the connection that made them.
    fn may_consume(&self, member: &Destination) -> Result<(), Refusal> {
        let owner = member.temporary_owner();
        let own = self.peer.network
            || owner.is_none_or(|owner| {
                self.connection_id.value.as_ref().is_some_and(|id| *id == owner.as_str())
            });
        if own || member.is_pattern() {
            return Ok(());
        }
        let kind = if member.is_queue() { "queue" } else { "topic" };
        Err(Refusal::InvalidDestination(format!(
            "Subscribing to a temporary {kind} created by another connection is not permitted"
        )))
    }

    /// Replaces a prefetch that nobody chose by the policy's, and tells the client.
    fn with_policy_prefetch(
        &self,
        info: &Arc<ConsumerInfo>,
        policy: &PolicyEntry,
    ) -> Arc<ConsumerInfo> {
        let prefetch = policy_prefetch(info, info.prefetch_size, policy);
        if prefetch == info.prefetch_size || info.network_subscription {
            return Arc::clone(info);
        }
        self.tell_prefetch(info, prefetch);
        Arc::new(ConsumerInfo { prefetch_size: prefetch, ..(**info).clone() })
    }

    /// Others know a durable subscription by the client id too, which not every client says here.
    fn with_client_id(&self, info: Arc<ConsumerInfo>) -> Arc<ConsumerInfo> {
        if info.subscription_name.is_none() || info.client_id.is_some() {
            return info;
        }
        let client_id = Some(self.client_id.as_str().into());
        Arc::new(ConsumerInfo { client_id, ..(*info).clone() })
    }

    fn tell_prefetch(&self, info: &ConsumerInfo, prefetch: i32) {
        if self.info.manageable {
            self.outbox.command(ConsumerControl {
                consumer_id: info.consumer_id.as_deref().cloned(),
                prefetch,
                ..ConsumerControl::default()
            });
        }
    }

    fn open(
        &self,
        info: &Arc<ConsumerInfo>,
        members: &[Destination],
        filter: Filter,
        policy: &PolicyEntry,
    ) -> Result<Arc<Subscription>, Refusal> {
        // What must exist is made before anything is registered, so that a refusal leaves nothing.
        let mut cells = Vec::new();
        let named = |member: &&Destination| {
            !member.is_pattern() || self.broker.forwarding.wants_queue_named(member)
        };
        for member in members.iter().filter(named) {
            cells.push(self.broker.find(&Arc::new(member.clone()), None)?);
        }
        let is_queue = members.iter().any(Destination::is_queue);
        let role = if is_queue && info.browser {
            let patterns = members.iter().filter(|member| member.is_pattern());
            cells.extend(patterns.flat_map(|pattern| self.broker.region.matching(pattern)));
            Role::Browser(Mutex::new(Browse::new(cells.iter().filter_map(queue_of))))
        } else if is_queue {
            Role::Queue(Mutex::default())
        } else {
            let limit = pending_limit(info, policy);
            let flow = TopicFlow::new(info.prefetch_size, limit, policy.eviction.clone());
            Role::Topic(Mutex::new(flow))
        };
        let consumer = self.register(info, filter, role, policy)?;
        if !matches!(consumer.role, Role::Browser(_)) {
            for member in members.iter().filter(|member| member.is_pattern()) {
                cells.extend(self.broker.region.join_pattern(member, &consumer));
            }
            for cell in cells {
                self.join(&cell, &consumer);
            }
        }
        consumer.wake(&self.broker);
        Ok(consumer)
    }

    fn register(
        &self,
        info: &Arc<ConsumerInfo>,
        filter: Filter,
        role: Role,
        policy: &PolicyEntry,
    ) -> Result<Arc<Subscription>, Refusal> {
        let consumer = Arc::new(Subscription::new(
            Arc::clone(info),
            filter,
            role,
            policy.use_prefetch_extension,
            &self.outbox,
            &self.broker,
        ));
        self.open_state()?.consumers.insert(Arc::clone(&consumer.id), Arc::clone(&consumer));
        Ok(consumer)
    }

    fn join(&self, cell: &Cell, consumer: &Arc<Subscription>) {
        let broker = &self.broker;
        let joined = match (cell, &consumer.role) {
            (Cell::Queue(queue), Role::Queue(queues)) => {
                {
                    // A composite may name it twice, or be faster than a pattern that fits it.
                    let mut queues = queues.lock();
                    if queues.iter().any(|other| Arc::ptr_eq(other, queue)) {
                        return;
                    }
                    queues.push(Arc::clone(queue));
                }
                if queue.consumer_count() == 0 {
                    broker.recover_queue(queue, &consumer.info);
                }
                let joined = broker.apply(queue, Event::Subscribe(Arc::clone(consumer)));
                if !joined {
                    queues.lock().retain(|other| !Arc::ptr_eq(other, queue));
                }
                joined
            }
            (Cell::Topic(topic), Role::Topic(_)) => match topic.subscribe(consumer, broker) {
                Some(outcomes) => {
                    for (message, outcome) in outcomes {
                        broker.offered(topic, consumer, &message, outcome);
                    }
                    true
                }
                None => false,
            },
            // A composite of both kinds is consumed by the kind of its first member.
            (Cell::Queue(_), Role::Browser(_) | Role::Topic(_) | Role::Durable(_))
            | (Cell::Topic(_), Role::Queue(_) | Role::Browser(_) | Role::Durable(_)) => true,
        };
        if joined {
            return;
        }
        // It was removed meanwhile, and is made again; a temporary one is gone for good.
        match broker.find(cell.destination(), None) {
            Ok(again) => self.join(&again, consumer),
            Err(gone) => tracing::debug!("{} has no more {gone}", consumer.id),
        }
    }

    fn open_durable(
        &self,
        info: &Arc<ConsumerInfo>,
        members: &[Destination],
        filter: &Filter,
        policy: &PolicyEntry,
    ) -> Result<Arc<Subscription>, Refusal> {
        if self.broker.options.reject_durable_consumers {
            return Err(Refusal::Jms("Durable Consumers are not allowed".to_owned()));
        }
        let name = info.subscription_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = DurableKey { client_id: self.client_id.clone(), name };
        for member in members.iter().filter(|member| !member.is_pattern()) {
            self.broker.find(&Arc::new(member.clone()), None)?;
        }
        let (durable, created) = self.broker.durable(key, info, members, filter)?;
        let role = Role::Durable(Arc::clone(&durable));
        let consumer = self.register(info, filter.clone(), role, policy)?;
        if !durable.activate(&consumer) {
            self.state.lock().consumers.remove(&consumer.id);
            let DurableKey { client_id, name } = durable.key.clone();
            return Err(Refusal::DurableInUse { client_id, name });
        }
        if created {
            self.broker.recover_durable(&durable, members);
        }
        consumer.wake(&self.broker);
        Ok(consumer)
    }

    /// Closes a consumer; what it held goes back. `last_delivered` as in RemoveInfo: -2 unknown, -1
    /// none, else a brokerSequenceId. An unknown consumer is nothing to close.
    pub fn remove_consumer(&self, id: &Arc<ConsumerId>, last_delivered: i64) {
        let consumer = self.state.lock().consumers.remove(id);
        if let Some(consumer) = consumer {
            self.dispose_consumer(&consumer, last_delivered);
        }
    }

    /// Gives a consumer no more messages; it keeps those it has.
    pub fn stop_consumer(&self, id: &ConsumerId) {
        if let Some(consumer) = self.consumer(id) {
            consumer.set_prefetch(0);
        }
    }

    /// Names of the durable subscriptions of this client id, whether in use or not.
    pub fn durable_names(&self) -> Vec<(String, Arc<ConsumerInfo>)> {
        let durables = self.broker.durables.lock();
        let own = durables.values().filter(|durable| durable.key.client_id == self.client_id);
        own.map(|durable| (durable.key.name.clone(), Arc::clone(&durable.info))).collect()
    }

    pub(super) fn dispose_consumer(&self, consumer: &Arc<Subscription>, last_delivered: i64) {
        let last_delivered = self.last_delivered(last_delivered);
        let unacked = consumer.close();
        let matched = self.broker.region.leave_patterns(&consumer.id);
        match &consumer.role {
            Role::Queue(queues) => {
                let queues = std::mem::take(&mut *queues.lock());
                for queue in queues {
                    let unacked = of_queue(&unacked, &queue);
                    let consumer = Arc::clone(&consumer.id);
                    self.broker
                        .apply(&queue, Event::Unsubscribe { consumer, unacked, last_delivered });
                }
            }
            Role::Browser(_) => {}
            Role::Topic(_) => {
                let members = consumer.info.destination.as_ref().map(|d| d.members());
                let own = members.unwrap_or_default();
                let own = own.iter().filter_map(|member| self.broker.region.get(member));
                for cell in own.chain(matched) {
                    if let Cell::Topic(topic) = cell {
                        topic.unsubscribe(&consumer.id);
                    }
                }
                consumer.close_topic(&self.broker);
            }
            Role::Durable(durable) => {
                let event = durable::Event::Deactivate { unacked, last_delivered };
                self.broker.apply_durable(durable, event);
            }
        }
        self.tell_removed(consumer);
    }

    fn tell_removed(&self, consumer: &Subscription) {
        let Some(destination) = &consumer.info.destination else { return };
        for _ in destination.members().iter().filter(|member| listens(member)) {
            self.broker.count_listener(-1);
        }
        // Of a temporary destination that is gone nobody wants to hear any more.
        if !destination.is_temporary() || self.broker.region.get(destination).is_some() {
            let id = Command::ConsumerId(Arc::clone(&consumer.id));
            self.broker.consumers_changed(destination, removal_of(id));
        }
    }

    /// Sets the prefetch of a consumer and wakes it. A failover client opens its consumers with 0 and
    /// sets the real prefetch when it is ready.
    pub fn control_consumer(&self, control: &ConsumerControl) {
        let consumer = control.consumer_id.as_ref().and_then(|id| self.consumer(id));
        let Some(consumer) = consumer else { return };
        let prefetch = match &consumer.info.destination {
            Some(destination) => {
                let policy = self.broker.region.policies().entry_for(destination);
                policy_prefetch(&consumer.info, control.prefetch, &policy)
            }
            None => control.prefetch,
        };
        if prefetch != control.prefetch {
            self.tell_prefetch(&consumer.info, prefetch);
        }
        consumer.set_prefetch(prefetch);
        consumer.wake(&self.broker);
    }

    /// A consumer with prefetch 0 asks for one message. One that has a prefetch gets its messages
    /// unasked, and so no answer.
    ///
    /// # Errors
    /// None today; a consumer that is gone is waiting for nothing.
    pub fn pull(&self, pull: &MessagePull) -> Result<Pulled, Refusal> {
        let consumer = pull.consumer_id.as_ref().and_then(|id| self.consumer(id));
        let Some(consumer) = consumer else { return Ok(Pulled::Answered) };
        let number = consumer.open_pull();
        consumer.wake(&self.broker);
        if !consumer.pull_waits(number) {
            return Ok(Pulled::Answered);
        }
        match pull.timeout {
            ..0 => {
                consumer.end_pull(number, self.broker.now_ms());
                Ok(Pulled::Answered)
            }
            0 => Ok(Pulled::Waiting),
            ms => Ok(Pulled::WaitMs { ms: ms.unsigned_abs(), pull: number }),
        }
    }

    /// The time of pull number `pull` is over: if it found nothing, the consumer is told.
    pub fn pull_timed_out(&self, id: &ConsumerId, pull: u64) {
        if let Some(consumer) = self.consumer(id) {
            consumer.end_pull(pull, self.broker.now_ms());
        }
    }
}

fn queue_of(cell: &Cell) -> Option<Arc<QueueCell>> {
    match cell {
        Cell::Queue(queue) => Some(Arc::clone(queue)),
        Cell::Topic(_) => None,
    }
}

fn of_queue(unacked: &[InFlight], queue: &Arc<QueueCell>) -> Vec<InFlight> {
    let is_of = |held: &&InFlight| held.queue.as_ref().is_some_and(|of| Arc::ptr_eq(of, queue));
    unacked.iter().filter(is_of).cloned().collect()
}

/// The prefetch that holds for a consumer that asked for `asked`.
fn policy_prefetch(info: &ConsumerInfo, asked: i32, policy: &PolicyEntry) -> i32 {
    let class = info.destination.as_ref().map(|destination| destination.class);
    if class == Some(DestinationKind::TempQueue) {
        return asked; // ActiveMQ leaves those out, and only those
    }
    let is_queue = info.destination.as_ref().is_some_and(|destination| destination.is_queue());
    let (stock, ours) = match (is_queue, info.browser, info.subscription_name.is_some()) {
        (true, true, _) => (STOCK_BROWSER_PREFETCH, policy.queue_browser_prefetch),
        (true, false, _) => (STOCK_QUEUE_PREFETCH, policy.queue_prefetch),
        (false, _, true) => (STOCK_DURABLE_PREFETCH, policy.durable_topic_prefetch),
        (false, _, false) => (STOCK_TOPIC_PREFETCH, policy.topic_prefetch),
    };
    if asked == stock { i32::try_from(ours).unwrap_or(i32::MAX) } else { asked }
}

/// How many messages may wait for a topic consumer: the smaller of what the policy and the consumer say.
fn pending_limit(info: &ConsumerInfo, policy: &PolicyEntry) -> Option<usize> {
    let by_policy = match policy.pending_message_limit {
        Some(PendingMessageLimit::Constant(limit)) => Some(limit as usize),
        Some(PendingMessageLimit::PrefetchRate(rate)) => {
            Some((f64::from(info.prefetch_size.max(0)) * rate.max(0.0)) as usize)
        }
        None => None,
    };
    let by_consumer =
        usize::try_from(info.maximum_pending_message_limit).ok().filter(|limit| *limit > 0);
    match (by_policy, by_consumer) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

impl crate::broker::Broker {
    /// The durable subscription of this key: as it is, made anew if it changed, or made. With whether it
    /// is new.
    fn durable(
        &self,
        key: DurableKey,
        info: &Arc<ConsumerInfo>,
        members: &[Destination],
        filter: &Filter,
    ) -> Result<(Arc<Durable>, bool), Refusal> {
        let mut durables = self.durables.lock();
        if let Some(durable) = durables.get(&key) {
            if durable.is_active() {
                let DurableKey { client_id, name } = key;
                return Err(Refusal::DurableInUse { client_id, name });
            }
            let same = durable.info.selector == info.selector
                && durable.info.destination == info.destination
                && durable.info.no_local == info.no_local;
            if same {
                return Ok((Arc::clone(durable), false));
            }
            self.region.leave_durable(durable);
            self.end_durable(durable);
        }
        let owner = self.stores.durable_owner(&key, info);
        let durable = self.make_durable(key.clone(), info, filter, owner, None);
        self.join_topics(&durable, members);
        durables.insert(key, Arc::clone(&durable));
        Ok((durable, true))
    }

    /// Gives a new durable subscription what its topics have kept, where it asks for that.
    fn recover_durable(&self, durable: &Arc<Durable>, members: &[Destination]) {
        for member in members {
            let cells = if member.is_pattern() {
                self.region.matching(member)
            } else {
                self.region.get(member).into_iter().collect()
            };
            for cell in cells {
                let Cell::Topic(topic) = cell else { continue };
                for message in topic.recovered_for(&durable.info, self) {
                    if let Some(key) = durable.reserve(&message, &Hearers::All) {
                        let keeper = Keeper::Memory;
                        let event = durable::Event::Publish { key, message, keeper };
                        self.apply_durable(durable, event);
                    }
                }
            }
        }
    }

    pub(in crate::broker) fn join_topics(&self, durable: &Arc<Durable>, members: &[Destination]) {
        for member in members {
            if member.is_pattern() {
                self.region.join_durable_pattern(member, durable);
            } else if let Some(Cell::Topic(topic)) = self.region.get(member) {
                topic.add_durable(Arc::clone(durable));
            }
        }
    }

    pub(in crate::broker) fn make_durable(
        &self,
        key: DurableKey,
        info: &Arc<ConsumerInfo>,
        filter: &Filter,
        owner: Option<OwnerId>,
        recovered: Option<RecoveredOwner>,
    ) -> Arc<Durable> {
        let store_first = self.stores.topics_store_first();
        let mut durable = Durable::new(key, Arc::clone(info), filter.clone(), owner, store_first);
        durable.keeps_all = self.options.keep_durable_subs_active;
        let durable = Arc::new(durable);
        // Before the journal knows it: what an owner does not hold is not kept.
        if let Some(recovered) = recovered {
            durable.restore(recovered);
        }
        self.introduce_durable(&durable);
        durable
    }

    fn end_durable(&self, durable: &Durable) {
        let (bytes, removed) = durable.remove();
        self.memory.free(bytes);
        self.forget_owner(durable.owner, &removed);
        self.forget_temporary(&durable.sides, &removed);
    }

    /// Ends a durable subscription.
    pub(in crate::broker) fn remove_durable(
        &self,
        client_id: &str,
        name: &str,
    ) -> Result<Arc<Durable>, Refusal> {
        let (client_id, name) = (client_id.to_owned(), name.to_owned());
        let key = DurableKey { client_id: client_id.clone(), name: name.clone() };
        let mut durables = self.durables.lock();
        let durable = durables
            .get(&key)
            .cloned()
            .ok_or(Refusal::NoDurableSubscription { client_id, name })?;
        if durable.is_active() {
            return Err(Refusal::DurableActive);
        }
        durables.remove(&key);
        drop(durables);
        self.region.leave_durable(&durable);
        self.end_durable(&durable);
        Ok(durable)
    }

    /// Some consumer that takes from this destination.
    pub(super) fn consumer_of(&self, destination: &Destination) -> Option<Arc<Subscription>> {
        self.all_clients().iter().find_map(|client| {
            let state = client.state.lock();
            let takes = |consumer: &&Arc<Subscription>| {
                let of = consumer.info.destination.as_ref();
                let members = of.map(|of| of.members()).unwrap_or_default();
                members.iter().any(|member| member == destination || member.matches(destination))
            };
            state.consumers.values().find(takes).cloned()
        })
    }
}
