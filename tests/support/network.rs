//! Networks of the test's own, which it can cut: Linux network namespaces.
//!
//! ```text
//!   namespace a (172.18.0.112) --- the test (172.18.0.1), which routes --- namespace b (172.18.0.116)
//! ```
//!
//! The test runs itself again in namespaces that end with it, so that nothing is left behind and no
//! other test is met.

use std::io::Write;
use std::process::{Command, Stdio};

const INSIDE: &str = "OPENWIRED_TEST_NAMESPACE";
/// The hosts of the cluster's two groups, and the one of the test.
pub const HOSTS: [(&str, &str); 2] = [("a", "172.18.0.112"), ("b", "172.18.0.116")];
const ROUTER: &str = "172.18.0.1";

/// Whether this process is the one inside; if not, runs the test `name` there and checks its outcome.
pub fn inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        set_up();
        return true;
    }
    let test = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args([
            "sh",
            "-c",
            "mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec \"$@\"",
            "sh",
        ])
        .arg(test)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("`unshare` runs; it is in util-linux");
    assert!(status.success(), "{name} in its own network: {status} (it needs root)");
    false
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn set_up() {
    ip("link set lo up");
    ip("route add 224.0.0.0/4 dev lo");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for (name, address) in HOSTS {
        ip(&format!("netns add {name}"));
        ip(&format!("link add v{name} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {ROUTER}/32 dev v{name}"));
        ip(&format!("link set v{name} up"));
        ip(&format!("route add {address}/32 dev v{name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} addr add {address}/32 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add {ROUTER}/32 dev eth0"));
        ip(&format!("-n {name} route add default via {ROUTER}"));
    }
    heal();
}

/// A command that runs on the host `name`.
pub fn on(name: &str, command: &Command) -> Command {
    let mut there = Command::new("ip");
    there.args(["netns", "exec", name]).arg(command.get_program()).args(command.get_args());
    there.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            there.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        there.current_dir(dir);
    }
    there
}

/// How the two hosts are cut off from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives, either way.
    Silent,
    /// Nothing arrives from the first host at the second.
    OneWay,
    /// Nothing arrives from the second host at the first.
    OtherWay,
    /// Connections are reset, and new ones refused.
    Reset,
    /// Three packets of ten are lost.
    Lossy,
}

pub const CUTS: [Cut; 5] = [Cut::Silent, Cut::OneWay, Cut::OtherWay, Cut::Reset, Cut::Lossy];

pub fn cut(how: Cut) {
    let [(_, a), (_, b)] = HOSTS;
    let (there, back) =
        (format!("ip saddr {a} ip daddr {b}"), format!("ip saddr {b} ip daddr {a}"));
    let rules = match how {
        Cut::Silent => format!("{there} drop\n{back} drop"),
        Cut::OneWay => format!("{there} drop"),
        Cut::OtherWay => format!("{back} drop"),
        Cut::Reset => {
            let reset = "meta l4proto tcp reject with tcp reset";
            format!("{there} {reset}\n{back} {reset}")
        }
        Cut::Lossy => {
            let some = "numgen random mod 100 < 30 drop";
            format!("{there} {some}\n{back} {some}")
        }
    };
    nft(&rules);
}

pub fn heal() {
    nft("");
}

fn nft(rules: &str) {
    let script = format!(
        "table inet cut\ndelete table inet cut\ntable inet cut {{\nchain forward {{\n\
         type filter hook forward priority 0;\n{rules}\n}}\n}}\n"
    );
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("`nft` runs; install it with: apt-get install nftables");
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{script}");
}
