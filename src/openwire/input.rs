//! A cursor over bytes from outside: every step is checked against what is left.

use super::{Text, WireError};

/// Reads big-endian values from the front of a slice and knows at which offset it stands.
#[derive(Debug, Clone)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((taken, rest)) = rest.split_at_checked(length) else {
            return Err(WireError::Truncated { offset: self.at, missing: length - rest.len() });
        };
        self.at = self.bytes.len() - rest.len();
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((taken, _)) = rest.split_first_chunk() else {
            return Err(WireError::Truncated { offset: self.at, missing: N - rest.len() });
        };
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.take_array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.take_array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.take_array().map(u32::from_be_bytes)
    }

    pub(super) fn i8(&mut self) -> Result<i8, WireError> {
        self.take_array().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, WireError> {
        self.take_array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        self.take_array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, WireError> {
        self.take_array().map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.take_array().map(u64::from_be_bytes)
    }

    /// A signed length of two bytes.
    pub(super) fn short_length(&mut self) -> Result<usize, WireError> {
        let offset = self.at;
        let length = self.i16()?;
        usize::try_from(length)
            .map_err(|_| WireError::NegativeLength { offset, length: i64::from(length) })
    }

    pub(super) fn bytes8(&mut self) -> Result<[u8; 8], WireError> {
        self.take_array()
    }

    /// A signed length of four bytes.
    pub(super) fn int_length(&mut self) -> Result<usize, WireError> {
        let offset = self.at;
        let length = self.i32()?;
        usize::try_from(length)
            .map_err(|_| WireError::NegativeLength { offset, length: i64::from(length) })
    }

    /// A text of so many bytes.
    pub(super) fn text(&mut self, length: usize) -> Result<Text, WireError> {
        let offset = self.at;
        Text::from_java_utf8(self.take(length)?).ok_or(WireError::NotModifiedUtf8 { offset })
    }

    /// So many bytes must be left.
    pub(super) fn require(&self, length: usize) -> Result<(), WireError> {
        match length.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(WireError::Truncated { offset: self.at, missing }),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(WireError::TrailingBytes { extra }),
        }
    }
}
