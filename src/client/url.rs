//! Broker URLs: `tcp://host:port?…` and `failover:(…)?…`, with the option names of the Java client.

use std::time::Duration;

use super::Error;
use crate::base::uri::{Target, Uri};
use crate::openwire::Offer;

/// The port of OpenWire.
const PORT_DEFAULT: u16 = 61616;
/// Time for one TCP connection, as in the Java client.
const CONNECTION_TIMEOUT_DEFAULT: Duration = Duration::from_millis(30_000);

/// Where the brokers are and how to speak to them.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerUrl {
    /// At least one; without `failover:` exactly one.
    pub brokers: Vec<Endpoint>,
    pub failover: Option<Failover>,
    pub jms: JmsOptions,
}

/// One broker's socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub offer: Offer,
    pub connection_timeout: Duration,
    /// Bytes of the system's buffers; `None` leaves them to the system.
    pub socket_buffer_bytes: Option<usize>,
    pub keep_alive: bool,
    pub inactivity_monitor: bool,
}

impl Endpoint {
    /// As ActiveMQ writes it, without options.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("tcp://[{host}]:{port}")
        } else {
            format!("tcp://{host}:{port}")
        }
    }
}

/// The options of `failover:`; names and defaults of the Java client.
#[derive(Debug, Clone, PartialEq)]
pub struct Failover {
    pub initial_reconnect_delay: Duration,
    pub max_reconnect_delay: Duration,
    pub use_exponential_back_off: bool,
    pub back_off_multiplier: f64,
    /// Rounds through all brokers before giving up; `None` goes on for ever, `Some(0)` tries no second.
    pub max_reconnect_attempts: Option<u32>,
    /// The same for the first connection, if it differs.
    pub startup_max_reconnect_attempts: Option<u32>,
    pub randomize: bool,
    /// How long a send may wait for a connection; `None` for ever.
    pub timeout: Option<Duration>,
    pub warn_after_reconnect_attempts: u32,
    /// Take over the list of brokers that the connected one tells.
    pub update_uris_supported: bool,
    /// Take the first broker of the list, or one of `priority_uris`, whenever it can be had.
    pub priority_backup: bool,
    pub priority_uris: Vec<String>,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            initial_reconnect_delay: Duration::from_millis(10),
            max_reconnect_delay: Duration::from_secs(30),
            use_exponential_back_off: true,
            back_off_multiplier: 2.0,
            max_reconnect_attempts: None,
            startup_max_reconnect_attempts: None,
            randomize: true,
            timeout: None,
            warn_after_reconnect_attempts: 10,
            update_uris_supported: true,
            priority_backup: false,
            priority_uris: Vec::new(),
        }
    }
}

/// The `jms.` options that mean something here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JmsOptions {
    pub prefetch: Prefetch,
    pub client_id: Option<String>,
    pub user_name: Option<String>,
    pub password: Option<String>,
    /// Ask for no response to persistent messages either.
    pub use_async_send: bool,
    /// Ask for a response to every message.
    pub always_sync_send: bool,
}

/// How many messages a consumer may hold unacknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    pub queue: i32,
    pub browser: i32,
    pub topic: i32,
    pub durable_topic: i32,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self { queue: 1000, browser: 500, topic: 32766, durable_topic: 100 }
    }
}

/// Options of the Java client that change nothing for this one.
const WITHOUT_EFFECT: [&str; 27] = [
    "jms.producerWindowSize",
    "jms.watchTopicAdvisories",
    "jms.dispatchAsync",
    "jms.copyMessageOnSend",
    "jms.disableTimeStampsByDefault",
    "jms.optimizedMessageDispatch",
    "jms.optimizeAcknowledge",
    "jms.useRetroactiveConsumer",
    "jms.alwaysSessionAsync",
    "jms.checkForDuplicates",
    "jms.nestedMapAndListEnabled",
    "jms.sendAcksAsync",
    "jms.closeTimeout",
    "jms.sendTimeout",
    "daemon",
    "trace",
    "soTimeout",
    "soLinger",
    "ioBufferSize",
    "closeAsync",
    "useLocalHost",
    "backup",
    "backupPoolSize",
    "trackMessages",
    "maxCacheSize",
    "trackTransactionProducers",
    "rebalanceUpdateURIs",
];

impl BrokerUrl {
    /// Reads a broker URL. An option that is not known is an error, as in the Java client.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let uri = Uri::parse(text).map_err(|source| Error::Uri { url: text.to_owned(), source })?;
        let read = Reader { url: text };
        match (uri.scheme.as_str(), &uri.target) {
            ("failover", Target::Members(members)) => read.failover(&uri.query, members),
            // `failover:tcp://host:port?…` has no parentheses to tell whose options they are.
            ("failover", _) => Err(read.wrong("the list of brokers cannot be read")),
            _ => {
                let mut jms = JmsOptions::default();
                let broker = read.endpoint(&uri, &[], &mut jms)?;
                Ok(Self { brokers: vec![broker], failover: None, jms })
            }
        }
    }
}

struct Reader<'a> {
    url: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Option { url: self.url.to_owned(), reason: reason.into() }
    }

    fn failover(&self, query: &[(String, String)], members: &[Uri]) -> Result<BrokerUrl, Error> {
        let mut failover = Failover::default();
        let mut jms = JmsOptions::default();
        let mut nested = Vec::new();
        for (name, value) in query {
            if let Some(name) = name.strip_prefix("nested.") {
                nested.push((name.to_owned(), value.clone()));
            } else if !self.failover_option(&mut failover, name, value)? {
                self.jms_option(&mut jms, name, value)?;
            }
        }
        let brokers = members.iter().map(|member| self.endpoint(member, &nested, &mut jms));
        let brokers = brokers.collect::<Result<Vec<_>, _>>()?;
        if brokers.is_empty() {
            return Err(self.wrong("the list of brokers is empty"));
        }
        Ok(BrokerUrl { brokers, failover: Some(failover), jms })
    }

    fn failover_option(&self, to: &mut Failover, name: &str, value: &str) -> Result<bool, Error> {
        match name {
            "initialReconnectDelay" => to.initial_reconnect_delay = self.ms(name, value)?,
            "maxReconnectDelay" => to.max_reconnect_delay = self.ms(name, value)?,
            "useExponentialBackOff" => to.use_exponential_back_off = self.read(name, value)?,
            "backOffMultiplier" | "reconnectDelayExponent" => {
                to.back_off_multiplier = self.read(name, value)?;
            }
            "maxReconnectAttempts" => to.max_reconnect_attempts = self.attempts(name, value)?,
            "startupMaxReconnectAttempts" => {
                to.startup_max_reconnect_attempts = self.attempts(name, value)?;
            }
            "randomize" => to.randomize = self.read(name, value)?,
            "timeout" => {
                let ms: i64 = self.read(name, value)?;
                to.timeout = u64::try_from(ms).ok().map(Duration::from_millis);
            }
            "warnAfterReconnectAttempts" => {
                to.warn_after_reconnect_attempts = self.read(name, value)?;
            }
            "updateURIsSupported" => to.update_uris_supported = self.read(name, value)?,
            "priorityBackup" => to.priority_backup = self.read(name, value)?,
            "priorityURIs" => {
                to.priority_uris = value.split(',').map(|uri| uri.trim().to_owned()).collect();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn endpoint(
        &self,
        uri: &Uri,
        nested: &[(String, String)],
        jms: &mut JmsOptions,
    ) -> Result<Endpoint, Error> {
        let plain = matches!(uri.scheme.as_str(), "tcp" | "nio" | "auto" | "auto+nio");
        if !plain {
            let scheme = &uri.scheme;
            return Err(
                self.wrong(format!("`{scheme}:` is not served here; say tcp: or failover:"))
            );
        }
        let Target::Authority { host, port, .. } = &uri.target else {
            return Err(self.wrong("a broker is written tcp://host:port"));
        };
        let host = if host.is_empty() { "localhost" } else { host };
        let mut endpoint = Endpoint {
            host: host.to_owned(),
            port: port.unwrap_or(PORT_DEFAULT),
            offer: Offer { host: Some(host.into()), ..Offer::default() },
            connection_timeout: CONNECTION_TIMEOUT_DEFAULT,
            socket_buffer_bytes: None,
            keep_alive: false,
            inactivity_monitor: true,
        };
        for (name, value) in nested.iter().chain(&uri.query) {
            if let Some(option) = name.strip_prefix("wireFormat.") {
                self.offer_option(&mut endpoint.offer, option, value)?;
            } else if !self.socket_option(&mut endpoint, name, value)? {
                self.jms_option(jms, name, value)?;
            }
        }
        if !endpoint.inactivity_monitor {
            endpoint.offer.max_inactivity_ms = 0;
        }
        endpoint.offer = endpoint.offer.fit();
        Ok(endpoint)
    }

    fn socket_option(&self, to: &mut Endpoint, name: &str, value: &str) -> Result<bool, Error> {
        let bare = name.strip_prefix("socket.").unwrap_or(name);
        match bare {
            "connectionTimeout" => to.connection_timeout = self.ms(name, value)?,
            "socketBufferSize" => to.socket_buffer_bytes = Some(self.read(name, value)?),
            "keepAlive" => to.keep_alive = self.read(name, value)?,
            "useInactivityMonitor" => to.inactivity_monitor = self.read(name, value)?,
            "tcpNoDelay" => to.offer.tcp_no_delay = self.read(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn offer_option(&self, to: &mut Offer, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "version" => to.version = self.read(name, value)?,
            "cacheEnabled" => to.cache = self.read(name, value)?,
            "cacheSize" => to.cache_size = self.read(name, value)?,
            "tightEncodingEnabled" => to.tight_encoding = self.read(name, value)?,
            "sizePrefixDisabled" => to.size_prefix_disabled = self.read(name, value)?,
            "stackTraceEnabled" => to.stack_trace = self.read(name, value)?,
            "tcpNoDelayEnabled" => to.tcp_no_delay = self.read(name, value)?,
            "maxFrameSize" => to.max_frame_size = self.read(name, value)?,
            "maxFrameSizeEnabled" => to.max_frame_size_enabled = self.read(name, value)?,
            "maxInactivityDuration" => to.max_inactivity_ms = self.read(name, value)?,
            "maxInactivityDurationInitalDelay" => to.initial_delay_ms = self.read(name, value)?,
            "host" => to.host = Some(value.into()),
            _ => return Err(self.unknown(&format!("wireFormat.{name}"))),
        }
        Ok(())
    }

    fn jms_option(&self, to: &mut JmsOptions, name: &str, value: &str) -> Result<(), Error> {
        let prefetch = &mut to.prefetch;
        match name {
            "jms.prefetchPolicy.all" => {
                let all = self.read(name, value)?;
                *prefetch = Prefetch { queue: all, browser: all, topic: all, durable_topic: all };
            }
            "jms.prefetchPolicy.queuePrefetch" => prefetch.queue = self.read(name, value)?,
            "jms.prefetchPolicy.queueBrowserPrefetch" => {
                prefetch.browser = self.read(name, value)?
            }
            "jms.prefetchPolicy.topicPrefetch" => prefetch.topic = self.read(name, value)?,
            "jms.prefetchPolicy.durableTopicPrefetch" => {
                prefetch.durable_topic = self.read(name, value)?;
            }
            "jms.clientID" => to.client_id = Some(value.to_owned()),
            "jms.userName" => to.user_name = Some(value.to_owned()),
            "jms.password" => to.password = Some(value.to_owned()),
            "jms.useAsyncSend" => to.use_async_send = self.read(name, value)?,
            "jms.alwaysSyncSend" => to.always_sync_send = self.read(name, value)?,
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(self.unknown(name)),
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        self.wrong(format!("unknown option `{name}`"))
    }

    fn read<T: std::str::FromStr>(&self, name: &str, value: &str) -> Result<T, Error> {
        value.trim().parse().map_err(|_| self.wrong(format!("`{value}` is no value for {name}")))
    }

    fn ms(&self, name: &str, value: &str) -> Result<Duration, Error> {
        self.read(name, value).map(Duration::from_millis)
    }

    /// -1 stands for no end.
    fn attempts(&self, name: &str, value: &str) -> Result<Option<u32>, Error> {
        Ok(u32::try_from(self.read::<i64>(name, value)?).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> BrokerUrl {
        BrokerUrl::parse(text).unwrap()
    }

    #[test]
    fn a_plain_url_is_one_broker_without_failover() {
        let url = parse("tcp://h:61617?wireFormat.version=9&wireFormat.maxInactivityDuration=500");
        let broker = &url.brokers[0];
        assert_eq!((broker.address().as_str(), url.failover), ("tcp://h:61617", None));
        assert_eq!((broker.offer.version, broker.offer.max_inactivity_ms), (9, 500));
        assert_eq!(parse("tcp://h").brokers[0].port, 61616);
    }

    #[test]
    fn a_failover_list_is_written_in_several_ways() {
        for text in [
            "failover:(tcp://a:1,tcp://b:2)",
            "failover://(tcp://a:1,tcp://b:2)",
            "failover:tcp://a:1,tcp://b:2",
            "failover://tcp://a:1,tcp://b:2",
        ] {
            let url = parse(text);
            let addresses: Vec<_> = url.brokers.iter().map(Endpoint::address).collect();
            assert_eq!(addresses, ["tcp://a:1", "tcp://b:2"], "{text}");
            assert_eq!(url.failover, Some(Failover::default()));
        }
    }

    #[test]
    fn nested_options_reach_every_broker_and_its_own_win() {
        let url = parse(
            "failover:(tcp://a:1,tcp://b:2?wireFormat.cacheEnabled=true)\
             ?nested.wireFormat.cacheEnabled=false&maxReconnectAttempts=3&randomize=false\
             &startupMaxReconnectAttempts=-1&jms.prefetchPolicy.all=5&timeout=700",
        );
        assert!(!url.brokers[0].offer.cache && url.brokers[1].offer.cache);
        let failover = url.failover.unwrap();
        assert_eq!(failover.max_reconnect_attempts, Some(3));
        assert_eq!(failover.startup_max_reconnect_attempts, None);
        assert_eq!(failover.timeout, Some(Duration::from_millis(700)));
        assert!(!failover.randomize);
        assert_eq!(url.jms.prefetch.queue, 5);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, word) in [
            ("localhost", "scheme"),
            ("ssl://h:1", "`ssl:`"),
            ("tcp://h:1?wireFormat.sise=1", "`wireFormat.sise`"),
            ("failover:(tcp://h:1)?randomise=false", "`randomise`"),
            ("failover:(tcp://h:1)?randomize=maybe", "`maybe`"),
            ("failover:()", "empty"),
        ] {
            let error = BrokerUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(text), "{text}: {error}");
        }
    }
}
