//! What plugins of a configuration do to a message that a client sends, and to the names it uses.
//!
//! `statistics`, `dead_letter` and `redelivery` hold those plugins that do more than that.

use std::sync::Arc;

use super::options::Plugin;
use super::options::plugin::{Logging, TimeStamping};
use crate::openwire::map::{PrimitiveMap, Value};
use crate::openwire::{Destination, DestinationKind, Message};

/// The plugins, ready to be asked.
#[derive(Debug, Default)]
pub struct Plugins {
    stamps: Vec<Stamp>,
    /// Each character stands for a dot.
    separator: Option<String>,
    /// Whether questions for statistics are answered.
    pub statistics: bool,
    /// What is written to the log.
    pub logging: Option<Logging>,
}

/// Something that is changed in every message.
#[derive(Debug)]
enum Stamp {
    Time(TimeStamping),
    Persistence(bool),
    BrokerPath(String),
}

impl Plugins {
    pub fn new(plugins: &[Plugin]) -> Self {
        let mut all = Self::default();
        for plugin in plugins {
            match plugin {
                Plugin::Statistics => all.statistics = true,
                Plugin::TimeStamping(options) => all.stamps.push(Stamp::Time(options.clone())),
                Plugin::ForcePersistencyMode { persistent } => {
                    all.stamps.push(Stamp::Persistence(*persistent));
                }
                Plugin::TraceBrokerPath { stamp_property } => {
                    all.stamps.push(Stamp::BrokerPath(stamp_property.clone()));
                }
                Plugin::DestinationPathSeparator { separator } => {
                    all.separator = Some(separator.clone()).filter(|it| !it.is_empty());
                }
                Plugin::Logging(options) => all.logging = Some(options.clone()),
                Plugin::Redelivery(_)
                | Plugin::DiscardingDlq(_)
                | Plugin::Destinations { .. }
                | Plugin::VirtualSelectorCache(_)
                | Plugin::RuntimeConfiguration { .. }
                | Plugin::MulticastTrace { .. }
                | Plugin::UdpTrace { .. }
                | Plugin::Partition => {}
            }
        }
        all
    }

    /// Changes a message that came from a client.
    pub fn stamp(&self, message: &mut Message, broker: &str, now_ms: i64) {
        for stamp in &self.stamps {
            match stamp {
                Stamp::Time(options) => time(options, message, now_ms),
                Stamp::Persistence(persistent) => message.persistent = *persistent,
                Stamp::BrokerPath(property) => broker_path(property, message, broker),
            }
        }
    }

    /// Changes a dead letter; its time to live is not the client's.
    pub fn stamp_letter(&self, letter: &mut Message) {
        for stamp in &self.stamps {
            if let Stamp::Persistence(persistent) = stamp {
                letter.persistent = *persistent;
            }
        }
    }

    /// The destination with dots between its parts; `None` where it has them already.
    pub fn dotted(&self, destination: &Destination) -> Option<Arc<Destination>> {
        let separator = self.separator.as_deref()?;
        let name = destination.name();
        if !name.contains(separator) {
            return None;
        }
        let parts = name.split(|c| separator.contains(c)).map(str::trim);
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        Some(Arc::new(Destination::new(destination.class, &parts.join("."))))
    }

    /// The same in place.
    pub fn dot(&self, destination: &mut Option<Arc<Destination>>) {
        if let Some(dotted) = destination.as_ref().and_then(|it| self.dotted(it)) {
            *destination = Some(dotted);
        }
    }

    /// The same in what is shared, which is copied where names have other separators at all.
    pub fn dot_in<T: Clone>(
        &self,
        shared: &Arc<T>,
        destination: impl Fn(&mut T) -> &mut Option<Arc<Destination>>,
    ) -> Arc<T> {
        let mut shared = Arc::clone(shared);
        if self.separator.is_some() {
            self.dot(destination(Arc::make_mut(&mut shared)));
        }
        shared
    }

    /// Logs what happens where `<loggingBrokerPlugin>` asks for it.
    pub fn log(&self, wanted: impl Fn(&Logging) -> bool, what: impl FnOnce() -> String) {
        if self.logging.as_ref().is_some_and(|options| options.log_all || wanted(options)) {
            tracing::info!("{}", what());
        }
    }
}

/// `<timeStampingBrokerPlugin>`.
fn time(options: &TimeStamping, message: &mut Message, now_ms: i64) {
    let over_a_bridge = message.broker_path.as_ref().is_some_and(|path| !path.is_empty());
    if message.timestamp <= 0 || (over_a_bridge && !options.process_network_messages) {
        return;
    }
    let ms = |time: Option<std::time::Duration>| {
        time.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    };
    let mut life = if message.expiration > 0 {
        message.expiration - message.timestamp
    } else {
        ms(options.zero_expiration_override)
    };
    let ceiling = ms(options.ttl_ceiling);
    if life > 0 && ceiling > 0 {
        life = life.min(ceiling);
    }
    let expiration = now_ms.saturating_add(life);
    if options.future_only && expiration <= message.expiration {
        return;
    }
    if life > 0 {
        message.expiration = expiration;
    }
    message.timestamp = now_ms;
}

/// `<traceBrokerPathPlugin>`. Properties that cannot be read stay as they are.
fn broker_path(property: &str, message: &mut Message, broker: &str) {
    let properties = match message.marshalled_properties.as_deref() {
        None | Some([]) => Some(PrimitiveMap::new()),
        Some(bytes) => PrimitiveMap::decode(bytes).ok().map(Option::unwrap_or_default),
    };
    let Some(mut properties) = properties else { return };
    let path = match properties.get(property) {
        Some(Value::String(before)) => format!("{},{broker}", before.to_str()),
        Some(_) | None => broker.to_owned(),
    };
    properties.insert(property, Value::String(path.into()));
    if let Ok(encoded) = properties.encode() {
        message.marshalled_properties = Some(encoded);
    }
}

/// What a question for statistics is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Broker,
    /// The destinations that fit; with a message without entries behind the last.
    Destinations(Destination, bool),
    Subscriptions,
}

const DESTINATION: &str = "ActiveMQ.Statistics.Destination";
const BROKER: &str = "ActiveMQ.Statistics.Broker";
const SUBSCRIPTION: &str = "ActiveMQ.Statistics.Subscription";
const END_OF_LIST: &str = "ActiveMQ.Statistics.Destination.List.End.With.Null";

impl Question {
    /// What is asked by a message to this destination, if anything is.
    pub fn of(destination: &Destination) -> Option<Self> {
        let name = destination.name();
        if let Some(about) = name.strip_prefix(DESTINATION) {
            let about = about.strip_prefix('.').unwrap_or(about);
            let plain = about.replace(END_OF_LIST, "");
            let ends = plain != about;
            let kind = if destination.is_queue() {
                DestinationKind::Queue
            } else {
                DestinationKind::Topic
            };
            return Some(Self::Destinations(Destination::parse(&plain, kind), ends));
        }
        if name.starts_with(SUBSCRIPTION) {
            return Some(Self::Subscriptions);
        }
        name.starts_with(BROKER).then_some(Self::Broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_other_characters_between_its_parts() {
        let separator = "/".to_owned();
        let plugins = Plugins::new(&[Plugin::DestinationPathSeparator { separator }]);
        let dotted =
            |name: &str| plugins.dotted(&Destination::topic(name)).map(|it| it.to_string());
        assert_eq!(dotted("a/b//c/").as_deref(), Some("topic://a.b.c"));
        assert_eq!(dotted("a.b"), None);
    }

    #[test]
    fn with_future_only_a_message_of_a_fast_clock_keeps_its_time() {
        let mut message = Message { timestamp: 5000, expiration: 6000, ..Message::default() };
        let options = TimeStamping { future_only: true, ..TimeStamping::default() };
        time(&options, &mut message, 1000);
        assert_eq!((message.timestamp, message.expiration), (5000, 6000));
        time(&options, &mut message, 9000);
        assert_eq!((message.timestamp, message.expiration), (9000, 10_000));
    }

    #[test]
    fn a_question_says_what_it_is_about() {
        let of = |name: &str| Question::of(&Destination::queue(name));
        assert_eq!(of("ActiveMQ.Statistics.Broker"), Some(Question::Broker));
        let about = |name: &str, ends| {
            Some(Question::Destinations(Destination::parse(name, DestinationKind::Queue), ends))
        };
        assert_eq!(of("ActiveMQ.Statistics.DestinationA.>"), about("A.>", false));
        assert_eq!(of("ActiveMQ.Statistics.Destination.topic://A"), about("topic://A", false));
        assert_eq!(of("A"), None);
    }
}
