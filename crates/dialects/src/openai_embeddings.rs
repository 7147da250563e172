//! OpenAI's embeddings, for callers; providers that speak it get the caller's bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chat::{
    ApiError, Audience, Embedding, EmbeddingInput, EmbeddingRequest, EmbeddingResponse, ErrorKind,
    ExtraMembers, Usage,
};
use serde::Deserialize;

use crate::decode_json;
use crate::json::JsonWriter;
use crate::open_object::open_object;

/// Most inputs of one request (OpenAI's limit).
const MAX_INPUTS: usize = 2048;

open_object! {
    /// A request as callers send it.
    RequestWire {
        model: String = "model",
        input: InputWire = "input",
        dimensions: u32 = "dimensions",
        encoding_format: FormatWire = "encoding_format",
        user: String = "user",
        llm_proxy: chat::Json = "llm_proxy",
    }
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a string, an array of strings, or token ids as an array or an array of arrays"
)]
pub(crate) enum InputWire {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormatWire {
    Float,
    Base64,
}

/// Reads the body of `POST /v1/embeddings`.
///
/// # Errors
/// A 400 that names the member.
pub fn decode_request(body: &[u8]) -> Result<EmbeddingRequest, ApiError> {
    let wire: RequestWire = decode_json(body)?;
    let input = match wire.input {
        None => return Err(ApiError::invalid("input", "`input` is missing")),
        Some(InputWire::Text(text)) => vec![EmbeddingInput::Text(text)],
        Some(InputWire::Texts(texts)) => texts.into_iter().map(EmbeddingInput::Text).collect(),
        Some(InputWire::Tokens(tokens)) => vec![EmbeddingInput::Tokens(tokens)],
        Some(InputWire::TokenLists(lists)) => {
            lists.into_iter().map(EmbeddingInput::Tokens).collect()
        }
    };
    if input.is_empty() || input.len() > MAX_INPUTS {
        return Err(ApiError::invalid(
            "input",
            format!("`input` holds 1 to {MAX_INPUTS} elements, not {}", input.len()),
        ));
    }
    Ok(EmbeddingRequest {
        model: wire.model.unwrap_or_default(),
        input,
        dimensions: wire.dimensions,
        base64: wire.encoding_format == Some(FormatWire::Base64),
        user: wire.user,
        extra: ExtraMembers { audience: Some(Audience::OpenAiChat), members: wire.extra },
    })
}

/// Writes an answer for a caller, vectors as the caller asked for them.
#[must_use]
pub fn encode_response(response: &EmbeddingResponse, base64: bool) -> Vec<u8> {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("object", "list").key("data").begin_array();
    for embedding in &response.embeddings {
        json.begin_object().field("object", "embedding").key("index").integer(embedding.index);
        json.key("embedding");
        if base64 {
            let bytes: Vec<u8> =
                embedding.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json.string(&STANDARD.encode(bytes));
        } else {
            json.begin_array();
            for number in &embedding.vector {
                json.raw(ryu::Buffer::new().format(*number));
            }
            json.end_array();
        }
        json.end_object();
    }
    json.end_array().field("model", &response.model).key("usage").begin_object();
    json.key("prompt_tokens").integer(response.usage.prompt_tokens);
    json.key("total_tokens").integer(response.usage.total_tokens()).end_object().end_object();
    body
}

/// Writes one request for all inputs of several that agree in everything else; vectors come as
/// numbers. `model` is the provider's name.
#[must_use]
pub fn encode_joint_request<'r>(
    model: &str,
    requests: impl Iterator<Item = &'r EmbeddingRequest> + Clone,
) -> Vec<u8> {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", model).key("input").begin_array();
    for input in requests.clone().flat_map(|request| &request.input) {
        match input {
            EmbeddingInput::Text(text) => _ = json.string(text),
            EmbeddingInput::Tokens(tokens) => {
                json.begin_array();
                for token in tokens {
                    json.integer(*token);
                }
                json.end_array();
            }
        }
    }
    json.end_array().field("encoding_format", "float");
    if let Some(first) = requests.into_iter().next() {
        if let Some(dimensions) = first.dimensions {
            json.key("dimensions").integer(dimensions);
        }
        for (name, value) in &first.extra.members {
            json.key(name).raw(value.get());
        }
    }
    json.end_object();
    body
}

#[derive(Deserialize)]
struct AnswerWire {
    #[serde(default)]
    model: String,
    data: Vec<VectorWire>,
    #[serde(default)]
    usage: UsageWire,
}

#[derive(Deserialize)]
struct VectorWire {
    index: u32,
    embedding: Vec<f32>,
}

#[derive(Default, Deserialize)]
struct UsageWire {
    #[serde(default)]
    prompt_tokens: u64,
}

/// Reads a provider's answer whose vectors are numbers, in the order of the inputs.
///
/// # Errors
/// When it holds no vectors.
pub fn decode_response(body: &[u8]) -> Result<EmbeddingResponse, ApiError> {
    let mut wire: AnswerWire = serde_json::from_slice(body).map_err(|_| {
        ApiError::new(
            ErrorKind::BadGateway,
            "the provider's answer cannot be read: it holds no vectors",
        )
        .with_code("invalid_provider_answer")
    })?;
    wire.data.sort_by_key(|vector| vector.index);
    let embedding = |wire: VectorWire| Embedding { index: wire.index, vector: wire.embedding };
    Ok(EmbeddingResponse {
        model: wire.model,
        embeddings: wire.data.into_iter().map(embedding).collect(),
        usage: Usage { prompt_tokens: wire.usage.prompt_tokens, ..Usage::default() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_vectors_are_written() {
        let response = EmbeddingResponse {
            model: "m".to_owned(),
            embeddings: vec![Embedding { index: 0, vector: vec![0.5, -1.0] }],
            usage: Usage { prompt_tokens: 2, ..Usage::default() },
        };
        assert_eq!(
            String::from_utf8(encode_response(&response, false)).unwrap(),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]}],"model":"m","usage":{"prompt_tokens":2,"total_tokens":2}}"#
        );
        assert!(
            String::from_utf8(encode_response(&response, true))
                .unwrap()
                .contains("\"AAAAPwAAgL8=\"")
        );
    }

    #[test]
    fn all_forms_of_input_are_read() {
        for (input, count) in
            [(r#""да""#, 1), (r#"["да","нет"]"#, 2), ("[1,2]", 1), ("[[1],[2]]", 2)]
        {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            assert_eq!(decode_request(body.as_bytes()).unwrap().input.len(), count);
        }
        assert_eq!(
            decode_request(br#"{"model":"m","input":[]}"#).unwrap_err().param.unwrap(),
            "input"
        );
        assert_eq!(
            decode_request(br#"{"model":"m","input":{}}"#).unwrap_err().param.unwrap(),
            "input"
        );
    }

    #[test]
    fn several_requests_become_one_and_its_answer_is_put_in_order() {
        let read = |input: &str| {
            let body = format!(r#"{{"model":"m","input":{input},"dimensions":2,"x":{{"y":1}}}}"#);
            decode_request(body.as_bytes()).unwrap()
        };
        let requests = [read(r#""да""#), read(r#"["a","b"]"#)];
        assert_eq!(
            String::from_utf8(encode_joint_request("qwen", requests.iter())).unwrap(),
            r#"{"model":"qwen","input":["да","a","b"],"encoding_format":"float","dimensions":2,"x":{"y":1}}"#
        );
        let answer = br#"{"object":"list","model":"q","data":[{"index":1,"embedding":[2.0]},
            {"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        let read = decode_response(answer).unwrap();
        assert_eq!(read.embeddings[0].vector, [1.0]);
        assert_eq!(read.usage.prompt_tokens, 7);
        assert!(decode_response(b"{}").is_err());
    }
}
