//! The model is right about what it loses.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;

fn disk() -> (ModelDisk, Arc<dyn File>) {
    let disk = ModelDisk::default();
    disk.create_directory(Path::new("/d")).unwrap();
    let file = disk.create(Path::new("/d/f")).unwrap();
    disk.sync_directory(Path::new("/d")).unwrap();
    (disk, file)
}

fn left(disk: &ModelDisk) -> BTreeSet<Option<Vec<u8>>> {
    let image = disk.image();
    let left = |subset| image.cut(subset).peek(Path::new("/d/f")).map(|bytes| bytes.to_vec());
    (0..SUBSETS).map(left).collect()
}

#[test]
fn what_was_synced_is_there_after_a_power_cut() {
    let (disk, file) = disk();
    file.write_at(b"abc", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(left(&disk), BTreeSet::from([Some(b"abc".to_vec())]));
}

#[test]
fn what_was_not_synced_may_be_there_or_not_or_be_garbage() {
    let (disk, file) = disk();
    file.write_at(b"abc", 0).unwrap();
    file.sync().unwrap();
    file.write_at(b"xyz", 3).unwrap();
    let left = left(&disk);
    for expected in [&b"abc"[..], b"abcxyz"] {
        assert!(left.contains(&Some(expected.to_vec())), "{left:?}");
    }
    assert!(left.len() > 4 && left.iter().flatten().all(|bytes| bytes.starts_with(b"abc")));
}

#[test]
fn of_two_writes_the_later_one_may_be_there_alone() {
    let (disk, file) = disk();
    file.write_at(b"a", 0).unwrap();
    file.write_at(b"b", 1).unwrap();
    assert!(left(&disk).contains(&Some(b"\0b".to_vec())));
}

#[test]
fn a_large_write_is_torn_between_sectors() {
    let (disk, file) = disk();
    file.allocate(2048).unwrap();
    file.sync().unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    let torn = [[0; 512], [1; 512], [1; 512], [0; 512]].concat();
    assert!(left(&disk).contains(&Some(torn)));
}

#[test]
fn a_name_that_was_not_synced_may_be_missing_or_back() {
    let (disk, file) = disk();
    file.write_at(b"a", 0).unwrap();
    file.sync().unwrap();
    disk.remove(Path::new("/d/f")).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None, Some(b"a".to_vec())]));
    disk.sync_directory(Path::new("/d")).unwrap();
    assert_eq!(left(&disk), BTreeSet::from([None]));
}

#[test]
fn a_failed_sync_may_lose_what_can_still_be_read() {
    let (disk, file) = disk();
    disk.plan(Some(Fault { failure: Failure::SyncLoses, at: 0, sticky: false }));
    file.write_at(b"a", 0).unwrap();
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.peek(Path::new("/d/f")).unwrap().as_slice(), b"a");
    assert_eq!(left(&disk), BTreeSet::from([Some(Vec::new())]));
    assert_eq!(disk.faults().retried_syncs, 1);
}

#[test]
fn a_full_disk_has_room_for_no_more_and_again_when_it_is_larger() {
    let (disk, file) = disk();
    disk.limit(Some(100));
    file.allocate(100).unwrap();
    file.write_at(&[1; 100], 0).unwrap();
    let full = file.allocate(101).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    disk.limit(Some(101));
    file.allocate(101).unwrap();
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let (disk, _) = disk();
    let path = Path::new("/d/lock");
    let lock = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    disk.lock(path).unwrap();
}
