//! Brokers with a journal: what is there again after they end, and what leaves memory meanwhile.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::openwire::XaTransactionId;
use crate::store::disk::RealDisk;
use crate::store::journal::{Journal, Opening};
use crate::store::options::{JournalOptions, PurgeRecoveredXa};

/// How long a test waits for what must come.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// A broker whose journal lies in a directory of its own.
struct Kept {
    bench: Bench,
    directory: TempDir,
    entry: PolicyEntry,
    options: JournalOptions,
}

impl Kept {
    fn new() -> Self {
        Self::with(PolicyEntry::default(), JournalOptions::default())
    }

    fn with(entry: PolicyEntry, options: JournalOptions) -> Self {
        let directory = TempDir::with_prefix("openwired-kept-").unwrap();
        let bench = open(directory.path(), &entry, &options);
        Self { bench, directory, entry, options }
    }

    /// Stops the broker in order and starts it again.
    fn restart(self) -> Self {
        let Self { bench, directory, entry, options } = self;
        bench.broker.begin_stop();
        bench.broker.close_stores();
        drop(bench);
        let bench = open(directory.path(), &entry, &options);
        Self { bench, directory, entry, options }
    }

    /// Starts a broker on what is written by now, as after a `kill -9`.
    fn crash(self) -> Self {
        let directory = TempDir::with_prefix("openwired-kept-").unwrap();
        copy(self.directory.path(), directory.path());
        self.bench.broker.close_stores();
        let Self { entry, options, .. } = self;
        let bench = open(directory.path(), &entry, &options);
        Self { bench, directory, entry, options }
    }

    /// Everything that was sent or acknowledged so far is durable.
    async fn settle(&self) {
        let ticket = self.bench.broker.written(true);
        tokio::time::timeout(SOON, ticket.durable()).await.expect("durable in time");
    }

    /// Waits until a client was given `count` messages; says which.
    async fn got(&mut self, name: &'static str, count: usize) -> String {
        let (_, outbox) = self.bench.client(name);
        let mut got = Vec::new();
        while got.len() < count {
            let ready = tokio::time::timeout(SOON, outbox.ready()).await;
            ready.unwrap_or_else(|_| panic!("only {} of {count}: {got:?}", got.len()));
            let more = self.bench.got(name);
            got.extend(more.split_whitespace().map(str::to_owned));
        }
        got.join(" ")
    }
}

fn open(directory: &std::path::Path, entry: &PolicyEntry, options: &JournalOptions) -> Bench {
    open_watched(directory, entry, options, |_, _| ())
}

/// A broker without policies on what is in `directory`.
pub(super) fn open_with(directory: &std::path::Path, options: BrokerOptions) -> Bench {
    let (journal, recovered, clock) = open_journal(directory, &JournalOptions::default());
    let journal = Some(journal);
    let stores = Stores {
        journal,
        dispatch_queues_first: true,
        store_limit_bytes: u64::MAX,
        ..Stores::default()
    };
    let bench = Bench::of(options, 64 << 20, stores, clock);
    bench.broker.restore(recovered).unwrap();
    bench
}

fn open_journal(
    directory: &std::path::Path,
    options: &JournalOptions,
) -> (Journal, crate::store::Recovered, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let opening = Opening { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Opening::of_test() };
    let (journal, recovered) =
        Journal::open(Arc::new(RealDisk), directory, options, opening).unwrap();
    (journal, recovered, clock)
}

/// Shows what was recovered before the broker gets it.
fn open_watched(
    directory: &std::path::Path,
    entry: &PolicyEntry,
    options: &JournalOptions,
    watch: impl FnOnce(&Journal, &crate::store::Recovered),
) -> Bench {
    let (journal, recovered, clock) = open_journal(directory, options);
    watch(&journal, &recovered);
    let stores = Stores {
        journal: Some(journal),
        dispatch_queues_first: options.concurrent_store_and_dispatch_queues,
        store_limit_bytes: u64::MAX,
        ..Stores::default()
    };
    let bench = Bench::over(entry.clone(), 64 << 20, stores, clock);
    bench.broker.restore(recovered).unwrap();
    bench
}

pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_was_not_acknowledged_is_there_again_in_order() {
    let mut kept = Kept::new();
    kept.bench.consume("a", "Q", |info| info.prefetch_size = 4);
    (0..10).for_each(|_| kept.bench.send("Q"));
    assert_eq!(kept.bench.got("a"), "0 1 2 3");
    kept.bench.ack("a", ack_type::STANDARD, 2);
    let mut kept = kept.restart();
    kept.bench.consume("b", "Q", |_| ());
    assert_eq!(kept.got("b", 8).await, numbers(2..10));
}

#[tokio::test]
async fn non_persistent_messages_are_gone_and_temporary_queues_too() {
    let mut kept = Kept::new();
    kept.bench.send_with("Q", |message| message.persistent = false);
    kept.bench.send("Q");
    let mut kept = kept.restart();
    kept.bench.consume("a", "Q", |_| ());
    assert_eq!(kept.got("a", 1).await, "1");
}

#[tokio::test]
async fn a_backlog_is_not_in_memory_and_comes_back_in_order() {
    let mut kept = Kept::new();
    (0..5000).for_each(|_| kept.bench.send("Q"));
    kept.settle().await;
    // 32 messages stay near without a consumer; those that are being placed now, too.
    let memory = Arc::clone(&kept.bench.broker.memory);
    let few = memory.freed_until(None, || memory.used() < 200 * 1024);
    tokio::time::timeout(SOON, few).await.expect("bodies leave memory");
    kept.bench.consume("a", "Q", |info| info.prefetch_size = 100);
    let mut next = 0;
    while next < 5000 {
        let got = kept.got("a", 1).await;
        let count = got.split(' ').count();
        assert_eq!(got, numbers(next..next + count));
        next += count;
        kept.bench.ack("a", ack_type::STANDARD, count);
        assert!(kept.bench.broker.memory.used() < 4 << 20, "at {next}");
    }
    assert_eq!(kept.bench.broker.memory.used(), 0);
}

#[tokio::test]
async fn selectors_find_what_lies_deep_in_a_backlog() {
    let mut kept = Kept::new();
    for number in 0..4000 {
        kept.bench.send_with("Q", |message| message.priority = if number < 3900 { 4 } else { 7 });
    }
    let mut kept = kept.restart();
    kept.bench.consume("a", "Q", |info| {
        info.selector = Some("JMSPriority = 7".into());
        info.prefetch_size = 1000;
    });
    assert_eq!(kept.got("a", 100).await, numbers(3900..4000));
    assert!(kept.bench.broker.memory.used() < 4 << 20, "what it passed left memory again");
}

#[tokio::test]
async fn a_browser_walks_over_a_backlog_and_ends() {
    let mut kept = Kept::new();
    (0..3000).for_each(|_| kept.bench.send("Q"));
    let mut kept = kept.restart();
    kept.bench.consume("b", "Q", |info| (info.browser, info.prefetch_size) = (true, 10_000));
    assert_eq!(kept.got("b", 3001).await, format!("{} end", numbers(0..3000)));
    assert!(kept.bench.broker.memory.used() < 4 << 20);
}

#[tokio::test]
async fn priorities_and_redeliveries_are_as_before() {
    let entry = PolicyEntry { prioritized_messages: true, ..PolicyEntry::default() };
    let mut kept = Kept::with(entry, JournalOptions::default());
    for priority in [4, 9, 0, 4] {
        kept.bench.send_with("Q", |message| message.priority = priority);
    }
    kept.bench.consume("a", "Q", |info| info.prefetch_size = 1);
    assert_eq!(kept.bench.got("a"), "1");
    kept.bench.leave("a", -2);
    let mut kept = kept.restart();
    kept.bench.consume("b", "Q", |_| ());
    assert_eq!(kept.got("b", 4).await, "1* 0 3 2");
}

#[tokio::test]
async fn what_was_given_out_counts_as_delivered_only_where_the_policy_says_so() {
    for (persist, want) in [(false, "0 1"), (true, "0* 1")] {
        let entry = PolicyEntry { persist_jms_redelivered: persist, ..PolicyEntry::default() };
        let mut kept = Kept::with(entry, JournalOptions::default());
        kept.bench.consume("a", "Q", |info| info.prefetch_size = 1);
        (0..2).for_each(|_| kept.bench.send("Q"));
        assert_eq!(kept.bench.got("a"), "0");
        let mut kept = kept.restart();
        kept.bench.consume("b", "Q", |_| ());
        assert_eq!(kept.got("b", 2).await, want);
    }
}

#[tokio::test]
async fn durable_subscriptions_keep_their_place_each_for_itself() {
    let mut kept = Kept::new();
    let durable = |info: &mut ConsumerInfo| info.subscription_name = Some("desk".into());
    kept.bench.consume("a", "topic://T", durable);
    kept.bench.consume("b", "topic://T", durable);
    (0..3).for_each(|_| kept.bench.send("topic://T"));
    assert_eq!(kept.got("a", 3).await, "0 1 2");
    kept.bench.ack("a", ack_type::STANDARD, 2);
    kept.bench.leave("a", 1);
    kept.bench.leave("b", -1);
    let mut kept = kept.restart();
    kept.bench.send("topic://T");
    kept.bench.consume("a", "topic://T", durable);
    kept.bench.consume("b", "topic://T", durable);
    // The message sent after the restart has number 0 again.
    assert_eq!(kept.got("a", 2).await, "2 0");
    assert_eq!(kept.got("b", 4).await, "0 1 2 0");
}

#[tokio::test]
async fn a_removed_durable_subscription_and_queue_stay_removed() {
    let mut kept = Kept::new();
    kept.bench.consume("a", "topic://T", |info| info.subscription_name = Some("desk".into()));
    kept.bench.leave("a", -1);
    kept.bench.send("topic://T");
    kept.bench.send("Q");
    let (client, _) = kept.bench.client("a");
    let remove = crate::openwire::RemoveSubscriptionInfo {
        subscription_name: Some("desk".into()),
        ..Default::default()
    };
    let _ticket = client.remove_subscription(&remove).unwrap();
    let queue = Arc::new(Destination::queue("Q"));
    let gone = DestinationInfo {
        destination: Some(Arc::clone(&queue)),
        operation_type: 1,
        ..DestinationInfo::default()
    };
    let _ticket = client.destination(&gone).unwrap();
    let made = DestinationInfo {
        destination: Some(Arc::new(Destination::queue("EMPTY"))),
        ..DestinationInfo::default()
    };
    let _ticket = client.destination(&made).unwrap();
    let kept = kept.restart();
    assert!(kept.bench.broker.region().get(&queue).is_none());
    assert!(kept.bench.broker.region().get(&Destination::queue("EMPTY")).is_some());
    assert_eq!(kept.bench.broker.durables.lock().len(), 0);
}

#[tokio::test]
async fn a_commit_is_there_and_an_open_transaction_is_not() {
    let mut kept = Kept::new();
    for (transaction, committed) in [(1, true), (2, false)] {
        kept.bench.transact("producer", transaction_kind::BEGIN, transaction).unwrap();
        for destination in ["A", "B"] {
            let id = Arc::new(Bench::transaction("producer", transaction));
            kept.bench.send_with(destination, |message| message.transaction_id = Some(id));
        }
        if committed {
            let kind = transaction_kind::COMMIT_ONE_PHASE;
            kept.bench.transact("producer", kind, transaction).unwrap();
        }
    }
    let mut kept = kept.restart();
    kept.bench.consume("a", "A,B", |_| ());
    assert_eq!(kept.got("a", 2).await, "0 1");
}

/// An XA branch that acknowledged message 0 of `Q` and sent message 2, prepared; then a restart.
async fn prepared() -> (Kept, XaTransactionId) {
    let mut kept = Kept::new();
    let xid = XaTransactionId {
        format_id: 7,
        global_transaction_id: Some(vec![1, 2].into()),
        branch_qualifier: Some(vec![3].into()),
    };
    let id = Arc::new(TransactionId::Xa(xid.clone()));
    kept.bench.consume("a", "Q", |info| info.prefetch_size = 1);
    (0..2).for_each(|_| kept.bench.send("Q"));
    assert_eq!(kept.bench.got("a"), "0");
    let step = |kept: &mut Kept, kind| {
        let info = TransactionInfo {
            transaction_id: Some(Arc::clone(&id)),
            kind,
            ..TransactionInfo::default()
        };
        kept.bench.client("a").0.transaction(&info).unwrap()
    };
    let (_, _ticket) = step(&mut kept, transaction_kind::BEGIN);
    let (message, _) = kept.bench.held["a"][0].clone();
    let ack = MessageAck {
        consumer_id: Some(Bench::consumer_id("a")),
        ack_type: ack_type::STANDARD,
        first_message_id: message.message_id.clone(),
        last_message_id: message.message_id.clone(),
        message_count: 1,
        transaction_id: Some(Arc::clone(&id)),
        ..MessageAck::default()
    };
    let _ticket = kept.bench.client("a").0.ack(&ack).unwrap();
    kept.bench.send_with("R", |message| message.transaction_id = Some(Arc::clone(&id)));
    let (_, ticket) = step(&mut kept, transaction_kind::PREPARE);
    tokio::time::timeout(SOON, ticket.durable()).await.expect("prepared in time");
    (kept.restart().restart(), xid)
}

#[tokio::test]
async fn a_prepared_branch_waits_for_its_outcome_across_restarts() {
    for (kind, of_q, of_r) in
        [(transaction_kind::COMMIT_TWO_PHASE, "1", "2"), (transaction_kind::ROLLBACK, "0 1", "")]
    {
        let (mut kept, xid) = prepared().await;
        kept.bench.consume("b", "Q", |_| ());
        assert_eq!(kept.got("b", 1).await, "1", "0 is the branch's");
        kept.bench.leave("b", -1);
        let recover = TransactionInfo { kind: transaction_kind::RECOVER, ..Default::default() };
        let (listed, _ticket) = kept.bench.client("b").0.transaction(&recover).unwrap();
        let Command::DataArrayResponse(listed) = listed else { panic!("{listed:?}") };
        assert_eq!(listed.data, Some(vec![Some(Command::from(xid.clone()))]));
        let outcome = TransactionInfo {
            transaction_id: Some(Arc::new(TransactionId::Xa(xid))),
            kind,
            ..TransactionInfo::default()
        };
        let (_, _ticket) = kept.bench.client("b").0.transaction(&outcome).unwrap();
        let mut kept = kept.restart();
        let (_, unknown) = (0, kept.bench.client("c").0.transaction(&outcome));
        assert!(unknown.is_err(), "its outcome is known");
        kept.bench.consume("q", "Q", |_| ());
        kept.bench.consume("r", "R", |_| ());
        assert_eq!(kept.got("q", of_q.split(' ').count()).await, of_q);
        assert_eq!(kept.got("r", of_r.split_whitespace().count()).await, of_r);
    }
}

#[tokio::test]
async fn recovered_branches_end_at_start_where_the_configuration_says_so() {
    for (strategy, of_r) in [(PurgeRecoveredXa::Commit, "2"), (PurgeRecoveredXa::Rollback, "")] {
        let (kept, _) = prepared().await;
        kept.bench.broker.purge_recovered_branches(strategy);
        let mut kept = kept.restart();
        kept.bench.consume("r", "R", |_| ());
        assert_eq!(kept.got("r", of_r.split_whitespace().count()).await, of_r);
    }
}

#[tokio::test]
async fn what_expired_while_the_broker_was_down_is_dead_lettered() {
    let mut kept = Kept::new();
    for number in 0..100 {
        let expiration = if number % 2 == 0 { 1_000_001 } else { 0 };
        kept.bench.send_with("Q", |message| message.expiration = expiration);
    }
    let mut kept = kept.restart();
    kept.bench.clock.advance(10);
    kept.bench.broker.expire_messages(0);
    kept.bench.consume("dead", "ActiveMQ.DLQ", |_| ());
    let even: Vec<_> = (0..50).map(|number| (number * 2).to_string()).collect();
    assert_eq!(kept.got("dead", 50).await, even.join(" "));
}

#[tokio::test]
async fn messages_wait_to_be_stored_where_the_configuration_says_so() {
    let options =
        JournalOptions { concurrent_store_and_dispatch_queues: false, ..Default::default() };
    let mut kept = Kept::with(PolicyEntry::default(), options);
    kept.bench.consume("a", "Q", |_| ());
    (0..50).for_each(|_| kept.bench.send("Q"));
    assert_eq!(kept.got("a", 50).await, numbers(0..50));
}

#[tokio::test]
async fn what_was_stored_is_known_also_when_it_was_consumed() {
    let mut kept = Kept::new();
    kept.bench.consume("a", "Q", |_| ());
    kept.bench.send("Q");
    kept.settle().await;
    assert_eq!(kept.bench.got("a"), "0");
    kept.bench.ack("a", ack_type::STANDARD, 1);
    kept.settle().await;
    let mut kept = kept.crash();
    // The bench counts from 0 again, so this is the same message once more.
    kept.bench.reconnect("producer");
    kept.bench.send("Q");
    kept.bench.send("Q");
    kept.bench.consume("b", "Q", |_| ());
    assert_eq!(kept.got("b", 1).await, "1");
}

#[tokio::test]
async fn nobody_gets_a_part_of_a_transaction_before_it_is_durable() {
    let mut kept = Kept::new();
    kept.bench.consume("a", "A", |_| ());
    for transaction in 0..50 {
        kept.bench.transact("producer", transaction_kind::BEGIN, transaction).unwrap();
        let id = Arc::new(Bench::transaction("producer", transaction));
        kept.bench.send_with("A", |message| message.transaction_id = Some(id));
        let info = TransactionInfo {
            transaction_id: Some(Arc::new(Bench::transaction("producer", transaction))),
            kind: transaction_kind::COMMIT_ONE_PHASE,
            ..TransactionInfo::default()
        };
        let (_, ticket) = kept.bench.client("producer").0.transaction(&info).unwrap();
        assert_eq!(kept.got("a", 1).await, transaction.to_string());
        assert!(ticket.is_durable());
    }
}

#[test]
fn a_journal_that_is_faster_than_who_sends_is_believed() {
    use crate::broker::backlog::Keeper;
    use crate::store::{Location, OwnerId};
    let policy = Arc::new(PolicyEntry::default());
    let name = Arc::new(Destination::queue("Q"));
    let queue = Arc::new(QueueCell::new(name, policy, Some(OwnerId(1)), true));
    let message = Arc::new(Message { persistent: true, ..Message::default() });
    let key = queue.reserve(&message);
    let at = Location { segment: 1, offset: 64, bytes: 100 };
    assert_eq!(queue.placed(Keeper::Journal, &[(key, at)], false), (0, 0), "nothing is dead");
    assert!(queue.holds(Keeper::Journal, key, at), "the cleaner must not drop it");
    let memory = Usage::new(1 << 20);
    let moment = Moment { now_ms: 0, open: true, short: false, memory: &memory };
    let sent = Event::Send { key, message, keeper: Keeper::Journal };
    assert!(queue.apply(sent, moment).is_some());
    assert!(queue.holds(Keeper::Journal, key, at));
    let moved = Location { segment: 2, ..at };
    assert_eq!(queue.placed(Keeper::Journal, &[(key, moved)], false), (100, 0));
}

#[tokio::test]
async fn what_the_cleaner_finds_at_start_is_not_taken_for_gone() {
    let options = JournalOptions { journal_max_file_length: 4 << 10, ..Default::default() };
    let mut kept = Kept::with(PolicyEntry::default(), options);
    (0..3).for_each(|_| kept.bench.send("Q"));
    kept.bench.consume("a", "topic://T", |info| info.subscription_name = Some("desk".into()));
    kept.bench.leave("a", -1);
    kept.bench.send("topic://T");
    // Each start begins a new file, and the one before has next to nothing in it: it is cleaned at once.
    for _ in 0..20 {
        kept = kept.restart();
    }
    kept.bench.consume("b", "Q", |_| ());
    assert_eq!(kept.got("b", 3).await, "0 1 2");
    kept.bench.consume("a", "topic://T", |info| info.subscription_name = Some("desk".into()));
    assert_eq!(kept.got("a", 1).await, "3");
}

#[tokio::test]
async fn an_owner_has_all_its_messages_when_the_journal_may_ask_for_them() {
    let mut kept = Kept::new();
    kept.bench.consume("a", "topic://T", |info| info.subscription_name = Some("desk".into()));
    kept.bench.leave("a", -1);
    (0..3).for_each(|_| kept.bench.send("Q"));
    (0..2).for_each(|_| kept.bench.send("topic://T"));
    kept.settle().await;
    kept.bench.broker.close_stores();
    let held = Arc::new(Mutex::new(Vec::new()));
    let (asked, entry) = (Arc::clone(&held), &kept.entry);
    let _bench = open_watched(kept.directory.path(), entry, &kept.options, |journal, recovered| {
        let places: Vec<_> = recovered
            .owners
            .iter()
            .map(|owner| (owner.id, owner.messages.clone()))
            .filter(|(_, messages)| !messages.is_empty())
            .collect();
        let counts: Vec<_> = places.iter().map(|(_, messages)| messages.len()).collect();
        assert_eq!(counts, [2, 3]);
        journal.on_register(move |id, owner| {
            let mine = places.iter().filter(|(other, _)| *other == id);
            for (key, stored) in mine.flat_map(|(_, messages)| messages) {
                asked.lock().push(owner.holds(*key, stored.at));
            }
        });
    });
    assert_eq!(*held.lock(), [true; 5]);
}

#[tokio::test]
async fn who_sent_a_message_that_was_dead_on_arrival_waits_for_its_dead_letter() {
    let mut kept = Kept::new();
    kept.settle().await;
    let sent = kept.bench.try_send("Q", |message| {
        message.expiration = 1;
        message.response_required = true;
    });
    tokio::time::timeout(SOON, sent.unwrap().durable()).await.expect("durable in time");
    let mut kept = kept.crash();
    kept.bench.consume("a", "ActiveMQ.DLQ", |_| ());
    assert_eq!(kept.got("a", 1).await, "0");
}
