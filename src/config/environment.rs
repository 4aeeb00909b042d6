//! What a configuration takes from around it: definitions, environment, directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What surrounds the process, taken once so that tests can make it up.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `-Dname=value` of the command line; they win over `ACTIVEMQ_OPTS`.
    pub defines: BTreeMap<String, String>,
    /// The process's environment variables.
    pub variables: BTreeMap<String, String>,
    /// Refuse, rather than start without a part that is not served.
    pub strict: bool,
}

impl Environment {
    /// That of this process; `defines` are the arguments of `-D`, `name=value` or `name`.
    pub fn of_process(defines: impl IntoIterator<Item = impl AsRef<str>>, strict: bool) -> Self {
        let defines = defines.into_iter().map(|text| define(text.as_ref())).collect();
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self { defines, variables: variables.collect(), strict }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// All that Java would know as system properties while it reads `file`.
    pub(super) fn system_properties(&self, file: Option<&Path>) -> BTreeMap<String, String> {
        let mut known = self.machine();
        for options in ["ACTIVEMQ_SSL_OPTS", "ACTIVEMQ_OPTS"] {
            // What a shell could not read either defines nothing.
            let words = self.variable(options).and_then(shlex::split).unwrap_or_default();
            known.extend(words.iter().filter_map(|word| word.strip_prefix("-D")).map(define));
        }
        known.extend(self.defines.clone());
        for (name, path) in self.layout(&known, file) {
            known.entry(name.to_owned()).or_insert_with(|| path.to_string_lossy().into_owned());
        }
        known
    }

    fn machine(&self) -> BTreeMap<String, String> {
        let of = |name: &str| self.variable(name).map(str::to_owned);
        let working = std::env::current_dir().unwrap_or_default();
        let pairs = [
            ("user.dir", Some(working.to_string_lossy().into_owned())),
            ("user.home", of("HOME")),
            ("user.name", of("USER")),
            ("java.io.tmpdir", Some(of("TMPDIR").unwrap_or_else(|| "/tmp".to_owned()))),
            ("file.separator", Some("/".to_owned())),
        ];
        let said = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        said.collect()
    }

    /// The four directories of an instance, as the script of ActiveMQ tells them: from `-D`, from the
    /// environment, else from where `file` lies.
    fn layout(
        &self,
        known: &BTreeMap<String, String>,
        file: Option<&Path>,
    ) -> [(&'static str, PathBuf); 4] {
        let said = |property: &str, variable: &str| {
            let said = known.get(property).map(String::as_str).or_else(|| self.variable(variable));
            said.map(PathBuf::from)
        };
        let beside = file.and_then(Path::parent).map(or_here);
        let around = beside.filter(|dir| dir.ends_with("conf")).and_then(Path::parent).map(or_here);
        let home = said("activemq.home", "ACTIVEMQ_HOME");
        let base = said("activemq.base", "ACTIVEMQ_BASE").or_else(|| home.clone());
        let conf = said("activemq.conf", "ACTIVEMQ_CONF");
        let base_is_said = base.is_some();
        let base = base.unwrap_or_else(|| around.unwrap_or_else(|| Path::new(".")).to_owned());
        let conf = conf.unwrap_or_else(|| match beside {
            Some(dir) if !base_is_said => dir.to_owned(),
            _ => base.join("conf"),
        });
        let data = said("activemq.data", "ACTIVEMQ_DATA").unwrap_or_else(|| base.join("data"));
        [
            ("activemq.home", home.unwrap_or_else(|| base.clone())),
            ("activemq.base", base),
            ("activemq.conf", conf),
            ("activemq.data", data),
        ]
    }
}

fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

fn define(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim().to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(variables: &[(&str, &str)], file: &str) -> BTreeMap<String, String> {
        let variables = variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        let environment = Environment { variables: variables.collect(), ..Environment::default() };
        environment.system_properties(Some(Path::new(file)))
    }

    #[test]
    fn directories_follow_the_file_when_nothing_is_said() {
        let known = known(&[], "/opt/mq/conf/activemq.xml");
        assert_eq!(known["activemq.conf"], "/opt/mq/conf");
        assert_eq!(known["activemq.base"], "/opt/mq");
        assert_eq!(known["activemq.data"], "/opt/mq/data");
    }

    #[test]
    fn a_file_in_a_conf_directory_here_means_here() {
        assert_eq!(known(&[], "conf/activemq.xml")["activemq.data"], "./data");
        assert_eq!(known(&[], "activemq.xml")["activemq.conf"], ".");
    }

    #[test]
    fn what_is_said_wins() {
        let options = "-Xmx1G -Dactivemq.data=/d '-Dname=with blank' -Dswitch";
        let known = known(
            &[("ACTIVEMQ_HOME", "/h"), ("ACTIVEMQ_OPTS", options), ("ACTIVEMQ_DATA", "/e")],
            "/opt/mq/conf/activemq.xml",
        );
        assert_eq!(known["activemq.home"], "/h");
        assert_eq!(known["activemq.conf"], "/h/conf");
        assert_eq!(known["activemq.data"], "/d");
        assert_eq!((known["name"].as_str(), known["switch"].as_str()), ("with blank", ""));
    }
}
