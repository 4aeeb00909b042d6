//! `openwired consumer`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use clap::{Args, ValueEnum};

use super::producer::SENT_US;
use super::report::Tally;
use super::{Client, LoadArgs, run};
use crate::base::SystemClock;
use crate::client::{AckMode, Consumer, Error, Received, Session, Subscription, message};
use crate::openwire::Value;

/// How long a consumer waits for a message unless told otherwise, as ActiveMQ's does.
const RECEIVE_TIMEOUT_MS: u64 = 3000;

/// The acknowledgement modes by their JMS names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckModeArg {
    #[value(name = "AUTO_ACKNOWLEDGE", alias = "auto")]
    Auto,
    #[value(name = "CLIENT_ACKNOWLEDGE", alias = "client")]
    Client,
    #[value(name = "DUPS_OK_ACKNOWLEDGE", alias = "dups-ok")]
    DupsOk,
    #[value(name = "SESSION_TRANSACTED", alias = "transacted")]
    Transacted,
    #[value(name = "INDIVIDUAL_ACKNOWLEDGE", aliases = ["INDIVIDUAL", "individual"])]
    Individual,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConsumerArgs {
    #[command(flatten)]
    pub load: LoadArgs,

    /// How receipt is told to the broker.
    #[arg(long = "ackMode", alias = "ack-mode", value_name = "MODE", ignore_case = true)]
    #[arg(value_enum, default_value_t = AckModeArg::Auto)]
    pub ack_mode: AckModeArg,

    /// Messages of one transaction or of one acknowledgement by the client.
    #[arg(long = "batchSize", alias = "batch-size", value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub batch_size: u64,

    /// Client id of the connection; a number is appended for each further client.
    #[arg(long = "clientId", alias = "client-id", value_name = "ID")]
    pub client_id: Option<String>,

    /// Use a durable subscription; needs a topic and --clientId.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub durable: bool,

    /// Receive in transactions of --batchSize messages.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1)]
    #[arg(default_missing_value = "true", action = clap::ArgAction::Set)]
    pub transacted: bool,

    /// Stop when no message came in time.
    #[arg(long = "breakOnNull", alias = "break-on-null", value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub break_on_null: bool,

    /// Milliseconds to wait for a message; 3000 if not said.
    #[arg(long = "receiveTimeOut", aliases = ["receive-time-out", "receive-timeout"])]
    #[arg(value_name = "MS")]
    pub receive_timeout: Option<u64>,

    /// Print bytes messages as text.
    #[arg(long = "bytesAsText", alias = "bytes-as-text", value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub bytes_as_text: bool,

    /// Print each message's body.
    #[arg(long)]
    pub print: bool,

    /// Receive only messages that this selector takes.
    #[arg(long, value_name = "SQL")]
    pub selector: Option<String>,

    /// Messages that the broker may send ahead; 0 asks for each.
    #[arg(long, value_name = "N")]
    pub prefetch: Option<i32>,
}

/// Receives as the arguments say.
pub(in crate::cli) fn consume(args: &ConsumerArgs) -> anyhow::Result<ExitCode> {
    if args.durable && (args.client_id.is_none() || args.load.destination().is_queue()) {
        bail!("--durable needs a topic, as --destination topic://NAME, and --clientId ID");
    }
    let args = Arc::new(args.clone());
    let total = args.load.message_count.saturating_mul(args.load.clients.into());
    run("consumer", &args.load, Some(total), |client| {
        let work = Work { args: Arc::clone(&args), client };
        async move { work.run().await }
    })
}

/// One message, until its batch is settled.
struct Taken {
    bytes: usize,
    latency_us: u64,
    redelivered: bool,
}

/// One client at work.
struct Work {
    args: Arc<ConsumerArgs>,
    client: Client,
}

impl Work {
    async fn run(self) -> anyhow::Result<Tally> {
        let opened = self.open().await;
        self.client.begin.wait().await;
        let (session, consumer) = opened?;
        let mut tally = Tally::default();
        tally.begin();
        self.receive(&session, &consumer, &mut tally).await?;
        let connection = session.connection().clone();
        consumer.close().await?;
        session.close().await?;
        connection.close().await?;
        Ok(tally)
    }

    async fn open(&self) -> Result<(Session, Consumer), Error> {
        let args = &self.args;
        let client_id = args.client_id.clone().map(|id| match self.client.number {
            1 => id,
            number => format!("{id}-{number}"),
        });
        let connection = args.load.connect(&self.client.url, client_id).await?;
        let session = connection.session(self.mode()).await?;
        let mut subscription = Subscription::to(args.load.destination()).with_options();
        subscription.selector = args.selector.clone().or(subscription.selector);
        subscription.prefetch = args.prefetch.or(subscription.prefetch);
        // ActiveMQ's consumer names the subscription after the destination, too.
        subscription.durable = args.durable.then(|| subscription.destination.name().into_owned());
        let consumer = session.consumer(&subscription).await?;
        Ok((session, consumer))
    }

    fn mode(&self) -> AckMode {
        match self.args.ack_mode {
            _ if self.args.transacted => AckMode::Transacted,
            AckModeArg::Auto => AckMode::Auto,
            AckModeArg::Client => AckMode::Client,
            AckModeArg::DupsOk => AckMode::DupsOk,
            AckModeArg::Transacted => AckMode::Transacted,
            AckModeArg::Individual => AckMode::Individual,
        }
    }

    async fn receive(
        &self,
        session: &Session,
        consumer: &Consumer,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let wait = self.args.receive_timeout.unwrap_or(RECEIVE_TIMEOUT_MS);
        let wait = Duration::from_millis(wait);
        let mut batch = Vec::new();
        while tally.messages + (batch.len() as u64) < self.args.load.message_count {
            let received = tokio::select! {
                biased;
                received = consumer.receive(Some(wait)) => received?,
                () = self.client.stop.cancelled() => break,
            };
            let Some(received) = received else {
                if self.args.break_on_null {
                    break;
                }
                continue;
            };
            batch.push(self.take(&received)?);
            tally.end();
            if self.mode() == AckMode::Individual {
                consumer.acknowledge(&received).await?;
            }
            let each = matches!(self.mode(), AckMode::Auto | AckMode::DupsOk | AckMode::Individual);
            if each || batch.len() as u64 >= self.args.batch_size {
                self.settle(session, &mut batch, tally).await?;
            }
            if self.args.load.sleep > 0 {
                tokio::time::sleep(Duration::from_millis(self.args.load.sleep)).await;
            }
        }
        self.settle(session, &mut batch, tally).await
    }

    /// Tells the broker of a batch. One that it did not take comes again and is counted then.
    async fn settle(
        &self,
        session: &Session,
        batch: &mut Vec<Taken>,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let settled = match self.mode() {
            AckMode::Transacted => session.commit().await,
            AckMode::Client => session.acknowledge().await,
            AckMode::Auto | AckMode::DupsOk | AckMode::Individual => Ok(()),
        };
        match settled {
            Ok(()) => {
                self.client.progress.advance(batch.len() as u64);
                for taken in batch.iter() {
                    tally.message(taken.bytes);
                    tally.latency_us(taken.latency_us);
                    tally.redelivered += u64::from(taken.redelivered);
                }
            }
            Err(Error::TransactionRolledBack { .. }) => {
                tracing::warn!("{} messages will come again", batch.len());
            }
            Err(error) => return Err(error.into()),
        }
        batch.clear();
        Ok(())
    }

    fn take(&self, received: &Received) -> io::Result<Taken> {
        let sent_us = match message::property(received, SENT_US) {
            Some(Value::Long(us)) => us,
            _ => received.timestamp.saturating_mul(1000),
        };
        // Another machine's clock may be ahead of ours.
        let latency_us = u64::try_from(SystemClock.now_us().saturating_sub(sent_us));
        if self.args.print || self.args.bytes_as_text {
            self.print(received)?;
        }
        Ok(Taken {
            bytes: received.content.as_ref().map_or(0, Bytes::len),
            latency_us: latency_us.unwrap_or_default(),
            redelivered: received.redelivery_counter() > 0,
        })
    }

    fn print(&self, received: &Received) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if let Some(text) = message::text_of(received) {
            return writeln!(out, "{text}");
        }
        let body = message::body_of(received).unwrap_or_default();
        if self.args.bytes_as_text {
            return writeln!(out, "{}", String::from_utf8_lossy(&body));
        }
        writeln!(out, "{} bytes", body.len())
    }
}
