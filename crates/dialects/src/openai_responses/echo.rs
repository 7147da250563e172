//! The parameters of a request that the API repeats in every response object.

use chat::Json;

use crate::json::JsonWriter;

/// What of a request its response repeats, and what else writing the answer needs to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Echo {
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) metadata: Option<Json>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) effort: Option<String>,
    /// The kind of summary of the thinking that was asked for.
    pub(super) summary: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) format: Option<Json>,
    pub(super) verbosity: Option<String>,
    pub(super) tool_choice: Option<Json>,
    pub(super) tools: Vec<Json>,
    pub(super) top_logprobs: Option<u8>,
    pub(super) user: Option<String>,
    pub(super) safety_identifier: Option<String>,
    pub(super) prompt_cache_key: Option<String>,
    /// Whether the caller wants log-probabilities with the text.
    pub(super) wants_logprobs: bool,
    /// The lane of a WebSocket, repeated in every event.
    pub(super) stream_id: Option<String>,
}

impl Echo {
    /// Writes the members. `store` is always `false`: nothing is kept to be fetched later.
    pub(super) fn write(&self, json: &mut JsonWriter<'_>) {
        json.key("background").boolean(false);
        nullable_string(json, "instructions", self.instructions.as_deref());
        match self.max_output_tokens {
            Some(limit) => json.key("max_output_tokens").integer(limit),
            None => json.key("max_output_tokens").null(),
        };
        json.key("max_tool_calls").null().key("metadata");
        match &self.metadata {
            Some(metadata) => json.json(metadata),
            None => json.raw("{}"),
        };
        json.key("parallel_tool_calls").boolean(self.parallel_tool_calls.unwrap_or(true));
        json.key("previous_response_id").null();
        nullable_string(json, "prompt_cache_key", self.prompt_cache_key.as_deref());
        json.key("reasoning").begin_object();
        nullable_string(json, "effort", self.effort.as_deref());
        nullable_string(json, "summary", self.summary.as_deref());
        json.end_object();
        nullable_string(json, "safety_identifier", self.safety_identifier.as_deref());
        json.field("service_tier", "default").key("store").boolean(false);
        nullable_number(json, "temperature", self.temperature);
        json.key("text").begin_object().key("format");
        match &self.format {
            Some(format) => json.json(format),
            None => json.raw(r#"{"type":"text"}"#),
        };
        json.field("verbosity", self.verbosity.as_deref().unwrap_or("medium")).end_object();
        match &self.tool_choice {
            Some(choice) => json.key("tool_choice").json(choice),
            None => json.field("tool_choice", "auto"),
        };
        json.key("tools").begin_array();
        for tool in &self.tools {
            json.json(tool);
        }
        json.end_array();
        json.key("top_logprobs").integer(self.top_logprobs.unwrap_or(0));
        nullable_number(json, "top_p", self.top_p);
        json.field("truncation", "disabled");
        nullable_string(json, "user", self.user.as_deref());
    }
}

fn nullable_string(json: &mut JsonWriter<'_>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => json.field(key, value),
        None => json.key(key).null(),
    };
}

fn nullable_number(json: &mut JsonWriter<'_>, key: &str, value: Option<f64>) {
    match value {
        Some(value) => json.key(key).number(value),
        None => json.key(key).null(),
    };
}
