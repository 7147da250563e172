//! Counting tokens as vLLM does, whose `/tokenize` takes what chat completions take.

use chat::{ApiError, ChatRequest};
use serde::Deserialize;

use super::request_encode::{write_messages, write_tools};
use crate::Target;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// Writes a request for vLLM's `POST /tokenize`: the conversation and the tools, to which the
/// engine applies the model's template.
#[must_use]
pub fn encode_token_count(request: &ChatRequest, target: &Target<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(1024);
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", target.model);
    write_messages(&mut json, request, true);
    write_tools(&mut json, request);
    json.end_object();
    body
}

#[derive(Deserialize)]
struct CountWire {
    count: u64,
}

/// Reads the answer.
///
/// # Errors
/// When it holds no count.
pub fn decode_token_count(body: &[u8]) -> Result<u64, ApiError> {
    let wire: CountWire =
        serde_json::from_slice(body).map_err(|_| unreadable("it holds no count of tokens"))?;
    Ok(wire.count)
}
