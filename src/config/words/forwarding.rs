//! `<destinationInterceptors>`: virtual, composite and mirrored destinations.

use super::destination::{destination, lacks};
use super::standing::{COPIES, JVM, SERVED};
use crate::broker::options::forwarding::Selector;
use crate::broker::options::forwarding::{
    Composite, Forward, Interceptor, MirroredQueue, VirtualTopic,
};
use crate::config::element::Element;
use crate::config::notice::Weight;
use crate::config::value;
use crate::config::vocabulary::{Attribute, Child, Reading, Words, child, opaque, rule, set, with};
use crate::openwire::{Destination, DestinationKind};

pub(super) static INTERCEPTORS: Words<Vec<Interceptor>> = Words {
    element: "destinationInterceptors",
    attributes: &[],
    children: &[
        child!("virtualDestinationInterceptor", VIRTUAL_INTERCEPTOR, SERVED),
        rule!("mirroredQueue", SERVED, |to, from, reading| {
            let mut mirrored = MirroredQueue::default();
            reading.fill(&MIRRORED, from, &mut mirrored);
            to.push(Interceptor::Mirrored(mirrored));
        }),
    ],
};

pub(super) static VIRTUAL_INTERCEPTOR: Words<Vec<Interceptor>> = Words {
    element: "virtualDestinationInterceptor",
    attributes: &[],
    children: &[child!("virtualDestinations", VIRTUAL_DESTINATIONS, SERVED)],
};

pub(super) static VIRTUAL_DESTINATIONS: Words<Vec<Interceptor>> = Words {
    element: "virtualDestinations",
    attributes: &[],
    children: &[
        rule!("virtualTopic", SERVED, |to, from, reading| {
            // Without a name it is for all topics; `VirtualTopic.>` is the one that nobody configures.
            let mut topic = VirtualTopic { name: ">".to_owned(), ..VirtualTopic::default() };
            reading.fill(&VIRTUAL_TOPIC, from, &mut topic);
            to.push(Interceptor::VirtualTopic(topic));
        }),
        rule!("compositeQueue", SERVED, |to, from, reading| {
            composite(DestinationKind::Queue, to, from, reading);
        }),
        rule!("compositeTopic", SERVED, |to, from, reading| {
            composite(DestinationKind::Topic, to, from, reading);
        }),
    ],
};

fn composite(
    kind: DestinationKind,
    to: &mut Vec<Interceptor>,
    from: &Element,
    reading: &mut Reading,
) {
    let destination = Destination::new(kind, "");
    let mut composite = Composite { destination, ..Composite::default() };
    reading.fill(&COMPOSITE, from, &mut composite);
    if composite.destination.name().is_empty() {
        lacks(from, "a `name`", reading);
    }
    to.push(Interceptor::Composite(composite));
}

pub(super) static VIRTUAL_TOPIC: Words<VirtualTopic> = Words {
    element: "virtualTopic",
    attributes: &[
        set!("name", value::text => name, SERVED),
        set!("prefix", value::text => prefix, SERVED),
        set!("postfix", value::text => postfix, SERVED),
        set!("selectorAware", value::boolean => selector_aware, SERVED),
        set!("local", value::boolean => local, SERVED),
        set!("concurrentSend", value::boolean => concurrent_send, COPIES),
        set!("transactedSend", value::boolean => transacted_send, COPIES),
        set!("dropOnResourceLimit", value::boolean => drop_on_resource_limit, SERVED),
        set!("setOriginalDestination", value::boolean => set_original_destination, SERVED),
    ],
    children: &[],
};

pub(super) static COMPOSITE: Words<Composite> = Words {
    element: "compositeQueue",
    attributes: &[
        with!("name", SERVED, |to, text| {
            to.destination = Destination::new(to.destination.class, text.trim());
            Ok(())
        }),
        set!("forwardOnly", value::boolean => forward_only, SERVED),
        set!("copyMessage", value::boolean => copy_message, COPIES),
        set!("concurrentSend", value::boolean => concurrent_send, COPIES),
        set!("sendWhenNotMatched", value::boolean => send_when_not_matched, SERVED),
    ],
    children: &[child!("forwardTo", FORWARD_TO => forward_to, SERVED)],
};

pub(super) static FORWARD_TO: Words<Vec<Forward>> = Words {
    element: "forwardTo",
    attributes: &[],
    children: &[
        QUEUE,
        TOPIC,
        rule!("filteredDestination", SERVED, |to, from, reading| {
            let mut filtered = Filtered::default();
            reading.fill(&FILTERED, from, &mut filtered);
            match filtered {
                Filtered { destination: Some(destination), selector: Some(selector) } => {
                    to.push(Forward { destination, selector: Some(selector) });
                }
                Filtered { destination: None, .. } => {
                    lacks(from, "a `queue` or `topic`", reading);
                }
                // ActiveMQ starts with it, and forwards nothing.
                Filtered { selector: None, .. } => {
                    let text = "has no selector, so nothing is forwarded".to_owned();
                    let word = "<filteredDestination>".to_owned();
                    reading.notice(Weight::Warning, word, text, &from.at);
                }
            }
        }),
    ],
};

const QUEUE: Child<Vec<Forward>> = rule!("queue", SERVED, |to, from, reading| {
    let target = destination(DestinationKind::Queue, from, reading);
    to.extend(target.map(|destination| Forward { destination, selector: None }));
});
const TOPIC: Child<Vec<Forward>> = rule!("topic", SERVED, |to, from, reading| {
    let target = destination(DestinationKind::Topic, from, reading);
    to.extend(target.map(|destination| Forward { destination, selector: None }));
});

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filtered {
    destination: Option<Destination>,
    selector: Option<Selector>,
}

const FILTERED_ATTRIBUTES: &[Attribute<Filtered>] = &[
    with!("queue", SERVED, |to, text| {
        to.destination = Some(Destination::queue(text.trim()));
        Ok(())
    }),
    with!("topic", SERVED, |to, text| {
        to.destination = Some(Destination::topic(text.trim()));
        Ok(())
    }),
    set!("selector", value::selector => selector, SERVED),
];

pub(super) static FILTERED: Words<Filtered> = Words {
    element: "filteredDestination",
    attributes: FILTERED_ATTRIBUTES,
    children: &[
        rule!("destination", SERVED, |to, from, reading| {
            let mut found = Vec::new();
            reading.fill(&super::destination::ONE, from, &mut found);
            to.destination = found.pop();
        }),
        opaque!("filter", JVM),
    ],
};

pub(super) static MIRRORED: Words<MirroredQueue> = Words {
    element: "mirroredQueue",
    attributes: &[
        set!("prefix", value::text => prefix, SERVED),
        set!("postfix", value::text => postfix, SERVED),
        set!("copyMessage", value::boolean => copy_message, COPIES),
    ],
    children: &[],
};
