//! `openwired start`, `status`, `stop`, `restart`, `kill`: the broker in the background.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::daemon::{BINARY, Home, configuration, port_in};
use support::process::{Process, signal};

/// A home whose daemon is ended with it, whatever becomes of the test.
struct Background(Home);

impl Background {
    fn new() -> Self {
        Self(Home::new(&configuration("", 0)))
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(self.0.command(arguments).output().unwrap())
    }

    fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.0.data().join("activemq.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Where the last daemon of this home listens.
    fn port(&self) -> u16 {
        let log = self.0.log();
        port_in(log.lines().rfind(|line| line.contains("Listening for connections")).unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.command(&["kill"]).output());
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), format!("{out}{err}"))
}

#[test]
fn a_daemon_starts_is_seen_and_stops() {
    let home = Background::new();
    assert_eq!(home.run(&["status"]), (Some(1), "ActiveMQ not running\n".into()));

    let (code, text) = home.run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    let pid = home.pid();
    let file = home.0.data().join("activemq.pid");
    let created = format!("INFO: pidfile created : '{}' (pid '{pid}')", file.display());
    assert!(text.contains("INFO: Starting - inspect logfile") && text.contains(&created), "{text}");
    // `start` returned: the port is open.
    TcpStream::connect(("127.0.0.1", home.port())).unwrap();
    let running = format!("ActiveMQ is running (pid '{pid}')\n");
    assert_eq!(home.run(&["status"]), (Some(0), running));

    let (code, text) = home.run(&["start"]);
    let already = format!("INFO: Process with pid '{pid}' is already running\n");
    assert_eq!((code, text), (Some(0), already));
    let (code, text) = home.run(&["console"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("ERROR: ActiveMQ is already running"), "{text}");

    let (code, text) = home.run(&["stop"]);
    assert_eq!(code, Some(0), "{text}");
    let waiting = format!(
        "INFO: Waiting at least 30 seconds for regular process termination of pid '{pid}' : \n FINISHED\n"
    );
    assert_eq!(text, waiting);
    assert!(!file.exists());
    assert_eq!(home.run(&["status"]), (Some(1), "ActiveMQ not running\n".into()));
    assert_eq!(home.run(&["stop"]), (Some(0), "ActiveMQ not running\n".into()));
    let log = home.0.log();
    let order = [
        "is starting",
        "Listening for connections at: ",
        "Connector openwire started",
        ") started",
        "is shutting down",
        "Connector openwire stopped",
        " uptime ",
        "is shutdown",
    ];
    let places: Vec<_> =
        order.map(|text| log.find(text).unwrap_or_else(|| panic!("no `{text}` in\n{log}"))).into();
    assert!(places.is_sorted(), "{log}");
}

#[test]
fn a_restart_is_another_process_that_serves() {
    let home = Background::new();
    let (code, text) = home.run(&["restart"]);
    assert_eq!(code, Some(0), "{text}");
    let first = home.pid();
    let (code, text) = home.run(&["restart"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" FINISHED") && text.contains("ActiveMQ is running"), "{text}");
    assert_ne!(home.pid(), first);
    TcpStream::connect(("127.0.0.1", home.port())).unwrap();
}

#[test]
fn a_daemon_that_was_killed_leaves_a_pid_file_that_fools_no_one() {
    let home = Background::new();
    home.run(&["start"]);
    let (code, text) = home.run(&["kill"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("INFO: sending SIGKILL to pid"), "{text}");
    assert_eq!(home.run(&["kill"]), (Some(0), "INFO: not running, nothing to do\n".into()));

    // The number now belongs to another program, which must neither count as the broker nor be hurt.
    let mut other = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let file = home.0.data().join("activemq.pid");
    fs::write(&file, format!("{}\n", other.id())).unwrap();
    assert_eq!(home.run(&["status"]), (Some(1), "ActiveMQ not running\n".into()));
    let (code, text) = home.run(&["stop"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("ERROR: No or outdated process id in"), "{text}");
    assert!(!file.exists());
    assert!(other.try_wait().unwrap().is_none(), "another program was ended");
    fs::write(&file, format!("{}\n", other.id())).unwrap();
    let (code, text) = home.run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(home.pid(), other.id());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_daemon_that_does_not_stop_is_killed_after_the_time_it_has() {
    let home = Background::new();
    home.run(&["start"]);
    signal(home.pid(), "STOP");
    let mut stop = home.0.command(&["stop"]);
    let (code, text) = said(stop.env("ACTIVEMQ_KILL_MAXSECONDS", "1").output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    let killed = "INFO: Regular shutdown not successful,  sending SIGKILL to process\n";
    assert!(text.contains("at least 1 seconds") && text.contains(killed), "{text}");
    assert_eq!(home.run(&["status"]).0, Some(1));
}

#[test]
fn a_daemon_has_left_the_session_of_its_terminal() {
    let home = Background::new();
    home.run(&["start"]);
    let pid = home.pid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], pid.to_string(), "session of {stat}");
    for stream in 0..=2 {
        let open = fs::read_link(format!("/proc/{pid}/fd/{stream}")).unwrap();
        assert_eq!(open, Path::new("/dev/null"), "descriptor {stream}");
    }
}

#[test]
fn the_directories_of_the_environment_are_followed() {
    let home = Background::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let pid_file = elsewhere.path().join("mq.pid");
    let run = |argument: &str| {
        let mut command = home.0.command(&[argument]);
        command.env("ACTIVEMQ_PIDFILE", &pid_file);
        command.env(
            "ACTIVEMQ_OPTS",
            format!("-Xmx1G -Dactivemq.data={}/d", elsewhere.path().display()),
        );
        said(command.output().unwrap())
    };
    let (code, text) = run("start");
    assert_eq!(code, Some(0), "{text}");
    assert!(pid_file.exists() && elsewhere.path().join("d/activemq.log").exists());
    assert!(!home.0.data().exists());
    assert_eq!(run("status").0, Some(0));
    assert_eq!(home.run(&["status"]).0, Some(1));
    assert_eq!(run("stop").0, Some(0));
}

#[test]
fn sigint_ends_the_foreground_in_order() {
    let home = Home::new(&configuration("", 0));
    let mut console = Process::start(&mut home.command(&["conf/activemq.xml"]));
    console.wait_for(") started");
    let pid_file = home.data().join("activemq.pid");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", console.pid()));
    console.signal("INT");
    assert_eq!(console.wait().code(), Some(0));
    let text = console.said();
    for line in [
        "ACTIVEMQ_HOME: ",
        "ACTIVEMQ_DATA: ",
        "Loading message broker from: conf/activemq.xml",
        " INFO | openwired ",
        "is shutdown",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!pid_file.exists());
}

#[test]
fn a_second_daemon_of_the_same_data_directory_is_refused_even_at_the_same_moment() {
    let home = Background::new();
    let mut started: Vec<_> = (0..4)
        .map(|_| {
            let mut start = home.0.command(&["start"]);
            start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            start.spawn().unwrap()
        })
        .collect();
    for start in &mut started {
        start.wait().unwrap();
    }
    assert_eq!(home.run(&["status"]).0, Some(0));
    let log = home.0.log();
    assert_eq!(log.matches(") started").count(), 1, "{log}");
    assert!(Path::new(BINARY).exists());
}
