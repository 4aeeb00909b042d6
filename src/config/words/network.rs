//! `<networkConnectors>`.

use super::destination::{DESTINATIONS, lacks};
use super::security::TLS_HOLDER;
use super::standing::{JMX, JVM, RESENT, SECURITY, SERVED};
use crate::base::uri::Uri;
use crate::config::element::Element;
use crate::config::error::Fault;
use crate::config::place::Place;
use crate::config::value::{self, Expected};
use crate::config::vocabulary::{Reading, Words, child, known, opaque, rule, set, with};
use crate::network::discovery::Discovery;
use crate::network::multicast::Channel;
use crate::network::options::{NetworkConnector, NetworkOptions};

pub(super) static NETWORK_CONNECTORS: Words<Vec<NetworkConnector>> = Words {
    element: "networkConnectors",
    attributes: &[],
    children: &[
        rule!("networkConnector", SERVED, read),
        rule!("multicastNetworkConnector", SERVED, read),
        opaque!("ldapNetworkConnector", LDAP),
    ],
};

const LDAP: crate::config::vocabulary::Standing = crate::config::vocabulary::Standing::NotServed(
    "peers are not looked up in LDAP; name them in a <networkConnector uri=\"static:(…)\"/>",
);

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    uri: Option<Uri>,
    options: NetworkOptions,
}

fn read(to: &mut Vec<NetworkConnector>, from: &Element, reading: &mut Reading) {
    let mut draft = Draft::default();
    let faults = reading.faults.len();
    reading.fill(&NETWORK_CONNECTOR, from, &mut draft);
    match draft.uri {
        Some(uri) => {
            check(&uri, &from.at, reading);
            to.push(NetworkConnector { uri, options: draft.options });
        }
        None if reading.faults.len() == faults => lacks(from, "a `uri`", reading),
        None => {}
    }
}

/// Says what of a bridge's `uri` is not served.
pub(in crate::config) fn check(uri: &Uri, at: &Place, reading: &mut Reading) {
    let word = format!("the bridge {uri}");
    let read = match uri.scheme.as_str() {
        "multicast" => Channel::read(uri).map(drop),
        _ => Discovery::read(uri).map(drop),
    };
    if let Err(why) = read {
        reading.faults.push(Fault::Refused { at: at.clone(), word, why });
    }
}

pub(super) static NETWORK_CONNECTOR: Words<Draft> = Words {
    element: "networkConnector",
    attributes: &[
        set!("uri", discovery => uri, SERVED),
        set!("discoveryURI", discovery => uri, SERVED),
        set!("name", value::text => options.name, SERVED),
        set!("duplex", value::boolean => options.duplex, SERVED),
        set!("autoStart", value::boolean => options.auto_start, SERVED),
        with!("networkTTL", SERVED, |to, text| {
            let hops = value::count_or_negative(text)?;
            (to.options.message_ttl, to.options.consumer_ttl) = (hops, hops);
            Ok(())
        }),
        set!("messageTTL", value::count_or_negative => options.message_ttl, SERVED),
        set!("consumerTTL", value::count_or_negative => options.consumer_ttl, SERVED),
        set!("conduitSubscriptions", value::boolean => options.conduit_subscriptions, SERVED),
        set!("conduitNetworkQueueSubscriptions", value::boolean =>
            options.conduit_network_queue_subscriptions, SERVED),
        set!("decreaseNetworkConsumerPriority", value::boolean =>
            options.decrease_network_consumer_priority, SERVED),
        set!("consumerPriorityBase", value::integer => options.consumer_priority_base, SERVED),
        set!("dynamicOnly", value::boolean => options.dynamic_only, SERVED),
        set!("syncDurableSubs", value::boolean => options.sync_durable_subs, SERVED),
        with!("prefetchSize", SERVED, |to, text| {
            to.options.prefetch_size = value::count(text)?;
            if to.options.prefetch_size == 0 {
                return Err(Expected::of("at least 1: a bridge cannot pull"));
            }
            Ok(())
        }),
        set!("advisoryPrefetchSize", value::count => options.advisory_prefetch_size, SERVED),
        set!("advisoryAckPercentage", value::percent => options.advisory_ack_percentage, SERVED),
        set!("dispatchAsync", value::boolean => options.dispatch_async, JVM),
        set!("bridgeTempDestinations", value::boolean => options.bridge_temp_destinations, SERVED),
        set!("staticBridge", value::boolean => options.static_bridge, SERVED),
        set!("suppressDuplicateQueueSubscriptions", value::boolean =>
            options.suppress_duplicate_queue_subscriptions, SERVED),
        set!("suppressDuplicateTopicSubscriptions", value::boolean =>
            options.suppress_duplicate_topic_subscriptions, SERVED),
        set!("alwaysSyncSend", value::boolean => options.always_sync_send, SERVED),
        set!("checkDuplicateMessagesOnDuplex", value::boolean =>
            options.check_duplicate_messages_on_duplex, RESENT),
        set!("useVirtualDestSubs", value::boolean => options.use_virtual_dest_subs, SERVED),
        set!("useCompression", value::boolean => options.use_compression, SERVED),
        set!("advisoryForFailedForward", value::boolean =>
            options.advisory_for_failed_forward, SERVED),
        set!("gcDestinationViews", value::boolean => options.gc_destination_views, JMX),
        set!("gcSweepTime", value::millis => options.gc_sweep_time, JMX),
        set!("useBrokerNamesAsIdSeed", value::boolean =>
            options.use_broker_names_as_id_seed, SERVED),
        set!("useBrokerNameAsIdSees", value::boolean =>
            options.use_broker_names_as_id_seed, SERVED),
        set!("clientIdToken", value::text => options.client_id_token, SERVED),
        set!("userName", value::text => options.user_name, SERVED),
        set!("password", value::secret => options.password, SERVED),
        set!("remoteUserName", value::text => options.remote_user_name, SERVED),
        set!("remotePassword", value::secret => options.remote_password, SERVED),
        set!("localUri", value::uri => options.local_uri, JVM),
        set!("brokerURL", value::uri => options.local_uri, JVM),
        set!("destinationFilter", value::text => options.destination_filter, SERVED),
        set!("objectName", value::text => options.object_name, JMX),
        known!("brokerName", value::text, JVM),
    ],
    children: &[
        child!("excludedDestinations", DESTINATIONS => options.excluded_destinations, SERVED),
        child!("dynamicallyIncludedDestinations", DESTINATIONS =>
            options.dynamically_included_destinations, SERVED),
        child!("staticallyIncludedDestinations", DESTINATIONS =>
            options.statically_included_destinations, SERVED),
        child!("durableDestinations", DESTINATIONS => options.durable_destinations, SERVED),
        rule!("sslContext", SECURITY, |_, from, reading| {
            reading.fill(&TLS_HOLDER, from, &mut None);
        }),
    ],
};

/// The ways to find peers that bridges know.
fn discovery(text: &str) -> Result<Uri, Expected> {
    const KNOWN: [&str; 9] =
        ["static", "masterslave", "ha", "multicast", "failover", "tcp", "ssl", "nio", "simple"];
    let uri = value::uri(text)?;
    if KNOWN.contains(&uri.scheme.as_str()) {
        return Ok(uri);
    }
    Err(Expected::of("static:(…), masterslave:(…) or multicast://…"))
}
