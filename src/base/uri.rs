//! URIs as ActiveMQ writes them: `tcp://host:61616?a=b`, `static:(tcp://a:1,tcp://b:2)?c=d`.

use std::fmt;

/// Deepest nesting of `(…)` that is read; ActiveMQ's own forms need two.
const DEPTH_MAX: usize = 8;

/// A URI taken apart. Query values are decoded; order and duplicates are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// Lower case.
    pub scheme: String,
    pub target: Target,
    /// `name=value` behind the `?`.
    pub query: Vec<(String, String)>,
}

/// What stands between scheme and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `//host:port/path`; the host may be empty, brackets of an IPv6 address are taken off.
    Authority { host: String, port: Option<u16>, path: String },
    /// `(a,b,c)`, also where written as `//(a,b,c)` or without parentheses as `a,b`.
    Members(Vec<Uri>),
    /// Anything else, such as the path of `file:conf/x`.
    Opaque(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("`{0}` has no scheme such as `tcp:` in front")]
    NoScheme(String),
    #[error("`{0}` lacks a `)`")]
    Unclosed(String),
    #[error("`{0}` has a `)` too many")]
    Unopened(String),
    #[error("`{0}` is no port; a port is a number from 0 to 65535")]
    Port(String),
    #[error("`{0}` is no host")]
    Host(String),
    #[error("`{0}` nests deeper than {DEPTH_MAX}")]
    Depth(String),
    #[error("`{0}` has a broken %-escape")]
    Escape(String),
}

impl Uri {
    pub fn parse(text: &str) -> Result<Self, UriError> {
        Self::parse_at(text.trim(), 0)
    }

    fn parse_at(text: &str, depth: usize) -> Result<Self, UriError> {
        if depth >= DEPTH_MAX {
            return Err(UriError::Depth(text.to_owned()));
        }
        let (scheme, rest) =
            text.split_once(':').ok_or_else(|| UriError::NoScheme(text.to_owned()))?;
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(is_scheme) {
            return Err(UriError::NoScheme(text.to_owned()));
        }
        let scheme = scheme.to_ascii_lowercase();
        let (body, query) = split_query(rest, text)?;
        let target = target(body, text, depth)?;
        Ok(Self { scheme, target, query: parse_query(query)? })
    }

    /// The value of the last option of this name.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn target(body: &str, whole: &str, depth: usize) -> Result<Target, UriError> {
    let inner = body.strip_prefix("//").unwrap_or(body);
    if let Some(list) = inner.strip_prefix('(') {
        let list = list.strip_suffix(')').ok_or_else(|| UriError::Unclosed(whole.to_owned()))?;
        return members(list, whole, depth);
    }
    if let Some((first, _)) = inner.split_once(':')
        && inner.contains("://")
        && !first.contains('/')
    {
        return members(inner, whole, depth);
    }
    match body.strip_prefix("//") {
        Some(authority) => parse_authority(authority),
        None => Ok(Target::Opaque(body.to_owned())),
    }
}

fn members(list: &str, whole: &str, depth: usize) -> Result<Target, UriError> {
    let mut found = Vec::new();
    for part in split_outside(list, ',', whole)? {
        if !part.trim().is_empty() {
            found.push(Uri::parse_at(part.trim(), depth + 1)?);
        }
    }
    Ok(Target::Members(found))
}

/// The query begins at the first `?` outside parentheses; that of a bare list `a?x,b?y` belongs to
/// its members.
fn split_query<'t>(rest: &'t str, whole: &str) -> Result<(&'t str, &'t str), UriError> {
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    if !bare.starts_with('(') && bare.contains("://") {
        return Ok((rest, ""));
    }
    let mut open = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => open += 1,
            ')' => {
                open = open.checked_sub(1).ok_or_else(|| UriError::Unopened(whole.to_owned()))?
            }
            '?' if open == 0 => {
                let (body, query) = rest.split_at(at);
                return Ok((body, query.strip_prefix('?').unwrap_or(query)));
            }
            _ => {}
        }
    }
    if open > 0 { Err(UriError::Unclosed(whole.to_owned())) } else { Ok((rest, "")) }
}

fn split_outside<'t>(text: &'t str, at: char, whole: &str) -> Result<Vec<&'t str>, UriError> {
    let mut open = 0_usize;
    let mut parts = Vec::new();
    let mut rest = text;
    let mut from = 0;
    for (index, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' => {
                open = open.checked_sub(1).ok_or_else(|| UriError::Unopened(whole.to_owned()))?
            }
            c if c == at && open == 0 => {
                let (part, tail) = rest.split_at(index - from);
                parts.push(part);
                rest = tail.strip_prefix(at).unwrap_or(tail);
                from = index + at.len_utf8();
            }
            _ => {}
        }
    }
    if open > 0 {
        return Err(UriError::Unclosed(whole.to_owned()));
    }
    parts.push(rest);
    Ok(parts)
}

fn parse_authority(text: &str) -> Result<Target, UriError> {
    let (authority, path) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) =
                v6.split_once(']').ok_or_else(|| UriError::Host(authority.to_owned()))?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(UriError::Host(authority.to_owned())),
            };
            (host, port)
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%' | '*');
    if !host.chars().all(is_host) {
        return Err(UriError::Host(host.to_owned()));
    }
    let port = match port {
        None => None,
        Some(text) => Some(text.parse().map_err(|_bad| UriError::Port(text.to_owned()))?),
    };
    Ok(Target::Authority { host: host.to_owned(), port, path: path.to_owned() })
}

/// Reads `a=b&c=d`; `&amp;` counts as `&`, and `+` and `%xx` are decoded as Java does.
pub fn parse_query(text: &str) -> Result<Vec<(String, String)>, UriError> {
    let text = text.replace("&amp;", "&");
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, UriError> {
    let broken = || UriError::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
                high * 16 + low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_bad| broken())
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        match &self.target {
            Target::Authority { host, port, path } => {
                if host.contains(':') {
                    write!(f, "//[{host}]")?;
                } else {
                    write!(f, "//{host}")?;
                }
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                write!(f, "{path}")?;
            }
            Target::Members(members) => {
                write!(f, "(")?;
                for (index, member) in members.iter().enumerate() {
                    write!(f, "{}{member}", if index > 0 { "," } else { "" })?;
                }
                write!(f, ")")?;
            }
            Target::Opaque(text) => write!(f, "{text}")?,
        }
        for (index, (name, value)) in self.query.iter().enumerate() {
            write!(f, "{}{name}={value}", if index > 0 { '&' } else { '?' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(host: &str, port: u16, path: &str) -> Target {
        Target::Authority { host: host.to_owned(), port: Some(port), path: path.to_owned() }
    }

    #[test]
    fn a_plain_uri_is_taken_apart() {
        let uri =
            Uri::parse("tcp://0.0.0.0:61616?maximumConnections=1000&wireFormat.maxFrameSize=9");
        let uri = uri.unwrap();
        assert_eq!((uri.scheme.as_str(), &uri.target), ("tcp", &authority("0.0.0.0", 61616, "")));
        assert_eq!(uri.option("wireFormat.maxFrameSize"), Some("9"));
        assert_eq!(
            Uri::parse("WS://localhost:61614/").unwrap().target,
            authority("localhost", 61614, "/")
        );
        assert_eq!(Uri::parse("tcp://[::1]:1").unwrap().target, authority("::1", 1, ""));
    }

    #[test]
    fn members_keep_their_own_options() {
        let text = "static:(failover:(tcp://a:1?x=1,tcp://b:2)?randomize=false,tcp://c:3)?y=%20z";
        let uri = Uri::parse(text).unwrap();
        let Target::Members(outer) = &uri.target else { panic!("{uri:?}") };
        let Target::Members(inner) = &outer[0].target else { panic!("{uri:?}") };
        assert_eq!((outer.len(), inner.len()), (2, 2));
        assert_eq!(inner[0].option("x"), Some("1"));
        assert_eq!(outer[0].option("randomize"), Some("false"));
        assert_eq!(uri.option("y"), Some(" z"));
        let bare = Uri::parse("failover://tcp://a:1?x=1,tcp://b:2").unwrap();
        assert_eq!(bare.to_string(), "failover:(tcp://a:1?x=1,tcp://b:2)");
    }

    #[test]
    fn what_is_no_uri_is_refused_by_name() {
        let cases = [
            ("localhost", "`localhost` has no scheme such as `tcp:` in front"),
            ("tcp://h:99999", "`99999` is no port; a port is a number from 0 to 65535"),
            ("tcp://h:", "`` is no port; a port is a number from 0 to 65535"),
            ("tcp://h o:1", "`h o` is no host"),
            ("static:(tcp://a:1", "`static:(tcp://a:1` lacks a `)`"),
            ("static:(tcp://a:1))", "`static:(tcp://a:1))` has a `)` too many"),
            ("tcp://a:1?x=%4", "`%4` has a broken %-escape"),
        ];
        for (text, error) in cases {
            assert_eq!(Uri::parse(text).unwrap_err().to_string(), error, "{text}");
        }
        let deep = format!("{}tcp://a:1{}", "a:(".repeat(20), ")".repeat(20));
        assert!(matches!(Uri::parse(&deep), Err(UriError::Depth(_))));
    }
}
