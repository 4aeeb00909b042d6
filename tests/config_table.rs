//! Holds the configuration chapter of the README to the vocabulary.

use std::fs;

use openwired::config::{self, Environment, Source};

const BEGIN: &str =
    "<!-- vocabulary: made by `UPDATE_README=1 cargo test --test config_table` -->\n";
const END: &str = "<!-- end of vocabulary -->\n";

#[test]
fn the_readme_says_of_every_word_what_becomes_of_it() {
    let page = fs::read_to_string("README.md").unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let want = format!("\n{}\n", config::vocabulary_table());
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write("README.md", format!("{before}{BEGIN}{want}{END}{after}")).unwrap();
    } else {
        assert!(
            table == want,
            "the table is out of date; run UPDATE_README=1 cargo test --test config_table"
        );
    }
}

#[test]
fn the_shipped_configuration_starts_on_this_machine_only() {
    let config = config::load(&Source::default(), &Environment::default());
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let [connector] = config.connectors.as_slice() else { panic!("{:?}", config.connectors) };
    assert_eq!((connector.host.as_str(), connector.port), ("127.0.0.1", 61616));
    assert_eq!(config.broker.data_directory.to_str(), Some("./data"));
    assert_eq!(config.web.unwrap().host, "127.0.0.1");
}
