//! Where a message goes that nobody could or should consume.

use std::sync::Arc;

use bytes::Bytes;

use super::options::policy::{DeadLetterStrategy, DeadLetterTarget, IndividualDeadLetters};
use super::subscription::durable::DurableKey;
use crate::openwire::map::{PrimitiveMap, Value};
use crate::openwire::{Destination, DestinationKind, Message, Throwable};

/// Why the message is dead, as consumers of the dead letter queue read it.
const CAUSE_PROPERTY: &str = "dlqDeliveryFailureCause";

/// Makes the dead letter of `message` that was on `from`, ready to be sent.
///
/// `None` where the strategy drops it, or where it would go to the queue it comes from.
pub fn dead_letter(
    strategy: &DeadLetterStrategy,
    message: &Message,
    from: &Destination,
    durable: Option<&DurableKey>,
    cause: &Throwable,
    now_ms: i64,
) -> Option<Message> {
    let wanted = (message.persistent || strategy.process_non_persistent)
        && (!message.is_expired(now_ms) || strategy.process_expired);
    if !wanted {
        return None;
    }
    let target = target(&strategy.target, from, durable)?;
    if target == *from {
        return None;
    }
    let mut letter = message.clone();
    let mut notes = vec![(CAUSE_PROPERTY, Value::String(cause.to_string().into()))];
    letter.expiration = match strategy.expiration {
        Some(keep) => now_ms.saturating_add(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)),
        None => {
            notes.push(("originalExpiration", Value::Long(message.expiration)));
            0
        }
    };
    if !message.persistent {
        letter.persistent = true;
        notes.push(("originalDeliveryMode", Value::String("NON_PERSISTENT".into())));
    }
    if let Some(noted) = with_notes(message, notes) {
        letter.marshalled_properties = Some(noted);
    }
    letter.original_destination = message.destination.clone();
    letter.original_transaction_id = message.transaction_id.clone();
    letter.destination = Some(Arc::new(target));
    letter.transaction_id = None;
    letter.redelivery_counter = 0;
    Some(letter)
}

/// The message's properties with `notes`. `None` when they cannot be read: a dead letter without our
/// notes is better than one without its own properties.
fn with_notes(message: &Message, notes: Vec<(&str, Value)>) -> Option<Bytes> {
    let mut properties = match message.marshalled_properties.as_deref() {
        None | Some([]) => PrimitiveMap::new(),
        Some(bytes) => PrimitiveMap::decode(bytes).ok()?.unwrap_or_default(),
    };
    for (name, value) in notes {
        // An expiration noted at an earlier death is the original one.
        if name != "originalExpiration" || properties.get(name).is_none() {
            properties.insert(name, value);
        }
    }
    properties.encode().ok()
}

fn target(
    target: &DeadLetterTarget,
    from: &Destination,
    durable: Option<&DurableKey>,
) -> Option<Destination> {
    match target {
        DeadLetterTarget::Shared(destination) => Some(destination.clone()),
        DeadLetterTarget::Individual(names) => Some(individual(names, from, durable)),
        DeadLetterTarget::Discard => None,
    }
}

fn individual(
    names: &IndividualDeadLetters,
    from: &Destination,
    durable: Option<&DurableKey>,
) -> Destination {
    let (prefix, suffix, to_queue) = if from.is_queue() {
        (&names.queue_prefix, &names.queue_suffix, names.use_queue_for_queue_messages)
    } else {
        (&names.topic_prefix, &names.topic_suffix, names.use_queue_for_topic_messages)
    };
    let mut name = format!("{prefix}{}", from.name());
    if let Some(durable) = durable.filter(|_| names.destination_per_durable_subscriber) {
        name = format!("{name}.{durable}");
    }
    name.push_str(suffix);
    let kind = if to_queue { DestinationKind::Queue } else { DestinationKind::Topic };
    Destination::new(kind, &name)
}
