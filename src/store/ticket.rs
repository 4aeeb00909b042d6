//! The promise that something is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Resolves when what was appended would survive a power cut, and this broker was still the store's
/// owner after it was written.
#[derive(Debug, Clone)]
#[must_use]
pub struct Ticket(Option<Arc<Batch>>);

/// What becomes durable by one sync.
#[derive(Debug, Default)]
pub(super) struct Batch {
    durable: AtomicBool,
    wake: Notify,
}

impl Ticket {
    /// For what is kept in memory only, and so is as durable as it will ever be.
    pub fn done() -> Self {
        Self(None)
    }

    /// For what will never be written.
    pub(super) fn never() -> Self {
        Self(Some(Arc::default()))
    }

    pub(super) fn of(batch: &Arc<Batch>) -> Self {
        Self(Some(Arc::clone(batch)))
    }

    /// Whether waiting would return at once.
    pub fn is_durable(&self) -> bool {
        self.0.as_ref().is_none_or(|batch| batch.durable.load(Ordering::Acquire))
    }

    /// Returns once it is durable; never, if the store has failed.
    pub async fn durable(self) {
        let Some(batch) = self.0 else { return };
        let woken = batch.wake.notified();
        tokio::pin!(woken);
        // Registered before the look, so that an end in between is not missed.
        woken.as_mut().enable();
        if !batch.durable.load(Ordering::Acquire) {
            woken.await;
        }
    }
}

impl Batch {
    /// Everything in the batch is durable.
    pub(super) fn complete(&self) {
        self.durable.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_waits_for_its_batch() {
        let batch = Arc::new(Batch::default());
        let ticket = Ticket::of(&batch);
        assert!(!ticket.is_durable());
        let waiting = tokio::spawn(ticket.clone().durable());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        batch.complete();
        waiting.await.unwrap();
        assert!(ticket.is_durable());
        ticket.durable().await;
        Ticket::done().durable().await;
    }
}
