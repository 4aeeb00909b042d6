//! What a property or an expression is worth, and how Java compares, adds and prints it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::mem::discriminant;

/// The longest text in bytes that an evaluation makes by itself; a longer one is unknown. Keeps
/// `REPLACE(a, '', a)` from squaring a large property.
pub(super) const MADE_TEXT_BYTES_MAX: usize = 1 << 20;

/// The value of a property or an expression, in the types of Java, which decide what compares.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No such property, or unknown.
    Null,
    Boolean(bool),
    Byte(i8),
    Short(i16),
    Integer(i32),
    Long(i64),
    /// A literal beyond 64 bits. No property is one.
    Wide(i128),
    Float(f32),
    Double(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    /// A value that no operator knows, such as a nested map.
    Opaque,
}

impl From<Option<bool>> for Value<'_> {
    fn from(truth: Option<bool>) -> Self {
        truth.map_or(Self::Null, Self::Boolean)
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Value<'_> {
    /// The same value without a copy of its text.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(it) => Value::Boolean(*it),
            Self::Byte(it) => Value::Byte(*it),
            Self::Short(it) => Value::Short(*it),
            Self::Integer(it) => Value::Integer(*it),
            Self::Long(it) => Value::Long(*it),
            Self::Wide(it) => Value::Wide(*it),
            Self::Float(it) => Value::Float(*it),
            Self::Double(it) => Value::Double(*it),
            Self::Text(it) => Value::Text(Cow::Borrowed(it)),
            Self::List(items) => Value::List(items.iter().map(Value::borrowed).collect()),
            Self::Opaque => Value::Opaque,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    pub(super) fn is_number(&self) -> bool {
        self.to_double().is_some()
    }

    fn to_double(&self) -> Option<f64> {
        match self {
            Self::Float(it) => Some((*it).into()),
            Self::Double(it) => Some(*it),
            Self::Wide(it) => Some(*it as f64),
            _ => self.to_long().map(|it| it as f64),
        }
    }

    /// Java's `floatValue`, which rounds a long once, not by way of a double.
    fn to_float(&self) -> Option<f32> {
        match self {
            Self::Float(it) => Some(*it),
            _ => self.to_long().map(|it| it as f32),
        }
    }

    /// Whole numbers only; one beyond 64 bits loses its upper bits, as in Java.
    fn to_long(&self) -> Option<i64> {
        match self {
            Self::Byte(it) => Some((*it).into()),
            Self::Short(it) => Some((*it).into()),
            Self::Integer(it) => Some((*it).into()),
            Self::Long(it) => Some(*it),
            Self::Wide(it) => Some(*it as i64),
            _ => None,
        }
    }

    /// Java's `equals`: alike in class and value.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Self::Null, Self::Null) => true,
            (a, b) => discriminant(a) == discriminant(b) && a.compare(b) == Some(Ordering::Equal),
        }
    }

    /// How two values are ordered; `None` where ActiveMQ compares no such pair.
    ///
    /// A narrower number on the left is widened, so `byte = 5` compares. One on the right is not,
    /// unless it is an int: `5 = byte` is false whatever the byte.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.encode_utf16().cmp(b.encode_utf16())),
            (Self::Wide(a), Self::Wide(b)) => Some(a.cmp(b)),
            (Self::Wide(_), _) | (_, Self::Wide(_)) => None,
            (Self::Byte(_), Self::Byte(_)) => Some(self.to_long()?.cmp(&other.to_long()?)),
            (_, Self::Byte(_)) => None,
            (Self::Byte(_) | Self::Short(_), Self::Short(_)) => {
                Some(self.to_long()?.cmp(&other.to_long()?))
            }
            (_, Self::Short(_)) => None,
            (Self::Double(_), _) | (_, Self::Double(_)) => {
                Some(order_doubles(self.to_double()?, other.to_double()?))
            }
            (Self::Float(_), _) | (_, Self::Float(_)) => {
                Some(order_doubles(self.to_float()?.into(), other.to_float()?.into()))
            }
            _ => Some(self.to_long()?.cmp(&other.to_long()?)),
        }
    }

    /// Reads `text` as a value of the same type as `self`, as Java's `valueOf` does. For selectors
    /// that begin with `convert_string_expressions:`.
    pub(super) fn same_type_from(&self, text: &str) -> Option<Value<'static>> {
        match self {
            Self::Boolean(_) => Some(Value::Boolean(text.eq_ignore_ascii_case("true"))),
            Self::Byte(_) => text.parse().ok().map(Value::Byte),
            Self::Short(_) => text.parse().ok().map(Value::Short),
            Self::Integer(_) => text.parse().ok().map(Value::Integer),
            Self::Long(_) => text.parse().ok().map(Value::Long),
            Self::Float(_) => java_decimal(text)?.parse().ok().map(Value::Float),
            Self::Double(_) => java_decimal(text)?.parse().ok().map(Value::Double),
            Self::Null | Self::Wide(_) | Self::Text(_) | Self::List(_) | Self::Opaque => None,
        }
    }

    pub(super) fn negate(&self) -> Value<'static> {
        match self {
            Self::Byte(it) => Value::Integer(-i32::from(*it)),
            Self::Short(it) => Value::Integer(-i32::from(*it)),
            Self::Integer(it) => Value::Integer(it.wrapping_neg()),
            Self::Long(it) => Value::Long(it.wrapping_neg()),
            // A literal of -2^63 begins as 2^63, which is no long.
            Self::Wide(it) => i64::try_from(-it).map_or(Value::Wide(-it), Value::Long),
            Self::Float(it) => Value::Float(-it),
            Self::Double(it) => Value::Double(-it),
            Self::Null | Self::Boolean(_) | Self::Text(_) | Self::List(_) | Self::Opaque => {
                Value::Null
            }
        }
    }

    /// As `toString` prints it; `None` for what has no text here.
    pub(super) fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => "null".into(),
            Self::Boolean(it) => it.to_string().into(),
            Self::Byte(it) => it.to_string().into(),
            Self::Short(it) => it.to_string().into(),
            Self::Integer(it) => it.to_string().into(),
            Self::Long(it) => it.to_string().into(),
            Self::Wide(it) => it.to_string().into(),
            Self::Float(it) => print_float(it.is_finite(), (*it).into(), &format!("{it:e}")).into(),
            Self::Double(it) => print_float(it.is_finite(), *it, &format!("{it:e}")).into(),
            Self::Text(it) => Cow::Borrowed(it),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(Value::to_text).collect();
                format!("[{}]", items?.join(", ")).into()
            }
            Self::Opaque => return None,
        })
    }
}

/// `+ - * / %`. Unknown operands, and operands that are no numbers, make an unknown result; a text on
/// the left of `+` takes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    pub(super) fn apply(self, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
        match (self, left) {
            (_, _) if left.is_null() || right.is_null() => Value::Null,
            (Self::Plus, Value::Text(left)) => concatenate(left, right),
            _ => self.of_numbers(left, right).unwrap_or(Value::Null),
        }
    }

    /// Java's promotion: a double if any is floating, a long if any is long, else an int, each
    /// wrapping; division and remainder are always of doubles.
    fn of_numbers(self, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
        let is_floating = |it: &Value<'_>| matches!(it, Value::Float(_) | Value::Double(_));
        let is_long = |it: &Value<'_>| matches!(it, Value::Long(_));
        let (a, b) = (left.to_double()?, right.to_double()?);
        if matches!(self, Self::Divide | Self::Modulo) || is_floating(left) || is_floating(right) {
            return Some(Value::Double(self.of_doubles(a, b)));
        }
        let long = self.of_longs(left.to_long()?, right.to_long()?);
        Some(if is_long(left) || is_long(right) {
            Value::Long(long)
        } else {
            Value::Integer(long as i32)
        })
    }

    fn of_doubles(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Plus => a + b,
            Self::Minus => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Modulo => a % b,
        }
    }

    /// The lower 32 bits are also the result for ints.
    fn of_longs(self, a: i64, b: i64) -> i64 {
        match self {
            Self::Plus => a.wrapping_add(b),
            Self::Minus => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => a.checked_div(b).unwrap_or_default(),
            Self::Modulo => a.checked_rem(b).unwrap_or_default(),
        }
    }
}

fn concatenate(left: &str, right: &Value<'_>) -> Value<'static> {
    let Some(right) = right.to_text() else { return Value::Null };
    if left.len() + right.len() > MADE_TEXT_BYTES_MAX {
        return Value::Null;
    }
    Value::from([left, &right].concat())
}

/// Java's `Double.compare`: -0.0 before 0.0, NaN equal to itself and after everything.
fn order_doubles(a: f64, b: f64) -> Ordering {
    let one_nan = |it: f64| if it.is_nan() { f64::NAN.abs() } else { it };
    one_nan(a).total_cmp(&one_nan(b))
}

/// What Java's `Double.valueOf` takes and Rust's `parse` does not, made Rust's; `None` for what only
/// Rust takes.
fn java_decimal(text: &str) -> Option<&str> {
    let text = text.trim_matches(|c| c <= ' ');
    let number = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    if number
        .strip_prefix(['+', '-'])
        .unwrap_or(number)
        .starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        return Some(number);
    }
    matches!(text.trim_start_matches(['+', '-']), "NaN" | "Infinity").then_some(text)
}

/// Prints as `Double.toString`: at least one digit after the point, an exponent below 10^-3 and from
/// 10^7. `scientific` has the shortest digits that tell the number from its neighbours.
fn print_float(finite: bool, value: f64, scientific: &str) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if !finite {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
        let point = if digits.contains('.') { "" } else { ".0" };
        return format!("{digits}{point}E{exponent}");
    }
    plain(digits, exponent.parse().unwrap_or_default())
}

/// Writes `d.ddd` times a small power of ten without an exponent.
fn plain(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (whole, fraction) = padded.split_at(whole);
    format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_java_prints_them() {
        let doubles = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (5.0, "5.0"),
            (-12.25, "-12.25"),
            (0.001, "0.001"),
            (0.00025, "2.5E-4"),
            (1234567.5, "1234567.5"),
            (1e7, "1.0E7"),
            (1.5e10, "1.5E10"),
            (-1e-10, "-1.0E-10"),
            (100.0, "100.0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, want) in doubles {
            assert_eq!(Value::Double(value).to_text().unwrap(), want);
        }
        assert_eq!(Value::Float(0.1).to_text().unwrap(), "0.1");
        assert_eq!(Value::Float(1.5e10).to_text().unwrap(), "1.5E10");
        let list = Value::List(vec![Value::Integer(1), Value::Null, Value::Text("a".into())]);
        assert_eq!(list.to_text().unwrap(), "[1, null, a]");
    }

    /// ActiveMQ fails on both with an exception, here they are the numbers they look like.
    #[test]
    fn a_double_compares_with_a_float_and_a_byte_can_be_negated() {
        assert_eq!(Value::Double(0.5).compare(&Value::Float(0.5)), Some(Ordering::Equal));
        assert_eq!(Value::Byte(-128).negate(), Value::Integer(128));
        assert_eq!(Value::Short(5).negate(), Value::Integer(-5));
    }

    #[test]
    fn a_made_text_has_a_bound() {
        let half = Value::from("x".repeat(MADE_TEXT_BYTES_MAX / 2));
        let whole = Arithmetic::Plus.apply(&half, &half);
        assert!(matches!(&whole, Value::Text(text) if text.len() == MADE_TEXT_BYTES_MAX));
        assert_eq!(Arithmetic::Plus.apply(&whole, &half), Value::Null);
    }
}
