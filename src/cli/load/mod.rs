//! `producer` and `consumer`: send and receive by hand, and measure a broker.

mod consumer;
mod producer;
mod report;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use consumer::ConsumerArgs;
pub(super) use consumer::consume;
pub(crate) use producer::ProducerArgs;
pub(super) use producer::produce;

use crate::client::{BrokerUrl, Connection, Credentials};
use crate::openwire::{Destination, DestinationKind};
use report::{Progress, Report, Tally};

/// Options that both commands have. Names are those of `activemq producer` and `consumer`; each may
/// also be written with hyphens, as `--broker-url`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// Where the broker is: tcp://host:port or failover:(…), with the options of the Java client.
    #[arg(long = "brokerUrl", alias = "broker-url", value_name = "URL")]
    #[arg(default_value = "failover://tcp://localhost:61616")]
    pub broker_url: String,

    #[arg(long)]
    pub user: Option<String>,

    #[arg(long)]
    pub password: Option<String>,

    /// queue://NAME or topic://NAME.
    #[arg(long, default_value = "queue://TEST")]
    pub destination: String,

    /// Messages of each client.
    #[arg(
        long = "messageCount",
        alias = "message-count",
        value_name = "N",
        default_value_t = 1000
    )]
    pub message_count: u64,

    /// Milliseconds to wait after each message.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub sleep: u64,

    /// Clients that work at the same time, each with a connection of its own.
    #[arg(long, visible_alias = "parallelThreads", alias = "parallel-threads", value_name = "N")]
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,

    /// Print the result as one JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

impl LoadArgs {
    fn destination(&self) -> Destination {
        Destination::parse(&self.destination, DestinationKind::Queue)
    }

    async fn connect(
        &self,
        url: &BrokerUrl,
        client_id: Option<String>,
    ) -> Result<Connection, crate::client::Error> {
        let (user, password) = (self.user.clone(), self.password.clone());
        Connection::open(url, &Credentials { user, password, client_id }).await
    }
}

/// What each client of a run has.
#[derive(Debug, Clone)]
struct Client {
    number: u32,
    url: Arc<BrokerUrl>,
    /// All connect before the first begins, so that connecting is not measured.
    begin: Arc<Barrier>,
    /// The user wants to stop.
    stop: CancellationToken,
    progress: Progress,
}

/// Runs the clients side by side and reports what they did together.
fn run<F, W>(
    name: &'static str,
    args: &LoadArgs,
    total: Option<u64>,
    work: W,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<Tally>> + Send + 'static,
    W: Fn(Client) -> F,
{
    let url = Arc::new(BrokerUrl::parse(&args.broker_url)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let stop = CancellationToken::new();
        let progress = Progress::new(total);
        let begin = Arc::new(Barrier::new(args.clients as usize));
        let mut tasks = JoinSet::new();
        for number in 1..=args.clients {
            let (url, begin) = (Arc::clone(&url), Arc::clone(&begin));
            let (stop, progress) = (stop.clone(), progress.clone());
            tasks.spawn(work(Client { number, url, begin, stop, progress }));
        }
        let mut all = Tally::default();
        loop {
            tokio::select! {
                done = tasks.join_next() => match done {
                    Some(done) => all.add(&done??),
                    None => break,
                },
                // Ends the run early, with a report of what was done.
                pressed = tokio::signal::ctrl_c(), if !stop.is_cancelled() => {
                    pressed?;
                    stop.cancel();
                }
            }
        }
        progress.finish();
        Ok::<_, anyhow::Error>(Report::new(name, args.clients, all))
    })?;
    report.print(args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Spreads messages evenly over time.
#[derive(Debug)]
struct Pace {
    /// Between two messages of one client; `None` sends as fast as it goes.
    every: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// `rate` is that of all `clients` together, messages per second; 0 is no limit.
    fn new(rate: f64, clients: u32) -> Self {
        let every = (rate > 0.0).then(|| Duration::from_secs_f64(f64::from(clients) / rate));
        Self { every, next: Instant::now() }
    }

    /// Waits for the next message's turn and says when that was due. Being late counts as latency:
    /// a stalled broker must not look fast because fewer messages met it.
    async fn turn(&mut self) -> Instant {
        let Some(every) = self.every else { return Instant::now() };
        let due = self.next;
        self.next += every;
        tokio::time::sleep_until(due.into()).await;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rate_is_shared_by_the_clients_and_lateness_is_kept() {
        let mut pace = Pace::new(1000.0, 4);
        let first = pace.turn().await;
        let second = pace.turn().await;
        assert_eq!(second - first, Duration::from_millis(4));
        assert!(Instant::now() >= second);
        let mut free = Pace::new(0.0, 1);
        assert!(free.turn().await <= Instant::now());
    }
}
