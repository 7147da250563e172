//! What a finished call says about its deployment, and where a failed request may still be served.

use chat::{ApiError, ErrorKind};

use crate::Millis;

/// What a call tells about the health of its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It answered, and the answer came to its end.
    Completed {
        /// From sending the request to the first token, milliseconds.
        first_token_ms: Millis,
        /// From sending the request to the end of the answer, milliseconds.
        total_ms: Millis,
        /// Tokens of the answer.
        completion_tokens: u64,
    },
    /// It failed, and by its own fault.
    Failed(FailureClass),
    /// It has more to do than it allows (429): healthy, but to be left alone for a while.
    Throttled {
        /// What its `Retry-After` asked for, milliseconds; `None`: it gave none.
        retry_after_ms: Option<u64>,
    },
    /// Nothing about its health: the caller's mistake, or the caller went away.
    Neutral,
}

/// How a deployment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// No connection, or it broke before the answer began.
    Connect,
    /// No answer in time.
    Timeout,
    /// An answer with a status of 5xx.
    ServerError,
    /// An answer that is not what the API promises, or that broke off.
    BrokenAnswer,
    /// The answer began and then nothing came for too long.
    Stalled,
    /// It does not take the proxy's own credentials (401, 403).
    Unauthorized,
    /// The account has nothing left.
    Exhausted,
}

impl FailureClass {
    /// A stable lower-case name for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::BrokenAnswer => "broken_answer",
            Self::Stalled => "stalled",
            Self::Unauthorized => "unauthorized",
            Self::Exhausted => "exhausted",
        }
    }

    /// Whether the provider may have worked on the request before it failed, so that to send it
    /// once more is extra load.
    #[must_use]
    pub fn worked(self) -> bool {
        matches!(self, Self::Timeout | Self::ServerError | Self::BrokenAnswer | Self::Stalled)
    }

    /// Whether it will last until a person does something, so that one such failure is enough.
    #[must_use]
    pub fn lasts(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Exhausted)
    }
}

impl CallOutcome {
    /// Whether the provider may have worked on the request, so that to send it once more is extra
    /// load.
    #[must_use]
    pub fn worked(&self) -> bool {
        match self {
            Self::Completed { .. } => true,
            Self::Failed(class) => class.worked(),
            Self::Throttled { .. } | Self::Neutral => false,
        }
    }
}

/// Where a request that failed before its first token may be tried again. Each kind allows only
/// what it names; deadlines, attempts and budgets limit it further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Elsewhere at once, or at the same deployment after a pause where there is no other.
    RetrySame,
    /// Only at another deployment: this one would fail again.
    Elsewhere,
    /// Only at a deployment that takes more tokens than this one.
    LongerContext,
    /// Only at a deployment that the route lists for answers that a content policy refused.
    OtherPolicy,
    /// Nowhere: the error is the caller's.
    GiveUp,
}

/// The code of an error that came about because the *caller's* deadline was over. It says nothing
/// about the deployment: without it, a caller with deadlines of some milliseconds could take
/// deployments from everybody.
pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";

/// What the error of a call says about the deployment that was called.
///
/// The error may be as the provider's dialect gave it, or after the gateway replaced those that
/// are about the proxy itself (`provider_credentials_rejected` and its like). Errors of the proxy
/// itself, without [`ApiError::provider_status`], count only if they tell what the provider did.
#[must_use]
pub fn classify(error: &ApiError) -> CallOutcome {
    let code = error.code.as_deref().unwrap_or_default();
    let from_provider = error.provider_status.is_some();
    match code {
        // The model could not keep a form, the answer was too long, the model is not there: of
        // this request or this configuration, not of the deployment's health.
        DEADLINE_EXCEEDED
        | "response_format_failed"
        | "answer_too_large"
        | "provider_model_not_found"
        | "provider_path_not_found" => return CallOutcome::Neutral,
        "provider_credentials_rejected" => return CallOutcome::Failed(FailureClass::Unauthorized),
        _ => {}
    }
    let failed = match error.kind {
        ErrorKind::RateLimited if from_provider => {
            let retry_after_ms =
                error.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            return CallOutcome::Throttled { retry_after_ms };
        }
        ErrorKind::QuotaExhausted if from_provider => FailureClass::Exhausted,
        ErrorKind::Authentication | ErrorKind::PermissionDenied if from_provider => {
            FailureClass::Unauthorized
        }
        ErrorKind::Internal | ErrorKind::Overloaded if from_provider => FailureClass::ServerError,
        ErrorKind::Timeout => match code {
            "provider_idle_timeout" => FailureClass::Stalled,
            _ => FailureClass::Timeout,
        },
        ErrorKind::BadGateway => match (code, error.provider_status) {
            ("provider_unreachable", _) => FailureClass::Connect,
            (_, Some(500..)) => FailureClass::ServerError,
            _ => FailureClass::BrokenAnswer,
        },
        ErrorKind::RateLimited
        | ErrorKind::QuotaExhausted
        | ErrorKind::Authentication
        | ErrorKind::PermissionDenied
        | ErrorKind::Internal
        | ErrorKind::Overloaded
        | ErrorKind::InvalidRequest
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::RequestTooLarge
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::ContextLengthExceeded
        | ErrorKind::ContentPolicy
        | ErrorKind::RequestTimeout => return CallOutcome::Neutral,
    };
    CallOutcome::Failed(failed)
}

/// Where the request may be tried again after this error, if its first token has not left yet.
#[must_use]
pub fn remedy(error: &ApiError) -> Remedy {
    let code = error.code.as_deref().unwrap_or_default();
    match code {
        // Another deployment would be as late, or its answer as long.
        DEADLINE_EXCEEDED | "answer_too_large" => return Remedy::GiveUp,
        // What this deployment cannot do, another may.
        "unsupported_parameter"
        | "unsupported_operation"
        | "unsupported_tool"
        | "unsupported_value"
        | "response_format_failed" => return Remedy::Elsewhere,
        _ => {}
    }
    match classify(error) {
        CallOutcome::Failed(
            FailureClass::Connect
            | FailureClass::Timeout
            | FailureClass::ServerError
            | FailureClass::BrokenAnswer,
        ) => Remedy::RetrySame,
        CallOutcome::Failed(
            FailureClass::Stalled | FailureClass::Unauthorized | FailureClass::Exhausted,
        )
        | CallOutcome::Throttled { .. } => Remedy::Elsewhere,
        CallOutcome::Completed { .. } => Remedy::GiveUp,
        CallOutcome::Neutral => match error.kind {
            ErrorKind::ContextLengthExceeded => Remedy::LongerContext,
            ErrorKind::ContentPolicy => Remedy::OtherPolicy,
            // The provider does not know the model or the path, or takes only shorter bodies.
            ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::RequestTooLarge
            | ErrorKind::BadGateway
                if error.provider_status.is_some() =>
            {
                Remedy::Elsewhere
            }
            // Ours, and perhaps only with this deployment.
            ErrorKind::Internal => Remedy::Elsewhere,
            _ => Remedy::GiveUp,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const KINDS: [ErrorKind; 16] = [
        ErrorKind::InvalidRequest,
        ErrorKind::Authentication,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::MethodNotAllowed,
        ErrorKind::RequestTooLarge,
        ErrorKind::UnsupportedMediaType,
        ErrorKind::ContextLengthExceeded,
        ErrorKind::ContentPolicy,
        ErrorKind::RateLimited,
        ErrorKind::QuotaExhausted,
        ErrorKind::Internal,
        ErrorKind::BadGateway,
        ErrorKind::Overloaded,
        ErrorKind::Timeout,
        ErrorKind::RequestTimeout,
    ];

    fn said(kind: ErrorKind, status: u16) -> ApiError {
        ApiError { provider_status: Some(status), ..ApiError::new(kind, "") }
    }

    fn ours(kind: ErrorKind, code: &str) -> ApiError {
        ApiError::new(kind, "").with_code(code)
    }

    #[test]
    fn failures_of_the_provider_count() {
        use FailureClass::{
            BrokenAnswer, Connect, Exhausted, ServerError, Stalled, Timeout, Unauthorized,
        };
        for (error, class, expected) in [
            (ours(ErrorKind::BadGateway, "provider_unreachable"), Connect, Remedy::RetrySame),
            (ours(ErrorKind::Timeout, "provider_timeout"), Timeout, Remedy::RetrySame),
            (said(ErrorKind::Timeout, 504), Timeout, Remedy::RetrySame),
            (said(ErrorKind::Internal, 500), ServerError, Remedy::RetrySame),
            (said(ErrorKind::BadGateway, 502), ServerError, Remedy::RetrySame),
            (said(ErrorKind::Overloaded, 529), ServerError, Remedy::RetrySame),
            // An error in a body with a status of success.
            (said(ErrorKind::BadGateway, 200), BrokenAnswer, Remedy::RetrySame),
            (said(ErrorKind::Internal, 200), ServerError, Remedy::RetrySame),
            (
                ours(ErrorKind::BadGateway, "invalid_provider_answer"),
                BrokenAnswer,
                Remedy::RetrySame,
            ),
            (ours(ErrorKind::BadGateway, "stream_interrupted"), BrokenAnswer, Remedy::RetrySame),
            (ours(ErrorKind::Timeout, "provider_idle_timeout"), Stalled, Remedy::Elsewhere),
            (said(ErrorKind::Authentication, 401), Unauthorized, Remedy::Elsewhere),
            (said(ErrorKind::PermissionDenied, 403), Unauthorized, Remedy::Elsewhere),
            (
                ours(ErrorKind::BadGateway, "provider_credentials_rejected"),
                Unauthorized,
                Remedy::Elsewhere,
            ),
            (said(ErrorKind::QuotaExhausted, 402), Exhausted, Remedy::Elsewhere),
        ] {
            assert_eq!(classify(&error), CallOutcome::Failed(class), "{error:?}");
            assert_eq!(remedy(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn too_many_requests_is_no_failure() {
        let mut error = said(ErrorKind::RateLimited, 429);
        assert_eq!(classify(&error), CallOutcome::Throttled { retry_after_ms: None });
        error.retry_after = Some(Duration::from_millis(1_500));
        assert_eq!(classify(&error), CallOutcome::Throttled { retry_after_ms: Some(1_500) });
        assert_eq!(remedy(&error), Remedy::Elsewhere);
        error.retry_after = Some(Duration::MAX);
        assert_eq!(classify(&error), CallOutcome::Throttled { retry_after_ms: Some(u64::MAX) });
    }

    #[test]
    fn the_callers_mistakes_say_nothing_about_the_deployment() {
        for (error, expected) in [
            (said(ErrorKind::InvalidRequest, 400), Remedy::GiveUp),
            (said(ErrorKind::ContextLengthExceeded, 400), Remedy::LongerContext),
            (said(ErrorKind::ContentPolicy, 400), Remedy::OtherPolicy),
            (said(ErrorKind::ContentPolicy, 200), Remedy::OtherPolicy),
            (said(ErrorKind::NotFound, 404), Remedy::Elsewhere),
            (said(ErrorKind::RequestTooLarge, 413), Remedy::Elsewhere),
            (ApiError::new(ErrorKind::NotFound, ""), Remedy::GiveUp),
            (ours(ErrorKind::InvalidRequest, "unsupported_parameter"), Remedy::Elsewhere),
            (ours(ErrorKind::BadGateway, "response_format_failed"), Remedy::Elsewhere),
            (ours(ErrorKind::BadGateway, "answer_too_large"), Remedy::GiveUp),
            (ours(ErrorKind::Timeout, DEADLINE_EXCEEDED), Remedy::GiveUp),
            (
                said(ErrorKind::BadGateway, 404).with_code("provider_model_not_found"),
                Remedy::Elsewhere,
            ),
        ] {
            assert_eq!(classify(&error), CallOutcome::Neutral, "{error:?}");
            assert_eq!(remedy(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn the_proxys_own_refusals_say_nothing_about_the_deployment() {
        for kind in [
            ErrorKind::RateLimited,
            ErrorKind::QuotaExhausted,
            ErrorKind::Authentication,
            ErrorKind::PermissionDenied,
            ErrorKind::Overloaded,
        ] {
            let error = ApiError::new(kind, "");
            assert_eq!(classify(&error), CallOutcome::Neutral, "{kind:?}");
            assert_eq!(remedy(&error), Remedy::GiveUp, "{kind:?}");
        }
        assert_eq!(classify(&ApiError::new(ErrorKind::Internal, "")), CallOutcome::Neutral);
    }

    proptest! {
        /// A failure is always worth another deployment, whatever kinds, statuses and codes meet.
        #[test]
        fn no_failure_of_a_deployment_ends_the_request(
            kind in prop::sample::select(KINDS.as_slice()),
            status in prop::option::of(100_u16..600),
            code in prop::sample::select(
                ["", "provider_unreachable", "stream_interrupted", "x"].as_slice()
            ),
        ) {
            let mut error = ApiError { provider_status: status, ..ApiError::new(kind, "") };
            if !code.is_empty() {
                error = error.with_code(code);
            }
            if let CallOutcome::Failed(_) | CallOutcome::Throttled { .. } = classify(&error) {
                prop_assert!(matches!(remedy(&error), Remedy::RetrySame | Remedy::Elsewhere));
            }
        }
    }
}
