//! Commands to frames and back, one direction of one connection each.
//!
//! ```text
//! frame   = [ size:int ]  payload      size counts the payload only
//! payload = type:byte  fields          loose: one after another; tight: flags first
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::cache::{ReceiverTable, SenderTable};
use super::delivery::{Delivery, Overriding};
use super::fields::{FieldWriter, Structure, WireError};
pub use super::frame::NESTING_MAX;
use super::frame::{Sink, Source};
use super::loose::{LooseReader, LooseWriter};
use super::tight::{Parts, TightReader, TightWriter};
use super::{Command, MessageDispatch, WireFormat};

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
        let (code, version) = (fields.code(), self.format.version);
        if !fields.has_code(version) {
            return Err(WireError::UnknownType { code, version });
        }
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
        let sink = Sink::new(&self.format, self.cache.as_mut());
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
        let sink = Sink::new(&self.format, self.cache.as_mut());
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
