//! `<destinationPolicy>`: the attributes of `<policyEntry>`; its children are in [`super::strategy`].

use super::destination::{Patterned, entry};
use super::standing::{CURSORS, JVM, PAGES, PER_MESSAGE, SERVED, STORE_AUDIT};
use super::strategy;
use crate::broker::options::policy::{MessageGroupMap, PolicyEntry, PolicyMap};
use crate::config::value::{self, Expected};
use crate::config::vocabulary::{Words, child, rule, set, with};

pub(super) static DESTINATION_POLICY: Words<PolicyMap> = Words {
    element: "destinationPolicy",
    attributes: &[],
    children: &[child!("policyMap", POLICY_MAP, SERVED)],
};

pub(super) static POLICY_MAP: Words<PolicyMap> = Words {
    element: "policyMap",
    attributes: &[],
    children: &[
        child!("policyEntries", POLICY_ENTRIES, SERVED),
        child!("entries", POLICY_ENTRIES, SERVED),
        child!("defaultEntry", DEFAULT_ENTRY, SERVED),
    ],
};

pub(super) static POLICY_ENTRIES: Words<PolicyMap> = Words {
    element: "policyEntries",
    attributes: &[],
    children: &[rule!("policyEntry", SERVED, |to, from, reading| {
        entry(&POLICY_ENTRY, &mut to.entries, from, reading);
    })],
};

pub(super) static DEFAULT_ENTRY: Words<PolicyMap> = Words {
    element: "defaultEntry",
    attributes: &[],
    children: &[rule!("policyEntry", SERVED, |to, from, reading| {
        let mut entry = Patterned::default();
        reading.fill(&POLICY_ENTRY, from, &mut entry);
        to.default_entry = Some(entry.value);
    })],
};

pub(super) static POLICY_ENTRY: Words<Patterned<PolicyEntry>> = Words {
    element: "policyEntry",
    attributes: &[
        Patterned::QUEUE,
        Patterned::TOPIC,
        Patterned::TEMP_QUEUE,
        Patterned::TEMP_TOPIC,
        set!("queuePrefetch", value::count => value.queue_prefetch, SERVED),
        set!("queueBrowserPrefetch", value::count => value.queue_browser_prefetch, SERVED),
        set!("topicPrefetch", value::count => value.topic_prefetch, SERVED),
        set!("durableTopicPrefetch", value::count => value.durable_topic_prefetch, SERVED),
        set!("usePrefetchExtension", value::boolean => value.use_prefetch_extension, SERVED),
        set!("useTopicSubscriptionInflightStats", value::boolean =>
            value.use_topic_subscription_inflight_stats, JVM),
        set!("useConsumerPriority", value::boolean => value.use_consumer_priority, SERVED),
        set!("strictOrderDispatch", value::boolean => value.strict_order_dispatch, SERVED),
        set!("allConsumersExclusiveByDefault", value::boolean =>
            value.all_consumers_exclusive_by_default, SERVED),
        set!("consumersBeforeDispatchStarts", value::count =>
            value.consumers_before_dispatch_starts, SERVED),
        set!("timeBeforeDispatchStarts", value::millis => value.time_before_dispatch_starts, SERVED),
        set!("prioritizedMessages", value::boolean => value.prioritized_messages, SERVED),
        set!("lazyDispatch", value::boolean => value.lazy_dispatch, PER_MESSAGE),
        set!("optimizedDispatch", value::boolean => value.optimized_dispatch, PER_MESSAGE),
        with!("messageGroupMapFactoryType", SERVED, |to, text| {
            to.value.message_groups = group_map(text)?;
            Ok(())
        }),
        set!("alwaysRetroactive", value::boolean => value.always_retroactive, SERVED),
        set!("producerFlowControl", value::boolean => value.producer_flow_control, SERVED),
        set!("memoryLimit", value::bytes_or_none => value.memory_limit, SERVED),
        set!("minimumMessageSize", value::bytes => value.minimum_message_size, SERVED),
        set!("sendFailIfNoSpace", value::boolean => value.send_fail_if_no_space, SERVED),
        set!("sendFailIfNoSpaceAfterTimeout", value::millis_or_none =>
            value.send_fail_if_no_space_after_timeout, SERVED),
        set!("blockedProducerWarningInterval", value::millis_or_none =>
            value.blocked_producer_warning_interval, SERVED),
        set!("cursorMemoryHighWaterMark", value::mark =>
            value.cursor_memory_high_water_mark, SERVED),
        set!("storeUsageHighWaterMark", value::mark => value.store_usage_high_water_mark, SERVED),
        set!("maxPageSize", value::count => value.max_page_size, PAGES),
        set!("maxBrowsePageSize", value::count => value.max_browse_page_size, PAGES),
        set!("expireMessagesPeriod", value::millis_or_none => value.expire_messages_period, SERVED),
        set!("maxExpirePageSize", value::count => value.max_expire_page_size, PAGES),
        set!("useCache", value::boolean => value.use_cache, PAGES),
        set!("enableAudit", value::boolean => value.enable_audit, STORE_AUDIT),
        set!("maxProducersToAudit", value::count => value.max_producers_to_audit, STORE_AUDIT),
        set!("maxAuditDepth", value::count => value.max_audit_depth, STORE_AUDIT),
        set!("maxQueueAuditDepth", value::count => value.max_queue_audit_depth, STORE_AUDIT),
        set!("sendDuplicateFromStoreToDLQ", value::boolean =>
            value.send_duplicate_from_store_to_dlq, PAGES),
        set!("persistJMSRedelivered", value::boolean => value.persist_jms_redelivered, SERVED),
        set!("reduceMemoryFootprint", value::boolean => value.reduce_memory_footprint, JVM),
        set!("doOptimzeMessageStorage", value::boolean => value.optimize_message_storage, JVM),
        set!("optimizeMessageStoreInFlightLimit", value::count =>
            value.optimize_message_store_in_flight_limit, JVM),
        set!("gcInactiveDestinations", value::boolean =>
            value.gc_inactive_destinations, SERVED),
        set!("gcWithNetworkConsumers", value::boolean =>
            value.gc_with_network_consumers, SERVED),
        set!("inactiveTimeoutBeforeGC", value::millis =>
            value.inactive_timeout_before_gc, SERVED),
        set!("inactiveTimoutBeforeGC", value::millis =>
            value.inactive_timeout_before_gc, SERVED),
        set!("maxDestinations", value::count_or_negative => value.max_destinations, SERVED),
        set!("advisoryForConsumed", value::boolean => value.advisory_for_consumed, SERVED),
        set!("advisoryForDelivery", value::boolean => value.advisory_for_delivery, SERVED),
        set!("advisoryForDispatched", value::boolean => value.advisory_for_dispatched, SERVED),
        set!("advisoryForDiscardingMessages", value::boolean =>
            value.advisory_for_discarding_messages, SERVED),
        set!("advisoryForFastProducers", value::boolean =>
            value.advisory_for_fast_producers, SERVED),
        set!("advisoryForSlowConsumers", value::boolean =>
            value.advisory_for_slow_consumers, SERVED),
        set!("advisoryWhenFull", value::boolean => value.advisory_when_full, SERVED),
        set!("includeBodyForAdvisory", value::boolean => value.include_body_for_advisory, SERVED),
        set!("sendAdvisoryIfNoConsumers", value::boolean =>
            value.send_advisory_if_no_consumers, SERVED),
        set!("advancedNetworkStatisticsEnabled", value::boolean =>
            value.advanced_network_statistics_enabled, JVM),
        set!("advancedMessageStatisticsEnabled", value::boolean =>
            value.advanced_message_statistics_enabled, JVM),
    ],
    children: &[
        Patterned::DESTINATION,
        child!("deadLetterStrategy", strategy::DEAD_LETTER => value.dead_letter, SERVED),
        child!("pendingMessageLimitStrategy", strategy::PENDING_LIMIT =>
            value.pending_message_limit, SERVED),
        child!("messageEvictionStrategy", strategy::EVICTION => value.eviction, SERVED),
        child!("dispatchPolicy", strategy::DISPATCH => value.dispatch_policy, SERVED),
        child!("subscriptionRecoveryPolicy", strategy::RECOVERY =>
            value.subscription_recovery, SERVED),
        child!("slowConsumerStrategy", strategy::SLOW_CONSUMER => value.slow_consumer, SERVED),
        child!("networkBridgeFilterFactory", strategy::BRIDGE_FILTER =>
            value.network_bridge_filter, SERVED),
        child!("pendingQueuePolicy", strategy::QUEUE_CURSOR => value.queue_cursor, CURSORS),
        child!("pendingSubscriberPolicy", strategy::SUBSCRIBER_CURSOR =>
            value.subscriber_cursor, CURSORS),
        child!("pendingDurableSubscriberPolicy", strategy::DURABLE_CURSOR =>
            value.durable_subscriber_cursor, CURSORS),
        child!("messageGroupMapFactory", strategy::GROUP_MAP => value.message_groups, SERVED),
    ],
};

/// `cached`, `bucket?bucketCount=32`, `simple`.
fn group_map(text: &str) -> Result<MessageGroupMap, Expected> {
    let (kind, query) = text.trim().split_once('?').unwrap_or_else(|| (text.trim(), ""));
    let wrong = || Expected::of("cached, bucket or simple, with ?cacheSize=… or ?bucketCount=…");
    let mut sizes = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("cacheSize", size)) => sizes.0 = Some(value::count(size)?),
            Some(("bucketCount", size)) => sizes.1 = Some(value::count(size)?),
            _ => return Err(wrong()),
        }
    }
    match kind {
        "cached" => Ok(MessageGroupMap::Cached { groups: sizes.0.unwrap_or(1024) }),
        "bucket" => Ok(MessageGroupMap::HashBucket {
            buckets: sizes.1.unwrap_or(1024),
            cached: sizes.0.unwrap_or(64),
        }),
        "simple" => Ok(MessageGroupMap::Simple),
        _ => Err(wrong()),
    }
}
