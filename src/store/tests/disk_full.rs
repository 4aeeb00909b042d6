//! R5: a disk that is full holds producers, not acknowledgements, and all goes on once there is room.

use std::sync::atomic::Ordering;

use super::hand::options;
use super::script::Script;
use super::state::queue;
use super::world::{End, World};
use super::{scaled, seed};
use crate::store::disk::model::ModelDisk;
use crate::store::options::JournalOptions;
use crate::store::{Add, Entry, Key, OwnerId, Pressure};

const SEGMENT: u64 = 4 << 10;

/// Lets the threads of a journal do what they have to.
fn work(world: &mut World) {
    for _ in 0..4 {
        world.opened().write(true);
        world.opened().keep();
    }
}

fn fails_not(world: &World) {
    assert_eq!(world.failures.load(Ordering::Relaxed), 0, "the journal has failed");
}

/// Adds messages until the disk is full; the disk must not be full before that many segments were.
fn fill(world: &mut World, id: OwnerId, held: &mut Vec<Key>) {
    for _ in 0..2000 {
        if world.opened().journal.pressure() == Pressure::Full {
            return;
        }
        let add = world.add(&[id], 0);
        let Entry::Add(Add { owners, .. }) = &add else { unreachable!() };
        held.push(owners[0].1);
        drop(world.append(vec![add], true));
        work(world);
        fails_not(world);
    }
    panic!("the disk is never full: {} messages", held.len());
}

#[test]
fn acknowledgements_go_on_while_the_disk_is_full_and_producers_afterwards() {
    let disk = ModelDisk::default();
    let large = JournalOptions { journal_max_file_length: 4 * SEGMENT, ..options() };
    let mut world = World::new(disk.clone(), large);
    world.open().unwrap();
    disk.limit(Some(disk.used() + 24 * SEGMENT));
    let (id, entry) = world.owner(queue);
    drop(world.append(vec![entry], true));
    let mut held = Vec::new();
    let mut dice = fastrand::Rng::with_seed(seed());
    for round in 0..scaled(20) {
        fill(&mut world, id, &mut held);
        assert!(held.len() > 50, "round {round}: full with {} messages", held.len());
        // One after another, so that each takes as much as it can.
        while !held.is_empty() {
            let key = held.remove(dice.usize(..held.len().min(10)));
            let remove = world.remove(id, &[key]);
            let ticket = world.append(vec![remove], true);
            work(&mut world);
            fails_not(&world);
            let left = held.len();
            assert!(ticket.is_durable(), "round {round}: an acknowledgement waits, {left} left");
        }
        work(&mut world);
        let pressure = world.opened().journal.pressure();
        assert_eq!(pressure, Pressure::Free, "round {round}: all is acknowledged");
    }
    world.end(End::Crash);
    assert!(world.open().unwrap());
}

#[test]
fn a_disk_whose_room_comes_and_goes_loses_nothing() {
    let seed = seed();
    for run in 0..scaled(40) {
        let disk = ModelDisk::default();
        let mut script = Script::new(World::new(disk.clone(), options()), seed + run);
        script.messages = 60;
        script.world.open().unwrap();
        for step in 0..300 {
            if step % 8 == 0 {
                let room = script.dice.u64(..6) * SEGMENT / 2;
                disk.limit(Some(disk.used() + room));
            }
            if script.world.opened().journal.pressure() == Pressure::Full {
                work(&mut script.world);
            } else {
                script.step().unwrap_or_else(|why| panic!("run {run}, step {step}: {why}"));
            }
            // A store that cannot be opened for want of room is opened once there is some.
            if !script.world.is_open() {
                disk.limit(None);
                assert!(script.world.open().unwrap(), "run {run}, step {step}");
            }
            fails_not(&script.world);
        }
        disk.limit(None);
        work(&mut script.world);
        work(&mut script.world);
        let pressure = script.world.opened().journal.pressure();
        assert_eq!(pressure, Pressure::Free, "run {run}: there is room");
        script.world.end(End::Crash);
        assert!(script.world.open().unwrap());
    }
}
