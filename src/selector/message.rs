//! Which header or property of an OpenWire message a name in a selector means.

use std::borrow::Cow;

use super::{Properties, Value};
use crate::openwire::map::{self, Found};
use crate::openwire::{BrokerId, Message, Text};

/// A message as one consumer is about to get it.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    pub message: &'a Message,
    /// How often it was delivered before; the broker counts this, whatever the message says.
    pub redelivery_counter: i32,
}

impl Properties for Message {
    fn get(&self, name: &str) -> Value<'_> {
        get(self, self.redelivery_counter, name)
    }
}

impl Properties for Delivered<'_> {
    fn get(&self, name: &str) -> Value<'_> {
        get(self.message, self.redelivery_counter, name)
    }
}

/// A header by exactly its name, else a property.
fn get<'a>(message: &'a Message, redelivery_counter: i32, name: &str) -> Value<'a> {
    if !name.starts_with("JMS") {
        return property(message, name);
    }
    match name {
        "JMSDestination" => {
            shown(message.original_destination.as_ref().or(message.destination.as_ref()))
        }
        "JMSReplyTo" => shown(message.reply_to.as_ref()),
        "JMSType" => text(message.kind.as_ref()),
        "JMSDeliveryMode" => {
            let mode = if message.persistent { "PERSISTENT" } else { "NON_PERSISTENT" };
            Value::Text(mode.into())
        }
        "JMSPriority" => Value::Integer(message.priority.into()),
        "JMSMessageID" => shown(message.message_id.as_ref()),
        "JMSTimestamp" => Value::Long(message.timestamp),
        "JMSCorrelationID" => text(message.correlation_id.as_ref()),
        "JMSExpiration" => Value::Long(message.expiration),
        "JMSRedelivered" => Value::Boolean(redelivery_counter > 0),
        "JMSXDeliveryCount" => Value::Integer(redelivery_counter.wrapping_add(1)),
        "JMSXGroupID" => text(message.group_id.as_ref()),
        "JMSXGroupSeq" => Value::Integer(message.group_sequence),
        "JMSXGroupFirstForConsumer" => Value::Boolean(message.jmsx_group_first_for_consumer),
        "JMSXUserID" => match &message.user_id {
            Some(user) => text(Some(user)),
            None => property(message, name),
        },
        "JMSXProducerTXID" => {
            shown(message.original_transaction_id.as_ref().or(message.transaction_id.as_ref()))
        }
        "JMSActiveMQBrokerInTime" => Value::Long(message.broker_in_time),
        "JMSActiveMQBrokerOutTime" => Value::Long(message.broker_out_time),
        "JMSActiveMQBrokerPath" => broker_path(message.broker_path.as_deref()),
        _ => property(message, name),
    }
}

fn text(text: Option<&Text>) -> Value<'_> {
    text.map_or(Value::Null, |text| Value::Text(text.to_str()))
}

fn shown<'a>(it: Option<&impl ToString>) -> Value<'a> {
    it.map_or(Value::Null, |it| Value::from(it.to_string()))
}

/// As Java prints an array, a missing one included.
fn broker_path(path: Option<&[Option<BrokerId>]>) -> Value<'static> {
    let null = || "null".to_owned();
    let Some(path) = path else { return Value::from(null()) };
    let ids: Vec<_> =
        path.iter().map(|id| id.as_ref().map_or_else(null, ToString::to_string)).collect();
    Value::from(format!("[{}]", ids.join(", ")))
}

/// A property of damaged properties is none.
fn property<'a>(message: &'a Message, name: &str) -> Value<'a> {
    let Some(properties) = message.marshalled_properties.as_ref() else { return Value::Null };
    match map::find(properties, name) {
        Ok(Some(Found::String(bytes))) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(Cow::Borrowed(text)),
            Err(_) => Text::from_java_utf8(bytes)
                .map_or(Value::Null, |text| Value::from(text.to_str().into_owned())),
        },
        Ok(Some(Found::Value(value))) => from_map(&value),
        Ok(None) | Err(_) => Value::Null,
    }
}

fn from_map(value: &map::Value) -> Value<'static> {
    match value {
        map::Value::Null => Value::Null,
        map::Value::Boolean(it) => Value::Boolean(*it),
        map::Value::Byte(it) => Value::Byte(*it),
        map::Value::Short(it) => Value::Short(*it),
        map::Value::Int(it) => Value::Integer(*it),
        map::Value::Long(it) => Value::Long(*it),
        map::Value::Float(it) => Value::Float(*it),
        map::Value::Double(it) => Value::Double(*it),
        map::Value::String(it) => Value::from(it.to_str().into_owned()),
        map::Value::List(items) => Value::List(items.iter().map(from_map).collect()),
        map::Value::Char(_) | map::Value::Bytes(_) | map::Value::Map(_) => Value::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::openwire::map::PrimitiveMap;
    use crate::openwire::{
        Destination, DestinationKind, LocalTransactionId, MessageId, ProducerId, TransactionId,
    };
    use crate::selector::Selector;

    fn order() -> Message {
        let producer_id =
            ProducerId { connection_id: Some("ID:host-1:1".into()), value: 3, session_id: 2 };
        let message_id = MessageId {
            producer_id: Some(Arc::new(producer_id)),
            producer_sequence_id: 4,
            ..MessageId::default()
        };
        let properties: PrimitiveMap = [
            ("color", map::Value::String("red".into())),
            ("sign", map::Value::String("a\0é😀".into())),
            ("size", map::Value::Short(10)),
            ("tags", map::Value::List(vec![map::Value::String("x".into())])),
            ("map", map::Value::Map(PrimitiveMap::new())),
            ("JMSXUserID", map::Value::String("own".into())),
            ("JMSPriority", map::Value::Int(1)),
        ]
        .into_iter()
        .collect();
        Message {
            destination: Some(Arc::new(Destination::queue("ORDERS"))),
            message_id: Some(message_id),
            reply_to: Some(Destination::new(DestinationKind::TempQueue, "ID:h:1")),
            kind: Some("order".into()),
            persistent: true,
            priority: 7,
            timestamp: 1_700_000_000_000,
            correlation_id: Some("c".into()),
            group_id: Some("g".into()),
            group_sequence: 3,
            redelivery_counter: 2,
            marshalled_properties: Some(properties.encode().unwrap()),
            ..Message::default()
        }
    }

    #[track_caller]
    fn check(message: &impl Properties, selector: &str, want: Option<bool>) {
        assert_eq!(Selector::parse(selector).unwrap().truth(message), want, "{selector}");
    }

    #[test]
    fn headers_are_the_fields_of_the_message() {
        for selector in [
            "JMSDestination = 'queue://ORDERS' AND JMSReplyTo = 'temp-queue://ID:h:1'",
            "JMSMessageID = 'ID:host-1:1:2:3:4' AND JMSType = 'order'",
            "JMSDeliveryMode = 'PERSISTENT' AND JMSPriority = 7 AND JMSTimestamp = 1700000000000",
            "JMSCorrelationID = 'c' AND JMSExpiration = 0 AND JMSRedelivered",
            "JMSXDeliveryCount = 3 AND JMSXGroupID = 'g' AND JMSXGroupSeq = 3",
            "NOT JMSXGroupFirstForConsumer AND JMSXProducerTXID IS NULL",
            "JMSActiveMQBrokerInTime = 0 AND JMSActiveMQBrokerOutTime = 0",
            "JMSActiveMQBrokerPath = 'null' AND JMSPriorities IS NULL AND jmspriority IS NULL",
        ] {
            check(&order(), selector, Some(true));
        }
    }

    #[test]
    fn a_message_that_came_another_way_says_where_it_was_sent_first() {
        let transaction = LocalTransactionId {
            value: 5,
            connection_id: Some(Arc::new(crate::openwire::ConnectionId {
                value: Some("ID:h".into()),
            })),
        };
        let message = Message {
            original_destination: Some(Arc::new(Destination::topic("FIRST"))),
            transaction_id: Some(Arc::new(TransactionId::Local(transaction))),
            user_id: Some("ann".into()),
            broker_path: Some(vec![Some(BrokerId { value: Some("a".into()) }), None]),
            ..order()
        };
        check(&message, "JMSDestination = 'topic://FIRST'", Some(true));
        check(&message, "JMSXProducerTXID = 'TX:ID:h:5'", Some(true));
        check(&message, "JMSXUserID = 'ann' AND JMSActiveMQBrokerPath = '[a, null]'", Some(true));
    }

    #[test]
    fn the_broker_counts_deliveries() {
        let message = order();
        let first = Delivered { message: &message, redelivery_counter: 0 };
        check(&first, "JMSXDeliveryCount = 1 AND NOT JMSRedelivered", Some(true));
        check(&first, "color = 'red'", Some(true));
    }

    #[test]
    fn properties_are_read_from_where_they_lie() {
        let message = order();
        assert!(matches!(message.get("color"), Value::Text(Cow::Borrowed("red"))));
        assert_eq!(message.get("sign"), Value::Text("a\0é😀".into()));
        check(&message, "size = 10 AND INLIST(tags, 'x') AND JMSXUserID = 'own'", Some(true));
        check(&message, "map IS NOT NULL", Some(true));
        check(&message, "map = 'x'", Some(false));
        check(&message, "map > 1", None);
        check(&message, "colour = 'red'", None);
    }

    #[test]
    fn damaged_properties_are_none() {
        let cut = order().marshalled_properties.map(|bytes| bytes.slice(..bytes.len() - 1));
        check(&Message { marshalled_properties: cut, ..order() }, "color = 'red'", None);
        check(&Message { marshalled_properties: None, ..order() }, "color IS NULL", Some(true));
    }
}
