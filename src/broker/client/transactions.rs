//! Local transactions and XA branches: begin, collect, commit, roll back.

use std::sync::Arc;

use super::Client;
use super::acks::by_queue;
use crate::base::fail_point::fail_point;
use crate::broker::Broker;
use crate::broker::queue::Event;
use crate::broker::refusal::Refusal;
use crate::broker::subscription::Role;
use crate::broker::subscription::durable;
use crate::broker::subscription::window::InFlight;
use crate::broker::transaction::{Locked, Step, Transaction};
use crate::openwire::{
    Command, DataArrayResponse, IntegerResponse, Message, Response, TransactionId, TransactionInfo,
    XaTransactionId, transaction_kind,
};
use crate::store::{Branch, Entry, Group, Ticket};

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
        let mut ticket = Ticket::done();
        let wanted = info.response_required;
        match info.kind {
            transaction_kind::BEGIN => self.begin(id)?,
            transaction_kind::PREPARE => {
                let (result, prepared) = self.prepare(id)?;
                ticket = prepared;
                answer = IntegerResponse { result, ..IntegerResponse::default() }.into();
            }
            transaction_kind::COMMIT_ONE_PHASE | transaction_kind::COMMIT_TWO_PHASE => {
                let two_phases = info.kind == transaction_kind::COMMIT_TWO_PHASE;
                if two_phases && !self.with(id, |transaction| transaction.prepared)? {
                    return Err(Refusal::XaProtocol { transaction: id.to_string() });
                }
                let transaction = self.take_whole(id)?;
                ticket = self.broker.commit(id, transaction, wanted);
            }
            transaction_kind::ROLLBACK | transaction_kind::FORGET => {
                let transaction = self.take(id)?;
                ticket = self.broker.roll_back(Some(id), transaction, wanted);
            }
            transaction_kind::END => {}
            other => return Err(Refusal::Jms(format!("Unknown transaction info type: {other}"))),
        }
        Ok((answer, ticket))
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

    /// Takes the transaction out to carry it out.
    ///
    /// # Errors
    /// It is unknown, or marked rollback-only: then it is rolled back.
    fn take_whole(&self, id: &TransactionId) -> Result<Transaction, Refusal> {
        let mut transaction = self.take(id)?;
        let Some(refusal) = transaction.rollback_only.take() else { return Ok(transaction) };
        let _nobody_waits = self.broker.roll_back(Some(id), transaction, false);
        Err(refusal)
    }

    /// A part of a transaction was refused, and nobody waits for the answer: unless
    /// `rollbackOnlyOnAsyncException` is off, it can only be rolled back.
    pub fn refused_in(&self, id: &TransactionId, refusal: &Refusal) {
        if self.broker.options.rollback_only_on_async_exception {
            self.doom(id, Refusal::RolledBack { cause: refusal.to_throwable() });
        }
    }

    /// Has a commit of the transaction refused with that. Of a prepared branch its manager decides, and
    /// nobody else.
    pub fn doom(&self, id: &TransactionId, refusal: Refusal) {
        let unless_gone = self.with(id, |transaction| {
            if !transaction.prepared {
                transaction.rollback_only.get_or_insert(refusal);
            }
        });
        if let Err(gone) = unless_gone {
            tracing::debug!("nothing to mark rollback-only: {gone}");
        }
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

    /// Stores a branch so that its outcome can be told later, also after a restart.
    fn prepare(&self, id: &TransactionId) -> Result<(i32, Ticket), Refusal> {
        if self
            .with(id, |transaction| transaction.rollback_only.is_some())
            .is_ok_and(|doomed| doomed)
        {
            self.take_whole(id)?;
        }
        let prepared = self.with(id, |transaction| {
            transaction.prepared = !transaction.steps.is_empty();
            let branch = || id.xa().map(|xid| branch_of(xid.clone(), &transaction.steps));
            transaction.prepared.then(branch)
        });
        match prepared {
            Ok(Some(branch)) => {
                let entries = branch.map(Entry::Prepared).into_iter().collect();
                fail_point!("tx.before_prepare");
                let ticket = self.broker.append(Group { entries, wanted: true });
                fail_point!("tx.after_prepare");
                Ok((XA_OK, ticket))
            }
            Ok(None) => {
                self.take(id)?;
                Ok((XA_RDONLY, Ticket::done()))
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
            let _ticket = self.broker.roll_back(None, transaction, false);
        }
    }
}

impl Broker {
    /// Does everything that a transaction has collected. It is one group of the journal: all of it
    /// survives a crash, or nothing. What it sent is given out once it is durable.
    pub(in crate::broker) fn commit(
        &self,
        id: &TransactionId,
        transaction: Transaction,
        wanted: bool,
    ) -> Ticket {
        self.memory.free(transaction.bytes);
        let mut group = Group { wanted, ..Group::default() };
        let mut placements = Vec::new();
        let outcome = outcome(Some(id), &transaction);
        let may_be_dead = transaction.steps.iter().any(|step| {
            matches!(step, Step::Send(message) if message.persistent && message.expiration > 0)
        });
        for step in transaction.steps {
            match step {
                Step::Send(message) => {
                    let destination = message.destination.clone();
                    let placed = match self.scheduler.order_of(&message) {
                        Ok(Some(order)) => {
                            self.schedule(&order, *message, &mut group, &mut placements);
                            Ok(())
                        }
                        Ok(None) => self.place(*message, &mut group, &mut placements),
                        Err(refusal) => Err(refusal),
                    };
                    if let Err(refusal) = placed {
                        // It was there when the message was sent; a temporary one may go meanwhile.
                        let name = destination.map(|name| name.to_string()).unwrap_or_default();
                        tracing::warn!("a committed message to {name} was dropped: {refusal}");
                    }
                }
                Step::Ack { consumer, messages } => {
                    consumer.committed(&messages);
                    self.consumed(&consumer, messages, &mut group);
                }
                Step::AckTopic { consumer, count } => {
                    if let Role::Topic(flow) = &consumer.role {
                        flow.lock().consume(count);
                    }
                    if let Some(broker) = self.this.upgrade() {
                        consumer.wake(&broker);
                    }
                }
                Step::AckLocked(Locked::Queue(queue, keys)) => {
                    self.apply_in(&queue, Event::Consumed(keys), &mut group);
                }
                Step::AckLocked(Locked::Durable(durable, keys)) => {
                    self.apply_durable_in(&durable, durable::Event::Consumed(keys), &mut group);
                }
            }
        }
        group.entries.extend(outcome);
        let ticket = self.append_or_wait(group, may_be_dead);
        fail_point!("tx.after_commit");
        // Nobody gets a part of what a crash could still undo.
        let this = self.this.clone();
        ticket.then(move || {
            if let Some(broker) = this.upgrade() {
                placements.into_iter().for_each(|placement| broker.put(placement));
            }
        });
        ticket
    }

    /// Drops what a transaction sent and gives back what it acknowledged. With `id` where somebody asked
    /// for it by name.
    pub(in crate::broker) fn roll_back(
        &self,
        id: Option<&TransactionId>,
        transaction: Transaction,
        wanted: bool,
    ) -> Ticket {
        self.memory.free(transaction.bytes);
        let mut group = Group { wanted, ..Group::default() };
        group.entries.extend(outcome(id, &transaction));
        for step in transaction.steps {
            match step {
                Step::Send(_) => {}
                Step::Ack { consumer, messages } => {
                    let orphans = consumer.rolled_back(messages);
                    if let Role::Durable(durable) = &consumer.role {
                        let keys = orphans.iter().map(|held| held.key).collect();
                        let event = durable::Event::Returned(keys);
                        self.apply_durable_in(durable, event, &mut group);
                    } else {
                        for (queue, keys) in by_queue(orphans) {
                            self.apply_in(&queue, Event::Returned(keys), &mut group);
                        }
                    }
                }
                Step::AckTopic { consumer, count } => {
                    if let Role::Topic(flow) = &consumer.role {
                        flow.lock().contract(count);
                    }
                }
                Step::AckLocked(Locked::Queue(queue, keys)) => {
                    self.apply_in(&queue, Event::Unlocked(keys), &mut group);
                }
                Step::AckLocked(Locked::Durable(durable, keys)) => {
                    self.apply_durable_in(&durable, durable::Event::Unlocked(keys), &mut group);
                }
            }
        }
        self.append(group)
    }

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

/// What is to be stored of a branch: non-persistent messages and what temporary queues hold are not.
fn branch_of(xid: XaTransactionId, steps: &[Step]) -> Branch {
    let mut branch = Branch { xid, sends: Vec::new(), acks: Vec::new() };
    for step in steps {
        match step {
            Step::Send(message) if message.persistent => {
                branch.sends.push(Arc::new((**message).clone()));
            }
            Step::Ack { consumer, messages } => {
                let of_durable = match &consumer.role {
                    Role::Durable(durable) => durable.owner,
                    Role::Queue(_) | Role::Browser(_) | Role::Topic(_) => None,
                };
                let owner = |held: &InFlight| match &held.queue {
                    Some(queue) => queue.owner,
                    None => of_durable,
                };
                let stored = messages.iter().filter(|held| held.message.persistent);
                branch.acks.extend(stored.filter_map(|held| Some((owner(held)?, held.key))));
            }
            Step::Send(_) | Step::AckTopic { .. } | Step::AckLocked(_) => {}
        }
    }
    branch
}

/// The record that a stored branch waits no longer.
fn outcome(id: Option<&TransactionId>, transaction: &Transaction) -> Option<Entry> {
    let xid = id.and_then(TransactionId::xa).filter(|_| transaction.prepared);
    xid.map(|xid| Entry::Outcome(xid.clone()))
}
