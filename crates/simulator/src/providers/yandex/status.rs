//! gRPC statuses as the REST gateway prints them.

use http::StatusCode;
use serde_json::{Value, json};

/// The gRPC codes the service uses, with their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// The HTTP status the gateway maps this code to.
    pub(crate) fn http(self) -> StatusCode {
        match self {
            Self::InvalidArgument => StatusCode::BAD_REQUEST,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }

    /// The code that an HTTP status stands for; what scripted faults need.
    pub(crate) fn from_http(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            429 => Self::ResourceExhausted,
            501 => Self::Unimplemented,
            502 | 503 | 529 => Self::Unavailable,
            504 => Self::DeadlineExceeded,
            400..=499 => Self::InvalidArgument,
            _ => Self::Internal,
        }
    }
}

/// A failed call: code and message, in either of the two published shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Status {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, message)
    }

    /// The shape of the model service: everything under `error`.
    pub(crate) fn nested(&self) -> Value {
        let http = self.code.http();
        json!({"error": {
            "grpcCode": self.code as u8,
            "httpCode": http.as_u16(),
            "message": self.message,
            "httpStatus": http.canonical_reason().unwrap_or(""),
            "details": [],
        }})
    }

    /// The shape of the identity service: a bare `google.rpc.Status`.
    pub(crate) fn flat(&self) -> Value {
        json!({"code": self.code as u8, "message": self.message, "details": []})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_carry_code_and_message() {
        let status = Status::unauthenticated("Unknown api key");
        assert_eq!(
            status.nested(),
            json!({"error": {"grpcCode": 16, "httpCode": 401, "message": "Unknown api key",
                "httpStatus": "Unauthorized", "details": []}})
        );
        assert_eq!(status.flat(), json!({"code": 16, "message": "Unknown api key", "details": []}));
    }

    #[test]
    fn http_statuses_find_their_code() {
        assert_eq!(Code::from_http(429), Code::ResourceExhausted);
        assert_eq!(Code::from_http(418), Code::InvalidArgument);
        assert_eq!(Code::from_http(500), Code::Internal);
        assert_eq!(Code::from_http(503), Code::Unavailable);
    }
}
