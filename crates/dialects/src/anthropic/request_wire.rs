//! The JSON of a request as Anthropic's API defines it.

use chat::Json;
use serde::Deserialize;

use crate::open_object::{open_object, text_or_list};

open_object! {
    /// Body of `POST /v1/messages` and `/v1/messages/count_tokens`.
    WireRequest {
        model: String = "model",
        max_tokens: u64 = "max_tokens",
        messages: Vec<WireMessage> = "messages",
        system: WireContent = "system",
        tools: Vec<WireTool> = "tools",
        tool_choice: WireToolChoice = "tool_choice",
        thinking: WireThinking = "thinking",
        output_config: WireOutputConfig = "output_config",
        output_format: WireOutputFormat = "output_format",
        stop_sequences: Vec<String> = "stop_sequences",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_k: u64 = "top_k",
        metadata: WireMetadata = "metadata",
        stream: bool = "stream",
    }
}

text_or_list! {
    /// Content of a message, a tool result or the system prompt.
    WireContent, WireBlock, "a string or an array of content blocks"
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireMessage {
    pub(crate) role: String,
    pub(crate) content: WireContent,
}

/// All kinds of content blocks in one: a tagged enum would buffer `input` and lose its text.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireBlock {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) source: Option<Box<WireSource>>,
    pub(crate) title: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) input: Option<Json>,
    pub(crate) tool_use_id: Option<String>,
    pub(crate) content: Option<WireContent>,
    pub(crate) is_error: Option<bool>,
    pub(crate) thinking: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) cache_control: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireSource {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) media_type: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) file_id: Option<String>,
    pub(crate) content: Option<WireContent>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireTool {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) input_schema: Option<Json>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache_control: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireToolChoice {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) disable_parallel_tool_use: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireThinking {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) budget_tokens: Option<u64>,
    pub(crate) display: Option<String>,
}

open_object! {
    /// How the answer is written.
    WireOutputConfig {
        effort: String = "effort",
        format: WireOutputFormat = "format",
    }
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireOutputFormat {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) schema: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireMetadata {
    pub(crate) user_id: Option<String>,
}
