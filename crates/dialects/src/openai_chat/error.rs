use std::time::Duration;

use chat::{ApiError, ErrorKind};
use serde::Deserialize;
use serde_json::Value;

use crate::EncodedError;
use crate::conversion::kind_of_status;
use crate::json::JsonWriter;

/// Longest message of a provider that is passed on, in characters.
const MAX_MESSAGE: usize = 1000;

fn error_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::PermissionDenied => "permission_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::QuotaExhausted => "insufficient_quota",
        ErrorKind::Internal
        | ErrorKind::BadGateway
        | ErrorKind::Overloaded
        | ErrorKind::Timeout => "server_error",
        _ => "invalid_request_error",
    }
}

fn default_code(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Authentication => Some("invalid_api_key"),
        ErrorKind::ContextLengthExceeded => Some("context_length_exceeded"),
        ErrorKind::ContentPolicy => Some("content_policy_violation"),
        ErrorKind::RateLimited => Some("rate_limit_exceeded"),
        ErrorKind::QuotaExhausted => Some("insufficient_quota"),
        _ => None,
    }
}

/// Writes `{"message", "type", "param", "code"}`.
pub(crate) fn write_error(json: &mut JsonWriter<'_>, error: &ApiError) {
    json.begin_object().field("message", &error.message).field("type", error_type(error.kind));
    match &error.param {
        Some(param) => json.field("param", param),
        None => json.key("param").null(),
    };
    match error.code.as_deref().or(default_code(error.kind)) {
        Some(code) => json.field("code", code),
        None => json.key("code").null(),
    };
    json.end_object();
}

/// An error as OpenAI tells it.
#[must_use]
pub fn encode_error(error: &ApiError) -> EncodedError {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().key("error");
    write_error(&mut json, error);
    json.end_object();
    EncodedError { status: error.kind.status(), body }
}

/// The shapes in which compatible providers tell errors.
#[derive(Deserialize, Default)]
struct ErrorWire {
    /// OpenAI, Azure, newer vLLM, DashScope: an object; Ollama: a string.
    error: Option<Value>,
    /// Older vLLM, Azure's API management, Cloud.ru's gateway.
    message: Option<Value>,
    /// FastAPI: a string or a list of faults.
    detail: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<Value>,
    code: Option<Value>,
    param: Option<Value>,
}

/// What a provider says went wrong.
#[derive(Default)]
struct Said {
    message: String,
    kind: String,
    code: String,
    param: Option<String>,
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn detail(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(faults) => {
            let faults: Vec<String> = faults.iter().map(|fault| text(fault.get("msg"))).collect();
            faults.join("; ")
        }
        Value::Object(members) => text(members.get("message")),
        _ => String::new(),
    }
}

impl From<ErrorWire> for Said {
    fn from(wire: ErrorWire) -> Self {
        let outer_param = wire.param.as_ref().and_then(Value::as_str).map(str::to_owned);
        match wire.error {
            Some(Value::Object(inner)) => Self {
                message: text(inner.get("message")),
                kind: text(inner.get("type")),
                code: text(inner.get("code")),
                param: inner.get("param").and_then(Value::as_str).map(str::to_owned),
            },
            Some(Value::String(message)) => Self { message, ..Self::default() },
            _ => Self {
                message: match (&wire.message, &wire.detail) {
                    (Some(message), _) => text(Some(message)),
                    (None, Some(value)) => detail(value),
                    (None, None) => String::new(),
                },
                kind: text(wire.kind.as_ref()),
                code: text(wire.code.as_ref()),
                param: outer_param,
            },
        }
    }
}

fn kind_of(status: u16, said: &Said) -> ErrorKind {
    let code = said.code.to_ascii_lowercase();
    let message = said.message.to_ascii_lowercase();
    let client_fault = matches!(status, 400 | 413 | 422);
    if code == "context_length_exceeded"
        || (client_fault
            && (message.contains("maximum context length")
                || message.contains("context length")
                || message.contains("range of input length")))
    {
        return ErrorKind::ContextLengthExceeded;
    }
    if matches!(
        code.as_str(),
        "content_filter"
            | "content_policy_violation"
            | "data_inspection_failed"
            | "responsibleaipolicyviolation"
    ) {
        return ErrorKind::ContentPolicy;
    }
    if code == "insufficient_quota" || code == "arrearage" || said.kind == "insufficient_quota" {
        return ErrorKind::QuotaExhausted;
    }
    kind_of_status(status)
}

fn to_api_error(status: u16, said: Said, retry_after: Option<Duration>) -> ApiError {
    let kind = kind_of(status, &said);
    let message = if said.message.is_empty() {
        format!("the provider answered with status {status} and no explanation")
    } else {
        said.message.chars().take(MAX_MESSAGE).collect()
    };
    let code = Some(said.code).filter(|code| !code.is_empty() && code.parse::<u16>().is_err());
    ApiError { kind, message, param: said.param, code, retry_after, provider_status: Some(status) }
}

/// What a provider's error says.
#[must_use]
pub fn decode_error(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
    // Gemini puts its error into a list.
    let wire = serde_json::from_slice::<ErrorWire>(body)
        .or_else(|_| serde_json::from_slice::<[ErrorWire; 1]>(body).map(|[wire]| wire));
    to_api_error(status, wire.map(Said::from).unwrap_or_default(), retry_after)
}

/// An `error` member where an answer or an event should be: several providers report failures
/// with a status of success.
pub(crate) fn error_in_success(error: Value) -> ApiError {
    let wire = ErrorWire { error: Some(error), ..ErrorWire::default() };
    let said = Said::from(wire);
    let status = said.code.parse::<u16>().ok().filter(|code| (400..600).contains(code));
    let status = status.unwrap_or(match (said.code.as_str(), said.kind.as_str()) {
        // OpenAI gives these the type of a request that is not valid.
        ("invalid_api_key", _) | (_, "authentication_error") => 401,
        (_, "permission_error") => 403,
        ("model_not_found", _) | (_, "not_found_error") => 404,
        (_, "rate_limit_error" | "requests" | "tokens") => 429,
        (_, "invalid_request_error" | "BadRequestError") => 400,
        _ => 502,
    });
    to_api_error(status, said, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_many_providers_are_understood() {
        for (status, body, kind, message) in [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                ErrorKind::ContextLengthExceeded,
                "This model's maximum context length is 8192 tokens",
            ),
            (
                400,
                r#"{"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400}"#,
                ErrorKind::InvalidRequest,
                "bad",
            ),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
                ErrorKind::InvalidRequest,
                "field required",
            ),
            (404, r#"{"error":"model 'x' not found"}"#, ErrorKind::NotFound, "model 'x' not found"),
            (
                429,
                r#"{"error":{"message":"нет средств","code":"insufficient_quota"}}"#,
                ErrorKind::QuotaExhausted,
                "нет средств",
            ),
            (
                502,
                "<html>",
                ErrorKind::BadGateway,
                "the provider answered with status 502 and no explanation",
            ),
        ] {
            let error = decode_error(status, body.as_bytes(), None);
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{body}");
            assert_eq!(error.provider_status, Some(status));
        }
    }

    #[test]
    fn errors_are_told_as_openai_does() {
        let error = ApiError::invalid("messages[0].role", "`messages[0].role`: \"чужой\"");
        let encoded = encode_error(&error);
        assert_eq!(encoded.status, 400);
        assert_eq!(
            String::from_utf8(encoded.body).unwrap(),
            r#"{"error":{"message":"`messages[0].role`: \"чужой\"","type":"invalid_request_error","param":"messages[0].role","code":null}}"#
        );
    }
}
