use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use identity::DirectoryError;
use metering::LedgerError;
use serde::Serialize;

/// Why the admin API refuses or fails. Every answer that is not a success has this body.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetails,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ErrorDetails {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people, with the remedy.
    pub message: String,
    /// The member or parameter at fault, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// A refusal or failure.
#[derive(Debug)]
pub struct AdminError {
    status: StatusCode,
    details: ErrorDetails,
}

impl AdminError {
    pub(crate) fn with_status(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, details: ErrorDetails { code, message: message.into(), field: None } }
    }

    /// A member or parameter that cannot be taken.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::with_status(StatusCode::BAD_REQUEST, "invalid_request", message);
        error.details.field = Some(field.into());
        error
    }

    /// Nobody, or somebody unknown. `code` says which.
    pub fn unauthenticated(code: &'static str, message: impl Into<String>) -> Self {
        Self::with_status(StatusCode::UNAUTHORIZED, code, message)
    }

    /// Known, but may not.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::with_status(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Not there, or not there for this caller: the two must look the same.
    pub fn not_found() -> Self {
        Self::with_status(StatusCode::NOT_FOUND, "not_found", "there is no such thing here")
    }

    /// Contradicts what is there.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::with_status(StatusCode::CONFLICT, code, message)
    }

    /// `If-Match` names another version than the present one.
    pub fn changed_meanwhile() -> Self {
        Self::with_status(
            StatusCode::PRECONDITION_FAILED,
            "changed_meanwhile",
            "it was changed since it was read; read it again and repeat the change",
        )
    }

    /// The database is not there.
    pub fn unavailable(reason: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%reason, "the admin API's database is not available");
        Self::with_status(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            "the database is not available at the moment; nothing was changed, try again later",
        )
    }

    /// A defect.
    pub fn internal(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(%reason, "the admin API failed");
        Self::with_status(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "llm-proxy failed")
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<DirectoryError> for AdminError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Conflict { found: None, .. } => Self::not_found(),
            DirectoryError::Conflict { .. } => Self::changed_meanwhile(),
            DirectoryError::Unavailable(reason) => Self::unavailable(&reason),
        }
    }
}

impl From<LedgerError> for AdminError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(reason) => Self::unavailable(&reason),
            LedgerError::Damaged(reason) => Self::internal(&reason),
        }
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: self.details })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
