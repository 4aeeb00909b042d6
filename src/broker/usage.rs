//! How much memory messages take, and who waits until they take less.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

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
    use std::sync::Arc;

    use super::*;

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
