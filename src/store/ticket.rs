//! The promise that something is durable.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Resolves when what was appended would survive a power cut, and this broker was still the store's
/// owner after it was written.
#[derive(Debug, Clone)]
#[must_use]
pub struct Ticket(Option<Arc<Batch>>);

/// What becomes durable by one sync.
#[derive(Default)]
pub(super) struct Batch {
    durable: AtomicBool,
    /// What is to be done then, before anybody hears of it.
    then: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    wake: Notify,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("durable", &self.durable).finish_non_exhaustive()
    }
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

    /// Runs `act` once it is durable: now, or in the journal's thread, before its owners are told where
    /// their messages lie and before anybody who waits is woken. Never, if the store fails first.
    pub fn then(&self, act: impl FnOnce() + Send + 'static) {
        if let Some(batch) = &self.0 {
            let mut then = batch.then.lock();
            if !batch.durable.load(Ordering::Acquire) {
                then.push(Box::new(act));
                return;
            }
        }
        act();
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
        let acts = {
            let mut then = self.then.lock();
            self.durable.store(true, Ordering::Release);
            std::mem::take(&mut *then)
        };
        acts.into_iter().for_each(|act| act());
        self.wake.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_follow_happens_once_the_batch_is_durable() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let done = Arc::clone(&done);
            move || done.lock().push(what)
        };
        let batch = Arc::new(Batch::default());
        let ticket = Ticket::of(&batch);
        ticket.then(note("later"));
        Ticket::done().then(note("at once"));
        batch.complete();
        ticket.then(note("afterwards"));
        assert_eq!(*done.lock(), ["at once", "later", "afterwards"]);
    }

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
