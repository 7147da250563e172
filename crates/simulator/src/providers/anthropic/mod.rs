//! The Anthropic Messages API.

mod content;
mod error;
mod generation;
mod request;
#[cfg(test)]
mod request_tests;
mod wire;

use http::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::plan::plan;
use crate::prompt::{Prompt, ToolChoice, ToolOffer};
use crate::providers::Provider;
use crate::providers::timestamp::rfc3339;
use crate::script::Fault;
use crate::text::count_tokens;
use crate::world::Allowance;

use content::{Turn, result_text, text_of};
use error::ApiError;
use request::{Choice, Endpoint, Request, Thinking};

/// How every signature of a thinking block starts; any other is a forgery.
pub(crate) const SIGNATURE_PREFIX: &str = "EqQBCkgIARABGAIiQsim";

/// Models served when the profile names none.
const MODELS: [&str; 8] = [
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-opus-4-5-20251101",
    "claude-sonnet-5",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
    "claude-fable-5",
];

/// The published versions of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// `2023-06-01`
    Of2023,
    /// `2026-10-21`: no sampling parameters, no documents from the assistant, no
    /// citations from the user.
    Of2026,
}

/// Largest body, bytes.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Answers a request below `/anthropic`.
pub(crate) fn handle(exchange: &Exchange) -> Answer {
    let request_id = request_id(exchange);
    let answer = match route(exchange, &request_id) {
        Ok(answer) => answer,
        Err(error) => refuse(&error, &request_id),
    };
    answer
        .header("request-id", &request_id)
        .header("anthropic-organization-id", "0b4d5a3e-5f6c-4d2a-9c7e-51a0f2c0ffee")
}

fn request_id(exchange: &Exchange) -> String {
    let mut draw = Draw::new(exchange.world.seed)
        .branch(stable_hash(b"request-id"))
        .branch(exchange.record.ordinal);
    format!("req_011C{}", draw.alphanumeric(20))
}

fn refuse(error: &ApiError, request_id: &str) -> Answer {
    Answer::json(error.status_code().as_u16(), error.body(request_id).to_string())
}

fn route(exchange: &Exchange, request_id: &str) -> Result<Answer, ApiError> {
    let key = authenticate(exchange)?;
    let version = match exchange.header("anthropic-version") {
        None => return Err(ApiError::invalid("anthropic-version: header is required")),
        Some("2023-06-01") => Version::Of2023,
        Some("2026-10-21") => Version::Of2026,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "anthropic-version: \"{other}\" is not a valid version"
            )));
        }
    };
    let path = exchange.path();
    match (exchange.method(), path) {
        (&Method::POST, "/v1/messages") => messages(exchange, key, version, request_id),
        (&Method::POST, "/v1/messages/count_tokens") => count(exchange, version),
        (&Method::GET, "/v1/models") => Ok(list_models(exchange)),
        (&Method::GET, _) if path.starts_with("/v1/models/") => {
            let id = &path["/v1/models/".len()..];
            if knows_model(exchange, id) {
                Ok(Answer::json(200, model_info(id).to_string()))
            } else {
                Err(ApiError::new(404, format!("model: {id}")))
            }
        }
        (_, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
            Err(ApiError::new(405, "Method Not Allowed"))
        }
        _ => Err(ApiError::new(404, "Not Found")),
    }
}

/// Whether beta members are taken: older clients say so in the query, newer ones
/// send them to the one path there is.
fn beta(exchange: &Exchange, version: Version) -> bool {
    version == Version::Of2026 || exchange.query("beta") == Some("true")
}

fn authenticate(exchange: &Exchange) -> Result<&str, ApiError> {
    let key = match exchange.header("x-api-key") {
        Some(key) => key,
        None => {
            exchange.bearer().ok_or_else(|| ApiError::new(401, "x-api-key header is required"))?
        }
    };
    if exchange.world.accepts_key(key) { Ok(key) } else { Err(ApiError::authentication()) }
}

fn models(exchange: &Exchange) -> Vec<String> {
    exchange
        .world
        .profile()
        .models
        .get(&Provider::Anthropic)
        .cloned()
        .unwrap_or_else(|| MODELS.map(str::to_owned).to_vec())
}

/// Listed models, and every name of the family where the profile lists none.
fn knows_model(exchange: &Exchange, model: &str) -> bool {
    match exchange.world.profile().models.get(&Provider::Anthropic) {
        Some(models) => models.iter().any(|known| known == model),
        None => model.starts_with("claude-"),
    }
}

fn model_info(id: &str) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": "2025-09-29T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    })
}

fn list_models(exchange: &Exchange) -> Answer {
    let models = models(exchange);
    let limit = exchange.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(20_usize);
    let start = exchange.query("after_id").map_or(0, |after| {
        models.iter().position(|id| id == after).map_or(models.len(), |at| at + 1)
    });
    let page: Vec<&String> = models.iter().skip(start).take(limit).collect();
    let body = json!({
        "data": page.iter().map(|id| model_info(id)).collect::<Vec<_>>(),
        "has_more": start + page.len() < models.len(),
        "first_id": page.first(),
        "last_id": page.last(),
    });
    Answer::json(200, body.to_string())
}

fn count(exchange: &Exchange, version: Version) -> Result<Answer, ApiError> {
    let request =
        request::parse(exchange.body(), Endpoint::CountTokens, version, beta(exchange, version))?;
    check_model(exchange, &request.model)?;
    Ok(Answer::json(200, json!({"input_tokens": prompt_tokens(&request)}).to_string()))
}

fn check_model(exchange: &Exchange, model: &str) -> Result<(), ApiError> {
    if knows_model(exchange, model) {
        Ok(())
    } else {
        Err(ApiError::new(404, format!("model: {model}")))
    }
}

fn messages(
    exchange: &Exchange,
    key: &str,
    version: Version,
    request_id: &str,
) -> Result<Answer, ApiError> {
    if exchange.body().len() > MAX_BODY {
        return Err(ApiError::of_status(413));
    }
    let request =
        request::parse(exchange.body(), Endpoint::Messages, version, beta(exchange, version))?;
    check_model(exchange, &request.model)?;
    let mut prompt = prompt(key, &request);
    let world = &exchange.world;
    let reply = plan(exchange, &mut prompt);
    let allowance = reply.allowance;
    if let Some(refusal) = reply.refusal() {
        let mut error = ApiError::of_status(refusal.status);
        if let Some(message) = refusal.message {
            error.message = message;
        }
        return Ok(limits(
            refuse(&error, request_id).retry_after(refusal.retry_after),
            &allowance,
            world.now(),
        ));
    }
    let overloaded = ApiError::of_status(529);
    if matches!(reply.fault, Some(Fault::OkWithErrorBody)) {
        return Ok(Answer::json(200, overloaded.body(request_id).to_string()));
    }
    let omit = matches!(request.thinking, Thinking::On { omitted: true, .. });
    let encoder = wire::Encoder::new(&reply, &request.model, omit)
        .with_cache_write(cache_write(&request, &prompt));
    let answer = if request.stream {
        let mut error = Vec::new();
        wire::push_event(&mut error, &overloaded.body(request_id));
        Answer::stream(&reply, "text/event-stream; charset=utf-8", encoder.events(), error)
            .header("cache-control", "no-cache")
    } else {
        Answer::whole(&reply, encoder.whole())
    };
    Ok(limits(answer, &allowance, world.now()))
}

fn limits(answer: Answer, allowance: &Allowance, now: u64) -> Answer {
    let reset = rfc3339(now + allowance.reset_s);
    // Input and output are limited separately, here in the proportion 4 to 1.
    let (input, input_left) = (allowance.tokens_limit / 5 * 4, allowance.tokens_left / 5 * 4);
    answer
        .header_number("anthropic-ratelimit-requests-limit", allowance.requests_limit)
        .header_number("anthropic-ratelimit-requests-remaining", allowance.requests_left)
        .header("anthropic-ratelimit-requests-reset", &reset)
        .header_number("anthropic-ratelimit-tokens-limit", allowance.tokens_limit)
        .header_number("anthropic-ratelimit-tokens-remaining", allowance.tokens_left)
        .header("anthropic-ratelimit-tokens-reset", &reset)
        .header_number("anthropic-ratelimit-input-tokens-limit", input)
        .header_number("anthropic-ratelimit-input-tokens-remaining", input_left)
        .header("anthropic-ratelimit-input-tokens-reset", &reset)
        .header_number("anthropic-ratelimit-output-tokens-limit", allowance.tokens_limit - input)
        .header_number(
            "anthropic-ratelimit-output-tokens-remaining",
            allowance.tokens_left - input_left,
        )
        .header("anthropic-ratelimit-output-tokens-reset", &reset)
}

/// What a marked prompt leaves in the cache: all but the last user's text, if that is
/// long enough to be kept at all.
fn cache_write(request: &Request, prompt: &Prompt) -> u64 {
    const SHORTEST: u64 = 1024;
    let prefix = prompt.prompt_tokens.saturating_sub(count_tokens(&prompt.text));
    if request.cache_marked && prefix >= SHORTEST { prefix } else { 0 }
}

fn prompt_tokens(request: &Request) -> u64 {
    // Every message costs its frame, every image a fixed sum.
    const FRAME: u64 = 4;
    const IMAGE: u64 = 1500;
    let mut tokens = count_tokens(&request.system);
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        tokens += match block["type"].as_str() {
            Some("tool_result") => count_tokens(&result_text(block)),
            Some("tool_use") => count_tokens(&block["input"].to_string()),
            Some("image") => IMAGE,
            _ => count_tokens(block["text"].as_str().unwrap_or_default()),
        };
    }
    tokens += FRAME * request.turns.len() as u64;
    for tool in &request.tools {
        tokens += count_tokens(&tool.name) + count_tokens(&tool.schema.to_string());
    }
    if let Some(schema) = &request.schema {
        tokens += count_tokens(&schema.to_string());
    }
    tokens
}

fn prompt(key: &str, request: &Request) -> Prompt {
    let says =
        |turn: &&Turn| turn.role == "user" && turn.blocks.iter().any(|b| b["text"].is_string());
    let last_user = request.turns.iter().rev().find(says);
    let tool_results = match request.turns.last() {
        Some(turn) if turn.role == "user" => turn
            .blocks
            .iter()
            .filter(|block| block["type"] == "tool_result")
            .map(result_text)
            .collect(),
        _ => Vec::new(),
    };
    let images = request
        .turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .filter(|block| block["type"] == "image")
        .count();
    Prompt {
        provider: Provider::Anthropic,
        key: key.to_owned(),
        model: request.model.clone(),
        text: last_user.map(|turn| text_of(&turn.blocks)).unwrap_or_default(),
        prompt_tokens: prompt_tokens(request),
        tools: request
            .tools
            .iter()
            .map(|tool| ToolOffer { name: tool.name.clone(), parameters: tool.schema.clone() })
            .collect(),
        tool_choice: match &request.choice {
            Choice::Auto => ToolChoice::Auto,
            Choice::Any => ToolChoice::Required,
            Choice::Named(name) => ToolChoice::Named(name.clone()),
            Choice::None => ToolChoice::None,
        },
        parallel_tools: !request.one_tool_at_most,
        tool_results,
        schema: request.schema.clone(),
        json_object: false,
        n: 1,
        max_tokens: request.max_tokens,
        stop: request.stop_sequences.clone(),
        images,
        stream: request.stream,
        reasoning: request.thinking != Thinking::Off,
        headers: Vec::new(),
    }
}
