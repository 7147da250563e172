use chat::{ApiError, Usage};
use serde::Deserialize;

use super::response::Count;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// Writes a request for `POST /foundationModels/v1/textEmbedding`, which takes one text.
#[must_use]
pub fn encode_embedding(model_uri: &str, text: &str, dimensions: Option<u32>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("modelUri", model_uri).field("text", text);
    if let Some(dimensions) = dimensions {
        json.field("dim", &dimensions.to_string());
    }
    json.end_object();
    body
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResponseWire {
    embedding: Vec<f32>,
    num_tokens: Option<Count>,
    #[serde(default)]
    model_version: String,
}

/// One vector, what it cost, and the version of the model.
///
/// # Errors
/// When the answer cannot be read.
pub fn decode_embedding(body: &[u8]) -> Result<(Vec<f32>, Usage, String), ApiError> {
    let wire: ResponseWire =
        serde_json::from_slice(body).map_err(|_| unreadable("it holds no vector"))?;
    let prompt_tokens = wire.num_tokens.map_or(0, Count::value);
    let usage = Usage { prompt_tokens, ..Usage::default() };
    Ok((wire.embedding, usage, wire.model_version))
}
