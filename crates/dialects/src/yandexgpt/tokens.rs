use chat::ApiError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::conversion::unreadable;

#[derive(Deserialize)]
struct TokensWire {
    tokens: Vec<IgnoredAny>,
}

/// Reads the answer of `POST /foundationModels/v1/tokenizeCompletion`, which takes what
/// [`encode_request`](super::encode_request) writes, or of `tokenize`.
///
/// # Errors
/// When the answer cannot be read.
pub fn decode_token_count(body: &[u8]) -> Result<u64, ApiError> {
    let wire: TokensWire =
        serde_json::from_slice(body).map_err(|_| unreadable("it holds no tokens"))?;
    Ok(wire.tokens.len() as u64)
}
