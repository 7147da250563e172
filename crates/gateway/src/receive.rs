//! Reads the body of a request within its limits, and the few members of it that decide.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chat::{ApiError, ErrorKind};
use dialects::json::Outline;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::limits::BodyLimits;
use crate::requirements::Requirements;
use crate::surface::Surface;

/// A request body that has arrived and is a JSON object.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) body: Bytes,
    pub(crate) outline: Outline,
    /// The public model name that is asked for; empty where the surface can do without.
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) requirements: Requirements,
}

impl Received {
    /// The JSON text of a member.
    pub(crate) fn member(&self, name: &str) -> Option<&str> {
        self.outline.get(&self.body, name)
    }
}

/// Reads the body and checks what every surface has in common.
pub(crate) async fn receive(
    surface: Surface,
    headers: &HeaderMap,
    body: Incoming,
    limits: &BodyLimits,
) -> Result<Received, ApiError> {
    let body = read_body(headers, body, limits).await?;
    understand(surface, headers, body, limits)
}

/// The part of [`receive`] that needs no socket.
pub(crate) fn understand(
    surface: Surface,
    headers: &HeaderMap,
    body: Bytes,
    limits: &BodyLimits,
) -> Result<Received, ApiError> {
    let outline = Outline::read(&body, limits.max_json_depth)?;
    let member = |name| outline.get(&body, name);
    let model = match member("model") {
        Some(value) => string(value).ok_or_else(|| {
            ApiError::invalid("model", "`model` must be a string: the name of a model")
        })?,
        None if surface == Surface::Moderations => String::new(),
        None => {
            return Err(ApiError::invalid(
                "model",
                "`model` is missing; name the model that is to answer (GET /v1/models lists them)",
            )
            .with_code("missing_required_parameter"));
        }
    };
    let stream = match member("stream") {
        None | Some("false" | "null") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid("stream", "`stream` must be true or false")),
    };
    check_list(surface, &member)?;
    let requirements = Requirements::read(headers, member("llm_proxy"))?;
    Ok(Received { model, stream, requirements, outline, body })
}

/// The list that the surface is about must be there and not be empty. What is in it is checked by
/// whoever reads it: the dialect that converts it, or the provider that gets it as it is.
fn check_list<'b>(
    surface: Surface,
    member: &impl Fn(&'static str) -> Option<&'b str>,
) -> Result<(), ApiError> {
    let (name, only_array) = match surface {
        Surface::ChatCompletions | Surface::Messages | Surface::CountTokens => ("messages", true),
        Surface::Completions => ("prompt", false),
        Surface::Embeddings | Surface::Moderations | Surface::Responses => ("input", false),
        Surface::Models | Surface::Feedback | Surface::Unknown => return Ok(()),
    };
    let value = match member(name) {
        Some(value) => value,
        // Both have a default: an empty prompt, and a conversation kept elsewhere.
        None if matches!(surface, Surface::Completions | Surface::Responses) => return Ok(()),
        None => {
            return Err(ApiError::invalid(name, format!("`{name}` is missing"))
                .with_code("missing_required_parameter"));
        }
    };
    let first = value.as_bytes().first().copied();
    if first == Some(b'[') {
        let inside = value[1..].trim_start_matches([' ', '\n', '\r', '\t']);
        if inside.starts_with(']') {
            return Err(ApiError::invalid(
                name,
                format!("`{name}` is empty; at least one element is needed"),
            )
            .with_code("empty_array"));
        }
        return Ok(());
    }
    if only_array || first != Some(b'"') {
        let form = if only_array { "an array" } else { "a string or an array" };
        return Err(ApiError::invalid(name, format!("`{name}` must be {form}")));
    }
    Ok(())
}

/// The string that a JSON text is, if it is one.
fn string(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(value).ok() } else { Some(inner.to_owned()) }
}

/// Reads a body of JSON within its limits.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Incoming,
    limits: &BodyLimits,
) -> Result<Bytes, ApiError> {
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let json =
            content_type.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("json"));
        if !json {
            return Err(ApiError::new(
                ErrorKind::UnsupportedMediaType,
                "the body must be JSON; send `content-type: application/json`",
            )
            .with_code("unsupported_media_type"));
        }
    }
    let declared = body.size_hint().exact();
    if declared.is_some_and(|length| length > limits.max_bytes as u64) {
        return Err(too_large(limits.max_bytes));
    }
    let reading = collect(body, limits.max_bytes, declared);
    let raw = match tokio::time::timeout(limits.read_timeout, reading).await {
        Ok(result) => result?,
        Err(_) => return Err(too_slow(limits.read_timeout)),
    };
    match headers.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(raw),
        Some(b"gzip") => inflate(&raw, limits.max_bytes),
        Some(_) => Err(ApiError::new(
            ErrorKind::UnsupportedMediaType,
            "the body may be plain or `content-encoding: gzip`, nothing else",
        )
        .with_code("unsupported_content_encoding")),
    }
}

async fn collect(
    mut body: Incoming,
    max_bytes: usize,
    declared: Option<u64>,
) -> Result<Bytes, ApiError> {
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            ApiError::new(
                ErrorKind::InvalidRequest,
                "the connection ended before the body was complete",
            )
            .with_code("incomplete_body")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.as_ref().map_or(whole.len(), Bytes::len) + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(head) => {
                // The declared length is within the limit, or it would have been refused.
                let expected = declared.and_then(|length| usize::try_from(length).ok());
                whole.reserve(expected.unwrap_or(head.len() + data.len()));
                whole.extend_from_slice(&head);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn inflate(raw: &[u8], max_bytes: usize) -> Result<Bytes, ApiError> {
    let limit = max_bytes as u64 + 1;
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(raw).take(limit).read_to_end(&mut plain).map_err(|_| {
        ApiError::new(ErrorKind::InvalidRequest, "the body is not valid gzip")
            .with_code("invalid_content_encoding")
    })?;
    if plain.len() > max_bytes { Err(too_large(max_bytes)) } else { Ok(plain.into()) }
}

fn too_large(max_bytes: usize) -> ApiError {
    ApiError::new(
        ErrorKind::RequestTooLarge,
        format!("the body is larger than the {max_bytes} bytes that are allowed here"),
    )
    .with_code("request_too_large")
}

fn too_slow(limit: Duration) -> ApiError {
    ApiError::new(
        ErrorKind::RequestTimeout,
        format!("the body did not arrive within {} ms", limit.as_millis()),
    )
    .with_code("request_timeout")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(surface: Surface, text: &str) -> Result<Received, ApiError> {
        let limits = BodyLimits::default();
        understand(surface, &HeaderMap::new(), Bytes::copy_from_slice(text.as_bytes()), &limits)
    }

    #[test]
    fn what_decides_is_read() {
        let received = read(
            Surface::ChatCompletions,
            r#"{"model":"\u0447ат","stream":true,"messages":[ {} ],"llm_proxy":{"residency":"russia"}}"#,
        )
        .unwrap();
        assert_eq!(received.model, "чат");
        assert!(received.stream);
        assert!(received.requirements.residency.is_some());
    }

    #[test]
    fn faults_name_the_member() {
        for (text, param) in [
            (r#"{"messages":[{}]}"#, Some("model")),
            (r#"{"model":5,"messages":[{}]}"#, Some("model")),
            (r#"{"model":"a","messages":[ ]}"#, Some("messages")),
            (r#"{"model":"a","messages":"hi"}"#, Some("messages")),
            (r#"{"model":"a"}"#, Some("messages")),
            (r#"{"model":"a","messages":[{}],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"a","model":"b","messages":[{}]}"#, Some("model")),
            (r#"{"model":"#, None),
            ("", None),
            ("[]", None),
        ] {
            let error = read(Surface::ChatCompletions, text).unwrap_err();
            assert_eq!(error.param.as_deref(), param, "{text}");
            assert_eq!(error.kind, ErrorKind::InvalidRequest);
        }
        assert!(read(Surface::Embeddings, r#"{"model":"a","input":7}"#).is_err());
        assert!(read(Surface::Moderations, r#"{"input":"text"}"#).is_ok());
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            encoder.write_all(&[b' '; 1 << 20]).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 1 << 20);
        let error = inflate(&bomb, 1 << 20).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RequestTooLarge);
        assert!(inflate(b"not gzip", 100).is_err());
    }
}
