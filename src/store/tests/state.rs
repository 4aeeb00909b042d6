//! What a store is to hold: the expectation that every test compares with.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::openwire::{ConsumerInfo, Destination, Message, MessageId, ProducerId, XaTransactionId};
use crate::store::{Branch, Entry, Key, OwnerId, OwnerRecord};

/// What is told after a restart. Messages stand by their numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) owners: BTreeMap<OwnerId, Held>,
    /// In the order of their numbers, which is that in which they were prepared.
    pub(super) branches: Vec<Prepared>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) record: OwnerRecord,
    pub(super) messages: BTreeMap<Key, Kept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) number: i64,
    pub(super) redeliveries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) xid: i32,
    pub(super) sends: Vec<i64>,
    pub(super) acks: Vec<(OwnerId, Key)>,
}

impl State {
    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Add(add) => {
                let kept = Kept { number: number_of(&add.message), redeliveries: add.redeliveries };
                for (owner, key) in &add.owners {
                    self.owner(*owner).messages.insert(*key, kept);
                }
            }
            Entry::Remove { owner, keys } => {
                let messages = &mut self.owner(*owner).messages;
                for (key, _) in keys {
                    messages.remove(key);
                }
            }
            Entry::Redelivered { owner, key, count } | Entry::Fired { owner, key, count, .. } => {
                let kept = self.owner(*owner).messages.get_mut(key);
                kept.unwrap().redeliveries = *count;
            }
            Entry::Owner { id, record } => match self.owners.get_mut(id) {
                Some(held) => held.record = record.clone(),
                None => {
                    let held = Held { record: record.clone(), messages: BTreeMap::new() };
                    self.owners.insert(*id, held);
                }
            },
            Entry::OwnerGone { id, .. } => drop(self.owners.remove(id)),
            Entry::Prepared(branch) => self.branches.push(Prepared::from(branch)),
            Entry::Outcome(xid) => self.branches.retain(|branch| branch.xid != xid.format_id),
        }
    }

    fn owner(&mut self, id: OwnerId) -> &mut Held {
        self.owners.get_mut(&id).unwrap()
    }

    /// All messages with who holds them.
    pub(super) fn messages(&self) -> impl Iterator<Item = (OwnerId, Key, Kept)> {
        self.owners
            .iter()
            .flat_map(|(id, held)| held.messages.iter().map(|(key, kept)| (*id, *key, *kept)))
    }

    /// Says in few words what of `other` is not as it is here.
    pub(super) fn difference(&self, other: &Self) -> String {
        let of = |state: &Self| -> Vec<String> {
            let messages = state.messages().map(|(owner, key, kept)| {
                format!("{}:{key:?}=#{}x{}", owner.0, kept.number, kept.redeliveries)
            });
            let owners =
                state.owners.iter().map(|(id, held)| format!("{}:{:?}", id.0, held.record));
            let branches = state.branches.iter().map(|branch| format!("{branch:?}"));
            messages.chain(owners).chain(branches).collect()
        };
        let (ours, theirs) = (of(self), of(other));
        let missing: Vec<_> = ours.iter().filter(|it| !theirs.contains(it)).collect();
        let extra: Vec<_> = theirs.iter().filter(|it| !ours.contains(it)).collect();
        format!("missing {missing:?}, unexpected {extra:?}")
    }
}

impl From<&Branch> for Prepared {
    fn from(branch: &Branch) -> Self {
        Self {
            xid: branch.xid.format_id,
            sends: branch.sends.iter().map(|message| number_of(message)).collect(),
            acks: branch.acks.clone(),
        }
    }
}

/// Where every message was sent.
pub(super) const SENT_TO: &str = "SENT";

/// Message `number`: all of it follows from that.
pub(super) fn message(number: i64) -> Arc<Message> {
    let mut dice = fastrand::Rng::with_seed(number as u64);
    let producer = Arc::new(ProducerId::new("ID:test", 1, number % 3));
    let length = if number % 40 == 7 { 700 + dice.usize(..900) } else { dice.usize(..160) };
    let content: Bytes = (0..length).map(|_| dice.u8(..)).collect();
    let id = MessageId { broker_sequence_id: number, ..MessageId::new(producer, number) };
    Arc::new(Message {
        message_id: Some(id),
        destination: Some(Arc::new(Destination::queue(SENT_TO))),
        expiration: if number % 3 == 0 { number * 1000 } else { 0 },
        content: Some(content),
        ..Message::default()
    })
}

pub(super) fn number_of(message: &Message) -> i64 {
    message.message_id.as_ref().map_or(0, |id| id.broker_sequence_id)
}

pub(super) fn xid(number: i32) -> XaTransactionId {
    XaTransactionId {
        format_id: number,
        global_transaction_id: Some(Bytes::from_static(b"global")),
        branch_qualifier: Some(Bytes::from_static(b"branch")),
    }
}

pub(super) fn queue(name: u64) -> OwnerRecord {
    OwnerRecord::Destination(Destination::queue(&format!("Q{name}")))
}

/// A durable subscription in its `version`.
pub(super) fn durable(name: u64, version: i64) -> OwnerRecord {
    let selector = Some(format!("version = {version}").as_str().into());
    let info = ConsumerInfo { selector, ..ConsumerInfo::default() };
    OwnerRecord::Durable {
        client_id: "client".to_owned(),
        name: name.to_string(),
        info: info.into(),
    }
}
