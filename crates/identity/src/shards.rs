use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// How many parts a map has. A change to a map of 100,000 entries that others still read copies
/// the table of parts and one part of about 200 entries: near the least that the sum of both can
/// be.
const SHARDS: usize = 512;

type Shard<K, V> = Arc<HashMap<K, V, RandomState>>;

/// A map of which copies are cheap and share all that has not changed since.
///
/// Plain hash maps behind counted references: a lookup costs what it costs in a hash map, which
/// tries of persistent collections do not reach.
pub(crate) struct ShardMap<K, V> {
    shards: Arc<[Shard<K, V>]>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Clone for ShardMap<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), hasher: self.hasher.clone(), len: self.len }
    }
}

impl<K, V> Default for ShardMap<K, V> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { shards: vec![empty; SHARDS].into(), hasher, len: 0 }
    }
}

impl<K, V> ShardMap<K, V> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// How many entries are kept once for both.
    #[cfg(test)]
    pub(crate) fn shared_with(&self, other: &Self) -> usize {
        let pairs = self.shards.iter().zip(other.shards.iter());
        pairs.filter(|(left, right)| Arc::ptr_eq(left, right)).map(|(left, _)| left.len()).sum()
    }
}

impl<K: Hash + Eq + Clone, V: Clone> ShardMap<K, V> {
    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The map within the shard uses the hash's other bits, so that they still spread.
        (self.hasher.hash_one(key) >> 24) as usize % SHARDS
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.get(self.shard(key))?.get(key)
    }

    pub(crate) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.get(self.shard(key))?.get_key_value(key)
    }

    /// The value that was there before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let number = self.shard(&key);
        let shard = Arc::make_mut(&mut self.shards).get_mut(number)?;
        let before = Arc::make_mut(shard).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// The value that was there.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // Nothing is copied for what is not there.
        self.get(key)?;
        let number = self.shard(key);
        let shard = Arc::make_mut(&mut self.shards).get_mut(number)?;
        let before = Arc::make_mut(shard).remove(key);
        self.len -= usize::from(before.is_some());
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_copies_alone_and_shares_the_rest() {
        let mut map = ShardMap::default();
        for number in 0..10_000_u32 {
            map.insert(number, number);
        }
        let before = map.clone();
        assert_eq!(map.insert(7, 8), Some(7));
        assert_eq!(map.remove(&9), Some(9));
        assert_eq!(map.remove(&9), None);
        assert_eq!((before.get(&7), before.get(&9)), (Some(&7), Some(&9)));
        assert_eq!((map.get(&7), map.get(&9)), (Some(&8), None));
        assert_eq!((before.len(), map.len(), map.iter().count()), (10_000, 9_999, 9_999));
        let shared = map.shared_with(&before);
        assert!((9_800..10_000).contains(&shared), "{shared}");
        // What is not there is not taken out of a copy.
        let again = map.clone();
        assert_eq!(map.remove(&20_000), None);
        assert_eq!(map.shared_with(&again), 9_999);
    }
}
