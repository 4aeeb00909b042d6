//! Whether the host at the other end of a TCP connection still says that it receives.
//!
//! A program that is slow to answer and a network that carries nothing look the same to a program, but
//! not to the system: the other system acknowledges what came, also while its program stands. So the
//! system is asked how often it has repeated what was sent without hearing of it (`sock_diag(7)`).

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `idiag_timer` of a socket that waits for an acknowledgement. That of one whose peer has no room for
/// more is another one: such a peer answers.
const TIMER_RETRANSMIT: u8 = 1;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = 72;
/// More than one `inet_diag_msg` takes.
const ANSWER_BYTES_MAX: usize = 512;

/// One TCP connection, named by its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPath {
    local: SocketAddr,
    remote: SocketAddr,
}

impl TcpPath {
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local, remote }
    }

    /// How often in a row the oldest bytes that the other host has not acknowledged were sent again: 0
    /// when all is acknowledged, or is on its way for the first time. Answered at once, without a wait.
    ///
    /// # Errors
    /// The system does not tell: it may not, or the connection is gone.
    pub fn retransmissions(&self) -> io::Result<u8> {
        let (kind, protocol) = (Type::DGRAM, Protocol::from(NETLINK_SOCK_DIAG));
        let mut socket = Socket::new(Domain::from(AF_NETLINK), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.send(&self.request())?;
        let mut answer = [0; ANSWER_BYTES_MAX];
        let read = socket.read(&mut answer)?;
        retransmissions_in(answer.get(..read).unwrap_or_default())
    }

    /// ```text
    ///  nlmsghdr           length:4 type:2 flags:2 sequence:4 port:4
    ///  inet_diag_req_v2   family:1 protocol:1 extensions:1 0:1 states:4
    ///  inet_diag_sockid   ports:2+2 (big-endian) addresses:16+16 interface:4 cookie:8
    /// ```
    fn request(&self) -> Vec<u8> {
        let v4 = self.local.ip().is_ipv4();
        let mut bytes = Vec::with_capacity(REQUEST_BYTES);
        bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
        bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend(NLM_F_REQUEST.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([if v4 { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0]);
        bytes.extend(u32::MAX.to_ne_bytes());
        bytes.extend(self.local.port().to_be_bytes());
        bytes.extend(self.remote.port().to_be_bytes());
        for end in [self.local, self.remote] {
            let mut address = [0; 16];
            match end.ip() {
                IpAddr::V4(ip) => address.iter_mut().zip(ip.octets()).for_each(|(to, it)| *to = it),
                IpAddr::V6(ip) => address = ip.octets(),
            }
            bytes.extend(address);
        }
        bytes.extend([0; 4]);
        bytes.extend([0xff; 8]);
        bytes
    }
}

/// ```text
///  nlmsghdr        length:4 type:2 flags:2 sequence:4 port:4
///  inet_diag_msg   family:1 state:1 timer:1 retransmissions:1 ...
/// ```
fn retransmissions_in(answer: &[u8]) -> io::Result<u8> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let told = answer.get(HEADER_BYTES..HEADER_BYTES + 4);
    match (kind, told) {
        (Some(SOCK_DIAG_BY_FAMILY), Some(&[_, _, timer, times])) => {
            Ok(if timer == TIMER_RETRANSMIT { times } else { 0 })
        }
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "the system has no such connection")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_host_has_taken_is_not_sent_again_although_nobody_reads_it() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stream.write_all(b"unread").unwrap();
            let path = TcpPath::new(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
            assert_eq!(path.retransmissions().unwrap(), 0, "{host}");
        }
    }

    #[test]
    fn a_connection_that_is_not_there_is_an_error() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let error = TcpPath::new(nobody, nobody).retransmissions().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_the_timer_of_unacknowledged_bytes_counts() {
        let answer = |kind: u16, timer, times| {
            let mut bytes = vec![0; 88];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&[AF_INET, 1, timer, times]);
            retransmissions_in(&bytes).ok()
        };
        assert_eq!(answer(SOCK_DIAG_BY_FAMILY, TIMER_RETRANSMIT, 3), Some(3));
        assert_eq!(answer(SOCK_DIAG_BY_FAMILY, 4, 3), Some(0), "the peer has no room");
        assert_eq!(answer(2, TIMER_RETRANSMIT, 3), None, "an error");
        assert!(retransmissions_in(&[]).is_err());
    }
}
