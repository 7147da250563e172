use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::TaskClass;

/// Two buckets for each doubling, from no token to 2^17.
const BUCKETS: usize = 36;
/// Slots among which a key may stand.
const WAYS: usize = 4;
/// Keys of a request, the coarsest first.
const LEVELS: usize = 5;
/// Width of the assumed distribution, buckets: a factor of about 3 up or down.
const PRIOR_WIDTH: f32 = 3.5;

/// How the lengths of answers are learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorOptions {
    /// Combinations of route and kind of prompt that are remembered, at about 170 bytes each; those
    /// unused for longest are forgotten. Default 2,048.
    #[schemars(range(min = 4, max = 1_000_000))]
    pub slots: u32,
    /// Answers after which one has lost two thirds of its weight. Default 200.
    #[schemars(range(min = 1))]
    pub memory: f32,
    /// Answers that a coarser combination counts for in a finer one. Default 10.
    #[schemars(range(min = 0))]
    pub back_off: f32,
    /// Tokens of the answer to assume before anything was seen. Default 300.
    pub prior_tokens: u64,
}

impl Default for PredictorOptions {
    fn default() -> Self {
        Self { slots: 2048, memory: 200.0, back_off: 10.0, prior_tokens: 300 }
    }
}

/// What the length of an answer is predicted from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputFeatures {
    /// A hash of the route, or of route and tenant.
    pub route: u64,
    /// What kind of answer is wanted.
    pub class: TaskClass,
    /// How hard the prompt looks, 0 to 1.
    pub complexity: f32,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
}

/// Predicts how many tokens an answer will have, from what answers to such prompts had.
///
/// Histograms by route, class, length of the prompt and complexity, each mixed with the next coarser
/// one as long as it has seen little. Old answers fade with new ones, not with time. Memory is fixed:
/// [`PredictorOptions::slots`].
#[derive(Debug)]
pub struct OutputPredictor {
    slots: Vec<Slot>,
    prior: [f32; BUCKETS],
    keep: f32,
    back_off: f32,
    observed: u64,
}

#[derive(Debug, Clone)]
struct Slot {
    /// 0: empty.
    key: u64,
    used: u64,
    counts: [f32; BUCKETS],
}

impl OutputPredictor {
    /// A predictor that has seen nothing.
    #[must_use]
    pub fn new(options: &PredictorOptions) -> Self {
        let sets = (options.slots as usize / WAYS).max(1);
        let middle = bucket(options.prior_tokens) as f32;
        let mut prior = [0.0; BUCKETS];
        for (at, share) in prior.iter_mut().enumerate() {
            *share = (-0.5 * ((at as f32 - middle) / PRIOR_WIDTH).powi(2)).exp();
        }
        let sum: f32 = prior.iter().sum();
        for share in &mut prior {
            *share /= sum;
        }
        let memory = if options.memory >= 1.0 { options.memory } else { 1.0 };
        Self {
            slots: vec![Slot { key: 0, used: 0, counts: [0.0; BUCKETS] }; sets * WAYS],
            prior,
            keep: 1.0 - 1.0 / memory,
            // A share must remain for what was never seen.
            back_off: if options.back_off > 0.01 { options.back_off } else { 0.01 },
            observed: 0,
        }
    }

    /// An answer had so many tokens.
    pub fn observe(&mut self, features: &OutputFeatures, tokens: u64) {
        self.observed = self.observed.saturating_add(1);
        let (now, keep, bucket) = (self.observed, self.keep, bucket(tokens));
        for key in keys(features) {
            let set = self.set(key);
            let Some(ways) = self.slots.get_mut(set..set + WAYS) else { continue };
            let at = ways.iter().position(|slot| slot.key == key).or_else(|| {
                let oldest = ways.iter().enumerate().min_by_key(|(_, slot)| slot.used);
                oldest.map(|(at, _)| at)
            });
            let Some(slot) = at.and_then(|at| ways.get_mut(at)) else { continue };
            if slot.key != key {
                *slot = Slot { key, used: now, counts: [0.0; BUCKETS] };
            }
            slot.used = now;
            for count in &mut slot.counts {
                *count *= keep;
            }
            if let Some(count) = slot.counts.get_mut(bucket) {
                *count += 1.0;
            }
        }
    }

    /// The number of tokens that an answer does not pass with probability `quantile` (0 to 1; 0.5
    /// for a typical one, 0.9 for a reservation). At most 2^18.
    #[must_use]
    pub fn predict(&self, features: &OutputFeatures, quantile: f32) -> u64 {
        let quantile = if quantile.is_finite() { quantile.clamp(0.0, 1.0) } else { 0.5 };
        let mut below = 0.0;
        for (at, share) in self.shares(features).iter().enumerate() {
            if below + share >= quantile && *share > 0.0 {
                let into = ((quantile - below) / share).clamp(0.0, 1.0);
                return tokens(at as f32 + into);
            }
            below += share;
        }
        tokens(BUCKETS as f32)
    }

    /// The mean number of tokens: what to order jobs by, as serving the least expected work first
    /// makes the mean wait shortest, also where short and long answers are mixed and a median would
    /// be either.
    #[must_use]
    pub fn expected(&self, features: &OutputFeatures) -> u64 {
        let shares = self.shares(features);
        let sum: f32 = shares.iter().sum();
        let tokens_of = |(at, share): (usize, &f32)| share * tokens(at as f32 + 0.5) as f32;
        (shares.iter().enumerate().map(tokens_of).sum::<f32>() / sum).round() as u64
    }

    /// The distribution over buckets.
    fn shares(&self, features: &OutputFeatures) -> [f32; BUCKETS] {
        let mut shares = self.prior;
        for key in keys(features) {
            let set = self.set(key);
            let slot = self
                .slots
                .get(set..set + WAYS)
                .and_then(|ways| ways.iter().find(|slot| slot.key == key));
            let Some(slot) = slot else { continue };
            let seen: f32 = slot.counts.iter().sum();
            for (share, count) in shares.iter_mut().zip(&slot.counts) {
                *share = (count + self.back_off * *share) / (seen + self.back_off);
            }
        }
        shares
    }

    fn set(&self, key: u64) -> usize {
        let sets = (self.slots.len() / WAYS).max(1) as u64;
        (key % sets) as usize * WAYS
    }
}

/// The keys of a request, the coarsest first; none is 0.
fn keys(features: &OutputFeatures) -> [u64; LEVELS] {
    let prompt = (bucket(features.prompt_tokens) / 2) as u64;
    let complexity = (features.complexity.clamp(0.0, 1.0) * 3.999) as u64;
    let mut keys = [1; LEVELS];
    let mut key = 1;
    let parts = [features.route, features.class.index() as u64, prompt, complexity];
    for (key_of_level, part) in keys.iter_mut().skip(1).zip(parts) {
        key = mix(key, part);
        *key_of_level = key.max(2);
    }
    keys
}

fn mix(key: u64, part: u64) -> u64 {
    let mixed = (key ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(29);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

fn bucket(tokens: u64) -> usize {
    (((tokens.saturating_add(1)) as f64).log2() * 2.0).min((BUCKETS - 1) as f64) as usize
}

fn tokens(bucket: f32) -> u64 {
    ((bucket / 2.0).exp2() - 1.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: OutputFeatures = OutputFeatures {
        route: 7,
        class: TaskClass::Conversation,
        complexity: 0.2,
        prompt_tokens: 100,
    };

    fn seen(answers: &[(OutputFeatures, u64)]) -> OutputPredictor {
        let mut predictor = OutputPredictor::new(&PredictorOptions::default());
        for (features, tokens) in answers {
            predictor.observe(features, *tokens);
        }
        predictor
    }

    fn assert_near(predicted: u64, expected: u64) {
        let ratio = predicted as f64 / expected as f64;
        assert!((0.75..1.34).contains(&ratio), "{predicted} instead of {expected}");
    }

    #[test]
    fn before_anything_was_seen_the_assumption_holds() {
        let predictor = seen(&[]);
        assert_near(predictor.predict(&CHAT, 0.5), 330);
        assert!(predictor.predict(&CHAT, 0.9) > 900);
    }

    #[test]
    fn quantiles_of_what_was_seen_are_predicted() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut answers: Vec<_> = (0..1000).map(|_| (CHAT, random.u64(100..1100))).collect();
        // Fewer at the end would matter more than at the beginning.
        random.shuffle(&mut answers);
        let predictor = seen(&answers);
        assert_near(predictor.predict(&CHAT, 0.1), 200);
        assert_near(predictor.predict(&CHAT, 0.5), 600);
        assert_near(predictor.predict(&CHAT, 0.9), 1000);
        assert!(predictor.predict(&CHAT, 0.0) <= predictor.predict(&CHAT, 1.0));
    }

    #[test]
    fn the_mean_of_short_and_long_answers_is_between_them() {
        let answers: Vec<_> =
            (0..400).flat_map(|_| [(CHAT, 50), (CHAT, 50), (CHAT, 3000)]).collect();
        let predictor = seen(&answers);
        assert!(predictor.predict(&CHAT, 0.5) < 70);
        assert_near(predictor.expected(&CHAT), 1033);
    }

    #[test]
    fn each_feature_has_lengths_of_its_own() {
        let others = [
            OutputFeatures { route: 8, ..CHAT },
            OutputFeatures { class: TaskClass::Code, ..CHAT },
            OutputFeatures { prompt_tokens: 3000, ..CHAT },
            OutputFeatures { complexity: 0.9, ..CHAT },
        ];
        for other in others {
            let answers: Vec<_> = (0..150).flat_map(|_| [(CHAT, 20), (other, 2000)]).collect();
            let predictor = seen(&answers);
            assert!(predictor.predict(&CHAT, 0.5) < 40);
            assert_near(predictor.predict(&other, 0.5), 2000);
        }
    }

    #[test]
    fn what_was_not_seen_yet_is_predicted_from_its_likes() {
        let predictor = seen(&[(CHAT, 40); 100]);
        let like = OutputFeatures { prompt_tokens: 5000, complexity: 0.8, ..CHAT };
        assert_near(predictor.predict(&like, 0.5), 40);
        let elsewhere = OutputFeatures { route: 8, class: TaskClass::Code, ..CHAT };
        assert_near(predictor.predict(&elsewhere, 0.5), 40);
        // One answer does not make a rule.
        let mut predictor = predictor;
        predictor.observe(&like, 4000);
        assert!(predictor.predict(&like, 0.5) < 100);
    }

    #[test]
    fn what_was_long_ago_fades() {
        let answers: Vec<_> = [(CHAT, 2000); 1000].into_iter().chain([(CHAT, 50); 300]).collect();
        assert_near(seen(&answers).predict(&CHAT, 0.5), 50);
    }

    #[test]
    fn memory_is_fixed_and_what_is_used_stays() {
        let options = PredictorOptions { slots: 64, ..PredictorOptions::default() };
        let mut predictor = OutputPredictor::new(&options);
        for route in 0..10_000 {
            predictor.observe(&CHAT, 30);
            predictor.observe(&OutputFeatures { route: 100 + route, ..CHAT }, 3000);
        }
        assert_eq!(predictor.slots.len(), 64);
        assert!(predictor.predict(&CHAT, 0.5) < 60);
    }

    #[test]
    fn extreme_numbers_do_no_harm() {
        let odd = OutputFeatures { complexity: f32::NAN, prompt_tokens: u64::MAX, ..CHAT };
        let options =
            PredictorOptions { slots: 0, memory: f32::NAN, back_off: -1.0, prior_tokens: u64::MAX };
        let mut predictor = OutputPredictor::new(&options);
        for tokens in [0, 1, u64::MAX, 5, 5, 5, 5, 5] {
            predictor.observe(&odd, tokens);
        }
        assert!(predictor.predict(&odd, f32::NAN) <= 1 << 18);
        predictor.observe(&odd, u64::MAX);
        assert!(predictor.predict(&odd, 2.0) <= 1 << 18);
        assert!(predictor.expected(&odd) <= 1 << 18);
    }
}
