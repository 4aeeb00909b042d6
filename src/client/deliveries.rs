//! What the broker dispatched to one consumer and the program has not yet taken.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Error;
use crate::openwire::{ConsumerInfo, MessageDispatch};

/// What a consumer may hold beyond its prefetch: an answer to a pull, the end of a browse, and what
/// was under way when the broker changed the prefetch.
const SLACK: usize = 64;

/// The queue between the connection's task and one consumer.
///
/// **Invariant:** holds at most twice the prefetch; a broker that sends more loses the connection.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) info: Arc<ConsumerInfo>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Arc<MessageDispatch>>,
    /// Counts the connections; what an earlier one brought cannot be acknowledged any more.
    generation: u64,
    prefetch: i32,
    ended: Option<Error>,
}

/// What waiting for a message came to.
#[derive(Debug)]
pub(super) enum Next {
    Dispatch {
        dispatch: Arc<MessageDispatch>,
        generation: u64,
    },
    /// The connection was replaced; a pull has to be sent again.
    Reconnected,
}

impl Deliveries {
    pub(super) fn new(info: Arc<ConsumerInfo>, generation: u64) -> Self {
        let prefetch = info.prefetch_size;
        let state = State { waiting: VecDeque::new(), generation, prefetch, ended: None };
        Self { info, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Takes a dispatch from the broker. `Err` says how many are held and how many may be.
    pub(super) fn push(&self, dispatch: Arc<MessageDispatch>) -> Result<(), (usize, usize)> {
        let mut state = self.state.lock();
        let limit = usize::try_from(state.prefetch).unwrap_or_default();
        let held = state.waiting.len();
        if held >= limit.saturating_mul(2).saturating_add(SLACK) {
            return Err((held + 1, limit));
        }
        state.waiting.push_back(dispatch);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Gives back what a rollback returned, the oldest first.
    pub(super) fn put_back(&self, returned: Vec<Arc<MessageDispatch>>) {
        let mut state = self.state.lock();
        for dispatch in returned.into_iter().rev() {
            state.waiting.push_front(dispatch);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next dispatch, or for the connection to be another than that of `generation`.
    pub(super) async fn next(&self, generation: u64) -> Result<Next, Error> {
        loop {
            if let Some(next) = self.try_next(generation)? {
                return Ok(next);
            }
            self.changed.notified().await;
        }
    }

    pub(super) fn try_next(&self, generation: u64) -> Result<Option<Next>, Error> {
        let mut state = self.state.lock();
        if let Some(dispatch) = state.waiting.pop_front() {
            return Ok(Some(Next::Dispatch { dispatch, generation: state.generation }));
        }
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        Ok((state.generation != generation).then_some(Next::Reconnected))
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    /// The connection was lost: what it brought will come again.
    pub(super) fn reconnect(&self, generation: u64) {
        let mut state = self.state.lock();
        state.waiting.clear();
        state.generation = generation;
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn set_prefetch(&self, prefetch: i32) {
        self.state.lock().prefetch = prefetch;
    }

    pub(super) fn prefetch(&self) -> i32 {
        self.state.lock().prefetch
    }

    /// No more will come; what waits can still be taken.
    pub(super) fn end(&self, why: Error) {
        self.state.lock().ended.get_or_insert(why);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(prefetch_size: i32) -> Deliveries {
        Deliveries::new(Arc::new(ConsumerInfo { prefetch_size, ..ConsumerInfo::default() }), 0)
    }

    fn dispatch(number: i32) -> Arc<MessageDispatch> {
        Arc::new(MessageDispatch { command_id: number, ..MessageDispatch::default() })
    }

    fn taken(from: &Deliveries) -> Vec<i32> {
        let mut numbers = Vec::new();
        while let Ok(Some(Next::Dispatch { dispatch, .. })) = from.try_next(0) {
            numbers.push(dispatch.command_id);
        }
        numbers
    }

    #[test]
    fn what_a_rollback_returned_comes_first_and_in_order() {
        let deliveries = consumer(10);
        deliveries.push(dispatch(3)).unwrap();
        deliveries.put_back(vec![dispatch(1), dispatch(2)]);
        assert_eq!(taken(&deliveries), [1, 2, 3]);
    }

    #[test]
    fn a_broker_that_minds_no_prefetch_is_found_out() {
        let deliveries = consumer(10);
        let refused = (0..1000).find_map(|n| deliveries.push(dispatch(n)).err());
        assert_eq!(refused, Some((20 + SLACK + 1, 10)));
    }

    #[tokio::test]
    async fn a_new_connection_wakes_the_one_who_waits() {
        let deliveries = Arc::new(consumer(10));
        deliveries.push(dispatch(1)).unwrap();
        deliveries.reconnect(1);
        assert!(matches!(deliveries.next(0).await, Ok(Next::Reconnected)));
        let waiting = tokio::spawn({
            let deliveries = Arc::clone(&deliveries);
            async move { deliveries.next(1).await }
        });
        deliveries.end(Error::Closed);
        assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
    }
}
