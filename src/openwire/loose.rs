//! Loose encoding: every field in full, one after another, flags as bytes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::cache::{CachedValue, Known};
use super::fields::{Cacheable, FieldReader, FieldWriter, Structure, WireError};
use super::frame::{Sink, Source};
use super::{Text, map};

/// Writes behind what is in the buffer already.
pub(super) struct LooseWriter<'a> {
    sink: Sink<'a>,
    out: &'a mut BytesMut,
}

impl<'a> LooseWriter<'a> {
    pub(super) fn new(sink: Sink<'a>, out: &'a mut BytesMut) -> Self {
        Self { sink, out }
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        self.sink.finish()
    }
}

impl FieldWriter for LooseWriter<'_> {
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
        self.out.put_u8(u8::from(*value));
    }

    fn byte(&mut self, value: &i8) {
        self.out.put_i8(*value);
    }

    fn short(&mut self, value: &i16) {
        self.out.put_i16(*value);
    }

    fn int(&mut self, value: &i32) {
        self.out.put_i32(*value);
    }

    fn long(&mut self, value: &i64) {
        self.out.put_i64(*value);
    }

    fn string(&mut self, value: &Option<Text>) {
        self.boolean(&value.is_some());
        if let Some(text) = value
            && let Err(error) = map::put_short_text("a string", text, self.out)
        {
            self.fail(error);
        }
    }

    fn bytes(&mut self, value: &Option<Bytes>) {
        self.boolean(&value.is_some());
        if let Some(bytes) = value {
            match map::put_length("a byte array", bytes.len(), self.out) {
                Ok(()) => self.out.put_slice(bytes),
                Err(error) => self.fail(error),
            }
        }
    }

    fn magic(&mut self, value: &[u8; 8]) {
        self.out.put_slice(value);
    }

    fn nested_code(&mut self, code: u8) {
        self.out.put_u8(code);
    }

    /// A new value gets its slot before the values inside it get theirs.
    fn cached<T: Cacheable>(&mut self, value: &Option<Arc<T>>) {
        let Some(cache) = &mut self.sink.cache else { return self.nested(value) };
        let key = value.as_ref().map_or(CachedValue::Null, T::to_cached);
        match cache.find(&key) {
            Known::At(slot) => {
                self.boolean(&false);
                self.short(&slot);
            }
            Known::New => {
                let slot = cache.add(key);
                self.boolean(&true);
                self.short(&slot);
                self.nested(value);
            }
        }
    }
}

/// Reads the fields of one frame.
pub(super) struct LooseReader<'a> {
    source: Source<'a>,
}

impl<'a> LooseReader<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self { source }
    }

    /// Says how many bytes the frame had.
    pub(super) fn finish(self) -> usize {
        self.source.input.offset()
    }
}

impl FieldReader for LooseReader<'_> {
    fn version(&self) -> u8 {
        self.source.version
    }

    fn stack_trace(&self) -> bool {
        self.source.stack_trace
    }

    /// Any byte but zero is true.
    fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.source.input.u8()? != 0)
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
        self.source.input.i64()
    }

    fn string(&mut self) -> Result<Option<Text>, WireError> {
        if !self.boolean()? {
            return Ok(None);
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

    /// An element takes at least the byte that says whether it is there.
    fn count(&mut self, bytes_each: usize) -> Result<usize, WireError> {
        let count = self.source.input.short_length()?;
        self.source.input.require(count)?;
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
