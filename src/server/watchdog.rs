//! Ends the process when it hangs, so that a slave can take over: a process that hangs keeps its lock.

use std::process;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::base::Activity;
use crate::base::activity::Stall;
use crate::store::error::StoreError;
use crate::store::journal::Journal;

/// Exit code of a process that hung.
const STALLED: i32 = 5;

/// How many looks the limit is divided into.
const LOOKS: u32 = 10;
/// How long the log may take: it may be on the disk that hangs.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Something that must not hang.
#[derive(Debug)]
struct Watched {
    what: &'static str,
    stall: Stall,
}

/// Watches the threads of the journal and those that serve connections, until it is stopped.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn start(
    journal: Option<Journal>,
    limit: Duration,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let executor = Arc::new(Activity::endless());
    let period = limit / LOOKS;
    let steps = Arc::clone(&executor);
    let stopped = stop.clone();
    tokio::spawn(async move {
        let mut ticks = interval(period / 2);
        while stopped.run_until_cancelled(ticks.tick()).await.is_some() {
            steps.step();
        }
    });
    let watch = move || {
        if let Some(what) = until_stalled(journal.as_ref(), &executor, period, &stop) {
            end(what, limit);
        }
    };
    let spawned = thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
    spawned.map(drop).map_err(StoreError::io("start a thread for", "the watchdog".as_ref()))
}

/// Says what hangs; `None` when it is stopped.
fn until_stalled(
    journal: Option<&Journal>,
    executor: &Activity,
    period: Duration,
    stop: &CancellationToken,
) -> Option<&'static str> {
    let names = ["the writer of the journal", "its keeper", "its reader", "its heart"];
    let activities = journal.map(Journal::activities).into_iter().flatten();
    let mut all: Vec<(&Activity, Watched)> = activities
        .zip(names)
        .chain([(executor, "the threads that serve connections")])
        .map(|(activity, what)| (activity, Watched { what, stall: Stall::default() }))
        .collect();
    while !stop.is_cancelled() {
        thread::sleep(period);
        for (activity, watched) in &mut all {
            if watched.stall.look(activity.count()) >= LOOKS {
                return (!stop.is_cancelled()).then_some(watched.what);
            }
        }
    }
    None
}

/// Says why, as far as that is possible, and ends.
fn end(what: &str, limit: Duration) {
    let (tell, told) = mpsc::sync_channel(1);
    let text = format!(
        "{what} did nothing for {} ms: this broker ends at once, so that another one can take over",
        limit.as_millis()
    );
    thread::spawn(move || {
        error!("{text}");
        // Whoever waits for it may be gone.
        tell.send(()).unwrap_or_default();
    });
    told.recv_timeout(LAST_WORDS).unwrap_or_default();
    process::exit(STALLED);
}
