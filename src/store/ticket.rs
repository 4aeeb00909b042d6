//! The promise that something is durable.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::shared::Shared;

/// Resolves when what was appended would survive a power cut, and this broker was still the store's
/// owner after it was written.
///
/// The writer's thread is asked for it by the first who waits, or who gives such a ticket up without
/// waiting: whoever would wait may write it itself before ([`super::Journal::may_write`]).
#[derive(Debug, Clone)]
#[must_use]
pub struct Ticket(Option<Promise>);

#[derive(Debug, Clone)]
struct Promise {
    batch: Arc<Batch>,
    /// Who is to be asked, where somebody waits.
    writer: Option<Weak<Shared>>,
}

/// What becomes durable by one sync.
#[derive(Default)]
pub(super) struct Batch {
    durable: AtomicBool,
    /// The writer's thread knows that somebody waits.
    asked: AtomicBool,
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
        Self::of(&Arc::default())
    }

    /// For what is written sooner or later.
    pub(super) fn of(batch: &Arc<Batch>) -> Self {
        Self(Some(Promise { batch: Arc::clone(batch), writer: None }))
    }

    /// For what somebody waits for, who has not asked yet.
    pub(super) fn unasked(self, writer: &Arc<Shared>) -> Self {
        let batch = self.0.as_ref().map(|promise| Arc::clone(&promise.batch));
        Self(batch.map(|batch| Promise { batch, writer: Some(Arc::downgrade(writer)) }))
    }

    /// Whether waiting would return at once. It is no use to look again and again without waiting.
    pub fn is_durable(&self) -> bool {
        self.0.as_ref().is_none_or(|promise| promise.batch.durable.load(Ordering::Acquire))
    }

    fn ask(&self) {
        let Some(Promise { batch, writer: Some(writer) }) = &self.0 else { return };
        if batch.durable.load(Ordering::Acquire) || batch.asked.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(writer) = writer.upgrade() {
            writer.ask(batch);
        }
    }

    /// Runs `act` once it is durable: now, or in the journal's thread, before its owners are told where
    /// their messages lie and before anybody who waits is woken. Never, if the store fails first.
    pub fn then(&self, act: impl FnOnce() + Send + 'static) {
        if let Some(Promise { batch, .. }) = &self.0 {
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
        self.ask();
        let Some(Promise { batch, .. }) = &self.0 else { return };
        let woken = batch.wake.notified();
        tokio::pin!(woken);
        // Registered before the look, so that an end in between is not missed.
        woken.as_mut().enable();
        if !batch.durable.load(Ordering::Acquire) {
            woken.await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ask();
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
        let waiting = tokio::spawn(Ticket::of(&batch).durable());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        batch.complete();
        waiting.await.unwrap();
        assert!(ticket.is_durable());
        ticket.durable().await;
        Ticket::done().durable().await;
    }
}
