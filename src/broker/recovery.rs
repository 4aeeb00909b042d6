//! What a topic keeps for consumers that come later (`subscriptionRecoveryPolicy`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::options::policy::SubscriptionRecovery;
use crate::openwire::Message;
use crate::openwire::map::{PrimitiveMap, Value, get};

/// On a message that is to be retained.
const RETAIN: &str = "ActiveMQ.Retain";
/// On a retained message that is recovered.
const RETAINED: &str = "ActiveMQ.Retained";

/// The messages of one topic that are kept, the oldest first.
#[derive(Debug)]
pub struct Kept {
    rule: Rule,
    /// With the time when each came, in milliseconds since 1970.
    messages: VecDeque<(i64, Arc<Message>)>,
    bytes: usize,
    retained: Option<Arc<Message>>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
struct Rule {
    retains: bool,
    messages: usize,
    bytes: usize,
    age_ms: i64,
}

impl Rule {
    fn of(policy: &SubscriptionRecovery) -> Self {
        let all =
            Self { retains: false, messages: usize::MAX, bytes: usize::MAX, age_ms: i64::MAX };
        match policy {
            SubscriptionRecovery::FixedCount { maximum_messages } => {
                Self { messages: *maximum_messages as usize, ..all }
            }
            SubscriptionRecovery::FixedSized { maximum_bytes, .. } => {
                Self { bytes: usize::try_from(*maximum_bytes).unwrap_or(usize::MAX), ..all }
            }
            SubscriptionRecovery::LastImage => Self { messages: 1, ..all },
            SubscriptionRecovery::Timed { recover_duration } => {
                let age_ms = i64::try_from(recover_duration.as_millis()).unwrap_or(i64::MAX);
                Self { age_ms, ..all }
            }
            // Its query is a Java object.
            SubscriptionRecovery::QueryBased => Self { messages: 0, ..all },
            SubscriptionRecovery::Retained { wrapped } => {
                let wrapped = wrapped.as_deref().map(Self::of);
                Self { retains: true, ..wrapped.unwrap_or(Self { messages: 0, ..all }) }
            }
        }
    }
}

impl Kept {
    pub fn new(policy: &SubscriptionRecovery) -> Self {
        let rule = Rule::of(policy);
        Self { rule, messages: VecDeque::new(), bytes: 0, retained: None }
    }

    /// Keeps a message that was published. Where memory is `short` only the newest stays.
    pub fn add(&mut self, message: &Arc<Message>, now_ms: i64, short: bool) {
        if self.rule.retains && wants_to_be_retained(message) {
            let empty = message.content.as_ref().is_none_or(|content| content.is_empty());
            self.retained = (!empty).then(|| Arc::new(retained(message)));
        }
        self.messages.push_back((now_ms, Arc::clone(message)));
        self.bytes += message.memory_bytes();
        let most = if short { self.rule.messages.min(1) } else { self.rule.messages };
        // A single message may be larger than all that is to be kept.
        while self.messages.len() > most || self.bytes > self.rule.bytes && self.messages.len() > 1
        {
            self.drop_oldest();
        }
        self.drop_older(now_ms);
    }

    /// Drops what is too old.
    pub fn drop_older(&mut self, now_ms: i64) {
        let old = |at: i64| now_ms.saturating_sub(at) > self.rule.age_ms;
        let count = self.messages.iter().take_while(|(at, _)| old(*at)).count();
        (0..count).for_each(|_| self.drop_oldest());
    }

    fn drop_oldest(&mut self) {
        if let Some((_, message)) = self.messages.pop_front() {
            self.bytes -= message.memory_bytes();
        }
    }

    /// Memory of what is kept.
    pub fn bytes(&self) -> usize {
        self.bytes + self.retained.as_ref().map_or(0, |message| message.memory_bytes())
    }

    /// What a new consumer gets, apart from what expired meanwhile.
    pub fn recovered(&self, now_ms: i64) -> Vec<Arc<Message>> {
        let young = |(at, _): &&(i64, _)| now_ms.saturating_sub(*at) <= self.rule.age_ms;
        let newer = self.messages.iter().filter(young).map(|(_, message)| message);
        let all = self.retained.iter().chain(newer);
        all.filter(|message| !message.is_expired(now_ms)).cloned().collect()
    }
}

fn wants_to_be_retained(message: &Message) -> bool {
    let properties = message.marshalled_properties.as_deref().unwrap_or_default();
    if properties.is_empty() {
        return false;
    }
    match get(properties, RETAIN) {
        Ok(Some(Value::Boolean(wants))) => wants,
        Ok(Some(Value::String(text))) => text.to_str().eq_ignore_ascii_case("true"),
        Ok(_) | Err(_) => false,
    }
}

/// The message as it is recovered. Properties that cannot be read stay as they are.
fn retained(message: &Message) -> Message {
    let mut copy = message.clone();
    let properties = message.marshalled_properties.as_deref().unwrap_or_default();
    if let Ok(Some(mut properties)) = PrimitiveMap::decode(properties) {
        properties.remove(RETAIN);
        properties.insert(RETAINED, Value::Boolean(true));
        copy.marshalled_properties = properties.encode().ok();
    }
    copy
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn message(size: usize) -> Arc<Message> {
        Arc::new(Message { content: Some(vec![0; size].into()), ..Message::default() })
    }

    #[test]
    fn what_is_too_much_or_too_old_goes() {
        let recover_duration = Duration::from_millis(100);
        let mut timed = Kept::new(&SubscriptionRecovery::Timed { recover_duration });
        (0..5).for_each(|at| timed.add(&message(0), at * 50, false));
        assert_eq!((timed.recovered(200).len(), timed.bytes()), (3, 3 * 1024));
        assert_eq!(timed.recovered(290).len(), 1);
        timed.drop_older(1000);
        assert_eq!(timed.bytes(), 0);
        let sized = SubscriptionRecovery::FixedSized { maximum_bytes: 3000, shared_buffer: true };
        let mut sized = Kept::new(&sized);
        (0..5).for_each(|at| sized.add(&message(0), at, false));
        assert_eq!(sized.recovered(9).len(), 2);
        sized.add(&message(9000), 9, false);
        assert_eq!(sized.recovered(9).len(), 1, "the newest is kept, whatever its size");
    }

    #[test]
    fn where_memory_is_short_only_the_newest_stays() {
        let mut kept = Kept::new(&SubscriptionRecovery::FixedCount { maximum_messages: 3 });
        (0..5).for_each(|at| kept.add(&message(0), at, false));
        assert_eq!(kept.recovered(9).len(), 3);
        kept.add(&message(0), 9, true);
        assert_eq!((kept.recovered(9).len(), kept.bytes()), (1, 1024));
    }
}
