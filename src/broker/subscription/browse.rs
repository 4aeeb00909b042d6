//! A queue browser: walks over what its queues hold, takes nothing, and ends with an empty delivery.
//!
//! It sees what was there when it came, in delivery order, with what other consumers hold. At a message
//! that is not in memory it waits for the page that brings it.

use std::sync::Arc;

use super::Subscription;
use super::window::InFlight;
use crate::broker::Broker;
use crate::broker::queue::{Browsed, QueueCell};
use crate::store::Key;

/// How far a browser has come.
#[derive(Debug)]
pub struct Browse {
    /// The queues still to walk, the current one last.
    queues: Vec<Stop>,
    ended: bool,
}

#[derive(Debug)]
struct Stop {
    queue: Arc<QueueCell>,
    /// The last message shown.
    after: Option<Key>,
    /// Messages from this number on came later.
    newest: u64,
}

impl Browse {
    pub fn new(queues: impl IntoIterator<Item = Arc<QueueCell>>) -> Self {
        let mut queues: Vec<_> = queues
            .into_iter()
            .map(|queue| Stop { newest: queue.newest(), queue, after: None })
            .collect();
        queues.reverse();
        Self { queues, ended: false }
    }
}

impl Subscription {
    /// Shows as many messages as there is room for, then the end.
    pub(super) fn browse(self: &Arc<Self>, browse: &mut Browse, broker: &Broker) {
        let now_ms = broker.now_ms();
        while let Some(stop) = browse.queues.last_mut() {
            let (browsed, page) = stop.queue.browse(self, stop.after, stop.newest);
            broker.fetch_for_browser(&stop.queue, page);
            let (key, message, redeliveries) = match browsed {
                Browsed::Message(key, message, redeliveries) => (key, message, redeliveries),
                Browsed::Cold => return,
                Browsed::End => {
                    browse.queues.pop();
                    continue;
                }
            };
            if !message.is_expired(now_ms) && self.filter.accepts(&message, redeliveries) {
                if !self.has_room() {
                    return;
                }
                let destination = Arc::clone(&stop.queue.destination);
                let held = InFlight { message, key, redeliveries, queue: None, acked: false };
                if !self.deliver(held, &destination, false, now_ms) {
                    return;
                }
            }
            stop.after = Some(key);
        }
        if !std::mem::replace(&mut browse.ended, true) {
            self.write_nothing(now_ms);
        }
    }
}
