//! Token counts: Anthropic's `input_tokens` leaves out what was read from or written to the
//! prompt cache; the canonical count includes both.

use chat::Usage;
use serde::Deserialize;

use crate::json::JsonWriter;

/// Counts as they come; those of a stream's `message_delta` are cumulative and leave out what
/// did not change.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens_details: Option<WireOutputDetails>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct WireOutputDetails {
    thinking_tokens: Option<u64>,
}

impl WireUsage {
    /// Takes over the counts that `later` states.
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }

    /// The canonical counts.
    pub(super) fn to_usage(self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or(0);
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        Usage {
            prompt_tokens: self
                .input_tokens
                .unwrap_or(0)
                .saturating_add(cached)
                .saturating_add(written),
            cached_prompt_tokens: cached,
            cache_write_tokens: written,
            completion_tokens: self.output_tokens.unwrap_or(0),
            reasoning_tokens: self
                .output_tokens_details
                .and_then(|details| details.thinking_tokens)
                .unwrap_or(0),
        }
    }
}

/// Writes a `usage` object.
pub(super) fn write(json: &mut JsonWriter<'_>, usage: Usage) {
    let uncached = usage
        .prompt_tokens
        .saturating_sub(usage.cached_prompt_tokens)
        .saturating_sub(usage.cache_write_tokens);
    json.begin_object()
        .key("input_tokens")
        .integer(uncached)
        .key("cache_creation_input_tokens")
        .integer(usage.cache_write_tokens)
        .key("cache_read_input_tokens")
        .integer(usage.cached_prompt_tokens)
        .key("output_tokens")
        .integer(usage.completion_tokens);
    if usage.reasoning_tokens > 0 {
        json.key("output_tokens_details")
            .begin_object()
            .key("thinking_tokens")
            .integer(usage.reasoning_tokens)
            .end_object();
    }
    json.end_object();
}
