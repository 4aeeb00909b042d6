//! A round: both brokers in turn get the same load, and what they used for it is measured.

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::brokers::{Broker, Kind, Storage};
use crate::java::JavaLoad;
use crate::report::{Metric, Row, Sample, Target};

pub(crate) const BODY_BYTES: usize = 1024;

pub(crate) const OURS: &str = "openwired";
pub(crate) const JAVA: &str = "Java 5.17.2";

pub(crate) const CPU: Metric = plain("broker CPU per message", "us");
pub(crate) const PEAK: Metric = plain("peak memory", "MiB");
pub(crate) const P50: Metric = plain("latency p50", "us");
pub(crate) const P99: Metric = plain("latency p99", "us");

/// Where the reports of both clients have a figure.
pub(crate) const RATE_AT: &str = "/messages_per_second";
pub(crate) const P50_AT: &str = "/latency_us/p50";
pub(crate) const P99_AT: &str = "/latency_us/p99";

const KINDS: [Kind; 2] = [Kind::Openwired, Kind::ActiveMq];

/// What scenarios need.
#[derive(Debug)]
pub(crate) struct Duel {
    pub(crate) runtime: Runtime,
    pub(crate) java: JavaLoad,
    pub(crate) runs: usize,
    /// Messages of a backlog.
    pub(crate) messages: u64,
    /// MiB that flow past a message that stays.
    pub(crate) volume_mib: u64,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Duel) -> anyhow::Result<Vec<Row>>,
}

pub(crate) const fn plain(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, target: None }
}

pub(crate) const fn aimed(name: &'static str, unit: &'static str, target: Target) -> Metric {
    Metric { name, unit, target: Some(target) }
}

impl Duel {
    /// Starts both brokers.
    pub(crate) fn brokers(&self, storage: Storage) -> anyhow::Result<[Broker; 2]> {
        let [openwired, activemq] = KINDS.map(|kind| Broker::start(kind, storage, &self.runtime));
        Ok([openwired?, activemq?])
    }

    /// Measures running brokers in turn, after a round that only warms them up.
    pub(crate) fn in_turn(
        &mut self,
        brokers: &[Broker; 2],
        mut measure: impl FnMut(&mut Self, &Broker, &str) -> anyhow::Result<Sample>,
    ) -> anyhow::Result<[Vec<Sample>; 2]> {
        let mut samples = [Vec::new(), Vec::new()];
        for round in 0..=self.runs {
            for (broker, samples) in brokers.iter().zip(&mut samples) {
                broker.forget_peak()?;
                let sample = measure(self, broker, &format!("DUEL.{round}"))
                    .with_context(|| format!("with {}", broker.kind))?;
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
        Ok(samples)
    }

    /// Measures brokers in turn, each started anew for each run.
    pub(crate) fn afresh(
        &mut self,
        storage: Storage,
        mut measure: impl FnMut(&mut Self, &mut Broker) -> anyhow::Result<Sample>,
    ) -> anyhow::Result<[Vec<Sample>; 2]> {
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..self.runs {
            for (kind, samples) in KINDS.into_iter().zip(&mut samples) {
                let mut broker = Broker::start(kind, storage, &self.runtime)?;
                samples.push(measure(self, &mut broker).with_context(|| format!("with {kind}"))?);
            }
        }
        Ok(samples)
    }
}

/// Runs `load` and adds to what the client says what the broker used: processor time a message
/// as `cpu`, memory as `peak`.
pub(crate) fn loaded(
    broker: &Broker,
    [cpu, peak]: [Metric; 2],
    messages: u64,
    load: impl FnOnce() -> anyhow::Result<Sample>,
) -> anyhow::Result<Sample> {
    let before = broker.usage()?;
    let mut sample = load()?;
    let after = broker.usage()?;
    let per_message = (after.cpu_seconds - before.cpu_seconds) / messages as f64;
    sample.push((cpu, per_message * 1e6));
    sample.push((peak, after.peak_kib / 1024.0));
    Ok(sample)
}

/// Picks figures out of a client's report.
pub(crate) fn picked(report: &Value, figures: &[(Metric, &str)]) -> anyhow::Result<Sample> {
    let pick = |(metric, pointer): &(Metric, &str)| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        Ok((*metric, value.with_context(|| format!("no {pointer} in {report}"))?))
    };
    figures.iter().map(pick).collect()
}
