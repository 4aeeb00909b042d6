//! What copies a message that is sent to one destination into others.

use crate::base::options::options;
use crate::openwire::Destination;
pub use crate::selector::Selector;

/// A member of `<destinationInterceptors>`, virtual destinations taken out of their wrapper.
#[derive(Debug, Clone, PartialEq)]
pub enum Interceptor {
    VirtualTopic(VirtualTopic),
    Composite(Composite),
    Mirrored(MirroredQueue),
}

options! {
    /// Sends to a topic that fits `name` are copied to the queues named `prefix + topic + postfix`.
    pub struct VirtualTopic {
        /// Pattern of topic names.
        name: String = "VirtualTopic.>".to_owned(),
        /// In front of the topic's name; `*` stands for the consumer's own part.
        prefix: String = "Consumer.*.".to_owned(),
        /// Behind the topic's name.
        postfix: String = String::new(),
        /// Copy only to queues of which a consumer's selector wants the message.
        selector_aware: bool = false,
        /// Do not copy what came over a network bridge.
        local: bool = false,
        concurrent_send: bool = false,
        transacted_send: bool = false,
        /// Skip a queue that is full, rather than wait.
        drop_on_resource_limit: bool = false,
        set_original_destination: bool = true,
    }

    /// `<compositeQueue>` and `<compositeTopic>`.
    pub struct Composite {
        /// What is sent to; a queue for `<compositeQueue>`. May be a pattern.
        destination: Destination = Destination::queue(""),
        forward_to: Vec<Forward> = Vec::new(),
        /// Do not keep the message in `destination` itself.
        forward_only: bool = true,
        copy_message: bool = true,
        concurrent_send: bool = false,
        /// Keep it in `destination` when no filter of `forward_to` wanted it.
        send_when_not_matched: bool = false,
    }

    /// `<mirroredQueue>`: what is sent to a queue is also sent to a topic.
    pub struct MirroredQueue {
        prefix: String = "VirtualTopic.Mirror.".to_owned(),
        postfix: String = String::new(),
        copy_message: bool = true,
    }
}

/// One target of a composite.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    pub destination: Destination,
    /// Only messages that this JMS selector wants; `<filteredDestination>`.
    pub selector: Option<Selector>,
}
