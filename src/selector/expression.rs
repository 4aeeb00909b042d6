//! A parsed selector: conditions, which are true, false or unknown, over operands, which have values.

use super::like::Like;
use super::pattern::Pattern;
use super::value::{Arithmetic, Value};

/// Something true, false or unknown.
#[derive(Debug)]
pub(super) enum Condition {
    /// `TRUE`, `FALSE`, `NULL`.
    Constant(Option<bool>),
    /// The name of a boolean property by itself.
    Flag(Box<str>),
    Not(Box<Self>),
    /// `AND` of two or more.
    All(Vec<Self>),
    /// `OR` of two or more.
    Any(Vec<Self>),
    Compare {
        comparison: Comparison,
        left: Operand,
        right: Operand,
    },
    /// Not the same as the two comparisons: `value` is asked once, and `negated` is no `NOT` around
    /// the whole, for with values that do not compare both forms are false.
    Between {
        value: Operand,
        low: Operand,
        high: Operand,
        negated: bool,
    },
    IsNull(Operand),
    Like {
        value: Operand,
        pattern: Like,
    },
    In {
        property: Box<str>,
        /// Sorted.
        texts: Vec<Box<str>>,
    },
    Regex {
        pattern: PatternOperand,
        text: Operand,
    },
    InList {
        list: Operand,
        item: Operand,
    },
}

/// Something with a value.
#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value<'static>),
    Property(Box<str>),
    Condition(Box<Condition>),
    Negate(Box<Self>),
    Arithmetic { arithmetic: Arithmetic, left: Box<Self>, right: Box<Self> },
    MakeList(Vec<Self>),
    Replace { text: Box<Self>, pattern: Box<PatternOperand>, template: Box<Self> },
    Split { text: Box<Self>, pattern: Box<PatternOperand>, limit: Option<Box<Self>> },
}

/// A regular expression, compiled at parse time where the selector spells it out.
#[derive(Debug)]
pub(super) enum PatternOperand {
    Compiled(Pattern),
    Computed(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    pub(super) fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// `self AND other`, flat where `self` is an `AND` already, so that a long chain is not deep.
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            one => Self::All(vec![one, other]),
        }
    }

    /// `self OR other`, flat as [`Self::and`].
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut any) => {
                any.push(other);
                Self::Any(any)
            }
            one => Self::Any(vec![one, other]),
        }
    }
}

impl Operand {
    /// Whether this can be true or false by its form, as `TRUE` and comparisons are. `NULL` counts.
    pub(super) fn is_boolean(&self) -> bool {
        matches!(self, Self::Condition(_) | Self::Literal(Value::Boolean(_) | Value::Null))
    }
}
