//! `/embeddings`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::chat_request::strict;
use super::error::ApiError;
use super::fields::{self, missing, unrecognized, unsupported_value, wrong_type};
use crate::json_text::JsonText;
use crate::prompt::Prompt;
use crate::providers::{Provider, embedding};
use crate::text::count_tokens;

const MEMBERS: &[&str] = &["input", "model", "dimensions", "encoding_format", "user"];
/// Inputs of one request.
const MOST_INPUTS: usize = 2048;
/// Tokens of one input.
const MOST_TOKENS: u64 = 8192;

pub(crate) struct EmbeddingsRequest {
    pub(crate) prompt: Prompt,
    inputs: Vec<String>,
    dimensions: usize,
    base64: bool,
}

fn native_dimensions(model: &str) -> usize {
    match model {
        "text-embedding-3-large" => 3072,
        model if model.starts_with("text-embedding") => 1536,
        _ => 1024,
    }
}

pub(crate) fn read(
    provider: Provider,
    body: &Value,
    deployment: Option<&str>,
) -> Result<EmbeddingsRequest, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::invalid("Invalid request body: expected an object."));
    };
    if strict(provider)
        && let Some(error) = unrecognized(body, MEMBERS, &[])
    {
        return Err(error);
    }
    let model = match (deployment, fields::string(body, "model", "model")?) {
        (Some(deployment), _) => deployment.to_owned(),
        (None, Some(model)) if !model.is_empty() => model.to_owned(),
        _ => return Err(ApiError::invalid("you must provide a model parameter")),
    };
    let inputs = inputs(body.get("input"))?;
    let native = native_dimensions(&model);
    let most = if strict(provider) { native } else { 8192 };
    let dimensions = fields::integer(body, "dimensions", 1, most as i64)?;
    if dimensions.is_some() && model == "text-embedding-ada-002" {
        return Err(ApiError::invalid("This model does not support specifying dimensions."));
    }
    let base64 = match fields::string(body, "encoding_format", "encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(unsupported_value("encoding_format", other, &["float", "base64"]));
        }
    };
    let prompt_tokens = inputs.iter().map(|input| count_tokens(input)).sum();
    Ok(EmbeddingsRequest {
        prompt: Prompt {
            provider,
            model,
            text: inputs.join("\n"),
            prompt_tokens,
            ..Prompt::default()
        },
        inputs,
        dimensions: dimensions.map_or(native, |wanted| usize::try_from(wanted).unwrap_or(native)),
        base64,
    })
}

/// Texts, or arrays of token numbers spelled out.
fn inputs(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let invalid = || {
        ApiError::invalid(
            "'$.input' is invalid. Please check the API reference: \
             https://platform.openai.com/docs/api-reference.",
        )
    };
    let spelled = |tokens: &[Value]| -> Result<String, ApiError> {
        let numbers: Option<Vec<String>> =
            tokens.iter().map(|token| token.as_u64().map(|number| number.to_string())).collect();
        numbers.map(|numbers| numbers.join(" ")).ok_or_else(invalid)
    };
    let inputs = match value {
        None | Some(Value::Null) => return Err(missing("input")),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => match items.first() {
            None => {
                return Err(ApiError::invalid("Invalid 'input': input cannot be an empty array.")
                    .param("input"));
            }
            Some(Value::Number(_)) => vec![spelled(items)?],
            Some(_) if items.len() > MOST_INPUTS => {
                return Err(ApiError::invalid(format!(
                    "Invalid 'input': array too long. Expected an array with maximum length \
                     {MOST_INPUTS}, but got an array with length {} instead.",
                    items.len()
                ))
                .param("input")
                .code("array_above_max_length"));
            }
            Some(_) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    Value::Array(tokens) => spelled(tokens),
                    _ => Err(invalid()),
                })
                .collect::<Result<_, _>>()?,
        },
        Some(other) => return Err(wrong_type("input", "one of a string or an array", other)),
    };
    if inputs.iter().any(String::is_empty) {
        let message = "Invalid 'input': input cannot be an empty string.";
        return Err(ApiError::invalid(message).param("input"));
    }
    if let Some(tokens) = inputs.iter().map(|input| count_tokens(input)).find(|n| *n > MOST_TOKENS)
    {
        return Err(ApiError::invalid(format!(
            "This model's maximum context length is {MOST_TOKENS} tokens, however you requested \
             {tokens} tokens ({tokens} in your prompt; 0 for the completion). Please reduce your \
             prompt; or completion length."
        )));
    }
    Ok(inputs)
}

pub(crate) fn whole(request: &EmbeddingsRequest) -> String {
    let mut json = JsonText::with_capacity(request.inputs.len() * request.dimensions * 12 + 256);
    json.raw("{\"object\":\"list\",\"data\":[");
    for (index, input) in request.inputs.iter().enumerate() {
        json.raw(if index > 0 { "," } else { "" });
        json.raw("{\"object\":\"embedding\",\"index\":").number(index as u64);
        json.raw(",\"embedding\":");
        let vector = embedding::vector(input, request.dimensions);
        if request.base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json.string(&STANDARD.encode(bytes));
        } else {
            for (at, value) in vector.iter().enumerate() {
                json.raw(if at == 0 { "[" } else { "," }).raw(&format!("{value:.8}"));
            }
            json.raw("]");
        }
        json.raw("}");
    }
    json.raw("],\"model\":").string(&request.prompt.model).raw(",\"usage\":{\"prompt_tokens\":");
    json.number(request.prompt.prompt_tokens).raw(",\"total_tokens\":");
    json.number(request.prompt.prompt_tokens).raw("}}");
    String::from_utf8(json.into_bytes().into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_and_float_are_the_same_numbers() {
        let ask = |format: &str| {
            let body = json!({"model": "text-embedding-3-small", "input": "привет",
                "encoding_format": format, "dimensions": 8});
            let request = read(Provider::OpenAi, &body, None).expect("valid");
            let whole: Value = serde_json::from_str(&whole(&request)).expect("JSON");
            whole["data"][0]["embedding"].clone()
        };
        let floats: Vec<f32> = serde_json::from_value(ask("float")).expect("floats");
        let bytes = STANDARD.decode(ask("base64").as_str().expect("text")).expect("base64");
        let decoded: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().expect("four")))
            .collect();
        assert_eq!((floats.len(), decoded.len()), (8, 8));
        assert!(floats.iter().zip(&decoded).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn inputs_are_checked() {
        let error = |input: Value| {
            let body = json!({"model": "text-embedding-3-small", "input": input});
            read(Provider::OpenAi, &body, None).err().expect("refused")
        };
        assert!(error(json!("")).message.contains("empty string"));
        assert!(error(json!([])).message.contains("empty array"));
        assert!(error(json!([{"a": 1}])).message.contains("'$.input' is invalid"));
        assert_eq!(error(json!(5)).code, Some("invalid_type"));
        let body = json!({"model": "m", "input": [[1, 2], [3]]});
        assert_eq!(read(Provider::OpenAi, &body, None).expect("tokens").inputs, ["1 2", "3"]);
    }
}
