//! What users' configuration files become.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openwired::broker::options::forwarding::Interceptor;
use openwired::broker::options::policy::{DeadLetterTarget, PendingMessageLimit};
use openwired::broker::options::usage::MemoryLimit;
use openwired::config::{self, Config, Environment, Source, Weight};
use openwired::openwire::Destination;
use openwired::store::options::{StoreOptions, SyncStrategy};

const DEBIAN_EXAMPLES: &str = "/usr/share/doc/activemq/examples/conf";
const DEBIAN_MAIN: &str = "/etc/activemq/instances-available/main/activemq.xml";

fn load(path: &str) -> Config {
    let source = Source::parse(path).unwrap();
    config::load(&source, &Environment::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Loads `<broker …>…</broker>`, standing alone in a file.
fn broker(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("activemq.xml");
    let core = "xmlns=\"http://activemq.apache.org/schema/core\"";
    fs::write(&file, text.replacen("<broker", &format!("<broker {core}"), 1)).unwrap();
    load(file.to_str().unwrap())
}

fn texts(config: &Config, weight: Weight) -> Vec<String> {
    let of_weight = config.notices.iter().filter(|notice| notice.weight == weight);
    of_weight.map(|notice| notice.to_string()).collect()
}

#[test]
fn the_six_nodes_load_unchanged() {
    for node in 1..=6_u16 {
        let config = load(&format!("tests/config/cluster/mq{node}/activemq.xml"));
        let in_group_a = node <= 3;
        let group = if in_group_a { ("brokerA", "mq1") } else { ("brokerB", "mq4") };
        assert_eq!(config.broker.broker_name, group.0);

        let StoreOptions::Journal(store) = &config.store else { panic!("{:?}", config.store) };
        let shared = format!("/usr/local/mqcluster/{}/data/kahadb", group.1);
        assert_eq!(store.directory.as_deref(), Some(Path::new(&shared)));

        let [connector] = config.connectors.as_slice() else { panic!("{:?}", config.connectors) };
        assert_eq!((connector.host.as_str(), connector.port), ("0.0.0.0", 61615 + node));
        assert_eq!(connector.name.as_deref(), Some("openwire"));
        assert_eq!(connector.transport.maximum_connections, 1000);
        assert_eq!(connector.transport.wire_format.max_frame_bytes, 104_857_600);

        let [(pattern, policy)] = config.broker.policies.entries.as_slice() else { panic!() };
        assert_eq!(*pattern, Destination::topic(">"));
        assert_eq!(policy.pending_message_limit, Some(PendingMessageLimit::Constant(1000)));

        let usage = &config.broker.system_usage;
        assert_eq!(usage.memory.limit, MemoryLimit::PercentOfJvmHeap(70));
        assert_eq!((usage.store.limit, usage.temp.limit), (100 << 30, 50 << 30));

        assert_eq!(config.network.len(), usize::from(in_group_a));
        for bridge in &config.network {
            assert!(bridge.options.duplex);
            let peers = "static:(tcp://172.18.0.116:61619,tcp://172.18.0.116:61620,\
                         tcp://172.18.0.116:61621)";
            assert_eq!(bridge.uri.to_string(), peers);
        }
        let web = config.web.as_ref().unwrap();
        assert_eq!((web.host.as_str(), web.port), ("0.0.0.0", 8160 + node));
        let realm = format!("tests/config/cluster/mq{node}/jetty-realm.properties");
        assert_eq!(web.realm_file.as_deref(), Some(Path::new(&realm)));
    }
}

#[test]
fn what_the_six_nodes_ask_for_and_do_not_get_is_said_with_its_place() {
    let file = "tests/config/cluster/mq1/activemq.xml";
    let config = load(file);
    let want = ["tests/config/cluster/mq1/jetty.xml:9:5: the console of this bean is not served"];
    let said = texts(&config, Weight::NotServed);
    for want in want {
        assert!(said.iter().any(|text| text.starts_with(want)), "no {want} in {said:#?}");
    }
    assert_eq!(said.len(), want.len(), "{said:#?}");
    let warned = texts(&config, Weight::Warning);
    let open = format!("{file}:60:49: the connector on 0.0.0.0:61616: is open to every host");
    assert!(warned.len() == 1 && warned[0].starts_with(&open), "{warned:#?}");
}

/// What becomes of a file of Debian's: how many connectors it opens, or how it is refused.
enum Want {
    Opens(usize),
    Refused(&'static [&'static str]),
}

#[test]
fn every_example_of_debian_loads_or_is_refused_by_file_line_and_remedy() {
    use Want::{Opens, Refused};
    let sql = ["there is no SQL store; use <kahaDB directory"].as_slice();
    let no_broker = ["holds no <broker"].as_slice();
    let security = [
        ":83:9: <simpleAuthenticationPlugin>: is not served yet, and without it",
        ":95:7: <authorizationPlugin>: is not served yet, and without it",
    ]
    .as_slice();
    let tls = [
        ":161:9: <sslContext>: is not served yet, and without it",
        ":201:44: the connector ssl://localhost:61617: TLS is not served yet",
    ]
    .as_slice();
    let known = BTreeMap::from([
        ("activemq-demo.xml", Refused(tls)),
        ("activemq-dynamic-network-broker1.xml", Opens(1)),
        ("activemq-dynamic-network-broker2.xml", Opens(1)),
        ("activemq-jdbc-performance.xml", Refused(sql)),
        ("activemq-jdbc.xml", Refused(sql)),
        ("activemq-mqtt.xml", Opens(0)),
        ("activemq-scalability.xml", Opens(1)),
        ("activemq-security.xml", Refused(security)),
        ("activemq-specjms.xml", Opens(1)),
        ("activemq-static-network-broker1.xml", Opens(1)),
        ("activemq-static-network-broker2.xml", Opens(1)),
        ("activemq-stomp.xml", Opens(0)),
        ("activemq-throughput.xml", Opens(1)),
        ("activemq.xml", Refused(sql)),
        ("camel.xml", Refused(no_broker)),
        ("jetty-demo.xml", Refused(no_broker)),
        ("jetty.xml", Refused(no_broker)),
        ("jolokia-access.xml", Refused(&[":18:1: unknown element <restrict>"])),
        ("web.xml", Refused(&[":23:1: unknown element <web-app>"])),
    ]);
    let mut seen = 0;
    for file in debian_files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let want =
            known.get(name.as_str()).unwrap_or_else(|| panic!("{name} is new; say what of it"));
        let source = Source::File(file.clone());
        let result = config::load(&source, &Environment::default());
        seen += 1;
        match (want, result) {
            (Opens(count), Ok(config)) => assert_eq!(config.connectors.len(), *count, "{name}"),
            (Refused(texts), Err(error)) => {
                let error = error.to_string();
                for text in *texts {
                    assert!(error.contains(text), "{name}: no `{text}` in\n{error}");
                }
                assert_eq!(error.lines().count(), texts.len(), "{name}:\n{error}");
                assert!(error.starts_with(&file.display().to_string()), "{error}");
            }
            (Opens(_), Err(error)) => panic!("{name} is refused:\n{error}"),
            (Refused(_), Ok(_)) => panic!("{name} loads"),
        }
    }
    assert_eq!(seen, known.len());
    assert_eq!(load(DEBIAN_MAIN).connectors.len(), 1);
}

fn debian_files() -> Vec<PathBuf> {
    let listed = fs::read_dir(DEBIAN_EXAMPLES);
    let listed = listed.unwrap_or_else(|_| {
        panic!("{DEBIAN_EXAMPLES} is missing; the test reads it: apt-get install activemq")
    });
    let files = listed.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "xml")).collect()
}

#[test]
fn foreign_protocols_are_skipped_with_one_warning_each_and_refused_when_strict() {
    let text = "<broker persistent='false'><transportConnectors>
        <transportConnector name='openwire' uri='tcp://127.0.0.1:0'/>
        <transportConnector name='amqp' uri='amqp://127.0.0.1:5672?maximumConnections=1000'/>
        <transportConnector name='stomp' uri='stomp+nio://127.0.0.1:61613'/>
        <transportConnector name='mqtt' uri='mqtt://127.0.0.1:1883'/>
        <transportConnector name='ws' uri='ws://127.0.0.1:61614'/>
        </transportConnectors></broker>";
    let config = broker(text);
    assert_eq!(config.connectors.len(), 1);
    let said = texts(&config, Weight::NotServed);
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[0].ends_with("no port is opened for amqp; only OpenWire clients are served"));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.xml");
    fs::write(&file, text).unwrap();
    let strict = Environment { strict: true, ..Environment::default() };
    let report = config::check(&Source::File(file), &strict);
    assert_eq!((report.faults.len(), report.exit_code()), (4, 1), "{report}");
}

#[test]
fn a_broker_may_stand_alone_with_any_prefix_or_with_springs_own_elements() {
    let core = "http://activemq.apache.org/schema/core";
    let forms = [
        "<broker brokerName='x'/>".to_owned(),
        format!("<amq:broker xmlns:amq='{core}' brokerName='x'/>"),
        format!(
            "<b:beans xmlns:b='http://www.springframework.org/schema/beans' xmlns:a='{core}'>
             <a:broker><b:property name='brokerName' value='x'/></a:broker></b:beans>"
        ),
        format!("<broker xmlns='{core}'><brokerName>x</brokerName></broker>"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for form in forms {
        let file = dir.path().join("a.xml");
        fs::write(&file, &form).unwrap();
        assert_eq!(load(file.to_str().unwrap()).broker.broker_name, "x", "{form}");
    }
}

#[test]
fn an_activemq_bean_by_class_is_the_element_of_its_name() {
    let config = broker(
        "<broker><plugins>
           <bean xmlns='http://www.springframework.org/schema/beans'
                 class='org.apache.activemq.broker.util.TimeStampingBrokerPlugin' id='t'>
             <property name='futureOnly' value='true'/></bean>
         </plugins></broker>",
    );
    let plugins = format!("{:?}", config.broker.plugins);
    assert!(plugins.contains("future_only: true"), "{plugins}");
}

#[test]
fn everything_of_a_policy_entry_reaches_its_option() {
    let config = broker(
        "<broker><destinationPolicy><policyMap>
           <defaultEntry><policyEntry queuePrefetch='7'/></defaultEntry>
           <policyEntries>
             <policyEntry queue='ORDERS.>' queuePrefetch='1' memoryLimit='5 mb'
                 expireMessagesPeriod='0' prioritizedMessages='true'
                 messageGroupMapFactoryType='bucket?bucketCount=32'>
               <deadLetterStrategy>
                 <individualDeadLetterStrategy queuePrefix='DLQ.' processExpired='false'/>
               </deadLetterStrategy>
               <slowConsumerStrategy><abortSlowConsumerStrategy maxSlowCount='3'/></slowConsumerStrategy>
             </policyEntry>
             <policyEntry tempTopic='true' topicPrefetch='2'>
               <pendingMessageLimitStrategy>
                 <prefetchRatePendingMessageLimitStrategy multiplier='2.5'/>
               </pendingMessageLimitStrategy>
             </policyEntry>
           </policyEntries></policyMap></destinationPolicy></broker>",
    );
    let policies = config.broker.policies;
    assert_eq!(policies.default_entry.unwrap().queue_prefetch, 7);
    let [(orders, policy), (temporary, second)] = policies.entries.as_slice() else { panic!() };
    assert_eq!(*orders, Destination::queue("ORDERS.>"));
    assert_eq!(temporary.to_string(), "temp-topic://>");
    assert_eq!((policy.queue_prefetch, policy.memory_limit), (1, Some(5 << 20)));
    assert_eq!((policy.expire_messages_period, policy.prioritized_messages), (None, true));
    assert_eq!(policy.slow_consumer.as_ref().unwrap().max_slow_count, Some(3));
    let DeadLetterTarget::Individual(own) = &policy.dead_letter.target else { panic!() };
    assert_eq!((own.queue_prefix.as_str(), policy.dead_letter.process_expired), ("DLQ.", false));
    assert_eq!(second.pending_message_limit, Some(PendingMessageLimit::PrefetchRate(2.5)));
}

#[test]
fn destinations_and_interceptors_keep_their_order() {
    let config = broker(
        "<broker>
           <destinations><queue physicalName='A'/><topic physicalName='B'/></destinations>
           <destinationInterceptors>
             <virtualDestinationInterceptor><virtualDestinations>
               <virtualTopic name='>' prefix='VT.*.' selectorAware='true'/>
               <compositeQueue name='C' forwardOnly='false'><forwardTo>
                 <queue physicalName='D'/>
                 <filteredDestination selector='x = 1' topic='E'/>
               </forwardTo></compositeQueue>
             </virtualDestinations></virtualDestinationInterceptor>
             <mirroredQueue copyMessage='false' postfix='.copy' prefix=''/>
           </destinationInterceptors></broker>",
    );
    assert_eq!(config.broker.destinations, [Destination::queue("A"), Destination::topic("B")]);
    let interceptors = config.broker.destination_interceptors.unwrap();
    let [
        Interceptor::VirtualTopic(topic),
        Interceptor::Composite(composite),
        Interceptor::Mirrored(mirror),
    ] = interceptors.as_slice()
    else {
        panic!("{interceptors:?}")
    };
    assert_eq!((topic.prefix.as_str(), topic.selector_aware), ("VT.*.", true));
    assert_eq!(
        (composite.destination.to_string().as_str(), composite.forward_only),
        ("queue://C", false)
    );
    let targets: Vec<_> =
        composite.forward_to.iter().map(|to| to.destination.to_string()).collect();
    assert_eq!(targets, ["queue://D", "topic://E"]);
    let selector = composite.forward_to[1].selector.as_ref().map(ToString::to_string);
    assert_eq!(selector.as_deref(), Some("x = 1"));
    assert_eq!((mirror.postfix.as_str(), mirror.copy_message), (".copy", false));
}

#[test]
fn store_usage_and_lock_settings_are_read() {
    let config = broker(
        "<broker brokerName='n' dataDirectory='/d'>
           <persistenceAdapter>
             <kahaDB journalDiskSyncStrategy='periodic' journalMaxFileLength='16mb'
                     lockKeepAlivePeriod='2000'>
               <locker><shared-file-locker lockAcquireSleepInterval='500' failIfLocked='true'/></locker>
             </kahaDB></persistenceAdapter>
           <systemUsage><systemUsage sendFailIfNoSpaceAfterTimeout='3000'>
             <memoryUsage><memoryUsage limit='64 mb'/></memoryUsage>
             <storeUsage><storeUsage percentLimit='30' total='10 gb'/></storeUsage>
           </systemUsage></systemUsage></broker>",
    );
    let StoreOptions::Journal(store) = &config.store else { panic!() };
    assert_eq!(store.directory.as_deref(), Some(Path::new("/d/n/KahaDB")));
    assert_eq!((store.sync, store.journal_max_file_length), (SyncStrategy::Periodic, 16 << 20));
    let lock = &store.lock;
    assert_eq!(lock.acquire_sleep_interval, Duration::from_millis(500));
    assert_eq!(lock.keep_alive_period, Some(Duration::from_millis(2000)));
    assert!(lock.fail_if_locked);
    let usage = &config.broker.system_usage;
    assert_eq!(usage.memory.limit, MemoryLimit::Bytes(64 << 20));
    assert_eq!((usage.store.percent_limit, usage.store.total), (Some(30), Some(10 << 30)));
    assert_eq!(usage.send_fail_if_no_space_after_timeout, Some(Duration::from_millis(3000)));
}

#[test]
fn persistence_is_on_without_a_word() {
    let silent = broker("<broker brokerName='n' dataDirectory='/d'/>");
    let StoreOptions::Journal(store) = &silent.store else { panic!("{:?}", silent.store) };
    assert_eq!(store.directory.as_deref(), Some(Path::new("/d/n/KahaDB")));
    assert!(texts(&silent, Weight::NotServed).is_empty());
    let memory = broker("<broker persistent='false'/>");
    assert_eq!(memory.store, StoreOptions::Memory);
    assert!(texts(&memory, Weight::NotServed).is_empty());
}

#[test]
fn transport_options_are_typed() {
    let config = broker(
        "<broker><transportConnectors><transportConnector
           uri='nio://[::1]:0?transport.soTimeout=5000&amp;keepAlive=true&amp;backlog=7&amp;wireFormat.maxInactivityDuration=0&amp;wireFormat.cacheEnabled=false&amp;wireFormat.maxInactivityDurationInitalDelay=1&amp;wireFormat.version=9'
           maximumConsumersAllowedPerConnection='5'/></transportConnectors></broker>",
    );
    let connector = &config.connectors[0];
    assert_eq!((connector.host.as_str(), connector.port), ("::1", 0));
    let transport = &connector.transport;
    assert_eq!(transport.so_timeout, Some(Duration::from_millis(5000)));
    assert_eq!((transport.keep_alive, transport.backlog), (true, 7));
    let wire = &transport.wire_format;
    assert_eq!((wire.max_inactivity, wire.cache_enabled, wire.version), (None, false, 9));
    assert_eq!(wire.max_inactivity_initial_delay, Duration::from_millis(1));
    assert_eq!(connector.options.maximum_consumers_allowed_per_connection, Some(5));
}

#[test]
fn connectors_may_be_listed_as_uris() {
    let uris = "<broker><transportConnectorURIs><value>tcp://127.0.0.1:0</value>
                <value>nio://127.0.0.1:0</value></transportConnectorURIs></broker>";
    assert_eq!(broker(uris).connectors.len(), 2);
}

#[test]
fn a_broker_uri_is_a_whole_configuration() {
    let text = "broker:(tcp://127.0.0.1:0?maximumConnections=5,network:static:(tcp://b:2))\
                ?persistent=false&useJmx=false&brokerName=uri";
    let config = load(text);
    assert_eq!(config.broker.broker_name, "uri");
    assert_eq!(config.store, StoreOptions::Memory);
    assert_eq!(config.connectors[0].transport.maximum_connections, 5);
    assert_eq!(config.network[0].uri.to_string(), "static:(tcp://b:2)");
}

#[test]
fn placeholders_come_from_properties_files_definitions_and_environment() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("conf");
    fs::create_dir(&conf).unwrap();
    fs::write(
        conf.join("credentials.properties"),
        "name = from.file\nenc = ENC(mYRkg+4Q4hua1kvpCCI2hg==)\n",
    )
    .unwrap();
    fs::write(
        conf.join("activemq.xml"),
        "<beans xmlns='http://www.springframework.org/schema/beans'>
           <bean class='org.springframework.beans.factory.config.PropertyPlaceholderConfigurer'>
             <property name='locations'><value>file:${activemq.conf}/credentials.properties</value></property>
           </bean>
           <broker xmlns='http://activemq.apache.org/schema/core' brokerName='${name}-${HOSTNAME}-${enc}'
                   dataDirectory='${activemq.data}' persistent='${persistent:false}'>
             <transportConnectors>
               <transportConnector uri='tcp://127.0.0.1:${mq.port}'/>
             </transportConnectors>
           </broker></beans>",
    )
    .unwrap();
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let environment = Environment {
        defines: pairs(&[("name", "defined")]),
        variables: pairs(&[
            ("HOSTNAME", "mq1"),
            ("ACTIVEMQ_OPTS", "-Xmx512M -Dmq.port=61999 -Djetty.port=1"),
            ("ACTIVEMQ_ENCRYPTION_PASSWORD", "activemq"),
        ]),
        strict: false,
    };
    let source = Source::File(conf.join("activemq.xml"));
    let config = config::load(&source, &environment).unwrap();
    assert_eq!(config.broker.broker_name, "from.file-mq1-manager");
    assert_eq!(config.broker.data_directory, dir.path().join("data"));
    assert_eq!((config.connectors[0].port, config.broker.persistent), (61999, false));
}

#[test]
fn jetty_port_and_host_of_the_command_line_win() {
    let environment = Environment {
        defines: BTreeMap::from([
            ("jetty.port".to_owned(), "9999".to_owned()),
            ("jetty.host".to_owned(), "127.0.0.9".to_owned()),
        ]),
        ..Environment::default()
    };
    let source = Source::parse("xbean:file:tests/config/cluster/mq4/activemq.xml").unwrap();
    let web = config::load(&source, &environment).unwrap().web.unwrap();
    assert_eq!((web.host.as_str(), web.port), ("127.0.0.9", 9999));
}

#[test]
fn an_illegal_broker_name_is_cleaned_and_said() {
    let config = broker("<broker brokerName='a b/c'/>");
    assert_eq!(config.broker.broker_name, "a_b_c");
    let said = texts(&config, Weight::Warning);
    assert!(said.iter().any(|text| text.contains("illegal characters - replaced with a_b_c")));
}
