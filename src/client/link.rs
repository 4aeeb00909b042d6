//! One socket to one broker, past the negotiation: commands in, commands out.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::url::Endpoint;
use crate::openwire::{Command, Decoder, Encoder, Offer, WireError, WireFormat, negotiate};
use crate::transport::FrameReader;

/// Encoded bytes after which they are written before more is encoded.
pub(super) const WRITE_BYTES: usize = 64 << 10;
/// What an idle writer may keep in memory.
const IDLE_BYTES: usize = 256 << 10;
/// How long a broker may take for its first frame when the offer says 0, as ActiveMQ has it.
const NEGOTIATION_DEFAULT: Duration = Duration::from_secs(15);

/// A connected and negotiated socket.
#[derive(Debug)]
pub struct Link {
    pub reader: LinkReader,
    pub writer: LinkWriter,
    /// What both sides agreed on.
    pub format: WireFormat,
    /// The broker's address.
    pub broker: Arc<str>,
    /// Which of this machine's ports it uses.
    pub local_port: u16,
}

impl Link {
    /// Connects and negotiates.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        let broker: Arc<str> = endpoint.address().into();
        let ms = endpoint.connection_timeout.as_millis() as u64;
        let connecting = connect(endpoint);
        let stream = if ms == 0 {
            connecting.await
        } else {
            timeout(endpoint.connection_timeout, connecting)
                .await
                .map_err(|_| Error::ConnectTimeout { broker: broker.to_string(), ms })?
        };
        let stream = stream.map_err(|source| Error::Connect {
            broker: broker.to_string(),
            source: Arc::new(source),
        })?;
        let local_port = stream.local_addr().map_or(0, |address| address.port());
        let (read, write) = stream.into_split();
        let handshake = WireFormat::HANDSHAKE;
        let mut reader = LinkReader {
            stream: read,
            frames: FrameReader::new(handshake.max_frame_size),
            decoder: Decoder::new(&handshake),
            prefixed: true,
            inactivity: None,
            inactivity_from: Instant::now(),
            broker: Arc::clone(&broker),
        };
        let mut writer = LinkWriter {
            stream: write,
            encoder: Encoder::new(&handshake),
            out: BytesMut::new(),
            broker: Arc::clone(&broker),
        };
        let wait = match u64::try_from(endpoint.offer.initial_delay_ms) {
            Ok(ms) if ms > 0 => Duration::from_millis(ms),
            _ => NEGOTIATION_DEFAULT,
        };
        let agreeing = agree(&endpoint.offer, &mut reader, &mut writer);
        let format = timeout(wait, agreeing).await.map_err(|_| Error::NegotiationTimeout {
            broker: broker.to_string(),
            ms: wait.as_millis() as u64,
        })??;
        reader.switch(&format, endpoint.offer.max_frame_size_enabled);
        writer.encoder = Encoder::new(&format);
        writer
            .stream
            .as_ref()
            .set_nodelay(format.tcp_no_delay)
            .map_err(|source| reader.lost(source))?;
        Ok(Self { reader, writer, format, broker, local_port })
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_keepalive(endpoint.keep_alive)?;
        if let Some(bytes) = endpoint.socket_buffer_bytes {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    Err(last.unwrap_or_else(nothing))
}

async fn agree(
    offer: &Offer,
    reader: &mut LinkReader,
    writer: &mut LinkWriter,
) -> Result<WireFormat, Error> {
    let failed = |source| Error::Handshake { broker: reader.broker.to_string(), source };
    let info = offer.to_info().map_err(failed)?;
    writer.put(&Command::from(info)).map_err(failed)?;
    writer.flush().await?;
    let first = match reader.next().await {
        Err(Error::Protocol { broker, source }) => return Err(Error::Handshake { broker, source }),
        first => first?,
    };
    let failed = |source| Error::Handshake { broker: reader.broker.to_string(), source };
    let Command::WireFormatInfo(info) = &first else {
        let [expected, found] = ["WireFormatInfo", first.name()];
        return Err(Error::UnexpectedAnswer { expected, found });
    };
    let theirs = Offer::from_info(info, 1).map_err(failed)?;
    Ok(negotiate(offer, &theirs))
}

/// The incoming half.
#[derive(Debug)]
pub struct LinkReader {
    stream: OwnedReadHalf,
    frames: FrameReader,
    decoder: Decoder,
    /// Whether frames have their size in front.
    prefixed: bool,
    /// Without a byte for so long the broker counts as lost.
    inactivity: Option<Duration>,
    /// Before this moment a broker need not show that it lives.
    inactivity_from: Instant,
    broker: Arc<str>,
}

impl LinkReader {
    fn switch(&mut self, format: &WireFormat, limited: bool) {
        self.decoder = Decoder::new(format);
        self.prefixed = !format.size_prefix_disabled;
        self.frames.limit_frames(if limited { format.max_frame_size } else { 0 });
        let ms = format.max_inactivity_ms;
        self.inactivity = (ms > 0).then(|| Duration::from_millis(ms));
        self.inactivity_from = Instant::now() + Duration::from_millis(format.initial_delay_ms);
    }

    /// The next command. Safe to drop while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<Command, Error> {
        loop {
            if let Some(command) = self.buffered()? {
                return Ok(command);
            }
            let filling = poll_fn(|cx| self.frames.poll_fill(cx, &mut self.stream));
            let filled = match self.inactivity {
                None => filling.await,
                Some(limit) => {
                    let until = self.inactivity_from.max(Instant::now()) + limit;
                    timeout_at(until, filling).await.map_err(|_| Error::Inactive {
                        broker: self.broker.to_string(),
                        ms: limit.as_millis() as u64,
                    })?
                }
            };
            if filled.map_err(|source| self.lost(source))? == 0 {
                return Err(Error::ClosedByBroker { broker: self.broker.to_string() });
            }
        }
    }

    /// A command that has come already.
    pub fn buffered(&mut self) -> Result<Option<Command>, Error> {
        let broker = &self.broker;
        let broken = |source| Error::Protocol { broker: broker.to_string(), source };
        if self.prefixed {
            while let Some(frame) = self.frames.next_frame().map_err(broken)? {
                if let Some(command) = self.decoder.decode(frame).map_err(broken)? {
                    return Ok(Some(command));
                }
            }
            return Ok(None);
        }
        while !self.frames.unread().is_empty() {
            let unread = Bytes::copy_from_slice(self.frames.unread());
            let Some((command, used)) = self.decoder.decode_prefix(&unread).map_err(broken)? else {
                return Ok(None);
            };
            self.frames.consume(used);
            if command.is_some() {
                return Ok(command);
            }
        }
        Ok(None)
    }

    fn lost(&self, source: io::Error) -> Error {
        Error::Lost { broker: self.broker.to_string(), source: Arc::new(source) }
    }
}

/// The outgoing half.
#[derive(Debug)]
pub struct LinkWriter {
    stream: OwnedWriteHalf,
    encoder: Encoder,
    out: BytesMut,
    broker: Arc<str>,
}

impl LinkWriter {
    /// Encodes a command; it leaves with the next [`Self::flush`].
    ///
    /// # Errors
    /// When the command cannot be said in the agreed version or is too long. The link can go on.
    pub fn put(&mut self, command: &Command) -> Result<(), WireError> {
        self.encoder.encode(command, &mut self.out)
    }

    /// Bytes that wait for [`Self::flush`].
    pub fn buffered(&self) -> usize {
        self.out.len()
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let written = self.stream.write_all(&self.out).await;
        if self.out.capacity() > IDLE_BYTES {
            self.out = BytesMut::new();
        }
        self.out.clear();
        written.map_err(|source| Error::Lost {
            broker: self.broker.to_string(),
            source: Arc::new(source),
        })
    }
}
