//! What the broker tells of its bridges: on `ActiveMQ.Advisory.NetworkBridge` that one has started or
//! stopped, also to those who come later, and on `….ForwardFailure` what a peer refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Broker;
use super::advisory::Advisory;
use crate::openwire::map::Value;
use crate::openwire::{BrokerInfo, Command, Message, Throwable};

const TOPIC: &str = "NetworkBridge";
const FAILURES: &str = "NetworkBridge.ForwardFailure";

/// The bridges that are there.
#[derive(Debug, Default)]
pub(super) struct Bridges {
    started: Mutex<BTreeMap<u64, Started>>,
}

#[derive(Debug, Clone)]
struct Started {
    peer: BrokerInfo,
    created_by_duplex: bool,
    remote_address: String,
}

impl Started {
    fn advisory(&self) -> Advisory {
        let properties = vec![
            ("started", Value::Boolean(true)),
            ("createdByDuplex", Value::Boolean(self.created_by_duplex)),
            ("remoteIp", Value::String(self.remote_address.as_str().into())),
        ];
        about(&self.peer, properties)
    }
}

fn about(peer: &BrokerInfo, properties: Vec<(&'static str, Value)>) -> Advisory {
    Advisory { topic: TOPIC.to_owned(), data: Some(peer.clone().into()), properties }
}

impl Bridges {
    pub(super) fn present(&self) -> Vec<Advisory> {
        self.started.lock().values().map(Started::advisory).collect()
    }
}

impl Broker {
    /// A bridge to `peer` at `remote_address` is there; `created_by_duplex` where the peer began it. Clients
    /// that are to know of the peer are told, too. Returns its number, for [`Self::bridge_stopped`].
    pub fn bridge_started(
        &self,
        peer: &BrokerInfo,
        created_by_duplex: bool,
        remote_address: &str,
    ) -> u64 {
        self.cluster.joined(peer);
        let remote_address = remote_address.to_owned();
        let started = Started { peer: public(peer), created_by_duplex, remote_address };
        let number = {
            let mut bridges = self.bridges.started.lock();
            let number = bridges.last_key_value().map_or(0, |(last, _)| last + 1);
            bridges.insert(number, started.clone());
            number
        };
        self.tell(|| started.advisory());
        number
    }

    /// The bridge of that number is gone.
    pub fn bridge_stopped(&self, number: u64) {
        let stopped = self.bridges.started.lock().remove(&number);
        if let Some(Started { peer, .. }) = stopped {
            self.cluster.left(&peer, self.is_stopping());
            self.tell(|| about(&peer, vec![("started", Value::Boolean(false))]));
        }
    }

    /// The peers that a connector tells of in its BrokerInfo; `None` where it tells of none.
    pub fn peers(&self, connector: &str) -> Option<Vec<Option<BrokerInfo>>> {
        if !self.cluster.tells(connector) {
            return None;
        }
        let bridges = self.bridges.started.lock();
        let by_id = bridges.values().map(|it| (it.peer.broker_id.as_deref(), &it.peer));
        let peers: HashMap<_, _> = by_id.collect();
        Some(peers.into_values().cloned().map(Some).collect())
    }

    /// A peer refused what a bridge sent it (`advisoryForFailedForward`).
    pub fn forward_failed(&self, message: &Arc<Message>, why: &Throwable) {
        let cause = why.message.clone().map(Value::String).unwrap_or_default();
        self.tell(|| Advisory {
            topic: FAILURES.to_owned(),
            data: Some(Command::Message(Arc::clone(message))),
            properties: vec![("cause", cause)],
        });
    }
}

/// What may be told of a peer: the properties of its bridge have passwords in them.
fn public(peer: &BrokerInfo) -> BrokerInfo {
    BrokerInfo {
        broker_id: peer.broker_id.clone(),
        broker_name: peer.broker_name.clone(),
        broker_url: peer.broker_url.clone(),
        ..BrokerInfo::default()
    }
}
