//! Counting the tokens of a request that nobody answers, for callers of Anthropic's API.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat::{ApiError, ChatRequest, Part, estimate_tokens};
use dialects::anthropic;
use http::{HeaderMap, HeaderValue};
use providers::{Call, Operation, Timeouts, WireFormat};
use telemetry::Stage;

use crate::answer_headers::describe;
use crate::codec;
use crate::dispatch::{Attempted, collect, provider_error, whole};
use crate::exchange::Exchange;
use crate::receive::Received;
use crate::reply;
use crate::snapshot::Deployment;
use crate::worker::Worker;

/// Longest wait for a provider's count: an estimate now is worth more than a count later.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer that is read. YandexGPT's and vLLM's list all tokens.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// What a picture of a million pixels costs with most providers, in tokens.
const PICTURE_TOKENS: u64 = 1_300;

/// Says that a count is an estimate, or has one in it.
const ESTIMATED: &str = "x-llm-proxy-estimated";

/// Asks the provider; if it cannot say, the count is estimated here.
pub(crate) async fn count(
    worker: &Arc<Worker>,
    mut exchange: Box<Exchange>,
    received: &Received,
    deployment: &Arc<Deployment>,
    format: WireFormat,
) -> Attempted {
    let request = match anthropic::decode_count_tokens_request(&received.body) {
        Ok(request) => request,
        Err(error) => return Err((exchange, error)),
    };
    let started = Instant::now();
    let counted = ask(worker, &exchange, &request, deployment, format).await;
    exchange.waited += started.elapsed();
    exchange.stage(Stage::dispatch);
    match counted {
        Ok(tokens) => {
            let pictures = uncounted(&request, format);
            let tokens = tokens.saturating_add(PICTURE_TOKENS.saturating_mul(pictures));
            let body = anthropic::encode_count_tokens(tokens);
            let mut response = whole(exchange, &HeaderMap::new(), body);
            if pictures > 0 {
                response.headers_mut().insert(ESTIMATED, HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        Err(error) => {
            let error = codec::whose_fault(error, exchange.surface, deployment);
            if error.provider_status.is_some() || error.kind.is_transient() {
                exchange.attempt_failed(deployment, &error);
            }
            Ok(estimated(exchange, &request))
        }
    }
}

/// Where no provider counts: an estimate, said to be one.
pub(crate) fn count_here(exchange: Box<Exchange>, received: &Received) -> Attempted {
    match anthropic::decode_count_tokens_request(&received.body) {
        Ok(request) => Ok(estimated(exchange, &request)),
        Err(error) => Err((exchange, error)),
    }
}

async fn ask(
    worker: &Worker,
    exchange: &Exchange,
    request: &ChatRequest,
    deployment: &Deployment,
    format: WireFormat,
) -> Result<u64, ApiError> {
    let body = codec::encode_count(format, request, deployment)?;
    let given = &deployment.timeouts;
    let timeouts = Timeouts {
        connect: given.connect.min(PATIENCE),
        first_byte: given.first_byte.min(PATIENCE),
        idle: given.idle.min(PATIENCE),
        total: given.total.min(PATIENCE),
    };
    let call = Call {
        operation: Operation::CountTokens,
        model: &deployment.model,
        stream: false,
        body: vec![body.into()],
        request_id: &exchange.request_id,
        timeouts: &timeouts,
        extra_headers: &HeaderMap::new(),
    };
    let answer = deployment.provider.send(worker.http(), call).await?;
    if !answer.status.is_success() {
        return Err(provider_error(deployment, Operation::CountTokens, answer).await);
    }
    let max = exchange.snapshot.settings.max_answer_bytes.min(MAX_ANSWER_BYTES);
    codec::decode_count(format, &collect(answer.body, max).await?)
}

fn estimated(
    mut exchange: Box<Exchange>,
    request: &ChatRequest,
) -> http::Response<reply::ReplyBody> {
    // No provider has counted.
    exchange.deployment = None;
    exchange.attempts = 0;
    exchange.finish(200);
    let mut response = reply::json(200, anthropic::encode_count_tokens(estimate(request)));
    response.headers_mut().insert(ESTIMATED, HeaderValue::from_static("true"));
    describe(&mut response, &mut exchange);
    response
}

/// The pictures that reach the provider with the request but not with the question for
/// its tokens.
fn uncounted(request: &ChatRequest, format: WireFormat) -> u64 {
    if format != WireFormat::GigaChatTokens {
        return 0;
    }
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.filter(|part| matches!(part, Part::Image(_))).count() as u64
}

/// Tokens of a request, estimated.
fn estimate(request: &ChatRequest) -> u64 {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    let texts: u64 = parts
        .map(|part| match part {
            Part::Text(text) => estimate_tokens(&text.text),
            Part::ToolCall(call) => estimate_tokens(&call.arguments) + 8,
            Part::ToolResult(result) => estimate_tokens(&result.joined_text()) + 8,
            Part::Reasoning(reasoning) => estimate_tokens(&reasoning.text),
            Part::Refusal(text) => estimate_tokens(text),
            Part::Image(_) | Part::File(_) => PICTURE_TOKENS,
        })
        .sum();
    let tools: u64 = request
        .tools
        .iter()
        .map(|tool| {
            let schema = tool.parameters.as_ref().map_or(0, |schema| estimate_tokens(schema.get()));
            schema + estimate_tokens(tool.description.as_deref().unwrap_or_default()) + 12
        })
        .sum();
    texts + tools + 4 * request.messages.len() as u64
}
