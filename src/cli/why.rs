//! `why QUEUE`: asks a running broker why messages wait.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::broker::why::QUESTION;
use crate::client::{
    AckMode, BrokerUrl, Connection, Credentials, ProducerOptions, Subscription, message,
};
use crate::openwire::{Destination, DestinationKind, Message};

/// How long a broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What is asked, and of whom.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The queue: NAME or queue://NAME.
    #[arg(value_name = "QUEUE")]
    pub queue: String,

    /// Where the broker is: tcp://host:port or failover:(…), with the options of the Java client.
    #[arg(long = "brokerUrl", alias = "broker-url", value_name = "URL")]
    #[arg(default_value = "tcp://localhost:61616")]
    pub broker_url: String,

    #[arg(long)]
    pub user: Option<String>,

    #[arg(long)]
    pub password: Option<String>,
}

/// Asks, and prints the answer.
pub(super) fn run(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}", runtime.block_on(ask(args))?);
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &WhyArgs) -> anyhow::Result<String> {
    let url = BrokerUrl::parse(&args.broker_url)?;
    let credentials =
        Credentials { user: args.user.clone(), password: args.password.clone(), client_id: None };
    let connection = Connection::open(&url, &credentials).await?;
    let session = connection.session(AckMode::Auto).await?;
    let answers = connection.create_temporary(DestinationKind::TempQueue).await?;
    let consumer = session.consumer(&Subscription::to((*answers).clone())).await?;
    let queue = Destination::parse(&args.queue, DestinationKind::Queue);
    let to = Destination::queue(&format!("{QUESTION}{}", queue.name()));
    let producer = session.producer(None, ProducerOptions::default()).await?;
    let question = Message {
        destination: Some(to.into()),
        reply_to: Some((*answers).clone()),
        persistent: false,
        ..message::text("")
    };
    producer.send(question).await?;
    let answer = consumer.receive(Some(ANSWER_MAX)).await?;
    let answer =
        answer.context("the broker does not answer: it is no openwired, or an older one")?;
    let text = message::text_of(&answer).context("the broker's answer is no text")?;
    connection.close().await?;
    Ok(text)
}
