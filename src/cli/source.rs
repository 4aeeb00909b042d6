//! Which configuration a command means, and what surrounds it.

use std::path::{Path, PathBuf};

use super::layout::Layout;
use crate::config::{Environment, Fault, Source};

/// The file of a configuration when none is named.
const FILE_DEFAULT: &str = "activemq.xml";

/// Reads the argument. A relative path that is no file here is looked for in `${activemq.conf}`, where
/// ActiveMQ looks first.
pub(super) fn resolve(argument: Option<&str>, layout: &Layout) -> Result<Source, Fault> {
    let Some(argument) = argument else {
        return Ok(Source::File(layout.conf.join(FILE_DEFAULT)));
    };
    Ok(match Source::parse(argument)? {
        Source::File(path) => Source::File(find(path, &layout.conf)),
        broker @ Source::Broker { .. } => broker,
    })
}

/// The file that an argument names, if it names one by a path that leads to it from here.
pub(super) fn named_file(argument: Option<&str>) -> Option<PathBuf> {
    match Source::parse(argument?) {
        Ok(Source::File(path)) if path.is_file() => Some(path),
        _ => None,
    }
}

fn find(path: PathBuf, conf: &Path) -> PathBuf {
    let there = conf.join(&path);
    if path.is_relative() && !path.is_file() && there.is_file() { there } else { path }
}

/// The definitions of the command line, and the directories as properties.
pub(super) fn environment(layout: &Layout, strict: bool) -> Environment {
    let Layout { home, base, conf, data, .. } = layout;
    let directories = [
        ("activemq.home", home),
        ("activemq.base", base),
        ("activemq.conf", conf),
        ("activemq.data", data),
    ];
    let directories = directories.map(|(name, path)| format!("{name}={}", path.display()));
    let defined = layout.definitions.iter().map(|(name, value)| format!("{name}={value}"));
    // The directories come last: they were worked out from the definitions.
    Environment::of_process(defined.chain(directories), strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_among_the_configurations() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("other.xml"), "").unwrap();
        assert_eq!(find("other.xml".into(), dir.path()), dir.path().join("other.xml"));
        assert_eq!(find("none.xml".into(), dir.path()), Path::new("none.xml"));
        assert_eq!(find("/other.xml".into(), dir.path()), Path::new("/other.xml"));
    }
}
