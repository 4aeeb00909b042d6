//! Who may confirm: the lock keeps others away, the epoch makes it safe when the lock does not.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use parking_lot::Mutex;
use tracing::warn;

use super::batch::Spot;
use super::disk::{Disk, File, Lock};
use super::error::StoreError;
use super::holder::{self, Holder};
use super::segment::{JOURNAL, SegmentName};
use crate::base::fail_point::fail_point;
use crate::base::machine;

const EPOCH: &str = "EPOCH";
const CLAIMS: &str = "claims";
/// Claims that are kept for people to read.
const CLAIMS_KEPT: u64 = 8;

const SLOT: usize = 64;
const MAGIC: u64 = u64::from_be_bytes(*b"OWEPOCH1");

/// The ownership of a store.
///
/// Slot `e` of the file `EPOCH` belongs to epoch `e`; slot 0 to none. The length of the file says which
/// epoch is the last, so that one call tells whether ours still is. It never shrinks.
///
/// ```text
///  0  magic  "OWEPOCH1"
///  8  epoch  u64
/// 16  salt   u64   of all segments of the epoch
/// 24  since  u64   milliseconds since 1970
/// 32  0
/// 60  check  u32   CRC-32 over salt, 0, the slot's offset and the 60 bytes
/// ```
#[derive(Debug)]
pub(super) struct Ownership {
    directory: PathBuf,
    epochs: Epochs,
    pub(super) epoch: u64,
    pub(super) salt: u64,
    /// Held as long as this lives, or until the store is closed, if it is held; with what its file says.
    lock: Mutex<Option<(Box<dyn Lock>, Holder)>>,
}

/// How the lock of a store is come by.
#[derive(Debug, Default)]
pub enum Locking {
    /// It is taken now, or the store is not opened.
    #[default]
    Take,
    /// It is held already.
    Held(Box<dyn Lock>),
    /// There is none (`useLock="false"`), or it is with a process that does nothing any more. The epoch
    /// is what counts.
    Without,
}

/// Who claims a store, and when.
#[derive(Debug)]
pub(super) struct Claimant<'a> {
    pub(super) node: &'a str,
    /// Milliseconds since 1970.
    pub(super) now_ms: i64,
    /// The file of the lock.
    pub(super) lock: &'a Path,
    pub(super) locking: Locking,
}

impl Ownership {
    /// Takes the lock of the store and claims the next epoch. From then on nothing that an older owner
    /// writes counts, so only now may its segments be read.
    pub(super) fn claim(
        disk: &dyn Disk,
        directory: &Path,
        claimant: Claimant<'_>,
    ) -> Result<Self, StoreError> {
        let Claimant { node, now_ms, lock: lock_path, locking } = claimant;
        let has_lock = !matches!(locking, Locking::Without);
        let lock = match locking {
            Locking::Take => holder::take(disk, directory, lock_path)?,
            Locking::Held(lock) => lock,
            Locking::Without => {
                disk.open_lock(lock_path).map_err(StoreError::io("open", lock_path))?
            }
        };
        let claims = directory.join(CLAIMS);
        disk.create_directory(&claims).map_err(StoreError::io("create", &claims))?;
        let path = directory.join(EPOCH);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => match disk.create(&path) {
                // By another one that comes at the same moment.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => disk.open(&path),
                created => created,
            },
            opened => opened,
        };
        let file = file.map_err(StoreError::io("open", &path))?;
        let published = published(&*file).map_err(StoreError::io("measure", &path))?;
        let names = disk.list(&claims).map_err(StoreError::io("list", &claims))?;
        let claimed = names.iter().filter_map(|name| claimed_epoch(name)).max();
        let journal = directory.join(JOURNAL);
        let segments = disk.list(&journal).map_err(StoreError::io("list", &journal))?;
        // Above those of all segments, too, should the other files have been lost.
        let written = segments.iter().filter_map(|name| SegmentName::parse(name, "log"));
        let written = written.map(|name| name.epoch).max();
        let known = [published, claimed.unwrap_or(0), written.unwrap_or(0)];
        let epoch = known.into_iter().max().unwrap_or(0) + 1;
        let holder = Holder {
            node: node.to_owned(),
            pid: std::process::id(),
            boot: machine::boot_id().unwrap_or_default(),
            since_ms: now_ms,
            epoch,
            has_lock,
            beat: 0,
        };
        fail_point!("epoch.before_claim");
        arbitrate(disk, directory, epoch, &holder.text())?;
        fail_point!("epoch.after_claim");
        let salt = fastrand::u64(..);
        let (slot, offset) = slot(epoch, salt, now_ms);
        file.write_at(&slot, offset).map_err(StoreError::io("write", &path))?;
        file.sync().map_err(StoreError::io("sync", &path))?;
        fail_point!("epoch.after_append");
        disk.sync_directory(directory).map_err(StoreError::io("sync", directory))?;
        lock.say(&holder.text()).map_err(StoreError::io("write", lock_path))?;
        let lock = Mutex::new(Some((lock, holder)));
        let epochs = Epochs { file: Some(file) };
        let ownership = Self { directory: directory.to_owned(), epochs, epoch, salt, lock };
        ownership.check()?;
        for name in names {
            if claimed_epoch(&name).is_some_and(|old| old + CLAIMS_KEPT <= epoch) {
                let path = claims.join(name);
                disk.remove(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(ownership)
    }

    /// Whether this is still the last epoch. What was made durable before may be confirmed then.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let last = self.epochs.last(&self.directory)?;
        if last == self.epoch {
            return Ok(());
        }
        Err(StoreError::Deposed { directory: self.directory.clone(), epoch: self.epoch })
    }

    /// Looks whether the lock is the one that others find, and shows others that its holder works.
    pub(super) fn beat(&self) -> Result<(), StoreError> {
        let mut lock = self.lock.lock();
        let Some((lock, holder)) = &mut *lock else { return Ok(()) };
        if holder.has_lock {
            let looked = lock.is_in_place();
            if !looked.map_err(StoreError::io("look at the lock of", &self.directory))? {
                return Err(StoreError::LockLost { directory: self.directory.clone() });
            }
        }
        holder.beat += 1;
        lock.say(&holder.text()).map_err(StoreError::io("write the lock of", &self.directory))
    }

    /// Lets others have the store.
    pub(super) fn release(&self) {
        let lock = self.lock.lock().take();
        // Others could not tell from the lock that it is free.
        if let Some((lock, Holder { has_lock: false, .. })) = lock
            && let Err(failure) = lock.say("")
        {
            warn!("{}", StoreError::io("write the lock of", &self.directory)(failure));
        }
    }

    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }
}

/// The file `EPOCH`, if there is one.
#[derive(Debug)]
pub(super) struct Epochs {
    file: Option<Arc<dyn File>>,
}

impl Epochs {
    /// Opens it to read only.
    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(EPOCH);
        match disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self { file: None }),
            opened => Ok(Self { file: Some(opened.map_err(StoreError::io("open", &path))?) }),
        }
    }

    /// The last epoch that was published; 0 when there is none.
    pub(super) fn last(&self, directory: &Path) -> Result<u64, StoreError> {
        let Some(file) = &self.file else { return Ok(0) };
        published(&**file).map_err(StoreError::io("measure", &directory.join(EPOCH)))
    }

    /// The salt of an epoch, if its slot can be read.
    pub(super) fn salt_of(&self, epoch: u64) -> Option<u64> {
        let mut slot = [0; SLOT];
        self.file.as_ref()?.read_at(&mut slot, slot_offset(epoch)).ok()?;
        let (covered, check) = slot.split_last_chunk()?;
        let mut rest = covered;
        let well_formed = rest.try_get_u64().ok()? == MAGIC && rest.try_get_u64().ok()? == epoch;
        let salt = rest.try_get_u64().ok()?;
        (well_formed && slot_check(covered, epoch, salt) == u32::from_be_bytes(*check))
            .then_some(salt)
    }
}

/// Creates the claim of an epoch, which only one can.
fn arbitrate(
    disk: &dyn Disk,
    directory: &Path,
    epoch: u64,
    holder: &str,
) -> Result<(), StoreError> {
    let claims = directory.join(CLAIMS);
    let path = claims.join(format!("epoch-{epoch:020}"));
    let claim = disk.create(&path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            StoreError::Contended { directory: directory.to_owned(), epoch }
        } else {
            StoreError::io("create", &path)(error)
        }
    })?;
    claim.write_at(holder.as_bytes(), 0).map_err(StoreError::io("write", &path))?;
    claim.sync().map_err(StoreError::io("sync", &path))?;
    disk.sync_directory(&claims).map_err(StoreError::io("sync", &claims))
}

fn claimed_epoch(name: &str) -> Option<u64> {
    name.strip_prefix("epoch-")?.parse().ok()
}

fn published(file: &dyn File) -> std::io::Result<u64> {
    // A slot that was not written as a whole was never relied upon, but its epoch is taken.
    Ok((file.length()?.div_ceil(SLOT as u64)).saturating_sub(1))
}

fn slot_offset(epoch: u64) -> u64 {
    epoch.saturating_mul(SLOT as u64)
}

fn slot(epoch: u64, salt: u64, now_ms: i64) -> (BytesMut, u64) {
    let mut slot = BytesMut::with_capacity(SLOT);
    slot.put_u64(MAGIC);
    slot.put_u64(epoch);
    slot.put_u64(salt);
    slot.put_i64(now_ms);
    slot.put_bytes(0, SLOT - size_of::<u32>() - slot.len());
    let check = slot_check(&slot, epoch, salt);
    slot.put_u32(check);
    (slot, slot_offset(epoch))
}

fn slot_check(covered: &[u8], epoch: u64, salt: u64) -> u32 {
    let offset = u32::try_from(slot_offset(epoch)).unwrap_or(u32::MAX);
    Spot { salt, segment: 0, offset }.checksum([covered, &[]])
}
