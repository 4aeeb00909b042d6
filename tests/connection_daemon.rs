//! What connections cost a daemon, and what they may not do to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command as Program;

use openwired::openwire::{Command, Destination, FlushCommand};

#[path = "support/peer.rs"]
mod peer;
mod support;

use peer::*;
use support::daemon::{BINARY, Daemon, Home, configuration, port_in};
use support::process::Process;

/// Resident memory of a process in bytes.
fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn idle_consumer(address: SocketAddr, number: usize) -> Peer {
    let id = format!("ID:idle-host-40784-1795379901917-{number}:1");
    let mut peer = Peer::at(address, &offer()).await;
    peer.log_in(&id).await;
    peer.ask(consumer_info(&id, -1, 1, &Destination::queue("IDLE"))).await;
    peer
}

#[tokio::test]
async fn a_thousand_idle_connections_with_a_consumer_cost_at_most_24_kib_each() {
    let daemon = Daemon::start();
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.port()));
    let mut peers = Vec::new();
    for number in 0..20 {
        peers.push(idle_consumer(address, number).await);
    }
    let before = memory(daemon.pid());
    for number in 20..1020 {
        peers.push(idle_consumer(address, number).await);
    }
    let each = memory(daemon.pid()).saturating_sub(before) / 1000;
    println!("an idle connection costs {each} bytes");
    assert!(each <= 24 << 10, "{each} bytes");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_lack_of_file_descriptors_passes() {
    let home = Home::new(&configuration("", 0));
    let mut command = Program::new("sh");
    let script = format!("ulimit -n 60; exec '{BINARY}' console");
    command.args(["-c", &script]).current_dir(home.path()).env("ACTIVEMQ_HOME", home.path());
    let mut process = Process::start(&mut command);
    let port = port_in(&process.wait_for("Listening for connections at: "));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut first = Peer::at(address, &offer()).await;
    first.log_in("ID:first").await;
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    process.wait_for("Could not accept connection : ");
    assert!(matches!(first.ask(FlushCommand::default()).await, Command::Response(_)));
    drop(crowd);
    let mut late = Peer::at(address, &offer()).await;
    late.log_in("ID:late").await;
    assert!(process.terminate().success());
}
