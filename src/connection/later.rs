//! What has to wait for something else than the peer: responses for the disk, messages for memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

use crate::broker::client::Wait;
use crate::broker::{Probe, Refusal, Ticket};
use crate::openwire::{Command, ConnectionInfo, ProducerId};

/// So many may wait before the connection stops reading.
const WAITING_MAX: usize = 4096;

/// What there is to do now.
#[derive(Debug)]
pub enum Due {
    Respond(Command),
    /// There may be memory for what waits here, or it waited in vain.
    Room {
        waiting: Waiting,
        waited: Result<(), Refusal>,
    },
    /// The owner of the client id that this one wants was asked whether it is there.
    Probed(Arc<ConnectionInfo>),
}

/// Who waits for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The messages of one producer, while the reader goes on.
    Producer(Option<Arc<ProducerId>>),
    /// The message that stops the reader.
    Reader,
}

/// The waits of one connection. They end in any order.
#[derive(Default)]
pub struct Later {
    waits: FuturesUnordered<Pin<Box<dyn Future<Output = Due> + Send>>>,
    /// How many of the waits are for responses.
    responses: usize,
}

impl Later {
    /// The response leaves when the ticket is durable.
    pub fn respond(&mut self, ticket: Ticket, response: Command) {
        self.responses += 1;
        self.waits.push(Box::pin(async move {
            ticket.durable().await;
            Due::Respond(response)
        }));
    }

    pub fn room(&self, wait: Wait, waiting: Waiting) {
        self.waits.push(Box::pin(async move {
            let waited = wait.wait().await;
            Due::Room { waiting, waited }
        }));
    }

    /// The connection is tried again when the probe is over.
    pub fn probed(&self, probe: Probe, info: Arc<ConnectionInfo>) {
        self.waits.push(Box::pin(async move {
            probe.over().await;
            Due::Probed(info)
        }));
    }

    pub fn is_full(&self) -> bool {
        self.waits.len() >= WAITING_MAX
    }

    /// Whether the peer will be answered without doing anything more.
    pub fn has_responses(&self) -> bool {
        self.responses > 0
    }

    /// The next that is due; pending for ever when nothing waits.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Due> {
        match Pin::new(&mut self.waits).poll_next(context) {
            Poll::Ready(Some(due)) => {
                self.responses -= usize::from(matches!(due, Due::Respond(_)));
                Poll::Ready(due)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Later").field("waits", &self.waits.len()).finish()
    }
}
