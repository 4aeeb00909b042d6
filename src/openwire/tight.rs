//! Tight encoding: all flags of a frame first, packed into bits, then the bytes.
//!
//! ```text
//! payload = type:byte  length of flags  flags  bytes
//! ```
//!
//! One walk fills both parts, so the frame's size needs no pass of its own.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::cache::{CachedValue, Known};
use super::fields::{Cacheable, FieldReader, FieldWriter, Structure, WireError, is_marshal_aware};
use super::frame::{Sink, Source};
use super::{Text, map};

/// A Java receiver reads the length of a string as a signed short, and its sender stops one short
/// of that.
const STRING_BYTES_MAX: usize = i16::MAX as usize - 1;

/// From this size on a byte array is not copied into the body but put into the frame at its end.
const SPLICE_BYTES_MIN: usize = 4096;

/// The two parts of a frame while it grows. Kept from frame to frame for its memory.
#[derive(Debug, Default)]
pub(super) struct Parts {
    flags: Vec<u8>,
    /// How many flags stand in the last byte of `flags`; 8 or 0 when it is full.
    flags_in_last: u8,
    body: BytesMut,
    /// Byte arrays that belong into the body, each before the offset that it comes with.
    splices: Vec<(usize, Bytes)>,
}

impl Parts {
    pub(super) fn clear(&mut self) {
        self.flags.clear();
        self.flags_in_last = 0;
        self.body.clear();
        self.splices.clear();
    }

    fn push(&mut self, flag: bool) {
        if self.flags_in_last.is_multiple_of(8) {
            self.flags.push(0);
            self.flags_in_last = 0;
        }
        if let Some(last) = self.flags.last_mut() {
            *last |= u8::from(flag) << self.flags_in_last;
        }
        self.flags_in_last += 1;
    }

    /// Bytes of flags, of their length, and of the body.
    pub(super) fn len(&self) -> usize {
        let flags = self.flags.len();
        let header = match flags {
            ..64 => 1,
            64..256 => 2,
            _ => 3,
        };
        let spliced: usize = self.splices.iter().map(|(_, bytes)| bytes.len()).sum();
        header + flags + self.body.len() + spliced
    }

    pub(super) fn put_into(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let flags = self.flags.len();
        match flags {
            ..64 => out.put_u8(flags as u8),
            64..256 => out.put_slice(&[0xC0, flags as u8]),
            _ => {
                out.put_u8(0x80);
                let limit = i16::MAX as usize;
                let what = "the part of flags";
                let told = i16::try_from(flags);
                out.put_i16(told.map_err(|_| WireError::TooLong { what, length: flags, limit })?);
            }
        }
        out.put_slice(&self.flags);
        let mut written = 0;
        for (at, bytes) in &self.splices {
            out.put_slice(self.body.get(written..*at).unwrap_or_default());
            out.put_slice(bytes);
            written = *at;
        }
        out.put_slice(self.body.get(written..).unwrap_or_default());
        Ok(())
    }
}

/// Writes the fields of one frame into its parts.
pub(super) struct TightWriter<'a> {
    sink: Sink<'a>,
    parts: &'a mut Parts,
}

impl<'a> TightWriter<'a> {
    pub(super) fn new(sink: Sink<'a>, parts: &'a mut Parts) -> Self {
        Self { sink, parts }
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        self.sink.finish()
    }
}

impl FieldWriter for TightWriter<'_> {
    fn version(&self) -> u8 {
        self.sink.version
    }

    fn stack_trace(&self) -> bool {
        self.sink.stack_trace
    }

    fn fail(&mut self, error: WireError) {
        self.sink.fail(error);
    }

    fn boolean(&mut self, value: &bool) {
        self.parts.push(*value);
    }

    fn byte(&mut self, value: &i8) {
        self.parts.body.put_i8(*value);
    }

    fn short(&mut self, value: &i16) {
        self.parts.body.put_i16(*value);
    }

    fn int(&mut self, value: &i32) {
        self.parts.body.put_i32(*value);
    }

    /// Two flags choose the width: 00 none, 01 two bytes, 10 four, 11 eight.
    fn long(&mut self, value: &i64) {
        let bits = value.cast_unsigned();
        let (wide, wider, width) = match bits {
            0 => (false, false, 0),
            1..=0xFFFF => (false, true, 2),
            0x1_0000..=0xFFFF_FFFF => (true, false, 4),
            _ => (true, true, 8),
        };
        self.parts.push(wide);
        self.parts.push(wider);
        self.parts.body.put_uint(bits, width);
    }

    /// A second flag tells texts of one byte a character, which are the same bytes either way.
    fn string(&mut self, value: &Option<Text>) {
        self.parts.push(value.is_some());
        let Some(text) = value else { return };
        let (what, length, limit) = ("a string", text.as_bytes().len(), STRING_BYTES_MAX);
        if length > limit {
            return self.fail(WireError::TooLong { what, length, limit });
        }
        self.parts.push(text.is_ascii());
        self.parts.body.put_u16(length as u16);
        self.parts.body.put_slice(text.as_bytes());
    }

    fn bytes(&mut self, value: &Option<Bytes>) {
        self.parts.push(value.is_some());
        let Some(bytes) = value else { return };
        let body = &mut self.parts.body;
        match map::put_length("a byte array", bytes.len(), body) {
            Err(error) => self.fail(error),
            Ok(()) if bytes.len() < SPLICE_BYTES_MIN => body.put_slice(bytes),
            Ok(()) => self.parts.splices.push((body.len(), bytes.clone())),
        }
    }

    fn magic(&mut self, value: &[u8; 8]) {
        self.parts.body.put_slice(value);
    }

    /// One more flag for structures that Java may have marshalled before; never so from here.
    fn nested_code(&mut self, code: u8) {
        self.parts.body.put_u8(code);
        if is_marshal_aware(code) {
            self.parts.push(false);
        }
    }

    /// A new value gets its slot after the values inside it got theirs, but its index stands first.
    fn cached<T: Cacheable>(&mut self, value: &Option<Arc<T>>) {
        let Some(cache) = &self.sink.cache else { return self.nested(value) };
        let key = value.as_ref().map_or(CachedValue::Null, T::to_cached);
        let known = cache.find(&key);
        self.parts.push(known == Known::New);
        match known {
            Known::At(slot) => self.short(&slot),
            Known::New => {
                let at = self.parts.body.len();
                self.short(&0);
                self.nested(value);
                let slot = self.sink.cache.as_mut().map_or(0, |cache| cache.add(key));
                if let Some(place) = self.parts.body.get_mut(at..at + 2) {
                    place.copy_from_slice(&slot.to_be_bytes());
                }
            }
        }
    }
}

/// Reads the fields of one frame.
pub(super) struct TightReader<'a> {
    source: Source<'a>,
    flags: &'a [u8],
    /// Flags taken so far.
    taken: usize,
}

impl<'a> TightReader<'a> {
    /// Begins behind the type byte.
    pub(super) fn new(mut source: Source<'a>) -> Result<Self, WireError> {
        let length = match source.input.u8()? {
            0xC0 => usize::from(source.input.u8()?),
            0x80 => source.input.short_length()?,
            length => usize::from(length),
        };
        let flags = source.input.take(length)?;
        Ok(Self { source, flags, taken: 0 })
    }

    /// Says how many bytes the frame had. All flags must have been taken; what is over of the last
    /// byte is zero.
    pub(super) fn finish(self) -> Result<usize, WireError> {
        let extra = self.flags.len() - self.taken.div_ceil(8);
        let spare = self.flags.last().map_or(0, |last| match self.taken % 8 {
            0 => 0,
            used => last >> used,
        });
        if extra > 0 || spare != 0 {
            return Err(WireError::TrailingFlags { extra });
        }
        Ok(self.source.input.offset())
    }
}

impl FieldReader for TightReader<'_> {
    fn version(&self) -> u8 {
        self.source.version
    }

    fn stack_trace(&self) -> bool {
        self.source.stack_trace
    }

    fn boolean(&mut self) -> Result<bool, WireError> {
        let Some(byte) = self.flags.get(self.taken / 8) else {
            return Err(WireError::MissingFlag { length: self.flags.len() });
        };
        let flag = byte >> (self.taken % 8) & 1 != 0;
        self.taken += 1;
        Ok(flag)
    }

    fn byte(&mut self) -> Result<i8, WireError> {
        self.source.input.i8()
    }

    fn short(&mut self) -> Result<i16, WireError> {
        self.source.input.i16()
    }

    fn int(&mut self) -> Result<i32, WireError> {
        self.source.input.i32()
    }

    fn long(&mut self) -> Result<i64, WireError> {
        let (wide, wider) = (self.boolean()?, self.boolean()?);
        let input = &mut self.source.input;
        match (wide, wider) {
            (false, false) => Ok(0),
            (false, true) => input.u16().map(i64::from),
            (true, false) => input.u32().map(i64::from),
            (true, true) => input.i64(),
        }
    }

    fn string(&mut self) -> Result<Option<Text>, WireError> {
        if !self.boolean()? {
            return Ok(None);
        }
        if self.boolean()? {
            let length = self.source.input.short_length()?;
            return Ok(Some(Text::from_latin1(self.source.input.take(length)?)));
        }
        let length = usize::from(self.source.input.u16()?);
        self.source.input.text(length).map(Some)
    }

    fn bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        if !self.boolean()? {
            return Ok(None);
        }
        self.source.slice().map(Some)
    }

    fn magic(&mut self) -> Result<[u8; 8], WireError> {
        self.source.input.bytes8()
    }

    fn nested<T: Structure>(&mut self) -> Result<Option<T>, WireError> {
        if !self.boolean()? {
            return Ok(None);
        }
        let code = self.source.code::<T>()?;
        if is_marshal_aware(code) && self.boolean()? {
            return Err(WireError::PreMarshalled);
        }
        self.deeper(|r| T::read(code, r)).map(Some)
    }

    fn cached<T: Cacheable>(&mut self) -> Result<Option<Arc<T>>, WireError> {
        if self.source.cache.is_none() {
            return self.nested();
        }
        if !self.boolean()? {
            return self.source.known();
        }
        let slot = self.source.new_slot()?;
        let start = self.source.input.offset();
        let value = self.nested()?;
        self.source.remember(slot, &value, start)?;
        Ok(value)
    }

    /// An element takes at least the flag that says whether it is there.
    fn count(&mut self, bytes_each: usize) -> Result<usize, WireError> {
        let count = self.source.input.short_length()?;
        if count > self.flags.len() * 8 - self.taken {
            return Err(WireError::MissingFlag { length: self.flags.len() });
        }
        self.source.claim(count, bytes_each)?;
        Ok(count)
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.source.descend()?;
        let read = inner(self)?;
        self.source.ascend();
        Ok(read)
    }
}
