//! Output items: what a response consists of.

use chat::{Json, Part, Reasoning, ToolCall};

use crate::json::JsonWriter;

/// Marks, in a reasoning item's `encrypted_content`, a signature of the readable thinking beside
/// it, as opposed to thinking that only the provider can read.
const SIGNATURE_MARK: &str = "signature:";

/// One output item.
#[derive(Debug)]
pub(super) enum Item {
    /// Words of the model.
    Message(Vec<Content>),
    /// A call of a function.
    Call(ToolCall),
    /// Thinking.
    Reasoning(Reasoning),
}

/// A part of a message.
#[derive(Debug)]
pub(super) enum Content {
    /// Text and its log-probabilities.
    Text(String, Vec<Json>),
    /// A refusal.
    Refusal(String),
}

impl Item {
    /// Prefix of the ids of its kind.
    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::Message(_) => "msg_",
            Self::Call(_) => "fc_",
            Self::Reasoning(_) => "rs_",
        }
    }

    /// Whether it is thinking that its proof closed: whatever cut the answer came later.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self, Self::Reasoning(reasoning)
            if reasoning.signature.is_some() || reasoning.encrypted.is_some())
    }

    /// Writes the item. `summary` says whether readable thinking is written as a summary or as
    /// the thinking itself.
    pub(super) fn write(&self, json: &mut JsonWriter<'_>, id: &str, status: &str, summary: bool) {
        json.begin_object().field("id", id);
        match self {
            Self::Message(parts) => {
                json.field("type", "message").field("status", status).key("content").begin_array();
                for part in parts {
                    part.write(json);
                }
                json.end_array().field("role", "assistant");
            }
            Self::Call(call) => {
                json.field("type", "function_call").field("status", status);
                json.field("arguments", arguments(call)).field("call_id", &call.id);
                json.field("name", &call.name);
            }
            Self::Reasoning(reasoning) => {
                json.field("type", "reasoning").key("summary").begin_array();
                if summary && !reasoning.text.is_empty() {
                    write_text(json, "summary_text", &reasoning.text);
                }
                json.end_array();
                if !summary && !reasoning.text.is_empty() {
                    json.key("content").begin_array();
                    write_text(json, "reasoning_text", &reasoning.text);
                    json.end_array();
                }
                if let Some(sealed) = seal(reasoning) {
                    json.field("encrypted_content", &sealed);
                }
                json.field("status", status);
            }
        }
        json.end_object();
    }
}

/// A function without arguments is still called with an object.
pub(super) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.is_empty() { "{}" } else { &call.arguments }
}

impl Content {
    pub(super) fn write(&self, json: &mut JsonWriter<'_>) {
        match self {
            Self::Text(text, logprobs) => {
                json.begin_object().field("type", "output_text");
                json.key("annotations").begin_array().end_array();
                write_logprobs(json, logprobs);
                json.field("text", text).end_object();
            }
            Self::Refusal(refusal) => {
                json.begin_object().field("type", "refusal").field("refusal", refusal).end_object();
            }
        }
    }
}

pub(super) fn write_logprobs(json: &mut JsonWriter<'_>, logprobs: &[Json]) {
    json.key("logprobs").begin_array();
    for entry in logprobs {
        json.json(entry);
    }
    json.end_array();
}

/// `{"type": kind, "text": text}`
pub(super) fn write_text(json: &mut JsonWriter<'_>, kind: &str, text: &str) {
    json.begin_object().field("type", kind).field("text", text).end_object();
}

/// Proof and unreadable thinking in the one member that the API has for both.
fn seal(reasoning: &Reasoning) -> Option<String> {
    match (&reasoning.signature, &reasoning.encrypted) {
        (Some(signature), _) => Some(format!("{SIGNATURE_MARK}{signature}")),
        (None, encrypted) => encrypted.clone(),
    }
}

/// The inverse of [`seal`] for an item whose readable thinking is `text`.
pub(super) fn unseal(text: String, sealed: Option<String>) -> Reasoning {
    let Some(sealed) = sealed.filter(|sealed| !sealed.is_empty()) else {
        return Reasoning { text, ..Reasoning::default() };
    };
    match sealed.strip_prefix(SIGNATURE_MARK) {
        Some(signature) => {
            Reasoning { text, signature: Some(signature.to_owned()), encrypted: None }
        }
        None => Reasoning { text, signature: None, encrypted: Some(sealed) },
    }
}

/// The parts of an answer as items: neighbouring words are one message.
pub(super) fn items_of(parts: &[Part], logprobs: &[Json]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::with_capacity(parts.len());
    let mut logprobs = Some(logprobs.to_vec());
    for part in parts {
        let content = match part {
            Part::Text(text) => {
                Content::Text(text.text.clone(), logprobs.take().unwrap_or_default())
            }
            Part::Refusal(refusal) => Content::Refusal(refusal.clone()),
            Part::ToolCall(call) => {
                items.push(Item::Call(call.clone()));
                continue;
            }
            Part::Reasoning(reasoning) => {
                items.push(Item::Reasoning(reasoning.clone()));
                continue;
            }
            // Models do not answer with these.
            Part::Image(_) | Part::File(_) | Part::ToolResult(_) => continue,
        };
        match items.last_mut() {
            Some(Item::Message(contents)) => contents.push(content),
            _ => items.push(Item::Message(vec![content])),
        }
    }
    items
}
