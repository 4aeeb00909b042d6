//! Scenarios with messages that outlive the broker.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::brokers::{Broker, Storage};
use crate::load::Way;
use crate::machine::{self, Floor};
use crate::report::{Metric, Row, Sample, Target, rows};
use crate::rounds::{
    BODY_BYTES, CPU, Duel, JAVA, OURS, P50, P50_AT, P99, P99_AT, PEAK, RATE_AT, aimed, loaded,
    picked, plain,
};

const MIB: u64 = 1 << 20;

/// How ActiveMQ fills fastest: two producers, and transactions so large that confirming costs little.
const FILL_PRODUCERS: usize = 2;
const FILL_BATCH: u64 = 1000;

const STALL_MESSAGES: u64 = 20_000;
/// More than a page of ActiveMQ's cursor (200), and than the prefetch (1,000).
const STALL_BATCH: u64 = 2000;
/// A consumer to which nothing came for so long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// What is alive at once beside the message that stays: one queue is filled and drained, then the next.
const PINNED_LIVE_MIB: u64 = 16;
const PINNED_BODY_BYTES: usize = 16 << 10;
/// Twice what lives, and two segments of 32 MiB.
const PINNED_DISK_MIB: f64 = (2 * PINNED_LIVE_MIB + 2 * 32) as f64;

const STORED: Metric = plain("messages stored", "1/s");
const CPU_STORED: Metric = Metric { target: Some(Target::Ratio(0.125)), ..CPU };
const SYNC: Metric = plain("fdatasync of a file p50", "us");
const ROUND_TRIP: Metric = plain("loopback round trip p50", "us");
const FLOOR_CPU: Metric = plain("CPU of one fdatasync and one answer alone", "us");
const BY_FLOOR: Metric =
    aimed("latency p50 by fdatasync + round trip", "times", Target::AtMost(1.5));
const FILLED: Metric = aimed("fill", "1/s", Target::RatioAtLeast(2.5));
const DRAINED: Metric = aimed("drain", "1/s", Target::RatioAtLeast(2.5));
const FULL_MEMORY: Metric = aimed("memory with all stored", "MiB", Target::AtMost(100.0));
const RESTARTED_IN: Metric = aimed("kill -9, start to connection", "ms", Target::AtMost(400.0));
const RESTART_RATIO: Metric = Metric { target: Some(Target::Ratio(0.1)), ..RESTARTED_IN };
const RECEIVED: Metric =
    aimed("messages received", "of 20,000", Target::AtLeast(STALL_MESSAGES as f64));
const RECEIVED_AT: &str = "/messages";
const LONGEST_WAIT: Metric = plain("longest wait for a message", "ms");
const PEAK_DISK: Metric = aimed("peak disk use", "MiB", Target::AtMost(PINNED_DISK_MIB));

/// One way to send messages of 1 KiB that nobody receives meanwhile.
#[derive(Debug, Clone, Copy)]
struct Storing {
    scenario: &'static str,
    producers: usize,
    /// Of one producer.
    messages: u64,
    /// Of one transaction; 0 has each message confirmed before the next.
    batch: u64,
    /// By how much ActiveMQ's rate is to be exceeded.
    at_least: f64,
}

pub(crate) fn sync(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let one = Storing {
        scenario: "sync, 1 producer",
        producers: 1,
        messages: 5000,
        batch: 0,
        at_least: 2.0,
    };
    let many = Storing {
        scenario: "sync, 64 producers",
        producers: 64,
        messages: 300,
        at_least: 4.0,
        ..one
    };
    let mut all = one.measure(duel)?;
    all.extend(many.measure(duel)?);
    Ok(all)
}

pub(crate) fn transacted(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let scenario = "transactions of 100";
    Storing { scenario, producers: 1, messages: 60_000, batch: 100, at_least: 3.0 }.measure(duel)
}

impl Storing {
    fn measure(&self, duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
        let mut all = Vec::new();
        for client in [OURS, JAVA] {
            let brokers = duel.brokers(Storage::Disk)?;
            let samples = duel.in_turn(&brokers, |duel, broker, queue| {
                // The Java client's own threads are in its latency, so it has nothing to compare.
                let floor = (client == OURS && self.batch == 0 && self.producers == 1)
                    .then(Floor::measure)
                    .transpose()?;
                let mut sample = self.round(duel, broker, queue, client)?;
                if let Some(floor) = floor {
                    compare(&mut sample, floor)?;
                }
                Ok(sample)
            })?;
            all.extend(rows(self.scenario, client, &samples));
        }
        Ok(all)
    }

    /// Fills a queue and, when everything is measured, empties it.
    fn round(
        &self,
        duel: &mut Duel,
        broker: &Broker,
        queue: &str,
        client: &str,
    ) -> anyhow::Result<Sample> {
        let Self { producers, messages, batch, .. } = *self;
        let (url, destination) = (broker.url(), format!("queue://{queue}"));
        let all = messages * producers as u64;
        let stored = Metric { target: Some(Target::RatioAtLeast(self.at_least)), ..STORED };
        let sample = loaded(broker, [CPU_STORED, PEAK], all, || {
            let report = if client == JAVA {
                let how = format!("{producers} {messages} {BODY_BYTES} {batch}");
                duel.java.run(&format!("send {url} {queue} {how}"))
            } else {
                let way = Way { url: &url, destination: &destination, messages };
                way.fill(producers, BODY_BYTES, batch)
            };
            let figures = [(stored, RATE_AT), (P50, P50_AT), (P99, P99_AT)];
            // With transactions the clients mean different things by latency.
            let kept = if batch == 0 { figures.as_slice() } else { &[(stored, RATE_AT)] };
            picked(&report?, kept)
        })?;
        ensure_stored(broker, all * BODY_BYTES as u64)?;
        Way { url: &url, destination: &destination, messages: all }.drain()?;
        Ok(sample)
    }
}

fn compare(sample: &mut Sample, floor: Floor) -> anyhow::Result<()> {
    let p50 = sample.iter().find(|(metric, _)| *metric == P50).context("no p50")?.1;
    let Floor { sync_us, round_trip_us, cpu_us } = floor;
    sample.push((SYNC, sync_us));
    sample.push((ROUND_TRIP, round_trip_us));
    sample.push((FLOOR_CPU, cpu_us));
    sample.push((BY_FLOOR, p50 / (sync_us + round_trip_us)));
    Ok(())
}

pub(crate) fn backlog(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let samples = duel.afresh(Storage::Disk, |duel, broker| {
        let url = broker.url();
        let (filled, way) = fill(broker, &url, "queue://DUEL.BACKLOG", duel.messages)?;
        let mut sample = picked(&filled, &[(FILLED, RATE_AT)])?;
        sample.push((FULL_MEMORY, broker.usage()?.rss_kib / 1024.0));
        broker.restart(&duel.runtime)?;
        let restarted_ms = broker.started_in.as_secs_f64() * 1e3;
        sample.extend([(RESTARTED_IN, restarted_ms), (RESTART_RATIO, restarted_ms)]);
        sample.extend(picked(&way.drain()?, &[(DRAINED, RATE_AT)])?);
        Ok(sample)
    })?;
    Ok(rows("backlog", OURS, &samples))
}

pub(crate) fn stall(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    for client in [OURS, JAVA] {
        let samples = duel.afresh(Storage::Disk, |duel, broker| {
            let url = broker.url();
            let (_, way) = fill(broker, &url, "queue://DUEL.STALL", STALL_MESSAGES)?;
            if client == OURS {
                let report = way.receive(STALL_BATCH, STALLED_AFTER)?;
                return picked(&report, &[(RECEIVED, RECEIVED_AT)]);
            }
            let patience = STALLED_AFTER.as_millis();
            let how = format!("DUEL.STALL {STALL_MESSAGES} {STALL_BATCH} {patience}");
            let report = duel.java.run(&format!("receive {url} {how}"))?;
            picked(&report, &[(RECEIVED, RECEIVED_AT), (LONGEST_WAIT, "/longest_wait_ms")])
        })?;
        all.extend(rows("receiving 2,000 a transaction", client, &samples));
    }
    Ok(all)
}

pub(crate) fn pinned(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let samples = duel.afresh(Storage::Disk, |duel, broker| {
        let url = broker.url();
        let stays = Way { url: &url, destination: "queue://DUEL.PINNED", messages: 1 };
        stays.fill(1, PINNED_BODY_BYTES, 0)?;
        let peak = machine::peak_bytes(&broker.store(), || {
            let messages = PINNED_LIVE_MIB * MIB / PINNED_BODY_BYTES as u64;
            for queue in 0..duel.volume_mib / PINNED_LIVE_MIB {
                let destination = &format!("queue://DUEL.{queue}");
                let passes = Way { url: &url, destination, messages };
                passes.fill(1, PINNED_BODY_BYTES, FILL_BATCH)?;
                ensure_stored(broker, PINNED_LIVE_MIB * MIB)?;
                passes.drain()?;
            }
            Ok(())
        })?;
        stays.drain().context("the message that stays")?;
        Ok(vec![(PEAK_DISK, peak as f64 / MIB as f64)])
    })?;
    Ok(rows("one old message", OURS, &samples))
}

/// Fails for a broker that only keeps in memory what it was to store: that is no contest.
fn ensure_stored(broker: &Broker, bytes: u64) -> anyhow::Result<()> {
    let stored = machine::disk_bytes(&broker.store());
    ensure!(stored >= bytes, "{} has {stored} bytes on the disk, of {bytes}", broker.kind);
    Ok(())
}

/// Sends messages of 1 KiB to a queue as fast as it goes, and returns its report and the way out.
fn fill<'a>(
    broker: &Broker,
    url: &'a str,
    destination: &'a str,
    messages: u64,
) -> anyhow::Result<(Value, Way<'a>)> {
    let producers = FILL_PRODUCERS as u64;
    let each = Way { url, destination, messages: messages / producers };
    let report = each.fill(FILL_PRODUCERS, BODY_BYTES, FILL_BATCH)?;
    let all = Way { messages: each.messages * producers, ..each };
    ensure_stored(broker, all.messages * BODY_BYTES as u64)?;
    Ok((report, all))
}
