//! The jobs that a scheduler has, by id and by time; what of each is in memory. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::order::Span;
use crate::base::ChunkMap;
use crate::openwire::Message;
use crate::store::{Fetched, Key, Location, Stored};

/// Bodies that are read at once, at most.
pub const PAGE_JOBS: usize = 512;
/// Bytes of those, at most, as long as they are more than one.
const PAGE_BYTES: u64 = 1 << 20;

/// A message that waits for its time.
#[derive(Debug)]
struct Job {
    due_ms: i64,
    /// Where it is kept; none until the journal has told, and where there is no journal.
    at: Location,
    /// How often it fired.
    count: u32,
    /// In memory as long as it lies nowhere else.
    message: Option<Arc<Message>>,
}

/// A job that is looked at.
#[derive(Debug, Clone)]
pub struct Ready {
    pub key: Key,
    pub due_ms: i64,
    pub count: u32,
    pub message: Arc<Message>,
}

/// What can be done with the jobs that come first.
#[derive(Debug)]
pub enum Page {
    /// Their messages are here.
    Ready(Vec<Ready>),
    /// Their messages have to be read first.
    Cold(Vec<(Key, Location)>),
}

/// All jobs.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: ChunkMap<Key, Job>,
    by_time: ChunkMap<(i64, Key), ()>,
    /// Keys of jobs that will come, with where they lie already.
    reserved: BTreeMap<Key, Location>,
    sequence: u64,
    /// The messages that were read last.
    read: HashMap<Key, Arc<Message>>,
}

impl Jobs {
    /// What the journal had, all of it cold. `sequence` is the highest that was ever used in a key.
    pub fn restore(&mut self, messages: BTreeMap<Key, Stored>, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
        for (key, stored) in messages {
            let (due_ms, count) = (stored.expiration, stored.redeliveries);
            self.insert(key, Job { due_ms, at: stored.at, count, message: None });
        }
    }

    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn insert(&mut self, key: Key, job: Job) {
        self.by_time.insert((job.due_ms, key), ());
        self.jobs.insert(key, job);
    }

    /// A key for a job that is about to be stored.
    pub fn reserve(&mut self) -> Key {
        self.sequence += 1;
        let key = Key::new(0, self.sequence);
        self.reserved.insert(key, Location::NONE);
        key
    }

    /// Adds a job that was reserved. Its body stays where the journal has not told where it lies.
    /// Returns the bytes of memory that it takes.
    pub fn add(&mut self, key: Key, due_ms: i64, message: Arc<Message>) -> usize {
        let at = self.reserved.remove(&key).unwrap_or(Location::NONE);
        let bytes = if at.is_none() { message.memory_bytes() } else { 0 };
        let message = at.is_none().then_some(message);
        self.insert(key, Job { due_ms, at, count: 0, message });
        bytes
    }

    /// The journal has told where a message lies: its body leaves memory.
    ///
    /// Returns bytes of its old place, and bytes of memory that became free. `None`: it is not here.
    pub fn placed(&mut self, key: Key, at: Location) -> Option<(u64, usize)> {
        if let Some(place) = self.reserved.get_mut(&key) {
            let before = std::mem::replace(place, at);
            return Some((u64::from(before.bytes), 0));
        }
        let job = self.jobs.get_mut(key)?;
        let before = std::mem::replace(&mut job.at, at);
        let freed = job.message.take().map_or(0, |message| message.memory_bytes());
        Some((u64::from(before.bytes), freed))
    }

    pub fn holds(&self, key: Key, at: Location) -> bool {
        self.jobs.get(key).is_some_and(|job| job.at == at) || self.reserved.get(&key) == Some(&at)
    }

    /// Takes a job out. Returns where it lay and bytes of memory that became free.
    pub fn remove(&mut self, key: Key) -> Option<(Location, usize)> {
        let job = self.jobs.remove(key)?;
        self.by_time.remove((job.due_ms, key));
        self.read.remove(&key);
        Some((job.at, job.message.map_or(0, |message| message.memory_bytes())))
    }

    /// A job has fired and is due again.
    pub fn again(&mut self, key: Key, due_ms: i64) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        self.by_time.remove((job.due_ms, key));
        self.by_time.insert((due_ms, key), ());
        job.due_ms = due_ms;
        job.count = job.count.saturating_add(1);
    }

    /// When the first is due.
    pub fn first_due_ms(&self) -> Option<i64> {
        self.by_time.first_key().map(|(due_ms, _)| due_ms)
    }

    /// The jobs of a span of time, in the order in which they are due.
    pub fn within(&self, span: Span) -> impl Iterator<Item = Key> {
        let behind = self.by_time.range((span.from_ms, Key::FIRST));
        behind.take_while(move |((due_ms, _), ())| span.has(*due_ms)).map(|((_, key), ())| key)
    }

    /// Those of these jobs that come first and can be looked at together. Jobs that are gone are passed
    /// over.
    pub fn page(&self, keys: impl Iterator<Item = Key>) -> Page {
        let (mut ready, mut cold) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for key in keys {
            let Some(job) = self.jobs.get(key) else { continue };
            let message = job.message.as_ref().or_else(|| self.read.get(&key));
            match message {
                Some(message) if cold.is_empty() => ready.push(Ready {
                    key,
                    due_ms: job.due_ms,
                    count: job.count,
                    message: Arc::clone(message),
                }),
                Some(_) => {}
                None if !ready.is_empty() => break,
                None => {
                    bytes += u64::from(job.at.bytes);
                    if bytes > PAGE_BYTES && !cold.is_empty() {
                        break;
                    }
                    cold.push((key, job.at));
                }
            }
            if ready.len().max(cold.len()) == PAGE_JOBS {
                break;
            }
        }
        if cold.is_empty() { Page::Ready(ready) } else { Page::Cold(cold) }
    }

    /// Bodies came. Those that came before leave memory. Jobs whose body is damaged are taken out: the
    /// texts say why, with the job's key.
    pub fn fetched(&mut self, fetched: Vec<(Key, Fetched)>) -> Vec<(Key, String)> {
        self.read.clear();
        let mut damaged = Vec::new();
        for (key, body) in fetched {
            match body {
                Fetched::Message(message) if self.jobs.get(key).is_some() => {
                    self.read.insert(key, message);
                }
                // Where it has moved to is known by now; it is asked for again.
                Fetched::Message(_) | Fetched::Moved => {}
                Fetched::Damaged(why) => {
                    if self.remove(key).is_some() {
                        damaged.push((key, why));
                    }
                }
            }
        }
        damaged
    }

    /// What was read is not needed any more.
    pub fn forget_read(&mut self) {
        self.read = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u32) -> Location {
        Location { segment: 1, offset, bytes: 100 }
    }

    /// Jobs that are due at these times, placed or not.
    fn jobs(times: &[i64], placed: bool) -> (Jobs, Vec<Key>) {
        let mut jobs = Jobs::default();
        let mut add = |(number, time): (usize, &i64)| {
            let key = jobs.reserve();
            assert_eq!(jobs.add(key, *time, Arc::default()), 1024);
            if placed {
                assert_eq!(jobs.placed(key, at(number as u32)), Some((0, 1024)));
            }
            key
        };
        let keys = times.iter().enumerate().map(&mut add).collect();
        (jobs, keys)
    }

    fn due(jobs: &Jobs, to_ms: i64) -> Page {
        jobs.page(jobs.within(Span { from_ms: i64::MIN, to_ms }))
    }

    fn ready(page: &Page) -> Vec<Key> {
        let Page::Ready(ready) = page else { panic!("{page:?}") };
        ready.iter().map(|ready| ready.key).collect()
    }

    #[test]
    fn the_first_that_are_due_come_in_the_order_of_their_times() {
        let (mut jobs, keys) = jobs(&[30, 10, 20, 10, 40], false);
        assert_eq!(jobs.first_due_ms(), Some(10));
        assert_eq!(ready(&due(&jobs, 30)), [keys[1], keys[3], keys[2], keys[0]]);
        jobs.again(keys[1], 35);
        assert_eq!(jobs.remove(keys[3]), Some((Location::NONE, 1024)));
        assert_eq!(jobs.remove(keys[3]), None);
        assert_eq!(ready(&due(&jobs, 35)), [keys[2], keys[0], keys[1]]);
        let span = Span { from_ms: 21, to_ms: 39 };
        assert_eq!(jobs.within(span).collect::<Vec<_>>(), [keys[0], keys[1]]);
    }

    #[test]
    fn what_is_stored_leaves_memory_and_is_read_when_it_is_due() {
        let (mut jobs, keys) = jobs(&[10, 20, 90], true);
        let Page::Cold(wanted) = due(&jobs, 50) else { panic!() };
        assert_eq!(wanted, [(keys[0], at(0)), (keys[1], at(1))]);
        let body = |key: &Key| (*key, Fetched::Message(Arc::default()));
        assert!(jobs.fetched(keys.iter().take(2).map(body).collect()).is_empty());
        assert_eq!(ready(&due(&jobs, 50)), keys[..2]);
        assert!(matches!(due(&jobs, 99), Page::Ready(ready) if ready.len() == 2));
        jobs.forget_read();
        assert!(matches!(due(&jobs, 99), Page::Cold(wanted) if wanted.len() == 3));
    }

    #[test]
    fn a_page_is_bounded() {
        let (jobs, keys) = jobs(&vec![10; PAGE_JOBS + 5], true);
        let Page::Cold(wanted) = due(&jobs, 50) else { panic!() };
        assert_eq!(wanted.len(), PAGE_JOBS);
        assert_eq!(wanted[0].0, keys[0]);
    }

    #[test]
    fn a_place_may_be_told_before_the_job_is_there() {
        let mut jobs = Jobs::default();
        let key = jobs.reserve();
        assert_eq!(jobs.placed(key, at(1)), Some((0, 0)));
        assert!(jobs.holds(key, at(1)));
        assert_eq!(jobs.add(key, 10, Arc::default()), 0);
        assert!(jobs.holds(key, at(1)));
        assert_eq!(jobs.placed(key, at(2)), Some((100, 0)));
        assert!(jobs.holds(key, at(2)) && !jobs.holds(key, at(1)));
        assert_eq!(jobs.placed(key.next(), at(2)), None);
    }

    #[test]
    fn damage_takes_the_one_job_out_and_what_moved_is_asked_for_again() {
        let (mut jobs, keys) = jobs(&[10, 20], true);
        let told = vec![(keys[0], Fetched::Damaged("why".to_owned())), (keys[1], Fetched::Moved)];
        assert_eq!(jobs.fetched(told), [(keys[0], "why".to_owned())]);
        assert!(matches!(due(&jobs, 50), Page::Cold(wanted) if wanted == [(keys[1], at(1))]));
    }
}
