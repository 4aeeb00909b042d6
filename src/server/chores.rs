//! What the broker does from time to time, and at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

/// The least time between two looks, whatever a configuration says.
const EVERY_MIN: Duration = Duration::from_millis(50);

/// Begins all that the configuration asks for.
pub(super) fn begin(broker: &Arc<Broker>, closing: &CancellationToken, tasks: &mut JoinSet<()>) {
    tasks.spawn(timer(Arc::clone(broker), closing.clone()));
    let options = broker.options();
    let mut every = |period: Option<Duration>, chore: fn(&Broker)| {
        if let Some(period) = period {
            tasks.spawn(repeat(Arc::clone(broker), closing.clone(), period, chore));
        }
    };
    every(options.schedule_period_for_destination_purge, Broker::remove_idle_destinations);
    let offline = options.offline_durable_subscriber_timeout;
    let look = offline.map(|_| options.offline_durable_subscriber_task_schedule);
    every(look, Broker::forget_offline_subscribers);
    every(broker.slow_consumer_period(), Broker::end_slow_consumers);
}

async fn repeat(
    broker: Arc<Broker>,
    closing: CancellationToken,
    period: Duration,
    chore: fn(&Broker),
) {
    let mut ticks = tokio::time::interval(period.max(EVERY_MIN));
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = ticks.tick() => chore(&broker),
        }
    }
}

/// Does what is due at its time.
async fn timer(broker: Arc<Broker>, closing: CancellationToken) {
    loop {
        let next = broker.timer.next_ms();
        let wait = next.map(|at| u64::try_from(at - broker.now_ms()).unwrap_or(0));
        let due = async {
            match wait {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = broker.timer.changed().notified() => {}
            () = due => broker.do_due(),
        }
    }
}
