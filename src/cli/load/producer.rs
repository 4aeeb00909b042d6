//! `openwired producer`.

use std::collections::VecDeque;
use std::fs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;

use super::report::Tally;
use super::{Client, LoadArgs, Pace, run};
use crate::base::SystemClock;
use crate::client::{AckMode, Answer, Error, Producer, ProducerOptions, Session, message};
use crate::openwire::{Message, PrimitiveMap};

/// Property with the microseconds since 1970 at which a message was sent.
pub(super) const SENT_US: &str = "openwiredSentUs";

/// What a text of a given size is made of.
const FILLER: &str =
    "The broker takes a message, keeps it and gives it to whoever asks for it next. ";

#[derive(Debug, Clone, Args)]
pub(crate) struct ProducerArgs {
    #[command(flatten)]
    pub load: LoadArgs,

    /// Whether messages outlive the broker's process.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub persistent: bool,

    /// Text of each message.
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,

    /// A file, as a path or file: URL, whose text is that of each message.
    #[arg(long = "payloadUrl", alias = "payload-url", value_name = "URL")]
    pub payload_url: Option<String>,

    /// Send bytes messages of this size.
    #[arg(long = "messageSize", alias = "message-size", value_name = "BYTES", default_value_t = 0)]
    pub message_size: usize,

    /// Send text messages of this size.
    #[arg(long = "textMessageSize", alias = "text-message-size", value_name = "BYTES")]
    #[arg(default_value_t = 0)]
    pub text_message_size: usize,

    /// Milliseconds after which messages expire; 0 for never.
    #[arg(long = "msgTTL", alias = "msg-ttl", value_name = "MS", default_value_t = 0)]
    pub msg_ttl: i64,

    /// Message group of all messages.
    #[arg(long = "msgGroupID", alias = "msg-group-id", value_name = "GROUP")]
    pub msg_group_id: Option<String>,

    /// Messages of one transaction; 0 sends without transactions.
    #[arg(long = "transactionBatchSize", alias = "transaction-batch-size", value_name = "N")]
    #[arg(default_value_t = 0)]
    pub transaction_batch_size: u64,

    /// Send until interrupted.
    #[arg(long = "runIndefinitely", alias = "run-indefinitely", value_name = "BOOL")]
    #[arg(default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    pub run_indefinitely: bool,

    /// Messages per second of all clients together; 0 sends as fast as the broker takes them.
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub rate: f64,

    /// Persistent messages that one client may have unconfirmed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub window: u32,

    /// Put the time of sending into each message, for a consumer to measure the whole way.
    #[arg(long)]
    pub timestamps: bool,
}

/// Sends as the arguments say.
pub(in crate::cli) fn produce(args: &ProducerArgs) -> anyhow::Result<ExitCode> {
    let body = Body::of(args)?;
    let args = Arc::new(args.clone());
    let total = (!args.run_indefinitely)
        .then(|| args.load.message_count.saturating_mul(args.load.clients.into()));
    run("producer", &args.load, total, |client| {
        let work = Work { args: Arc::clone(&args), body: body.clone(), client };
        async move { work.run().await }
    })
}

/// What the messages say.
#[derive(Debug, Clone)]
enum Body {
    Numbered,
    Text(String),
    Bytes(Bytes),
}

impl Body {
    fn of(args: &ProducerArgs) -> anyhow::Result<Self> {
        if let Some(text) = &args.message {
            return Ok(Self::Text(text.clone()));
        }
        if let Some(url) = &args.payload_url {
            let path =
                url.strip_prefix("file://").or_else(|| url.strip_prefix("file:")).unwrap_or(url);
            if path.contains("://") {
                bail!("--payloadUrl {url}: only files can be read; save it and name the file");
            }
            let text = fs::read_to_string(path).with_context(|| format!("--payloadUrl {url}"))?;
            return Ok(Self::Text(text));
        }
        if args.text_message_size > 0 {
            return Ok(Self::Text(FILLER.chars().cycle().take(args.text_message_size).collect()));
        }
        if args.message_size > 0 {
            let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(args.message_size).collect();
            return Ok(Self::Bytes(bytes.into()));
        }
        Ok(Self::Numbered)
    }

    fn message(&self, number: u64) -> Message {
        match self {
            Self::Numbered => message::text(&format!("test message: {number}")),
            Self::Text(text) => message::text(text),
            Self::Bytes(bytes) => message::bytes(bytes.clone()),
        }
    }
}

/// One client at work.
struct Work {
    args: Arc<ProducerArgs>,
    body: Body,
    client: Client,
}

impl Work {
    async fn run(self) -> anyhow::Result<Tally> {
        let args = &self.args;
        let connected = self.open().await;
        // Whoever failed lets the others begin all the same.
        self.client.begin.wait().await;
        let (session, producer) = connected?;
        let mut tally = Tally::default();
        let pace = Pace::new(args.rate, args.load.clients);
        tally.begin();
        if args.transaction_batch_size > 0 {
            self.send_batches(&session, &producer, pace, &mut tally).await?;
        } else {
            self.send_each(&producer, pace, &mut tally).await?;
        }
        tally.end();
        let connection = session.connection().clone();
        producer.close().await?;
        session.close().await?;
        connection.close().await?;
        Ok(tally)
    }

    async fn open(&self) -> Result<(Session, Producer), Error> {
        let args = &self.args;
        let connection = args.load.connect(&self.client.url, None).await?;
        let transacted = args.transaction_batch_size > 0;
        let mode = if transacted { AckMode::Transacted } else { AckMode::Auto };
        let session = connection.session(mode).await?;
        let options = ProducerOptions { time_to_live_ms: args.msg_ttl };
        let producer = session.producer(Some(args.load.destination()), options).await?;
        Ok((session, producer))
    }

    fn message(&self, number: u64) -> anyhow::Result<(Message, usize)> {
        let mut message = self.body.message(number);
        message.persistent = self.args.persistent;
        message.group_id = self.args.msg_group_id.as_deref().map(Into::into);
        if self.args.timestamps {
            let mut properties = PrimitiveMap::new();
            properties.insert(SENT_US, SystemClock.now_us());
            message = message::with_properties(message, &properties)?;
        }
        let bytes = message.content.as_ref().map_or(0, Bytes::len);
        Ok((message, bytes))
    }

    fn goes_on(&self, sent: u64) -> bool {
        let all = !self.args.run_indefinitely && sent >= self.args.load.message_count;
        !all && !self.client.stop.is_cancelled()
    }

    async fn send_each(
        &self,
        producer: &Producer,
        mut pace: Pace,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let mut open: VecDeque<(Instant, Answer)> = VecDeque::new();
        while self.goes_on(tally.messages) {
            let due = pace.turn().await;
            let (message, bytes) = self.message(tally.messages)?;
            match producer.send_later(message).await? {
                Some(answer) => open.push_back((due, answer)),
                None => tally.latency(due.elapsed()),
            }
            if open.len() >= self.args.window as usize
                && let Some(oldest) = open.pop_front()
            {
                confirmed(oldest, tally).await?;
            }
            tally.message(bytes);
            self.client.progress.advance(1);
            self.rest().await;
        }
        for answer in open {
            confirmed(answer, tally).await?;
        }
        Ok(())
    }

    async fn send_batches(
        &self,
        session: &Session,
        producer: &Producer,
        mut pace: Pace,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        while self.goes_on(tally.messages) {
            let mut batch = Vec::new();
            let mut due = None;
            while self.goes_on(tally.messages)
                && (batch.len() as u64) < self.args.transaction_batch_size
            {
                due.get_or_insert(pace.turn().await);
                let (message, bytes) = self.message(tally.messages)?;
                // Stamped once: a batch sent again after a lost connection is known to the broker.
                let message = producer.stamp(message);
                producer.send_later(message.clone()).await?;
                batch.push(message);
                tally.message(bytes);
                self.client.progress.advance(1);
                self.rest().await;
            }
            while let Err(error) = session.commit().await {
                let Error::TransactionRolledBack { .. } = error else { return Err(error.into()) };
                tracing::warn!("{error}; sending {} messages again", batch.len());
                for message in &batch {
                    producer.send_later(message.clone()).await?;
                }
            }
            if let Some(due) = due {
                tally.latency(due.elapsed());
            }
        }
        Ok(())
    }

    async fn rest(&self) {
        if self.args.load.sleep > 0 {
            tokio::time::sleep(Duration::from_millis(self.args.load.sleep)).await;
        }
    }
}

async fn confirmed((due, answer): (Instant, Answer), tally: &mut Tally) -> Result<(), Error> {
    answer.wait().await?;
    tally.latency(due.elapsed());
    Ok(())
}
