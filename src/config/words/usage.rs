//! `<systemUsage>`: how much memory and disk may be taken.

use super::standing::{JVM, NO_PARENT, SCHEDULER_STORE, SERVED};
use crate::broker::options::usage::{DiskUsage, MemoryLimit, MemoryUsage, SystemUsage};
use crate::config::value;
use crate::config::vocabulary::{Attribute, Words, child, known, opaque, set, with};

/// The property of `<broker>`, around the element of the same name.
pub(super) static HOLDER: Words<SystemUsage> = Words {
    element: "systemUsage",
    attributes: &[],
    children: &[child!("systemUsage", SYSTEM_USAGE, SERVED)],
};

pub(super) static SYSTEM_USAGE: Words<SystemUsage> = Words {
    element: "systemUsage",
    attributes: &[
        set!("sendFailIfNoSpace", value::boolean => send_fail_if_no_space, SERVED),
        set!("sendFailIfNoSpaceAfterTimeout", value::millis_or_none =>
            send_fail_if_no_space_after_timeout, SERVED),
        known!("sendFailIfNoSpaceExplicitySet", value::boolean, JVM),
        known!("checkLimitsLogLevel", value::text, JVM),
        known!("name", value::text, JVM),
    ],
    children: &[
        child!("memoryUsage", MEMORY_HOLDER => memory, SERVED),
        child!("storeUsage", STORE_HOLDER => store, SERVED),
        child!("tempUsage", TEMP_HOLDER => temp, SERVED),
        child!("jobSchedulerUsage", JOB_HOLDER => job_scheduler, SCHEDULER_STORE),
    ],
};

pub(super) static MEMORY_HOLDER: Words<MemoryUsage> = Words {
    element: "memoryUsage",
    attributes: &[],
    children: &[child!("memoryUsage", MEMORY_USAGE, SERVED)],
};

pub(super) static MEMORY_USAGE: Words<MemoryUsage> = Words {
    element: "memoryUsage",
    attributes: &[
        with!("limit", SERVED, |to, text| {
            to.limit = MemoryLimit::Bytes(value::bytes(text)?);
            Ok(())
        }),
        with!("percentOfJvmHeap", SERVED, |to, text| {
            to.limit = MemoryLimit::PercentOfJvmHeap(value::percent(text)?);
            Ok(())
        }),
        set!("usagePortion", value::decimal => portion, NO_PARENT),
        set!("portion", value::decimal => portion, NO_PARENT),
        set!("percentUsageMinDelta", value::percent => percent_usage_min_delta, JVM),
        known!("pollingTime", value::count, JVM),
        known!("name", value::text, JVM),
    ],
    children: &[opaque!("limiter", JVM), opaque!("executor", JVM)],
};

pub(super) static STORE_HOLDER: Words<DiskUsage> = Words {
    element: "storeUsage",
    attributes: &[],
    children: &[child!("storeUsage", DISK_USAGE, SERVED)],
};

pub(super) static TEMP_HOLDER: Words<DiskUsage> = Words {
    element: "tempUsage",
    attributes: &[],
    children: &[child!("tempUsage", DISK_USAGE, SERVED)],
};

pub(super) static JOB_HOLDER: Words<DiskUsage> = Words {
    element: "jobSchedulerUsage",
    attributes: &[],
    children: &[child!("jobSchedulerUsage", DISK_USAGE, SERVED)],
};

const DISK_ATTRIBUTES: &[Attribute<DiskUsage>] = &[
    set!("limit", value::bytes => limit, SERVED),
    set!("percentLimit", value::percent => percent_limit, SERVED),
    set!("total", value::bytes => total, SERVED),
    set!("percentUsageMinDelta", value::percent => percent_usage_min_delta, JVM),
    known!("usagePortion", value::decimal, JVM),
    known!("pollingTime", value::count, JVM),
    known!("name", value::text, JVM),
];

/// The inside of `<storeUsage>`, `<tempUsage>` and `<jobSchedulerUsage>`.
pub(super) static DISK_USAGE: Words<DiskUsage> = Words {
    element: "storeUsage",
    attributes: DISK_ATTRIBUTES,
    children: &[opaque!("limiter", JVM), opaque!("executor", JVM), opaque!("store", JVM)],
};
