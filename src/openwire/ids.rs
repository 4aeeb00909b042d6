//! Ids as text: how they print, how they are read back, and whose child each is.
//!
//! A connection id has colons of its own, so texts are always split from the right.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{
    BrokerId, ConnectionId, ConsumerId, LocalTransactionId, MessageId, ProducerId, SessionId, Text,
    TransactionId, XaTransactionId,
};

/// The session that every connection has without announcing it.
pub const IMPLICIT_SESSION: i64 = -1;

/// A text that names no id of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no {kind}, which is written {form}")]
pub struct IdError {
    text: String,
    kind: &'static str,
    form: &'static str,
}

fn shown(text: &Option<Text>) -> &dyn fmt::Display {
    match text {
        Some(text) => text,
        None => &"",
    }
}

/// Splits `<rest>:<number>` at its last colon.
fn split_number(text: &str) -> Option<(&str, i64)> {
    let (rest, number) = text.rsplit_once(':')?;
    Some((rest, number.parse().ok()?))
}

impl BrokerId {
    pub fn new(value: impl Into<Text>) -> Self {
        Self { value: Some(value.into()) }
    }
}

impl ConnectionId {
    pub fn new(value: impl Into<Text>) -> Self {
        Self { value: Some(value.into()) }
    }
}

impl SessionId {
    pub fn new(connection_id: impl Into<Text>, value: i64) -> Self {
        Self { connection_id: Some(connection_id.into()), value }
    }

    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId { value: self.connection_id.clone() }
    }
}

impl ConsumerId {
    pub fn new(connection_id: impl Into<Text>, session_id: i64, value: i64) -> Self {
        Self { connection_id: Some(connection_id.into()), session_id, value }
    }

    pub fn session_id(&self) -> SessionId {
        SessionId { connection_id: self.connection_id.clone(), value: self.session_id }
    }

    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId { value: self.connection_id.clone() }
    }
}

impl ProducerId {
    pub fn new(connection_id: impl Into<Text>, session_id: i64, value: i64) -> Self {
        Self { connection_id: Some(connection_id.into()), value, session_id }
    }

    pub fn session_id(&self) -> SessionId {
        SessionId { connection_id: self.connection_id.clone(), value: self.session_id }
    }

    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId { value: self.connection_id.clone() }
    }
}

/// What makes a message id the same message: producer and sequence, nothing else. Cheap to clone,
/// to hash and to compare, for maps by message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageKey {
    producer_id: Option<Arc<ProducerId>>,
    producer_sequence_id: i64,
}

impl MessageId {
    pub fn new(producer_id: Arc<ProducerId>, producer_sequence_id: i64) -> Self {
        Self { producer_id: Some(producer_id), producer_sequence_id, ..Self::default() }
    }

    /// Whether both name the same message. The text of a foreign id and the number a broker gave it
    /// do not count, as in Java.
    pub fn names_same_message(&self, other: &Self) -> bool {
        self.producer_sequence_id == other.producer_sequence_id
            && self.producer_id == other.producer_id
    }

    pub fn key(&self) -> MessageKey {
        MessageKey {
            producer_id: self.producer_id.clone(),
            producer_sequence_id: self.producer_sequence_id,
        }
    }
}

impl TransactionId {
    pub fn is_xa(&self) -> bool {
        matches!(self, Self::Xa(_))
    }

    /// The id of an XA branch.
    pub fn xa(&self) -> Option<&XaTransactionId> {
        match self {
            Self::Xa(xid) => Some(xid),
            Self::Local(_) => None,
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.value).fmt(f)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(&self.value).fmt(f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shown(&self.connection_id), self.value)
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", shown(&self.connection_id), self.session_id, self.value)
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", shown(&self.connection_id), self.session_id, self.value)
    }
}

impl fmt::Display for MessageId {
    /// A foreign id shows its own text, which JMS wants to begin with `ID:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.text_view, &self.producer_id) {
            (Some(text), _) if text.as_bytes().starts_with(b"ID:") => text.fmt(f),
            (Some(text), _) => write!(f, "ID:{text}"),
            (None, Some(producer)) => write!(f, "{producer}:{}", self.producer_sequence_id),
            (None, None) => write!(f, ":{}", self.producer_sequence_id),
        }
    }
}

impl fmt::Display for LocalTransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.connection_id {
            Some(connection) => write!(f, "TX:{connection}:{}", self.value),
            None => write!(f, "TX::{}", self.value),
        }
    }
}

impl fmt::Display for XaTransactionId {
    /// Each byte prints as a signed Java `int` in hexadecimal, without padding: for reading only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XID:[{},globalId=", self.format_id)?;
        write_java_hex(f, self.global_transaction_id.as_deref())?;
        f.write_str(",branchId=")?;
        write_java_hex(f, self.branch_qualifier.as_deref())?;
        f.write_str("]")
    }
}

fn write_java_hex(f: &mut fmt::Formatter<'_>, bytes: Option<&[u8]>) -> fmt::Result {
    for byte in bytes.unwrap_or_default() {
        write!(f, "{:x}", i32::from(byte.cast_signed()))?;
    }
    Ok(())
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(id) => id.fmt(f),
            Self::Xa(id) => id.fmt(f),
        }
    }
}

/// Reads of texts: `kind` and `form` are for the error, the body yields an `Option` of the id.
macro_rules! from_text {
    ($($id:ident, $form:literal, |$text:ident| $read:expr;)*) => { $(
        impl FromStr for $id {
            type Err = IdError;

            fn from_str($text: &str) -> Result<Self, IdError> {
                let read: Option<Self> = $read;
                read.ok_or_else(|| IdError {
                    text: $text.to_owned(),
                    kind: stringify!($id),
                    form: $form,
                })
            }
        }
    )* };
}

from_text! {
    BrokerId, "as any text", |text| (!text.is_empty()).then(|| Self::new(text));
    ConnectionId, "as any text", |text| (!text.is_empty()).then(|| Self::new(text));
    SessionId, "<connection>:<number>", |text| {
        split_number(text).map(|(connection, value)| Self::new(connection, value))
    };
    ConsumerId, "<connection>:<session>:<number>", |text| {
        split_number(text).and_then(|(rest, value)| {
            split_number(rest).map(|(connection, session)| Self::new(connection, session, value))
        })
    };
    ProducerId, "<connection>:<session>:<number>", |text| {
        split_number(text).and_then(|(rest, value)| {
            split_number(rest).map(|(connection, session)| Self::new(connection, session, value))
        })
    };
    MessageId, "<connection>:<session>:<producer>:<number>", |text| {
        split_number(text).and_then(|(producer, sequence)| {
            Some(Self::new(Arc::new(producer.parse().ok()?), sequence))
        })
    };
    LocalTransactionId, "TX:<connection>:<number>", |text| {
        text.strip_prefix("TX:").and_then(split_number).map(|(connection, value)| Self {
            value,
            connection_id: Some(Arc::new(ConnectionId::new(connection))),
        })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_from_the_right() {
        let id: ConsumerId = "ID:host-1-2-3:4:-1:7".parse().unwrap();
        assert_eq!(id, ConsumerId::new("ID:host-1-2-3:4", -1, 7));
        assert_eq!(id.session_id().to_string(), "ID:host-1-2-3:4:-1");
        assert_eq!(id.connection_id().to_string(), "ID:host-1-2-3:4");
        let id: MessageId = "ID:host-1-2-3:4:5:6:7".parse().unwrap();
        assert_eq!(id.producer_id.as_deref(), Some(&ProducerId::new("ID:host-1-2-3:4", 5, 6)));
        assert_eq!(id.to_string(), "ID:host-1-2-3:4:5:6:7");
        let id: LocalTransactionId = "TX:ID:host-1-2-3:4:9".parse().unwrap();
        assert_eq!(id.to_string(), "TX:ID:host-1-2-3:4:9");
    }

    #[test]
    fn a_text_without_numbers_says_what_was_expected() {
        let error = "nonsense".parse::<SessionId>().unwrap_err();
        let expected = "`nonsense` is no SessionId, which is written <connection>:<number>";
        assert_eq!(error.to_string(), expected);
        assert!("a:b:1".parse::<ProducerId>().is_err());
    }

    #[test]
    fn a_message_is_the_same_whatever_a_broker_numbered_it() {
        let producer = Arc::new(ProducerId::new("ID:c", 1, 2));
        let sent = MessageId::new(Arc::clone(&producer), 3);
        let stored = MessageId { broker_sequence_id: 99, ..sent.clone() };
        let foreign = MessageId { text_view: Some("x".into()), ..sent.clone() };
        assert!(sent.names_same_message(&stored) && sent.names_same_message(&foreign));
        assert_eq!(sent.key(), stored.key());
        assert_ne!(sent.key(), MessageId::new(producer, 4).key());
        assert_eq!(foreign.to_string(), "ID:x");
    }
}
