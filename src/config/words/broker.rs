//! `<broker>`: its attributes, and which table reads each of its children.

use super::connector::TRANSPORT_CONNECTORS;
use super::destination::DESTINATIONS;
use super::forwarding::INTERCEPTORS;
use super::network::NETWORK_CONNECTORS;
use super::plugin::PLUGINS;
use super::policy::DESTINATION_POLICY;
use super::security::TLS_HOLDER;
use super::standing::{
    BODIES, BRIDGE_START, BROKER_PART, CACHED, DISK_CHECK, FOREIGN_JMS, JMX, JVM, LOOKED_FOR,
    ONE_MEMORY, PROXY, SCHEDULER_STORE, SECURITY, SERVED, SHELL, STOPS_ON_ERROR, STORE_FORMAT,
};
use super::store::{
    JOB_SCHEDULER_HOLDER, PERSISTENCE_ADAPTER, PERSISTENCE_FACTORY, TEMP_DATA_STORE,
};
use super::usage;
use crate::broker::options::IoExceptionHandler;
use crate::broker::options::usage::SystemUsage;
use crate::config::value;
use crate::config::vocabulary::{Attribute, Child, Words, child, known, opaque, rule, set};
use crate::config::{Config, connector};
use crate::transport::options::ConnectorOptions;
use crate::web::options::ManagementOptions;

pub(in crate::config) static BROKER: Words<Config> =
    Words { element: "broker", attributes: ATTRIBUTES, children: CHILDREN };

const ATTRIBUTES: &[Attribute<Config>] = &[
    set!("brokerName", value::text => broker.broker_name, SERVED),
    set!("brokerId", value::text => broker.broker_id, SERVED),
    set!("useLocalHostBrokerName", value::boolean => broker.use_local_host_broker_name, SERVED),
    set!("dataDirectory", value::path => broker.data_directory, SERVED),
    set!("dataDirectoryFile", value::path => broker.data_directory, SERVED),
    set!("tmpDataDirectory", value::path => broker.temp_data_directory, SERVED),
    set!("persistent", value::boolean => broker.persistent, SERVED),
    set!("deleteAllMessagesOnStartup", value::boolean =>
        broker.delete_all_messages_on_startup, SERVED),
    set!("start", value::boolean => broker.start, BROKER_PART),
    set!("startAsync", value::boolean => broker.start_async, JVM),
    set!("restartAllowed", value::boolean => broker.restart_allowed, SHELL),
    set!("useShutdownHook", value::boolean => broker.use_shutdown_hook, SHELL),
    set!("systemExitOnShutdown", value::boolean => broker.system_exit_on_shutdown, SHELL),
    set!("systemExitOnShutdownExitCode", value::integer =>
        broker.system_exit_on_shutdown_exit_code, SHELL),
    set!("advisorySupport", value::boolean => broker.advisory_support, SERVED),
    set!("anonymousProducerAdvisorySupport", value::boolean =>
        broker.anonymous_producer_advisory_support, SERVED),
    set!("schedulerSupport", value::boolean => broker.scheduler_support, SERVED),
    set!("maxSchedulerRepeatAllowed", value::count =>
        broker.max_scheduler_repeat_allowed, SERVED),
    set!("schedulerDirectory", value::path => broker.scheduler_directory, SCHEDULER_STORE),
    set!("schedulerDirectoryFile", value::path => broker.scheduler_directory, SCHEDULER_STORE),
    set!("useJmx", value::boolean => broker.use_jmx, JMX),
    set!("enableStatistics", value::boolean => broker.enable_statistics, JMX),
    set!("populateJMSXUserID", value::boolean => broker.populate_jmsx_user_id, SERVED),
    set!("useAuthenticatedPrincipalForJMSXUserID", value::boolean =>
        broker.use_authenticated_principal_for_jmsx_user_id, BROKER_PART),
    set!("populateUserNameInMBeans", value::boolean => broker.populate_user_name_in_mbeans, JMX),
    known!("mbeanInvocationTimeout", value::long, JMX),
    set!("keepDurableSubsActive", value::boolean => broker.keep_durable_subs_active, SERVED),
    set!("rejectDurableConsumers", value::boolean => broker.reject_durable_consumers, SERVED),
    set!("offlineDurableSubscriberTimeout", value::millis_or_none =>
        broker.offline_durable_subscriber_timeout, SERVED),
    set!("offlineDurableSubscriberTaskSchedule", value::millis =>
        broker.offline_durable_subscriber_task_schedule, SERVED),
    set!("enableMessageExpirationOnActiveDurableSubs", value::boolean =>
        broker.enable_message_expiration_on_active_durable_subs, LOOKED_FOR),
    set!("useVirtualTopics", value::boolean => broker.use_virtual_topics, SERVED),
    set!("useMirroredQueues", value::boolean => broker.use_mirrored_queues, SERVED),
    set!("useTempMirroredQueues", value::boolean => broker.use_temp_mirrored_queues, SERVED),
    set!("useVirtualDestSubs", value::boolean => broker.use_virtual_dest_subs, SERVED),
    set!("useVirtualDestSubsOnCreation", value::boolean =>
        broker.use_virtual_dest_subs_on_creation, SERVED),
    set!("cacheTempDestinations", value::boolean => broker.cache_temp_destinations, CACHED),
    set!("timeBeforePurgeTempDestinations", value::millis =>
        broker.time_before_purge_temp_destinations, CACHED),
    set!("allowTempAutoCreationOnSend", value::boolean =>
        broker.allow_temp_auto_creation_on_send, SERVED),
    set!("schedulePeriodForDestinationPurge", value::millis_or_none =>
        broker.schedule_period_for_destination_purge, SERVED),
    set!("maxPurgedDestinationsPerSweep", value::count_or_none =>
        broker.max_purged_destinations_per_sweep, SERVED),
    set!("schedulePeriodForDiskUsageCheck", value::millis_or_none =>
        broker.schedule_period_for_disk_usage_check, DISK_CHECK),
    set!("diskUsageCheckRegrowThreshold", value::bytes_or_none =>
        broker.disk_usage_check_regrow_threshold, DISK_CHECK),
    set!("adjustUsageLimits", value::boolean => broker.adjust_usage_limits, SERVED),
    set!("maxUncommittedCount", value::count_or_none => broker.max_uncommitted_count, SERVED),
    set!("rollbackOnlyOnAsyncException", value::boolean =>
        broker.rollback_only_on_async_exception, SERVED),
    set!("storeOpenWireVersion", value::integer => broker.store_open_wire_version, STORE_FORMAT),
    set!("maxInflatedDataSize", value::bytes => broker.max_inflated_data_size, BODIES),
    set!("networkConnectorStartAsync", value::boolean =>
        broker.network_connector_start_async, BRIDGE_START),
    set!("splitSystemUsageForProducersConsumers", value::boolean =>
        broker.split_system_usage_for_producers_consumers, SERVED),
    set!("producerSystemUsagePortion", value::percent =>
        broker.producer_system_usage_portion, SERVED),
    set!("consumerSystemUsagePortion", value::percent =>
        broker.consumer_system_usage_portion, ONE_MEMORY),
    known!("monitorConnectionSplits", value::boolean, JVM),
    known!("dedicatedTaskRunner", value::boolean, JVM),
    known!("taskRunnerPriority", value::integer, JVM),
    known!("persistenceThreadPriority", value::integer, JVM),
    known!("virtualThreadTaskRunner", value::boolean, JVM),
    known!("useLoggingForShutdownErrors", value::boolean, JVM),
    known!("waitForSlave", value::boolean, PURE_MASTER),
    known!("waitForSlaveTimeout", value::long, PURE_MASTER),
    known!("passiveSlave", value::boolean, PURE_MASTER),
    known!("slave", value::boolean, PURE_MASTER),
    known!("shutdownOnMasterFailure", value::boolean, PURE_MASTER),
    known!("shutdownOnSlaveFailure", value::boolean, PURE_MASTER),
    known!("supportFailOver", value::boolean, PURE_MASTER),
    known!("vmConnectorURI", value::text, JVM),
];

const PURE_MASTER: crate::config::vocabulary::Standing =
    crate::config::vocabulary::Standing::NoEffect(
        "the master/slave pair without shared storage is gone from ActiveMQ too",
    );

const CHILDREN: &[Child<Config>] = &[
    child!("destinationPolicy", DESTINATION_POLICY => broker.policies, SERVED),
    child!("destinations", DESTINATIONS => broker.destinations, SERVED),
    rule!("destinationInterceptors", SERVED, |to, from, reading| {
        let mut interceptors = Vec::new();
        reading.fill(&INTERCEPTORS, from, &mut interceptors);
        to.broker.destination_interceptors = Some(interceptors);
    }),
    child!("systemUsage", usage::HOLDER => broker.system_usage, SERVED),
    rule!("producerSystemUsage", SERVED, |to, from, reading| {
        let mut usage = SystemUsage::default();
        reading.fill(&usage::HOLDER, from, &mut usage);
        to.broker.producer_system_usage = Some(usage);
    }),
    rule!("consumerSystemUsage", ONE_MEMORY, |_, from, reading| {
        reading.fill(&usage::HOLDER, from, &mut Default::default());
    }),
    child!("transportConnectors", TRANSPORT_CONNECTORS => connectors, SERVED),
    rule!("transportConnectorURIs", SERVED, |to, from, reading| {
        for value in &from.children {
            if let Some(text) = reading.resolve(&value.text, &value.at) {
                let options = ConnectorOptions::default();
                to.connectors.extend(connector::read(None, &text, options, &value.at, reading));
            }
        }
    }),
    child!("networkConnectors", NETWORK_CONNECTORS => network, SERVED),
    child!("persistenceAdapter", PERSISTENCE_ADAPTER, SERVED),
    child!("persistenceFactory", PERSISTENCE_FACTORY, SERVED),
    child!("tempDataStore", TEMP_DATA_STORE => temp_store, SERVED),
    child!("jobSchedulerStore", JOB_SCHEDULER_HOLDER => scheduler_store, SCHEDULER_STORE),
    child!("plugins", PLUGINS, SERVED),
    child!("sslContext", TLS_HOLDER => security.tls, SECURITY),
    opaque!("messageAuthorizationPolicy", SECURITY),
    child!("managementContext", MANAGEMENT_HOLDER => management, SERVED),
    child!("ioExceptionHandler", IO_HOLDER => broker.io_exception_handler, STOPS_ON_ERROR),
    opaque!("shutdownHooks", SHELL),
    opaque!("taskRunnerFactory", JVM),
    opaque!("persistenceTaskRunnerFactory", JVM),
    opaque!("destinationFactory", JVM),
    opaque!("brokerContext", JVM),
    opaque!("adminView", JMX),
    opaque!("brokerObjectName", JMX),
    opaque!("services", BROKER_PART),
    opaque!("proxyConnectors", PROXY),
    opaque!("jmsBridgeConnectors", FOREIGN_JMS),
];

pub(super) static MANAGEMENT_HOLDER: Words<ManagementOptions> = Words {
    element: "managementContext",
    attributes: &[],
    children: &[child!("managementContext", MANAGEMENT_CONTEXT, SERVED)],
};

pub(super) static MANAGEMENT_CONTEXT: Words<ManagementOptions> = Words {
    element: "managementContext",
    attributes: &[
        set!("createConnector", value::boolean => create_connector, JMX),
        set!("connectorPort", value::port => connector_port, JMX),
        set!("connectorHost", value::text => connector_host, JMX),
        set!("connectorPath", value::text => connector_path, JMX),
        set!("rmiServerPort", value::port => rmi_server_port, JMX),
        set!("jmxDomainName", value::text => jmx_domain_name, JMX),
        set!("allowRemoteAddressInMBeanNames", value::boolean =>
            allow_remote_address_in_mbean_names, JMX),
        set!("suppressMBean", value::text => suppress_mbean, JMX),
        known!("useMBeanServer", value::boolean, JMX),
        known!("createMBeanServer", value::boolean, JMX),
        known!("findTigerMBeanServer", value::boolean, JMX),
        known!("findTigerMbeanServer", value::boolean, JMX),
        known!("brokerName", value::text, JMX),
    ],
    children: &[opaque!("environment", JMX), opaque!("MBeanServer", JMX), opaque!("server", JMX)],
};

pub(super) static IO_HOLDER: Words<IoExceptionHandler> = Words {
    element: "ioExceptionHandler",
    attributes: &[],
    children: &[
        child!("defaultIOExceptionHandler", IO_EXCEPTION_HANDLER, SERVED),
        rule!("jDBCIOExceptionHandler", SERVED, |to, from, reading| {
            to.stop_start_connectors = true;
            reading.fill(&IO_EXCEPTION_HANDLER, from, to);
        }),
        rule!("leaseLockerIOExceptionHandler", SERVED, |to, from, reading| {
            to.stop_start_connectors = true;
            reading.fill(&IO_EXCEPTION_HANDLER, from, to);
        }),
    ],
};

pub(super) static IO_EXCEPTION_HANDLER: Words<IoExceptionHandler> = Words {
    element: "defaultIOExceptionHandler",
    attributes: &[
        set!("ignoreAllErrors", value::boolean => ignore_all_errors, STOPS_ON_ERROR),
        set!("ignoreNoSpaceErrors", value::boolean => ignore_no_space_errors, STOPS_ON_ERROR),
        set!("ignoreSQLExceptions", value::boolean => ignore_sql_exceptions, STOPS_ON_ERROR),
        set!("noSpaceMessage", value::text => no_space_message, STOPS_ON_ERROR),
        set!("sqlExceptionMessage", value::text => sql_exception_message, STOPS_ON_ERROR),
        set!("resumeCheckSleepPeriod", value::millis => resume_check_sleep_period, STOPS_ON_ERROR),
        set!("stopStartConnectors", value::boolean => stop_start_connectors, STOPS_ON_ERROR),
        set!("systemExitOnShutdown", value::boolean => system_exit_on_shutdown, STOPS_ON_ERROR),
    ],
    children: &[],
};
