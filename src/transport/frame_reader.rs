//! Cuts the bytes of a socket into frames.
//!
//! ```text
//! socket -> scratch on the stack -> arrived [ .. | size | payload | size | pay ]  -> one Bytes a frame
//!                                   large   [ payload so far                  ]  a frame longer than a read
//! ```
//!
//! **Invariant:** nothing is allocated because a peer says that much will come; memory follows the
//! bytes that arrived, and a connection without half a frame holds none. Each frame is an allocation
//! of its own, so that a stored message keeps no neighbour in memory.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::openwire::{WireError, WireFormat};

/// Bytes taken from a socket at once. They lie on the stack while they are looked at.
const READ_BYTES: usize = 64 << 10;
/// Frames from this size on are read into their own place when they do not come in one read.
const LARGE_FRAME_BYTES: usize = 16 << 10;
/// Bytes of the size in front of a frame.
const PREFIX_BYTES: usize = 4;

/// Takes bytes from a stream and hands out frames, without their size prefix.
#[derive(Debug)]
pub struct FrameReader {
    arrived: Vec<u8>,
    /// Where in `arrived` the next frame begins.
    start: usize,
    large: Option<Large>,
    /// The longest payload; 0 is no limit.
    frame_bytes_max: u64,
}

/// A frame that is longer than a read.
#[derive(Debug)]
struct Large {
    payload: Vec<u8>,
    length: usize,
}

impl FrameReader {
    /// `frame_bytes_max` 0 is no limit.
    pub fn new(frame_bytes_max: u64) -> Self {
        Self { arrived: Vec::new(), start: 0, large: None, frame_bytes_max }
    }

    /// Holds for frames that were not yet handed out.
    pub fn limit_frames(&mut self, frame_bytes_max: u64) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// The next frame, if all of it arrived.
    ///
    /// # Errors
    /// When the peer announces a frame of negative length, or one longer than allowed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, WireError> {
        if let Some(large) = self.large.take_if(|large| large.payload.len() == large.length) {
            return Ok(Some(large.payload.into()));
        }
        let rest = self.unread();
        let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = frame_length(*prefix, self.frame_bytes_max)?;
        if let Some(payload) = rest.get(..length) {
            let frame = Bytes::copy_from_slice(payload);
            self.consume(PREFIX_BYTES + length);
            return Ok(Some(frame));
        }
        if length > LARGE_FRAME_BYTES {
            let mut payload = Vec::with_capacity(next_capacity(rest.len(), length));
            payload.extend_from_slice(rest);
            self.consume(PREFIX_BYTES + payload.len());
            self.large = Some(Large { payload, length });
        }
        Ok(None)
    }

    /// What arrived and was not handed out: for a peer that sends frames without sizes.
    pub fn unread(&self) -> &[u8] {
        self.arrived.get(self.start..).unwrap_or_default()
    }

    /// Takes bytes from the front of [`Self::unread`].
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.arrived.len(), "more consumed than arrived");
        if self.start >= self.arrived.len() {
            self.arrived = Vec::new();
            self.start = 0;
        }
    }

    /// Reads once. Returns how many bytes came; 0 is the end of the stream.
    pub fn poll_fill<S>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        if let Some(large) = &mut self.large {
            return large.poll_fill(context, stream);
        }
        let mut scratch = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(context, &mut scratch))?;
        self.keep(scratch.filled());
        Poll::Ready(Ok(scratch.filled().len()))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.arrived.drain(..self.start);
            self.start = 0;
        }
        self.arrived.reserve_exact(bytes.len());
        self.arrived.extend_from_slice(bytes);
    }
}

impl Large {
    fn poll_fill<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let missing = self.length - self.payload.len();
        debug_assert!(missing > 0, "a whole frame was not taken");
        if self.payload.len() == self.payload.capacity() {
            let capacity = next_capacity(self.payload.len(), self.length);
            self.payload.reserve_exact(capacity - self.payload.len());
        }
        poll_read_buf(Pin::new(stream), context, &mut (&mut self.payload).limit(missing))
    }
}

/// How much room a frame gets of which `arrived` bytes are there: at most twice as much, or one read.
fn next_capacity(arrived: usize, length: usize) -> usize {
    arrived.saturating_mul(2).max(READ_BYTES).min(length)
}

fn frame_length(prefix: [u8; PREFIX_BYTES], frame_bytes_max: u64) -> Result<usize, WireError> {
    let length = i32::from_be_bytes(prefix);
    let negative = || WireError::NegativeLength { offset: 0, length: length.into() };
    let length = usize::try_from(length).map_err(|_| negative())?;
    let bound = WireFormat { max_frame_size: frame_bytes_max, ..WireFormat::HANDSHAKE };
    bound.check_frame_size(length as u64)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Payloads of these lengths, each with its size in front.
    fn stream_of(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut bytes = Vec::new();
        let mut payloads = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let payload = vec![number as u8 + 1; *length];
            bytes.extend((*length as i32).to_be_bytes());
            bytes.extend(&payload);
            payloads.push(payload);
        }
        (bytes, payloads)
    }

    /// Everything that comes out when the bytes arrive in these pieces.
    async fn frames(pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut reader = FrameReader::new(0);
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                poll_fn(|cx| reader.poll_fill(cx, &mut rest)).await.unwrap();
                while let Some(frame) = reader.next_frame().unwrap() {
                    found.push(frame);
                }
            }
        }
        assert_eq!(reader.arrived.capacity(), 0, "an idle reader holds no memory");
        assert!(reader.large.is_none());
        found
    }

    #[tokio::test]
    async fn frames_come_out_whole_wherever_the_bytes_are_cut() {
        let (bytes, payloads) = stream_of(&[0, 1, 5, 300, 2]);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(frames(&[front, back]).await, payloads, "cut at byte {cut}");
        }
    }

    #[tokio::test]
    async fn frames_longer_than_a_read_come_out_whole_and_take_no_more_than_their_size() {
        let (bytes, payloads) = stream_of(&[3, 300_000, 7, LARGE_FRAME_BYTES + 1, READ_BYTES, 1]);
        for size in [1000, READ_BYTES, bytes.len()] {
            let pieces: Vec<_> = bytes.chunks(size).collect();
            assert_eq!(frames(&pieces).await, payloads, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_claim_of_two_gibibytes_takes_memory_for_what_arrived() {
        let mut reader = FrameReader::new(0);
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend([7; 100]);
        let mut rest: &[u8] = &bytes;
        poll_fn(|cx| reader.poll_fill(cx, &mut rest)).await.unwrap();
        assert_eq!(reader.next_frame(), Ok(None));
        let large = reader.large.as_ref().unwrap();
        assert_eq!(large.payload, [7; 100]);
        assert!(large.payload.capacity() <= READ_BYTES, "{}", large.payload.capacity());
        assert!(reader.arrived.capacity() <= bytes.len());
    }

    #[tokio::test]
    async fn the_limit_holds_for_frames_not_yet_handed_out() {
        let (bytes, _) = stream_of(&[10, 200_000]);
        let mut reader = FrameReader::new(0);
        poll_fn(|cx| reader.poll_fill(cx, &mut bytes.as_slice())).await.unwrap();
        assert!(reader.next_frame().unwrap().is_some());
        reader.limit_frames(100_000);
        let refused = reader.next_frame().unwrap_err().to_string();
        assert_eq!(refused, "Frame size of 195 KB larger than max allowed 97 KB");
    }

    #[tokio::test]
    async fn a_negative_length_is_refused() {
        let mut reader = FrameReader::new(0);
        let mut bytes: &[u8] = &[0xFF; 4];
        poll_fn(|cx| reader.poll_fill(cx, &mut bytes)).await.unwrap();
        let refused = WireError::NegativeLength { offset: 0, length: -1 };
        assert_eq!(reader.next_frame(), Err(refused));
    }
}
