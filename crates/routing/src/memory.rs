//! Decision memory: what was decided, what came of it, what people said of the answer.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::PromptFeatures;

/// A decision and what came of it. Holds no text of a prompt or an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Unique, unlike the request id, which may be the caller's own.
    pub id: String,
    /// The request's id, by which callers and people name it.
    pub request_id: String,
    /// When it was decided, milliseconds since 1970.
    pub at_ms: i64,
    /// The tenant; empty: none.
    #[serde(default)]
    pub tenant: String,
    /// Name of the key, or subject of the token.
    #[serde(default)]
    pub caller: String,
    /// The public model name.
    pub route: String,
    /// Who was chosen and why: candidates, filters, scores.
    pub decision: Value,
    /// The deployment that answered, `provider/model`; the last one tried if none did.
    pub deployment: String,
    /// With what probability the policy chooses the one that it chose, 0 to 1.
    pub propensity: f64,
    /// What kind of request it was.
    pub features: PromptFeatures,
    /// What came of it.
    pub outcome: DecisionOutcome,
}

/// What came of a decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DecisionOutcome {
    /// Status of the answer, as HTTP has it; 499: the caller went away.
    pub status: u16,
    /// What kind of error it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Calls to providers.
    pub attempts: u32,
    /// Time to the first token, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Time to the end, milliseconds.
    pub total_ms: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// What it cost, nano-roubles.
    pub cost_nanos: i64,
    /// What the answer itself says of its quality, 0 to 1: a refusal, JSON that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
}

/// What somebody said of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Feedback {
    /// The request's id.
    pub request_id: String,
    /// When it was said, milliseconds since 1970.
    pub at_ms: i64,
    /// How good the answer was, 0 to 1.
    pub score: f64,
    /// Who said it: `user`, or the name of a judge.
    pub source: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A decision with what was said of it, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RememberedDecision {
    /// The decision.
    pub record: DecisionRecord,
    /// What was said.
    pub feedback: Vec<Feedback>,
}

/// Something that all replicas learn from, in the order in which it was stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Lesson {
    /// A decision and what came of it.
    Decided(Box<DecisionRecord>),
    /// Somebody said something of an answer.
    Said {
        /// The decision that it is about.
        record: Box<DecisionRecord>,
        /// What was said.
        feedback: Feedback,
    },
}

/// Why the decision memory could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionStoreError {
    /// The database cannot be reached or refused.
    #[error("the decision memory cannot be reached: {0}")]
    Unavailable(String),
    /// A stored record cannot be read.
    #[error("the decision memory is damaged: {0}")]
    Damaged(String),
}

/// Where decisions are kept.
#[async_trait]
pub trait DecisionStore: Send + Sync {
    /// Stores decisions; those whose id is there already are not stored again.
    ///
    /// # Errors
    /// When they are not stored; none is then.
    async fn append(&self, records: &[DecisionRecord]) -> Result<(), DecisionStoreError>;

    /// The newest decision about a request, of one tenant only or of any (`None`).
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn find(
        &self,
        tenant: Option<&str>,
        request_id: &str,
    ) -> Result<Option<RememberedDecision>, DecisionStoreError>;

    /// Keeps what was said of a decision, given by its id.
    ///
    /// # Errors
    /// When it is not stored.
    async fn say(&self, decision: &str, feedback: &Feedback) -> Result<(), DecisionStoreError>;

    /// What was stored after `position`, oldest first, at most `limit`, each with its position;
    /// positions of decisions and of feedback are counted apart.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn lessons(
        &self,
        after: LessonPosition,
        limit: u32,
    ) -> Result<(Vec<Lesson>, LessonPosition), DecisionStoreError>;

    /// The position from which the newest `count` decisions, and the feedback about them, follow.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn position_before(&self, count: u32) -> Result<LessonPosition, DecisionStoreError>;

    /// Forgets what is older, milliseconds since 1970.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn forget_before(&self, at_ms: i64) -> Result<u64, DecisionStoreError>;
}

/// How far lessons were learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LessonPosition {
    /// Of decisions.
    pub decisions: i64,
    /// Of feedback.
    pub feedback: i64,
}
