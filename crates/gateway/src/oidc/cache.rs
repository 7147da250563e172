use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// SHA-256 of a token; the token itself is not kept.
pub(super) type Digest = [u8; 32];

/// Values that hold for a while. The oldest goes where there is no room.
#[derive(Debug)]
pub(super) struct Cache<V> {
    most: usize,
    values: HashMap<Digest, (V, Instant)>,
    /// In the order in which they came, with what each had as its end.
    order: VecDeque<(Digest, Instant)>,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, values: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, digest: &Digest, now: Instant) -> Option<V> {
        let (value, until) = self.values.get(digest)?;
        (now < *until).then(|| value.clone())
    }

    pub(super) fn insert(&mut self, digest: Digest, value: V, now: Instant, life: Duration) {
        if life.is_zero() {
            return;
        }
        while let Some((oldest, until)) = self.order.front() {
            if now < *until && self.order.len() < self.most {
                break;
            }
            // It may have been replaced by one that ends later.
            if self.values.get(oldest).is_some_and(|(_, newest)| newest == until) {
                self.values.remove(oldest);
            }
            self.order.pop_front();
        }
        self.values.insert(digest, (value, now + life));
        self.order.push_back((digest, now + life));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_in_time_and_the_oldest_makes_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let life = Duration::from_secs(10);
        let mut cache = Cache::new(2);
        cache.insert([1; 32], "one", start, life);
        assert_eq!(cache.get(&[1; 32], at(9)), Some("one"));
        assert_eq!(cache.get(&[1; 32], at(10)), None);
        assert_eq!(cache.get(&[2; 32], start), None);
        // Replaced: the end of the older one does not take the newer one away.
        cache.insert([1; 32], "again", at(5), life);
        cache.insert([2; 32], "two", at(11), life);
        assert_eq!(cache.get(&[1; 32], at(14)), Some("again"));
        cache.insert([3; 32], "three", at(12), life);
        assert_eq!(cache.get(&[1; 32], at(12)), None, "no room");
        assert_eq!(cache.get(&[2; 32], at(12)), Some("two"));
        assert_eq!((cache.values.len(), cache.order.len()), (2, 2));
        cache.insert([4; 32], "ended", at(12), Duration::ZERO);
        assert_eq!(cache.get(&[2; 32], at(12)), Some("two"));
        for number in 0..100 {
            cache.insert([number; 32], "many", at(30), life);
            assert!(cache.values.len() <= 2 && cache.order.len() <= 2);
        }
    }
}
