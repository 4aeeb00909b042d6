//! Messages that are sent later, and again and again (`AMQ_SCHEDULED_*`).
//!
//! ```text
//!  send -> Order -> Placement -> journal (as messages of an owner of their own) -> Jobs
//!                                                 bodies <- read when due <---------+
//!  turn: what is due -> one group { Add to its queue, Remove or Fired } -> put
//!        what is browsed -> copies to the JMSReplyTo
//! ```
//!
//! * `order` is what a message asks for; `cron` reads cron entries; `jobs` is the table of what waits.
//! * [`Broker::turn_scheduler`] does the next thing; a task calls it whenever there is one.
//!
//! **Invariant:** a job is taken out, or due again, in the same group of the journal as what it sends. The
//! scheduler's lock is held while that group is appended, so that no removal comes between; it is taken
//! before all others.

pub mod cron;
pub mod jobs;
pub mod order;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use self::jobs::{Jobs, Page, Ready};
use self::order::{Order, Request, Span};
use super::placing::Placement;
use super::{Broker, Refusal, Wait};
use crate::openwire::{Destination, Message, MessageId, ProducerId};
use crate::store::{
    Add, Entry, Fetched, Group, Key, Location, Owner, OwnerId, OwnerRecord, RecoveredOwner, Ticket,
};

/// What stands between the name of a scheduler and the number of a job: with it, a job's id looks like
/// that of a message, as ActiveMQ's do.
const JOB_INFIX: &str = ":1:1:";

/// Unanswered requests to browse, at most; each costs little, but anybody may send them.
const BROWSES_MAX: usize = 1000;

/// All that waits for its time.
#[derive(Debug)]
pub struct Scheduler {
    /// `schedulerSupport`.
    enabled: bool,
    /// `maxSchedulerRepeatAllowed`.
    repeat_max: u32,
    state: Mutex<State>,
    side: OnceLock<Arc<Side>>,
    /// Who sends what is sent more than once, and answers.
    producer: Arc<ProducerId>,
    next_message: AtomicI64,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// The name of the scheduler, which its jobs' ids begin with. It is that of the journal.
    id: String,
    /// None where there is no journal, and before the first job.
    owner: Option<OwnerId>,
    jobs: Jobs,
    browses: VecDeque<Browse>,
    /// Bodies are on their way.
    reading: bool,
}

/// A request to show what waits.
#[derive(Debug)]
struct Browse {
    reply_to: Destination,
    span: Span,
    /// What is left to be shown, once it is this request's turn.
    left: Option<VecDeque<Key>>,
}

/// What the scheduler has to do next.
#[derive(Debug)]
pub enum Turn {
    /// More, at once.
    Again,
    /// Nothing before this time, in milliseconds since 1970, unless [`Scheduler::changed`] says so.
    Until(i64),
    /// Nothing until [`Scheduler::changed`] says so.
    Idle,
    /// There is no room where the next message goes.
    Full(Wait),
}

impl Scheduler {
    /// `id` names a scheduler that is new, `producer` what this one sends.
    pub fn new(enabled: bool, repeat_max: u32, id: String, producer: &str) -> Self {
        let state = State {
            id,
            owner: None,
            jobs: Jobs::default(),
            browses: VecDeque::new(),
            reading: false,
        };
        Self {
            enabled,
            repeat_max,
            state: Mutex::new(state),
            side: OnceLock::new(),
            producer: Arc::new(ProducerId::new(producer, 0, 0)),
            next_message: AtomicI64::new(1),
            changed: Notify::new(),
        }
    }

    /// Wakes when there may be something to do.
    pub fn changed(&self) -> &Notify {
        &self.changed
    }

    /// How many messages wait for their time.
    pub fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.state.lock().jobs.is_empty()
    }

    /// Whether bodies are on their way; [`Self::changed`] says when they came.
    pub fn is_reading(&self) -> bool {
        self.state.lock().reading
    }

    /// Whether a message is to be sent later.
    ///
    /// # Errors
    /// Its properties say so in a way that is not understood or not allowed.
    pub(super) fn order_of(&self, message: &Message) -> Result<Option<Order>, Refusal> {
        if !self.enabled {
            return Ok(None);
        }
        Order::of(message, self.repeat_max)
    }

    /// What a message asks the scheduler itself to do.
    ///
    /// # Errors
    /// It is not understood.
    pub(super) fn request_of(&self, message: &Message) -> Result<Option<Request>, Refusal> {
        if !self.enabled {
            return Ok(None);
        }
        Request::of(message)
    }

    fn next_id(&self) -> MessageId {
        let number = self.next_message.fetch_add(1, Ordering::Relaxed);
        MessageId::new(Arc::clone(&self.producer), number)
    }
}

impl State {
    fn job_id(&self, key: Key) -> String {
        format!("{}{JOB_INFIX}{}", self.id, key.to_bits())
    }

    fn key_of(&self, job_id: &str) -> Option<Key> {
        let number = job_id.strip_prefix(&self.id)?.strip_prefix(JOB_INFIX)?;
        number.parse().ok().map(Key::from_bits)
    }

    /// Takes jobs out. Returns bytes of memory that became free.
    fn remove(&mut self, keys: impl IntoIterator<Item = Key>, group: &mut Group) -> usize {
        let mut freed = 0;
        let mut gone = Vec::new();
        for key in keys {
            if let Some((at, bytes)) = self.jobs.remove(key) {
                freed += bytes;
                gone.push((key, at));
            }
        }
        if let Some(owner) = self.owner.filter(|_| !gone.is_empty()) {
            group.entries.push(Entry::Remove { owner, keys: gone });
        }
        freed
    }
}

/// The scheduler as the journal knows it.
#[derive(Debug)]
struct Side(Weak<Broker>);

impl Owner for Side {
    fn placed(&self, placed: &[(Key, Location)]) -> u64 {
        let Some(broker) = self.0.upgrade() else {
            return placed.iter().map(|(_, at)| u64::from(at.bytes)).sum();
        };
        let (mut dead, mut freed) = (0, 0);
        let mut state = broker.scheduler.state.lock();
        for (key, at) in placed {
            match state.jobs.placed(*key, *at) {
                Some((old, bytes)) => {
                    dead += old;
                    freed += bytes;
                }
                None => dead += u64::from(at.bytes),
            }
        }
        drop(state);
        broker.memory.free(freed);
        dead
    }

    fn holds(&self, key: Key, at: Location) -> bool {
        self.0.upgrade().is_some_and(|broker| broker.scheduler.state.lock().jobs.holds(key, at))
    }

    fn fetched(&self, fetched: Vec<(Key, Fetched)>) {
        let Some(broker) = self.0.upgrade() else { return };
        let mut state = broker.scheduler.state.lock();
        state.reading = false;
        for (key, why) in state.jobs.fetched(fetched) {
            let job = state.job_id(key);
            tracing::error!("scheduled message {job} cannot be sent: {why}");
        }
        drop(state);
        broker.scheduler.changed.notify_one();
    }
}

impl Broker {
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Brings back what waited for its time.
    pub(super) fn restore_scheduler(&self, id: String, recovered: RecoveredOwner) {
        let scheduler = &self.scheduler;
        let count = recovered.messages.len();
        if count > 0 && !scheduler.enabled {
            tracing::warn!("{count} scheduled messages wait until schedulerSupport is on again");
        }
        let mut state = scheduler.state.lock();
        state.id = id;
        state.owner = Some(recovered.id);
        state.jobs.restore(recovered.messages, recovered.sequence);
        drop(state);
        self.introduce_scheduler(recovered.id);
        scheduler.changed.notify_one();
    }

    fn introduce_scheduler(&self, owner: OwnerId) {
        let Some(journal) = &self.stores.journal else { return };
        let side = self.scheduler.side.get_or_init(|| Arc::new(Side(self.this.clone())));
        let weak: Weak<Side> = Arc::downgrade(side);
        journal.register(owner, weak);
    }

    /// Who holds scheduled messages in the journal.
    fn scheduler_owner(&self, state: &mut State) -> Option<OwnerId> {
        let journal = self.stores.journal.as_ref()?;
        if state.owner.is_none() {
            let id = journal.next_owner();
            let record = OwnerRecord::Scheduler { id: state.id.clone() };
            let entries = vec![Entry::Owner { id, record }];
            let _ticket = journal.append(Group { entries, wanted: false });
            state.owner = Some(id);
            self.introduce_scheduler(id);
        }
        state.owner
    }

    /// Finds the place of a message among those that are sent later. What is to be stored goes to `group`:
    /// all of them are, persistent or not, as for ActiveMQ.
    pub(super) fn schedule(
        &self,
        order: &Order,
        message: Message,
        group: &mut Group,
        placements: &mut Vec<Placement>,
    ) {
        let message = Message { transaction_id: None, ..message };
        let due_ms = order.first_at_ms(self.now_ms());
        let mut state = self.scheduler.state.lock();
        placements.push(self.schedule_at(&mut state, due_ms, message, group));
    }

    fn schedule_at(
        &self,
        state: &mut State,
        due_ms: i64,
        message: Message,
        group: &mut Group,
    ) -> Placement {
        let owner = self.scheduler_owner(state);
        let key = state.jobs.reserve();
        let message = Arc::new(message);
        group.entries.extend(owner.map(|owner| {
            let (owners, message) = (vec![(owner, key)], Arc::clone(&message));
            Entry::Add(Add { owners, message, redeliveries: 0, due_ms: Some(due_ms) })
        }));
        Placement::scheduled(key, due_ms, message)
    }

    /// Takes in what [`Self::schedule`] prepared, once its record is appended.
    pub(super) fn put_scheduled(&self, key: Key, due_ms: i64, message: Arc<Message>) {
        let mut state = self.scheduler.state.lock();
        let first = state.jobs.first_due_ms();
        let bytes = state.jobs.add(key, due_ms, message);
        // Under the lock: the journal may free them at once.
        self.memory.take(bytes);
        drop(state);
        if first.is_none_or(|first| due_ms < first) {
            self.scheduler.changed.notify_one();
        }
    }

    /// Does what a message to the scheduler asks for.
    ///
    /// # Errors
    /// More wants to be browsed than there should.
    pub(super) fn manage_scheduler(
        &self,
        request: Request,
        wanted: bool,
    ) -> Result<Ticket, Refusal> {
        let mut group = Group { wanted, ..Group::default() };
        let mut state = self.scheduler.state.lock();
        let freed = match request {
            Request::Browse { reply_to, span } => {
                if state.browses.len() >= BROWSES_MAX {
                    return Err(Refusal::ResourceAllocation(format!(
                        "{BROWSES_MAX} requests to browse the scheduler wait already"
                    )));
                }
                state.browses.push_back(Browse { reply_to, span, left: None });
                self.scheduler.changed.notify_one();
                0
            }
            Request::Remove { job_id } => {
                let key = state.key_of(&job_id);
                state.remove(key, &mut group)
            }
            Request::RemoveAll(span) => {
                let keys: Vec<_> = state.jobs.within(span).collect();
                state.remove(keys, &mut group)
            }
            Request::Nothing => 0,
        };
        let ticket = self.append(group);
        drop(state);
        self.memory.free(freed);
        Ok(ticket)
    }

    /// Does the next thing that the scheduler has to do. To be called by one task, again as it says.
    pub fn turn_scheduler(&self) -> Turn {
        if !self.scheduler.enabled || self.is_stopping() {
            return Turn::Idle;
        }
        let now_ms = self.now_ms();
        let mut state = self.scheduler.state.lock();
        if state.reading {
            return Turn::Idle;
        }
        let due = Span { from_ms: i64::MIN, to_ms: now_ms };
        match state.jobs.page(state.jobs.within(due)) {
            Page::Cold(wanted) => return self.read_scheduled(&mut state, wanted),
            Page::Ready(ready) if !ready.is_empty() => return self.fire(state, ready, now_ms),
            Page::Ready(_) => {}
        }
        if !state.browses.is_empty() {
            return self.answer_browse(state);
        }
        state.jobs.forget_read();
        state.jobs.first_due_ms().map_or(Turn::Idle, Turn::Until)
    }

    fn read_scheduled(&self, state: &mut State, wanted: Vec<(Key, Location)>) -> Turn {
        if let (Some(journal), Some(side)) = (&self.stores.journal, self.scheduler.side.get()) {
            let weak: Weak<Side> = Arc::downgrade(side);
            state.reading = true;
            journal.fetch(weak, wanted);
        }
        Turn::Idle
    }

    fn fire(&self, mut state: MutexGuard<'_, State>, ready: Vec<Ready>, now_ms: i64) -> Turn {
        let mut group = Group::default();
        let mut placements = Vec::new();
        let mut freed = 0;
        let mut turn = Turn::Again;
        for job in ready {
            let message = &job.message;
            if let Some(destination) = &message.destination
                && let Some(wait) = self.wait_for_room(destination, message.persistent)
            {
                turn = Turn::Full(wait);
                break;
            }
            freed += self.fire_job(&mut state, &job, now_ms, &mut group, &mut placements);
        }
        let _ticket = self.append(group);
        drop(state);
        self.memory.free(freed);
        placements.into_iter().for_each(|placement| self.put(placement));
        turn
    }

    /// Returns bytes of memory that became free.
    fn fire_job(
        &self,
        state: &mut State,
        job: &Ready,
        now_ms: i64,
        group: &mut Group,
        placements: &mut Vec<Placement>,
    ) -> usize {
        let job_id = state.job_id(job.key);
        // What was allowed when it came still is; it came with an order.
        let order = Order::of(&job.message, u32::MAX).unwrap_or_default().unwrap_or_default();
        let firing = order.fire(job.due_ms, job.count, now_ms);
        if firing.sends {
            let mut sent = order::due(&job.message, &job_id, now_ms);
            if firing.new_id {
                sent.message_id = Some(self.scheduler.next_id());
            }
            if let Err(refusal) = self.place(sent, group, placements) {
                tracing::error!("scheduled message {job_id} cannot be sent: {refusal}");
                if let Some(to) = &job.message.destination {
                    self.bury(to, &job.message, None, &refusal.to_throwable());
                }
            }
        }
        if let Some(due_ms) = firing.repeats_at_ms {
            let message = order::repeats(&job.message);
            placements.push(self.schedule_at(state, due_ms, message, group));
        }
        let Some(due_ms) = firing.again_at_ms else { return state.remove([job.key], group) };
        state.jobs.again(job.key, due_ms);
        let (key, count) = (job.key, job.count.saturating_add(1));
        group.entries.extend(state.owner.map(|owner| Entry::Fired { owner, key, count, due_ms }));
        0
    }

    /// Sends the next copies to the first of those who browse.
    fn answer_browse(&self, mut guard: MutexGuard<'_, State>) -> Turn {
        let state = &mut *guard;
        let Some(browse) = state.browses.front_mut() else { return Turn::Again };
        let (jobs, span) = (&state.jobs, browse.span);
        let left = browse.left.get_or_insert_with(|| jobs.within(span).collect());
        let ready = match jobs.page(left.iter().copied()) {
            Page::Ready(ready) => ready,
            Page::Cold(wanted) => return self.read_scheduled(state, wanted),
        };
        let reply_to = Arc::new(browse.reply_to.clone());
        if ready.is_empty() {
            state.browses.pop_front();
            return Turn::Again;
        }
        if let Some(wait) = self.wait_for_room(&reply_to, false) {
            return Turn::Full(wait);
        }
        let last = ready.last().map(|job| job.key);
        while let Some(key) = left.pop_front()
            && Some(key) != last
        {}
        let copies = ready.iter().map(|job| {
            let copy = order::shown(&job.message, &state.job_id(job.key), &reply_to);
            let producer_id = Some(Arc::clone(&self.scheduler.producer));
            Message { message_id: Some(self.scheduler.next_id()), producer_id, ..copy }
        });
        let copies: Vec<_> = copies.collect();
        drop(guard);
        for copy in copies {
            if let Err(refusal) = self.route(copy, false) {
                tracing::warn!("nobody is there who browsed the scheduler: {refusal}");
                self.scheduler.state.lock().browses.pop_front();
                break;
            }
        }
        Turn::Again
    }
}
