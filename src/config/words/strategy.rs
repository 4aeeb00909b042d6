//! What may stand inside a `<policyEntry>`: strategies, policies and cursors.

use std::time::Duration;

use super::destination::ONE;
use super::standing::{JVM, ONE_ORDER, QUERY, SERVED, SHARED_BUFFER};
use crate::broker::options::policy::{
    ConditionalBridgeFilter, Cursor, DeadLetterStrategy, DeadLetterTarget, DispatchPolicy,
    DurableCursor, EvictionOrder, IndividualDeadLetters, MessageEviction, MessageGroupMap,
    PendingMessageLimit, SlowConsumerStrategy, SubscriptionRecovery,
};
use crate::config::value;
use crate::config::vocabulary::{Attribute, Words, child, known, plain, rule, set, with};
use crate::openwire::{Destination, DestinationKind};

pub(super) static DEAD_LETTER: Words<DeadLetterStrategy> = Words {
    element: "deadLetterStrategy",
    attributes: &[],
    children: &[
        child!("sharedDeadLetterStrategy", SHARED, SERVED),
        rule!("individualDeadLetterStrategy", SERVED, |to, from, reading| {
            to.target = DeadLetterTarget::Individual(IndividualDeadLetters::default());
            reading.fill(&INDIVIDUAL, from, to);
        }),
        rule!("discarding", SERVED, |to, from, reading| {
            to.target = DeadLetterTarget::Discard;
            reading.fill(&DISCARDING, from, to);
        }),
    ],
};

const PROCESS_EXPIRED: Attribute<DeadLetterStrategy> =
    set!("processExpired", value::boolean => process_expired, SERVED);
const PROCESS_NON_PERSISTENT: Attribute<DeadLetterStrategy> =
    set!("processNonPersistent", value::boolean => process_non_persistent, SERVED);
const ENABLE_AUDIT: Attribute<DeadLetterStrategy> =
    set!("enableAudit", value::boolean => enable_audit, SERVED);
const MAX_PRODUCERS: Attribute<DeadLetterStrategy> =
    set!("maxProducersToAudit", value::count => max_producers_to_audit, SERVED);
const MAX_AUDIT_DEPTH: Attribute<DeadLetterStrategy> =
    set!("maxAuditDepth", value::count => max_audit_depth, SERVED);
const EXPIRATION: Attribute<DeadLetterStrategy> =
    set!("expiration", value::millis_or_none => expiration, SERVED);

pub(super) static SHARED: Words<DeadLetterStrategy> = Words {
    element: "sharedDeadLetterStrategy",
    attributes: &[
        PROCESS_EXPIRED,
        PROCESS_NON_PERSISTENT,
        ENABLE_AUDIT,
        MAX_PRODUCERS,
        MAX_AUDIT_DEPTH,
        EXPIRATION,
        with!("deadLetterQueue", SERVED, |to, text| {
            let queue = Destination::parse(text, DestinationKind::Queue);
            to.target = DeadLetterTarget::Shared(queue);
            Ok(())
        }),
    ],
    children: &[rule!("deadLetterQueue", SERVED, |to, from, reading| {
        let mut found = Vec::new();
        reading.fill(&ONE, from, &mut found);
        if let Some(queue) = found.pop() {
            to.target = DeadLetterTarget::Shared(queue);
        }
    })],
};

pub(super) static INDIVIDUAL: Words<DeadLetterStrategy> = Words {
    element: "individualDeadLetterStrategy",
    attributes: &[
        PROCESS_EXPIRED,
        PROCESS_NON_PERSISTENT,
        ENABLE_AUDIT,
        MAX_PRODUCERS,
        MAX_AUDIT_DEPTH,
        EXPIRATION,
        with!("queuePrefix", SERVED, |to, text| {
            own(to, |own| text.clone_into(&mut own.queue_prefix))
        }),
        with!("queueSuffix", SERVED, |to, text| {
            own(to, |own| text.clone_into(&mut own.queue_suffix))
        }),
        with!("topicPrefix", SERVED, |to, text| {
            own(to, |own| text.clone_into(&mut own.topic_prefix))
        }),
        with!("topicSuffix", SERVED, |to, text| {
            own(to, |own| text.clone_into(&mut own.topic_suffix))
        }),
        with!("useQueueForQueueMessages", SERVED, |to, text| {
            let on = value::boolean(text)?;
            own(to, |own| own.use_queue_for_queue_messages = on)
        }),
        with!("useQueueForTopicMessages", SERVED, |to, text| {
            let on = value::boolean(text)?;
            own(to, |own| own.use_queue_for_topic_messages = on)
        }),
        with!("destinationPerDurableSubscriber", SERVED, |to, text| {
            let on = value::boolean(text)?;
            own(to, |own| own.destination_per_durable_subscriber = on)
        }),
    ],
    children: &[],
};

fn own(
    to: &mut DeadLetterStrategy,
    set: impl FnOnce(&mut IndividualDeadLetters),
) -> value::Read<()> {
    if let DeadLetterTarget::Individual(individual) = &mut to.target {
        set(individual);
    }
    Ok(())
}

pub(super) static DISCARDING: Words<DeadLetterStrategy> = Words {
    element: "discarding",
    attributes: &[
        PROCESS_EXPIRED,
        PROCESS_NON_PERSISTENT,
        ENABLE_AUDIT,
        MAX_PRODUCERS,
        MAX_AUDIT_DEPTH,
        EXPIRATION,
        known!("deadLetterQueue", value::text, JVM),
    ],
    children: &[],
};

pub(super) static PENDING_LIMIT: Words<Option<PendingMessageLimit>> = Words {
    element: "pendingMessageLimitStrategy",
    attributes: &[],
    children: &[
        child!("constantPendingMessageLimitStrategy", CONSTANT_LIMIT, SERVED),
        rule!("prefetchRatePendingMessageLimitStrategy", SERVED, |to, from, reading| {
            *to = Some(PendingMessageLimit::PrefetchRate(0.5));
            reading.fill(&PREFETCH_RATE, from, to);
        }),
    ],
};

pub(super) static CONSTANT_LIMIT: Words<Option<PendingMessageLimit>> = Words {
    element: "constantPendingMessageLimitStrategy",
    attributes: &[with!("limit", SERVED, |to, text| {
        *to = value::count_or_negative(text)?.map(PendingMessageLimit::Constant);
        Ok(())
    })],
    children: &[],
};

pub(super) static PREFETCH_RATE: Words<Option<PendingMessageLimit>> = Words {
    element: "prefetchRatePendingMessageLimitStrategy",
    attributes: &[with!("multiplier", SERVED, |to, text| {
        *to = Some(PendingMessageLimit::PrefetchRate(value::decimal(text)?));
        Ok(())
    })],
    children: &[],
};

pub(super) static EVICTION: Words<MessageEviction> = Words {
    element: "messageEvictionStrategy",
    attributes: &[],
    children: &[
        child!("oldestMessageEvictionStrategy", OLDEST, SERVED),
        rule!("oldestMessageWithLowestPriorityEvictionStrategy", SERVED, |to, from, reading| {
            to.order = EvictionOrder::OldestWithLowestPriority;
            reading.fill(&OLDEST, from, to);
        }),
        child!("uniquePropertyMessageEvictionStrategy", UNIQUE_PROPERTY, SERVED),
    ],
};

const HIGH_WATERMARK: Attribute<MessageEviction> = set!(
    "evictExpiredMessagesHighWatermark", value::count => evict_expired_high_watermark, SERVED
);

pub(super) static OLDEST: Words<MessageEviction> = Words {
    element: "oldestMessageEvictionStrategy",
    attributes: &[HIGH_WATERMARK],
    children: &[],
};

pub(super) static UNIQUE_PROPERTY: Words<MessageEviction> = Words {
    element: "uniquePropertyMessageEvictionStrategy",
    attributes: &[
        HIGH_WATERMARK,
        with!("propertyName", SERVED, |to, text| {
            to.order = EvictionOrder::UniqueProperty(text.to_owned());
            Ok(())
        }),
    ],
    children: &[],
};

pub(super) static DISPATCH: Words<Option<DispatchPolicy>> = Words {
    element: "dispatchPolicy",
    attributes: &[],
    children: &[
        plain!("roundRobinDispatchPolicy", ONE_ORDER, to => *to = Some(DispatchPolicy::RoundRobin)),
        plain!("strictOrderDispatchPolicy", ONE_ORDER, to => *to = Some(DispatchPolicy::StrictOrder)),
        plain!("priorityDispatchPolicy", ONE_ORDER, to => *to = Some(DispatchPolicy::Priority)),
        plain!("priorityNetworkDispatchPolicy", SERVED, to => *to = Some(DispatchPolicy::PriorityNetwork)),
        plain!("simpleDispatchPolicy", ONE_ORDER, to => *to = Some(DispatchPolicy::Simple)),
        rule!("clientIdFilterDispatchPolicy", SERVED, |to, from, reading| {
            let mut names = ("PTP_CLIENTID".to_owned(), ".PTP".to_owned());
            reading.fill(&CLIENT_ID_FILTER, from, &mut names);
            let (ptp_client_id, ptp_suffix) = names;
            *to = Some(DispatchPolicy::ClientIdFilter { ptp_client_id, ptp_suffix });
        }),
    ],
};

pub(super) static CLIENT_ID_FILTER: Words<(String, String)> = Words {
    element: "clientIdFilterDispatchPolicy",
    attributes: &[
        with!("ptpClientId", SERVED, |to, text| {
            text.clone_into(&mut to.0);
            Ok(())
        }),
        with!("ptpSuffix", SERVED, |to, text| {
            text.clone_into(&mut to.1);
            Ok(())
        }),
    ],
    children: &[],
};

pub(super) static RECOVERY: Words<Option<SubscriptionRecovery>> = Words {
    element: "subscriptionRecoveryPolicy",
    attributes: &[],
    children: &[
        plain!("noSubscriptionRecoveryPolicy", SERVED, to => *to = None),
        plain!("lastImageSubscriptionRecoveryPolicy", SERVED, to => *to = Some(SubscriptionRecovery::LastImage)),
        plain!("queryBasedSubscriptionRecoveryPolicy", QUERY, to => *to = Some(SubscriptionRecovery::QueryBased)),
        rule!("fixedCountSubscriptionRecoveryPolicy", SERVED, |to, from, reading| {
            let mut maximum_messages = 100;
            reading.fill(&FIXED_COUNT, from, &mut maximum_messages);
            *to = Some(SubscriptionRecovery::FixedCount { maximum_messages });
        }),
        rule!("fixedSizedSubscriptionRecoveryPolicy", SERVED, |to, from, reading| {
            let mut sized = (64 << 10, true);
            reading.fill(&FIXED_SIZED, from, &mut sized);
            let (maximum_bytes, shared_buffer) = sized;
            *to = Some(SubscriptionRecovery::FixedSized { maximum_bytes, shared_buffer });
        }),
        rule!("timedSubscriptionRecoveryPolicy", SERVED, |to, from, reading| {
            let mut recover_duration = Duration::from_millis(60_000);
            reading.fill(&TIMED, from, &mut recover_duration);
            *to = Some(SubscriptionRecovery::Timed { recover_duration });
        }),
        rule!("retainedMessageSubscriptionRecoveryPolicy", SERVED, |to, from, reading| {
            let mut wrapped = None;
            reading.fill(&RETAINED, from, &mut wrapped);
            *to = Some(SubscriptionRecovery::Retained { wrapped: wrapped.map(Box::new) });
        }),
    ],
};

pub(super) static FIXED_COUNT: Words<u32> = Words {
    element: "fixedCountSubscriptionRecoveryPolicy",
    attributes: &[with!("maximumSize", SERVED, |to, text| {
        *to = value::count(text)?;
        Ok(())
    })],
    children: &[],
};

pub(super) static FIXED_SIZED: Words<(u64, bool)> = Words {
    element: "fixedSizedSubscriptionRecoveryPolicy",
    attributes: &[
        with!("maximumSize", SERVED, |to, text| {
            to.0 = value::bytes(text)?;
            Ok(())
        }),
        with!("useSharedBuffer", SHARED_BUFFER, |to, text| {
            to.1 = value::boolean(text)?;
            Ok(())
        }),
    ],
    children: &[],
};

pub(super) static TIMED: Words<Duration> = Words {
    element: "timedSubscriptionRecoveryPolicy",
    attributes: &[with!("recoverDuration", SERVED, |to, text| {
        *to = value::millis(text)?;
        Ok(())
    })],
    children: &[],
};

pub(super) static RETAINED: Words<Option<SubscriptionRecovery>> = Words {
    element: "retainedMessageSubscriptionRecoveryPolicy",
    attributes: &[],
    children: &[child!("wrapped", RECOVERY, SERVED)],
};

pub(super) static SLOW_CONSUMER: Words<Option<SlowConsumerStrategy>> = Words {
    element: "slowConsumerStrategy",
    attributes: &[],
    children: &[
        rule!("abortSlowConsumerStrategy", SERVED, |to, from, reading| {
            let mut strategy = SlowConsumerStrategy::default();
            reading.fill(&ABORT_SLOW, from, &mut strategy);
            *to = Some(strategy);
        }),
        rule!("abortSlowAckConsumerStrategy", SERVED, |to, from, reading| {
            let mut strategy = SlowConsumerStrategy {
                max_time_since_last_ack: Some(Duration::from_millis(30_000)),
                ..SlowConsumerStrategy::default()
            };
            reading.fill(&ABORT_SLOW_ACK, from, &mut strategy);
            *to = Some(strategy);
        }),
    ],
};

const SLOW_NAME: Attribute<SlowConsumerStrategy> = known!("name", value::text, JVM);
const MAX_SLOW_COUNT: Attribute<SlowConsumerStrategy> =
    set!("maxSlowCount", value::count_or_negative => max_slow_count, SERVED);
const MAX_SLOW_DURATION: Attribute<SlowConsumerStrategy> =
    set!("maxSlowDuration", value::millis_or_none => max_slow_duration, SERVED);
const CHECK_PERIOD: Attribute<SlowConsumerStrategy> =
    set!("checkPeriod", value::millis => check_period, SERVED);
const ABORT_CONNECTION: Attribute<SlowConsumerStrategy> =
    set!("abortConnection", value::boolean => abort_connection, SERVED);
const IGNORE_NETWORK: Attribute<SlowConsumerStrategy> =
    set!("ignoreNetworkConsumers", value::boolean => ignore_network_consumers, SERVED);

pub(super) static ABORT_SLOW: Words<SlowConsumerStrategy> = Words {
    element: "abortSlowConsumerStrategy",
    attributes: &[
        SLOW_NAME,
        MAX_SLOW_COUNT,
        MAX_SLOW_DURATION,
        CHECK_PERIOD,
        ABORT_CONNECTION,
        IGNORE_NETWORK,
    ],
    children: &[],
};

pub(super) static ABORT_SLOW_ACK: Words<SlowConsumerStrategy> = Words {
    element: "abortSlowAckConsumerStrategy",
    attributes: &[
        SLOW_NAME,
        MAX_SLOW_COUNT,
        MAX_SLOW_DURATION,
        CHECK_PERIOD,
        ABORT_CONNECTION,
        IGNORE_NETWORK,
        set!("maxTimeSinceLastAck", value::millis => max_time_since_last_ack, SERVED),
        set!("ignoreIdleConsumers", value::boolean => ignore_idle_consumers, SERVED),
    ],
    children: &[],
};

pub(super) static BRIDGE_FILTER: Words<Option<ConditionalBridgeFilter>> = Words {
    element: "networkBridgeFilterFactory",
    attributes: &[],
    children: &[
        plain!("defaultNetworkBridgeFilterFactory", SERVED, to => *to = None),
        rule!("conditionalNetworkBridgeFilterFactory", SERVED, |to, from, reading| {
            let mut filter = ConditionalBridgeFilter::default();
            reading.fill(&CONDITIONAL_FILTER, from, &mut filter);
            *to = Some(filter);
        }),
    ],
};

pub(super) static CONDITIONAL_FILTER: Words<ConditionalBridgeFilter> = Words {
    element: "conditionalNetworkBridgeFilterFactory",
    attributes: &[
        set!("replayWhenNoConsumers", value::boolean => replay_when_no_consumers, SERVED),
        set!("replayDelay", value::millis => replay_delay, SERVED),
        set!("rateLimit", value::count_or_none => rate_limit, SERVED),
        set!("rateDuration", value::millis => rate_duration, SERVED),
        set!("selectorAware", value::boolean => selector_aware, SERVED),
    ],
    children: &[],
};

pub(super) static QUEUE_CURSOR: Words<Cursor> = Words {
    element: "pendingQueuePolicy",
    attributes: &[],
    children: &[
        plain!("storeCursor", SERVED, to => *to = Cursor::Store),
        plain!("vmQueueCursor", SERVED, to => *to = Cursor::Vm),
        plain!("fileQueueCursor", SERVED, to => *to = Cursor::File),
    ],
};

pub(super) static SUBSCRIBER_CURSOR: Words<Cursor> = Words {
    element: "pendingSubscriberPolicy",
    attributes: &[],
    children: &[
        plain!("vmCursor", SERVED, to => *to = Cursor::Vm),
        plain!("fileCursor", SERVED, to => *to = Cursor::File),
    ],
};

pub(super) static DURABLE_CURSOR: Words<DurableCursor> = Words {
    element: "pendingDurableSubscriberPolicy",
    attributes: &[],
    children: &[
        child!("storeDurableSubscriberCursor", STORE_DURABLE, SERVED),
        plain!("vmDurableCursor", SERVED, to => to.kind = Cursor::Vm),
        plain!("fileDurableSubscriberCursor", SERVED, to => to.kind = Cursor::File),
    ],
};

pub(super) static STORE_DURABLE: Words<DurableCursor> = Words {
    element: "storeDurableSubscriberCursor",
    attributes: &[
        set!("immediatePriorityDispatch", value::boolean => immediate_priority_dispatch, SERVED),
        set!("useCache", value::boolean => use_cache, SERVED),
    ],
    children: &[],
};

pub(super) static GROUP_MAP: Words<MessageGroupMap> = Words {
    element: "messageGroupMapFactory",
    attributes: &[],
    children: &[
        rule!("cachedMessageGroupMapFactory", SERVED, |to, from, reading| {
            let mut sizes = (0, 1024);
            reading.fill(&CACHED_GROUPS, from, &mut sizes);
            *to = MessageGroupMap::Cached { groups: sizes.1 };
        }),
        rule!("messageGroupHashBucketFactory", SERVED, |to, from, reading| {
            let mut sizes = (1024, 64);
            reading.fill(&HASH_BUCKETS, from, &mut sizes);
            *to = MessageGroupMap::HashBucket { buckets: sizes.0, cached: sizes.1 };
        }),
        plain!("simpleMessageGroupMapFactory", SERVED, to => *to = MessageGroupMap::Simple),
    ],
};

const CACHE_SIZE: Attribute<(u32, u32)> = with!("cacheSize", SERVED, |to, text| {
    to.1 = value::count(text)?;
    Ok(())
});

pub(super) static CACHED_GROUPS: Words<(u32, u32)> =
    Words { element: "cachedMessageGroupMapFactory", attributes: &[CACHE_SIZE], children: &[] };

pub(super) static HASH_BUCKETS: Words<(u32, u32)> = Words {
    element: "messageGroupHashBucketFactory",
    attributes: &[
        CACHE_SIZE,
        with!("bucketCount", SERVED, |to, text| {
            to.0 = value::count(text)?;
            Ok(())
        }),
    ],
    children: &[],
};
