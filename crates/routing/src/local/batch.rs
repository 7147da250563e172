use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;

/// How requests for embeddings are put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// Most texts in one call. A request with more than half as many is sent alone. Default 64.
    #[schemars(range(min = 2))]
    pub max_inputs: u32,
    /// Longest that a request waits for others, milliseconds. Default 10.
    pub max_wait_ms: u64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { max_inputs: 64, max_wait_ms: 10 }
    }
}

/// One request's part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<R> {
    /// The request.
    pub request: R,
    /// Texts of it, which follow those of the parts before.
    pub inputs: u32,
}

/// Requests that share a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<K, R> {
    /// What they have in common.
    pub key: K,
    /// The requests, in the order of their texts.
    pub parts: Vec<Part<R>>,
}

/// Not as many results as texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{results} results for {inputs} texts")]
pub struct WrongCount {
    /// Results that came.
    pub results: usize,
    /// Texts that were sent.
    pub inputs: usize,
}

impl<K, R> Batch<K, R> {
    /// Texts of all requests.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.parts.iter().map(|part| part.inputs as usize).sum()
    }

    /// Gives each request its results, which stand in the order of the texts.
    ///
    /// # Errors
    ///
    /// [`WrongCount`], and nobody gets anything, as it is not known whose are missing.
    pub fn split<T>(self, results: Vec<T>) -> Result<Vec<(R, Vec<T>)>, WrongCount> {
        let inputs = self.inputs();
        if results.len() != inputs {
            return Err(WrongCount { results: results.len(), inputs });
        }
        let mut results = results.into_iter();
        let parts = self.parts.into_iter();
        Ok(parts
            .map(|part| (part.request, results.by_ref().take(part.inputs as usize).collect()))
            .collect())
    }
}

/// Divides `total` (the tokens a call was charged for) in proportion to `weights` (the tokens each
/// part was estimated to have), to the unit: the parts add up to `total`. Equally if all are 0.
#[must_use]
pub fn apportion(total: u64, weights: &[u64]) -> Vec<u64> {
    // Far above any number of tokens, and low enough that the products fit.
    let bounded = |weight: &u64| u128::from((*weight).min(1 << 40));
    let sum: u128 = weights.iter().map(bounded).sum();
    let count = weights.len() as u128;
    let mut before = 0;
    let mut given = 0;
    weights
        .iter()
        .map(|weight| {
            before += if sum == 0 { 1 } else { bounded(weight) };
            let of = if sum == 0 { count } else { sum };
            let until_here = u64::try_from(u128::from(total) * before / of).unwrap_or(total);
            let share = until_here.saturating_sub(given);
            given = until_here;
            share
        })
        .collect()
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Pushed<K, R> {
    /// It waits for others.
    Held,
    /// It is too large to wait: to be sent alone.
    Alone(R),
    /// These are to be sent now; the request is among them, or waits if it did not fit.
    Flush(Batch<K, R>),
}

#[derive(Debug)]
struct Group<R> {
    since: Millis,
    inputs: u32,
    parts: Vec<Part<R>>,
}

/// Collects small requests for embeddings into calls of up to [`BatchOptions::max_inputs`] texts.
///
/// Only requests with equal keys share a call: the key names the deployment, all parameters, and
/// whatever else must not be mixed.
#[derive(Debug)]
pub struct MicroBatcher<K, R> {
    options: BatchOptions,
    clock: Millis,
    groups: BTreeMap<K, Group<R>>,
}

impl<K: Ord + Clone, R: PartialEq> MicroBatcher<K, R> {
    /// Nothing waits.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self { options, clock: 0, groups: BTreeMap::new() }
    }

    /// A request with so many texts.
    pub fn push(&mut self, now: Millis, key: K, request: R, inputs: u32) -> Pushed<K, R> {
        self.clock = self.clock.max(now);
        let most = self.options.max_inputs;
        if inputs > most / 2 || self.options.max_wait_ms == 0 {
            return Pushed::Alone(request);
        }
        let since = self.clock;
        let new = || Group { since, inputs: 0, parts: Vec::new() };
        let group = self.groups.entry(key.clone()).or_insert_with(new);
        let part = Part { request, inputs };
        let total = group.inputs.saturating_add(inputs);
        if total > most {
            let full = std::mem::replace(group, Group { since, inputs, parts: vec![part] });
            return Pushed::Flush(Batch { key, parts: full.parts });
        }
        group.parts.push(part);
        group.inputs = total;
        // A text may be counted as none, but a call does not hold any number of requests.
        if total == most || group.parts.len() >= most as usize {
            let parts = self.groups.remove(&key).map(|group| group.parts).unwrap_or_default();
            return Pushed::Flush(Batch { key, parts });
        }
        Pushed::Held
    }

    /// When [`MicroBatcher::due`] will have something; `None`: nothing waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.groups.values().map(|group| self.end_of(group)).min()
    }

    /// A call whose requests have waited long enough. To be asked until there is none.
    pub fn due(&mut self, now: Millis) -> Option<Batch<K, R>> {
        self.clock = self.clock.max(now);
        let due = self.groups.iter().find(|(_, group)| self.end_of(group) <= self.clock);
        let key = due.map(|(key, _)| key.clone())?;
        let group = self.groups.remove(&key)?;
        Some(Batch { key, parts: group.parts })
    }

    /// Takes out a request that is no longer wanted. `false`: it does not wait (any more).
    pub fn cancel(&mut self, key: &K, request: &R) -> bool {
        let Some(group) = self.groups.get_mut(key) else { return false };
        let Some(at) = group.parts.iter().position(|part| part.request == *request) else {
            return false;
        };
        let part = group.parts.remove(at);
        group.inputs = group.inputs.saturating_sub(part.inputs);
        if group.parts.is_empty() {
            self.groups.remove(key);
        }
        true
    }

    fn end_of(&self, group: &Group<R>) -> Millis {
        group.since.saturating_add(self.options.max_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batcher() -> MicroBatcher<&'static str, u32> {
        MicroBatcher::new(BatchOptions::default())
    }

    fn requests(batch: &Batch<&'static str, u32>) -> Vec<u32> {
        batch.parts.iter().map(|part| part.request).collect()
    }

    #[test]
    fn a_call_goes_out_when_it_is_full() {
        let mut batcher = batcher();
        for request in 0..63 {
            assert_eq!(batcher.push(0, "a", request, 1), Pushed::Held);
        }
        let Pushed::Flush(batch) = batcher.push(0, "a", 63, 1) else { panic!("not full") };
        assert_eq!(requests(&batch), (0..64).collect::<Vec<_>>());
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn who_does_not_fit_waits_for_the_next_call() {
        let mut batcher = batcher();
        assert_eq!(batcher.push(0, "a", 1, 32), Pushed::Held);
        assert_eq!(batcher.push(2, "a", 2, 31), Pushed::Held);
        let Pushed::Flush(batch) = batcher.push(4, "a", 3, 2) else { panic!("not full") };
        assert_eq!(requests(&batch), [1, 2]);
        assert_eq!(batcher.deadline(), Some(14));
        assert_eq!(batcher.due(14).map(|batch| requests(&batch)), Some(vec![3]));
    }

    #[test]
    fn ten_milliseconds_after_the_first_a_call_goes_out() {
        let mut batcher = batcher();
        assert_eq!(batcher.push(100, "a", 1, 1), Pushed::Held);
        assert_eq!(batcher.push(105, "b", 2, 1), Pushed::Held);
        assert_eq!(batcher.push(109, "a", 3, 1), Pushed::Held);
        assert_eq!((batcher.deadline(), batcher.due(109)), (Some(110), None));
        assert_eq!(batcher.due(110).map(|batch| requests(&batch)), Some(vec![1, 3]));
        assert_eq!((batcher.deadline(), batcher.due(110)), (Some(115), None));
        assert_eq!(batcher.due(115).map(|batch| batch.key), Some("b"));
    }

    #[test]
    fn large_requests_do_not_wait() {
        let mut batcher = batcher();
        assert_eq!(batcher.push(0, "a", 1, 33), Pushed::Alone(1));
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn who_went_away_is_not_sent() {
        let mut batcher = batcher();
        assert_eq!(batcher.push(0, "a", 1, 30), Pushed::Held);
        assert_eq!(batcher.push(0, "a", 2, 30), Pushed::Held);
        assert!(batcher.cancel(&"a", &1));
        assert!(!batcher.cancel(&"a", &1) && !batcher.cancel(&"b", &2));
        assert_eq!(batcher.push(0, "a", 3, 30), Pushed::Held);
        assert_eq!(batcher.due(10).map(|batch| requests(&batch)), Some(vec![2, 3]));
        assert_eq!(batcher.push(20, "a", 4, 1), Pushed::Held);
        assert!(batcher.cancel(&"a", &4));
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn a_clock_that_goes_back_holds_nobody_longer() {
        let mut batcher = batcher();
        assert_eq!(batcher.push(1000, "a", 1, 1), Pushed::Held);
        assert_eq!(batcher.push(0, "b", 2, 1), Pushed::Held);
        assert_eq!((batcher.due(0), batcher.deadline()), (None, Some(1010)));
        assert!(batcher.due(1010).is_some() && batcher.due(1010).is_some());
    }

    #[test]
    fn a_missing_result_is_nobodys() {
        let batch = Batch { key: (), parts: vec![Part { request: 1, inputs: 2 }] };
        assert_eq!(batch.split(vec![0.5]), Err(WrongCount { results: 1, inputs: 2 }));
    }

    #[test]
    fn tokens_are_divided_to_the_last() {
        assert_eq!(apportion(10, &[1, 1, 1]), [3, 3, 4]);
        assert_eq!(apportion(7, &[0, 0]), [3, 4]);
        assert_eq!(apportion(100, &[30, 0, 10]), [75, 0, 25]);
        assert_eq!(apportion(5, &[]), Vec::<u64>::new());
        assert_eq!(apportion(u64::MAX, &[u64::MAX, u64::MAX]).iter().sum::<u64>(), u64::MAX);
    }

    proptest! {
        #[test]
        fn every_request_gets_its_own_results_once(
            pushes in proptest::collection::vec((0_u32..3, 1_u32..40, 0_u64..6), 1..200)
        ) {
            let mut batcher = MicroBatcher::new(BatchOptions::default());
            let (mut now, mut batches, mut alone) = (0, Vec::new(), Vec::new());
            for (request, (key, inputs, ms)) in pushes.iter().enumerate() {
                now += ms;
                while let Some(batch) = batcher.due(now) {
                    batches.push(batch);
                }
                match batcher.push(now, *key, request, *inputs) {
                    Pushed::Held => {}
                    Pushed::Alone(request) => alone.push(request),
                    Pushed::Flush(batch) => batches.push(batch),
                }
                prop_assert!(batcher.deadline().is_none_or(|at| at > now && at <= now + 10));
            }
            while let Some(batch) = batcher.due(now + 10) {
                batches.push(batch);
            }
            let mut answered = alone;
            for batch in batches {
                prop_assert!(batch.inputs() <= 64);
                let key = batch.key;
                let texts: Vec<_> = batch
                    .parts
                    .iter()
                    .flat_map(|part| (0..part.inputs).map(|at| (part.request, at)))
                    .collect();
                for (request, results) in batch.split(texts).expect("as many as texts") {
                    let (of_key, inputs, _) = pushes[request];
                    let own: Vec<_> = (0..inputs).map(|at| (request, at)).collect();
                    prop_assert_eq!(results, own);
                    prop_assert_eq!(of_key, key);
                    answered.push(request);
                }
            }
            answered.sort_unstable();
            prop_assert_eq!(answered, (0..pushes.len()).collect::<Vec<_>>());
        }
    }
}
