use chat::{ApiError, Embedding, EmbeddingInput, EmbeddingRequest, EmbeddingResponse, Usage};
use serde::Deserialize;

use crate::Target;
use crate::conversion::unreadable;
use crate::json::JsonWriter;

/// Writes a request for `POST /embeddings`.
///
/// # Errors
/// A 400 for token ids and for `dimensions`, which GigaChat does not take.
pub fn encode_embeddings(
    request: &EmbeddingRequest,
    target: &Target<'_>,
) -> Result<Vec<u8>, ApiError> {
    if request.dimensions.is_some() {
        return Err(ApiError::invalid("dimensions", "GigaChat does not take `dimensions`")
            .with_code("unsupported_parameter"));
    }
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", target.model).key("input").begin_array();
    for input in &request.input {
        match input {
            EmbeddingInput::Text(text) => json.string(text),
            EmbeddingInput::Tokens(_) => {
                return Err(ApiError::invalid("input", "GigaChat takes texts, not token ids")
                    .with_code("unsupported_parameter"));
            }
        };
    }
    json.end_array().end_object();
    Ok(body)
}

#[derive(Deserialize)]
struct ResponseWire {
    data: Vec<ItemWire>,
    #[serde(default)]
    model: String,
}

#[derive(Deserialize)]
struct ItemWire {
    embedding: Vec<f32>,
    #[serde(default)]
    index: u32,
    usage: Option<ItemUsageWire>,
}

#[derive(Deserialize)]
struct ItemUsageWire {
    #[serde(default)]
    prompt_tokens: u64,
}

/// Reads the answer; usage, which comes for each text, is added up.
///
/// # Errors
/// When the answer cannot be read.
pub fn decode_embeddings(body: &[u8]) -> Result<EmbeddingResponse, ApiError> {
    let wire: ResponseWire =
        serde_json::from_slice(body).map_err(|_| unreadable("it holds no vectors"))?;
    let prompt_tokens = wire
        .data
        .iter()
        .filter_map(|item| item.usage.as_ref())
        .map(|usage| usage.prompt_tokens)
        .sum();
    Ok(EmbeddingResponse {
        model: wire.model,
        embeddings: wire
            .data
            .into_iter()
            .map(|item| Embedding { index: item.index, vector: item.embedding })
            .collect(),
        usage: Usage { prompt_tokens, ..Usage::default() },
    })
}
