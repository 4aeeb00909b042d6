//! One broker process: started on a free loopback port, asked what it used, ended.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use openwired::client::{BrokerUrl, Link};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::java;

/// The configuration of both brokers, with holes.
const CONFIGURATION: &str = include_str!("activemq.xml");
/// Its name in a broker's directory.
const CONFIGURATION_FILE: &str = "activemq.xml";
/// Where Debian keeps what its users' brokers are started with.
const ACTIVEMQ_HOME: &str = "/usr/share/activemq";
/// What Debian's script opens to ActiveMQ on a Java newer than 8, as far as the broker needs it.
const OPENED: [&str; 5] = [
    "java.base/java.lang=ALL-UNNAMED",
    "java.base/java.net=ALL-UNNAMED",
    "java.base/java.util=ALL-UNNAMED",
    "java.base/java.util.concurrent=ALL-UNNAMED",
    "java.naming/javax.naming.spi=ALL-UNNAMED",
];
const START_MAX: Duration = Duration::from_secs(60);
/// Between two attempts to connect to a broker that starts: short beside what is measured.
const ATTEMPT_EVERY: Duration = Duration::from_micros(200);

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Openwired,
    ActiveMq,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Openwired => "openwired",
            Self::ActiveMq => "ActiveMQ",
        })
    }
}

/// Where brokers keep their messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storage {
    Memory,
    Disk,
}

impl Storage {
    fn configuration(self, port: u16, data: &Path, network: &str) -> String {
        let (persistent, memory) = match self {
            Self::Memory => ("false", "256 mb"),
            Self::Disk => ("true", "700 mb"),
        };
        CONFIGURATION
            .replace("@PORT@", &port.to_string())
            .replace("@DATA@", &data.display().to_string())
            .replace("@PERSISTENT@", persistent)
            .replace("@MEMORY@", memory)
            .replace("@NETWORK@", network)
    }
}

/// A running broker. Dropping it ends the process and removes its directory.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) kind: Kind,
    /// From the latest start of the process until it had sent its WireFormatInfo to a client.
    pub(crate) started_in: Duration,
    port: u16,
    process: Child,
    directory: TempDir,
}

/// What a broker's process used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds of processor time, of the program and of the kernel for it.
    pub(crate) cpu_seconds: f64,
    /// KiB of memory now.
    pub(crate) rss_kib: f64,
    /// KiB of memory at most, since the start or [`Broker::forget_peak`].
    pub(crate) peak_kib: f64,
}

impl Broker {
    /// Starts a broker, and returns when it has accepted a client.
    pub(crate) fn start(kind: Kind, storage: Storage, runtime: &Runtime) -> anyhow::Result<Self> {
        Self::start_with(kind, storage, runtime, "")
    }

    /// Starts one that has a bridge to this one.
    pub(crate) fn start_bridged(
        &self,
        storage: Storage,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let uri = format!("static:({})", self.url());
        let network = format!(
            "<networkConnectors><networkConnector name=\"duel\" uri=\"{uri}\"/></networkConnectors>"
        );
        Self::start_with(self.kind, storage, runtime, &network)
    }

    fn start_with(
        kind: Kind,
        storage: Storage,
        runtime: &Runtime,
        network: &str,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("duel").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let configuration = storage.configuration(port, directory.path(), network);
        fs::write(directory.path().join(CONFIGURATION_FILE), configuration)?;
        let begin = Instant::now();
        let process = spawn(kind, &directory)?;
        let mut broker = Self { kind, started_in: Duration::ZERO, port, process, directory };
        broker.await_start(begin, runtime)?;
        Ok(broker)
    }

    /// Kills the process as kill -9 does, and starts it again on what it left.
    pub(crate) fn restart(&mut self, runtime: &Runtime) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let begin = Instant::now();
        self.process = spawn(self.kind, &self.directory)?;
        self.await_start(begin, runtime)
    }

    fn await_start(&mut self, begin: Instant, runtime: &Runtime) -> anyhow::Result<()> {
        let url = BrokerUrl::parse(&self.url())?;
        let endpoint = url.brokers.first().context("a URL without a broker")?;
        while runtime.block_on(Link::open(endpoint)).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.kind, self.log());
            }
            let late = begin.elapsed() > START_MAX;
            ensure!(!late, "{} did not start in {START_MAX:?}:\n{}", self.kind, self.log());
            std::thread::sleep(ATTEMPT_EVERY);
        }
        self.started_in = begin.elapsed();
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// The directory with what it stores.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("kahadb")
    }

    fn log(&self) -> String {
        fs::read_to_string(log_of(&self.directory)).unwrap_or_else(|error| error.to_string())
    }

    /// Reads what the kernel counted for the process.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let read = |file: &str| {
            let path = PathBuf::from(format!("/proc/{}/{file}", self.process.id()));
            fs::read_to_string(&path)
                .with_context(|| format!("{} is gone:\n{}", self.kind, self.log()))
        };
        let peak_kib = kib(&read("status")?, "VmHWM:")?;
        let rss_kib = kib(&read("smaps_rollup")?, "Rss:")?;
        Ok(Usage { cpu_seconds: cpu_seconds(&read("stat")?)?, rss_kib, peak_kib })
    }

    /// Lets the peak begin at what is used now.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        // 5 is the kernel's word for it, see proc(5).
        fs::write(&path, "5").with_context(|| format!("resetting the peak by {path}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("{} with pid {} may still run: {error}", self.kind, self.process.id());
        }
    }
}

fn log_of(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

fn spawn(kind: Kind, directory: &TempDir) -> anyhow::Result<Child> {
    let (path, file) = (directory.path(), directory.path().join(CONFIGURATION_FILE));
    let mut command = match kind {
        Kind::Openwired => openwired(path, &file),
        Kind::ActiveMq => activemq(path, &file)?,
    };
    let log = fs::OpenOptions::new().create(true).append(true).open(log_of(directory))?;
    command.current_dir(path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("starting {kind}"))
}

fn openwired(directory: &Path, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openwired"));
    command.arg("console").arg(define("data", directory)).arg(file);
    command
}

/// As `activemq console` starts it, without its shell script, which wants to own `/run`.
fn activemq(directory: &Path, file: &Path) -> anyhow::Result<Command> {
    let jar = Path::new(ACTIVEMQ_HOME).join("bin/activemq.jar");
    java::installed(&jar)?;
    let mut command = Command::new(java::tool("java")?);
    command.args(debian_options()?).args(OPENED.iter().flat_map(|opened| ["--add-opens", opened]));
    command.arg("-Djava.awt.headless=true").arg(define("home", Path::new(ACTIVEMQ_HOME)));
    command.args(["base", "conf", "data"].map(|name| define(name, directory)));
    command.arg("-jar").arg(jar).arg("start").arg(format!("xbean:file:{}", file.display()));
    Ok(command)
}

fn define(name: &str, path: &Path) -> String {
    format!("-Dactivemq.{name}={}", path.display())
}

/// The options that the package gives to every instance, the size of the heap among them.
fn debian_options() -> anyhow::Result<Vec<String>> {
    let path = Path::new(ACTIVEMQ_HOME).join("activemq-options");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("ACTIVEMQ_OPTS="));
    let line = line.with_context(|| format!("{} sets no ACTIVEMQ_OPTS", path.display()))?;
    Ok(line.trim_matches('"').split_whitespace().map(str::to_owned).collect())
}

/// Seconds from the fields utime and stime of `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> anyhow::Result<f64> {
    // The second field is the program's name in parentheses, which may hold spaces.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat without a name")?;
    let ticks = |at: usize| {
        let field = fields.split(' ').nth(at).context("/proc/PID/stat is cut")?;
        field.parse::<f64>().with_context(|| format!("field {field} of /proc/PID/stat"))
    };
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok((ticks(11)? + ticks(12)?) / ticks_per_second)
}

/// A line such as `VmHWM:   1234 kB`.
fn kib(text: &str, name: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("the kernel says no {name}"))?;
    let number = line.trim().trim_end_matches(" kB");
    number.parse().with_context(|| format!("{name} {number}"))
}
