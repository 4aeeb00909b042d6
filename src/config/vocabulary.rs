//! How a table of words reads an element into options.
//!
//! A [`Words`] is all that may stand in one element. Every word says what becomes of it, and where its
//! value goes; the tables themselves are in [`super::words`].

use super::element::{Attribute as Written, Element, Namespace};
use super::error::{Fault, Hint};
use super::notice::{Notice, Weight};
use super::place::Place;
use super::placeholder::Properties;
use super::value::Read;

/// What becomes of a known word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Done.
    Served,
    /// Read; nothing here depends on it, for this reason.
    NoEffect(&'static str),
    /// Read and checked; this happens instead.
    NotServed(&'static str),
    /// Not started with, for this reason and with this way out.
    Refused(&'static str),
}

/// What may stand in one element, and where it goes in a `T`.
pub(super) struct Words<T: 'static> {
    pub(super) element: &'static str,
    pub(super) attributes: &'static [Attribute<T>],
    pub(super) children: &'static [Child<T>],
}

pub(super) struct Attribute<T> {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
    pub(super) set: fn(&mut T, &str) -> Read<()>,
}

pub(super) struct Child<T> {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
    pub(super) read: fn(&mut T, &Element, &mut Reading),
}

/// A row of a table: an attribute of this name and kind goes to this field.
macro_rules! set {
    ($name:literal, $kind:path => $($field:ident).+, $standing:expr) => {
        $crate::config::vocabulary::Attribute {
            name: $name,
            standing: $standing,
            set: |to, text| {
                to.$($field).+ = $kind(text)?.into();
                Ok(())
            },
        }
    };
}

/// A row of a table: an attribute whose value is only checked.
macro_rules! known {
    ($name:literal, $kind:path, $standing:expr) => {
        $crate::config::vocabulary::Attribute {
            name: $name,
            standing: $standing,
            set: |_, text| $kind(text).map(drop),
        }
    };
}

/// A row of a table: an attribute with a rule of its own.
macro_rules! with {
    ($name:literal, $standing:expr, $set:expr) => {
        $crate::config::vocabulary::Attribute { name: $name, standing: $standing, set: $set }
    };
}

/// A row of a table: an element inside, read by a table of its own.
macro_rules! child {
    ($name:literal, $words:path => $($field:ident).+, $standing:expr) => {
        $crate::config::vocabulary::Child {
            name: $name,
            standing: $standing,
            read: |to, from, reading| reading.fill(&$words, from, &mut to.$($field).+),
        }
    };
    ($name:literal, $words:path, $standing:expr) => {
        $crate::config::vocabulary::Child {
            name: $name,
            standing: $standing,
            read: |to, from, reading| reading.fill(&$words, from, to),
        }
    };
}

/// A row of a table: an element inside with a rule of its own.
macro_rules! rule {
    ($name:literal, $standing:expr, $read:expr) => {
        $crate::config::vocabulary::Child { name: $name, standing: $standing, read: $read }
    };
}

/// A row of a table: an element that has nothing inside and says something by being there.
macro_rules! plain {
    ($name:literal, $standing:expr, $to:ident => $does:expr) => {
        $crate::config::vocabulary::Child {
            name: $name,
            standing: $standing,
            read: |$to, from, reading| {
                reading.fill(&$crate::config::vocabulary::NOTHING, from, &mut ());
                $does;
            },
        }
    };
}

/// A row of a table: an element of Java's own, whose inside is not looked at.
macro_rules! opaque {
    ($name:literal, $standing:expr) => {
        $crate::config::vocabulary::Child { name: $name, standing: $standing, read: |_, _, _| {} }
    };
}

pub(super) use {child, known, opaque, plain, rule, set, with};

/// What stands in an element in which nothing may stand.
pub(super) static NOTHING: Words<()> = Words { element: "", attributes: &[], children: &[] };

/// One reading of one configuration: what it resolves with, and what it found.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) properties: Properties,
    /// Everything with an `id` that may be referred to by `#id`.
    pub(super) beans: Vec<(String, Element)>,
    pub(super) faults: Vec<Fault>,
    pub(super) notices: Vec<Notice>,
    pub(super) strict: bool,
    /// Where the connectors stand that are served, in their order.
    pub(super) connectors: Vec<Place>,
    /// Inside a word of which was said that it is not served: its words are checked in silence.
    muted: u32,
    /// References followed so far.
    references: u32,
    /// References being followed, one within the other.
    following: u32,
}

/// Most `#id` references of one configuration.
const REFERENCES_MAX: u32 = 256;
/// Longest chain of them, so that a circle ends.
const FOLLOWING_MAX: u32 = 8;

impl Reading {
    pub(super) fn new(properties: Properties, strict: bool) -> Self {
        Self { properties, strict, ..Self::default() }
    }

    /// Reads all of `from` into `to`. What is wrong is noted, and the rest read all the same.
    pub(super) fn fill<T: Clone + PartialEq>(
        &mut self,
        words: &Words<T>,
        from: &Element,
        to: &mut T,
    ) {
        for written in &from.attributes {
            if !from.is_beans("bean") || !is_of_bean(&written.name) {
                self.attribute(words, from, written, to);
            }
        }
        self.children(words, from, to);
        if from.children.is_empty() && !from.text.is_empty() {
            let what = format!("unexpected text `{}` in <{}>", from.text, from.name);
            self.faults.push(Fault::Malformed { at: from.at.clone(), what });
        }
    }

    /// A value with its placeholders replaced; `None` when that failed, which is then noted.
    pub(super) fn resolve(&mut self, text: &str, at: &Place) -> Option<String> {
        let resolved = self.properties.resolve(text, at);
        resolved.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// Notes what the operator must know of a word.
    pub(super) fn say(&mut self, standing: Standing, word: String, at: &Place) {
        let (weight, text) = match standing {
            Standing::Served => return,
            Standing::Refused(why) => {
                let (at, why) = (at.clone(), why.to_owned());
                return self.faults.push(Fault::Refused { at, word, why });
            }
            Standing::NoEffect(why) => (Weight::NoEffect, why),
            Standing::NotServed(instead) => (Weight::NotServed, instead),
        };
        self.notice(weight, word, text.to_owned(), at);
    }

    pub(super) fn notice(&mut self, weight: Weight, word: String, text: String, at: &Place) {
        if self.muted > 0 {
            return;
        }
        if self.strict && weight == Weight::NotServed {
            self.faults.push(Fault::Strict { at: at.clone(), word, instead: text });
        } else {
            self.notices.push(Notice { at: at.clone(), weight, word, text });
        }
    }

    fn attribute<T: Clone + PartialEq>(
        &mut self,
        words: &Words<T>,
        from: &Element,
        written: &Written,
        to: &mut T,
    ) {
        let Written { name, value, at } = written;
        if let Some(row) = words.attributes.iter().find(|row| row.name == name.as_str()) {
            let Some(value) = self.resolve(value, at) else { return };
            let before = to.clone();
            if let Err(expected) = (row.set)(to, &value) {
                let (word, expected) = (word_of(name, from), expected.0.into_owned());
                return self.faults.push(Fault::Value { at: at.clone(), word, value, expected });
            }
            if !goes_without_saying(row.standing, &value, *to == before) {
                self.say(row.standing, word_of(name, from), at);
            }
        } else if let (Some(row), Some(id)) = (child_named(words, name), value.strip_prefix('#')) {
            if let Some(bean) = self.bean(id, at) {
                let holder = Element { children: vec![bean], name: name.clone(), ..empty(at) };
                self.child(row, &holder, to);
                self.following -= 1;
            }
        } else if name != "id" {
            let known = words.attributes.iter().map(|row| row.name);
            let hint = Hint::nearest(name, known.chain(words.children.iter().map(|row| row.name)));
            self.faults.push(Fault::UnknownAttribute {
                at: at.clone(),
                attribute: name.clone(),
                element: from.name.clone(),
                hint,
            });
        }
    }

    fn children<T: Clone + PartialEq>(&mut self, words: &Words<T>, from: &Element, to: &mut T) {
        for inner in &from.children {
            match (&inner.namespace, inner.name.as_str()) {
                (Namespace::Beans, "property") => self.property(words, from, inner, to),
                (Namespace::Beans, "list" | "set" | "array") => self.children(words, inner, to),
                (Namespace::Beans, "description") => {}
                (Namespace::Beans, "ref") => {
                    let named = inner.attribute("bean").or_else(|| inner.attribute("local"));
                    let id = named.map_or("", |id| id.value.as_str());
                    if let Some(bean) = self.bean(id, &inner.at) {
                        self.element(words, from, &bean, to);
                        self.following -= 1;
                    }
                }
                (Namespace::Beans, "bean") => self.java_bean(words, from, inner, to),
                _ => self.element(words, from, inner, to),
            }
        }
    }

    fn element<T: Clone + PartialEq>(
        &mut self,
        words: &Words<T>,
        parent: &Element,
        inner: &Element,
        to: &mut T,
    ) {
        if inner.is_beans("bean") {
            return self.java_bean(words, parent, inner, to);
        }
        if let Some(row) = child_named(words, &inner.name) {
            return self.child(row, inner, to);
        }
        let is_value = inner.children.is_empty() && inner.attributes.is_empty();
        if is_value && words.attributes.iter().any(|row| row.name == inner.name) {
            let (name, value) = (inner.name.clone(), inner.text.clone());
            return self.attribute(
                words,
                parent,
                &Written { name, value, at: inner.at.clone() },
                to,
            );
        }
        let known = words.children.iter().map(|row| row.name);
        self.faults.push(Fault::UnknownElement {
            at: inner.at.clone(),
            element: inner.name.clone(),
            parent: parent.name.clone(),
            hint: Hint::nearest(&inner.name, known),
        });
    }

    fn child<T>(&mut self, row: &Child<T>, inner: &Element, to: &mut T) {
        self.say(row.standing, format!("<{}>", inner.name), &inner.at);
        match row.standing {
            Standing::Served => (row.read)(to, inner, self),
            Standing::Refused(_) => {}
            Standing::NoEffect(_) | Standing::NotServed(_) => {
                self.muted += 1;
                (row.read)(to, inner, self);
                self.muted -= 1;
            }
        }
    }

    /// Spring's `<property name="…" value="…"/>` says what an attribute says, or a child.
    fn property<T: Clone + PartialEq>(
        &mut self,
        words: &Words<T>,
        parent: &Element,
        property: &Element,
        to: &mut T,
    ) {
        let Some(name) = property.attribute("name").map(|name| name.value.clone()) else {
            let what = "a `name`".to_owned();
            let (at, element) = (property.at.clone(), "property".to_owned());
            return self.faults.push(Fault::Lacks { at, element, what });
        };
        let value = property.attribute("value");
        let reference = property.attribute("ref");
        if let Some(value) = value.map(|value| value.value.clone()) {
            self.attribute(words, parent, &Written { name, value, at: property.at.clone() }, to);
        } else if let Some(id) = reference {
            let (value, at) = (format!("#{}", id.value), id.at.clone());
            self.attribute(words, parent, &Written { name, value, at }, to);
        } else if let Some(only) = property.children.first().filter(|only| only.is_beans("value")) {
            let (value, at) = (only.text.clone(), only.at.clone());
            self.attribute(words, parent, &Written { name, value, at }, to);
        } else {
            let holder = Element {
                name,
                namespace: Namespace::Core,
                attributes: Vec::new(),
                ..property.clone()
            };
            self.element(words, parent, &holder, to);
        }
    }

    /// A bean of one of ActiveMQ's own classes is the element of that name.
    fn java_bean<T: Clone + PartialEq>(
        &mut self,
        words: &Words<T>,
        parent: &Element,
        bean: &Element,
        to: &mut T,
    ) {
        let class = bean.attribute("class").map_or("", |class| class.value.as_str());
        let simple = class.rsplit('.').next().unwrap_or_default();
        let same = |row: &&Child<T>| row.name.eq_ignore_ascii_case(simple);
        match words.children.iter().find(same).filter(|_| class.starts_with("org.apache.activemq."))
        {
            Some(row) => {
                let mut attributes = bean.attributes.clone();
                attributes.retain(|attribute| !is_of_bean(&attribute.name));
                let (namespace, name) = (Namespace::Core, row.name.to_owned());
                self.child(row, &Element { namespace, name, attributes, ..bean.clone() }, to);
            }
            None => self.faults.push(Fault::Refused {
                at: bean.at.clone(),
                word: format!("<bean class=\"{class}\"> in <{}>", parent.name),
                why: "Java classes cannot be loaded; remove the bean, or use an element that \
                      openwired knows"
                    .to_owned(),
            }),
        }
    }

    /// The bean of this id; `following` is to be taken down once it is read.
    fn bean(&mut self, id: &str, at: &Place) -> Option<Element> {
        let Some((_, bean)) = self.beans.iter().find(|(known, _)| known == id) else {
            let hint = Hint::nearest(id, self.beans.iter().map(|(known, _)| known.as_str()));
            self.faults.push(Fault::NoBean { at: at.clone(), id: id.to_owned(), hint });
            return None;
        };
        if self.following >= FOLLOWING_MAX || self.references >= REFERENCES_MAX {
            let what = format!(
                "`#{id}` refers to itself, or there are more than {REFERENCES_MAX} references, or \
                 {FOLLOWING_MAX} one within the other"
            );
            self.faults.push(Fault::TooLarge { at: at.clone(), what });
            return None;
        }
        self.references += 1;
        self.following += 1;
        Some(bean.clone())
    }
}

/// Whether a word needs no notice: what has no effect and says what holds anyway, and what is not
/// served and was not asked for.
fn goes_without_saying(standing: Standing, value: &str, restates_default: bool) -> bool {
    match standing {
        Standing::Served => true,
        Standing::NoEffect(_) => restates_default,
        Standing::NotServed(_) => restates_default && value.trim().eq_ignore_ascii_case("false"),
        Standing::Refused(_) => false,
    }
}

/// Attributes that are Spring's own on every `<bean>`.
fn is_of_bean(name: &str) -> bool {
    const OF_BEAN: [&str; 9] = [
        "class",
        "id",
        "name",
        "init-method",
        "destroy-method",
        "lazy-init",
        "scope",
        "depends-on",
        "parent",
    ];
    OF_BEAN.contains(&name)
}

fn child_named<'w, T>(words: &'w Words<T>, name: &str) -> Option<&'w Child<T>> {
    words.children.iter().find(|row| row.name == name)
}

fn word_of(attribute: &str, element: &Element) -> String {
    format!("`{attribute}` of <{}>", element.name)
}

fn empty(at: &Place) -> Element {
    Element {
        namespace: Namespace::Core,
        name: String::new(),
        attributes: Vec::new(),
        children: Vec::new(),
        text: String::new(),
        at: at.clone(),
    }
}
