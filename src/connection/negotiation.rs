//! The first frame of each side.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::Failure;
use crate::openwire::{Command, Decoder, Encoder, Offer, Text, WireError, WireFormat, negotiate};
use crate::transport::FrameReader;
use crate::transport::options::TransportOptions;

/// What the connector's options have us offer. A connector that watches nothing itself
/// (`useInactivityMonitor=false`) offers its times all the same: its clients watch by them.
pub fn offer(options: &TransportOptions) -> Offer {
    let wire_format = &options.wire_format;
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let names = Offer::default();
    let names_told = wire_format.include_provider_details;
    Offer {
        version: wire_format.version,
        stack_trace: wire_format.stack_trace_enabled,
        tcp_no_delay: wire_format.tcp_no_delay_enabled,
        cache: wire_format.cache_enabled,
        cache_size: wire_format.cache_size.into(),
        tight_encoding: wire_format.tight_encoding_enabled,
        size_prefix_disabled: wire_format.size_prefix_disabled,
        max_frame_size: i64::try_from(wire_format.max_frame_bytes).unwrap_or(i64::MAX),
        max_frame_size_enabled: wire_format.max_frame_size_enabled,
        max_inactivity_ms: wire_format.max_inactivity.map_or(0, milliseconds),
        initial_delay_ms: milliseconds(wire_format.max_inactivity_initial_delay),
        host: wire_format.host.as_deref().map(Into::into),
        provider_name: names.provider_name.filter(|_| names_told),
        provider_version: names.provider_version.filter(|_| names_told),
        platform_details: None,
    }
    .fit()
}

/// How long a peer may take for its first frame.
pub fn time_allowed(options: &TransportOptions) -> Duration {
    let initial_delay = options.wire_format.max_inactivity_initial_delay;
    options.connection_timeout.min(initial_delay)
}

/// What the peer's first frame makes of our offer.
///
/// # Errors
/// When the frame is no WireFormatInfo, or one that cannot be agreed with.
pub fn agree(ours: &Offer, minimum_version: i32, frame: Bytes) -> Result<WireFormat, WireError> {
    Ok(agree_with(ours, &heard(minimum_version, frame)?))
}

/// The peer's offer in its first frame.
fn heard(minimum_version: i32, frame: Bytes) -> Result<Offer, WireError> {
    let command = Decoder::new(&WireFormat::HANDSHAKE).decode(frame)?;
    let Some(Command::WireFormatInfo(info)) = &command else {
        let found = command.as_ref().map_or("nothing", Command::name);
        return Err(WireError::Properties(format!("the peer began with {found}")));
    };
    Offer::from_info(info, minimum_version)
}

fn agree_with(ours: &Offer, theirs: &Offer) -> WireFormat {
    let mut agreed = negotiate(ours, theirs);
    if !ours.max_frame_size_enabled {
        agreed.max_frame_size = 0;
    }
    agreed
}

/// Says our offer, hears the peer's, and returns what both agree on.
///
/// # Errors
/// When the peer says nothing in time, or something else, or leaves.
pub async fn handshake<S>(
    stream: &mut S,
    frames: &mut FrameReader,
    options: &TransportOptions,
) -> Result<WireFormat, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours = offer(options);
    let frame = exchange(stream, frames, &ours, time_allowed(options)).await?;
    Ok(agree(&ours, options.wire_format.version_min, frame)?)
}

/// The same for a socket that this broker opened. Also tells what broker the peer says it is.
///
/// # Errors
/// When the peer says nothing in time, or something else, or leaves.
pub async fn handshake_dialled<S>(
    stream: &mut S,
    frames: &mut FrameReader,
    ours: &Offer,
    wait: Duration,
) -> Result<(WireFormat, Option<Text>), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let theirs = heard(1, exchange(stream, frames, ours, wait).await?)?;
    Ok((agree_with(ours, &theirs), theirs.provider_name))
}

/// Says our offer and hears the peer's first frame.
async fn exchange<S>(
    stream: &mut S,
    frames: &mut FrameReader,
    ours: &Offer,
    wait: Duration,
) -> Result<Bytes, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut said = BytesMut::new();
    Encoder::new(&WireFormat::HANDSHAKE).encode(&ours.to_info()?, &mut said)?;
    let exchange = async {
        stream.write_all(&said).await?;
        stream.flush().await?;
        first_frame(stream, frames).await
    };
    timeout(wait, exchange).await.map_err(|_| Failure::NegotiationTimeout)?
}

async fn first_frame<S>(stream: &mut S, frames: &mut FrameReader) -> Result<Bytes, Failure>
where
    S: AsyncRead + Unpin,
{
    loop {
        let frame = frames.next_frame().map_err(|_| {
            let begin = frames.unread().get(..4).unwrap_or_default();
            Failure::NotOpenWire { begin: begin.escape_ascii().to_string() }
        })?;
        if let Some(frame) = frame {
            return Ok(frame);
        }
        if poll_fn(|context| frames.poll_fill(context, stream)).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::transport::options::WireFormatOptions;

    fn frame_of(info: &impl crate::openwire::fields::Structure) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        Encoder::new(&WireFormat::HANDSHAKE).encode(info, &mut bytes).unwrap();
        bytes.to_vec()
    }

    /// The outcome against a peer that sends these bytes and then stays silent, or leaves.
    async fn against(bytes: &[u8], leaves: bool) -> Result<WireFormat, String> {
        let (mut stream, mut peer) = duplex(4096);
        peer.write_all(bytes).await.unwrap();
        if leaves {
            peer.shutdown().await.unwrap();
        }
        let mut frames = FrameReader::new(WireFormat::HANDSHAKE.max_frame_size);
        let agreed = handshake(&mut stream, &mut frames, &TransportOptions::default()).await;
        let mut said = [0; 14];
        peer.read_exact(&mut said).await.unwrap();
        assert_eq!(&said[4..13], b"\x01ActiveMQ", "we speak first, whatever the peer does");
        agreed.map_err(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn both_sides_agree_on_the_lesser_of_what_they_offer() {
        let theirs = Offer { version: 9, cache: false, max_frame_size: 5000, ..Offer::default() };
        let bytes = frame_of(&theirs.to_info().unwrap());
        let agreed = against(&bytes, false).await.unwrap();
        let said = (agreed.version, agreed.cache_slots, agreed.max_frame_size, agreed.tight);
        assert_eq!(said, (9, None, 5000, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_left_after_the_initial_delay() {
        let started = tokio::time::Instant::now();
        let failure = against(b"", false).await.unwrap_err();
        let text = "Wire format negotiation timeout: peer did not send his wire format.";
        assert_eq!(failure, text);
        assert_eq!(started.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test]
    async fn what_is_not_openwire_is_named() {
        let failure = against(b"GET / HTTP/1.1\r\n\r\n", false).await.unwrap_err();
        assert_eq!(failure, "the peer does not speak OpenWire: it began with `GET `");
        let mut wrong_magic = frame_of(&Offer::default().to_info().unwrap());
        wrong_magic[5] = b'X';
        let failure = against(&wrong_magic, false).await.unwrap_err();
        assert!(failure.starts_with("Remote wire format magic is invalid"), "{failure}");
        let shutdown = frame_of(&crate::openwire::ShutdownInfo::default());
        let failure = against(&shutdown, false).await.unwrap_err();
        assert!(failure.ends_with("the peer began with ShutdownInfo"), "{failure}");
    }

    #[tokio::test]
    async fn a_peer_that_is_too_old_is_refused() {
        let theirs = Offer { version: 0, ..Offer::default() };
        let failure = against(&frame_of(&theirs.to_info().unwrap()), false).await.unwrap_err();
        assert_eq!(failure, "Remote wire format (0) is lower the minimum version required (1)");
    }

    #[tokio::test]
    async fn a_peer_that_leaves_is_an_end_of_stream() {
        let bytes = frame_of(&Offer::default().to_info().unwrap());
        for cut in 0..bytes.len() {
            let failure = against(&bytes[..cut], true).await.unwrap_err();
            assert_eq!(failure, "unexpected end of file", "cut at byte {cut}");
        }
    }

    #[test]
    fn options_become_the_offer() {
        let wire_format = WireFormatOptions {
            tight_encoding_enabled: false,
            max_inactivity: None,
            max_frame_bytes: 100_000,
            ..WireFormatOptions::default()
        };
        let options = TransportOptions { wire_format, ..TransportOptions::default() };
        let offer = offer(&options);
        let said = (offer.tight_encoding, offer.max_inactivity_ms, offer.max_frame_size);
        assert_eq!(said, (false, 0, 100_000));
    }
}
