//! A string as OpenWire spells it: Java's modified UTF-8, kept in that form.
//!
//! Keeping the encoded bytes makes decoding and encoding a copy, keeps lone surrogates (which are
//! legal on the wire and in no Rust `str`) and leaves equality and hashing plain byte comparisons,
//! because a text has exactly one modified UTF-8 form.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A shared, immutable string of UTF-16 code units in modified UTF-8.
///
/// **Invariant:** the bytes are well-formed modified UTF-8: U+0001..U+007F take one byte, U+0000
/// and U+0080..U+07FF two, every other code unit three, surrogates included (CESU-8 with `C0 80`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// Takes bytes from outside; `None` when they are not well-formed modified UTF-8.
    pub fn from_modified_utf8(bytes: &[u8]) -> Option<Self> {
        is_modified_utf8(bytes).then(|| Self(Arc::from(bytes)))
    }

    /// Takes bytes from outside as a Java reader does, which also takes characters that were spelt
    /// longer than needed, and a plain zero byte; they are kept in their proper form.
    pub fn from_java_utf8(bytes: &[u8]) -> Option<Self> {
        Self::from_modified_utf8(bytes).or_else(|| read_java_utf8(bytes).map(Self::from_utf16))
    }

    /// Takes bytes that are one character each, as tight encoding writes what is all ASCII.
    pub fn from_latin1(bytes: &[u8]) -> Self {
        if is_plain(bytes) {
            Self(Arc::from(bytes))
        } else {
            Self::from_utf16(bytes.iter().map(|byte| u16::from(*byte)))
        }
    }

    /// The encoded form, as it stands on the wire without its length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether every character is in U+0001..U+007F, which is what OpenWire calls ASCII.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many UTF-16 code units, which is what Java's `length()` says.
    pub fn utf16_len(&self) -> usize {
        self.0.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
    }

    /// The text for people and for comparison with Rust strings. A lone surrogate becomes U+FFFD.
    pub fn to_str(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.0) {
            // The only valid UTF-8 that modified UTF-8 also has: no `C0 80`, no surrogate halves.
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf16_lossy(&self.to_utf16())),
        }
    }

    /// The UTF-16 code units, surrogates as they came.
    pub fn to_utf16(&self) -> Vec<u16> {
        let mut units = Vec::with_capacity(self.0.len());
        let mut bytes = self.0.iter().map(|byte| u16::from(*byte));
        while let Some(first) = bytes.next() {
            let mut more = || bytes.next().unwrap_or_default() & 0x3F;
            units.push(match first {
                0..0x80 => first,
                0x80..0xE0 => (first & 0x1F) << 6 | more(),
                _ => {
                    let high = (first & 0x0F) << 12 | more() << 6;
                    high | more()
                }
            });
        }
        units
    }

    /// Builds a text from UTF-16 code units, lone surrogates included.
    pub fn from_utf16(units: impl IntoIterator<Item = u16>) -> Self {
        let mut bytes = Vec::new();
        for unit in units {
            push_unit(&mut bytes, unit);
        }
        Self(bytes.into())
    }
}

fn push_unit(bytes: &mut Vec<u8>, unit: u16) {
    let low = |shift: u16| 0x80 | (unit >> shift & 0x3F) as u8;
    match unit {
        1..0x80 => bytes.push(unit as u8),
        0 | 0x80..0x800 => bytes.extend([0xC0 | (unit >> 6) as u8, low(0)]),
        _ => bytes.extend([0xE0 | (unit >> 12) as u8, low(6), low(0)]),
    }
}

/// Whether every byte is in 1..128, so that it is a character of its own in every encoding.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.is_ascii() && !bytes.contains(&0)
}

/// The code units, read without asking whether each was spelt as short as can be.
fn read_java_utf8(bytes: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let low = |byte: &u8| (byte & 0xC0 == 0x80).then(|| u16::from(byte & 0x3F));
    while let Some((first, tail)) = rest.split_first() {
        let high = u16::from(*first);
        let (unit, tail) = match (first, tail) {
            (0..0x80, tail) => (high, tail),
            (0xC0..0xE0, [a, tail @ ..]) => ((high & 0x1F) << 6 | low(a)?, tail),
            (0xE0..0xF0, [a, b, tail @ ..]) => ((high & 0x0F) << 12 | low(a)? << 6 | low(b)?, tail),
            _ => return None,
        };
        units.push(unit);
        rest = tail;
    }
    Some(units)
}

/// One pass; a byte of the ASCII kind costs one comparison.
fn is_modified_utf8(bytes: &[u8]) -> bool {
    if is_plain(bytes) {
        return true;
    }
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let continues = |byte: &u8| byte & 0xC0 == 0x80;
        rest = match (first, tail) {
            (0x01..=0x7F, tail) => tail,
            (0xC0, [0x80, tail @ ..]) => tail,
            (0xC2..=0xDF, [a, tail @ ..]) if continues(a) => tail,
            (0xE0, [a, b, tail @ ..]) if *a >= 0xA0 && continues(a) && continues(b) => tail,
            (0xE1..=0xEF, [a, b, tail @ ..]) if continues(a) && continues(b) => tail,
            _ => return false,
        };
    }
    true
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if is_plain(text.as_bytes()) {
            Self(Arc::from(text.as_bytes()))
        } else {
            Self::from_utf16(text.encode_utf16())
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.to_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_survives_the_way_there_and_back() {
        for text in ["", "plain", "nul\0inside", "é ü ß", "€ 漢", "emoji 😀 done"] {
            let encoded = Text::from(text);
            assert_eq!(encoded.to_str(), text);
            assert_eq!(Text::from_modified_utf8(encoded.as_bytes()), Some(encoded.clone()));
            assert_eq!(encoded.utf16_len(), text.encode_utf16().count());
        }
    }

    #[test]
    fn an_emoji_is_two_surrogates_of_three_bytes() {
        assert_eq!(Text::from("😀").as_bytes(), [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]);
    }

    #[test]
    fn a_lone_surrogate_is_kept() {
        let text = Text::from_utf16([0xD83D]);
        assert_eq!(text.to_utf16(), [0xD83D]);
        assert_eq!(Text::from_modified_utf8(text.as_bytes()), Some(text));
    }

    #[test]
    fn a_java_reader_takes_long_spellings_but_no_broken_ones() {
        let read = |bytes: &[u8]| Text::from_java_utf8(bytes);
        assert_eq!(read(&[0x41, 0]), Some(Text::from("A\0")));
        assert_eq!(read(&[0xC1, 0x81]), Some(Text::from("A")));
        assert_eq!(read(&[0xE0, 0x81, 0x81]), Some(Text::from("A")));
        for bytes in [&[0x80][..], &[0xC3], &[0xC3, 0x41], &[0xE1, 0x80], &[0xF0, 0x9F, 0x98, 0x80]]
        {
            assert_eq!(read(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn latin_1_is_one_byte_a_character() {
        assert_eq!(Text::from_latin1(b"A\0\xE9"), Text::from("A\0é"));
    }

    #[test]
    fn what_is_not_modified_utf8_is_refused() {
        let bad: [&[u8]; 8] = [
            &[0],
            &[0x80],
            &[0xC0, 0x81],
            &[0xC1, 0x80],
            &[0xC3],
            &[0xC3, 0x41],
            &[0xE0, 0x80, 0x80],
            &[0xF0, 0x9F, 0x98, 0x80],
        ];
        for bytes in bad {
            assert_eq!(Text::from_modified_utf8(bytes), None, "{bytes:x?}");
        }
    }
}
