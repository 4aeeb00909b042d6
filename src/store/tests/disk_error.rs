//! R4: each operation of a disk may fail, once or from then on.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::hand::options;
use super::scaled;
use super::script::Script;
use super::world::{End, World, recover};
use crate::store::disk::model::{Act, Failure, Fault, ModelDisk};

/// Steps of the workload, and its number.
const STEPS: u64 = 40;
const WORKLOAD: u64 = 3;

fn script(fault: Fault) -> Script {
    let disk = ModelDisk::default();
    disk.plan(Some(fault));
    let mut script = Script::new(World::new(disk, options()), WORKLOAD);
    script.ends = 60;
    script
}

/// How many operations can fail so.
fn count(failure: Failure) -> u64 {
    let mut script = script(Fault { failure, at: u64::MAX, sticky: false });
    script.run(scaled(STEPS) as usize).unwrap();
    script.world.disk.faults().count
}

/// Whether a failure of that must end the journal: what it was for can be confirmed no more.
fn must_end(act: Act, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    matches!(act, Act::Write | Act::Sync | Act::SyncDirectory) && !name.ends_with(".idx")
}

/// Has one operation after another fail so.
#[cfg(feature = "planted-bugs")]
pub(super) fn fail_each(failure: Failure) -> Result<(), String> {
    (0..count(failure)).try_for_each(|at| fail(Fault { failure, at, sticky: false }))
}

/// Has one operation fail. What was confirmed must be there afterwards, whether power is lost or not.
fn fail(fault: Fault) -> Result<(), String> {
    let mut script = script(fault);
    script.run(scaled(STEPS) as usize)?;
    let world = &mut script.world;
    let faults = world.disk.faults();
    if faults.retried_syncs > 0 {
        return Err("a sync was tried again".to_owned());
    }
    let told = world.failures.load(Ordering::Relaxed);
    if let Some(first) = faults.first.filter(|(act, path)| must_end(*act, path))
        && told == 0
        && world.is_open()
    {
        return Err(format!("a failure was passed over: {first:?}"));
    }
    if told > 0 && world.is_open() && !world.opened().is_running() {
        ended_for_good(world)?;
    }
    if told > 1 {
        return Err(format!("the failure was told {told} times"));
    }
    world.end(End::Crash);
    world.disk.plan(None);
    let expected = world.ledger.lock().expected();
    let image = world.disk.image();
    for subset in [0, 21, fault.at + 64] {
        recover(image.cut(subset), &expected, &options(), &mut world.bodies, false)?;
    }
    // Without a power cut: the next process finds what the disk lost still in memory.
    if !world.open()? {
        return Err("it cannot be opened again".to_owned());
    }
    let expected = world.ledger.lock().expected();
    recover(world.disk.image().cut(0), &expected, &options(), &mut world.bodies, false)
        .map_err(|why| format!("after another process: {why}"))
}

/// A journal that has failed confirms nothing any more.
fn ended_for_good(world: &mut World) -> Result<(), String> {
    let confirmed = world.confirmed();
    world.opened().write(true);
    world.opened().keep();
    let ticket = world.opened().journal.append(Default::default());
    match ticket.is_durable() || world.confirmed() > confirmed {
        true => Err("something was confirmed after the end".to_owned()),
        false => Ok(()),
    }
}

fn every_failure(sticky: bool) {
    let started = Instant::now();
    let mut runs = 0;
    for failure in Failure::ALL {
        for at in 0..count(failure) {
            let fault = Fault { failure, at, sticky };
            runs += 1;
            fail(fault).unwrap_or_else(|why| panic!("{fault:?}: {why}"));
        }
    }
    println!("{runs} failures in {:?}", started.elapsed());
}

#[test]
fn what_was_confirmed_survives_each_failure_of_the_disk() {
    every_failure(false);
}

#[test]
fn what_was_confirmed_survives_a_disk_that_fails_for_good() {
    every_failure(true);
}
