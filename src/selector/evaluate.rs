//! What a selector makes of a message, in three-valued logic.
//!
//! Where ActiveMQ ends with an exception (`INLIST` of no list, `-` of a text, and so on) the part that
//! failed is unknown here, so such a message is not selected and nothing else is harmed.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Properties;
use super::expression::{Comparison, Condition, Operand, PatternOperand};
use super::pattern::Pattern;
use super::value::Value;

/// One evaluation: the message, and how this selector compares.
#[derive(Debug)]
pub(super) struct Evaluation<'a, P> {
    pub(super) properties: &'a P,
    /// Whether a text is compared with a number or boolean by reading it as one.
    pub(super) convert_texts: bool,
}

impl<'a, P: Properties> Evaluation<'a, P> {
    /// Whether the condition is true. Stops as early as it can, where [`Self::truth`] may not.
    pub(super) fn is_true(&self, condition: &'a Condition) -> bool {
        match condition {
            Condition::All(all) => all.iter().all(|one| self.is_true(one)),
            Condition::Any(any) => any.iter().any(|one| self.is_true(one)),
            other => self.truth(other) == Some(true),
        }
    }

    /// True, false, or unknown.
    pub(super) fn truth(&self, condition: &'a Condition) -> Option<bool> {
        match condition {
            Condition::Constant(truth) => *truth,
            Condition::Flag(name) => match self.properties.get(name) {
                Value::Null => None,
                value => Some(value == Value::Boolean(true)),
            },
            Condition::Not(inner) => self.truth(inner).map(|truth| !truth),
            Condition::All(all) => self.unless_one_is(false, all),
            Condition::Any(any) => self.unless_one_is(true, any),
            Condition::Compare { comparison: Comparison::Equal, left, right } => {
                self.is_equal(left, right)
            }
            Condition::Compare { comparison, left, right } => {
                self.compares(*comparison, &self.value(left), || self.value(right))
            }
            Condition::Between { value, low, high, negated } => {
                self.is_between(value, low, high, *negated)
            }
            Condition::IsNull(operand) => Some(self.value(operand).is_null()),
            Condition::Like { value, pattern } => match self.value(value) {
                Value::Null => None,
                Value::Text(text) => Some(pattern.matches(&text)),
                _ => Some(false),
            },
            Condition::In { property, texts } => match self.properties.get(property) {
                Value::Text(text) => {
                    Some(texts.binary_search_by(|one| (**one).cmp(&*text)).is_ok())
                }
                _ => None,
            },
            Condition::Regex { pattern, text } => self.is_found(pattern, text),
            Condition::InList { list, item } => self.is_in_list(list, item),
        }
    }

    /// AND and OR are one: the deciding truth decides; else one unknown makes all unknown.
    fn unless_one_is(&self, deciding: bool, conditions: &'a [Condition]) -> Option<bool> {
        let mut all = Some(!deciding);
        for condition in conditions {
            match self.truth(condition) {
                Some(truth) if truth == deciding => return Some(deciding),
                Some(_) => {}
                None => all = None,
            }
        }
        all
    }

    /// ActiveMQ's `=`: two that are both missing are equal, and a missing one is unknown on the left
    /// but different on the right.
    fn is_equal(&self, left: &'a Operand, right: &'a Operand) -> Option<bool> {
        let (left, right) = (self.value(left), self.value(right));
        match (left.is_null(), right.is_null()) {
            (true, true) => Some(true),
            (true, false) => None,
            (false, true) => Some(false),
            (false, false) => {
                let equal = || self.order(&left, &right) == Some(Ordering::Equal);
                Some(left.equals(&right) || equal())
            }
        }
    }

    fn compares(
        &self,
        comparison: Comparison,
        left: &Value<'_>,
        right: impl FnOnce() -> Value<'a>,
    ) -> Option<bool> {
        if left.is_null() {
            return None;
        }
        let right = right();
        let has_order =
            |it: &Value<'_>| !matches!(it, Value::Null | Value::List(_) | Value::Opaque);
        if !has_order(left) || !has_order(&right) {
            return None;
        }
        Some(self.order(left, &right).is_some_and(|order| comparison.accepts(order)))
    }

    fn is_between(
        &self,
        value: &'a Operand,
        low: &'a Operand,
        high: &'a Operand,
        negated: bool,
    ) -> Option<bool> {
        let value = self.value(value);
        let (from_low, to_high, deciding) = if negated {
            (Comparison::Less, Comparison::Greater, true)
        } else {
            (Comparison::GreaterOrEqual, Comparison::LessOrEqual, false)
        };
        let low = self.compares(from_low, &value, || self.value(low));
        if low == Some(deciding) {
            return low;
        }
        let high = self.compares(to_high, &value, || self.value(high));
        if high == Some(deciding) { high } else { low.and(high) }
    }

    fn order(&self, left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
        match (left, right) {
            (Value::Text(_), Value::Text(_)) => left.compare(right),
            (Value::Text(text), other) if self.convert_texts => {
                other.same_type_from(text)?.compare(other)
            }
            (other, Value::Text(text)) if self.convert_texts => {
                other.compare(&other.same_type_from(text)?)
            }
            _ => left.compare(right),
        }
    }

    fn is_found(&self, pattern: &'a PatternOperand, text: &'a Operand) -> Option<bool> {
        let computed_null = |operand: &'a PatternOperand| matches!(operand, PatternOperand::Computed(it) if self.value(it).is_null());
        let value = self.value(text);
        if computed_null(pattern) || value.is_null() {
            return Some(false);
        }
        Some(self.pattern(pattern)?.is_found_in(&value.to_text()?))
    }

    fn is_in_list(&self, list: &'a Operand, item: &'a Operand) -> Option<bool> {
        let Value::List(items) = self.value(list) else { return None };
        let wanted = self.value(item);
        for item in &items {
            if item.is_null() {
                return None;
            }
            if item.equals(&wanted) {
                return Some(true);
            }
        }
        Some(false)
    }

    fn value(&self, operand: &'a Operand) -> Value<'a> {
        match operand {
            Operand::Literal(literal) => literal.borrowed(),
            Operand::Property(name) => self.properties.get(name),
            Operand::Condition(condition) => self.truth(condition).into(),
            Operand::Negate(operand) => self.value(operand).negate(),
            Operand::Arithmetic { arithmetic, left, right } => {
                arithmetic.apply(&self.value(left), &self.value(right))
            }
            Operand::MakeList(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect())
            }
            Operand::Replace { text, pattern, template } => {
                self.replace(text, pattern, template).map_or(Value::Null, Value::from)
            }
            Operand::Split { text, pattern, limit } => {
                self.split(text, pattern, limit.as_deref()).map_or(Value::Null, Value::List)
            }
        }
    }

    fn text(&self, operand: &'a Operand) -> Option<Cow<'a, str>> {
        match self.value(operand) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn replace(
        &self,
        text: &'a Operand,
        pattern: &'a PatternOperand,
        template: &'a Operand,
    ) -> Option<String> {
        let text = self.text(text)?;
        self.text_pattern(pattern)?.replace_all(&text, &self.text(template)?)
    }

    fn split(
        &self,
        text: &'a Operand,
        pattern: &'a PatternOperand,
        limit: Option<&'a Operand>,
    ) -> Option<Vec<Value<'a>>> {
        let text = self.text(text)?;
        let limit = match limit.map(|limit| self.value(limit)) {
            None => 0,
            Some(Value::Integer(limit)) => limit,
            Some(_) => return None,
        };
        let pattern = self.text_pattern(pattern)?;
        Some(match &text {
            Cow::Borrowed(text) => pattern
                .split(text, limit)?
                .into_iter()
                .map(|item| Value::Text(item.into()))
                .collect(),
            Cow::Owned(text) => {
                let items = pattern.split(text, limit)?;
                items.into_iter().map(|item| Value::from(item.to_owned())).collect()
            }
        })
    }

    /// REGEX takes anything for a pattern, by its text.
    fn pattern(&self, pattern: &'a PatternOperand) -> Option<Cow<'a, Pattern>> {
        match pattern {
            PatternOperand::Compiled(pattern) => Some(Cow::Borrowed(pattern)),
            PatternOperand::Computed(operand) => {
                Pattern::new(&self.value(operand).to_text()?).ok().map(Cow::Owned)
            }
        }
    }

    /// REPLACE and SPLIT take texts only.
    fn text_pattern(&self, pattern: &'a PatternOperand) -> Option<Cow<'a, Pattern>> {
        match pattern {
            PatternOperand::Compiled(pattern) => Some(Cow::Borrowed(pattern)),
            PatternOperand::Computed(operand) => {
                Pattern::new(&self.text(operand)?).ok().map(Cow::Owned)
            }
        }
    }
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}
