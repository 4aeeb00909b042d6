//! Brings back what the journal had.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Broker;
use super::queue::{Event, QueueCell};
use super::refusal::Refusal;
use super::region::Cell;
use super::subscription::Filter;
use super::subscription::durable::{self, Durable, DurableKey};
use super::transaction::{Locked, Step, Transaction};
use crate::openwire::{ConsumerInfo, Destination, TransactionId};
use crate::store::options::PurgeRecoveredXa;
use crate::store::{Branch, Key, OwnerId, OwnerRecord, Recovered, RecoveredOwner};

/// Who holds messages, by the name that the journal has for it.
enum Holder {
    Queue(Arc<QueueCell>),
    Durable(Arc<Durable>),
}

impl Broker {
    /// Takes over what a store held when it was opened. To be called once, before anybody connects.
    ///
    /// # Errors
    /// A policy allows fewer destinations than there were.
    pub fn restore(&self, recovered: Recovered) -> Result<(), Refusal> {
        self.sequence.store(recovered.broker_sequence, Ordering::Relaxed);
        let mut holders = HashMap::new();
        let is_destination =
            |owner: &RecoveredOwner| matches!(owner.record, OwnerRecord::Destination(_));
        // Durable subscriptions join topics that are there.
        let (destinations, durables): (Vec<_>, Vec<_>) =
            recovered.owners.into_iter().partition(is_destination);
        for owner in destinations.into_iter().chain(durables) {
            let id = owner.id;
            match owner.record.clone() {
                OwnerRecord::Destination(destination) => {
                    if let Cell::Queue(queue) = self.restore_destination(destination, owner)? {
                        holders.insert(id, Holder::Queue(queue));
                    }
                }
                OwnerRecord::Scheduler { id } => self.restore_scheduler(id, owner),
                OwnerRecord::Durable { client_id, name, info } => {
                    let durable =
                        self.restore_durable(DurableKey { client_id, name }, *info, owner)?;
                    holders.insert(id, Holder::Durable(durable));
                }
            }
        }
        for branch in recovered.branches {
            self.restore_branch(branch, &holders);
        }
        Ok(())
    }

    fn restore_destination(
        &self,
        destination: Destination,
        owner: RecoveredOwner,
    ) -> Result<Cell, Refusal> {
        let destination = Arc::new(destination);
        let id = Some(owner.id);
        let make = |policy| self.make(&destination, policy, id, Some(owner));
        let found = self.region.ensure(&destination, false, self.moment(), make)?;
        Ok(found.cell)
    }

    fn restore_durable(
        &self,
        key: DurableKey,
        info: ConsumerInfo,
        owner: RecoveredOwner,
    ) -> Result<Arc<Durable>, Refusal> {
        let members = info.destination.as_ref().map(|of| of.members()).unwrap_or_default();
        let filter =
            Filter::new(&info, &info.consumer_id.clone().unwrap_or_default(), &key.client_id)?;
        let (id, info) = (Some(owner.id), Arc::new(info));
        let durable = self.make_durable(key.clone(), &info, &filter, id, Some(owner));
        for member in members.iter().filter(|member| !member.is_pattern()) {
            self.find(&Arc::new(member.clone()), None)?;
        }
        self.join_topics(&durable, &members);
        self.durables.lock().insert(key, Arc::clone(&durable));
        Ok(durable)
    }

    /// A prepared branch: what it acknowledged is nobody's until its outcome is known.
    fn restore_branch(&self, branch: Branch, holders: &HashMap<OwnerId, Holder>) {
        let mut locked: HashMap<OwnerId, Vec<Key>> = HashMap::new();
        for (owner, key) in branch.acks {
            locked.entry(owner).or_default().push(key);
        }
        let mut transaction = Transaction { prepared: true, ..Transaction::default() };
        for (owner, keys) in locked {
            let locked = match holders.get(&owner) {
                Some(Holder::Queue(queue)) => {
                    self.apply(queue, Event::Locked(keys.clone()));
                    Locked::Queue(Arc::clone(queue), keys)
                }
                Some(Holder::Durable(durable)) => {
                    self.apply_durable(durable, durable::Event::Locked(keys.clone()));
                    Locked::Durable(Arc::clone(durable), keys)
                }
                // Removed with all it held, while the branch waited.
                None => continue,
            };
            transaction.steps.push(Step::AckLocked(locked));
        }
        for message in branch.sends {
            let bytes = message.memory_bytes();
            self.memory.take(bytes);
            transaction.bytes += bytes;
            transaction.sends += 1;
            transaction.steps.push(Step::Send(Box::new(Arc::unwrap_or_clone(message))));
        }
        self.branches.lock().insert(branch.xid, transaction);
    }

    /// Ends the prepared branches that the store had, as `purgeRecoveredXATransactionStrategy` says.
    pub fn purge_recovered_branches(&self, strategy: PurgeRecoveredXa) {
        if strategy == PurgeRecoveredXa::Never {
            return;
        }
        let branches = std::mem::take(&mut *self.branches.lock());
        for (xid, transaction) in branches {
            tracing::warn!("recovered XA branch {xid} is ended by configuration: {strategy:?}");
            let id = TransactionId::Xa(xid);
            let _ticket = match strategy {
                PurgeRecoveredXa::Commit => self.commit(&id, transaction, true),
                PurgeRecoveredXa::Rollback | PurgeRecoveredXa::Never => {
                    self.roll_back(Some(&id), transaction, true)
                }
            };
        }
    }
}
