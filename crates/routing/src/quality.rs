//! How good a deployment's answers are, by what was said and seen of them.

use std::collections::HashMap;

use crate::deployment::QualityPriors;
use crate::request::TaskClass;

/// How many outcomes the configured quality counts for.
const PRIOR_OUTCOMES: f64 = 10.0;
/// Outcomes after which one counts for half.
const HALF_LIFE: f64 = 500.0;
/// Share of what is known of a class that is known of the others too.
const BORROWED: f64 = 0.2;

/// Something that tells of the quality of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QualitySignal {
    /// Somebody said so, 0 to 1.
    Feedback(f64),
    /// A model judged it, 0 to 1.
    Judge(f64),
    /// The answer is a refusal.
    Refusal,
    /// JSON was asked for, and the answer was none.
    InvalidJson,
    /// The caller asked the same again.
    RetriedByUser,
    /// It came to its end, and nobody said anything.
    Completed,
}

impl QualitySignal {
    /// The quality that it tells of, 0 to 1, and how much it counts.
    #[must_use]
    pub fn value_and_weight(self) -> (f64, f64) {
        match self {
            Self::Feedback(score) => (score.clamp(0.0, 1.0), 1.0),
            Self::Judge(score) => (score.clamp(0.0, 1.0), 0.7),
            Self::Refusal | Self::InvalidJson => (0.0, 0.7),
            Self::RetriedByUser => (0.2, 0.4),
            Self::Completed => (0.8, 0.05),
        }
    }
}

/// Quality of deployments by class of task: the mean of what was observed, old outcomes counting
/// less, and of what the configuration says, as if that were ten outcomes. What is observed in one
/// class tells a fifth as much of the others.
#[derive(Debug, Clone, Default)]
pub struct QualityBook {
    observed: HashMap<Box<str>, [Observed; TaskClass::COUNT]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Observed {
    weight: f64,
    sum: f64,
}

impl QualityBook {
    /// Takes note of a quality, 0 to 1, that counts for `weight` outcomes.
    pub fn observe(&mut self, deployment: &str, class: TaskClass, quality: f64, weight: f64) {
        if !quality.is_finite() || !weight.is_finite() || weight <= 0.0 {
            return;
        }
        if !self.observed.contains_key(deployment) {
            self.observed.insert(deployment.into(), Default::default());
        }
        let Some(classes) = self.observed.get_mut(deployment) else { return };
        let quality = quality.clamp(0.0, 1.0);
        for (place, observed) in classes.iter_mut().enumerate() {
            let weight = if place == class.index() { weight } else { weight * BORROWED };
            let kept = (-std::f64::consts::LN_2 * weight / HALF_LIFE).exp();
            observed.weight = observed.weight * kept + weight;
            observed.sum = observed.sum * kept + weight * quality;
        }
    }

    /// Takes back an observation that another replaces.
    pub fn take_back(&mut self, deployment: &str, class: TaskClass, quality: f64, weight: f64) {
        let Some(classes) = self.observed.get_mut(deployment) else { return };
        for (place, observed) in classes.iter_mut().enumerate() {
            let weight = if place == class.index() { weight } else { weight * BORROWED };
            observed.weight = (observed.weight - weight).max(0.0);
            observed.sum = (observed.sum - weight * quality).clamp(0.0, observed.weight);
        }
    }

    /// The quality to expect, 0 to 1.
    #[must_use]
    pub fn expected(&self, deployment: &str, class: TaskClass, priors: &QualityPriors) -> f64 {
        let prior = priors.of(class).clamp(0.0, 1.0);
        let observed =
            self.observed.get(deployment).map(|classes| classes[class.index()]).unwrap_or_default();
        (prior * PRIOR_OUTCOMES + observed.sum) / (PRIOR_OUTCOMES + observed.weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_prior_holds_until_outcomes_outweigh_it() {
        let priors = QualityPriors::uniform(0.9);
        let mut book = QualityBook::default();
        let expected = |book: &QualityBook| book.expected("a", TaskClass::Code, &priors);
        assert!((expected(&book) - 0.9).abs() < 1e-9);
        for _ in 0..10 {
            book.observe("a", TaskClass::Code, 0.1, 1.0);
        }
        assert!((expected(&book) - 0.5).abs() < 0.02);
        for _ in 0..500 {
            book.observe("a", TaskClass::Code, 0.1, 1.0);
        }
        assert!(expected(&book) < 0.13);
    }

    #[test]
    fn a_change_is_noticed_within_some_hundred_outcomes() {
        let priors = QualityPriors::uniform(0.5);
        let mut book = QualityBook::default();
        for quality in [1.0, 0.0] {
            for _ in 0..5_000 {
                book.observe("a", TaskClass::Code, quality, 1.0);
            }
        }
        assert!(book.expected("a", TaskClass::Code, &priors) < 0.02);
    }

    #[test]
    fn other_classes_learn_a_little_and_other_deployments_nothing() {
        let priors = QualityPriors::uniform(0.5);
        let mut book = QualityBook::default();
        for _ in 0..100 {
            book.observe("a", TaskClass::Code, 1.0, 1.0);
        }
        let own = book.expected("a", TaskClass::Code, &priors);
        let other = book.expected("a", TaskClass::Writing, &priors);
        assert!(0.5 < other && other < own);
        assert!((book.expected("b", TaskClass::Code, &priors) - 0.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn it_stays_from_0_to_1(
            outcomes in proptest::collection::vec((any::<f64>(), any::<f64>(), any::<bool>()), 0..50),
            prior in 0.0..=1.0,
        ) {
            let mut book = QualityBook::default();
            for (quality, weight, back) in outcomes {
                if back && quality.is_finite() && weight.is_finite() {
                    book.take_back("a", TaskClass::Code, quality.clamp(0.0, 1.0), weight.abs());
                } else {
                    book.observe("a", TaskClass::Code, quality, weight.min(1e6));
                }
            }
            let expected = book.expected("a", TaskClass::Code, &QualityPriors::uniform(prior));
            prop_assert!((0.0..=1.0).contains(&expected), "{expected}");
        }
    }
}
