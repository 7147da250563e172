use chat::{ApiError, ChatResponse, Choice, FinishReason, Json, Part, ToolCall, Usage};
use serde::Deserialize;

use super::error::StatusWire;
use crate::conversion::{interrupted, unreadable};

/// An answer or a line of a stream: under `result`, as the REST gateway gives it, or bare, as the
/// gRPC message is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LineWire {
    result: Option<ResultWire>,
    error: Option<StatusWire>,
    alternatives: Option<Vec<AlternativeWire>>,
    usage: Option<UsageWire>,
    model_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultWire {
    pub(super) alternatives: Option<Vec<AlternativeWire>>,
    pub(super) usage: Option<UsageWire>,
    pub(super) model_version: Option<String>,
}

/// Reads an answer or a line.
///
/// # Errors
/// The error in place of a result, or that it cannot be read.
pub(super) fn read_result(text: &[u8]) -> Result<ResultWire, ApiError> {
    let line: LineWire = serde_json::from_slice(text)
        .map_err(|error| unreadable(error.to_string().split(" at line ").next().unwrap_or("")))?;
    if let Some(error) = line.error {
        return Err(error.into_error(502, None));
    }
    let bare = line.alternatives.map(|alternatives| ResultWire {
        alternatives: Some(alternatives),
        usage: line.usage,
        model_version: line.model_version,
    });
    line.result.or(bare).ok_or_else(|| unreadable("it has no result"))
}

#[derive(Deserialize)]
pub(super) struct AlternativeWire {
    pub(super) message: MessageWire,
    #[serde(default)]
    pub(super) status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageWire {
    pub(super) text: Option<String>,
    pub(super) tool_call_list: Option<CallListWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallListWire {
    #[serde(default)]
    pub(super) tool_calls: Vec<CallWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallWire {
    pub(super) function_call: FunctionWire,
}

#[derive(Deserialize)]
pub(super) struct FunctionWire {
    pub(super) name: String,
    arguments: Option<Json>,
}

impl FunctionWire {
    pub(super) fn arguments(&self) -> String {
        self.arguments.as_ref().map_or_else(|| "{}".to_owned(), |json| json.get().to_owned())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageWire {
    input_text_tokens: Option<Count>,
    completion_tokens: Option<Count>,
    completion_tokens_details: Option<DetailsWire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DetailsWire {
    reasoning_tokens: Option<Count>,
}

/// An int64, which protobuf's JSON writes as a string.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Count {
    Number(u64),
    Text(String),
}

impl Count {
    pub(super) fn value(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }
}

impl From<UsageWire> for Usage {
    fn from(wire: UsageWire) -> Self {
        let count = |count: Option<Count>| count.map_or(0, Count::value);
        Self {
            prompt_tokens: count(wire.input_text_tokens),
            completion_tokens: count(wire.completion_tokens),
            reasoning_tokens: count(
                wire.completion_tokens_details.and_then(|details| details.reasoning_tokens),
            ),
            ..Self::default()
        }
    }
}

/// What a status says of the end of an alternative; `None`: it goes on. A status that is not given
/// is protobuf's way to write `ALTERNATIVE_STATUS_UNSPECIFIED`.
pub(super) fn finish_reason(status: &str) -> Option<FinishReason> {
    match status.strip_prefix("ALTERNATIVE_STATUS_").unwrap_or(status) {
        "PARTIAL" | "UNSPECIFIED" | "" => None,
        "FINAL" => Some(FinishReason::Stop),
        "TRUNCATED_FINAL" => Some(FinishReason::Length),
        "CONTENT_FILTER" => Some(FinishReason::ContentFilter),
        "TOOL_CALLS" => Some(FinishReason::ToolCalls),
        other => Some(FinishReason::Other(other.to_lowercase())),
    }
}

/// The id that a caller sees for a call.
pub(super) fn call_id(seed: &str, choice: usize, number: usize) -> String {
    format!("call_{seed}_{choice}_{number}")
}

/// Reads a whole answer. `id_seed` makes the ids of calls unique.
///
/// # Errors
/// When the answer is an error or cannot be read.
pub fn decode_response(body: &[u8], id_seed: &str) -> Result<ChatResponse, ApiError> {
    let result = read_result(body)?;
    let alternatives = result.alternatives.unwrap_or_default();
    if alternatives.is_empty() {
        return Err(unreadable("it has no alternatives"));
    }
    let mut choices = Vec::with_capacity(alternatives.len());
    for (index, alternative) in alternatives.into_iter().enumerate() {
        // A whole answer that is said to be a part of one is none.
        let finish = finish_reason(&alternative.status).ok_or_else(interrupted)?;
        choices.push(Choice {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            parts: read_parts(alternative.message, id_seed, index),
            finish,
            stop_sequence: None,
            logprobs: None,
        });
    }
    Ok(ChatResponse {
        id: String::new(),
        choices,
        model: result.model_version.unwrap_or_default(),
        created: 0,
        usage: result.usage.map(Usage::from),
    })
}

fn read_parts(message: MessageWire, id_seed: &str, choice: usize) -> Vec<Part> {
    let mut parts: Vec<Part> =
        message.text.filter(|text| !text.is_empty()).map(Part::text).into_iter().collect();
    let calls = message.tool_call_list.map(|list| list.tool_calls).unwrap_or_default();
    for (number, call) in calls.into_iter().enumerate() {
        parts.push(Part::ToolCall(ToolCall {
            id: call_id(id_seed, choice, number),
            arguments: call.function_call.arguments(),
            name: call.function_call.name,
        }));
    }
    parts
}
