//! A real ActiveMQ Classic, from Debian's packages, to hold the client against.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::port_in;
use super::process::Process;

const JARS: &str = "/usr/share/java";
const NEEDED: [&str; 22] = [
    "activemq-broker",
    "activemq-client",
    "activemq-console",
    "activemq-jaas",
    "activemq-kahadb-store",
    "activemq-openwire-legacy",
    "activemq-protobuf",
    "activemq-spring",
    "commons-io",
    "commons-logging",
    "geronimo-annotation-1.3-spec",
    "geronimo-j2ee-management-1.1-spec",
    "geronimo-jms_1.1_spec",
    "hawtbuf",
    "slf4j-api",
    "slf4j-jdk14",
    "spring3-aop",
    "spring3-beans",
    "spring3-context",
    "spring3-core",
    "spring3-expression",
    "xbean-spring",
];
const INSTALL: &str =
    "apt-get install --no-install-recommends activemq libactivemq-java default-jdk-headless";

/// A running ActiveMQ; killed when dropped.
#[derive(Debug)]
pub struct ActiveMq {
    pub process: Process,
    _dir: TempDir,
    port: u16,
}

impl ActiveMq {
    /// Starts one in memory; `inside` stands before its connectors. Fails the test, with the command
    /// that installs it, where it is missing.
    pub fn start(inside: &str) -> Self {
        Self::start_with("brokerName='real'", inside)
    }

    /// The same with these attributes of the broker, among them a `brokerName`.
    pub fn start_with(attributes: &str, inside: &str) -> Self {
        let dir = TempDir::with_prefix("activemq-").unwrap();
        let file = dir.path().join("activemq.xml");
        let data = dir.path().display();
        let attributes = format!("{attributes} persistent='false' dataDirectory='{data}'");
        fs::write(&file, configuration(&attributes, inside, 0)).unwrap();
        let process = Process::start(&mut command(&file, dir.path()));
        process.wait_for(") started");
        let port = port_in(&process.wait_for("Listening for connections at: "));
        Self { process, _dir: dir, port }
    }

    pub fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }
}

/// An ActiveMQ with this `activemq.xml`, not started yet. Fails the test where one is missing.
pub fn command(file: &Path, directory: &Path) -> Command {
    let mut command = shell();
    command.arg("start");
    command.arg(format!("xbean:file:{}", file.display())).current_dir(directory);
    command
}

/// ActiveMQ's own Java program `producer` or `consumer`, which works on a queue until it has sent or received
/// `count` messages and tells of each it received.
pub fn java_client(what: &str, url: &str, queue: &str, count: usize, sleep: Duration) -> Command {
    let mut command = shell();
    command.args([what, "--brokerUrl", url, "--destination", &format!("queue://{queue}")]);
    command.args(["--messageCount", &count.to_string()]);
    command.args(["--sleep", &sleep.as_millis().to_string()]);
    command
}

/// The Java program behind `bin/activemq`.
fn shell() -> Command {
    let jars = NEEDED.map(|name| format!("{JARS}/{name}.jar"));
    let missing: Vec<_> = jars.iter().filter(|jar| !Path::new(jar).exists()).collect();
    assert!(missing.is_empty(), "missing {missing:?}; install with: {INSTALL}");
    let java = Command::new("java").arg("-version").output();
    assert!(java.is_ok(), "no java; install with: {INSTALL}");
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-Djava.net.preferIPv4Stack=true", "-cp", &jars.join(":")]);
    command.arg("org.apache.activemq.console.command.ShellCommand");
    command
}

/// An `activemq.xml` as both kinds of brokers read it: one OpenWire connector on `port`, or on a free one for
/// 0; `inside` stands before it.
pub fn configuration(attributes: &str, inside: &str, port: u16) -> String {
    format!(
        r#"<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
    http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" {attributes}>
    {inside}
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://127.0.0.1:{port}"/>
    </transportConnectors>
  </broker>
</beans>
"#
    )
}
