//! Bytes from outside: broken frames are refused, none panics, and memory follows the bytes that
//! came, not the sizes they claim.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::alloc::System;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use openwired::openwire::codec::NESTING_MAX;
use openwired::openwire::{
    Command, DataResponse, Decoder, Encoder, Message, PrimitiveMap, WireError, WireFormat, map,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "support/vectors.rs"]
mod vectors;

use vectors::{format_of, hex, lines};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process, so one test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

/// What reading a frame may allocate in all, freed again or not. An element of an array is a bit on
/// the wire and up to some hundred bytes in memory.
fn allowed(frame: usize) -> usize {
    (80 << 10) + 400 * frame
}

/// Reads a payload, and fails when that took more memory than its bytes can explain.
fn read(format: &WireFormat, payload: Bytes) -> Result<Option<Command>, WireError> {
    let mut decoder = Decoder::new(format);
    let length = payload.len();
    let region = Region::new(ALLOCATOR);
    let read = decoder.decode(payload);
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= allowed(length), "{length} bytes made it allocate {allocated}");
    read
}

fn one_at_a_time() -> impl Drop {
    MEASURING.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn broken_frames_are_refused_and_borderline_ones_are_not() {
    let _guard = one_at_a_time();
    for line in lines("malformed") {
        let frame = Bytes::from(hex(&line["frame"]));
        let outcome = read(&format_of(&line), frame.slice(4..));
        let name = format!("{} (tight {})", line["name"], line["tight"]);
        match line["expect"].as_str().unwrap() {
            "reject" => assert!(outcome.is_err(), "{name} was taken for {outcome:?}"),
            "accept" => assert!(outcome.is_ok(), "{name}: {outcome:?}"),
            "lenient" => {}
            other => panic!("{name} expects {other}"),
        }
    }
}

/// Golden frames of moderate length, with their formats.
fn golden(names: &[&str]) -> Vec<(WireFormat, Bytes)> {
    let lines = names.iter().flat_map(|name| lines(name));
    let frames = lines.filter(|line| line["cache"] == json!(false));
    let with_prefix = frames.filter(|line| line["sizePrefix"] != json!(false));
    let read = |line: Value| (format_of(&line), Bytes::from(hex(&line["frame"])).slice(4..));
    with_prefix.map(read).filter(|(_, payload)| payload.len() < 2000).collect()
}

#[test]
fn a_frame_cut_at_any_byte_is_refused() {
    let _guard = one_at_a_time();
    for (format, payload) in golden(&["v1", "v6", "v12"]) {
        for cut in 0..payload.len() {
            let outcome = read(&format, payload.slice(..cut));
            assert!(outcome.is_err(), "cut at byte {cut} of {payload:x?}: {outcome:?}");
        }
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    let _guard = one_at_a_time();
    for (format, payload) in golden(&["v3", "v11"]) {
        let longer = Bytes::from([&payload[..], &[0]].concat());
        assert_eq!(read(&format, longer), Err(WireError::TrailingBytes { extra: 1 }));
    }
}

#[test]
fn structures_nest_as_deep_as_the_limit_and_no_deeper() {
    let _guard = one_at_a_time();
    for tight in [true, false] {
        let format = WireFormat { version: 12, tight, max_frame_size: 0, ..WireFormat::HANDSHAKE };
        let nested = |levels| {
            let innermost = Command::from(DataResponse::default());
            (0..levels).fold(innermost, |inner, level| match level % 2 {
                0 => Message { data_structure: Some(inner), ..Message::default() }.into(),
                _ => DataResponse { data: Some(inner), ..DataResponse::default() }.into(),
            })
        };
        let payload = |command: &Command| {
            let mut out = BytesMut::new();
            Encoder::new(&format).encode(command, &mut out).unwrap();
            out.freeze().slice(4..)
        };
        let deepest = nested(NESTING_MAX);
        assert_eq!(read(&format, payload(&deepest)), Ok(Some(deepest)));
        let deeper = payload(&nested(NESTING_MAX + 1));
        assert_eq!(read(&format, deeper), Err(WireError::TooDeep { limit: NESTING_MAX }));
        let abyss = [payload(&nested(60)).to_vec(), vec![1; 100_000]].concat();
        assert_eq!(read(&format, abyss.into()), Err(WireError::TooDeep { limit: NESTING_MAX }));
    }
}

#[test]
fn arrays_of_nothing_take_no_more_memory_than_a_frame_may() {
    let _guard = one_at_a_time();
    let format = WireFormat { version: 12, tight: true, ..WireFormat::STORE };
    // Type 92, 4 KiB of flags of which the array has all but the first four, and 32000 subscriptions.
    let mut payload = vec![92, 0x80, 0x10, 0];
    let mut flags = vec![0; 4096];
    flags[0] = 0b1000;
    payload.extend(flags);
    payload.extend([0, 0, 0, 1, 0x7D, 0]);
    let error = read(&format, payload.into()).unwrap_err();
    assert!(matches!(error, WireError::Inflates { .. }), "{error}");
}

#[test]
fn a_far_slot_of_the_cache_costs_a_page_not_the_whole_table() {
    let _guard = one_at_a_time();
    let format = WireFormat { version: 12, cache_slots: Some(16383), ..WireFormat::HANDSHAKE };
    // SessionInfo, command 1, no response; a new value in slot 16382, which is absent.
    let payload = [4, 0, 0, 0, 1, 0, 1, 0x3F, 0xFE, 0];
    let region = Region::new(ALLOCATOR);
    assert!(Decoder::new(&format).decode(Bytes::copy_from_slice(&payload)).is_ok());
    let allocated = region.change().bytes_allocated;
    assert!(allocated < 16 << 10, "{allocated} bytes for one slot");
}

#[test]
fn maps_allocate_for_what_came_not_for_what_was_claimed() {
    let _guard = one_at_a_time();
    let claims: [&[u8]; 4] = [
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0, 0, 0, 1, 0, 1, b'k', 10, 0x7F, 0xFF, 0xFF, 0xFF],
        &[0, 0, 0, 1, 0, 1, b'k', 12, 0x7F, 0xFF, 0xFF, 0xFF],
        &[0, 0, 0, 1, 0, 1, b'k', 13, 0x7F, 0xFF, 0xFF, 0xFF],
    ];
    for claim in claims {
        let region = Region::new(ALLOCATOR);
        assert!(PrimitiveMap::decode(claim).is_err() && map::get(claim, "k").is_err());
        let allocated = region.change().bytes_allocated;
        assert!(allocated < 4096, "{claim:x?} made it allocate {allocated}");
    }
}

fn formats() -> impl Strategy<Value = WireFormat> {
    let slots = prop_oneof![Just(None), Just(Some(1024)), Just(Some(16383))];
    (1u8..=12, any::<bool>(), slots, any::<bool>()).prop_map(|(version, tight, slots, traces)| {
        WireFormat {
            version,
            tight,
            cache_slots: slots,
            stack_trace: traces,
            ..WireFormat::HANDSHAKE
        }
    })
}

/// What was read is a command like any other: it can be written, and read back.
fn check_readable(format: &WireFormat, command: &Command) {
    let mut out = BytesMut::new();
    let format = WireFormat { max_frame_size: 0, ..format.clone() };
    match Encoder::new(&format).encode(command, &mut out) {
        Ok(()) => {
            let again = Decoder::new(&format).decode(out.freeze().slice(4..)).unwrap();
            let message_changed = matches!(format.version, 1 | 10);
            assert!(message_changed || again.as_ref() == Some(command), "{command:?} {again:?}");
        }
        // A loose string may be longer than a tight one can be, or than its Latin-1 spelling was.
        Err(WireError::TooLong { .. }) => {}
        Err(error) => panic!("{command:?}: {error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(format in formats(), bytes in vec(any::<u8>(), 0..400)) {
        let _guard = one_at_a_time();
        if let Ok(Some(command)) = read(&format, bytes.into()) {
            check_readable(&format, &command);
        }
    }

    #[test]
    fn golden_frames_with_wrong_bytes_never_panic(
        chosen in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
        cache in any::<bool>(),
    ) {
        use std::sync::LazyLock;
        static FRAMES: LazyLock<Vec<(WireFormat, Bytes)>> =
            LazyLock::new(|| golden(&["v1", "v9", "v10", "v12"]));
        let _guard = one_at_a_time();
        let (format, payload) = chosen.get(&FRAMES);
        let mut bytes = payload.to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                _ => drop(bytes.split_off(at.max(1))),
            }
        }
        let format = WireFormat { cache_slots: cache.then_some(1024), ..format.clone() };
        if let Ok(Some(command)) = read(&format, bytes.into()) {
            check_readable(&format, &command);
        }
    }
}
