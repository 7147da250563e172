//! Decision memory: what was decided, what came of it, what people said of it, and the patterns
//! in that.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bandit::Outcome;
use crate::request::{PromptFeatures, TaskClass};

/// One request: what was decided and what came of it. Neither prompt nor answer is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Id of the request, unique.
    pub request_id: String,
    /// When it was decided, milliseconds since 1970.
    pub at_ms: i64,
    /// Id of the tenant; empty: none (static keys).
    #[serde(default)]
    pub tenant: String,
    /// Name of the route: the model that the caller asked for.
    pub route: String,
    /// What kind of answer was wanted.
    pub class: TaskClass,
    /// What the request was like.
    pub features: PromptFeatures,
    /// The decision in full: candidates, filters, scores. For people; nothing learns from it.
    #[serde(default)]
    pub decision: serde_json::Value,
    /// Name of the deployment that served the request, or was to.
    pub chosen: String,
    /// How probable it was that this one would be chosen, above 0 to 1.
    pub propensity: f64,
    /// Whether it was drawn to learn.
    #[serde(default)]
    pub explored: bool,
    /// Whether the learned policy chose it, so that it counts against the floor.
    #[serde(default)]
    pub governed: bool,
    /// What the learned policy would have chosen, where it only watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_choice: Option<String>,
    /// What came of it; `None`: not known yet, or nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeRecord>,
    /// What was said of it, the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<FeedbackRecord>,
}

impl DecisionRecord {
    /// How good the answer was: what was said of it, or else what was seen of it.
    #[must_use]
    pub fn quality(&self) -> Option<f64> {
        let said = self.feedback.as_ref().map(|feedback| feedback.score);
        said.or_else(|| self.outcome.as_ref().and_then(|outcome| outcome.quality))
    }

    /// What the learned policy learns from it; `None` as long as nothing came of it.
    #[must_use]
    pub fn lesson(&self) -> Option<Outcome<'_>> {
        let outcome = self.outcome.as_ref()?;
        Some(Outcome {
            deployment: &self.chosen,
            features: self.features,
            quality: self.quality(),
            cost: outcome.cost_nanos as f64,
            first_token_ms: outcome.first_token_ms.map(|wait| wait as f64),
            governed: self.governed,
        })
    }
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutcomeRecord {
    /// HTTP status that the caller got; 499: the caller went away.
    pub status: u16,
    /// From the request's arrival to its first token, milliseconds; `None`: none came.
    pub first_token_ms: Option<u64>,
    /// From the request's arrival to its end, milliseconds.
    pub total_ms: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// What it cost, nano-roubles.
    pub cost_nanos: i64,
    /// Code of the error that the caller got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Calls of providers, failed ones too.
    pub attempts: u32,
    /// How good the answer was, 0 to 1; `None`: nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// Who can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_source: Option<QualitySource>,
}

/// Where a quality comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualitySource {
    /// Somebody said so.
    Feedback,
    /// A model judged the answer.
    Judge,
    /// The answer itself or what followed it: a refusal, invalid JSON, the same request again.
    Signal,
}

/// What somebody said of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedbackRecord {
    /// Id of the request that was answered.
    pub request_id: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// From 0 (useless) to 1 (perfect).
    pub score: f64,
    /// Who said it, in the caller's words: a user, an application; at most
    /// [`FeedbackRecord::MAX_SOURCE`] characters.
    pub source: String,
    /// In words; at most [`FeedbackRecord::MAX_COMMENT`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What is wrong with feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackFault {
    /// The score is no number from 0 to 1.
    #[error("`score` must be a number from 0 to 1")]
    Score,
    /// The source is too long.
    #[error("`source` may have at most {} characters", FeedbackRecord::MAX_SOURCE)]
    Source,
    /// The comment is too long.
    #[error("`comment` may have at most {} characters", FeedbackRecord::MAX_COMMENT)]
    Comment,
}

impl FeedbackRecord {
    /// Most characters of a source.
    pub const MAX_SOURCE: usize = 64;
    /// Most characters of a comment.
    pub const MAX_COMMENT: usize = 2_000;

    /// Whether it is within its bounds.
    pub fn check(&self) -> Result<(), FeedbackFault> {
        let longer = |text: &str, most: usize| text.chars().nth(most).is_some();
        if !(0.0..=1.0).contains(&self.score) {
            Err(FeedbackFault::Score)
        } else if longer(&self.source, Self::MAX_SOURCE) {
            Err(FeedbackFault::Source)
        } else if self.comment.as_deref().is_some_and(|text| longer(text, Self::MAX_COMMENT)) {
            Err(FeedbackFault::Comment)
        } else {
            Ok(())
        }
    }
}

/// A record as it comes from a store, in order of `sequence`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDecision {
    /// Its place. Feedback moves a record to a new place, so that who follows sees it again.
    pub sequence: i64,
    /// The place that it was given first. Not above the place up to which a reader has read: the
    /// reader knows the record, only its feedback is new.
    pub first_sequence: i64,
    /// The record, with its feedback.
    pub record: DecisionRecord,
}

/// What became of feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedbackResult {
    /// It is kept; what was said before is forgotten.
    Kept,
    /// There is no such request, or it is another tenant's: callers cannot tell which.
    Unknown,
}

/// Why a store of decisions could not do it.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// The database cannot be reached or is out of order; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A record makes no sense: a defect or a foreign hand.
    #[error("the memory of decisions is damaged: {0}")]
    Damaged(String),
}

/// Where decisions are kept for good and shared by replicas.
#[async_trait]
pub trait DecisionStore: Send + Sync + std::fmt::Debug {
    /// Stores records, all or none; those whose request is there already are left as they are.
    async fn append(&self, records: &[DecisionRecord]) -> Result<(), DecisionError>;

    /// Keeps feedback of a request of `tenant` (`None`: of any).
    async fn set_feedback(
        &self,
        tenant: Option<&str>,
        feedback: &FeedbackRecord,
    ) -> Result<FeedbackResult, DecisionError>;

    /// The record of a request of `tenant` (`None`: of any).
    async fn get(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<DecisionRecord>, DecisionError>;

    /// Records above a sequence number, in its order, at most `limit`. A number that was skipped
    /// never comes later.
    async fn since(
        &self,
        sequence: i64,
        limit: usize,
    ) -> Result<Vec<StoredDecision>, DecisionError>;

    /// The last records, at most `limit`, the oldest first: what a start learns from.
    async fn last(&self, limit: usize) -> Result<Vec<StoredDecision>, DecisionError>;

    /// Forgets decisions made before this, milliseconds since 1970. How many.
    async fn forget(&self, before_ms: i64) -> Result<u64, DecisionError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback(score: f64) -> FeedbackRecord {
        FeedbackRecord {
            request_id: "req_1".to_owned(),
            at_ms: 5,
            score,
            source: "user".to_owned(),
            comment: None,
        }
    }

    #[test]
    fn feedback_has_bounds() {
        assert_eq!(feedback(0.0).check(), Ok(()));
        assert_eq!(feedback(1.0).check(), Ok(()));
        for score in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(feedback(score).check(), Err(FeedbackFault::Score));
        }
        let long = |count| "я".repeat(count);
        let source = |count| FeedbackRecord { source: long(count), ..feedback(1.0) }.check();
        assert_eq!(source(FeedbackRecord::MAX_SOURCE), Ok(()));
        assert_eq!(source(FeedbackRecord::MAX_SOURCE + 1), Err(FeedbackFault::Source));
        let comment =
            |count| FeedbackRecord { comment: Some(long(count)), ..feedback(1.0) }.check();
        assert_eq!(comment(FeedbackRecord::MAX_COMMENT), Ok(()));
        assert_eq!(comment(FeedbackRecord::MAX_COMMENT + 1), Err(FeedbackFault::Comment));
    }

    #[test]
    fn what_was_said_counts_more_than_what_was_seen() {
        let text = r#"{"request_id": "r", "at_ms": 1, "route": "chat", "class": "code",
            "features": {"class": "code", "complexity": 0.5, "log_tokens": 4.0, "cyrillic": 0.0,
                "code": 1.0, "mathematics": 0.0, "turns": 1, "tools": 0, "images": 0,
                "topic": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]},
            "chosen": "a/b", "propensity": 0.5}"#;
        let mut record: DecisionRecord =
            serde_json::from_str(text).expect("old records stay readable");
        assert_eq!(record.lesson(), None);
        record.outcome =
            Some(OutcomeRecord { quality: Some(0.25), cost_nanos: 7, ..OutcomeRecord::default() });
        let lesson = record.lesson().expect("an outcome");
        assert_eq!((lesson.quality, lesson.cost, lesson.governed), (Some(0.25), 7.0, false));
        record.feedback = Some(feedback(1.0));
        assert_eq!(record.lesson().expect("an outcome").quality, Some(1.0));
        let again: DecisionRecord =
            serde_json::from_str(&serde_json::to_string(&record).expect("JSON")).expect("JSON");
        assert_eq!(again, record);
    }
}
