//! Whole answers, both ways, and the answer to a count of tokens.

use chat::{
    ApiError, ChatResponse, Choice, ErrorKind, FinishReason, Json, Part, Reasoning, ToolCall,
};
use serde::Deserialize;

use super::messages_encode::input_object;
use super::usage::{self, WireUsage};
use crate::AnswerContext;
use crate::json::JsonWriter;

/// Writes a whole answer. The API knows one answer a request: the first choice.
#[must_use]
pub fn encode_response(response: &ChatResponse, context: &AnswerContext) -> Vec<u8> {
    let mut body = Vec::with_capacity(512);
    let mut json = JsonWriter::new(&mut body);
    write_head(&mut json, &response.id, &response.model, context);
    json.key("content").begin_array();
    let choice = response.choices.first();
    for part in choice.map_or(&[][..], |choice| &choice.parts) {
        write_part(&mut json, part);
    }
    json.end_array();
    let (reason, sequence) = match choice {
        Some(choice) => stop_reason(&choice.finish, choice.stop_sequence.as_deref()),
        None => ("end_turn", None),
    };
    json.field("stop_reason", reason).key("stop_sequence");
    match sequence {
        Some(sequence) => json.string(sequence),
        None => json.null(),
    };
    json.key("usage");
    usage::write(&mut json, response.usage.unwrap_or_default());
    json.end_object();
    body
}

/// Begins the message object, up to its content.
pub(super) fn write_head(
    json: &mut JsonWriter<'_>,
    id: &str,
    model: &str,
    context: &AnswerContext,
) {
    json.begin_object();
    if id.starts_with("msg_") {
        json.field("id", id);
    } else {
        json.field("id", &format!("msg_{}", context.id_seed));
    }
    json.field("type", "message").field("role", "assistant");
    json.field("model", if model.is_empty() { &context.route } else { model });
}

fn write_part(json: &mut JsonWriter<'_>, part: &Part) {
    match part {
        Part::Text(text) => {
            json.begin_object().field("type", "text").field("text", &text.text).end_object();
        }
        Part::Refusal(text) => {
            json.begin_object().field("type", "text").field("text", text).end_object();
        }
        Part::ToolCall(call) => {
            json.begin_object().field("type", "tool_use").field("id", &call.id);
            json.field("name", &call.name);
            json.key("input").raw(&input_object(&call.arguments)).end_object();
        }
        Part::Reasoning(reasoning) => {
            if let Some(data) = &reasoning.encrypted {
                json.begin_object().field("type", "redacted_thinking");
                json.field("data", data).end_object();
            }
            if reasoning.encrypted.is_none() || reasoning.signature.is_some() {
                json.begin_object().field("type", "thinking").field("thinking", &reasoning.text);
                json.field("signature", reasoning.signature.as_deref().unwrap_or(""));
                json.end_object();
            }
        }
        // Models do not answer with these.
        Part::Image(_) | Part::File(_) | Part::ToolResult(_) => {}
    }
}

/// `stop_reason` and `stop_sequence`.
pub(super) fn stop_reason<'a>(
    finish: &FinishReason,
    sequence: Option<&'a str>,
) -> (&'static str, Option<&'a str>) {
    let reason = match finish {
        FinishReason::Stop if sequence.is_some() => return ("stop_sequence", sequence),
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
        FinishReason::Other(word) if word == "pause_turn" => "pause_turn",
        FinishReason::Other(_) => "end_turn",
    };
    (reason, None)
}

/// The canonical reason.
pub(super) fn finish_reason(stop_reason: Option<&str>) -> FinishReason {
    match stop_reason {
        None | Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("tool_use") => FinishReason::ToolCalls,
        Some("refusal") => FinishReason::Refusal,
        Some(other) => FinishReason::Other(other.to_owned()),
    }
}

#[derive(Debug, Deserialize)]
struct WireResponse {
    id: Option<String>,
    model: Option<String>,
    content: Vec<WirePart>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Option<WireUsage>,
}

/// All kinds of content blocks of an answer in one, as with those of a request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WirePart {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Json>,
}

impl WirePart {
    /// The canonical part; `None` for blocks of tools that ran at the provider.
    fn into_part(self) -> Option<Part> {
        Some(match self.kind.as_str() {
            "text" => Part::text(self.text?),
            "thinking" => Part::Reasoning(Reasoning {
                text: self.thinking.unwrap_or_default(),
                signature: self.signature.filter(|signature| !signature.is_empty()),
                encrypted: None,
            }),
            "redacted_thinking" => {
                Part::Reasoning(Reasoning { encrypted: self.data, ..Reasoning::default() })
            }
            "tool_use" => Part::ToolCall(ToolCall {
                id: self.id?,
                name: self.name?,
                arguments: self
                    .input
                    .map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
            }),
            _ => return None,
        })
    }
}

/// Reads a whole answer.
///
/// # Errors
/// [`ErrorKind::BadGateway`] when it is not what the API promises.
pub fn decode_response(body: &[u8]) -> Result<ChatResponse, ApiError> {
    let wire: WireResponse = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    Ok(ChatResponse {
        id: wire.id.unwrap_or_default(),
        model: wire.model.unwrap_or_default(),
        created: 0,
        choices: vec![Choice {
            index: 0,
            parts: wire.content.into_iter().filter_map(WirePart::into_part).collect(),
            finish: finish_reason(wire.stop_reason.as_deref()),
            stop_sequence: wire.stop_sequence,
            logprobs: None,
        }],
        usage: wire.usage.map(WireUsage::to_usage),
    })
}

/// Says where an answer is wrong, but not what stands there: it may be the model's words.
pub(super) fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::new(
        ErrorKind::BadGateway,
        format!(
            "the provider's answer is not what the Anthropic API promises (line {}, column {})",
            error.line(),
            error.column()
        ),
    )
    .with_code("invalid_provider_answer")
}

#[derive(Debug, Deserialize)]
struct WireCount {
    input_tokens: u64,
}

/// Writes the answer to `count_tokens`.
#[must_use]
pub fn encode_count_tokens(input_tokens: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(32);
    JsonWriter::new(&mut body)
        .begin_object()
        .key("input_tokens")
        .integer(input_tokens)
        .end_object();
    body
}

/// Reads the answer to `count_tokens`.
///
/// # Errors
/// [`ErrorKind::BadGateway`] when it is not what the API promises.
pub fn decode_count_tokens(body: &[u8]) -> Result<u64, ApiError> {
    serde_json::from_slice::<WireCount>(body)
        .map(|count| count.input_tokens)
        .map_err(|error| malformed(&error))
}
