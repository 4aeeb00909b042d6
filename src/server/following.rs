//! Reads along in the store while the node is a slave.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::store::RealDisk;
use crate::store::error::StoreError;
use crate::store::follower::{Follower, Progress};

/// A thread that follows the master.
#[derive(Debug)]
pub(super) struct Following {
    shared: Arc<Shared>,
    thread: JoinHandle<Follower>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    has_ended: bool,
}

impl Following {
    /// Looks so often whether there is something new.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(directory: &Path, period: Duration) -> Result<Self, StoreError> {
        let shared = Arc::<Shared>::default();
        let follower = Follower::new(Arc::new(RealDisk), directory);
        let ours = Arc::clone(&shared);
        let spawned = thread::Builder::new()
            .name("journal-follower".to_owned())
            .spawn(move || follow(follower, &ours, period));
        let thread = spawned.map_err(StoreError::io("start a thread for", directory))?;
        Ok(Self { shared, thread })
    }

    pub(super) fn progress(&self) -> Progress {
        self.shared.state.lock().progress
    }

    /// Ends it after its current look; what it has read is for the owner.
    pub(super) fn finish(self) -> Follower {
        self.shared.state.lock().has_ended = true;
        self.shared.ended.notify_one();
        self.thread.join().unwrap_or_else(|panicked| resume_unwind(panicked))
    }
}

fn follow(mut follower: Follower, shared: &Shared, period: Duration) -> Follower {
    loop {
        let progress = follower.advance();
        let due = Instant::now() + period;
        let mut state = shared.state.lock();
        state.progress = progress;
        while !state.has_ended {
            if shared.ended.wait_until(&mut state, due).timed_out() {
                break;
            }
        }
        if state.has_ended {
            return follower;
        }
    }
}
