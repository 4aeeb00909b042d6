//! Messages by their content: what a program wants to say, and what it can read of a message.

use bytes::{BufMut, Bytes, BytesMut};

use crate::openwire::{Message, MessageClass, PrimitiveMap, Text, Value, WireError, body};

/// A text message; id, destination and time are given by the producer.
pub fn text(body: &str) -> Message {
    let encoded = Text::from(body);
    let bytes = encoded.as_bytes();
    let mut content = BytesMut::with_capacity(4 + bytes.len());
    // A body beyond 2 GiB does not fit a frame either, which the encoder says.
    content.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    content.put_slice(bytes);
    let content = Some(content.freeze());
    Message {
        class: MessageClass::Text,
        content,
        persistent: true,
        priority: 4,
        ..Message::default()
    }
}

/// A bytes message.
pub fn bytes(body: Bytes) -> Message {
    let content = (!body.is_empty()).then_some(body);
    Message {
        class: MessageClass::Bytes,
        content,
        persistent: true,
        priority: 4,
        ..Message::default()
    }
}

/// The body of a text message, if the message is one and its body can be read.
pub fn text_of(message: &Message) -> Option<String> {
    if message.class != MessageClass::Text {
        return None;
    }
    let content = body_of(message)?;
    let (length, text) = content.split_first_chunk::<4>()?;
    let text = text.get(..usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
    Some(Text::from_modified_utf8(text)?.to_str().into_owned())
}

/// The content as it was before compression, if it can be read.
pub fn body_of(message: &Message) -> Option<Bytes> {
    body::inflated(message, body::INFLATED_BYTES_MAX).ok().flatten()
}

/// Adds properties; they replace what the message had.
pub fn with_properties(
    mut message: Message,
    properties: &PrimitiveMap,
) -> Result<Message, WireError> {
    message.marshalled_properties = Some(properties.encode()?);
    Ok(message)
}

/// Looks up one property of a message; `None` also when its properties cannot be read.
pub fn property(message: &Message, name: &str) -> Option<Value> {
    let properties = message.marshalled_properties.as_ref()?;
    crate::openwire::map::get(properties, name).ok()?
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        deflated.write_all(plain).unwrap();
        deflated.finish().unwrap()
    }

    #[test]
    fn a_text_comes_back_as_it_was_said() {
        for said in ["", "plain", "nul\0 é 😀"] {
            assert_eq!(text_of(&text(said)).as_deref(), Some(said));
        }
        assert_eq!(text_of(&bytes(Bytes::from_static(b"x"))), None);
    }

    #[test]
    fn compressed_bodies_are_inflated() {
        let mut message = text("said");
        message.content = message.content.map(|plain| deflate(&plain).into());
        message.compressed = true;
        assert_eq!(text_of(&message).as_deref(), Some("said"));
        let mut content = vec![0, 0, 0, 3];
        content.extend(deflate(b"abc\0\0\0"));
        let message = Message { compressed: true, ..bytes(content.into()) };
        assert_eq!(body_of(&message).as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn nonsense_in_a_body_is_no_text() {
        for content in [&b""[..], b"\0\0\0\x09abc", b"\xff\xff\xff\xff", b"\0\0\0\x01\xff"] {
            let message = Message { content: Some(Bytes::copy_from_slice(content)), ..text("") };
            assert_eq!(text_of(&message), None, "{content:?}");
            assert_eq!(text_of(&Message { compressed: true, ..message }), None);
        }
    }

    #[test]
    fn properties_are_found_by_name() {
        let mut properties = PrimitiveMap::new();
        properties.insert("n", 7_i64);
        let message = with_properties(text("x"), &properties).unwrap();
        assert_eq!(property(&message, "n"), Some(Value::Long(7)));
        assert_eq!(property(&message, "m"), None);
    }
}
