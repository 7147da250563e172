//! Patterns in past decisions: which deployment did how well on which kind of request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::memory::DecisionRecord;
use crate::request::{PromptFeatures, TaskClass};

/// How hard requests look, in three steps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ComplexityBucket {
    /// Below 0.33.
    Low,
    /// Below 0.67.
    Middle,
    /// The rest.
    High,
}

/// Which language requests are mostly in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LanguageBucket {
    /// At least half of the letters are Cyrillic.
    Russian,
    /// Others.
    Other,
}

/// A kind of request.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct PatternKey {
    /// Name of the route.
    pub route: String,
    /// What kind of answer is wanted.
    pub class: TaskClass,
    /// How hard they look.
    pub complexity: ComplexityBucket,
    /// Which language.
    pub language: LanguageBucket,
}

impl PatternKey {
    /// The kind that a request of a route belongs to.
    #[must_use]
    pub fn of(route: &str, features: &PromptFeatures) -> Self {
        Self {
            route: route.to_owned(),
            class: features.class,
            complexity: match features.complexity {
                complexity if complexity < 0.33 => ComplexityBucket::Low,
                complexity if complexity < 0.67 => ComplexityBucket::Middle,
                _ => ComplexityBucket::High,
            },
            language: if features.cyrillic >= 0.5 {
                LanguageBucket::Russian
            } else {
                LanguageBucket::Other
            },
        }
    }
}

/// How a deployment did on a kind of request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PatternSums {
    /// Requests served.
    pub requests: u64,
    /// Of them, answers whose quality is known.
    pub judged: u64,
    /// Mean of the known qualities, 0 to 1.
    pub mean_quality: f64,
    /// Mean cost of a request, nano-roubles.
    pub mean_cost_nanos: f64,
}

/// A kind of request and a deployment, as the admin API shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PatternRow {
    /// The kind.
    #[serde(flatten)]
    pub key: PatternKey,
    /// Name of the deployment.
    pub deployment: String,
    /// How it did.
    #[serde(flatten)]
    pub sums: PatternSums,
}

/// All patterns. As JSON it is a list of [`PatternRow`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<PatternRow>", into = "Vec<PatternRow>")]
pub struct PatternBook {
    patterns: BTreeMap<PatternKey, BTreeMap<String, PatternSums>>,
    rows: usize,
}

impl PatternBook {
    /// Most rows. What belongs to no row while the book is full is not counted.
    pub const CAPACITY: usize = 20_000;

    /// Counts a request of which something came.
    pub fn learn(&mut self, record: &DecisionRecord) {
        let Some(outcome) = &record.outcome else { return };
        let Some(sums) = self.row(record) else { return };
        sums.requests = sums.requests.saturating_add(1);
        let cost = outcome.cost_nanos as f64;
        sums.mean_cost_nanos += (cost - sums.mean_cost_nanos) / sums.requests as f64;
        if let Some(quality) = record.quality().filter(|quality| quality.is_finite()) {
            sums.judged = sums.judged.saturating_add(1);
            sums.mean_quality += (quality - sums.mean_quality) / sums.judged as f64;
        }
    }

    /// Counts the quality of a request that was counted without this one. `before`: the quality it
    /// was counted with, if it was.
    pub fn learn_quality(&mut self, record: &DecisionRecord, before: Option<f64>) {
        let Some(quality) = record.quality().filter(|quality| quality.is_finite()) else { return };
        let Some(sums) = self.row(record) else { return };
        match before.filter(|before| before.is_finite() && sums.judged > 0) {
            Some(before) => sums.mean_quality += (quality - before) / sums.judged as f64,
            None => {
                sums.judged = sums.judged.saturating_add(1);
                sums.mean_quality += (quality - sums.mean_quality) / sums.judged as f64;
            }
        }
        sums.mean_quality = sums.mean_quality.clamp(0.0, 1.0);
    }

    /// All rows, in order of route, class, complexity, language, deployment.
    pub fn rows(&self) -> impl Iterator<Item = PatternRow> + '_ {
        self.patterns.iter().flat_map(|(key, deployments)| {
            deployments.iter().map(|(deployment, sums)| PatternRow {
                key: key.clone(),
                deployment: deployment.clone(),
                sums: *sums,
            })
        })
    }

    fn row(&mut self, record: &DecisionRecord) -> Option<&mut PatternSums> {
        let key = PatternKey::of(&record.route, &record.features);
        let known = self.patterns.get(&key).is_some_and(|row| row.contains_key(&record.chosen));
        if !known {
            if self.rows >= Self::CAPACITY {
                return None;
            }
            self.rows += 1;
        }
        Some(self.patterns.entry(key).or_default().entry(record.chosen.clone()).or_default())
    }
}

impl From<Vec<PatternRow>> for PatternBook {
    fn from(rows: Vec<PatternRow>) -> Self {
        let mut patterns: BTreeMap<PatternKey, BTreeMap<String, PatternSums>> = BTreeMap::new();
        for row in rows.into_iter().take(Self::CAPACITY) {
            patterns.entry(row.key).or_default().insert(row.deployment, row.sums);
        }
        let rows = patterns.values().map(BTreeMap::len).sum();
        Self { patterns, rows }
    }
}

impl From<PatternBook> for Vec<PatternRow> {
    fn from(book: PatternBook) -> Self {
        book.rows().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{FeedbackRecord, OutcomeRecord};

    fn record(route: &str, chosen: &str, quality: Option<f64>, cost_nanos: i64) -> DecisionRecord {
        DecisionRecord {
            request_id: "r".to_owned(),
            at_ms: 0,
            tenant: String::new(),
            route: route.to_owned(),
            class: TaskClass::Code,
            features: PromptFeatures {
                class: TaskClass::Code,
                complexity: 0.5,
                cyrillic: 0.9,
                ..PromptFeatures::default()
            },
            decision: serde_json::Value::Null,
            chosen: chosen.to_owned(),
            propensity: 1.0,
            explored: false,
            governed: true,
            shadow_choice: None,
            outcome: Some(OutcomeRecord { quality, cost_nanos, ..OutcomeRecord::default() }),
            feedback: None,
        }
    }

    #[test]
    fn means_are_those_of_what_is_known_and_survive_json() {
        let mut book = PatternBook::default();
        book.learn(&record("chat", "a", Some(1.0), 10));
        book.learn(&record("chat", "a", Some(0.5), 20));
        book.learn(&record("chat", "a", None, 60));
        book.learn(&record("chat", "b", None, 1));
        book.learn(&DecisionRecord { outcome: None, ..record("chat", "b", None, 1) });
        let rows: Vec<PatternRow> = book.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].key.complexity, ComplexityBucket::Middle);
        assert_eq!(rows[0].key.language, LanguageBucket::Russian);
        let sums =
            PatternSums { requests: 3, judged: 2, mean_quality: 0.75, mean_cost_nanos: 30.0 };
        assert_eq!(rows[0].sums, sums);
        assert_eq!(rows[1].sums.requests, 1);
        let text = serde_json::to_string(&book).expect("JSON");
        assert_eq!(serde_json::from_str::<PatternBook>(&text).expect("JSON"), book);
    }

    #[test]
    fn later_feedback_replaces_the_quality_that_was_counted() {
        let mut book = PatternBook::default();
        let mut one = record("chat", "a", Some(1.0), 10);
        book.learn(&one);
        book.learn(&record("chat", "a", Some(1.0), 10));
        one.feedback = Some(FeedbackRecord {
            request_id: "r".to_owned(),
            at_ms: 1,
            score: 0.0,
            source: String::new(),
            comment: None,
        });
        book.learn_quality(&one, Some(1.0));
        let sums = book.rows().next().expect("a row").sums;
        assert_eq!((sums.judged, sums.mean_quality), (2, 0.5));
        book.learn_quality(&one, None);
        let sums = book.rows().next().expect("a row").sums;
        assert_eq!(sums.judged, 3);
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = PatternBook::default();
        for number in 0..PatternBook::CAPACITY + 10 {
            book.learn(&record(&format!("route {number}"), "a", None, 0));
        }
        assert_eq!(book.rows().count(), PatternBook::CAPACITY);
        book.learn(&record("route 0", "a", None, 0));
        assert_eq!(book.rows().map(|row| row.sums.requests).max(), Some(2));
    }
}
