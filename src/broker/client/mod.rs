//! One logical connection as the broker knows it: what its commands do.
//!
//! * [`consumers`] opens and closes consumers, controls them and answers pulls.
//! * [`sending`] is producers and what they send.
//! * [`acks`] is what consumers acknowledge.
//! * [`transactions`] is what waits for a commit.
//!
//! The connection in front of this checks the order of commands (sessions, known producers) and turns
//! a [`Refusal`] into the exception that the client sees.

mod acks;
mod consumers;
mod sending;
mod transactions;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub use self::consumers::Pulled;
pub use self::sending::{Room, Wait};
use super::queue::{LastDelivered, QueueCell};
use super::subscription::Subscription;
use super::transaction::Transaction;
use super::{Broker, Outbox, Peer, Refusal};
use crate::openwire::{
    BrokerId, Command, ConnectionId, ConnectionInfo, ConsumerId, ConsumerInfo, Destination,
    DestinationInfo, LocalTransactionId, ProducerId, ProducerInfo, RemoveInfo,
    RemoveSubscriptionInfo,
};
use crate::store::Ticket;

/// One logical connection. Dropping it does not remove it: call [`Client::close`].
#[derive(Debug)]
pub struct Client {
    broker: Arc<Broker>,
    info: Arc<ConnectionInfo>,
    connection_id: Arc<ConnectionId>,
    client_id: String,
    pub(super) peer: Peer,
    pub(super) outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    consumers: HashMap<Arc<ConsumerId>, Arc<Subscription>>,
    producers: HashMap<Arc<ProducerId>, Arc<ProducerInfo>>,
    temporaries: Vec<Arc<Destination>>,
    transactions: HashMap<LocalTransactionId, Transaction>,
    closed: bool,
}

impl Client {
    pub(super) fn new(
        broker: &Arc<Broker>,
        info: &Arc<ConnectionInfo>,
        client_id: &str,
        peer: &Peer,
        outbox: &Arc<Outbox>,
    ) -> Self {
        Self {
            broker: Arc::clone(broker),
            info: Arc::clone(info),
            connection_id: info.connection_id.clone().unwrap_or_default(),
            client_id: client_id.to_owned(),
            peer: peer.clone(),
            outbox: Arc::clone(outbox),
            state: Mutex::default(),
        }
    }

    pub(super) fn connection_id(&self) -> &ConnectionId {
        &self.connection_id
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The ConnectionInfo as others may see it.
    pub(super) fn public_info(&self) -> ConnectionInfo {
        ConnectionInfo { password: Some("".into()), ..(*self.info).clone() }
    }

    pub(super) fn producer_infos(&self) -> Vec<Arc<ProducerInfo>> {
        self.state.lock().producers.values().cloned().collect()
    }

    /// The consumers that are open.
    pub(super) fn consumers(&self) -> Vec<Arc<Subscription>> {
        self.state.lock().consumers.values().cloned().collect()
    }

    pub(super) fn consumer_infos(&self) -> Vec<Arc<ConsumerInfo>> {
        self.state.lock().consumers.values().map(|consumer| Arc::clone(&consumer.info)).collect()
    }

    pub(super) fn forget_queue(&self, queue: &Arc<QueueCell>) {
        let consumers: Vec<_> = self.state.lock().consumers.values().cloned().collect();
        for consumer in consumers {
            consumer.forget_queue(queue);
        }
    }

    fn consumer(&self, id: &ConsumerId) -> Option<Arc<Subscription>> {
        self.state.lock().consumers.get(id).cloned()
    }

    /// Creates or removes a destination.
    ///
    /// # Errors
    /// The destination cannot be made, or has consumers and may not lose them.
    pub fn destination(&self, info: &DestinationInfo) -> Result<Ticket, Refusal> {
        let Some(destination) = &info.destination else {
            return Err(Refusal::InvalidDestination("a destination without a name".to_owned()));
        };
        for member in destination.members() {
            let dotted = self.broker.plugins.dotted(&member);
            let member = dotted.unwrap_or_else(|| Arc::new(member));
            match info.operation_type {
                ADD_OPERATION => self.add_destination(&member)?,
                REMOVE_OPERATION => self.remove_destination(&member, info.timeout)?,
                other => {
                    return Err(Refusal::Jms(format!("Unknown destination operation: {other}")));
                }
            }
        }
        Ok(self.broker.written(info.response_required))
    }

    fn add_destination(&self, destination: &Arc<Destination>) -> Result<(), Refusal> {
        self.broker.find(destination, Some(&self.connection_id))?;
        if destination.is_temporary() {
            let mut state = self.open_state()?;
            if !state.temporaries.contains(destination) {
                state.temporaries.push(Arc::clone(destination));
            }
        }
        Ok(())
    }

    /// Makes a temporary destination here that a client of another broker has, so that replies find it.
    /// `path` is the brokers between. It goes with this connection. One that is here already stays
    /// whose it is.
    ///
    /// # Errors
    /// There are too many destinations, or this connection has ended.
    pub fn mirror_temporary(
        &self,
        destination: &Arc<Destination>,
        path: Vec<Option<BrokerId>>,
    ) -> Result<(), Refusal> {
        if self.broker.region.get(destination).is_some() {
            return Ok(());
        }
        self.broker.mirrored.lock().insert(Arc::clone(destination), path);
        let made = self.add_destination(destination);
        if made.is_err() {
            self.broker.mirrored.lock().remove(destination);
        }
        made
    }

    /// Removes what [`Self::mirror_temporary`] made.
    pub fn unmirror_temporary(&self, destination: &Arc<Destination>) {
        let own = {
            let mut state = self.state.lock();
            let before = state.temporaries.len();
            state.temporaries.retain(|own| own != destination);
            state.temporaries.len() < before
        };
        if own {
            self.broker.remove_destination(destination, Some(&self.connection_id));
        }
    }

    fn remove_destination(
        &self,
        destination: &Arc<Destination>,
        timeout: i64,
    ) -> Result<(), Refusal> {
        if timeout == 0
            && let Some(consumer) = self.broker.consumer_of(destination)
        {
            return Err(Refusal::Jms(format!(
                "Destination: {destination} still has an active subscription: {consumer}"
            )));
        }
        self.state.lock().temporaries.retain(|own| own != destination);
        self.broker.remove_destination(destination, Some(&self.connection_id));
        Ok(())
    }

    /// Ends a durable subscription that no consumer uses.
    ///
    /// # Errors
    /// There is none of that name, or a consumer uses it.
    pub fn remove_subscription(&self, info: &RemoveSubscriptionInfo) -> Result<Ticket, Refusal> {
        let name = info.subscription_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let durable = self.broker.remove_durable(&self.client_id, &name)?;
        if let Some(destination) = &durable.info.destination {
            self.broker.consumers_changed(destination, info.clone());
        }
        Ok(self.broker.written(info.response_required))
    }

    /// Ends the connection with all it owns. Idempotent.
    ///
    /// `last_delivered` is that of RemoveInfo, -2 for an abrupt end.
    pub fn close(&self, last_delivered: i64) {
        let state = {
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            std::mem::replace(&mut *state, State { closed: true, ..State::default() })
        };
        for consumer in state.consumers.into_values() {
            self.dispose_consumer(&consumer, last_delivered);
        }
        for transaction in state.transactions.into_values() {
            let _ticket = self.broker.roll_back(None, transaction, false);
        }
        self.roll_back_branches();
        for info in state.producers.into_values() {
            self.dispose_producer(&info);
        }
        for destination in state.temporaries {
            self.broker.remove_destination(&destination, Some(&self.connection_id));
        }
        self.broker.forget(self);
        let id = Command::ConnectionId(Arc::clone(&self.connection_id));
        self.broker.connection_changed(removal_of(id));
    }

    /// What the connection owns, to add to it.
    ///
    /// # Errors
    /// The connection was ended, by another socket with the same id perhaps: what is added now would
    /// never be removed.
    fn open_state(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.state.lock();
        if state.closed {
            let id = &self.connection_id;
            return Err(Refusal::IllegalState(format!("Connection {id} has ended")));
        }
        Ok(state)
    }

    fn last_delivered(&self, wire: i64) -> LastDelivered {
        if self.broker.is_stopping() {
            LastDelivered::BrokerStopping
        } else {
            LastDelivered::from_wire(wire)
        }
    }
}

/// Values of [`DestinationInfo::operation_type`].
const ADD_OPERATION: i8 = 0;
pub(super) const REMOVE_OPERATION: i8 = 1;

/// The RemoveInfo that tells others of something that went.
pub(super) fn removal_of(id: Command) -> RemoveInfo {
    RemoveInfo {
        object_id: Some(Arc::new(id)),
        last_delivered_sequence_id: -2,
        ..RemoveInfo::default()
    }
}
