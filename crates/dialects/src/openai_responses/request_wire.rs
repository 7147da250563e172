//! The JSON of a request as OpenAI's Responses API defines it.

use chat::Json;
use serde::Deserialize;

use crate::open_object::{open_object, text_or_list};

open_object! {
    /// Body of `POST /v1/responses`; with `type`, the WebSocket's `response.create` event.
    WireRequest {
        event: String = "type",
        stream_id: String = "stream_id",
        generate: bool = "generate",
        model: String = "model",
        input: WireInput = "input",
        instructions: String = "instructions",
        tools: Vec<Json> = "tools",
        tool_choice: Json = "tool_choice",
        parallel_tool_calls: bool = "parallel_tool_calls",
        text: WireText = "text",
        reasoning: WireReasoning = "reasoning",
        max_output_tokens: u64 = "max_output_tokens",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        top_logprobs: u8 = "top_logprobs",
        include: Vec<String> = "include",
        metadata: Json = "metadata",
        user: String = "user",
        safety_identifier: String = "safety_identifier",
        prompt_cache_key: String = "prompt_cache_key",
        stream: bool = "stream",
        store: bool = "store",
        background: bool = "background",
        previous_response_id: String = "previous_response_id",
        conversation: Json = "conversation",
        prompt: Json = "prompt",
        truncation: String = "truncation",
    }
}

text_or_list! {
    /// The conversation.
    WireInput, WireItem, "a string or an array of input items"
}

text_or_list! {
    /// Content of a message or the output of a function.
    WireContent, WirePart, "a string or an array of content parts"
}

/// All kinds of input items in one.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireItem {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) role: Option<String>,
    /// A message's content, or a reasoning item's.
    pub(crate) content: Option<WireContent>,
    pub(crate) call_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arguments: Option<String>,
    pub(crate) output: Option<WireContent>,
    pub(crate) summary: Option<Vec<WirePart>>,
    pub(crate) encrypted_content: Option<String>,
}

/// All kinds of content parts in one.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WirePart {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) image_url: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) file_id: Option<String>,
    pub(crate) file_data: Option<String>,
    pub(crate) file_url: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) input_audio: Option<WireAudio>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireAudio {
    pub(crate) data: String,
    pub(crate) format: String,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireText {
    pub(crate) format: Option<Json>,
    pub(crate) verbosity: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireFormat {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) schema: Option<Json>,
    pub(crate) strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireReasoning {
    pub(crate) effort: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) generate_summary: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireTool {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Json>,
    pub(crate) strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct WireToolChoice {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) mode: Option<String>,
    pub(crate) tools: Option<Vec<WireTool>>,
}
