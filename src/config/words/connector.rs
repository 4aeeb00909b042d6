//! `<transportConnectors>` and the options of their URIs.

use super::standing::{
    BUFFERS, DISCOVERY, JMX, JVM, LINK_STEALING, PUBLISHED, RESENT, SECURITY, SERVED, SOCKET,
    TLS_OPTION,
};
use crate::config::connector;
use crate::config::element::Element;
use crate::config::value::{self, Expected, one_of};
use crate::config::vocabulary::{Reading, Words, child, known, opaque, rule, set, with};
use crate::transport::options::{
    ConnectorOptions, PublishedAddress, PublishedHost, TransportConnector, TransportOptions,
    WireFormatOptions,
};

pub(super) static TRANSPORT_CONNECTORS: Words<Vec<TransportConnector>> = Words {
    element: "transportConnectors",
    attributes: &[],
    children: &[rule!("transportConnector", SERVED, |to, from, reading| {
        read(to, from, reading);
    })],
};

fn read(to: &mut Vec<TransportConnector>, from: &Element, reading: &mut Reading) {
    let mut draft = Draft::default();
    reading.fill(&TRANSPORT_CONNECTOR, from, &mut draft);
    let Some(uri) = draft.uri else {
        return super::destination::lacks(from, "a `uri` such as tcp://0.0.0.0:61616", reading);
    };
    let at = from.attribute("uri").map_or(&from.at, |uri| &uri.at);
    to.extend(connector::read(draft.name, &uri, draft.options, at, reading));
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    name: Option<String>,
    uri: Option<String>,
    options: ConnectorOptions,
}

pub(super) static TRANSPORT_CONNECTOR: Words<Draft> = Words {
    element: "transportConnector",
    attributes: &[
        set!("name", value::text => name, SERVED),
        set!("uri", value::text => uri, SERVED),
        set!("discoveryUri", value::uri => options.discovery_uri, SERVED),
        set!("updateClusterClients", value::boolean => options.update_cluster_clients, SERVED),
        set!("rebalanceClusterClients", value::boolean =>
            options.rebalance_cluster_clients, SERVED),
        set!("updateClusterClientsOnRemove", value::boolean =>
            options.update_cluster_clients_on_remove, SERVED),
        set!("updateClusterFilter", value::name_filter => options.update_cluster_filter, SERVED),
        set!("auditNetworkProducers", value::boolean => options.audit_network_producers, RESENT),
        set!("maximumProducersAllowedPerConnection", value::count_or_negative =>
            options.maximum_producers_allowed_per_connection, SERVED),
        set!("maximumConsumersAllowedPerConnection", value::count_or_negative =>
            options.maximum_consumers_allowed_per_connection, SERVED),
        set!("allowLinkStealing", value::boolean => options.allow_link_stealing, LINK_STEALING),
        set!("enableStatusMonitor", value::boolean => options.enable_status_monitor, JVM),
        set!("warnOnRemoteClose", value::boolean => options.warn_on_remote_close, SERVED),
        set!("displayStackTrace", value::boolean => options.display_stack_trace, JVM),
        set!("disableAsyncDispatch", value::boolean => options.disable_async_dispatch, JVM),
        set!("autoStart", value::boolean => options.auto_start, SERVED),
        known!("brokerName", value::text, JVM),
    ],
    children: &[
        child!("publishedAddressPolicy", PUBLISHED_HOLDER => options.published_address, PUBLISHED),
        opaque!("messageAuthorizationPolicy", SECURITY),
        opaque!("discoveryAgent", DISCOVERY),
        opaque!("taskRunnerFactory", JVM),
        opaque!("brokerInfo", JVM),
    ],
};

pub(super) static PUBLISHED_HOLDER: Words<PublishedAddress> = Words {
    element: "publishedAddressPolicy",
    attributes: &[],
    children: &[child!("publishedAddressPolicy", PUBLISHED_ADDRESS, SERVED)],
};

pub(super) static PUBLISHED_ADDRESS: Words<PublishedAddress> = Words {
    element: "publishedAddressPolicy",
    attributes: &[
        with!("publishedHostStrategy", PUBLISHED, |to, text| {
            to.strategy = published_host(text)?;
            Ok(())
        }),
        set!("clusterClientUriQuery", value::text => cluster_client_uri_query, PUBLISHED),
        with!("portMapping", PUBLISHED, |to, text| {
            to.port_mapping = mapping(text, value::port)?;
            Ok(())
        }),
        with!("hostMapping", PUBLISHED, |to, text| {
            to.host_mapping = mapping(text, value::text)?;
            Ok(())
        }),
    ],
    children: &[],
};

fn published_host(text: &str) -> Result<PublishedHost, Expected> {
    one_of(
        text,
        &[
            ("DEFAULT", PublishedHost::Default),
            ("IPADDRESS", PublishedHost::IpAddress),
            ("HOSTNAME", PublishedHost::HostName),
            ("FQDN", PublishedHost::Fqdn),
        ],
    )
}

/// `a=b,c=d`.
fn mapping<V>(text: &str, read: fn(&str) -> value::Read<V>) -> value::Read<Vec<(V, V)>> {
    let pair = |pair: &str| {
        let (from, to) = pair.split_once('=').ok_or(Expected::of("pairs such as a=b,c=d"))?;
        Ok((read(from.trim())?, read(to.trim())?))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// The options of a `tcp://…` URI, with or without `transport.` in front.
pub(in crate::config) static TRANSPORT_OPTIONS: Words<TransportOptions> = Words {
    element: "tcp://…?",
    attributes: &[
        set!("maximumConnections", maximum_connections => maximum_connections, SERVED),
        set!("backlog", value::count => backlog, SERVED),
        set!("connectionTimeout", value::millis => connection_timeout, SERVED),
        set!("soTimeout", value::millis_or_none => so_timeout, SERVED),
        set!("soWriteTimeout", value::millis_or_none => so_write_timeout, SERVED),
        set!("soLinger", value::count_or_negative => so_linger, SERVED),
        set!("socketBufferSize", value::count => socket_buffer_bytes, SERVED),
        set!("ioBufferSize", value::count => io_buffer_bytes, BUFFERS),
        set!("tcpNoDelay", value::boolean => tcp_no_delay, SERVED),
        set!("keepAlive", value::boolean => keep_alive, SERVED),
        set!("trace", value::boolean => trace, SOCKET),
        set!("typeOfService", traffic_class => type_of_service, SERVED),
        set!("trafficClass", traffic_class => type_of_service, SERVED),
        known!("diffServ", value::text, SOCKET),
        set!("useInactivityMonitor", value::boolean => use_inactivity_monitor, SERVED),
        set!("closeAsync", value::boolean => close_async, JVM),
        set!("useQueueForAccept", value::boolean => use_queue_for_accept, JVM),
        set!("allowLinkStealing", value::boolean => allow_link_stealing, LINK_STEALING),
        set!("protocolDetectionTimeOut", value::millis => protocol_detection_timeout, SOCKET),
        set!("minmumWireFormatVersion", value::integer => wire_format.version_min, SERVED),
        set!("minimumWireFormatVersion", value::integer => wire_format.version_min, SERVED),
        set!("needClientAuth", value::boolean => tls.need_client_auth, TLS_OPTION),
        set!("wantClientAuth", value::boolean => tls.want_client_auth, TLS_OPTION),
        set!("verifyHostName", value::boolean => tls.verify_host_name, TLS_OPTION),
        set!("enabledCipherSuites", value::list => tls.enabled_cipher_suites, TLS_OPTION),
        set!("enabledProtocols", value::list => tls.enabled_protocols, TLS_OPTION),
        known!("daemon", value::boolean, JVM),
        known!("threadName", value::text, JVM),
        known!("stackSize", value::count, JVM),
        known!("logWriterName", value::text, JVM),
        known!("dynamicManagement", value::boolean, JMX),
        known!("startLogging", value::boolean, JVM),
        known!("jmxPort", value::port, JMX),
        known!("useLocalHost", value::boolean, JVM),
        known!("acceptTimeout", value::millis, JVM),
        known!("maxConnectionThreadPoolSize", value::count, JVM),
        known!("selectorManager", value::text, JVM),
    ],
    children: &[],
};

/// The options of a URI behind `wireFormat.`.
pub(in crate::config) static WIRE_FORMAT: Words<WireFormatOptions> = Words {
    element: "tcp://…?wireFormat.",
    attributes: &[
        set!("version", version => version, SERVED),
        set!("maxFrameSize", frame_bytes => max_frame_bytes, SERVED),
        set!("maxFrameSizeEnabled", value::boolean => max_frame_size_enabled, SERVED),
        set!("maxInactivityDuration", value::millis_or_none => max_inactivity, SERVED),
        set!("maxInactivityDurationInitalDelay", value::millis =>
            max_inactivity_initial_delay, SERVED),
        set!("maxInactivityDurationInitialDelay", value::millis =>
            max_inactivity_initial_delay, SERVED),
        set!("cacheEnabled", value::boolean => cache_enabled, SERVED),
        set!("cacheSize", cache_size => cache_size, SERVED),
        set!("tightEncodingEnabled", value::boolean => tight_encoding_enabled, SERVED),
        set!("sizePrefixDisabled", value::boolean => size_prefix_disabled, SERVED),
        set!("stackTraceEnabled", value::boolean => stack_trace_enabled, SERVED),
        set!("tcpNoDelayEnabled", value::boolean => tcp_no_delay_enabled, SERVED),
        known!("includePlatformDetails", value::boolean, JVM),
        set!("host", value::text => host, SERVED),
        known!("providerName", value::text, JVM),
        known!("providerVersion", value::text, JVM),
        known!("platformDetails", value::text, JVM),
    ],
    children: &[],
};

fn maximum_connections(text: &str) -> Result<u32, Expected> {
    let most = text.trim().parse::<u32>().ok().filter(|most| *most > 0);
    most.ok_or(Expected::of("a number from 1 to 4294967295"))
}

fn frame_bytes(text: &str) -> Result<u64, Expected> {
    match value::bytes(text)? {
        0 => Err(Expected::of("a size of at least 1 byte")),
        bytes => Ok(bytes),
    }
}

fn version(text: &str) -> Result<i32, Expected> {
    let version = value::integer(text).ok().filter(|version| (1..=12).contains(version));
    version.ok_or(Expected::of("an OpenWire version from 1 to 12"))
}

fn cache_size(text: &str) -> Result<u16, Expected> {
    let size = text.trim().parse::<u16>().ok().filter(|size| (1..=32_766).contains(size));
    size.ok_or(Expected::of("a number of entries from 1 to 32766"))
}

/// A byte of the IP header, as a number or by the names of type of service.
fn traffic_class(text: &str) -> Result<u8, Expected> {
    text.trim().parse().map_err(|_bad| Expected::of("a number from 0 to 255"))
}
