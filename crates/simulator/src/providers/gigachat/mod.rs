//! GigaChat: token service, chat in both versions, files, embeddings, counting.

mod auth;
mod error;
mod files;
#[cfg(test)]
mod handler_tests;
mod v1;
mod v2;
mod wire;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access_tokens::Grant;
use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::plan::plan;
use crate::prompt::{Prompt, ToolChoice, ToolOffer};
use crate::providers::{Provider, embedding};
use crate::reply::Reply;
use crate::script::Fault;
use crate::text::count_tokens;

use auth::TokenShape;
use error::ApiError;

/// Models served when the profile names none, with their kind.
const MODELS: [(&str, &str); 16] = [
    ("GigaChat", "chat"),
    ("GigaChat-2", "chat"),
    ("GigaChat-2-Max", "chat"),
    ("GigaChat-2-Max-preview", "chat"),
    ("GigaChat-2-Pro", "chat"),
    ("GigaChat-2-Pro-preview", "chat"),
    ("GigaChat-2-preview", "chat"),
    ("GigaChat-2-Reasoning", "chat"),
    ("GigaChat-3-Ultra", "chat"),
    ("GigaChat-Max", "chat"),
    ("GigaChat-Plus", "chat"),
    ("GigaChat-Pro", "chat"),
    ("GigaChat-preview", "chat"),
    ("Embeddings", "embedder"),
    ("Embeddings-2", "embedder"),
    ("EmbeddingsGigaR", "embedder"),
];

/// Tokens a picture costs.
const IMAGE_TOKENS: u64 = 1000;

/// Tokens around each message.
const FRAME_TOKENS: u64 = 4;

/// Answers a request below `/gigachat`.
pub(crate) fn handle(exchange: &Exchange) -> Answer {
    let answer = match exchange.path() {
        "/api/v2/oauth" if exchange.method() == Method::POST => {
            return auth::oauth(exchange, TokenShape::AccessToken);
        }
        "/oauth" if exchange.method() == Method::POST => {
            return auth::oauth(exchange, TokenShape::Tok);
        }
        path => match path.strip_prefix("/api/v1").or_else(|| path.strip_prefix("/v1")) {
            Some(rest) => api(exchange, rest, Version::One),
            None => match path.strip_prefix("/api/v2").or_else(|| path.strip_prefix("/v2")) {
                Some(rest) => api(exchange, rest, Version::Two),
                None => Err(ApiError::of_status(404)),
            },
        },
    };
    let answer = answer.unwrap_or_else(|error| refuse(&error));
    trace(exchange, answer)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

fn refuse(error: &ApiError) -> Answer {
    Answer::json(error.status.as_u16(), error.body().to_string())
}

/// Ids of request and session: the caller's own come back, missing ones are made.
fn trace(exchange: &Exchange, mut answer: Answer) -> Answer {
    let mut draw = Draw::new(exchange.world.seed)
        .branch(stable_hash(b"trace"))
        .branch(exchange.record.ordinal);
    for name in ["x-request-id", "x-session-id"] {
        let made = draw.uuid();
        answer = answer.header(name, exchange.header(name).unwrap_or(&made));
    }
    match exchange.header("x-client-id") {
        Some(client) => answer.header("x-client-id", client),
        None => answer,
    }
}

fn api(exchange: &Exchange, path: &str, version: Version) -> Result<Answer, ApiError> {
    if path == "/token" {
        return auth::password(exchange);
    }
    let grant = auth::authenticate(exchange)?;
    if let Some(rest) = path.strip_prefix("/files") {
        return files::handle(exchange, rest);
    }
    match (exchange.method(), path, version) {
        (&Method::POST, "/chat/completions", Version::One) => chat_v1(exchange, grant),
        (&Method::POST, "/chat/completions", Version::Two) => chat_v2(exchange, grant),
        (&Method::POST, "/embeddings", _) => embeddings(exchange, grant),
        (&Method::POST, "/tokens/count", _) => count(exchange),
        (&Method::GET, "/models", _) => {
            let data: Vec<Value> =
                models(exchange).iter().map(|(id, kind)| describe(id, kind)).collect();
            Ok(Answer::json(200, json!({"object": "list", "data": data}).to_string()))
        }
        (&Method::GET, "/balance", _) => balance(exchange, &grant),
        (&Method::POST, "/ai/check", _) => ai_check(exchange),
        (&Method::GET, _, _) if path.starts_with("/models/") => {
            let id = &path["/models/".len()..];
            models(exchange)
                .iter()
                .find(|(known, _)| known == id)
                .map(|(id, kind)| Answer::json(200, describe(id, kind).to_string()))
                .ok_or_else(|| ApiError::not_found("model"))
        }
        _ => Err(ApiError::new(StatusCode::NOT_FOUND, "Not found")),
    }
}

fn models(exchange: &Exchange) -> Vec<(String, &'static str)> {
    let kind = |id: &str| if id.starts_with("Embeddings") { "embedder" } else { "chat" };
    match exchange.world.profile().models.get(&Provider::GigaChat) {
        Some(models) => models.iter().map(|id| (id.clone(), kind(id))).collect(),
        None => MODELS.iter().map(|(id, kind)| ((*id).to_owned(), *kind)).collect(),
    }
}

fn describe(id: &str, kind: &str) -> Value {
    json!({"id": id, "object": "model", "owned_by": "salutedevices", "type": kind})
}

/// A model of the right kind, its `:latest` tag aside.
fn check_model(exchange: &Exchange, model: &str, kind: &str) -> Result<(), ApiError> {
    let name = model.split_once(':').map_or(model, |(name, _)| name);
    let known = match exchange.world.profile().models.get(&Provider::GigaChat) {
        Some(models) => models.iter().any(|id| id == name),
        None => MODELS.iter().any(|(id, of)| *id == name && *of == kind),
    };
    if known { Ok(()) } else { Err(ApiError::not_found("model")) }
}

fn chat_v1(exchange: &Exchange, grant: Grant) -> Result<Answer, ApiError> {
    let request = v1::parse(exchange.body())?;
    let model = request.model.clone().unwrap_or_default();
    check_model(exchange, &model, "chat")?;
    for message in &request.messages {
        check_files(exchange, message.attachments.iter().map(String::as_str))?;
    }
    let mut prompt = prompt_v1(&request, grant.principal, &model);
    let structured = prompt.schema.is_some();
    let reply = plan(exchange, &mut prompt);
    if let Some(answer) = scripted_refusal(exchange, &reply) {
        return Ok(answer);
    }
    let encoder = wire::Encoder::new(&reply, &model, exchange.world.now(), structured);
    if request.stream == Some(true) {
        let error = format!("data: {}\n\n", ApiError::of_status(500).body());
        return Ok(Answer::stream(&reply, "text/event-stream", encoder.v1_events(), error));
    }
    Ok(Answer::whole(&reply, encoder.v1_whole()))
}

fn chat_v2(exchange: &Exchange, grant: Grant) -> Result<Answer, ApiError> {
    let request = v2::parse(exchange.body())?;
    let model = request.model.clone().unwrap_or_else(|| "GigaChat".to_owned());
    check_model(exchange, &model, "chat")?;
    for message in &request.messages {
        let ids = message.parts().iter().flat_map(|part| &part.files).map(|file| file.id.as_str());
        check_files(exchange, ids)?;
    }
    let mut prompt = prompt_v2(&request, grant.principal, &model);
    let reply = plan(exchange, &mut prompt);
    if let Some(answer) = scripted_refusal(exchange, &reply) {
        return Ok(answer);
    }
    let top = request.model_options.top_logprobs.and_then(|top| u64::try_from(top).ok());
    let encoder =
        wire::Encoder::new(&reply, &model, exchange.world.now(), false).with_logprobs(top);
    if request.stream == Some(true) {
        let error = format!("event: error\ndata: {}\n\n", ApiError::of_status(500).body());
        return Ok(Answer::stream(&reply, "text/event-stream", encoder.v2_events(), error));
    }
    Ok(Answer::whole(&reply, encoder.v2_whole()))
}

/// Files of one message exist, and at most one of them is a picture.
fn check_files<'a>(
    exchange: &Exchange,
    ids: impl Iterator<Item = &'a str>,
) -> Result<(), ApiError> {
    let mut pictures = 0;
    for id in ids {
        let file = files::find(exchange, id)?;
        pictures += usize::from(file.content_type.starts_with("image/"));
    }
    if pictures > 1 {
        return Err(ApiError::invalid_params("only one image is allowed in a message"));
    }
    Ok(())
}

/// The error a script or a limit asks for, if any.
fn scripted_refusal(exchange: &Exchange, reply: &Reply) -> Option<Answer> {
    if matches!(reply.fault, Some(Fault::OkWithErrorBody)) {
        return Some(Answer::json(200, ApiError::of_status(500).body().to_string()));
    }
    let refusal = reply.refusal()?;
    let mut error = if refusal.expired_token {
        if let Some(token) = exchange.bearer() {
            exchange.world.tokens.revoke(token);
        }
        auth::token_expired()
    } else {
        ApiError::of_status(refusal.status)
    };
    if let Some(message) = refusal.message {
        error.message = message;
    }
    Some(refuse(&error).retry_after(refusal.retry_after))
}

fn prompt_v1(request: &v1::ChatRequest, key: String, model: &str) -> Prompt {
    let mut tokens = FRAME_TOKENS * request.messages.len() as u64;
    for message in &request.messages {
        tokens += count_tokens(message.content.as_deref().unwrap_or_default());
        tokens += IMAGE_TOKENS * message.attachments.len() as u64;
        if let Some(call) = &message.function_call {
            tokens += count_tokens(&call.name);
            tokens += count_tokens(&Value::Object(call.arguments.clone()).to_string());
        }
    }
    let tools = request.functions.iter().map(|function| {
        offer(
            &function.name,
            function.description.as_deref(),
            function.parameters.as_ref(),
            &mut tokens,
        )
    });
    let tools: Vec<ToolOffer> = tools.collect();
    let schema = request.response_format.as_ref().and_then(|format| format.schema.clone());
    tokens += schema.as_ref().map_or(0, |schema| count_tokens(&schema.to_string()));
    let last_user = request.messages.iter().rev().find(|message| message.role == v1::Role::User);
    let mut results: Vec<String> = Vec::new();
    // Calls one by one leave assistant and function messages in turn.
    for message in request.messages.iter().rev() {
        match message.role {
            v1::Role::Function => results.push(message.content.clone().unwrap_or_default()),
            v1::Role::Assistant if message.function_call.is_some() => {}
            _ => break,
        }
    }
    results.reverse();
    Prompt {
        provider: Provider::GigaChat,
        key,
        model: model.to_owned(),
        text: last_user.and_then(|message| message.content.clone()).unwrap_or_default(),
        prompt_tokens: tokens,
        tool_choice: match &request.function_call {
            Some(v1::FunctionChoice::Mode(v1::FunctionMode::None)) => ToolChoice::None,
            Some(v1::FunctionChoice::Named { name }) => ToolChoice::Named(name.clone()),
            _ => ToolChoice::Auto,
        },
        tools,
        parallel_tools: false,
        tool_results: results,
        schema,
        n: request.n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
        max_tokens: request.max_tokens.and_then(|max| u64::try_from(max).ok()),
        images: request.messages.iter().map(|message| message.attachments.len()).sum(),
        stream: request.stream == Some(true),
        reasoning: request.reasoning_effort.is_some() || reasons(model),
        ..Prompt::default()
    }
}

fn prompt_v2(request: &v2::ChatRequest, key: String, model: &str) -> Prompt {
    let mut tokens = FRAME_TOKENS * request.messages.len() as u64;
    let mut images = 0;
    for message in &request.messages {
        tokens += count_tokens(&message.text());
        for part in message.parts() {
            images += part.files.len();
            if let Some(call) = &part.function_call {
                tokens += count_tokens(&call.name);
                tokens += count_tokens(&Value::Object(call.arguments.clone()).to_string());
            }
            if let Some(result) = &part.function_result {
                tokens += count_tokens(&result.result.to_string());
            }
        }
    }
    tokens += IMAGE_TOKENS * images as u64;
    let tools: Vec<ToolOffer> = request
        .functions()
        .map(|function| {
            offer(
                &function.name,
                function.description.as_deref(),
                function.parameters.as_ref(),
                &mut tokens,
            )
        })
        .collect();
    let options = &request.model_options;
    let schema = options.response_format.as_ref().and_then(v2::ResponseFormat::schema);
    tokens += schema.as_ref().map_or(0, |schema| count_tokens(&schema.to_string()));
    let last_user = request.messages.iter().rev().find(|message| message.role == v2::Role::User);
    let results = match request.messages.last() {
        Some(message) if message.role == v2::Role::Tool => message
            .parts()
            .iter()
            .filter_map(|part| part.function_result.as_ref())
            .map(|result| match &result.result {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect(),
        _ => Vec::new(),
    };
    let config = request.tool_config.as_ref();
    Prompt {
        provider: Provider::GigaChat,
        key,
        model: model.to_owned(),
        text: last_user.map(v2::Message::text).unwrap_or_default(),
        prompt_tokens: tokens,
        tool_choice: match config.map(|config| (config.mode, &config.function_name)) {
            Some((v2::Mode::None, _)) => ToolChoice::None,
            Some((v2::Mode::Forced, Some(name))) => ToolChoice::Named(name.clone()),
            _ => ToolChoice::Auto,
        },
        tools,
        parallel_tools: options.parallel_tool_calls != Some(false),
        tool_results: results,
        schema,
        n: 1,
        max_tokens: options.max_tokens.and_then(|max| u64::try_from(max).ok()),
        images,
        stream: request.stream == Some(true),
        reasoning: options.reasoning.as_ref().is_some_and(|r| r.effort.is_some()) || reasons(model),
        ..Prompt::default()
    }
}

fn reasons(model: &str) -> bool {
    model.ends_with("-Reasoning")
}

fn offer(
    name: &str,
    description: Option<&str>,
    parameters: Option<&serde_json::Map<String, Value>>,
    tokens: &mut u64,
) -> ToolOffer {
    let parameters = parameters.map_or(Value::Null, |map| Value::Object(map.clone()));
    *tokens += count_tokens(name)
        + count_tokens(description.unwrap_or_default())
        + count_tokens(&parameters.to_string());
    ToolOffer { name: name.to_owned(), parameters }
}

/// `input` of embeddings and counting: texts, or one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

impl Input {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

#[derive(Deserialize)]
struct InputRequest {
    #[serde(default)]
    model: Option<String>,
    input: Input,
}

fn embeddings(exchange: &Exchange, grant: Grant) -> Result<Answer, ApiError> {
    let request: InputRequest =
        serde_json::from_slice(exchange.body()).map_err(|_| ApiError::syntax())?;
    let model = request.model.unwrap_or_else(|| "Embeddings".to_owned());
    check_model(exchange, &model, "embedder")?;
    let texts = request.input.texts();
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(ApiError::invalid_params("input must not be empty"));
    }
    let dimensions = if model == "EmbeddingsGigaR" { 2560 } else { 1024 };
    let counts: Vec<u64> = texts.iter().map(|text| count_tokens(text)).collect();
    let mut prompt = Prompt {
        provider: Provider::GigaChat,
        key: grant.principal,
        model: model.clone(),
        text: texts.join("\n"),
        prompt_tokens: counts.iter().sum(),
        tool_choice: ToolChoice::None,
        ..Prompt::default()
    };
    let reply = plan(exchange, &mut prompt);
    if let Some(answer) = scripted_refusal(exchange, &reply) {
        return Ok(answer);
    }
    let data: Vec<Value> = texts
        .iter()
        .zip(&counts)
        .enumerate()
        .map(|(index, (text, tokens))| {
            json!({
                "object": "embedding",
                "index": index,
                "embedding": embedding::vector(text, dimensions),
                "usage": {"prompt_tokens": tokens},
            })
        })
        .collect();
    let body = json!({"object": "list", "model": model, "data": data}).to_string();
    Ok(embedding::answer(reply, body))
}

fn count(exchange: &Exchange) -> Result<Answer, ApiError> {
    let request: InputRequest =
        serde_json::from_slice(exchange.body()).map_err(|_| ApiError::syntax())?;
    let model = request.model.unwrap_or_default();
    if check_model(exchange, &model, "chat").is_err() {
        check_model(exchange, &model, "embedder")?;
    }
    let counts: Vec<Value> = request
        .input
        .texts()
        .iter()
        .map(|text| {
            json!({
                "object": "tokens",
                "tokens": count_tokens(text),
                "characters": text.chars().count(),
            })
        })
        .collect();
    Ok(Answer::json(200, Value::Array(counts).to_string()))
}

/// What is left, for those who pay in advance.
fn balance(exchange: &Exchange, grant: &Grant) -> Result<Answer, ApiError> {
    if grant.scope.as_deref() == Some("GIGACHAT_API_CORP") {
        return Err(ApiError::of_status(403));
    }
    let rows: Vec<Value> =
        models(exchange).iter().map(|(id, _)| json!({"usage": id, "value": 1_000_000})).collect();
    Ok(Answer::json(200, json!({"balance": rows}).to_string()))
}

fn ai_check(exchange: &Exchange) -> Result<Answer, ApiError> {
    let request: InputRequest =
        serde_json::from_slice(exchange.body()).map_err(|_| ApiError::syntax())?;
    let text = request.input.texts().concat();
    let body = json!({
        "category": "human",
        "characters": text.chars().count(),
        "tokens": count_tokens(&text),
        "ai_intervals": [],
    });
    Ok(Answer::json(200, body.to_string()))
}
