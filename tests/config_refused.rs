//! What is said of a configuration that cannot be used: where, what, and what to do.

#![expect(clippy::unwrap_used, reason = "a file that cannot be written fails the test")]

use std::fs;
use std::path::Path;

use openwired::config::{self, Environment, Source};
use proptest::prelude::*;

const CORE: &str = "http://activemq.apache.org/schema/core";
const BEANS: &str = "http://www.springframework.org/schema/beans";

/// The error for a file of this text, with `F` for the file's path.
fn refusal_of_file(text: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("activemq.xml");
    fs::write(&file, text).unwrap();
    refusal(&file)
}

fn refusal(file: &Path) -> String {
    let report = config::check(&Source::File(file.to_owned()), &Environment::default());
    assert_eq!(report.exit_code(), 1, "{report}");
    let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    faults.join("\n").replace(file.to_str().unwrap(), "F")
}

/// The error for what stands inside `<broker>`, on line 2.
fn refusal_inside(inside: &str) -> String {
    refusal_of_file(format!("<broker xmlns='{CORE}'>\n{inside}\n</broker>").as_bytes())
}

fn refusal_of_connector(uri: &str) -> String {
    refusal_inside(&format!(
        "<transportConnectors><transportConnector uri='{}'/></transportConnectors>",
        uri.replace('&', "&amp;")
    ))
}

#[test]
fn malformed_xml_is_placed() {
    let cases = [
        (
            "<broker>\n <a></b>\n</broker>",
            "F:2:5: malformed XML: ill-formed document: expected `</a>`, but `</b>` was found",
        ),
        ("<broker>\n  <systemUsage>", "F:2:3: malformed XML: <systemUsage> is never closed"),
        (
            "<broker brokerName='a' brokerName='b'/>",
            "F:1:24: malformed XML: an attribute is given twice",
        ),
        ("<broker brokerName=a/>", "F:1:20: malformed XML: a value must stand in quotes"),
        (
            "<broker brokerName='&what;'/>",
            "F:1:9: malformed XML: at 1..5: unrecognized entity `what`",
        ),
        ("", "F:1:1: malformed XML: there is no element"),
        ("<broker/><broker/>", "F:1:10: malformed XML: a second root element"),
        ("<broker/>tail", "F:1:10: malformed XML: text outside the root element"),
        ("<broker>stray</broker>", "F:1:1: malformed XML: unexpected text `stray` in <broker>"),
    ];
    for (text, want) in cases {
        assert_eq!(refusal_of_file(text.as_bytes()), want, "{text}");
    }
    assert_eq!(
        refusal_of_file(b"<broker>\xff</broker>"),
        "F: cannot be read: it is not UTF-8 at byte 8"
    );
}

#[test]
fn entities_and_depth_are_bounded() {
    let bomb = "<?xml version='1.0'?>\n<!DOCTYPE b [\n<!ENTITY a 'ha'>\n<!ENTITY b '&a;&a;&a;&a;'>\n]>\n<broker brokerName='&b;'/>";
    let remedy = "the DOCTYPE declares names of its own; remove what stands between [ and ]";
    assert_eq!(refusal_of_file(bomb.as_bytes()), format!("F:2:1: {remedy}"));
    let outside =
        "<!DOCTYPE b [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><broker brokerName='&x;'/>";
    assert_eq!(refusal_of_file(outside.as_bytes()), format!("F:1:1: {remedy}"));

    let deep = format!("{}{}", "<broker>".repeat(100_000), "</broker>".repeat(100_000));
    let want = "too large: more than 64 elements deep or 100000 in all";
    assert_eq!(refusal_of_file(deep.as_bytes()), format!("F:1:513: {want}"));
    let wide = format!("<broker>{}</broker>", "<a/>".repeat(200_000));
    assert!(refusal_of_file(wide.as_bytes()).ends_with(want));
    let long = format!("<broker><!-- {} --></broker>", "x".repeat(9 << 20));
    assert_eq!(
        refusal_of_file(long.as_bytes()),
        "F: cannot be read: it is longer than 8388608 bytes"
    );

    let grow = format!(
        "<beans xmlns='{BEANS}'><bean class='x.PropertyPlaceholderConfigurer'>
         <property name='properties'><props>{}<prop key='p0'>ha</prop></props></property></bean>
         <broker xmlns='{CORE}' brokerName='${{p9}}'/></beans>",
        (1..10)
            .map(|n| format!("<prop key='p{n}'>{}</prop>", format!("${{p{}}}", n - 1).repeat(10)))
            .collect::<String>()
    );
    let error = refusal_of_file(grow.as_bytes());
    assert!(error.contains("refers to itself, or to more than 256 others"), "{error}");
}

#[test]
fn an_unknown_word_is_named_with_the_nearest_known_one() {
    let cases = [
        (
            "<destinationPolcy/>",
            "F:2:1: unknown element <destinationPolcy> in <broker>; did you mean `destinationPolicy`?",
        ),
        (
            "<destinationPolicy><policyMap><policyEntries><policyEntry queue='>' memoryLimt='1'/></policyEntries></policyMap></destinationPolicy>",
            "F:2:69: unknown attribute `memoryLimt` of <policyEntry>; did you mean `memoryLimit`?",
        ),
        ("<zzz/>", "F:2:1: unknown element <zzz> in <broker>"),
        (
            "<persistenceAdapter><kahadb directory='x'/></persistenceAdapter>",
            "F:2:21: unknown element <kahadb> in <persistenceAdapter>; did you mean `kahaDB`?",
        ),
        (
            "<persistenceAdapter><kahaDB><property xmlns='http://www.springframework.org/schema/beans' name='directry' value='x'/></kahaDB></persistenceAdapter>",
            "F:2:29: unknown attribute `directry` of <kahaDB>; did you mean `directory`?",
        ),
        (
            "<plugins><bean xmlns='http://www.springframework.org/schema/beans' class='com.example.Guard'/></plugins>",
            "F:2:10: <bean class=\"com.example.Guard\"> in <plugins>: Java classes cannot be loaded; remove the bean, or use an element that openwired knows",
        ),
    ];
    for (inside, want) in cases {
        assert_eq!(refusal_inside(inside), want, "{inside}");
    }
    let error = refusal_of_file(format!("<broker xmlns='{CORE}'\n  brokrName='x'/>").as_bytes());
    assert_eq!(
        error,
        "F:2:3: unknown attribute `brokrName` of <broker>; did you mean `brokerName`?"
    );
    let error = refusal_of_file(
        format!("<beans xmlns='{BEANS}'><brokr xmlns='{CORE}'/></beans>").as_bytes(),
    );
    assert_eq!(error, "F:1:60: unknown element <brokr> in <beans>; did you mean `broker`?");
}

#[test]
fn a_value_that_does_not_fit_says_what_would() {
    let entry = |attributes: &str| {
        format!(
            "<destinationPolicy><policyMap><policyEntries><policyEntry queue='>' {attributes}/></policyEntries></policyMap></destinationPolicy>"
        )
    };
    let cases = [
        (
            entry("memoryLimit='5 tb'"),
            "F:2:69: `5 tb` is no value for `memoryLimit` of <policyEntry>: expected a size such as 1024, 64mb or 10 gb",
        ),
        (
            entry("queuePrefetch='-1'"),
            "F:2:69: `-1` is no value for `queuePrefetch` of <policyEntry>: expected a number from 0 to 4294967295",
        ),
        (
            entry("prioritizedMessages='perhaps'"),
            "F:2:69: `perhaps` is no value for `prioritizedMessages` of <policyEntry>: expected true or false",
        ),
        (
            entry("expireMessagesPeriod='30s'"),
            "F:2:69: `30s` is no value for `expireMessagesPeriod` of <policyEntry>: expected a number of milliseconds, or -1",
        ),
        (
            "<systemUsage><systemUsage><memoryUsage><memoryUsage percentOfJvmHeap='170'/></memoryUsage></systemUsage></systemUsage>".to_owned(),
            "F:2:53: `170` is no value for `percentOfJvmHeap` of <memoryUsage>: expected a percentage from 0 to 100",
        ),
        (
            "<persistenceAdapter><kahaDB journalDiskSyncStrategy='sometimes'/></persistenceAdapter>".to_owned(),
            "F:2:29: `sometimes` is no value for `journalDiskSyncStrategy` of <kahaDB>: expected one of always, periodic, never",
        ),
        (
            "<destinationPolicy><policyMap><policyEntries><policyEntry memoryLimit='1mb'/></policyEntries></policyMap></destinationPolicy>".to_owned(),
            "F:2:46: <policyEntry> lacks a `queue` or `topic` that it is for",
        ),
        (
            "<networkConnectors><networkConnector uri='static:(tcp://a:1' prefetchSize='0'/></networkConnectors>".to_owned(),
            "F:2:38: `static:(tcp://a:1` is no value for `uri` of <networkConnector>: expected a URI, but `static:(tcp://a:1` lacks a `)`\n\
             F:2:62: `0` is no value for `prefetchSize` of <networkConnector>: expected at least 1: a bridge cannot pull",
        ),
        (
            "<destinations><queue/></destinations>".to_owned(),
            "F:2:15: <queue> lacks a `physicalName`",
        ),
    ];
    for (inside, want) in cases {
        assert_eq!(refusal_inside(&inside), want, "{inside}");
    }
}

#[test]
fn a_connector_uri_is_read_to_the_last_option() {
    let at = "F:2:42:";
    let cases = [
        (
            "tcp://0.0.0.0:99999",
            "`tcp://0.0.0.0:99999` is no value for `uri` of <transportConnector>: expected a URI such as tcp://0.0.0.0:61616, but `99999` is no port; a port is a number from 0 to 65535",
        ),
        (
            "tcp://0.0.0.0",
            "`tcp://0.0.0.0` is no value for `uri` of <transportConnector>: expected a host and a port, such as tcp://0.0.0.0:61616",
        ),
        (
            "tpc://0.0.0.0:61616",
            "`tpc://0.0.0.0:61616` is no value for `uri` of <transportConnector>: expected one of the schemes tcp, nio, auto, auto+nio; did you mean `tcp`?",
        ),
        (
            "tcp://h:1?maxConnections=5",
            "unknown option `maxConnections` of tcp://h:1?maxConnections=5; did you mean `maximumConnections`?",
        ),
        (
            "tcp://h:1?wireFormat.maxFrameSise=5",
            "unknown option `wireFormat.maxFrameSise` of tcp://h:1?wireFormat.maxFrameSise=5; did you mean `wireFormat.maxFrameSize`?",
        ),
        (
            "tcp://h:1?wireFormat.version=13",
            "`13` is no value for `wireFormat.version` of the connector tcp://h:1?wireFormat.version=13: expected an OpenWire version from 1 to 12",
        ),
        (
            "ssl://h:1",
            "the connector ssl://h:1: TLS is not served yet, and without it the connector would be open to all; remove it, or stay with the broker you have",
        ),
    ];
    for (uri, want) in cases {
        assert_eq!(refusal_of_connector(uri), format!("{at} {want}"), "{uri}");
    }
    assert_eq!(
        refusal_inside("<transportConnectors><transportConnector name='x'/></transportConnectors>"),
        "F:2:22: <transportConnector> lacks a `uri` such as tcp://0.0.0.0:61616"
    );
}

#[test]
fn what_would_run_open_is_refused() {
    let why = "is not served yet, and without it the broker would be open to all; remove it to run open, where that is safe, or stay with the broker you have";
    let guarded = [
        (
            "<plugins><simpleAuthenticationPlugin/></plugins>",
            "F:2:10: <simpleAuthenticationPlugin>",
        ),
        (
            "<plugins><jaasAuthenticationPlugin configuration='x'/></plugins>",
            "F:2:10: <jaasAuthenticationPlugin>",
        ),
        ("<plugins><authorizationPlugin/></plugins>", "F:2:10: <authorizationPlugin>"),
        ("<sslContext><sslContext keyStore='x'/></sslContext>", "F:2:1: <sslContext>"),
        ("<messageAuthorizationPolicy/>", "F:2:1: <messageAuthorizationPolicy>"),
    ];
    for (inside, word) in guarded {
        assert_eq!(refusal_inside(inside), format!("{word}: {why}"), "{inside}");
    }
    let as_bean = format!(
        "<plugins><bean xmlns='{BEANS}' class='org.apache.activemq.security.SimpleAuthenticationPlugin'/></plugins>"
    );
    assert_eq!(refusal_inside(&as_bean), format!("F:2:10: <simpleAuthenticationPlugin>: {why}"));
}

#[test]
fn a_login_that_the_environment_asks_for_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("activemq.xml");
    fs::write(&file, format!("<broker xmlns='{CORE}'/>")).unwrap();
    let mut environment = Environment::default();
    environment.variables.insert("ACTIVEMQ_CONNECTION_USER".into(), "system".into());
    environment.variables.insert("ACTIVEMQ_CONNECTION_PASSWORD".into(), String::new());
    let report = config::check(&Source::File(file), &environment);
    let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    let expected = "the environment: ACTIVEMQ_CONNECTION_USER: is not served yet, and without it";
    assert!(fault.starts_with(expected), "{fault}");
}

#[test]
fn stores_that_are_gone_say_what_to_use() {
    let stores = [
        ("<jdbcPersistenceAdapter dataSource='#ds'/>", "there is no SQL store; use <kahaDB"),
        (
            "<levelDB directory='x'/>",
            "LevelDB was removed from ActiveMQ 5.17 and is not read; use <kahaDB",
        ),
        ("<replicatedLevelDB zkAddress='x'/>", "LevelDB was removed from ActiveMQ 5.17"),
        (
            "<amqPersistenceAdapter/>",
            "this store was removed from ActiveMQ and is not read; use <kahaDB",
        ),
        (
            "<kahaDB><locker><lease-database-locker/></locker></kahaDB>",
            "there is no lock in a database; use <shared-file-locker/>",
        ),
    ];
    for (store, want) in stores {
        let error = refusal_inside(&format!("<persistenceAdapter>{store}</persistenceAdapter>"));
        assert!(error.starts_with("F:2:") && error.contains(want), "{error}");
    }
}

#[test]
fn there_is_one_broker_and_what_it_names_exists() {
    let two = format!(
        "<beans xmlns='{BEANS}'>\n<broker xmlns='{CORE}'/>\n<broker xmlns='{CORE}'/></beans>"
    );
    assert_eq!(
        refusal_of_file(two.as_bytes()),
        "F:3:1: a second <broker>; the first is at F:2:1. One process is one broker: remove one"
    );
    assert_eq!(
        refusal_of_file(format!("<beans xmlns='{BEANS}'/>").as_bytes()),
        format!("F: holds no <broker xmlns=\"{CORE}\">")
    );
    let unresolved = format!("<broker xmlns='{CORE}'\n  brokerName='${{activemq.dat}}'/>");
    assert_eq!(
        refusal_of_file(unresolved.as_bytes()),
        "F:2:3: nothing is known as ${activemq.dat}; define it with -Dactivemq.dat=…, in the environment, or in a properties file that the configuration names; did you mean `activemq.data`?"
    );
    let reference = "<persistenceAdapter><ref xmlns='http://www.springframework.org/schema/beans' bean='nowhere'/></persistenceAdapter>";
    assert_eq!(
        refusal_inside(reference),
        "F:2:21: the bean `nowhere` is not in this configuration"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.xml");
    fs::write(&file, format!("<beans xmlns='{BEANS}'>\n<import resource='jetty.xml'/>\n<broker xmlns='{CORE}' start='true'/></beans>")).unwrap();
    let missing = dir.path().join("jetty.xml");
    assert_eq!(
        refusal(&file),
        format!(
            "F:2:9: the import `jetty.xml` is missing: {} cannot be read: No such file or directory (os error 2)",
            missing.display()
        )
    );
    fs::write(&missing, format!("<beans xmlns='{BEANS}'><import resource='a.xml'/></beans>"))
        .unwrap();
    let report = config::check(&Source::File(file), &Environment::default());
    assert_eq!(report.exit_code(), 2, "files that import each other are read once\n{report}");

    assert_eq!(
        refusal(Path::new("/nowhere/a.xml")),
        "F: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_circle_of_references_ends() {
    let text = format!(
        "<beans xmlns='{BEANS}' xmlns:a='{CORE}'>
         <bean id='x' class='org.apache.activemq.RetainedMessageSubscriptionRecoveryPolicy'>
           <property name='wrapped' ref='x'/></bean>
         <a:broker><a:destinationPolicy><a:policyMap><a:policyEntries>
           <a:policyEntry topic='>' subscriptionRecoveryPolicy='#x'/>
         </a:policyEntries></a:policyMap></a:destinationPolicy></a:broker></beans>"
    );
    let error = refusal_of_file(text.as_bytes());
    assert!(error.contains("`#x` refers to itself, or there are more than 256"), "{error}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let error = refusal_inside(
        "<nonsense/><persistenceAdapter><levelDB/></persistenceAdapter><destinations><queue/></destinations>",
    );
    assert_eq!(error.lines().count(), 3, "{error}");
}

fn check_text(text: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.xml");
    fs::write(&file, text).unwrap();
    let report = config::check(&Source::File(file), &Environment::default());
    assert!(!report.to_string().is_empty());
}

/// Pieces that a configuration is made of, and pieces that break one.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "<broker xmlns='http://activemq.apache.org/schema/core'>",
        "</broker>",
        "<beans xmlns='http://www.springframework.org/schema/beans'>",
        "</beans>",
        "<transportConnectors>",
        "</transportConnectors>",
        "<transportConnector uri='tcp://h:1?a=%2",
        "<transportConnector uri='static:((a:b,c:d)'/>",
        "<policyEntry queue='>' memoryLimit='${x:${y}'/>",
        "<property name='a' value='#{b}'/>",
        "<bean id='a' class='org.apache.activemq.X'>",
        "<ref bean='a'/>",
        "<import resource='${activemq.conf}'/>",
        "'/>",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "&#x0;",
        "&lt;",
        "ENC(",
        "é\u{1F600}",
        "\n",
    ];
    prop_oneof![proptest::sample::select(words.to_vec()).prop_map(str::to_owned), "\\PC{0,12}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_text(&bytes);
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in proptest::collection::vec(piece(), 0..30)) {
        check_text(pieces.concat().as_bytes());
    }

    #[test]
    fn a_real_file_cut_or_changed_anywhere_never_panics(
        cut in 0_usize..3000, at in 0_usize..3000, byte in any::<u8>(),
    ) {
        let mut bytes = fs::read("tests/config/cluster/mq1/activemq.xml").unwrap();
        bytes.truncate(cut.max(100));
        if let Some(changed) = bytes.get_mut(at) {
            *changed = byte;
        }
        check_text(&bytes);
    }

    #[test]
    fn arbitrary_arguments_never_panic(text in "(xbean:|file:|broker:|)[\\PC(),:/?&=]{0,40}") {
        if let Ok(source @ Source::Broker { .. }) = Source::parse(&text) {
            let report = config::check(&source, &Environment::default());
            prop_assert!(!report.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_properties_never_panic(text in "[\\PC\\\\=:#!\n\t ]{0,80}") {
        for (name, value) in config::properties::parse(&text) {
            prop_assert!(name.len() + value.len() <= 4 * text.len());
        }
    }
}
