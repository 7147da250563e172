//! A chat completion request: validation and what the planner needs.

use serde_json::{Map, Value};

use super::error::ApiError;
use super::fields::{self, missing, unrecognized, unsupported_value, wrong_type};
use super::messages;
use super::schema_rules;
use crate::prompt::{Prompt, ToolOffer};
use crate::providers::Provider;
use crate::text::count_tokens;

const MEMBERS: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// A valid request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChatRequest {
    pub(crate) prompt: Prompt,
    pub(crate) include_usage: bool,
    /// Usage in every chunk (vLLM).
    pub(crate) continuous_usage: bool,
    /// Log-probabilities with this many alternatives.
    pub(crate) logprobs: Option<usize>,
}

/// OpenAI and Azure refuse what they do not know; servers modelled on them let it pass.
pub(crate) fn strict(provider: Provider) -> bool {
    matches!(provider, Provider::OpenAi | Provider::Azure)
}

/// Models that reason before they answer and refuse some parameters.
pub(crate) fn is_reasoning_model(model: &str) -> bool {
    let numbered = model.strip_prefix('o').is_some_and(|rest| rest.starts_with(['1', '3', '4']));
    (numbered || model.starts_with("gpt-5")) && !model.contains("chat")
}

/// Reads a body; `deployment` is the model where the URL names it.
pub(crate) fn read(
    provider: Provider,
    body: &Value,
    deployment: Option<&str>,
) -> Result<ChatRequest, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::invalid(format!(
            "Invalid type: expected an object, but got {} instead.",
            fields::named(body)
        )));
    };
    let strict = strict(provider);
    if strict {
        let extensions: &[&str] = if provider == Provider::Azure {
            &["data_sources", "user_security_context"]
        } else {
            &[]
        };
        if let Some(error) = unrecognized(body, MEMBERS, extensions) {
            return Err(error);
        }
    }
    let model = match (deployment, body.get("model")) {
        (Some(deployment), _) => deployment.to_owned(),
        (None, Some(Value::String(model))) if !model.is_empty() => model.clone(),
        (None, None | Some(Value::Null | Value::String(_))) => {
            return Err(ApiError::invalid("you must provide a model parameter"));
        }
        (None, Some(other)) => return Err(wrong_type("model", "a string", other)),
    };
    let conversation = messages::read(body.get("messages"), strict)?;
    let stream = fields::boolean(body, "stream")?.unwrap_or(false);
    let (include_usage, continuous_usage) = stream_options(body, stream, strict)?;
    let temperature = fields::decimal(body, "temperature", 0.0, 2.0)?;
    fields::decimal(body, "top_p", 0.0, 1.0)?;
    fields::decimal(body, "frequency_penalty", -2.0, 2.0)?;
    fields::decimal(body, "presence_penalty", -2.0, 2.0)?;
    fields::integer(body, "seed", i64::MIN, i64::MAX)?;
    let n = fields::integer(body, "n", 1, 128)?.unwrap_or(1);
    let max_tokens = fields::integer(body, "max_tokens", 1, i64::MAX)?;
    let max_completion_tokens = fields::integer(body, "max_completion_tokens", 1, i64::MAX)?;
    if strict {
        openai_only(body, &model, max_tokens, max_completion_tokens, temperature)?;
    }
    let logprobs = logprobs(body)?;
    let tools = tools(body, strict)?;
    let tool_choice = schema_rules::tool_choice(body.get("tool_choice"), &tools, true)?;
    let parallel_tools = fields::boolean(body, "parallel_tool_calls")?;
    if strict && parallel_tools.is_some() && tools.is_empty() {
        return Err(ApiError::invalid(
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when \
             'tools' are specified.",
        )
        .param("parallel_tool_calls"));
    }
    let (schema, json_object) = response_format(body, strict)?;
    if json_object && strict && !conversation.says_json {
        return Err(ApiError::invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of \
             type 'json_object'.",
        )
        .param("messages"));
    }
    let described: u64 = ["tools", "functions", "response_format"]
        .iter()
        .filter_map(|name| body.get(*name))
        .map(|value| count_tokens(&value.to_string()))
        .sum();
    Ok(ChatRequest {
        prompt: Prompt {
            provider,
            reasoning: thinks(provider, body, &model),
            model,
            text: conversation.last_user_text,
            prompt_tokens: conversation.tokens + described,
            tools,
            tool_choice,
            parallel_tools: parallel_tools.unwrap_or(true),
            tool_results: conversation.tool_results,
            schema,
            json_object,
            n: usize::try_from(n).unwrap_or(1),
            max_tokens: max_completion_tokens.or(max_tokens).and_then(|most| most.try_into().ok()),
            stop: fields::strings(body, "stop", if strict { 4 } else { 64 })?,
            images: conversation.images,
            stream,
            ..Prompt::default()
        },
        include_usage,
        continuous_usage,
        logprobs,
    })
}

/// Whether reasoning is generated: always by OpenAI's reasoning models, on request elsewhere.
fn thinks(provider: Provider, body: &Map<String, Value>, model: &str) -> bool {
    let effort = body.get("reasoning_effort").and_then(Value::as_str);
    let template = |name: &str| {
        body.get("chat_template_kwargs").and_then(|kwargs| kwargs.get(name))
            == Some(&Value::Bool(true))
    };
    match provider {
        Provider::OpenAi | Provider::Azure => {
            is_reasoning_model(model) && !matches!(effort, Some("none" | "minimal"))
        }
        Provider::Qwen => {
            body.get("enable_thinking") == Some(&Value::Bool(true)) || model.starts_with("qwq")
        }
        Provider::OpenRouter => body.get("reasoning").is_some() || effort.is_some(),
        _ => template("enable_thinking") || effort.is_some_and(|effort| effort != "none"),
    }
}

fn openai_only(
    body: &Map<String, Value>,
    model: &str,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    temperature: Option<f64>,
) -> Result<(), ApiError> {
    if max_tokens.is_some() && max_completion_tokens.is_some() {
        return Err(ApiError::invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        )
        .param("max_tokens")
        .code("invalid_parameter_combination"));
    }
    for (name, legal) in [
        ("reasoning_effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"][..]),
        ("service_tier", &["auto", "default", "flex", "scale", "priority", "fast"]),
        ("verbosity", &["low", "medium", "high"]),
    ] {
        fields::choice(body, name, legal)?;
    }
    if !is_reasoning_model(model) {
        if body.get("reasoning_effort").is_some_and(|value| !value.is_null()) {
            return Err(ApiError::invalid(
                "Unrecognized request argument supplied: reasoning_effort",
            ));
        }
        return Ok(());
    }
    if max_tokens.is_some() {
        return Err(ApiError::invalid(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
             'max_completion_tokens' instead.",
        )
        .param("max_tokens")
        .code("unsupported_parameter"));
    }
    if let Some(found) = temperature.filter(|found| (found - 1.0).abs() > f64::EPSILON) {
        return Err(ApiError::invalid(format!(
            "Unsupported value: 'temperature' does not support {found} with this model. Only the \
             default (1) value is supported."
        ))
        .param("temperature")
        .code("unsupported_value"));
    }
    for name in ["stop", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty"] {
        let given = body.get(name).is_some_and(|value| {
            !value.is_null() && value != &Value::Bool(false) && value.as_f64() != Some(0.0)
        });
        if given {
            return Err(ApiError::invalid(format!(
                "Unsupported parameter: '{name}' is not supported with this model."
            ))
            .param(name)
            .code("unsupported_parameter"));
        }
    }
    Ok(())
}

fn stream_options(
    body: &Map<String, Value>,
    stream: bool,
    strict: bool,
) -> Result<(bool, bool), ApiError> {
    let Some(options) = fields::object(body, "stream_options", "stream_options")? else {
        return Ok((false, false));
    };
    if !stream {
        return Err(ApiError::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        )
        .param("stream_options"));
    }
    if strict
        && let Some(error) = fields::unknown_parameter(
            options,
            &["include_usage", "include_obfuscation"],
            "stream_options.",
        )
    {
        return Err(error);
    }
    Ok((
        fields::boolean(options, "include_usage")?.unwrap_or(false),
        fields::boolean(options, "continuous_usage_stats")?.unwrap_or(false),
    ))
}

fn logprobs(body: &Map<String, Value>) -> Result<Option<usize>, ApiError> {
    let wanted = fields::boolean(body, "logprobs")?.unwrap_or(false);
    let top = fields::integer(body, "top_logprobs", 0, 20)?;
    match (wanted, top) {
        (false, Some(top)) if top > 0 => Err(ApiError::invalid(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
        )
        .param("top_logprobs")),
        (false, _) => Ok(None),
        (true, top) => Ok(Some(usize::try_from(top.unwrap_or(0)).unwrap_or(0))),
    }
}

fn tools(body: &Map<String, Value>, strict: bool) -> Result<Vec<ToolOffer>, ApiError> {
    let Some(tools) = fields::array(body, "tools", "an array of objects")? else {
        return Ok(Vec::new());
    };
    if tools.is_empty() && strict {
        return Err(ApiError::invalid(
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an \
             empty array instead.",
        )
        .param("tools")
        .code("empty_array"));
    }
    let mut offers = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let Value::Object(tool) = tool else { return Err(wrong_type(&path, "an object", tool)) };
        match fields::string(tool, "type", &format!("{path}.type"))? {
            Some("function") => {}
            Some("custom") if strict => continue,
            Some(other) => {
                let supported = ["function", "custom"];
                return Err(unsupported_value(format_args!("{path}.type"), other, &supported));
            }
            None => return Err(missing(format_args!("{path}.type"))),
        }
        let path = format!("{path}.function");
        let definition = fields::object(tool, "function", &path)?.ok_or_else(|| missing(&path))?;
        offers.push(schema_rules::function(definition, &path, strict)?);
    }
    Ok(offers)
}

fn response_format(
    body: &Map<String, Value>,
    strict: bool,
) -> Result<(Option<Value>, bool), ApiError> {
    let Some(format) = fields::object(body, "response_format", "response_format")? else {
        return Ok((None, false));
    };
    match fields::string(format, "type", "response_format.type")? {
        None => Err(missing("response_format.type")),
        Some("text") => Ok((None, false)),
        Some("json_object") => Ok((None, true)),
        Some("json_schema") => {
            let path = "response_format.json_schema";
            let definition =
                fields::object(format, "json_schema", path)?.ok_or_else(|| missing(path))?;
            let name = fields::string(definition, "name", &format!("{path}.name"))?;
            let name = match name {
                Some(name) => name,
                None if strict => return Err(missing(format_args!("{path}.name"))),
                None => "",
            };
            if strict {
                schema_rules::check_name(name, &format!("{path}.name"))?;
            }
            let schema = definition.get("schema").cloned().unwrap_or(Value::Null);
            if strict && definition.get("strict") == Some(&Value::Bool(true)) {
                let fault = match &schema {
                    Value::Object(object) if object.get("type") == Some(&"object".into()) => {
                        schema_rules::strict_fault(&schema)
                    }
                    Value::Null => return Err(missing(format_args!("{path}.schema"))),
                    _ => Some("schema must be a JSON Schema of 'type: \"object\"'.".to_owned()),
                };
                if let Some(fault) = fault {
                    return Err(ApiError::invalid(format!(
                        "Invalid schema for response_format '{name}': {fault}"
                    ))
                    .param("response_format"));
                }
            }
            Ok((Some(schema), false))
        }
        Some(other) => Err(unsupported_value(
            "response_format.type",
            other,
            &["json_object", "json_schema", "text"],
        )),
    }
}
