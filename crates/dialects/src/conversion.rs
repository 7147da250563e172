use std::fmt;
use std::time::{Duration, SystemTime};

use chat::{ApiError, ErrorKind, ResponseFormat, StreamEvent};
use serde::Deserialize;

/// What to do with a part of a request that the provider cannot do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// Refuse the request: a 400 that names the member.
    Strict,
    /// Do without it; the response header names it.
    Drop,
    /// Bring the effect about in another way where there is one (a JSON schema by instruction and
    /// validation, say), else do without it; the response header names it.
    #[default]
    Emulate,
}

/// Where an encoded request goes.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The provider's name of the model (YandexGPT: the whole `gpt://folder/model/branch`).
    pub model: &'a str,
    /// What to do with what the provider cannot do.
    pub unsupported: Unsupported,
    /// Output limit for dialects that demand one (Anthropic) when the caller gave none.
    pub default_max_output_tokens: u64,
    /// Whether the provider takes `stream_options.include_usage` (OpenAI-compatible ones).
    pub stream_usage: bool,
    /// Whether the provider wants the output limit as `max_tokens` (older OpenAI-compatible
    /// engines) instead of `max_completion_tokens`.
    pub legacy_max_tokens: bool,
}

/// Something that was changed about a request because the provider cannot do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adaptation {
    /// The member of the caller's request, in the canonical (OpenAI chat) name.
    pub member: &'static str,
    /// Whether its effect was brought about in another way; otherwise it was dropped.
    pub emulated: bool,
}

impl fmt::Display for Adaptation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.emulated { "emulated" } else { "dropped" };
        write!(formatter, "{action}={}", self.member)
    }
}

/// A request in a provider's dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedRequest {
    /// The JSON body.
    pub body: Vec<u8>,
    /// What was changed.
    pub adaptations: Vec<Adaptation>,
    /// The form that the answer must be checked against because the provider does not enforce it;
    /// [`ResponseFormat::Text`] when nothing is to be checked.
    pub validate: ResponseFormat,
    /// Texts at which the answer must be cut here because the provider cannot stop at them.
    pub stop_at: Vec<String>,
}

impl EncodedRequest {
    /// Applies the policy to a member that the provider cannot do in any way.
    ///
    /// # Errors
    /// Under [`Unsupported::Strict`], a 400 that names the member.
    pub fn drop_member(
        adaptations: &mut Vec<Adaptation>,
        policy: Unsupported,
        member: &'static str,
        provider: &str,
    ) -> Result<(), ApiError> {
        Self::adapt(adaptations, policy, member, provider, false)
    }

    /// Applies the policy to a member that the provider cannot do but we can: `Ok(true)` means
    /// "emulate it", `Ok(false)` "leave it out".
    ///
    /// # Errors
    /// Under [`Unsupported::Strict`], a 400 that names the member.
    pub fn emulate_member(
        adaptations: &mut Vec<Adaptation>,
        policy: Unsupported,
        member: &'static str,
        provider: &str,
    ) -> Result<bool, ApiError> {
        let emulated = policy == Unsupported::Emulate;
        Self::adapt(adaptations, policy, member, provider, emulated)?;
        Ok(emulated)
    }

    fn adapt(
        adaptations: &mut Vec<Adaptation>,
        policy: Unsupported,
        member: &'static str,
        provider: &str,
        emulated: bool,
    ) -> Result<(), ApiError> {
        if policy == Unsupported::Strict {
            return Err(ApiError::invalid(
                member,
                format!(
                    "{provider} does not support `{member}`; leave it out, choose another model, \
                     or set `unsupported: drop` or `emulate` for this deployment"
                ),
            )
            .with_code("unsupported_parameter"));
        }
        let adaptation = Adaptation { member, emulated };
        if !adaptations.contains(&adaptation) {
            adaptations.push(adaptation);
        }
        Ok(())
    }
}

/// What an answer needs besides its content to be written in the caller's dialect.
#[derive(Debug, Clone, Default)]
pub struct AnswerContext {
    /// Makes ids where the provider gave none or they must look like the dialect's own: some 24
    /// random letters and digits, without prefix.
    pub id_seed: String,
    /// The `x-request-id` of the exchange.
    pub request_id: String,
    /// Now, seconds since 1970, for answers whose provider gave no time.
    pub now: u64,
    /// The public model name that the caller asked for.
    pub route: String,
    /// Whether the caller wants usage in the stream (OpenAI chat's `include_usage`).
    pub stream_usage: bool,
}

/// An error in the caller's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedError {
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: Vec<u8>,
}

/// Writes a stream in the caller's dialect.
pub trait StreamEncode: Send {
    /// Appends what `event` amounts to in the dialect, framing included; nothing if nothing.
    /// [`StreamEvent::Error`] becomes the dialect's own error event, and nothing follows it;
    /// [`StreamEvent::End`] becomes its proper end.
    fn encode(&mut self, event: &StreamEvent, out: &mut Vec<u8>);
}

/// Reads a provider's stream.
pub trait StreamDecode: Send {
    /// Takes the next bytes, cut anywhere, and appends the events they complete. After an
    /// [`StreamEvent::Error`] it ignores what follows.
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>);

    /// The connection ended. Appends [`StreamEvent::Error`] if the stream was not complete in the
    /// dialect's own terms and no error was reported yet; [`StreamEvent::End`] if it was complete
    /// and that was not said yet.
    fn finish(&mut self, out: &mut Vec<StreamEvent>);
}

/// Reads `body` as a `T`, and says where it is wrong in the words of an API: the path of the
/// member, what is there and what is expected.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] with the path in `param`.
pub fn decode_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let mut plain = serde_json::Deserializer::from_slice(body);
    if let Ok(value) = T::deserialize(&mut plain) {
        return plain.end().map(|()| value).map_err(|error| malformed(&error));
    }
    let mut again = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut again) {
        Ok(value) => Ok(value),
        // Some wrong types are told as syntax errors; whether the text is JSON decides.
        Err(error)
            if error.inner().is_data()
                || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() =>
        {
            let path = error.path().to_string();
            let inner = error.into_inner().to_string();
            let reason = inner.split(" at line ").next().unwrap_or(&inner);
            if path == "." {
                return Err(ApiError::new(
                    ErrorKind::InvalidRequest,
                    format!("the request body is not what is expected: {reason}"),
                ));
            }
            Err(ApiError::invalid(path.clone(), format!("`{path}`: {reason}")))
        }
        Err(error) => Err(malformed(error.inner())),
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::new(
        ErrorKind::InvalidRequest,
        format!("the request body is not valid JSON: {error}; send one JSON object"),
    )
    .with_code("invalid_json")
}

/// The kind of error that a provider's status stands for, where its body says no more.
pub(crate) fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Authentication,
        402 => ErrorKind::QuotaExhausted,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        405 => ErrorKind::MethodNotAllowed,
        408 | 504 => ErrorKind::Timeout,
        413 => ErrorKind::RequestTooLarge,
        415 => ErrorKind::UnsupportedMediaType,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::InvalidRequest,
        503 | 529 => ErrorKind::Overloaded,
        500 => ErrorKind::Internal,
        _ => ErrorKind::BadGateway,
    }
}

/// An answer or event of a provider that is not what its dialect says.
pub(crate) fn unreadable(reason: &str) -> ApiError {
    ApiError::new(ErrorKind::BadGateway, format!("the provider's answer cannot be read: {reason}"))
        .with_code("invalid_provider_answer")
}

/// A stream that stopped before its end.
pub(crate) fn interrupted() -> ApiError {
    ApiError::new(ErrorKind::BadGateway, "the provider broke off in the middle of the answer")
        .with_code("stream_interrupted")
}

/// Reads the value of a `Retry-After` header (RFC 9110, 10.2.3): seconds, fractions allowed, or a
/// date in any of the three forms of RFC 9110, 5.6.7, as the time from `now` to it. A date that has
/// passed is zero. `None` for what is neither, and for seconds below zero or beyond what a
/// `Duration` holds.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::retry_after;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37, the date of RFC 9110, 5.6.7.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("3", Some(3.0)),
            (" 0.5 ", Some(0.5)),
            ("0", Some(0.0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60.0)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10.0)),
            ("Sun Nov  6 09:49:37 1994", Some(3600.0)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0.0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_022.0)),
            ("-1", None),
            ("1e300", None),
            ("NaN", None),
            ("", None),
            ("later", None),
            ("Sun, 06 Nov 1994 08:50:37 MSK", None),
            ("Sun, 31 Feb 1994 08:50:37 GMT", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs_f64), "{value}");
        }
    }
}
