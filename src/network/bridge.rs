//! One direction of a bridge: takes to the peer what the peer's consumers want.
//!
//! ```text
//!  news of consumers -> Demand -> subscriptions here -> deliveries -> bare messages to the peer
//!                                      ^                                   |
//!                                      +--- acknowledged here <--- the peer's response: it has it
//! ```
//!
//! **Invariant:** a message leaves this broker only when the peer has confirmed it. A subscription ends
//! only when all that it sent is answered, so nothing goes to the peer and back to its queue as well.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::demand::{Change, Demand, Ends};
use super::options::NetworkOptions;
use super::status::Status;
use crate::base::Clock;
use crate::base::bug::planted_bug;
use crate::base::fail_point::fail_point;
use crate::base::id::IdGenerator;
use crate::broker::{Broker, Client, Delivery, Outbox, Peer, Refusal};
use crate::connection::Failure;
use crate::connection::bridge::{Bridge, Forwarded, Taken};
use crate::openwire::{
    BrokerId, BrokerInfo, BrokerSubscriptionInfo, Command, ConnectionId, ConnectionInfo,
    ConsumerId, ConsumerInfo, Destination, KeepAliveInfo, Message, MessageAck, MessageDispatch,
    MessageId, ProducerId, ProducerInfo, RemoveSubscriptionInfo, SessionId, SessionInfo, Text,
    Throwable, WireError, ack_type, body,
};
use crate::transport::TcpPath;

/// The first OpenWire version that tells of durable subscriptions at once.
const SUBSCRIPTIONS_SINCE: u8 = 12;
/// A peer that answered nothing for so long is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_millis(150);
/// When it has been silent for so long after that, the system is asked whether anything arrives.
const SUSPECT_AFTER: Duration = Duration::from_millis(100);
/// Between two such questions; they become rarer with the silence.
const CHECK_MIN: Duration = Duration::from_millis(50);
const CHECK_MAX: Duration = Duration::from_secs(1);
/// How long a destination rests for which the peer refused a message; doubles with every time.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);
/// As good as never.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Who began the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// This broker: it says who it is, with the settings as the peer is to know them.
    Initiator { properties: String, watch: Watch },
    /// The peer, which wanted a bridge back.
    Responder,
}

/// The broker at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Remote<'a> {
    pub info: &'a BrokerInfo,
    /// OpenWire version agreed on.
    pub version: u8,
    /// Of its socket, for those who look after the network.
    pub address: &'a str,
}

/// How a bridge finds out that its peer is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub path: TcpPath,
    /// How long a peer that was asked may stay silent although what is sent arrives; `None` for one that
    /// need not answer.
    pub patience: Option<Duration>,
}

/// A message on its way.
#[derive(Debug)]
struct Sent {
    consumer: i64,
    message_id: Option<MessageId>,
    destination: Option<Arc<Destination>>,
    /// Kept where somebody is to be told if it is refused.
    message: Option<Arc<Message>>,
}

/// One subscription here.
#[derive(Debug)]
struct Flow {
    info: Arc<ConsumerInfo>,
    unanswered: usize,
    /// It ends once all is answered.
    retiring: bool,
    /// The durable subscription ends with it.
    end_durable: Option<String>,
    /// How long it rested before.
    rested: Duration,
}

/// A subscription whose messages the peer refused, or that could not be opened.
#[derive(Debug)]
struct Resting {
    info: Arc<ConsumerInfo>,
    until: Instant,
    rested: Duration,
}

/// The forwarding direction of one connection.
#[derive(Debug)]
pub struct DemandBridge {
    broker: Arc<Broker>,
    outbox: Arc<Outbox>,
    options: Arc<NetworkOptions>,
    status: Arc<Status>,
    ends: Ends,
    client: Arc<Client>,
    /// The connection here that subscribes.
    connection: Text,
    demand: Demand,
    flows: HashMap<i64, Flow>,
    /// They wait for the end of one of the same destination.
    deferred: Vec<Arc<ConsumerInfo>>,
    resting: Vec<Resting>,
    producer: Arc<ProducerId>,
    /// Our consumer of the peer's advisories.
    listener: Option<Arc<ConsumerId>>,
    /// Advisories since the last acknowledgement.
    heard: i32,
    commands: i32,
    sent: HashMap<i32, Sent>,
    watch: Option<Watch>,
    /// When the peer last answered anything. What it sends of its own accord proves nothing: a network
    /// may carry one way only, and TCP is slow to notice.
    proved_at: Instant,
    asked_at: Option<Instant>,
    /// When to ask the system, while the peer owes an answer.
    check_at: Instant,
    /// The number of the bridge, while others are told of it.
    told: Option<u64>,
}

impl DemandBridge {
    /// Opens both ends: a connection here, and one at the peer, whose commands go to `outbox`.
    ///
    /// # Errors
    /// This broker refuses the connection.
    pub fn open(
        broker: &Arc<Broker>,
        outbox: &Arc<Outbox>,
        options: &Arc<NetworkOptions>,
        remote: Remote<'_>,
        role: Role,
        status: Arc<Status>,
    ) -> Result<Self, Refusal> {
        let Remote { info: remote, version, address: remote_address } = remote;
        let name = |name: &Option<Text>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        let ends = Ends {
            local_id: Arc::clone(broker.id()),
            local_name: broker.name().to_owned(),
            remote_id: remote.broker_id.clone().unwrap_or_default(),
            remote_name: name(&remote.broker_name),
        };
        let ids = ids(broker, options, &ends);
        let connection: Text = ids.generate().into();
        let token = &options.client_id_token;
        let (local, far) = (&ends.local_name, &ends.remote_name);
        let client_id = format!("{}{token}{far}{token}inbound{token}{local}", options.name);
        let info = ConnectionInfo {
            connection_id: Some(Arc::new(ConnectionId::new(connection.clone()))),
            client_id: Some(client_id.into()),
            user_name: options.user_name.as_deref().map(Into::into),
            password: options.password.as_ref().map(|word| word.reveal().into()),
            client_master: true,
            ..ConnectionInfo::default()
        };
        let address = format!("vm://{local}");
        let peer = Peer { connector: options.name.clone(), remote_address: address, network: true };
        let client = broker.connect(&Arc::new(info), &peer, outbox)?;
        let at_peer = ids.generate();
        let mut bridge = Self {
            broker: Arc::clone(broker),
            outbox: Arc::clone(outbox),
            options: Arc::clone(options),
            status,
            demand: Demand::new(Arc::clone(options), ends.clone(), connection.clone()),
            ends,
            client,
            connection,
            flows: HashMap::new(),
            deferred: Vec::new(),
            resting: Vec::new(),
            producer: Arc::new(ProducerId::new(at_peer.as_str(), 1, 1)),
            listener: None,
            heard: 0,
            commands: 0,
            sent: HashMap::new(),
            watch: None,
            proved_at: Instant::now(),
            asked_at: None,
            check_at: Instant::now(),
            told: None,
        };
        let created_by_duplex = matches!(role, Role::Responder);
        bridge.introduce(&at_peer, version, role);
        let durables = bridge.left_behind();
        let mut changes = Vec::new();
        bridge.demand.start(durables, &mut changes);
        bridge.apply(changes);
        bridge.told = Some(broker.bridge_started(remote, created_by_duplex, remote_address));
        Ok(bridge)
    }

    /// Says all that opens a bridge; nobody answers it.
    fn introduce(&mut self, connection: &str, version: u8, role: Role) {
        if let Role::Initiator { properties, watch } = role {
            self.watch = Some(watch);
            let command_id = self.number();
            self.outbox.command(BrokerInfo {
                command_id,
                network_connection: true,
                duplex_connection: self.options.duplex,
                network_properties: Some(properties.into()),
                ..self.broker.info()
            });
        }
        if self.options.sync_durable_subs && version >= SUBSCRIPTIONS_SINCE {
            let command_id = self.number();
            let info = durable_subscriptions(&self.broker, &self.options);
            self.outbox.command(BrokerSubscriptionInfo { command_id, ..info });
        }
        let options = Arc::clone(&self.options);
        let token = &options.client_id_token;
        let client_id = format!("{}{token}{}{token}outbound", options.name, self.ends.local_name);
        let user = options.remote_user_name.as_ref().or(options.user_name.as_ref());
        let password = options.remote_password.as_ref().or(options.password.as_ref());
        let command_id = self.number();
        self.outbox.command(ConnectionInfo {
            command_id,
            connection_id: Some(Arc::new(ConnectionId::new(connection))),
            client_id: Some(client_id.into()),
            user_name: user.map(|name| name.as_str().into()),
            password: password.map(|word| word.reveal().into()),
            client_master: true,
            ..ConnectionInfo::default()
        });
        let command_id = self.number();
        let session_id = Some(Arc::new(SessionId::new(connection, 1)));
        self.outbox.command(SessionInfo { command_id, session_id, ..SessionInfo::default() });
        let command_id = self.number();
        let producer_id = Some(Arc::clone(&self.producer));
        self.outbox.command(ProducerInfo { command_id, producer_id, ..ProducerInfo::default() });
        if let Some(advisories) = options.advisories() {
            let listener = Arc::new(ConsumerId::new(connection, 1, 1));
            self.listener = Some(Arc::clone(&listener));
            let command_id = self.number();
            self.outbox.command(ConsumerInfo {
                command_id,
                consumer_id: Some(listener),
                destination: Some(Arc::new(advisories)),
                prefetch_size: self.listener_prefetch(),
                dispatch_async: true,
                ..ConsumerInfo::default()
            });
        }
    }

    fn listener_prefetch(&self) -> i32 {
        let said = match self.options.advisory_prefetch_size {
            0 => self.options.prefetch_size,
            said => said,
        };
        i32::try_from(said).unwrap_or(i32::MAX)
    }

    fn number(&mut self) -> i32 {
        self.commands = self.commands.wrapping_add(1);
        self.commands
    }

    /// The durable subscriptions here that a bridge of this name made.
    fn left_behind(&self) -> Vec<(String, Destination)> {
        let durables = self.client.durable_names().into_iter();
        let of = |(name, info): (String, Arc<ConsumerInfo>)| {
            Some((name, info.destination.as_deref()?.clone()))
        };
        durables.filter_map(of).collect()
    }

    /// Hears news of the peer's consumers.
    fn hear(&mut self, news: &Message) {
        let mut changes = Vec::new();
        if let Some(data) = &news.data_structure {
            self.demand.hear(data, &mut changes);
        }
        self.apply(changes);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Subscribe(info) => self.subscribe(info, Duration::ZERO),
                Change::Unsubscribe(id) => self.retire(id.value),
                Change::EndDurable(name) => self.end_durable(name),
                Change::Mirror(destination, path) => {
                    if let Err(refusal) = self.client.mirror_temporary(&destination, path) {
                        tracing::warn!("{destination} of {} is not here: {refusal}", self.name());
                    }
                }
                Change::Unmirror(destination) => self.client.unmirror_temporary(&destination),
            }
        }
        self.status.set_subscriptions(self.flows.len());
    }

    fn name(&self) -> &str {
        &self.ends.remote_name
    }

    fn subscribe(&mut self, info: Arc<ConsumerInfo>, rested: Duration) {
        let Some(id) = info.consumer_id.as_ref().map(|id| id.value) else { return };
        if self
            .flows
            .values()
            .any(|flow| flow.retiring && flow.info.destination == info.destination)
        {
            self.deferred.push(info);
            return;
        }
        if self.is_served_elsewhere(&info) {
            return;
        }
        let flow = Flow {
            info: Arc::clone(&info),
            unanswered: 0,
            retiring: false,
            end_durable: None,
            rested,
        };
        self.flows.insert(id, flow);
        if let Err(refusal) = self.client.add_consumer(&info) {
            self.flows.remove(&id);
            let to = info.destination.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::warn!("{to} cannot be forwarded to {}: {refusal}", self.name());
            self.rest(info, rested);
        }
    }

    /// Whether another bridge serves the same consumers already, where that is not wanted twice.
    fn is_served_elsewhere(&self, info: &ConsumerInfo) -> bool {
        let (Some(destination), Some(consumers)) = (&info.destination, &info.network_consumer_path)
        else {
            return false;
        };
        let suppressed = if destination.is_queue() {
            self.options.suppress_duplicate_queue_subscriptions
        } else {
            self.options.suppress_duplicate_topic_subscriptions
        };
        if !suppressed {
            return false;
        }
        let same = |other: &Arc<ConsumerInfo>| {
            let ours = other
                .consumer_id
                .as_ref()
                .is_some_and(|id| id.connection_id.as_ref() == Some(&self.connection));
            let path = other.network_consumer_path.as_deref().unwrap_or_default();
            !ours
                && other.destination == info.destination
                && other.priority >= info.priority
                && path.iter().any(|id| consumers.contains(id))
        };
        self.broker.network_consumers().iter().any(same)
    }

    /// Ends a subscription once all that it sent is answered.
    fn retire(&mut self, id: i64) {
        let is_it =
            |info: &ConsumerInfo| info.consumer_id.as_ref().is_some_and(|it| it.value == id);
        self.deferred.retain(|info| !is_it(info));
        self.resting.retain(|resting| !is_it(&resting.info));
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.retiring = true;
        if flow.unanswered > 0 {
            if let Some(id) = &flow.info.consumer_id {
                self.client.stop_consumer(id);
            }
            return;
        }
        self.finish(id);
    }

    fn finish(&mut self, id: i64) {
        let Some(flow) = self.flows.remove(&id) else { return };
        if let Some(id) = &flow.info.consumer_id {
            self.client.remove_consumer(id, NOT_SEEN);
        }
        if let Some(name) = flow.end_durable {
            self.end_durable(name);
        }
        let (ready, deferred) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|info| info.destination == flow.info.destination);
        self.deferred = deferred;
        let ready: Vec<_> = ready;
        for info in ready {
            self.subscribe(info, Duration::ZERO);
        }
    }

    fn end_durable(&mut self, name: String) {
        let of = |flow: &&mut Flow| {
            flow.info.subscription_name.as_ref().is_some_and(|it| it.to_str() == name.as_str())
        };
        if let Some(flow) = self.flows.values_mut().find(of) {
            flow.end_durable = Some(name);
            return;
        }
        let info = RemoveSubscriptionInfo {
            subscription_name: Some(name.as_str().into()),
            ..RemoveSubscriptionInfo::default()
        };
        if let Err(refusal) = self.client.remove_subscription(&info) {
            tracing::debug!("durable subscription {name} stays: {refusal}");
        }
    }

    /// The peer has, or will never have, what was sent.
    fn answered(&mut self, id: i32, refused: Option<&Throwable>) -> bool {
        self.proved();
        let Some(sent) = self.sent.remove(&id) else { return false };
        if let (Some(message), Some(why)) = (&sent.message, refused) {
            self.broker.forward_failed(message, why);
        }
        let Some(flow) = self.flows.get_mut(&sent.consumer) else { return true };
        flow.unanswered = flow.unanswered.saturating_sub(1);
        let consumer = flow.info.consumer_id.clone();
        let (done, retiring) = (flow.unanswered == 0, flow.retiring);
        match refused {
            None => {
                flow.rested = Duration::ZERO;
                let ack = ack(consumer, &sent, ack_type::INDIVIDUAL, None);
                self.status.forwarded();
                fail_point!("bridge.after_remote_ack");
                self.acknowledge(&ack);
            }
            Some(why) if is_gone(why, sent.destination.as_deref()) => {
                let ack = ack(consumer, &sent, ack_type::POISON, Some(why.clone()));
                self.acknowledge(&ack);
            }
            Some(_) if retiring => {}
            Some(why) => {
                self.refused(sent.consumer, why);
                return true;
            }
        }
        if done && retiring {
            self.finish(sent.consumer);
        }
        true
    }

    /// Asks a silent peer whether it is there, and the system whether the question arrives.
    fn watch(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let Some(asked) = self.asked_at else {
            if now >= self.proved_at + ASK_AFTER {
                self.asked_at = Some(now);
                self.check_at = now + SUSPECT_AFTER;
                let command_id = self.number();
                self.outbox.command(KeepAliveInfo { command_id, response_required: true });
            }
            return Ok(());
        };
        let silence = now - asked;
        if watch.patience.is_some_and(|patience| silence >= patience) {
            return Err(Failure::Silent { silence });
        }
        if now >= self.check_at {
            // A system that does not tell leaves it to patience.
            if watch.path.retransmissions().is_ok_and(|times| times > 0) {
                return Err(Failure::Unheard { silence });
            }
            self.check_at = now + (silence / 2).clamp(CHECK_MIN, CHECK_MAX);
        }
        Ok(())
    }

    fn proved(&mut self) {
        self.proved_at = Instant::now();
        self.asked_at = None;
    }

    fn acknowledge(&self, ack: &MessageAck) {
        fail_point!("bridge.before_local_ack");
        if let Err(refusal) = self.client.ack(ack) {
            tracing::warn!("a message that {} has stays here: {refusal}", self.name());
        }
    }

    /// The peer refused a message: what waits for its destination stays here and is tried again later.
    fn refused(&mut self, id: i64, why: &Throwable) {
        let Some(flow) = self.flows.remove(&id) else { return };
        let to = flow.info.destination.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = why.message.as_ref().map(ToString::to_string).unwrap_or_default();
        if flow.rested.is_zero() {
            tracing::warn!("{} refuses messages for {to}: {text}", self.name());
        }
        self.status.refused(&to, &text);
        if let Some(id) = &flow.info.consumer_id {
            self.client.remove_consumer(id, NOT_SEEN);
            if let Some(renewed) = self.demand.renew(id) {
                self.rest(renewed, flow.rested);
            }
        }
    }

    fn rest(&mut self, info: Arc<ConsumerInfo>, rested: Duration) {
        let rested = (rested * 2).clamp(REST_MIN, REST_MAX);
        self.resting.push(Resting { info, until: Instant::now() + rested, rested });
    }

    /// Counts an advisory that was dispatched to us, and acknowledges when enough came.
    fn count_advisory(&mut self, dispatch: &MessageDispatch) {
        let ours = self.listener.as_deref() == dispatch.consumer_id.as_deref();
        let Some(message) = dispatch.message.as_ref().filter(|_| ours) else { return };
        self.heard += 1;
        let limit =
            self.listener_prefetch() / 100 * i32::from(self.options.advisory_ack_percentage);
        if self.heard <= limit {
            return;
        }
        let command_id = self.number();
        self.outbox.command(MessageAck {
            command_id,
            consumer_id: self.listener.clone(),
            destination: dispatch.destination.clone(),
            ack_type: ack_type::STANDARD,
            last_message_id: message.message_id.clone(),
            message_count: std::mem::take(&mut self.heard),
            ..MessageAck::default()
        });
    }

    fn message_for_peer(&mut self, delivery: &Delivery, message: &Message) -> Message {
        let mut copy = message.clone();
        copy.command_id = self.number();
        copy.response_required = message.persistent || self.options.always_sync_send;
        copy.producer_id = Some(Arc::clone(&self.producer));
        copy.destination.clone_from(&delivery.destination);
        copy.broker_path.get_or_insert_default().push(Some((*self.ends.local_id).clone()));
        let transaction = copy.transaction_id.take();
        copy.original_transaction_id = copy.original_transaction_id.or(transaction);
        copy.redelivery_counter = delivery.redelivery_counter;
        copy.broker_out_time = delivery.broker_out_time;
        copy.target_consumer_id = None;
        if self.options.use_compression {
            body::compress(&mut copy);
        }
        copy
    }
}

impl Bridge for DemandBridge {
    fn take(&mut self, command: &Command) -> Result<Taken, Failure> {
        if let Command::Response(response) = command {
            return Ok(taken(self.answered(response.correlation_id, None)));
        }
        if let Command::ExceptionResponse(response) = command {
            let unknown = Throwable::new("java.lang.Throwable", "no cause was given");
            let why = response.exception.as_ref().unwrap_or(&unknown);
            return Ok(taken(self.answered(response.correlation_id, Some(why))));
        }
        if let Command::MessageDispatch(dispatch) = command {
            self.count_advisory(dispatch);
            if let Some(message) = &dispatch.message {
                self.hear(message);
            }
            return Ok(Taken::Yes);
        }
        if let Command::Message(message) = command {
            let advisory = message.destination.as_ref().is_some_and(|to| to.is_advisory());
            if !advisory {
                return Ok(Taken::No);
            }
            self.hear(message);
            return Ok(Taken::Answer);
        }
        if let Command::BrokerSubscriptionInfo(info) = command {
            let mut changes = Vec::new();
            let told = info.subscription_infos.as_deref().unwrap_or_default();
            self.demand.durables_told(told, self.left_behind(), &mut changes);
            self.apply(changes);
            return Ok(Taken::Answer);
        }
        if let Command::ConnectionError(error) = command {
            let text = error.exception.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(Failure::Bridge(format!("{} says: {text}", self.name())));
        }
        if let Command::KeepAliveInfo(info) = command
            && !info.response_required
        {
            self.proved();
        }
        // A broker of a cluster tells of its other peers.
        Ok(if matches!(command, Command::BrokerInfo(_)) { Taken::Answer } else { Taken::No })
    }

    fn forward(&mut self, delivery: &Delivery) -> Forwarded {
        let id = &delivery.consumer_id;
        if id.connection_id.as_ref() != Some(&self.connection) {
            return Forwarded::NotOurs;
        }
        let live = self.flows.get(&id.value).is_some_and(|flow| !flow.retiring);
        let Some(message) = delivery.message.as_ref().filter(|_| live) else {
            return Forwarded::Nothing;
        };
        fail_point!("bridge.before_forward");
        let copy = self.message_for_peer(delivery, message);
        let sent = Sent {
            consumer: id.value,
            message_id: message.message_id.clone(),
            destination: delivery.destination.clone(),
            message: self.options.advisory_for_failed_forward.then(|| Arc::clone(message)),
        };
        if copy.response_required && !planted_bug!("ack-before-answer") {
            if let Some(flow) = self.flows.get_mut(&id.value) {
                flow.unanswered += 1;
            }
            self.sent.insert(copy.command_id, sent);
        } else {
            self.status.forwarded();
            self.acknowledge(&ack(Some(Arc::clone(id)), &sent, ack_type::INDIVIDUAL, None));
        }
        Forwarded::Message(Arc::new(copy))
    }

    fn bury(&mut self, delivery: &Delivery, why: &WireError) {
        let id = delivery.message.as_ref().and_then(|message| message.message_id.clone());
        let key = id.as_ref().map(MessageId::key);
        let of =
            self.sent.iter().find(|(_, sent)| sent.message_id.as_ref().map(MessageId::key) == key);
        if let Some((command, _)) = of {
            let command = *command;
            self.sent.remove(&command);
            if let Some(flow) = self.flows.get_mut(&delivery.consumer_id.value) {
                flow.unanswered = flow.unanswered.saturating_sub(1);
            }
        }
        let destination = delivery.destination.clone();
        let sent = Sent { consumer: 0, message_id: id, destination, message: None };
        let cause = Throwable::new("java.io.IOException", &why.to_string());
        let consumer = Some(Arc::clone(&delivery.consumer_id));
        self.acknowledge(&ack(consumer, &sent, ack_type::POISON, Some(cause)));
    }

    fn next_look(&self) -> Instant {
        let asks = self.watch.as_ref().map(|watch| match self.asked_at {
            Some(asked) => {
                let limit = watch.patience.map(|patience| asked + patience);
                limit.map_or(self.check_at, |limit| self.check_at.min(limit))
            }
            None => self.proved_at + ASK_AFTER,
        });
        let rests = self.resting.iter().map(|resting| resting.until).min();
        asks.into_iter().chain(rests).min().unwrap_or_else(|| Instant::now() + FAR)
    }

    fn look(&mut self, now: Instant, reading: bool) -> Result<(), Failure> {
        let (ready, resting) =
            std::mem::take(&mut self.resting).into_iter().partition(|it| it.until <= now);
        self.resting = resting;
        let ready: Vec<Resting> = ready;
        for Resting { info, rested, .. } in ready {
            self.subscribe(info, rested);
        }
        if !reading {
            // What the peer says meanwhile lies unread.
            self.proved();
        }
        self.watch(now)
    }

    fn close(&mut self) {
        self.end();
    }
}

impl DemandBridge {
    /// Idempotent.
    fn end(&mut self) {
        self.client.close(NOT_SEEN);
        if let Some(number) = self.told.take() {
            self.broker.bridge_stopped(number);
        }
    }
}

impl Drop for DemandBridge {
    /// For a bridge that no connection came to carry.
    fn drop(&mut self) {
        self.end();
    }
}

/// `lastDeliveredSequenceId` of a consumer whose application saw nothing: what a bridge holds was not
/// delivered to anybody.
const NOT_SEEN: i64 = -1;

fn taken(by_us: bool) -> Taken {
    if by_us { Taken::Yes } else { Taken::No }
}

fn ack(
    consumer_id: Option<Arc<ConsumerId>>,
    sent: &Sent,
    ack_type: i8,
    poison_cause: Option<Throwable>,
) -> MessageAck {
    let first_message_id =
        if ack_type == ack_type::POISON { sent.message_id.clone() } else { None };
    MessageAck {
        consumer_id,
        destination: sent.destination.clone(),
        ack_type,
        first_message_id,
        last_message_id: sent.message_id.clone(),
        message_count: 1,
        poison_cause,
        ..MessageAck::default()
    }
}

/// Whether the peer says that the temporary destination of a message is gone.
fn is_gone(why: &Throwable, destination: Option<&Destination>) -> bool {
    let class = why.class_name.as_ref().map(ToString::to_string).unwrap_or_default();
    let told = class.ends_with("DestinationDoesNotExistException")
        || class.ends_with("InvalidDestinationException");
    told && destination.is_some_and(Destination::is_temporary)
}

/// The durable subscriptions that consumers of this broker have, as a peer is told them.
pub fn durable_subscriptions(broker: &Broker, options: &NetworkOptions) -> BrokerSubscriptionInfo {
    let included = |info: &Arc<ConsumerInfo>| {
        let to = info.destination.as_deref();
        !info.network_subscription && to.is_some_and(|to| options.permits(to))
    };
    let all = broker.durable_infos().into_iter().filter(included);
    BrokerSubscriptionInfo {
        broker_name: Some(broker.name().into()),
        subscription_infos: Some(all.map(|info| Some((*info).clone())).collect()),
        ..BrokerSubscriptionInfo::default()
    }
}

fn ids(broker: &Broker, options: &NetworkOptions, ends: &Ends) -> IdGenerator {
    let now_ms = crate::base::SystemClock.now_ms();
    if options.use_broker_names_as_id_seed {
        let seed = format!("{}->{}", ends.local_name, ends.remote_name);
        return IdGenerator::named(&seed, std::process::id(), now_ms);
    }
    IdGenerator::new(broker.name(), std::process::id(), now_ms)
}

/// Whether both are the same broker.
pub fn is_same(a: Option<&Arc<BrokerId>>, b: &BrokerId) -> bool {
    a.is_some_and(|a| **a == *b)
}
