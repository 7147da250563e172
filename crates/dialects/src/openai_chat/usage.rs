use chat::Usage;
use serde::Deserialize;

use crate::json::JsonWriter;

/// Usage in the variants that providers send.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct UsageWire {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's, also behind compatible endpoints.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl From<UsageWire> for Usage {
    fn from(wire: UsageWire) -> Self {
        let cached = wire.prompt_tokens_details.and_then(|details| details.cached_tokens);
        let reasoning = wire.completion_tokens_details.and_then(|details| details.reasoning_tokens);
        Self {
            prompt_tokens: wire.prompt_tokens.unwrap_or(0),
            cached_prompt_tokens: cached.or(wire.prompt_cache_hit_tokens).unwrap_or(0),
            cache_write_tokens: 0,
            completion_tokens: wire.completion_tokens.unwrap_or(0),
            reasoning_tokens: reasoning.unwrap_or(0),
        }
    }
}

/// Writes usage as OpenAI does.
pub(crate) fn write_usage(json: &mut JsonWriter<'_>, usage: &Usage) {
    json.begin_object().key("prompt_tokens").integer(usage.prompt_tokens);
    json.key("completion_tokens").integer(usage.completion_tokens);
    json.key("total_tokens").integer(usage.total_tokens());
    json.key("prompt_tokens_details").begin_object();
    json.key("cached_tokens").integer(usage.cached_prompt_tokens).end_object();
    json.key("completion_tokens_details").begin_object();
    json.key("reasoning_tokens").integer(usage.reasoning_tokens).end_object();
    json.end_object();
}
