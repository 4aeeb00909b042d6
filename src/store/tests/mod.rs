//! The journal on the disk of the machine, through its handle; and, in the files beside, on a disk that
//! loses power and fails.

mod contested;
mod corruption;
mod disk_error;
mod disk_full;
mod fenced;
mod followed;
mod footers;
mod for_one;
mod format;
mod hand;
mod left;
#[cfg(feature = "planted-bugs")]
mod planted;
mod power_cut;
mod script;
mod space;
mod state;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::options::JournalOptions;
use super::*;
use crate::openwire::{Destination, Message, MessageId, ProducerId};

/// How often something random is tried: `usual`, or that many times as often when the environment has
/// `STORE_SOAK=times`.
fn scaled(usual: u64) -> u64 {
    let times = std::env::var("STORE_SOAK").ok().and_then(|times| times.parse().ok());
    usual * times.unwrap_or(1)
}

/// Where dice begin: `STORE_SEED=seed`, or another seed each time, which is printed.
fn seed() -> u64 {
    let given = std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::Rng::new().u64(..) >> 16);
    println!("STORE_SEED={seed}");
    seed
}

/// Remembers what it is told.
#[derive(Debug, Default)]
struct Holder {
    messages: Mutex<BTreeMap<Key, Location>>,
    fetched: Mutex<Vec<(Key, Fetched)>>,
    told: Condvar,
}

impl Owner for Holder {
    fn placed(&self, placed: &[(Key, Location)]) -> u64 {
        let mut messages = self.messages.lock();
        let mut dead = 0;
        for (key, at) in placed {
            match messages.get_mut(key) {
                Some(old) => dead += u64::from(std::mem::replace(old, *at).bytes),
                None => dead += u64::from(at.bytes),
            }
        }
        dead
    }

    fn holds(&self, key: Key, at: Location) -> bool {
        self.messages.lock().get(&key) == Some(&at)
    }

    fn fetched(&self, fetched: Vec<(Key, Fetched)>) {
        self.fetched.lock().extend(fetched);
        self.told.notify_all();
    }
}

fn message(sequence: i64, body: &str) -> Arc<Message> {
    let producer = Arc::new(ProducerId::new("ID:test", 1, 1));
    let content = Bytes::copy_from_slice(body.as_bytes());
    let id =
        MessageId { broker_sequence_id: sequence + 1000, ..MessageId::new(producer, sequence) };
    Arc::new(Message { message_id: Some(id), content: Some(content), ..Message::default() })
}

fn open(directory: &Path) -> Result<(Journal, Recovered), StoreError> {
    let options = JournalOptions { journal_max_file_length: 16 << 10, ..JournalOptions::default() };
    let opening = Opening::of_test();
    Journal::open(Arc::new(RealDisk), directory, &options, opening)
}

fn wait(ticket: Ticket) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = async { tokio::time::timeout(Duration::from_secs(10), ticket.durable()).await };
    runtime.block_on(waited).expect("durable within 10 s");
}

#[test]
fn what_was_confirmed_is_there_after_a_crash_and_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, recovered) = open(directory.path()).unwrap();
    assert!(recovered.owners.is_empty());
    assert!(matches!(open(directory.path()), Err(StoreError::Locked { .. })));
    let id = journal.next_owner();
    let holder = Arc::new(Holder::default());
    let weak = Arc::downgrade(&holder) as std::sync::Weak<dyn Owner>;
    journal.register(id, weak.clone());
    let record = OwnerRecord::Destination(Destination::queue("Q"));
    let mut entries = vec![Entry::Owner { id, record: record.clone() }];
    for n in 0..100 {
        let key = Key::new(0, n);
        holder.messages.lock().insert(key, Location::NONE);
        let message = message(n as i64, &format!("body {n}"));
        entries.push(Entry::Add(Add {
            owners: vec![(id, key)],
            message,
            redeliveries: 0,
            due_ms: None,
        }));
        let group = Group { entries: std::mem::take(&mut entries), wanted: n % 10 == 0 };
        let ticket = journal.append(group);
        if n % 10 == 0 {
            wait(ticket);
        }
    }
    let keys = vec![(Key::new(0, 7), holder.messages.lock()[&Key::new(0, 7)])];
    let ticket = journal.append(Group {
        entries: vec![Entry::Remove { owner: id, keys: keys.clone() }],
        wanted: true,
    });
    holder.messages.lock().remove(&keys[0].0);
    wait(ticket);
    drop(journal);

    let (journal, recovered) = open(directory.path()).unwrap();
    let owner = &recovered.owners[0];
    assert_eq!((owner.id, &owner.record, owner.sequence), (id, &record, 99));
    assert_eq!(owner.messages.len(), 99);
    assert_eq!(recovered.broker_sequence, 1099);
    assert!(journal.next_owner().0 > id.0);
    assert!(journal.is_duplicate(&message(99, "")) && !journal.is_duplicate(&message(100, "")));
    let wanted: Vec<_> = owner.messages.iter().map(|(key, stored)| (*key, stored.at)).collect();
    journal.fetch(weak, wanted);
    let mut fetched = holder.fetched.lock();
    while fetched.is_empty() {
        assert!(!holder.told.wait_for(&mut fetched, Duration::from_secs(10)).timed_out());
    }
    for (key, fetched) in &*fetched {
        let Fetched::Message(read) = fetched else { panic!("{key:?}: {fetched:?}") };
        let n = key.sequence();
        assert_eq!(read.content.as_deref(), Some(format!("body {n}").as_bytes()));
    }
    drop(fetched);
    journal.close();
    let (_, again) = open(directory.path()).unwrap();
    assert_eq!(again.owners[0].messages, recovered.owners[0].messages);
}

/// Its producer may have lost the broker before the answer.
#[test]
fn a_message_that_was_taken_before_it_was_written_is_known_when_it_is_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path()).unwrap();
    let id = journal.next_owner();
    let key = Key::new(0, 1);
    let sent = message(7, "in a hurry");
    let entries = vec![
        Entry::Owner { id, record: OwnerRecord::Destination(Destination::queue("Q")) },
        Entry::Add(Add {
            owners: vec![(id, key)],
            message: Arc::clone(&sent),
            redeliveries: 0,
            due_ms: None,
        }),
        Entry::Remove { owner: id, keys: vec![(key, Location::NONE)] },
    ];
    wait(journal.append(Group { entries, wanted: true }));
    drop(journal);
    for _ in 0..2 {
        let (journal, recovered) = open(directory.path()).unwrap();
        assert!(recovered.owners[0].messages.is_empty());
        assert!(journal.is_duplicate(&sent) && !journal.is_duplicate(&message(8, "")));
    }
}
