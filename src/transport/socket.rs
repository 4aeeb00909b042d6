//! What is asked of the system's sockets, beyond reading and writing.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::options::TransportOptions;

/// ActiveMQ asks for buffers of this size unless told otherwise. Here the system, which sizes them by
/// need, decides unless told otherwise.
const BUFFER_BYTES_UNSAID: u32 = 65_536;

/// Opens a listening socket. `0.0.0.0` takes connections over IPv6 too, as it does in Java.
///
/// # Errors
/// When the host is unknown or is not ours, or the port is taken or not allowed.
pub(super) fn listen(
    host: &str,
    port: u16,
    options: &TransportOptions,
) -> io::Result<tokio::net::TcpListener> {
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    let listener = if host == "0.0.0.0" || host.is_empty() {
        let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match listen_at(SocketAddr::new(all, port), backlog) {
            // A system without IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                listen_at(SocketAddr::from(([0, 0, 0, 0], port)), backlog)
            }
            done => done,
        }
    } else {
        listen_at_first(&mut (host, port).to_socket_addrs()?, backlog)
    }?;
    tokio::net::TcpListener::from_std(listener.into())
}

fn listen_at_first(
    addresses: &mut dyn Iterator<Item = SocketAddr>,
    backlog: i32,
) -> io::Result<Socket> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let mut refused = None;
    for address in addresses {
        match listen_at(address, backlog) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(unknown))
}

fn listen_at(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Applies the options of the connector to a connection it accepted.
///
/// # Errors
/// When the system refuses one, which it does for a peer that left already.
pub(super) fn configure(stream: &TcpStream, options: &TransportOptions) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let no_delay = options.tcp_no_delay.unwrap_or(options.wire_format.tcp_no_delay_enabled);
    socket.set_tcp_nodelay(no_delay)?;
    socket.set_keepalive(options.keep_alive)?;
    if let Some(seconds) = options.so_linger {
        socket.set_linger(Some(Duration::from_secs(seconds.into())))?;
    }
    if options.socket_buffer_bytes != BUFFER_BYTES_UNSAID {
        let bytes = usize::try_from(options.socket_buffer_bytes).unwrap_or(usize::MAX);
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(service) = options.type_of_service
        && stream.local_addr()?.ip().to_canonical().is_ipv4()
    {
        socket.set_tos_v4(service.into())?;
    }
    Ok(())
}
