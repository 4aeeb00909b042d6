//! Whoever waits alone writes itself, and nobody waits for ever because of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::hand::{directory, opening, options};
use super::wait;
use crate::openwire::Destination;
use crate::store::disk::model::{Failure, Fault, ModelDisk};
use crate::store::options::{JournalOptions, SyncStrategy};
use crate::store::{Entry, Group, Journal, OwnerRecord, Ticket};

const SOON: Duration = Duration::from_secs(10);

struct Opened {
    disk: ModelDisk,
    journal: Journal,
    failures: Arc<AtomicU64>,
}

fn open(options: &JournalOptions) -> Opened {
    let (disk, failures) = (ModelDisk::default(), Arc::default());
    let opening = opening(&failures);
    let (journal, _) =
        Journal::open(Arc::new(disk.clone()), directory(), options, opening).unwrap();
    Opened { disk, journal, failures }
}

impl Opened {
    fn append(&self, wanted: bool) -> Ticket {
        let id = self.journal.next_owner();
        let record = OwnerRecord::Destination(Destination::queue(&format!("Q{}", id.0)));
        self.journal.append(Group { entries: vec![Entry::Owner { id, record }], wanted })
    }
}

#[test]
fn what_one_waits_for_it_may_write_and_then_it_is_there_after_a_power_cut() {
    let opened = open(&options());
    let ticket = opened.append(true);
    opened.journal.may_write().expect("nobody else waits").write();
    assert!(ticket.is_durable());
    assert!(opened.journal.may_write().is_none(), "nothing is left to write");
    let disk = ModelDisk::of(opened.disk.image().cut(0));
    drop(opened);
    let opening = opening(&Arc::default());
    let (_, recovered) = Journal::open(Arc::new(disk), directory(), &options(), opening).unwrap();
    assert_eq!(recovered.owners.len(), 1);
}

#[test]
fn those_who_can_share_a_sync_leave_it_to_the_thread() {
    let opened = open(&options());
    let (first, second) = (opened.append(true), opened.append(true));
    assert!(opened.journal.may_write().is_none(), "two wait");
    wait(first);
    wait(second);
    let alone = opened.append(true);
    assert!(opened.journal.may_write().is_none(), "two have waited, and may again");
    wait(alone);
    let alone = opened.append(true);
    opened.journal.may_write().expect("one has waited").write();
    assert!(alone.is_durable());
}

#[test]
fn what_nobody_waits_for_is_left_to_the_thread() {
    let opened = open(&options());
    let _ticket = opened.append(false);
    assert!(opened.journal.may_write().is_none());
    let periodic = open(&JournalOptions { sync: SyncStrategy::Periodic, ..options() });
    let _ticket = periodic.append(true);
    assert!(periodic.journal.may_write().is_none());
}

#[test]
fn a_ticket_that_is_given_up_is_written_too() {
    let opened = open(&options());
    let (done, written) = channel();
    let ticket = opened.append(true);
    ticket.then(move || done.send(()).unwrap());
    drop(ticket);
    written.recv_timeout(SOON).expect("the thread was asked");
}

#[test]
fn where_there_is_no_room_the_thread_goes_on() {
    let opened = open(&options());
    // More than the segments that are there have room for.
    for _ in 0..200 {
        let ticket = opened.append(true);
        if let Some(turn) = opened.journal.may_write() {
            turn.write();
        }
        wait(ticket);
    }
    assert_eq!(opened.failures.load(Ordering::Relaxed), 0);
}

#[test]
fn nothing_is_confirmed_when_the_disk_fails() {
    for failure in [Failure::SyncLoses, Failure::ShortWrite] {
        let opened = open(&options());
        opened.disk.plan(Some(Fault { failure, at: 0, sticky: true }));
        let ticket = opened.append(true);
        opened.journal.may_write().expect("nobody else waits").write();
        assert!(!ticket.is_durable());
        assert_eq!(opened.failures.load(Ordering::Relaxed), 1);
        assert!(opened.journal.failure().is_some());
        assert!(opened.journal.may_write().is_none());
    }
}
