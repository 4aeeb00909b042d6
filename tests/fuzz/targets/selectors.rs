//! Arbitrary text as selectors, with and without the message to match.

#![no_main]

use libfuzzer_sys::fuzz_target;
use openwired::selector::{Properties, SELECTOR_BYTES_MAX, Selector, Value};

/// A property of every type, by the first letter of its name.
struct Sample;

impl Properties for Sample {
    fn get(&self, name: &str) -> Value<'_> {
        match name.as_bytes().first() {
            Some(b'b') => Value::Byte(-128),
            Some(b'h') => Value::Short(5),
            Some(b'i') => Value::Integer(i32::MAX),
            Some(b'l') => Value::Long(i64::MIN),
            Some(b'f') => Value::Float(0.1),
            Some(b'd') => Value::Double(f64::NAN),
            Some(b's') => Value::Text("a,b%c_5".into()),
            Some(b'p') => Value::Boolean(true),
            Some(b't') => Value::List(vec![Value::Text("a".into()), Value::Null]),
            Some(b'o') => Value::Opaque,
            _ => Value::Null,
        }
    }
}

fuzz_target!(|text: &str| {
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => return drop(error.throwable(text)),
    };
    assert_eq!(selector.to_string(), text);
    let truth = selector.truth(&Sample);
    assert_eq!(selector.matches(&Sample), truth == Some(true));

    // A NOT around it makes the opposite. The prefix of conversions and depth can be in its way.
    let negated = format!("NOT ({text})");
    if !text.contains(':') && negated.len() <= SELECTOR_BYTES_MAX {
        if let Ok(negated) = Selector::parse(&negated) {
            assert_eq!(negated.truth(&Sample), truth.map(|truth| !truth));
        }
    }
});
