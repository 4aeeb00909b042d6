//! A session: one thread of sends, receipts and, if it is transacted, transactions.

use std::sync::Arc;

use parking_lot::Mutex;

use super::consumer::{Consumer, Subscription, Unacked};
use super::producer::{Producer, ProducerOptions};
use super::state::OnLoss;
use super::{Connection, Error};
use crate::openwire::{
    Command, Destination, LocalTransactionId, RemoveInfo, SessionId, SessionInfo, TransactionId,
    TransactionInfo, transaction_kind,
};

/// How receipt is told to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// Each message as soon as the program has it.
    Auto,
    /// When the program calls [`Session::acknowledge`]: all that the session received.
    Client,
    /// Many at once, later; after a failure some may come twice.
    DupsOk,
    /// With [`Session::commit`].
    Transacted,
    /// Each message alone, with [`super::Consumer::acknowledge`].
    Individual,
}

/// A session. Clones are the same session.
#[derive(Debug, Clone)]
pub struct Session(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) connection: Connection,
    id: Arc<SessionId>,
    pub(super) mode: AckMode,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    producers: i64,
    consumers: i64,
    transaction: Option<Transaction>,
    /// What the consumers of this session received and did not acknowledge.
    unacked: Vec<Arc<Unacked>>,
}

/// A transaction that was begun and not ended.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) id: Arc<TransactionId>,
    /// The socket in which it was begun; it does not outlive that.
    pub(super) generation: u64,
}

impl Session {
    pub(super) async fn open(
        connection: Connection,
        number: i64,
        mode: AckMode,
    ) -> Result<Self, Error> {
        let id = Arc::new(SessionId::new(connection.id().to_string(), number));
        let session_id = Some(Arc::clone(&id));
        let info = |command_id| {
            let info = SessionInfo { command_id, response_required: false, session_id };
            connection.shared.state.lock().objects.add_session(info.clone());
            info.into()
        };
        connection.send(None, info).await?;
        let state = Mutex::default();
        Ok(Self(Arc::new(Inner { connection, id, mode, state })))
    }

    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    pub fn id(&self) -> &Arc<SessionId> {
        &self.0.id
    }

    /// Opens a producer; without a destination each message brings its own.
    ///
    /// # Errors
    /// When the broker refuses or the connection has ended.
    pub async fn producer(
        &self,
        destination: Option<Destination>,
        options: ProducerOptions,
    ) -> Result<Producer, Error> {
        let number = {
            let mut state = self.0.state.lock();
            state.producers += 1;
            state.producers
        };
        Producer::open(self.clone(), number, destination, options).await
    }

    /// Opens a consumer.
    ///
    /// # Errors
    /// When the broker refuses, as for a selector that cannot be read, or the connection has ended.
    pub async fn consumer(&self, subscription: &Subscription) -> Result<Consumer, Error> {
        let number = {
            let mut state = self.0.state.lock();
            state.consumers += 1;
            state.consumers
        };
        let consumer = Consumer::open(self.clone(), number, subscription).await?;
        self.0.state.lock().unacked.push(consumer.unacked());
        Ok(consumer)
    }

    /// Acknowledges everything that this session's consumers received.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn acknowledge(&self) -> Result<(), Error> {
        for unacked in self.unacked() {
            unacked.acknowledge_all(self, None).await?;
        }
        Ok(())
    }

    fn unacked(&self) -> Vec<Arc<Unacked>> {
        let mut state = self.0.state.lock();
        // A closed consumer has let go of its list.
        state.unacked.retain(|unacked| Arc::strong_count(unacked) > 1);
        state.unacked.clone()
    }

    /// The running transaction; begins one if there is none. `None` in a session without transactions.
    pub(super) async fn transaction(&self) -> Result<Option<Transaction>, Error> {
        if self.0.mode != AckMode::Transacted {
            return Ok(None);
        }
        if let Some(running) = &self.0.state.lock().transaction {
            return Ok(Some(running.clone()));
        }
        let connection = &self.0.connection;
        let id = LocalTransactionId {
            value: connection.next_transaction(),
            connection_id: Some(Arc::clone(connection.id())),
        };
        let generation = connection.generation();
        let begun = Transaction { id: Arc::new(TransactionId::Local(id)), generation };
        self.0.state.lock().transaction = Some(begun.clone());
        let begin = self.step(&begun, transaction_kind::BEGIN, false);
        connection.send(Some(generation), begin).await?;
        Ok(Some(begun))
    }

    fn step(&self, of: &Transaction, kind: i8, response: bool) -> impl FnOnce(i32) -> Command {
        let connection_id = Some(Arc::clone(self.0.connection.id()));
        let transaction_id = Some(Arc::clone(&of.id));
        move |command_id| {
            let response_required = response;
            let info = TransactionInfo {
                command_id,
                response_required,
                connection_id,
                transaction_id,
                kind,
            };
            info.into()
        }
    }

    /// Makes everything since the last commit count, receipts included.
    ///
    /// # Errors
    /// [`Error::TransactionRolledBack`] when the connection was lost since then: nothing of it counts
    /// and what was received comes again. Otherwise what the broker says.
    pub async fn commit(&self) -> Result<(), Error> {
        let running = self.0.state.lock().transaction.take();
        let Some(running) = running else { return self.0.connection.check() };
        for unacked in self.unacked() {
            unacked.acknowledge_all(self, Some(&running)).await?;
        }
        let commit = self.step(&running, transaction_kind::COMMIT_ONE_PHASE, true);
        let connection = &self.0.connection;
        let socket = Some(running.generation);
        let answer = connection.request(OnLoss::InDoubt, socket, commit).await;
        match answer {
            Ok(_) => connection.check(),
            // The new socket never heard of it: it was rolled back with the old one.
            Err(Error::Refused(_)) if connection.generation() != running.generation => {
                Err(Error::TransactionRolledBack { in_doubt: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Undoes everything since the last commit; what was received is received again.
    ///
    /// # Errors
    /// What the broker says, or that the connection has ended.
    pub async fn rollback(&self) -> Result<(), Error> {
        let running = self.0.state.lock().transaction.take();
        let Some(running) = running else { return Ok(()) };
        let socket = Some(running.generation);
        for unacked in self.unacked() {
            unacked.give_back(self).await?;
        }
        let rollback = self.step(&running, transaction_kind::ROLLBACK, true);
        match self.0.connection.request(OnLoss::Settled, socket, rollback).await {
            // Losing the socket rolls back too.
            Ok(_) | Err(Error::TransactionRolledBack { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the session with its producers and consumers; a running transaction is rolled back.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn close(self) -> Result<(), Error> {
        let running = self.0.state.lock().transaction.is_some();
        if running {
            self.rollback().await?;
        }
        let inner = &self.0;
        inner.connection.shared.state.lock().objects.remove_session(&inner.id);
        let object_id = Some(Arc::new(Command::SessionId(Arc::clone(&inner.id))));
        let remove = |command_id| {
            let response_required = false;
            let last_delivered_sequence_id = -1;
            RemoveInfo { command_id, response_required, object_id, last_delivered_sequence_id }
                .into()
        };
        inner.connection.send(Some(inner.connection.generation()), remove).await
    }
}
