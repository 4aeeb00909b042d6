//! The load program on the Java client: compiled when needed, fed commands line by line.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/duel/Load.java");
const JARS: &str = "/usr/share/java";
/// The 5.17.2 client and what it needs.
const CLIENT_JARS: [&str; 6] = [
    "activemq-client.jar",
    "geronimo-jms_1.1_spec.jar",
    "geronimo-j2ee-management-1.1-spec.jar",
    "hawtbuf.jar",
    "slf4j-api.jar",
    "slf4j-nop.jar",
];
/// Brings Java, the broker and the client.
const INSTALL: &str = "apt-get install --no-install-recommends activemq libactivemq-java \
                       libslf4j-java default-jdk-headless";

/// Finds a program of the JDK on the PATH.
pub(crate) fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        env::split_paths(&path).map(|directory| directory.join(name)).find(|it| it.exists());
    found.with_context(|| {
        format!("there is no `{name}` to compare with; install it by\n  {INSTALL}")
    })
}

/// Fails with the command that helps where a file of a Debian package is missing.
pub(crate) fn installed(path: &Path) -> anyhow::Result<()> {
    ensure!(path.exists(), "there is no {}; install it by\n  {INSTALL}", path.display());
    Ok(())
}

/// A running load program. It serves one command at a time and stays warm between them.
#[derive(Debug)]
pub(crate) struct JavaLoad {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl JavaLoad {
    /// Compiles and starts it.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let jars = CLIENT_JARS.map(|jar| Path::new(JARS).join(jar));
        jars.iter().try_for_each(|jar| installed(jar))?;
        let classpath = env::join_paths(&jars)?;
        let classes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duel");
        fs::create_dir_all(&classes)?;
        let compiled = Command::new(tool("javac")?)
            .arg("-cp")
            .arg(&classpath)
            .arg("-d")
            .arg(&classes)
            .arg(SOURCE)
            .status()?;
        ensure!(compiled.success(), "javac refused {SOURCE}");
        let classpath = env::join_paths(std::iter::once(&classes).chain(&jars))?;
        let mut process = Command::new(tool("java")?)
            .arg("-cp")
            .arg(classpath)
            .arg("Load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = process.stdin.take().context("no stdin")?;
        let answers = BufReader::new(process.stdout.take().context("no stdout")?);
        Ok(Self { process, commands, answers })
    }

    /// Has one command served and returns its answer.
    pub(crate) fn run(&mut self, command: &str) -> anyhow::Result<Value> {
        writeln!(self.commands, "{command}")?;
        self.commands.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .with_context(|| format!("the Java client answers {line:?} to {command}"))?;
        if let Some(error) = answer.get("error") {
            bail!("the Java client fails at {command}: {error}");
        }
        Ok(answer)
    }
}

impl Drop for JavaLoad {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the Java client with pid {} may still run: {error}", self.process.id());
        }
    }
}
