//! Two brokers, each of either kind, with a bridge between them; what is sent on one side and taken on the
//! other.

use std::time::Duration;

use openwired::client::{
    AckMode, BrokerUrl, Connection, Consumer, Credentials, ProducerOptions, Subscription, message,
};
use openwired::openwire::Destination;

use super::activemq::{self, ActiveMq};
use super::daemon::{self, Daemon};

/// How long to wait for what is to come.
pub const SOON: Option<Duration> = Some(Duration::from_secs(20));
/// How long to wait for what is not to come.
pub const SHORTLY: Option<Duration> = Some(Duration::from_millis(300));

/// A broker of either kind.
pub enum Side {
    Ours(Daemon),
    Classic(ActiveMq),
}

impl Side {
    pub fn url(&self) -> String {
        match self {
            Self::Ours(daemon) => daemon.url(),
            Self::Classic(broker) => broker.url(),
        }
    }
}

pub fn ours(name: &str, inside: &str) -> Side {
    Side::Ours(Daemon::with(&daemon::named_configuration(name, inside, 0)))
}

/// One that keeps its messages.
pub fn stored(name: &str, inside: &str) -> Side {
    let configuration = daemon::named_configuration(name, inside, 0);
    Side::Ours(Daemon::with(&configuration.replace("persistent=\"false\"", "persistent=\"true\"")))
}

pub fn classic(name: &str, inside: &str) -> Side {
    Side::Classic(ActiveMq::start_with(&format!("brokerName='{name}'"), inside))
}

/// Which kind a broker is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Classic,
}

impl Kind {
    /// One of this kind with these attributes, among them a `brokerName`; `inside` stands before its
    /// connectors.
    pub fn start(self, attributes: &str, inside: &str) -> Side {
        if self == Self::Classic {
            return Side::Classic(ActiveMq::start_with(attributes, inside));
        }
        let attributes =
            format!("{attributes} persistent='false' dataDirectory='${{activemq.data}}'");
        Side::Ours(Daemon::with(&activemq::configuration(&attributes, inside, 0)))
    }
}

pub fn connector(to: &Side, attributes: &str) -> String {
    let uri = format!("static:({})", to.url());
    format!(
        "<networkConnectors><networkConnector name='nc' uri='{uri}' {attributes}/></networkConnectors>"
    )
}

pub async fn connect(side: &Side, client_id: Option<&str>) -> Connection {
    let credentials =
        Credentials { client_id: client_id.map(str::to_owned), ..Credentials::default() };
    Connection::open(&BrokerUrl::parse(&side.url()).unwrap(), &credentials).await.unwrap()
}

pub async fn consumer(connection: &Connection, subscription: &Subscription) -> Consumer {
    connection.session(AckMode::Auto).await.unwrap().consumer(subscription).await.unwrap()
}

pub async fn send(connection: &Connection, to: &Destination, bodies: impl Iterator<Item = String>) {
    let session = connection.session(AckMode::Auto).await.unwrap();
    let producer = session.producer(Some(to.clone()), ProducerOptions::default()).await.unwrap();
    for body in bodies {
        producer.send(message::text(&body)).await.unwrap();
    }
    session.close().await.unwrap();
}

pub async fn text(consumer: &Consumer, patience: Option<Duration>) -> Option<String> {
    let received = consumer.receive(patience).await.unwrap()?;
    Some(message::text_of(&received).unwrap())
}
