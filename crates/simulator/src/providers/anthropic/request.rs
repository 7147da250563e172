//! Validation of Messages requests, complaint by complaint in the service's form
//! (`path: what is wrong`).

use serde_json::{Map, Value};

use super::Version;
use super::content::{Turn, check_tool_pairs, check_version_rules, read_turns, text_of};
use super::error::ApiError;
use super::generation::check_generation;

/// Members a request may have.
const KNOWN: [&str; 20] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "service_tier",
    "container",
    "output_config",
    "cache_control",
    "inference_geo",
    "speed",
    "diagnostics",
];

/// Members of the beta form.
const KNOWN_IN_BETA: [&str; 8] = [
    "billing_policy",
    "compaction",
    "context_management",
    "fallback_credit_token",
    "fallbacks",
    "mcp_servers",
    "thread",
    "user_profile_id",
];

/// Smallest thinking budget, tokens.
const MIN_THINKING_BUDGET: u64 = 1024;

/// A tool the caller offers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: Value,
}

/// How tools may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    #[default]
    Auto,
    Any,
    Named(String),
    None,
}

/// Whether the model reasons first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Thinking {
    #[default]
    Off,
    /// With what reasoning may cost, tokens; none where the model decides.
    On { budget: Option<u64>, omitted: bool },
}

/// A request that passed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) system: String,
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    pub(crate) one_tool_at_most: bool,
    pub(crate) stop_sequences: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) thinking: Thinking,
    pub(crate) schema: Option<Value>,
    /// Some block or the request itself carries a cache marker.
    pub(crate) cache_marked: bool,
}

/// Which endpoint the body was sent to; counting needs no `max_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Messages,
    CountTokens,
}

/// Parses and checks a body.
///
/// # Errors
/// The first rule broken, as `invalid_request_error`.
pub(crate) fn parse(
    body: &[u8],
    endpoint: Endpoint,
    version: Version,
    beta: bool,
) -> Result<Request, ApiError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid(format!("The request body is not valid JSON: {error}"))
    })?;
    let Value::Object(body) = body else {
        return Err(ApiError::invalid("Input should be a valid dictionary"));
    };
    let known = |key: &&String| {
        KNOWN.contains(&key.as_str()) || beta && KNOWN_IN_BETA.contains(&key.as_str())
    };
    if let Some(unknown) = body.keys().find(|key| !known(key)) {
        return Err(ApiError::invalid(format!("{unknown}: Extra inputs are not permitted")));
    }
    if body.get("thread").is_some_and(|thread| !thread.is_null()) {
        // Nothing is kept between requests here; clients that are told so send everything.
        return Err(ApiError {
            code: Some("thread_unsupported_request"),
            ..ApiError::invalid("thread: this request cannot be threaded")
        });
    }
    let model = match body.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        Some(Value::String(_)) => {
            return Err(ApiError::invalid("model: String should have at least 1 character"));
        }
        Some(_) => return Err(ApiError::invalid("model: Input should be a valid string")),
        None => return Err(required("model")),
    };
    let max_tokens = match (body.get("max_tokens"), endpoint) {
        (Some(value), _) => Some(
            value
                .as_u64()
                .ok_or_else(|| ApiError::invalid("max_tokens: Input should be a valid integer"))?,
        ),
        (None, Endpoint::Messages) => return Err(required("max_tokens")),
        (None, Endpoint::CountTokens) => None,
    };
    let turns = read_turns(body.get("messages"))?;
    let tools = read_tools(body.get("tools"))?;
    let (choice, one_tool_at_most) = read_choice(body.get("tool_choice"), &tools)?;
    let thinking = read_thinking(&body, max_tokens, &choice, &turns)?;
    read_sampling(&body, version)?;
    check_version_rules(&turns, version)?;
    check_tool_pairs(&turns)?;
    check_generation(&model, &body, &turns)?;
    let schema = read_output_config(body.get("output_config"))?;
    if schema.is_some() && turns.last().is_some_and(|turn| turn.role == "assistant") {
        return Err(ApiError::invalid(
            "output_config.format: prefilling the response is not supported with output formats",
        ));
    }
    Ok(Request {
        cache_marked: body.values().any(marks_cache) || is_marker(body.get("cache_control")),
        system: read_system(body.get("system"))?,
        stop_sequences: read_stop_sequences(body.get("stop_sequences"))?,
        stream: match body.get("stream") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(stream)) => *stream,
            Some(_) => return Err(ApiError::invalid("stream: Input should be a valid boolean")),
        },
        model,
        max_tokens,
        turns,
        tools,
        choice,
        one_tool_at_most,
        thinking,
        schema,
    })
}

pub(super) fn required(path: &str) -> ApiError {
    ApiError::invalid(format!("{path}: Field required"))
}

fn is_marker(value: Option<&Value>) -> bool {
    value.is_some_and(|marker| marker["type"] == "ephemeral")
}

fn marks_cache(value: &Value) -> bool {
    match value {
        Value::Object(map) => is_marker(map.get("cache_control")) || map.values().any(marks_cache),
        Value::Array(items) => items.iter().any(marks_cache),
        _ => false,
    }
}

fn read_system(system: Option<&Value>) -> Result<String, ApiError> {
    match system {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(blocks)) => {
            for (at, block) in blocks.iter().enumerate() {
                match block.get("text").and_then(Value::as_str) {
                    Some("") => {
                        return Err(ApiError::invalid(
                            "system: text content blocks must be non-empty",
                        ));
                    }
                    Some(_) => {}
                    None => return Err(required(&format!("system.{at}.text"))),
                }
            }
            Ok(text_of(blocks))
        }
        Some(_) => Err(ApiError::invalid("system: Input should be a valid string")),
    }
}

fn read_stop_sequences(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let items = value
        .as_array()
        .ok_or_else(|| ApiError::invalid("stop_sequences: Input should be a valid list"))?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| match item.as_str() {
            Some(text) if text.trim().is_empty() => Err(ApiError::invalid(
                "stop_sequences: each stop sequence must contain non-whitespace",
            )),
            Some(text) => Ok(text.to_owned()),
            None => Err(ApiError::invalid(format!(
                "stop_sequences.{at}: Input should be a valid string"
            ))),
        })
        .collect()
}

fn read_tools(value: Option<&Value>) -> Result<Vec<Tool>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let items =
        value.as_array().ok_or_else(|| ApiError::invalid("tools: Input should be a valid list"))?;
    let mut tools: Vec<Tool> = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if let Some(kind) = item.get("type").and_then(Value::as_str)
            && kind != "custom"
        {
            // The service's own tools have dated types and bring their schema along.
            if kind.rsplit('_').next().is_some_and(|date| date.parse::<u32>().is_ok()) {
                continue;
            }
            return Err(ApiError::invalid(format!(
                "tools.{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
            )));
        }
        let name = item
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| required(&format!("tools.{at}.custom.name")))?;
        let legal = (1..=128).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !legal {
            return Err(ApiError::invalid(format!(
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )));
        }
        if tools.iter().any(|tool| tool.name == name) {
            return Err(ApiError::invalid("tools: Tool names must be unique."));
        }
        let schema = item
            .get("input_schema")
            .ok_or_else(|| required(&format!("tools.{at}.custom.input_schema")))?;
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => {}
            Some(_) => {
                return Err(ApiError::invalid(format!(
                    "tools.{at}.custom.input_schema.type: Input should be 'object'"
                )));
            }
            None => return Err(required(&format!("tools.{at}.custom.input_schema.type"))),
        }
        tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
    }
    Ok(tools)
}

fn read_choice(value: Option<&Value>, tools: &[Tool]) -> Result<(Choice, bool), ApiError> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok((Choice::Auto, false));
    };
    let kind =
        value.get("type").and_then(Value::as_str).ok_or_else(|| required("tool_choice.type"))?;
    let one = value.get("disable_parallel_tool_use").and_then(Value::as_bool).unwrap_or(false);
    let choice = match kind {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::None,
        "tool" => {
            let name = value
                .get("name")
                .and_then(Value::as_str)
                .ok_or_else(|| required("tool_choice.tool.name"))?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(ApiError::invalid(format!(
                    "tool_choice.tool.name: Tool '{name}' not found in provided tools"
                )));
            }
            Choice::Named(name.to_owned())
        }
        other => {
            return Err(ApiError::invalid(format!(
                "tool_choice: Input tag '{other}' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'"
            )));
        }
    };
    if tools.is_empty() && matches!(choice, Choice::Any) {
        return Err(ApiError::invalid("tool_choice: may only be specified while providing tools"));
    }
    Ok((choice, one))
}

fn read_thinking(
    body: &Map<String, Value>,
    max_tokens: Option<u64>,
    choice: &Choice,
    turns: &[Turn],
) -> Result<Thinking, ApiError> {
    let Some(value) = body.get("thinking").filter(|value| !value.is_null()) else {
        return Ok(Thinking::Off);
    };
    let kind =
        value.get("type").and_then(Value::as_str).ok_or_else(|| required("thinking.type"))?;
    let omitted = value.get("display").and_then(Value::as_str) == Some("omitted");
    let budget = match kind {
        "disabled" => return Ok(Thinking::Off),
        "adaptive" | "between_tools" => {
            return Ok(Thinking::On { budget: None, omitted });
        }
        "enabled" => value
            .get("budget_tokens")
            .ok_or_else(|| required("thinking.enabled.budget_tokens"))?
            .as_u64()
            .ok_or_else(|| {
                ApiError::invalid("thinking.enabled.budget_tokens: Input should be a valid integer")
            })?,
        other => {
            return Err(ApiError::invalid(format!(
                "thinking: Input tag '{other}' found using 'type' does not match any of the expected tags: 'adaptive', 'between_tools', 'disabled', 'enabled'"
            )));
        }
    };
    if budget < MIN_THINKING_BUDGET {
        return Err(ApiError::invalid(format!(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to {MIN_THINKING_BUDGET}"
        )));
    }
    if max_tokens.is_some_and(|max| budget >= max) {
        return Err(ApiError::invalid(
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
        ));
    }
    if let Some(temperature) = body.get("temperature").and_then(Value::as_f64)
        && (temperature - 1.0).abs() > f64::EPSILON
    {
        return Err(ApiError::invalid(
            "`temperature` may only be set to 1 when thinking is enabled.",
        ));
    }
    if body.get("top_k").is_some_and(|top_k| !top_k.is_null()) {
        return Err(ApiError::invalid("`top_k` must be unset when thinking is enabled."));
    }
    if matches!(choice, Choice::Any | Choice::Named(_)) {
        return Err(ApiError::invalid(
            "Thinking may not be enabled when tool_choice forces tool use.",
        ));
    }
    let calling = turns.iter().enumerate().rev().find(|(_, turn)| {
        turn.role == "assistant" && turn.blocks.iter().any(|block| block["type"] == "tool_use")
    });
    let mid_turn = turns.last().is_some_and(|turn| {
        turn.role == "user" && turn.blocks.iter().any(|block| block["type"] == "tool_result")
    });
    if let Some((at, turn)) = calling
        && mid_turn
    {
        let first = turn.blocks[0]["type"].as_str().unwrap_or_default();
        if !matches!(first, "thinking" | "redacted_thinking") {
            return Err(ApiError::invalid(format!(
                "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
            )));
        }
    }
    Ok(Thinking::On { budget: Some(budget), omitted })
}

fn read_sampling(body: &Map<String, Value>, version: Version) -> Result<(), ApiError> {
    if version == Version::Of2026
        && let Some(name) =
            ["temperature", "top_p", "top_k"].iter().find(|name| body.contains_key(**name))
    {
        return Err(ApiError::invalid(format!("{name}: Extra inputs are not permitted")));
    }
    for (name, low, high) in [("temperature", 0.0, 1.0), ("top_p", 0.0, 1.0)] {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let number = value
            .as_f64()
            .ok_or_else(|| ApiError::invalid(format!("{name}: Input should be a valid number")))?;
        if number < low {
            return Err(ApiError::invalid(format!(
                "{name}: Input should be greater than or equal to 0"
            )));
        }
        if number > high {
            return Err(ApiError::invalid(format!(
                "{name}: Input should be less than or equal to 1"
            )));
        }
    }
    match body.get("top_k") {
        None | Some(Value::Null) => Ok(()),
        Some(top_k) if top_k.is_u64() => Ok(()),
        Some(_) => Err(ApiError::invalid("top_k: Input should be a valid integer")),
    }
}

fn read_output_config(value: Option<&Value>) -> Result<Option<Value>, ApiError> {
    let Some(config) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    if let Some(effort) = config.get("effort").and_then(Value::as_str)
        && !["low", "medium", "high", "xhigh", "max"].contains(&effort)
    {
        return Err(ApiError::invalid(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ));
    }
    let Some(format) = config.get("format").filter(|format| !format.is_null()) else {
        return Ok(None);
    };
    if format.get("type").and_then(Value::as_str) != Some("json_schema") {
        return Err(ApiError::invalid("output_config.format.type: Input should be 'json_schema'"));
    }
    let schema = format
        .get("schema")
        .filter(|schema| schema.is_object())
        .ok_or_else(|| required("output_config.format.schema"))?;
    check_closed(schema)?;
    Ok(Some(schema.clone()))
}

/// Every object of an output schema must close itself.
fn check_closed(schema: &Value) -> Result<(), ApiError> {
    match schema {
        Value::Object(map) => {
            if map.get("type").and_then(Value::as_str) == Some("object")
                && map.get("additionalProperties") != Some(&Value::Bool(false))
            {
                return Err(ApiError::invalid(
                    "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
                ));
            }
            map.values().try_for_each(check_closed)
        }
        Value::Array(items) => items.iter().try_for_each(check_closed),
        _ => Ok(()),
    }
}
