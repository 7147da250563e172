//! Errors in Anthropic's shape, both ways.

use std::time::Duration;

use chat::{ApiError, ErrorKind};
use serde::Deserialize;

use crate::EncodedError;
use crate::json::JsonWriter;

/// Writes `error` as Anthropic's API does, with the id that its SDKs show.
#[must_use]
pub fn encode_error(error: &ApiError, request_id: &str) -> EncodedError {
    let mut body = Vec::with_capacity(192);
    write(&mut body, error, request_id);
    EncodedError { status: wire_kind(error.kind).0, body }
}

/// Appends the error object that bodies and the stream's `error` event share.
pub(super) fn write(out: &mut Vec<u8>, error: &ApiError, request_id: &str) {
    let mut json = JsonWriter::new(out);
    json.begin_object().field("type", "error").key("error").begin_object();
    json.field("type", wire_kind(error.kind).1);
    // The shape has no member for the path, so it leads the message as in Anthropic's own errors.
    match &error.param {
        Some(param) if !error.message.contains(param.as_str()) => {
            json.field("message", &format!("{param}: {}", error.message));
        }
        _ => {
            json.field("message", &error.message);
        }
    }
    json.end_object();
    if !request_id.is_empty() {
        json.field("request_id", request_id);
    }
    json.end_object();
}

/// Status and `error.type`.
fn wire_kind(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::ContextLengthExceeded
        | ErrorKind::ContentPolicy
        | ErrorKind::MethodNotAllowed
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::RequestTimeout => (kind.status(), "invalid_request_error"),
        ErrorKind::Authentication => (401, "authentication_error"),
        ErrorKind::PermissionDenied => (403, "permission_error"),
        ErrorKind::NotFound => (404, "not_found_error"),
        ErrorKind::RequestTooLarge => (413, "request_too_large"),
        ErrorKind::RateLimited => (429, "rate_limit_error"),
        ErrorKind::QuotaExhausted => (402, "billing_error"),
        ErrorKind::Internal | ErrorKind::BadGateway => (kind.status(), "api_error"),
        ErrorKind::Overloaded => (529, "overloaded_error"),
        ErrorKind::Timeout => (504, "timeout_error"),
    }
}

#[derive(Debug, Deserialize)]
struct WireErrorBody {
    error: WireError,
}

/// The `error` member of an error body or of a stream's `error` event.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

impl WireError {
    /// The canonical error; `status` is the HTTP status if the error came as a whole answer.
    pub(super) fn into_error(self, status: Option<u16>, retry_after: Option<Duration>) -> ApiError {
        let kind = match self.kind.as_str() {
            "invalid_request_error" => self.kind_of_invalid_request(),
            "authentication_error" => ErrorKind::Authentication,
            "billing_error" => ErrorKind::QuotaExhausted,
            "permission_error" => ErrorKind::PermissionDenied,
            "not_found_error" => ErrorKind::NotFound,
            "request_too_large" => ErrorKind::RequestTooLarge,
            "rate_limit_error" => ErrorKind::RateLimited,
            "timeout_error" => ErrorKind::Timeout,
            "overloaded_error" => ErrorKind::Overloaded,
            "api_error" => ErrorKind::Internal,
            _ => status.map_or(ErrorKind::BadGateway, kind_of_status),
        };
        let message = if self.message.is_empty() {
            match status {
                Some(status) => format!("the provider answered with status {status}"),
                None => "the provider reported an error without a message".to_owned(),
            }
        } else {
            self.message
        };
        let code = (kind == ErrorKind::ContextLengthExceeded)
            .then(|| "context_length_exceeded".to_owned());
        let retry_after = retry_after.filter(|_| kind.is_transient());
        // An event has no status; what its type has in a whole answer says as much.
        let provider_status = Some(status.unwrap_or(wire_kind(kind).0));
        ApiError { kind, message, param: None, code, retry_after, provider_status }
    }

    /// The API has no type of its own for two cases that callers must tell apart.
    fn kind_of_invalid_request(&self) -> ErrorKind {
        if self.message.contains("prompt is too long")
            || self.message.contains("exceed context limit")
        {
            ErrorKind::ContextLengthExceeded
        } else if self.message.contains("credit balance is too low") {
            ErrorKind::QuotaExhausted
        } else {
            ErrorKind::InvalidRequest
        }
    }
}

/// Reads an answer whose status is not 2xx. `retry_after` is the header of that name.
#[must_use]
pub fn decode_error(status: u16, retry_after: Option<Duration>, body: &[u8]) -> ApiError {
    let error = serde_json::from_slice::<WireErrorBody>(body)
        .map_or_else(|_| WireError::default(), |body| body.error);
    error.into_error(Some(status), retry_after)
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        413 => ErrorKind::RequestTooLarge,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        500 => ErrorKind::Internal,
        400..=499 => ErrorKind::InvalidRequest,
        _ => ErrorKind::BadGateway,
    }
}
