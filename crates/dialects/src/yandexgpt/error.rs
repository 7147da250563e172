use std::time::Duration;

use chat::{ApiError, ErrorKind};
use serde::Deserialize;

use crate::conversion::kind_of_status;

#[derive(Deserialize, Default)]
struct ErrorWire {
    error: Option<StatusWire>,
    code: Option<u16>,
    message: Option<String>,
}

/// A gRPC status as JSON.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusWire {
    #[serde(alias = "code")]
    grpc_code: Option<u16>,
    http_code: Option<u16>,
    message: Option<String>,
}

impl StatusWire {
    /// The error that it stands for, with `status` where it names none.
    pub(super) fn into_error(self, status: u16, retry_after: Option<Duration>) -> ApiError {
        let http_code = self.http_code.filter(|code| *code >= 400);
        let status = http_code.or_else(|| self.grpc_code.and_then(http_status)).unwrap_or(status);
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
    let said = wire.error.unwrap_or(StatusWire {
        grpc_code: wire.code,
        http_code: Some(status),
        message: wire.message,
    });
    said.into_error(status, retry_after)
}

/// The HTTP status that a gRPC code stands for (`google.rpc.Code`).
fn http_status(code: u16) -> Option<u16> {
    match code {
        3 | 9 | 11 => Some(400),
        16 => Some(401),
        7 => Some(403),
        5 => Some(404),
        6 | 10 => Some(409),
        8 => Some(429),
        1 => Some(499),
        2 | 13 | 15 => Some(500),
        12 => Some(501),
        14 => Some(503),
        4 => Some(504),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_every_form_that_they_come_in() {
        for (status, body, kind) in [
            (
                400,
                r#"{"error":{"grpcCode":3,"httpCode":400,"message":"x"}}"#,
                ErrorKind::InvalidRequest,
            ),
            (200, r#"{"error":{"grpcCode":14,"message":"x"}}"#, ErrorKind::Overloaded),
            (401, r#"{"code":16,"message":"x","details":[]}"#, ErrorKind::Authentication),
            (503, "<html>", ErrorKind::Overloaded),
        ] {
            let error = decode_error(status, body.as_bytes(), None);
            assert_eq!(error.kind, kind, "{body}");
        }
    }
}
