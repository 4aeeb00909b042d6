//! The state of one frame while it is written or read, which both encodings share.

use std::sync::Arc;

use bytes::Bytes;

use super::cache::{CachedValue, ReceiverTable, SenderTable};
use super::fields::{Cacheable, Structure, WireError};
use super::input::Input;
use super::{Command, WireFormat};

/// How deep structures may nest. Java goes to four: a dispatched advisory with a bridge's consumer.
pub const NESTING_MAX: u32 = 32;

/// What the elements of all arrays of a frame may take in memory for each byte of the frame. An
/// absent element is one flag on the wire, but takes the place of a present one in memory.
const ELEMENT_BYTES_PER_BYTE: usize = 128;
/// What they may take in any case.
const ELEMENT_BYTES_FREE: usize = 64 << 10;

/// What both writers need while they write one frame.
pub(super) struct Sink<'a> {
    pub(super) version: u8,
    pub(super) stack_trace: bool,
    pub(super) cache: Option<&'a mut SenderTable>,
    error: Option<WireError>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(format: &WireFormat, cache: Option<&'a mut SenderTable>) -> Self {
        Self { version: format.version, stack_trace: format.stack_trace, cache, error: None }
    }

    pub(super) fn fail(&mut self, error: WireError) {
        self.error.get_or_insert(error);
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// What both readers need while they read one frame.
pub(super) struct Source<'a> {
    pub(super) input: Input<'a>,
    pub(super) version: u8,
    pub(super) stack_trace: bool,
    pub(super) cache: Option<&'a mut ReceiverTable>,
    frame: &'a Bytes,
    levels: u32,
    /// What array elements may still take in memory.
    element_bytes: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        frame: &'a Bytes,
        format: &WireFormat,
        cache: Option<&'a mut ReceiverTable>,
    ) -> Self {
        Self {
            input: Input::new(frame),
            version: format.version,
            stack_trace: format.stack_trace,
            cache,
            frame,
            levels: 0,
            element_bytes: element_bytes_max(frame.len()),
        }
    }

    /// A byte array behind its presence flag, as a slice of the frame.
    pub(super) fn slice(&mut self) -> Result<Bytes, WireError> {
        let length = self.input.int_length()?;
        let start = self.input.offset();
        self.input.take(length)?;
        Ok(self.frame.slice(start..start + length))
    }

    /// The type byte of a nested structure, which must be one of `T`.
    pub(super) fn code<T: Structure>(&mut self) -> Result<u8, WireError> {
        let (offset, version) = (self.input.offset(), self.version);
        let found = self.input.u8()?;
        if T::has_code(found, version) {
            Ok(found)
        } else if Command::has_code(found, version) {
            Err(WireError::UnexpectedType { offset, expected: T::NAME, found })
        } else {
            Err(WireError::UnknownType { code: found, version })
        }
    }

    pub(super) fn descend(&mut self) -> Result<(), WireError> {
        if self.levels == NESTING_MAX {
            return Err(WireError::TooDeep { limit: NESTING_MAX });
        }
        self.levels += 1;
        Ok(())
    }

    pub(super) fn ascend(&mut self) {
        self.levels -= 1;
    }

    /// Takes the memory of so many elements from what the frame may use.
    pub(super) fn claim(&mut self, count: usize, bytes_each: usize) -> Result<(), WireError> {
        let frame = self.frame.len();
        let left = self.element_bytes.checked_sub(count.saturating_mul(bytes_each));
        let limit = element_bytes_max(frame);
        self.element_bytes = left.ok_or(WireError::Inflates { frame, limit })?;
        Ok(())
    }

    /// The value of a slot that the peer filled before.
    ///
    /// One that it did not fill reads as null: a Java client that finds its frame too large to send
    /// has numbered the nulls in it by then, and uses the number from there on.
    pub(super) fn known<T: Cacheable>(&mut self) -> Result<Option<Arc<T>>, WireError> {
        let offset = self.input.offset();
        let index = self.input.i16()?;
        let Some(cache) = &self.cache else { return Ok(None) };
        let slot = cache.slot(index, false, offset)?;
        match slot.and_then(|slot| cache.get(slot)) {
            None | Some(CachedValue::Null) => Ok(None),
            Some(value) => T::from_cached(value)
                .ok_or(WireError::CacheKind { index, expected: T::NAME })
                .map(Some),
        }
    }

    /// The slot for a value that follows; `None` when it is not to be stored.
    pub(super) fn new_slot(&mut self) -> Result<Option<usize>, WireError> {
        let offset = self.input.offset();
        let index = self.input.i16()?;
        self.cache.as_ref().map_or(Ok(None), |cache| cache.slot(index, true, offset))
    }

    /// Stores a value that was read from offset `start` on.
    pub(super) fn remember<T: Cacheable>(
        &mut self,
        slot: Option<usize>,
        value: &Option<Arc<T>>,
        start: usize,
    ) -> Result<(), WireError> {
        let bytes = self.input.offset() - start;
        let Some((slot, cache)) = slot.zip(self.cache.as_mut()) else { return Ok(()) };
        let value = value.as_ref().map_or(CachedValue::Null, T::to_cached);
        cache.set(slot, value, bytes)
    }
}

fn element_bytes_max(frame: usize) -> usize {
    ELEMENT_BYTES_FREE + frame * ELEMENT_BYTES_PER_BYTE
}
