use std::time::Duration;

/// What went wrong, in terms that every dialect can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood or asks for what cannot be (400).
    InvalidRequest,
    /// No key, or not a known one (401).
    Authentication,
    /// The key may not do this (403).
    PermissionDenied,
    /// No such model or path (404).
    NotFound,
    /// The path does not take this method (405).
    MethodNotAllowed,
    /// The body is larger than allowed (413).
    RequestTooLarge,
    /// The body is in a form that is not taken (415).
    UnsupportedMediaType,
    /// The prompt is longer than the model can read (400, code `context_length_exceeded`).
    ContextLengthExceeded,
    /// A content policy refused it (400, code `content_policy_violation`).
    ContentPolicy,
    /// Too many requests or tokens for now (429).
    RateLimited,
    /// The account has nothing left (429 with OpenAI's `insufficient_quota`, GigaChat's 402).
    QuotaExhausted,
    /// Our own fault (500).
    Internal,
    /// The provider could not be reached, broke off or answered nonsense (502).
    BadGateway,
    /// Nobody can serve it now (503; Anthropic's 529).
    Overloaded,
    /// The provider did not answer in time (504).
    Timeout,
    /// The request did not arrive in time (408).
    RequestTimeout,
}

impl ErrorKind {
    /// The HTTP status in dialects that follow RFC 9110; Anthropic's differs for
    /// [`ErrorKind::Overloaded`].
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::ContextLengthExceeded | Self::ContentPolicy => 400,
            Self::Authentication => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::RequestTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RateLimited | Self::QuotaExhausted => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Overloaded => 503,
            Self::Timeout => 504,
        }
    }

    /// A stable lower-case name for metrics and logs (`error.type` in OpenTelemetry).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "authentication",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTooLarge => "request_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::ContentPolicy => "content_policy",
            Self::RateLimited => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Internal => "internal",
            Self::BadGateway => "bad_gateway",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::RequestTimeout => "request_timeout",
        }
    }

    /// Whether another deployment, or the same one later, may well succeed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::QuotaExhausted
                | Self::Internal
                | Self::BadGateway
                | Self::Overloaded
                | Self::Timeout
        )
    }
}

/// An error on its way to the caller, or one that a provider sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What a person reads: what is wrong and what to do. Never a secret, a prompt or an answer.
    pub message: String,
    /// The member of the request that is to blame, as a path (`messages[0].role`).
    pub param: Option<String>,
    /// A stable code for programs (`model_not_found`).
    pub code: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The status with which the provider said it; `None` for our own errors.
    pub provider_status: Option<u16>,
}

impl ApiError {
    /// An error of our own.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
            provider_status: None,
        }
    }

    /// A request that cannot be understood, with the member that is to blame.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message).with_param(param)
    }

    /// Names the member that is to blame.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Gives the stable code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }
}
