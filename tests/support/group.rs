//! Nodes that share one store directory, each with a home and ports of its own.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::daemon::{BINARY, Home, port_in};
use super::process::Process;

/// A store, and how its nodes are configured.
#[derive(Debug)]
pub struct Group {
    directory: TempDir,
    /// Further attributes and children of `<kahaDB>`.
    attributes: String,
    children: String,
}

/// One broker; killed when dropped.
#[derive(Debug)]
pub struct Node {
    pub process: Process,
    home: Home,
}

impl Group {
    pub fn new() -> Self {
        Self::with("", "")
    }

    pub fn with(attributes: &str, children: &str) -> Self {
        let directory = TempDir::with_prefix("openwired-store-").unwrap();
        Self { directory, attributes: attributes.to_owned(), children: children.to_owned() }
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("kahadb")
    }

    pub fn lock(&self) -> PathBuf {
        self.store().join("lock")
    }

    /// The configuration of a node, with more attributes of its store.
    fn home(&self, name: &str, more: &str) -> Home {
        let (store, attributes) = (self.store().display().to_string(), &self.attributes);
        let children = &self.children;
        Home::new(&format!(
            r#"<broker xmlns="http://activemq.apache.org/schema/core" brokerName="{name}" dataDirectory="${{activemq.data}}">
  <persistenceAdapter><kahaDB directory="{store}" {attributes} {more}>{children}</kahaDB></persistenceAdapter>
  <transportConnectors><transportConnector name="openwire" uri="tcp://127.0.0.1:0"/></transportConnectors>
</broker>
"#
        ))
    }

    /// Starts a node, which becomes master or slave.
    pub fn start(&self, name: &str) -> Node {
        self.start_with(name, "", &[])
    }

    pub fn start_with(&self, name: &str, attributes: &str, arguments: &[&str]) -> Node {
        let home = self.home(name, attributes);
        let mut command = home.command(&["console"]);
        command.args(arguments);
        Node { process: Process::start(&mut command), home }
    }

    /// Starts a node that comes to a place of `fail-points`.
    pub fn start_failing(&self, name: &str, at: &str, arguments: &[&str]) -> Node {
        let home = self.home(name, "");
        let mut command = home.command(&["console"]);
        command.args(arguments).env("OPENWIRED_FAIL_POINT", at);
        Node { process: Process::start(&mut command), home }
    }

    /// Starts a node whose syncs of the disk take 8 seconds, from the given one on. The
    /// tracer that does this keeps the process until the time is over, even when it has ended.
    pub fn start_on_slow_disk(&self, name: &str, from: u32, arguments: &[&str]) -> Node {
        let home = self.home(name, "");
        let plain = home.command(&[]);
        let mut traced = Command::new("strace");
        let inject = format!("inject=fdatasync:delay_enter=8000000:when={from}+");
        traced.args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=fdatasync", "-e", &inject]);
        traced.args(["-o", "/dev/null", BINARY, "console"]).args(arguments).env_clear();
        traced.current_dir(home.path());
        traced.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Node { process: Process::start(&mut traced), home }
    }

    /// Starts one that must become master; returns when it serves.
    pub fn master(&self, name: &str) -> Node {
        let node = self.start(name);
        node.port();
        node
    }

    /// Starts one that must become slave; returns when it waits.
    pub fn slave(&self, name: &str) -> Node {
        let node = self.start(name);
        node.process.wait_for("This broker is now in slave mode waiting a lock to be acquired");
        node
    }
}

impl Node {
    /// Waits until it is master.
    pub fn port(&self) -> u16 {
        self.process.wait_for(") started");
        port_in(&self.process.wait_for("Listening for connections at: "))
    }

    pub fn is_master(&self) -> bool {
        self.process.said().contains("Listening for connections at: ")
    }

    /// A command of the same installation, such as `status`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.home.command(arguments)
    }
}
