//! What bridges have to do with messages that wait.

use std::sync::Arc;

use super::status::{Board, State, Status};
use crate::broker::why::Explains;
use crate::openwire::{BrokerId, Destination};

impl Explains for Board {
    fn explain(&self, queue: &Destination, demand: &[Arc<BrokerId>]) -> Vec<String> {
        self.all().iter().map(|status| line(status, queue, demand)).collect()
    }
}

fn line(status: &Status, queue: &Destination, demand: &[Arc<BrokerId>]) -> String {
    let who = format!("bridge {} to {}", status.name, status.peers);
    let why = status.last_error().map(|why| format!(": {why}")).unwrap_or_default();
    match status.state() {
        State::Searching => format!("{who} is not connected, and looked for{why}"),
        State::Waiting { ms } => format!("{who} is not connected; again in {ms} ms{why}"),
        State::GaveUp => format!("{who} has given up{why}"),
        State::Connected { .. } if !status.options.permits(queue) => {
            format!("{who} is connected, but its configuration excludes this queue")
        }
        State::Connected { remote_id, remote_name, .. } => {
            match status.refusal(&queue.to_string()) {
                Some(why) => format!("{who} rests: {remote_name} refused a message: {why}"),
                None if demand.contains(&remote_id) => {
                    format!("{who} carries it: {remote_name} has consumers")
                }
                None => format!("{who} is connected, but {remote_name} has no consumer of it"),
            }
        }
    }
}
