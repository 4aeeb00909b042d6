//! Which of the messages that wait for a topic consumer goes when too many do
//! (`messageEvictionStrategy`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::options::policy::EvictionOrder;
use super::usage::Charge;
use crate::openwire::map::{Value, get};
use crate::openwire::{Destination, Message};

/// A message that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub message: Arc<Message>,
    /// The topic that it was published to.
    pub destination: Arc<Destination>,
    /// Its memory, shared with others for whom it waits.
    pub charge: Arc<Charge>,
}

/// Takes out what goes next: at least one message, if there is any.
pub fn evict(order: &EvictionOrder, pending: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    match order {
        EvictionOrder::Oldest => pending.pop_front().into_iter().collect(),
        EvictionOrder::OldestWithLowestPriority => {
            let lowest = pending.iter().enumerate().min_by_key(|(_, it)| it.message.priority);
            let at = lowest.map(|(at, _)| at);
            at.and_then(|at| pending.remove(at)).into_iter().collect()
        }
        EvictionOrder::UniqueProperty(name) => evict_replaced(name, pending),
    }
}

/// Takes out all but the newest message of each value of the property; the oldest where nothing would go
/// that way.
fn evict_replaced(name: &str, pending: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut newest: HashMap<String, usize> = HashMap::new();
    for (at, Waiting { message, .. }) in pending.iter().enumerate() {
        let Some(value) = value_of(message, name) else { continue };
        let place = newest.entry(value).or_insert(at);
        let before = pending.get(*place).map_or(0, |before| before.message.timestamp);
        if message.timestamp >= before {
            *place = at;
        }
    }
    if newest.is_empty() || newest.len() == pending.len() {
        return pending.pop_front().into_iter().collect();
    }
    let kept: std::collections::BTreeSet<usize> = newest.into_values().collect();
    let mut gone = Vec::new();
    for (at, waiting) in std::mem::take(pending).into_iter().enumerate() {
        if kept.contains(&at) {
            pending.push_back(waiting);
        } else {
            gone.push(waiting);
        }
    }
    gone
}

/// The value of a property as text, with its type: 1 is not "1".
fn value_of(message: &Message, name: &str) -> Option<String> {
    let properties = message.marshalled_properties.as_deref().filter(|it| !it.is_empty())?;
    match get(properties, name) {
        Ok(Some(Value::Null) | None) | Err(_) => None,
        Ok(Some(value)) => Some(format!("{value:?}")),
    }
}
