//! What a configuration can ask of a bridge to other brokers.

use std::time::Duration;

use crate::base::options::options;
use crate::base::secret::Secret;
use crate::base::uri::Uri;
use crate::openwire::Destination;

/// `<networkConnector>`.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConnector {
    /// How peers are found: `static:(…)`, `masterslave:(…)`, `multicast://…`.
    pub uri: Uri,
    pub options: NetworkOptions,
}

options! {
    /// The attributes of `<networkConnector>` beside `uri`.
    pub struct NetworkOptions {
        /// Part of the bridge's client ids; two connectors to one peer need two names.
        name: String = "NC".to_owned(),
        /// Carry messages both ways on one connection.
        duplex: bool = false,
        auto_start: bool = true,
        /// Most brokers that a message passes; `None` has no limit.
        message_ttl: Option<u32> = Some(1),
        /// Most brokers that news of a consumer passes; `None` has no limit.
        consumer_ttl: Option<u32> = Some(1),
        /// Take all consumers of a destination for one.
        conduit_subscriptions: bool = true,
        conduit_network_queue_subscriptions: bool = false,
        /// Serve local consumers first, the farther ones later.
        decrease_network_consumer_priority: bool = false,
        consumer_priority_base: i32 = -5,
        /// Forward nothing for durable subscribers that are away.
        dynamic_only: bool = false,
        sync_durable_subs: bool = false,
        /// Messages on the way over the bridge, for each destination.
        prefetch_size: u32 = 1000,
        /// The same for advisories; 0 takes `prefetch_size`.
        advisory_prefetch_size: u32 = 0,
        advisory_ack_percentage: u8 = 75,
        dispatch_async: bool = true,
        /// Let replies to temporary destinations cross.
        bridge_temp_destinations: bool = true,
        excluded_destinations: Vec<Destination> = Vec::new(),
        /// When not empty, only these follow demand.
        dynamically_included_destinations: Vec<Destination> = Vec::new(),
        /// Forwarded without demand.
        statically_included_destinations: Vec<Destination> = Vec::new(),
        durable_destinations: Vec<Destination> = Vec::new(),
        /// Only `statically_included_destinations`.
        static_bridge: bool = false,
        suppress_duplicate_queue_subscriptions: bool = false,
        suppress_duplicate_topic_subscriptions: bool = true,
        /// Wait for the peer's answer for every message.
        always_sync_send: bool = true,
        check_duplicate_messages_on_duplex: bool = false,
        use_virtual_dest_subs: bool = false,
        use_compression: bool = false,
        advisory_for_failed_forward: bool = false,
        gc_destination_views: bool = true,
        gc_sweep_time: Duration = Duration::from_millis(60_000),
        use_broker_names_as_id_seed: bool = true,
        client_id_token: String = "_".to_owned(),
        user_name: Option<String> = None,
        password: Option<Secret> = None,
        remote_user_name: Option<String> = None,
        remote_password: Option<Secret> = None,
        local_uri: Option<Uri> = None,
        /// Suffix of the advisories listened to.
        destination_filter: String = ">".to_owned(),
        object_name: Option<String> = None,
    }
}
