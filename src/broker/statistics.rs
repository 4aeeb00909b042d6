//! Answers to messages that ask for statistics (`<statisticsBrokerPlugin>`).

use std::sync::Arc;

use super::Broker;
use super::plugins::Question;
use super::region::Cell;
use super::subscription::{Role, Subscription};
use crate::openwire::body::Body;
use crate::openwire::map::{PrimitiveMap, Value, get};
use crate::openwire::{Destination, DestinationKind, Message};

/// In a question: end the answers with a message without entries.
const END_OF_LIST: &str = "ActiveMQ.Statistics.Destination.List.End.With.Null";
/// In a question: say when the first message came.
const FIRST_TIMESTAMP: &str = "ActiveMQ.Statistics.Destination.Include.First.Message.Timestamp";

/// In a question about the broker: its counters begin anew.
const RESET: &str = "ActiveMQ.Statistics.Broker.Reset";

/// The figures of one destination, or of all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Messages there now, with consumers or not.
    pub size: u64,
    pub enqueued: u64,
    pub dequeued: u64,
    pub dispatched: u64,
    pub expired: u64,
    pub in_flight: u64,
    /// Messages in memory.
    pub cached: u64,
    /// Bytes of all messages that were ever sent here.
    pub enqueued_bytes: u64,
    /// Bytes of memory now.
    pub memory: u64,
    pub consumers: u64,
    pub producers: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.size += other.size;
        self.enqueued += other.enqueued;
        self.dequeued += other.dequeued;
        self.dispatched += other.dispatched;
        self.expired += other.expired;
        self.in_flight += other.in_flight;
        self.cached += other.cached;
        self.enqueued_bytes += other.enqueued_bytes;
        self.memory += other.memory;
        self.consumers += other.consumers;
        self.producers += other.producers;
    }

    /// The same with counters that began at `base`. What was counted at a destination that is gone since
    /// is not there to be taken off.
    fn since(self, base: &Self) -> Self {
        Self {
            enqueued: self.enqueued.saturating_sub(base.enqueued),
            dequeued: self.dequeued.saturating_sub(base.dequeued),
            dispatched: self.dispatched.saturating_sub(base.dispatched),
            expired: self.expired.saturating_sub(base.expired),
            enqueued_bytes: self.enqueued_bytes.saturating_sub(base.enqueued_bytes),
            ..self
        }
    }

    /// The entries that all answers have, under ActiveMQ's names. How long messages waited is not
    /// measured.
    fn write(&self, map: &mut PrimitiveMap) {
        let average = self.enqueued_bytes.checked_div(self.enqueued).unwrap_or(0);
        let longs = [
            ("size", self.size),
            ("enqueueCount", self.enqueued),
            ("dequeueCount", self.dequeued),
            ("dispatchCount", self.dispatched),
            ("expiredCount", self.expired),
            ("inflightCount", self.in_flight),
            ("messagesCached", self.cached),
            ("averageMessageSize", average),
            ("consumerCount", self.consumers),
            ("producerCount", self.producers),
        ];
        for (name, value) in longs {
            map.insert(name, long(value));
        }
        for name in ["averageEnqueueTime", "maxEnqueueTime", "minEnqueueTime"] {
            map.insert(name, Value::Double(0.0));
        }
    }
}

fn long(value: u64) -> Value {
    Value::Long(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `name`PercentUsage, `name`Usage and `name`Limit.
fn usage(map: &mut PrimitiveMap, name: &str, used: u64, limit: u64) {
    let percent = used.saturating_mul(100).checked_div(limit).unwrap_or(0);
    let percent = i32::try_from(percent).unwrap_or(i32::MAX);
    map.insert(format!("{name}PercentUsage"), Value::Int(percent));
    map.insert(format!("{name}Usage"), long(used));
    map.insert(format!("{name}Limit"), long(limit));
}

impl Broker {
    /// Answers a message if it is a question for statistics that says where the answer goes.
    pub(super) fn answers(&self, message: &Message) -> bool {
        let (Some(to), Some(reply_to)) = (&message.destination, &message.reply_to) else {
            return false;
        };
        let question = self.plugins.statistics.then(|| Question::of(to)).flatten();
        let Some(question) = question else { return false };
        let reply_to = Arc::new((*reply_to).clone());
        for map in self.answers_to(question, message) {
            self.answer(map, message, &reply_to);
        }
        true
    }

    fn answers_to(&self, question: Question, message: &Message) -> Vec<PrimitiveMap> {
        let properties = message.marshalled_properties.as_deref().unwrap_or_default();
        let asks = |name| !properties.is_empty() && matches!(get(properties, name), Ok(Some(_)));
        match question {
            Question::Broker => {
                if asks(RESET) {
                    *self.counted_before.lock() = self.figures();
                }
                vec![self.broker_statistics()]
            }
            Question::Destinations(about, ends) => {
                let cells = if about.is_pattern() {
                    self.region.matching(&about)
                } else {
                    self.region.get(&about).into_iter().collect()
                };
                let first = asks(FIRST_TIMESTAMP);
                let answers = cells.iter().map(|cell| self.destination_statistics(cell, first));
                let end = (ends || asks(END_OF_LIST)).then(PrimitiveMap::new);
                answers.chain(end).collect()
            }
            Question::Subscriptions => {
                let clients = self.all_clients();
                let consumers = clients.iter().flat_map(|client| client.consumers());
                consumers.map(|consumer| self.subscription_statistics(&consumer)).collect()
            }
        }
    }

    fn answer(&self, map: PrimitiveMap, question: &Message, to: &Arc<Destination>) {
        let (class, content) = match Body::Map(map).encode() {
            Ok(encoded) => encoded,
            Err(error) => return tracing::warn!("statistics cannot be written: {error}"),
        };
        let answer = Message {
            class,
            content,
            correlation_id: question.correlation_id.clone(),
            destination: Some(Arc::clone(to)),
            kind: Some("Advisory".into()),
            timestamp: self.now_ms(),
            priority: 4,
            broker_in_time: self.now_ms(),
            ..self.own_message()
        };
        if let Err(refusal) = self.route(answer, false) {
            tracing::debug!("statistics are not told: {refusal}");
        }
    }

    fn named(&self) -> PrimitiveMap {
        let mut map = PrimitiveMap::new();
        map.insert("brokerName", Value::String(self.name().into()));
        let id = self.id().value.as_ref().map(|id| Value::String(id.clone()));
        map.insert("brokerId", id.unwrap_or_default());
        map
    }

    fn destination_statistics(&self, cell: &Cell, first: bool) -> PrimitiveMap {
        let mut map = self.named();
        let destination = cell.destination();
        map.insert("destinationName", Value::String(destination.to_string().into()));
        let figures = cell.figures();
        figures.write(&mut map);
        let own = self.region().policies().entry_for(destination).memory_limit;
        let limit = own.unwrap_or_else(|| self.memory.limit() as u64);
        usage(&mut map, "memory", figures.memory, limit);
        if let Cell::Queue(queue) = cell
            && let Some(came) = queue.first_in_time().filter(|_| first)
        {
            map.insert("firstMessageTimestamp", Value::Long(came));
        }
        map
    }

    /// Of all destinations together.
    fn figures(&self) -> Figures {
        let mut all = Figures::default();
        let kinds = [
            DestinationKind::Queue,
            DestinationKind::Topic,
            DestinationKind::TempQueue,
            DestinationKind::TempTopic,
        ];
        for cell in kinds.into_iter().flat_map(|kind| self.region().all(kind)) {
            all.add(&cell.figures());
        }
        all
    }

    fn broker_statistics(&self) -> PrimitiveMap {
        let mut map = self.named();
        self.figures().since(&self.counted_before.lock()).write(&mut map);
        let stores = &self.stores;
        usage(&mut map, "memory", self.memory.used() as u64, self.memory.limit() as u64);
        let written = stores.journal.as_ref().map_or(0, |journal| journal.written_bytes());
        usage(&mut map, "store", written, stores.store_limit_bytes);
        usage(&mut map, "temp", stores.temporary_bytes(), stores.temp_limit_bytes);
        map.insert("openwire", Value::String(self.url().into()));
        for other in ["ssl", "stomp", "stomp+ssl"] {
            map.insert(other, Value::String("".into()));
        }
        map.insert("vm", Value::String(format!("vm://{}", self.name()).into()));
        let data = self.options().data_directory.display().to_string();
        map.insert("dataDirectory", Value::String(data.into()));
        map
    }

    fn subscription_statistics(&self, consumer: &Subscription) -> PrimitiveMap {
        let mut map = self.named();
        let info = &consumer.info;
        let text =
            |text: Option<String>| text.map_or(Value::Null, |text| Value::String(text.into()));
        let destination = info.destination.as_ref().map(|it| it.name().into_owned());
        map.insert("destinationName", text(destination));
        map.insert(
            "connectionId",
            text(consumer.id.connection_id.as_ref().map(|id| id.to_string())),
        );
        map.insert("sessionId", Value::Long(consumer.id.session_id));
        map.insert("selector", text(info.selector.as_ref().map(ToString::to_string)));
        map.insert("prefetchSize", Value::Int(info.prefetch_size));
        map.insert("dispatchedQueueSize", long(consumer.held() as u64));
        map.insert("maximumPendingMessageLimit", Value::Int(info.maximum_pending_message_limit));
        map.insert("exclusive", Value::Boolean(info.exclusive));
        map.insert("retroactive", Value::Boolean(info.retroactive));
        let slow = consumer.pace.slowness(self.now_ms()).is_some();
        map.insert("slowConsumer", Value::Boolean(slow));
        map
    }
}

impl Subscription {
    /// Messages that it holds unacknowledged.
    pub fn held(&self) -> usize {
        match &self.role {
            Role::Topic(flow) => flow.lock().in_flight,
            Role::Queue(_) | Role::Browser(_) | Role::Durable(_) => self.window_len(),
        }
    }
}
