//! An openwired of this build, on free ports of the loopback, in a directory of its own.
//!
//! ```ignore
//! let broker = Daemon::start();                       // in memory, one connector
//! let url = broker.url();                             // tcp://127.0.0.1:…
//! let broker = Daemon::with(&configuration("", 0));   // a configuration of the test's own
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use super::process::Process;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_openwired");

/// A running broker; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    pub process: Process,
    home: Home,
    port: u16,
}

/// A directory with `conf/activemq.xml` and room for `data`.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    pub fn new(configuration: &str) -> Self {
        let dir = TempDir::with_prefix("openwired-").unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/activemq.xml"), configuration).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.data().join("activemq.log")).unwrap()
    }

    /// The binary with these arguments, in this directory, without what the tester's shell says.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.path()).env_clear();
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("ACTIVEMQ_HOME", self.path());
        command
    }
}

/// A broker in memory with one OpenWire connector on `port`, or on a free one for 0; `inside` stands
/// before the connectors.
pub fn configuration(inside: &str, port: u16) -> String {
    named_configuration("test", inside, port)
}

/// The same with a `brokerName` of its own.
pub fn named_configuration(name: &str, inside: &str, port: u16) -> String {
    format!(
        r#"<beans xmlns="http://www.springframework.org/schema/beans">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="{name}" persistent="false"
          dataDirectory="${{activemq.data}}">
    {inside}
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:{port}"/>
    </transportConnectors>
  </broker>
</beans>
"#
    )
}

impl Daemon {
    /// Starts a broker in memory with one connector, and returns when it accepts connections.
    pub fn start() -> Self {
        Self::with(&configuration("", 0))
    }

    /// The same on a port where another one was.
    pub fn start_on(port: u16) -> Self {
        Self::with(&configuration("", port))
    }

    /// Starts a broker with this `activemq.xml`, and returns when it accepts connections.
    pub fn with(configuration: &str) -> Self {
        Self::with_arguments(configuration, &[])
    }

    pub fn with_arguments(configuration: &str, arguments: &[&str]) -> Self {
        let home = Home::new(configuration);
        let process = Process::start(home.command(&["console"]).args(arguments));
        process.wait_for(") started");
        let listening = process.wait_for("Listening for connections at: ");
        let port = port_in(&listening);
        Self { process, home, port }
    }

    /// The first connector's.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Stops it in order.
    pub fn stop(mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// The port at the end of the address in a `Listening for connections at:` line.
pub fn port_in(line: &str) -> u16 {
    let address = line.split("://").nth(1).unwrap_or_else(|| panic!("no address in `{line}`"));
    let authority = address.split(['?', ' ']).next().unwrap();
    authority.rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("no port in `{line}`"))
}
