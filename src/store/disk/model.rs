//! A disk in memory, for tests: it remembers what was synced, so it can lose power, and it fails when
//! it is told to.

mod fault;
mod power;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

pub use fault::{Failure, Fault};
pub use power::SUBSETS;

use super::{Disk, File, Lock};
use fault::{Faults, Verdict};

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Look,
    Read,
    Name,
    Write,
    Allocate,
    Truncate,
    Sync,
    SyncDirectory,
}

impl Act {
    fn changes(self) -> bool {
        !matches!(self, Self::Look | Self::Read)
    }
}

/// What a disk holds, and what of it is durable. Clones share what is the same in both.
#[derive(Clone, Default)]
pub struct Image {
    /// As programs see them.
    names: BTreeMap<Arc<Path>, Node>,
    /// As they are after a power cut.
    settled: BTreeMap<Arc<Path>, Node>,
    naming: Vec<Numbered<Naming>>,
    files: Vec<Contents>,
    /// Of the last change that was not synced.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

/// A change of a directory that was not synced.
#[derive(Debug, Clone)]
struct Naming {
    path: Arc<Path>,
    /// What the name stands for from then on.
    node: Option<Node>,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    /// As programs see it.
    seen: Arc<Vec<u8>>,
    /// As it is after a power cut.
    settled: Arc<Vec<u8>>,
    pending: Vec<Numbered<Change>>,
}

/// A change of a file that was not synced.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Length(usize),
}

#[derive(Debug, Clone)]
struct Numbered<T> {
    number: u64,
    it: T,
}

/// Shown what the disk holds before each change of it.
type Observer = Box<dyn FnMut(&Image) + Send>;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    image: Image,
    locked: BTreeSet<PathBuf>,
    /// Bytes of all files.
    limit: Option<u64>,
    faults: Faults,
    observer: Option<Observer>,
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<crate::store::Bug>> = const { std::cell::Cell::new(None) };
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelDisk").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl ModelDisk {
    pub fn of(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    /// What the disk holds now.
    pub fn image(&self) -> Image {
        self.0.lock().image.clone()
    }

    /// Has everything shown before it changes. The observer must not use the disk.
    pub fn observe(&self, observer: impl FnMut(&Image) + Send + 'static) {
        self.0.lock().observer = Some(Box::new(observer));
    }

    /// Has every journal that this thread turns on such a disk make a mistake.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(bug: Option<crate::store::Bug>) {
        PLANTED.set(bug);
    }

    /// Loses power: what was not synced is gone, there, torn or garbage, as `subset` says (see
    /// [`Image::cut`]).
    pub fn lose_power(&self, subset: u64) {
        let mut state = self.0.lock();
        state.image = state.image.cut(subset);
    }

    /// Has operations fail from now on. They are counted afresh.
    pub fn plan(&self, fault: Option<Fault>) {
        self.0.lock().faults = Faults::new(fault);
    }

    /// Does something meanwhile that no plan is for.
    pub fn spare<R>(&self, run: impl FnOnce() -> R) -> R {
        let faults = std::mem::take(&mut self.0.lock().faults);
        let done = run();
        self.0.lock().faults = faults;
        done
    }

    /// What has come of the plan.
    pub fn faults(&self) -> Faults {
        self.0.lock().faults.clone()
    }

    /// Lets files have that many bytes altogether.
    pub fn limit(&self, bytes: Option<u64>) {
        self.0.lock().limit = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.0.lock().image.used()
    }

    /// What stands in a file.
    pub fn peek(&self, path: &Path) -> Option<Arc<Vec<u8>>> {
        self.0.lock().image.peek(path)
    }

    /// Puts other bytes into a file, durably.
    pub fn poke(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let Some(Node::File(file)) = state.image.names.get(path).copied() else {
            panic!("no file {}", path.display())
        };
        let seen = Arc::new(bytes);
        state.image.files[file] =
            Contents { settled: Arc::clone(&seen), seen, ..Default::default() };
    }

    /// Removes a file, durably.
    pub fn forget(&self, path: &Path) {
        let mut state = self.0.lock();
        state.image.names.remove(path);
        state.image.settled.remove(path);
        state.image.naming.retain(|naming| *naming.it.path != *path);
    }

    /// All files in a directory, in order.
    pub fn files(&self, directory: &Path) -> Vec<PathBuf> {
        let state = self.0.lock();
        let nodes = state.image.names.iter();
        nodes
            .filter(|(path, node)| {
                matches!(node, Node::File(_)) && path.parent() == Some(directory)
            })
            .map(|(path, _)| path.to_path_buf())
            .collect()
    }

    /// Does one thing, unless it is to fail.
    fn act<R>(
        &self,
        act: Act,
        path: &Path,
        run: impl FnOnce(&mut State) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut state = self.0.lock();
        state.judge(act, path).into_result()?;
        run(&mut state)
    }
}

impl State {
    fn judge(&mut self, act: Act, path: &Path) -> Verdict {
        if act.changes()
            && let Some(observer) = &mut self.observer
        {
            observer(&self.image);
        }
        self.faults.judge(act, path)
    }

    fn room_for(&self, bytes: u64) -> io::Result<()> {
        match self.limit {
            Some(limit) if self.image.used() + bytes > limit => Err(Errno::NOSPC.into()),
            _ => Ok(()),
        }
    }
}

impl Image {
    pub fn used(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(file) => self.files.get(*file),
            Node::Directory => None,
        });
        files.map(|contents| contents.seen.len() as u64).sum()
    }

    pub fn peek(&self, path: &Path) -> Option<Arc<Vec<u8>>> {
        match self.names.get(path)? {
            Node::File(file) => Some(Arc::clone(&self.files[*file].seen)),
            Node::Directory => None,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Directory) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Makes a name stand for something else, or nothing.
    fn name(&mut self, path: &Path, node: Option<Node>) {
        let path: Arc<Path> = path.into();
        match node {
            Some(node) => self.names.insert(Arc::clone(&path), node),
            None => self.names.remove(&path),
        };
        let number = self.next_number();
        self.naming.push(Numbered { number, it: Naming { path, node } });
    }

    fn settle_names(&mut self, directory: &Path) {
        let settled = &mut self.settled;
        self.naming.retain(|Numbered { it: Naming { path, node }, .. }| {
            let is_in = path.parent() == Some(directory);
            if is_in {
                match node {
                    Some(node) => settled.insert(Arc::clone(path), *node),
                    None => settled.remove(path),
                };
            }
            !is_in
        });
    }

    fn change(&mut self, file: usize, change: Change) {
        let number = self.next_number();
        let contents = &mut self.files[file];
        change.apply(Arc::make_mut(&mut contents.seen));
        contents.pending.push(Numbered { number, it: change });
    }
}

/// What was not synced.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Numbered { number, it: Naming { path, node } } in &self.naming {
            let what = if node.is_some() { "make" } else { "remove" };
            writeln!(f, "{number} {what} {}", path.display())?;
        }
        for (path, node) in &self.names {
            let Node::File(file) = node else { continue };
            for Numbered { number, it } in &self.files[*file].pending {
                let what = match it {
                    Change::Write { offset, bytes } => format!("{} bytes at {offset}", bytes.len()),
                    Change::Length(length) => format!("length {length}"),
                };
                writeln!(f, "{number} {}: {what}", path.display())?;
            }
        }
        Ok(())
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write { offset, bytes: written } => put(bytes, *offset, written),
        }
    }
}

/// Writes into a file, which grows if need be.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl Disk for ModelDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().image.names.get(path) == Some(&Node::Directory) {
            return self.act(Act::Look, path, |_| Ok(()));
        }
        self.act(Act::Name, path, |state| {
            for path in path.ancestors() {
                if matches!(state.image.names.get(path), Some(Node::File(_))) {
                    return Err(ErrorKind::NotADirectory.into());
                }
                state.image.names.insert(path.into(), Node::Directory);
                state.image.settled.insert(path.into(), Node::Directory);
            }
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.act(Act::Name, path, |state| {
            let parent = path.parent().and_then(|parent| state.image.names.get(parent));
            if parent != Some(&Node::Directory) {
                return Err(ErrorKind::NotFound.into());
            }
            if state.image.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let file = state.image.files.len();
            state.image.files.push(Contents::default());
            state.image.name(path, Some(Node::File(file)));
            Ok(file)
        })?;
        Ok(Arc::new(ModelFile { disk: self.clone(), file, path: path.into() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.act(Act::Look, path, |state| state.image.file(path))?;
        Ok(Arc::new(ModelFile { disk: self.clone(), file, path: path.into() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.act(Act::Look, directory, |state| {
            let names = &state.image.names;
            if names.get(directory) != Some(&Node::Directory) {
                return Err(ErrorKind::NotFound.into());
            }
            let children = names.keys().filter(|path| path.parent() == Some(directory));
            let name = |path: &Arc<Path>| Some(path.file_name()?.to_str()?.to_owned());
            Ok(children.filter_map(name).collect())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(Act::Name, path, |state| {
            state.image.file(path)?;
            state.image.name(path, None);
            Ok(())
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.act(Act::SyncDirectory, path, |state| {
            state.image.settle_names(path);
            Ok(())
        })
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        Ok(state.limit.map_or(u64::MAX, |limit| limit.saturating_sub(state.image.used())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.act(Act::Look, path, |state| {
            if !state.locked.insert(path.to_owned()) {
                return Err(ErrorKind::WouldBlock.into());
            }
            state.faults.new_process();
            Ok(())
        })?;
        Ok(Box::new(ModelLock { disk: self.clone(), path: Some(path.to_owned()) }))
    }

    fn open_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.act(Act::Look, path, |_| Ok(()))?;
        Ok(Box::new(ModelLock { disk: self.clone(), path: None }))
    }

    /// In one thread nobody else could let go of it.
    fn await_lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.lock(path)
    }

    #[cfg(feature = "planted-bugs")]
    fn bug(&self) -> Option<crate::store::Bug> {
        PLANTED.get()
    }
}

#[derive(Debug)]
struct ModelLock {
    disk: ModelDisk,
    /// What is locked.
    path: Option<PathBuf>,
}

impl Lock for ModelLock {
    fn say(&self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }
}

impl Drop for ModelLock {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            self.disk.0.lock().locked.remove(path);
        }
    }
}

#[derive(Debug)]
struct ModelFile {
    disk: ModelDisk,
    file: usize,
    path: Arc<Path>,
}

impl File for ModelFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.act(Act::Read, &self.path, |state| {
            let bytes = &state.image.files[self.file].seen;
            let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
            let rest = rest.unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut state = self.disk.0.lock();
        let verdict = state.judge(Act::Write, &self.path);
        let written = match &verdict {
            Verdict::Pass => bytes,
            Verdict::Fail(error) if error.kind() == ErrorKind::WriteZero => {
                &bytes[..bytes.len() / 2]
            }
            Verdict::Fail(_) | Verdict::Lose(_) => &[],
        };
        let grown = (offset + bytes.len()).saturating_sub(state.image.files[self.file].seen.len());
        if grown > 0 {
            state.room_for(grown as u64)?;
        }
        if !written.is_empty() {
            state.image.change(self.file, Change::Write { offset, bytes: written.into() });
        }
        verdict.into_result()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let verdict = state.judge(Act::Sync, &self.path);
        state.faults.synced(self.file, !matches!(verdict, Verdict::Pass));
        let contents = &mut state.image.files[self.file];
        match verdict {
            Verdict::Pass if contents.pending.is_empty() => {}
            // What a failed sync has lost is still seen by readers, and a later sync says nothing of it.
            Verdict::Pass => {
                let pending = std::mem::take(&mut contents.pending);
                let settled = Arc::make_mut(&mut contents.settled);
                pending.iter().for_each(|change| change.it.apply(settled));
            }
            Verdict::Lose(_) => contents.pending.clear(),
            Verdict::Fail(_) => {}
        }
        verdict.into_result()
    }

    fn settle(&self) -> io::Result<()> {
        self.sync()?;
        let contents = &mut self.disk.0.lock().image.files[self.file];
        contents.seen = Arc::clone(&contents.settled);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let wanted = usize::try_from(length).map_err(io::Error::other)?;
        self.disk.act(Act::Allocate, &self.path, |state| {
            let present = state.image.files[self.file].seen.len();
            if wanted > present {
                state.room_for((wanted - present) as u64)?;
                state.image.change(self.file, Change::Length(wanted));
            }
            Ok(())
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let wanted = usize::try_from(length).map_err(io::Error::other)?;
        self.disk.act(Act::Truncate, &self.path, |state| {
            state.image.change(self.file, Change::Length(wanted));
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.disk
            .act(Act::Look, &self.path, |state| Ok(state.image.files[self.file].seen.len() as u64))
    }
}
