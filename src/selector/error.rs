//! Why a text is no selector, and the Java exception a client sees for it.

use crate::openwire::Throwable;

/// What is wrong with a selector. Places are counted in characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("selector has {bytes} bytes, more than the {limit} allowed")]
    TooLong { bytes: usize, limit: usize },
    #[error("selector nests deeper than {limit} levels at character {at}")]
    TooDeep { at: usize, limit: usize },
    #[error("character {at} of the selector, {found:?}, begins no word, number or sign")]
    Character { at: usize, found: char },
    #[error("found {found} at character {at}, where {expected} is due")]
    Unexpected { at: usize, found: String, expected: &'static str },
    #[error("the expression at character {at} is neither true nor false")]
    NotBoolean { at: usize },
    #[error("the operand at character {at} cannot be compared: {why}")]
    NotComparable { at: usize, why: &'static str },
    #[error("IN at character {at} does not follow the name of a property")]
    InNeedsProperty { at: usize },
    #[error("ESCAPE text at character {at} is not one character")]
    Escape { at: usize },
    #[error("the number at character {at} is too large")]
    Number { at: usize },
    #[error(
        "no function {name} at character {at}; there are INLIST, MAKELIST, REGEX, REPLACE, SPLIT"
    )]
    UnknownFunction { at: usize, name: String },
    #[error("function {name} at character {at} takes {takes} arguments, not {found}")]
    Arguments { at: usize, name: &'static str, takes: &'static str, found: usize },
    #[error("regular expression at character {at}: {reason}")]
    Pattern { at: usize, reason: String },
    #[error(
        "{language} at character {at} is not supported: this broker does not read bodies as XML"
    )]
    Unsupported { at: usize, language: &'static str },
}

impl SelectorError {
    /// What a client that sent `selector` is told, as ActiveMQ tells it: an
    /// `InvalidSelectorException` whose message is the selector, and the reason as its cause.
    pub fn throwable(&self, selector: &str) -> Throwable {
        let selector = selector.strip_prefix(super::CONVERT_PREFIX).unwrap_or(selector);
        Throwable::new("javax.jms.InvalidSelectorException", selector)
            .caused_by(Throwable::new(self.cause_class(), &self.to_string()))
    }

    /// The class that ActiveMQ raises inside for the same fault.
    pub fn cause_class(&self) -> &'static str {
        match self {
            Self::TooDeep { .. } => "java.lang.StackOverflowError",
            Self::Character { .. } => "org.apache.activemq.selector.TokenMgrError",
            Self::NotComparable { .. } | Self::InNeedsProperty { .. } | Self::Escape { .. } => {
                "java.lang.RuntimeException"
            }
            Self::Number { .. } => "java.lang.NumberFormatException",
            Self::UnknownFunction { .. } | Self::Arguments { .. } => "java.lang.Error",
            Self::TooLong { .. }
            | Self::Unexpected { .. }
            | Self::NotBoolean { .. }
            | Self::Pattern { .. }
            | Self::Unsupported { .. } => "org.apache.activemq.selector.ParseException",
        }
    }
}
