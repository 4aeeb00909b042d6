//! Destinations and the patterns that entries are for.

use super::standing::{JVM, SERVED};
use crate::config::element::Element;
use crate::config::error::Fault;
use crate::config::value::{self, Expected};
use crate::config::vocabulary::{Attribute, Child, Reading, Words, known, rule, set, with};
use crate::openwire::{Destination, DestinationKind};

/// `<queue physicalName="…"/>` and its relatives, one after the other.
pub(super) static DESTINATIONS: Words<Vec<Destination>> =
    Words { element: "destinations", attributes: &[], children: MEMBERS };

/// One destination in a holder of any name; the last one counts.
pub(super) static ONE: Words<Vec<Destination>> =
    Words { element: "destination", attributes: &[], children: MEMBERS };

const MEMBERS: &[Child<Vec<Destination>>] = &[
    rule!("queue", SERVED, |to, from, reading| member(DestinationKind::Queue, to, from, reading)),
    rule!("topic", SERVED, |to, from, reading| member(DestinationKind::Topic, to, from, reading)),
    rule!("tempQueue", SERVED, |to, from, reading| {
        member(DestinationKind::TempQueue, to, from, reading);
    }),
    rule!("tempTopic", SERVED, |to, from, reading| {
        member(DestinationKind::TempTopic, to, from, reading);
    }),
];

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Named {
    name: Option<String>,
}

/// The inside of `<queue>`, `<topic>`, `<tempQueue>`, `<tempTopic>`.
pub(super) static NAMED: Words<Named> = Words {
    element: "queue",
    attributes: &[
        set!("physicalName", value::text => name, SERVED),
        set!("name", value::text => name, SERVED),
        known!("DLQ", value::boolean, JVM),
        known!("properties", value::text, JVM),
    ],
    children: &[],
};

fn member(kind: DestinationKind, to: &mut Vec<Destination>, from: &Element, reading: &mut Reading) {
    if let Some(destination) = destination(kind, from, reading) {
        to.push(destination);
    }
}

/// Reads `<queue physicalName="…"/>`.
pub(super) fn destination(
    kind: DestinationKind,
    from: &Element,
    reading: &mut Reading,
) -> Option<Destination> {
    let mut named = Named::default();
    reading.fill(&NAMED, from, &mut named);
    match named.name.filter(|name| !name.trim().is_empty()) {
        Some(name) => Some(Destination::new(kind, name.trim())),
        None => {
            lacks(from, "a `physicalName`", reading);
            None
        }
    }
}

/// Notes that `from` lacks something that it cannot be without.
pub(super) fn lacks(from: &Element, what: &str, reading: &mut Reading) {
    let (at, element) = (from.at.clone(), from.name.clone());
    reading.faults.push(Fault::Lacks { at, element, what: what.to_owned() });
}

/// A value that is for the destinations that fit a pattern.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Patterned<T> {
    pub(super) pattern: Option<Destination>,
    pub(super) value: T,
}

impl<T> Patterned<T> {
    pub(super) const QUEUE: Attribute<Self> =
        with!("queue", SERVED, |to, text| to.fit(DestinationKind::Queue, text));
    pub(super) const TOPIC: Attribute<Self> =
        with!("topic", SERVED, |to, text| to.fit(DestinationKind::Topic, text));
    pub(super) const TEMP_QUEUE: Attribute<Self> =
        with!("tempQueue", SERVED, |to, text| to.fit_all(DestinationKind::TempQueue, text));
    pub(super) const TEMP_TOPIC: Attribute<Self> =
        with!("tempTopic", SERVED, |to, text| to.fit_all(DestinationKind::TempTopic, text));
    pub(super) const DESTINATION: Child<Self> =
        rule!("destination", SERVED, |to, from, reading| {
            let mut found = Vec::new();
            reading.fill(&ONE, from, &mut found);
            to.pattern = found.pop().or_else(|| to.pattern.take());
        });

    fn fit(&mut self, kind: DestinationKind, text: &str) -> Result<(), Expected> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Expected::of("a name or a pattern such as ORDERS.>"));
        }
        self.pattern = Some(Destination::new(kind, name));
        Ok(())
    }

    fn fit_all(&mut self, kind: DestinationKind, text: &str) -> Result<(), Expected> {
        if value::boolean(text)? {
            self.pattern = Some(Destination::new(kind, ">"));
        }
        Ok(())
    }
}

/// Reads one entry of a map from patterns to values, and says when it has no pattern.
pub(super) fn entry<T: Clone + PartialEq + Default>(
    words: &Words<Patterned<T>>,
    to: &mut Vec<(Destination, T)>,
    from: &Element,
    reading: &mut Reading,
) {
    let mut entry = Patterned::default();
    reading.fill(words, from, &mut entry);
    match entry.pattern {
        Some(pattern) => to.push((pattern, entry.value)),
        None => lacks(from, "a `queue` or `topic` that it is for", reading),
    }
}
