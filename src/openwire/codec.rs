//! Commands to frames and back, one direction of one connection each.
//!
//! ```text
//! frame   = [ size:int ]  payload      size counts the payload only
//! payload = type:byte  fields          loose: one after another; tight: flags first
//! ```

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::cache::{CachedValue, ReceiverTable, SenderTable};
use super::delivery::{Delivery, Overriding};
use super::fields::{Cacheable, FieldWriter, Structure, WireError};
use super::input::Input;
use super::loose::{LooseReader, LooseWriter};
use super::tight::{Parts, TightReader, TightWriter};
use super::{Command, MessageDispatch, WireFormat};

/// How deep structures may nest. Java goes to four: a dispatched advisory with a bridge's consumer.
pub const NESTING_MAX: u32 = 32;

/// What the elements of all arrays of a frame may take in memory for each byte of the frame. An
/// absent element is one flag on the wire, but takes the place of a present one in memory.
const ELEMENT_BYTES_PER_BYTE: usize = 128;
/// What they may take in any case.
const ELEMENT_BYTES_FREE: usize = 64 << 10;

/// The type byte that stands for no command at all.
const NULL_TYPE: u8 = 0;

/// Bytes of the size in front of a frame.
const PREFIX_BYTES: usize = 4;

/// Writes the commands of one direction of a connection, in the order in which they go out.
#[derive(Debug)]
pub struct Encoder {
    format: WireFormat,
    cache: Option<SenderTable>,
    parts: Parts,
}

impl Encoder {
    pub fn new(format: &WireFormat) -> Self {
        Self {
            format: format.clone(),
            cache: format.cache_slots.map(SenderTable::new),
            parts: Parts::default(),
        }
    }

    /// Appends the frame of a [`Command`] or of any other structure.
    ///
    /// A frame that was encoded must also be sent: the peer's cache follows it.
    ///
    /// # Errors
    /// When the structure cannot be said in this version or is too long. Then `out` and the cache
    /// are as before, and the connection can go on without this frame.
    pub fn encode(
        &mut self,
        structure: &impl Structure,
        out: &mut BytesMut,
    ) -> Result<(), WireError> {
        self.encode_fields(&Whole(structure), out)
    }

    /// Appends the frame of a dispatch whose message is shared with other consumers: the message is
    /// told with the redelivery counter of the dispatch and what `delivery` says, in place of its
    /// own.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_dispatch(
        &mut self,
        dispatch: &MessageDispatch,
        delivery: Delivery,
        out: &mut BytesMut,
    ) -> Result<(), WireError> {
        self.encode_fields(&Dispatched { dispatch, delivery }, out)
    }

    /// Appends the frame of the null command.
    pub fn encode_null(&self, out: &mut BytesMut) {
        if !self.format.size_prefix_disabled {
            out.put_i32(1);
        }
        out.put_u8(NULL_TYPE);
    }

    fn encode_fields(&mut self, fields: &impl Fields, out: &mut BytesMut) -> Result<(), WireError> {
        if let Some(cache) = &mut self.cache {
            cache.start_frame();
        }
        let start = out.len();
        let written = if self.format.tight {
            self.encode_tight(fields, out)
        } else {
            self.encode_loose(fields, out)
        };
        if written.is_err() {
            out.truncate(start);
            if let Some(cache) = &mut self.cache {
                cache.forget_frame();
            }
        }
        written
    }

    fn encode_tight(&mut self, fields: &impl Fields, out: &mut BytesMut) -> Result<(), WireError> {
        self.parts.clear();
        let sink = Sink::new(&self.format, self.cache.as_mut(), fields)?;
        let mut writer = TightWriter::new(sink, &mut self.parts);
        fields.write(&mut writer);
        writer.finish()?;
        let length = 1 + self.parts.len();
        let told = told_length(&self.format, length)?;
        out.reserve(PREFIX_BYTES + length);
        if !self.format.size_prefix_disabled {
            out.put_i32(told);
        }
        out.put_u8(fields.code());
        self.parts.put_into(out)
    }

    fn encode_loose(&mut self, fields: &impl Fields, out: &mut BytesMut) -> Result<(), WireError> {
        let sink = Sink::new(&self.format, self.cache.as_mut(), fields)?;
        let prefix = out.len();
        if !self.format.size_prefix_disabled {
            out.put_i32(0);
        }
        let start = out.len();
        out.put_u8(fields.code());
        let mut writer = LooseWriter::new(sink, out);
        fields.write(&mut writer);
        writer.finish()?;
        let told = told_length(&self.format, out.len() - start)?;
        if let Some(place) = out.get_mut(prefix..start).filter(|place| !place.is_empty()) {
            place.copy_from_slice(&told.to_be_bytes());
        }
        Ok(())
    }
}

fn told_length(format: &WireFormat, length: usize) -> Result<i32, WireError> {
    format.check_frame_size(length as u64)?;
    let limit = i32::MAX as usize;
    i32::try_from(length).map_err(|_| WireError::TooLong { what: "a frame", length, limit })
}

/// What a frame is written from.
trait Fields {
    fn code(&self) -> u8;
    fn has_code(&self, version: u8) -> bool;
    fn write(&self, w: &mut impl FieldWriter);
}

struct Whole<'a, S>(&'a S);

impl<S: Structure> Fields for Whole<'_, S> {
    fn code(&self) -> u8 {
        self.0.code()
    }

    fn has_code(&self, version: u8) -> bool {
        S::has_code(self.0.code(), version)
    }

    fn write(&self, w: &mut impl FieldWriter) {
        self.0.write(w);
    }
}

struct Dispatched<'a> {
    dispatch: &'a MessageDispatch,
    delivery: Delivery,
}

impl Fields for Dispatched<'_> {
    fn code(&self) -> u8 {
        self.dispatch.code()
    }

    fn has_code(&self, version: u8) -> bool {
        MessageDispatch::has_code(self.dispatch.code(), version)
    }

    fn write(&self, w: &mut impl FieldWriter) {
        match &self.dispatch.message {
            Some(message) => {
                let counter = self.dispatch.redelivery_counter;
                self.dispatch.write(&mut Overriding::new(w, message, counter, self.delivery));
            }
            None => self.dispatch.write(w),
        }
    }
}

/// What both writers need while they write one frame.
pub(super) struct Sink<'a> {
    pub(super) version: u8,
    pub(super) stack_trace: bool,
    pub(super) cache: Option<&'a mut SenderTable>,
    error: Option<WireError>,
}

impl<'a> Sink<'a> {
    fn new(
        format: &WireFormat,
        cache: Option<&'a mut SenderTable>,
        fields: &impl Fields,
    ) -> Result<Self, WireError> {
        let version = format.version;
        if !fields.has_code(version) {
            return Err(WireError::UnknownType { code: fields.code(), version });
        }
        Ok(Self { version, stack_trace: format.stack_trace, cache, error: None })
    }

    pub(super) fn fail(&mut self, error: WireError) {
        self.error.get_or_insert(error);
    }

    pub(super) fn finish(self) -> Result<(), WireError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Reads the commands of one direction of a connection, in the order in which they came.
#[derive(Debug)]
pub struct Decoder {
    format: WireFormat,
    cache: Option<ReceiverTable>,
    /// So many bytes must have come before another try at a frame without size is worth it.
    needed: usize,
}

impl Decoder {
    pub fn new(format: &WireFormat) -> Self {
        Self {
            format: format.clone(),
            cache: format.cache_slots.map(ReceiverTable::new),
            needed: 0,
        }
    }

    /// Reads one payload, which is a frame without its size; `None` is the null command. Byte arrays
    /// of the command, such as a message's content, are slices of the payload.
    ///
    /// # Errors
    /// When the payload is no command of the agreed version, or not exactly one. The connection must
    /// end: the cache may be out of step.
    pub fn decode(&mut self, payload: Bytes) -> Result<Option<Command>, WireError> {
        let (command, used) = self.read(&payload)?;
        match payload.len() - used {
            0 => Ok(command),
            extra => Err(WireError::TrailingBytes { extra }),
        }
    }

    /// Reads the first of the payloads in `buffered`, where payloads come without their size, and
    /// says how many bytes it had. `None` when it has not come as a whole; then nothing has changed.
    ///
    /// # Errors
    /// When the bytes begin no command of the agreed version, or one longer than agreed.
    pub fn decode_prefix(
        &mut self,
        buffered: &Bytes,
    ) -> Result<Option<(Option<Command>, usize)>, WireError> {
        if buffered.len() < self.needed.max(1) {
            return Ok(None);
        }
        if let Some(cache) = &mut self.cache {
            cache.start_trial();
        }
        let read = self.read(buffered);
        if let Some(cache) = &mut self.cache {
            if read.is_ok() {
                cache.commit();
            } else {
                cache.roll_back();
            }
        }
        self.needed = match read {
            Ok((command, used)) => {
                self.format.check_frame_size(used as u64)?;
                self.needed = 0;
                return Ok(Some((command, used)));
            }
            Err(WireError::Truncated { offset, missing }) => offset.saturating_add(missing),
            // More bytes are more room for elements.
            Err(WireError::Inflates { .. }) => buffered.len() + 1,
            Err(error) => return Err(error),
        };
        self.format.check_frame_size(self.needed as u64)?;
        Ok(None)
    }

    /// With fewer buffered bytes than this, [`Self::decode_prefix`] finds nothing.
    pub fn bytes_needed(&self) -> usize {
        self.needed
    }

    fn read(&mut self, bytes: &Bytes) -> Result<(Option<Command>, usize), WireError> {
        let mut source = Source::new(bytes, &self.format, self.cache.as_mut());
        let code = source.input.u8()?;
        if code == NULL_TYPE {
            return Ok((None, source.input.offset()));
        }
        if self.format.tight {
            let mut reader = TightReader::new(source)?;
            let command = Command::read(code, &mut reader)?;
            Ok((Some(command), reader.finish()?))
        } else {
            let mut reader = LooseReader::new(source);
            let command = Command::read(code, &mut reader)?;
            Ok((Some(command), reader.finish()))
        }
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
    fn new(frame: &'a Bytes, format: &WireFormat, cache: Option<&'a mut ReceiverTable>) -> Self {
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
