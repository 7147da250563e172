//! Anthropic's error object and the statuses its types travel with.

use http::StatusCode;
use serde_json::{Value, json};

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// A stable name of the cause, for the few causes that have one.
    pub(crate) code: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn authentication() -> Self {
        Self::new(401, "invalid x-api-key")
    }

    /// What the service says for a status a script asks for.
    pub(crate) fn of_status(status: u16) -> Self {
        let message = match status {
            400 => "Invalid request",
            401 => "invalid x-api-key",
            402 => "Your credit balance is too low to access the Anthropic API.",
            403 => "Your API key does not have permission to use the specified resource.",
            404 => "Not Found",
            413 => "Request exceeds the maximum size",
            429 => {
                "This request would exceed your organization's rate limit. Please try again later."
            }
            504 => "Request timed out",
            503 | 529 => "Overloaded",
            _ => "Internal server error",
        };
        Self::new(status, message)
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            503 | 529 => "overloaded_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        }
    }

    pub(crate) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn body(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.kind(), "message": self.message});
        if let Some(code) = self.code {
            error["details"] = json!({"error_code": code});
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_type() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (413, "request_too_large"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (529, "overloaded_error"),
        ] {
            let error = ApiError::of_status(status);
            assert_eq!(error.kind(), kind);
            let body = error.body("req_1");
            assert_eq!(body["type"], "error");
            assert_eq!(body["error"]["type"], kind);
            assert_eq!(body["request_id"], "req_1");
        }
    }
}
