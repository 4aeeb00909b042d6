//! The kinds of value an attribute may have, each read as ActiveMQ reads it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::Secret;
use crate::base::size;
use crate::base::uri::Uri;
use crate::broker::options::forwarding::Selector;
use crate::broker::options::plugin::NamePattern;

/// What a value that was refused should have been; the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected(pub(super) Cow<'static, str>);

impl Expected {
    pub(super) const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

pub(super) type Read<V> = Result<V, Expected>;

pub(super) fn text(text: &str) -> Read<String> {
    Ok(text.to_owned())
}

pub(super) fn selector(text: &str) -> Read<Selector> {
    Selector::parse(text).map_err(|error| Expected(format!("a selector, but {error}").into()))
}

/// Regular expressions with blanks between.
pub(super) fn name_patterns(text: &str) -> Read<Vec<NamePattern>> {
    let read = |pattern| {
        NamePattern::new(pattern)
            .map_err(|error| Expected(format!("regular expressions, but {error}").into()))
    };
    text.split_whitespace().map(read).collect()
}

/// Regular expressions with commas between, as they are.
pub(super) fn name_filter(text: &str) -> Read<String> {
    match NamePattern::list(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Expected(format!("regular expressions, but {error}").into())),
    }
}

pub(super) fn secret(text: &str) -> Read<Secret> {
    Ok(Secret::new(text))
}

pub(super) fn path(text: &str) -> Read<PathBuf> {
    let text = text.trim();
    let plain = text.strip_prefix("file:").unwrap_or(text);
    let plain = plain.strip_prefix("//").unwrap_or(plain);
    if plain.is_empty() { Err(Expected::of("a path")) } else { Ok(PathBuf::from(plain)) }
}

/// Spring's words for true and false.
pub(super) fn boolean(text: &str) -> Read<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(Expected::of("true or false")),
    }
}

pub(super) fn integer(text: &str) -> Read<i32> {
    text.trim().parse().map_err(|_bad| Expected::of("a whole number"))
}

pub(super) fn count(text: &str) -> Read<u32> {
    text.trim().parse().map_err(|_bad| Expected::of("a number from 0 to 4294967295"))
}

/// -1 and 0 say that there is no limit.
pub(super) fn count_or_none(text: &str) -> Read<Option<u32>> {
    Ok(u32::try_from(long(text)?).ok().filter(|count| *count > 0))
}

/// -1 says that there is no limit; 0 is one.
pub(super) fn count_or_negative(text: &str) -> Read<Option<u32>> {
    Ok(u32::try_from(long(text)?).ok())
}

pub(super) fn decimal(text: &str) -> Read<f64> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or(Expected::of("a number"))
}

pub(super) fn percent(text: &str) -> Read<u8> {
    let number = text.trim().parse::<u8>().ok().filter(|percent| *percent <= 100);
    number.ok_or(Expected::of("a percentage from 0 to 100"))
}

/// A percentage that may be out of reach.
pub(super) fn mark(text: &str) -> Read<u8> {
    let number = text.trim().parse::<u32>().ok();
    let number = number.ok_or(Expected::of("a percentage from 0 on"))?;
    Ok(u8::try_from(number).unwrap_or(u8::MAX))
}

pub(super) fn port(text: &str) -> Read<u16> {
    text.trim().parse().map_err(|_bad| Expected::of("a port from 0 to 65535"))
}

pub(super) fn bytes(text: &str) -> Read<u64> {
    size::parse(text).ok_or(Expected::of("a size such as 1024, 64mb or 10 gb"))
}

/// -1 and 0 say that there is no limit.
pub(super) fn bytes_or_none(text: &str) -> Read<Option<u64>> {
    if text.trim().starts_with('-') {
        return long(text).map(|_no_limit| None);
    }
    Ok(Some(bytes(text)?).filter(|bytes| *bytes > 0))
}

pub(super) fn long(text: &str) -> Read<i64> {
    text.trim().parse().map_err(|_bad| Expected::of("a whole number"))
}

pub(super) fn millis(text: &str) -> Read<Duration> {
    let number = text.trim().parse::<u64>();
    number.map(Duration::from_millis).map_err(|_bad| Expected::of("a number of milliseconds"))
}

/// 0 and below say never.
pub(super) fn millis_or_none(text: &str) -> Read<Option<Duration>> {
    let number = long(text).map_err(|_bad| Expected::of("a number of milliseconds, or -1"))?;
    Ok(u64::try_from(number).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
}

/// Words between commas.
pub(super) fn list(text: &str) -> Read<Vec<String>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    Ok(words.map(str::to_owned).collect())
}

pub(super) fn uri(text: &str) -> Read<Uri> {
    Uri::parse(text).map_err(|error| Expected(format!("a URI, but {error}").into()))
}

/// One of a few words, told apart without regard to case as ActiveMQ does.
pub(super) fn one_of<V: Copy>(text: &str, words: &[(&'static str, V)]) -> Read<V> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Expected(format!("one of {}", known.join(", ")).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_no_limit_gives_none() {
        assert_eq!(count_or_none("-1"), Ok(None));
        assert_eq!(count_or_none("0"), Ok(None));
        assert_eq!(count_or_negative("0"), Ok(Some(0)));
        assert_eq!(bytes_or_none("-1"), Ok(None));
        assert_eq!(bytes_or_none("5mb"), Ok(Some(5 << 20)));
        assert_eq!(millis_or_none("-1"), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(boolean("maybe"), Err(Expected::of("true or false")));
        assert!(count("-1").is_err() && count("99999999999").is_err() && decimal("NaN").is_err());
        assert!(percent("101").is_err() && port("65536").is_err() && millis("1s").is_err());
        assert!(path(" ").is_err() && bytes_or_none("-x").is_err());
        let error = one_of("sometimes", &[("always", 1), ("never", 2)]).unwrap_err();
        assert_eq!(error.0, "one of always, never");
    }
}
