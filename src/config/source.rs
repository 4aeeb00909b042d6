//! What the command line names as the configuration.

use std::path::PathBuf;

use super::error::Fault;
use crate::base::uri::{Target, Uri};

/// Read when the command line names nothing.
pub const DEFAULT_FILE: &str = "conf/activemq.xml";

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file with a `<broker>`.
    File(PathBuf),
    /// `broker:(tcp://…,network:static:(…))?persistent=false`: all of it in one URI.
    Broker { text: String, members: Vec<Uri>, query: Vec<(String, String)> },
}

impl Default for Source {
    fn default() -> Self {
        Self::File(DEFAULT_FILE.into())
    }
}

impl Source {
    /// Reads an argument as `activemq start` does: `xbean:file:conf/activemq.xml`, `xbean:a.xml`,
    /// `file:a.xml`, a path, or `broker:…`.
    pub fn parse(argument: &str) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::Source { argument: argument.to_owned(), what };
        let argument = argument.trim();
        if let Some(rest) = argument.strip_prefix("broker:") {
            return broker(argument, rest).map_err(wrong);
        }
        if argument.starts_with("properties:") || argument.starts_with("nob:") {
            let what = "is not read; name an activemq.xml instead, or broker:(tcp://…)".to_owned();
            return Err(wrong(what));
        }
        let path = argument.strip_prefix("xbean:").unwrap_or(argument);
        let path = path.strip_prefix("file:").unwrap_or(path);
        let path = path.strip_prefix("classpath:").unwrap_or(path);
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path.is_empty() {
            return Err(wrong("names no file; give a path such as conf/activemq.xml".to_owned()));
        }
        Ok(Self::File(path.into()))
    }
}

fn broker(text: &str, rest: &str) -> Result<Source, String> {
    // `broker://` and `broker:?a=b` have no connectors, and `broker:tcp://a:1?x=y` one whose options
    // are its own.
    let whole = match rest.strip_prefix("//").unwrap_or(rest) {
        empty if empty.is_empty() || empty.starts_with('?') => format!("broker:(){empty}"),
        list if list.starts_with('(') => format!("broker:{list}"),
        one => format!("broker:({one})"),
    };
    let uri = Uri::parse(&whole).map_err(|error| format!("is no broker URI: {error}"))?;
    match uri.target {
        Target::Members(members) => {
            Ok(Source::Broker { text: text.to_owned(), members, query: uri.query })
        }
        Target::Authority { .. } | Target::Opaque(_) => {
            Err("is no broker URI such as broker:(tcp://127.0.0.1:61616)?persistent=false"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_activemq_names_them() {
        for text in ["xbean:file:/c/a.xml", "xbean:/c/a.xml", "file:///c/a.xml", "/c/a.xml"] {
            assert_eq!(Source::parse(text).unwrap(), Source::File("/c/a.xml".into()), "{text}");
        }
        assert_eq!(Source::parse("xbean:a.xml").unwrap(), Source::File("a.xml".into()));
        let error = Source::parse("properties:a.properties").unwrap_err().to_string();
        assert!(error.starts_with("properties:a.properties: is not read"), "{error}");
        assert!(Source::parse("xbean:").unwrap_err().to_string().contains("names no file"));
    }

    #[test]
    fn a_broker_uri_has_members_and_options() {
        let text = "broker:(tcp://a:1?x=y,network:static:(tcp://b:2))?persistent=false&useJmx=true";
        let Source::Broker { members, query, .. } = Source::parse(text).unwrap() else { panic!() };
        assert_eq!((members.len(), query.len()), (2, 2));
        assert_eq!(members[1].to_string(), "network:(static:(tcp://b:2))");
        let Source::Broker { members, .. } = Source::parse("broker:tcp://a:1").unwrap() else {
            panic!()
        };
        assert_eq!(members[0].to_string(), "tcp://a:1");
        let Source::Broker { members, query, .. } = Source::parse("broker://?a=b").unwrap() else {
            panic!()
        };
        assert_eq!((members.len(), query.len()), (0, 1));
    }
}
