//! What a thread is doing, for a watchdog that finds one that does not come back.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the beginnings and ends of something that may hang: odd while it is being done.
#[derive(Debug, Default)]
pub struct Activity(AtomicU64);

impl Activity {
    /// Does it.
    pub fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        self.0.fetch_add(1, Ordering::Relaxed);
        let done = run();
        self.0.fetch_add(1, Ordering::Relaxed);
        done
    }

    /// What should go on for ever has made a step.
    pub fn step(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }

    /// Something that should go on for ever, step by step.
    pub fn endless() -> Self {
        Self(AtomicU64::new(1))
    }

    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long an activity has not moved, in looks at it: a process that was stopped did not look either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    count: u64,
    looks: u32,
}

impl Stall {
    /// Takes another look; says in how many looks nothing has moved that should.
    pub fn look(&mut self, count: u64) -> u32 {
        let hangs = count == self.count && count % 2 == 1;
        self.looks = if hangs { self.looks.saturating_add(1) } else { 0 };
        self.count = count;
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_seen_and_what_rests_is_not() {
        let activity = Activity::default();
        let mut stall = Stall::default();
        let mut look = || stall.look(activity.count());
        assert_eq!([look(), look()], [0, 0]);
        activity.during(|| assert_eq!([look(), look(), look()], [0, 1, 2]));
        assert_eq!(look(), 0);
        activity.during(|| assert_eq!(look(), 0));
        activity.during(|| assert_eq!([look(), look()], [0, 1], "another one"));
    }

    #[test]
    fn what_goes_on_for_ever_must_make_steps() {
        let (activity, mut stall) = (Activity::endless(), Stall::default());
        assert_eq!(stall.look(activity.count()), 0);
        activity.step();
        assert_eq!([stall.look(activity.count()), stall.look(activity.count())], [0, 1]);
    }
}
