//! Errors in the shape of OpenAI's API, for HTTP answers and streams.

use chat::{ApiError, ErrorKind};

use crate::EncodedError;
use crate::json::JsonWriter;

/// Writes `error` as OpenAI's API answers it.
#[must_use]
pub fn encode_error(error: &ApiError) -> EncodedError {
    let mut body = Vec::with_capacity(192);
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().key("error");
    write_object(&mut json, error);
    json.end_object();
    EncodedError { status: error.kind.status(), body }
}

/// `{"message", "type", "param", "code"}`
pub(super) fn write_object(json: &mut JsonWriter<'_>, error: &ApiError) {
    json.begin_object().field("message", &error.message).field("type", kind_name(error.kind));
    write_param_and_code(json, error);
    json.end_object();
}

/// `"param"` and `"code"`, `null` where there is none.
pub(super) fn write_param_and_code(json: &mut JsonWriter<'_>, error: &ApiError) {
    for (key, value) in [("param", error.param.as_deref()), ("code", code(error))] {
        match value {
            Some(value) => json.field(key, value),
            None => json.key(key).null(),
        };
    }
}

fn code(error: &ApiError) -> Option<&str> {
    error.code.as_deref().or(match error.kind {
        ErrorKind::Authentication => Some("invalid_api_key"),
        ErrorKind::ContextLengthExceeded => Some("context_length_exceeded"),
        ErrorKind::ContentPolicy => Some("content_policy_violation"),
        ErrorKind::RateLimited => Some("rate_limit_exceeded"),
        ErrorKind::QuotaExhausted => Some("insufficient_quota"),
        _ => None,
    })
}

fn kind_name(kind: ErrorKind) -> &'static str {
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

/// The code of a response that failed: the API has a closed list.
pub(super) fn response_error_code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited | ErrorKind::QuotaExhausted => "rate_limit_exceeded",
        ErrorKind::InvalidRequest | ErrorKind::ContextLengthExceeded | ErrorKind::ContentPolicy => {
            "invalid_prompt"
        }
        _ => "server_error",
    }
}
