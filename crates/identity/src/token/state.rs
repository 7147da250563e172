use std::sync::Arc;

use super::KeySet;

/// When the keys of an issuer are fetched. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwksTiming {
    /// After this the keys are fetched anew.
    pub ttl_ms: i64,
    /// Least time between fetches because of unknown keys, so that made-up key ids cause no flood.
    pub min_forced_ms: i64,
    /// Least time after a fetch that failed.
    pub retry_ms: i64,
    /// How long keys are used while they cannot be fetched anew.
    pub stale_ms: i64,
    /// After this a fetch of which nothing was heard counts as failed.
    pub timeout_ms: i64,
}

impl Default for JwksTiming {
    fn default() -> Self {
        Self {
            ttl_ms: 3_600_000,
            min_forced_ms: 30_000,
            retry_ms: 5_000,
            stale_ms: 24 * 3_600_000,
            timeout_ms: 30_000,
        }
    }
}

/// Why keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshReason {
    /// There are none, or they are older than their time.
    Due,
    /// A token names a key that is not among them.
    UnknownKey,
}

/// What is known of an issuer's keys, and whether to fetch them. Fetching is up to the caller:
/// [`Self::begin`], and after `true` one of [`Self::succeeded`] and [`Self::failed`].
#[derive(Debug)]
pub struct JwksState {
    timing: JwksTiming,
    keys: Option<Arc<KeySet>>,
    fetched_ms: i64,
    /// When the fetch that is under way began.
    under_way: Option<i64>,
    failed_ms: Option<i64>,
    forced_ms: Option<i64>,
}

impl JwksState {
    /// Without keys.
    #[must_use]
    pub fn new(timing: JwksTiming) -> Self {
        Self {
            timing,
            keys: None,
            fetched_ms: 0,
            under_way: None,
            failed_ms: None,
            forced_ms: None,
        }
    }

    /// The keys to check with. `None`: never fetched, or not for so long that a key that was
    /// withdrawn might be among them.
    #[must_use]
    pub fn keys(&self, now_ms: i64) -> Option<&Arc<KeySet>> {
        let keys = self.keys.as_ref()?;
        (now_ms.saturating_sub(self.fetched_ms) < self.timing.stale_ms).then_some(keys)
    }

    /// Whether the caller is to fetch the keys now. `true` is said to one caller at a time.
    pub fn begin(&mut self, reason: RefreshReason, now_ms: i64) -> bool {
        let timing = self.timing;
        let busy = |since: Option<i64>, time| since.is_some_and(|at| !passed(at, time, now_ms));
        if busy(self.under_way, timing.timeout_ms) || busy(self.failed_ms, timing.retry_ms) {
            return false;
        }
        let due = self.keys.is_none() || passed(self.fetched_ms, timing.ttl_ms, now_ms);
        let begins = match reason {
            _ if due => true,
            RefreshReason::Due => false,
            // Right after a fetch the set is the newest there is.
            RefreshReason::UnknownKey => {
                !busy(self.forced_ms, timing.min_forced_ms)
                    && passed(self.fetched_ms, timing.min_forced_ms, now_ms)
            }
        };
        if begins {
            self.under_way = Some(now_ms);
            if reason == RefreshReason::UnknownKey {
                self.forced_ms = Some(now_ms);
            }
        }
        begins
    }

    /// The keys were fetched.
    pub fn succeeded(&mut self, keys: KeySet, now_ms: i64) {
        self.keys = Some(Arc::new(keys));
        self.fetched_ms = now_ms;
        self.under_way = None;
        self.failed_ms = None;
    }

    /// The keys could not be fetched. Those that are there go on being used.
    pub fn failed(&mut self, now_ms: i64) {
        self.under_way = None;
        self.failed_ms = Some(now_ms);
    }
}

/// Whether the time has passed since then. A clock that was set back counts as passed: nothing may
/// hang on it until the old time comes again.
fn passed(since_ms: i64, time_ms: i64, now_ms: i64) -> bool {
    now_ms < since_ms || now_ms.saturating_sub(since_ms) >= time_ms
}

#[cfg(test)]
mod tests {
    use RefreshReason::{Due, UnknownKey};

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn keys() -> KeySet {
        let x = "A".repeat(43);
        let set = format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{x}"}}]}}"#);
        KeySet::parse(set.as_bytes()).unwrap()
    }

    fn fetched(at_ms: i64) -> JwksState {
        let mut state = JwksState::new(JwksTiming::default());
        assert!(state.keys(at_ms).is_none());
        assert!(state.begin(Due, at_ms));
        state.succeeded(keys(), at_ms);
        state
    }

    #[test]
    fn one_caller_fetches_and_again_when_the_time_is_over() {
        let mut state = JwksState::new(JwksTiming::default());
        assert!(state.begin(Due, 0));
        assert!(!state.begin(Due, 1) && !state.begin(UnknownKey, 29_999), "one at a time");
        assert!(state.begin(Due, 30_000), "the other was lost");
        state.succeeded(keys(), 31_000);
        assert!(state.keys(31_000).is_some());
        assert!(!state.begin(Due, 31_000 + HOUR - 1));
        assert!(state.begin(Due, 31_000 + HOUR));
        assert!(state.keys(31_000 + HOUR).is_some(), "used while they are fetched anew");
    }

    #[test]
    fn made_up_key_ids_cause_no_flood() {
        let mut state = fetched(0);
        assert!(!state.begin(UnknownKey, 29_999));
        let mut fetches = 0;
        for now in 30_000..150_000 {
            if state.begin(UnknownKey, now) {
                fetches += 1;
                state.succeeded(keys(), now);
            }
        }
        assert_eq!(fetches, 4);
        // Nor if the fetches fail.
        let mut state = fetched(0);
        let mut fetches = 0;
        for now in 30_000..150_000 {
            if state.begin(UnknownKey, now) {
                fetches += 1;
                state.failed(now);
            }
        }
        assert_eq!(fetches, 4);
    }

    #[test]
    fn keys_outlive_an_issuer_that_is_down_for_a_day() {
        let mut state = fetched(0);
        assert!(state.begin(Due, HOUR));
        state.failed(HOUR);
        assert!(!state.begin(Due, HOUR + 4_999));
        assert!(state.begin(Due, HOUR + 5_000));
        state.failed(HOUR + 5_000);
        assert!(state.keys(24 * HOUR - 1).is_some());
        assert!(state.keys(24 * HOUR).is_none());
        assert!(state.begin(Due, 24 * HOUR));
        state.succeeded(keys(), 24 * HOUR);
        assert!(state.keys(24 * HOUR).is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut state = fetched(1_000 * HOUR);
        assert!(state.keys(HOUR).is_some() && state.begin(Due, HOUR));
        state.succeeded(keys(), HOUR);
        assert!(state.keys(HOUR).is_some() && !state.begin(Due, HOUR));
    }
}
