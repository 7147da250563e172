use chat::{
    ApiError, ChatResponse, Choice, FinishReason, Json, Logprobs, Part, Reasoning, ToolCall, Usage,
};
use serde::Deserialize;
use serde_json::Value;

use super::error::error_in_success;
use super::usage::{UsageWire, write_usage};
use crate::AnswerContext;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// An answer as providers send it: nothing is certain to be there.
#[derive(Deserialize)]
struct ResponseWire {
    id: Option<String>,
    model: Option<String>,
    created: Option<f64>,
    choices: Option<Vec<ChoiceWire>>,
    usage: Option<UsageWire>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChoiceWire {
    index: Option<u32>,
    message: Option<MessageWire>,
    finish_reason: Option<String>,
    logprobs: Option<LogprobsWire>,
}

#[derive(Deserialize)]
pub(super) struct LogprobsWire {
    pub(super) content: Option<Vec<Json>>,
}

#[derive(Deserialize)]
struct MessageWire {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCallWire>>,
    function_call: Option<FunctionWire>,
}

#[derive(Deserialize)]
struct ToolCallWire {
    id: Option<String>,
    function: FunctionWire,
}

#[derive(Deserialize)]
struct FunctionWire {
    name: Option<String>,
    arguments: Option<Arguments>,
}

/// Arguments are JSON text; Ollama's and some others' are the object itself.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Arguments {
    Text(String),
    Object(Value),
}

impl Arguments {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Object(value) => value.to_string(),
        }
    }
}

pub(super) fn finish_reason(name: &str) -> FinishReason {
    match name {
        "stop" | "eos" | "end_turn" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}

pub(super) fn finish_name(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop | FinishReason::Refusal => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        // OpenAI's SDKs refuse words they do not know.
        FinishReason::Other(_) => "stop",
    }
}

fn reading_fault(error: &serde_json::Error) -> ApiError {
    let reason = error.to_string();
    unreadable(reason.split(" at line ").next().unwrap_or_default())
}

/// Reads a provider's whole answer.
///
/// # Errors
/// What the provider reports with a status of success, or [`chat::ErrorKind::BadGateway`] when the
/// answer cannot be read.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, ApiError> {
    let wire: ResponseWire = serde_json::from_slice(body).map_err(|error| reading_fault(&error))?;
    if let Some(error) = wire.error.filter(|error| !error.is_null()) {
        return Err(error_in_success(error));
    }
    let id = wire.id.unwrap_or_default();
    let choices = wire.choices.filter(|choices| !choices.is_empty());
    let choices = choices.ok_or_else(|| unreadable("it has no choices"))?;
    Ok(ChatResponse {
        choices: choices
            .into_iter()
            .enumerate()
            .map(|(position, choice)| read_choice(choice, position, &id))
            .collect(),
        id,
        model: wire.model.unwrap_or_default(),
        created: wire.created.map_or(0, |seconds| seconds as u64),
        usage: wire.usage.map(Usage::from),
    })
}

fn read_choice(wire: ChoiceWire, position: usize, answer_id: &str) -> Choice {
    let mut parts = Vec::new();
    if let Some(message) = wire.message {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(text) = filled(message.reasoning_content).or(filled(message.reasoning)) {
            parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
        }
        parts.extend(filled(message.content).map(Part::text));
        parts.extend(filled(message.refusal).map(Part::Refusal));
        let calls = message.tool_calls.unwrap_or_default();
        for (number, call) in calls.into_iter().enumerate() {
            let id = filled(call.id).unwrap_or_else(|| made_id(answer_id, number));
            parts.push(read_call(id, call.function));
        }
        if let Some(function) = message.function_call {
            parts.push(read_call(made_id(answer_id, 0), function));
        }
    }
    let calls = parts.iter().any(|part| matches!(part, Part::ToolCall(_)));
    let finish = match wire.finish_reason.as_deref() {
        // Ollama and others end calls with `stop`.
        None | Some("stop") if calls => FinishReason::ToolCalls,
        None => FinishReason::Stop,
        Some(name) => finish_reason(name),
    };
    Choice {
        index: wire.index.unwrap_or(u32::try_from(position).unwrap_or(0)),
        parts,
        finish,
        stop_sequence: None,
        logprobs: wire
            .logprobs
            .and_then(|logprobs| logprobs.content)
            .map(|content| Logprobs { content }),
    }
}

/// An id for a call whose provider gave none; the answer's id makes it unique.
pub(super) fn made_id(answer_id: &str, number: usize) -> String {
    let seed: String = answer_id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("call_{seed}_{number}")
}

fn read_call(id: String, function: FunctionWire) -> Part {
    Part::ToolCall(ToolCall {
        id,
        name: function.name.unwrap_or_default(),
        arguments: function.arguments.map(Arguments::into_text).unwrap_or_default(),
    })
}

/// Writes a whole answer for a caller.
#[must_use]
pub fn encode_response(response: &ChatResponse, context: &AnswerContext) -> Vec<u8> {
    let mut body = Vec::with_capacity(1024);
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("id", &answer_id(&response.id, context));
    json.field("object", "chat.completion").key("created");
    json.integer(if response.created == 0 { context.now } else { response.created });
    json.field("model", if response.model.is_empty() { &context.route } else { &response.model });
    json.key("choices").begin_array();
    for choice in &response.choices {
        write_choice(&mut json, choice);
    }
    json.end_array();
    if let Some(usage) = &response.usage {
        json.key("usage");
        write_usage(&mut json, usage);
    }
    json.end_object();
    body
}

/// The provider's id where it looks like OpenAI's, else one made for this answer.
pub(super) fn answer_id(given: &str, context: &AnswerContext) -> String {
    if given.starts_with("chatcmpl") {
        given.to_owned()
    } else {
        format!("chatcmpl-{}", context.id_seed)
    }
}

fn write_choice(json: &mut JsonWriter<'_>, choice: &Choice) {
    json.begin_object().key("index").integer(choice.index);
    json.key("message").begin_object().field("role", "assistant");
    let text = choice.joined_text();
    let calls: Vec<&ToolCall> = choice
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
        .collect();
    let joined = |pick: fn(&Part) -> Option<&str>| -> String {
        choice.parts.iter().filter_map(pick).collect()
    };
    let refusal = joined(|part| match part {
        Part::Refusal(text) => Some(text),
        _ => None,
    });
    let reasoning = joined(|part| match part {
        Part::Reasoning(reasoning) => Some(&reasoning.text),
        _ => None,
    });
    json.key("content");
    if text.is_empty() && (!calls.is_empty() || !refusal.is_empty()) {
        json.null();
    } else {
        json.string(&text);
    }
    if !reasoning.is_empty() {
        json.field("reasoning_content", &reasoning);
    }
    json.key("refusal");
    if refusal.is_empty() {
        json.null();
    } else {
        json.string(&refusal);
    }
    if !calls.is_empty() {
        json.key("tool_calls").begin_array();
        for call in calls {
            json.begin_object().field("id", &call.id).field("type", "function");
            json.key("function").begin_object().field("name", &call.name);
            json.field("arguments", &call.arguments).end_object().end_object();
        }
        json.end_array();
    }
    json.end_object().key("logprobs");
    match &choice.logprobs {
        None => _ = json.null(),
        Some(logprobs) => {
            json.begin_object().key("content").begin_array();
            for entry in &logprobs.content {
                json.json(entry);
            }
            json.end_array().key("refusal").null().end_object();
        }
    }
    json.field("finish_reason", finish_name(&choice.finish)).end_object();
}

/// What a whole answer that is forwarded as it came says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseTap {
    /// Tokens, where counted.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
}

#[derive(Deserialize)]
struct TapWire {
    model: Option<String>,
    usage: Option<UsageWire>,
    error: Option<Value>,
}

impl ResponseTap {
    /// Reads `body`, also that of completions, embeddings and moderations.
    ///
    /// # Errors
    /// As [`decode_response`].
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let wire: TapWire = serde_json::from_slice(body).map_err(|error| reading_fault(&error))?;
        match wire.error.filter(|error| !error.is_null()) {
            Some(error) => Err(error_in_success(error)),
            None => Ok(Self { usage: wire.usage.map(Usage::from), model: wire.model }),
        }
    }
}
