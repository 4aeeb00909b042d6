//! Who among those that hear a topic may get a message (`dispatchPolicy`).

use std::sync::Arc;

use super::options::policy::DispatchPolicy;
use crate::openwire::map::{Value, get};
use crate::openwire::{ConsumerId, ConsumerInfo, Destination, Message};

/// Those who may get one message.
#[derive(Debug, PartialEq, Eq)]
pub enum Hearers {
    All,
    Nobody,
    /// Consumers of the connections with this client id.
    Client(String),
    /// All but these, in whose stead another bridge gets it.
    Without(Vec<Arc<ConsumerId>>),
}

impl Hearers {
    /// What `policy` says of a message that was published to the topic `to`; `consumers` are all that hear
    /// it.
    pub fn of<'a>(
        policy: Option<&DispatchPolicy>,
        to: &Destination,
        message: &Message,
        consumers: impl Iterator<Item = &'a ConsumerInfo>,
    ) -> Self {
        match policy {
            Some(DispatchPolicy::ClientIdFilter { ptp_client_id, ptp_suffix }) => {
                let properties =
                    message.marshalled_properties.as_deref().filter(|it| !it.is_empty());
                let named = properties.and_then(|it| get(it, ptp_client_id).ok().flatten());
                match named {
                    None | Some(Value::Null) => Self::All,
                    Some(Value::String(name)) if to.to_string().ends_with(ptp_suffix) => {
                        Self::Client(name.to_string())
                    }
                    Some(_) => Self::Nobody,
                }
            }
            Some(DispatchPolicy::PriorityNetwork) => Self::Without(shadowed(consumers)),
            Some(
                DispatchPolicy::RoundRobin
                | DispatchPolicy::StrictOrder
                | DispatchPolicy::Priority
                | DispatchPolicy::Simple,
            )
            | None => Self::All,
        }
    }

    /// Whether the consumer `id` of a connection with this client id is one of them.
    pub fn include(&self, id: &ConsumerId, client_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Client(name) => name == client_id,
            Self::Without(shadowed) => !shadowed.iter().any(|other| **other == *id),
        }
    }
}

/// Bridges' consumers that stand for a consumer for which another one of higher priority stands too, or an
/// earlier one of the same priority.
fn shadowed<'a>(consumers: impl Iterator<Item = &'a ConsumerInfo>) -> Vec<Arc<ConsumerId>> {
    let path = |info: &'a ConsumerInfo| info.network_consumer_path.as_deref().unwrap_or_default();
    let mut standing: Vec<&ConsumerInfo> = Vec::new();
    let mut shadowed = Vec::new();
    let mut shadow = |info: &ConsumerInfo| shadowed.extend(info.consumer_id.clone());
    for info in consumers.filter(|info| info.network_subscription) {
        let mut stays = true;
        standing.retain(|other| {
            let same = path(other)
                .iter()
                .flatten()
                .any(|of| path(info).iter().flatten().any(|it| it == of));
            let lower = same && other.priority < info.priority;
            stays &= !same || lower;
            if lower {
                shadow(other);
            }
            !lower
        });
        if stays {
            standing.push(info);
        } else {
            shadow(info);
        }
    }
    shadowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openwire::map::PrimitiveMap;

    fn id(value: i64) -> Arc<ConsumerId> {
        Arc::new(ConsumerId { value, ..ConsumerId::default() })
    }

    /// A bridge's consumer that stands for these.
    fn bridged(value: i64, priority: i8, stands_for: &[i64]) -> ConsumerInfo {
        let path = stands_for.iter().map(|value| Some((*id(*value)).clone())).collect();
        ConsumerInfo {
            consumer_id: Some(id(value)),
            network_subscription: true,
            network_consumer_path: Some(path),
            priority,
            ..ConsumerInfo::default()
        }
    }

    #[test]
    fn of_bridges_to_one_consumer_the_highest_priority_gets_the_message() {
        let all =
            [bridged(1, 0, &[7]), bridged(2, 5, &[8, 7]), bridged(3, 0, &[9]), bridged(4, 5, &[7])];
        assert_eq!(shadowed(all.iter()), [id(1), id(4)], "and the earlier of two that are equal");
        let local = ConsumerInfo { network_subscription: false, ..bridged(5, 0, &[7]) };
        assert_eq!(shadowed([local.clone(), local].iter()), [], "consumers of this broker all do");
    }

    #[test]
    fn a_message_that_names_a_client_is_for_it_alone_where_the_topic_says_so() {
        let policy = DispatchPolicy::ClientIdFilter {
            ptp_client_id: "PTP_CLIENTID".to_owned(),
            ptp_suffix: ".PTP".to_owned(),
        };
        let hearers = |topic: &str, value: Option<Value>| {
            let mut properties = PrimitiveMap::new();
            properties.insert("other", Value::Int(1));
            if let Some(value) = value {
                properties.insert("PTP_CLIENTID", value);
            }
            let marshalled_properties = Some(properties.encode().unwrap());
            let message = Message { marshalled_properties, ..Message::default() };
            Hearers::of(Some(&policy), &Destination::topic(topic), &message, [].into_iter())
        };
        let a = || Some(Value::String("a".into()));
        assert_eq!(hearers("T.PTP", a()), Hearers::Client("a".to_owned()));
        assert_eq!(hearers("T.X", a()), Hearers::Nobody);
        assert_eq!(hearers("T.PTP", Some(Value::Int(1))), Hearers::Nobody);
        assert_eq!(hearers("T.PTP", Some(Value::Null)), Hearers::All);
        assert_eq!(hearers("T.PTP", None), Hearers::All);
        assert!(Hearers::Client("a".to_owned()).include(&id(1), "a"));
        assert!(!Hearers::Client("a".to_owned()).include(&id(1), "b"));
    }
}
