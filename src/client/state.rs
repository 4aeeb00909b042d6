//! What a connection has to remember to go on after the socket broke: its objects and its open requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Error;
use super::deliveries::Deliveries;
use crate::openwire::{
    Command, ConnectionControl, ConnectionInfo, ConsumerId, DestinationInfo, ProducerId,
    ProducerInfo, SessionId, SessionInfo, Throwable,
};

/// The number of the ConnectionInfo, which is the first command of every connection.
pub(super) const CONNECTION_COMMAND_ID: i32 = 1;

/// A request without an answer yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) answer: oneshot::Sender<Result<Command, Error>>,
    pub(super) on_loss: OnLoss,
    /// Set once it went to a socket, where it may be sent again on the next one.
    pub(super) sent: Option<Command>,
}

/// What becomes of a request whose connection is lost after it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLoss {
    /// Sent again; the broker knows repeated messages by their numbers.
    Resend,
    /// Part of what [`Objects::restore`] sends.
    Restored,
    /// A commit: whether the broker carried it out is unknown.
    InDoubt,
    /// It concerned only the lost connection, which settled it.
    Settled,
}

/// One session and what belongs to it.
#[derive(Debug)]
struct Session {
    info: SessionInfo,
    producers: BTreeMap<i64, ProducerInfo>,
    consumers: BTreeMap<i64, Arc<Deliveries>>,
}

/// What is open on a connection, in the order in which it has to be opened again.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) connection: ConnectionInfo,
    temporary: Vec<DestinationInfo>,
    sessions: BTreeMap<i64, Session>,
    consumers: HashMap<ConsumerId, Arc<Deliveries>>,
}

impl Objects {
    pub(super) fn new(connection: ConnectionInfo) -> Self {
        let (temporary, sessions) = (Vec::new(), BTreeMap::new());
        Self { connection, temporary, sessions, consumers: HashMap::new() }
    }

    pub(super) fn add_session(&mut self, info: SessionInfo) {
        let value = info.session_id.as_ref().map_or(0, |id| id.value);
        let session = Session { info, producers: BTreeMap::new(), consumers: BTreeMap::new() };
        self.sessions.insert(value, session);
    }

    pub(super) fn remove_session(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.remove(&id.value) {
            for consumer in session.consumers.values() {
                if let Some(id) = &consumer.info.consumer_id {
                    self.consumers.remove(&**id);
                }
            }
        }
    }

    pub(super) fn add_producer(&mut self, info: ProducerInfo) {
        let Some(id) = info.producer_id.clone() else { return };
        if let Some(session) = self.sessions.get_mut(&id.session_id) {
            session.producers.insert(id.value, info);
        }
    }

    pub(super) fn remove_producer(&mut self, id: &ProducerId) {
        if let Some(session) = self.sessions.get_mut(&id.session_id) {
            session.producers.remove(&id.value);
        }
    }

    pub(super) fn add_consumer(&mut self, deliveries: Arc<Deliveries>) {
        let Some(id) = deliveries.info.consumer_id.clone() else { return };
        if let Some(session) = self.sessions.get_mut(&id.session_id) {
            session.consumers.insert(id.value, Arc::clone(&deliveries));
            self.consumers.insert((*id).clone(), deliveries);
        }
    }

    pub(super) fn remove_consumer(&mut self, id: &ConsumerId) {
        self.consumers.remove(id);
        if let Some(session) = self.sessions.get_mut(&id.session_id) {
            session.consumers.remove(&id.value);
        }
    }

    pub(super) fn add_temporary(&mut self, info: DestinationInfo) {
        self.temporary.push(info);
    }

    pub(super) fn consumer(&self, id: &ConsumerId) -> Option<&Arc<Deliveries>> {
        self.consumers.get(id)
    }

    pub(super) fn consumers(&self) -> impl Iterator<Item = &Arc<Deliveries>> {
        self.consumers.values()
    }

    /// What opens all of it on a socket. `again` says that the broker, or its partner, knew it before.
    pub(super) fn restore(&self, again: bool) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        if again {
            let control =
                ConnectionControl { fault_tolerant: true, ..ConnectionControl::default() };
            commands.push(control.into());
        }
        let connection = ConnectionInfo { failover_reconnect: again, ..self.connection.clone() };
        commands.push(connection.into());
        commands.extend(self.temporary.iter().cloned().map(Command::from));
        for session in self.sessions.values() {
            commands.push(session.info.clone().into());
            commands.extend(session.producers.values().cloned().map(Command::from));
            let consumers = session.consumers.values();
            commands.extend(consumers.map(|it| Command::ConsumerInfo(Arc::clone(&it.info))));
        }
        commands
    }
}

/// Everything that changes while a connection lives, under one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) objects: Objects,
    pub(super) pending: HashMap<i32, Pending>,
    pub(super) last_command_id: i32,
    /// Counts the sockets of this connection; grows when one is lost.
    pub(super) generation: u64,
    /// Why nothing more can be done.
    pub(super) ended: Option<Error>,
    /// What the broker said of a command that asked for no answer; the next call reports it.
    pub(super) complaint: Option<Throwable>,
}

impl State {
    pub(super) fn new(connection: ConnectionInfo) -> Self {
        Self {
            objects: Objects::new(connection),
            pending: HashMap::new(),
            last_command_id: CONNECTION_COMMAND_ID,
            generation: 0,
            ended: None,
            complaint: None,
        }
    }

    /// Numbers wrap around as in Java; 0 is left out, as it is the broker's for "none".
    pub(super) fn next_command_id(&mut self) -> i32 {
        self.last_command_id = self.last_command_id.checked_add(1).unwrap_or(1);
        self.last_command_id
    }

    /// Hands an answer to the one who waits. Whether someone did.
    pub(super) fn answer(&mut self, command_id: i32, answer: Result<Command, Error>) -> bool {
        match self.pending.remove(&command_id) {
            // Who stopped waiting needs no answer.
            Some(pending) => {
                drop(pending.answer.send(answer));
                true
            }
            None => false,
        }
    }

    /// The socket is lost: settles what cannot go on and returns what has to be sent again, in order.
    pub(super) fn lose_socket(&mut self) -> Vec<Command> {
        self.generation += 1;
        for consumer in self.objects.consumers() {
            consumer.reconnect(self.generation);
        }
        let mut again = BTreeMap::new();
        let mut settled = Vec::new();
        for (id, pending) in &mut self.pending {
            match (pending.on_loss, pending.sent.take()) {
                (OnLoss::Resend, Some(command)) => {
                    again.insert(*id, command);
                }
                (OnLoss::InDoubt | OnLoss::Settled, Some(_)) => settled.push(*id),
                (OnLoss::Restored, _) | (_, None) => {}
            }
        }
        for id in settled {
            let in_doubt = self.pending.get(&id).is_some_and(|it| it.on_loss == OnLoss::InDoubt);
            self.answer(id, Err(Error::TransactionRolledBack { in_doubt }));
        }
        again.into_values().collect()
    }

    /// Nothing goes on: everyone who waits hears why.
    pub(super) fn end(&mut self, why: &Error) {
        self.ended.get_or_insert_with(|| why.clone());
        for consumer in self.objects.consumers() {
            consumer.end(why.clone());
        }
        self.fail_pending(why);
    }

    pub(super) fn fail_pending(&mut self, why: &Error) {
        for (_, pending) in self.pending.drain() {
            drop(pending.answer.send(Err(why.clone())));
        }
    }
}
