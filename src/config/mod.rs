//! `activemq.xml` -> the `Options` of the modules below.
//!
//! * [`load`] reads a [`Source`] within an [`Environment`]; [`check()`] does, and says all of it.
//! * `words/` is the vocabulary: for each element what may stand in it, where its value goes, and what
//!   becomes of it. Start there. `vocabulary` is how such a table reads an element.
//! * `element` is XML with line numbers; `document` the file with its imports, properties and beans.
//! * `placeholder`, `properties`, `encrypted` are how `${name}` gets its value.
//!
//! **Invariant:** every word is served, or said to the operator in a [`Notice`], or a [`Fault`];
//! nothing is passed over in silence. No input panics, and nothing outside the named files is read.

mod check;
mod connector;
mod document;
mod element;
mod encrypted;
mod environment;
mod error;
mod finish;
mod notice;
mod place;
mod placeholder;
pub mod properties;
mod source;
mod table;
mod value;
mod vocabulary;
mod web;
mod words;

use crate::broker::options::BrokerOptions;
use crate::network::options::NetworkConnector;
use crate::security::options::SecurityOptions;
use crate::store::options::{SchedulerStoreOptions, StoreOptions, TempStoreOptions};
use crate::transport::options::TransportConnector;
use crate::web::options::{ManagementOptions, WebOptions};

pub use check::{CheckReport, check};
pub use environment::Environment;
pub use error::{ConfigError, Fault, Hint};
pub use notice::{Notice, Weight};
pub use place::Place;
pub use source::{DEFAULT_FILE, Source};
pub use table::vocabulary_table;
pub use vocabulary::Standing;

/// All that a configuration says, with the default in the place of what it does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub broker: BrokerOptions,
    /// Those that are served; what is not is in `notices`.
    pub connectors: Vec<TransportConnector>,
    /// Directories are filled in.
    pub store: StoreOptions,
    pub temp_store: TempStoreOptions,
    pub scheduler_store: SchedulerStoreOptions,
    pub network: Vec<NetworkConnector>,
    pub security: SecurityOptions,
    /// `None` when the configuration has no console.
    pub web: Option<WebOptions>,
    pub management: ManagementOptions,
    /// What the operator must know; the server logs each at start.
    pub notices: Vec<Notice>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: BrokerOptions::default(),
            connectors: Vec::new(),
            store: StoreOptions::Journal(Box::default()),
            temp_store: TempStoreOptions::default(),
            scheduler_store: SchedulerStoreOptions::default(),
            network: Vec::new(),
            security: SecurityOptions::default(),
            web: None,
            management: ManagementOptions::default(),
            notices: Vec::new(),
        }
    }
}

/// Reads a configuration; fails with everything that is wrong with it.
pub fn load(source: &Source, environment: &Environment) -> Result<Config, ConfigError> {
    let (config, faults) = read(source, environment);
    if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
}

/// Reads as much of a configuration as can be read.
fn read(source: &Source, environment: &Environment) -> (Config, Vec<Fault>) {
    let mut config = Config::default();
    let mut reading = match document::open(source, environment) {
        Ok(opened) => opened.read_into(&mut config),
        Err(fault) => return (config, vec![fault]),
    };
    finish::finish(&mut config, &mut reading);
    config.notices = reading.notices;
    (config, reading.faults)
}
