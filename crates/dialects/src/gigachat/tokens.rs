use std::borrow::Cow;

use chat::{ApiError, ChatRequest, Part};
use serde::Deserialize;

use crate::Target;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// Writes a request for `POST /tokens/count`: the texts of the messages, results of tools and
/// arguments of calls included, and the tools. What GigaChat adds around them is not counted
/// there, nor are pictures and files.
#[must_use]
pub fn encode_token_count(request: &ChatRequest, target: &Target<'_>) -> Vec<u8> {
    let mut texts = Vec::new();
    for tool in &request.tools {
        texts.push(Cow::Borrowed(tool.name.as_str()));
        texts.extend(tool.description.as_deref().map(Cow::Borrowed));
        texts.extend(tool.parameters.as_ref().map(|schema| Cow::Borrowed(schema.get())));
    }
    for part in request.messages.iter().flat_map(|message| &message.parts) {
        match part {
            Part::Text(text) => texts.push(Cow::Borrowed(text.text.as_str())),
            Part::Refusal(text) => texts.push(Cow::Borrowed(text.as_str())),
            Part::ToolCall(call) => texts.push(Cow::Borrowed(call.arguments.as_str())),
            Part::ToolResult(result) => texts.push(Cow::Owned(result.joined_text())),
            Part::Image(_) | Part::File(_) | Part::Reasoning(_) => {}
        }
    }
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", target.model).key("input").begin_array();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        json.string(text);
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
