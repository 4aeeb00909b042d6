//! The destinations by name, and who consumes from patterns of names.
//!
//! **Invariant:** the region's lock is taken before that of a destination and never after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::options::PolicyEntry;
use super::policy::Policies;
use super::queue::{Event, Moment, QueueCell};
use super::refusal::Refusal;
use super::statistics::Figures;
use super::subscription::durable::Durable;
use super::subscription::{Role, Subscription};
use super::topic::TopicCell;
use super::usage::Warned;
use crate::openwire::{ConsumerId, Destination, DestinationKind};

/// A destination of either kind.
#[derive(Debug, Clone)]
pub enum Cell {
    Queue(Arc<QueueCell>),
    Topic(Arc<TopicCell>),
}

impl Cell {
    pub fn destination(&self) -> &Arc<Destination> {
        match self {
            Self::Queue(queue) => &queue.destination,
            Self::Topic(topic) => &topic.destination,
        }
    }

    pub fn consumer_count(&self) -> usize {
        match self {
            Self::Queue(queue) => queue.consumer_count(),
            Self::Topic(topic) => topic.consumer_count(),
        }
    }

    pub fn figures(&self) -> Figures {
        match self {
            Self::Queue(queue) => queue.figures(),
            Self::Topic(topic) => topic.figures(),
        }
    }

    /// When the log last said that producers are held here.
    pub fn warned(&self) -> &Warned {
        match self {
            Self::Queue(queue) => &queue.warned,
            Self::Topic(topic) => &topic.warned,
        }
    }

    /// Counts a producer that came (1) or went (-1); returns how many there are.
    pub fn producers(&self, change: i32) -> i32 {
        match self {
            Self::Queue(queue) => queue.producers(change),
            Self::Topic(topic) => topic.producers(change),
        }
    }
}

/// Destinations of a kind that a broker keeps; one more is refused.
const DESTINATIONS_MAX: usize = 1 << 20;
/// Bytes of a destination's name.
const NAME_BYTES_MAX: usize = 4096;

/// All destinations of the broker.
#[derive(Debug)]
pub struct Region {
    policies: Policies,
    state: RwLock<State>,
    /// Counts how often a queue came or went.
    queue_generation: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queues: Cells,
    topics: Cells,
    temp_queues: Cells,
    temp_topics: Cells,
    /// Consumers of patterns; they join every destination that comes to fit.
    patterns: Vec<(Destination, Arc<Subscription>)>,
    durable_patterns: Vec<(Destination, Arc<Durable>)>,
}

type Cells = HashMap<Arc<Destination>, Cell>;

/// A destination that was looked up, and whether that made it.
#[derive(Debug)]
pub struct Found {
    pub cell: Cell,
    pub created: bool,
}

impl Region {
    pub fn new(policies: Policies) -> Self {
        Self { policies, state: RwLock::default(), queue_generation: AtomicU64::new(0) }
    }

    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    pub fn get(&self, destination: &Destination) -> Option<Cell> {
        self.state.read().of(destination.class).get(destination).cloned()
    }

    /// The destination, made by `make` if need be. Temporary ones are made by their connection only
    /// (`create_temporary`).
    ///
    /// # Errors
    /// There is no such temporary destination, or the policy allows no more destinations.
    pub fn ensure(
        &self,
        destination: &Arc<Destination>,
        create_temporary: bool,
        moment: Moment<'_>,
        make: impl FnOnce(Arc<PolicyEntry>) -> Cell,
    ) -> Result<Found, Refusal> {
        if let Some(cell) = self.get(destination) {
            return Ok(Found { cell, created: false });
        }
        if destination.is_temporary() && !create_temporary {
            let destination = (**destination).clone();
            return Err(Refusal::DestinationDoesNotExist { destination });
        }
        let mut state = self.state.write();
        if let Some(cell) = state.of(destination.class).get(destination) {
            return Ok(Found { cell: cell.clone(), created: false });
        }
        let policy = self.policies.entry_for(destination);
        check_name(destination)?;
        state.check_number(destination, &self.policies)?;
        let cell = make(policy);
        for (pattern, subscription) in &state.patterns {
            if pattern.matches(destination) {
                join(&cell, subscription, moment);
            }
        }
        if let Cell::Topic(topic) = &cell {
            let fits =
                state.durable_patterns.iter().filter(|(pattern, _)| pattern.matches(destination));
            fits.for_each(|(_, durable)| topic.add_durable(Arc::clone(durable)));
        }
        state.of_mut(destination.class).insert(Arc::clone(destination), cell.clone());
        self.queues_changed(destination);
        Ok(Found { cell, created: true })
    }

    /// The destinations that fit a pattern.
    pub fn matching(&self, pattern: &Destination) -> Vec<Cell> {
        self.state.read().matching(pattern)
    }

    /// Every destination of a kind.
    pub fn all(&self, kind: DestinationKind) -> Vec<Cell> {
        self.state.read().of(kind).values().cloned().collect()
    }

    /// Registers a consumer of a pattern for what will come to fit. Returns what fits now, which the
    /// caller joins: nothing is missed in between, and nothing is joined twice.
    pub fn join_pattern(&self, pattern: &Destination, consumer: &Arc<Subscription>) -> Vec<Cell> {
        let mut state = self.state.write();
        state.patterns.push((pattern.clone(), Arc::clone(consumer)));
        state.matching(pattern)
    }

    /// Puts a durable subscription of a pattern on the topics that fit now or later.
    pub fn join_durable_pattern(&self, pattern: &Destination, durable: &Arc<Durable>) {
        let mut state = self.state.write();
        state.durable_patterns.push((pattern.clone(), Arc::clone(durable)));
        for cell in state.matching(pattern) {
            if let Cell::Topic(topic) = cell {
                topic.add_durable(Arc::clone(durable));
            }
        }
    }

    /// Forgets a consumer's patterns. Returns every destination that fits one of them.
    pub fn leave_patterns(&self, id: &Arc<ConsumerId>) -> Vec<Cell> {
        if self.state.read().patterns.is_empty() {
            return Vec::new();
        }
        let mut state = self.state.write();
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut state.patterns)
            .into_iter()
            .partition(|(_, consumer)| consumer.id == *id);
        state.patterns = kept;
        gone.iter().flat_map(|(pattern, _)| state.matching(pattern)).collect()
    }

    /// Takes a durable subscription off every topic.
    pub fn leave_durable(&self, durable: &Arc<Durable>) {
        let mut state = self.state.write();
        state.durable_patterns.retain(|(_, other)| !Arc::ptr_eq(other, durable));
        for cell in state.topics.values() {
            if let Cell::Topic(topic) = cell {
                topic.remove_durable(durable);
            }
        }
    }

    /// The pattern consumers that would hear of a topic that does not exist.
    pub fn pattern_consumers(&self, topic: &Destination) -> Vec<Arc<Subscription>> {
        let state = self.state.read();
        let fits = state.patterns.iter().filter(|(pattern, _)| pattern.matches(topic));
        fits.map(|(_, consumer)| Arc::clone(consumer)).collect()
    }

    /// Takes a destination out. What it held is for the caller to drop.
    pub fn remove(&self, destination: &Destination) -> Option<Cell> {
        let mut state = self.state.write();
        let removed = state.of_mut(destination.class).remove(destination);
        self.queues_changed(destination);
        removed
    }

    /// Takes a destination out if it is idle.
    pub fn remove_idle(
        &self,
        destination: &Destination,
        is_idle: impl FnOnce(&Cell) -> bool,
    ) -> Option<Cell> {
        let mut state = self.state.write();
        let cells = state.of_mut(destination.class);
        let removed = cells.get(destination).is_some_and(is_idle);
        let removed = removed.then(|| cells.remove(destination)).flatten();
        self.queues_changed(destination);
        removed
    }

    fn queues_changed(&self, destination: &Destination) {
        if destination.class == DestinationKind::Queue {
            self.queue_generation.fetch_add(1, Ordering::Release);
        }
    }

    /// As long as this stays, no queue comes or goes.
    pub fn queue_generation(&self) -> u64 {
        self.queue_generation.load(Ordering::Acquire)
    }

    /// The queues that fit a pattern, where the name of a queue may be a pattern, too.
    pub fn overlapping_queues(&self, pattern: &Destination) -> Vec<Arc<QueueCell>> {
        let state = self.state.read();
        let fits = state.queues.iter().filter(|(name, _)| pattern.overlaps(name));
        let queues = fits.filter_map(|(_, cell)| match cell {
            Cell::Queue(queue) => Some(Arc::clone(queue)),
            Cell::Topic(_) => None,
        });
        queues.collect()
    }
}

impl State {
    fn of(&self, kind: DestinationKind) -> &Cells {
        match kind {
            DestinationKind::Queue => &self.queues,
            DestinationKind::Topic => &self.topics,
            DestinationKind::TempQueue => &self.temp_queues,
            DestinationKind::TempTopic => &self.temp_topics,
        }
    }

    fn of_mut(&mut self, kind: DestinationKind) -> &mut Cells {
        match kind {
            DestinationKind::Queue => &mut self.queues,
            DestinationKind::Topic => &mut self.topics,
            DestinationKind::TempQueue => &mut self.temp_queues,
            DestinationKind::TempTopic => &mut self.temp_topics,
        }
    }

    fn matching(&self, pattern: &Destination) -> Vec<Cell> {
        let fits = self.of(pattern.class).iter().filter(|(name, _)| pattern.matches(name));
        fits.map(|(_, cell)| cell.clone()).collect()
    }

    fn check_number(&self, destination: &Destination, policies: &Policies) -> Result<(), Refusal> {
        if self.of(destination.class).len() >= DESTINATIONS_MAX {
            return Err(Refusal::ResourceAllocation(format!(
                "{destination} is one destination too many: the broker has {DESTINATIONS_MAX}"
            )));
        }
        let Some((pattern, limit)) = policies.destinations_limit(destination) else {
            return Ok(());
        };
        if destination.is_advisory() || self.matching(pattern).len() < limit as usize {
            return Ok(());
        }
        Err(Refusal::JmsIllegalState(format!(
            "The maxmimum number of destinations allowed ({limit}) for the policy {pattern} has already \
             been reached."
        )))
    }
}

fn check_name(destination: &Destination) -> Result<(), Refusal> {
    let bytes = destination.physical_name.as_ref().map_or(0, |name| name.as_bytes().len());
    match bytes {
        0 => Err(Refusal::InvalidDestination("a destination needs a name".to_owned())),
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(Refusal::InvalidDestination(format!(
            "the name of a destination has {bytes} bytes; {NAME_BYTES_MAX} are allowed"
        ))),
    }
}

/// Adds a consumer of a pattern to a destination that is just being made.
fn join(cell: &Cell, consumer: &Arc<Subscription>, moment: Moment<'_>) {
    match (cell, &consumer.role) {
        (Cell::Queue(queue), Role::Queue(queues)) => {
            let known = |other: &Arc<QueueCell>| Arc::ptr_eq(other, queue);
            if queues.lock().iter().any(known) {
                return; // by another pattern of the same composite
            }
            queues.lock().push(Arc::clone(queue));
            let effects = queue.apply(Event::Subscribe(Arc::clone(consumer)), moment);
            debug_assert!(effects.is_some_and(|effects| effects.expired.is_empty()), "not new");
        }
        (Cell::Topic(topic), Role::Topic(_)) => topic.subscribe_first(consumer),
        // A browser sees what was there when it came; durable subscriptions join by themselves.
        (Cell::Queue(_), Role::Browser(_) | Role::Topic(_) | Role::Durable(_))
        | (Cell::Topic(_), Role::Queue(_) | Role::Browser(_) | Role::Durable(_)) => {}
    }
}
