//! R7: a slave that follows finds the same store as one that reads it afresh, whatever has become of its
//! master.

use std::sync::Arc;

use super::hand::{directory, options};
use super::script::Script;
use super::world::World;
use super::{scaled, seed};
use crate::store::disk::model::ModelDisk;
use crate::store::follower::Follower;

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    takeovers: u64,
    /// Those with most read before.
    warm: u64,
}

/// A life of a store with a slave beside each master, which looks now and then.
fn live(seed: u64, steps: usize, tally: &mut Tally) -> Result<(), String> {
    let disk = ModelDisk::default();
    let mut script = Script::new(World::new(disk.clone(), options()), seed);
    script.ends = 30;
    script.world.open()?;
    let mut looks = fastrand::Rng::with_seed(seed);
    for _ in 0..steps {
        if script.world.slave.is_none() {
            script.world.slave = Some(Follower::new(Arc::new(disk.clone()), directory()));
        }
        if looks.u8(..3) == 0
            && let Some(slave) = &mut script.world.slave
        {
            let before = slave.progress();
            let after = slave.advance();
            if !before.is_cold && !after.is_cold && after.sequence < before.sequence {
                return Err(format!("went back from {before:?} to {after:?}"));
            }
        }
        script.step()?;
        if script.world.slave.is_none() {
            tally.takeovers += 1;
            tally.warm += u64::from(script.world.opened().recovered.followed);
        }
    }
    Ok(())
}

#[test]
fn a_slave_that_follows_finds_what_was_confirmed() {
    let mut tally = Tally::default();
    let first = seed();
    for seed in first..first + scaled(100) {
        live(seed, 300, &mut tally).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    println!("{tally:?}");
    assert!(tally.warm * 2 > tally.takeovers, "few were warm: {tally:?}");
}

#[test]
fn a_slave_follows_from_segment_to_segment_and_changes_nothing() {
    let disk = ModelDisk::default();
    let mut script = Script::new(World::new(disk.clone(), options()), 7);
    script.ends = 0;
    script.world.open().unwrap();
    let mut slave = Follower::new(Arc::new(disk.clone()), directory());
    assert!(!slave.advance().is_cold);
    let mut behind = 0;
    for _ in 0..2000 {
        script.step().unwrap();
        script.world.opened().write(true);
        let before = disk.image();
        let progress = slave.advance();
        assert_eq!(format!("{before:?}"), format!("{:?}", disk.image()), "a slave only reads");
        assert!(!progress.is_cold);
        behind = behind.max(progress.seen - progress.sequence);
    }
    // What was written last is said to be durable by what is written next.
    assert!(behind <= 8, "{behind} batches");
    assert!(slave.progress().sequence > 1000, "{:?}", slave.progress());
}
