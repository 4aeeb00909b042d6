//! Where a message goes that nobody could or should consume.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Broker;
use super::options::Plugin;
use super::options::plugin::DiscardingDlq;
use super::options::policy::{DeadLetterStrategy, DeadLetterTarget, IndividualDeadLetters};
use super::region::Cell;
use super::subscription::durable::DurableKey;
use crate::base::fail_point::fail_point;
use crate::openwire::map::{PrimitiveMap, Value};
use crate::openwire::{Destination, DestinationKind, Message, Throwable};

/// Why the message is dead, as consumers of the dead letter queue read it.
const CAUSE_PROPERTY: &str = "dlqDeliveryFailureCause";

/// `<discardingDLQBrokerPlugin>` at work.
#[derive(Debug)]
pub struct Discarding {
    options: DiscardingDlq,
    dropped: AtomicU64,
}

impl Discarding {
    /// Those among the plugins of a configuration.
    pub fn all(plugins: &[Plugin]) -> Vec<Self> {
        let mut all = Vec::new();
        for plugin in plugins {
            if let Plugin::DiscardingDlq(options) = plugin {
                all.push(Self { options: options.clone(), dropped: AtomicU64::new(0) });
            }
        }
        all
    }

    /// Whether what dies at `from` is dropped. Says now and then how much that was.
    fn takes(&self, from: &Destination) -> bool {
        let DiscardingDlq { drop_temporary_queues, drop_temporary_topics, .. } = self.options;
        let temporary = if from.is_queue() { drop_temporary_queues } else { drop_temporary_topics };
        let takes = self.options.drop_all
            || (temporary && from.is_temporary())
            || self.options.drop_only.iter().any(|name| name.fits(&from.name()));
        if takes {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            let every = u64::from(self.options.report_interval);
            if every > 0 && dropped.is_multiple_of(every) {
                tracing::info!(
                    "Total of {dropped} messages were discarded, since their destination was the dead \
                     letter queue"
                );
            }
        }
        takes
    }
}

impl Broker {
    /// Tells of an expired message and dead-letters it where the policy says so.
    pub(super) fn expired_on(&self, destination: &Destination, message: &Arc<Message>) {
        self.message_left("Expired", destination, message);
        let text = format!("Message Expired. Expiration:{}", message.expiration);
        self.bury(destination, message, None, &Throwable::new("java.lang.Throwable", &text));
    }

    /// Sends a message to the dead letter queue of the destination it was on.
    pub(super) fn bury(
        &self,
        from: &Destination,
        message: &Arc<Message>,
        durable: Option<&DurableKey>,
        cause: &Throwable,
    ) {
        if from.is_advisory() || self.discarding.iter().any(|it| it.takes(from)) {
            return;
        }
        let policies = self.region.policies();
        let (policy, now_ms) = (policies.entry_for(from), self.now_ms());
        if policies.dies(from, message) {
            return;
        }
        let letter = dead_letter(&policy.dead_letter, message, from, durable, cause, now_ms);
        let Some(mut letter) = letter else { return };
        fail_point!("dlq.before_move");
        self.plugins.stamp_letter(&mut letter);
        let grave = letter.destination.clone();
        match self.route(letter, false) {
            Ok(_) => {
                if let Some(Cell::Queue(letters)) = grave.and_then(|it| self.region.get(&it)) {
                    letters.holds_dead_letters();
                }
                self.message_left("MessageDLQd", from, message);
            }
            Err(refusal) => {
                let id = message.message_id.as_ref().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(
                    "message {id} from {from} is lost: its dead letter was refused: {refusal}"
                );
            }
        }
    }
}

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
