//! Virtual destinations: what is sent to one destination and is copied to others.
//!
//! ```text
//!                     mirrored queue   -> a copy on its mirror topic
//!  message for D -->  composite D      -> a copy to each target whose filter wants it
//!                     virtual topic D  -> a copy in each queue `prefix D postfix` that is there
//!                     D itself, unless a composite only forwards
//! ```
//!
//! A copy goes the whole way of a message again, so that what is forwarded may be forwarded once more.
//! This says what goes where; [`super::placing`] takes it there.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use regex::Regex;

use super::options::BrokerOptions;
use super::options::forwarding::{Composite, Interceptor, MirroredQueue, VirtualTopic};
use super::queue::QueueCell;
use super::region::Region;
use crate::openwire::{Destination, DestinationKind, Message};
use crate::selector::Delivered;

/// How often one message may be forwarded one after the other; more is a circle.
pub const FORWARDS_MAX: u32 = 16;

/// Topics of which one virtual topic remembers the queues.
const FAN_OUTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// What is copied where.
#[derive(Debug, Default)]
pub struct Forwarding {
    queues: Vec<Composite>,
    topics: Vec<Composite>,
    virtual_topics: Vec<Virtual>,
    mirrors: Vec<MirroredQueue>,
    /// Whether temporary queues are mirrored, too.
    mirror_temporary: bool,
}

/// A virtual topic, with what it knows of its queues.
#[derive(Debug)]
pub struct Virtual {
    pub options: VirtualTopic,
    pattern: Destination,
    /// What the name of a queue of it fits, with the topic's name in brackets.
    queue_name: Option<Regex>,
    /// The queues of a topic, as they were at a state of the region.
    fan_outs: Mutex<LruCache<Arc<Destination>, FanOut>>,
}

#[derive(Debug, Clone)]
struct FanOut {
    generation: u64,
    queues: Arc<[Arc<QueueCell>]>,
}

impl Forwarding {
    pub fn new(options: &BrokerOptions) -> Self {
        let mut forwarding =
            Self { mirror_temporary: options.use_temp_mirrored_queues, ..Self::default() };
        let interceptors = options.destination_interceptors.clone();
        for interceptor in interceptors.unwrap_or_else(|| by_default(options)) {
            match interceptor {
                Interceptor::VirtualTopic(options) => {
                    forwarding.virtual_topics.push(Virtual::new(options));
                }
                Interceptor::Composite(composite) if composite.destination.is_queue() => {
                    forwarding.queues.push(composite);
                }
                Interceptor::Composite(composite) => forwarding.topics.push(composite),
                Interceptor::Mirrored(mirror) => forwarding.mirrors.push(mirror),
            }
        }
        forwarding
    }

    /// Whether anything is copied that is sent to `destination`.
    pub fn concerns(&self, destination: &Destination) -> bool {
        self.composites(destination).next().is_some()
            || self.virtual_topics(destination).next().is_some()
            || self.mirrors(destination).next().is_some()
    }

    /// The composites of this name.
    pub fn composites<'a>(
        &'a self,
        destination: &'a Destination,
    ) -> impl Iterator<Item = &'a Composite> {
        let all = match destination.class {
            DestinationKind::Queue => self.queues.as_slice(),
            DestinationKind::Topic => self.topics.as_slice(),
            DestinationKind::TempQueue | DestinationKind::TempTopic => &[],
        };
        all.iter().filter(|composite| composite.destination.matches(destination))
    }

    /// The virtual topics that `destination` is one of.
    pub fn virtual_topics<'a>(
        &'a self,
        destination: &'a Destination,
    ) -> impl Iterator<Item = &'a Virtual> {
        let plain = !destination.is_advisory();
        self.virtual_topics.iter().filter(move |it| plain && it.pattern.matches(destination))
    }

    /// The topics on which a queue is mirrored.
    pub fn mirrors<'a>(
        &'a self,
        destination: &'a Destination,
    ) -> impl Iterator<Item = Destination> + 'a {
        let mirrored =
            destination.is_queue() && (self.mirror_temporary || !destination.is_temporary());
        let all = self.mirrors.iter().filter(move |_| mirrored);
        all.map(|mirror| {
            let MirroredQueue { prefix, postfix, .. } = mirror;
            Destination::topic(&format!("{prefix}{}{postfix}", destination.name()))
        })
    }

    /// The virtual topics that are copied to this queue.
    pub fn topics_of<'a>(
        &'a self,
        queue: &'a Destination,
    ) -> impl Iterator<Item = Destination> + 'a {
        let plain = queue.class == DestinationKind::Queue;
        self.virtual_topics.iter().filter(move |_| plain).filter_map(|it| it.topic_of(queue))
    }

    /// The virtual destinations whose copies a consumer of `destination` gets, each once.
    pub fn copied_to(&self, destination: &Destination) -> Vec<Destination> {
        let mut found = Vec::new();
        for member in destination.members() {
            let aims =
                |it: &&Composite| it.forward_to.iter().any(|to| to.destination.overlaps(&member));
            let composites = self.queues.iter().chain(&self.topics).filter(aims);
            let topics =
                self.virtual_topics.iter().filter(|_| member.class == DestinationKind::Queue);
            let all = composites
                .map(|it| it.destination.clone())
                .chain(topics.filter_map(|it| it.topics_of(&member)));
            found.extend(all.filter(|it| !it.is_advisory()));
        }
        let mut seen = HashSet::new();
        found.retain(|it| seen.insert(it.clone()));
        found
    }

    /// Whether a consumer of the queues `pattern` is to have a queue of that very name: what is published
    /// to a topic that has no queue yet waits for it there.
    pub fn wants_queue_named(&self, pattern: &Destination) -> bool {
        let of = |it: &Virtual| Destination::queue(&format!("{}>", it.options.prefix));
        pattern.class == DestinationKind::Queue
            && pattern.is_pattern()
            && self.virtual_topics.iter().any(|it| of(it).matches(pattern))
    }
}

/// What ActiveMQ forwards when nothing is configured.
fn by_default(options: &BrokerOptions) -> Vec<Interceptor> {
    let topics = options.use_virtual_topics.then(|| Interceptor::VirtualTopic(Default::default()));
    let mirror = options.use_mirrored_queues.then(|| Interceptor::Mirrored(Default::default()));
    topics.into_iter().chain(mirror).collect()
}

impl Virtual {
    fn new(options: VirtualTopic) -> Self {
        let pattern = Destination::topic(&options.name);
        let part = |text: &str| regex::escape(text).replace(r"\*", "[^.]*");
        let (prefix, postfix) = (part(&options.prefix), part(&options.postfix));
        let queue_name = Regex::new(&format!("^{prefix}(.*){postfix}$")).ok();
        Self { options, pattern, queue_name, fan_outs: Mutex::new(LruCache::new(FAN_OUTS_MAX)) }
    }

    /// The topic that is copied to a queue of this name.
    fn topic_of(&self, queue: &Destination) -> Option<Destination> {
        self.named_in(queue).filter(|topic| self.pattern.matches(topic))
    }

    /// The topic in the name of a queue.
    fn named_in(&self, queue: &Destination) -> Option<Destination> {
        let name = queue.name();
        let topic = self.queue_name.as_ref()?.captures(&name)?.get(1)?;
        Some(Destination::topic(topic.as_str()))
    }

    /// The topics that are copied to the queues of this name, which may be a pattern.
    fn topics_of(&self, queues: &Destination) -> Option<Destination> {
        let topics = self.named_in(queues)?;
        if self.pattern.matches(&topics) {
            return Some(topics);
        }
        topics.overlaps(&self.pattern).then(|| self.pattern.clone())
    }

    /// The queues that a topic is copied to.
    pub fn queues(&self, topic: &Arc<Destination>, region: &Region) -> Arc<[Arc<QueueCell>]> {
        let generation = region.queue_generation();
        let known = self.fan_outs.lock().get(topic).cloned();
        if let Some(known) = known.filter(|known| known.generation == generation) {
            return known.queues;
        }
        let VirtualTopic { prefix, postfix, .. } = &self.options;
        let pattern = Destination::queue(&format!("{prefix}{}{postfix}", topic.name()));
        let fits = region.overlapping_queues(&pattern).into_iter();
        let beginning = self.beginning();
        let queues = fits.filter(|queue| queue.destination.name().starts_with(beginning)).collect();
        let fan_out = FanOut { generation, queues };
        self.fan_outs.lock().push(Arc::clone(topic), fan_out.clone());
        fan_out.queues
    }

    /// What all names of its queues begin with: the prefix up to its first `.*`.
    fn beginning(&self) -> &str {
        let prefix = self.options.prefix.as_str();
        match prefix.split_once(".*") {
            Some((beginning, _)) if !prefix.starts_with('*') => beginning,
            _ => "",
        }
    }

    /// Whether a queue is to have a copy of `message`, which names that queue as its destination.
    pub fn is_for(&self, queue: &QueueCell, message: &Message) -> bool {
        !self.options.selector_aware || queue.has_consumer_for(message)
    }
}

impl Composite {
    /// Where `message` is forwarded.
    pub fn targets<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a Destination> {
        let wanted = |selector: &crate::selector::Selector| {
            let redelivery_counter = message.redelivery_counter;
            selector.matches(&Delivered { message, redelivery_counter })
        };
        let targets = self.forward_to.iter();
        let targets = targets.filter(move |to| to.selector.as_ref().is_none_or(wanted));
        targets.map(|to| &to.destination)
    }

    /// Whether the message stays here, too, when it was forwarded to so many.
    pub fn keeps(&self, forwarded: usize) -> bool {
        if self.send_when_not_matched { forwarded == 0 } else { !self.forward_only }
    }
}
