//! What a configuration can ask of the console.

use std::path::PathBuf;

use crate::base::options::options;

options! {
    /// What `jetty.xml` says of the console.
    pub struct WebOptions {
        host: String = "127.0.0.1".to_owned(),
        port: u16 = 8161,
        /// `false` when a configuration sets `authenticate` to `false`.
        authenticate: bool = true,
        realm: String = "ActiveMQRealm".to_owned(),
        /// File of `user: password, role`.
        realm_file: Option<PathBuf> = None,
    }

    /// `<managementContext>`. There is no JMX here; some of it names things in the API.
    pub struct ManagementOptions {
        create_connector: bool = false,
        connector_port: u16 = 1099,
        connector_host: String = "localhost".to_owned(),
        connector_path: String = "/jmxrmi".to_owned(),
        rmi_server_port: u16 = 0,
        jmx_domain_name: String = "org.apache.activemq".to_owned(),
        allow_remote_address_in_mbean_names: bool = true,
        suppress_mbean: String = String::new(),
    }
}
