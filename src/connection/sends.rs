//! Messages of producers, and those that wait for memory.
//!
//! ```text
//! room            -> broker
//! no room, and the producer waits for an answer (a response, a ProducerAck)
//!                 -> parked, with all that this producer sends after it; the reader goes on
//! no room, and it does not
//!                 -> held: the reader stops, so the producer's socket fills and its sends block
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::commands::{Answer, Conversation};
use super::later::Waiting;
use crate::broker::client::Wait;
use crate::broker::{Refusal, Room};
use crate::openwire::{Message, ProducerAck, ProducerId, TransactionId};

/// Messages that one connection may have parked before its reader stops.
const PARKED_MAX: usize = 1024;
/// Bytes of messages that one connection may have parked before its reader stops.
const PARKED_BYTES_MAX: usize = 8 << 20;

/// The messages of one connection that wait for memory.
#[derive(Debug, Default)]
pub(super) struct Sends {
    parked: HashMap<Option<Arc<ProducerId>>, VecDeque<Message>>,
    parked_count: usize,
    parked_bytes: usize,
    held: Option<Message>,
}

impl Sends {
    /// Whether no further command may be read now.
    pub(super) fn holds_reader(&self) -> bool {
        self.held.is_some()
            || self.parked_count >= PARKED_MAX
            || self.parked_bytes >= PARKED_BYTES_MAX
    }

    fn has_parked(&self, producer: &Option<Arc<ProducerId>>) -> bool {
        !self.parked.is_empty() && self.parked.contains_key(producer)
    }

    fn count(&mut self, message: &Message) {
        self.parked_count += 1;
        self.parked_bytes += message.memory_bytes();
    }

    fn park(&mut self, message: Message) {
        self.count(&message);
        self.parked.entry(message.producer_id.clone()).or_default().push_back(message);
    }

    fn park_again(&mut self, message: Message) {
        self.count(&message);
        self.parked.entry(message.producer_id.clone()).or_default().push_front(message);
    }

    fn take(&mut self, producer: &Option<Arc<ProducerId>>) -> Option<Message> {
        let waiting = self.parked.get_mut(producer)?;
        let Some(message) = waiting.pop_front() else {
            self.parked.remove(producer);
            return None;
        };
        self.parked_count -= 1;
        self.parked_bytes -= message.memory_bytes();
        Some(message)
    }
}

/// Whom an answer to a send is for.
struct Envelope {
    id: i32,
    required: bool,
    producer: Option<Arc<ProducerId>>,
    transaction: Option<Arc<TransactionId>>,
}

impl Envelope {
    fn of(message: &Message) -> Self {
        Self {
            id: message.command_id,
            required: message.response_required,
            producer: message.producer_id.clone(),
            transaction: message.transaction_id.clone(),
        }
    }
}

/// How an attempt to send ended.
enum Attempt {
    Done,
    Full { message: Box<Message>, wait: Wait, producer_waits: bool },
}

impl Conversation {
    /// Sends a message, now or as soon as there is memory for it.
    pub(super) fn send(&mut self, message: Message) {
        if self.sends.has_parked(&message.producer_id) {
            self.sends.park(message);
            return;
        }
        if let Attempt::Full { message, wait, producer_waits } = self.attempt(message) {
            if producer_waits {
                self.later.room(wait, Waiting::Producer(message.producer_id.clone()));
                self.sends.park(*message);
            } else {
                self.later.room(wait, Waiting::Reader);
                self.sends.held = Some(*message);
            }
        }
    }

    /// Tries again what waited for memory; what waited in vain is refused.
    pub(super) fn retry(&mut self, waiting: &Waiting, waited: Result<(), Refusal>) {
        let Waiting::Producer(producer) = waiting else {
            match (self.sends.held.take(), waited) {
                (Some(message), Ok(())) => self.send(message),
                (Some(message), Err(refusal)) => self.give_up(&message, refusal),
                (None, _) => {}
            }
            return;
        };
        if let Err(refusal) = waited
            && let Some(message) = self.sends.take(producer)
        {
            self.give_up(&message, refusal);
        }
        while let Some(message) = self.sends.take(producer) {
            if let Attempt::Full { message, wait, .. } = self.attempt(message) {
                self.later.room(wait, waiting.clone());
                self.sends.park_again(*message);
                return;
            }
        }
    }

    fn give_up(&mut self, message: &Message, refusal: Refusal) {
        self.refuse_send(&Envelope::of(message), refusal);
    }

    fn refuse_send(&mut self, envelope: &Envelope, refusal: Refusal) {
        if !envelope.required {
            let of = envelope.producer.as_ref().and_then(|id| id.connection_id.as_ref());
            self.refused_in(of, envelope.transaction.as_deref(), &refusal);
        }
        self.answer(envelope.id, envelope.required, Err(refusal));
    }

    fn attempt(&mut self, message: Message) -> Attempt {
        let envelope = Envelope::of(&message);
        match self.offer(message) {
            Ok(Ok(answer)) => self.answer(envelope.id, envelope.required, Ok(answer)),
            Ok(Err(full)) => return full,
            Err(refusal) => self.refuse_send(&envelope, refusal),
        }
        Attempt::Done
    }

    fn offer(&self, message: Message) -> Result<Result<Answer, Attempt>, Refusal> {
        let (client, producer) = self.register.producer(message.producer_id.as_ref())?;
        let acked = producer.window > 0 && !message.response_required;
        match client.room_for(&message)? {
            Room::Free => {}
            Room::Full(wait) => {
                let producer_waits = acked || message.response_required;
                let message = Box::new(message);
                return Ok(Err(Attempt::Full { message, wait, producer_waits }));
            }
        }
        let ack = acked.then(|| producer_ack(&message));
        let ticket = client.send(message)?;
        if let Some(ack) = ack {
            self.outbox.command(ack);
        }
        Ok(Ok(Answer::after(ticket)))
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
