//! Frames of the Java library, in every version and encoding: each decodes to the values that Java
//! saw, and encodes to the same bytes again.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use openwired::openwire::{Decoder, Encoder};
use serde_json::{Value, json};

#[path = "support/vectors.rs"]
mod vectors;

use vectors::{format_of, hex, lines, to_hex, told};

/// Decodes a line's frame, compares the fields, encodes them again and compares the bytes.
fn check(line: &Value, decoder: &mut Decoder, encoder: &mut Encoder) {
    let at = format!("{} {} in version {}", line["name"], line["seq"], line["version"]);
    let format = format_of(line);
    let frame = Bytes::from(hex(&line["frame"]));
    let command = if format.size_prefix_disabled {
        let (command, used) = decoder.decode_prefix(&frame).unwrap().unwrap();
        assert_eq!(used, frame.len(), "{at}");
        command
    } else {
        let size = u32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(size as usize, frame.len() - 4, "{at}");
        decoder.decode(frame.slice(4..)).unwrap_or_else(|error| panic!("{at}: {error}"))
    };
    let mut out = BytesMut::new();
    match &command {
        Some(command) => {
            assert_eq!(told(command, &format), line["fields"], "{at}");
            encoder.encode(command, &mut out).unwrap_or_else(|error| panic!("{at}: {error}"));
        }
        None => {
            assert_eq!(Value::Null, line["fields"], "{at}");
            encoder.encode_null(&mut out);
        }
    }
    assert_eq!(to_hex(&out), line["frame"], "{at}");
}

fn check_alone(line: &Value) {
    let format = format_of(line);
    check(line, &mut Decoder::new(&format), &mut Encoder::new(&format));
}

#[test]
fn every_structure_of_every_version_is_read_and_written_as_java_does() {
    for version in 1..=12u8 {
        let mut seen = HashSet::new();
        for line in lines(&format!("v{version}")) {
            assert_eq!(line["version"], json!(version));
            check_alone(&line);
            let frame = hex(&line["frame"]);
            seen.insert((line["tight"].as_bool().unwrap(), frame[4]));
        }
        for code in vectors::codes(version) {
            let both = [true, false].map(|tight| seen.contains(&(tight, code)));
            assert_eq!(both, [true, true], "type {code} in version {version}");
        }
    }
}

#[test]
fn limits_long_strings_and_frames_without_size_are_as_in_java() {
    lines("special").iter().for_each(check_alone);
}

#[test]
fn sequences_go_through_the_value_cache_as_in_java() {
    let mut codecs = None;
    for line in lines("cache") {
        if line["seq"] == json!(0) {
            let format = format_of(&line);
            codecs = Some((Decoder::new(&format), Encoder::new(&format)));
        }
        let (decoder, encoder) = codecs.as_mut().unwrap();
        check(&line, decoder, encoder);
    }
}
