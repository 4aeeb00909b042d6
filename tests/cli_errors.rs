//! What cannot work is said in words that lead on, and by the exit code.

#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use support::daemon::{Home, configuration};

/// Exit code, then standard output and error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), format!("{out}{err}"))
}

/// Neither in the foreground nor in the background it starts, and both say `words`.
fn refused(home: &Home, arguments: &[&str], words: &[&str]) {
    for command in ["console", "start"] {
        let mut all = vec![command];
        all.extend(arguments);
        let (code, text) = run(&mut home.command(&all));
        assert_eq!(code, Some(1), "{command}: {text}");
        for word in words {
            assert!(text.contains(word), "{command}: no `{word}` in\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(run(&mut home.command(&["status"])).0, Some(1), "{command} left a process");
    }
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = Home::new(&configuration("", port));
    refused(&home, &[], &[&format!("127.0.0.1:{port}"), "the port is in use", "`openwire`"]);
    assert!(home.log().contains("| ERROR | Failed to bind transport connector"), "{}", home.log());
}

#[test]
fn a_wrong_port() {
    let home = Home::new(&configuration("", 0).replace("127.0.0.1:0", "127.0.0.1:99999"));
    refused(&home, &[], &["activemq.xml:", "99999"]);
}

#[test]
fn an_address_of_another_machine() {
    let home = Home::new(&configuration("", 0).replace("127.0.0.1:0", "192.0.2.1:0"));
    refused(&home, &[], &["192.0.2.1:0", "must be an address of this machine"]);
}

#[test]
fn malformed_xml_and_unknown_words() {
    let home = Home::new("<beans><broker></beans>");
    refused(&home, &[], &["activemq.xml:1", "malformed XML"]);
    let home = Home::new(&configuration("<destinationPolice/>", 0));
    refused(
        &home,
        &[],
        &["activemq.xml:4", "<destinationPolice>", "did you mean `destinationPolicy`?"],
    );
}

#[test]
fn a_configuration_that_is_not_there() {
    let home = Home::new("");
    refused(&home, &["none.xml"], &["none.xml: cannot be read"]);
    refused(&home, &["xbean:file:/nowhere/none.xml"], &["/nowhere/none.xml: cannot be read"]);
}

#[test]
fn a_data_directory_that_cannot_be() {
    let home = Home::new(&configuration("", 0));
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let data = format!("-Dactivemq.data={}", file.join("data").display());
    refused(&home, &[&data], &["file/data", "-Dactivemq.data=DIR"]);
}

#[test]
fn a_log_file_that_cannot_be_written() {
    let home = Home::new(&configuration("", 0));
    fs::create_dir_all(home.data().join("activemq.log")).unwrap();
    refused(&home, &[], &["cannot write the log file", "activemq.log", "ACTIVEMQ_DATA"]);
}

#[test]
fn a_log_level_that_is_none() {
    let home = Home::new(&configuration("", 0));
    refused(&home, &["--log", "a=b=c"], &["`a=b=c` is no log level"]);
}

#[test]
fn definitions_and_options_that_cannot_be_read() {
    let home = Home::new(&configuration("", 0));
    refused(&home, &["-Dnothing"], &["-Dnothing is not of the form -Dname=value"]);
    let (code, text) = run(home.command(&["console"]).env("ACTIVEMQ_OPTS", "-Da='b"));
    assert_eq!(code, Some(1));
    assert!(text.contains("the quotes in ACTIVEMQ_OPTS do not match"), "{text}");
}

#[test]
fn arguments_that_make_no_sense() {
    let home = Home::new(&configuration("", 0));
    for (arguments, word) in [
        (&["strat"][..], "`strat` is neither a command nor a configuration file"),
        (&["start", "--stict"][..], "--stict"),
        (&["stop", "now", "please"][..], "please"),
        (&["producer", "--messageCount", "many"][..], "many"),
        (&["consumer", "--ackMode", "SOMETIMES"][..], "SOMETIMES"),
    ] {
        let (code, text) = run(&mut home.command(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(word), "{arguments:?}: {text}");
    }
}

#[test]
fn connectors_of_other_protocols_are_left_out_or_with_strict_refused() {
    let amqp = r#"<transportConnectors>
      <transportConnector name="amqp" uri="amqp://127.0.0.1:0"/>"#;
    let home = Home::new(&configuration("", 0).replace("<transportConnectors>", amqp));
    refused(&home, &["--strict"], &["activemq.xml:", "amqp", "--strict is set"]);
    let (code, text) = run(&mut home.command(&["check"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("amqp"), "{text}");
    let (code, text) = run(&mut home.command(&["check", "--strict"]));
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = run(&mut home.command(&["start"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(home.log().contains("| WARN  | ") && home.log().contains("amqp"), "{}", home.log());
    assert_eq!(run(&mut home.command(&["stop"])).0, Some(0));
}

#[test]
fn check_tells_all_of_it_without_starting() {
    let home = Home::new(&configuration("", 0));
    let (code, text) = run(&mut home.command(&["check"]));
    assert_eq!((code, text.as_str()), (Some(0), "openwired would start; all of it is served\n"));
    assert!(!home.data().exists());
    let (code, _) = run(&mut home.command(&["check", "xbean:activemq.xml"]));
    assert_eq!(code, Some(0));
    let home = Home::new(&configuration("<a/><b/>", 0));
    let (code, text) = run(&mut home.command(&["check", "conf/activemq.xml"]));
    assert_eq!(code, Some(1));
    assert!(
        text.contains("<a>") && text.contains("<b>") && text.contains("would not start"),
        "{text}"
    );
}
