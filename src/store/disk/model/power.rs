//! What a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::{Change, Contents, Image, Node, put};

/// So many choices are enumerated for each power cut; from there on a number is the seed of a dice.
pub const SUBSETS: u64 = 64;

/// What a disk writes at once.
const SECTOR: usize = 512;

/// What becomes of a change that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Dropped,
    Kept,
    /// Some sectors are there.
    Torn,
    /// Some sectors are there, and others hold anything. Only what was to be written is lost: what stands
    /// beside it in its sectors stays.
    Garbage,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Dropped, Self::Kept, Self::Torn, Self::Garbage];
}

impl Image {
    /// What is there after a power cut. The last three changes that were not synced have every
    /// combination of fates as `subset` goes through [`SUBSETS`]; those before are left to a dice,
    /// except that all changes share a fate when those three do.
    #[must_use]
    pub fn cut(&self, subset: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(subset);
        let fates = self.fates(subset, &mut dice);
        let fate = |number: u64| fates.get(&number).copied().unwrap_or(Fate::Kept);
        let names = self.names_left(|number| matches!(fate(number), Fate::Kept | Fate::Torn));
        let files = self.files.iter().map(|contents| contents.cut(fate, &mut dice)).collect();
        Self { settled: names.clone(), names, naming: Vec::new(), files, number: self.number }
    }

    /// A number for each thing that can be left of `before`.
    pub fn fingerprint(&self, before: &Self) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for name in self.names.keys() {
            hash.update(name.as_os_str().as_encoded_bytes());
        }
        for (left, old) in self.files.iter().zip(&before.files) {
            if !Arc::ptr_eq(&left.seen, &old.settled) {
                hash.update(&left.seen);
            }
        }
        hash.digest()
    }

    fn fates(&self, subset: u64, dice: &mut fastrand::Rng) -> BTreeMap<u64, Fate> {
        let changes = self.files.iter().flat_map(|file| &file.pending).map(|change| change.number);
        let numbers: BTreeSet<u64> =
            changes.chain(self.naming.iter().map(|naming| naming.number)).collect();
        let digits = [subset & 3, subset >> 2 & 3, subset >> 4 & 3];
        let same = digits.iter().all(|digit| *digit == digits[0]).then_some(digits[0]);
        let chosen = numbers.iter().rev().enumerate().map(|(age, number)| {
            let thrown = dice.u64(..Fate::ALL.len() as u64);
            let digit = match digits.get(age) {
                _ if subset >= SUBSETS => thrown,
                Some(digit) => *digit,
                None => same.unwrap_or(thrown),
            };
            (*number, Fate::ALL[digit as usize])
        });
        chosen.collect()
    }

    /// The names that are there when of their changes only those are that are `kept`.
    fn names_left(&self, kept: impl Fn(u64) -> bool) -> BTreeMap<Arc<Path>, Node> {
        let mut names = self.settled.clone();
        for naming in self.naming.iter().filter(|naming| kept(naming.number)) {
            match naming.it.node {
                Some(node) => names.insert(Arc::clone(&naming.it.path), node),
                None => names.remove(&naming.it.path),
            };
        }
        names
    }
}

impl Contents {
    fn cut(&self, fate: impl Fn(u64) -> Fate, dice: &mut fastrand::Rng) -> Self {
        let mut left = Arc::clone(&self.settled);
        for change in &self.pending {
            let fate = fate(change.number);
            if fate != Fate::Dropped {
                change.it.partly(fate, Arc::make_mut(&mut left), dice);
            }
        }
        Self { seen: Arc::clone(&left), settled: left, pending: Vec::new() }
    }
}

impl Change {
    fn partly(&self, fate: Fate, file: &mut Vec<u8>, dice: &mut fastrand::Rng) {
        match self {
            Self::Write { offset, bytes } if fate != Fate::Kept => {
                for (offset, piece) in sectors(*offset, bytes) {
                    match fate {
                        Fate::Garbage if dice.bool() => {
                            let mut garbage = vec![0; piece.len()];
                            dice.fill(&mut garbage);
                            put(file, offset, &garbage);
                        }
                        _ if dice.bool() => put(file, offset, piece),
                        Fate::Dropped | Fate::Kept | Fate::Torn | Fate::Garbage => {}
                    }
                }
            }
            Self::Length(_) if fate == Fate::Garbage => {}
            Self::Write { .. } | Self::Length(_) => self.apply(file),
        }
    }
}

/// A write by the sectors that it touches.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        let start = at;
        (at, rest) = (at + piece.len(), behind);
        (!piece.is_empty()).then_some((start, piece))
    })
}
