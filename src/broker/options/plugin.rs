//! What a configuration adds to the broker's own work, apart from security.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::options::options;
use crate::openwire::Destination;

/// A member of `<plugins>` that the broker itself carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum Plugin {
    /// Answers what is sent to `ActiveMQ.Statistics.>`.
    Statistics,
    TimeStamping(TimeStamping),
    Redelivery(Redelivery),
    DiscardingDlq(DiscardingDlq),
    /// Another character than `.` between the parts of a name.
    DestinationPathSeparator {
        separator: String,
    },
    /// Keeps the list of destinations in a file, across restarts.
    Destinations {
        location: Option<PathBuf>,
    },
    /// Makes every message persistent, or none.
    ForcePersistencyMode {
        persistent: bool,
    },
    Logging(Logging),
    /// Writes the brokers a message passed into this property.
    TraceBrokerPath {
        stamp_property: String,
    },
    VirtualSelectorCache(VirtualSelectorCache),
    /// Reads the configuration again while running; `None` only when told.
    RuntimeConfiguration {
        check_period: Option<Duration>,
    },
    /// Sends a copy of every command to a multicast address.
    MulticastTrace {
        address: Option<String>,
    },
    /// Sends a copy of every command to a UDP address.
    UdpTrace {
        address: Option<String>,
    },
    Partition,
}

/// A regular expression that a whole name has to fit.
#[derive(Debug, Clone)]
pub struct NamePattern(regex::Regex);

impl NamePattern {
    /// # Errors
    /// It is no regular expression, or one of those that only Java has.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        regex::Regex::new(&format!("^(?:{pattern})$")).map(Self)
    }

    /// Several, with commas between.
    ///
    /// # Errors
    /// One of them is none.
    pub fn list(patterns: &str) -> Result<Vec<Self>, regex::Error> {
        patterns.split(',').map(str::trim).filter(|one| !one.is_empty()).map(Self::new).collect()
    }

    pub fn fits(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

options! {
    /// `<timeStampingBrokerPlugin>`.
    pub struct TimeStamping {
        /// Correct only time stamps that are ahead of the broker's clock.
        future_only: bool = false,
        /// Longest time to live; `None` has no limit.
        ttl_ceiling: Option<Duration> = None,
        /// Time to live of messages without one; `None` leaves them so.
        zero_expiration_override: Option<Duration> = None,
        /// Also what came over a network bridge.
        process_network_messages: bool = false,
    }

    /// `<redeliveryPlugin>`: the broker, not the client, waits between deliveries.
    pub struct Redelivery {
        fallback_to_dead_letter: bool = true,
        send_to_dlq_if_max_retries_exceeded: bool = true,
        /// For destinations that no entry fits.
        default_entry: Option<RedeliveryPolicy> = None,
        /// Each for the destinations that fit its pattern.
        entries: Vec<(Destination, RedeliveryPolicy)> = Vec::new(),
    }

    /// `<redeliveryPolicy>`.
    pub struct RedeliveryPolicy {
        /// `None` tries for ever.
        maximum_redeliveries: Option<u32> = Some(6),
        initial_redelivery_delay: Duration = Duration::from_millis(1000),
        redelivery_delay: Duration = Duration::from_millis(1000),
        maximum_redelivery_delay: Option<Duration> = None,
        use_exponential_back_off: bool = false,
        back_off_multiplier: f64 = 5.0,
        use_collision_avoidance: bool = false,
        collision_avoidance_percent: u8 = 15,
        pre_dispatch_check: bool = true,
    }

    /// `<discardingDLQBrokerPlugin>`: what would be dead-lettered is dropped.
    pub struct DiscardingDlq {
        drop_all: bool = true,
        drop_temporary_queues: bool = true,
        drop_temporary_topics: bool = true,
        /// Only destinations whose names fit one of these.
        drop_only: Vec<NamePattern> = Vec::new(),
        /// A line in the log after this many drops.
        report_interval: u32 = 1000,
    }

    /// `<loggingBrokerPlugin>`.
    pub struct Logging {
        log_all: bool = false,
        log_connection_events: bool = true,
        log_session_events: bool = true,
        log_consumer_events: bool = false,
        log_producer_events: bool = false,
        log_transaction_events: bool = false,
        log_internal_events: bool = false,
        per_destination_logger: bool = false,
    }

    /// `<virtualSelectorCacheBrokerPlugin>`: remembers the selectors of consumers that are away.
    pub struct VirtualSelectorCache {
        persist_file: Option<PathBuf> = None,
        /// `None` writes only when stopping.
        persist_interval: Option<Duration> = Some(Duration::from_millis(600_000)),
        single_selector_per_destination: bool = false,
        ignore_wildcard_selectors: bool = false,
    }
}
