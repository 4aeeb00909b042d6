//! Which messages a bridge's consumer takes to its peer: none that was there, none that went too far.

use std::fmt;
use std::sync::Arc;

use crate::openwire::{BrokerId, Command, ConsumerInfo, Message};

/// Brokers that one message may have passed, whatever the configuration allows: a message that is sent
/// to and fro between two brokers grows with every passage.
pub const HOPS_MAX: usize = 128;

/// The rule of a bridge's consumer, from the NetworkBridgeFilter in its ConsumerInfo.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// The broker at the other end.
    to: Arc<BrokerId>,
    /// Brokers that a message may pass; `None` has no limit.
    message_ttl: Option<usize>,
    /// Brokers that news of a consumer may pass; `None` has no limit.
    consumer_ttl: Option<usize>,
    /// The consumer is the peer's own, rather than that of a broker behind it.
    direct: bool,
}

/// Why a message does not go over a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barred {
    /// It was at the peer before.
    Path,
    /// It passed as many brokers as it may.
    Ttl { hops: usize, limit: usize },
    /// It tells of a consumer that the peer knows, or that is too far away.
    ConsumerNews,
}

impl Forwarding {
    /// The rule of a consumer; `None` for one that is no bridge's.
    pub fn of(info: &ConsumerInfo) -> Option<Self> {
        let filter = info.additional_predicate.as_ref()?;
        let limit = |ttl: i32| usize::try_from(ttl).ok();
        Some(Self {
            to: filter.network_broker_id.clone()?,
            message_ttl: limit(filter.message_ttl),
            consumer_ttl: limit(filter.consumer_ttl),
            direct: info.broker_path.as_ref().is_none_or(|path| path.len() <= 1),
        })
    }

    /// What keeps `message` here. `unserved` says that nobody takes it here and that it may go back:
    /// then it goes wherever a broker has a consumer of its own, also where it has been.
    pub fn bars(&self, message: &Message, unserved: bool) -> Option<Barred> {
        let hops = message.hops();
        if hops >= HOPS_MAX {
            return Some(Barred::Ttl { hops, limit: HOPS_MAX });
        }
        if !(unserved && self.direct) {
            if message.passed(&self.to) {
                return Some(Barred::Path);
            }
            if let Some(limit) = self.message_ttl.filter(|limit| hops >= *limit) {
                return Some(Barred::Ttl { hops, limit });
            }
        }
        match &message.data_structure {
            Some(Command::ConsumerInfo(told)) if !self.carries(told) => Some(Barred::ConsumerNews),
            _ => None,
        }
    }

    fn carries(&self, told: &ConsumerInfo) -> bool {
        let path = told.broker_path.as_deref().unwrap_or_default();
        let knows = path.iter().flatten().any(|id| *id == *self.to);
        !knows && self.consumer_ttl.is_none_or(|limit| path.len() < limit)
    }
}

impl Message {
    /// How many brokers forwarded it.
    pub fn hops(&self) -> usize {
        self.broker_path.as_ref().map_or(0, Vec::len)
    }

    /// Whether this broker forwarded it before.
    pub fn passed(&self, broker: &BrokerId) -> bool {
        self.broker_path.iter().flatten().flatten().any(|id| id == broker)
    }
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => write!(f, "it was there before"),
            Self::Ttl { hops, limit } => {
                write!(f, "it passed {hops} brokers of {limit} that it may")
            }
            Self::ConsumerNews => {
                write!(f, "the peer knows of the consumer, or it is too far away")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openwire::NetworkBridgeFilter;

    fn forwarding(ttl: i32, behind: &[&str]) -> Forwarding {
        let info = ConsumerInfo {
            broker_path: Some(path(behind)),
            additional_predicate: Some(NetworkBridgeFilter {
                network_broker_id: Some(Arc::new(BrokerId::new("B"))),
                message_ttl: ttl,
                consumer_ttl: ttl,
                ..NetworkBridgeFilter::default()
            }),
            ..ConsumerInfo::default()
        };
        Forwarding::of(&info).unwrap()
    }

    fn path(ids: &[&str]) -> Vec<Option<BrokerId>> {
        ids.iter().map(|id| Some(BrokerId::new(*id))).collect()
    }

    fn over(ids: &[&str]) -> Message {
        Message { broker_path: Some(path(ids)), ..Message::default() }
    }

    #[test]
    fn a_message_passes_as_many_brokers_as_it_may_and_none_twice() {
        let ttl = |limit, hops| Some(Barred::Ttl { hops, limit });
        assert_eq!(forwarding(1, &["B"]).bars(&Message::default(), false), None);
        assert_eq!(forwarding(1, &["B"]).bars(&over(&["A"]), false), ttl(1, 1));
        assert_eq!(forwarding(-1, &["B"]).bars(&over(&["A", "C"]), false), None);
        assert_eq!(forwarding(-1, &["B"]).bars(&over(&["B"]), false), Some(Barred::Path));
    }

    #[test]
    fn what_nobody_takes_here_goes_back_to_a_consumer_of_the_peers_own() {
        assert_eq!(forwarding(1, &["B"]).bars(&over(&["B"]), true), None);
        assert_eq!(forwarding(1, &["C", "B"]).bars(&over(&["B"]), true), Some(Barred::Path));
        let ids = vec!["B"; HOPS_MAX];
        assert!(forwarding(-1, &["B"]).bars(&over(&ids), true).is_some(), "not for ever");
    }

    #[test]
    fn news_of_a_consumer_goes_no_farther_than_it_may_and_not_to_where_it_is_from() {
        let news = |ids: &[&str]| {
            let told = ConsumerInfo { broker_path: Some(path(ids)), ..ConsumerInfo::default() };
            Message { data_structure: Some(told.into()), ..Message::default() }
        };
        assert_eq!(forwarding(1, &[]).bars(&news(&[]), false), None);
        assert_eq!(forwarding(1, &[]).bars(&news(&["C"]), false), Some(Barred::ConsumerNews));
        assert_eq!(forwarding(-1, &[]).bars(&news(&["C", "B"]), false), Some(Barred::ConsumerNews));
    }
}
