//! What the brokers have to do: the list, and those scenarios that need no disk.

use crate::bridge::bridge;
use crate::brokers::{Kind, Storage};
use crate::load::{self, Kinds, Way};
use crate::persistent::{backlog, pinned, stall, sync, transacted};
use crate::report::{Metric, Row, Target, rows};
use crate::rounds::{
    BODY_BYTES, CPU, Duel, JAVA, OURS, P50, P50_AT, P99, P99_AT, PEAK, RATE_AT, Scenario, aimed,
    loaded, picked, plain,
};

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
const SELECTORS: u64 = 10;
/// How many messages of a kind stand in a row; what it is called on disk, and in memory.
const SELECTED: [(u64, &str, &str); 2] = [
    (1, "selectors, kinds in turn, persistent", "selectors, kinds in turn, non-persistent"),
    (5000, "selectors, kinds in blocks, persistent", "selectors, kinds in blocks, non-persistent"),
];
/// Persistent messages that are sent in one transaction.
const SELECTED_BATCH: u64 = 1000;
const IDLE_CONNECTIONS: usize = 1000;
const QUEUES: usize = 100_000;
/// ActiveMQ would take minutes and gigabytes for as many as openwired gets.
const ACTIVEMQ_QUEUES: usize = 5000;

/// All of them, the short ones first.
pub(crate) const ALL: [Scenario; 13] = [
    Scenario { name: "start", about: "from start to first connection", run: start },
    Scenario { name: "reply", about: "request and reply over a temporary queue", run: reply },
    Scenario { name: "queue", about: "one producer to one consumer, 1 KiB", run: queue },
    Scenario { name: "topic", about: "one producer to 50 consumers of a topic, 1 KiB", run: topic },
    Scenario { name: "selectors", about: "a full queue to 10 disjoint selectors", run: selectors },
    Scenario { name: "connections", about: "1,000 idle connections", run: connections },
    Scenario { name: "queues", about: "100,000 empty queues", run: queues },
    Scenario { name: "sync", about: "persistent messages, each confirmed alone", run: sync },
    Scenario { name: "transacted", about: "transactions of 100 messages", run: transacted },
    Scenario { name: "bridge", about: "a backlog over a bridge, 1 KiB", run: bridge },
    Scenario { name: "stall", about: "transactions of 2,000 messages received", run: stall },
    Scenario { name: "pinned", about: "one old message while others come and go", run: pinned },
    Scenario { name: "backlog", about: "fill, kill, start again, drain", run: backlog },
];

const STARTED_IN: Metric = aimed("start to first connection", "ms", Target::Ratio(0.05));
const IDLE_MEMORY: Metric = plain("memory after start", "MiB");
const CPU_QUEUE: Metric = Metric { target: Some(Target::Ratio(0.25)), ..CPU };
const CPU_DELIVERY: Metric = plain("broker CPU per delivery", "us");
const PEAK_QUEUE: Metric = Metric { target: Some(Target::Ratio(0.125)), ..PEAK };
const RATE: Metric = plain("messages received", "1/s");
const RATE_SELECTED: Metric = aimed("messages received", "1/s", Target::RatioAtLeast(10.0));
const ALL_FED: Metric = plain("until every consumer has one", "ms");
const P50_REPLY: Metric = aimed("round trip p50", "us", Target::Ratio(0.7));
const P99_REPLY: Metric = plain("round trip p99", "us");
const PER_CONNECTION: Metric =
    aimed("memory per connection with a consumer", "KiB", Target::AtMost(24.0));
const PER_QUEUE: Metric = aimed("memory per queue", "KiB", Target::AtMost(2.0));

fn start(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let samples = duel.afresh(Storage::Memory, |_, broker| {
        let memory = broker.usage()?.rss_kib / 1024.0;
        Ok(vec![(STARTED_IN, broker.started_in.as_secs_f64() * 1e3), (IDLE_MEMORY, memory)])
    })?;
    Ok(rows("start", OURS, &samples))
}

fn queue(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers(Storage::Memory)?;
    let paced = duel.in_turn(&brokers, |duel, broker, name| {
        let way = Way {
            url: &broker.url(),
            destination: &format!("queue://{name}.PACED"),
            messages: PACED_MESSAGES,
        };
        loaded(broker, [CPU_QUEUE, PEAK_QUEUE], way.messages, || {
            let report = way.flow(&duel.runtime, BODY_BYTES, 1, PACED_HZ)?;
            picked(&report, &[(P50, P50_AT), (P99, P99_AT)])
        })
    })?;
    drop(brokers);
    let brokers = duel.brokers(Storage::Memory)?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let url = broker.url();
        let command = format!("queue {url} {name} {QUEUE_MESSAGES} {BODY_BYTES} {JAVA_WINDOW}");
        loaded(broker, [CPU_QUEUE, PEAK_QUEUE], QUEUE_MESSAGES, || {
            picked(&duel.java.run(&command)?, &[(RATE, RATE_AT)])
        })
    })?;
    let mut all = rows("queue 1:1, 10,000/s", OURS, &paced);
    all.extend(rows("queue 1:1, saturated", JAVA, &java));
    Ok(all)
}

fn topic(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers(Storage::Memory)?;
    let deliveries = TOPIC_MESSAGES * TOPIC_CONSUMERS as u64;
    let ours = duel.in_turn(&brokers, |duel, broker, name| {
        let way = Way {
            url: &broker.url(),
            destination: &format!("topic://{name}.TOOL"),
            messages: TOPIC_MESSAGES,
        };
        loaded(broker, [CPU_DELIVERY, PEAK], deliveries, || {
            let report = way.flow(&duel.runtime, BODY_BYTES, TOPIC_CONSUMERS, 0.0)?;
            picked(&report, &[(RATE, RATE_AT)])
        })
    })?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let url = broker.url();
        let command = format!("topic {url} {name} {TOPIC_MESSAGES} {BODY_BYTES} {TOPIC_CONSUMERS}");
        loaded(broker, [CPU_DELIVERY, PEAK], deliveries, || {
            picked(&duel.java.run(&command)?, &[(RATE, RATE_AT)])
        })
    })?;
    let mut all = rows("topic 1:50", OURS, &ours);
    all.extend(rows("topic 1:50", JAVA, &java));
    Ok(all)
}

fn selectors(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    for (block, stored, in_memory) in SELECTED {
        let kinds = Kinds {
            messages: QUEUE_MESSAGES,
            bytes: REQUEST_BYTES,
            count: SELECTORS,
            block,
            batch: SELECTED_BATCH,
        };
        let samples = duel.afresh(Storage::Disk, |duel, broker| {
            loaded(broker, [CPU, PEAK], QUEUE_MESSAGES, || {
                let url = broker.url();
                let took = load::selected(&url, "DUEL.SELECTORS", kinds);
                let took = duel.runtime.block_on(took)?;
                let rate = QUEUE_MESSAGES as f64 / took.all.as_secs_f64();
                Ok(vec![(RATE_SELECTED, rate), (ALL_FED, took.fed.as_secs_f64() * 1e3)])
            })
        })?;
        all.extend(rows(stored, OURS, &samples));
        let both = [(stored, Storage::Disk, SELECTED_BATCH), (in_memory, Storage::Memory, 0)];
        for (what, storage, batch) in both {
            let samples = duel.afresh(storage, |duel, broker| {
                let how = format!("{QUEUE_MESSAGES} {REQUEST_BYTES} {SELECTORS} {block} {batch}");
                let command = format!("selectors {} DUEL.SELECTORS {how}", broker.url());
                let figures = [(RATE_SELECTED, RATE_AT), (ALL_FED, "/fed_ms")];
                loaded(broker, [CPU, PEAK], QUEUE_MESSAGES, || {
                    picked(&duel.java.run(&command)?, &figures)
                })
            })?;
            all.extend(rows(what, JAVA, &samples));
        }
    }
    Ok(all)
}

fn reply(duel: &mut Duel) -> anyhow::Result<Vec<Row>> {
    let brokers = duel.brokers(Storage::Memory)?;
    let ours = duel.in_turn(&brokers, |duel, broker, name| {
        loaded(broker, [CPU, PEAK], REQUESTS, || {
            let url = broker.url();
            let took = load::reply(&url, name, REQUESTS, REQUEST_BYTES);
            let took = duel.runtime.block_on(took)?;
            let at = |quantile| took.value_at_quantile(quantile) as f64;
            Ok(vec![(P50_REPLY, at(0.5)), (P99_REPLY, at(0.99))])
        })
    })?;
    let java = duel.in_turn(&brokers, |duel, broker, name| {
        let command = format!("reply {} {name}.JAVA {REQUESTS} {REQUEST_BYTES}", broker.url());
        loaded(broker, [CPU, PEAK], REQUESTS, || {
            picked(&duel.java.run(&command)?, &[(P50_REPLY, P50_AT), (P99_REPLY, P99_AT)])
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
    let ours = duel.afresh(Storage::Memory, |duel, broker| {
        let before = broker.usage()?.rss_kib;
        let (url, count) = (broker.url(), IDLE_CONNECTIONS);
        let open = duel.runtime.block_on(load::connections(&url, "DUEL.IDLE", count))?;
        let after = broker.usage()?.rss_kib;
        drop(open);
        Ok(per_connection(before, after))
    })?;
    let java = duel.afresh(Storage::Memory, |duel, broker| {
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
    let samples = duel.afresh(Storage::Memory, |duel, broker| {
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
