//! What of ActiveMQ's vocabulary is served today, in one place: a later piece of work that serves a
//! part changes its line here.

use crate::config::vocabulary::Standing::{self, NoEffect, NotServed, Refused, Served};

pub(in crate::config) const SERVED: Standing = Served;

pub(in crate::config) const JMX: Standing = NoEffect("there is no JMX");
pub(in crate::config) const JVM: Standing =
    NoEffect("it concerns threads and objects of the Java process");
pub(in crate::config) const PAGE_FILE: Standing = NoEffect("the store has no page file");
pub(in crate::config) const BUFFERS: Standing = NoEffect("buffers follow what arrives");
pub(in crate::config) const TLS_OPTION: Standing = NoEffect("it concerns TLS alone");
pub(in crate::config) const SHELL: Standing =
    NoEffect("the process always stops in order and then exits");

pub(in crate::config) const STORE_FORMAT: Standing =
    NoEffect("the journal has one format, which keeps every field of every version");
pub(in crate::config) const CHECKED: Standing =
    NoEffect("every record is checked, at start and whenever it is read");
pub(in crate::config) const ALLOCATED: Standing =
    NoEffect("the room of a journal file is always taken before it is used");
pub(in crate::config) const RECLAIMED: Standing =
    NoEffect("the space of what is gone is always reclaimed at once");
pub(in crate::config) const GROUPED: Standing =
    NoEffect("what waits is written together, up to a bound of 8 MiB");
pub(in crate::config) const STOPS_ON_ERROR: Standing = NoEffect(
    "a full disk holds producers until there is room; after any other failed write the process ends",
);
pub(in crate::config) const PAGES: Standing =
    NoEffect("messages are read back as consumers have room for them");
pub(in crate::config) const CURSORS: Standing = NoEffect(
    "what waits is in the store, or in the temporary one where memory is short, whatever its cursor",
);
pub(in crate::config) const STORE_AUDIT: Standing = NoEffect(
    "the store knows what a client sends again after a failover; a queue drops nothing else",
);
pub(in crate::config) const COPIES: Standing =
    NoEffect("all copies of a message share its body, and are stored as one");
pub(in crate::config) const ARCHIVE: Standing =
    NotServed("journal files that are done with are deleted");
pub(in crate::config) const ONE_JOURNAL: Standing =
    NotServed("all destinations share one journal, in the directory of <mKahaDB>");
pub(in crate::config) const DISK_CHECK: Standing =
    NotServed("limits are compared with the disk at start only");
pub(in crate::config) const NO_PARENT: Standing =
    NoEffect("it is the share of a parent's limit, and this usage has no parent");
pub(in crate::config) const ONE_MEMORY: Standing =
    NoEffect("what waits for consumers counts with what producers sent");
pub(in crate::config) const BODIES: Standing =
    NoEffect("the broker never inflates a body: it passes it on as it came");
pub(in crate::config) const PARTITION: Standing = NotServed("clients stay where they connect");
pub(in crate::config) const RESENT: Standing =
    NoEffect("what a bridge sends again is always recognised");
pub(in crate::config) const BRIDGE_START: Standing =
    NoEffect("bridges never hold up the start of the broker");
pub(in crate::config) const SCHEDULER_STORE: Standing =
    NoEffect("scheduled messages lie in the journal of all messages, which storeUsage limits");
pub(in crate::config) const PLUGIN: Standing = NotServed("the broker works without it");
pub(in crate::config) const KEPT: Standing = NoEffect("the journal keeps every destination");
pub(in crate::config) const ONE_ORDER: Standing =
    NoEffect("all consumers of a topic get each message, in one order");
pub(in crate::config) const LOOKED_FOR: Standing =
    NoEffect("expired messages of durable subscriptions are always looked for");
pub(in crate::config) const QUERY: Standing =
    NotServed("its query is a Java object, so nothing is recovered");
pub(in crate::config) const SHARED_BUFFER: Standing = NoEffect("each topic keeps its own messages");
pub(in crate::config) const LINK_STEALING: Standing =
    NotServed("a second connection with a client id in use is refused");
pub(in crate::config) const CACHED: Standing =
    NoEffect("a temporary destination costs nothing to be made again");
pub(in crate::config) const PER_MESSAGE: Standing =
    NoEffect("messages are given out as soon as there is room, and cost what they take");
pub(in crate::config) const BROKER_PART: Standing =
    NotServed("the broker keeps to ActiveMQ's default");
pub(in crate::config) const PUBLISHED: Standing =
    NotServed("clients are told the address at which the connector listens");
pub(in crate::config) const SOCKET: Standing = NotServed("the connector works without it");
pub(in crate::config) const PROXY: Standing = NotServed("nothing is forwarded");
pub(in crate::config) const DISCOVERY: Standing = NotServed("the connector is not announced");

pub(in crate::config) const SECURITY: Standing = Refused(
    "is not served yet, and without it the broker would be open to all; remove it to run open, \
     where that is safe, or stay with the broker you have",
);
pub(in crate::config) const SQL: Standing = Refused(
    "there is no SQL store; use <kahaDB directory=\"…\"/>, whose directory several brokers may \
     share as master and slaves",
);
pub(in crate::config) const LEVEL_DB: Standing = Refused(
    "LevelDB was removed from ActiveMQ 5.17 and is not read; use <kahaDB directory=\"…\"/> on \
     storage that the brokers share",
);
pub(in crate::config) const OLD_STORE: Standing =
    Refused("this store was removed from ActiveMQ and is not read; use <kahaDB directory=\"…\"/>");
pub(in crate::config) const SQL_LOCK: Standing = Refused(
    "there is no lock in a database; use <shared-file-locker/> on a file system that the brokers \
     share",
);
pub(in crate::config) const FOREIGN_JMS: Standing =
    Refused("there are no bridges to foreign JMS providers; remove it");
