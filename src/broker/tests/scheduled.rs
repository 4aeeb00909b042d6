//! Messages that are sent later: when they come, what a crash leaves of them, what browsers are shown.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::broker::scheduler::Turn;
use crate::openwire::XaTransactionId;
use crate::openwire::map::{PrimitiveMap, Value};

const DELAY: &str = "AMQ_SCHEDULED_DELAY";
const PERIOD: &str = "AMQ_SCHEDULED_PERIOD";
const REPEAT: &str = "AMQ_SCHEDULED_REPEAT";
const ACTION: &str = "AMQ_SCHEDULER_ACTION";
const MANAGEMENT: &str = "topic://ActiveMQ.Scheduler.Management";

fn scheduling(enabled: bool) -> BrokerOptions {
    BrokerOptions { scheduler_support: enabled, ..BrokerOptions::default() }
}

fn bench() -> Bench {
    let clock = Arc::new(ManualClock::at(1_000_000));
    Bench::of(scheduling(true), 1 << 20, Stores::default(), clock)
}

fn asking(properties: &[(&'static str, Value)]) -> impl FnOnce(&mut Message) + use<> {
    let properties: PrimitiveMap = properties.iter().cloned().collect();
    let properties = properties.encode().unwrap();
    |message| message.marshalled_properties = Some(properties)
}

fn later(ms: i64) -> impl FnOnce(&mut Message) + use<> {
    asking(&[(DELAY, Value::Long(ms))])
}

fn manage(bench: &mut Bench, properties: &[(&'static str, Value)]) {
    let ask = asking(properties);
    bench.send_with(MANAGEMENT, |message| {
        ask(message);
        message.reply_to = Some(Destination::queue("REPLIES"));
    });
}

fn action(name: &str) -> (&'static str, Value) {
    (ACTION, Value::String(name.into()))
}

/// Turns the scheduler until it waits for its time, reading what has to be read; says for which.
async fn turn(bench: &Bench) -> Option<i64> {
    loop {
        match bench.broker.turn_scheduler() {
            Turn::Again => {}
            Turn::Until(due_ms) => return Some(due_ms - 1_000_000),
            Turn::Idle if bench.broker.scheduler().is_reading() => {
                let read = bench.broker.scheduler().changed().notified();
                tokio::time::timeout(stored::SOON, read).await.expect("bodies come");
            }
            Turn::Idle => return None,
            Turn::Full(wait) => panic!("{wait:?}"),
        }
    }
}

/// What consumer `name` was given, with what it says of the job.
fn got_with_jobs(bench: &mut Bench, name: &'static str) -> Vec<(String, String)> {
    bench.held.remove(name);
    bench.got(name);
    let held = bench.held.remove(name).unwrap_or_default();
    let job = |message: &Message| {
        let properties = message.marshalled_properties.as_deref().unwrap();
        let properties = PrimitiveMap::decode(properties).unwrap().unwrap();
        let Some(Value::String(job)) = properties.get("scheduledJobId") else { panic!() };
        job.to_string()
    };
    let all = held.iter().map(|(message, _)| {
        let id = message.message_id.as_ref().unwrap();
        (id.to_string(), job(message))
    });
    all.collect()
}

#[tokio::test]
async fn what_is_due_comes_in_the_order_of_its_time() {
    let mut bench = bench();
    bench.consume("a", "Q", |_| ());
    for ms in [300, 100, 200] {
        bench.send_with("Q", later(ms));
    }
    bench.send("Q");
    assert_eq!(turn(&bench).await, Some(100));
    assert_eq!(bench.got("a"), "3");
    bench.clock.advance(99);
    assert_eq!(turn(&bench).await, Some(100));
    assert_eq!(bench.got("a"), "");
    bench.clock.advance(101);
    assert_eq!(turn(&bench).await, Some(300));
    assert_eq!(bench.got("a"), "1 2");
    bench.clock.advance(100);
    assert_eq!(turn(&bench).await, None);
    assert_eq!(bench.got("a"), "0");
    bench.ack("a", ack_type::STANDARD, 4);
    assert_eq!(bench.broker.memory.used(), 0);
}

#[tokio::test]
async fn without_support_the_properties_say_nothing() {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let mut bench = Bench::of(scheduling(false), 1 << 20, Stores::default(), clock);
    bench.consume("a", "Q", |_| ());
    bench.send_with("Q", later(300));
    assert_eq!(bench.got("a"), "0");
    assert_eq!(turn(&bench).await, None);
}

#[tokio::test]
async fn a_repeated_message_has_new_ids_and_one_job() {
    let mut bench = bench();
    bench.consume("a", "Q", |_| ());
    let repeat = [(PERIOD, Value::Long(100)), (REPEAT, Value::Int(2))];
    bench.send_with("Q", asking(&repeat));
    let mut all = Vec::new();
    for left in [Some(200), Some(300), None] {
        bench.clock.advance(100);
        assert_eq!(turn(&bench).await, left);
        all.extend(got_with_jobs(&mut bench, "a"));
    }
    assert_eq!(all.len(), 3);
    assert!(all[0].0 != all[1].0 && all[1].0 != all[2].0, "{all:?}");
    assert!(all.iter().all(|(_, job)| *job == all[0].1), "{all:?}");
}

#[tokio::test]
async fn a_transaction_schedules_when_it_is_committed() {
    let mut bench = bench();
    bench.consume("a", "Q", |_| ());
    for (value, kind) in [(1, transaction_kind::COMMIT_ONE_PHASE), (2, transaction_kind::ROLLBACK)]
    {
        let id = Bench::transaction("producer", value);
        bench.transact("producer", transaction_kind::BEGIN, value).unwrap();
        let ask = later(50);
        bench.send_with("Q", |message| {
            ask(message);
            message.transaction_id = Some(Arc::new(id));
        });
        assert_eq!(bench.broker.scheduler().len(), usize::from(value == 2));
        bench.transact("producer", kind, value).unwrap();
        assert_eq!(bench.broker.scheduler().len(), 1);
    }
    bench.clock.advance(50);
    assert_eq!(turn(&bench).await, None);
    assert_eq!(bench.got("a"), "0");
}

#[tokio::test]
async fn jobs_are_shown_in_order_and_removed_by_id_or_time() {
    let mut bench = bench();
    bench.consume("a", "REPLIES", |_| ());
    for ms in [300, 100, 200, 400] {
        bench.send_with("Q", later(ms));
    }
    manage(&mut bench, &[action("BROWSE")]);
    turn(&bench).await;
    let shown = got_with_jobs(&mut bench, "a");
    assert_eq!(shown.len(), 4);
    let remove = [action("REMOVE"), ("scheduledJobId", Value::String(shown[0].1.as_str().into()))];
    manage(&mut bench, &remove);
    manage(&mut bench, &remove);
    let other = "ID:other-1-1-0:1:1:1:2";
    manage(&mut bench, &[action("REMOVE"), ("scheduledJobId", Value::String(other.into()))]);
    assert_eq!(turn(&bench).await, Some(200));
    let (from, to) = (Value::Long(1_000_250), Value::String("1000300".into()));
    let span = [("ACTION_START_TIME", from), ("ACTION_END_TIME", to)];
    manage(&mut bench, &[&[action("BROWSE")][..], &span].concat());
    turn(&bench).await;
    assert_eq!(got_with_jobs(&mut bench, "a").len(), 1);
    manage(&mut bench, &[&[action("REMOVEALL")][..], &span].concat());
    assert_eq!(bench.broker.scheduler().len(), 2);
    manage(&mut bench, &[action("REMOVEALL")]);
    assert!(bench.broker.scheduler().is_empty());
    assert_eq!(turn(&bench).await, None);
}

#[tokio::test]
async fn what_the_broker_may_not_take_is_refused() {
    let mut bench = bench();
    let many = [(DELAY, Value::Long(1)), (REPEAT, Value::Int(1001))];
    let refused = bench.try_send("Q", asking(&many)).unwrap_err();
    assert_eq!(refused.class_name(), "javax.jms.MessageFormatException");
    let cron = [("AMQ_SCHEDULED_CRON", Value::String("* * *".into()))];
    let refused = bench.try_send("Q", asking(&cron)).unwrap_err();
    assert_eq!(refused.class_name(), "javax.jms.JMSException");
    for _ in 0..1000 {
        manage(&mut bench, &[action("BROWSE")]);
    }
    let browse = asking(&[action("BROWSE")]);
    let refused = bench.try_send(MANAGEMENT, |message| {
        browse(message);
        message.reply_to = Some(Destination::queue("REPLIES"));
    });
    assert_eq!(refused.unwrap_err().class_name(), "javax.jms.ResourceAllocationException");
}

#[tokio::test]
async fn where_there_is_no_room_the_scheduler_waits() {
    let mut bench = bench();
    bench.send_with("Q", later(100));
    while !bench.broker.memory.is_full() {
        bench.send("FULL");
    }
    bench.clock.advance(100);
    let Turn::Full(wait) = bench.broker.turn_scheduler() else { panic!("it is sent") };
    let waiting = tokio::spawn(wait.wait());
    bench.consume("a", "FULL", |_| ());
    bench.got("a");
    bench.ack("a", ack_type::STANDARD, 10);
    tokio::time::timeout(stored::SOON, waiting).await.unwrap().unwrap().unwrap();
    bench.consume("b", "Q", |_| ());
    turn(&bench).await;
    assert_eq!(bench.got("b"), "0");
}

/// A broker with a journal, on what one before has left in `directory`.
fn open(directory: &Path, enabled: bool) -> Bench {
    stored::open_with(directory, scheduling(enabled))
}

/// Stops it as `kill -9` does, after all that was sent is stored.
async fn crash(bench: Bench, directory: TempDir, enabled: bool) -> (Bench, TempDir) {
    let ticket = bench.broker.written(true);
    tokio::time::timeout(stored::SOON, ticket.durable()).await.expect("durable in time");
    let copied = TempDir::with_prefix("openwired-scheduled-").unwrap();
    stored::copy(directory.path(), copied.path());
    bench.broker.close_stores();
    (open(copied.path(), enabled), copied)
}

#[tokio::test]
async fn a_crash_changes_nothing_of_what_waits() {
    let directory = TempDir::with_prefix("openwired-scheduled-").unwrap();
    let mut bench = open(directory.path(), true);
    bench.send_with("Q", later(100));
    bench.send_with("Q", later(200));
    let repeat = [(PERIOD, Value::Long(60)), (REPEAT, Value::Int(2))];
    bench.send_with("R", asking(&repeat));
    let ask = later(300);
    bench.send_with("Q", |message| {
        ask(message);
        message.persistent = false;
    });
    bench.clock.advance(100);
    assert_eq!(turn(&bench).await, Some(120));
    let job = {
        bench.consume("r", "R", |_| ());
        turn(&bench).await;
        got_with_jobs(&mut bench, "r").remove(0).1
    };
    // The first is sent, the third was sent once.
    let (mut bench, directory) = crash(bench, directory, true).await;
    assert_eq!(bench.broker.scheduler().len(), 3);
    assert_eq!(turn(&bench).await, Some(120));
    bench.clock.advance(300);
    bench.consume("a", "Q", |_| ());
    assert_eq!(turn(&bench).await, Some(360));
    bench.clock.advance(60);
    assert_eq!(turn(&bench).await, None);
    bench.consume("b", "R", |_| ());
    tokio::time::timeout(stored::SOON, async {
        let mut got = 0;
        while got < 3 {
            let (_, outbox) = bench.client("b");
            outbox.ready().await;
            let jobs = got_with_jobs(&mut bench, "b");
            assert!(jobs.iter().all(|(_, other)| *other == job), "{jobs:?} of {job}");
            got += jobs.len();
        }
        let mut got = String::new();
        while got.split_whitespace().count() < 3 {
            let (_, outbox) = bench.client("a");
            outbox.ready().await;
            got = format!("{got} {}", bench.got("a"));
        }
        assert_eq!(got.trim(), "0 1 3");
    })
    .await
    .unwrap();
    let (bench, _directory) = crash(bench, directory, true).await;
    assert!(bench.broker.scheduler().is_empty());
}

#[tokio::test]
async fn what_was_removed_stays_away_and_what_waits_outlives_a_time_without_support() {
    let directory = TempDir::with_prefix("openwired-scheduled-").unwrap();
    let mut bench = open(directory.path(), true);
    for ms in [100, 200, 300] {
        bench.send_with("Q", later(ms));
    }
    let span = [("ACTION_START_TIME", Value::Long(0)), ("ACTION_END_TIME", Value::Long(1_000_250))];
    manage(&mut bench, &[&[action("REMOVEALL")][..], &span].concat());
    let (bench, directory) = crash(bench, directory, false).await;
    bench.clock.advance(1000);
    assert_eq!(turn(&bench).await, None);
    let (mut bench, _directory) = crash(bench, directory, true).await;
    bench.clock.advance(1000);
    bench.consume("a", "Q", |_| ());
    assert_eq!(turn(&bench).await, None);
    assert_eq!(bench.got("a"), "2");
}

#[tokio::test]
async fn a_prepared_branch_schedules_after_a_crash() {
    let directory = TempDir::with_prefix("openwired-scheduled-").unwrap();
    let mut bench = open(directory.path(), true);
    let xid = XaTransactionId {
        format_id: 1,
        global_transaction_id: Some(bytes::Bytes::from_static(b"g")),
        branch_qualifier: Some(bytes::Bytes::from_static(b"b")),
    };
    let id = Arc::new(TransactionId::Xa(xid));
    let step = |bench: &mut Bench, kind| {
        let transaction_id = Some(Arc::clone(&id));
        let info = TransactionInfo { transaction_id, kind, ..TransactionInfo::default() };
        let (_, _ticket) = bench.client("producer").0.transaction(&info).unwrap();
    };
    step(&mut bench, transaction_kind::BEGIN);
    let ask = later(100);
    bench.send_with("Q", |message| {
        ask(message);
        message.transaction_id = Some(Arc::clone(&id));
    });
    step(&mut bench, transaction_kind::PREPARE);
    let (mut bench, _directory) = crash(bench, directory, true).await;
    assert!(bench.broker.scheduler().is_empty());
    step(&mut bench, transaction_kind::COMMIT_TWO_PHASE);
    let ticket = bench.broker.written(true);
    tokio::time::timeout(stored::SOON, ticket.durable()).await.unwrap();
    assert_eq!(turn(&bench).await, Some(100));
}
