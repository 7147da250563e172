use std::time::Duration;

use chat::{ApiError, ErrorKind};
use serde::Deserialize;

use crate::conversion::kind_of_status;

#[derive(Deserialize, Default)]
struct ErrorWire {
    message: Option<String>,
}

/// What an error of GigaChat's says: `{"status", "message"}`, or `{"code", "message"}` from its
/// token service.
#[must_use]
pub fn decode_error(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
    let wire: ErrorWire = serde_json::from_slice(body).unwrap_or_default();
    let said: String = wire.message.unwrap_or_default().chars().take(1000).collect();
    let kind = match status {
        // The documentation: "the input is longer than the model can take".
        413 => ErrorKind::ContextLengthExceeded,
        status => kind_of_status(status),
    };
    let message = if said.is_empty() {
        format!("GigaChat answered with status {status} and no explanation")
    } else {
        format!("GigaChat: {said}")
    };
    ApiError { retry_after, provider_status: Some(status), ..ApiError::new(kind, message) }
}
