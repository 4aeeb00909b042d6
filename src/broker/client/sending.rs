//! Producers, what they send, and whether there is room for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, Ticket, removal_of};
use crate::broker::Broker;
use crate::broker::refusal::Refusal;
use crate::broker::region::Cell;
use crate::openwire::{Command, Destination, Message, ProducerId, ProducerInfo};

/// Whether a message may be sent now.
#[derive(Debug)]
pub enum Room {
    Free,
    /// The broker or the destination is at its memory limit.
    Full(Wait),
}

/// A producer held at a memory limit.
#[derive(Debug)]
pub struct Wait {
    broker: Arc<Broker>,
    destination: Arc<Destination>,
    give_up_after: Option<Duration>,
}

impl Wait {
    /// Returns when there is room.
    ///
    /// # Errors
    /// `sendFailIfNoSpaceAfterTimeout` is over.
    pub async fn wait(self) -> Result<(), Refusal> {
        let usage = Arc::clone(&self.broker.memory);
        let freed = usage.freed_until(|| !self.broker.is_full_for(&self.destination));
        match self.give_up_after {
            None => freed.await,
            Some(limit) => {
                let in_time = tokio::time::timeout(limit, freed).await;
                in_time.map_err(|_| no_space(&self.destination))?;
            }
        }
        Ok(())
    }
}

fn no_space(destination: &Destination) -> Refusal {
    Refusal::ResourceAllocation(format!(
        "Usage Manager Memory Limit reached on {destination}. See \
         http://activemq.apache.org/producer-flow-control.html for more info"
    ))
}

impl Broker {
    /// Whether messages for this destination have to wait for memory.
    fn is_full_for(&self, destination: &Destination) -> bool {
        if self.memory.is_full() || !self.region.policies().limit_memory() {
            return self.memory.is_full();
        }
        let limit = self.region.policies().entry_for(destination).memory_limit;
        match (limit, self.region.get(destination)) {
            (Some(limit), Some(Cell::Queue(queue))) => queue.memory_bytes() as u64 >= limit,
            _ => false,
        }
    }
}

impl Client {
    /// Registers a producer; its destination is made if need be.
    ///
    /// # Errors
    /// The destination cannot be made.
    pub fn add_producer(&self, info: &Arc<ProducerInfo>) -> Result<(), Refusal> {
        let Some(id) = &info.producer_id else {
            return Err(Refusal::Jms("a producer without an id".to_owned()));
        };
        if self.state.lock().producers.contains_key(id) {
            return Ok(());
        }
        let cells = self.cells_for_producer(info)?;
        self.open_state()?.producers.insert(Arc::clone(id), Arc::clone(info));
        for cell in cells {
            cell.producers(1);
        }
        if let Some(destination) = &info.destination {
            self.broker.producers_changed(destination, Command::ProducerInfo(Arc::clone(info)));
        }
        Ok(())
    }

    fn cells_for_producer(&self, info: &ProducerInfo) -> Result<Vec<Cell>, Refusal> {
        let Some(destination) = &info.destination else { return Ok(Vec::new()) };
        let members = destination.members().into_iter();
        members.map(|member| self.broker.find(&Arc::new(member), None)).collect()
    }

    /// Forgets a producer; an unknown one is nothing to forget.
    pub fn remove_producer(&self, id: &ProducerId) {
        let info = self.state.lock().producers.remove(id);
        if let Some(info) = info {
            self.dispose_producer(&info);
        }
    }

    pub(super) fn dispose_producer(&self, info: &ProducerInfo) {
        let Some(destination) = &info.destination else { return };
        for member in destination.members() {
            if let Some(cell) = self.broker.region.get(&member) {
                cell.producers(-1);
            }
        }
        if !destination.is_temporary() || self.broker.region.get(destination).is_some() {
            let id = info.producer_id.clone().map(Command::ProducerId);
            if let Some(id) = id {
                self.broker.producers_changed(destination, removal_of(id));
            }
        }
    }

    /// Asks before a send whether there is memory for it.
    ///
    /// # Errors
    /// There is none, and the configuration says fail (`sendFailIfNoSpace`).
    pub fn room_for(&self, message: &Message) -> Result<Room, Refusal> {
        let Some(destination) = &message.destination else { return Ok(Room::Free) };
        if destination.is_advisory() || !self.broker.is_full_for(destination) {
            return Ok(Room::Free);
        }
        let policy = self.broker.region.policies().entry_for(destination);
        if !policy.producer_flow_control && !self.broker.memory.is_full() {
            return Ok(Room::Free);
        }
        let usage = &self.broker.options.system_usage;
        if policy.send_fail_if_no_space.unwrap_or(usage.send_fail_if_no_space) {
            return Err(no_space(destination));
        }
        let policy_timeout = policy.send_fail_if_no_space_after_timeout;
        Ok(Room::Full(Wait {
            broker: Arc::clone(&self.broker),
            destination: Arc::clone(destination),
            give_up_after: policy_timeout.or(usage.send_fail_if_no_space_after_timeout),
        }))
    }

    /// Sends a message, or adds it to the transaction that it names. The response may leave once the
    /// ticket is durable.
    ///
    /// # Errors
    /// The destination is not there and cannot be made, or the transaction is unknown or too large.
    pub fn send(&self, mut message: Message) -> Result<Ticket, Refusal> {
        message.broker_in_time = self.broker.now_ms();
        message.recieved_by_df_bridge = false;
        match message.transaction_id.clone() {
            None => self.broker.route(message)?,
            Some(transaction) => {
                self.check_destination(&message)?;
                self.send_in(&transaction, message)?;
            }
        }
        Ok(Ticket::done())
    }

    /// A send in a transaction fails at once where it could not succeed later.
    fn check_destination(&self, message: &Message) -> Result<(), Refusal> {
        let members = message.destination.as_ref().map(|d| d.members()).unwrap_or_default();
        for member in members {
            self.broker.find(&Arc::new(member), None)?;
        }
        Ok(())
    }
}
