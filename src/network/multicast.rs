//! Brokers that find each other on the local network, in the packets of ActiveMQ's multicast discovery.
//!
//! ```text
//!  GROUP.ActiveMQ-4.alive.%localhost%tcp://host:61616      every half second, from each connector
//!  GROUP.ActiveMQ-4.dead.%localhost%tcp://host:61616       when it ends
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::base::uri::{Target, Uri};

/// Where ActiveMQ's packets go unless a URI says otherwise.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(239, 255, 2, 3);
const PORT: u16 = 6155;
const SUFFIX: &str = ".ActiveMQ-4.";
const ALIVE: &str = "alive.";
const DEAD: &str = "dead.";
/// Longest packet that is read.
const PACKET_BYTES_MAX: usize = 8192;
/// A broker of which so many packets in a row are missing is gone.
const MISSED_MAX: u32 = 10;
/// Brokers that are known at once.
const BROKERS_MAX: usize = 256;

/// A group of brokers that know each other: `multicast://default?group=name`.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    group: String,
    to: SocketAddrV4,
    every: Duration,
    time_to_live: u32,
}

/// What a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The broker at this address serves.
    Alive(String),
    Dead(String),
}

impl Channel {
    /// Reads a discovery URI.
    ///
    /// # Errors
    /// What in it is not served, in words for who wrote it.
    pub fn read(uri: &Uri) -> Result<Self, String> {
        let Target::Authority { host, port, .. } = &uri.target else {
            return Err("it is written multicast://default or multicast://ADDRESS:PORT".to_owned());
        };
        let named = host.is_empty() || host == "default";
        let address = match host.parse() {
            Ok(address) => address,
            Err(_) if named => ADDRESS,
            Err(_) => return Err(format!("`{host}` is neither `default` nor an IPv4 address")),
        };
        let mut channel = Self {
            group: if host.is_empty() { "default".to_owned() } else { host.clone() },
            to: SocketAddrV4::new(address, port.unwrap_or(PORT)),
            every: Duration::from_millis(500),
            time_to_live: 1,
        };
        for (name, value) in &uri.query {
            let number = || value.parse::<u32>().map_err(|_| format!("`{value}` is no {name}"));
            match name.as_str() {
                "group" => channel.group.clone_from(value),
                "keepAliveInterval" => {
                    channel.every = Duration::from_millis(number()?.max(10).into())
                }
                "timeToLive" => channel.time_to_live = number()?,
                _ => return Err(format!("unknown option `{name}`")),
            }
        }
        Ok(channel)
    }

    fn packet(&self, is_alive: bool, service: &str) -> String {
        let state = if is_alive { ALIVE } else { DEAD };
        format!("{}{SUFFIX}{state}%localhost%{service}", self.group)
    }

    /// What a packet of this group says.
    fn parse(&self, packet: &[u8]) -> Option<Said> {
        let text = std::str::from_utf8(packet).ok()?;
        let text = text.strip_prefix(self.group.as_str())?.strip_prefix(SUFFIX)?;
        let service = |text: &str| Some(text.split_once('%')?.1.split_once('%')?.1.to_owned());
        match text.strip_prefix(ALIVE) {
            Some(rest) => service(rest).map(Said::Alive),
            None => service(text.strip_prefix(DEAD)?).map(Said::Dead),
        }
    }

    fn open(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Several brokers of one host hear the group.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, self.to.port()).into())?;
        socket.join_multicast_v4(self.to.ip(), &Ipv4Addr::UNSPECIFIED)?;
        socket.set_multicast_ttl_v4(self.time_to_live)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    }

    /// Tells the group that a connector serves, until `shutdown`.
    pub async fn announce(self, service: String, shutdown: CancellationToken) {
        let socket = match self.open() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!("{service} is not announced at {}: {error}", self.to);
                return;
            }
        };
        let mut ticks = interval(self.every);
        let mut told = false;
        loop {
            let is_alive = tokio::select! {
                () = shutdown.cancelled() => false,
                _ = ticks.tick() => true,
            };
            let sent = socket.send_to(self.packet(is_alive, &service).as_bytes(), self.to).await;
            if let Err(error) = sent
                && !std::mem::replace(&mut told, true)
            {
                tracing::warn!("{service} cannot be announced at {}: {error}", self.to);
            }
            if !is_alive {
                return;
            }
        }
    }

    /// Calls `came` for each broker that announces itself, with a token that is cancelled when it is
    /// gone, until `shutdown`.
    pub async fn discover(
        self,
        shutdown: CancellationToken,
        mut came: impl FnMut(&str, CancellationToken),
    ) {
        let socket = match self.open() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!("no broker is found by multicast at {}: {error}", self.to);
                return;
            }
        };
        let mut known: HashMap<String, (Instant, CancellationToken)> = HashMap::new();
        let mut packet = [0; PACKET_BYTES_MAX];
        let mut ticks = interval(self.every);
        loop {
            let said = tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => None,
                heard = socket.recv_from(&mut packet) => heard.ok().and_then(|(bytes, _)| {
                    self.parse(packet.get(..bytes)?)
                }),
            };
            let now = Instant::now();
            match said {
                Some(Said::Alive(service)) => {
                    if let Some((heard_at, _)) = known.get_mut(&service) {
                        *heard_at = now;
                    } else if known.len() < BROKERS_MAX {
                        let token = shutdown.child_token();
                        came(&service, token.clone());
                        known.insert(service, (now, token));
                    }
                }
                Some(Said::Dead(service)) => {
                    if let Some((_, token)) = known.remove(&service) {
                        token.cancel();
                    }
                }
                None => known.retain(|service, (heard_at, token)| {
                    let there = now < *heard_at + self.every * MISSED_MAX;
                    if !there {
                        tracing::info!("{service} does not announce itself any more");
                        token.cancel();
                    }
                    there
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> Result<Channel, String> {
        Channel::read(&Uri::parse(text).unwrap())
    }

    #[test]
    fn packets_are_those_of_activemq() {
        let default = channel("multicast://default").unwrap();
        let alive = "default.ActiveMQ-4.alive.%localhost%tcp://h:61616";
        assert_eq!(default.packet(true, "tcp://h:61616"), alive);
        assert_eq!(default.parse(alive.as_bytes()), Some(Said::Alive("tcp://h:61616".to_owned())));
        let dead = default.packet(false, "tcp://h:1");
        assert_eq!(default.parse(dead.as_bytes()), Some(Said::Dead("tcp://h:1".to_owned())));
        for other in
            [&b"other.ActiveMQ-4.alive.%localhost%tcp://h:1"[..], b"\xff", b"", b"default."]
        {
            assert_eq!(default.parse(other), None);
        }
    }

    #[test]
    fn a_uri_names_group_address_and_pace() {
        let said = channel("multicast://239.1.2.3:7000?group=g&keepAliveInterval=50&timeToLive=4");
        let want = Channel {
            group: "g".to_owned(),
            to: SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 7000),
            every: Duration::from_millis(50),
            time_to_live: 4,
        };
        assert_eq!(said, Ok(want));
        assert!(channel("multicast://elsewhere").is_err());
        assert!(channel("multicast://default?grup=x").unwrap_err().contains("grup"));
    }
}
