//! Arbitrary bytes as frames.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use openwired::openwire::body::Body;
use openwired::openwire::{Command, Decoder, Encoder, Offer, WireError, WireFormat};

/// Settings from two bytes: the low half of the first is the version, the rest are flags.
fn format(first: u8, second: u8) -> WireFormat {
    let slots = [None, Some(100), Some(1024), Some(16383)];
    WireFormat {
        version: (first & 0x0F) % 12 + 1,
        tight: first & 0x10 != 0,
        stack_trace: first & 0x20 != 0,
        size_prefix_disabled: first & 0x40 != 0,
        cache_slots: slots[usize::from(second % 4)],
        max_frame_size: 0,
        ..WireFormat::HANDSHAKE
    }
}

/// What was read can be written, and reads the same.
fn check(format: &WireFormat, command: &Command) {
    let format = WireFormat { size_prefix_disabled: false, ..format.clone() };
    let mut out = BytesMut::new();
    match Encoder::new(&format).encode(command, &mut out) {
        Ok(()) => {
            let again = Decoder::new(&format).decode(out.freeze().slice(4..)).unwrap();
            // Versions 1 and 10 change messages of exceptions.
            assert!(matches!(format.version, 1 | 10) || again.as_ref() == Some(command));
        }
        Err(WireError::TooLong { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    if let Command::WireFormatInfo(info) = command {
        drop(Offer::from_info(info, 1));
    }
    if let Command::Message(message) = command {
        drop(Body::of(message, 1 << 20));
    }
}

fuzz_target!(|data: &[u8]| {
    let [first, second, payload @ ..] = data else { return };
    let format = format(*first, *second);
    let mut decoder = Decoder::new(&format);
    let mut payload = Bytes::copy_from_slice(payload);
    if !format.size_prefix_disabled {
        if let Ok(Some(command)) = decoder.decode(payload) {
            check(&format, &command);
        }
        return;
    }
    while let Ok(Some((command, used))) = decoder.decode_prefix(&payload) {
        if let Some(command) = command {
            check(&format, &command);
        }
        payload = payload.slice(used..);
    }
});
