//! Messages of producers, and those that wait for memory.
//!
//! ```text
//! room            -> broker
//! no room, and the producer waits for an answer (a response, a ProducerAck)
//!                 -> parked, with all that this producer sends after it; the reader goes on
//! no room, and it does not
//!                 -> held: the reader stops, so the producer's socket fills and its sends block
//! ```
//!
//! The end of a transaction waits for what is parked of it; a rollback drops that.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::commands::{Answer, Conversation};
use super::later::Waiting;
use super::session::Producer;
use crate::broker::client::Wait;
use crate::broker::{Client, Refusal, Room};
use crate::openwire::{
    Message, ProducerAck, ProducerId, TransactionId, TransactionInfo, transaction_kind,
};

/// Messages that one connection may have parked before its reader stops.
const PARKED_MAX: usize = 1024;
/// Bytes of messages that one connection may have parked before its reader stops.
const PARKED_BYTES_MAX: usize = 8 << 20;

/// The messages of one connection that wait for memory.
#[derive(Debug, Default)]
pub(super) struct Sends {
    parked: HashMap<Option<Arc<ProducerId>>, VecDeque<Parked>>,
    parked_count: usize,
    parked_bytes: usize,
    held: Option<Parked>,
    /// Ends of transactions of which messages are parked.
    ends: Vec<Arc<TransactionInfo>>,
}

/// A message that waits, with whom it is from: the producer may be closed before there is room.
#[derive(Debug)]
struct Parked {
    message: Message,
    client: Arc<Client>,
    producer: Producer,
}

impl Sends {
    /// Whether no further command may be read now.
    pub(super) fn holds_reader(&self) -> bool {
        self.held.is_some()
            || self.parked_count + self.ends.len() >= PARKED_MAX
            || self.parked_bytes >= PARKED_BYTES_MAX
    }

    fn has_parked(&self, producer: &Option<Arc<ProducerId>>) -> bool {
        !self.parked.is_empty() && self.parked.contains_key(producer)
    }

    /// Whether a message of this transaction is parked.
    fn has_parked_of(&self, transaction: &TransactionId) -> bool {
        let mut all = self.parked.values().flatten();
        all.any(|parked| parked.is_of(transaction))
    }

    fn count(&mut self, parked: &Parked) {
        self.parked_count += 1;
        self.parked_bytes += parked.message.memory_bytes();
    }

    fn count_down(&mut self, parked: &Parked) {
        self.parked_count -= 1;
        self.parked_bytes -= parked.message.memory_bytes();
    }

    fn park(&mut self, parked: Parked) {
        self.count(&parked);
        self.parked.entry(parked.message.producer_id.clone()).or_default().push_back(parked);
    }

    fn park_again(&mut self, parked: Parked) {
        self.count(&parked);
        self.parked.entry(parked.message.producer_id.clone()).or_default().push_front(parked);
    }

    fn take(&mut self, producer: &Option<Arc<ProducerId>>) -> Option<Parked> {
        let waiting = self.parked.get_mut(producer)?;
        let Some(parked) = waiting.pop_front() else {
            self.parked.remove(producer);
            return None;
        };
        self.count_down(&parked);
        Some(parked)
    }

    /// Takes out what is parked of a transaction. Who waits for room finds less, or nothing.
    fn take_of(&mut self, transaction: &TransactionId) -> Vec<Parked> {
        let mut taken = Vec::new();
        for waiting in self.parked.values_mut() {
            let (of, others) = std::mem::take(waiting)
                .into_iter()
                .partition::<VecDeque<_>, _>(|parked| parked.is_of(transaction));
            *waiting = others;
            taken.extend(of);
        }
        taken.iter().for_each(|parked| self.count_down(parked));
        taken
    }

    /// Transactions that end now, as nothing of them is parked any more.
    fn take_ends(&mut self) -> Vec<Arc<TransactionInfo>> {
        let all = std::mem::take(&mut self.ends);
        let waits = |info: &Arc<TransactionInfo>| {
            info.transaction_id.as_deref().is_some_and(|id| self.has_parked_of(id))
        };
        let (kept, now) = all.into_iter().partition(waits);
        self.ends = kept;
        now
    }
}

impl Parked {
    fn is_of(&self, transaction: &TransactionId) -> bool {
        self.message.transaction_id.as_deref() == Some(transaction)
    }

    /// Whether its producer counts a window that a ProducerAck gives back.
    fn is_acked(&self) -> bool {
        self.producer.window > 0 && !self.message.response_required
    }
}

/// How an attempt to send ended.
enum Attempt {
    Done,
    Full { parked: Box<Parked>, wait: Wait },
}

impl Conversation {
    /// Sends a message, now or as soon as there is memory for it.
    pub(super) fn send(&mut self, message: Message) {
        let (client, producer) = match self.register.producer(message.producer_id.as_ref()) {
            Ok((client, producer)) => (Arc::clone(client), producer),
            Err(refusal) => {
                return self.answer(message.command_id, message.response_required, Err(refusal));
            }
        };
        self.send_parked(Parked { message, client, producer });
    }

    fn send_parked(&mut self, parked: Parked) {
        if self.sends.has_parked(&parked.message.producer_id) {
            self.sends.park(parked);
            return;
        }
        if let Attempt::Full { parked, wait } = self.attempt(parked) {
            if parked.is_acked() || parked.message.response_required {
                let producer = parked.message.producer_id.clone();
                self.later.room(wait, Waiting::Producer(producer));
                self.sends.park(*parked);
            } else {
                self.later.room(wait, Waiting::Reader);
                self.sends.held = Some(*parked);
            }
        }
    }

    /// Tries again what waited for memory; what waited in vain is refused.
    pub(super) fn retry(&mut self, waiting: &Waiting, waited: Result<(), Refusal>) {
        let Waiting::Producer(producer) = waiting else {
            match (self.sends.held.take(), waited) {
                (Some(parked), Ok(())) => self.send_parked(parked),
                (Some(parked), Err(refusal)) => self.give_up(&parked, refusal),
                (None, _) => {}
            }
            return;
        };
        if let Err(refusal) = waited
            && let Some(parked) = self.sends.take(producer)
        {
            self.give_up(&parked, refusal);
        }
        while let Some(parked) = self.sends.take(producer) {
            if let Attempt::Full { parked, wait } = self.attempt(parked) {
                self.later.room(wait, waiting.clone());
                self.sends.park_again(*parked);
                break;
            }
        }
        for info in self.sends.take_ends() {
            self.end_transaction(&info);
        }
    }

    /// Ends a transaction once nothing of it is parked. Returns whether that is later.
    pub(super) fn ends_later(&mut self, info: &Arc<TransactionInfo>) -> bool {
        let Some(id) = info.transaction_id.as_deref() else { return false };
        if !self.sends.has_parked_of(id) {
            return false;
        }
        match info.kind {
            transaction_kind::ROLLBACK | transaction_kind::FORGET => {
                for parked in self.sends.take_of(id) {
                    if parked.is_acked() {
                        self.outbox.command(producer_ack(&parked.message));
                    }
                    let Message { command_id, response_required, .. } = parked.message;
                    self.answer(command_id, response_required, Ok(Answer::now()));
                }
                false
            }
            transaction_kind::PREPARE
            | transaction_kind::COMMIT_ONE_PHASE
            | transaction_kind::COMMIT_TWO_PHASE => {
                self.sends.ends.push(Arc::clone(info));
                true
            }
            _ => false,
        }
    }

    /// Refuses a message. Where nobody waits for the answer, the end of its transaction says so.
    fn give_up(&mut self, parked: &Parked, refusal: Refusal) {
        let Message { command_id, response_required, .. } = parked.message;
        if let Some(transaction) = parked.message.transaction_id.as_deref()
            && !response_required
        {
            parked.client.refused_in(transaction, &refusal);
        }
        self.answer(command_id, response_required, Err(refusal));
    }

    fn attempt(&mut self, parked: Parked) -> Attempt {
        match parked.client.room_for(&parked.message) {
            Ok(Room::Free) => {}
            Ok(Room::Full(wait)) => return Attempt::Full { parked: Box::new(parked), wait },
            Err(refusal) => {
                self.give_up(&parked, refusal);
                return Attempt::Done;
            }
        }
        let ack = parked.is_acked().then(|| producer_ack(&parked.message));
        let (id, required) = (parked.message.command_id, parked.message.response_required);
        let transaction = parked.message.transaction_id.clone();
        match parked.client.send(parked.message) {
            Ok(ticket) => {
                if let Some(ack) = ack {
                    self.outbox.command(ack);
                }
                self.answer(id, required, Ok(Answer::after(ticket)));
            }
            Err(refusal) => {
                if let Some(transaction) = transaction.filter(|_| !required) {
                    parked.client.refused_in(&transaction, &refusal);
                }
                self.answer(id, required, Err(refusal));
            }
        }
        Attempt::Done
    }
}

/// Gives back the window that a message took.
fn producer_ack(message: &Message) -> ProducerAck {
    ProducerAck {
        producer_id: message.producer_id.as_deref().cloned(),
        size: i32::try_from(message.memory_bytes()).unwrap_or(i32::MAX),
        ..ProducerAck::default()
    }
}
