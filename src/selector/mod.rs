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

/// Selectors of the same text are the same.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str, Value<'static>);

    impl Properties for Named {
        fn get(&self, name: &str) -> Value<'_> {
            if name == self.0 { self.1.borrowed() } else { Value::Null }
        }
    }

    fn refusal(text: &str) -> String {
        Selector::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_says_where_and_what_was_due() {
        let cases = [
            (
                "foo = = 1",
                "found = at character 7, where a literal, a property, a function or ( is due",
            ),
            ("a = 1 b", "found b at character 7, where an operator or the end is due"),
            ("(a = 1", "found the end at character 7, where an operator or ) is due"),
            ("a IS 5", "found 5 at character 6, where NULL is due"),
            ("é = 1", "character 1 of the selector, 'é', begins no word, number or sign"),
            ("'é' = 'a", "character 7 of the selector, '\\'', begins no word, number or sign"),
            ("a AND 'b'", "the expression at character 7 is neither true nor false"),
            ("a > 'b'", "the operand at character 5 cannot be compared: it is no number"),
            (
                "a = NULL",
                "the operand at character 5 cannot be compared: IS NULL asks for what is missing",
            ),
            ("a + b IN ('c')", "IN at character 1 does not follow the name of a property"),
            ("a LIKE 'b' ESCAPE '!!'", "ESCAPE text at character 19 is not one character"),
            ("a = 0xFFFFFFFFFFFFFFFF", "the number at character 5 is too large"),
            (
                "b(1)",
                "no function b at character 1; there are INLIST, MAKELIST, REGEX, REPLACE, SPLIT",
            ),
            ("a AND REGEX('b')", "function REGEX at character 7 takes 2 arguments, not 1"),
            ("REGEX('(b', a)", "regular expression at character 7: unclosed group"),
            (
                "XPATH '//a'",
                "XPATH at character 1 is not supported: this broker does not read bodies as XML",
            ),
            (
                "a = 1 OR xquery 'b'",
                "XQUERY at character 10 is not supported: this broker does not read bodies as XML",
            ),
            (
                "convert_string_expressions:=",
                "found = at character 28, where a literal, a property, a function or ( is due",
            ),
        ];
        for (text, want) in cases {
            assert_eq!(refusal(text), want, "{text}");
        }
    }

    #[test]
    fn a_client_is_told_as_activemq_tells_it() {
        let text = "convert_string_expressions:foo = = 1";
        let told = Selector::parse(text).unwrap_err().throwable(text);
        assert_eq!(told.class_name.unwrap(), "javax.jms.InvalidSelectorException");
        assert_eq!(told.message.unwrap(), "foo = = 1");
        let cause = told.cause.unwrap().class_name.unwrap();
        assert_eq!(cause, "org.apache.activemq.selector.ParseException");
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let long = format!("a = '{}'", "x".repeat(SELECTOR_BYTES_MAX - 6));
        assert!(Selector::parse(&long).is_ok());
        assert!(refusal(&format!(" {long}")).contains("more than the 65536 allowed"));

        let patterns = |count| vec!["REGEX('x', a)"; count].join(" AND ");
        assert!(Selector::parse(&patterns(16)).is_ok());
        assert!(refusal(&patterns(17)).contains("one more than the 16 allowed"));

        let chain = |joint: &str, terms| vec!["a"; terms].join(joint);
        let within = [
            format!("{}a{}", "(".repeat(255), ")".repeat(255)),
            format!("{}a", "NOT ".repeat(255)),
            format!("{}a > 1", "-".repeat(250)),
            format!("{} > 1", chain(" + ", 250)),
            chain(" OR ", 10_000),
            format!("a IN ({})", vec!["'x'"; 10_000].join(",")),
        ];
        let beyond = [
            "(".repeat(SELECTOR_BYTES_MAX),
            "NOT ".repeat(SELECTOR_BYTES_MAX / 4),
            "-".repeat(SELECTOR_BYTES_MAX),
            "MAKELIST(".repeat(SELECTOR_BYTES_MAX / 10),
            format!("{} > 1", chain(" + ", 10_000)),
            chain(" = ", 10_000),
            format!("a {}", "IS NULL ".repeat(8_000)),
        ];
        // A third of what a thread of the broker has.
        let small_stack = std::thread::Builder::new().stack_size(640 * 1024);
        let judge = move || {
            for text in &within {
                let selector = Selector::parse(text).unwrap();
                selector.matches(&Named("a", Value::Integer(1)));
            }
            for text in &beyond {
                assert!(refusal(text).contains("deeper than 256 levels"), "{text:.40}");
            }
        };
        small_stack.spawn(judge).unwrap().join().unwrap();
    }

    #[test]
    fn a_blank_selector_is_none() {
        for text in [None, Some(""), Some(" \t\n")] {
            assert!(Selector::parse_optional(text.map(Text::from).as_ref()).unwrap().is_none());
        }
        assert!(Selector::parse("").is_err());
        let selector = Selector::parse_optional(Some(&"a = 1 ".into())).unwrap().unwrap();
        assert_eq!(selector.to_string(), "a = 1 ");
        assert!(Selector::parse_optional(Some(&"a =".into())).is_err());
    }

    #[test]
    fn an_equality_is_found_among_what_must_hold() {
        let red = Value::Text("red".into());
        let cases = [
            ("color = 'red'", Some(("color", red.clone()))),
            ("'red' = color", Some(("color", red.clone()))),
            ("size > 5 AND color = 'red' AND paid", Some(("color", red))),
            ("(a AND b = 5) AND c", Some(("b", Value::Integer(5)))),
            ("color = 'red' OR paid", None),
            ("color <> 'red'", None),
            ("color = name", None),
            ("convert_string_expressions:size = 5", None),
        ];
        for (text, want) in cases {
            let selector = Selector::parse(text).unwrap();
            let found = selector.equality().map(|(name, value)| (name, value.clone()));
            assert_eq!(found, want, "{text}");
        }
    }

    /// Where ActiveMQ ends with an exception and a consumer would get nothing more.
    #[test]
    fn what_fails_is_unknown_and_the_rest_still_counts() {
        let cases = [
            ("INLIST(a, 'x')", None),
            ("INLIST(a, 'x') OR a = 5", Some(true)),
            ("INLIST(a, 'x') AND a = 6", Some(false)),
            ("a - 'x' > 1", None),
            ("REGEX(b, 'x')", Some(false)),
            ("REGEX(('(' + 'a'), 'x')", None),
            ("SPLIT(a, ',') IS NULL", Some(true)),
        ];
        for (text, want) in cases {
            let truth = Selector::parse(text).unwrap().truth(&Named("a", Value::Integer(5)));
            assert_eq!(truth, want, "{text}");
        }
    }

    #[test]
    fn a_float_on_the_right_of_a_double_compares() {
        let half = Named("f", Value::Float(0.5));
        for text in ["0.5 = f", "1.5 > f", "f BETWEEN 0.4 AND 0.6", "1 / 2 = f"] {
            assert!(Selector::parse(text).unwrap().matches(&half), "{text}");
        }
        let byte = Named("b", Value::Byte(5));
        assert!(Selector::parse("-b = -5").unwrap().matches(&byte));
    }
}
