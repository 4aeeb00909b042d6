//! The protocol table: every OpenWire structure, its type code, its fields in wire order.
//!
//! A header that says `: command` adds `command_id` and `response_required`, which Java inherits.
//! Field names are OpenWire's own in Rust's spelling; a Java `type` is `kind` here. What a value means
//! is said where it is used; the classes that share one list of fields, transaction ids and the
//! numbers of acknowledgements and transactions stand below the table.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::CachedValue;
use super::fields::{
    Cacheable, FieldReader, FieldWriter, Structure, WireError, since, wire_header, wire_kind,
    wire_types,
};
use super::{Text, Throwable};

wire_types! {
    /// The first frame of each side: what it speaks. Always loose, version 1, without cache.
    1 => WireFormatInfo {
        magic                 : magic,
        version               : int,
        marshalled_properties : bytes,
    }

    /// Who a broker is; from a bridge also how it is configured.
    2 => BrokerInfo: command {
        broker_id                    : cached(BrokerId),
        broker_url                   : string,
        peer_broker_infos            : array(BrokerInfo),
        broker_name                  : string,
        slave_broker                 : boolean,
        master_broker                : boolean,
        fault_tolerant_configuration : boolean,
        duplex_connection            : boolean since 2,
        network_connection           : boolean since 2,
        connection_id                : long since 2,
        broker_upload_url            : string since 3,
        network_properties           : string since 3,
    }

    /// Opens a logical connection.
    3 => ConnectionInfo: command {
        connection_id           : cached(ConnectionId),
        client_id               : string,
        password                : string,
        user_name               : string,
        broker_path             : array(BrokerId),
        broker_master_connector : boolean,
        manageable              : boolean,
        client_master           : boolean since 2,
        fault_tolerant          : boolean since 6,
        failover_reconnect      : boolean since 6,
        client_ip               : string since 8,
    }

    /// Opens a session of a connection.
    4 => SessionInfo: command {
        session_id : cached(SessionId),
    }

    /// Opens a consumer, and is what advisories say of it.
    5 => ConsumerInfo: command {
        consumer_id                   : cached(ConsumerId),
        browser                       : boolean,
        destination                   : cached(Destination),
        prefetch_size                 : int,
        maximum_pending_message_limit : int,
        dispatch_async                : boolean,
        selector                      : string,
        client_id                     : string since 10,
        subscription_name             : string,
        no_local                      : boolean,
        exclusive                     : boolean,
        retroactive                   : boolean,
        priority                      : byte,
        broker_path                   : array(BrokerId),
        additional_predicate          : nested(NetworkBridgeFilter),
        network_subscription          : boolean,
        optimized_acknowledge         : boolean,
        no_range_acks                 : boolean,
        network_consumer_path         : array(ConsumerId) since 4,
    }

    /// Opens a producer.
    6 => ProducerInfo: command {
        producer_id    : cached(ProducerId),
        destination    : cached(Destination),
        broker_path    : array(BrokerId),
        dispatch_async : boolean since 2,
        window_size    : int since 3,
    }

    /// One step of a local or XA transaction; `kind` is one of [`transaction_kind`].
    7 => TransactionInfo: command {
        connection_id  : cached(ConnectionId),
        transaction_id : cached(TransactionId),
        kind           : byte,
    }

    /// Creates (`operation_type` 0) or removes (1) a destination.
    8 => DestinationInfo: command {
        connection_id  : cached(ConnectionId),
        destination    : cached(Destination),
        operation_type : byte,
        timeout        : long,
        broker_path    : array(BrokerId),
    }

    /// Ends a durable subscription.
    9 => RemoveSubscriptionInfo: command {
        connection_id     : cached(ConnectionId),
        subscription_name : string,
        client_id         : string,
    }

    /// Says that the peer is alive; answered by its like when a response is required.
    10 => KeepAliveInfo: command {
    }

    /// The orderly end of a connection.
    11 => ShutdownInfo: command {
    }

    /// Removes a connection, session, consumer or producer with all it owns.
    12 => RemoveInfo: command {
        object_id                  : cached(Command),
        last_delivered_sequence_id : long since 5,
    }

    /// A text command. Brokers ignore it (CVE-2014-3576).
    14 => ControlCommand: command {
        command : string,
    }

    /// A barrier without effect.
    15 => FlushCommand: command {
    }

    /// An error of a command that asked for no response.
    16 => ConnectionError: command {
        exception     : throwable,
        connection_id : nested(ConnectionId),
    }

    /// Changes the prefetch of a consumer, or closes it.
    17 => ConsumerControl: command {
        destination : nested(Destination) since 6,
        close       : boolean,
        consumer_id : nested(ConsumerId),
        prefetch    : int,
        flush       : boolean since 2,
        start       : boolean since 2,
        stop        : boolean since 2,
    }

    /// Tells a failover client of the cluster, or a broker that the peer is one.
    18 => ConnectionControl: command {
        close                : boolean,
        exit                 : boolean,
        fault_tolerant       : boolean,
        resume               : boolean,
        suspend              : boolean,
        connected_brokers    : string since 6,
        reconnect_to         : string since 6,
        rebalance_connection : boolean since 6,
        token                : bytes since 8,
    }

    /// Broker credit to a windowed producer: `size` bytes were taken over.
    19 => ProducerAck: command since 3 {
        producer_id : nested(ProducerId),
        size        : int,
    }

    /// Asks for one message on behalf of a consumer with prefetch 0.
    20 => MessagePull: command since 2 {
        consumer_id    : cached(ConsumerId),
        destination    : cached(Destination),
        timeout        : long,
        correlation_id : string since 3,
        message_id     : nested(MessageId) since 3,
    }

    /// A message on its way to a consumer; without one, the end of a browse or an empty pull.
    21 => MessageDispatch: command {
        consumer_id        : cached(ConsumerId),
        destination        : cached(Destination),
        message            : nested(SharedMessage),
        redelivery_counter : int,
    }

    /// What a consumer did with messages; `ack_type` is one of [`ack_type`].
    22 => MessageAck: command {
        destination      : cached(Destination),
        transaction_id   : cached(TransactionId),
        consumer_id      : cached(ConsumerId),
        ack_type         : byte,
        first_message_id : nested(MessageId),
        last_message_id  : nested(MessageId),
        message_count    : int,
        poison_cause     : throwable since 7,
    }

    /// A message of any class. The body is opaque: `content` and `marshalled_properties` are slices of
    /// the frame it came in.
    MessageClass => Message: command {
        producer_id                   : cached(ProducerId),
        destination                   : cached(Destination),
        transaction_id                : cached(TransactionId),
        original_destination          : cached(Destination),
        message_id                    : nested(MessageId),
        original_transaction_id       : cached(TransactionId),
        group_id                      : string,
        group_sequence                : int,
        correlation_id                : string,
        persistent                    : boolean,
        expiration                    : long,
        priority                      : byte,
        reply_to                      : nested(Destination),
        timestamp                     : long,
        kind                          : string,
        content                       : bytes,
        marshalled_properties         : bytes,
        data_structure                : nested(Command),
        target_consumer_id            : cached(ConsumerId),
        compressed                    : boolean,
        redelivery_counter            : int,
        broker_path                   : array(BrokerId),
        arrival                       : long,
        user_id                       : string,
        recieved_by_df_bridge         : boolean,
        droppable                     : boolean since 2,
        cluster                       : array(BrokerId) since 3,
        broker_in_time                : long since 3,
        broker_out_time               : long since 3,
        jmsx_group_first_for_consumer : boolean since 10,
        remote_blob_url               : string only 29,
        mime_type                     : string only 29,
        deleted_by_broker             : boolean only 29,
    }

    /// The answer to a command that required one.
    30 => Response: command {
        correlation_id : int,
    }

    /// The answer to a command that failed.
    31 => ExceptionResponse: command {
        correlation_id : int,
        exception      : throwable,
    }

    /// An answer that carries a structure.
    32 => DataResponse: command {
        correlation_id : int,
        data           : nested(Command),
    }

    /// An answer that carries structures.
    33 => DataArrayResponse: command {
        correlation_id : int,
        data           : array(Command),
    }

    /// An answer that carries a number.
    34 => IntegerResponse: command {
        correlation_id : int,
        result         : int,
    }

    /// A broker seen by a discovery agent.
    40 => DiscoveryEvent {
        service_name : string,
        broker_name  : string,
    }

    /// Only in stores of the Java broker.
    50 => JournalTopicAck {
        destination         : nested(Destination),
        message_id          : nested(MessageId),
        message_sequence_id : long,
        subscription_name   : string,
        client_id           : string,
        transaction_id      : nested(TransactionId),
    }

    /// Only in stores of the Java broker.
    52 => JournalQueueAck {
        destination : nested(Destination),
        message_ack : nested(MessageAck),
    }

    /// Only in stores of the Java broker.
    53 => JournalTrace {
        message : string,
    }

    /// Only in stores of the Java broker.
    54 => JournalTransaction {
        transaction_id : nested(TransactionId),
        kind           : byte,
        was_prepared   : boolean,
    }

    /// A durable subscription, as stores and management know it.
    55 => SubscriptionInfo {
        client_id              : string,
        destination            : cached(Destination),
        selector               : string,
        subscription_name      : string,
        subscribed_destination : nested(Destination) since 3,
        no_local               : boolean since 11,
    }

    /// A part of a frame on datagram transports.
    60 => PartialCommand {
        command_id : int,
        data       : bytes,
    }

    /// The last part of a frame on datagram transports.
    61 => LastPartialCommand {
        command_id : int,
        data       : bytes,
    }

    /// Asks for datagrams again.
    65 => ReplayCommand: command {
        first_nak_number : int,
        last_nak_number  : int,
    }

    /// Tells a replica of a dispatch.
    90 => MessageDispatchNotification: command {
        consumer_id          : cached(ConsumerId),
        destination          : cached(Destination),
        delivery_sequence_id : long,
        message_id           : nested(MessageId),
    }

    /// Keeps a bridge from sending messages back where they came from, and from sending them too far.
    91 => NetworkBridgeFilter {
        network_ttl       : int until 9,
        network_broker_id : cached(BrokerId),
        message_ttl       : int since 10,
        consumer_ttl      : int since 10,
    }

    /// The durable subscriptions of a broker, told to its bridge peer.
    92 => BrokerSubscriptionInfo: command since 12 {
        broker_id          : nested(BrokerId),
        broker_name        : string,
        subscription_infos : array(ConsumerInfo),
    }

    /// A queue or topic by name. A composite one has several names, separated by commas.
    DestinationKind => Destination {
        physical_name : string,
    }

    /// Names one message for its whole life.
    110 => MessageId {
        text_view            : string since 10,
        producer_id          : cached(ProducerId),
        producer_sequence_id : long,
        broker_sequence_id   : long,
    }

    /// Names a transaction of one connection.
    111 => LocalTransactionId {
        value         : long,
        connection_id : cached(ConnectionId),
    }

    /// Names a branch of a global transaction.
    112 => XaTransactionId {
        format_id             : int,
        global_transaction_id : bytes,
        branch_qualifier      : bytes,
    }

    /// Names a connection.
    120 => ConnectionId {
        value : string,
    }

    /// Names a session.
    121 => SessionId {
        connection_id : string,
        value         : long,
    }

    /// Names a consumer.
    122 => ConsumerId {
        connection_id : string,
        session_id    : long,
        value         : long,
    }

    /// Names one producer while its connection lives.
    123 => ProducerId {
        connection_id : string,
        value         : long,
        session_id    : long,
    }

    /// Names one run of a broker.
    124 => BrokerId {
        value : string,
    }
}

/// A message that several destinations, consumers and outboxes hold at once.
pub type SharedMessage = Arc<Message>;

/// Enums whose variants are type codes of classes with the same fields.
macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$default:ident])? $code:literal => $variant:ident $(since $since:literal)?, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$default])? $variant, )* }

        impl $name {
            /// The type code on the wire.
            pub fn code(self) -> u8 {
                match self { $( Self::$variant => $code, )* }
            }

            /// The variant with this type code, if OpenWire `version` has it.
            pub fn from_code(code: u8, version: u8) -> Option<Self> {
                match code {
                    $( $code if since(version, &[$($since)?]) => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }
    )* };
}

kinds! {
    /// The classes of messages, by the body they carry.
    MessageClass {
        #[default]
        23 => Plain,
        24 => Bytes,
        25 => Map,
        26 => Object,
        27 => Stream,
        28 => Text,
        29 => Blob since 3,
    }

    /// The four kinds of destination.
    DestinationKind {
        #[default]
        100 => Queue,
        101 => Topic,
        102 => TempQueue,
        103 => TempTopic,
    }
}

/// A local or an XA transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TransactionId {
    Local(LocalTransactionId),
    Xa(XaTransactionId),
}

impl Structure for TransactionId {
    const NAME: &'static str = "TransactionId";

    fn has_code(code: u8, version: u8) -> bool {
        LocalTransactionId::has_code(code, version) || XaTransactionId::has_code(code, version)
    }

    fn code(&self) -> u8 {
        match self {
            Self::Local(id) => id.code(),
            Self::Xa(id) => id.code(),
        }
    }

    fn write(&self, w: &mut impl FieldWriter) {
        match self {
            Self::Local(id) => id.write(w),
            Self::Xa(id) => id.write(w),
        }
    }

    fn read(code: u8, r: &mut impl FieldReader) -> Result<Self, WireError> {
        if LocalTransactionId::has_code(code, r.version()) {
            LocalTransactionId::read(code, r).map(Self::Local)
        } else {
            XaTransactionId::read(code, r).map(Self::Xa)
        }
    }
}

macro_rules! cacheable {
    ($($name:ident)*) => { $(
        impl Cacheable for $name {
            fn to_cached(this: &Arc<Self>) -> CachedValue {
                CachedValue::$name(Arc::clone(this))
            }

            fn from_cached(value: &CachedValue) -> Option<Arc<Self>> {
                if let CachedValue::$name(it) = value { Some(Arc::clone(it)) } else { None }
            }
        }
    )* };
}

cacheable! { BrokerId ConnectionId SessionId ConsumerId ProducerId Destination TransactionId }

/// Where a field may hold any structure, an id in it is the same value as in a field of its own.
impl Cacheable for Command {
    fn to_cached(this: &Arc<Self>) -> CachedValue {
        macro_rules! by_kind {
            ($($kind:ident)*) => { match &**this {
                $( Self::$kind(it) => CachedValue::$kind(Arc::clone(it)), )*
                Self::LocalTransactionId(id) => {
                    CachedValue::TransactionId(Arc::new(TransactionId::Local((**id).clone())))
                }
                Self::XaTransactionId(id) => {
                    CachedValue::TransactionId(Arc::new(TransactionId::Xa((**id).clone())))
                }
                _ => CachedValue::Other(Arc::clone(this)),
            } };
        }
        by_kind! { BrokerId ConnectionId SessionId ConsumerId ProducerId Destination }
    }

    fn from_cached(value: &CachedValue) -> Option<Arc<Self>> {
        Some(match value {
            CachedValue::Null => return None,
            CachedValue::BrokerId(id) => Arc::new(Self::BrokerId(Arc::clone(id))),
            CachedValue::ConnectionId(id) => Arc::new(Self::ConnectionId(Arc::clone(id))),
            CachedValue::SessionId(id) => Arc::new(Self::SessionId(Arc::clone(id))),
            CachedValue::ConsumerId(id) => Arc::new(Self::ConsumerId(Arc::clone(id))),
            CachedValue::ProducerId(id) => Arc::new(Self::ProducerId(Arc::clone(id))),
            CachedValue::Destination(it) => Arc::new(Self::Destination(Arc::clone(it))),
            CachedValue::TransactionId(id) => Arc::new(match &**id {
                TransactionId::Local(id) => id.clone().into(),
                TransactionId::Xa(id) => id.clone().into(),
            }),
            CachedValue::Other(command) => Arc::clone(command),
        })
    }
}

/// Values of [`MessageAck::ack_type`].
pub mod ack_type {
    /// Received, not consumed: opens the prefetch window.
    pub const DELIVERED: i8 = 0;
    /// To the dead letter queue.
    pub const POISON: i8 = 1;
    /// Consumes a range in dispatch order.
    pub const STANDARD: i8 = 2;
    /// The client redelivers by itself.
    pub const REDELIVERED: i8 = 3;
    /// Consumes the last message only.
    pub const INDIVIDUAL: i8 = 4;
    /// A durable subscription's selector did not match; internal to stores.
    pub const UNMATCHED: i8 = 5;
    /// The client saw them expired.
    pub const EXPIRED: i8 = 6;
}

/// Values of [`TransactionInfo::kind`].
pub mod transaction_kind {
    pub const BEGIN: i8 = 0;
    pub const PREPARE: i8 = 1;
    pub const COMMIT_ONE_PHASE: i8 = 2;
    pub const COMMIT_TWO_PHASE: i8 = 3;
    pub const ROLLBACK: i8 = 4;
    pub const RECOVER: i8 = 5;
    pub const FORGET: i8 = 6;
    pub const END: i8 = 7;
}
