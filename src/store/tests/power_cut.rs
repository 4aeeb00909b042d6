//! R1: power may be lost before any change of the disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::hand::{Bodies, options};
use super::script::Script;
use super::world::{Expected, World, recover};
use super::{scaled, seed};
use crate::store::disk::model::{Image, ModelDisk, SUBSETS};

/// Changes of the disk in the fixed workload, and the number of the workload.
const MOMENTS: usize = 2000;
const WORKLOAD: u64 = 1;
/// The fixed workload is tried by so many tests, which run beside each other.
const PARTS: usize = 4;
/// Every so many recoveries are done a second time.
const AGAIN: u64 = 8;

/// What is there at the moment when power is lost, and what must be there after it.
struct Cut {
    image: Image,
    expected: Expected,
}

/// What was tried.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cuts: u64,
    /// Of disks that differ.
    recoveries: u64,
}

/// The moments before the first changes of the disk in a script.
fn cuts(seed: u64, count: usize) -> Result<Vec<Cut>, String> {
    let disk = ModelDisk::default();
    let world = World::new(disk.clone(), options());
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let (seen, ledger) = (Arc::clone(&cuts), Arc::clone(&world.ledger));
    disk.observe(move |image| {
        let expected = ledger.lock().expected();
        seen.lock().push(Cut { image: image.clone(), expected });
    });
    let mut script = Script::new(world, seed);
    script.world.open()?;
    while cuts.lock().len() < count {
        script.step()?;
    }
    disk.observe(|_| {});
    let mut cuts = std::mem::take(&mut *cuts.lock());
    cuts.truncate(count);
    Ok(cuts)
}

impl Tally {
    /// Has power lost at a moment as `subsets` say. Ways that leave the same disk are looked at once.
    fn lose_power(
        &mut self,
        cut: &Cut,
        subsets: impl Iterator<Item = u64>,
        bodies: &mut Bodies,
    ) -> Result<(), String> {
        let mut seen = HashSet::new();
        for subset in subsets {
            self.cuts += 1;
            let image = cut.image.cut(subset);
            if seen.insert(image.fingerprint(&cut.image)) {
                self.recoveries += 1;
                let again = self.recoveries.is_multiple_of(AGAIN);
                recover(image, &cut.expected, &options(), bodies, again)
                    .map_err(|why| format!("subset {subset}: {why}\n{:?}", cut.image))?;
            }
        }
        Ok(())
    }
}

/// A part of the moments of the fixed workload, in all ways.
fn every_cut(part: usize) -> Result<Tally, String> {
    let started = Instant::now();
    let cuts = cuts(WORKLOAD, MOMENTS)?;
    let mut tally = Tally::default();
    let mut bodies = Bodies::default();
    for (index, cut) in cuts.iter().enumerate().skip(part).step_by(PARTS) {
        tally
            .lose_power(cut, 0..SUBSETS, &mut bodies)
            .map_err(|why| format!("moment {index}: {why}"))?;
    }
    println!("part {part} of {PARTS}: {tally:?}, {:?}", started.elapsed());
    Ok(tally)
}

fn part(part: usize) {
    let tally = every_cut(part).unwrap();
    assert_eq!(tally.cuts, MOMENTS as u64 * SUBSETS / PARTS as u64);
}

#[test]
fn what_was_confirmed_survives_a_power_cut_at_any_moment_part_1() {
    part(0);
}

#[test]
fn what_was_confirmed_survives_a_power_cut_at_any_moment_part_2() {
    part(1);
}

#[test]
fn what_was_confirmed_survives_a_power_cut_at_any_moment_part_3() {
    part(2);
}

#[test]
fn what_was_confirmed_survives_a_power_cut_at_any_moment_part_4() {
    part(3);
}

/// Power cuts in workloads of their own, until there were that many.
pub(super) fn random_cuts(seed: u64, count: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in seed.. {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut bodies = Bodies::default();
        let fail = |why| format!("seed {seed}: {why}");
        for cut in cuts(seed, 400).map_err(fail)? {
            if dice.u8(..4) == 0 {
                let subsets: Vec<u64> = (0..4).map(|_| dice.u64(..)).collect();
                tally.lose_power(&cut, subsets.into_iter(), &mut bodies).map_err(fail)?;
            }
        }
        if tally.cuts >= count {
            break;
        }
    }
    Ok(tally)
}

#[test]
fn what_was_confirmed_survives_random_power_cuts() {
    let started = Instant::now();
    let tally = random_cuts(seed(), scaled(4000)).unwrap();
    println!("{tally:?}, {:?}", started.elapsed());
}
