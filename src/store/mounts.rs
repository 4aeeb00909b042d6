//! Which file system a directory is on, and whether its locks can be believed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;

const MOUNTS: &str = "/proc/self/mountinfo";
/// Says of all NFS mounts whether a lock that the server has forgotten is taken again without a word.
const RECOVERS_LOST_LOCKS: &str = "/sys/module/nfs/parameters/recover_lost_locks";

/// A line of `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
    /// Those of the mount, and of the file system.
    options: Vec<String>,
}

/// What a file system says of a lock there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Whoever waits is woken as soon as the lock is free.
    Local,
    /// It has to be looked for.
    Remote,
}

/// Looks where a directory is.
///
/// # Errors
/// When two machines could have the lock of a file there at once, with the reason.
pub fn check(directory: &Path) -> Result<Locks, StoreError> {
    // What the system does not tell cannot be judged.
    let Ok(mounts) = fs::read(MOUNTS) else { return Ok(Locks::Remote) };
    let path = directory.ancestors().find_map(|path| path.canonicalize().ok());
    let path = path.unwrap_or_else(|| directory.to_owned());
    let recovers = fs::read_to_string(RECOVERS_LOST_LOCKS);
    let recovers = recovers.is_ok_and(|text| text.trim() == "Y");
    let mounts = parse(&mounts);
    let Some(mount) = mount_of(&mounts, &path) else { return Ok(Locks::Remote) };
    judge(mount, recovers)
        .map_err(|reason| StoreError::UnsafeMount { directory: directory.to_owned(), reason })
}

/// ```text
/// 36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue
/// ```
fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| parse_line(&line.split(|byte| *byte == b' ').collect::<Vec<_>>()))
        .collect()
}

fn parse_line(fields: &[&[u8]]) -> Option<Mount> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let [kind, _source, options @ ..] = fields.get(dash + 1..)? else { return None };
    let both = [Some(fields.get(5)?), options.first()];
    let options =
        both.into_iter().flatten().flat_map(|options| options.split(|byte| *byte == b','));
    Some(Mount {
        point: PathBuf::from(OsStr::from_bytes(&unescape(fields.get(4)?))),
        kind: text(kind),
        options: options.map(text).collect(),
    })
}

/// Spaces and the like are written as three octal digits behind a backslash.
fn unescape(mut escaped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(escaped.len());
    while let Some((first, rest)) = escaped.split_first() {
        let digits = rest.first_chunk::<3>().filter(|_| *first == b'\\');
        let byte =
            digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(byte.unwrap_or(*first));
        escaped = if byte.is_some() { rest.get(3..).unwrap_or_default() } else { rest };
    }
    bytes
}

/// The mount that a path is on: the last of the longest, as a later one hides those below.
fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

/// What kind of locks a mount has, or why they are none.
fn judge(mount: &Mount, recovers_lost_locks: bool) -> Result<Locks, String> {
    let Mount { point, kind, options } = mount;
    let said = |option: &str| options.iter().any(|said| said == option);
    let value =
        |name: &str| options.iter().find_map(|said| said.strip_prefix(name)?.strip_prefix('='));
    let at = point.display();
    match kind.as_str() {
        "nfs" | "nfs4" => {
            if kind == "nfs" && value("vers").is_none_or(|version| !version.starts_with('4')) {
                return Err(format!(
                    "{at} is NFSv3, whose locks do not end with their holder: mount it with vers=4"
                ));
            }
            if said("nolock") {
                return Err(format!("{at} is mounted with nolock: mount it without"));
            }
            if let Some(what) = value("local_lock").filter(|what| *what != "none") {
                return Err(format!(
                    "{at} is mounted with local_lock={what}, so that other machines do not see the \
                     lock: mount it without"
                ));
            }
            if recovers_lost_locks {
                return Err(format!(
                    "{RECOVERS_LOST_LOCKS} is Y: a lock that was lost meanwhile would be taken \
                     again without a word; set it to N"
                ));
            }
            Ok(Locks::Remote)
        }
        "cifs" | "smb3" if said("nobrl") => {
            Err(format!("{at} is mounted with nobrl, so that other machines do not see the lock"))
        }
        "ceph" | "lustre" if said("localflock") => Err(format!(
            "{at} is mounted with localflock, so that other machines do not see the lock: mount it \
             with flock"
        )),
        "lustre" if !said("flock") => {
            Err(format!("{at} is Lustre without locks: mount it with flock"))
        }
        "ocfs2" if said("localflocks") => Err(format!(
            "{at} is mounted with localflocks, so that other machines do not see the lock"
        )),
        "cifs" | "smb3" | "ceph" | "lustre" | "ocfs2" | "gfs2" | "9p" | "virtiofs" | "afs"
        | "beegfs" => Ok(Locks::Remote),
        fuse if fuse.starts_with("fuse.") || fuse == "fuse" => Ok(Locks::Remote),
        _ => Ok(Locks::Local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = r"
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
30 22 0:26 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw
36 22 0:40 / /mnt/mq rw,noatime shared:9 master:3 - nfs4 server:/mq rw,vers=4.2,hard,local_lock=none
37 22 0:41 / /mnt/mq\040old rw - nfs server:/old rw,vers=3,local_lock=none
38 36 0:42 / /mnt/mq/inner rw - ext4 /dev/vdb rw
39 22 0:43 / /mnt/over rw - ext4 /dev/vdc rw
40 22 0:44 / /mnt/over rw - nfs4 server:/over rw,vers=4.1,nolock
not a line
";

    fn at(path: &str) -> Result<Locks, String> {
        let mounts = parse(MOUNTINFO.as_bytes());
        judge(mount_of(&mounts, Path::new(path)).unwrap(), false)
    }

    #[test]
    fn a_directory_is_on_the_mount_that_is_nearest_and_newest() {
        assert_eq!(at("/var/lib/mq"), Ok(Locks::Local));
        assert_eq!(at("/mnt/mq/data"), Ok(Locks::Remote));
        assert_eq!(at("/mnt/mq/inner/data"), Ok(Locks::Local));
        assert_eq!(at("/mnt/mqx"), Ok(Locks::Local));
        assert!(at("/mnt/over/x").unwrap_err().contains("nolock"));
        assert!(at("/mnt/mq old/x").unwrap_err().contains("NFSv3"));
    }

    #[test]
    fn mounts_whose_locks_other_machines_do_not_see_are_refused_with_the_reason() {
        let mount = |kind: &str, options: &str| Mount {
            point: "/mq".into(),
            kind: kind.to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
        };
        for (kind, options, reason) in [
            ("nfs", "rw,vers=3", "NFSv3"),
            ("nfs", "rw", "NFSv3"),
            ("nfs4", "vers=4.2,local_lock=flock", "local_lock=flock"),
            ("nfs4", "vers=4.2,local_lock=all", "local_lock=all"),
            ("nfs4", "vers=4.0,nolock", "nolock"),
            ("cifs", "rw,nobrl", "nobrl"),
            ("lustre", "rw", "with flock"),
            ("lustre", "rw,localflock", "localflock"),
            ("ocfs2", "rw,localflocks", "localflocks"),
        ] {
            let refused = judge(&mount(kind, options), false).unwrap_err();
            assert!(refused.contains(reason) && refused.contains("/mq"), "{refused}");
        }
        let good = mount("nfs4", "rw,vers=4.2,local_lock=none");
        assert_eq!(judge(&good, false), Ok(Locks::Remote));
        assert!(judge(&good, true).unwrap_err().contains("recover_lost_locks"));
        assert_eq!(judge(&mount("nfs", "vers=4.1"), false), Ok(Locks::Remote));
        assert_eq!(judge(&mount("xfs", "rw"), true), Ok(Locks::Local));
    }

    #[test]
    fn the_mounts_of_this_machine_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let mounts = parse(&fs::read(MOUNTS).unwrap());
        assert!(mount_of(&mounts, directory.path()).is_some(), "{mounts:?}");
        check(&directory.path().join("not/there/yet")).unwrap();
    }
}
