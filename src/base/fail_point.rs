//! Named places at which a test ends the process or has it hang. Without the feature `fail-points` they do not exist.

/// A place at which the process may be ended or hang by the variable `OPENWIRED_FAIL_POINT`.
macro_rules! fail_point {
    ($name:literal) => {
        #[cfg(feature = "fail-points")]
        fail::fail_point!($name);
    };
}

pub(crate) use fail_point;

/// `name=n` ends the process, as `kill -9` does, when it comes to that place for the n-th time;
/// `name=n:stall` has each thread hang there that comes to it from then on.
#[cfg(feature = "fail-points")]
pub const VARIABLE: &str = "OPENWIRED_FAIL_POINT";

/// Takes note of what [`VARIABLE`] says. To be called once, at the beginning.
#[cfg(feature = "fail-points")]
pub fn arm() {
    use std::sync::atomic::{AtomicU64, Ordering};

    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let armed = wanted.split_once('=').and_then(|(name, rest)| {
        let (count, stalls) = match rest.strip_suffix(":stall") {
            Some(count) => (count, true),
            None => (rest, false),
        };
        let count: u64 = count.parse().ok()?;
        let reached = AtomicU64::new(0);
        let callback = move || {
            let reached = reached.fetch_add(1, Ordering::Relaxed) + 1;
            if stalls && reached >= count {
                hang();
            }
            if reached == count {
                end();
            }
        };
        fail::cfg_callback(name, callback).ok()
    });
    assert!(armed.is_some(), "{VARIABLE} is neither name=n nor name=n:stall: {wanted}");
}

#[cfg(feature = "fail-points")]
fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// Nothing is flushed and nobody is told.
#[cfg(feature = "fail-points")]
fn end() {
    let killed =
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    killed.unwrap_or_else(|_| std::process::abort());
}
