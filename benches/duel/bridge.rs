//! What a bridge between two brokers of one kind carries.

use crate::brokers::{Broker, Storage};
use crate::load::Way;
use crate::report::{Metric, Row, Sample, Target, rows};
use crate::rounds::{BODY_BYTES, Duel, OURS, RATE_AT, picked, plain};

/// A backlog that ActiveMQ needs some ten seconds for.
const MESSAGES: u64 = 20_000;
/// What is sent in one transaction.
const FILL_BATCH: u64 = 1000;

const CARRIED: Metric = plain("messages received at the other end", "1/s");
const CPU_BOTH: Metric = plain("CPU of both brokers per message", "us");

/// Drains, at one broker, a backlog of another that has a bridge to it.
pub(crate) fn bridge(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    for (scenario, storage, at_least) in [
        ("bridge, persistent", Storage::Disk, 8.0),
        ("bridge, non-persistent", Storage::Memory, 5.0),
    ] {
        let samples = duel.afresh(storage, |duel, to| {
            let from = to.start_bridged(storage, &duel.runtime)?;
            carry(&from, to, storage, at_least)
        })?;
        all.extend(rows(scenario, OURS, &samples));
    }
    Ok(all)
}

fn carry(from: &Broker, to: &Broker, storage: Storage, at_least: f64) -> anyhow::Result<Sample> {
    let (far, near) = (from.url(), to.url());
    let there = Way { url: &far, destination: "queue://DUEL.BRIDGE", messages: MESSAGES };
    match storage {
        Storage::Disk => there.fill(1, BODY_BYTES, FILL_BATCH)?,
        Storage::Memory => there.fill_transient(BODY_BYTES)?,
    };
    let cpu = || Ok::<_, anyhow::Error>(from.usage()?.cpu_seconds + to.usage()?.cpu_seconds);
    let before = cpu()?;
    let report = Way { url: &near, ..there }.drain()?;
    let used = cpu()? - before;
    let carried = Metric { target: Some(Target::RatioAtLeast(at_least)), ..CARRIED };
    let mut sample = picked(&report, &[(carried, RATE_AT)])?;
    sample.push((CPU_BOTH, used / MESSAGES as f64 * 1e6));
    Ok(sample)
}
