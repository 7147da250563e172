use chat::{
    ApiError, ChatResponse, Choice, ErrorKind, FinishReason, Json, Part, Reasoning, ToolCall, Usage,
};
use serde::Deserialize;

use super::error::decode_error;
use super::state_id::call_id;
use crate::conversion::unreadable;

#[derive(Deserialize)]
pub(super) struct ResponseWire {
    #[serde(default)]
    pub(super) choices: Vec<ChoiceWire>,
    #[serde(default)]
    pub(super) created: u64,
    #[serde(default)]
    pub(super) model: String,
    pub(super) usage: Option<UsageWire>,
    /// An error in place of an answer.
    pub(super) status: Option<u16>,
}

#[derive(Deserialize)]
pub(super) struct ChoiceWire {
    #[serde(default)]
    pub(super) index: u32,
    #[serde(alias = "delta")]
    pub(super) message: Option<MessageWire>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MessageWire {
    pub(super) role: Option<String>,
    pub(super) content: Option<String>,
    pub(super) reasoning_content: Option<String>,
    pub(super) function_call: Option<CallWire>,
    pub(super) functions_state_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CallWire {
    pub(super) name: String,
    pub(super) arguments: Option<Json>,
}

impl CallWire {
    /// Arguments as text; the API gives the object, some gateways before it the text.
    pub(super) fn arguments(&self) -> String {
        match &self.arguments {
            None => "{}".to_owned(),
            Some(json) => json.decode::<String>().unwrap_or_else(|_| json.get().to_owned()),
        }
    }
}

#[derive(Deserialize, Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "the names of the wire")]
pub(super) struct UsageWire {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    precached_prompt_tokens: u64,
}

impl From<UsageWire> for Usage {
    /// GigaChat leaves the cached tokens out of `prompt_tokens`.
    fn from(wire: UsageWire) -> Self {
        Self {
            prompt_tokens: wire.prompt_tokens.saturating_add(wire.precached_prompt_tokens),
            cached_prompt_tokens: wire.precached_prompt_tokens,
            completion_tokens: wire.completion_tokens,
            ..Self::default()
        }
    }
}

pub(super) fn finish_reason(name: &str) -> FinishReason {
    match name {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "function_call" => FinishReason::ToolCalls,
        "blacklist" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// What the finish reason `error` stands for.
pub(super) fn failed() -> ApiError {
    ApiError::new(ErrorKind::BadGateway, "GigaChat broke the answer off with an error of its own")
        .with_code("provider_error")
}

/// Reads a whole answer. `id_seed` makes the ids of calls unique.
///
/// # Errors
/// When the answer is an error or cannot be read.
pub fn decode_response(body: &[u8], id_seed: &str) -> Result<ChatResponse, ApiError> {
    let wire: ResponseWire = serde_json::from_slice(body)
        .map_err(|error| unreadable(error.to_string().split(" at line ").next().unwrap_or("")))?;
    if let (Some(status), true) = (wire.status, wire.choices.is_empty()) {
        return Err(decode_error(status, body, None));
    }
    if wire.choices.is_empty() {
        return Err(unreadable("it has no choices"));
    }
    let mut choices = Vec::with_capacity(wire.choices.len());
    for choice in wire.choices {
        let finish = finish_reason(choice.finish_reason.as_deref().unwrap_or("stop"));
        if finish == FinishReason::Other("error".to_owned()) {
            return Err(failed());
        }
        let parts = choice.message.map(|message| read_parts(message, id_seed, choice.index));
        choices.push(Choice {
            index: choice.index,
            parts: parts.unwrap_or_default(),
            finish,
            stop_sequence: None,
            logprobs: None,
        });
    }
    Ok(ChatResponse {
        id: String::new(),
        model: wire.model,
        created: wire.created,
        choices,
        usage: wire.usage.map(Usage::from),
    })
}

fn read_parts(message: MessageWire, id_seed: &str, choice: u32) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(text) = message.reasoning_content.filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
    }
    parts.extend(message.content.filter(|text| !text.is_empty()).map(Part::text));
    if let Some(call) = message.function_call {
        parts.push(Part::ToolCall(ToolCall {
            id: call_id(id_seed, choice, 0, message.functions_state_id.as_deref()),
            arguments: call.arguments(),
            name: call.name,
        }));
    }
    parts
}
