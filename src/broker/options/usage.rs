//! How much memory and disk the broker may take before it holds producers back.

use std::time::Duration;

use crate::base::options::options;

/// Memory that a limit takes when neither it nor the machine says.
pub const MEMORY_LIMIT_DEFAULT_BYTES: u64 = 1 << 30;
/// Disk that persistent messages may take.
pub const STORE_LIMIT_DEFAULT_BYTES: u64 = 100 << 30;
/// Disk that non-persistent messages may take.
pub const TEMP_LIMIT_DEFAULT_BYTES: u64 = 50 << 30;
/// Disk that scheduled messages may take.
pub const JOB_SCHEDULER_LIMIT_DEFAULT_BYTES: u64 = 50 << 30;

/// How much memory messages may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    Bytes(u64),
    /// Of the heap that ActiveMQ would have had (`-Xmx`). There is no heap here: who applies it takes
    /// it of the memory that the process may use.
    PercentOfJvmHeap(u8),
}

options! {
    /// `<systemUsage>`.
    pub struct SystemUsage {
        memory: MemoryUsage = MemoryUsage::default(),
        store: DiskUsage = DiskUsage::of(STORE_LIMIT_DEFAULT_BYTES),
        temp: DiskUsage = DiskUsage::of(TEMP_LIMIT_DEFAULT_BYTES),
        job_scheduler: DiskUsage = DiskUsage::of(JOB_SCHEDULER_LIMIT_DEFAULT_BYTES),
        /// At a limit: refuse the send at once, rather than hold the producer.
        send_fail_if_no_space: bool = false,
        /// At a limit: hold the producer this long, then refuse; `None` holds it until there is
        /// space.
        send_fail_if_no_space_after_timeout: Option<Duration> = None,
    }

    /// `<memoryUsage>`.
    pub struct MemoryUsage {
        limit: MemoryLimit = MemoryLimit::Bytes(MEMORY_LIMIT_DEFAULT_BYTES),
        /// Share of the parent's limit, when it has a parent.
        portion: f64 = 1.0,
        /// Percent by which usage must change before it is told.
        percent_usage_min_delta: u8 = 1,
    }

    /// `<storeUsage>`, `<tempUsage>`, `<jobSchedulerUsage>`.
    pub struct DiskUsage {
        /// Bytes.
        limit: u64 = 0,
        /// Percent of `total`; wins over `limit`.
        percent_limit: Option<u8> = None,
        /// Bytes that `percent_limit` is taken of; the size of the file system when absent.
        total: Option<u64> = None,
        percent_usage_min_delta: u8 = 1,
    }
}

impl DiskUsage {
    /// A limit in bytes, everything else as it is by default.
    pub fn of(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }
}
