//! Local transactions and XA branches: begin, collect, commit, roll back.

use std::sync::Arc;

use super::acks::by_queue;
use super::{Client, Ticket};
use crate::broker::queue::Event;
use crate::broker::refusal::Refusal;
use crate::broker::subscription::Role;
use crate::broker::transaction::{Step, Transaction};
use crate::openwire::{
    Command, DataArrayResponse, IntegerResponse, Message, Response, TransactionId, TransactionInfo,
    transaction_kind,
};

/// Answers to a prepare.
const XA_OK: i32 = 0;
const XA_RDONLY: i32 = 3;

impl Client {
    /// One step of a transaction. The command is the response, for the connection to number:
    /// Response, IntegerResponse (prepare) or DataArrayResponse (recover).
    ///
    /// # Errors
    /// The transaction is unknown or in another state.
    pub fn transaction(&self, info: &TransactionInfo) -> Result<(Command, Ticket), Refusal> {
        if info.kind == transaction_kind::RECOVER {
            return Ok((self.broker.prepared_branches().into(), Ticket::done()));
        }
        let Some(id) = info.transaction_id.as_deref() else {
            return Err(Refusal::Jms("a transaction without an id".to_owned()));
        };
        let mut answer = Command::from(Response::default());
        match info.kind {
            transaction_kind::BEGIN => self.begin(id)?,
            transaction_kind::PREPARE => {
                let result = self.prepare(id)?;
                answer = IntegerResponse { result, ..IntegerResponse::default() }.into();
            }
            transaction_kind::COMMIT_ONE_PHASE | transaction_kind::COMMIT_TWO_PHASE => {
                let transaction = self.take(id)?;
                self.commit(transaction);
            }
            transaction_kind::ROLLBACK => {
                let transaction = self.take(id)?;
                self.roll_back(transaction);
            }
            transaction_kind::FORGET => {
                let transaction = self.take(id)?;
                self.roll_back(transaction);
            }
            transaction_kind::END => {}
            other => return Err(Refusal::Jms(format!("Unknown transaction info type: {other}"))),
        }
        Ok((answer, Ticket::done()))
    }

    /// Opens a transaction; one that is open already stays as it is.
    fn begin(&self, id: &TransactionId) -> Result<(), Refusal> {
        match id {
            TransactionId::Local(id) => {
                self.open_state()?.transactions.entry(id.clone()).or_default();
            }
            TransactionId::Xa(id) => {
                let owner = Some(Arc::clone(&self.connection_id));
                let _still_open = self.open_state()?;
                let mut branches = self.broker.branches.lock();
                branches
                    .entry(id.clone())
                    .or_insert_with(|| Transaction { owner, ..Transaction::default() });
            }
        }
        Ok(())
    }

    /// Runs `act` on the open transaction.
    fn with<T>(
        &self,
        id: &TransactionId,
        act: impl FnOnce(&mut Transaction) -> T,
    ) -> Result<T, Refusal> {
        match id {
            TransactionId::Local(local) => {
                let mut state = self.state.lock();
                let transaction = state.transactions.get_mut(local);
                transaction.map(act).ok_or_else(|| unknown(id))
            }
            TransactionId::Xa(xa) => {
                let mut branches = self.broker.branches.lock();
                branches.get_mut(xa).map(act).ok_or_else(|| unknown(id))
            }
        }
    }

    fn take(&self, id: &TransactionId) -> Result<Transaction, Refusal> {
        match id {
            TransactionId::Local(local) => self.state.lock().transactions.remove(local),
            TransactionId::Xa(xa) => self.broker.branches.lock().remove(xa),
        }
        .ok_or_else(|| unknown(id))
    }

    pub(super) fn check_transaction(&self, id: &TransactionId) -> Result<(), Refusal> {
        self.with(id, |_| ())
    }

    pub(super) fn add_step(&self, id: &TransactionId, step: Step) -> Result<(), Refusal> {
        self.with(id, |transaction| transaction.steps.push(step))
    }

    /// Keeps a message for the commit.
    pub(super) fn send_in(&self, id: &TransactionId, message: Message) -> Result<(), Refusal> {
        let bytes = message.memory_bytes();
        let memory = &self.broker.memory;
        let limit = self.broker.options.max_uncommitted_count;
        self.with(id, |transaction| {
            if let Some(limit) = limit.filter(|limit| transaction.sends >= *limit as usize) {
                return Err(Refusal::ResourceAllocation(format!(
                    "Can not send message on transaction with id: '{id}', Transaction has reached the \
                     maximum allowed number of pending send operations before commit of '{limit}'"
                )));
            }
            // Nothing else could free what this one transaction holds.
            if transaction.bytes + bytes > memory.limit() {
                return Err(Refusal::ResourceAllocation(format!(
                    "Transaction '{id}' holds {} bytes, as much as the memory limit allows: commit \
                     more often or raise memoryUsage",
                    transaction.bytes
                )));
            }
            transaction.sends += 1;
            transaction.bytes += bytes;
            memory.take(bytes);
            transaction.steps.push(Step::Send(Box::new(message)));
            Ok(())
        })?
    }

    fn commit(&self, transaction: Transaction) {
        self.broker.memory.free(transaction.bytes);
        for step in transaction.steps {
            match step {
                Step::Send(message) => {
                    let destination = message.destination.clone();
                    if let Err(refusal) = self.broker.route(*message) {
                        // It was there when the message was sent; a temporary one may go meanwhile.
                        let name = destination.map(|name| name.to_string()).unwrap_or_default();
                        tracing::warn!("a committed message to {name} was dropped: {refusal}");
                    }
                }
                Step::Ack { consumer, messages } => {
                    consumer.committed(&messages);
                    self.broker.consumed(&consumer, messages);
                }
                Step::AckTopic { consumer, count } => {
                    if let Role::Topic(flow) = &consumer.role {
                        flow.lock().consume(count);
                    }
                    consumer.wake(&self.broker);
                }
            }
        }
    }

    pub(super) fn roll_back(&self, transaction: Transaction) {
        self.broker.memory.free(transaction.bytes);
        for step in transaction.steps {
            match step {
                Step::Send(_) => {}
                Step::Ack { consumer, messages } => {
                    let orphans = consumer.rolled_back(messages);
                    if let Role::Durable(durable) = &consumer.role {
                        durable.give_back(orphans);
                        self.broker.expired(durable.dispatch(&self.broker));
                    } else {
                        for (queue, messages) in by_queue(orphans) {
                            self.broker.apply(&queue, Event::Returned(messages));
                        }
                    }
                }
                Step::AckTopic { consumer, count } => {
                    if let Role::Topic(flow) = &consumer.role {
                        flow.lock().contract(count);
                    }
                }
            }
        }
    }

    fn prepare(&self, id: &TransactionId) -> Result<i32, Refusal> {
        let prepared = self.with(id, |transaction| {
            transaction.prepared = !transaction.steps.is_empty();
            transaction.prepared
        });
        match prepared {
            Ok(true) => Ok(XA_OK),
            Ok(false) => {
                self.take(id)?;
                Ok(XA_RDONLY)
            }
            Err(_) => Err(Refusal::Jms(format!(
                "Cannot prepare a transaction that had not been started or previously returned \
                 XA_RDONLY: {id}"
            ))),
        }
    }

    /// Branches that this connection began and did not prepare end with it.
    pub(super) fn roll_back_branches(&self) {
        let mut branches = self.broker.branches.lock();
        let own = |transaction: &Transaction| {
            !transaction.prepared && transaction.owner.as_ref() == Some(&self.connection_id)
        };
        let gone: Vec<_> = branches.extract_if(|_, transaction| own(transaction)).collect();
        drop(branches);
        for (_, transaction) in gone {
            self.roll_back(transaction);
        }
    }
}

impl crate::broker::Broker {
    fn prepared_branches(&self) -> DataArrayResponse {
        let branches = self.branches.lock();
        let prepared = branches.iter().filter(|(_, transaction)| transaction.prepared);
        let ids = prepared.map(|(id, _)| Some(Command::from(id.clone()))).collect();
        DataArrayResponse { data: Some(ids), ..DataArrayResponse::default() }
    }
}

fn unknown(id: &TransactionId) -> Refusal {
    Refusal::NoSuchTransaction { transaction: id.to_string(), xa: id.is_xa() }
}
