use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use metering::{LevelKind, LevelLimiter, Limits};
use parking_lot::RwLock;

/// Parts that are locked by themselves, so that workers seldom wait for each other.
const PARTS: usize = 16;

type Part = RwLock<HashMap<LevelKind, HashMap<Box<str>, Arc<LevelLimiter>>>>;

/// The counters of every level that was limited and used since the start.
#[derive(Debug)]
pub struct Limiters {
    parts: [Part; PARTS],
    hasher: RandomState,
}

impl Default for Limiters {
    fn default() -> Self {
        Self { parts: Default::default(), hasher: RandomState::new() }
    }
}

impl Limiters {
    /// The counters of a level under its present limits; what it has used stays used when they
    /// change.
    #[must_use]
    pub fn of(&self, kind: LevelKind, id: &str, limits: &Limits, now_ns: u64) -> Arc<LevelLimiter> {
        let number = usize::try_from(self.hasher.hash_one((kind, id)) % PARTS as u64).unwrap_or(0);
        let part = &self.parts[number];
        let found = |levels: &HashMap<LevelKind, HashMap<Box<str>, Arc<LevelLimiter>>>| {
            levels.get(&kind).and_then(|of_kind| of_kind.get(id)).map(Arc::clone)
        };
        if let Some(limiter) = found(&part.read())
            && limiter.limits() == limits
        {
            return limiter;
        }
        let mut levels = part.write();
        let limiter = match found(&levels) {
            Some(limiter) if limiter.limits() == limits => return limiter,
            Some(limiter) => Arc::new(limiter.reconfigured(*limits, now_ns)),
            None => Arc::new(LevelLimiter::new(kind, id, *limits)),
        };
        levels.entry(kind).or_default().insert(id.into(), Arc::clone(&limiter));
        limiter
    }

    /// All of them, for an exchange with other replicas.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LevelLimiter>> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.read().values().flat_map(HashMap::values).map(Arc::clone));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_keeps_its_counters_and_takes_other_limits() {
        let limiters = Limiters::default();
        let ten = Limits { requests_per_minute: Some(10), ..Limits::default() };
        let first = limiters.of(LevelKind::Key, "a", &ten, 0);
        assert!(Arc::ptr_eq(&first, &limiters.of(LevelKind::Key, "a", &ten, 0)));
        assert!(!Arc::ptr_eq(&first, &limiters.of(LevelKind::Team, "a", &ten, 0)));
        drop(metering::admit(vec![first], 0, 0).unwrap());
        let five = Limits { requests_per_minute: Some(5), ..Limits::default() };
        let changed = limiters.of(LevelKind::Key, "a", &five, 0);
        assert_eq!(changed.rates()[0].unwrap().1.rate().remaining(0), 4);
        assert_eq!(limiters.all().len(), 2);
    }
}
