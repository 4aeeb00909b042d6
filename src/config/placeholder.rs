//! Puts values in the place of `${name}`, `${name:default}` and `#{systemProperties['name']}`.

use std::collections::BTreeMap;

use super::encrypted;
use super::error::{Fault, Hint};
use super::place::Place;

/// Longest chain of placeholders whose values hold placeholders.
const DEPTH_MAX: usize = 16;
/// Most placeholders looked up for one value; a bound on values that multiply each other.
const LOOKUPS_MAX: usize = 256;

/// Where values come from.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// `-D`, `ACTIVEMQ_OPTS` and the directories.
    pub(super) system: BTreeMap<String, String>,
    /// The environment.
    pub(super) variables: BTreeMap<String, String>,
    /// What the properties files say that the configuration names.
    pub(super) files: BTreeMap<String, String>,
    /// System properties win over files; `SYSTEM_PROPERTIES_MODE_OVERRIDE`.
    pub(super) system_first: bool,
    /// Leave what nothing is known of as it stands.
    pub(super) keep_unresolved: bool,
    /// Opens `ENC(…)`.
    pub(super) password: Option<String>,
}

impl Properties {
    /// `text` with every placeholder replaced.
    pub(super) fn resolve(&self, text: &str, at: &Place) -> Result<String, Fault> {
        let mut lookups = 0;
        let plain = self.expand(text, at, 0, &mut lookups)?;
        self.expressions(plain, at)
    }

    fn expand(
        &self,
        text: &str,
        at: &Place,
        depth: usize,
        lookups: &mut usize,
    ) -> Result<String, Fault> {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            plain.push_str(before);
            let Some(end) = closing(behind) else {
                let what = format!("`${{{behind}` lacks a `}}`");
                return Err(Fault::Placeholder { at: at.clone(), what });
            };
            *lookups += 1;
            if depth >= DEPTH_MAX || *lookups > LOOKUPS_MAX {
                let what =
                    format!("`{text}` refers to itself, or to more than {LOOKUPS_MAX} others");
                return Err(Fault::Placeholder { at: at.clone(), what });
            }
            let (inside, tail) = behind.split_at(end);
            let name = self.expand(inside, at, depth + 1, lookups)?;
            match self.value(&name, at)? {
                Some(value) => plain.push_str(&self.expand(&value, at, depth + 1, lookups)?),
                None if self.keep_unresolved => plain.push_str(&format!("${{{name}}}")),
                None => {
                    let known = self.system.keys().chain(self.files.keys());
                    let hint = Hint::nearest(&name, known.map(String::as_str));
                    return Err(Fault::Unresolved { at: at.clone(), name, hint });
                }
            }
            rest = tail.strip_prefix('}').unwrap_or(tail);
        }
        plain.push_str(rest);
        Ok(plain)
    }

    /// The value of `name`, or of what stands before its first `:`, or what stands behind that.
    fn value(&self, name: &str, at: &Place) -> Result<Option<String>, Fault> {
        if let Some(value) = self.lookup(name, at)? {
            return Ok(Some(value));
        }
        let Some((name, default)) = name.split_once(':') else { return Ok(None) };
        Ok(Some(self.lookup(name, at)?.unwrap_or_else(|| default.to_owned())))
    }

    fn lookup(&self, name: &str, at: &Place) -> Result<Option<String>, Fault> {
        let (first, second) = if self.system_first {
            (&self.system, &self.files)
        } else {
            (&self.files, &self.system)
        };
        let found =
            first.get(name).or_else(|| second.get(name)).or_else(|| self.variables.get(name));
        let Some(value) = found else { return Ok(None) };
        match value.strip_prefix("ENC(").and_then(|rest| rest.strip_suffix(')')) {
            None => Ok(Some(value.clone())),
            Some(sealed) => {
                let opened = encrypted::open(sealed, self.password.as_deref());
                let why =
                    |what| Fault::Placeholder { at: at.clone(), what: format!("`{name}`: {what}") };
                opened.map(Some).map_err(|error| why(error.to_string()))
            }
        }
    }

    /// The few forms of Spring's expression language that ActiveMQ's own files use.
    fn expressions(&self, text: String, at: &Place) -> Result<String, Fault> {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once("#{") {
            plain.push_str(before);
            let (inside, tail) = behind.split_once('}').unwrap_or((behind, ""));
            let value = self.expression(inside.trim()).ok_or_else(|| Fault::Placeholder {
                at: at.clone(),
                what: format!(
                    "`#{{{inside}}}` is not read or has no value; write `${{name}}`, or \
                     `#{{systemProperties['name']}}` and define it with -Dname=…"
                ),
            })?;
            plain.push_str(value);
            rest = tail;
        }
        plain.push_str(rest);
        Ok(plain)
    }

    fn expression<'v>(&'v self, text: &'v str) -> Option<&'v str> {
        let (main, default) = match text.split_once("?:") {
            Some((main, default)) => (main.trim(), Some(unquoted(default.trim())?)),
            None => (text, None),
        };
        let (values, index) = match main.strip_prefix("systemProperties") {
            Some(index) => (&self.system, index),
            None => (&self.variables, main.strip_prefix("systemEnvironment")?),
        };
        let name = unquoted(index.strip_prefix('[')?.strip_suffix(']')?.trim())?;
        values.get(name).map(String::as_str).or(default)
    }
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

/// Where the `}` stands that closes a placeholder of which `text` is the inside and all behind.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn resolve(text: &str) -> Result<String, String> {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let properties = Properties {
            system: map(&[("activemq.data", "/d"), ("both", "system"), ("which", "data")]),
            variables: map(&[("HOSTNAME", "mq1"), ("both", "variable")]),
            files: map(&[("both", "file"), ("loop", "${loop}"), ("via", "${activemq.${which}}/x")]),
            ..Properties::default()
        };
        let at = Place::whole(Path::new("a.xml"));
        properties.resolve(text, &at).map_err(|fault| fault.to_string())
    }

    #[test]
    fn values_come_from_files_then_definitions_then_the_environment() {
        let cases = [
            ("plain", "plain"),
            ("${activemq.data}/kahadb", "/d/kahadb"),
            ("${both}", "file"),
            ("${HOSTNAME}", "mq1"),
            ("${absent:7}", "7"),
            ("${absent:${HOSTNAME}}", "mq1"),
            ("${absent:a:b}", "a:b"),
            ("${via}", "/d/x"),
            ("${absent:}", ""),
            ("#{systemProperties['both']}", "system"),
            ("#{systemEnvironment['HOSTNAME']}", "mq1"),
            ("#{systemProperties['absent'] ?: '8161'}", "8161"),
        ];
        for (text, value) in cases {
            assert_eq!(resolve(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let error = resolve("${activemq.dat}").unwrap_err();
        assert!(error.starts_with("a.xml: nothing is known as ${activemq.dat}; define it with"));
        assert!(error.ends_with("did you mean `activemq.data`?"), "{error}");
        assert!(resolve("${loop}").unwrap_err().contains("refers to itself"));
        assert!(resolve("${open").unwrap_err().contains("lacks a `}`"));
        assert!(resolve("#{T(java.lang.Math).random()}").unwrap_err().contains("is not read"));
    }
}
