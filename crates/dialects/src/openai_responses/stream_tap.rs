//! What a response of a provider that speaks this dialect amounts to, learnt while its bytes pass
//! through untouched.

use chat::{ApiError, ErrorKind, FinishReason, Usage};
use serde::Deserialize;

use crate::sse::SseParser;

/// Longest event that is read, in bytes: the last one repeats the whole answer.
const EVENT_LIMIT: usize = 64 << 20;

/// How a response came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The provider's id of the response.
    pub id: String,
    /// The model that answered.
    pub model: String,
    /// Tokens, where the provider said.
    pub usage: Option<Usage>,
    /// Why it ended; `None` while it has not ended or when it failed.
    pub finish: Option<FinishReason>,
    /// What went wrong.
    pub error: Option<ApiError>,
}

/// Watches a stream of server-sent events.
#[derive(Debug)]
pub struct StreamTap {
    parser: SseParser,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct WireEvent {
    #[serde(rename = "type")]
    kind: String,
    response: Option<WireResponse>,
    error: Option<WireError>,
    message: Option<String>,
    code: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireResponse {
    id: Option<String>,
    model: Option<String>,
    status: Option<String>,
    usage: Option<WireUsage>,
    error: Option<WireError>,
    incomplete_details: Option<WireIncomplete>,
    #[serde(default)]
    output: Vec<WireItem>,
}

#[derive(Debug, Deserialize)]
struct WireItem {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireIncomplete {
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct WireError {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    input_tokens_details: Option<WireInputDetails>,
    output_tokens_details: Option<WireOutputDetails>,
}

#[derive(Debug, Deserialize)]
struct WireInputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WireOutputDetails {
    reasoning_tokens: Option<u64>,
}

impl Default for StreamTap {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamTap {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: SseParser::new(EVENT_LIMIT), outcome: Outcome::default() }
    }

    /// Sees the next bytes, cut anywhere.
    pub fn observe(&mut self, bytes: &[u8]) {
        let outcome = &mut self.outcome;
        self.parser.feed(bytes, |event| outcome.event(event.event, event.data));
    }

    /// What is known so far.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The connection ended: what the response amounts to. A stream without its last event is an
    /// error.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let outcome = &mut self.outcome;
        self.parser.finish(|event| outcome.event(event.event, event.data));
        if self.outcome.finish.is_none() && self.outcome.error.is_none() {
            self.outcome.error = Some(
                ApiError::new(
                    ErrorKind::BadGateway,
                    "the provider ended the stream before the answer was complete",
                )
                .with_code("stream_interrupted"),
            );
        }
        self.outcome
    }
}

/// Reads a whole response object for what passes through with it.
///
/// # Errors
/// [`ErrorKind::BadGateway`] when it is not what the API promises.
pub fn observe_response(body: &[u8]) -> Result<Outcome, ApiError> {
    let response: WireResponse = serde_json::from_slice(body).map_err(|error| {
        ApiError::new(
            ErrorKind::BadGateway,
            format!(
                "the provider's answer is not what the Responses API promises (line {}, column {})",
                error.line(),
                error.column()
            ),
        )
        .with_code("invalid_provider_answer")
    })?;
    let mut outcome = Outcome::default();
    outcome.response(response);
    Ok(outcome)
}

impl Outcome {
    fn event(&mut self, name: &str, data: &[u8]) {
        // Deltas are most of a stream and say nothing of interest here.
        let of_interest = match name {
            "" => !data.starts_with(br#"{"type":"response.output_text.delta""#),
            name => matches!(
                name,
                "response.created"
                    | "response.completed"
                    | "response.incomplete"
                    | "response.failed"
                    | "error"
            ),
        };
        if !of_interest {
            return;
        }
        let Ok(event) = serde_json::from_slice::<WireEvent>(data) else { return };
        match event.kind.as_str() {
            "response.created"
            | "response.completed"
            | "response.incomplete"
            | "response.failed" => {
                if let Some(response) = event.response {
                    self.response(response);
                }
            }
            "error" if self.error.is_none() => {
                let nested = event.error.unwrap_or_default();
                self.error = Some(failure(WireError {
                    code: nested.code.or(event.code),
                    message: nested.message.or(event.message),
                }));
            }
            _ => {}
        }
    }

    fn response(&mut self, response: WireResponse) {
        self.id = response.id.unwrap_or_default();
        self.model = response.model.unwrap_or_default();
        self.usage = response.usage.map(usage).or(self.usage);
        match response.status.as_deref() {
            Some("completed") => {
                let calls = response
                    .output
                    .iter()
                    .any(|item| item.kind.as_deref() == Some("function_call"));
                self.finish =
                    Some(if calls { FinishReason::ToolCalls } else { FinishReason::Stop });
            }
            Some("incomplete") => {
                let reason = response.incomplete_details.and_then(|details| details.reason);
                self.finish = Some(match reason.as_deref() {
                    Some("max_output_tokens") | None => FinishReason::Length,
                    Some("content_filter") => FinishReason::ContentFilter,
                    Some(other) => FinishReason::Other(other.to_owned()),
                });
            }
            Some("failed" | "cancelled") => {
                self.error = Some(failure(response.error.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

fn usage(wire: WireUsage) -> Usage {
    let input = wire.input_tokens_details;
    Usage {
        prompt_tokens: wire.input_tokens,
        cached_prompt_tokens: input.as_ref().and_then(|details| details.cached_tokens).unwrap_or(0),
        cache_write_tokens: input.and_then(|details| details.cache_write_tokens).unwrap_or(0),
        completion_tokens: wire.output_tokens,
        reasoning_tokens: wire
            .output_tokens_details
            .and_then(|details| details.reasoning_tokens)
            .unwrap_or(0),
    }
}

fn failure(wire: WireError) -> ApiError {
    let kind = match wire.code.as_deref() {
        Some("rate_limit_exceeded") => ErrorKind::RateLimited,
        Some("insufficient_quota") => ErrorKind::QuotaExhausted,
        Some("invalid_prompt") => ErrorKind::InvalidRequest,
        Some("context_length_exceeded") => ErrorKind::ContextLengthExceeded,
        Some("invalid_api_key") => ErrorKind::Authentication,
        Some("model_not_found") => ErrorKind::NotFound,
        _ => ErrorKind::BadGateway,
    };
    let message = wire.message.unwrap_or_else(|| "the provider's response failed".to_owned());
    let error = ApiError { provider_status: Some(kind.status()), ..ApiError::new(kind, message) };
    match wire.code {
        Some(code) => error.with_code(code),
        None => error,
    }
}
