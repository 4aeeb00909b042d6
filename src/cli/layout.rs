//! Where things lie and how they are called: the environment of the `activemq` script, `-D` definitions.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::base::size;

/// What the script waits for a broker to stop before it kills it, in seconds.
const KILL_SECONDS: u64 = 30;

/// Variables that hold options for the Java machine, in the order in which the script passes them.
const OPTION_VARIABLES: [&str; 4] =
    ["ACTIVEMQ_OPTS_MEMORY", "ACTIVEMQ_OPTS", "ACTIVEMQ_SUNJMX_START", "ACTIVEMQ_SSL_OPTS"];

/// The directories and files of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub home: PathBuf,
    pub base: PathBuf,
    pub conf: PathBuf,
    pub data: PathBuf,
    pub pid_file: PathBuf,
    /// Where a daemon's stray output goes; `/dev/null` unless `ACTIVEMQ_OUT` says otherwise.
    pub out: PathBuf,
    /// How long `stop` waits before it kills.
    pub kill_after: Duration,
    /// `-Xmx`, of which a configuration may say percentages.
    pub heap_bytes: Option<u64>,
    /// `-Dname=value`, those of `ACTIVEMQ_OPTS` first, so that a later one wins.
    pub definitions: Vec<(String, String)>,
}

/// What the layout is worked out from.
pub(super) struct Surroundings<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The configuration that the command line names, where that is a file.
    pub file: Option<PathBuf>,
    /// The binary, as the system found it.
    pub exe: Option<PathBuf>,
    pub current_dir: PathBuf,
}

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum LayoutError {
    #[error("-D{0} is not of the form -Dname=value")]
    Definition(String),
    #[error("the quotes in {variable} do not match: {text}")]
    Quotes { variable: &'static str, text: String },
    #[error("ACTIVEMQ_KILL_MAXSECONDS={0} is not a number of seconds")]
    KillSeconds(String),
}

impl Layout {
    /// Works out the layout of this process. `defined` are the `-D` of the command line, `file` the
    /// configuration that it names.
    pub(super) fn of_process(
        defined: &[String],
        file: Option<PathBuf>,
    ) -> Result<Self, LayoutError> {
        let surroundings = Surroundings {
            variable: &|name| std::env::var_os(name).filter(|value| !value.is_empty()),
            file,
            exe: std::env::current_exe().ok(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        };
        Self::resolve(&surroundings, defined)
    }

    /// Where the broker logs.
    pub(super) fn log_file(&self) -> PathBuf {
        self.data.join("activemq.log")
    }

    /// A definition beats the variable, the variable beats the default below the directory above it.
    pub(super) fn resolve(
        around: &Surroundings<'_>,
        defined: &[String],
    ) -> Result<Self, LayoutError> {
        let text =
            |name: &str| (around.variable)(name).map(|value| value.to_string_lossy().into_owned());
        let mut definitions = Vec::new();
        let mut heap_bytes = None;
        for variable in OPTION_VARIABLES {
            let options = text(variable).unwrap_or_default();
            let words = shlex::split(&options)
                .ok_or_else(|| LayoutError::Quotes { variable, text: options.clone() })?;
            let mut heap = words.iter().filter_map(|word| size::parse(word.strip_prefix("-Xmx")?));
            heap_bytes = heap.next_back().or(heap_bytes);
            let flags = words.iter().filter_map(|word| word.strip_prefix("-D"));
            // Java takes `-Dname` for an empty value.
            definitions.extend(flags.map(|flag| match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => (flag.to_owned(), String::new()),
            }));
        }
        for flag in defined {
            let (name, value) = flag
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| LayoutError::Definition(flag.clone()))?;
            definitions.push((name.to_owned(), value.to_owned()));
        }

        let directory = |property: &str, variables: &[&str], otherwise: PathBuf| {
            let defined = definitions.iter().rev().find(|(name, _)| name == property);
            let path = defined
                .map(|(_, value)| PathBuf::from(value))
                .or_else(|| {
                    variables.iter().find_map(|name| (around.variable)(name).map(PathBuf::from))
                })
                .unwrap_or(otherwise);
            tidy(&around.current_dir.join(path))
        };
        let home = directory("activemq.home", &["ACTIVEMQ_HOME"], home_of(around));
        let base = directory("activemq.base", &["ACTIVEMQ_BASE"], home.clone());
        let says = |name: &str, variable| {
            definitions.iter().any(|(defined, _)| defined == name)
                || (around.variable)(variable).is_some()
        };
        let installed =
            says("activemq.home", "ACTIVEMQ_HOME") || says("activemq.base", "ACTIVEMQ_BASE");
        // What a file names stands beside it, unless an installation is named.
        let beside = around.file.as_deref().filter(|_| !installed).and_then(Path::parent);
        let conf = directory(
            "activemq.conf",
            &["ACTIVEMQ_CONF", "ACTIVEMQ_CONFIG_DIR"],
            beside.map_or_else(|| base.join("conf"), Path::to_owned),
        );
        let data =
            directory("activemq.data", &["ACTIVEMQ_DATA", "ACTIVEMQ_DATA_DIR"], base.join("data"));
        let pid_file = (around.variable)("ACTIVEMQ_PIDFILE")
            .map_or_else(|| data.join("activemq.pid"), |path| around.current_dir.join(path));
        let out = (around.variable)("ACTIVEMQ_OUT")
            .map_or_else(|| PathBuf::from("/dev/null"), |path| around.current_dir.join(path));
        let kill_seconds = text("ACTIVEMQ_KILL_MAXSECONDS")
            .map_or(Ok(KILL_SECONDS), |seconds| {
                seconds.trim().parse().map_err(|_| LayoutError::KillSeconds(seconds.clone()))
            })?;
        let kill_after = Duration::from_secs(kill_seconds);
        Ok(Self { home, base, conf, data, pid_file, out, kill_after, heap_bytes, definitions })
    }
}

/// The directory around the `conf` of the configuration that is named; without one the installation
/// that the binary belongs to, which is the directory above its `bin`; else the current directory or,
/// from a build tree, the nearest one above the binary that has a configuration.
fn home_of(around: &Surroundings<'_>) -> PathBuf {
    let file = around.file.as_ref().map(|file| around.current_dir.join(file));
    let conf = file.as_deref().and_then(Path::parent);
    if let Some(home) = conf.filter(|dir| dir.ends_with("conf")).and_then(Path::parent) {
        return home.to_owned();
    }
    let configured = |dir: &Path| dir.join("conf/activemq.xml").is_file();
    let exe_dir = around.exe.as_deref().and_then(Path::parent);
    let installed = exe_dir
        .filter(|dir| dir.file_name().is_some_and(|name| name == "bin"))
        .and_then(Path::parent)
        .filter(|home| configured(home));
    let in_current = Some(around.current_dir.as_path()).filter(|dir| configured(dir));
    let above = || exe_dir.into_iter().flat_map(Path::ancestors).find(|dir| configured(dir));
    installed.or(in_current).or_else(above).unwrap_or(&around.current_dir).to_owned()
}

/// The path without `.` parts; links and `..` stay, as only the file system knows what they mean.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &[(&str, &str)], defined: &[&str]) -> Result<Layout, LayoutError> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let around = Surroundings {
            variable: &variable,
            file: None,
            exe: Some("/opt/mq/sbin/openwired".into()),
            current_dir: "/srv".into(),
        };
        let defined: Vec<_> = defined.iter().map(ToString::to_string).collect();
        Layout::resolve(&around, &defined)
    }

    #[test]
    fn without_anything_said_all_lies_below_the_current_directory() {
        let layout = resolve(&[], &[]).unwrap();
        assert_eq!(layout.conf, Path::new("/srv/conf"));
        assert_eq!(layout.pid_file, Path::new("/srv/data/activemq.pid"));
        assert_eq!(layout.kill_after, Duration::from_secs(30));
    }

    #[test]
    fn each_directory_defaults_below_the_one_above_it() {
        let layout = resolve(&[("ACTIVEMQ_HOME", "/h"), ("ACTIVEMQ_DATA", "d")], &[]).unwrap();
        assert_eq!((layout.base, layout.conf), ("/h".into(), "/h/conf".into()));
        assert_eq!(layout.pid_file, Path::new("/srv/d/activemq.pid"));
    }

    #[test]
    fn the_command_line_beats_the_options_variable_and_that_the_environment() {
        let variables = [
            ("ACTIVEMQ_DATA", "/from-variable"),
            ("ACTIVEMQ_OPTS", "-Xmx1G -Dactivemq.data=/from-opts -Da='b c' -Dflag -server"),
        ];
        let layout = resolve(&variables, &[]).unwrap();
        assert_eq!(layout.data, Path::new("/from-opts"));
        let said: Vec<_> = layout.definitions.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(said, ["activemq.data=/from-opts", "a=b c", "flag="]);
        assert_eq!(layout.heap_bytes, Some(1 << 30));
        let layout = resolve(&variables, &["activemq.data=/from-line"]).unwrap();
        assert_eq!(layout.data, Path::new("/from-line"));
    }

    #[test]
    fn a_configuration_elsewhere_brings_the_directories_around_it() {
        let layout = |file: &str, home: Option<&str>| {
            let variable = |name: &str| home.filter(|_| name == "ACTIVEMQ_HOME").map(Into::into);
            let around = Surroundings {
                variable: &variable,
                file: Some(file.into()),
                exe: None,
                current_dir: "/srv".into(),
            };
            let Layout { conf, data, .. } = Layout::resolve(&around, &[]).unwrap();
            format!("{} {}", conf.display(), data.display())
        };
        assert_eq!(layout("/opt/mq1/conf/activemq.xml", None), "/opt/mq1/conf /opt/mq1/data");
        assert_eq!(layout("conf/activemq.xml", None), "/srv/conf /srv/data");
        assert_eq!(layout("/etc/mq.xml", None), "/etc /srv/data");
        assert_eq!(layout("/etc/mq.xml", Some("/h")), "/h/conf /h/data");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(resolve(&[], &["x"]), Err(LayoutError::Definition("x".into())));
        assert!(matches!(
            resolve(&[("ACTIVEMQ_OPTS", "-Da='b")], &[]),
            Err(LayoutError::Quotes { variable: "ACTIVEMQ_OPTS", .. })
        ));
        let odd = [("ACTIVEMQ_KILL_MAXSECONDS", "soon")];
        assert_eq!(resolve(&odd, &[]), Err(LayoutError::KillSeconds("soon".into())));
    }

    #[test]
    fn a_binary_below_a_tree_with_a_configuration_finds_it() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("conf")).unwrap();
        std::fs::write(tree.path().join("conf/activemq.xml"), "").unwrap();
        let home = |exe: &str, current_dir: &Path| {
            home_of(&Surroundings {
                variable: &|_| None,
                file: None,
                exe: Some(tree.path().join(exe)),
                current_dir: current_dir.to_owned(),
            })
        };
        assert_eq!(home("bin/openwired", Path::new("/")), tree.path());
        assert_eq!(home("target/release/openwired", Path::new("/")), tree.path());
        assert_eq!(home("../elsewhere", tree.path()), tree.path());
    }
}
