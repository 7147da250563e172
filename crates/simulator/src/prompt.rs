//! What a provider understood of a request: all that the planner needs to know.

use serde_json::Value;

use crate::providers::Provider;

/// A request after the provider's own validation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) provider: Provider,
    /// The caller's key, token or principal: who is billed.
    pub(crate) key: String,
    pub(crate) model: String,
    /// Text of the last user message (its text parts joined by a line feed).
    pub(crate) text: String,
    /// Tokens of everything sent: messages, tools, schema; see [`crate::text::count_tokens`].
    pub(crate) prompt_tokens: u64,
    pub(crate) tools: Vec<ToolOffer>,
    pub(crate) tool_choice: ToolChoice,
    /// False when the caller forbids more than one call in an answer (or the API has no such).
    pub(crate) parallel_tools: bool,
    /// Results at the END of the conversation, in order; empty when the last message is a user's.
    pub(crate) tool_results: Vec<String>,
    /// JSON schema that the answer must satisfy.
    pub(crate) schema: Option<Value>,
    /// Any JSON object is asked for.
    pub(crate) json_object: bool,
    /// Number of choices; 0 counts as 1.
    pub(crate) n: usize,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) images: usize,
    pub(crate) stream: bool,
    /// Reasoning was asked for or the model always reasons: canned reasoning is given.
    pub(crate) reasoning: bool,
    /// Values of request headers that profile rules match (lower-case name, value).
    pub(crate) headers: Vec<(String, String)>,
}

/// A function that the caller offers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolOffer {
    pub(crate) name: String,
    /// JSON schema of the arguments; `Value::Null` when the caller gave none.
    pub(crate) parameters: Value,
}

/// Which calls the caller wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}
