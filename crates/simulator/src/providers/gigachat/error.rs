//! Errors in GigaChat's two shapes: `{code, message}` where tokens are issued,
//! `{status, message}` everywhere else.

use http::StatusCode;
use serde_json::{Value, json};

/// A refused API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The body is not JSON, or a member has the wrong type.
    pub(crate) fn syntax() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Your request contains invalid JSON syntax.")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn invalid_params(reason: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Invalid params: {reason}"))
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("No such {what}"))
    }

    /// What the service says for a status a script asks for.
    pub(crate) fn of_status(status: u16) -> Self {
        let message = match status {
            400 => "Bad request",
            401 => "Unauthorized",
            402 => "Payment Required",
            403 => "Permission denied",
            404 => "No such model",
            413 => "Payload too large",
            422 => "Invalid params: unprocessable request",
            429 => "Too many requests",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Internal Server Error",
        };
        Self::new(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            message,
        )
    }

    pub(crate) fn body(&self) -> Value {
        json!({"status": self.status.as_u16(), "message": self.message})
    }
}

/// A refused token request; the numbers are the service's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OauthError {
    BadScope,
    UndecodableAuthorization,
    EmptyScope,
    WrongCredentials,
    ScopeNotIncluded,
    BadRequestId,
}

impl OauthError {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UndecodableAuthorization | Self::WrongCredentials => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn body(self) -> Value {
        let (code, message) = match self {
            Self::BadScope => (1, "scope data format invalid"),
            Self::UndecodableAuthorization => (4, "Can't decode 'Authorization' header"),
            Self::EmptyScope => (5, "scope is empty"),
            Self::WrongCredentials => (6, "credentials doesn't match db data"),
            Self::ScopeNotIncluded => (7, "scope from db not fully includes consumed scope"),
            Self::BadRequestId => (2, "RqUID header is missing or is not a uuid4"),
        };
        json!({"code": code, "message": message})
    }
}
