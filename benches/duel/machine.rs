//! What the machine takes by itself for what a broker cannot avoid, and what a directory takes of it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// A message of 1 KiB with its headers, and what a journal puts around it.
const WRITE_BYTES: usize = 1229;
const ROUNDS: usize = 5000;
const WATCHED_EVERY: Duration = Duration::from_millis(100);
/// That of `st_blocks`, whatever the file system's own is; see inode(7).
const BLOCK_BYTES: u64 = 512;

/// Microseconds of the least that storing one message and saying so can take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// Writing it into room that a file already has, and fdatasync; the median.
    pub(crate) sync_us: f64,
    /// Its way to another thread over TCP, and back; the median.
    pub(crate) round_trip_us: f64,
    /// CPU time of that write and sync, and of the thread that receives and answers: what the kernel takes
    /// of a broker that does nothing itself.
    pub(crate) cpu_us: f64,
}

impl Floor {
    /// Measures it on the file system with the temporary files, where the brokers have theirs.
    pub(crate) fn measure() -> anyhow::Result<Self> {
        let (sync_us, sync_cpu_us) = sync_us().context("measuring fdatasync")?;
        let (round_trip_us, answer_cpu_us) =
            round_trip_us().context("measuring the loopback device")?;
        Ok(Self { sync_us, round_trip_us, cpu_us: sync_cpu_us + answer_cpu_us })
    }
}

/// The median and the CPU time of one write that is synced.
fn sync_us() -> io::Result<(f64, f64)> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&vec![0; WRITE_BYTES * ROUNDS])?;
    file.sync_all()?;
    let before = cpu_us();
    let p50 = p50_us(|round| {
        file.write_all_at(&[0x5A; WRITE_BYTES], (round * WRITE_BYTES) as u64)?;
        file.sync_data()
    })?;
    Ok((p50, (cpu_us() - before) / ROUNDS as f64))
}

/// The median of one message and its answer, and the CPU time of who answers.
fn round_trip_us() -> io::Result<(f64, f64)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut asking = TcpStream::connect(listener.local_addr()?)?;
    let (mut answering, _) = listener.accept()?;
    asking.set_nodelay(true)?;
    answering.set_nodelay(true)?;
    let answers = thread::spawn(move || {
        let mut message = [0; WRITE_BYTES];
        while answering.read_exact(&mut message).is_ok() && answering.write_all(&message).is_ok() {}
        cpu_us()
    });
    let mut message = [0x5A; WRITE_BYTES];
    let p50 = p50_us(|_| {
        asking.write_all(&message)?;
        asking.read_exact(&mut message)
    })?;
    drop(asking);
    let cpu = answers.join().map_err(|_| io::Error::other("the thread that answers failed"))?;
    Ok((p50, cpu / ROUNDS as f64))
}

/// CPU time of this thread.
fn cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn p50_us(mut step: impl FnMut(usize) -> io::Result<()>) -> io::Result<f64> {
    let mut took = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let begin = Instant::now();
        step(round)?;
        took.push(begin.elapsed());
    }
    took.sort();
    Ok(took.get(ROUNDS / 2).map_or(f64::NAN, |middle| middle.as_secs_f64() * 1e6))
}

/// Does the work, and says how many bytes of the disk the directory took at most meanwhile.
pub(crate) fn peak_bytes(
    directory: &Path,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (working, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut peak = disk_bytes(directory);
            while ended.recv_timeout(WATCHED_EVERY) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(disk_bytes(directory));
            }
            peak
        });
        let done = work();
        drop(working);
        let peak = watching.join().map_err(|_| anyhow!("the watch of the disk failed"))?;
        done.map(|()| peak)
    })
}

/// Says what a directory and all in it takes of the disk; 0 where there is none.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    // What is removed meanwhile takes nothing any more.
    let Ok(about) = path.symlink_metadata() else { return 0 };
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    about.blocks() * BLOCK_BYTES + inside.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}
