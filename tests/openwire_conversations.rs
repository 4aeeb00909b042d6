//! Conversations of real clients and brokers, recorded by a proxy: the settings follow from the two
//! first frames, and from there on every frame is understood and written again byte for byte.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use openwired::openwire::{Command, Decoder, Encoder, Offer, WireFormat, negotiate};
use serde_json::Value;

#[path = "support/vectors.rs"]
mod vectors;

use vectors::{conversations, hex, lines, to_hex, told};

/// Both directions of one connection.
#[derive(Default)]
struct Connection {
    offers: HashMap<String, Offer>,
    codecs: HashMap<String, (Decoder, Encoder)>,
}

impl Connection {
    /// The settings of a direction's next frame, and its codecs.
    fn codec(&mut self, direction: &str) -> (WireFormat, &mut (Decoder, Encoder)) {
        let offers: Vec<_> = self.offers.values().collect();
        let format = match (self.offers.contains_key(direction), &offers[..]) {
            (false, _) => {
                self.codecs.remove(direction);
                WireFormat::HANDSHAKE
            }
            (true, [one, other]) => negotiate(one, other),
            _ => panic!("a second frame {direction} before the peer's first"),
        };
        let new = || (Decoder::new(&format), Encoder::new(&format));
        let codec = self.codecs.entry(direction.to_owned()).or_insert_with(new);
        (format, codec)
    }
}

fn replay(name: &str) -> usize {
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut frames = 0;
    for line in lines(name).iter().filter(|line| line.get("meta").is_none()) {
        let at = format!("{name} at {} us: {}", line["t"], line["command"]);
        let direction = line["direction"].as_str().unwrap();
        let number = line["connection"].as_u64().unwrap_or_default();
        let connection = connections.entry(number).or_default();
        let (format, (decoder, encoder)) = connection.codec(direction);
        let frame = Bytes::from(hex(&line["frame"]));
        let payload = if format.size_prefix_disabled { frame } else { frame.slice(4..) };
        let command = decoder.decode(payload).unwrap_or_else(|error| panic!("{at}: {error}"));
        let command = command.unwrap();

        let mut fields = told(&command, &format);
        let mut recorded = line["fields"].clone();
        assert_eq!(fields["@type"], line["command"], "{at}");
        forget_throwables(&mut fields);
        forget_throwables(&mut recorded);
        assert_eq!(fields, recorded, "{at}");

        let mut out = BytesMut::new();
        encoder.encode(&command, &mut out).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!(to_hex(&out), line["frame"], "{at}");

        if let Command::WireFormatInfo(info) = &command {
            let offer = Offer::from_info(info, 1).unwrap();
            connection.offers.insert(direction.to_owned(), offer);
            connection.codecs.remove(direction);
        }
        frames += 1;
    }
    frames
}

/// The recording has what Java made of an exception, so only its presence is compared.
fn forget_throwables(value: &mut Value) {
    match value {
        Value::Object(object) if object.contains_key("@type") => {
            object.values_mut().for_each(forget_throwables);
        }
        Value::Object(_) => *value = Value::from("throwable"),
        Value::Array(values) => values.iter_mut().for_each(forget_throwables),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn recorded_conversations_replay() {
    let names = conversations();
    assert_eq!(names.len(), 22, "{names:?}");
    for name in names {
        assert!(replay(&name) > 3, "{name} is too short to be a conversation");
    }
}
