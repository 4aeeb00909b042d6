//! What holds for the destinations that fit a pattern.

use std::time::Duration;

use crate::base::options::options;
use crate::openwire::Destination;

/// `<policyMap>`: the entry with the most specific pattern holds for a destination, alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyMap {
    /// For destinations that no entry fits.
    pub default_entry: Option<PolicyEntry>,
    /// Each with the pattern of the destinations it is for, in the order of the configuration.
    pub entries: Vec<(Destination, PolicyEntry)>,
}

options! {
    /// `<policyEntry>`.
    pub struct PolicyEntry {
        /// Prefetch of a queue consumer that asked for the stock 1000.
        queue_prefetch: u32 = 1000,
        /// Prefetch of a browser that asked for the stock 500.
        queue_browser_prefetch: u32 = 500,
        /// Prefetch of a topic consumer that asked for the stock 32767.
        topic_prefetch: u32 = 32_767,
        /// Prefetch of a durable subscriber that asked for the stock 100.
        durable_topic_prefetch: u32 = 100,
        /// Delivered but not yet acknowledged messages do not count against the prefetch.
        use_prefetch_extension: bool = true,
        use_topic_subscription_inflight_stats: bool = true,

        /// Higher priority of a consumer wins; else all take turns.
        use_consumer_priority: bool = true,
        /// Fill one consumer before the next, rather than take turns.
        strict_order_dispatch: bool = false,
        /// Only one consumer of a queue at a time.
        all_consumers_exclusive_by_default: bool = false,
        /// Wait for this many consumers, at most `time_before_dispatch_starts`.
        consumers_before_dispatch_starts: u32 = 0,
        time_before_dispatch_starts: Duration = Duration::ZERO,
        /// Deliver by message priority.
        prioritized_messages: bool = false,
        lazy_dispatch: bool = false,
        optimized_dispatch: bool = false,
        /// How a queue remembers which consumer a message group belongs to.
        message_groups: MessageGroupMap = MessageGroupMap::Cached { groups: 1024 },
        /// Every topic consumer gets what `subscription_recovery` kept.
        always_retroactive: bool = false,

        /// Hold producers at a limit; otherwise what does not fit in memory goes to the disk.
        producer_flow_control: bool = true,
        /// Bytes of memory for one destination; `None` shares the broker's.
        memory_limit: Option<u64> = None,
        /// What a message counts for in `memory_limit` beside its body and properties, in bytes.
        minimum_message_size: u64 = 1024,
        /// `None` takes the broker's.
        send_fail_if_no_space: Option<bool> = None,
        /// `None` takes the broker's.
        send_fail_if_no_space_after_timeout: Option<Duration> = None,
        /// How often a held producer is named in the log; `None` never.
        blocked_producer_warning_interval: Option<Duration> = Some(Duration::from_millis(30_000)),
        /// Percent of the memory limit from which messages are read from the store instead.
        cursor_memory_high_water_mark: u8 = 70,
        /// Percent of the store limit from which producers are held.
        store_usage_high_water_mark: u8 = 100,

        /// Most messages taken from the store at once.
        max_page_size: u32 = 200,
        /// Most messages a console browse shows.
        max_browse_page_size: u32 = 400,
        /// How often expired messages are looked for; `None` only when they come to be delivered.
        expire_messages_period: Option<Duration> = Some(Duration::from_millis(30_000)),
        /// Most messages looked at in one such look.
        max_expire_page_size: u32 = 400,
        use_cache: bool = true,
        /// Drop what a producer sent before, told by its sequence numbers.
        enable_audit: bool = true,
        /// Producers remembered for that.
        max_producers_to_audit: u32 = 64,
        /// Sequence numbers remembered of each.
        max_audit_depth: u32 = 10_000,
        max_queue_audit_depth: u32 = 10_000,
        send_duplicate_from_store_to_dlq: bool = false,
        /// Store the redelivery counter with the message.
        persist_jms_redelivered: bool = false,
        reduce_memory_footprint: bool = false,
        optimize_message_storage: bool = true,
        optimize_message_store_in_flight_limit: u32 = 10,

        /// Drop a destination that is empty and unused for `inactive_timeout_before_gc`.
        gc_inactive_destinations: bool = false,
        gc_with_network_consumers: bool = false,
        inactive_timeout_before_gc: Duration = Duration::from_millis(60_000),
        /// Most destinations that may fit the pattern; `None` has no limit.
        max_destinations: Option<u32> = None,

        advisory_for_consumed: bool = false,
        advisory_for_delivery: bool = false,
        advisory_for_dispatched: bool = false,
        advisory_for_discarding_messages: bool = false,
        advisory_for_fast_producers: bool = false,
        advisory_for_slow_consumers: bool = false,
        advisory_when_full: bool = false,
        include_body_for_advisory: bool = false,
        send_advisory_if_no_consumers: bool = false,
        advanced_network_statistics_enabled: bool = false,
        advanced_message_statistics_enabled: bool = false,

        dead_letter: DeadLetterStrategy = DeadLetterStrategy::default(),
        /// How much may wait for a topic consumer beyond its prefetch; `None` has no limit.
        pending_message_limit: Option<PendingMessageLimit> = None,
        /// What goes when that is reached.
        eviction: MessageEviction = MessageEviction::default(),
        /// Order in which topic consumers are served; `None` is the order they came in.
        dispatch_policy: Option<DispatchPolicy> = None,
        /// What a topic keeps for consumers that come later; `None` keeps nothing.
        subscription_recovery: Option<SubscriptionRecovery> = None,
        slow_consumer: Option<SlowConsumerStrategy> = None,
        network_bridge_filter: Option<ConditionalBridgeFilter> = None,
        /// Where a queue keeps what it has not delivered.
        queue_cursor: Cursor = Cursor::Store,
        /// Where a topic keeps what a consumer has not taken.
        subscriber_cursor: Cursor = Cursor::File,
        /// Where a durable subscriber's messages wait.
        durable_subscriber_cursor: DurableCursor = DurableCursor::default(),
    }

    /// `<abortSlowConsumerStrategy>` and `<abortSlowAckConsumerStrategy>`.
    pub struct SlowConsumerStrategy {
        /// Abort a consumer that was found slow this often; `None` does not count.
        max_slow_count: Option<u32> = None,
        /// Abort a consumer that was slow this long; `None` does not measure.
        max_slow_duration: Option<Duration> = Some(Duration::from_millis(30_000)),
        check_period: Duration = Duration::from_millis(30_000),
        /// Close the connection, rather than the consumer.
        abort_connection: bool = false,
        ignore_network_consumers: bool = true,
        /// Slow is who acknowledged nothing for this long; `None` judges by a full prefetch.
        max_time_since_last_ack: Option<Duration> = None,
        /// With `max_time_since_last_ack`: not who has nothing to acknowledge.
        ignore_idle_consumers: bool = true,
    }

    /// `<conditionalNetworkBridgeFilterFactory>`: lets a bridge send messages back where they came
    /// from, and how many it sends.
    pub struct ConditionalBridgeFilter {
        replay_when_no_consumers: bool = false,
        /// How long a message has to be here before it may go back.
        replay_delay: Duration = Duration::ZERO,
        /// Messages per `rate_duration` that each of the bridge's consumers gets; `None` has no limit.
        rate_limit: Option<u32> = None,
        rate_duration: Duration = Duration::from_millis(1000),
        /// A consumer here keeps only what its selector takes from going back.
        selector_aware: bool = false,
    }

    /// What every strategy for dead letters has.
    pub struct DeadLetterStrategy {
        /// Which queue or topic gets them.
        target: DeadLetterTarget = DeadLetterTarget::Shared(Destination::queue("ActiveMQ.DLQ")),
        process_expired: bool = true,
        process_non_persistent: bool = false,
        /// Drop what was dead-lettered before.
        enable_audit: bool = true,
        max_producers_to_audit: u32 = 64,
        max_audit_depth: u32 = 2048,
        /// Time to live of a dead letter; `None` keeps it.
        expiration: Option<Duration> = None,
    }

    /// `<individualDeadLetterStrategy>`: a dead letter queue for each destination.
    pub struct IndividualDeadLetters {
        queue_prefix: String = "ActiveMQ.DLQ.Queue.".to_owned(),
        queue_suffix: String = String::new(),
        topic_prefix: String = "ActiveMQ.DLQ.Topic.".to_owned(),
        topic_suffix: String = String::new(),
        use_queue_for_queue_messages: bool = true,
        use_queue_for_topic_messages: bool = true,
        destination_per_durable_subscriber: bool = false,
    }
}

impl PolicyEntry {
    /// Whether a period of `expireMessagesPeriod` ended between two times. Periods are counted from the
    /// epoch, so nobody has to remember the last one.
    pub fn is_expire_due(&self, since_ms: i64, now_ms: i64) -> bool {
        let Some(period) = self.expire_messages_period else { return false };
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
        since_ms.div_euclid(period_ms) != now_ms.div_euclid(period_ms)
    }
}

/// Where dead letters go.
#[derive(Debug, Clone, PartialEq)]
pub enum DeadLetterTarget {
    /// All to one destination.
    Shared(Destination),
    Individual(IndividualDeadLetters),
    Discard,
}

/// How much may wait for a topic consumer beyond its prefetch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PendingMessageLimit {
    /// This many messages.
    Constant(u32),
    /// The prefetch times this.
    PrefetchRate(f64),
}

/// What goes first when a topic consumer's pending limit is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageEviction {
    pub order: EvictionOrder,
    /// From this many waiting messages on, expired ones are looked for first.
    pub evict_expired_high_watermark: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvictionOrder {
    Oldest,
    OldestWithLowestPriority,
    /// The oldest with the same value of this property.
    UniqueProperty(String),
}

impl Default for MessageEviction {
    fn default() -> Self {
        Self { order: EvictionOrder::Oldest, evict_expired_high_watermark: 1000 }
    }
}

/// Order in which topic consumers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchPolicy {
    RoundRobin,
    StrictOrder,
    Priority,
    PriorityNetwork,
    Simple,
    /// Messages whose `ptp_client_id` property names a consumer's client go to it alone.
    ClientIdFilter {
        ptp_client_id: String,
        ptp_suffix: String,
    },
}

/// What a topic keeps for consumers that come later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionRecovery {
    /// The newest messages, of together at most so many bytes.
    FixedSized {
        maximum_bytes: u64,
        shared_buffer: bool,
    },
    FixedCount {
        maximum_messages: u32,
    },
    LastImage,
    Timed {
        recover_duration: Duration,
    },
    QueryBased,
    /// The last message with the `ActiveMQ.Retain` property, besides what `wrapped` keeps.
    Retained {
        wrapped: Option<Box<Self>>,
    },
}

/// How a queue remembers which consumer a message group belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageGroupMap {
    /// The most recent `groups`.
    Cached { groups: u32 },
    /// Groups share `buckets`.
    HashBucket { buckets: u32, cached: u32 },
    /// Every group.
    Simple,
}

/// Where waiting messages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    Store,
    Vm,
    File,
}

/// Where a durable subscriber's messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableCursor {
    pub kind: Cursor,
    pub immediate_priority_dispatch: bool,
    pub use_cache: bool,
}

impl Default for DurableCursor {
    fn default() -> Self {
        Self { kind: Cursor::Store, immediate_priority_dispatch: true, use_cache: true }
    }
}
