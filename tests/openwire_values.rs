//! What the Java library makes of maps, bodies, ids and offers, and what must not be taken for one.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use openwired::openwire::body::{Body, INFLATED_BYTES_MAX};
use openwired::openwire::{
    BrokerId, ConnectionId, ConsumerId, Destination, DestinationKind, LocalTransactionId, Message,
    MessageClass, MessageId, Offer, PrimitiveMap, ProducerId, SessionId, Value, WireFormat,
    XaTransactionId, map, negotiate,
};
use serde_json::{Value as Json, json};

#[path = "support/vectors.rs"]
mod vectors;

use vectors::{hex, lines, to_hex, told};

/// A value as the vectors tell it.
fn told_value(value: &Value) -> Json {
    let text = |tag: &str, text: &str| json!({"t": tag, "v": text});
    match value {
        Value::Null => json!({"t": "null"}),
        Value::Boolean(value) => json!({"t": "boolean", "v": value}),
        Value::Byte(value) => json!({"t": "byte", "v": value}),
        Value::Char(value) => json!({"t": "char", "v": value}),
        Value::Short(value) => json!({"t": "short", "v": value}),
        Value::Int(value) => json!({"t": "int", "v": value}),
        Value::Long(value) => json!({"t": "long", "v": value}),
        Value::Double(value) => json!({"t": "double", "bits": format!("{:016x}", value.to_bits())}),
        Value::Float(value) => json!({"t": "float", "bits": format!("{:08x}", value.to_bits())}),
        Value::String(value) if value.utf16_len() >= 8191 => text("bigstring", &value.to_str()),
        Value::String(value) => text("string", &value.to_str()),
        Value::Bytes(value) => json!({"t": "bytes", "v": to_hex(value)}),
        Value::List(values) => json!({"t": "list", "v": told_values(values)}),
        Value::Map(map) => json!({"t": "map", "v": told_map(map)}),
    }
}

fn told_values(values: &[Value]) -> Json {
    values.iter().map(told_value).collect()
}

fn told_map(map: &PrimitiveMap) -> Json {
    map.iter().map(|(key, value)| json!([key.to_str(), told_value(value)])).collect()
}

#[test]
fn maps_are_read_and_written_as_java_does() {
    for line in lines("maps") {
        let bytes = hex(&line["hex"]);
        let Some(map) = PrimitiveMap::decode(&bytes).unwrap() else {
            assert_eq!(line["map"], Json::Null, "{}", line["name"]);
            continue;
        };
        assert_eq!(told_map(&map), line["map"], "{}", line["name"]);
        assert_eq!(to_hex(&map.encode().unwrap()), line["hex"], "{}", line["name"]);
        for (key, value) in map.iter() {
            let found = map::get(&bytes, &key.to_str()).unwrap().unwrap();
            assert_eq!(told_value(&found), told_value(value), "{} {key}", line["name"]);
        }
        for cut in 0..bytes.len().min(2000) {
            assert!(PrimitiveMap::decode(&bytes[..cut]).is_err(), "{} at {cut}", line["name"]);
        }
    }
}

#[test]
fn bodies_are_read_as_java_wrote_them_compressed_or_not() {
    for line in lines("bodies") {
        let class = match line["class"].as_str().unwrap() {
            "ActiveMQMessage" => MessageClass::Plain,
            "ActiveMQTextMessage" => MessageClass::Text,
            "ActiveMQBytesMessage" => MessageClass::Bytes,
            "ActiveMQMapMessage" => MessageClass::Map,
            "ActiveMQObjectMessage" => MessageClass::Object,
            "ActiveMQStreamMessage" => MessageClass::Stream,
            other => panic!("no class {other}"),
        };
        let bytes = |field: &str| (!line[field].is_null()).then(|| Bytes::from(hex(&line[field])));
        let message = Message {
            class,
            content: bytes("content"),
            marshalled_properties: bytes("marshalledProperties"),
            compressed: line["compressed"].as_bool().unwrap(),
            ..Message::default()
        };
        let body = Body::of(&message, INFLATED_BYTES_MAX).unwrap();
        let told = match &body {
            Body::None => Json::Null,
            Body::Text(text) => json!(text.to_str()),
            Body::Bytes(bytes) | Body::Object(bytes) => json!(to_hex(bytes)),
            Body::Map(map) => told_map(map),
            Body::Stream(values) => told_values(values),
        };
        // An empty body is told as none where Java sends the one for the other.
        let nothing =
            |value: &Json| matches!(value, Json::Null) || value == "" || *value == json!([]);
        if !(nothing(&told) && nothing(&line["body"])) {
            assert_eq!(in_order(told), in_order(line["body"].clone()), "{}", line["name"]);
        }
        if let Some(properties) = &message.marshalled_properties {
            let map = PrimitiveMap::decode(properties).unwrap().unwrap();
            assert_eq!(map.encode().unwrap(), properties, "{}", line["name"]);
        }
        if let (false, Some(content)) = (message.compressed, &message.content) {
            assert_eq!(body.encode().unwrap(), (class, Some(content.clone())), "{}", line["name"]);
        }
    }
}

/// Java's maps have no order.
fn in_order(mut value: Json) -> Json {
    if let Some(entries) = value.as_array_mut()
        && entries.iter().all(Json::is_array)
    {
        entries.sort_by_key(|entry| entry[0].to_string());
    }
    value
}

#[test]
fn both_sides_of_a_connection_agree_on_what_java_agrees_on() {
    for line in lines("negotiation") {
        let [local, remote] = ["local", "remote"].map(|side| offer(&line[side]));
        for agreed in [negotiate(&local, &remote), negotiate(&remote, &local)] {
            let slots = agreed.cache_slots.map_or(Json::Null, |slots| json!(slots));
            let told = json!({
                "version": agreed.version,
                "StackTraceEnabled": agreed.stack_trace,
                "TcpNoDelayEnabled": agreed.tcp_no_delay,
                "CacheEnabled": agreed.cache_slots.is_some(),
                "TightEncodingEnabled": agreed.tight,
                "SizePrefixDisabled": agreed.size_prefix_disabled,
                "MaxFrameSize": agreed.max_frame_size,
                "cacheSlots": slots,
            });
            assert_eq!(told, line["result"], "{}", line["name"]);
        }
    }
}

/// An offer with the keys that a line names, and nothing where it names none; it goes through its
/// frame like a peer's.
fn offer(told: &Json) -> Offer {
    let flag = |key: &str| told[key].as_bool().unwrap_or_default();
    let number = |key: &str| told[key].as_i64().unwrap_or_default();
    let offer = Offer {
        version: i32::try_from(told["version"].as_i64().unwrap()).unwrap(),
        stack_trace: flag("StackTraceEnabled"),
        tcp_no_delay: flag("TcpNoDelayEnabled"),
        cache: flag("CacheEnabled"),
        cache_size: i32::try_from(number("CacheSize")).unwrap(),
        tight_encoding: flag("TightEncodingEnabled"),
        size_prefix_disabled: flag("SizePrefixDisabled"),
        max_frame_size: number("MaxFrameSize"),
        ..Offer::default()
    };
    Offer::from_info(&offer.to_info().unwrap(), 1).unwrap()
}

#[test]
fn ids_print_and_are_read_as_in_java() {
    for line in lines("ids") {
        let fields = &line["fields"];
        let printed = printed(line["class"].as_str().unwrap(), fields);
        assert_eq!(json!(printed), line["string"]);
        let format = WireFormat { version: 12, ..WireFormat::HANDSHAKE };
        let Some(text) = line["parsed_from"].as_str() else { continue };
        let parsed = match line["class"].as_str().unwrap() {
            "ProducerId" => told(&text.parse::<ProducerId>().unwrap(), &format),
            "MessageId" => told(&text.parse::<MessageId>().unwrap(), &format),
            other => panic!("no class {other}"),
        };
        assert_eq!(parsed, *fields);
    }
}

fn printed(class: &str, fields: &Json) -> String {
    let text = |key: &str| fields[key].as_str().unwrap_or_default();
    let number = |key: &str| fields[key].as_i64().unwrap();
    let destination = |kind| Destination::new(kind, text("physicalName")).to_string();
    match class {
        "ConnectionId" => ConnectionId::new(text("value")).to_string(),
        "BrokerId" => BrokerId::new(text("value")).to_string(),
        "SessionId" => SessionId::new(text("connectionId"), number("value")).to_string(),
        "ProducerId" => {
            ProducerId::new(text("connectionId"), number("sessionId"), number("value")).to_string()
        }
        "ConsumerId" => {
            ConsumerId::new(text("connectionId"), number("sessionId"), number("value")).to_string()
        }
        "MessageId" => {
            let producer = &fields["producerId"];
            let part = |key: &str| producer[key].as_i64().unwrap();
            let connection = producer["connectionId"].as_str().unwrap();
            let producer = ProducerId::new(connection, part("sessionId"), part("value"));
            let mut id = MessageId::new(Arc::new(producer), number("producerSequenceId"));
            id.text_view = fields["textView"].as_str().map(Into::into);
            id.to_string()
        }
        "LocalTransactionId" => {
            let connection = fields["connectionId"]["value"].as_str().unwrap();
            let connection_id = Some(Arc::new(ConnectionId::new(connection)));
            LocalTransactionId { value: number("value"), connection_id }.to_string()
        }
        "XATransactionId" => XaTransactionId {
            format_id: i32::try_from(number("formatId")).unwrap(),
            global_transaction_id: Some(hex(&fields["globalTransactionId"]).into()),
            branch_qualifier: Some(hex(&fields["branchQualifier"]).into()),
        }
        .to_string(),
        "ActiveMQQueue" => destination(DestinationKind::Queue),
        "ActiveMQTopic" => destination(DestinationKind::Topic),
        "ActiveMQTempQueue" => destination(DestinationKind::TempQueue),
        "ActiveMQTempTopic" => destination(DestinationKind::TempTopic),
        other => panic!("no class {other}"),
    }
}
