//! What a sealed segment adds and removes, so that recovery need not read the segment.
//!
//! A footer is a cache: one that is absent, damaged or of another segment is made again.

use bytes::{Buf, BufMut, BytesMut};

use super::batch::{BatchView, Spot};
use super::place::{Key, Location, OwnerId};
use super::record::{Counters, Kind, Malformed, Record};
use super::recovered::Stored;
use super::recovery::Sealed;
use super::replay::{Change, Event, Place, Replay, events_of};
use super::segment::Seal;

const MAGIC: u64 = u64::from_be_bytes(*b"OWINDEX1");
const HEAD: usize = 64;
const CHECK_AT: usize = 60;
const EVENT_BYTES: usize = 32;

/// Codes of changes.
const PUT: u32 = 1;
const REMOVE: u32 = 2;
const REDELIVERED: u32 = 3;
const FIRED: u32 = 4;

/// Makes the footer of a segment from its batches.
///
/// ```text
///  0  magic     "OWINDEX1"
///  8  seal      of the segment: epoch u64, number u32, end u32, chain u64, sequence u64
/// 40  highest broker sequence u64
/// 48  owners    u32   sections of owners
/// 52  states    u32   records of other kinds, but for the audit
/// 56  0         u32
/// 60  check     u32   CRC-32 over salt, number, end, and all of it but these four bytes
/// 64  sections: owner u64, n u32, 0 u32, then n changes of its messages, in their order:
///        0  key u64, 8 offset u32, 12 bytes u32, 16 expiration u64, 24 redeliveries u32,
///       28  what u32: 1 lies there, 2 is removed, 3 was redelivered, 4 was fired
///     states: kind u32, bytes u32 that the record has, part with what it says
/// ```
#[derive(Debug, Default)]
pub(super) struct Builder {
    events: Vec<Event>,
    states: BytesMut,
    state_count: u32,
    broker_sequence: i64,
    /// A record is not understood.
    strange: bool,
}

impl Builder {
    /// Takes the next batch of segment `number`.
    pub(super) fn take(&mut self, number: u32, batch: BatchView<'_>) {
        for view in batch.records() {
            let Ok(record) = Record::parse(view.kind, view.body) else {
                self.strange = true;
                continue;
            };
            let length = view.bytes.len();
            events_of(&record, number, view.offset, length, |event| self.events.push(event));
            match &record {
                Record::Add(held) | Record::Copy(held) => {
                    self.broker_sequence = self.broker_sequence.max(held.broker_sequence);
                }
                Record::Remove(..)
                | Record::Redelivered(..)
                | Record::Fired(..)
                | Record::Audit(_)
                | Record::Heard(..) => {}
                Record::Owner { .. }
                | Record::OwnerGone(_)
                | Record::Prepared(_)
                | Record::Outcome(_)
                | Record::Counters(_)
                | Record::Sequence(..) => {
                    self.states.put_u32(u32::from(view.kind));
                    self.states.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
                    super::record::put_part(&mut self.states, view.body);
                    self.state_count += 1;
                }
            }
        }
    }

    /// The footer, once all batches of a whole segment were taken; `None` where one can say too little.
    pub(super) fn finish(self, sealed: &Sealed) -> Option<BytesMut> {
        let Self { mut events, states, state_count, broker_sequence, strange } = self;
        if strange {
            return None;
        }
        // Stable: the changes of an owner stay in their order.
        events.sort_by_key(|event| event.owner);
        let mut out = BytesMut::with_capacity(HEAD + events.len() * EVENT_BYTES + states.len());
        out.put_u64(MAGIC);
        sealed.end.put(&mut out);
        out.put_i64(broker_sequence);
        let sections = events.chunk_by(|a, b| a.owner == b.owner);
        out.put_u32(u32::try_from(sections.clone().count()).ok()?);
        out.put_u32(state_count);
        out.put_u64(0);
        for section in sections {
            put_section(&mut out, section)?;
        }
        out.put_slice(&states);
        let check = check_of(&out, sealed.salt, &sealed.end)?;
        out.get_mut(CHECK_AT..HEAD)?.copy_from_slice(&check.to_be_bytes());
        Some(out)
    }
}

fn put_section(out: &mut BytesMut, section: &[Event]) -> Option<()> {
    out.put_u64(section.first()?.owner.0);
    out.put_u32(u32::try_from(section.len()).ok()?);
    out.put_u32(0);
    for event in section {
        let nothing = Stored { at: Location::NONE, redeliveries: 0, expiration: 0 };
        let (what, stored) = match event.change {
            Change::Put(stored) => (PUT, stored),
            Change::Remove => (REMOVE, nothing),
            Change::Redelivered(redeliveries) => (REDELIVERED, Stored { redeliveries, ..nothing }),
            Change::Fired(redeliveries, expiration) => {
                (FIRED, Stored { redeliveries, expiration, ..nothing })
            }
        };
        out.put_u64(event.key.to_bits());
        out.put_u32(stored.at.offset);
        out.put_u32(stored.at.bytes);
        out.put_i64(stored.expiration);
        out.put_u32(stored.redeliveries);
        out.put_u32(what);
    }
    Some(())
}

fn check_of(bytes: &[u8], salt: u64, seal: &Seal) -> Option<u32> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let spot = Spot { salt, segment: seal.segment, offset: seal.end };
    Some(spot.checksum([head.get(..CHECK_AT)?, rest]))
}

/// The seal of the segment that a footer is of, if the footer is whole.
pub(super) fn seal(bytes: &[u8], salt: u64) -> Option<Seal> {
    let mut rest = bytes;
    (rest.try_get_u64().ok()? == MAGIC).then_some(())?;
    let seal = Seal::take(&mut rest)?;
    let check = bytes.get(CHECK_AT..HEAD)?.first_chunk()?;
    (check_of(bytes, salt, &seal)? == u32::from_be_bytes(*check)).then_some(seal)
}

/// Replays a footer, if it is that of the segment which ends so.
pub(super) fn replay(
    bytes: &[u8],
    salt: u64,
    seal: &Seal,
    trusted: bool,
    replay: &mut Replay,
) -> Result<bool, Malformed> {
    let mut rest = bytes;
    let check = bytes.get(CHECK_AT..HEAD).and_then(|check| check.first_chunk());
    let (Some(check), Some(expected)) = (check, check_of(bytes, salt, seal)) else {
        return Ok(false);
    };
    let right = u32::from_be_bytes(*check) == expected
        && rest.try_get_u64()? == MAGIC
        && Seal::take(&mut rest).as_ref() == Some(seal);
    if !right && !trusted {
        return Ok(false);
    }
    let broker_sequence = rest.try_get_i64()?;
    let (owners, states) = (rest.try_get_u32()?, rest.try_get_u32()?);
    rest.try_get_u64()?;
    let counters = Counters { next_owner: 0, broker_sequence };
    let nowhere = Place { segment: seal.segment, bytes: 0 };
    replay.state(Record::Counters(counters), nowhere);
    for _ in 0..owners {
        let owner = OwnerId(rest.try_get_u64()?);
        let count = usize::try_from(rest.try_get_u32()?).map_err(|_| Malformed::Short)?;
        rest.try_get_u32()?;
        let length = count.checked_mul(EVENT_BYTES).ok_or(Malformed::Short)?;
        let (events, behind) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
        rest = behind;
        let (events, _) = events.as_chunks::<EVENT_BYTES>();
        replay.events(seal.segment, owner, events.iter().map(|event| take_event(event, seal)));
    }
    for _ in 0..states {
        let kind = u8::try_from(rest.try_get_u32()?).map_err(|_| Malformed::Range)?;
        let place = Place { segment: seal.segment, bytes: rest.try_get_u32()? };
        let body = super::record::take_part(&mut rest)?;
        debug_assert_ne!(kind, Kind::Audit as u8, "the audit is read from the last segment");
        replay.state(Record::parse(kind, body)?, place);
    }
    Ok(true)
}

fn take_event(event: &[u8; EVENT_BYTES], seal: &Seal) -> (Key, Change) {
    let [k0, k1, k2, k3, k4, k5, k6, k7, o0, o1, o2, o3, b0, b1, b2, b3, rest @ ..] = *event;
    let [e0, e1, e2, e3, e4, e5, e6, e7, r0, r1, r2, r3, w0, w1, w2, w3] = rest;
    let key = Key::from_bits(u64::from_be_bytes([k0, k1, k2, k3, k4, k5, k6, k7]));
    let redeliveries = u32::from_be_bytes([r0, r1, r2, r3]);
    let expiration = i64::from_be_bytes([e0, e1, e2, e3, e4, e5, e6, e7]);
    let change = match u32::from_be_bytes([w0, w1, w2, w3]) {
        PUT => Change::Put(Stored {
            at: Location {
                segment: seal.segment,
                offset: u32::from_be_bytes([o0, o1, o2, o3]),
                bytes: u32::from_be_bytes([b0, b1, b2, b3]),
            },
            redeliveries,
            expiration,
        }),
        REDELIVERED => Change::Redelivered(redeliveries),
        FIRED => Change::Fired(redeliveries, expiration),
        _ => Change::Remove,
    };
    (key, change)
}
