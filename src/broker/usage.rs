//! How much memory messages take, and who waits until they take less.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::options::BrokerOptions;
use super::options::usage::SystemUsage;

/// Bytes in use against a limit.
#[derive(Debug)]
pub struct Usage {
    limit: usize,
    used: AtomicUsize,
    /// Held producers, so that freeing costs nothing while there is none.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Usage {
    pub fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.used() >= self.limit
    }

    pub fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives bytes back; held producers try again.
    pub fn free(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes, "freed {bytes} of {before} bytes");
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_waiters();
        }
    }

    /// Returns when `enough` holds; it is asked now, whenever something was freed, and whenever `also`
    /// wakes: the store, whose room is a limit, too.
    pub async fn freed_until(&self, also: Option<&Notify>, enough: impl Fn() -> bool) {
        let _counted = Waiting::count(&self.waiting);
        let never = Notify::new();
        loop {
            let freed = self.freed.notified();
            let changed = also.unwrap_or(&never).notified();
            tokio::pin!(freed, changed);
            // Registered before the look, so that nothing freed in between is missed.
            freed.as_mut().enable();
            changed.as_mut().enable();
            if enough() {
                return;
            }
            tokio::select! {
                () = freed => {}
                () = changed => {}
            }
        }
    }
}

/// Memory of a message that waits at a topic, given back when nobody waits for it any more.
#[derive(Debug)]
pub struct Charge {
    bytes: usize,
    memory: Arc<Usage>,
    counted: usize,
    destination: Arc<AtomicUsize>,
}

impl Charge {
    /// Takes so many bytes of `memory`, which are `counted` bytes to `destination`.
    pub fn take(
        bytes: usize,
        memory: &Arc<Usage>,
        counted: usize,
        destination: &Arc<AtomicUsize>,
    ) -> Arc<Self> {
        destination.fetch_add(counted, Ordering::Relaxed);
        memory.take(bytes);
        let (memory, destination) = (Arc::clone(memory), Arc::clone(destination));
        Arc::new(Self { bytes, memory, counted, destination })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Before who waits for memory is woken, and looks.
        self.destination.fetch_sub(self.counted, Ordering::Relaxed);
        self.memory.free(self.bytes);
    }
}

/// When the log last said that producers of a destination are held, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Warned(AtomicI64);

impl Warned {
    /// Whether it is to be said again, which then has been done.
    pub fn is_due(&self, now_ms: i64, every: Duration) -> bool {
        let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
        let due = |last: i64| (now_ms.saturating_sub(last) >= every_ms).then_some(now_ms);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}

impl BrokerOptions {
    /// The usage that producers are held by.
    pub fn usage_for_producers(&self) -> &SystemUsage {
        self.producer_system_usage.as_ref().unwrap_or(&self.system_usage)
    }

    /// The part of `limit` bytes of memory at which producers are held.
    pub fn memory_for_producers(&self, limit: u64) -> u64 {
        let shares = self.split_system_usage_for_producers_consumers;
        if shares && self.producer_system_usage.is_none() {
            limit / 100 * u64::from(self.producer_system_usage_portion)
        } else {
            limit
        }
    }
}

/// Counts a held producer, also when its connection ends while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_have_a_share_of_the_memory_or_a_usage_of_their_own() {
        let mut options = BrokerOptions::default();
        assert_eq!(options.memory_for_producers(1000), 1000);
        options.split_system_usage_for_producers_consumers = true;
        assert_eq!(options.memory_for_producers(1000), 600);
        options.producer_system_usage =
            Some(SystemUsage { send_fail_if_no_space: true, ..SystemUsage::default() });
        assert_eq!(options.memory_for_producers(1000), 1000);
        assert!(options.usage_for_producers().send_fail_if_no_space);
    }

    #[test]
    fn a_destination_is_named_once_in_an_interval() {
        let (warned, every) = (Warned::default(), Duration::from_millis(100));
        let due = [1000, 1001, 1099, 1100, 1101].map(|now_ms| warned.is_due(now_ms, every));
        assert_eq!(due, [true, false, false, true, false]);
    }

    #[test]
    fn what_waits_for_several_counts_once_until_the_last_has_it() {
        let (topic, memory) = (Arc::default(), Arc::new(Usage::new(10)));
        let one = Charge::take(7, &memory, 9, &topic);
        let other = Arc::clone(&one);
        drop(one);
        assert_eq!((topic.load(Ordering::Relaxed), memory.used()), (9, 7));
        drop(other);
        assert_eq!((topic.load(Ordering::Relaxed), memory.used()), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_at_the_limit_goes_on_when_enough_is_freed() {
        let usage = Arc::new(Usage::new(10));
        usage.take(11);
        let held = Arc::clone(&usage);
        let waiting = tokio::spawn(async move { held.freed_until(None, || !held.is_full()).await });
        tokio::task::yield_now().await;
        usage.free(1);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "10 of 10 bytes are still full");
        usage.free(1);
        waiting.await.unwrap();
    }
}
