//! What a configuration can ask of authentication, authorization and TLS.

use std::path::PathBuf;

use crate::base::options::options;
use crate::base::secret::Secret;
use crate::openwire::Destination;

options! {
    /// All that concerns security. Empty means open to all, as with ActiveMQ.
    pub struct SecurityOptions {
        /// In the order of the configuration.
        authentication: Vec<Authentication> = Vec::new(),
        authorization: Option<AuthorizationMap> = None,
        tls: Option<TlsContext> = None,
    }

    /// `<simpleAuthenticationPlugin>`.
    pub struct SimpleAuthentication {
        users: Vec<User> = Vec::new(),
        anonymous_access_allowed: bool = false,
        anonymous_user: String = "anonymous".to_owned(),
        anonymous_group: String = "anonymous".to_owned(),
    }

    /// `<jaasAuthenticationPlugin>` and its relatives.
    pub struct JaasAuthentication {
        kind: JaasKind = JaasKind::Password,
        /// Entry of `login.config`.
        configuration: String = "activemq-domain".to_owned(),
        /// For connections with a certificate, of `JaasKind::Dual`.
        ssl_configuration: String = "activemq-ssl-domain".to_owned(),
        discover_login_config: bool = true,
    }

    /// `<authorizationMap>`: rights of all entries that fit a destination add up.
    pub struct AuthorizationMap {
        /// Each for the destinations that fit its pattern.
        entries: Vec<(Destination, Rights)> = Vec::new(),
        /// For destinations that no entry fits.
        default_entry: Option<Rights> = None,
        temporary: Option<Rights> = None,
    }

    /// Groups that may read, write, and create or delete.
    pub struct Rights {
        read: Vec<String> = Vec::new(),
        write: Vec<String> = Vec::new(),
        admin: Vec<String> = Vec::new(),
    }

    /// `<sslContext>`.
    pub struct TlsContext {
        key_store: Option<PathBuf> = None,
        key_store_password: Option<Secret> = None,
        /// `None` takes `key_store_password`.
        key_store_key_password: Option<Secret> = None,
        /// `jks` or `pkcs12`.
        key_store_type: String = "jks".to_owned(),
        trust_store: Option<PathBuf> = None,
        trust_store_password: Option<Secret> = None,
        trust_store_type: String = "jks".to_owned(),
        /// Revoked certificates.
        crl_path: Option<PathBuf> = None,
        protocol: String = "TLS".to_owned(),
    }
}

/// One way to find out who a client is.
#[derive(Debug, Clone, PartialEq)]
pub enum Authentication {
    Simple(SimpleAuthentication),
    Jaas(JaasAuthentication),
}

/// `<authenticationUser>`.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub username: String,
    pub password: Secret,
    pub groups: Vec<String>,
}

/// What a JAAS login looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JaasKind {
    Password,
    Certificate,
    /// A certificate where the connection has one, else a password.
    Dual,
}
