//! Holds the configuration chapter of the README to the vocabulary.

#![expect(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::fs;
use std::path::Path;

use openwired::config::{self, Environment, Source};

const BEGIN: &str =
    "<!-- vocabulary: made by `UPDATE_README=1 cargo test --test config_table` -->\n";
const END: &str = "<!-- end of vocabulary -->\n";

#[test]
fn the_readme_says_of_every_word_what_becomes_of_it() {
    let page = read("README.md");
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

/// Which fields the tables of everything but whole parts (plugins, network, store …) call served.
fn served_fields() -> Vec<String> {
    let mut fields = Vec::new();
    for table in ["broker", "connector", "policy", "usage"] {
        let text = read(format!("src/config/words/{table}.rs"));
        for row in text.split("set!(").skip(1) {
            let row = row.split(')').next().unwrap_or_default();
            let Some((_, target)) = row.split_once("=>") else { continue };
            let Some((field, standing)) = target.split_once(',') else { continue };
            if standing.trim().trim_end_matches(',') == "SERVED" {
                fields.push(field.trim().rsplit('.').next().unwrap_or_default().to_owned());
            }
        }
    }
    fields
}

#[test]
fn what_is_called_served_is_used_by_the_module_that_serves_it() {
    // Settled by `config` itself, which fills in what follows from them.
    let settled = [
        "use_local_host_broker_name",
        "uri",
        "name",
        "temp_data_directory",
        "delete_all_messages_on_startup",
    ];
    let mut sources = String::new();
    for module in ["src/broker", "src/connection", "src/transport", "src/server.rs", "src/server"] {
        collect(Path::new(module), &mut sources);
    }
    let fields = served_fields();
    assert!(fields.len() > 40, "{fields:?}");
    let unused = fields.iter().filter(|field| !settled.contains(&field.as_str()));
    let unused: Vec<_> = unused.filter(|field| !sources.contains(field.as_str())).collect();
    assert!(unused.is_empty(), "called served, but nothing reads {unused:?}");
}

/// All sources below `path` but the options themselves.
fn collect(path: &Path, sources: &mut String) {
    if path.file_stem().is_some_and(|stem| stem == "options" || stem == "tests") {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), sources);
        }
    } else {
        sources.push_str(&read(path));
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
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
