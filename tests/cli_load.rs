//! `openwired producer` and `consumer`: what they send arrives, and what they report is so.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::daemon::{BINARY, Daemon};
use support::process::Process;

fn tool(url: &str, arguments: &str) -> Command {
    let mut command = Command::new(BINARY);
    let mut words = arguments.split_whitespace();
    command.arg(words.next().unwrap()).args(["--brokerUrl", url]).args(words);
    command
}

/// Runs it to its end and returns what it reported.
fn run(url: &str, arguments: &str) -> Value {
    let output = tool(url, arguments).arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(url: &str, arguments: &str) -> String {
    let output = tool(url, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_mode_takes_all_that_was_sent() {
    let broker = Daemon::start();
    let url = broker.url();
    for (sent, received) in [
        ("", ""),
        ("--persistent false --messageSize 100", "--ackMode DUPS_OK_ACKNOWLEDGE"),
        ("--textMessageSize 300 --window 50", "--ackMode CLIENT_ACKNOWLEDGE --batchSize 7"),
        ("--transactionBatchSize 30", "--transacted true --batchSize 11"),
        ("--msgGroupID g --timestamps", "--ackMode INDIVIDUAL --prefetch 5"),
        ("--msg-ttl 60000", "--ackMode SESSION_TRANSACTED --prefetch 0"),
    ] {
        let produced = run(&url, &format!("producer --messageCount 100 --clients 3 {sent}"));
        assert_eq!(produced["messages"], 300, "{sent}");
        let consumed = run(&url, &format!("consumer --messageCount 300 {received}"));
        assert_eq!(consumed["messages"], 300, "{sent} / {received}");
        assert_eq!(consumed["bytes"], produced["bytes"], "{sent} / {received}");
        assert_eq!(consumed["redelivered"], 0);
        let latency = &consumed["latency_us"];
        assert!(latency["p50"].as_u64() <= latency["p99"].as_u64(), "{latency}");
    }
    let empty = run(&url, "consumer --receiveTimeOut 50");
    assert_eq!((&empty["messages"], &empty["latency_us"]), (&Value::from(0), &Value::Null));
}

#[test]
fn people_get_words() {
    let broker = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let payload = dir.path().join("payload.txt");
    fs::write(&payload, "from a file").unwrap();
    let url = broker.url();
    let said =
        text(&url, &format!("producer --messageCount 2 --payloadUrl file://{}", payload.display()));
    assert!(
        said.starts_with("Produced: 2 messages\n") && said.contains("latency in us: p50"),
        "{said}"
    );
    text(&url, "producer --messageCount 1 --message hello");
    let said = text(&url, "consumer --messageCount 3 --print");
    assert!(said.starts_with("from a file\nfrom a file\nhello\nConsumed: 3 messages\n"), "{said}");
}

#[test]
fn a_rate_is_kept() {
    let broker = Daemon::start();
    let report = run(&broker.url(), "producer --messageCount 50 --clients 2 --rate 400");
    let seconds = report["seconds"].as_f64().unwrap();
    // 100 messages at 400 a second: the last is due after 0.245 s.
    assert!((0.24..2.0).contains(&seconds), "{report}");
}

#[test]
fn a_durable_subscription_collects_between_two_runs() {
    let broker = Daemon::start();
    let durable =
        "consumer --destination topic://NEWS --durable --clientId desk --receiveTimeOut 50";
    assert_eq!(run(&broker.url(), durable)["messages"], 0);
    run(&broker.url(), "producer --destination topic://NEWS --messageCount 5");
    assert_eq!(run(&broker.url(), durable)["messages"], 5);
}

#[test]
fn what_cannot_work_is_said() {
    let broker = Daemon::start();
    for (url, arguments, word) in [
        ("tcp://127.0.0.1:1", "producer", "cannot connect to tcp://127.0.0.1:1"),
        ("ssl://127.0.0.1:1", "producer", "`ssl:` is not served here"),
        ("tcp://h:1?bad=1", "consumer", "unknown option `bad`"),
        (&broker.url(), "consumer --durable", "--durable needs a topic"),
        (&broker.url(), "consumer --selector =", "InvalidSelectorException"),
        (&broker.url(), "producer --payloadUrl http://x/y", "only files can be read"),
        (&broker.url(), "producer --payloadUrl /nowhere", "/nowhere"),
    ] {
        let output = tool(url, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {said}");
        assert!(said.starts_with("ERROR: ") && said.contains(word), "{arguments}: {said}");
    }
}

#[test]
fn a_producer_goes_on_over_a_broker_that_is_killed_and_comes_back() {
    for sending in ["--window 20", "--transactionBatchSize 10"] {
        let first = Daemon::start();
        let port = first.port();
        let url = format!(
            "failover:(tcp://127.0.0.1:{port})?initialReconnectDelay=5&useExponentialBackOff=false"
        );
        let arguments = format!("producer --messageCount 400 --rate 400 --json {sending}");
        let mut producer = Process::start(&mut tool(&url, &arguments));
        // Once messages come, the broker goes; it comes back on the same port, with nothing.
        run(&first.url(), "consumer --messageCount 10");
        first.kill();
        let second = Daemon::start_on(port);
        assert!(producer.wait().success(), "{}", producer.said());
        assert!(producer.said().contains("\"messages\":400"), "{}", producer.said());
        let rest = run(&second.url(), "consumer --receiveTimeOut 100");
        let rest = rest["messages"].as_u64().unwrap();
        assert!((1..400).contains(&rest), "{sending}: {rest} went to the second broker");
    }
}
