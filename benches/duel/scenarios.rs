//! What the brokers have to do, each in turn, and what is measured meanwhile.

use anyhow::Context;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::brokers::{Broker, Kind};
use crate::java::JavaLoad;
use crate::load::{self, Flow};
use crate::report::{Metric, Row, Sample, Target, rows};

const BODY_BYTES: usize = 1024;
/// Beside it a temporary queue answers with an empty message.
const REQUEST_BYTES: usize = 100;
const QUEUE_MESSAGES: u64 = 100_000;
/// Messages a second that both brokers can sustain, for latency and memory beside saturation.
const PACED_HZ: f64 = 10_000.0;
const PACED_MESSAGES: u64 = 40_000;
/// Messages of the Java producer that its consumer did not receive yet: enough to keep a broker busy,
/// few enough not to measure a backlog.
const JAVA_WINDOW: u64 = 1000;
const TOPIC_MESSAGES: u64 = 2000;
const TOPIC_CONSUMERS: usize = 50;
const REQUESTS: u64 = 5000;
const IDLE_CONNECTIONS: usize = 1000;
const QUEUES: usize = 100_000;
/// ActiveMQ would take minutes and gigabytes for as many as openwired gets.
const ACTIVEMQ_QUEUES: usize = 5000;

const OURS: &str = "openwired";
const JAVA: &str = "Java 5.17.2";

const KINDS: [Kind; 2] = [Kind::Openwired, Kind::ActiveMq];

/// What scenarios need.
#[derive(Debug)]
pub(crate) struct Duel {
    pub(crate) runtime: Runtime,
    pub(crate) java: JavaLoad,
    pub(crate) runs: usize,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&mut Duel) -> anyhow::Result<Vec<Row>>,
}

/// All of them, the short ones first.
pub(crate) const ALL: [Scenario; 6] = [
    Scenario { name: "start", about: "from start to first connection", run: start },
    Scenario { name: "reply", about: "request and reply over a temporary queue", run: reply },
    Scenario { name: "queue", about: "one producer to one consumer, 1 KiB", run: queue },
    Scenario { name: "topic", about: "one producer to 50 consumers of a topic, 1 KiB", run: topic },
    Scenario { name: "connections", about: "1,000 idle connections", run: connections },
    Scenario { name: "queues", about: "100,000 empty queues", run: queues },
];

const fn plain(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, target: None }
}

const fn aimed(name: &'static str, unit: &'static str, target: Target) -> Metric {
    Metric { name, unit, target: Some(target) }
}

const STARTED_IN: Metric = aimed("start to first connection", "ms", Target::Ratio(0.05));
const IDLE_MEMORY: Metric = plain("memory after start", "MiB");
const CPU: Metric = plain("broker CPU per message", "us");
const CPU_QUEUE: Metric = Metric { target: Some(Target::Ratio(0.25)), ..CPU };
const CPU_DELIVERY: Metric = plain("broker CPU per delivery", "us");
const PEAK: Metric = plain("peak memory", "MiB");
const PEAK_QUEUE: Metric = Metric { target: Some(Target::Ratio(0.125)), ..PEAK };
const RATE: Metric = plain("messages received", "1/s");
const P50: Metric = plain("latency p50", "us");
const P99: Metric = plain("latency p99", "us");
const P50_REPLY: Metric = aimed("round trip p50", "us", Target::Ratio(0.7));
const P99_REPLY: Metric = plain("round trip p99", "us");
const PER_CONNECTION: Metric =
    aimed("memory per connection with a consumer", "KiB", Target::AtMost(24.0));
const PER_QUEUE: Metric = aimed("memory per queue", "KiB", Target::AtMost(2.0));

impl Duel {
    fn brokers(&self) -> anyhow::Result<[Broker; 2]> {
        let [openwired, activemq] = KINDS.map(|kind| Broker::start(kind, &self.runtime));
        Ok([openwired?, activemq?])
    }

    /// Measures running brokers in turn, after a round that only warms them up.
    fn in_turn(
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
    fn afresh(
        &mut self,
        mut measure: impl FnMut(&mut Self, &Broker) -> anyhow::Result<Sample>,
    ) -> anyhow::Result<[Vec<Sample>; 2]> {
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..self.runs {
            for (kind, samples) in KINDS.into_iter().zip(&mut samples) {
                let broker = Broker::start(kind, &self.runtime)?;
                samples.push(measure(self, &broker).with_context(|| format!("with {kind}"))?);
            }
        }
        Ok(samples)
    }
}

fn start(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let samples = duel.afresh(|_, broker| {
        let memory = broker.usage()?.rss_kib / 1024.0;
        Ok(vec![(STARTED_IN, broker.started_in.as_secs_f64() * 1e3), (IDLE_MEMORY, memory)])
    })?;
    Ok(rows("start", OURS, &samples))
}

/// Runs `load` and adds to what the client says what the broker used per message.
fn loaded(
    broker: &Broker,
    cpu: Metric,
    messages: u64,
    load: impl FnOnce() -> anyhow::Result<Sample>,
) -> anyhow::Result<Sample> {
    let before = broker.usage()?;
    let mut sample = load()?;
    let after = broker.usage()?;
    let per_message = (after.cpu_seconds - before.cpu_seconds) / messages as f64;
    sample.push((cpu, per_message * 1e6));
    let peak = if cpu == CPU_QUEUE { PEAK_QUEUE } else { PEAK };
    sample.push((peak, after.peak_kib / 1024.0));
    Ok(sample)
}

/// Picks figures out of a client's report.
fn picked(report: &Value, figures: &[(Metric, &str)]) -> anyhow::Result<Sample> {
    let pick = |(metric, pointer): &(Metric, &str)| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        Ok((*metric, value.with_context(|| format!("no {pointer} in {report}"))?))
    };
    figures.iter().map(pick).collect()
}

const JAVA_RATE: (Metric, &str) = (RATE, "/messages_per_second");
const TOOL_P50: (Metric, &str) = (P50, "/latency_us/p50");
const TOOL_P99: (Metric, &str) = (P99, "/latency_us/p99");

fn queue(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers()?;
    let paced = duel.in_turn(&brokers, |duel, broker, name| {
        let flow = Flow {
            url: &broker.url(),
            destination: &format!("queue://{name}.PACED"),
            messages: PACED_MESSAGES,
            bytes: BODY_BYTES,
            consumers: 1,
            rate: PACED_HZ,
        };
        loaded(broker, CPU_QUEUE, flow.messages, || {
            picked(&load::flow(&duel.runtime, &flow)?, &[TOOL_P50, TOOL_P99])
        })
    })?;
    drop(brokers);
    let brokers = duel.brokers()?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let url = broker.url();
        let command = format!("queue {url} {name} {QUEUE_MESSAGES} {BODY_BYTES} {JAVA_WINDOW}");
        loaded(broker, CPU_QUEUE, QUEUE_MESSAGES, || {
            picked(&duel.java.run(&command)?, &[JAVA_RATE])
        })
    })?;
    let mut all = rows("queue 1:1, 10,000/s", OURS, &paced);
    all.extend(rows("queue 1:1, saturated", JAVA, &java));
    Ok(all)
}

fn topic(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers()?;
    let deliveries = TOPIC_MESSAGES * TOPIC_CONSUMERS as u64;
    let ours = duel.in_turn(&brokers, |duel, broker, name| {
        let flow = Flow {
            url: &broker.url(),
            destination: &format!("topic://{name}.TOOL"),
            messages: TOPIC_MESSAGES,
            bytes: BODY_BYTES,
            consumers: TOPIC_CONSUMERS,
            rate: 0.0,
        };
        loaded(broker, CPU_DELIVERY, deliveries, || {
            picked(&load::flow(&duel.runtime, &flow)?, &[JAVA_RATE])
        })
    })?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let url = broker.url();
        let command = format!("topic {url} {name} {TOPIC_MESSAGES} {BODY_BYTES} {TOPIC_CONSUMERS}");
        loaded(broker, CPU_DELIVERY, deliveries, || picked(&duel.java.run(&command)?, &[JAVA_RATE]))
    })?;
    let mut all = rows("topic 1:50", OURS, &ours);
    all.extend(rows("topic 1:50", JAVA, &java));
    Ok(all)
}

fn reply(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers()?;
    let ours = duel.in_turn(&brokers, |duel, broker, name| {
        loaded(broker, CPU, REQUESTS, || {
            let url = broker.url();
            let took = load::reply(&url, name, REQUESTS, REQUEST_BYTES);
            let took = duel.runtime.block_on(took)?;
            let at = |quantile| took.value_at_quantile(quantile) as f64;
            Ok(vec![(P50_REPLY, at(0.5)), (P99_REPLY, at(0.99))])
        })
    })?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let command = format!("reply {} {name}.JAVA {REQUESTS} {REQUEST_BYTES}", broker.url());
        loaded(broker, CPU, REQUESTS, || {
            picked(&duel.java.run(&command)?, &[(P50_REPLY, "/p50"), (P99_REPLY, "/p99")])
        })
    })?;
    let mut all = rows("request/reply", OURS, &ours);
    all.extend(rows("request/reply", JAVA, &java));
    Ok(all)
}

fn connections(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let per_connection = |before: f64, after: f64| {
        vec![(PER_CONNECTION, (after - before) / IDLE_CONNECTIONS as f64)]
    };
    let ours = duel.afresh(|duel, broker| {
        let before = broker.usage()?.rss_kib;
        let (url, count) = (broker.url(), IDLE_CONNECTIONS);
        let open = duel.runtime.block_on(load::connections(&url, "DUEL.IDLE", count))?;
        let after = broker.usage()?.rss_kib;
        drop(open);
        Ok(per_connection(before, after))
    })?;
    let java = duel.afresh(|duel, broker| {
        let before = broker.usage()?.rss_kib;
        duel.java.run(&format!("connect {} DUEL.IDLE {IDLE_CONNECTIONS}", broker.url()))?;
        let after = broker.usage()?.rss_kib;
        duel.java.run("release")?;
        Ok(per_connection(before, after))
    })?;
    let mut all = rows("1,000 idle connections", OURS, &ours);
    all.extend(rows("1,000 idle connections", JAVA, &java));
    Ok(all)
}

fn queues(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let samples = duel.afresh(|duel, broker| {
        let count = match broker.kind {
            Kind::Openwired => QUEUES,
            Kind::ActiveMq => ACTIVEMQ_QUEUES,
        };
        let before = broker.usage()?.rss_kib;
        duel.runtime.block_on(load::create_queues(&broker.url(), count))?;
        Ok(vec![(PER_QUEUE, (broker.usage()?.rss_kib - before) / count as f64)])
    })?;
    Ok(rows("100,000 queues (ActiveMQ: 5,000)", OURS, &samples))
}
