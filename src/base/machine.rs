//! What the machine grants this process, and which start of it this is.

use std::fs;
use std::path::Path;

/// Bytes of memory that this process may use: the least of what the machine has and what its control
/// groups allow. `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    available_memory_below(Path::new("/"))
}

/// The same in the file system below `root`.
fn available_memory_below(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.as_deref().and_then(total_of_meminfo);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| limit_of_group(root, line));
    machine.into_iter().chain(limits).min()
}

/// Names the time since the last start of the machine. `None` where the system does not say.
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn total_of_meminfo(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1024)
    })
}

/// The limit of a line of `/proc/self/cgroup`: `0::/path` in version 2, `N:memory:/path` in version 1.
/// A group is bound by those around it, too.
fn limit_of_group(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (base, file) = if number == "0" && controllers.is_empty() {
        (root.join("sys/fs/cgroup"), "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    let own = base.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|directory| directory.starts_with(&base));
    let limit = |directory: &Path| {
        let text = fs::read_to_string(directory.join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    around.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_memory_below(root.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn a_machine_without_groups_grants_all_it_has() {
        assert_eq!(available(&[MACHINE]), Some(16_000_000 << 10));
        assert_eq!(available(&[]), None);
    }

    #[test]
    fn the_tightest_group_around_the_process_counts() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/pod/broker\n"),
            ("sys/fs/cgroup/pod/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/pod/broker/memory.max", "max\n"),
        ];
        assert_eq!(available(&files), Some(1 << 30));
    }

    #[test]
    fn version_1_has_a_tree_for_memory() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/1\n0::/\n"),
            ("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(available(&files), Some(512 << 20));
    }
}
