//! What ties the destinations to the stores: who is told what, and what follows from an event.
//!
//! ```text
//!  event -> destination (locked) -> Effects -> [ records of one group ] -> journal -> Ticket
//!                                      |-> bodies to read -> reader thread -> Event::Fetched
//!                                      +-> expired -> dead letters
//! ```

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use super::Broker;
use super::backlog::{Keeper, Page};
use super::queue::{Effects, Event, QueueCell, Removed};
use super::subscription::Subscription;
use super::subscription::durable::{self, Durable, DurableKey};
use super::timer::Due;
use crate::openwire::{ConsumerInfo, Destination, Message};
use crate::store::temporary::Temporary;
use crate::store::{
    Add, Entry, Fetched, Group, Journal, Key, Location, Owner, OwnerId, OwnerRecord, Pressure,
    Ticket, Turn,
};

/// Where messages are kept besides memory.
#[derive(Debug, Default)]
pub struct Stores {
    /// Everything that is to be there after a restart.
    pub journal: Option<Journal>,
    /// Non-persistent messages that memory cannot hold.
    pub temporary: Option<Temporary>,
    /// Queue messages may be given out before they are stored (`concurrentStoreAndDispatchQueues`).
    pub dispatch_queues_first: bool,
    /// The same for durable subscriptions (`concurrentStoreAndDispatchTopics`).
    pub dispatch_topics_first: bool,
    /// Bytes of the journal at which producers of persistent messages are held (`storeUsage`).
    pub store_limit_bytes: u64,
    /// Bytes that the temporary store may take (`tempUsage`).
    pub temp_limit_bytes: u64,
}

/// What there is room for in the temporary store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemporaryRoom {
    Free,
    /// It takes more, but who can wait should.
    Congested,
    /// There is soon.
    Opening,
    /// There is no such store, or `tempUsage` or the disk is used up.
    Nothing,
}

impl Stores {
    /// A name for what holds `destination`, where that is stored: temporary and advisory destinations
    /// are not. It is in the journal before anybody can send to it.
    pub fn owner_of(&self, destination: &Destination) -> Option<OwnerId> {
        let journal = self.journal.as_ref()?;
        if destination.is_temporary() || destination.is_advisory() {
            return None;
        }
        let id = journal.next_owner();
        let record = OwnerRecord::Destination(destination.clone());
        let _ticket =
            journal.append(Group { entries: vec![Entry::Owner { id, record }], wanted: false });
        Some(id)
    }

    /// A name for a durable subscription.
    pub fn durable_owner(&self, key: &DurableKey, info: &ConsumerInfo) -> Option<OwnerId> {
        let journal = self.journal.as_ref()?;
        let id = journal.next_owner();
        let record = OwnerRecord::Durable {
            client_id: key.client_id.clone(),
            name: key.name.clone(),
            info: Box::new(info.clone()),
        };
        let _ticket =
            journal.append(Group { entries: vec![Entry::Owner { id, record }], wanted: false });
        Some(id)
    }

    /// Whether a queue gives out what is not stored yet; without a journal there is nothing to wait for.
    pub fn queues_store_first(&self) -> bool {
        self.journal.is_some() && !self.dispatch_queues_first
    }

    pub fn topics_store_first(&self) -> bool {
        self.journal.is_some() && !self.dispatch_topics_first
    }

    /// What the temporary store can do for messages that memory is too short for. The first who asks has
    /// it opened.
    pub fn temporary_room(&self) -> TemporaryRoom {
        let Some(temporary) = &self.temporary else { return TemporaryRoom::Nothing };
        match temporary.opened() {
            None if temporary.has_failed() => TemporaryRoom::Nothing,
            None => TemporaryRoom::Opening,
            Some(store) if store.written_bytes() >= self.temp_limit_bytes => TemporaryRoom::Nothing,
            Some(store) => match store.pressure() {
                Pressure::Free => TemporaryRoom::Free,
                Pressure::Congested => TemporaryRoom::Congested,
                Pressure::Full => TemporaryRoom::Nothing,
            },
        }
    }

    /// Whether the temporary store takes more.
    pub fn has_temporary_room(&self) -> bool {
        matches!(self.temporary_room(), TemporaryRoom::Free | TemporaryRoom::Congested)
    }

    /// Bytes that the temporary store takes.
    pub fn temporary_bytes(&self) -> u64 {
        let store = self.temporary.as_ref().and_then(Temporary::opened);
        store.map_or(0, |store| store.written_bytes())
    }

    fn of(&self, keeper: Keeper) -> Option<&Journal> {
        match keeper {
            Keeper::Memory => None,
            Keeper::Journal => self.journal.as_ref(),
            Keeper::Temporary => self.temporary.as_ref().and_then(Temporary::journal),
        }
    }

    /// Where the journal lies, for messages about it.
    pub fn directory(&self) -> Option<&Path> {
        self.journal.as_ref().map(Journal::directory)
    }

    /// Writes what waits and closes both.
    pub fn close(&self) {
        if let Some(journal) = &self.journal {
            journal.close();
        }
        if let Some(temporary) = &self.temporary {
            temporary.close();
        }
    }
}

/// A queue, durable subscription or topic consumer as one of the stores knows it.
#[derive(Debug)]
pub struct Side {
    keeper: Keeper,
    owner: OwnerId,
    holder: Holder,
    broker: Weak<Broker>,
}

#[derive(Debug)]
enum Holder {
    Queue(Weak<QueueCell>),
    Durable(Weak<Durable>),
    /// A topic consumer, by what the temporary store has for it.
    Spool(Weak<Subscription>),
}

impl Owner for Side {
    fn placed(&self, placed: &[(Key, Location)]) -> u64 {
        let all = || placed.iter().map(|(_, at)| u64::from(at.bytes)).sum();
        let Some(broker) = self.broker.upgrade() else { return all() };
        let short = broker.is_memory_short();
        let (dead, freed, waited) = match &self.holder {
            Holder::Queue(queue) => {
                let Some(queue) = queue.upgrade() else { return all() };
                let (dead, freed) = queue.placed(self.keeper, placed, short);
                (dead, freed, queue.stores_first())
            }
            Holder::Durable(durable) => {
                let Some(durable) = durable.upgrade() else { return all() };
                let (dead, freed) = durable.placed(self.keeper, placed, short);
                (dead, freed, durable.stores_first())
            }
            Holder::Spool(consumer) => {
                let Some(consumer) = consumer.upgrade() else { return all() };
                let (dead, freed) = consumer.spool_placed(placed, short);
                (dead, freed, false)
            }
        };
        broker.memory.free(freed);
        if waited {
            self.tell(&broker, Event::Stored, durable::Event::Stored);
        }
        dead
    }

    fn holds(&self, key: Key, at: Location) -> bool {
        match &self.holder {
            Holder::Queue(queue) => {
                queue.upgrade().is_some_and(|queue| queue.holds(self.keeper, key, at))
            }
            Holder::Durable(durable) => {
                durable.upgrade().is_some_and(|durable| durable.holds(self.keeper, key, at))
            }
            Holder::Spool(consumer) => {
                consumer.upgrade().is_some_and(|consumer| consumer.spool_holds(key, at))
            }
        }
    }

    fn fetched(&self, fetched: Vec<(Key, Fetched)>) {
        let Some(broker) = self.broker.upgrade() else { return };
        match &self.holder {
            Holder::Queue(queue) => {
                if let Some(queue) = queue.upgrade() {
                    let short = broker.is_memory_short();
                    broker.apply(&queue, Event::Fetched { page: fetched, short });
                }
            }
            Holder::Durable(durable) => {
                if let Some(durable) = durable.upgrade() {
                    broker.apply_durable(&durable, durable::Event::Fetched(fetched));
                }
            }
            Holder::Spool(consumer) => {
                if let Some(consumer) = consumer.upgrade() {
                    consumer.spool_fetched(fetched, &broker);
                }
            }
        }
    }
}

impl Side {
    fn tell(&self, broker: &Arc<Broker>, queue_event: Event, durable_event: durable::Event) {
        match &self.holder {
            Holder::Queue(queue) => {
                if let Some(queue) = queue.upgrade() {
                    broker.apply(&queue, queue_event);
                }
            }
            Holder::Durable(durable) => {
                if let Some(durable) = durable.upgrade() {
                    broker.apply_durable(&durable, durable_event);
                }
            }
            Holder::Spool(_) => {}
        }
    }
}

impl Broker {
    /// Has the journal tell a queue what concerns it.
    pub(super) fn introduce(&self, queue: &Arc<QueueCell>) {
        if let (Some(journal), Some(owner)) = (&self.stores.journal, queue.owner) {
            let [side, _] = &queue.sides;
            let holder = Holder::Queue(Arc::downgrade(queue));
            self.introduce_side(side, Keeper::Journal, owner, holder, journal);
        }
    }

    fn introduce_side(
        &self,
        place: &OnceLock<Arc<Side>>,
        keeper: Keeper,
        owner: OwnerId,
        holder: Holder,
        store: &Journal,
    ) -> Arc<Side> {
        let side = place.get_or_init(|| {
            let side = Arc::new(Side { keeper, owner, holder, broker: self.this.clone() });
            let weak: Weak<Side> = Arc::downgrade(&side);
            store.register(owner, weak);
            side
        });
        Arc::clone(side)
    }

    /// Has the journal tell a durable subscription what concerns it.
    pub(super) fn introduce_durable(&self, durable: &Arc<Durable>) {
        if let (Some(journal), Some(owner)) = (&self.stores.journal, durable.owner) {
            let holder = Holder::Durable(Arc::downgrade(durable));
            let [side, _] = &durable.sides;
            self.introduce_side(side, Keeper::Journal, owner, holder, journal);
        }
    }

    /// Appends what a group has collected.
    pub(super) fn append(&self, group: Group) -> Ticket {
        match &self.stores.journal {
            Some(journal) if !group.entries.is_empty() => journal.append(group),
            _ => Ticket::done(),
        }
    }

    /// The promise that everything appended so far is durable, where somebody waits for it.
    pub(super) fn written(&self, wanted: bool) -> Ticket {
        match &self.stores.journal {
            Some(journal) if wanted => journal.append(Group { wanted, ..Group::default() }),
            _ => Ticket::done(),
        }
    }

    /// The journal's writer, for a connection that would wait for it alone.
    pub fn may_write(&self) -> Option<Turn<'_>> {
        self.stores.journal.as_ref()?.may_write()
    }

    /// Does what follows from an event on a queue. Records go to `group`, for the caller to append.
    pub(super) fn carry_out(&self, queue: &Arc<QueueCell>, effects: Effects, group: &mut Group) {
        self.memory.free(effects.freed_bytes);
        self.record(queue.owner, &effects, group);
        if let Some(temporary) = self.stores.of(Keeper::Temporary) {
            self.spill(queue, temporary, &effects);
        }
        if let Some(page) = effects.page {
            self.fetch(side_of(&queue.sides, page.keeper), page);
        }
        if let Some(ms) = effects.start_ms {
            self.timer.at(ms, Due::Start(Arc::downgrade(queue)));
        }
        if let Some(ms) = effects.look_ms {
            self.timer.at(ms, Due::Look(Arc::downgrade(queue)));
        }
        for message in effects.expired {
            self.expired_on(&queue.destination, &message);
        }
        for browser in effects.browsers {
            if let Some(broker) = self.this.upgrade() {
                browser.wake(&broker);
            }
        }
        for why in effects.damaged {
            tracing::error!("a message of {} cannot be delivered: {why}", queue.destination);
        }
    }

    /// The same for a durable subscription; [`Self::spill_durables`] sees to what is spilled.
    pub(super) fn carry_out_durable(
        &self,
        durable: &Arc<Durable>,
        effects: Effects,
        group: &mut Group,
    ) {
        self.memory.free(effects.freed_bytes);
        self.record(durable.owner, &effects, group);
        self.forget_spilled(&durable.sides, effects.removed.temporary);
        if let Some(page) = effects.page {
            self.fetch(side_of(&durable.sides, page.keeper), page);
        }
        for message in effects.expired {
            if let Some(destination) = message.destination.clone() {
                self.expired_on(&destination, &message);
            }
        }
        for why in effects.damaged {
            tracing::error!(
                "a message of durable subscription {durable} cannot be delivered: {why}"
            );
        }
    }

    /// A destination or durable subscription is gone with all it held.
    pub(super) fn forget_owner(&self, owner: Option<OwnerId>, held: &Removed) {
        let Some(id) = owner else { return };
        let bytes = held.journal.iter().map(|(_, at)| u64::from(at.bytes)).sum();
        let group = Group { entries: vec![Entry::OwnerGone { id, bytes }], wanted: false };
        let _ticket = self.append(group);
    }

    /// The same of what the temporary store had of it.
    pub(super) fn forget_temporary(&self, sides: &[OnceLock<Arc<Side>>; 2], held: &Removed) {
        let [_, side] = sides;
        if let (Some(temporary), Some(side)) = (self.stores.of(Keeper::Temporary), side.get()) {
            let bytes = held.temporary.iter().map(|(_, at)| u64::from(at.bytes)).sum();
            let gone = Entry::OwnerGone { id: side.owner, bytes };
            let _ticket = temporary.append(Group { entries: vec![gone], wanted: false });
        }
    }

    fn record(&self, owner: Option<OwnerId>, effects: &Effects, group: &mut Group) {
        let Some(owner) = owner else { return };
        if !effects.removed.journal.is_empty() {
            group.entries.push(Entry::Remove { owner, keys: effects.removed.journal.clone() });
        }
        for (key, count) in &effects.redelivered {
            group.entries.push(Entry::Redelivered { owner, key: *key, count: *count });
        }
    }

    /// Moves what memory is too short for to the temporary store, and forgets what left it.
    fn spill(&self, queue: &Arc<QueueCell>, temporary: &Journal, effects: &Effects) {
        let (removed, spilled) = (&effects.removed.temporary, &effects.spilled);
        if removed.is_empty() && spilled.is_empty() {
            return;
        }
        let [_, place] = &queue.sides;
        let mut group = Group::default();
        let owner = match place.get() {
            Some(side) => side.owner,
            None => {
                let id = temporary.next_owner();
                let record = OwnerRecord::Destination((*queue.destination).clone());
                group.entries.push(Entry::Owner { id, record });
                let holder = Holder::Queue(Arc::downgrade(queue));
                self.introduce_side(place, Keeper::Temporary, id, holder, temporary).owner
            }
        };
        group.entries.extend(spilled.iter().map(|(key, message)| added(owner, *key, message)));
        if !removed.is_empty() {
            group.entries.push(Entry::Remove { owner, keys: removed.clone() });
        }
        let _ticket = temporary.append(group);
    }

    /// Gives a message to the temporary store for these durable subscriptions, each with its place there.
    pub(super) fn spill_durables(&self, message: &Arc<Message>, to: &[(Arc<Durable>, Key)]) {
        let Some(temporary) = self.stores.of(Keeper::Temporary).filter(|_| !to.is_empty()) else {
            return;
        };
        let mut group = Group::default();
        let mut owners = Vec::new();
        for (durable, key) in to {
            let [_, place] = &durable.sides;
            let owner = match place.get() {
                Some(side) => side.owner,
                None => {
                    let id = temporary.next_owner();
                    let record = OwnerRecord::Durable {
                        client_id: durable.key.client_id.clone(),
                        name: durable.key.name.clone(),
                        info: Box::new((*durable.info).clone()),
                    };
                    group.entries.push(Entry::Owner { id, record });
                    let holder = Holder::Durable(Arc::downgrade(durable));
                    self.introduce_side(place, Keeper::Temporary, id, holder, temporary).owner
                }
            };
            owners.push((owner, *key));
        }
        let message = Arc::clone(message);
        let redeliveries = u32::try_from(message.redelivery_counter).unwrap_or(0);
        group.entries.push(Entry::Add(Add { owners, message, redeliveries, due_ms: None }));
        let _ticket = temporary.append(group);
    }

    /// What left a durable subscription for good need not be in the temporary store any more.
    fn forget_spilled(&self, sides: &[OnceLock<Arc<Side>>; 2], keys: Vec<(Key, Location)>) {
        let side = side_of(sides, Keeper::Temporary);
        if let (Some(temporary), Some(side), false) =
            (self.stores.of(Keeper::Temporary), side, keys.is_empty())
        {
            let gone = Entry::Remove { owner: side.owner, keys };
            let _ticket = temporary.append(Group { entries: vec![gone], wanted: false });
        }
    }

    /// Gives a message to the temporary store for these topic consumers, each with its place there.
    pub(super) fn spool<'a>(
        &self,
        message: &Arc<Message>,
        to: impl Iterator<Item = (&'a Arc<Subscription>, Key)>,
    ) {
        let Some(temporary) = self.stores.of(Keeper::Temporary) else { return };
        let mut group = Group::default();
        let mut owners = Vec::new();
        for (consumer, key) in to {
            let place = consumer.spool_side();
            let owner = match (place.get(), &consumer.info.destination) {
                (Some(side), _) => side.owner,
                (None, Some(destination)) => {
                    let id = temporary.next_owner();
                    let record = OwnerRecord::Destination((**destination).clone());
                    group.entries.push(Entry::Owner { id, record });
                    let holder = Holder::Spool(Arc::downgrade(consumer));
                    self.introduce_side(place, Keeper::Temporary, id, holder, temporary).owner
                }
                (None, None) => continue,
            };
            owners.push((owner, key));
        }
        if owners.is_empty() {
            return;
        }
        let message = Arc::clone(message);
        let redeliveries = u32::try_from(message.redelivery_counter).unwrap_or(0);
        group.entries.push(Entry::Add(Add { owners, message, redeliveries, due_ms: None }));
        let _ticket = temporary.append(group);
    }

    /// Does what follows from giving out what waited for a topic consumer.
    pub(super) fn carry_out_spool(&self, consumer: &Arc<Subscription>, effects: Effects) {
        self.memory.free(effects.freed_bytes);
        let side = consumer.spool_side().get();
        let removed = effects.removed.temporary;
        if let (Some(temporary), Some(side), false) =
            (self.stores.of(Keeper::Temporary), side, removed.is_empty())
        {
            let gone = Entry::Remove { owner: side.owner, keys: removed };
            let _ticket = temporary.append(Group { entries: vec![gone], wanted: false });
        }
        if let Some(page) = effects.page {
            self.fetch(side, page);
        }
        for message in effects.expired {
            if let Some(destination) = message.destination.clone() {
                self.expired_on(&destination, &message);
            }
        }
        for why in effects.damaged {
            tracing::error!("a message for consumer {} cannot be delivered: {why}", consumer.id);
        }
    }

    /// A topic consumer is gone with all that waited for it.
    pub(super) fn forget_spool(&self, consumer: &Subscription, held: &Removed) {
        let side = consumer.spool_side().get();
        if let (Some(temporary), Some(side)) = (self.stores.of(Keeper::Temporary), side) {
            let bytes = held.temporary.iter().map(|(_, at)| u64::from(at.bytes)).sum();
            let gone = Entry::OwnerGone { id: side.owner, bytes };
            let _ticket = temporary.append(Group { entries: vec![gone], wanted: false });
        }
    }

    fn fetch(&self, side: Option<&Arc<Side>>, page: Page) {
        if let (Some(store), Some(side)) = (self.stores.of(page.keeper), side) {
            let weak: Weak<Side> = Arc::downgrade(side);
            store.fetch(weak, page.wanted);
        }
    }

    /// Reads a page that a browser waits for.
    pub(super) fn fetch_for_browser(&self, queue: &QueueCell, page: Option<Page>) {
        let Some(page) = page else { return };
        self.fetch(side_of(&queue.sides, page.keeper), page);
    }

    /// Whether so much memory is taken that what can lie elsewhere should
    /// (`cursorMemoryHighWaterMark`, 70 %).
    pub(super) fn is_memory_short(&self) -> bool {
        self.memory.used() > self.memory.limit() / 100 * MEMORY_HIGH_WATER_PERCENT
    }
}

/// Which of the two sides of a destination or durable subscription a keeper knows.
fn side_of(sides: &[OnceLock<Arc<Side>>; 2], keeper: Keeper) -> Option<&Arc<Side>> {
    let [journal, temporary] = sides;
    match keeper {
        Keeper::Temporary => temporary.get(),
        Keeper::Memory | Keeper::Journal => journal.get(),
    }
}

/// The record of one message that one owner holds.
pub(super) fn added(owner: OwnerId, key: Key, message: &Arc<Message>) -> Entry {
    Entry::Add(Add {
        owners: vec![(owner, key)],
        message: Arc::clone(message),
        redeliveries: u32::try_from(message.redelivery_counter).unwrap_or(0),
        due_ms: None,
    })
}

/// `cursorMemoryHighWaterMark` where no policy says otherwise.
pub(super) const MEMORY_HIGH_WATER_PERCENT: usize = 70;
