//! How much of the disk a store takes, while all of it is as it should be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hand::{Opened, options};
use super::script::Script;
use super::state::queue;
use super::world::{End, World};
use super::{Holder, scaled, seed, wait};
use crate::store::disk::model::ModelDisk;
use crate::store::options::JournalOptions;
use crate::store::{
    Add, Entry, Fetched, Group, Journal, Key, Location, Opening, Owner, OwnerId, OwnerRecord,
    RealDisk,
};

/// Bytes that what is known of an owner or a branch takes, at most.
const STATE_BYTES: u64 = 2 << 10;

/// Writes all, and cleans until there is nothing to clean.
fn settle(opened: &mut Opened) {
    for _ in 0..200 {
        opened.write(true);
        opened.keep();
        let shared = opened.journal.shared();
        if !shared.room.lock().dirty
            && !shared.keeper_waits.load(std::sync::atomic::Ordering::SeqCst)
        {
            opened.write(true);
        }
    }
}

/// Most bytes that files may have with so many that are needed.
fn bound(live: u64, segment: u64) -> u64 {
    2 * live + 2 * segment
}

#[test]
fn used_space_follows_what_is_needed_whatever_happens() {
    let seed = seed();
    let segment = 4 << 10;
    for run in 0..scaled(4) {
        let mut script = Script::new(World::new(ModelDisk::default(), options()), seed + run);
        script.messages = 60;
        script.world.open().unwrap();
        for step in 0..400 {
            script.step().unwrap_or_else(|why| panic!("run {run}, step {step}: {why}"));
            if step % 20 != 19 {
                continue;
            }
            settle(script.world.opened());
            let state = script.world.state();
            let states = (state.owners.len() + state.branches.len()) as u64 * STATE_BYTES;
            let live = script.world.live_bytes() + states;
            let used = script.world.opened().journal.used_bytes();
            assert!(used <= bound(live, segment), "run {run}, step {step}: {used} for {live}");
        }
        script.world.end(End::Crash);
        assert!(script.world.open().unwrap());
    }
}

#[test]
fn one_message_that_stays_does_not_keep_what_flows_by() {
    let mut world = World::new(ModelDisk::default(), options());
    world.open().unwrap();
    let (id, entry) = world.owner(queue);
    let stays = world.add(&[id], 0);
    drop(world.append(vec![entry, stays], true));
    for _ in 0..600 {
        let flows = world.add(&[id], 0);
        let Entry::Add(Add { owners, .. }) = &flows else { unreachable!() };
        let key = owners[0].1;
        drop(world.append(vec![flows], true));
        world.opened().write(true);
        let gone = world.remove(id, &[key]);
        drop(world.append(vec![gone], true));
        settle(world.opened());
        let used = world.opened().journal.used_bytes();
        assert!(used <= bound(world.live_bytes() + STATE_BYTES, 4 << 10), "{used}");
    }
    let oldest = world.opened().journal.shared().segments.lock().keys().next().copied();
    assert!(oldest > Some(20), "nothing was cleaned: {oldest:?}");
    world.end(End::Crash);
    assert!(world.open().unwrap());
    assert_eq!(world.state().messages().count(), 1);
}

/// Takes a message away from its owner when the cleaner asks for it the second time; says whether it is
/// back after a crash.
pub(super) fn is_back_after_a_copy() -> Result<(), String> {
    let mut world = World::new(ModelDisk::default(), options());
    world.open().unwrap();
    let (id, entry) = world.owner(queue);
    let stays = world.add(&[id], 0);
    let Entry::Add(Add { owners, .. }) = &stays else { unreachable!() };
    let stays_at = owners[0].1;
    drop(world.append(vec![entry, stays], true));
    world.opened().write(true);
    world.remove_when_asked(id, stays_at, 2);
    for _ in 0..100 {
        let flows = world.add(&[id], 0);
        let Entry::Add(Add { owners, .. }) = &flows else { unreachable!() };
        let key = owners[0].1;
        drop(world.append(vec![flows], true));
        world.opened().write(true);
        let gone = world.remove(id, &[key]);
        drop(world.append(vec![gone], true));
        settle(world.opened());
        if !world.holds(id, stays_at) {
            break;
        }
    }
    assert!(!world.holds(id, stays_at), "it was never copied");
    world.end(End::Crash);
    let opened = Opened::new(&world.disk, &options()).unwrap();
    match opened.recovered.owners[0].messages.first_key_value() {
        Some(back) => Err(format!("{back:?} is back")),
        None => Ok(()),
    }
}

#[test]
fn what_is_removed_while_the_cleaner_copies_it_does_not_come_back() {
    is_back_after_a_copy().unwrap();
}

/// Whether a scheduled message is due when it was said last, after copies, footers and crashes.
pub(super) fn is_due_as_said() -> Result<(), String> {
    let mut world = World::new(ModelDisk::default(), options());
    world.open()?;
    let (id, entry) = world.owner(|_| OwnerRecord::Scheduler { id: "s".to_owned() });
    let mut stays = world.add(&[id], 0);
    let Entry::Add(add) = &mut stays else { unreachable!() };
    add.due_ms = Some(1000);
    let key = add.owners[0].1;
    drop(world.append(vec![entry, stays], true));
    let mut before = 0;
    // The second time, what is known from the recovery alone goes into the copies.
    for (count, due_ms) in [(0, 1000), (1, 2000), (1, 2000), (2, 3000)] {
        if count > 0 {
            drop(world.append(vec![Entry::Fired { owner: id, key, count, due_ms }], true));
        }
        let mut segments = BTreeSet::new();
        for crashes in 0..2 {
            flow_by(&mut world, id);
            world.end(End::Crash);
            assert!(world.open()?);
            let stored = world.opened().recovered.owners[0].messages[&key];
            let found = (stored.redeliveries, stored.expiration);
            if found != (count, due_ms) {
                return Err(format!("{found:?}, not {:?} after {crashes}", (count, due_ms)));
            }
            segments.insert(stored.at.segment);
        }
        assert!(segments.len() == 2 && segments.first() > Some(&before), "it was not copied");
        before = segments.pop_last().unwrap_or_default();
    }
    Ok(())
}

/// A hundred messages come and go.
fn flow_by(world: &mut World, id: OwnerId) {
    for _ in 0..100 {
        let flows = world.add(&[id], 0);
        let Entry::Add(Add { owners, .. }) = &flows else { unreachable!() };
        let key = owners[0].1;
        drop(world.append(vec![flows], true));
        world.opened().write(true);
        let gone = world.remove(id, &[key]);
        drop(world.append(vec![gone], true));
        settle(world.opened());
    }
}

#[test]
fn when_a_scheduled_message_is_due_survives_copies_footers_and_crashes() {
    is_due_as_said().unwrap();
}

/// A megabyte of messages each time, with files of a megabyte; `STORE_SOAK=2048` has 2 GB flow.
#[test]
fn one_message_that_stays_on_a_real_disk_does_not_keep_what_flows_by() {
    const SEGMENT: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let options = JournalOptions { journal_max_file_length: SEGMENT, ..JournalOptions::default() };
    let opening = Opening::of_test();
    let (journal, _) =
        Journal::open(Arc::new(RealDisk), directory.path(), &options, opening).unwrap();
    let id = journal.next_owner();
    let holder = Arc::new(Holder::default());
    journal.register(id, Arc::downgrade(&holder) as std::sync::Weak<dyn Owner>);
    let mut number = 0;
    let add = |entries: &mut Vec<Entry>, number: &mut u64| {
        let key = Key::new(0, *number);
        holder.messages.lock().insert(key, Location::NONE);
        let message = super::message(*number as i64, &"flow".repeat(256));
        entries.push(Entry::Add(Add {
            owners: vec![(id, key)],
            message,
            redeliveries: 0,
            due_ms: None,
        }));
        *number += 1;
    };
    let mut entries = vec![Entry::Owner { id, record: queue(id.0) }];
    add(&mut entries, &mut number);
    wait(journal.append(Group { entries, wanted: true }));
    let mut peak = 0;
    for _ in 0..scaled(12) {
        for _ in 0..16 {
            let mut entries = Vec::new();
            (0..64).for_each(|_| add(&mut entries, &mut number));
            wait(journal.append(Group { entries, wanted: true }));
            let mut messages = holder.messages.lock();
            let stays = messages.pop_first().unwrap();
            let keys = std::mem::take(&mut *messages).into_iter().collect();
            messages.extend([stays]);
            drop(messages);
            let entries = vec![Entry::Remove { owner: id, keys }];
            wait(journal.append(Group { entries, wanted: true }));
            peak = peak.max(journal.used_bytes());
        }
    }
    let until = Instant::now() + Duration::from_secs(20);
    while journal.used_bytes() > bound(STATE_BYTES, SEGMENT) {
        assert!(Instant::now() < until, "{} bytes are used", journal.used_bytes());
        wait(journal.append(Group { entries: Vec::new(), wanted: true }));
    }
    println!("{number} messages flowed, at most {} KiB used", peak >> 10);
    assert!(peak <= bound(STATE_BYTES, SEGMENT) + 6 * SEGMENT, "{peak}");
    let stays: Vec<_> = holder.messages.lock().iter().map(|(key, at)| (*key, *at)).collect();
    assert_eq!(stays.len(), 1);
    journal.fetch(Arc::downgrade(&holder) as std::sync::Weak<dyn Owner>, stays);
    let mut fetched = holder.fetched.lock();
    while fetched.is_empty() {
        assert!(!holder.told.wait_for(&mut fetched, Duration::from_secs(10)).timed_out());
    }
    assert!(matches!(&fetched[0], (key, Fetched::Message(_)) if key.sequence() == 0));
}
