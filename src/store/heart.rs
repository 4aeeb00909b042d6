//! The thread that looks that the store is still ours when nothing is written, and shows others that its
//! owner works.

use std::time::{Duration, Instant};

use super::shared::{Phase, Shared};

/// The life of the thread.
pub(super) fn run(shared: &Shared, period: Duration) {
    while wait(shared, period) {
        let beat = || shared.check_owner().and_then(|()| shared.ownership.beat());
        if let Err(error) = shared.activities.heart.during(beat) {
            return shared.fail(error);
        }
    }
}

/// Returns when a beat is due, or with `false` at the end.
fn wait(shared: &Shared, period: Duration) -> bool {
    let (lock, ended) = &shared.heart;
    let due = Instant::now() + period;
    let mut waiting = lock.lock();
    while shared.phase() == Phase::Running {
        if ended.wait_until(&mut waiting, due).timed_out() {
            return shared.phase() == Phase::Running;
        }
    }
    false
}
