//! A connector that is open: its name, its options and the addresses it is known by.

use std::net::SocketAddr;

use super::options::TransportConnector;

/// What connections know of the connector that accepted them.
#[derive(Debug)]
pub struct Connector {
    pub options: TransportConnector,
    /// Where it listens, with the real port.
    pub address: SocketAddr,
    /// `scheme://host:port`.
    authority: String,
}

impl Connector {
    pub fn new(options: TransportConnector, address: SocketAddr) -> Self {
        let host = if address.ip().is_unspecified() {
            gethostname::gethostname().to_string_lossy().into_owned()
        } else if options.host.contains(':') {
            format!("[{}]", options.host)
        } else {
            options.host.clone()
        };
        let authority = format!("{}://{host}:{}", options.uri.scheme, address.port());
        Self { options, address, authority }
    }

    /// As the configuration names it, else its address.
    pub fn name(&self) -> &str {
        self.options.name.as_deref().unwrap_or(&self.authority)
    }

    /// What clients are told: `tcp://host:61616`, with a host name where every interface listens.
    pub fn publishable_uri(&self) -> &str {
        &self.authority
    }

    /// What the log says: the address with the options as they were written.
    pub fn listening_uri(&self) -> String {
        let query = self.options.uri.query.iter();
        let query: Vec<_> = query.map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() {
            self.authority.clone()
        } else {
            format!("{}?{}", self.authority, query.join("&"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::uri::Uri;
    use crate::transport::options::{ConnectorOptions, Security, TransportOptions};

    fn connector(uri: &str, host: &str, address: &str) -> Connector {
        let options = TransportConnector {
            name: Some("openwire".to_owned()),
            uri: Uri::parse(uri).unwrap(),
            security: Security::Plain,
            host: host.to_owned(),
            port: 0,
            transport: TransportOptions::default(),
            options: ConnectorOptions::default(),
        };
        Connector::new(options, address.parse().unwrap())
    }

    #[test]
    fn the_log_shows_the_real_port_and_the_options_as_written() {
        let uri = "tcp://127.0.0.1:0?maximumConnections=1000&wireFormat.maxFrameSize=104857600";
        let connector = connector(uri, "127.0.0.1", "127.0.0.1:40784");
        assert_eq!(connector.listening_uri(), uri.replace(":0?", ":40784?"));
        assert_eq!(connector.publishable_uri(), "tcp://127.0.0.1:40784");
        assert_eq!(connector.name(), "openwire");
    }

    #[test]
    fn every_interface_is_known_by_the_name_of_the_machine() {
        let connector = connector("nio://0.0.0.0:61616", "0.0.0.0", "[::]:61616");
        let name = gethostname::gethostname().into_string().unwrap();
        assert_eq!(connector.publishable_uri(), format!("nio://{name}:61616"));
    }
}
