use chat::{ApiError, Message, Part};
use serde::Deserialize;

use crate::Target;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// Writes a request for `POST /tokens/count`: the texts of `messages`, results of tools and
/// arguments of calls included. What GigaChat adds around messages is not counted there.
#[must_use]
pub fn encode_token_count(messages: &[Message], target: &Target<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", target.model).key("input").begin_array();
    for part in messages.iter().flat_map(|message| &message.parts) {
        match part {
            Part::Text(text) => _ = json.string(&text.text),
            Part::Refusal(text) => _ = json.string(text),
            Part::ToolCall(call) => _ = json.string(&call.arguments),
            Part::ToolResult(result) => _ = json.string(&result.joined_text()),
            Part::Image(_) | Part::File(_) | Part::Reasoning(_) => {}
        }
    }
    json.end_array().end_object();
    body
}

#[derive(Deserialize)]
struct CountWire {
    tokens: u64,
}

/// Reads the answer, an array with one entry a text, and adds it up.
///
/// # Errors
/// When the answer cannot be read.
pub fn decode_token_count(body: &[u8]) -> Result<u64, ApiError> {
    let counts: Vec<CountWire> =
        serde_json::from_slice(body).map_err(|_| unreadable("it holds no counts of tokens"))?;
    Ok(counts.iter().fold(0, |sum, count| sum.saturating_add(count.tokens)))
}
