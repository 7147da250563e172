//! YandexGPT: the native model service, its identity service, and its
//! OpenAI-compatible endpoint.

#[cfg(test)]
mod handler_tests;
mod identity;
mod jwt;
mod request;
mod status;
mod wire;

use http::Method;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::draw::{Draw, stable_hash};
use crate::exchange::Exchange;
use crate::plan::plan;
use crate::prompt::{Prompt, ToolChoice, ToolOffer};
use crate::providers::{Provider, embedding, openai};
use crate::reply::Reply;
use crate::script::Fault;
use crate::text::{count_tokens, tokens};

pub(crate) use identity::Keys;
use identity::{Caller, check_folder};
use request::ToolChoiceMode;
use request::{CompletionRequest, EmbeddingRequest, ModelUri, ReasoningMode, TokenizeRequest};
use status::{Code, Status};

/// An authorised key of a service account, as the cloud's console hands it out.
///
/// The identity service of every simulated world knows its public half. It guards
/// nothing: it exists so that tests can sign.
pub const SERVICE_ACCOUNT_KEY: &str = include_str!("service_account_key.json");

/// Generating models served when the profile names none.
const MODELS: [&str; 10] = [
    "yandexgpt",
    "yandexgpt-lite",
    "yandexgpt-32k",
    "yandexgpt-5-pro",
    "yandexgpt-5-lite",
    "yandexgpt-5.1",
    "aliceai-llm",
    "qwen3-235b-a22b-fp8",
    "gpt-oss-120b",
    "gpt-oss-20b",
];

/// Embedding models and their dimensions.
const EMBEDDERS: [(&str, i64); 3] =
    [("text-search-doc", 256), ("text-search-query", 256), ("text-embeddings", 768)];

/// Answers a request below `/yandex`.
pub(crate) fn handle(exchange: &Exchange) -> Answer {
    let path = exchange.path();
    let answer = match (exchange.method(), path) {
        (&Method::POST, "/iam/v1/tokens") => identity::create_token(exchange),
        (&Method::POST, "/iam/v1/tokens:revoke") => identity::revoke_token(exchange),
        (&Method::POST, "/_sim/keys") => register_key(exchange),
        _ if path.starts_with("/v1/") => return openai::handle(Provider::Yandex, exchange),
        (method, path) => match path.strip_prefix("/foundationModels/v1") {
            Some(rest) => call(exchange, method, rest).unwrap_or_else(|status| refuse(&status)),
            None => refuse(&Status::new(Code::NotFound, "Not Found")),
        },
    };
    let mut draw = Draw::new(exchange.world.seed)
        .branch(stable_hash(b"trace"))
        .branch(exchange.record.ordinal);
    let request_id = draw.uuid();
    answer
        .header("x-request-id", exchange.header("x-client-request-id").unwrap_or(&request_id))
        .header(
            "x-server-trace-id",
            &format!("{}:{}:{}:1", draw.hex(16), draw.hex(16), draw.hex(16)),
        )
}

fn refuse(status: &Status) -> Answer {
    Answer::json(status.code.http().as_u16(), status.nested().to_string())
}

/// Control: makes a service account's key known, in the form the console hands it out.
fn register_key(exchange: &Exchange) -> Answer {
    match request::parse(exchange.body()) {
        Ok(key) => {
            if exchange.world.iam_keys.register(key) {
                Answer::json(200, "{}")
            } else {
                refuse(&Status::invalid("public_key must be an RSA key in PEM"))
            }
        }
        Err(status) => refuse(&status),
    }
}

fn call(exchange: &Exchange, method: &Method, path: &str) -> Result<Answer, Status> {
    let caller = identity::authenticate(exchange)?;
    match (method, path) {
        (&Method::POST, "/completion") => completion(exchange, caller),
        (&Method::POST, "/tokenizeCompletion") => tokenize_completion(exchange, &caller),
        (&Method::POST, "/tokenize") => tokenize(exchange, &caller),
        (&Method::POST, "/textEmbedding") => text_embedding(exchange, caller),
        (_, "/completion" | "/tokenizeCompletion" | "/tokenize" | "/textEmbedding") => {
            Err(Status::new(Code::Unimplemented, "Method Not Allowed"))
        }
        _ => Err(Status::new(Code::NotFound, "Not Found")),
    }
}

/// The model's name, when the address is good, the folder the caller's, the model known.
fn check_model<'a>(
    exchange: &Exchange,
    caller: &Caller,
    uri: &'a str,
    schemes: &[&str],
    known: &[&str],
) -> Result<&'a str, Status> {
    let uri = ModelUri::parse(uri, schemes)?;
    check_folder(caller, uri.folder)?;
    let listed = match exchange.world.profile().models.get(&Provider::Yandex) {
        Some(models) => models.iter().any(|model| model == uri.name),
        None => known.contains(&uri.name),
    };
    // Besides `latest`, `rc` and `deprecated` there are dated branches, as `@` tags.
    let branch = matches!(uri.branch, "latest" | "rc" | "deprecated") || uri.branch.contains('@');
    if listed && branch {
        Ok(uri.name)
    } else {
        Err(Status::new(Code::NotFound, format!("model {} is not found", uri.name)))
    }
}

fn completion(exchange: &Exchange, caller: Caller) -> Result<Answer, Status> {
    let request: CompletionRequest = request::parse(exchange.body())?;
    let model = check_model(exchange, &caller, &request.model_uri, &["gpt", "ds"], &MODELS)?;
    request.validate()?;
    let mut prompt = prompt(&request, caller.principal, model);
    let reply = plan(exchange, &mut prompt);
    if let Some(answer) = scripted_refusal(exchange, &reply) {
        return Ok(answer);
    }
    if request.completion_options.stream {
        let mut error = Status::new(Code::Unavailable, "Service is temporarily unavailable")
            .nested()
            .to_string();
        error.push('\n');
        return Ok(Answer::stream(&reply, "application/json", wire::lines(&reply), error));
    }
    Ok(Answer::whole(&reply, wire::whole(&reply)))
}

/// The error a script or a limit asks for, if any.
fn scripted_refusal(exchange: &Exchange, reply: &Reply) -> Option<Answer> {
    if matches!(reply.fault, Some(Fault::OkWithErrorBody)) {
        let status = Status::new(Code::Internal, "Internal server error");
        return Some(Answer::json(200, status.nested().to_string()));
    }
    let refusal = reply.refusal()?;
    let mut status = if refusal.expired_token {
        if let Some(token) = exchange.bearer() {
            exchange.world.tokens.revoke(token);
        }
        identity::token_expired()
    } else {
        let code = Code::from_http(refusal.status);
        let message = match code {
            Code::ResourceExhausted => {
                "ai.textGenerationCompletionSessionsCount.count gRPC quota limit exceed"
            }
            Code::Unavailable => "Service is temporarily unavailable",
            Code::PermissionDenied => "Permission to resource-manager.folder denied",
            Code::Unauthenticated => "Unauthorized",
            Code::InvalidArgument => "Invalid request",
            _ => "Internal server error",
        };
        Status::new(code, message)
    };
    if let Some(message) = refusal.message {
        status.message = message;
    }
    let code = if refusal.expired_token { 401 } else { refusal.status };
    Some(Answer::json(code, status.nested().to_string()).retry_after(refusal.retry_after))
}

fn prompt_tokens(request: &CompletionRequest) -> u64 {
    const FRAME: u64 = 4;
    let mut tokens = FRAME * request.messages.len() as u64;
    for message in &request.messages {
        tokens += count_tokens(message.text.as_deref().unwrap_or_default());
        for call in message.tool_call_list.iter().flat_map(|list| &list.tool_calls) {
            tokens +=
                count_tokens(&call.function_call.name) + json_tokens(&call.function_call.arguments);
        }
        for result in message.tool_result_list.iter().flat_map(|list| &list.tool_results) {
            tokens += count_tokens(&result.function_result.content);
        }
    }
    for tool in &request.tools {
        tokens += count_tokens(&tool.function.name) + count_tokens(&tool.function.description);
        tokens += tool.function.parameters.as_ref().map_or(0, json_tokens);
    }
    tokens + request.json_schema.as_ref().map_or(0, |json| json_tokens(&json.schema))
}

fn json_tokens(object: &Map<String, Value>) -> u64 {
    count_tokens(&Value::Object(object.clone()).to_string())
}

fn prompt(request: &CompletionRequest, key: String, model: &str) -> Prompt {
    let last_user = request
        .messages
        .iter()
        .rev()
        .find(|message| message.role == "user" && message.text.is_some());
    let tool_results = request
        .messages
        .last()
        .and_then(|message| message.tool_result_list.as_ref())
        .map(|list| {
            list.tool_results.iter().map(|result| result.function_result.content.clone()).collect()
        })
        .unwrap_or_default();
    let options = &request.completion_options;
    let hidden = options
        .reasoning_options
        .as_ref()
        .is_some_and(|reasoning| reasoning.mode == ReasoningMode::EnabledHidden);
    Prompt {
        provider: Provider::Yandex,
        key,
        model: model.to_owned(),
        text: last_user.and_then(|message| message.text.clone()).unwrap_or_default(),
        prompt_tokens: prompt_tokens(request),
        tools: request
            .tools
            .iter()
            .map(|tool| ToolOffer {
                name: tool.function.name.clone(),
                parameters: tool
                    .function
                    .parameters
                    .as_ref()
                    .map_or(Value::Null, |map| Value::Object(map.clone())),
            })
            .collect(),
        tool_choice: match &request.tool_choice {
            Some(choice) => match (choice.mode, &choice.function_name) {
                (_, Some(name)) => ToolChoice::Named(name.clone()),
                (Some(ToolChoiceMode::None), _) => ToolChoice::None,
                (Some(ToolChoiceMode::Required), _) => ToolChoice::Required,
                _ => ToolChoice::Auto,
            },
            None => ToolChoice::Auto,
        },
        parallel_tools: request.parallel_tool_calls != Some(false),
        tool_results,
        schema: request.json_schema.as_ref().map(|json| Value::Object(json.schema.clone())),
        json_object: request.json_object == Some(true),
        n: 1,
        max_tokens: options.max_tokens.and_then(|max| u64::try_from(max).ok()),
        stream: options.stream,
        reasoning: hidden,
        ..Prompt::default()
    }
}

fn text_embedding(exchange: &Exchange, caller: Caller) -> Result<Answer, Status> {
    let request: EmbeddingRequest = request::parse(exchange.body())?;
    let known = EMBEDDERS.map(|(name, _)| name);
    let model = check_model(exchange, &caller, &request.model_uri, &["emb"], &known)?;
    let native = EMBEDDERS.iter().find(|(name, _)| *name == model).map_or(256, |(_, dim)| *dim);
    request.validate(native)?;
    let mut prompt = Prompt {
        provider: Provider::Yandex,
        key: caller.principal,
        model: model.to_owned(),
        prompt_tokens: count_tokens(&request.text),
        text: request.text,
        tool_choice: ToolChoice::None,
        ..Prompt::default()
    };
    let reply = plan(exchange, &mut prompt);
    if let Some(answer) = scripted_refusal(exchange, &reply) {
        return Ok(answer);
    }
    let dimensions = usize::try_from(request.dim.unwrap_or(native)).unwrap_or(256);
    let body = json!({
        "embedding": embedding::vector(&prompt.text, dimensions),
        "numTokens": prompt.prompt_tokens.to_string(),
        "modelVersion": wire::MODEL_VERSION,
    });
    Ok(embedding::answer(reply, body.to_string()))
}

fn tokenize(exchange: &Exchange, caller: &Caller) -> Result<Answer, Status> {
    let request: TokenizeRequest = request::parse(exchange.body())?;
    let known: Vec<&str> = MODELS.iter().copied().chain(EMBEDDERS.map(|(name, _)| name)).collect();
    check_model(exchange, caller, &request.model_uri, &["gpt", "ds", "emb"], &known)?;
    Ok(token_list(&request.text))
}

fn tokenize_completion(exchange: &Exchange, caller: &Caller) -> Result<Answer, Status> {
    let request: CompletionRequest = request::parse(exchange.body())?;
    check_model(exchange, caller, &request.model_uri, &["gpt", "ds"], &MODELS)?;
    request.validate()?;
    let texts: Vec<&str> =
        request.messages.iter().filter_map(|message| message.text.as_deref()).collect();
    Ok(token_list(&texts.join("\n")))
}

fn token_list(text: &str) -> Answer {
    let mut list = vec![json!({"id": "1", "text": "<s>", "special": true})];
    list.extend(tokens(text).into_iter().map(|token| {
        let id = stable_hash(token.as_bytes()) % 128_000 + 3;
        json!({"id": id.to_string(), "text": token, "special": false})
    }));
    let body = json!({"tokens": list, "modelVersion": wire::MODEL_VERSION});
    Answer::json(200, body.to_string())
}
