//! What a message carries, for consoles and command lines. Nothing on a message's way looks at it, but
//! for a bridge that is to compress.

use std::io::{Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::input::Input;
use super::map::{self, PrimitiveMap, Value};
use super::{Message, MessageClass, Text, WireError};

/// Bytes that a compressed body may inflate to, as in ActiveMQ.
pub const INFLATED_BYTES_MAX: usize = 100 << 20;

/// Why a body cannot be shown. The message itself can still be delivered.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body of a {class:?} message cannot be read: {source}")]
    Malformed { class: MessageClass, source: WireError },
    #[error("the compressed body cannot be inflated: {source}")]
    Inflate { source: std::io::Error },
    #[error("the compressed body ends after {length} of {told} bytes")]
    Short { length: usize, told: usize },
    #[error("the compressed body inflates to more than {limit} bytes")]
    TooLarge { limit: usize },
}

/// A body by the class of its message.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// No body, or no class that has one.
    None,
    Text(Text),
    Bytes(Bytes),
    Map(PrimitiveMap),
    /// A Java serialization stream. It is never looked into.
    Object(Bytes),
    Stream(Vec<Value>),
}

impl Body {
    /// Decodes the body of a message, which may inflate to `inflated_max` bytes
    /// ([`INFLATED_BYTES_MAX`] is what ActiveMQ allows).
    ///
    /// # Errors
    /// When the content is not what the message's class and its `compressed` flag say.
    pub fn of(message: &Message, inflated_max: usize) -> Result<Self, BodyError> {
        let Some(content) = inflated(message, inflated_max)? else { return Ok(Self::None) };
        let class = message.class;
        Self::read(class, content).map_err(|source| BodyError::Malformed { class, source })
    }

    fn read(class: MessageClass, content: Bytes) -> Result<Self, WireError> {
        Ok(match class {
            MessageClass::Plain | MessageClass::Blob => Self::None,
            MessageClass::Bytes => Self::Bytes(content),
            MessageClass::Object => Self::Object(content),
            MessageClass::Text => read_text(&content)?.map_or(Self::None, Self::Text),
            MessageClass::Map => PrimitiveMap::decode(&content)?.map_or(Self::None, Self::Map),
            MessageClass::Stream => Self::Stream(map::decode_values(&content)?),
        })
    }

    /// The class and content of a message with this body, not compressed.
    ///
    /// # Errors
    /// When a part is longer than OpenWire can say.
    pub fn encode(&self) -> Result<(MessageClass, Option<Bytes>), WireError> {
        Ok(match self {
            Self::None => (MessageClass::Plain, None),
            Self::Bytes(bytes) => (MessageClass::Bytes, Some(bytes.clone())),
            Self::Object(bytes) => (MessageClass::Object, Some(bytes.clone())),
            Self::Text(text) => {
                let mut out = BytesMut::with_capacity(4 + text.as_bytes().len());
                map::put_length("a text body", text.as_bytes().len(), &mut out)?;
                out.put_slice(text.as_bytes());
                (MessageClass::Text, Some(out.freeze()))
            }
            Self::Map(map) => (MessageClass::Map, Some(map.encode()?)),
            Self::Stream(values) => (MessageClass::Stream, Some(map::encode_values(values)?)),
        })
    }
}

/// The content of a message as it was before compression.
///
/// # Errors
/// When it is compressed and cannot be inflated, or only to more than `inflated_max` bytes.
pub fn inflated(message: &Message, inflated_max: usize) -> Result<Option<Bytes>, BodyError> {
    let Some(content) = &message.content else { return Ok(None) };
    Ok(Some(match (message.compressed && !content.is_empty(), message.class) {
        (false, _) => content.clone(),
        (true, MessageClass::Bytes) => inflate_told(content, inflated_max)?,
        (true, _) => inflate(content, inflated_max)?,
    }))
}

/// Compresses the content of a message, unless it is compressed or has none. A bytes message says the
/// length in front.
pub fn compress(message: &mut Message) {
    let Some(content) = message.content.as_ref().filter(|_| !message.compressed) else { return };
    let mut out = Vec::with_capacity(content.len() / 2);
    if message.class == MessageClass::Bytes {
        let Ok(length) = i32::try_from(content.len()) else { return };
        out.extend(length.to_be_bytes());
    }
    let mut encoder = ZlibEncoder::new(out, Compression::default());
    // What is written to memory cannot fail; if it did, the message would go as it is.
    if let Ok(compressed) = encoder.write_all(content).and_then(|()| encoder.finish()) {
        message.content = Some(compressed.into());
        message.compressed = true;
    }
}

/// A length of four bytes, -1 for no text, and the text.
fn read_text(content: &[u8]) -> Result<Option<Text>, WireError> {
    let mut input = Input::new(content);
    let text = match usize::try_from(input.i32()?) {
        Ok(length) => Some(input.text(length)?),
        Err(_) => None,
    };
    input.finish()?;
    Ok(text)
}

fn inflate(compressed: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    let most = (limit as u64).saturating_add(1);
    let read = ZlibDecoder::new(compressed).take(most).read_to_end(&mut inflated);
    read.map_err(|source| BodyError::Inflate { source })?;
    if inflated.len() > limit {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(inflated.into())
}

/// Inflates the body of a bytes message, which begins with its length. The stream may have more than
/// that, because Java compresses its whole buffer.
fn inflate_told(content: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let malformed = |source| BodyError::Malformed { class: MessageClass::Bytes, source };
    let mut input = Input::new(content);
    let told = input.int_length().map_err(malformed)?;
    if told > limit {
        return Err(BodyError::TooLarge { limit });
    }
    let compressed = input.take(input.remaining()).map_err(malformed)?;
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(compressed).take(told as u64).read_to_end(&mut inflated);
    read.map_err(|source| BodyError::Inflate { source })?;
    if inflated.len() < told {
        return Err(BodyError::Short { length: inflated.len(), told });
    }
    Ok(inflated.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn message(class: MessageClass, compressed: bool, content: Vec<u8>) -> Message {
        Message { class, compressed, content: Some(content.into()), ..Message::default() }
    }

    #[test]
    fn every_body_survives_its_encoding() {
        let bodies = [
            Body::None,
            Body::Text("héllo 😀".into()),
            Body::Bytes(Bytes::from_static(b"\x00\xFF")),
            Body::Map([("a", 1), ("b", 2)].into_iter().collect()),
            Body::Object(Bytes::from_static(b"\xAC\xED\x00\x05")),
            Body::Stream(vec![1i32.into(), "two".into(), Value::Null]),
        ];
        for body in bodies {
            let (class, content) = body.encode().unwrap();
            let message = Message { class, content, ..Message::default() };
            assert_eq!(Body::of(&message, 0).unwrap(), body);
        }
    }

    #[test]
    fn what_is_compressed_is_read_as_before_and_not_compressed_again() {
        let text = Body::Text("again ".repeat(100).as_str().into());
        let bytes = Body::Bytes(Bytes::from(vec![7; 1000]));
        for body in [text, bytes] {
            let (class, content) = body.encode().unwrap();
            let mut message = Message { class, content, ..Message::default() };
            compress(&mut message);
            let once = message.content.clone().unwrap();
            assert!(message.compressed && once.len() < 100, "{} bytes", once.len());
            assert_eq!(Body::of(&message, 1000).unwrap(), body);
            compress(&mut message);
            assert_eq!(message.content, Some(once));
        }
        let mut plain = Message::default();
        compress(&mut plain);
        assert!(!plain.compressed);
    }

    #[test]
    fn a_bytes_body_may_inflate_to_more_than_it_says() {
        let mut content = vec![0, 0, 0, 3];
        content.extend(zlib(b"abc\0\0\0\0"));
        let message = message(MessageClass::Bytes, true, content);
        assert_eq!(Body::of(&message, 3).unwrap(), Body::Bytes(Bytes::from_static(b"abc")));
        assert!(matches!(Body::of(&message, 2), Err(BodyError::TooLarge { limit: 2 })));
    }

    #[test]
    fn a_body_that_inflates_without_end_is_stopped_at_the_limit() {
        let bomb = message(MessageClass::Stream, true, zlib(&vec![0; 1 << 20]));
        assert!(matches!(Body::of(&bomb, 1000), Err(BodyError::TooLarge { limit: 1000 })));
        assert_eq!(Body::of(&bomb, 1 << 20).unwrap(), Body::Stream(vec![Value::Null; 1 << 20]));
    }

    #[test]
    fn what_is_not_compressed_or_too_short_is_an_error() {
        let not_zlib = message(MessageClass::Text, true, b"plain text".to_vec());
        assert!(matches!(Body::of(&not_zlib, 100), Err(BodyError::Inflate { .. })));
        let mut content = vec![0, 0, 0, 9];
        content.extend(zlib(b"abc"));
        let short = message(MessageClass::Bytes, true, content);
        assert!(matches!(Body::of(&short, 100), Err(BodyError::Short { length: 3, told: 9 })));
        let trailing = message(MessageClass::Text, false, vec![0, 0, 0, 0, 1]);
        assert!(matches!(Body::of(&trailing, 100), Err(BodyError::Malformed { .. })));
    }
}
