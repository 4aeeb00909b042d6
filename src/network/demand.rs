//! What the peer's consumers want of this broker: news of them in, subscriptions here out.
//!
//! ```text
//!  ConsumerInfo, RemoveInfo, RemoveSubscriptionInfo, DestinationInfo of the peer's advisories
//!       -> who wants what -> Change: subscribe, unsubscribe, end a durable subscription, mirror
//! ```
//!
//! **Invariant:** plain data; no lock, clock or socket. With `conduitSubscriptions` there is one
//! subscription here for all consumers of a destination there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::options::NetworkOptions;
use super::rules::{bare, covers};
use crate::openwire::{
    BrokerId, Command, ConsumerId, ConsumerInfo, Destination, DestinationInfo, NetworkBridgeFilter,
    RemoveSubscriptionInfo, Text,
};

/// Consumers of a peer that are known at once; more are served only as far as others are of the same
/// destination.
const CONSUMERS_MAX: usize = 1 << 18;
/// What the names of durable subscriptions begin with that bridges make.
pub const DURABLE_PREFIX: &str = "NC-DS_";
/// Value of [`DestinationInfo::operation_type`] for a destination that was removed.
const REMOVED: i8 = 1;

/// What is to be done here.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Subscribe(Arc<ConsumerInfo>),
    Unsubscribe(Arc<ConsumerId>),
    /// Nobody there has the durable subscription any more for which this one stood.
    EndDurable(String),
    /// A client there has this temporary destination.
    Mirror(Arc<Destination>, Vec<Option<BrokerId>>),
    Unmirror(Arc<Destination>),
}

/// Who the two brokers are.
#[derive(Debug, Clone)]
pub struct Ends {
    pub local_id: Arc<BrokerId>,
    pub local_name: String,
    pub remote_id: Arc<BrokerId>,
    pub remote_name: String,
}

/// A durable subscription there: client id and name.
type DurableName = (Option<Text>, Option<Text>);

/// The consumers of a peer and what stands for them here.
#[derive(Debug)]
pub struct Demand {
    options: Arc<NetworkOptions>,
    ends: Ends,
    /// The connection here whose consumers the subscriptions are.
    connection: Text,
    next: i64,
    wanted: BTreeMap<i64, Wanted>,
    /// By what they subscribe to, for names that are no patterns.
    by_name: HashMap<Destination, Vec<i64>>,
    /// Those that subscribe to patterns.
    patterns: Vec<i64>,
    known: usize,
}

/// One subscription here.
#[derive(Debug)]
struct Wanted {
    info: Arc<ConsumerInfo>,
    consumers: HashSet<ConsumerId>,
    durables: HashSet<DurableName>,
    /// It stays without consumers: configured, of a temporary destination, or a durable one.
    fixed: bool,
}

impl Demand {
    /// Of nothing yet. Consumers here get ids of `connection`.
    pub fn new(options: Arc<NetworkOptions>, ends: Ends, connection: Text) -> Self {
        Self {
            options,
            ends,
            connection,
            next: 0,
            wanted: BTreeMap::new(),
            by_name: HashMap::new(),
            patterns: Vec::new(),
            known: 0,
        }
    }

    /// What is wanted before any news: the statically included destinations, and what the peer's durable
    /// subscribers left behind here, `durables` by name and topic.
    pub fn start(&mut self, durables: Vec<(String, Destination)>, out: &mut Vec<Change>) {
        for destination in self.options.statically_included_destinations.clone() {
            let durable = self.options.forces_durable(&bare(&destination));
            let destination = bare(&destination);
            let name = durable.then(|| self.durable_name(&destination));
            self.subscribe(&ConsumerInfo::default(), destination, name, true, out);
        }
        if self.options.dynamic_only || self.options.static_bridge {
            return;
        }
        for destination in self.options.durable_destinations.clone() {
            if destination.is_topic() && self.covering(&destination).is_empty() {
                let name = Some(self.durable_name(&destination));
                self.subscribe(&ConsumerInfo::default(), destination, name, true, out);
            }
        }
        for (name, destination) in durables {
            let ours = name.starts_with(DURABLE_PREFIX) && self.options.permits(&destination);
            if ours && self.covering(&destination).is_empty() {
                self.subscribe(&ConsumerInfo::default(), destination, Some(name), true, out);
            }
        }
    }

    /// News from the peer.
    pub fn hear(&mut self, news: &Command, out: &mut Vec<Change>) {
        if let Command::ConsumerInfo(info) = news {
            self.consumer_came(info, out);
        } else if let Command::RemoveInfo(info) = news {
            if let Some(Command::ConsumerId(id)) = info.object_id.as_deref() {
                self.consumer_went(id, out);
            }
        } else if let Command::RemoveSubscriptionInfo(info) = news {
            self.durable_ended(info, out);
        } else if let Command::DestinationInfo(info) = news {
            self.destination_changed(info, out);
        }
    }

    /// The durable subscriptions that the peer has (BrokerSubscriptionInfo): those it does not name are
    /// gone. `durables` is what stands here for such.
    pub fn durables_told(
        &mut self,
        told: &[Option<ConsumerInfo>],
        durables: Vec<(String, Destination)>,
        out: &mut Vec<Change>,
    ) {
        if self.options.dynamic_only {
            return;
        }
        for info in told.iter().flatten() {
            self.consumer_came(info, out);
        }
        for (name, destination) in durables {
            let covering = self.covering(&destination);
            let is_wanted =
                |at: &i64| self.wanted.get(at).is_some_and(|wanted| !wanted.durables.is_empty());
            if name.starts_with(DURABLE_PREFIX) && !covering.iter().any(is_wanted) {
                for at in covering {
                    self.unsubscribe(at, out);
                }
                out.push(Change::EndDurable(name));
            }
        }
    }

    fn consumer_came(&mut self, info: &ConsumerInfo, out: &mut Vec<Change>) {
        let path = info.broker_path.as_deref().unwrap_or_default();
        let far = self.options.consumer_ttl.is_some_and(|limit| path.len() >= limit as usize);
        let ours = path.iter().flatten().any(|id| *id == *self.ends.local_id);
        let (Some(id), Some(destination)) = (&info.consumer_id, &info.destination) else { return };
        if info.browser || far || ours {
            return;
        }
        for member in destination.members() {
            if self.options.permits(&member) && !member.is_advisory() {
                self.want(info, id, member, out);
            }
        }
    }

    fn want(
        &mut self,
        info: &ConsumerInfo,
        id: &ConsumerId,
        destination: Destination,
        out: &mut Vec<Change>,
    ) {
        let durable = info.subscription_name.is_some() && destination.is_topic();
        let lasting = durable || self.options.forces_durable(&destination);
        let covering = self.covering(&destination);
        if covering.iter().any(|at| self.wanted.get(at).is_some_and(|it| it.consumers.contains(id)))
        {
            return;
        }
        let conduit = self.options.conduit_subscriptions
            && (!info.network_subscription
                || destination.is_topic()
                || self.options.conduit_network_queue_subscriptions);
        let shared: Vec<_> = covering
            .into_iter()
            .filter(|at| {
                let wanted = self.wanted.get(at);
                wanted.is_some_and(|it| {
                    (conduit || it.fixed || durable)
                        && (!lasting || it.info.subscription_name.is_some())
                })
            })
            .collect();
        if self.known >= CONSUMERS_MAX {
            if shared.is_empty() {
                tracing::warn!(
                    "consumer {id} of {destination} at {} is not served: {CONSUMERS_MAX} are",
                    self.ends.remote_name
                );
            }
            return;
        }
        let at = match shared.first() {
            Some(_) => None,
            None => {
                let name = lasting.then(|| self.durable_name(&destination));
                // A durable subscription takes the place of one that is not.
                let replaced = if lasting { self.covering(&destination) } else { Vec::new() };
                let at = self.subscribe(info, destination.clone(), name, false, out);
                for old in replaced {
                    self.replace(old, at, &destination, out);
                }
                Some(at)
            }
        };
        for at in shared.into_iter().chain(at) {
            let Some(wanted) = self.wanted.get_mut(&at) else { continue };
            self.known += usize::from(wanted.consumers.insert(id.clone()));
            if durable {
                let name = (info.client_id.clone(), info.subscription_name.clone());
                self.known += usize::from(wanted.durables.insert(name));
            }
        }
    }

    /// The subscription `new` takes over the consumers of `old`, which was not durable.
    fn replace(&mut self, old: i64, new: i64, destination: &Destination, out: &mut Vec<Change>) {
        let same = |wanted: &Wanted| {
            wanted.info.destination.as_deref() == Some(destination)
                && wanted.info.subscription_name.is_none()
        };
        if !self.wanted.get(&old).is_some_and(same) {
            return;
        }
        if let Some(mut before) = self.unsubscribe(old, out)
            && let Some(wanted) = self.wanted.get_mut(&new)
        {
            self.known += before.consumers.len();
            wanted.fixed |= before.fixed;
            wanted.consumers.extend(before.consumers.drain());
        }
    }

    fn consumer_went(&mut self, id: &ConsumerId, out: &mut Vec<Change>) {
        let of: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.consumers.contains(id))
            .map(|(at, _)| *at)
            .collect();
        for at in of {
            let Some(wanted) = self.wanted.get_mut(&at) else { continue };
            self.known -= usize::from(wanted.consumers.remove(id));
            // A durable subscription there wants its messages also while its consumer is away.
            let lasts = wanted.info.subscription_name.is_some() && !self.options.dynamic_only;
            if wanted.consumers.is_empty() && !wanted.fixed && !lasts {
                self.unsubscribe(at, out);
            }
        }
    }

    fn durable_ended(&mut self, info: &RemoveSubscriptionInfo, out: &mut Vec<Change>) {
        let name = (info.client_id.clone(), info.subscription_name.clone());
        let of: Vec<_> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.durables.contains(&name))
            .map(|(at, _)| *at)
            .collect();
        for at in of {
            let Some(wanted) = self.wanted.get_mut(&at) else { continue };
            self.known -= usize::from(wanted.durables.remove(&name));
            let Some(durable) = wanted.info.subscription_name.as_ref().map(ToString::to_string)
            else {
                continue;
            };
            if !wanted.durables.is_empty() {
                continue;
            }
            let Some(before) = self.unsubscribe(at, out) else { continue };
            out.push(Change::EndDurable(durable));
            let (Some(_), Some(destination)) =
                (before.consumers.iter().next(), &before.info.destination)
            else {
                continue;
            };
            let destination = (**destination).clone();
            let at = self.subscribe(&ConsumerInfo::default(), destination, None, false, out);
            if let Some(wanted) = self.wanted.get_mut(&at) {
                self.known += before.consumers.len();
                wanted.consumers = before.consumers;
            }
        }
    }

    fn destination_changed(&mut self, info: &DestinationInfo, out: &mut Vec<Change>) {
        let Some(destination) = &info.destination else { return };
        let path = info.broker_path.clone().unwrap_or_default();
        let far = self.options.consumer_ttl.is_some_and(|limit| path.len() >= limit as usize);
        let ours = path.iter().flatten().any(|id| *id == *self.ends.local_id);
        if !destination.is_temporary() || far || ours || !self.options.permits(destination) {
            return;
        }
        if info.operation_type == REMOVED {
            for at in self.by_name.get(&**destination).cloned().unwrap_or_default() {
                self.unsubscribe(at, out);
            }
            out.push(Change::Unmirror(Arc::clone(destination)));
        } else if self.covering(destination).is_empty() && self.known < CONSUMERS_MAX {
            let mut path = path;
            path.push(Some((*self.ends.remote_id).clone()));
            out.push(Change::Mirror(Arc::clone(destination), path));
            self.known += 1;
            let told =
                ConsumerInfo { broker_path: info.broker_path.clone(), ..ConsumerInfo::default() };
            self.subscribe(&told, (**destination).clone(), None, true, out);
        }
    }

    /// The subscriptions that bring what is sent to `destination`.
    fn covering(&self, destination: &Destination) -> Vec<i64> {
        let mut found = self.by_name.get(destination).cloned().unwrap_or_default();
        found.extend(self.patterns.iter().filter(|at| {
            let of = self.wanted.get(at).and_then(|wanted| wanted.info.destination.as_deref());
            of.is_some_and(|pattern| covers(pattern, destination))
        }));
        found
    }

    fn durable_name(&self, destination: &Destination) -> String {
        format!("{DURABLE_PREFIX}{}_{}", self.ends.local_name, destination.name())
    }

    fn subscribe(
        &mut self,
        told: &ConsumerInfo,
        destination: Destination,
        durable: Option<String>,
        fixed: bool,
        out: &mut Vec<Change>,
    ) -> i64 {
        let at = self.number();
        let info = Arc::new(self.local_info(at, told, &destination, durable));
        out.push(Change::Subscribe(Arc::clone(&info)));
        if destination.is_pattern() {
            self.patterns.push(at);
        } else {
            self.by_name.entry(destination).or_default().push(at);
        }
        let (consumers, durables) = Default::default();
        self.wanted.insert(at, Wanted { info, consumers, durables, fixed });
        at
    }

    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    /// The same subscription as another consumer, after the peer refused what the one before brought.
    pub fn renew(&mut self, id: &ConsumerId) -> Option<Arc<ConsumerInfo>> {
        let at = id.value;
        let mut wanted = self.wanted.remove(&at)?;
        let new = self.number();
        let mut info = (*wanted.info).clone();
        info.consumer_id = Some(Arc::new(ConsumerId::new(self.connection.clone(), 1, new)));
        wanted.info = Arc::new(info);
        let renewed = Arc::clone(&wanted.info);
        self.wanted.insert(new, wanted);
        let named = self.by_name.values_mut().flatten();
        named.chain(&mut self.patterns).filter(|it| **it == at).for_each(|it| *it = new);
        Some(renewed)
    }

    fn unsubscribe(&mut self, at: i64, out: &mut Vec<Change>) -> Option<Wanted> {
        let wanted = self.wanted.remove(&at)?;
        self.known = self.known.saturating_sub(wanted.consumers.len() + wanted.durables.len());
        self.patterns.retain(|it| *it != at);
        if let Some(destination) = &wanted.info.destination
            && let Some(named) = self.by_name.get_mut(&**destination)
        {
            named.retain(|it| *it != at);
            if named.is_empty() {
                self.by_name.remove(&**destination);
            }
        }
        out.extend(wanted.info.consumer_id.clone().map(Change::Unsubscribe));
        Some(wanted)
    }

    /// The consumer here that stands for `told` there.
    fn local_info(
        &self,
        at: i64,
        told: &ConsumerInfo,
        destination: &Destination,
        durable: Option<String>,
    ) -> ConsumerInfo {
        let options = &self.options;
        let mut path = told.broker_path.clone().unwrap_or_default();
        path.push(Some((*self.ends.remote_id).clone()));
        let mut priority = 0;
        if options.decrease_network_consumer_priority {
            // The longer the way to the consumer, the later it is served.
            let farther = if path.len() > 1 { path.len() + 1 } else { 0 };
            priority = options.consumer_priority_base - i32::try_from(farther).unwrap_or(i32::MAX);
        }
        let ttl = |ttl: Option<u32>| ttl.map_or(-1, |hops| i32::try_from(hops).unwrap_or(i32::MAX));
        let mut consumers = told.network_consumer_path.clone().unwrap_or_default();
        consumers.extend(told.consumer_id.as_deref().cloned().map(Some));
        let selective = !options.conduit_subscriptions && durable.is_none();
        ConsumerInfo {
            consumer_id: Some(Arc::new(ConsumerId::new(self.connection.clone(), 1, at))),
            destination: Some(Arc::new(destination.clone())),
            prefetch_size: i32::try_from(options.prefetch_size).unwrap_or(i32::MAX),
            dispatch_async: options.dispatch_async,
            selector: told.selector.clone().filter(|_| selective),
            subscription_name: durable.map(Text::from),
            priority: i8::try_from(priority.clamp(i8::MIN.into(), i8::MAX.into())).unwrap_or(0),
            broker_path: Some(path),
            network_subscription: true,
            network_consumer_path: Some(consumers).filter(|ids| !ids.is_empty()),
            additional_predicate: Some(NetworkBridgeFilter {
                network_ttl: ttl(options.message_ttl),
                network_broker_id: Some(Arc::clone(&self.ends.remote_id)),
                message_ttl: ttl(options.message_ttl),
                consumer_ttl: ttl(options.consumer_ttl),
            }),
            ..ConsumerInfo::default()
        }
    }
}

#[cfg(test)]
mod tests;
