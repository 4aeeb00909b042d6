//! Load from our side: the commands `openwired producer` and `consumer`, and the client beneath them
//! where these commands have no word for what is wanted.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use openwired::client::{
    AckMode, BrokerUrl, Connection, Consumer, Credentials, Link, Producer, ProducerOptions,
    Session, Subscription, message,
};
use openwired::openwire::map::PrimitiveMap;
use openwired::openwire::map::Value::Int;
use openwired::openwire::{
    Command as WireCommand, ConnectionId, ConnectionInfo, Destination, DestinationInfo,
    DestinationKind, Message,
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Longest wait for something that should come at once.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Commands on the way to a broker before their answers are read.
const WINDOW: usize = 500;

/// From where to where `openwired producer` or `consumer` moves how many messages a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) url: &'a str,
    /// As `queue://NAME` or `topic://NAME`.
    pub(crate) destination: &'a str,
    pub(crate) messages: u64,
}

impl Way<'_> {
    /// Runs a producer and its consumers beside it and returns the report of the consumers. A `rate` is
    /// messages a second; 0 is as fast as it goes.
    pub(crate) fn flow(
        &self,
        runtime: &Runtime,
        bytes: usize,
        consumers: usize,
        rate: f64,
    ) -> anyhow::Result<Value> {
        let consumer = self.tool("consumer", &["--clients", &consumers.to_string()])?;
        let waiting = await_consumers(self.url, self.destination, consumers);
        if let Err(error) = runtime.block_on(waiting) {
            let report = consumer.finish();
            bail!("{error:#}; the consumer: {report:?}");
        }
        let (bytes, rate) = (bytes.to_string(), rate.to_string());
        let how =
            ["--persistent", "false", "--messageSize", &bytes, "--rate", &rate, "--timestamps"];
        self.tool("producer", &how)?.finish()?;
        complete(consumer.finish()?, self.messages * consumers as u64)
    }

    /// Sends persistent messages from so many clients, and returns when the broker has confirmed all.
    /// A `batch` is the messages of one transaction; with 0 each is confirmed before the next.
    pub(crate) fn fill(&self, clients: usize, bytes: usize, batch: u64) -> anyhow::Result<Value> {
        let [clients, bytes, batch] = [clients.to_string(), bytes.to_string(), batch.to_string()];
        let how =
            ["--clients", &clients, "--messageSize", &bytes, "--transactionBatchSize", &batch];
        self.tool("producer", &how)?.finish()
    }

    /// Sends messages that are not stored, as fast as it goes.
    pub(crate) fn fill_transient(&self, bytes: usize) -> anyhow::Result<Value> {
        let bytes = bytes.to_string();
        self.tool("producer", &["--persistent", "false", "--messageSize", &bytes])?.finish()
    }

    /// Receives all messages of one client's way.
    pub(crate) fn drain(&self) -> anyhow::Result<Value> {
        let patience = TIMEOUT.as_millis().to_string();
        complete(self.tool("consumer", &["--receiveTimeOut", &patience])?.finish()?, self.messages)
    }

    /// Receives in transactions until all messages came or none came for so long.
    pub(crate) fn receive(&self, batch: u64, patience: Duration) -> anyhow::Result<Value> {
        let [batch, patience] = [batch.into(), patience.as_millis()].map(|it| it.to_string());
        let how = ["--transacted", "--batchSize", &batch, "--receiveTimeOut", &patience];
        self.tool("consumer", &how)?.finish()
    }

    fn tool(&self, name: &'static str, more: &[&str]) -> anyhow::Result<Tool> {
        let process = Command::new(env!("CARGO_BIN_EXE_openwired"))
            .args([name, "--json", "--brokerUrl", self.url, "--destination", self.destination])
            .args(["--messageCount", &self.messages.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Tool { name, process: Some(process) })
    }
}

fn complete(report: Value, expected: u64) -> anyhow::Result<Value> {
    let received = report.get("messages").and_then(Value::as_u64);
    ensure!(received == Some(expected), "of {expected} messages came {received:?}: {report}");
    Ok(report)
}

/// A running `openwired producer` or `consumer`, ended when dropped.
#[derive(Debug)]
struct Tool {
    name: &'static str,
    process: Option<Child>,
}

impl Tool {
    /// Waits for its end and reads its report.
    fn finish(mut self) -> anyhow::Result<Value> {
        let process = self.process.take().context("already finished")?;
        let output = process.wait_with_output()?;
        let [out, error] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        ensure!(output.status.success(), "openwired {}: {}: {error}", self.name, output.status);
        let line = out.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("openwired {} reports {out:?}", self.name))?;
        Ok(serde_json::from_str(line)?)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        if let Err(error) = process.kill().and_then(|()| process.wait()) {
            eprintln!("openwired {} may still run: {error}", self.name);
        }
    }
}

/// Returns when the broker has told of so many consumers, so that none misses a message.
async fn await_consumers(url: &str, destination: &str, consumers: usize) -> anyhow::Result<()> {
    let destination = Destination::parse(destination, DestinationKind::Queue);
    let kind = if destination.is_queue() { "Queue" } else { "Topic" };
    let advisory = format!("ActiveMQ.Advisory.Consumer.{kind}.{}", destination.name());
    let (session, consumer) = subscribe(url, Destination::topic(&advisory)).await?;
    let mut seen = 0;
    while seen < consumers {
        let told = consumer.receive(Some(TIMEOUT)).await?;
        let told = told.with_context(|| format!("of {consumers} consumers came {seen}"))?;
        let about = &told.data_structure;
        seen += usize::from(matches!(about, Some(WireCommand::ConsumerInfo(_))));
    }
    session.connection().clone().close().await?;
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Session> {
    let url = BrokerUrl::parse(url)?;
    let connection = Connection::open(&url, &Credentials::default()).await?;
    Ok(connection.session(AckMode::Auto).await?)
}

async fn subscribe(url: &str, to: Destination) -> anyhow::Result<(Session, Consumer)> {
    let session = connect(url).await?;
    let consumer = session.consumer(&Subscription::to(to)).await?;
    Ok((session, consumer))
}

fn transient(bytes: usize) -> Message {
    Message { persistent: false, ..message::bytes(vec![0x5A; bytes].into()) }
}

/// Microseconds that requests took until their answer came over a temporary queue.
pub(crate) async fn reply(
    url: &str,
    queue: &str,
    requests: u64,
    bytes: usize,
) -> anyhow::Result<Histogram<u64>> {
    let (serving, requested) = subscribe(url, Destination::queue(queue)).await?;
    let answers = serving.producer(None, ProducerOptions::default()).await?;
    let answering = tokio::spawn(answer(requested, answers, requests));
    let asking = connect(url).await?;
    let replies = asking.connection().create_temporary(DestinationKind::TempQueue).await?;
    let consumer = asking.consumer(&Subscription::to((*replies).clone())).await?;
    let to = Some(Destination::queue(queue));
    let producer = asking.producer(to, ProducerOptions::default()).await?;
    let mut took = Histogram::new(3)?;
    for number in 0..requests {
        let request = Message { reply_to: Some((*replies).clone()), ..transient(bytes) };
        let sent = Instant::now();
        producer.send(request).await?;
        let answer = consumer.receive(Some(TIMEOUT)).await?;
        answer.with_context(|| format!("request {number} got no answer"))?;
        took.record(u64::try_from(sent.elapsed().as_micros())?)?;
    }
    answering.await??;
    for session in [serving, asking] {
        session.connection().clone().close().await?;
    }
    Ok(took)
}

/// A full queue of messages of several kinds, for consumers each of which wants one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    pub(crate) messages: u64,
    pub(crate) bytes: usize,
    /// Kinds, and so consumers.
    pub(crate) count: u64,
    /// Messages of a kind in a row.
    pub(crate) block: u64,
    /// Messages of a transaction in which persistent ones are sent.
    pub(crate) batch: u64,
}

/// How long it took from the first consumer on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selected {
    /// Until all messages were received.
    pub(crate) all: Duration,
    /// Until every consumer had one.
    pub(crate) fed: Duration,
}

/// Fills a queue, and then receives from it with selectors.
pub(crate) async fn selected(url: &str, queue: &str, kinds: Kinds) -> anyhow::Result<Selected> {
    let parsed = BrokerUrl::parse(url)?;
    let connection = Connection::open(&parsed, &Credentials::default()).await?;
    let sending = connection.session(AckMode::Transacted).await?;
    let to = Destination::queue(queue);
    let producer = sending.producer(Some(to.clone()), ProducerOptions::default()).await?;
    for number in 0..kinds.messages {
        let mut properties = PrimitiveMap::new();
        properties.insert("kind", Int(i32::try_from(number / kinds.block % kinds.count)?));
        let marshalled_properties = Some(properties.encode()?);
        let message = Message { persistent: true, marshalled_properties, ..transient(kinds.bytes) };
        producer.send(message).await?;
        if (number + 1) % kinds.batch == 0 || number + 1 == kinds.messages {
            sending.commit().await?;
        }
    }
    let mut sessions = Vec::new();
    for _ in 0..kinds.count {
        sessions.push(connect(url).await?);
    }
    let begin = Instant::now();
    let mut receiving = Vec::new();
    for (session, kind) in sessions.into_iter().zip(0..) {
        let selector = Some(format!("kind = {kind}"));
        let subscription = Subscription { selector, ..Subscription::to(to.clone()) };
        receiving.push(tokio::spawn(take(session, subscription, kinds.messages / kinds.count)));
    }
    let mut fed = begin;
    for taken in receiving {
        fed = fed.max(taken.await??);
    }
    let all = begin.elapsed();
    connection.close().await?;
    Ok(Selected { all, fed: fed - begin })
}

/// Receives so many messages, and returns when the first came.
async fn take(
    session: Session,
    subscription: Subscription,
    messages: u64,
) -> anyhow::Result<Instant> {
    let consumer = session.consumer(&subscription).await?;
    let mut first = None;
    for number in 0..messages {
        let received = consumer.receive(Some(TIMEOUT)).await?;
        received.with_context(|| format!("{:?} got {number} only", subscription.selector))?;
        first.get_or_insert_with(Instant::now);
    }
    session.connection().clone().close().await?;
    first.context("nothing was to be received")
}

async fn answer(requested: Consumer, answers: Producer, requests: u64) -> anyhow::Result<()> {
    for _ in 0..requests {
        let request = requested.receive(Some(TIMEOUT)).await?.context("a request is missing")?;
        let answer =
            Message { destination: request.reply_to.clone().map(Into::into), ..transient(0) };
        answers.send(answer).await?;
    }
    Ok(())
}

/// Opens connections with one consumer each, which last as long as what is returned.
pub(crate) async fn connections(
    url: &str,
    queue: &str,
    count: usize,
) -> anyhow::Result<Vec<(Session, Consumer)>> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        open.push(subscribe(url, Destination::queue(queue)).await?);
    }
    Ok(open)
}

/// Creates queues as an administrator's client does, by DestinationInfo.
pub(crate) async fn create_queues(url: &str, count: usize) -> anyhow::Result<()> {
    let url = BrokerUrl::parse(url)?;
    let mut link = Link::open(url.brokers.first().context("a URL without a broker")?).await?;
    let connection_id = Some(std::sync::Arc::new(ConnectionId::new("ID:duel-queues")));
    let connection = ConnectionInfo {
        command_id: 1,
        response_required: true,
        connection_id: connection_id.clone(),
        client_id: Some("duel-queues".into()),
        ..ConnectionInfo::default()
    };
    link.writer.put(&connection.into())?;
    link.writer.flush().await?;
    answered(&mut link, 1).await?;
    for first in (0..count).step_by(WINDOW) {
        let last = count.min(first + WINDOW);
        for number in first..last {
            let create = DestinationInfo {
                command_id: i32::try_from(number)? + 2,
                response_required: true,
                connection_id: connection_id.clone(),
                destination: Some(Destination::queue(&format!("DUEL.QUEUE.{number}")).into()),
                ..DestinationInfo::default()
            };
            link.writer.put(&create.into())?;
        }
        link.writer.flush().await?;
        answered(&mut link, last - first).await?;
    }
    Ok(())
}

async fn answered(link: &mut Link, mut count: usize) -> anyhow::Result<()> {
    while count > 0 {
        let command = tokio::time::timeout(TIMEOUT, link.reader.next()).await??;
        if let WireCommand::ExceptionResponse(refused) = &command {
            bail!("the broker refuses: {:?}", refused.exception);
        }
        count -= usize::from(matches!(command, WireCommand::Response(_)));
    }
    Ok(())
}
