//! The settings of a connector as text, in the form of Java's `Properties`, in which a duplex bridge
//! tells them to its peer.

use std::str::Chars;

use super::options::NetworkOptions;
use crate::base::secret::Secret;
use crate::openwire::{Destination, DestinationKind};

/// Longest text that is read.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Why a peer's settings are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    #[error("the networkProperties have {0} bytes; {TEXT_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("networkProperties: `{value}` is no value for {name}")]
    Value { name: String, value: String },
}

/// Writes settings as ActiveMQ writes those of a connector. `local_name` is this broker's.
pub fn write(options: &NetworkOptions, uri: &str, local_name: &str) -> String {
    let ttl = |ttl: Option<u32>| ttl.map_or_else(|| "-1".to_owned(), |hops| hops.to_string());
    let list = |destinations: &[Destination]| {
        let shown: Vec<_> = destinations.iter().map(ToString::to_string).collect();
        format!("[{}]", shown.join(", "))
    };
    let mut pairs: Vec<(&str, String)> = vec![
        ("name", options.name.clone()),
        ("brokerName", local_name.to_owned()),
        ("uri", uri.to_owned()),
        ("duplex", options.duplex.to_string()),
        ("dynamicOnly", options.dynamic_only.to_string()),
        ("syncDurableSubs", options.sync_durable_subs.to_string()),
        ("dispatchAsync", options.dispatch_async.to_string()),
        ("conduitSubscriptions", options.conduit_subscriptions.to_string()),
        (
            "conduitNetworkQueueSubscriptions",
            options.conduit_network_queue_subscriptions.to_string(),
        ),
        ("decreaseNetworkConsumerPriority", options.decrease_network_consumer_priority.to_string()),
        ("consumerPriorityBase", options.consumer_priority_base.to_string()),
        ("messageTTL", ttl(options.message_ttl)),
        ("consumerTTL", ttl(options.consumer_ttl)),
        ("prefetchSize", options.prefetch_size.to_string()),
        ("advisoryPrefetchSize", options.advisory_prefetch_size.to_string()),
        ("advisoryAckPercentage", options.advisory_ack_percentage.to_string()),
        ("bridgeTempDestinations", options.bridge_temp_destinations.to_string()),
        ("staticBridge", options.static_bridge.to_string()),
        (
            "suppressDuplicateQueueSubscriptions",
            options.suppress_duplicate_queue_subscriptions.to_string(),
        ),
        (
            "suppressDuplicateTopicSubscriptions",
            options.suppress_duplicate_topic_subscriptions.to_string(),
        ),
        ("alwaysSyncSend", options.always_sync_send.to_string()),
        ("checkDuplicateMessagesOnDuplex", options.check_duplicate_messages_on_duplex.to_string()),
        ("useVirtualDestSubs", options.use_virtual_dest_subs.to_string()),
        ("useBrokerNamesAsIdSeed", options.use_broker_names_as_id_seed.to_string()),
        ("clientIdToken", options.client_id_token.clone()),
        ("destinationFilter", options.consumer_advisories()),
    ];
    pairs.extend(options.user_name.clone().map(|name| ("userName", name)));
    pairs.extend(options.password.as_ref().map(|word| ("password", word.reveal().to_owned())));
    for (name, destinations) in [
        ("excludedDestinations", &options.excluded_destinations),
        ("dynamicallyIncludedDestinations", &options.dynamically_included_destinations),
        ("staticallyIncludedDestinations", &options.statically_included_destinations),
    ] {
        if !destinations.is_empty() {
            pairs.push((name, list(destinations)));
        }
    }
    let mut text = String::from("#\n");
    for (name, value) in pairs {
        escape(name, true, &mut text);
        text.push('=');
        escape(&value, false, &mut text);
        text.push('\n');
    }
    text
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (at, c) in text.chars().enumerate() {
        match c {
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

/// Reads the settings of a peer's connector. Names that are not known are left out, as in ActiveMQ.
///
/// # Errors
/// A value that is none, or too long a text.
pub fn read(text: &str) -> Result<NetworkOptions, PropertiesError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PropertiesError::TooLong(text.len()));
    }
    let mut options = NetworkOptions::default();
    for (name, value) in pairs(text) {
        if set(&mut options, &name, &value).is_none() {
            return Err(PropertiesError::Value { name, value });
        }
    }
    Ok(options)
}

/// Sets one; `None` when the value is none.
fn set(to: &mut NetworkOptions, name: &str, value: &str) -> Option<()> {
    let flag = || value.trim().parse::<bool>().ok();
    let number = || value.trim().parse::<i64>().ok();
    let ttl = || number().map(|hops| u32::try_from(hops).ok());
    let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
    match name {
        "name" => value.clone_into(&mut to.name),
        "duplex" => to.duplex = flag()?,
        "networkTTL" => {
            to.message_ttl = ttl()?;
            to.consumer_ttl = to.message_ttl;
        }
        "messageTTL" => to.message_ttl = ttl()?,
        "consumerTTL" => to.consumer_ttl = ttl()?,
        "dynamicOnly" => to.dynamic_only = flag()?,
        "syncDurableSubs" => to.sync_durable_subs = flag()?,
        "dispatchAsync" => to.dispatch_async = flag()?,
        "conduitSubscriptions" => to.conduit_subscriptions = flag()?,
        "conduitNetworkQueueSubscriptions" => to.conduit_network_queue_subscriptions = flag()?,
        "decreaseNetworkConsumerPriority" => to.decrease_network_consumer_priority = flag()?,
        "consumerPriorityBase" => to.consumer_priority_base = i32::try_from(number()?).ok()?,
        "prefetchSize" => {
            to.prefetch_size = u32::try_from(number()?).ok().filter(|size| *size > 0)?;
        }
        "advisoryPrefetchSize" => {
            to.advisory_prefetch_size = u32::try_from(number()?.max(0)).ok()?;
        }
        "advisoryAckPercentage" => {
            to.advisory_ack_percentage = u8::try_from(number()?.clamp(0, 100)).ok()?;
        }
        "bridgeTempDestinations" => to.bridge_temp_destinations = flag()?,
        "staticBridge" => to.static_bridge = flag()?,
        "suppressDuplicateQueueSubscriptions" => {
            to.suppress_duplicate_queue_subscriptions = flag()?;
        }
        "suppressDuplicateTopicSubscriptions" => {
            to.suppress_duplicate_topic_subscriptions = flag()?;
        }
        "alwaysSyncSend" => to.always_sync_send = flag()?,
        "checkDuplicateMessagesOnDuplex" => to.check_duplicate_messages_on_duplex = flag()?,
        "useVirtualDestSubs" => to.use_virtual_dest_subs = flag()?,
        "useBrokerNamesAsIdSeed" => to.use_broker_names_as_id_seed = flag()?,
        "clientIdToken" => value.clone_into(&mut to.client_id_token),
        "userName" => to.user_name = text(),
        "password" => to.password = text().map(Secret::new),
        "remoteUserName" => to.remote_user_name = text(),
        "remotePassword" => to.remote_password = text().map(Secret::new),
        "destinationFilter" => value.clone_into(&mut to.destination_filter),
        "excludedDestinations" => to.excluded_destinations = destinations(value),
        "dynamicallyIncludedDestinations" => {
            to.dynamically_included_destinations = destinations(value);
        }
        "staticallyIncludedDestinations" => {
            to.statically_included_destinations = destinations(value);
        }
        _ => {}
    }
    Some(())
}

/// `[topic://NET.>, queue://NET.>]`.
fn destinations(list: &str) -> Vec<Destination> {
    let list = list.trim().trim_start_matches('[').trim_end_matches(']');
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Destination::parse(part, DestinationKind::Queue)).collect()
}

/// The pairs of a text: comments left out, escapes and continued lines resolved.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            line.pop();
            let Some(next) = lines.next() else { break };
            line.push_str(next.trim_start());
        }
        let mut chars = line.chars();
        let name = unescape(&mut chars, true);
        let rest = chars.as_str().trim_start();
        let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        found.push((name, unescape(&mut rest.chars(), false)));
    }
    found
}

/// Reads up to the end of a name, or of the line.
fn unescape(chars: &mut Chars<'_>, is_key: bool) -> String {
    let mut units: Vec<u16> = Vec::new();
    loop {
        let rest = chars.clone();
        let Some(c) = chars.next() else { break };
        if is_key && matches!(c, '=' | ':' | ' ' | '\t') {
            *chars = rest;
            break;
        }
        let c = if c == '\\' { chars.next() } else { Some(c) }.map(|next| match next {
            _ if c != '\\' => next,
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            other => other,
        });
        let escaped = rest.as_str().strip_prefix("\\u").and_then(|digits| digits.get(..4));
        match (escaped.and_then(|digits| u16::from_str_radix(digits, 16).ok()), c) {
            (Some(unit), _) => {
                units.push(unit);
                *chars = chars.as_str().get(4..).unwrap_or_default().chars();
            }
            (None, Some(c)) => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            (None, None) => break,
        }
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ActiveMQ 5.17.2 sent it.
    const CLASSIC: &str = "#\n#Sun Nov 22 20:55:46 UTC 2026\nconsumerTTL=3\nduplex=true\n\
        localUri=vm\\://brokerA\nprefetchSize=1000\nconsumerPriorityBase=-5\npassword=bridge-pw\n\
        useVirtualDestSus=false\nmessageTTL=-1\nclientIdToken=_\nuserName=bridge-user\n\
        uri=static\\:(tcp\\://127.0.0.1\\:43587?wireFormat.version\\=6)\n\
        destinationFilter=ActiveMQ.Advisory.Consumer.Topic.NET.>,ActiveMQ.Advisory.Consumer.Queue.NET.>\n\
        dynamicallyIncludedDestinations=[topic\\://NET.>, queue\\://NET.>]\nname=nc1\nbrokerName=brokerA\n";

    #[test]
    fn what_activemq_tells_of_its_connector_is_understood() {
        let options = read(CLASSIC).unwrap();
        assert_eq!((options.name.as_str(), options.duplex), ("nc1", true));
        assert_eq!((options.message_ttl, options.consumer_ttl), (None, Some(3)));
        let included = [Destination::topic("NET.>"), Destination::queue("NET.>")];
        assert_eq!(options.dynamically_included_destinations, included);
        assert_eq!(options.password.unwrap().reveal(), "bridge-pw");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let options = NetworkOptions {
            name: " näme = \u{1f600}\\ #1".to_owned(),
            message_ttl: None,
            duplex: true,
            user_name: Some("u:ser".to_owned()),
            excluded_destinations: vec![Destination::queue("A.>"), Destination::topic("B")],
            destination_filter: "ActiveMQ.Advisory.Consumer.>".to_owned(),
            ..NetworkOptions::default()
        };
        let text = write(&options, "static:(tcp://a:1)", "me");
        assert!(text.is_ascii(), "{text}");
        assert_eq!(read(&text).unwrap(), options);
    }

    #[test]
    fn lines_go_on_behind_a_backslash_and_comments_do_not_count() {
        let found = pairs("! no=1\n  a : b\\\n   c\nd e\n=f\n\\u00e4x=\\u12\n");
        let want = [("a", "bc"), ("d", "e"), ("", "f"), ("äx", "u12")];
        let found: Vec<_> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, want);
    }

    #[test]
    fn a_value_that_is_none_is_named() {
        let error = read("prefetchSize=0\n").unwrap_err().to_string();
        assert_eq!(error, "networkProperties: `0` is no value for prefetchSize");
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(read(&long).unwrap_err(), PropertiesError::TooLong(TEXT_BYTES_MAX + 1));
    }
}
