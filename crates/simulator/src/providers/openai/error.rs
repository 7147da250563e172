//! Errors in each member's own shape.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::draw::Draw;
use crate::providers::Provider;
use crate::reply::Refusal;

/// An error in OpenAI's terms; [`ApiError::answer`] translates it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) kind: &'static str,
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
    pub(crate) retry_after: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code: None, retry_after: None }
    }

    /// 400 `invalid_request_error`.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    pub(crate) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn not_json(provider: Provider, detail: &str) -> Self {
        match provider {
            Provider::OpenAi | Provider::Azure => Self::invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you \
                 aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, \
                 but what was sent was not valid JSON. If you have trouble figuring out how to \
                 fix this, please contact us through our help center at help.openai.com.)",
            ),
            Provider::Vllm | Provider::SgLang => Self::invalid(format!(
                "[{{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error', \
                 'input': {{}}, 'ctx': {{'error': '{detail}'}}}}]"
            )),
            _ => Self::invalid(format!("Invalid JSON in request body: {detail}")),
        }
    }

    pub(crate) fn no_such_model(provider: Provider, model: &str) -> Self {
        match provider {
            Provider::Azure => Self::new(
                404,
                "invalid_request_error",
                "The API deployment for this resource does not exist. If you created the \
                 deployment within the last 5 minutes, please wait a moment and try again.",
            )
            .code("DeploymentNotFound"),
            Provider::Vllm | Provider::SgLang => {
                Self::new(404, "NotFoundError", format!("The model `{model}` does not exist."))
                    .param("model")
            }
            Provider::Ollama => {
                Self::new(404, "not_found_error", format!("model '{model}' not found"))
            }
            Provider::OpenRouter => Self::invalid(format!("{model} is not a valid model ID")),
            _ => Self::new(
                404,
                "invalid_request_error",
                format!("The model `{model}` does not exist or you do not have access to it."),
            )
            .code("model_not_found"),
        }
    }

    pub(crate) fn no_such_path(provider: Provider, method: &str, path: &str) -> Self {
        match provider {
            Provider::Azure => {
                Self::new(404, "invalid_request_error", "Resource not found").code("404")
            }
            Provider::Vllm | Provider::SgLang => Self::new(404, "NotFoundError", "Not Found"),
            _ => {
                let message = format!("Invalid URL ({method} {path})");
                Self::new(404, "invalid_request_error", message)
            }
        }
    }

    /// What a scripted status says at `provider`.
    pub(crate) fn scripted(provider: Provider, refusal: &Refusal, model: &str) -> Self {
        let (kind, code, message): (&'static str, Option<&'static str>, String) = match refusal
            .status
        {
            401 => ("invalid_request_error", Some("invalid_api_key"), expired_key(provider)),
            402 => (
                "insufficient_quota",
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details."
                    .to_owned(),
            ),
            403 => (
                "invalid_request_error",
                Some("unsupported_country_region_territory"),
                "Country, region, or territory not supported".to_owned(),
            ),
            404 => (
                "invalid_request_error",
                Some("model_not_found"),
                format!("The model `{model}` does not exist or you do not have access to it."),
            ),
            408 | 504 => ("server_error", None, "The request timed out.".to_owned()),
            429 if provider == Provider::Qwen => (
                "limit_requests",
                Some("limit_requests"),
                "You exceeded your current requests list.".to_owned(),
            ),
            429 => {
                ("requests", Some("rate_limit_exceeded"), rate_limited(provider, refusal, model))
            }
            503 => (
                "server_error",
                None,
                "The engine is currently overloaded, please try again later".to_owned(),
            ),
            500..=599 => (
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!"
                    .to_owned(),
            ),
            _ => ("invalid_request_error", None, "Invalid request.".to_owned()),
        };
        Self {
            status: refusal.status,
            message: refusal.message.clone().unwrap_or(message),
            kind,
            param: None,
            code,
            retry_after: refusal.retry_after,
        }
    }

    /// The error's JSON, as `provider` would send it.
    pub(crate) fn body(&self, provider: Provider, draw: &mut Draw) -> Value {
        match provider {
            Provider::Azure => self.azure_body(),
            Provider::Vllm => json!({"error": {
                "message": self.message, "type": self.local_kind(),
                "param": self.param, "code": self.status,
            }}),
            Provider::SgLang => json!({
                "object": "error", "message": self.message, "type": self.local_kind(),
                "param": self.param, "code": self.status,
            }),
            Provider::LlamaCpp => json!({"error": {
                "code": self.status, "message": self.message, "type": match self.status {
                    401 => "authentication_error",
                    404 => "not_found_error",
                    503 => "unavailable_error",
                    500..=599 => "server_error",
                    _ => "invalid_request_error",
                },
            }}),
            Provider::Ollama => json!({"error": {
                "message": self.message, "param": null, "code": null, "type": match self.status {
                    404 => "not_found_error",
                    400 => "invalid_request_error",
                    _ => "api_error",
                },
            }}),
            Provider::OpenRouter => json!({"error": {
                "message": self.message, "code": self.status,
                "metadata": {"provider_name": "Simulator"},
            }, "user_id": "user_simulator"}),
            // Gemini's compatible endpoint wraps its errors in an array.
            Provider::Gemini => json!([{"error": {
                "code": self.status, "message": self.message, "status": match self.status {
                    400 => "INVALID_ARGUMENT",
                    401 => "UNAUTHENTICATED",
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    503 => "UNAVAILABLE",
                    504 => "DEADLINE_EXCEEDED",
                    _ => "INTERNAL",
                },
            }}]),
            Provider::Qwen => json!({"error": {
                "message": self.message, "type": self.kind, "param": self.param,
                "code": self.code.unwrap_or(match self.status {
                    400 => "invalid_parameter_error",
                    500..=599 => "internal_error",
                    _ => self.kind,
                }),
            }, "request_id": draw.uuid(), "id": format!("chatcmpl-{}", draw.uuid())}),
            _ => json!({"error": {
                "message": self.message, "type": self.kind,
                "param": self.param, "code": self.code,
            }}),
        }
    }

    /// Azure's gateway speaks in numbers; its models speak as OpenAI's do.
    fn azure_body(&self) -> Value {
        match (self.status, self.code) {
            (401 | 403 | 429 | 500..=599, _) | (_, Some("404")) => json!({"error": {
                "code": self.status.to_string(), "message": self.message,
            }}),
            (_, Some("DeploymentNotFound")) => json!({"error": {
                "code": "DeploymentNotFound", "message": self.message,
            }}),
            (_, Some("content_filter")) => json!({"error": {
                "message": self.message, "type": null, "param": "prompt",
                "code": "content_filter", "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {
                        "hate": {"filtered": false, "severity": "safe"},
                        "jailbreak": {"filtered": true, "detected": true},
                        "self_harm": {"filtered": false, "severity": "safe"},
                        "sexual": {"filtered": false, "severity": "safe"},
                        "violence": {"filtered": false, "severity": "safe"},
                    },
                },
            }}),
            _ => json!({"error": {
                "message": self.message, "type": self.kind,
                "param": self.param, "code": self.code,
            }}),
        }
    }

    fn local_kind(&self) -> &'static str {
        match self.status {
            400 => "BadRequestError",
            401 => "AuthenticationError",
            404 => "NotFoundError",
            429 => "RateLimitError",
            503 => "ServiceUnavailableError",
            500..=599 => "InternalServerError",
            _ => self.kind,
        }
    }

    pub(crate) fn answer(&self, provider: Provider, draw: &mut Draw) -> Answer {
        if provider == Provider::Vllm && self.status == 401 {
            // Refused by its middleware, before the API server.
            return Answer::json(401, r#"{"error":"Unauthorized"}"#);
        }
        let body = self.body(provider, draw).to_string();
        Answer::json(self.status, body).retry_after(self.retry_after)
    }
}

fn expired_key(provider: Provider) -> String {
    match provider {
        Provider::Azure => azure_denied().to_owned(),
        Provider::CloudRu => "Unauthorized: token is expired".to_owned(),
        _ => incorrect_key("sim-expired"),
    }
}

/// Azure's words for a key that it does not know.
pub(crate) fn azure_denied() -> &'static str {
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a \
     valid key for an active subscription and use a correct regional API endpoint for your resource."
}

/// OpenAI's words for a key that it does not know, with all but its ends starred out.
pub(crate) fn incorrect_key(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let shown = if characters.len() > 8 {
        let (start, end) = (&characters[..4], &characters[characters.len() - 4..]);
        let stars = "*".repeat((characters.len() - 8).min(32));
        format!("{}{stars}{}", start.iter().collect::<String>(), end.iter().collect::<String>())
    } else {
        "*".repeat(characters.len())
    };
    format!(
        "Incorrect API key provided: {shown}. You can find your API key at \
         https://platform.openai.com/account/api-keys."
    )
}

fn rate_limited(provider: Provider, refusal: &Refusal, model: &str) -> String {
    let seconds = refusal.retry_after.unwrap_or(6);
    match provider {
        Provider::Azure => format!(
            "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version \
             2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier. \
             Please retry after {seconds} seconds."
        ),
        Provider::Gemini => "Resource has been exhausted (e.g. check quota).".to_owned(),
        Provider::OpenRouter => "Rate limit exceeded".to_owned(),
        _ => format!(
            "Rate limit reached for {model} in organization org-simulator on requests per min \
             (RPM): Limit 10000, Used 10000, Requested 1. Please try again in {seconds}s."
        ),
    }
}
