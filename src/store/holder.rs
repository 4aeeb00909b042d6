//! Who has the lock of a store, as its file says.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};

use super::disk::{Disk, Lock, read_all};
use super::error::StoreError;

/// More of the file is not read.
const HOLDER_BYTES_MAX: u64 = 4096;
/// A time stamp of a Java broker is between these, in milliseconds since 1970: 2001 and 2286.
const JAVA_TIMES: std::ops::Range<i64> = 1_000_000_000_000..10_000_000_000_000;

/// What the file says of the lock itself.
const HELD: &str = "held";
const NONE: &str = "none";

/// A process that has a lock, or had it.
///
/// The file has a line for each of these, as `name: value`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The broker and its machine.
    pub node: String,
    pub pid: u32,
    /// Of the machine; another one after each of its starts. Empty where the system does not tell.
    pub boot: String,
    /// Milliseconds since 1970.
    pub since_ms: i64,
    pub epoch: u64,
    /// Otherwise it works without the lock, which another one may have.
    pub has_lock: bool,
    /// Counts as long as the holder works.
    pub beat: u64,
}

/// What the file of a lock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Holder(Holder),
    /// The file has the eight bytes that a Java broker writes: milliseconds since 1970.
    Java {
        since_ms: i64,
    },
    Nothing,
}

impl Holder {
    /// What stands in the file.
    pub(super) fn text(&self) -> String {
        let Self { node, pid, boot, since_ms, epoch, has_lock, beat } = self;
        // One line each, whatever a broker is called.
        let node = node.replace(char::is_control, " ");
        let since = time(*since_ms);
        format!(
            "node: {node}\npid: {pid}\nboot: {boot}\nsince: {since_ms} ({since})\nepoch: {epoch}\n\
             lock: {}\nbeat: {beat:020}\n",
            if *has_lock { HELD } else { NONE }
        )
    }
}

impl Told {
    /// Whether it is the same process in the same life, whatever its beat.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Holder(one), Self::Holder(other)) => {
                Holder { beat: other.beat, ..one.clone() } == *other
            }
            _ => self == other,
        }
    }

    /// Reads what stands in the file of a lock.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        if let Ok(stamp) = bytes.try_into() {
            let since_ms = i64::from_be_bytes(stamp);
            if JAVA_TIMES.contains(&since_ms) {
                return Self::Java { since_ms };
            }
        }
        str::from_utf8(bytes).ok().and_then(holder).map_or(Self::Nothing, Self::Holder)
    }
}

/// Takes the lock of the store in `directory`, or says who has it.
///
/// # Errors
/// `Locked` when another process has it.
pub fn take(disk: &dyn Disk, directory: &Path, lock: &Path) -> Result<Box<dyn Lock>, StoreError> {
    if let Some(parent) = lock.parent() {
        disk.create_directory(parent).map_err(StoreError::io("create", parent))?;
    }
    disk.lock(lock).map_err(|error| {
        if error.kind() != ErrorKind::WouldBlock {
            return StoreError::io("lock", lock)(error);
        }
        StoreError::Locked { directory: directory.to_owned(), holder: told(disk, lock).to_string() }
    })
}

/// Sees whether a lock that is held here would keep another one away.
///
/// # Errors
/// When it would not.
pub fn test(disk: &dyn Disk, directory: &Path, lock: &Path) -> Result<(), StoreError> {
    match disk.lock(lock) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(StoreError::io("lock", lock)(error)),
        Ok(_second) => Err(StoreError::UnsafeMount {
            directory: directory.to_owned(),
            reason: format!("a second lock of {} was granted while it was locked", lock.display()),
        }),
    }
}

/// Whether anybody has a lock. Takes it for a moment if nobody has.
///
/// # Errors
/// When that cannot be told.
pub fn is_held(disk: &dyn Disk, lock: &Path) -> Result<bool, StoreError> {
    match disk.open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => drop(opened.map_err(StoreError::io("open", lock))?),
    }
    match disk.lock(lock) {
        Ok(_taken) => Ok(false),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(StoreError::io("lock", lock)(error)),
    }
}

/// Who has a lock, as its file says.
pub fn told(disk: &dyn Disk, lock: &Path) -> Told {
    let text = disk.open(lock).and_then(|file| read_all(&*file, HOLDER_BYTES_MAX));
    text.map_or(Told::Nothing, |text| Told::parse(&text))
}

fn holder(text: &str) -> Option<Holder> {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let number = |name: &str| value(name)?.split(' ').next()?.parse::<u64>().ok();
    Some(Holder {
        node: value("node")?.to_owned(),
        pid: u32::try_from(number("pid")?).ok()?,
        boot: value("boot").unwrap_or_default().to_owned(),
        since_ms: i64::try_from(number("since")?).ok()?,
        epoch: number("epoch")?,
        has_lock: value("lock")? == HELD,
        beat: number("beat")?,
    })
}

fn time(ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pid, since_ms, epoch, .. } = self;
        write!(f, "{node}, pid {pid}, since {}, epoch {epoch}", time(*since_ms))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holder(holder) => holder.fmt(f),
            Self::Java { since_ms } => write!(f, "a Java broker, since {}", time(*since_ms)),
            Self::Nothing => f.write_str("another process"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_holder_writes_says_who_it_is() {
        let holder = Holder {
            node: "mq1 on host".to_owned(),
            pid: 42,
            boot: "0b5e".to_owned(),
            since_ms: 1_700_000_000_123,
            epoch: 7,
            has_lock: true,
            beat: 3,
        };
        assert_eq!(Told::parse(holder.text().as_bytes()), Told::Holder(holder.clone()));
        assert_eq!(holder.to_string(), "mq1 on host, pid 42, since 2023-11-14T22:13:20Z, epoch 7");
        let odd = Holder { node: "a\npid: 1".to_owned(), ..holder.clone() };
        let Told::Holder(read) = Told::parse(odd.text().as_bytes()) else { panic!("{odd:?}") };
        assert_eq!(read.pid, 42);
        let (text, next) = (holder.text(), Holder { beat: u64::MAX, ..holder }.text());
        assert_eq!(text.len(), next.len(), "a beat is written over the one before");
    }

    #[test]
    fn a_java_broker_is_told_by_its_time_stamp() {
        let told = Told::parse(&1_700_000_000_000_i64.to_be_bytes());
        assert_eq!(told.to_string(), "a Java broker, since 2023-11-14T22:13:20Z");
    }

    #[test]
    fn anything_else_is_another_process() {
        for bytes in [&b""[..], b"node", b"node: x\npid: y\n", &[0xFF; 8], &[b'a'; 100]] {
            assert_eq!(Told::parse(bytes), Told::Nothing, "{bytes:?}");
        }
    }
}
