//! `<plugins>`: what is added to the broker's own work; those that guard it are in
//! [`super::security`].

use std::path::PathBuf;
use std::time::Duration;

use super::destination::{Patterned, entry};
use super::security;
use super::standing::{JVM, KEPT, PARTITION, PLUGIN, SECURITY, SERVED};
use crate::broker::options::plugin::{
    DiscardingDlq, Logging, Plugin, Redelivery, RedeliveryPolicy, TimeStamping,
    VirtualSelectorCache,
};
use crate::config::Config;
use crate::config::element::Element;
use crate::config::value;
use crate::config::vocabulary::{
    Attribute, Child, Reading, Words, child, known, opaque, plain, rule, set, with,
};

pub(super) static PLUGINS: Words<Config> = Words {
    element: "plugins",
    attributes: &[],
    children: &[
        rule!("simpleAuthenticationPlugin", SECURITY, security::simple),
        rule!("jaasAuthenticationPlugin", SECURITY, security::jaas),
        rule!("jaasCertificateAuthenticationPlugin", SECURITY, security::jaas_certificate),
        rule!("jaasDualAuthenticationPlugin", SECURITY, security::jaas_dual),
        child!("authorizationPlugin", security::AUTHORIZATION_PLUGIN => security, SECURITY),
        opaque!("shiroPlugin", SECURITY),
        plain!("statisticsBrokerPlugin", SERVED, to => to.broker.plugins.push(Plugin::Statistics)),
        rule!("timeStampingBrokerPlugin", SERVED, |to, from, reading| {
            let options = filled(&TIME_STAMPING, from, reading);
            to.broker.plugins.push(Plugin::TimeStamping(options));
        }),
        rule!("redeliveryPlugin", SERVED, |to, from, reading| {
            let options = filled(&REDELIVERY, from, reading);
            to.broker.plugins.push(Plugin::Redelivery(options));
        }),
        rule!("discardingDLQBrokerPlugin", SERVED, |to, from, reading| {
            let options = filled(&DISCARDING_DLQ, from, reading);
            to.broker.plugins.push(Plugin::DiscardingDlq(options));
        }),
        rule!("destinationPathSeparatorPlugin", SERVED, |to, from, reading| {
            let mut separator = "/".to_owned();
            reading.fill(&PATH_SEPARATOR, from, &mut separator);
            to.broker.plugins.push(Plugin::DestinationPathSeparator { separator });
        }),
        rule!("destinationsPlugin", KEPT, |to, from, reading| {
            let mut location = None;
            reading.fill(&DESTINATIONS_PLUGIN, from, &mut location);
            to.broker.plugins.push(Plugin::Destinations { location });
        }),
        FORCE_PERSISTENCY,
        rule!("loggingBrokerPlugin", SERVED, |to, from, reading| {
            let options = filled(&LOGGING, from, reading);
            to.broker.plugins.push(Plugin::Logging(options));
        }),
        rule!("traceBrokerPathPlugin", SERVED, |to, from, reading| {
            let mut stamp_property = "BrokerPath".to_owned();
            reading.fill(&TRACE_BROKER_PATH, from, &mut stamp_property);
            to.broker.plugins.push(Plugin::TraceBrokerPath { stamp_property });
        }),
        rule!("virtualSelectorCacheBrokerPlugin", PLUGIN, |to, from, reading| {
            let options = filled(&SELECTOR_CACHE, from, reading);
            to.broker.plugins.push(Plugin::VirtualSelectorCache(options));
        }),
        rule!("runtimeConfigurationPlugin", PLUGIN, |to, from, reading| {
            let mut check_period = None;
            reading.fill(&RUNTIME_CONFIGURATION, from, &mut check_period);
            to.broker.plugins.push(Plugin::RuntimeConfiguration { check_period });
        }),
        rule!("multicastTraceBrokerPlugin", PLUGIN, |to, from, reading| {
            let mut address = None;
            reading.fill(&TRACE, from, &mut address);
            to.broker.plugins.push(Plugin::MulticastTrace { address });
        }),
        rule!("udpTraceBrokerPlugin", PLUGIN, |to, from, reading| {
            let mut address = None;
            reading.fill(&TRACE, from, &mut address);
            to.broker.plugins.push(Plugin::UdpTrace { address });
        }),
        rule!("partitionBrokerPlugin", PARTITION, |to, _, _| {
            to.broker.plugins.push(Plugin::Partition);
        }),
        opaque!("camelRoutesBrokerPlugin", PLUGIN),
        opaque!("connectionDotFilePlugin", JVM),
        opaque!("destinationDotFilePlugin", JVM),
    ],
};

const FORCE_PERSISTENCY: Child<Config> =
    rule!("forcePersistencyModeBrokerPlugin", SERVED, |to, from, reading| {
        let mut persistent = false;
        reading.fill(&FORCE_PERSISTENCY_MODE, from, &mut persistent);
        to.broker.plugins.push(Plugin::ForcePersistencyMode { persistent });
    });

fn filled<T: Clone + PartialEq + Default>(
    words: &Words<T>,
    from: &Element,
    reading: &mut Reading,
) -> T {
    let mut options = T::default();
    reading.fill(words, from, &mut options);
    options
}

pub(super) static TIME_STAMPING: Words<TimeStamping> = Words {
    element: "timeStampingBrokerPlugin",
    attributes: &[
        set!("futureOnly", value::boolean => future_only, SERVED),
        set!("ttlCeiling", value::millis_or_none => ttl_ceiling, SERVED),
        set!("zeroExpirationOverride", value::millis_or_none => zero_expiration_override, SERVED),
        set!("processNetworkMessages", value::boolean => process_network_messages, SERVED),
    ],
    children: &[],
};

pub(super) static REDELIVERY: Words<Redelivery> = Words {
    element: "redeliveryPlugin",
    attributes: &[
        set!("fallbackToDeadLetter", value::boolean => fallback_to_dead_letter, SERVED),
        set!("sendToDlqIfMaxRetriesExceeded", value::boolean =>
            send_to_dlq_if_max_retries_exceeded, SERVED),
    ],
    children: &[child!("redeliveryPolicyMap", REDELIVERY_HOLDER, SERVED)],
};

pub(super) static REDELIVERY_HOLDER: Words<Redelivery> = Words {
    element: "redeliveryPolicyMap",
    attributes: &[],
    children: &[child!("redeliveryPolicyMap", REDELIVERY_MAP, SERVED)],
};

pub(super) static REDELIVERY_MAP: Words<Redelivery> = Words {
    element: "redeliveryPolicyMap",
    attributes: &[],
    children: &[
        child!("redeliveryPolicyEntries", REDELIVERY_ENTRIES, SERVED),
        child!("entries", REDELIVERY_ENTRIES, SERVED),
        child!("defaultEntry", REDELIVERY_DEFAULT, SERVED),
    ],
};

pub(super) static REDELIVERY_ENTRIES: Words<Redelivery> = Words {
    element: "redeliveryPolicyEntries",
    attributes: &[],
    children: &[rule!("redeliveryPolicy", SERVED, |to, from, reading| {
        entry(&REDELIVERY_POLICY, &mut to.entries, from, reading);
    })],
};

pub(super) static REDELIVERY_DEFAULT: Words<Redelivery> = Words {
    element: "defaultEntry",
    attributes: &[],
    children: &[rule!("redeliveryPolicy", SERVED, |to, from, reading| {
        to.default_entry = Some(filled(&REDELIVERY_POLICY, from, reading).value);
    })],
};

pub(super) static REDELIVERY_POLICY: Words<Patterned<RedeliveryPolicy>> = Words {
    element: "redeliveryPolicy",
    attributes: &[
        Patterned::QUEUE,
        Patterned::TOPIC,
        Patterned::TEMP_QUEUE,
        Patterned::TEMP_TOPIC,
        set!("maximumRedeliveries", value::count_or_negative => value.maximum_redeliveries, SERVED),
        set!("initialRedeliveryDelay", value::millis => value.initial_redelivery_delay, SERVED),
        set!("redeliveryDelay", value::millis => value.redelivery_delay, SERVED),
        set!("maximumRedeliveryDelay", value::millis_or_none =>
            value.maximum_redelivery_delay, SERVED),
        set!("useExponentialBackOff", value::boolean => value.use_exponential_back_off, SERVED),
        set!("backOffMultiplier", value::decimal => value.back_off_multiplier, SERVED),
        set!("useCollisionAvoidance", value::boolean => value.use_collision_avoidance, SERVED),
        set!("collisionAvoidancePercent", value::percent =>
            value.collision_avoidance_percent, SERVED),
        set!("preDispatchCheck", value::boolean => value.pre_dispatch_check, JVM),
    ],
    children: &[Patterned::DESTINATION],
};

pub(super) static DISCARDING_DLQ: Words<DiscardingDlq> = Words {
    element: "discardingDLQBrokerPlugin",
    attributes: &[
        set!("dropAll", value::boolean => drop_all, SERVED),
        set!("dropTemporaryQueues", value::boolean => drop_temporary_queues, SERVED),
        set!("dropTemporaryTopics", value::boolean => drop_temporary_topics, SERVED),
        set!("dropOnly", value::name_patterns => drop_only, SERVED),
        set!("reportInterval", value::count => report_interval, SERVED),
    ],
    children: &[],
};

pub(super) static PATH_SEPARATOR: Words<String> = Words {
    element: "destinationPathSeparatorPlugin",
    attributes: &[with!("pathSeparator", SERVED, |to, text| {
        text.clone_into(to);
        Ok(())
    })],
    children: &[],
};

pub(super) static DESTINATIONS_PLUGIN: Words<Option<PathBuf>> = Words {
    element: "destinationsPlugin",
    attributes: &[with!("location", SERVED, |to, text| {
        *to = Some(value::path(text)?);
        Ok(())
    })],
    children: &[],
};

pub(super) static FORCE_PERSISTENCY_MODE: Words<bool> = Words {
    element: "forcePersistencyModeBrokerPlugin",
    attributes: &[with!("persistenceFlag", SERVED, |to, text| {
        *to = value::boolean(text)?;
        Ok(())
    })],
    children: &[],
};

pub(super) static LOGGING: Words<Logging> = Words {
    element: "loggingBrokerPlugin",
    attributes: &[
        set!("logAll", value::boolean => log_all, SERVED),
        set!("logConnectionEvents", value::boolean => log_connection_events, SERVED),
        set!("logSessionEvents", value::boolean => log_session_events, SERVED),
        set!("logConsumerEvents", value::boolean => log_consumer_events, SERVED),
        set!("logProducerEvents", value::boolean => log_producer_events, SERVED),
        set!("logTransactionEvents", value::boolean => log_transaction_events, SERVED),
        set!("logInternalEvents", value::boolean => log_internal_events, SERVED),
        set!("perDestinationLogger", value::boolean => per_destination_logger, JVM),
    ],
    children: &[],
};

pub(super) static TRACE_BROKER_PATH: Words<String> = Words {
    element: "traceBrokerPathPlugin",
    attributes: &[with!("stampProperty", SERVED, |to, text| {
        text.clone_into(to);
        Ok(())
    })],
    children: &[],
};

pub(super) static SELECTOR_CACHE: Words<VirtualSelectorCache> = Words {
    element: "virtualSelectorCacheBrokerPlugin",
    attributes: &[
        set!("persistFile", value::path => persist_file, SERVED),
        set!("persistInterval", value::millis_or_none => persist_interval, SERVED),
        set!("singleSelectorPerDestination", value::boolean =>
            single_selector_per_destination, SERVED),
        set!("ignoreWildcardSelectors", value::boolean => ignore_wildcard_selectors, SERVED),
    ],
    children: &[],
};

pub(super) static RUNTIME_CONFIGURATION: Words<Option<Duration>> = Words {
    element: "runtimeConfigurationPlugin",
    attributes: &[with!("checkPeriod", SERVED, |to, text| {
        *to = value::millis_or_none(text)?;
        Ok(())
    })],
    children: &[],
};

const TRACE_ATTRIBUTES: &[Attribute<Option<String>>] = &[
    with!("address", SERVED, |to, text| {
        *to = Some(text.to_owned());
        Ok(())
    }),
    known!("destination", value::text, SERVED),
    known!("broadcast", value::boolean, SERVED),
    known!("maxTraceDatagramSize", value::count, SERVED),
    known!("timeToLive", value::count, SERVED),
];

pub(super) static TRACE: Words<Option<String>> =
    Words { element: "multicastTraceBrokerPlugin", attributes: TRACE_ATTRIBUTES, children: &[] };
