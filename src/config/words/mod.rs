//! The words of `activemq.xml`: for each element what may stand in it, where that goes, and what
//! becomes of it.
//!
//! * [`standing`] says what is served today; [`broker`] is the outermost table. Start there.
//! * [`destination`] has what many elements share.
//!
//! **Invariant:** a word that is in no table is an error, so nothing is ignored in silence.

pub(super) mod broker;
pub(super) mod connector;
mod destination;
mod forwarding;
pub(super) mod network;
mod plugin;
mod policy;
mod security;
pub(super) mod standing;
mod store;
mod strategy;
mod usage;

use super::table::Rows;
use super::web;

/// Every table, outermost first.
pub(super) fn all() -> Vec<Rows> {
    vec![
        broker::BROKER.rows(),
        connector::TRANSPORT_CONNECTORS.rows(),
        connector::TRANSPORT_CONNECTOR.rows(),
        connector::TRANSPORT_OPTIONS.rows(),
        connector::WIRE_FORMAT.rows(),
        connector::PUBLISHED_HOLDER.rows(),
        connector::PUBLISHED_ADDRESS.rows(),
        destination::DESTINATIONS.rows(),
        destination::NAMED.rows(),
        policy::DESTINATION_POLICY.rows(),
        policy::POLICY_MAP.rows(),
        policy::DEFAULT_ENTRY.rows(),
        policy::POLICY_ENTRIES.rows(),
        policy::POLICY_ENTRY.rows(),
        strategy::DEAD_LETTER.rows(),
        strategy::SHARED.rows(),
        strategy::INDIVIDUAL.rows(),
        strategy::DISCARDING.rows(),
        strategy::PENDING_LIMIT.rows(),
        strategy::CONSTANT_LIMIT.rows(),
        strategy::PREFETCH_RATE.rows(),
        strategy::EVICTION.rows(),
        strategy::OLDEST.rows(),
        strategy::UNIQUE_PROPERTY.rows(),
        strategy::DISPATCH.rows(),
        strategy::CLIENT_ID_FILTER.rows(),
        strategy::RECOVERY.rows(),
        strategy::FIXED_COUNT.rows(),
        strategy::FIXED_SIZED.rows(),
        strategy::TIMED.rows(),
        strategy::RETAINED.rows(),
        strategy::SLOW_CONSUMER.rows(),
        strategy::ABORT_SLOW.rows(),
        strategy::ABORT_SLOW_ACK.rows(),
        strategy::BRIDGE_FILTER.rows(),
        strategy::CONDITIONAL_FILTER.rows(),
        strategy::QUEUE_CURSOR.rows(),
        strategy::SUBSCRIBER_CURSOR.rows(),
        strategy::DURABLE_CURSOR.rows(),
        strategy::STORE_DURABLE.rows(),
        strategy::GROUP_MAP.rows(),
        strategy::CACHED_GROUPS.rows(),
        strategy::HASH_BUCKETS.rows(),
        usage::HOLDER.rows(),
        usage::SYSTEM_USAGE.rows(),
        usage::MEMORY_HOLDER.rows(),
        usage::MEMORY_USAGE.rows(),
        usage::STORE_HOLDER.rows(),
        usage::TEMP_HOLDER.rows(),
        usage::JOB_HOLDER.rows(),
        usage::DISK_USAGE.rows(),
        forwarding::INTERCEPTORS.rows(),
        forwarding::VIRTUAL_INTERCEPTOR.rows(),
        forwarding::VIRTUAL_DESTINATIONS.rows(),
        forwarding::VIRTUAL_TOPIC.rows(),
        forwarding::COMPOSITE.rows(),
        forwarding::FORWARD_TO.rows(),
        forwarding::FILTERED.rows(),
        forwarding::MIRRORED.rows(),
        network::NETWORK_CONNECTORS.rows(),
        network::NETWORK_CONNECTOR.rows(),
        store::PERSISTENCE_ADAPTER.rows(),
        store::PERSISTENCE_FACTORY.rows(),
        store::KAHA_DB.rows(),
        store::LOCKER.rows(),
        store::SHARED_FILE_LOCKER.rows(),
        store::M_KAHA_DB.rows(),
        store::FILTERED_ADAPTERS.rows(),
        store::FILTERED_KAHA_DB.rows(),
        store::FILTERED_STORE.rows(),
        store::FILTERED_USAGE.rows(),
        store::MEMORY_ADAPTER.rows(),
        store::TEMP_DATA_STORE.rows(),
        store::P_LIST_STORE.rows(),
        store::JOB_SCHEDULER_HOLDER.rows(),
        store::JOB_SCHEDULER_STORE.rows(),
        plugin::PLUGINS.rows(),
        plugin::TIME_STAMPING.rows(),
        plugin::REDELIVERY.rows(),
        plugin::REDELIVERY_HOLDER.rows(),
        plugin::REDELIVERY_MAP.rows(),
        plugin::REDELIVERY_ENTRIES.rows(),
        plugin::REDELIVERY_DEFAULT.rows(),
        plugin::REDELIVERY_POLICY.rows(),
        plugin::DISCARDING_DLQ.rows(),
        plugin::PATH_SEPARATOR.rows(),
        plugin::DESTINATIONS_PLUGIN.rows(),
        plugin::FORCE_PERSISTENCY_MODE.rows(),
        plugin::LOGGING.rows(),
        plugin::TRACE_BROKER_PATH.rows(),
        plugin::SELECTOR_CACHE.rows(),
        plugin::RUNTIME_CONFIGURATION.rows(),
        plugin::TRACE.rows(),
        security::SIMPLE_AUTHENTICATION.rows(),
        security::USERS.rows(),
        security::AUTHENTICATION_USER.rows(),
        security::JAAS_AUTHENTICATION.rows(),
        security::AUTHORIZATION_PLUGIN.rows(),
        security::AUTHORIZATION_HOLDER.rows(),
        security::AUTHORIZATION_MAP.rows(),
        security::AUTHORIZATION_ENTRIES.rows(),
        security::RIGHTS_HOLDER.rows(),
        security::AUTHORIZATION_ENTRY.rows(),
        security::TLS_HOLDER.rows(),
        security::SSL_CONTEXT.rows(),
        broker::MANAGEMENT_HOLDER.rows(),
        broker::MANAGEMENT_CONTEXT.rows(),
        broker::IO_HOLDER.rows(),
        broker::IO_EXCEPTION_HANDLER.rows(),
        web::WEB_CONSOLE_PORT.rows(),
        web::HASH_LOGIN_SERVICE.rows(),
    ]
}
