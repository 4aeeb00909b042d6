//! What follows from all words together: names and directories that are not said, and warnings; and
//! what the variables of ActiveMQ's image ask for.

use std::path::{Path, PathBuf};

use super::Config;
use super::connector::is_loopback;
use super::notice::Weight;
use super::place::Place;
use super::vocabulary::{Reading, Standing};
use super::web;
use super::words::standing::{JMX, SECURITY};
use crate::store::options::StoreOptions;

/// Variables from which ActiveMQ's image writes users into its configuration.
const USERS_OF_IMAGE: [(&str, Standing); 6] = [
    ("ACTIVEMQ_CONNECTION_USER", SECURITY),
    ("ACTIVEMQ_CONNECTION_PASSWORD", SECURITY),
    ("ACTIVEMQ_WEB_USER", web::CONSOLE),
    ("ACTIVEMQ_WEB_PASSWORD", web::CONSOLE),
    ("ACTIVEMQ_JMX_USER", JMX),
    ("ACTIVEMQ_JMX_PASSWORD", JMX),
];

/// Settles where messages are kept, once the broker's own words are read.
pub(super) fn store(config: &mut Config, reading: &mut Reading) {
    if !config.broker.persistent {
        config.store = StoreOptions::Memory;
        let about_store = ["<kahaDB>", "<mKahaDB>"];
        reading.notices.retain(|notice| !about_store.contains(&notice.word.as_str()));
    }
}

/// Fills in what the words leave open.
pub(super) fn finish(config: &mut Config, reading: &mut Reading) {
    name(config, reading);
    directories(config);
    users(reading);
    warnings(config, reading);
}

fn name(config: &mut Config, reading: &mut Reading) {
    let broker = &mut config.broker;
    if broker.use_local_host_broker_name && broker.broker_name == "localhost" {
        broker.broker_name = gethostname::gethostname().to_string_lossy().into_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let clean: String = broker.broker_name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if clean != broker.broker_name {
        let word = format!("brokerName `{}`", broker.broker_name);
        let text = format!("contains illegal characters - replaced with {clean}");
        reading.notice(Weight::Warning, word, text, &Place::whole(Path::new("<broker>")));
        broker.broker_name = clean;
    }
}

fn directories(config: &mut Config) {
    let Config { broker, store, scheduler_store, temp_store, .. } = config;
    let own = broker.data_directory.join(&broker.broker_name);
    let or = |place: &mut Option<PathBuf>, default: PathBuf| {
        place.get_or_insert(default);
    };
    match store {
        StoreOptions::Journal(journal) => or(&mut journal.directory, own.join("KahaDB")),
        StoreOptions::Journals(journals) => {
            or(&mut journals.directory, broker.data_directory.join("mKahaDB"));
        }
        StoreOptions::Memory => {}
    }
    let scheduler = broker.scheduler_directory.clone().unwrap_or_else(|| own.join("scheduler"));
    or(&mut scheduler_store.directory, scheduler);
    or(&mut broker.temp_data_directory, own.join("tmp_storage"));
    if let Some(temp) = &broker.temp_data_directory {
        or(&mut temp_store.directory, temp.clone());
    }
}

fn users(reading: &mut Reading) {
    let at = Place::whole(Path::new("the environment"));
    for (name, standing) in USERS_OF_IMAGE {
        if reading.properties.variables.get(name).is_some_and(|value| !value.is_empty()) {
            reading.say(standing, name.to_owned(), &at);
        }
    }
}

fn warnings(config: &Config, reading: &mut Reading) {
    if config.connectors.is_empty() && reading.faults.is_empty() {
        let at = Place::whole(Path::new("<transportConnectors>"));
        let text = "no client can connect".to_owned();
        reading.notice(Weight::Warning, "no connector is served".to_owned(), text, &at);
    }
    if !config.security.authentication.is_empty() || !reading.faults.is_empty() {
        return;
    }
    for (connector, at) in config.connectors.iter().zip(reading.connectors.clone()) {
        if !is_loopback(connector) {
            let word = format!("the connector on {}:{}", connector.host, connector.port);
            let text = "is open to every host without a password and without encryption".to_owned();
            reading.notice(Weight::Warning, word, text, &at);
        }
    }
}
