//! XML as a small tree in which everything knows its line.
//!
//! Nothing outside the file is ever fetched and no entity is ever defined: a `DOCTYPE` with
//! declarations of its own is refused, one without is passed over.

use std::borrow::Cow;
use std::path::Path;

use quick_xml::escape::unescape;
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::error::Fault;
use super::place::{Lines, Place};

/// Deepest nesting of elements; a broker's configuration needs some twelve.
pub(super) const DEPTH_MAX: usize = 64;
/// Most elements of one file.
pub(super) const ELEMENTS_MAX: usize = 100_000;

/// What ActiveMQ's own elements belong to.
const CORE: [&str; 2] =
    ["http://activemq.apache.org/schema/core", "http://activemq.org/config/1.0"];
const BEANS: &str = "http://www.springframework.org/schema/beans";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Namespace {
    /// ActiveMQ's.
    Core,
    /// Spring's `beans`.
    Beans,
    /// None at all, as when a file holds `<broker>` alone.
    Bare,
    Other(String),
}

#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) namespace: Namespace,
    /// Without prefix.
    pub(super) name: String,
    pub(super) attributes: Vec<Attribute>,
    pub(super) children: Vec<Self>,
    /// All text directly inside, trimmed.
    pub(super) text: String,
    pub(super) at: Place,
}

#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) name: String,
    /// As written, placeholders and all.
    pub(super) value: String,
    pub(super) at: Place,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Whether this is Spring's element of that name.
    pub(super) fn is_beans(&self, name: &str) -> bool {
        self.name == name && matches!(self.namespace, Namespace::Beans | Namespace::Bare)
    }

    /// Whether this is ActiveMQ's element of that name.
    pub(super) fn is_core(&self, name: &str) -> bool {
        self.name == name && matches!(self.namespace, Namespace::Core | Namespace::Bare)
    }
}

/// Reads one file's text.
pub(super) fn parse(file: &Path, text: &str) -> Result<Element, Fault> {
    Tree { lines: Lines::new(file, text), text, open: Vec::new(), root: None, count: 0 }.read()
}

struct Tree<'t> {
    lines: Lines<'t>,
    text: &'t str,
    open: Vec<Element>,
    root: Option<Element>,
    count: usize,
}

impl Tree<'_> {
    fn read(mut self) -> Result<Element, Fault> {
        let mut reader = NsReader::from_str(self.text);
        loop {
            let from = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let event = match reader.read_resolved_event() {
                Ok((namespace, event)) => (kind_of(&namespace), event),
                Err(error) => {
                    let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                    return Err(self.malformed(at, error.to_string()));
                }
            };
            match event {
                (namespace, Event::Start(start)) => self.start(namespace, &start, from)?,
                (namespace, Event::Empty(start)) => {
                    self.start(namespace, &start, from)?;
                    self.end();
                }
                (_, Event::End(_)) => self.end(),
                (_, Event::Text(text)) => {
                    let text = text.xml10_content();
                    self.text(
                        text.map_err(|e| self.malformed(from, e.to_string()))?.as_ref(),
                        from,
                    )?;
                }
                (_, Event::CData(text)) => {
                    let text = text.xml10_content();
                    self.text(
                        text.map_err(|e| self.malformed(from, e.to_string()))?.as_ref(),
                        from,
                    )?;
                }
                (_, Event::GeneralRef(name)) => {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    let text = self.unescape(&format!("&{name};"), from)?;
                    self.text(&text, from)?;
                }
                (_, Event::DocType(doctype)) if doctype.contains(&b'[') => {
                    return Err(Fault::Doctype { at: self.lines.place(from) });
                }
                (_, Event::DocType(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_)) => {}
                (_, Event::Eof) => break,
            }
        }
        if let Some(open) = self.open.last() {
            let what = format!("<{}> is never closed", open.name);
            return Err(Fault::Malformed { at: open.at.clone(), what });
        }
        let end = self.text.len();
        self.root.take().ok_or_else(|| self.malformed(end, "there is no element".to_owned()))
    }

    fn start(
        &mut self,
        namespace: Namespace,
        start: &BytesStart<'_>,
        from: usize,
    ) -> Result<(), Fault> {
        let at = self.lines.place(from);
        self.count += 1;
        if self.open.len() >= DEPTH_MAX || self.count > ELEMENTS_MAX {
            return Err(Fault::TooLarge {
                at,
                what: format!("more than {DEPTH_MAX} elements deep or {ELEMENTS_MAX} in all"),
            });
        }
        if self.root.is_some() && self.open.is_empty() {
            return Err(Fault::Malformed { at, what: "a second root element".to_owned() });
        }
        let name = text_of(start.local_name().as_ref());
        let attributes = self.attributes(start, from)?;
        let (children, text) = (Vec::new(), String::new());
        self.open.push(Element { namespace, name, attributes, children, text, at });
        Ok(())
    }

    fn attributes(&self, start: &BytesStart<'_>, from: usize) -> Result<Vec<Attribute>, Fault> {
        let mut found = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| {
                let (position, what) = wrong_attribute(&error);
                // Positions count from behind the `<`.
                self.malformed(from + 1 + position, what.to_owned())
            })?;
            let offset = self.offset_of(attribute.key.as_ref()).unwrap_or(from);
            let key = text_of(attribute.key.as_ref());
            let about_names =
                key == "xmlns" || key.starts_with("xmlns:") || key.starts_with("xsi:");
            if about_names || key.starts_with("xml:") {
                continue;
            }
            let raw = text_of(&attribute.value).replace(['\t', '\r', '\n'], " ");
            let value = self.unescape(&raw, offset)?;
            let name = text_of(attribute.key.local_name().as_ref());
            found.push(Attribute { name, value, at: self.lines.place(offset) });
        }
        Ok(found)
    }

    /// Where a piece of the file's text begins.
    fn offset_of(&self, piece: &[u8]) -> Option<usize> {
        let offset = piece.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        (offset <= self.text.len()).then_some(offset)
    }

    fn end(&mut self) {
        let Some(mut closed) = self.open.pop() else { return };
        closed.text = closed.text.trim().to_owned();
        match self.open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => self.root = Some(closed),
        }
    }

    fn text(&mut self, text: &str, from: usize) -> Result<(), Fault> {
        match self.open.last_mut() {
            Some(open) => open.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(self.malformed(from, "text outside the root element".to_owned())),
        }
        Ok(())
    }

    fn unescape(&self, raw: &str, from: usize) -> Result<String, Fault> {
        let plain = unescape(raw).map(Cow::into_owned);
        plain.map_err(|error| self.malformed(from, error.to_string()))
    }

    fn malformed(&self, offset: usize, what: String) -> Fault {
        Fault::Malformed { at: self.lines.place(offset.min(self.text.len())), what }
    }
}

fn wrong_attribute(error: &AttrError) -> (usize, &'static str) {
    match error {
        AttrError::ExpectedEq(at) => (*at, "an attribute lacks its `=`"),
        AttrError::ExpectedValue(at) => (*at, "an attribute lacks its value"),
        AttrError::UnquotedValue(at) => (*at, "a value must stand in quotes"),
        AttrError::ExpectedQuote(at, _) => (*at, "a value lacks its closing quote"),
        AttrError::Duplicated(at, _) => (*at, "an attribute is given twice"),
    }
}

fn kind_of(namespace: &ResolveResult<'_>) -> Namespace {
    match namespace {
        ResolveResult::Bound(uri) => match text_of(uri.as_ref()) {
            uri if CORE.contains(&uri.as_str()) => Namespace::Core,
            uri if uri == BEANS => Namespace::Beans,
            uri => Namespace::Other(uri),
        },
        ResolveResult::Unbound => Namespace::Bare,
        ResolveResult::Unknown(prefix) => Namespace::Other(text_of(prefix)),
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Result<Element, String> {
        parse(Path::new("a.xml"), text).map_err(|fault| fault.to_string())
    }

    #[test]
    fn everything_knows_its_line_and_column() {
        let root =
            tree("<beans>\n  <broker a='1'\n    b='x &amp; y'>t<!-- c -->u&#33;</broker></beans>");
        let root = root.unwrap();
        let broker = &root.children[0];
        assert_eq!(broker.at.to_string(), "a.xml:2:3");
        assert_eq!(broker.attribute("b").unwrap().at.to_string(), "a.xml:3:5");
        assert_eq!(broker.attribute("b").unwrap().value, "x & y");
        assert_eq!(broker.text, "tu!");
    }

    #[test]
    fn the_namespace_counts_and_the_prefix_does_not() {
        let core = "http://activemq.apache.org/schema/core";
        let root =
            tree(&format!("<q:broker xmlns:q='{core}' q:brokerName='b'><q:x/><y/></q:broker>"));
        let root = root.unwrap();
        assert!(root.is_core("broker"));
        assert_eq!(root.attribute("brokerName").unwrap().value, "b");
        assert_eq!(root.children[0].namespace, Namespace::Core);
        assert_eq!(root.children[1].namespace, Namespace::Bare);
    }

    #[test]
    fn a_doctype_may_name_a_dtd_but_not_hold_one() {
        assert!(tree("<!DOCTYPE beans PUBLIC \"-//x\" \"http://x/y.dtd\"><beans/>").is_ok());
        let bomb = "<!DOCTYPE b [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]>\n<b>&b;</b>";
        assert!(tree(bomb).unwrap_err().starts_with("a.xml:1:1: the DOCTYPE declares"));
    }

    #[test]
    fn depth_has_a_bound() {
        let deep = format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000));
        assert!(tree(&deep).unwrap_err().contains("more than 64 elements deep"));
    }
}
