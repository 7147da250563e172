use std::collections::BTreeSet;

use chat::Residency;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::{Capabilities, Sensitivity};

/// What the router knows of a request.
#[derive(Debug, Clone)]
pub struct RouteRequest {
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: u64,
    /// Most tokens of the answer that the caller allows; `None`: no bound given.
    pub max_output_tokens: Option<u64>,
    /// Tokens that the answer is expected to have.
    pub expected_output_tokens: u64,
    /// What the deployment must be able to do.
    pub needs: Capabilities,
    /// What the caller, its key or its tenant demands.
    pub requirements: Requirements,
    /// Names of the providers that the caller may use; `None`: all.
    pub allowed_providers: Option<BTreeSet<Box<str>>>,
    /// What kind of text it is.
    pub features: PromptFeatures,
    /// A hash of whom and which conversation it belongs to; `None`: it stands alone.
    pub conversation: Option<u64>,
    /// Whether the conversation had an answer before, or the caller named it.
    pub continues: bool,
}

/// Demands that a deployment must meet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requirements {
    /// Only deployments at least this strict.
    pub residency: Option<Residency>,
    /// What the content is.
    pub sensitivity: Sensitivity,
    /// Most that the request may be expected to cost, nano-roubles.
    pub max_cost_nanos: Option<i64>,
    /// Longest that the first token may be expected to take, milliseconds.
    pub max_latency_ms: Option<u64>,
    /// Least expected quality, 0 to 1.
    pub min_quality: Option<f64>,
}

/// What kind of answer is wanted.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TaskClass {
    /// Talk and questions.
    #[default]
    Conversation,
    /// Programs, queries, configuration.
    Code,
    /// Calculation and proof.
    Mathematics,
    /// Several steps of thought, choices among given answers.
    Reasoning,
    /// Structured data out of text.
    Extraction,
    /// From one language to another.
    Translation,
    /// Long texts, summaries, letters.
    Writing,
    /// Calls of tools.
    ToolUse,
}

impl TaskClass {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All, in the order of [`TaskClass::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Conversation,
        Self::Code,
        Self::Mathematics,
        Self::Reasoning,
        Self::Extraction,
        Self::Translation,
        Self::Writing,
        Self::ToolUse,
    ];

    /// Its place in arrays, below [`TaskClass::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name in configuration, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Code => "code",
            Self::Mathematics => "mathematics",
            Self::Reasoning => "reasoning",
            Self::Extraction => "extraction",
            Self::Translation => "translation",
            Self::Writing => "writing",
            Self::ToolUse => "tool_use",
        }
    }
}

/// What kind of text a prompt is, for Russian as for English.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PromptFeatures {
    /// What kind of answer is wanted.
    pub class: TaskClass,
    /// How hard it looks, 0 (a greeting) to 1.
    pub complexity: f32,
    /// Natural logarithm of 1 + estimated tokens.
    pub log_tokens: f32,
    /// Share of Cyrillic among letters, 0 to 1.
    pub cyrillic: f32,
    /// How much of it looks like code, 0 to 1.
    pub code: f32,
    /// How much of it looks like mathematics, 0 to 1.
    pub mathematics: f32,
    /// Turns of the conversation so far.
    pub turns: u16,
    /// Tools offered.
    pub tools: u16,
    /// Pictures.
    pub images: u16,
    /// Hashed words and letter groups of the question, scaled to length 1: what the question is
    /// about.
    pub topic: [f32; Self::TOPICS],
}

impl PromptFeatures {
    /// Dimensions of [`PromptFeatures::topic`].
    pub const TOPICS: usize = 16;
}
