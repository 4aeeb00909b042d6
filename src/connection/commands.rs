//! What each command of a peer does, and what it is answered.
//!
//! One function from a command to calls on the broker; no reading, writing or waiting. Answers go to
//! the outbox; what has to wait first (for the disk, for memory) goes to [`Later`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, trace, warn};

use super::Failure;
use super::bridge::{Bridge, Bridges, Taken};
use super::later::{Due, Later};
use super::pulls::{Pull, Pulls};
use super::replayed::{Holed, Replayed};
use super::sends::Sends;
use super::session::{Limits, Producer, Register};
use super::writer::Undeliverable;
use crate::broker::client::Pulled;
use crate::broker::{Broker, Client, Outbox, Peer, Refusal, Ticket};
use crate::openwire::{
    BrokerInfo, BrokerSubscriptionInfo, Command, ConnectionError, ConnectionId, ConnectionInfo,
    ConsumerControl, ConsumerInfo, ExceptionResponse, KeepAliveInfo, MessageAck, MessagePull,
    ProducerInfo, RemoveInfo, Response, Text, Throwable, TransactionId, TransactionInfo, ack_type,
    transaction_kind,
};
use crate::transport::{Connector, Slot};

/// `lastDeliveredSequenceId` of a peer that cannot say, or that went without saying.
pub(super) const LAST_DELIVERED_UNKNOWN: i64 = -2;
/// `lastDeliveredSequenceId` that raises no redelivery counter.
pub(super) const LAST_DELIVERED_NONE: i64 = -1;
/// The first version whose RemoveInfo says what was delivered.
const LAST_DELIVERED_SINCE: u8 = 5;
/// The first version whose ConnectionControl names brokers.
const TOLD_SINCE: u8 = 6;
/// The last version whose clients leave `clientMaster` out though they mean it.
const CLIENT_MASTER_UNSAID_UNTIL: u8 = 2;

/// What a connection does after a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// The peer said who it is: it may send frames as long as agreed.
    Known,
    /// The peer may not stay. It gets a moment to read why.
    Unwanted {
        reason: String,
    },
    /// The peer says goodbye.
    Goodbye,
}

/// What a command that succeeded is answered, and when.
pub(super) struct Answer {
    response: Command,
    after: Option<Ticket>,
}

impl Answer {
    pub(super) fn now() -> Self {
        Self { response: Response::default().into(), after: None }
    }

    pub(super) fn after(ticket: Ticket) -> Self {
        Self { after: Some(ticket), ..Self::now() }
    }
}

/// One peer: what it has opened, and what it still waits for.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) broker: Arc<Broker>,
    pub(super) connector: Arc<Connector>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) register: Register<Arc<Client>>,
    pub(super) sends: Sends,
    pub(super) pulls: Pulls,
    pub(super) later: Later,
    pub(super) slot: Slot,
    pub(super) peer: Peer,
    /// OpenWire version agreed on.
    version: u8,
    /// The peer would reconnect by itself.
    fault_tolerant: bool,
    /// Its number among those who are told of other brokers.
    informed: Option<u64>,
    /// Who makes a bridge back for a peer that is a broker and wants one.
    bridges: Option<Arc<dyn Bridges>>,
    /// What the peer said that is another broker.
    told: Option<Arc<BrokerInfo>>,
    /// The durable subscriptions that it told of before its bridge was there.
    durables: Option<Arc<BrokerSubscriptionInfo>>,
    pub(super) bridge: Option<Box<dyn Bridge>>,
    /// What it had open at its last broker.
    replayed: Replayed,
    /// Its client id is in use; nothing more is read until the owner of that was probed.
    probing: bool,
}

impl Conversation {
    pub(super) fn new(
        broker: Arc<Broker>,
        bridges: Option<Arc<dyn Bridges>>,
        connector: Arc<Connector>,
        slot: Slot,
        remote_address: String,
        version: u8,
    ) -> Self {
        let options = &connector.options.options;
        let limit = |limit: Option<u32>| limit.and_then(|limit| usize::try_from(limit).ok());
        let limits = Limits {
            consumers: limit(options.maximum_consumers_allowed_per_connection),
            producers: limit(options.maximum_producers_allowed_per_connection),
        };
        let peer = Peer { connector: connector.name().to_owned(), remote_address, network: false };
        Self {
            broker,
            connector,
            outbox: Arc::default(),
            register: Register::new(limits),
            sends: Sends::default(),
            pulls: Pulls::default(),
            later: Later::default(),
            slot,
            peer,
            version,
            fault_tolerant: false,
            informed: None,
            bridges,
            told: None,
            durables: None,
            bridge: None,
            replayed: Replayed::default(),
            probing: false,
        }
    }

    /// Has a bridge take part, as our side wants one to this peer.
    pub(super) fn carry(&mut self, bridge: Box<dyn Bridge>) {
        self.peer.network = true;
        self.bridge = Some(bridge);
    }

    /// Whether the next command may be handled now.
    pub(super) fn takes_more(&self) -> bool {
        !self.probing && !self.sends.holds_reader() && !self.later.is_full()
    }

    /// Does what a command asks for.
    ///
    /// # Errors
    /// When no peer may send such a command, which ends the connection.
    pub(super) fn handle(&mut self, command: Command) -> Result<Next, Failure> {
        trace!(peer = self.peer.remote_address, "{}", command.name());
        let name = command.name();
        let (id, required) = command.header().ok_or(Failure::Unexpected(name))?;
        if let Some(bridge) = &mut self.bridge {
            match bridge.take(&command)? {
                Taken::No => {}
                Taken::Yes => return Ok(Next::Go),
                Taken::Answer => {
                    self.answer(id, required, Ok(Answer::now()));
                    return Ok(Next::Go);
                }
            }
        }
        if let Some(holed) = self.replayed.hear(id, &command) {
            self.mistrust(&holed);
        }
        let answered = match command {
            Command::Message(message) => {
                self.send(Arc::unwrap_or_clone(message));
                return Ok(Next::Go);
            }
            Command::MessageAck(ack) => {
                let answered = self.ack(&ack);
                if let (Err(refusal), false) = (&answered, required) {
                    let of = ack.consumer_id.as_ref().and_then(|id| id.connection_id.as_ref());
                    self.refused_in(of, ack.transaction_id.as_deref(), refusal);
                }
                answered
            }
            Command::KeepAliveInfo(info) => {
                self.keep_alive(&info);
                return Ok(Next::Go);
            }
            Command::ConnectionInfo(info) => return Ok(self.connect(info)),
            Command::ShutdownInfo(_) => {
                self.answer(id, required, Ok(Answer::now()));
                return Ok(Next::Goodbye);
            }
            Command::SessionInfo(info) => self.add_session(info.session_id.as_deref()),
            Command::ConsumerInfo(info) => self.add_consumer(&info),
            Command::ProducerInfo(info) => self.add_producer(&info),
            Command::RemoveInfo(info) => self.remove(&info),
            Command::TransactionInfo(info) => {
                if !self.ends_later(&info) {
                    self.end_transaction(&info);
                }
                return Ok(Next::Go);
            }
            Command::DestinationInfo(info) => self
                .client_of(info.connection_id.as_ref())
                .and_then(|client| client.destination(&info).map(Answer::after)),
            Command::RemoveSubscriptionInfo(info) => self
                .client_of(info.connection_id.as_ref())
                .and_then(|client| client.remove_subscription(&info).map(Answer::after)),
            Command::ConsumerControl(control) => Ok(self.control_consumer(&control)),
            Command::MessagePull(pull) => self.pull(&pull),
            Command::ConnectionControl(control) => {
                self.fault_tolerant = control.fault_tolerant;
                self.inform();
                Ok(Answer::now())
            }
            Command::BrokerInfo(info) => {
                self.hear_broker(info)?;
                Ok(Answer::now())
            }
            Command::BrokerSubscriptionInfo(info) if self.told.is_some() => {
                self.durables = Some(info);
                Ok(Answer::now())
            }
            Command::BrokerSubscriptionInfo(_) => return Err(Failure::Unexpected(name)),
            // Without effect in ActiveMQ, too; to obey a ControlCommand was CVE-2014-3576.
            Command::ControlCommand(_)
            | Command::FlushCommand(_)
            | Command::ProducerAck(_)
            | Command::MessageDispatch(_)
            | Command::ConnectionError(_)
            | Command::Response(_)
            | Command::ExceptionResponse(_)
            | Command::DataResponse(_)
            | Command::DataArrayResponse(_)
            | Command::IntegerResponse(_) => Ok(Answer::now()),
            Command::MessageDispatchNotification(_) => {
                Err(Refusal::Jms("Only a broker may tell of a dispatch".to_owned()))
            }
            Command::WireFormatInfo(_)
            | Command::ReplayCommand(_)
            | Command::PartialCommand(_)
            | Command::LastPartialCommand(_)
            | Command::DiscoveryEvent(_)
            | Command::JournalTopicAck(_)
            | Command::JournalQueueAck(_)
            | Command::JournalTrace(_)
            | Command::JournalTransaction(_)
            | Command::SubscriptionInfo(_)
            | Command::NetworkBridgeFilter(_)
            | Command::Destination(_)
            | Command::MessageId(_)
            | Command::LocalTransactionId(_)
            | Command::XaTransactionId(_)
            | Command::ConnectionId(_)
            | Command::SessionId(_)
            | Command::ConsumerId(_)
            | Command::ProducerId(_)
            | Command::BrokerId(_) => return Err(Failure::Unexpected(name)),
        };
        self.answer(id, required, answered);
        Ok(Next::Go)
    }

    /// Answers a command: a response if it asked for one, an error in any case.
    pub(super) fn answer(&mut self, id: i32, required: bool, answered: Result<Answer, Refusal>) {
        match answered {
            Ok(_) if !required => {}
            Ok(Answer { response, after }) => {
                let response = correlate(response, id);
                match after.filter(|ticket| !ticket.is_durable()) {
                    None => self.outbox.command(response),
                    Some(ticket) => self.later.respond(ticket, response),
                }
            }
            Err(refusal) => self.refuse(id, required, &refusal),
        }
    }

    /// A part of a transaction was refused, and the peer asked for no answer.
    pub(super) fn refused_in(
        &self,
        connection: Option<&Text>,
        transaction: Option<&TransactionId>,
        refusal: &Refusal,
    ) {
        let Some(transaction) = transaction else { return };
        if let Ok(client) = self.register.client("a transaction", connection) {
            client.refused_in(transaction, refusal);
        }
    }

    /// Rolls a transaction back whose acknowledgements may be lost, if it can have any: it sends from no
    /// session without consumers only.
    fn mistrust(&self, holed: &Holed) {
        let Holed { transaction, sessions } = holed;
        let receives = |session| self.register.has_consumers(session);
        if !sessions.is_empty() && !sessions.iter().any(receives) {
            return;
        }
        let lost = Refusal::LostPart { transaction: transaction.to_string() };
        let (connection, refusal) = match &**transaction {
            TransactionId::Local(id) => {
                (id.connection_id.as_ref().and_then(|id| id.value.as_ref()), lost)
            }
            TransactionId::Xa(_) => (None, Refusal::RolledBack { cause: lost.to_throwable() }),
        };
        if let Ok(client) = self.register.client("a transaction", connection) {
            debug!("{refusal}");
            client.doom(transaction, refusal);
        }
    }

    fn refuse(&self, id: i32, required: bool, refusal: &Refusal) {
        let exception = Some(refusal.to_throwable());
        if required {
            if matches!(refusal, Refusal::Security(_)) {
                let address = &self.peer.remote_address;
                warn!("Security Error occurred on connection to: {address}, {refusal}");
            } else {
                debug!("Error occurred while processing sync command: {refusal}");
            }
            let response =
                ExceptionResponse { exception, correlation_id: id, ..Default::default() };
            self.outbox.command(response);
        } else {
            warn!("Async error occurred: {refusal}");
            self.outbox.command(ConnectionError { exception, ..ConnectionError::default() });
        }
    }

    /// Below the numbering of commands: never answered by a Response.
    fn keep_alive(&self, info: &KeepAliveInfo) {
        if info.response_required {
            let echo = KeepAliveInfo { response_required: false, ..info.clone() };
            self.outbox.command(echo);
        }
    }

    /// The peer is another broker. It says so once, before it says who it is.
    fn hear_broker(&mut self, info: Arc<BrokerInfo>) -> Result<(), Failure> {
        if self.told.is_some() || !self.register.is_empty() {
            return Err(Failure::Unexpected("BrokerInfo"));
        }
        self.peer.network = true;
        self.told = Some(info);
        Ok(())
    }

    /// Builds the bridge back that a peer wants, once it may be here.
    fn build_bridge(&mut self) -> Result<(), Refusal> {
        let (Some(told), Some(bridges), None) = (&self.told, &self.bridges, &self.bridge) else {
            return Ok(());
        };
        let address = &self.peer.remote_address;
        self.bridge = bridges.accept(told, self.version, &self.outbox, address)?;
        if let (Some(bridge), Some(durables)) = (&mut self.bridge, self.durables.take()) {
            // A bridge never ends for what it is told of durable subscriptions.
            let taken = bridge.take(&Command::BrokerSubscriptionInfo(durables));
            debug_assert!(taken.is_ok(), "{taken:?}");
        }
        Ok(())
    }

    /// Opens a logical connection. Whether one whose client id is in use may have it shows when the
    /// owner was asked whether it is still there.
    fn connect(&mut self, mut info: Arc<ConnectionInfo>) -> Next {
        let details = Arc::make_mut(&mut info);
        details.client_master |= self.version <= CLIENT_MASTER_UNSAID_UNTIL;
        details.client_ip.get_or_insert_with(|| self.peer.remote_address.as_str().into());
        let opened = self.open_connection(&info);
        if let Err(Refusal::ClientIdInUse { client_id, .. }) = &opened
            && let Some(probe) = self.broker.probe(client_id, &self.outbox)
        {
            self.probing = true;
            self.later.probed(probe, info);
            return Next::Go;
        }
        self.connected(&info, opened)
    }

    /// Says how it ended.
    fn connected(&mut self, info: &ConnectionInfo, opened: Result<(), Refusal>) -> Next {
        let connected = opened.and_then(|()| self.build_bridge());
        let refused = connected.as_ref().err().map(Refusal::to_string);
        let answer = connected.map(|()| Answer::now());
        self.answer(info.command_id, info.response_required, answer);
        if let Some(reason) = refused {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "null".to_owned());
            warn!(
                "Failed to add Connection id={}, clientId={}, clientIP={} due to {reason}",
                shown(info.connection_id.as_ref().map(|id| id.to_string())),
                shown(info.client_id.as_ref().map(|id| id.to_string())),
                shown(info.client_ip.as_ref().map(|ip| ip.to_string())),
            );
            return Next::Unwanted { reason: format!("Failed with SecurityException: {reason}") };
        }
        if info.manageable {
            let connector = self.connector.name();
            self.broker.cluster().greet(connector, &self.outbox, info.failover_reconnect);
        }
        self.inform();
        Next::Known
    }

    fn open_connection(&mut self, info: &Arc<ConnectionInfo>) -> Result<(), Refusal> {
        let id = info.connection_id.as_ref().ok_or_else(|| {
            Refusal::IllegalState("The ConnectionInfo names no connection".to_owned())
        })?;
        if self.register.has_connection(id) {
            return Err(Refusal::ClientIdInUse {
                broker: self.broker.name().to_owned(),
                client_id: info.client_id.as_ref().map(|id| id.to_string()).unwrap_or_default(),
                remote_address: self.peer.remote_address.clone(),
            });
        }
        self.register.check_connections()?;
        debug!("Setting up new connection id: {id}, address: {}", self.peer.remote_address);
        let client = self.broker.connect(info, &self.peer, &self.outbox)?;
        self.register.add_connection(Arc::clone(id), client);
        self.fault_tolerant = info.fault_tolerant;
        self.slot.known();
        Ok(())
    }

    /// A peer that reconnects by itself is told of other brokers as they come and go.
    fn inform(&mut self) {
        let wants = self.fault_tolerant && self.version >= TOLD_SINCE && !self.register.is_empty();
        let (cluster, connector) = (self.broker.cluster(), self.connector.name());
        if wants && self.informed.is_none() {
            self.informed = cluster.enter(connector, &self.outbox);
        } else if !wants && let Some(number) = self.informed.take() {
            cluster.leave(connector, number);
        }
    }

    fn client_of(&self, id: Option<&Arc<ConnectionId>>) -> Result<&Arc<Client>, Refusal> {
        self.register.client("a connectionId", id.and_then(|id| id.value.as_ref()))
    }

    fn add_session(&mut self, id: Option<&crate::openwire::SessionId>) -> Result<Answer, Refusal> {
        let id =
            id.ok_or_else(|| Refusal::IllegalState("The SessionInfo names no session".to_owned()))?;
        self.register.add_session(id).map(|()| Answer::now())
    }

    fn add_consumer(&mut self, info: &Arc<ConsumerInfo>) -> Result<Answer, Refusal> {
        if let Some(client) = self.register.check_consumer(info, self.broker.name())? {
            let ticket = client.add_consumer(info)?;
            if let Some(id) = &info.consumer_id {
                self.register.add_consumer(id);
            }
            return Ok(Answer::after(ticket));
        }
        Ok(Answer::now())
    }

    fn add_producer(&mut self, info: &Arc<ProducerInfo>) -> Result<Answer, Refusal> {
        if let Some(client) = self.register.check_producer(info)? {
            client.add_producer(info)?;
            if let Some(id) = &info.producer_id {
                self.register.add_producer(id, Producer { window: info.window_size });
            }
        }
        Ok(Answer::now())
    }

    fn remove(&mut self, info: &RemoveInfo) -> Result<Answer, Refusal> {
        let last_delivered = if self.version >= LAST_DELIVERED_SINCE {
            info.last_delivered_sequence_id
        } else {
            LAST_DELIVERED_UNKNOWN
        };
        match info.object_id.as_deref() {
            Some(Command::ConsumerId(id)) => {
                let (client, id) = self.register.remove_consumer(id)?;
                client.remove_consumer(&id, last_delivered);
                self.pulls.forget(&id);
            }
            Some(Command::ProducerId(id)) => {
                let (client, id) = self.register.remove_producer(id)?;
                client.remove_producer(&id);
            }
            Some(Command::SessionId(id)) => {
                let (client, removed) = self.register.remove_session(id)?;
                for id in &removed.consumers {
                    client.remove_consumer(id, last_delivered);
                    self.pulls.forget(id);
                }
                for id in &removed.producers {
                    client.remove_producer(id);
                }
            }
            Some(Command::ConnectionId(id)) => {
                debug!("remove connection id: {id}");
                if let Some(client) = self.register.remove_connection(id) {
                    client.close(last_delivered);
                }
            }
            other => {
                let what = other.map_or("nothing", Command::name);
                return Err(Refusal::IllegalState(format!("A RemoveInfo cannot remove {what}")));
            }
        }
        Ok(Answer::now())
    }

    fn ack(&self, ack: &MessageAck) -> Result<Answer, Refusal> {
        let consumer = ack.consumer_id.as_deref();
        match consumer.and_then(|id| self.register.consumer(id)) {
            Some(client) => client.ack(ack).map(Answer::after),
            None => {
                // An ack may cross with the end of its consumer.
                let connection = consumer.and_then(|id| id.connection_id.as_ref());
                if let Ok(client) = self.register.client("a consumer", connection)
                    && ack.transaction_id.is_some()
                {
                    client.ignore(ack, "no matching consumer, ignoring ack");
                }
                Ok(Answer::now())
            }
        }
    }

    /// A message cannot be told to its consumer: it goes where poison goes, and says why.
    pub(super) fn bury(&mut self, undeliverable: &Undeliverable) {
        let Undeliverable { delivery, why } = undeliverable;
        let id = delivery.message.as_ref().and_then(|message| message.message_id.clone());
        let consumer = &delivery.consumer_id;
        let shown = id.as_ref().map(ToString::to_string).unwrap_or_default();
        warn!("Message {shown} cannot be delivered to {consumer} and is dead-lettered: {why}");
        let ack = MessageAck {
            consumer_id: Some(Arc::clone(consumer)),
            destination: delivery.destination.clone(),
            ack_type: ack_type::POISON,
            first_message_id: id.clone(),
            last_message_id: id,
            message_count: 1,
            poison_cause: Some(Throwable::new("java.io.IOException", &why.to_string())),
            ..MessageAck::default()
        };
        let client = self.register.consumer(consumer);
        if let (None, Some(bridge)) = (client, &mut self.bridge) {
            bridge.bury(delivery, why);
            return;
        }
        if let Some(Err(refusal)) = client.map(|client| client.ack(&ack)) {
            // Acknowledged or given back meanwhile: it is no longer this consumer's.
            debug!("message {shown} is not dead-lettered: {refusal}");
        }
    }

    fn control_consumer(&self, control: &ConsumerControl) -> Answer {
        let consumer = control.consumer_id.as_ref();
        if let Some(client) = consumer.and_then(|id| self.register.consumer(id)) {
            client.control_consumer(control);
        } else {
            debug!("ConsumerControl for a consumer that is not open: {control:?}");
        }
        Answer::now()
    }

    fn pull(&mut self, pull: &MessagePull) -> Result<Answer, Refusal> {
        let connection = pull.consumer_id.as_ref().and_then(|id| id.connection_id.as_ref());
        let client = self.register.client("a consumer", connection)?;
        let pulled = client.pull(pull)?;
        if let Some(id) = &pull.consumer_id {
            match pulled {
                Pulled::Answered | Pulled::Waiting => self.pulls.forget(id),
                Pulled::WaitMs { ms, pull: number } => {
                    let wait = Duration::from_millis(ms).min(PULL_WAIT_MAX);
                    let pull = Pull { consumer: Arc::clone(id), number };
                    self.pulls.wait(pull, Instant::now() + wait);
                }
            }
        }
        Ok(Answer::now())
    }

    /// Answers pulls that found nothing until now.
    pub(super) fn end_pulls(&mut self, now: Instant) {
        while let Some(pull) = self.pulls.take_due(now) {
            if let Some(client) = self.register.consumer(&pull.consumer) {
                client.pull_timed_out(&pull.consumer, pull.number);
            }
        }
    }

    /// Does a step of a transaction, and answers.
    pub(super) fn end_transaction(&mut self, info: &TransactionInfo) {
        let answered = self.transaction(info);
        self.answer(info.command_id, info.response_required, answered);
    }

    fn transaction(&self, info: &TransactionInfo) -> Result<Answer, Refusal> {
        let client = self.client_of(info.connection_id.as_ref())?;
        if info.kind == transaction_kind::END {
            // Only has the client wait until the broker has seen what came before.
            return Ok(Answer::now());
        }
        let (response, ticket) = client.transaction(info)?;
        Ok(Answer { response, after: Some(ticket) })
    }

    /// Goes on with what had to wait.
    pub(super) fn resume(&mut self, due: Due) -> Next {
        match due {
            Due::Respond(response) => self.outbox.command(response),
            Due::Room { waiting, waited } => self.retry(&waiting, waited),
            Due::Probed(info) => {
                self.probing = false;
                let opened = self.open_connection(&info);
                return self.connected(&info, opened);
            }
        }
        Next::Go
    }

    /// Ends everything the peer had open.
    pub(super) fn close(&mut self, last_delivered: i64) {
        for client in self.register.drain() {
            client.close(last_delivered);
        }
        if let Some(mut bridge) = self.bridge.take() {
            bridge.close();
        }
        self.fault_tolerant = false;
        self.inform();
        // Only now is a client id free.
        self.outbox.gone();
    }
}

/// Longest time a pull may wait; longer is as good as for ever.
const PULL_WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Drop for Conversation {
    /// For a task that was cut: its peer must not be served for ever.
    fn drop(&mut self) {
        self.close(LAST_DELIVERED_UNKNOWN);
    }
}

/// Says which command a response is for.
fn correlate(mut response: Command, id: i32) -> Command {
    if let Command::Response(it) = &mut response {
        Arc::make_mut(it).correlation_id = id;
    } else if let Command::IntegerResponse(it) = &mut response {
        Arc::make_mut(it).correlation_id = id;
    } else if let Command::DataArrayResponse(it) = &mut response {
        Arc::make_mut(it).correlation_id = id;
    } else {
        debug_assert!(false, "{} is no response to a command that succeeded", response.name());
    }
    response
}
