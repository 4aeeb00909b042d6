//! A sorted map for very many small entries that mostly come and go in the order of their keys.
//!
//! ```text
//!  chunks: BTreeMap      1 -> [ 1 2 3 5 8 | full ]
//!                        9 -> [ 9 10 12 .. ]        a new one is begun behind the last when that is full
//! ```
//!
//! A `BTreeMap` that is filled in order leaves half of each node empty, twice the memory of the entries.
//! Here chunks are full, and a key is found by two binary searches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Entries of one chunk, at most: enough that its own place costs nothing, few enough that to move half
/// of them is cheap.
const CHUNK: usize = 256;

/// See the module.
#[derive(Debug, Clone)]
pub struct ChunkMap<K, V> {
    /// By a key that is not above any in the chunk. No chunk is empty.
    chunks: BTreeMap<K, VecDeque<(K, V)>>,
    len: usize,
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V> ChunkMap<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first_key(&self) -> Option<K> {
        let (_, chunk) = self.chunks.first_key_value()?;
        chunk.front().map(|(key, _)| *key)
    }

    pub fn get(&self, key: K) -> Option<&V> {
        let (_, chunk) = self.chunks.range(..=key).next_back()?;
        let at = place(chunk, key).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (_, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let at = place(chunk, key).ok()?;
        chunk.get_mut(at).map(|(_, value)| value)
    }

    /// Puts a value at a key, and returns the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some((label, chunk)) = self.chunks.range_mut(..=key).next_back() else {
            // Below all others.
            let mut chunk = self.chunks.pop_first().map(|(_, chunk)| chunk).unwrap_or_default();
            chunk.push_front((key, value));
            self.len += 1;
            self.chunks.insert(key, chunk);
            self.split(key);
            return None;
        };
        let label = *label;
        match place(chunk, key) {
            Ok(at) => chunk.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) if at == chunk.len() && at >= CHUNK => {
                self.len += 1;
                self.chunks.insert(key, VecDeque::from([(key, value)]));
                None
            }
            Err(at) => {
                chunk.insert(at, (key, value));
                self.len += 1;
                self.split(label);
                None
            }
        }
    }

    /// Halves a chunk that has grown too long.
    fn split(&mut self, label: K) {
        let Some(chunk) = self.chunks.get_mut(&label).filter(|chunk| chunk.len() > CHUNK) else {
            return;
        };
        let upper = chunk.split_off(CHUNK / 2);
        if let Some((first, _)) = upper.front() {
            self.chunks.insert(*first, upper);
        }
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        let (label, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let label = *label;
        let (_, value) = chunk.remove(place(chunk, key).ok()?)?;
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(&label);
        }
        Some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.chunks.values().flatten().map(|(key, value)| (*key, value))
    }

    /// What is not below `from`, in order.
    pub fn range(&self, from: K) -> impl Iterator<Item = (K, &V)> {
        let label = self.chunks.range(..=from).next_back().map(|(label, _)| *label);
        let here = label.and_then(|label| self.chunks.get(&label));
        let skipped = here.map_or(0, |chunk| place(chunk, from).unwrap_or_else(|at| at));
        let behind = (label.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let rest = self.chunks.range(behind).flat_map(|(_, chunk)| chunk);
        here.into_iter()
            .flat_map(move |chunk| chunk.range(skipped..))
            .chain(rest)
            .map(|(key, value)| (*key, value))
    }
}

fn place<K: Ord, V>(chunk: &VecDeque<(K, V)>, key: K) -> Result<usize, usize> {
    // Most often the first or the last is meant.
    match chunk.back() {
        Some((last, _)) if *last < key => return Err(chunk.len()),
        _ => {}
    }
    chunk.binary_search_by(|(at, _)| at.cmp(&key))
}

impl<K: Ord + Copy, V> IntoIterator for ChunkMap<K, V> {
    type Item = (K, V);
    type IntoIter =
        std::iter::Flatten<std::collections::btree_map::IntoValues<K, VecDeque<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_values().flatten()
    }
}

impl<K: Ord + Copy, V> FromIterator<(K, V)> for ChunkMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn all(map: &ChunkMap<u32, u32>) -> Vec<(u32, u32)> {
        map.iter().map(|(key, value)| (key, *value)).collect()
    }

    #[test]
    fn chunks_that_were_filled_in_order_are_full() {
        let map: ChunkMap<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        assert_eq!(map.chunks.len(), 10_000_usize.div_ceil(CHUNK));
        assert_eq!(map.len(), 10_000);
        assert_eq!(map.first_key(), Some(0));
    }

    #[test]
    fn no_empty_chunk_stays() {
        let mut map: ChunkMap<u32, u32> = (0..1000).rev().map(|n| (n, n)).collect();
        (0..1000).for_each(|n| assert_eq!(map.remove(n), Some(n)));
        assert!(map.chunks.is_empty() && map.is_empty());
        assert_eq!(map.first_key(), None);
    }

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(
            steps in prop::collection::vec((0..3_u8, 0..2000_u32), 0..3000),
            from in 0..2100_u32,
        ) {
            let (mut map, mut tree) = (ChunkMap::default(), BTreeMap::new());
            for (number, (step, key)) in steps.into_iter().enumerate() {
                let number = number as u32;
                match step {
                    0 => prop_assert_eq!(map.insert(key, number), tree.insert(key, number)),
                    1 => prop_assert_eq!(map.remove(key), tree.remove(&key)),
                    _ => prop_assert_eq!(map.get(key).copied(), tree.get(&key).copied()),
                }
                prop_assert_eq!(map.len(), tree.len());
                prop_assert_eq!(map.first_key(), tree.keys().next().copied());
            }
            let expected: Vec<_> = tree.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(&all(&map), &expected);
            let behind: Vec<_> = map.range(from).map(|(key, value)| (key, *value)).collect();
            let wanted: Vec<_> = tree.range(from..).map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(behind, wanted);
            prop_assert_eq!(map.into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
