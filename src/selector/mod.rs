//! Message selectors: SQL-92 conditions over the headers and properties of a message, as ActiveMQ
//! reads and evaluates them.
//!
//! * [`lexer`] cuts the text, [`parser`] builds the [`expression`], [`evaluate`] asks it of a message.
//! * [`value`] holds Java's rules of comparison and arithmetic; [`like`] and [`pattern`] are the two
//!   kinds of text pattern.
//! * [`message`] says which header or property of an OpenWire message a name means.
//!
//! **Invariant:** a selector that parsed evaluates in bounded stack and memory, for any message, and
//! cannot fail: what has no value is unknown, and unknown does not match.

mod error;
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not of the kind asked for is unknown")]
mod evaluate;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other conditions are joined alike")]
mod expression;
mod lexer;
mod like;
mod message;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other tokens are unexpected there")]
mod parser;
mod pattern;
#[expect(clippy::wildcard_enum_match_arm, reason = "all other pairs have no order")]
mod value;

use std::fmt;
use std::sync::Arc;

pub use error::SelectorError;
pub use message::Delivered;
pub use value::Value;

use crate::openwire::Text;
use evaluate::Evaluation;
use expression::{Comparison, Condition, Operand};

/// The longest selector in bytes.
pub const SELECTOR_BYTES_MAX: usize = 64 * 1024;

/// Before a selector, makes comparisons read a text as the number or boolean it is compared with.
const CONVERT_PREFIX: &str = "convert_string_expressions:";

/// What a selector asks.
pub trait Properties {
    /// The header or property of this name, which is case-sensitive; [`Value::Null`] if there is none.
    fn get(&self, name: &str) -> Value<'_>;
}

/// A parsed selector. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Selector(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    text: Box<str>,
    condition: Condition,
    convert_texts: bool,
}

impl Selector {
    /// Reads a selector; the text must not be blank, for which see [`Self::parse_optional`].
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorError::TooLong { bytes: text.len(), limit: SELECTOR_BYTES_MAX });
        }
        let converted = text.strip_prefix(CONVERT_PREFIX);
        let first_at = 1 + if converted.is_some() { CONVERT_PREFIX.len() } else { 0 };
        let condition = parser::parse(converted.unwrap_or(text), first_at)?;
        let convert_texts = converted.is_some();
        Ok(Self(Arc::new(Parsed { text: text.into(), condition, convert_texts })))
    }

    /// The selector of a consumer: none where the text is missing or blank, which JMS says is the
    /// same. (ActiveMQ's client leaves a blank one away; its broker refuses one from other clients.)
    pub fn parse_optional(text: Option<&Text>) -> Result<Option<Self>, SelectorError> {
        let text = text.map(Text::to_str).filter(|text| !text.trim().is_empty());
        text.map(|text| Self::parse(&text)).transpose()
    }

    /// Whether the message is selected. Unknown is not.
    pub fn matches(&self, properties: &impl Properties) -> bool {
        self.evaluation(properties).is_true(&self.0.condition)
    }

    /// True, false or (`None`) unknown.
    pub fn truth(&self, properties: &impl Properties) -> Option<bool> {
        self.evaluation(properties).truth(&self.0.condition)
    }

    /// A property and a literal that must be equal in every message this selects, if it says so in a
    /// comparison of its own or one joined by AND. Disjoint selectors can be told apart by it.
    pub fn equality(&self) -> Option<(&str, &Value<'static>)> {
        let one = std::slice::from_ref(&self.0.condition);
        let all = if let Condition::All(all) = &self.0.condition { all } else { one };
        let equality = |condition| {
            let &Condition::Compare { comparison: Comparison::Equal, ref left, ref right } =
                condition
            else {
                return None;
            };
            match (left, right) {
                (Operand::Property(name), Operand::Literal(value))
                | (Operand::Literal(value), Operand::Property(name)) => Some((&**name, value)),
                _ => None,
            }
        };
        all.iter().find_map(equality).filter(|_| !self.0.convert_texts)
    }

    fn evaluation<'a, P: Properties>(&'a self, properties: &'a P) -> Evaluation<'a, P> {
        Evaluation { properties, convert_texts: self.0.convert_texts }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text)
    }
}
