//! Writes what waits in the outbox: many commands in one write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_util::io::poll_write_buf;

use super::bridge::{Bridge, Forwarded};
use crate::broker::{Delivery, Outbox, Outgoing};
use crate::openwire::{self, Command, Encoder, MessageDispatch, WireError, WireFormat};

/// So many encoded bytes are written before more is encoded.
const WRITE_BYTES: usize = 64 << 10;

/// The writing half of a connection.
///
/// **Invariant:** an idle writer holds no buffer. What was taken from the outbox counts there until
/// all of it is written.
#[derive(Debug)]
pub struct Writer {
    encoder: Encoder,
    /// Taken from the outbox; those before `next` are encoded.
    batch: Vec<Outgoing>,
    next: usize,
    /// What the batch counts in the outbox.
    batch_bytes: usize,
    encoded: BytesMut,
    /// Encoded bytes may still lie in the stream.
    unflushed: bool,
    stalled_since: Option<Instant>,
    undeliverable: Vec<Undeliverable>,
    /// Of what was encoded, the deliveries that are to be told.
    told: Vec<Delivery>,
}

/// A message that cannot be told to its consumer: its frame is longer than agreed, or one of its texts
/// longer than the encoding can say.
#[derive(Debug)]
pub struct Undeliverable {
    pub delivery: Delivery,
    pub why: WireError,
}

impl Writer {
    pub fn new(format: &WireFormat) -> Self {
        Self {
            encoder: Encoder::new(format),
            batch: Vec::new(),
            next: 0,
            batch_bytes: 0,
            encoded: BytesMut::new(),
            unflushed: false,
            stalled_since: None,
            undeliverable: Vec::new(),
            told: Vec::new(),
        }
    }

    /// What could not be encoded since the last call. The connection goes on without it: were it
    /// closed, its client would come back and get the same message again, for ever.
    pub fn take_undeliverable(&mut self) -> Vec<Undeliverable> {
        std::mem::take(&mut self.undeliverable)
    }

    /// Deliveries since the last call that others want to hear of ([`Delivery::told`]).
    pub fn take_told(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.told)
    }

    /// Whether there is nothing to write that was taken already.
    pub fn is_idle(&self) -> bool {
        !self.unflushed && self.next == self.batch.len()
    }

    /// Since when the stream takes nothing.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Writes until all that waits is written; deliveries to the consumers of `bridge` as it says. Says
    /// whether anything was.
    ///
    /// # Errors
    /// When the stream fails, or a command cannot be said in the agreed format.
    pub fn poll_write<S>(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut S,
        outbox: &Outbox,
        bridge: &mut Option<Box<dyn Bridge>>,
    ) -> Poll<Result<bool, super::Failure>>
    where
        S: AsyncWrite + Unpin,
    {
        let mut wrote = false;
        loop {
            self.encode(outbox, bridge)?;
            if self.is_idle() {
                return Poll::Ready(Ok(wrote));
            }
            let written = self.poll_stream(context, stream);
            if written.is_pending() {
                self.stalled_since.get_or_insert_with(Instant::now);
            }
            ready!(written)?;
            wrote = true;
        }
    }

    /// Encodes what fits in one write.
    fn encode(
        &mut self,
        outbox: &Outbox,
        bridge: &mut Option<Box<dyn Bridge>>,
    ) -> Result<(), WireError> {
        if self.unflushed {
            return Ok(());
        }
        if self.next == self.batch.len() {
            self.finish_batch(outbox);
            self.batch_bytes = outbox.take(&mut self.batch);
            if self.batch.is_empty() {
                self.encoded = BytesMut::new();
                return Ok(());
            }
        }
        self.encoded.reserve(self.batch_bytes.min(WRITE_BYTES));
        while self.encoded.len() < WRITE_BYTES
            && let Some(outgoing) = self.batch.get(self.next)
        {
            match outgoing {
                Outgoing::Command(command) => self.encoder.encode(command, &mut self.encoded)?,
                Outgoing::Delivery(delivery) => {
                    let (encoder, out) = (&mut self.encoder, &mut self.encoded);
                    let forwarded =
                        bridge.as_mut().map_or(Forwarded::NotOurs, |it| it.forward(delivery));
                    let written = match forwarded {
                        Forwarded::NotOurs => dispatch(encoder, delivery, out),
                        Forwarded::Nothing => Ok(()),
                        Forwarded::Message(message) => {
                            encoder.encode(&Command::Message(message), out)
                        }
                    };
                    match written {
                        Err(why) => self
                            .undeliverable
                            .push(Undeliverable { delivery: delivery.clone(), why }),
                        Ok(()) if delivery.told => self.told.push(delivery.clone()),
                        Ok(()) => {}
                    }
                }
            }
            self.next += 1;
        }
        self.unflushed = true;
        Ok(())
    }

    fn finish_batch(&mut self, outbox: &Outbox) {
        if !self.batch.is_empty() {
            self.batch = Vec::new();
            self.next = 0;
            outbox.written(std::mem::take(&mut self.batch_bytes));
        }
    }

    fn poll_stream<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while !self.encoded.is_empty() {
            let written = ready!(poll_write_buf(Pin::new(stream), context, &mut self.encoded))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.stalled_since = None;
        }
        ready!(Pin::new(stream).poll_flush(context))?;
        self.stalled_since = None;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

fn dispatch(
    encoder: &mut Encoder,
    delivery: &Delivery,
    encoded: &mut BytesMut,
) -> Result<(), WireError> {
    let dispatch = MessageDispatch {
        consumer_id: Some(delivery.consumer_id.clone()),
        destination: delivery.destination.clone(),
        message: delivery.message.clone(),
        redelivery_counter: delivery.redelivery_counter,
        ..MessageDispatch::default()
    };
    let told = openwire::Delivery {
        broker_out_time: delivery.broker_out_time,
        jmsx_group_first_for_consumer: delivery.first_of_group,
    };
    encoder.encode_dispatch(&dispatch, told, encoded)
}
