use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// By what a deployment is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The lowest priority number first.
    #[default]
    Priority,
    /// The cheapest first.
    Cost,
    /// The fastest first.
    Latency,
    /// The best first.
    Quality,
    /// Cost, latency and quality, weighted.
    Balanced,
    /// What outcomes have taught.
    Learned,
}

/// What `balanced` makes of cost, latency and quality; only their ratios count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// How much a low cost counts.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    pub cost: f64,
    /// How much a short wait counts.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    pub latency: f64,
    /// How much quality counts.
    #[schemars(range(min = 0.0, max = 1_000.0))]
    pub quality: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { cost: 1.0, latency: 1.0, quality: 1.0 }
    }
}

/// Weights that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// All are zero.
    #[error("the weights sum to zero; give at least one of cost, latency and quality a weight")]
    Zero,
    /// One is negative or no number.
    #[error("a weight is negative or no number; give 0 or more")]
    Negative,
}

impl Weights {
    /// Whether they can be used.
    ///
    /// # Errors
    /// When one is negative or no number, or all are zero.
    pub fn check(&self) -> Result<(), WeightsError> {
        let all = [self.cost, self.latency, self.quality];
        if !all.iter().all(|weight| weight.is_finite() && *weight >= 0.0) {
            return Err(WeightsError::Negative);
        }
        if all.iter().sum::<f64>() > 0.0 { Ok(()) } else { Err(WeightsError::Zero) }
    }
}

/// What one candidate offers, as a policy compares it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offer {
    /// Lower is preferred.
    pub priority: u32,
    /// Expected cost, nano-roubles; `None`: nobody knows, which counts as the dearest.
    pub cost_nanos: Option<i64>,
    /// Expected time to the last token, milliseconds.
    pub total_ms: f64,
    /// Expected quality, 0 to 1.
    pub quality: f64,
}

/// Scores of candidates, 0 to 1, higher is better; `scores` is cleared first. `learned` holds one
/// score for each, where the policy is to use them.
///
/// Cost and time are compared by ratio: the cheapest or fastest has 1, one that is ten times as dear
/// or slow 0.1. Quality is compared by what is missing to perfection in the same way as it is given:
/// 0.9 against 0.6 stays 0.9 against 0.6.
pub fn score(
    policy: Policy,
    weights: &Weights,
    offers: &[Offer],
    learned: Option<&[f64]>,
    scores: &mut Vec<f64>,
) {
    scores.clear();
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let cheapest = least(&mut offers.iter().filter_map(|offer| Some(offer.cost_nanos? as f64)));
    let fastest = least(&mut offers.iter().map(|offer| offer.total_ms));
    let first = offers.iter().map(|offer| offer.priority).min().unwrap_or_default();
    // A thousandth of a kopeck and a millisecond: what is free or at once has a ratio too.
    let ratio = |least: f64, value: f64, grain: f64| {
        if least.is_finite() { (least + grain) / (value + grain) } else { 0.0 }
    };
    let cost = |offer: &Offer| {
        offer.cost_nanos.map_or(0.0, |nanos| ratio(cheapest, nanos as f64, 10_000.0))
    };
    let latency = |offer: &Offer| ratio(fastest, offer.total_ms, 1.0);
    let total = weights.cost + weights.latency + weights.quality;
    scores.extend(offers.iter().enumerate().map(|(place, offer)| {
        let value = match policy {
            Policy::Priority => 1.0 / (1.0 + f64::from(offer.priority - first)),
            Policy::Cost => cost(offer),
            Policy::Latency => latency(offer),
            Policy::Quality => offer.quality,
            Policy::Learned if learned.is_some_and(|learned| place < learned.len()) => {
                learned.map_or(0.0, |learned| learned[place])
            }
            Policy::Balanced | Policy::Learned => {
                (weights.cost * cost(offer)
                    + weights.latency * latency(offer)
                    + weights.quality * offer.quality)
                    / total.max(f64::MIN_POSITIVE)
            }
        };
        value.clamp(0.0, 1.0)
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(cost_nanos: Option<i64>, total_ms: f64, quality: f64) -> Offer {
        Offer { priority: 1, cost_nanos, total_ms, quality }
    }

    fn scored(policy: Policy, weights: Weights, offers: &[Offer]) -> Vec<f64> {
        let mut scores = Vec::new();
        score(policy, &weights, offers, None, &mut scores);
        scores
    }

    #[test]
    fn each_policy_prefers_its_own() {
        let offers = [
            Offer { priority: 3, ..offer(Some(1_000_000), 5_000.0, 0.5) },
            Offer { priority: 2, ..offer(Some(9_000_000), 500.0, 0.6) },
            Offer { priority: 1, ..offer(Some(5_000_000), 9_000.0, 0.7) },
            Offer { priority: 4, ..offer(None, 9_000.0, 0.9) },
        ];
        let best = |policy| {
            let scores = scored(policy, Weights::default(), &offers);
            (0..offers.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap()
        };
        assert_eq!(best(Policy::Cost), 0);
        assert_eq!(best(Policy::Latency), 1);
        assert_eq!(best(Policy::Priority), 2);
        assert_eq!(best(Policy::Quality), 3);
    }

    #[test]
    fn what_is_free_is_cheapest_and_unknown_is_dearest() {
        let offers = [offer(None, 1.0, 0.5), offer(Some(0), 1.0, 0.5), offer(Some(1), 1.0, 0.5)];
        let scores = scored(Policy::Cost, Weights::default(), &offers);
        assert_eq!(scores[0], 0.0);
        assert_eq!(scores[1], 1.0);
        assert!(scores[2] > 0.99);
    }

    #[test]
    fn weights_decide_what_balanced_means() {
        let offers = [offer(Some(1_000_000), 5_000.0, 0.5), offer(Some(9_000_000), 500.0, 0.9)];
        let only = |cost, latency, quality| {
            let scores = scored(Policy::Balanced, Weights { cost, latency, quality }, &offers);
            scores[0] > scores[1]
        };
        assert!(only(1.0, 0.0, 0.0));
        assert!(!only(0.0, 1.0, 0.0));
        assert!(!only(0.0, 0.0, 1.0));
    }

    #[test]
    fn weights_that_say_nothing_are_refused() {
        let check = |cost, latency, quality| Weights { cost, latency, quality }.check();
        assert_eq!(check(0.0, 0.0, 0.0), Err(WeightsError::Zero));
        assert_eq!(check(-1.0, 2.0, 0.0), Err(WeightsError::Negative));
        assert_eq!(check(f64::NAN, 1.0, 1.0), Err(WeightsError::Negative));
        assert_eq!(check(0.0, 0.1, 0.0), Ok(()));
    }

    proptest! {
        #[test]
        fn scores_are_numbers_from_0_to_1(
            offers in proptest::collection::vec(
                (any::<u32>(), any::<Option<i64>>(), 0.0..1e12, 0.0..=1.0),
                0..20,
            ),
            policy in prop::sample::select(vec![
                Policy::Priority, Policy::Cost, Policy::Latency, Policy::Quality,
                Policy::Balanced, Policy::Learned,
            ]),
        ) {
            let offers: Vec<Offer> = offers
                .into_iter()
                .map(|(priority, cost, total_ms, quality)| Offer {
                    priority,
                    cost_nanos: cost.map(|cost| cost.max(0)),
                    total_ms,
                    quality,
                })
                .collect();
            let scores = scored(policy, Weights::default(), &offers);
            prop_assert_eq!(scores.len(), offers.len());
            prop_assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        }
    }
}
