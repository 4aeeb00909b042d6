//! A consumer: takes messages and tells the broker so, as the session's mode says.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::deliveries::{Deliveries, Next};
use super::session::Transaction;
use super::state::OnLoss;
use super::{AckMode, Connection, Error, Session};
use crate::base::uri::parse_query;
use crate::base::{Clock, SystemClock};
use crate::openwire::{
    Command, ConsumerId, ConsumerInfo, Destination, Message, MessageAck, MessageDispatch,
    MessagePull, RemoveInfo, Throwable, ack_type,
};

/// How often a message may be rolled back before it is given up, as in the Java client.
const REDELIVERIES_MAX: i32 = 6;

/// What a consumer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub destination: Destination,
    pub selector: Option<String>,
    /// Messages that may be held unacknowledged; `None` takes the broker URL's, or the default of the
    /// kind; 0 asks for each message.
    pub prefetch: Option<i32>,
    /// The name of a durable subscription.
    pub durable: Option<String>,
    pub no_local: bool,
    pub exclusive: bool,
    pub retroactive: bool,
    pub browser: bool,
    pub priority: i8,
    pub maximum_pending_message_limit: i32,
}

impl Subscription {
    /// To `destination` with nothing special.
    pub fn to(destination: Destination) -> Self {
        Self {
            destination,
            selector: None,
            prefetch: None,
            durable: None,
            no_local: false,
            exclusive: false,
            retroactive: false,
            browser: false,
            priority: 0,
            maximum_pending_message_limit: 0,
        }
    }

    /// Takes the options behind a destination's `?`, such as `consumer.prefetchSize=5`, which stay with
    /// the client. Those that are not for a consumer of this client are left out.
    pub fn with_options(mut self) -> Self {
        let name = self.destination.name().into_owned();
        let Some((name, query)) = name.split_once('?') else { return self };
        let kind = self.destination.class;
        for (option, value) in parse_query(query).unwrap_or_default() {
            match option.strip_prefix("consumer.").unwrap_or_default() {
                "prefetchSize" => self.prefetch = value.parse().ok().or(self.prefetch),
                "selector" => self.selector = Some(value),
                "noLocal" => self.no_local = value == "true",
                "exclusive" => self.exclusive = value == "true",
                "retroactive" => self.retroactive = value == "true",
                "priority" => self.priority = value.parse().unwrap_or(self.priority),
                "maximumPendingMessageLimit" => {
                    self.maximum_pending_message_limit = value.parse().unwrap_or_default();
                }
                _ => tracing::debug!("destination option {option} is not used"),
            }
        }
        self.destination = Destination::new(kind, name);
        self
    }

    fn prefetch_for(&self, connection: &Connection, mode: AckMode) -> i32 {
        let prefetch = connection.url.jms.prefetch;
        self.prefetch.unwrap_or_else(|| match (self.destination.is_queue(), &self.durable) {
            _ if self.browser => prefetch.browser,
            (true, _) => prefetch.queue,
            (false, None) => prefetch.topic,
            // Acknowledged at once they need not be held back, as in the Java client.
            (false, Some(_)) if mode == AckMode::Auto => prefetch.durable_topic.max(prefetch.queue),
            (false, Some(_)) => prefetch.durable_topic,
        })
    }
}

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Received {
    dispatch: Arc<MessageDispatch>,
    message: Arc<Message>,
    /// The socket that brought it.
    generation: u64,
}

impl Received {
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// How often it was delivered before.
    pub fn redelivery_counter(&self) -> i32 {
        self.dispatch.redelivery_counter
    }
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// What one consumer received and did not acknowledge.
#[derive(Debug)]
pub(super) struct Unacked {
    deliveries: Arc<Deliveries>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    received: VecDeque<Received>,
    /// How many of them the broker knows of, so that it sends more.
    told: usize,
    /// The broker's number of the last one; it tells who had seen what when the consumer closes.
    last_sequence: i64,
}

/// A consumer of one session.
#[derive(Debug)]
pub struct Consumer {
    session: Session,
    id: Arc<ConsumerId>,
    unacked: Arc<Unacked>,
}

impl Consumer {
    pub(super) async fn open(
        session: Session,
        number: i64,
        subscription: &Subscription,
    ) -> Result<Self, Error> {
        let connection = session.connection();
        let mode = session.0.mode;
        let id = ConsumerId::new(connection.id().to_string(), session.id().value, number);
        let id = Arc::new(id);
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let info = ConsumerInfo {
            response_required: true,
            consumer_id: Some(Arc::clone(&id)),
            destination: Some(Arc::new(subscription.destination.clone())),
            prefetch_size: subscription.prefetch_for(connection, mode),
            selector: text(&subscription.selector),
            subscription_name: text(&subscription.durable),
            no_local: subscription.no_local,
            exclusive: subscription.exclusive,
            retroactive: subscription.retroactive,
            browser: subscription.browser,
            priority: subscription.priority,
            maximum_pending_message_limit: subscription.maximum_pending_message_limit,
            dispatch_async: true,
            ..ConsumerInfo::default()
        };
        let mut opened = None;
        let add = |command_id| {
            let info = Arc::new(ConsumerInfo { command_id, ..info });
            let mut state = connection.shared.state.lock();
            let deliveries = Arc::new(Deliveries::new(Arc::clone(&info), state.generation));
            state.objects.add_consumer(Arc::clone(&deliveries));
            opened = Some(deliveries);
            Command::ConsumerInfo(info)
        };
        let answer = connection.request(OnLoss::Restored, None, add).await;
        if let Err(error) = answer {
            connection.shared.state.lock().objects.remove_consumer(&id);
            return Err(error);
        }
        let deliveries = opened.ok_or(Error::Closed)?;
        let held = Mutex::new(Held { last_sequence: -1, ..Held::default() });
        let unacked = Arc::new(Unacked { deliveries, held });
        Ok(Self { session, id, unacked })
    }

    pub(super) fn unacked(&self) -> Arc<Unacked> {
        Arc::clone(&self.unacked)
    }

    /// Waits for a message, at most so long; `None` waits for ever.
    ///
    /// Returns `None` when none came in time, and at the end of a browse. Safe to drop while it waits
    /// except in a consumer with prefetch 0, whose question stays asked.
    ///
    /// # Errors
    /// When the broker closed the consumer, or the connection has ended.
    pub async fn receive(&self, at_most: Option<Duration>) -> Result<Option<Received>, Error> {
        let until = at_most.map(|limit| Instant::now() + limit);
        if self.session.0.mode == AckMode::Transacted {
            self.session.transaction().await?;
        }
        loop {
            let Some(received) = self.next(until).await? else { return Ok(None) };
            if is_expired(&received) {
                self.unacked.ack_one(&self.session, &received, ack_type::EXPIRED).await?;
                continue;
            }
            self.unacked.received(&self.session, &received).await?;
            return Ok(Some(received));
        }
    }

    async fn next(&self, until: Option<Instant>) -> Result<Option<Received>, Error> {
        let deliveries = &self.unacked.deliveries;
        let mut generation = deliveries.generation();
        loop {
            if deliveries.is_empty() {
                // Nothing to do but wait: a good moment for what was put off.
                self.unacked.settle_late(&self.session).await?;
                if deliveries.prefetch() == 0 {
                    self.pull(until, generation).await?;
                }
            }
            let waiting = deliveries.next(generation);
            let next = match until {
                // The broker itself answers a pull in time.
                Some(until) if deliveries.prefetch() > 0 => {
                    match timeout_at(until, waiting).await {
                        Ok(next) => next?,
                        Err(_) => return Ok(None),
                    }
                }
                _ => waiting.await?,
            };
            match next {
                Next::Reconnected => generation = deliveries.generation(),
                Next::Dispatch { dispatch, generation } => {
                    let message = dispatch.message.clone();
                    return Ok(message.map(|message| Received { dispatch, message, generation }));
                }
            }
        }
    }

    /// Asks for one message.
    async fn pull(&self, until: Option<Instant>, generation: u64) -> Result<(), Error> {
        let timeout = match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => 0,
            Some(left) => i64::try_from(left.as_millis()).ok().filter(|ms| *ms > 0).unwrap_or(-1),
        };
        let pull = |command_id| {
            let pull = MessagePull {
                command_id,
                consumer_id: Some(Arc::clone(&self.id)),
                destination: self.unacked.deliveries.info.destination.clone(),
                timeout,
                ..MessagePull::default()
            };
            pull.into()
        };
        self.session.connection().send(Some(generation), pull).await
    }

    /// Acknowledges one message and no other, in a session of mode [`AckMode::Individual`].
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn acknowledge(&self, received: &Received) -> Result<(), Error> {
        self.unacked.forget(received);
        self.unacked.ack_one(&self.session, received, ack_type::INDIVIDUAL).await
    }

    /// Ends the consumer; a durable subscription goes on collecting.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn close(self) -> Result<(), Error> {
        self.unacked.settle_late(&self.session).await?;
        let connection = self.session.connection();
        connection.shared.state.lock().objects.remove_consumer(&self.id);
        let last_delivered_sequence_id = self.unacked.held.lock().last_sequence;
        let object_id = Some(Arc::new(Command::ConsumerId(Arc::clone(&self.id))));
        let remove = |command_id| {
            let response_required = false;
            RemoveInfo { command_id, response_required, object_id, last_delivered_sequence_id }
                .into()
        };
        connection.send(Some(connection.generation()), remove).await
    }
}

fn is_expired(message: &Message) -> bool {
    message.expiration > 0 && message.expiration <= SystemClock.now_ms()
}

impl Unacked {
    /// Notes what was received and tells the broker what the mode says.
    async fn received(&self, session: &Session, received: &Received) -> Result<(), Error> {
        let mode = session.0.mode;
        if let Some(id) = &received.message_id {
            self.held.lock().last_sequence = id.broker_sequence_id;
        }
        if mode == AckMode::Auto || self.deliveries.info.browser {
            return self.ack_one(session, received, ack_type::STANDARD).await;
        }
        let half = usize::try_from(self.deliveries.prefetch()).unwrap_or_default() / 2;
        let (due, range) = {
            let mut held = self.held.lock();
            held.received.retain(|it| it.generation == received.generation);
            held.received.push_back(received.clone());
            let untold = held.received.len().saturating_sub(held.told);
            let due = untold > half;
            if due && mode != AckMode::DupsOk {
                held.told = held.received.len();
            }
            (due, untold)
        };
        if !due {
            return Ok(());
        }
        if mode == AckMode::DupsOk {
            return self.acknowledge_all(session, None).await;
        }
        // Without this the broker would send nothing beyond the prefetch until the acknowledgement.
        let transaction = session.transaction().await?;
        let ack = self.ack(received, ack_type::DELIVERED, range, transaction.as_ref());
        let ack = MessageAck { last_message_id: received.message_id.clone(), ..ack };
        self.send_ack(session, received.generation, ack).await
    }

    /// Acknowledges what a session of mode [`AckMode::DupsOk`] put off.
    async fn settle_late(&self, session: &Session) -> Result<(), Error> {
        if session.0.mode == AckMode::DupsOk {
            self.acknowledge_all(session, None).await?;
        }
        Ok(())
    }

    /// Acknowledges all that is held; in a transaction it counts with the commit.
    pub(super) async fn acknowledge_all(
        &self,
        session: &Session,
        transaction: Option<&Transaction>,
    ) -> Result<(), Error> {
        let received = self.take();
        let (Some(first), Some(last)) = (received.front(), received.back()) else { return Ok(()) };
        let ack = self.ack(last, ack_type::STANDARD, received.len(), transaction);
        let ack = MessageAck { first_message_id: first.message_id.clone(), ..ack };
        self.send_ack(session, last.generation, ack).await
    }

    fn take(&self) -> VecDeque<Received> {
        let mut held = self.held.lock();
        held.told = 0;
        std::mem::take(&mut held.received)
    }

    /// After a rollback: what was received waits to be received again, unless that failed too often.
    pub(super) async fn give_back(&self, session: &Session) -> Result<(), Error> {
        let generation = self.deliveries.generation();
        let mut again = Vec::new();
        for received in self.take().into_iter().filter(|it| it.generation == generation) {
            let redelivery_counter = received.redelivery_counter() + 1;
            if redelivery_counter <= REDELIVERIES_MAX {
                let dispatch = (*received.dispatch).clone();
                again.push(Arc::new(MessageDispatch { redelivery_counter, ..dispatch }));
                continue;
            }
            let reason = format!("Exceeded redelivery policy limit: {REDELIVERIES_MAX}");
            let ack = MessageAck {
                first_message_id: received.message_id.clone(),
                poison_cause: Some(Throwable::new("java.lang.Throwable", &reason)),
                ..self.ack(&received, ack_type::POISON, 1, None)
            };
            self.send_ack(session, received.generation, ack).await?;
        }
        self.deliveries.put_back(again);
        Ok(())
    }

    fn forget(&self, received: &Received) {
        let mut held = self.held.lock();
        let place =
            held.received.iter().position(|it| Arc::ptr_eq(&it.dispatch, &received.dispatch));
        if let Some(place) = place {
            held.received.remove(place);
            if place < held.told {
                held.told -= 1;
            }
        }
    }

    async fn ack_one(&self, session: &Session, received: &Received, kind: i8) -> Result<(), Error> {
        let ack = MessageAck {
            first_message_id: received.message_id.clone(),
            ..self.ack(received, kind, 1, None)
        };
        self.send_ack(session, received.generation, ack).await
    }

    fn ack(
        &self,
        last: &Received,
        ack_type: i8,
        count: usize,
        transaction: Option<&Transaction>,
    ) -> MessageAck {
        MessageAck {
            destination: last.dispatch.destination.clone(),
            transaction_id: transaction.map(|it| Arc::clone(&it.id)),
            consumer_id: self.deliveries.info.consumer_id.clone(),
            ack_type,
            last_message_id: last.message_id.clone(),
            message_count: i32::try_from(count).unwrap_or(i32::MAX),
            ..MessageAck::default()
        }
    }

    /// An acknowledgement means something only on the socket that brought the message.
    async fn send_ack(&self, session: &Session, socket: u64, ack: MessageAck) -> Result<(), Error> {
        let numbered = |command_id| MessageAck { command_id, ..ack }.into();
        session.connection().send(Some(socket), numbered).await
    }
}
