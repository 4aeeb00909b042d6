//! A real daemon that ends at each named place of the store and of transactions: what was confirmed is
//! there when it starts again, or when a slave takes its place, and what was confirmed as gone is not.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

#[path = "support/peer.rs"]
mod peer;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Session, Subscription, message,
};
use openwired::openwire::{
    Command, Destination, Message, Text, TransactionId, TransactionInfo, XaTransactionId,
    transaction_kind,
};
use peer::Peer;
use support::daemon::{Home, port_in};
use support::process::Process;
use tempfile::TempDir;

/// The places, and how often the process comes by before it ends there, at least and at most. It comes by
/// some of them while it starts.
const PLACES: [(&str, u64, u64); 23] = [
    ("j.before_write", 5, 300),
    ("j.after_write", 5, 300),
    ("j.before_sync", 5, 300),
    ("j.after_sync", 5, 300),
    ("j.after_check", 5, 300),
    ("j.before_ack", 5, 300),
    ("j.roll.before_create", 2, 4),
    ("j.roll.after_create", 2, 4),
    ("j.roll.before_dirsync", 2, 4),
    ("seg.before_unlink", 1, 2),
    ("seg.after_unlink", 1, 2),
    ("idx.before_publish", 1, 3),
    ("idx.after_publish", 1, 3),
    ("epoch.before_claim", 1, 1),
    ("epoch.after_claim", 1, 1),
    ("epoch.after_append", 1, 1),
    ("epoch.before_seal", 1, 1),
    ("epoch.after_seal", 1, 1),
    ("tx.before_prepare", 1, 20),
    ("tx.after_prepare", 1, 20),
    ("tx.after_commit", 1, 100),
    ("ack.before_journal", 1, 100),
    ("dlq.before_move", 1, 10),
];
/// Rounds of the load after which the broker must have come to the place.
const ROUNDS: i64 = 400;
const ROUNDS_BEFORE_TAKEOVER: usize = 50;
const SOON: Duration = Duration::from_secs(20);
/// What a slave says.
const WAITS: &str = "This broker is now in slave mode";

/// What a client was told of a message, or did with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sent, and no answer yet.
    Sent,
    Confirmed,
    /// Its commit, which takes it away or moves it, has no answer yet.
    Leaving,
    Left,
    Moved,
}

/// Fates of messages by their number, of each flow.
#[derive(Debug, Default)]
struct Ledger {
    flow: BTreeMap<i64, Fate>,
    dead: BTreeMap<i64, Fate>,
    branches: BTreeMap<i64, Fate>,
}

type Shared = Arc<Mutex<Ledger>>;

/// Who goes on with the store of a daemon that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Successor {
    /// Another one that is started then.
    Restarted,
    /// One that followed it.
    Slave,
}

/// An installation whose store lies in `store`.
fn home(store: &Path) -> Home {
    let store = store.display();
    Home::new(&format!(
        r#"<broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" dataDirectory="${{activemq.data}}">
  <persistenceAdapter><kahaDB directory="{store}" journalMaxFileLength="64kb"/></persistenceAdapter>
  <transportConnectors><transportConnector name="openwire" uri="tcp://127.0.0.1:0"/></transportConnectors>
</broker>
"#
    ))
}

async fn connect(port: u16) -> Connection {
    let url = BrokerUrl::parse(&format!("tcp://127.0.0.1:{port}")).unwrap();
    Connection::open(&url, &Credentials::default()).await.unwrap()
}

fn body(number: i64) -> Message {
    message::text(&format!("{number} {}", "x".repeat(700)))
}

fn number_in(message: &Message) -> i64 {
    let text = message::text_of(message).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Sends messages, moves some of them in transactions and takes the others; lets some expire. Ends when
/// the broker does.
async fn flow(port: u16, ledger: Shared) -> Option<()> {
    let connection = connect(port).await;
    let session = connection.session(AckMode::Auto).await.ok()?;
    let to = |queue: &str| Some(Destination::queue(queue));
    let options = ProducerOptions::default;
    let producer = session.producer(to("FLOW"), options()).await.ok()?;
    let expiring = session.producer(to("EXPIRING"), options()).await.ok()?;
    let expired = session.consumer(&Subscription::to(Destination::queue("EXPIRING"))).await.ok()?;
    let moving = connection.session(AckMode::Transacted).await.ok()?;
    let source = moving.consumer(&Subscription::to(Destination::queue("FLOW"))).await.ok()?;
    let target = moving.producer(to("KEPT"), options()).await.ok()?;
    for number in 0..ROUNDS {
        let note = |fate| {
            ledger.lock().unwrap().flow.insert(number, fate);
        };
        note(Fate::Sent);
        producer.send(body(number)).await.ok()?;
        note(Fate::Confirmed);
        let received = source.receive(Some(SOON)).await.ok()??;
        assert_eq!(number_in(received.message()), number);
        note(Fate::Leaving);
        let is_kept = number % 10 == 0;
        if is_kept {
            target.send(body(number)).await.ok()?;
        }
        moving.commit().await.ok()?;
        note(if is_kept { Fate::Moved } else { Fate::Left });
        if number % 8 == 0 {
            ledger.lock().unwrap().dead.insert(number, Fate::Sent);
            let message = Message { expiration: 1, ..body(number) };
            expiring.send(message).await.ok()?;
            ledger.lock().unwrap().dead.insert(number, Fate::Confirmed);
            // Looks once; what has expired goes elsewhere.
            expired.receive(Some(Duration::ZERO)).await.ok()?;
        }
    }
    Some(())
}

fn xid(number: i64) -> XaTransactionId {
    XaTransactionId {
        format_id: i32::try_from(number).unwrap(),
        global_transaction_id: Some(b"global"[..].into()),
        branch_qualifier: Some(b"branch"[..].into()),
    }
}

fn step(connection: &str, xid: &XaTransactionId, kind: i8) -> TransactionInfo {
    let id = peer::connection_info(connection).connection_id;
    let transaction_id = Some(Arc::new(TransactionId::Xa(xid.clone())));
    TransactionInfo { connection_id: id, transaction_id, kind, ..TransactionInfo::default() }
}

/// Sends messages in branches of two phases. Panics when the broker ends.
async fn branches(port: u16, ledger: Shared) {
    let id = "ID:branches";
    let mut peer = Peer::at(([127, 0, 0, 1], port).into(), &peer::offer()).await;
    peer.log_in(id).await;
    peer.ask(peer::session_info(id, 1)).await;
    peer.ask(peer::producer_info(id, 1, 1)).await;
    for number in 0..ROUNDS / 4 {
        let xid = xid(number);
        let note = |fate| {
            ledger.lock().unwrap().branches.insert(number, fate);
        };
        peer.ask(step(id, &xid, transaction_kind::BEGIN)).await;
        let sent = peer::message(id, 1, 1, number, &Destination::queue("BRANCHES"));
        let content = body(number);
        let transaction_id = Some(Arc::new(TransactionId::Xa(xid.clone())));
        let content = content.content;
        peer.ask(Message { persistent: true, content, transaction_id, ..sent }).await;
        note(Fate::Sent);
        peer.ask(step(id, &xid, transaction_kind::PREPARE)).await;
        note(Fate::Confirmed);
        peer.ask(step(id, &xid, transaction_kind::COMMIT_TWO_PHASE)).await;
        note(Fate::Moved);
    }
}

/// Commits the branches that wait; says which they were.
async fn recover(port: u16) -> Vec<i64> {
    let id = "ID:recovery";
    let mut peer = Peer::at(([127, 0, 0, 1], port).into(), &peer::offer()).await;
    peer.log_in(id).await;
    let recover = step(id, &xid(0), transaction_kind::RECOVER);
    let answer = peer.ask(TransactionInfo { transaction_id: None, ..recover }).await;
    let Command::DataArrayResponse(answer) = answer else { panic!("{answer:?}") };
    let mut found = Vec::new();
    for branch in answer.data.iter().flatten().flatten() {
        let Command::XaTransactionId(xid) = branch else { panic!("{branch:?}") };
        found.push(i64::from(xid.format_id));
        let answer = peer.ask(step(id, xid, transaction_kind::COMMIT_TWO_PHASE)).await;
        assert!(matches!(answer, Command::Response(_)), "{answer:?}");
    }
    found
}

/// All that a queue holds, by number.
async fn drain(session: &Session, queue: &str) -> Vec<i64> {
    let end = Text::from("the end");
    let producer = session.producer(Some(Destination::queue(queue)), ProducerOptions::default());
    let producer = producer.await.unwrap();
    let consumer = session.consumer(&Subscription::to(Destination::queue(queue))).await.unwrap();
    let last = Message { correlation_id: Some(end.clone()), ..message::text("") };
    producer.send(last).await.unwrap();
    let mut numbers = Vec::new();
    loop {
        let received = consumer.receive(Some(SOON)).await.unwrap().expect("what was sent last");
        if received.message().correlation_id.as_ref() == Some(&end) {
            return numbers;
        }
        numbers.push(number_in(received.message()));
    }
}

/// The port of a daemon, once it is master.
fn serving(broker: &Process) -> u16 {
    port_in(&broker.wait_for("Listening for connections at: "))
}

/// Works with the broker until that ends, or all is done, which it says.
fn load(port: u16, ledger: &Shared) -> impl Future<Output = bool> + use<> {
    let moving = tokio::spawn(flow(port, Arc::clone(ledger)));
    let preparing = tokio::spawn(branches(port, Arc::clone(ledger)));
    async { matches!(tokio::join!(moving, preparing), (Ok(Some(())), Ok(()))) }
}

/// Ends a daemon at one place, has another one go on, and compares.
async fn end_at(place: &str, count: u64, successor: Successor) {
    let directory = TempDir::with_prefix("openwired-store-").unwrap();
    let store = directory.path().join("kahadb");
    let (first, second) = (home(&store), home(&store));
    let ledger = Shared::default();
    let start = |home: &Home| Process::start(&mut home.command(&["console"]));
    let start_failing = |home: &Home| {
        let mut command = home.command(&["console"]);
        Process::start(command.env("OPENWIRED_FAIL_POINT", format!("{place}={count}")))
    };
    let mut next = None;
    // An epoch is claimed by one that starts, or that takes the place of a master.
    let mut ended = if place.starts_with("epoch.") && successor == Successor::Slave {
        let mut master = start(&first);
        let port = serving(&master);
        let slave = start_failing(&second);
        slave.wait_for(WAITS);
        let load = load(port, &ledger);
        while ledger.lock().unwrap().flow.len() < ROUNDS_BEFORE_TAKEOVER {
            tokio::task::yield_now().await;
        }
        master.kill();
        load.await;
        slave
    } else {
        start_failing(&first)
    };
    if !place.starts_with("epoch.") {
        let port = serving(&ended);
        if successor == Successor::Slave {
            let slave = start(&second);
            slave.wait_for(WAITS);
            next = Some(slave);
        }
        let survived = load(port, &ledger).await;
        assert!(!survived, "the broker never came to {place} for the {count}th time");
    }
    let status = ended.wait();
    assert_eq!(status.code(), None, "it was killed at {place}: {}", ended.said());

    let mut broker = next.unwrap_or_else(|| start(&first));
    let port = serving(&broker);
    let recovered = recover(port).await;
    let session = connect(port).await.session(AckMode::Auto).await.unwrap();
    let flowing = drain(&session, "FLOW").await;
    let kept = drain(&session, "KEPT").await;
    let expiring = drain(&session, "EXPIRING").await;
    let dead = drain(&session, "ActiveMQ.DLQ").await;
    let committed = drain(&session, "BRANCHES").await;
    let ledger = ledger.lock().unwrap();
    let count = |all: &[i64], number: &i64| all.iter().filter(|other| *other == number).count();
    for (number, fate) in &ledger.flow {
        let found = (count(&flowing, number), count(&kept, number));
        let is_right = match fate {
            Fate::Sent => matches!(found, (0 | 1, 0)),
            Fate::Confirmed => found == (1, 0),
            Fate::Leaving if number % 10 == 0 => matches!(found, (1, 0) | (0, 1)),
            Fate::Leaving => matches!(found, (0 | 1, 0)),
            Fate::Left => found == (0, 0),
            Fate::Moved => found == (0, 1),
        };
        assert!(is_right, "{place}, {successor:?}: #{number}, {fate:?}: {found:?}");
    }
    for (number, fate) in &ledger.dead {
        let found = count(&expiring, number) + count(&dead, number);
        // It may be in both: what moves is there before it is gone.
        let is_right = *fate == Fate::Sent || (1..=2).contains(&found);
        assert!(is_right, "{place}: expiring #{number}, {fate:?}: {found} times");
    }
    for (number, fate) in &ledger.branches {
        let (waited, found) = (recovered.contains(number), count(&committed, number));
        let is_right = match fate {
            Fate::Sent => found == usize::from(waited),
            Fate::Confirmed => found == 1,
            Fate::Leaving | Fate::Left | Fate::Moved => found == 1 && !waited,
        };
        assert!(is_right, "{place}: branch {number}, {fate:?}: waited {waited}, {found} times");
    }
    assert!(broker.terminate().success());
}

/// Ends daemons at places of one kind, each so often, half of them followed by a slave.
async fn end_at_each(kind: &str) {
    let times: usize =
        std::env::var("STORE_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(8);
    let given = std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| fastrand::u64(..) >> 16);
    println!("STORE_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut ends = 0;
    for (place, least, most) in PLACES.iter().filter(|(place, ..)| place.starts_with(kind)) {
        for successor in [Successor::Restarted, Successor::Slave].into_iter().cycle().take(times) {
            end_at(place, dice.u64(*least..=*most), successor).await;
            ends += 1;
        }
    }
    println!("{ends} ends");
    assert!(ends > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_in_the_journal() {
    end_at_each("j.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_while_segments_go() {
    end_at_each("seg.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_beside_a_footer() {
    end_at_each("idx.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_while_an_epoch_is_claimed() {
    end_at_each("epoch.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_in_transactions() {
    end_at_each("tx.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_in_an_acknowledgement() {
    end_at_each("ack.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_survives_an_end_while_a_message_dies() {
    end_at_each("dlq.").await;
}
