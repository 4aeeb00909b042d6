//! What a configuration can ask of a transport connector and its sockets.

use std::time::Duration;

use crate::base::options::options;
use crate::base::uri::Uri;

/// Connections of one connector when its URI has no `maximumConnections`. ActiveMQ has no bound then.
pub const MAXIMUM_CONNECTIONS_DEFAULT: u32 = 10_000;
/// Longest frame when a URI has no `wireFormat.maxFrameSize`: what ActiveMQ's own file sets. Its code
/// has no bound.
pub const MAX_FRAME_DEFAULT_BYTES: u64 = 100 << 20;
/// The newest OpenWire.
pub const VERSION_MAX: i32 = 12;

/// How bytes travel; ActiveMQ's `tcp`, `nio` and `auto` are one thing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    /// `ssl`, `nio+ssl`, `auto+ssl`, `auto+nio+ssl`.
    Tls,
}

/// `<transportConnector>`.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportConnector {
    /// As the configuration names it; the address clients reach when it does not.
    pub name: Option<String>,
    /// As written, for the log and for clients.
    pub uri: Uri,
    pub security: Security,
    /// `0.0.0.0` for every interface.
    pub host: String,
    /// 0 takes a free one.
    pub port: u16,
    pub transport: TransportOptions,
    pub options: ConnectorOptions,
}

options! {
    /// The attributes of `<transportConnector>` beside `name` and `uri`.
    pub struct ConnectorOptions {
        /// Where to announce this connector to other brokers.
        discovery_uri: Option<Uri> = None,
        /// Tell clients of the other brokers of the cluster.
        update_cluster_clients: bool = false,
        /// Tell clients to spread over them again when one joins.
        rebalance_cluster_clients: bool = false,
        /// Tell clients when one leaves.
        update_cluster_clients_on_remove: bool = false,
        /// Regular expressions, commas between: only brokers whose name fits one are told of.
        update_cluster_filter: Option<String> = None,
        /// Drop what a bridge sent before.
        audit_network_producers: bool = false,
        /// `None` has no limit.
        maximum_producers_allowed_per_connection: Option<u32> = None,
        /// `None` has no limit.
        maximum_consumers_allowed_per_connection: Option<u32> = None,
        /// A new connection with a client id in use takes it over.
        allow_link_stealing: bool = false,
        enable_status_monitor: bool = false,
        warn_on_remote_close: bool = false,
        display_stack_trace: bool = false,
        /// Write to a consumer from where its message came in.
        disable_async_dispatch: bool = false,
        /// Open at start.
        auto_start: bool = true,
        published_address: PublishedAddress = PublishedAddress::default(),
    }

    /// `<publishedAddressPolicy>`: which address of this connector clients are told.
    pub struct PublishedAddress {
        strategy: PublishedHost = PublishedHost::Default,
        /// Options appended to that address.
        cluster_client_uri_query: Option<String> = None,
        /// Ports by which others are told instead.
        port_mapping: Vec<(u16, u16)> = Vec::new(),
        /// Hosts by which others are told instead.
        host_mapping: Vec<(String, String)> = Vec::new(),
    }

    /// The options of a connector's URI.
    pub struct TransportOptions {
        maximum_connections: u32 = MAXIMUM_CONNECTIONS_DEFAULT,
        /// Connections that the system holds before they are accepted.
        backlog: u32 = 5000,
        /// Time a connecting client has for its `WireFormatInfo`.
        connection_timeout: Duration = Duration::from_millis(30_000),
        /// Longest silence of a socket; `None` leaves that to the inactivity monitor.
        so_timeout: Option<Duration> = None,
        /// Longest time one write may stand still; `None` has no limit.
        so_write_timeout: Option<Duration> = None,
        /// Seconds that closing waits for unsent bytes; `None` leaves it to the system.
        so_linger: Option<u32> = None,
        /// The system's buffers, in bytes.
        socket_buffer_bytes: u32 = 65_536,
        /// The connection's own buffers, in bytes.
        io_buffer_bytes: u32 = 8192,
        /// `None` follows `wire_format.tcp_no_delay_enabled`.
        tcp_no_delay: Option<bool> = None,
        /// The system's own probes of an idle connection.
        keep_alive: bool = false,
        /// Log every command.
        trace: bool = false,
        /// The IP header's type of service.
        type_of_service: Option<u8> = None,
        /// With `false`, no read and write checks.
        use_inactivity_monitor: bool = true,
        close_async: bool = true,
        use_queue_for_accept: bool = true,
        allow_link_stealing: bool = false,
        /// Time that an `auto` connector waits for bytes that tell the protocol.
        protocol_detection_timeout: Duration = Duration::from_millis(30_000),
        tls: TlsOptions = TlsOptions::default(),
        wire_format: WireFormatOptions = WireFormatOptions::default(),
    }

    /// The options of an `ssl` connector's URI.
    pub struct TlsOptions {
        /// Refuse clients without a certificate.
        need_client_auth: bool = false,
        /// Ask for a certificate.
        want_client_auth: bool = false,
        verify_host_name: bool = false,
        /// `None` allows what the library takes for safe.
        enabled_cipher_suites: Option<Vec<String>> = None,
        /// `None` allows what the library takes for safe.
        enabled_protocols: Option<Vec<String>> = None,
    }

    /// `wireFormat.*`: what the broker offers in its `WireFormatInfo`.
    pub struct WireFormatOptions {
        version: i32 = VERSION_MAX,
        /// Oldest version of a client that is let in.
        version_min: i32 = 0,
        max_frame_bytes: u64 = MAX_FRAME_DEFAULT_BYTES,
        max_frame_size_enabled: bool = true,
        /// Silence after which a peer counts as lost; `None` never.
        max_inactivity: Option<Duration> = Some(Duration::from_millis(30_000)),
        /// Time before the first such check.
        max_inactivity_initial_delay: Duration = Duration::from_millis(10_000),
        cache_enabled: bool = true,
        /// Entries.
        cache_size: u16 = 1024,
        tight_encoding_enabled: bool = true,
        size_prefix_disabled: bool = false,
        stack_trace_enabled: bool = true,
        tcp_no_delay_enabled: bool = true,
        include_provider_details: bool = true,
        /// Host sent to peers for virtual hosting.
        host: Option<String> = None,
    }
}

/// `publishedHostStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedHost {
    Default,
    IpAddress,
    HostName,
    Fqdn,
}
