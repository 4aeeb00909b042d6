//! Named places at which a test ends the process. Without the feature `fail-points` they do not exist.

/// A place at which the process may be ended by the variable `OPENWIRED_FAIL_POINT`.
macro_rules! fail_point {
    ($name:literal) => {
        #[cfg(feature = "fail-points")]
        fail::fail_point!($name);
    };
}

pub(crate) use fail_point;

/// `name=n` ends the process, as `kill -9` does, when it comes to that place for the n-th time.
#[cfg(feature = "fail-points")]
pub const VARIABLE: &str = "OPENWIRED_FAIL_POINT";

/// Takes note of what [`VARIABLE`] says. To be called once, at the beginning.
#[cfg(feature = "fail-points")]
pub fn arm() {
    use std::sync::atomic::{AtomicU64, Ordering};

    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let armed = wanted.split_once('=').and_then(|(name, count)| {
        let left = AtomicU64::new(count.parse().ok()?);
        let reached = move || {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                // Nothing is flushed and nobody is told.
                let killed = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                killed.unwrap_or_else(|_| std::process::abort());
            }
        };
        fail::cfg_callback(name, reached).ok()
    });
    assert!(armed.is_some(), "{VARIABLE} is no name=n: {wanted}");
}
