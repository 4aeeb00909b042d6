//! The URI of a transport connector: which schemes are served, and its options.

use std::net::IpAddr;

use super::Config;
use super::error::{Fault, Hint};
use super::notice::Weight;
use super::place::Place;
use super::vocabulary::{Reading, Words};
use super::words::connector::{TRANSPORT_OPTIONS, WIRE_FORMAT};
use super::words::network;
use crate::base::uri::{Target, Uri};
use crate::network::options::{NetworkConnector, NetworkOptions};
use crate::transport::options::{ConnectorOptions, Security, TransportConnector, TransportOptions};

const PLAIN: [&str; 4] = ["tcp", "nio", "auto", "auto+nio"];
const TLS: [&str; 4] = ["ssl", "nio+ssl", "auto+ssl", "auto+nio+ssl"];
/// Protocols, and ways to carry OpenWire, that a part of a scheme names and that are not served.
const FOREIGN: [&str; 13] = [
    "amqp",
    "amqps",
    "stomp",
    "mqtt",
    "ws",
    "wss",
    "http",
    "https",
    "udp",
    "multicast",
    "peer",
    "mock",
    "xmpp",
];

/// Reads a connector; `None` when it is not served or not right, which is then noted.
pub(super) fn read(
    name: Option<String>,
    text: &str,
    options: ConnectorOptions,
    at: &Place,
    reading: &mut Reading,
) -> Option<TransportConnector> {
    let parsed = Uri::parse(text);
    let refuse = |expected: String| Fault::Value {
        at: at.clone(),
        word: "`uri` of <transportConnector>".to_owned(),
        value: text.to_owned(),
        expected,
    };
    let uri = match parsed {
        Ok(uri) => uri,
        Err(error) => {
            reading.faults.push(refuse(format!("a URI such as tcp://0.0.0.0:61616, but {error}")));
            return None;
        }
    };
    let security = security(&uri, text, at, reading)?;
    let Target::Authority { host, port: Some(port), .. } = &uri.target else {
        reading.faults.push(refuse("a host and a port, such as tcp://0.0.0.0:61616".to_owned()));
        return None;
    };
    let (host, port) = (host.clone(), *port);
    let transport = transport_options(&uri, at, reading);
    if uri.scheme.starts_with("auto") {
        let word = format!("the connector {text}");
        let says = "of all protocols only OpenWire is served on it".to_owned();
        reading.notice(Weight::Warning, word, says, at);
    }
    reading.connectors.push(at.clone());
    Some(TransportConnector { name, uri, security, host, port, transport, options })
}

/// A member of a `broker:(…)` URI: a connector, or behind `network:` a bridge.
pub(super) fn read_member(member: &Uri, config: &mut Config, at: &Place, reading: &mut Reading) {
    let (scheme, text) = (member.scheme.as_str(), member.to_string());
    match (scheme, &member.target) {
        ("network", Target::Members(peers)) => {
            for uri in peers {
                let options = NetworkOptions::default();
                config.network.push(NetworkConnector { uri: uri.clone(), options });
                network::check(uri, at, reading);
            }
        }
        ("proxy", _) => reading.faults.push(Fault::Refused {
            at: at.clone(),
            word: format!("the connector {text}"),
            why: "proxies are not served; remove it".to_owned(),
        }),
        _ => {
            let options = ConnectorOptions::default();
            config.connectors.extend(read(None, &text, options, at, reading));
        }
    }
}

/// Whether to encrypt; `None` when this scheme is not served.
fn security(uri: &Uri, text: &str, at: &Place, reading: &mut Reading) -> Option<Security> {
    let scheme = uri.scheme.as_str();
    if PLAIN.contains(&scheme) {
        return Some(Security::Plain);
    }
    if TLS.contains(&scheme) {
        reading.faults.push(Fault::Refused {
            at: at.clone(),
            word: format!("the connector {text}"),
            why:
                "TLS is not served yet, and without it the connector would be open to all; remove \
                  it, or stay with the broker you have"
                    .to_owned(),
        });
    } else if scheme == "vm" {
        let word = format!("the connector {text}");
        let why = "no other program runs inside this process".to_owned();
        reading.notice(Weight::NoEffect, word, why, at);
    } else if scheme.split('+').any(|part| FOREIGN.contains(&part)) {
        let word = format!("the connector {text}");
        let instead = format!("no port is opened for {scheme}; only OpenWire clients are served");
        reading.notice(Weight::NotServed, word, instead, at);
    } else {
        let known = PLAIN.iter().chain(&TLS).chain(&FOREIGN).copied();
        let hint = Hint::nearest(scheme, known);
        reading.faults.push(Fault::Value {
            at: at.clone(),
            word: "`uri` of <transportConnector>".to_owned(),
            value: text.to_owned(),
            expected: format!("one of the schemes {}{hint}", PLAIN.join(", ")),
        });
    }
    None
}

fn transport_options(uri: &Uri, at: &Place, reading: &mut Reading) -> TransportOptions {
    let mut options = TransportOptions::default();
    for (name, value) in &uri.query {
        let bare = ["transport.", "socket.", "auto."].iter().find_map(|p| name.strip_prefix(p));
        let done = match name.strip_prefix("wireFormat.") {
            Some(bare) => set(&WIRE_FORMAT, bare, value, &mut options.wire_format),
            None => set(&TRANSPORT_OPTIONS, bare.unwrap_or(name), value, &mut options),
        };
        let word = format!("`{name}` of the connector {uri}");
        match done {
            Set::Done(standing) => reading.say(standing, word, at),
            Set::Wrong(expected) => reading.faults.push(Fault::Value {
                at: at.clone(),
                word,
                value: value.clone(),
                expected,
            }),
            Set::Unknown => reading.faults.push(Fault::UnknownOption {
                at: at.clone(),
                option: name.clone(),
                uri: uri.to_string(),
                hint: nearest_option(name),
            }),
        }
    }
    options
}

enum Set {
    Done(super::vocabulary::Standing),
    Wrong(String),
    Unknown,
}

fn set<T>(words: &Words<T>, name: &str, value: &str, to: &mut T) -> Set {
    match words.attributes.iter().find(|row| row.name == name) {
        None => Set::Unknown,
        Some(row) => match (row.set)(to, value) {
            Ok(()) => Set::Done(row.standing),
            Err(expected) => Set::Wrong(expected.0.into_owned()),
        },
    }
}

fn nearest_option(name: &str) -> Hint {
    let wire: Vec<_> =
        WIRE_FORMAT.attributes.iter().map(|row| format!("wireFormat.{}", row.name)).collect();
    let plain = TRANSPORT_OPTIONS.attributes.iter().map(|row| row.name);
    Hint::nearest(name, plain.chain(wire.iter().map(String::as_str)))
}

/// Whether only this machine can reach the connector.
pub(super) fn is_loopback(connector: &TransportConnector) -> bool {
    let address = connector.host.parse::<IpAddr>();
    address.map_or(connector.host == "localhost", |address| address.is_loopback())
}
