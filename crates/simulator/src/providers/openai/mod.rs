//! OpenAI's API and those modelled on it.

mod auth;
mod chat_request;
mod chat_stream;
mod chat_wire;
mod completions;
mod embeddings;
mod error;
mod fields;
mod issued_tokens;
mod local_servers;
mod messages;
mod models;
mod moderations;
mod responses;
mod schema_rules;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::answer::Answer;
use crate::draw::Draw;
use crate::exchange::Exchange;
use crate::plan::plan;
use crate::prompt::Prompt;
use crate::providers::{Provider, embedding};
use crate::reply::Reply;
use crate::script::Fault;

use self::auth::Caller;
use self::error::ApiError;

/// Usual processing time claimed in headers, milliseconds.
const PROCESSING_MS: u64 = 12;
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// The path below which the provider has its OpenAI endpoints.
fn base_path(provider: Provider) -> &'static str {
    match provider {
        Provider::Qwen => "/compatible-mode/v1",
        Provider::OpenRouter => "/api/v1",
        Provider::Gemini => "/v1beta/openai",
        Provider::Azure => "/openai/v1",
        _ => "/v1",
    }
}

/// Answers a request below the provider's prefix.
pub(crate) fn handle(provider: Provider, exchange: &Exchange) -> Answer {
    let mut ids = Draw::new(exchange.world.seed ^ exchange.record.ordinal).branch(3);
    let answered = route(provider, exchange);
    let answer = answered.unwrap_or_else(|error| error.answer(provider, &mut ids));
    with_headers(provider, answer, &mut ids)
}

fn route(provider: Provider, exchange: &Exchange) -> Result<Answer, ApiError> {
    let path = exchange.path();
    let post = exchange.method() == Method::POST;
    if provider == Provider::Azure && post && path.ends_with("/oauth2/v2.0/token") {
        return Ok(issued_tokens::entra(exchange));
    }
    if provider == Provider::CloudRu && post && path == "/api/v1/auth/token" {
        return Ok(issued_tokens::cloudru(exchange));
    }
    if let Some(answered) = local_servers::handle(provider, exchange) {
        return answered;
    }
    let caller = auth::authorize(provider, exchange)?;
    if provider == Provider::Azure
        && let Some(rest) = path.strip_prefix("/openai/deployments/")
    {
        let (deployment, endpoint) = rest.split_once('/').unwrap_or((rest, ""));
        // Without a version the resource is not found, whatever it is.
        if exchange.query("api-version").is_none() {
            return Err(no_such_path(provider, exchange));
        }
        return deployed(exchange, &caller, endpoint, deployment);
    }
    if provider == Provider::Azure && path == "/openai/models" {
        return Ok(models::list(provider, exchange));
    }
    let Some(endpoint) = path.strip_prefix(base_path(provider)) else {
        return Err(no_such_path(provider, exchange));
    };
    match (exchange.method(), endpoint) {
        (&Method::POST, "/chat/completions") => chat(provider, exchange, &caller, None),
        (&Method::POST, "/responses") if has_responses(provider) => {
            responses::handle(provider, exchange, &caller)
        }
        (&Method::POST, "/completions") => completion(provider, exchange, &caller, None),
        (&Method::POST, "/embeddings") => embed(provider, exchange, &caller, None),
        (&Method::POST, "/moderations") if provider == Provider::OpenAi => {
            moderate(exchange, &caller)
        }
        (&Method::GET, "/models") => Ok(models::list(provider, exchange)),
        (&Method::GET, _) if endpoint.starts_with("/models/") => {
            models::one(provider, exchange, &endpoint["/models/".len()..])
        }
        (method, "/chat/completions" | "/responses" | "/embeddings" | "/moderations") => {
            let path = exchange.record.uri.path();
            let message = format!(
                "Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different \
                 HTTP method?)"
            );
            Err(ApiError::new(405, "invalid_request_error", message).code("method_not_supported"))
        }
        _ => Err(no_such_path(provider, exchange)),
    }
}

/// Azure's deployment URLs.
fn deployed(
    exchange: &Exchange,
    caller: &Caller,
    endpoint: &str,
    deployment: &str,
) -> Result<Answer, ApiError> {
    let provider = Provider::Azure;
    match (exchange.method(), endpoint) {
        (&Method::POST, "chat/completions") => chat(provider, exchange, caller, Some(deployment)),
        (&Method::POST, "completions") => completion(provider, exchange, caller, Some(deployment)),
        (&Method::POST, "embeddings") => embed(provider, exchange, caller, Some(deployment)),
        _ => Err(no_such_path(provider, exchange)),
    }
}

fn has_responses(provider: Provider) -> bool {
    matches!(
        provider,
        Provider::OpenAi
            | Provider::Azure
            | Provider::Vllm
            | Provider::OpenRouter
            | Provider::Ollama
            | Provider::Qwen
            | Provider::Yandex
    )
}

fn no_such_path(provider: Provider, exchange: &Exchange) -> ApiError {
    // As the provider's own host would see the path.
    let path = exchange.path();
    ApiError::no_such_path(provider, exchange.method().as_str(), path)
}

/// The body as JSON; numbers beyond f64, duplicate members and the like as serde_json has them.
fn body_json(provider: Provider, exchange: &Exchange) -> Result<Value, ApiError> {
    serde_json::from_slice(exchange.body())
        .map_err(|error| ApiError::not_json(provider, &error.to_string()))
}

fn chat(
    provider: Provider,
    exchange: &Exchange,
    caller: &Caller,
    deployment: Option<&str>,
) -> Result<Answer, ApiError> {
    let body = body_json(provider, exchange)?;
    let mut request = chat_request::read(provider, &body, deployment)?;
    let reply = planned(provider, exchange, caller, &mut request.prompt)?;
    let envelope = chat_wire::Envelope::new(&request, &reply, exchange.world.now());
    if reply.fault == Some(Fault::OkWithErrorBody) {
        return Ok(Answer::json(200, failure(provider, &reply).to_string()));
    }
    let answer = if request.prompt.stream {
        let error = match reply.fault {
            Some(Fault::ErrorInStreamAfter(_)) => {
                chat_stream::error_event(&envelope, &failure(provider, &reply))
            }
            _ => Bytes::new(),
        };
        let events = chat_stream::events(envelope, &reply);
        Answer::stream(&reply, EVENT_STREAM, events, error)
    } else {
        Answer::whole(&reply, chat_wire::whole(&envelope, &reply))
    };
    Ok(rate_limit_headers(provider, answer, &reply))
}

fn completion(
    provider: Provider,
    exchange: &Exchange,
    caller: &Caller,
    deployment: Option<&str>,
) -> Result<Answer, ApiError> {
    let body = body_json(provider, exchange)?;
    let mut request = completions::read(provider, &body, deployment)?;
    let reply = planned(provider, exchange, caller, &mut request.prompt)?;
    if reply.fault == Some(Fault::OkWithErrorBody) {
        return Ok(Answer::json(200, failure(provider, &reply).to_string()));
    }
    let now = exchange.world.now();
    let answer = if request.prompt.stream {
        let error = format!("data: {}\n\n", failure(provider, &reply));
        let events = completions::events(&request, &reply, now);
        Answer::stream(&reply, EVENT_STREAM, events, error)
    } else {
        Answer::whole(&reply, completions::whole(&request, &reply, now))
    };
    Ok(rate_limit_headers(provider, answer, &reply))
}

fn embed(
    provider: Provider,
    exchange: &Exchange,
    caller: &Caller,
    deployment: Option<&str>,
) -> Result<Answer, ApiError> {
    let body = body_json(provider, exchange)?;
    let mut request = embeddings::read(provider, &body, deployment)?;
    let reply = planned(provider, exchange, caller, &mut request.prompt)?;
    if reply.fault == Some(Fault::OkWithErrorBody) {
        return Ok(Answer::json(200, failure(provider, &reply).to_string()));
    }
    let headers = reply.clone();
    let answer = embedding::answer(reply, embeddings::whole(&request));
    Ok(rate_limit_headers(provider, answer, &headers))
}

fn moderate(exchange: &Exchange, caller: &Caller) -> Result<Answer, ApiError> {
    let provider = Provider::OpenAi;
    let body = body_json(provider, exchange)?;
    let mut request = moderations::read(provider, &body)?;
    let reply = planned(provider, exchange, caller, &mut request.prompt)?;
    let id = reply.draw.branch(8).alphanumeric(29);
    let mut answer = Answer::whole(&reply, moderations::whole(&request, &id, reply.extra("flag")));
    // Moderation is free.
    answer.charge = None;
    Ok(answer)
}

/// Plans the answer for a caller; scripted refusals become errors.
fn planned(
    provider: Provider,
    exchange: &Exchange,
    caller: &Caller,
    prompt: &mut Prompt,
) -> Result<Reply, ApiError> {
    prompt.key.clone_from(&caller.key);
    if !exchange.world.knows_model(provider, &prompt.model) {
        return Err(ApiError::no_such_model(provider, &prompt.model));
    }
    let reply = plan(exchange, prompt);
    if let Some(refusal) = reply.refusal() {
        if refusal.expired_token
            && let Some(token) = &caller.token
        {
            exchange.world.tokens.revoke(token);
        }
        return Err(ApiError::scripted(provider, &refusal, &prompt.model));
    }
    if reply.extra("prompt_filter").is_some() {
        return Err(prompt_filtered());
    }
    Ok(reply)
}

/// Azure's refusal of a prompt, asked for by `x.prompt_filter`.
fn prompt_filtered() -> ApiError {
    ApiError::invalid(
        "The response was filtered due to the prompt triggering Azure OpenAI's content management \
         policy. Please modify your prompt and retry. To learn more about our content filtering \
         policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
    )
    .param("prompt")
    .code("content_filter")
}

/// The error of an answer that fails after its status was sent.
fn failure(provider: Provider, reply: &Reply) -> Value {
    ApiError::new(
        500,
        "server_error",
        "The server had an error while processing your request. Sorry about that!",
    )
    .body(provider, &mut reply.draw.branch(8))
}

fn rate_limit_headers(provider: Provider, answer: Answer, reply: &Reply) -> Answer {
    if !matches!(provider, Provider::OpenAi | Provider::Azure | Provider::CloudRu) {
        return answer;
    }
    let allowance = reply.allowance;
    let reset = match allowance.reset_s {
        1 => "1s",
        seconds => &format!("{seconds}s"),
    };
    answer
        .header_number("x-ratelimit-limit-requests", allowance.requests_limit)
        .header_number("x-ratelimit-limit-tokens", allowance.tokens_limit)
        .header_number("x-ratelimit-remaining-requests", allowance.requests_left)
        .header_number("x-ratelimit-remaining-tokens", allowance.tokens_left)
        .header("x-ratelimit-reset-requests", reset)
        .header("x-ratelimit-reset-tokens", reset)
}

fn with_headers(provider: Provider, answer: Answer, ids: &mut Draw) -> Answer {
    match provider {
        Provider::OpenAi => answer
            .header("x-request-id", &format!("req_{}", ids.hex(32)))
            .header("openai-organization", "org-simulator")
            .header("openai-version", "2020-10-01")
            .header_number("openai-processing-ms", PROCESSING_MS),
        Provider::Azure => {
            let id = ids.uuid();
            answer
                .header("x-request-id", &id)
                .header("apim-request-id", &id)
                .header("x-ms-region", "Simulated Central")
                .header("x-ms-client-request-id", &id)
        }
        Provider::Vllm | Provider::SgLang | Provider::LlamaCpp | Provider::Ollama => answer,
        _ => answer.header("x-request-id", &ids.uuid()),
    }
}
