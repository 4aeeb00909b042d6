//! One change as it stands in a batch.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

use super::audit::Audit;
use super::group::{Add, Branch, OwnerRecord};
use super::place::{Key, OwnerId};
use crate::openwire::fields::Structure;
use crate::openwire::wire_format::VERSION_MAX;
use crate::openwire::{
    Command, ConsumerInfo, Decoder, Destination, Encoder, Message, Text, WireError, WireFormat,
    XaTransactionId,
};

/// Bytes in front of what a record says.
///
/// ```text
///  0  length  u32   of the record, with these bytes
///  4  check   u32   CRC-32 over where it lies (see `checksum`) and all of it but these four bytes
///  8  kind    u8
///  9  what it says, by its kind
/// ```
pub(super) const RECORD_HEAD: usize = 9;

/// Bytes of an owner and a key in an `Add`.
const HOLDER_BYTES: usize = 16;

/// Kinds of records. Numbers are big-endian, a `part` is a length of four bytes and as many bytes, a
/// structure is OpenWire's loose encoding, version 12, without size and cache.
///
/// ```text
/// Add         redeliveries u32, time u64 (when its time to live is over; of the scheduler's: when it is
///             due), broker sequence u64, n u32, n x {owner u64, key u64},
///             the message up to the end
/// Copy        as Add: the same message, moved here
/// Remove      owner u64, keys u64 up to the end
/// Redelivered owner u64, key u64, count u32
/// Owner       owner u64, highest key sequence u64, 0, Destination part
///             ..                                 , 1, client id part, name part, ConsumerInfo part
///             ..                                 , 2, id part: the scheduler
/// OwnerGone   owner u64
/// Prepared    xid part, n u32, n x message part, acks {owner u64, key u64} up to the end
/// Outcome     xid part
/// Audit       see `Audit`
/// Counters    next owner u64, highest broker sequence u64
/// Sequence    owner u64, highest key sequence u64
/// Heard       connection part, session u64, producer u64, sequence u64
/// Fired       owner u64, key u64, count u32, time u64 when it is due again
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Add = 1,
    Copy = 2,
    Remove = 3,
    Redelivered = 4,
    Owner = 5,
    OwnerGone = 6,
    Prepared = 7,
    Outcome = 8,
    Audit = 9,
    Counters = 10,
    Sequence = 11,
    Heard = 12,
    Fired = 13,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Add,
        Self::Copy,
        Self::Remove,
        Self::Redelivered,
        Self::Owner,
        Self::OwnerGone,
        Self::Prepared,
        Self::Outcome,
        Self::Audit,
        Self::Counters,
        Self::Sequence,
        Self::Heard,
        Self::Fired,
    ];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Why bytes are no record, although their check is right: another version wrote them, or nobody did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("unknown kind {0}")]
    Kind(u8),
    #[error("it ends early")]
    Short,
    #[error("{0} bytes are left over")]
    Left(usize),
    #[error("a number is out of its range")]
    Range,
    #[error("a structure in it: {0}")]
    Structure(#[from] WireError),
    #[error("a structure in it is a {0}")]
    Unexpected(&'static str),
}

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Record<'a> {
    Add(Held<'a>),
    Copy(Held<'a>),
    Remove(OwnerId, Keys<'a>),
    Redelivered(OwnerId, Key, u32),
    Owner { id: OwnerId, sequence: u64, record: OwnerRecord },
    OwnerGone(OwnerId),
    Prepared(Branch),
    Outcome(XaTransactionId),
    Audit(Audit),
    Counters(Counters),
    Sequence(OwnerId, u64),
    Heard(ProducerKey, i64),
    Fired(OwnerId, Key, u32, i64),
}

/// A message and who holds it, not decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) redeliveries: u32,
    /// See [`Stored::expiration`](super::recovered::Stored::expiration).
    pub(super) expiration: i64,
    pub(super) broker_sequence: i64,
    holders: &'a [u8],
    pub(super) message: &'a [u8],
}

impl Held<'_> {
    pub(super) fn holders(&self) -> impl ExactSizeIterator<Item = (OwnerId, Key)> {
        self.holders.chunks_exact(HOLDER_BYTES).map(|mut holder| {
            let owner = holder.try_get_u64().unwrap_or_default();
            (OwnerId(owner), Key::from_bits(holder.try_get_u64().unwrap_or_default()))
        })
    }
}

/// A message that moves to the tail, for those that still hold it.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) holders: Vec<(OwnerId, Key)>,
    pub(super) redeliveries: u32,
    pub(super) expiration: i64,
    pub(super) broker_sequence: i64,
    pub(super) message: Bytes,
}

/// Keys, not decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a>(&'a [u8]);

impl Keys<'_> {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Key> {
        self.0
            .chunks_exact(size_of::<u64>())
            .map(|mut key| Key::from_bits(key.try_get_u64().unwrap_or_default()))
    }
}

/// What must never go down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) next_owner: u64,
    pub(super) broker_sequence: i64,
}

/// How messages and other structures are written.
fn format() -> WireFormat {
    WireFormat { version: VERSION_MAX, size_prefix_disabled: true, ..WireFormat::STORE }
}

/// Appends records.
#[derive(Debug)]
pub(super) struct RecordWriter(Encoder);

impl RecordWriter {
    pub(super) fn new() -> Self {
        Self(Encoder::new(&format()))
    }

    /// Appends a record, or nothing, if it cannot be said. Its check comes later.
    fn put(
        &mut self,
        out: &mut BytesMut,
        kind: Kind,
        say: impl FnOnce(&mut Self, &mut BytesMut) -> Result<(), WireError>,
    ) -> Result<usize, WireError> {
        let start = out.len();
        out.put_u64(0);
        out.put_u8(kind as u8);
        if let Err(error) = say(self, out) {
            out.truncate(start);
            return Err(error);
        }
        let length = out.len() - start;
        let told = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start..start + size_of::<u32>()) {
            place.copy_from_slice(&told.to_be_bytes());
        }
        Ok(length)
    }

    /// Appends an `Add`, and says how long it is.
    pub(super) fn add(&mut self, out: &mut BytesMut, add: &Add) -> Result<usize, WireError> {
        let Add { owners, message, redeliveries, due_ms } = add;
        let broker_sequence = message.message_id.as_ref().map_or(0, |id| id.broker_sequence_id);
        self.put(out, Kind::Add, |it, out| {
            let time = due_ms.unwrap_or(message.expiration);
            put_head(out, owners, *redeliveries, time, broker_sequence);
            it.0.encode(&**message, out)
        })
    }

    /// Appends a `Copy`, and says how long it is.
    pub(super) fn copy(&mut self, out: &mut BytesMut, copied: &Copied) -> Result<usize, WireError> {
        self.put(out, Kind::Copy, |_, out| {
            let Copied { holders, redeliveries, expiration, broker_sequence, message } = copied;
            put_head(out, holders, *redeliveries, *expiration, *broker_sequence);
            out.put_slice(message);
            Ok(())
        })
    }

    pub(super) fn remove(
        &mut self,
        out: &mut BytesMut,
        owner: OwnerId,
        keys: impl Iterator<Item = Key>,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Remove, |_, out| {
            out.put_u64(owner.0);
            keys.for_each(|key| out.put_u64(key.to_bits()));
            Ok(())
        })
    }

    pub(super) fn redelivered(
        &mut self,
        out: &mut BytesMut,
        owner: OwnerId,
        key: Key,
        count: u32,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Redelivered, |_, out| {
            out.put_u64(owner.0);
            out.put_u64(key.to_bits());
            out.put_u32(count);
            Ok(())
        })
    }

    pub(super) fn fired(
        &mut self,
        out: &mut BytesMut,
        owner: OwnerId,
        key: Key,
        count: u32,
        due_ms: i64,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Fired, |_, out| {
            out.put_u64(owner.0);
            out.put_u64(key.to_bits());
            out.put_u32(count);
            out.put_i64(due_ms);
            Ok(())
        })
    }

    pub(super) fn owner(
        &mut self,
        out: &mut BytesMut,
        id: OwnerId,
        sequence: u64,
        record: &OwnerRecord,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Owner, |it, out| {
            out.put_u64(id.0);
            out.put_u64(sequence);
            match record {
                OwnerRecord::Destination(destination) => {
                    out.put_u8(0);
                    it.structure(out, destination)
                }
                OwnerRecord::Durable { client_id, name, info } => {
                    out.put_u8(1);
                    put_part(out, client_id.as_bytes());
                    put_part(out, name.as_bytes());
                    it.structure(out, &**info)
                }
                OwnerRecord::Scheduler { id } => {
                    out.put_u8(2);
                    put_part(out, id.as_bytes());
                    Ok(())
                }
            }
        })
    }

    pub(super) fn owner_gone(
        &mut self,
        out: &mut BytesMut,
        id: OwnerId,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::OwnerGone, |_, out| {
            out.put_u64(id.0);
            Ok(())
        })
    }

    pub(super) fn prepared(
        &mut self,
        out: &mut BytesMut,
        branch: &Branch,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Prepared, |it, out| {
            it.structure(out, &branch.xid)?;
            out.put_u32(u32::try_from(branch.sends.len()).unwrap_or(u32::MAX));
            branch.sends.iter().try_for_each(|message| it.structure(out, &**message))?;
            put_holders(out, &branch.acks);
            Ok(())
        })
    }

    pub(super) fn outcome(
        &mut self,
        out: &mut BytesMut,
        xid: &XaTransactionId,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Outcome, |it, out| it.structure(out, xid))
    }

    pub(super) fn audit(&mut self, out: &mut BytesMut, audit: &Audit) -> Result<usize, WireError> {
        self.put(out, Kind::Audit, |_, out| {
            audit.put(out);
            Ok(())
        })
    }

    pub(super) fn counters(
        &mut self,
        out: &mut BytesMut,
        counters: Counters,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Counters, |_, out| {
            out.put_u64(counters.next_owner);
            out.put_i64(counters.broker_sequence);
            Ok(())
        })
    }

    /// Appends that a message was here, of which nothing else is told.
    pub(super) fn heard(
        &mut self,
        out: &mut BytesMut,
        producer: &ProducerKey,
        sequence: i64,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Heard, |_, out| {
            put_part(out, producer.0.as_bytes());
            out.put_i64(producer.1);
            out.put_i64(producer.2);
            out.put_i64(sequence);
            Ok(())
        })
    }

    pub(super) fn sequence(
        &mut self,
        out: &mut BytesMut,
        owner: OwnerId,
        sequence: u64,
    ) -> Result<usize, WireError> {
        self.put(out, Kind::Sequence, |_, out| {
            out.put_u64(owner.0);
            out.put_u64(sequence);
            Ok(())
        })
    }

    fn structure(
        &mut self,
        out: &mut BytesMut,
        structure: &impl Structure,
    ) -> Result<(), WireError> {
        let start = out.len();
        out.put_u32(0);
        self.0.encode(structure, out)?;
        let length = u32::try_from(out.len() - start - size_of::<u32>()).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start..start + size_of::<u32>()) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

fn put_head(
    out: &mut BytesMut,
    holders: &[(OwnerId, Key)],
    redeliveries: u32,
    expiration: i64,
    broker_sequence: i64,
) {
    out.put_u32(redeliveries);
    out.put_i64(expiration);
    out.put_i64(broker_sequence);
    out.put_u32(u32::try_from(holders.len()).unwrap_or(u32::MAX));
    put_holders(out, holders);
}

fn put_holders(out: &mut BytesMut, holders: &[(OwnerId, Key)]) {
    for (owner, key) in holders {
        out.put_u64(owner.0);
        out.put_u64(key.to_bits());
    }
}

pub(super) fn put_part(out: &mut BytesMut, part: &[u8]) {
    out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
    out.put_slice(part);
}

/// A length and as many bytes from the front of `rest`.
pub(super) fn take_part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = rest.try_get_u32()?;
    take(rest, u64::from(length))
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed::Short)?;
    let (part, behind) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
    *rest = behind;
    Ok(part)
}

impl<'a> Record<'a> {
    /// Reads what a record of kind `code` says.
    pub(super) fn parse(code: u8, mut rest: &'a [u8]) -> Result<Self, Malformed> {
        let rest = &mut rest;
        let owner = |rest: &mut &[u8]| rest.try_get_u64().map(OwnerId);
        let key = |rest: &mut &[u8]| rest.try_get_u64().map(Key::from_bits);
        let record = match Kind::from_code(code).ok_or(Malformed::Kind(code))? {
            Kind::Add => return Held::parse(rest).map(Self::Add),
            Kind::Copy => return Held::parse(rest).map(Self::Copy),
            Kind::Remove => {
                let owner = owner(rest)?;
                let keys = Keys(all_of(rest, size_of::<u64>())?);
                Self::Remove(owner, keys)
            }
            Kind::Redelivered => Self::Redelivered(owner(rest)?, key(rest)?, rest.try_get_u32()?),
            Kind::Fired => {
                Self::Fired(owner(rest)?, key(rest)?, rest.try_get_u32()?, rest.try_get_i64()?)
            }
            Kind::Owner => {
                let (id, sequence) = (owner(rest)?, rest.try_get_u64()?);
                Self::Owner { id, sequence, record: owner_record(rest)? }
            }
            Kind::OwnerGone => Self::OwnerGone(owner(rest)?),
            Kind::Prepared => {
                let xid = xid(rest)?;
                let sends = (0..rest.try_get_u32()?)
                    .map(|_| decode_message(Bytes::copy_from_slice(take_part(rest)?)))
                    .collect::<Result<_, _>>()?;
                let held = Held { holders: all_of(rest, HOLDER_BYTES)?, ..Held::NONE };
                Self::Prepared(Branch { xid, sends, acks: held.holders().collect() })
            }
            Kind::Outcome => Self::Outcome(xid(rest)?),
            Kind::Audit => Self::Audit(Audit::parse(rest)?),
            Kind::Counters => Self::Counters(Counters {
                next_owner: rest.try_get_u64()?,
                broker_sequence: rest.try_get_i64()?,
            }),
            Kind::Sequence => Self::Sequence(owner(rest)?, rest.try_get_u64()?),
            Kind::Heard => {
                let connection =
                    Text::from_modified_utf8(take_part(rest)?).ok_or(Malformed::Range)?;
                let producer = (connection, rest.try_get_i64()?, rest.try_get_i64()?);
                Self::Heard(producer, rest.try_get_i64()?)
            }
        };
        match rest.len() {
            0 => Ok(record),
            left => Err(Malformed::Left(left)),
        }
    }
}

impl<'a> Held<'a> {
    const NONE: Self =
        Self { redeliveries: 0, expiration: 0, broker_sequence: 0, holders: &[], message: &[] };

    fn parse(rest: &mut &'a [u8]) -> Result<Self, Malformed> {
        let redeliveries = rest.try_get_u32()?;
        let expiration = rest.try_get_i64()?;
        let broker_sequence = rest.try_get_i64()?;
        let count = rest.try_get_u32()?;
        let holders = take(rest, u64::from(count) * HOLDER_BYTES as u64)?;
        Ok(Self { redeliveries, expiration, broker_sequence, holders, message: rest })
    }
}

/// All that is left, which are whole elements.
fn all_of<'a>(rest: &mut &'a [u8], element: usize) -> Result<&'a [u8], Malformed> {
    match rest.len() % element {
        0 => Ok(std::mem::take(rest)),
        left => Err(Malformed::Left(left)),
    }
}

fn owner_record(rest: &mut &[u8]) -> Result<OwnerRecord, Malformed> {
    let text = |rest: &mut &[u8]| -> Result<String, Malformed> {
        String::from_utf8(take_part(rest)?.to_vec()).map_err(|_| Malformed::Range)
    };
    match rest.try_get_u8()? {
        0 => destination(rest).map(OwnerRecord::Destination),
        1 => Ok(OwnerRecord::Durable {
            client_id: text(rest)?,
            name: text(rest)?,
            info: Box::new(consumer_info(rest)?),
        }),
        2 => Ok(OwnerRecord::Scheduler { id: text(rest)? }),
        _ => Err(Malformed::Range),
    }
}

fn command(bytes: Bytes) -> Result<Command, Malformed> {
    Decoder::new(&format()).decode(bytes)?.ok_or(Malformed::Unexpected("null"))
}

/// Reads a structure of one type.
macro_rules! structure {
    ($($read:ident -> $type:ident;)*) => { $(
        fn $read(rest: &mut &[u8]) -> Result<$type, Malformed> {
            match command(Bytes::copy_from_slice(take_part(rest)?))? {
                Command::$type(it) => Ok(Arc::unwrap_or_clone(it)),
                other => Err(Malformed::Unexpected(other.name())),
            }
        }
    )* };
}

structure! {
    destination -> Destination;
    consumer_info -> ConsumerInfo;
    xid -> XaTransactionId;
}

/// Reads the message of an `Add`. Its content is a slice of the bytes.
pub(super) fn decode_message(bytes: Bytes) -> Result<Arc<Message>, Malformed> {
    let command = command(bytes)?;
    if let Command::Message(message) = command {
        return Ok(message);
    }
    Err(Malformed::Unexpected(command.name()))
}

/// Names the producer of a message in the audit. What came over `n` bridges counts as of a producer of
/// its own, `>n` behind the connection: a message that rightly comes again came by a longer way.
pub(super) fn producer_of(message: &Message) -> Option<(ProducerKey, i64)> {
    let id = message.message_id.as_ref()?;
    let producer = id.producer_id.as_ref()?;
    let connection = producer.connection_id.clone()?;
    let connection = match message.broker_path.as_ref().map_or(0, Vec::len) {
        0 => connection,
        hops => format!("{connection}>{hops}").into(),
    };
    Some(((connection, producer.session_id, producer.value), id.producer_sequence_id))
}

/// Whether a producer is one as whose messages count that came over bridges.
pub(super) fn is_bridged(producer: &ProducerKey) -> bool {
    producer.0.as_bytes().contains(&b'>')
}

/// Connection, session, number.
pub(super) type ProducerKey = (Text, i64, i64);
