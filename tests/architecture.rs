//! Holds the sources to what `src/ARCHITECTURE.md` says of them.

#![expect(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const TOP_LEVEL: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "conf",
    "tests",
    "benches",
    "docker",
    "README.md",
    "LICENSE",
];

/// Made by building and running; git ignores them.
const LEFT_BY_RUNNING: [&str; 2] = ["target", "data"];

#[test]
fn modules_use_only_what_their_layer_allows() {
    let page = architecture();
    let layers = layers(&page);
    let mut wrong = Vec::new();
    for (path, text) in sources(Path::new("src")) {
        let top = top_module(&path);
        if top == "lib" {
            continue;
        }
        let may_use = layers.get(top.as_str()).unwrap_or_else(|| panic!("no layer for `{top}`"));
        for (number, line) in text.lines().enumerate() {
            let inside = line.split("crate::").skip(1).chain(line.split("openwired::").skip(1));
            for used in inside.map(first_ident).filter(|used| !used.is_empty()) {
                if used != top && !may_use.contains(&used) {
                    wrong.push(format!("{}:{}: {top} uses {used}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn layers_form_no_circle() {
    let page = architecture();
    let mut waiting = layers(&page);
    while !waiting.is_empty() {
        let free: Vec<_> = waiting
            .iter()
            .filter(|(_, uses)| uses.iter().all(|used| !waiting.contains_key(used)))
            .map(|(module, _)| *module)
            .collect();
        assert!(!free.is_empty(), "a circle among {:?}", waiting.keys());
        waiting.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn every_path_named_exists() {
    let page = architecture();
    let named = page.split('`').skip(1).step_by(2).filter(|word| word.contains('/'));
    let gone: Vec<_> = named.filter(|path| !Path::new(path).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in sources(Path::new("src")) {
        let first = text.lines().next().unwrap_or_default();
        let says = first.starts_with("//! ") || first.starts_with("#![doc = include_str!");
        assert!(says, "{} lacks a //! line at its top", path.display());
    }
}

#[test]
fn the_top_level_holds_what_it_should_and_nothing_else() {
    for entry in fs::read_dir(".").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let known = name.starts_with('.')
            || TOP_LEVEL.contains(&name.as_str())
            || LEFT_BY_RUNNING.contains(&name.as_str());
        assert!(known, "`{name}` does not belong on the top level");
    }
}

fn architecture() -> String {
    fs::read_to_string("src/ARCHITECTURE.md").unwrap()
}

/// Reads the block of `module : what it may use` lines.
fn layers(page: &str) -> BTreeMap<&str, Vec<&str>> {
    let block = page.split("```layers\n").nth(1).unwrap().split("```").next().unwrap();
    let rows = block.lines().filter_map(|line| line.split_once(':'));
    rows.map(|(module, uses)| (module.trim(), uses.split_whitespace().collect())).collect()
}

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn top_module(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn first_ident(rest: &str) -> &str {
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}
