//! When a second deployment is asked although the first did not fail: its first token is late.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::options::OptionsFault;

/// Whether a request whose first token is late is sent to a second deployment too. The first
/// answer is taken; the other call is cancelled, and charged for what it used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeOptions {
    /// Whether it is done at all; default no: providers charge the prompt of the call that is
    /// cancelled.
    pub enabled: bool,
    /// Late is what is slower than this share of the first tokens; default 0.95.
    #[schemars(range(min = 0.5, max = 0.999))]
    pub quantile: f64,
    /// Never sooner than this, milliseconds; default 50.
    #[schemars(range(min = 0, max = 600_000))]
    pub min_delay_ms: Millis,
    /// Largest share of the requests for which it is done, 0 to 1; default 0.05.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_share: f64,
}

impl Default for HedgeOptions {
    fn default() -> Self {
        Self { enabled: false, quantile: 0.95, min_delay_ms: 50, max_share: 0.05 }
    }
}

impl HedgeOptions {
    /// Whether all is within its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), OptionsFault> {
        OptionsFault::unless(
            (0.5..=0.999).contains(&self.quantile),
            "quantile",
            "must be between 0.5 and 0.999",
            "leave it out for 0.95",
        )?;
        OptionsFault::unless(
            (0.0..=1.0).contains(&self.max_share),
            "max_share",
            "must be between 0 and 1",
            "leave it out for 0.05",
        )
    }
}

/// Where the quantile is known from fewer samples above it than this, it is not known.
const SAMPLES_ABOVE: f64 = 3.0;
/// Fewest samples that say anything.
const SAMPLES: f64 = 20.0;
/// Over how many samples the distribution forgets.
const MEMORY_SAMPLES: f64 = 1_000.0;
/// Buckets for each doubling of the time.
const PER_DOUBLING: f64 = 8.0;
/// 1 ms to 2^20 ms, which is 17 minutes.
const BUCKETS: usize = 161;

/// How long first tokens take, as a distribution that forgets: a histogram of fixed size, each of
/// whose buckets is 2^(1/8) times as far as the one before, so quantiles are right within 5 %. It
/// forgets over 1,000 samples.
///
/// A first token that never came is a sample too: of the time that was waited for it.
#[derive(Debug, Clone)]
pub struct FirstTokenQuantile {
    buckets: [f32; BUCKETS],
    sum: f64,
    /// The weight of the next sample. It grows instead of all others shrinking.
    next: f64,
}

impl Default for FirstTokenQuantile {
    fn default() -> Self {
        Self { buckets: [0.0; BUCKETS], sum: 0.0, next: 1.0 }
    }
}

impl FirstTokenQuantile {
    /// Takes a sample.
    pub fn add(&mut self, first_token_ms: Millis) {
        let place = ((first_token_ms.max(1) as f64).log2() * PER_DOUBLING).round();
        let last = BUCKETS - 1;
        if let Some(bucket) = self.buckets.get_mut((place as usize).min(last)) {
            *bucket += self.next as f32;
            self.sum += self.next;
        }
        self.next *= 1.0 + 1.0 / MEMORY_SAMPLES;
        if self.next > 1e6 {
            self.rescale();
        }
    }

    /// The time within which a share `quantile` of the first tokens comes, milliseconds; `None`:
    /// there are not enough samples to say.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let quantile = if quantile.is_nan() { return None } else { quantile.clamp(0.0, 1.0) };
        // In units of the latest sample, so forgotten ones do not count.
        let samples = self.sum / self.next;
        if samples < SAMPLES || samples * (1.0 - quantile) < SAMPLES_ABOVE {
            return None;
        }
        let mut left = quantile * self.sum;
        let mut last = None;
        for (place, &weight) in self.buckets.iter().enumerate() {
            if weight <= 0.0 {
                continue;
            }
            let weight = f64::from(weight);
            last = Some(place);
            if left <= weight {
                break;
            }
            left -= weight;
        }
        last.map(|place| (place as f64 / PER_DOUBLING).exp2())
    }

    fn rescale(&mut self) {
        let scale = 1.0 / self.next;
        self.sum = 0.0;
        for bucket in &mut self.buckets {
            *bucket *= scale as f32;
            self.sum += f64::from(*bucket);
        }
        self.next = 1.0;
    }
}

/// How long to wait for a first token before a second deployment is asked, milliseconds; `None`:
/// it is not, because it is not wanted or too little is known of the deployment that was asked.
#[must_use]
pub fn hedge_delay(options: &HedgeOptions, first_tokens: &FirstTokenQuantile) -> Option<Millis> {
    if !options.enabled {
        return None;
    }
    let late = first_tokens.quantile(options.quantile)?;
    Some((late.ceil() as Millis).max(options.min_delay_ms))
}

/// How many requests may be hedged: over any time with `n` requests at most
/// `max_share * n + 1`. Hedges are extra load, so each has to be permitted
/// by the [`crate::RetryBudget`] too.
#[derive(Debug, Clone)]
pub struct HedgeBudget {
    share: f64,
    balance: f64,
}

impl HedgeBudget {
    /// A budget out of which nothing can be paid yet.
    #[must_use]
    pub fn new(options: &HedgeOptions) -> Self {
        let share = if options.max_share.is_finite() { options.max_share } else { 0.0 };
        Self { share: share.clamp(0.0, 1.0), balance: 0.0 }
    }

    /// A request came.
    pub fn deposit(&mut self) {
        self.balance = (self.balance + self.share).min(1.0);
    }

    /// Whether a request may be hedged now; if so, it is paid.
    #[must_use]
    pub fn permits(&mut self) -> bool {
        // Sums of shares such as 0.05 do not come to exactly 1.
        let paid = self.balance >= 1.0 - 1e-9;
        if paid {
            self.balance -= 1.0;
        }
        paid
    }

    /// Gives back what was paid for a hedge that was not sent.
    pub fn give_back(&mut self) {
        self.balance = (self.balance + 1.0).min(1.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(samples: impl IntoIterator<Item = Millis>) -> FirstTokenQuantile {
        let mut quantile = FirstTokenQuantile::default();
        for sample in samples {
            quantile.add(sample);
        }
        quantile
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("enough samples");
        assert!((found / expected - 1.0).abs() < 0.06, "{found} is not {expected}");
    }

    #[test]
    fn the_defaults_are_within_range_and_off() {
        let options = HedgeOptions::default();
        options.check().expect("the defaults");
        assert!(!options.enabled);
        assert!(HedgeOptions { quantile: 1.0, ..options }.check().is_err());
        assert!(HedgeOptions { max_share: -0.1, ..options }.check().is_err());
    }

    #[test]
    fn quantiles_of_a_known_distribution() {
        let quantile = filled((0..10_000).map(|index| 1 + index * 7_919 % 1_000));
        near(quantile.quantile(0.5), 500.0);
        near(quantile.quantile(0.95), 950.0);
        near(quantile.quantile(0.99), 990.0);
    }

    #[test]
    fn a_quantile_needs_samples_beyond_it() {
        let few = filled((0..19).map(|_| 100));
        assert_eq!(few.quantile(0.5), None);
        let enough = filled((0..60).map(|_| 100));
        near(enough.quantile(0.9), 100.0);
        assert_eq!(enough.quantile(0.99), None);
        assert_eq!(enough.quantile(1.0), None);
        assert_eq!(enough.quantile(f64::NAN), None);
    }

    #[test]
    fn it_follows_drift() {
        let mut quantile = filled((0..200_000).map(|_| 100));
        near(quantile.quantile(0.95), 100.0);
        for _ in 0..100 {
            quantile.add(2_000);
        }
        near(quantile.quantile(0.95), 2_000.0);
        for _ in 0..5_000 {
            quantile.add(100);
        }
        near(quantile.quantile(0.95), 100.0);
        near(quantile.quantile(0.5), 100.0);
    }

    #[test]
    fn times_out_of_range_are_at_its_ends() {
        let quantile = filled((0..100).map(|_| u64::MAX));
        near(quantile.quantile(0.5), 1_048_576.0);
        let quantile = filled((0..100).map(|_| 0));
        near(quantile.quantile(0.5), 1.0);
    }

    #[test]
    fn hedges_wait_for_the_quantile_and_the_least_delay() {
        let options = HedgeOptions { enabled: true, ..HedgeOptions::default() };
        let slow = filled((0..200).map(|_| 800));
        let delay = hedge_delay(&options, &slow).expect("known");
        assert!((760..=840).contains(&delay), "{delay}");
        let fast = filled((0..200).map(|_| 5));
        assert_eq!(hedge_delay(&options, &fast), Some(50));
        assert_eq!(hedge_delay(&options, &FirstTokenQuantile::default()), None);
        assert_eq!(hedge_delay(&HedgeOptions::default(), &slow), None);
    }

    #[test]
    fn one_request_in_twenty_may_be_hedged() {
        let mut budget = HedgeBudget::new(&HedgeOptions::default());
        assert!(!budget.permits(), "nothing in advance");
        let mut hedges = 0;
        for _ in 0..1_000 {
            budget.deposit();
            hedges += u32::from(budget.permits());
        }
        assert_eq!(hedges, 50);
        for _ in 0..1_000 {
            budget.deposit();
        }
        assert!(budget.permits());
        assert!(!budget.permits(), "a quiet time saves up one");
        budget.give_back();
        assert!(budget.permits());
        let mut never = HedgeBudget::new(&HedgeOptions { max_share: 0.0, ..Default::default() });
        never.deposit();
        assert!(!never.permits());
    }

    proptest! {
        #[test]
        fn quantiles_ascend_and_lie_within_the_samples(
            samples in prop::collection::vec(1_u64..1_000_000, 100..2_000),
        ) {
            let quantile = filled(samples.iter().copied());
            let found: Vec<f64> =
                [0.0, 0.3, 0.6, 0.9].iter().filter_map(|&at| quantile.quantile(at)).collect();
            prop_assert_eq!(found.len(), 4);
            prop_assert!(found.is_sorted());
            let least = *samples.iter().min().expect("some") as f64;
            let most = *samples.iter().max().expect("some") as f64;
            prop_assert!(found[0] >= least / 1.06 && found[3] <= most * 1.06);
        }

        #[test]
        fn hedges_stay_within_their_share(steps in prop::collection::vec(any::<bool>(), 1..500)) {
            let options = HedgeOptions::default();
            let mut budget = HedgeBudget::new(&options);
            let mut history = vec![(0_u32, 0_u32)];
            let (mut requests, mut hedges) = (0, 0);
            for request in steps {
                if request {
                    budget.deposit();
                    requests += 1;
                } else {
                    hedges += u32::from(budget.permits());
                }
                history.push((requests, hedges));
            }
            for (index, start) in history.iter().enumerate() {
                for end in &history[index..] {
                    let allowed = options.max_share * f64::from(end.0 - start.0) + 1.0;
                    prop_assert!(f64::from(end.1 - start.1) <= allowed + 1e-6);
                }
            }
        }
    }
}
