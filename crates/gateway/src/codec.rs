//! Which dialect meets which: the one table that ties surfaces and wire formats to the modules of
//! `dialects`.

use std::time::Duration;

use chat::{ApiError, ChatRequest, ChatResponse, ErrorKind, FinishReason, StreamEvent, Usage};
use dialects::{
    AnswerContext, EncodedError, EncodedRequest, StreamDecode, StreamEncode, Target, Unsupported,
    anthropic, gigachat, openai_chat, openai_completions, openai_responses, yandexgpt,
};
use http::{HeaderValue, Response, header};
use memchr::memmem;
use providers::{Operation, Provider, WireFormat};
use serde::Deserialize;

use crate::receive::Received;
use crate::relay::EventFilter;
use crate::reply::{self, ReplyBody};
use crate::snapshot::Deployment;
use crate::surface::{Surface, Vendor};
use crate::tap::{DecodingTap, OpenAiTap, ResponsesTap, Tap};

/// How a request of a surface gets to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// The provider speaks the caller's dialect.
    Forward(WireFormat),
    /// The provider speaks this other dialect.
    Convert(WireFormat),
    /// Embeddings in this dialect.
    Embed(WireFormat),
    /// The provider counts tokens in this dialect.
    Count(WireFormat),
    /// Nobody can be asked: tokens are estimated here.
    CountHere,
}

/// The course to a provider, if there is one.
pub(crate) fn course(surface: Surface, provider: &Provider) -> Option<Course> {
    let native = provider.wire_format(surface.operation());
    match surface {
        Surface::ChatCompletions => native.map(|format| match format {
            WireFormat::OpenAiChat => Course::Forward(format),
            format => Course::Convert(format),
        }),
        Surface::Messages => native.map(|format| match format {
            WireFormat::Anthropic => Course::Forward(format),
            format => Course::Convert(format),
        }),
        Surface::Responses | Surface::Completions => match native {
            Some(format) => Some(Course::Forward(format)),
            None => provider.wire_format(Operation::Chat).map(Course::Convert),
        },
        Surface::Moderations => native.map(Course::Forward),
        Surface::Embeddings => native.map(|format| match format {
            WireFormat::OpenAiEmbeddings => Course::Forward(format),
            format => Course::Embed(format),
        }),
        Surface::CountTokens => match native {
            Some(WireFormat::Anthropic) => Some(Course::Forward(WireFormat::Anthropic)),
            Some(format) => Some(Course::Count(format)),
            None => provider.wire_format(Operation::Chat).map(|_| Course::CountHere),
        },
        Surface::Models | Surface::Feedback | Surface::Unknown => None,
    }
}

/// Whether a provider can serve requests of a surface.
pub(crate) fn can_serve(surface: Surface, provider: &Provider) -> bool {
    course(surface, provider).is_some()
}

/// A caller's request, understood.
#[derive(Debug, Clone)]
pub(crate) struct Understood {
    /// Its canonical form.
    pub(crate) chat: ChatRequest,
    /// What of it OpenAI's responses repeat in the answer.
    pub(crate) echo: openai_responses::Echo,
}

impl From<ChatRequest> for Understood {
    fn from(chat: ChatRequest) -> Self {
        Self { chat, echo: openai_responses::Echo::default() }
    }
}

/// The canonical form of a caller's request.
pub(crate) fn decode_request(surface: Surface, body: &[u8]) -> Result<Understood, ApiError> {
    match surface {
        Surface::ChatCompletions => openai_chat::decode_request(body).map(Understood::from),
        Surface::Responses => openai_responses::decode_request(body)
            .map(|decoded| Understood { chat: decoded.chat, echo: decoded.echo }),
        Surface::Completions => openai_completions::decode_request(body).map(Understood::from),
        Surface::Messages => anthropic::decode_request(body).map(Understood::from),
        Surface::CountTokens => anthropic::decode_count_tokens_request(body).map(Understood::from),
        Surface::Embeddings
        | Surface::Moderations
        | Surface::Models
        | Surface::Feedback
        | Surface::Unknown => Err(ApiError::new(
            ErrorKind::InvalidRequest,
            "this request has no form that another provider understands",
        )),
    }
}

/// A canonical request in a provider's dialect.
pub(crate) fn encode_request(
    format: WireFormat,
    request: &ChatRequest,
    deployment: &Deployment,
) -> Result<EncodedRequest, ApiError> {
    let model = deployment.provider.model_name(Operation::Chat, &deployment.model);
    let target = target(deployment, &model);
    match format {
        WireFormat::OpenAiChat => openai_chat::encode_request(request, &target),
        WireFormat::Anthropic => anthropic::encode_request(request, &target),
        WireFormat::GigaChat => gigachat::encode_request(request, &target),
        WireFormat::YandexGpt => yandexgpt::encode_request(request, &target),
        other => Err(no_conversion(other)),
    }
}

fn target<'a>(deployment: &Deployment, model: &'a str) -> Target<'a> {
    Target {
        model,
        unsupported: deployment.unsupported,
        default_max_output_tokens: deployment.default_max_output_tokens,
        stream_usage: deployment.stream_usage,
        legacy_max_tokens: deployment.legacy_max_tokens,
    }
}

/// A request for the number of tokens of `request` in a provider's dialect.
pub(crate) fn encode_count(
    format: WireFormat,
    request: &ChatRequest,
    deployment: &Deployment,
) -> Result<Vec<u8>, ApiError> {
    let model = deployment.provider.model_name(Operation::Chat, &deployment.model);
    // What the provider cannot do does not count, whatever becomes of it in a real request.
    let target = Target { unsupported: Unsupported::Drop, ..target(deployment, &model) };
    match format {
        WireFormat::GigaChatTokens => Ok(gigachat::encode_token_count(request, &target)),
        WireFormat::YandexTokens => {
            yandexgpt::encode_request(request, &target).map(|encoded| encoded.body)
        }
        WireFormat::VllmTokens => Ok(openai_chat::encode_token_count(request, &target)),
        other => Err(no_conversion(other)),
    }
}

/// The number of tokens that a provider counted.
pub(crate) fn decode_count(format: WireFormat, body: &[u8]) -> Result<u64, ApiError> {
    match format {
        WireFormat::GigaChatTokens => gigachat::decode_token_count(body),
        WireFormat::YandexTokens => yandexgpt::decode_token_count(body),
        WireFormat::VllmTokens => openai_chat::decode_token_count(body),
        other => Err(no_conversion(other)),
    }
}

fn no_conversion(format: WireFormat) -> ApiError {
    ApiError::new(ErrorKind::Internal, format!("nothing is converted to or from {format:?}"))
}

/// A provider's whole answer in canonical form.
pub(crate) fn decode_answer(
    format: WireFormat,
    body: &[u8],
    id_seed: &str,
) -> Result<ChatResponse, ApiError> {
    match format {
        WireFormat::OpenAiChat => openai_chat::decode_response(body),
        WireFormat::Anthropic => anthropic::decode_response(body),
        WireFormat::GigaChat => gigachat::decode_response(body, id_seed),
        WireFormat::YandexGpt => yandexgpt::decode_response(body, id_seed),
        other => Err(no_conversion(other)),
    }
}

/// Reads a provider's stream.
pub(crate) fn stream_decoder(format: WireFormat, id_seed: &str) -> Box<dyn StreamDecode> {
    match format {
        WireFormat::Anthropic => Box::new(anthropic::StreamDecoder::new()),
        WireFormat::GigaChat => Box::new(gigachat::StreamDecoder::new(id_seed)),
        WireFormat::YandexGpt => Box::new(yandexgpt::StreamDecoder::new(id_seed)),
        _ => Box::new(openai_chat::StreamDecoder::new()),
    }
}

/// A whole answer in the caller's dialect.
pub(crate) fn encode_answer(
    surface: Surface,
    response: &ChatResponse,
    context: &AnswerContext,
    echo: &openai_responses::Echo,
) -> Vec<u8> {
    match surface {
        Surface::Messages => anthropic::encode_response(response, context),
        Surface::Responses => openai_responses::encode_response(response, context, echo),
        Surface::Completions => openai_completions::encode_response(response, context),
        _ => openai_chat::encode_response(response, context),
    }
}

/// Writes a stream in the caller's dialect.
pub(crate) fn stream_encoder(
    surface: Surface,
    context: &AnswerContext,
    echo: openai_responses::Echo,
) -> Box<dyn StreamEncode> {
    let context = context.clone();
    match surface {
        Surface::Messages => Box::new(anthropic::StreamEncoder::new(context)),
        Surface::Responses => Box::new(openai_responses::StreamEncoder::new(context, echo)),
        Surface::Completions => Box::new(openai_completions::StreamEncoder::new(&context)),
        _ => Box::new(openai_chat::StreamEncoder::new(&context)),
    }
}

/// Watches a stream that is forwarded.
pub(crate) fn tap(format: WireFormat, wants_usage: bool) -> Box<dyn Tap> {
    match format {
        WireFormat::Anthropic => Box::new(DecodingTap::new(stream_decoder(format, ""))),
        WireFormat::OpenAiResponses => Box::new(ResponsesTap::new()),
        _ => Box::new(OpenAiTap::new(wants_usage)),
    }
}

/// What a forwarded whole answer says of itself.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) usage: Option<Usage>,
    pub(crate) model: Option<String>,
}

/// Looks at a whole answer that is forwarded.
///
/// # Errors
/// When it is no answer: not JSON, or an error with a status of success.
pub(crate) fn watch_whole(
    surface: Surface,
    format: WireFormat,
    body: &[u8],
) -> Result<Watched, ApiError> {
    match format {
        _ if surface == Surface::CountTokens => {
            anthropic::decode_count_tokens(body).map(|_| Watched::default())
        }
        WireFormat::OpenAiResponses => {
            let outcome = openai_responses::observe_response(body)?;
            Ok(Watched { usage: outcome.usage, model: Some(outcome.model) })
        }
        WireFormat::Anthropic => {
            let response = anthropic::decode_response(body)?;
            Ok(Watched { usage: response.usage, model: Some(response.model) })
        }
        _ => {
            let seen = openai_chat::ResponseTap::read(body)?;
            Ok(Watched { usage: seen.usage, model: seen.model })
        }
    }
}

/// Whether an answer ended because the model, or its provider's filter, would not give one.
pub(crate) fn is_refusal(finish: &FinishReason) -> bool {
    matches!(finish, FinishReason::ContentFilter | FinishReason::Refusal)
}

/// Whether bytes that are forwarded, whole or a piece of a stream, tell of a refusal: by the members in
/// which OpenAI's and Anthropic's answers say so. A text that speaks of them has its quotes escaped.
pub(crate) fn tells_refusal(bytes: &[u8]) -> bool {
    const SAID: [&[u8]; 3] = [b"\"refusal\":", b"\"content_filter\"", b"\"stop_reason\":"];
    SAID.iter().any(|said| {
        memmem::find_iter(bytes, said).any(|at| {
            let after = bytes.get(at + said.len()..).unwrap_or_default().trim_ascii_start();
            match *said {
                b"\"refusal\":" => after.first() == Some(&b'"') && !after.starts_with(b"\"\""),
                b"\"stop_reason\":" => after.starts_with(b"\"refusal\""),
                _ => matches!(after.first(), Some(b',' | b'}')),
            }
        })
    })
}

/// A provider's error.
pub(crate) fn decode_error(
    format: Option<WireFormat>,
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
) -> ApiError {
    match format {
        Some(WireFormat::Anthropic) => anthropic::decode_error(status, retry_after, body),
        Some(
            WireFormat::GigaChat | WireFormat::GigaChatEmbeddings | WireFormat::GigaChatTokens,
        ) => gigachat::decode_error(status, body, retry_after),
        Some(WireFormat::YandexGpt | WireFormat::YandexEmbeddings | WireFormat::YandexTokens) => {
            yandexgpt::decode_error(status, body, retry_after)
        }
        _ => openai_chat::decode_error(status, body, retry_after),
    }
}

/// Whether a provider says that the model makes no embeddings. The model is the same for all
/// APIs, so where it is not known it is not known as one for embeddings.
fn embeds_not(error: &ApiError) -> bool {
    let said = || error.message.to_lowercase();
    match error.provider_status {
        Some(404 | 405) => true,
        // OpenAI: "You are not allowed to generate embeddings from this model".
        Some(403) => said().contains("embeddings from this model"),
        // vLLM: "The model does not support Embeddings API".
        Some(400 | 422) => said().contains("does not support embeddings"),
        _ => false,
    }
}

/// What a provider holds against the proxy (its credentials, its configuration) is not the
/// caller's fault and must not look so; to ask a model that only chats for embeddings is.
pub(crate) fn whose_fault(error: ApiError, surface: Surface, deployment: &Deployment) -> ApiError {
    let provider = deployment.provider.name();
    if surface == Surface::Embeddings && embeds_not(&error) {
        let message = format!(
            "the provider `{provider}` offers no embeddings by the model `{}`: {}; ask for a \
             model that makes embeddings",
            deployment.model, error.message,
        );
        return ApiError {
            kind: ErrorKind::InvalidRequest,
            message,
            param: Some("model".to_owned()),
            code: Some("unsupported_operation".to_owned()),
            ..error
        };
    }
    let code = match error.kind {
        ErrorKind::Authentication | ErrorKind::PermissionDenied => "provider_credentials_rejected",
        ErrorKind::NotFound => "provider_model_not_found",
        ErrorKind::MethodNotAllowed => "provider_path_not_found",
        _ => return error,
    };
    if error.provider_status.is_none() {
        return error;
    }
    let message = format!(
        "the provider `{provider}` refused llm-proxy itself ({}); the operator must look at its \
         configuration",
        error.provider_status.unwrap_or(error.kind.status()),
    );
    ApiError {
        kind: ErrorKind::BadGateway,
        message,
        param: None,
        code: Some(code.to_owned()),
        ..error
    }
}

/// An error in a vendor's words.
pub(crate) fn encode_error(vendor: Vendor, error: &ApiError, request_id: &str) -> EncodedError {
    match vendor {
        Vendor::OpenAi => openai_chat::encode_error(error),
        Vendor::Anthropic => anthropic::encode_error(error, request_id),
    }
}

/// A whole answer that says why there is none.
pub(crate) fn refusal(vendor: Vendor, error: &ApiError, request_id: &str) -> Response<ReplyBody> {
    let encoded = encode_error(vendor, error, request_id);
    let mut response = reply::json(encoded.status, encoded.body);
    if let Some(after) = error.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An OpenAI error body as the message of a WebSocket.
pub(crate) fn websocket_error(status: u16, body: &[u8]) -> String {
    let error = std::str::from_utf8(body).ok().and_then(|body| {
        let inner = body.strip_prefix("{\"error\":")?.strip_suffix('}')?;
        Some(format!("{{\"type\":\"error\",\"status\":{status},\"error\":{inner}}}"))
    });
    error.unwrap_or_else(|| format!("{{\"type\":\"error\",\"status\":{status}}}"))
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Whether an OpenAI caller asked for usage in the stream.
pub(crate) fn wants_stream_usage(received: &Received) -> bool {
    received
        .member("stream_options")
        .and_then(|options| serde_json::from_str::<Option<StreamOptions>>(options).ok()?)
        .and_then(|options| options.include_usage)
        .unwrap_or(false)
}

/// The caller's `stream_options` with usage asked for.
pub(crate) fn stream_options_with_usage(received: &Received) -> Vec<u8> {
    let given = received.member("stream_options").and_then(|options| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(options).ok()
    });
    let mut options = given.unwrap_or_default();
    options.insert("include_usage".to_owned(), true.into());
    serde_json::to_vec(&options).unwrap_or_else(|_| br#"{"include_usage":true}"#.to_vec())
}

/// Ends a stream at the caller's stop texts where the provider cannot.
pub(crate) fn stop_filter(
    encoded: &EncodedRequest,
    choice_count: Option<u32>,
) -> Option<Box<dyn EventFilter>> {
    if encoded.stop_at.is_empty() {
        return None;
    }
    let choices = usize::try_from(choice_count.unwrap_or(1)).unwrap_or(1);
    Some(Box::new(StopFilter(dialects::StopCutter::new(&encoded.stop_at).expecting(choices))))
}

struct StopFilter(dialects::StopCutter);

impl EventFilter for StopFilter {
    fn filter(&mut self, events: &mut Vec<StreamEvent>) -> bool {
        self.0.cut_events(events)
    }
}

/// Cuts a whole answer at the caller's stop texts where the provider cannot.
pub(crate) fn stop_whole(encoded: &EncodedRequest, response: &mut ChatResponse) {
    if !encoded.stop_at.is_empty() {
        dialects::StopCutter::new(&encoded.stop_at).cut_response(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_provider_says_of_embeddings_is_about_them() {
        for (status, body, wanted) in [
            (
                403,
                r#"{"error":{"message":"You are not allowed to generate embeddings from this model"}}"#,
                true,
            ),
            (
                400,
                r#"{"object":"error","message":"The model does not support Embeddings API","code":400}"#,
                true,
            ),
            (404, r#"{"detail":"Not Found"}"#, true),
            (403, r#"{"error":{"message":"Country not supported"}}"#, false),
            (400, r#"{"error":{"message":"'input' is too long"}}"#, false),
            (401, r#"{"error":{"message":"Incorrect API key"}}"#, false),
            (500, r#"{"error":{"message":"does not support embeddings"}}"#, false),
        ] {
            let error = openai_chat::decode_error(status, body.as_bytes(), None);
            assert_eq!(embeds_not(&error), wanted, "{status} {body}");
        }
    }

    #[test]
    fn refusals_are_told_from_texts_about_them() {
        for said in [
            r#"{"choices":[{"message":{"content":null,"refusal":"нет"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"message":{"content":""},"finish_reason": "content_filter"}]}"#,
            r#"data: {"choices":[{"delta":{},"finish_reason":"content_filter","index":0}]}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#,
        ] {
            assert!(tells_refusal(said.as_bytes()), "{said}");
        }
        for other in [
            r#"{"choices":[{"message":{"content":"да","refusal":null},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"message":{"content":"{\"refusal\":\"x\"}"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"content_filter_results":{}}],"refusal":""}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ] {
            assert!(!tells_refusal(other.as_bytes()), "{other}");
        }
    }
}
