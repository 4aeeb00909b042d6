//! A producer: gives messages their id and sends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::connection::Answer;
use super::state::OnLoss;
use super::{Error, Session};
use crate::base::{Clock, SystemClock};
use crate::openwire::{
    Command, Destination, Message, MessageId, ProducerId, ProducerInfo, RemoveInfo,
};

/// How a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerOptions {
    /// Milliseconds after which a message expires; 0 for never.
    pub time_to_live_ms: i64,
}

/// A producer of one session.
#[derive(Debug)]
pub struct Producer {
    session: Session,
    id: Arc<ProducerId>,
    destination: Option<Arc<Destination>>,
    options: ProducerOptions,
    /// Rises by one with each message, so that a broker knows what was sent twice.
    sequence: AtomicI64,
}

impl Producer {
    pub(super) async fn open(
        session: Session,
        number: i64,
        destination: Option<Destination>,
        options: ProducerOptions,
    ) -> Result<Self, Error> {
        let connection = session.connection();
        let id = ProducerId::new(connection.id().to_string(), session.id().value, number);
        let id = Arc::new(id);
        let destination = destination.map(Arc::new);
        let add = |command_id| {
            let info = ProducerInfo {
                command_id,
                response_required: true,
                producer_id: Some(Arc::clone(&id)),
                destination: destination.clone(),
                ..ProducerInfo::default()
            };
            connection.shared.state.lock().objects.add_producer(info.clone());
            info.into()
        };
        if let Err(error) = connection.request(OnLoss::Restored, None, add).await {
            connection.shared.state.lock().objects.remove_producer(&id);
            return Err(error);
        }
        Ok(Self { session, id, destination, options, sequence: AtomicI64::new(1) })
    }

    pub fn id(&self) -> &Arc<ProducerId> {
        &self.id
    }

    /// Gives a message what makes it one: id, destination, time. A message that is sent again after a
    /// transaction was lost keeps them, so that the broker knows it.
    pub fn stamp(&self, mut message: Message) -> Message {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let now = SystemClock.now_ms();
        message.message_id = Some(MessageId::new(Arc::clone(&self.id), number));
        message.producer_id = Some(Arc::clone(&self.id));
        message.destination = self.destination.clone().or(message.destination);
        message.timestamp = now;
        if self.options.time_to_live_ms > 0 {
            message.expiration = now.saturating_add(self.options.time_to_live_ms);
        }
        message
    }

    /// Sends a message, stamped before or not. A persistent one outside a transaction is the broker's
    /// on return, stored as it promises; others are only under way.
    ///
    /// # Errors
    /// When the broker refuses this message or refused one before it, or the connection has ended.
    pub async fn send(&self, message: Message) -> Result<(), Error> {
        match self.send_later(message).await? {
            Some(answer) => answer.wait().await.map(drop),
            None => Ok(()),
        }
    }

    /// Sends a message without waiting for the broker's answer, which is returned if there will be one.
    ///
    /// # Errors
    /// When the broker refused an earlier message, or the connection has ended.
    pub async fn send_later(&self, message: Message) -> Result<Option<Answer>, Error> {
        let connection = self.session.connection();
        connection.check()?;
        let transaction = self.session.transaction().await?;
        let mut message = if message.message_id.is_some() { message } else { self.stamp(message) };
        let jms = &connection.url.jms;
        let answered = transaction.is_none()
            && (jms.always_sync_send || message.persistent && !jms.use_async_send);
        let only_in = transaction.as_ref().map(|it| it.generation);
        message.transaction_id = transaction.map(|it| it.id);
        message.response_required = answered;
        let command = |command_id| {
            message.command_id = command_id;
            Command::from(message)
        };
        if answered {
            let answer = connection.start_request(OnLoss::Resend, only_in, command).await?;
            return Ok(Some(answer));
        }
        connection.send(only_in, command).await?;
        Ok(None)
    }

    /// Ends the producer.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn close(self) -> Result<(), Error> {
        let connection = self.session.connection();
        connection.shared.state.lock().objects.remove_producer(&self.id);
        let object_id = Some(Arc::new(Command::ProducerId(Arc::clone(&self.id))));
        let remove = |command_id| {
            let response_required = false;
            let last_delivered_sequence_id = -1;
            RemoveInfo { command_id, response_required, object_id, last_delivered_sequence_id }
                .into()
        };
        connection.send(Some(connection.generation()), remove).await
    }
}
