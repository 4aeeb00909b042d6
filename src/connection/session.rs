//! What one socket has opened: logical connections, their sessions, and the consumers and producers
//! of those.
//!
//! A plain register: it says what may be added and what goes with what is removed, with the texts that
//! ActiveMQ clients and their operators know. It opens and closes nothing itself.
//!
//! A socket nearly always carries one logical connection, and ActiveMQ then takes every id to be of
//! that one; only with several it asks which. The same goes here.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use crate::broker::Refusal;
use crate::openwire::{
    ConnectionId, ConsumerId, ConsumerInfo, Destination, ProducerId, ProducerInfo, SessionId, Text,
};

/// The session that every connection has without announcing it.
const IMPLICIT_SESSION: i64 = -1;

/// Sessions of one logical connection.
pub const SESSIONS_MAX: usize = 32_768;
/// Consumers of one logical connection, unless the connector's configuration says otherwise.
pub const CONSUMERS_MAX: usize = 32_768;
/// Producers of one logical connection, unless the connector's configuration says otherwise.
pub const PRODUCERS_MAX: usize = 32_768;
/// Logical connections of one socket.
pub const CONNECTIONS_MAX: usize = 100;

/// What a connector grants each logical connection; `None` where its configuration says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub consumers: Option<usize>,
    pub producers: Option<usize>,
}

/// Everything that one socket has opened. `C` is the broker's side of a logical connection.
#[derive(Debug)]
pub struct Register<C> {
    limits: Limits,
    connections: Vec<Logical<C>>,
}

/// One logical connection.
#[derive(Debug)]
struct Logical<C> {
    id: Arc<ConnectionId>,
    client: C,
    sessions: HashMap<SessionId, Session>,
    /// Of all sessions, so that a limit is checked without walking over them.
    consumers: usize,
    producers: usize,
}

#[derive(Debug, Default)]
struct Session {
    consumers: HashSet<Arc<ConsumerId>>,
    producers: HashMap<Arc<ProducerId>, Producer>,
}

/// What is known of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Bytes it sends ahead of a ProducerAck; 0 asks for none.
    pub window: i32,
}

/// What a removed session had open.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub consumers: Vec<Arc<ConsumerId>>,
    pub producers: Vec<Arc<ProducerId>>,
}

impl<C> Register<C> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, connections: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The broker's side of all logical connections.
    pub fn clients(&self) -> impl Iterator<Item = &C> {
        self.connections.iter().map(|logical| &logical.client)
    }

    pub fn has_connection(&self, id: &ConnectionId) -> bool {
        self.connections.iter().any(|logical| *logical.id == *id)
    }

    /// Whether another logical connection may be opened.
    ///
    /// # Errors
    /// When there are too many on this socket.
    pub fn check_connections(&self) -> Result<(), Refusal> {
        if self.connections.len() < CONNECTIONS_MAX {
            return Ok(());
        }
        Err(Refusal::IllegalState(format!(
            "Can't add connection: at maximum limit: {CONNECTIONS_MAX}"
        )))
    }

    /// Adds a logical connection with the session that it need not announce.
    pub fn add_connection(&mut self, id: Arc<ConnectionId>, client: C) {
        let implicit = SessionId { connection_id: id.value.clone(), value: IMPLICIT_SESSION };
        let sessions = HashMap::from([(implicit, Session::default())]);
        self.connections.push(Logical { id, client, sessions, consumers: 0, producers: 0 });
    }

    /// Removes a logical connection; `None` when it is not known.
    pub fn remove_connection(&mut self, id: &ConnectionId) -> Option<C> {
        let at = self.connections.iter().position(|logical| *logical.id == *id)?;
        Some(self.connections.swap_remove(at).client)
    }

    /// Removes all.
    pub fn drain(&mut self) -> impl Iterator<Item = C> {
        self.connections.drain(..).map(|logical| logical.client)
    }

    /// The broker's side of the connection that a command names.
    ///
    /// # Errors
    /// When there is none; `what` is what the command was about.
    pub fn client(&self, what: &str, id: Option<&Text>) -> Result<&C, Refusal> {
        let known = self.logical(id).map(|logical| &logical.client);
        known.ok_or_else(|| {
            let id = id.map_or_else(|| "null".into(), |id| id.to_str());
            Refusal::IllegalState(format!(
                "Cannot lookup {what} from a connection that had not been registered: {id}"
            ))
        })
    }

    /// Opens a session. One that is open stays as it is, and without its connection nothing happens,
    /// as in ActiveMQ.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add_session(&mut self, id: &SessionId) -> Result<(), Refusal> {
        let Some(logical) = self.logical_mut(id.connection_id.as_ref()) else { return Ok(()) };
        if logical.sessions.contains_key(id) {
            return Ok(());
        }
        if logical.sessions.len() > SESSIONS_MAX {
            return Err(at_limit("session", &logical.id, SESSIONS_MAX));
        }
        logical.sessions.insert(id.clone(), Session::default());
        Ok(())
    }

    /// Closes a session with what it has open.
    ///
    /// # Errors
    /// When it or its connection is not known.
    pub fn remove_session(&mut self, id: &SessionId) -> Result<(&C, Removed), Refusal> {
        let logical = self
            .logical_mut(id.connection_id.as_ref())
            .ok_or_else(|| unknown("Cannot remove session from connection", &id.connection_id()))?;
        let session = logical.sessions.remove(id);
        let session = session.ok_or_else(|| unknown("Cannot remove session", id))?;
        logical.consumers -= session.consumers.len();
        logical.producers -= session.producers.len();
        let consumers = session.consumers.into_iter().collect();
        let producers = session.producers.into_keys().collect();
        Ok((&logical.client, Removed { consumers, producers }))
    }

    /// Whether a consumer may be opened: its connection, or `None` when it is open already, which is
    /// how a client restores itself after a reconnect.
    ///
    /// # Errors
    /// When its session is not known or its connection has too many.
    pub fn check_consumer(&self, info: &ConsumerInfo, broker: &str) -> Result<Option<&C>, Refusal> {
        let id = required(info.consumer_id.as_ref(), "consumer")?;
        let logical = self
            .logical(id.connection_id.as_ref())
            .ok_or_else(|| unknown("Cannot add a consumer to a connection", &id.connection_id()))?;
        let session = logical.sessions.get(&id.session_id()).ok_or_else(|| {
            unknown(&format!("{broker} Cannot add a consumer to a session"), &id.session_id())
        })?;
        if session.consumers.contains(id) {
            return Ok(None);
        }
        let limit = self.limits.consumers.unwrap_or(CONSUMERS_MAX);
        if let Some(limit) =
            exceeded(logical.consumers, limit, CONSUMERS_MAX, info.destination.as_deref())
        {
            return Err(at_limit("consumer", &logical.id, limit));
        }
        Ok(Some(&logical.client))
    }

    /// Notes a consumer that was opened.
    pub fn add_consumer(&mut self, id: &Arc<ConsumerId>) {
        let Some(logical) = self.logical_mut(id.connection_id.as_ref()) else { return };
        if let Some(session) = logical.sessions.get_mut(&id.session_id()) {
            logical.consumers += usize::from(session.consumers.insert(Arc::clone(id)));
        }
    }

    /// Forgets a consumer; its connection has to close it.
    ///
    /// # Errors
    /// When it, its session or its connection is not known.
    pub fn remove_consumer(&mut self, id: &ConsumerId) -> Result<(&C, Arc<ConsumerId>), Refusal> {
        let logical = self.logical_mut(id.connection_id.as_ref()).ok_or_else(|| {
            unknown("Cannot remove a consumer from a connection", &id.connection_id())
        })?;
        let session = logical
            .sessions
            .get_mut(&id.session_id())
            .ok_or_else(|| unknown("Cannot remove a consumer from a session", &id.session_id()))?;
        let known = session.consumers.take(id);
        let known = known.ok_or_else(|| unknown("Cannot remove a consumer", id))?;
        logical.consumers -= 1;
        Ok((&logical.client, known))
    }

    /// The connection of a consumer that is open.
    pub fn consumer(&self, id: &ConsumerId) -> Option<&C> {
        let logical = self.logical(id.connection_id.as_ref())?;
        let session = logical.sessions.get(&id.session_id())?;
        session.consumers.contains(id).then_some(&logical.client)
    }

    /// Whether a session has consumers open.
    pub fn has_consumers(&self, id: &SessionId) -> bool {
        let logical = self.logical(id.connection_id.as_ref());
        let session = logical.and_then(|logical| logical.sessions.get(id));
        session.is_some_and(|session| !session.consumers.is_empty())
    }

    /// Whether a producer may be opened; see [`Self::check_consumer`].
    ///
    /// # Errors
    /// When its session is not known or its connection has too many.
    pub fn check_producer(&self, info: &ProducerInfo) -> Result<Option<&C>, Refusal> {
        let id = required(info.producer_id.as_ref(), "producer")?;
        let logical = self
            .logical(id.connection_id.as_ref())
            .ok_or_else(|| unknown("Cannot add a producer to a connection", &id.connection_id()))?;
        let session = logical
            .sessions
            .get(&id.session_id())
            .ok_or_else(|| unknown("Cannot add a producer to a session", &id.session_id()))?;
        if session.producers.contains_key(id) {
            return Ok(None);
        }
        let limit = self.limits.producers.unwrap_or(PRODUCERS_MAX);
        if let Some(limit) =
            exceeded(logical.producers, limit, PRODUCERS_MAX, info.destination.as_deref())
        {
            return Err(at_limit("producer", &logical.id, limit));
        }
        Ok(Some(&logical.client))
    }

    /// Notes a producer that was opened.
    pub fn add_producer(&mut self, id: &Arc<ProducerId>, producer: Producer) {
        let Some(logical) = self.logical_mut(id.connection_id.as_ref()) else { return };
        if let Some(session) = logical.sessions.get_mut(&id.session_id()) {
            let known = session.producers.insert(Arc::clone(id), producer).is_some();
            logical.producers += usize::from(!known);
        }
    }

    /// Forgets a producer; its connection has to close it.
    ///
    /// # Errors
    /// When it, its session or its connection is not known.
    pub fn remove_producer(&mut self, id: &ProducerId) -> Result<(&C, Arc<ProducerId>), Refusal> {
        let logical = self.logical_mut(id.connection_id.as_ref()).ok_or_else(|| {
            unknown("Cannot remove a producer from a connection", &id.connection_id())
        })?;
        let session = logical
            .sessions
            .get_mut(&id.session_id())
            .ok_or_else(|| unknown("Cannot remove a producer from a session", &id.session_id()))?;
        let known = session.producers.remove_entry(id);
        let (known, _) = known.ok_or_else(|| unknown("Cannot remove a producer", id))?;
        logical.producers -= 1;
        Ok((&logical.client, known))
    }

    /// An open producer and its connection.
    ///
    /// # Errors
    /// When it or its connection is not known.
    pub fn producer(&self, id: Option<&Arc<ProducerId>>) -> Result<(&C, Producer), Refusal> {
        let id = required(id, "producer")?;
        let client = self.client("a producer", id.connection_id.as_ref())?;
        let logical = self.logical(id.connection_id.as_ref());
        let session = logical.and_then(|logical| logical.sessions.get(&id.session_id()));
        let producer = session.and_then(|session| session.producers.get(id));
        let producer = producer.ok_or_else(|| unknown("Cannot send through a producer", id))?;
        Ok((client, *producer))
    }

    fn at(&self, id: Option<&Text>) -> Option<usize> {
        let named = self.connections.iter().position(|logical| logical.id.value.as_ref() == id);
        named.or_else(|| (self.connections.len() == 1).then_some(0))
    }

    fn logical(&self, id: Option<&Text>) -> Option<&Logical<C>> {
        self.connections.get(self.at(id)?)
    }

    fn logical_mut(&mut self, id: Option<&Text>) -> Option<&mut Logical<C>> {
        let at = self.at(id)?;
        self.connections.get_mut(at)
    }
}

/// The limit that another one would exceed. What the connector grants does not hold for advisory
/// topics, as in ActiveMQ, but there is an end to those too.
fn exceeded(count: usize, granted: usize, max: usize, to: Option<&Destination>) -> Option<usize> {
    let advisory = to.is_some_and(Destination::is_advisory);
    let limit = if advisory { granted.max(max) } else { granted };
    (count >= limit).then_some(limit)
}

fn required<'i, T>(id: Option<&'i Arc<T>>, what: &str) -> Result<&'i Arc<T>, Refusal> {
    id.ok_or_else(|| Refusal::IllegalState(format!("The command names no {what}")))
}

fn at_limit(what: &str, connection: &ConnectionId, limit: usize) -> Refusal {
    Refusal::IllegalState(format!(
        "Can't add {what} on connection {connection}: at maximum limit: {limit}"
    ))
}

fn unknown(act: &str, id: &dyn Display) -> Refusal {
    Refusal::IllegalState(format!("{act} that had not been registered: {id}"))
}

#[cfg(test)]
mod tests;
