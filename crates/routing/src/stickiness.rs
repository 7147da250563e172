//! Which deployment a conversation is at.

use crate::Millis;

/// Entries that compete for the same places.
const WAYS: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Entry {
    conversation: u64,
    deployment: u32,
    /// When it was last asked for or set.
    at: Millis,
}

/// Remembers the deployment of each conversation for a time after its last request.
///
/// Memory is fixed: each conversation has eight places that it shares with others, and takes the
/// place of the one that was idle longest. A deployment is a number of the caller's; when the
/// numbers change, [`Stickiness::renumber`] follows.
#[derive(Debug, Clone)]
pub struct Stickiness {
    /// Empty until the first conversation is set.
    entries: Vec<Option<Entry>>,
    sets: usize,
    idle: Millis,
}

impl Stickiness {
    /// Conversations that [`Stickiness::default`] has room for.
    pub const CAPACITY: usize = 65_536;
    /// Idle time after which [`Stickiness::default`] forgets: one hour.
    pub const IDLE: Millis = 3_600_000;

    /// Room for `capacity` conversations (rounded up to a multiple of eight, at least eight), each
    /// forgotten after `idle` milliseconds without a request.
    #[must_use]
    pub fn new(capacity: usize, idle: Millis) -> Self {
        Self { entries: Vec::new(), sets: capacity.div_ceil(WAYS).max(1), idle }
    }

    fn set_of(&mut self, conversation: u64) -> &mut [Option<Entry>] {
        // Multiplied by the golden ratio, so that keys that differ only in their low bits spread.
        let mixed = conversation.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let begin = (mixed as usize % self.sets) * WAYS;
        self.entries.get_mut(begin..begin + WAYS).unwrap_or_default()
    }

    /// Where a conversation is; counts as a request of it.
    pub fn get(&mut self, conversation: u64, now: Millis) -> Option<u32> {
        let idle = self.idle;
        let entry = self
            .set_of(conversation)
            .iter_mut()
            .flatten()
            .find(|entry| entry.conversation == conversation)?;
        if now.saturating_sub(entry.at) >= idle {
            return None;
        }
        entry.at = now;
        Some(entry.deployment)
    }

    /// A conversation is at a deployment from now on.
    pub fn set(&mut self, conversation: u64, deployment: u32, now: Millis) {
        if self.entries.is_empty() {
            self.entries = vec![None; self.sets * WAYS];
        }
        let idle_since = |entry: &Option<Entry>| match entry {
            // Its own place first, then an empty one, then the one idle longest.
            Some(entry) if entry.conversation == conversation => (0, 0),
            None => (1, 0),
            Some(entry) => (2, entry.at),
        };
        if let Some(place) = self.set_of(conversation).iter_mut().min_by_key(|e| idle_since(e)) {
            *place = Some(Entry { conversation, deployment, at: now });
        }
    }

    /// Forgets where a conversation is.
    pub fn remove(&mut self, conversation: u64) {
        for place in self.set_of(conversation) {
            if place.is_some_and(|entry| entry.conversation == conversation) {
                *place = None;
            }
        }
    }

    /// Deployments have new numbers: `to` says which; `None`: it is gone.
    pub fn renumber(&mut self, to: impl Fn(u32) -> Option<u32>) {
        for place in &mut self.entries {
            *place = place.and_then(|entry| {
                to(entry.deployment).map(|deployment| Entry { deployment, ..entry })
            });
        }
    }
}

impl Default for Stickiness {
    fn default() -> Self {
        Self::new(Self::CAPACITY, Self::IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_stays_until_it_was_idle_too_long() {
        let mut table = Stickiness::new(64, 1_000);
        assert_eq!(table.get(1, 0), None);
        table.set(1, 7, 0);
        assert_eq!(table.get(1, 999), Some(7), "999 ms idle");
        assert_eq!(table.get(1, 1_998), Some(7), "the request before counted");
        assert_eq!(table.get(1, 2_998), None, "1000 ms idle");
        table.set(1, 8, 3_000);
        table.set(1, 9, 3_001);
        assert_eq!(table.get(1, 3_002), Some(9));
        table.remove(1);
        assert_eq!(table.get(1, 3_003), None);
    }

    #[test]
    fn memory_is_bounded_and_the_longest_idle_goes_first() {
        let mut table = Stickiness::new(WAYS, 1_000_000);
        for conversation in 0..WAYS as u64 {
            table.set(conversation, 1, conversation);
        }
        assert_eq!(table.get(0, 100), Some(1), "used again");
        table.set(1_000, 2, 101);
        assert_eq!(table.get(1, 102), None, "idle longest");
        assert_eq!(table.get(0, 102), Some(1));
        assert_eq!(table.get(1_000, 102), Some(2));

        let mut table = Stickiness::new(1_000, 1_000_000);
        for conversation in 0..100_000 {
            table.set(conversation, 1, conversation);
        }
        let found = (0..100_000).filter(|key| table.get(*key, 100_000).is_some()).count();
        assert!((900..=1_000).contains(&found), "keys in a row spread: {found}");
        assert_eq!(table.entries.len(), 1_000);
    }

    #[test]
    fn a_clock_that_goes_backwards_forgets_nothing_and_keeps_nothing_for_ever() {
        let mut table = Stickiness::new(64, 1_000);
        table.set(1, 7, 1_000_000);
        assert_eq!(table.get(1, 10), Some(7));
        assert_eq!(table.get(1, 1_500), None, "idle by the clock as it is now");
        table.set(u64::MAX, 3, u64::MAX);
        assert_eq!(table.get(u64::MAX, 0), Some(3));
    }

    #[test]
    fn deployments_that_are_gone_are_forgotten() {
        let mut table = Stickiness::default();
        table.set(1, 0, 0);
        table.set(2, 1, 0);
        table.renumber(|deployment| deployment.checked_sub(1));
        assert_eq!(table.get(1, 1), None);
        assert_eq!(table.get(2, 1), Some(0));
    }
}
