//! Consumers of what virtual destinations copy to, told as consumers of the virtual destinations: so a bridge
//! with `useVirtualDestSubs` brings what a peer's clients send to those.
//!
//! ```text
//!  consumer of Consumer.A.VirtualTopic.T -> ….VirtualDestination.Consumer.Topic.VirtualTopic.T
//!  consumer of a target of composite C   -> ….VirtualDestination.Consumer.Queue.C
//!  such a queue that is there            -> the same, by a consumer that is none
//! ```
//!
//! The last is `useVirtualDestSubsOnCreation`. Nothing is remembered: what is told of a consumer or a queue
//! that goes follows from its name, as what was told when it came.

use std::sync::Arc;

use super::Broker;
use super::advisory::{Advisory, path_of};
use super::client::removal_of;
use super::region::Cell;
use crate::openwire::{Command, ConsumerId, ConsumerInfo, Destination, DestinationKind};

/// The section of these advisories.
pub(super) const SECTION: &str = "VirtualDestination";

impl Broker {
    /// Tells of a consumer of `destination` what [`Broker::consumers_changed`] tells.
    pub(super) fn virtual_consumers_changed(&self, destination: &Destination, data: &Command) {
        if !self.options.use_virtual_dest_subs {
            return;
        }
        for of in self.forwarding.copied_to(destination) {
            self.tell_virtual(&of, data);
        }
    }

    fn tell_virtual(&self, of: &Destination, data: &Command) {
        if let Some(data) = as_consumer_of(of, data) {
            self.tell(|| self.virtual_advisory(of, data));
        }
    }

    fn virtual_advisory(&self, of: &Destination, data: Command) -> Advisory {
        let plain = self.consumer_advisory(of, data);
        Advisory { topic: format!("{SECTION}.Consumer.{}", path_of(of)), ..plain }
    }

    /// Whether the queues that virtual destinations copy to count as wanted while they are there.
    fn counts_queues(&self) -> bool {
        self.options.use_virtual_dest_subs && self.options.use_virtual_dest_subs_on_creation
    }

    /// Tells of a queue that has come, or is `gone`.
    pub(super) fn virtual_queue_changed(&self, queue: &Destination, gone: bool) {
        if self.counts_queues() {
            for (of, info) in self.stand_ins(queue) {
                let id = info.consumer_id.clone().map(Command::ConsumerId).filter(|_| gone);
                let data = id.map_or_else(|| info.into(), |id| removal_of(id).into());
                self.tell_virtual(&of, &data);
            }
        }
    }

    /// The consumers that are told of for a queue that is there, each with the virtual destination of it.
    fn stand_ins(&self, queue: &Destination) -> Vec<(Destination, ConsumerInfo)> {
        if queue.class != DestinationKind::Queue {
            return Vec::new();
        }
        let connection = format!("{}:{}", self.advisories.connection_id(), queue.name());
        let stand_in = |(number, of)| {
            let id = ConsumerId::new(connection.as_str(), -1, number);
            let consumer_id = Some(Arc::new(id));
            (of, ConsumerInfo { consumer_id, ..ConsumerInfo::default() })
        };
        (1..).zip(self.forwarding.copied_to(queue)).map(stand_in).collect()
    }

    /// All that was told and still holds; `consumers` are all consumers.
    pub(super) fn present_virtual_consumers(
        &self,
        consumers: &[Arc<ConsumerInfo>],
    ) -> Vec<Advisory> {
        if !self.options.use_virtual_dest_subs {
            return Vec::new();
        }
        let mut all = Vec::new();
        let mut add = |of: Destination, data: Command| {
            all.extend(as_consumer_of(&of, &data).map(|data| self.virtual_advisory(&of, data)));
        };
        for info in consumers {
            let destination = info.destination.as_deref().filter(|it| !it.is_advisory());
            for of in destination.map(|it| self.forwarding.copied_to(it)).unwrap_or_default() {
                add(of, Command::ConsumerInfo(Arc::clone(info)));
            }
        }
        if self.counts_queues() {
            let queues = self.region.all(DestinationKind::Queue);
            for queue in queues.iter().map(Cell::destination) {
                for (of, info) in self.stand_ins(queue) {
                    add(of, info.into());
                }
            }
        }
        all
    }
}

/// What is told of a consumer, as if it were one of the virtual destination `of`. Queues have no durable
/// subscriptions, and so no end of one.
fn as_consumer_of(of: &Destination, data: &Command) -> Option<Command> {
    if let Command::ConsumerInfo(info) = data {
        let subscription_name = info.subscription_name.clone().filter(|_| of.is_topic());
        let destination = Some(Arc::new(of.clone()));
        return Some(ConsumerInfo { destination, subscription_name, ..(**info).clone() }.into());
    }
    let ends = matches!(data, Command::RemoveSubscriptionInfo(_));
    (of.is_topic() || !ends).then(|| data.clone())
}
