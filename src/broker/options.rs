//! What a configuration can ask of the broker; the defaults are ActiveMQ's.
//!
//! * [`policy`] is what holds for the destinations that fit a pattern.
//! * [`usage`] is how much memory and disk may be taken.
//! * [`forwarding`] is what copies a message from one destination to others.
//! * [`plugin`] is what a configuration adds to the broker's own work.
//!
//! **Invariant:** plain data. Who fills it and from which words is not known here.

pub mod forwarding;
pub mod plugin;
pub mod policy;
pub mod usage;

use std::path::PathBuf;
use std::time::Duration;

pub use forwarding::Interceptor;
pub use plugin::Plugin;
pub use policy::{PolicyEntry, PolicyMap};
pub use usage::SystemUsage;

use crate::base::options::options;
use crate::openwire::Destination;

options! {
    /// The broker as a whole.
    pub struct BrokerOptions {
        /// Name in ids, advisories and logs. What is not a letter, digit, `.`, `_`, `-` or `:` is
        /// written as `_`.
        broker_name: String = "localhost".to_owned(),
        /// Identity given to clients and peers; made afresh at each start when absent.
        broker_id: Option<String> = None,
        /// Take the host's name as `broker_name` when none was given.
        use_local_host_broker_name: bool = false,
        /// Where data lies for which no place of its own is named.
        data_directory: PathBuf = PathBuf::from("activemq-data"),
        /// Where non-persistent messages go that memory cannot hold; below `data_directory` when
        /// absent.
        temp_data_directory: Option<PathBuf> = None,
        /// Keep persistent messages across a restart.
        persistent: bool = true,
        /// Forget every stored message at start.
        delete_all_messages_on_startup: bool = false,
        /// Open for clients at once; `false` waits to be told.
        start: bool = true,
        /// Open the connectors while the store is still being read.
        start_async: bool = false,
        /// Whether the broker may be started again after it stopped itself.
        restart_allowed: bool = true,
        /// Stop in order at SIGTERM and SIGINT.
        use_shutdown_hook: bool = true,
        /// End the process when the broker stops itself.
        system_exit_on_shutdown: bool = false,
        /// Exit code of `system_exit_on_shutdown`.
        system_exit_on_shutdown_exit_code: i32 = 0,

        /// Publish what happens on `ActiveMQ.Advisory.>`.
        advisory_support: bool = true,
        /// Publish producers that name no destination, too.
        anonymous_producer_advisory_support: bool = false,
        /// Deliver messages with `AMQ_SCHEDULED_*` properties at their time.
        scheduler_support: bool = false,
        /// Most repeats that one scheduled message may ask for.
        max_scheduler_repeat_allowed: u32 = 1000,
        /// Where scheduled messages lie; below `data_directory` when absent.
        scheduler_directory: Option<PathBuf> = None,

        /// Count and publish management data.
        use_jmx: bool = true,
        /// Count what destinations and connections do.
        enable_statistics: bool = true,
        populate_jmsx_user_id: bool = false,
        use_authenticated_principal_for_jmsx_user_id: bool = false,
        populate_user_name_in_mbeans: bool = false,

        /// Keep what durable subscribers have not seen in memory while they are away.
        keep_durable_subs_active: bool = true,
        reject_durable_consumers: bool = false,
        /// Drop a durable subscription whose client was away this long; `None` never.
        offline_durable_subscriber_timeout: Option<Duration> = None,
        /// How often to look for those.
        offline_durable_subscriber_task_schedule: Duration = Duration::from_millis(300_000),
        /// Look for expired messages of active durable subscriptions.
        enable_message_expiration_on_active_durable_subs: bool = false,

        use_virtual_topics: bool = true,
        use_mirrored_queues: bool = false,
        use_temp_mirrored_queues: bool = true,
        use_virtual_dest_subs: bool = false,
        use_virtual_dest_subs_on_creation: bool = false,

        /// Keep a temporary destination for a while after its connection is gone.
        cache_temp_destinations: bool = false,
        /// For how long.
        time_before_purge_temp_destinations: Duration = Duration::from_millis(5000),
        allow_temp_auto_creation_on_send: bool = false,

        /// How often idle destinations are looked for; `None` never.
        schedule_period_for_destination_purge: Option<Duration> = None,
        /// Most destinations dropped in one such look; `None` has no limit.
        max_purged_destinations_per_sweep: Option<u32> = None,
        /// How often limits are compared with the free space of the disk; `None` only at start.
        schedule_period_for_disk_usage_check: Option<Duration> = None,
        /// Bytes of new free space that make a cut limit grow again; `None` never.
        disk_usage_check_regrow_threshold: Option<u64> = None,
        /// Cut limits above what the machine has.
        adjust_usage_limits: bool = true,

        /// Most uncommitted messages of one transaction; `None` has no limit.
        max_uncommitted_count: Option<u32> = None,
        /// A failed asynchronous send makes its transaction fit for rollback only.
        rollback_only_on_async_exception: bool = true,
        /// OpenWire version of stored messages.
        store_open_wire_version: i32 = 11,
        /// Bytes that a compressed body may grow to.
        max_inflated_data_size: u64 = 100 << 20,
        /// Open network connectors side by side rather than one after the other.
        network_connector_start_async: bool = false,
        /// Hold producers at a part of the memory.
        split_system_usage_for_producers_consumers: bool = false,
        /// Percent of memory for producers when split, unless they have a usage of their own.
        producer_system_usage_portion: u8 = 60,
        /// Percent of memory for consumers when split.
        consumer_system_usage_portion: u8 = 40,

        /// What to do when a disk refuses.
        io_exception_handler: IoExceptionHandler = IoExceptionHandler::default(),
        system_usage: SystemUsage = SystemUsage::default(),
        /// What producers are held by, in place of `system_usage`.
        producer_system_usage: Option<SystemUsage> = None,
        policies: PolicyMap = PolicyMap::default(),
        /// Destinations that exist from the start, in the order of the configuration.
        destinations: Vec<Destination> = Vec::new(),
        /// `None` when the configuration says nothing: then `VirtualTopic.>` is a virtual topic if
        /// `use_virtual_topics`. `Some` replaces that default, also when empty.
        destination_interceptors: Option<Vec<Interceptor>> = None,
        /// In the order of the configuration.
        plugins: Vec<Plugin> = Vec::new(),
    }

    /// What the broker does when its disk refuses a read or a write.
    pub struct IoExceptionHandler {
        ignore_all_errors: bool = false,
        ignore_no_space_errors: bool = true,
        ignore_sql_exceptions: bool = true,
        /// Text in an error that says that the disk is full.
        no_space_message: String = "space".to_owned(),
        sql_exception_message: String = String::new(),
        /// How often to look whether the disk accepts again.
        resume_check_sleep_period: Duration = Duration::from_millis(5000),
        /// Close the connectors until the disk accepts again, instead of stopping the broker.
        stop_start_connectors: bool = false,
        system_exit_on_shutdown: bool = false,
    }
}
