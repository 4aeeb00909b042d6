//! How fast a consumer is, as the strategies for slow ones see it.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// What is remembered of one consumer.
#[derive(Debug)]
pub struct Pace {
    /// When it last acknowledged, or came; milliseconds since 1970.
    acked_ms: AtomicI64,
    /// Since when it is slow; 0 while it is not.
    slow_ms: AtomicI64,
    /// How often it was found slow.
    times: AtomicU32,
}

impl Pace {
    pub fn new(now_ms: i64) -> Self {
        Self {
            acked_ms: AtomicI64::new(now_ms),
            slow_ms: AtomicI64::new(0),
            times: AtomicU32::new(0),
        }
    }

    pub fn acked(&self, now_ms: i64) {
        self.acked_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Milliseconds since it last acknowledged.
    pub fn idle_ms(&self, now_ms: i64) -> i64 {
        now_ms - self.acked_ms.load(Ordering::Relaxed)
    }

    /// It is slow, from now on or still. Returns whether it was not before.
    pub fn slow(&self, now_ms: i64) -> bool {
        self.times.fetch_add(1, Ordering::Relaxed);
        let before = self.slow_ms.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        before.is_ok()
    }

    /// It is not slow any more.
    pub fn fast(&self) {
        self.slow_ms.store(0, Ordering::Relaxed);
        self.times.store(0, Ordering::Relaxed);
    }

    /// For how many milliseconds it has been slow, and how often it was found so; `None` while it is not.
    pub fn slowness(&self, now_ms: i64) -> Option<(i64, u32)> {
        let since = self.slow_ms.load(Ordering::Relaxed);
        (since != 0).then(|| (now_ms - since, self.times.load(Ordering::Relaxed)))
    }
}
