//! Whatever a command holds, it survives its frame, in both encodings, with the cache and without.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use openwired::openwire::{Command, Decoder, Encoder, WireFormat};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "support/dice.rs"]
mod dice;

/// The formats that can be agreed on.
fn formats() -> impl Strategy<Value = WireFormat> {
    let slots =
        prop_oneof![Just(None), prop_oneof![Just(1), Just(100), 101usize..200].prop_map(Some)];
    (1u8..=12, any::<bool>(), slots, any::<bool>()).prop_map(|(version, tight, slots, traces)| {
        WireFormat {
            version,
            tight,
            cache_slots: slots,
            stack_trace: traces,
            max_frame_size: 0,
            ..WireFormat::HANDSHAKE
        }
    })
}

fn throws() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..800)
}

fn encoded(encoder: &mut Encoder, command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    encoder.encode(command, &mut out).unwrap();
    out.freeze()
}

/// Versions 1 and 10 change messages of exceptions on their way.
fn changes_messages(version: u8) -> bool {
    matches!(version, 1 | 10)
}

proptest! {
    #[test]
    fn a_command_survives_its_frame(format in formats(), throws in throws()) {
        let command = dice::arbitrary(&format, &throws);
        let frame = encoded(&mut Encoder::new(&format), &command);
        let read = Decoder::new(&format).decode(frame.slice(4..)).unwrap().unwrap();
        if !changes_messages(format.version) {
            prop_assert_eq!(&read, &command);
        }
        prop_assert_eq!(encoded(&mut Encoder::new(&format), &read), frame);
    }

    #[test]
    fn both_encodings_say_the_same(format in formats(), throws in throws()) {
        let command = dice::arbitrary(&format, &throws);
        let [tight, loose] = [true, false].map(|tight| {
            let format = WireFormat { tight, ..format.clone() };
            let frame = encoded(&mut Encoder::new(&format), &command);
            Decoder::new(&format).decode(frame.slice(4..)).unwrap()
        });
        prop_assert_eq!(tight, loose);
    }

    #[test]
    fn a_connection_stays_in_step(
        format in formats(),
        commands in vec((vec(any::<u8>(), 1..80), any::<prop::sample::Index>()), 1..60),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(&format), Decoder::new(&format));
        for (_, again) in &commands {
            // A command that comes again has values that the cache knows.
            let command = dice::arbitrary(&format, &commands[again.index(commands.len())].0);
            let frame = encoded(&mut encoder, &command);
            let read = decoder.decode(frame.slice(4..)).unwrap().unwrap();
            if !changes_messages(format.version) {
                prop_assert_eq!(read, command);
            }
        }
    }

    #[test]
    fn frames_without_size_are_found_in_any_pieces(
        format in formats(),
        commands in vec(vec(any::<u8>(), 1..80), 1..20),
        pieces in vec(1usize..50, 1..20),
    ) {
        let format = WireFormat { size_prefix_disabled: true, ..format };
        let (mut encoder, mut decoder) = (Encoder::new(&format), Decoder::new(&format));
        let commands: Vec<_> =
            commands.iter().map(|throws| dice::arbitrary(&format, throws)).collect();
        let mut sent = BytesMut::new();
        for command in &commands {
            encoder.encode(command, &mut sent).unwrap();
        }
        let (mut arrived, mut sent) = (BytesMut::new(), sent.freeze());
        let mut read = Vec::new();
        for piece in pieces.iter().cycle() {
            arrived.extend_from_slice(&sent.split_to((*piece).min(sent.len())));
            let mut buffered = Bytes::copy_from_slice(&arrived);
            while let Some((command, used)) = decoder.decode_prefix(&buffered).unwrap() {
                read.push(command.unwrap());
                buffered = buffered.slice(used..);
            }
            arrived = BytesMut::from(&buffered[..]);
            if sent.is_empty() {
                break;
            }
        }
        prop_assert!(arrived.is_empty());
        prop_assert_eq!(read.len(), commands.len());
        if !changes_messages(format.version) {
            prop_assert_eq!(read, commands);
        }
    }
}
