use std::time::Duration;

use chat::{ApiError, ErrorKind};
use serde::Deserialize;

use crate::conversion::kind_of_status;

#[derive(Deserialize, Default)]
struct ErrorWire {
    error: Option<StatusWire>,
    message: Option<String>,
}

/// A gRPC status as JSON.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusWire {
    http_code: Option<u16>,
    message: Option<String>,
}

impl StatusWire {
    /// The error that it stands for, with `status` where it names none.
    pub(super) fn into_error(self, status: u16, retry_after: Option<Duration>) -> ApiError {
        let status = self.http_code.filter(|code| *code >= 400).unwrap_or(status);
        let said: String = self.message.unwrap_or_default().chars().take(1000).collect();
        let lower = said.to_lowercase();
        let kind = if status == 400
            && (lower.contains("number of input tokens") || lower.contains("context length"))
        {
            ErrorKind::ContextLengthExceeded
        } else {
            kind_of_status(status)
        };
        let message = if said.is_empty() {
            format!("YandexGPT answered with status {status} and no explanation")
        } else {
            format!("YandexGPT: {said}")
        };
        ApiError { retry_after, provider_status: Some(status), ..ApiError::new(kind, message) }
    }
}

/// What an error of YandexGPT's says.
#[must_use]
pub fn decode_error(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApiError {
    let wire: ErrorWire = serde_json::from_slice(body).unwrap_or_default();
    let said = wire.error.unwrap_or(StatusWire { http_code: Some(status), message: wire.message });
    said.into_error(status, retry_after)
}
