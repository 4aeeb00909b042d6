//! What the broker looks after from time to time: destinations that nobody uses, durable subscribers
//! that stay away, consumers that are slow.

use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use super::options::PolicyEntry;
use super::options::policy::SlowConsumerStrategy;
use super::outbox::Closing;
use super::region::Cell;
use super::subscription::{Role, Subscription};
use crate::openwire::{ConsumerControl, Destination, DestinationKind, Throwable};

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Broker {
    /// Removes destinations that were not used for `inactiveTimeoutBeforeGC`. To be called every
    /// `schedulePeriodForDestinationPurge`.
    pub fn remove_idle_destinations(&self) {
        let now_ms = self.now_ms();
        let kinds = [DestinationKind::Queue, DestinationKind::Topic];
        let cells = kinds.into_iter().flat_map(|kind| self.region.all(kind));
        let most = self.options.max_purged_destinations_per_sweep;
        let mut left = most.map_or(usize::MAX, |most| most as usize);
        for cell in cells {
            let destination = Arc::clone(cell.destination());
            let policy = self.region.policies().entry_for(&destination);
            if !policy.gc_inactive_destinations || destination.is_advisory() || left == 0 {
                continue;
            }
            let timeout_ms = ms(policy.inactive_timeout_before_gc);
            let idle = |cell: &Cell| match cell {
                Cell::Queue(queue) => queue.is_idle_for(now_ms, timeout_ms),
                Cell::Topic(topic) => topic.is_idle_for(now_ms, timeout_ms),
            };
            if let Some(cell) = self.region.remove_idle(&destination, idle) {
                tracing::info!(
                    "{destination} Inactive for longer than {timeout_ms} ms - removing ..."
                );
                self.drop_cell(cell, None);
                left -= 1;
            }
        }
    }

    /// Ends durable subscriptions whose consumers were away for `offlineDurableSubscriberTimeout`. To be
    /// called every `offlineDurableSubscriberTaskSchedule`.
    pub fn forget_offline_subscribers(&self) {
        let Some(timeout) = self.options.offline_durable_subscriber_timeout else { return };
        let now_ms = self.now_ms();
        let all: Vec<_> = self.durables.lock().values().cloned().collect();
        for durable in all {
            if !durable.is_away_for(now_ms, ms(timeout)) {
                continue;
            }
            tracing::info!("Destroying durable subscriber due to inactivity: {durable}");
            let key = &durable.key;
            // Refused where its consumer is back, or it was removed meanwhile.
            if let Err(refusal) = self.remove_durable(&key.client_id, &key.name) {
                tracing::debug!("durable subscriber {durable} stays: {refusal}");
            } else if let Some(topic) = &durable.info.destination {
                let gone = crate::openwire::RemoveSubscriptionInfo {
                    client_id: Some(key.client_id.as_str().into()),
                    subscription_name: Some(key.name.as_str().into()),
                    ..Default::default()
                };
                self.consumers_changed(topic, gone);
            }
        }
    }

    /// The shortest `checkPeriod` of all strategies for slow consumers; `None` when there is none.
    pub fn slow_consumer_period(&self) -> Option<Duration> {
        let all = self.region.policies().all();
        all.filter_map(|entry| entry.slow_consumer.as_ref()).map(|it| it.check_period).min()
    }

    /// Ends consumers that are slow by the strategy of their destination. To be called every
    /// [`Self::slow_consumer_period`].
    pub fn end_slow_consumers(&self) {
        for client in self.all_clients() {
            for consumer in client.consumers() {
                let Some(destination) = consumer.info.destination.clone() else { continue };
                let policy = self.region.policies().entry_for(&destination);
                let Some(strategy) = &policy.slow_consumer else { continue };
                if consumer.info.network_subscription && strategy.ignore_network_consumers {
                    continue;
                }
                if self.is_too_slow(&consumer, &destination, &policy, strategy) {
                    self.end_slow(&consumer, strategy);
                }
            }
        }
    }

    fn is_too_slow(
        &self,
        consumer: &Arc<Subscription>,
        destination: &Destination,
        policy: &PolicyEntry,
        strategy: &SlowConsumerStrategy,
    ) -> bool {
        let now_ms = self.now_ms();
        if let Some(limit) = strategy.max_time_since_last_ack {
            let idle = strategy.ignore_idle_consumers && consumer.held() == 0;
            if idle {
                consumer.pace.acked(now_ms);
            }
            if consumer.pace.idle_ms(now_ms) > ms(limit) {
                self.consumer_is_slow(destination, policy, consumer);
            } else {
                consumer.pace.fast();
            }
        }
        let Some((slow_ms, times)) = consumer.pace.slowness(now_ms) else { return false };
        strategy.max_slow_duration.is_some_and(|most| slow_ms >= ms(most))
            || strategy.max_slow_count.is_some_and(|most| most > 0 && times >= most)
    }

    fn end_slow(&self, consumer: &Arc<Subscription>, strategy: &SlowConsumerStrategy) {
        let kind = match &consumer.role {
            Role::Queue(_) | Role::Browser(_) => "queue",
            Role::Topic(_) | Role::Durable(_) => "topic",
        };
        consumer.pace.fast();
        if strategy.abort_connection {
            tracing::info!("aborting connection of slow {kind} consumer: {}", consumer.id);
            let text = format!("Consumer was slow too often (>= {:?})", strategy.max_slow_count);
            let why = Throwable::new("org.apache.activemq.transport.InactivityIOException", &text);
            consumer.outbox().close(Closing::Failed(why));
        } else {
            tracing::info!("aborting slow {kind} consumer: {}", consumer.id);
            consumer.outbox().command(ConsumerControl {
                consumer_id: Some((*consumer.id).clone()),
                close: true,
                ..ConsumerControl::default()
            });
        }
    }
}
