//! The task that has scheduled messages sent when they are due.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::broker::Broker;
use crate::broker::scheduler::Turn;

/// The longest wait for a due time, so that a clock that was set is noticed.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Runs until `closing`.
pub(super) async fn run(broker: Arc<Broker>, closing: CancellationToken) {
    loop {
        let turn = broker.turn_scheduler();
        tokio::select! {
            () = closing.cancelled() => return,
            () = rest(&broker, turn) => {}
        }
    }
}

/// Returns when it is time for the next turn.
async fn rest(broker: &Broker, turn: Turn) {
    let changed = broker.scheduler().changed();
    match turn {
        Turn::Again => tokio::task::yield_now().await,
        Turn::Idle => changed.notified().await,
        Turn::Until(due_ms) => {
            let wait = due_ms.saturating_sub(broker.now_ms());
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(WAIT_MAX);
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Turn::Full(wait) => {
            // Nobody says after which time to give up.
            if let Err(refusal) = wait.wait().await {
                error!("scheduled messages are held: {refusal}");
            }
        }
    }
}
