//! A Responses request: validation, what the planner needs, and what the answer repeats.

use serde_json::{Map, Value, json};

use super::super::chat_request::{is_reasoning_model, strict};
use super::super::error::ApiError;
use super::super::fields::{self, missing, unknown_parameter, unsupported_value, wrong_type};
use super::super::messages::IMAGE_TOKENS;
use super::super::schema_rules;
use crate::prompt::{Prompt, ToolOffer};
use crate::providers::Provider;
use crate::text::count_tokens;

type Object = Map<String, Value>;

const MEMBERS: &[&str] = &[
    "access_programs",
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];
const ROLES: &[&str] = &["assistant", "system", "developer", "user"];

/// A valid request.
pub(crate) struct ResponsesRequest {
    pub(crate) prompt: Prompt,
    /// Members of the response that repeat the request.
    pub(crate) repeated: Object,
    /// A summary of the reasoning was asked for.
    pub(crate) summary: bool,
    pub(crate) encrypted_reasoning: bool,
}

pub(crate) fn read(provider: Provider, body: &Value) -> Result<ResponsesRequest, ApiError> {
    let Value::Object(body) = body else {
        return Err(ApiError::invalid("Invalid request body: expected an object."));
    };
    let strict = strict(provider);
    if strict && let Some(error) = unknown_parameter(body, MEMBERS, "") {
        return Err(error);
    }
    let model = match fields::string(body, "model", "model")? {
        Some(model) if !model.is_empty() => model.to_owned(),
        _ => return Err(missing("model")),
    };
    if let Some(id) = fields::string(body, "previous_response_id", "previous_response_id")? {
        return Err(ApiError::invalid(format!("Previous response with id '{id}' not found."))
            .param("previous_response_id")
            .code("previous_response_not_found"));
    }
    let mut input = Input::default();
    if let Some(instructions) = fields::string(body, "instructions", "instructions")? {
        input.tokens += count_tokens(instructions);
    }
    input.read(body.get("input"), strict)?;
    let temperature = fields::decimal(body, "temperature", 0.0, 2.0)?;
    let top_p = fields::decimal(body, "top_p", 0.0, 1.0)?;
    let least = if strict { 16 } else { 1 };
    let max_output_tokens = fields::integer(body, "max_output_tokens", least, i64::MAX)?;
    let top_logprobs = fields::integer(body, "top_logprobs", 0, 20)?;
    let stream = fields::boolean(body, "stream")?.unwrap_or(false);
    let parallel = fields::boolean(body, "parallel_tool_calls")?.unwrap_or(true);
    let store = fields::boolean(body, "store")?.unwrap_or(true);
    let truncation =
        fields::choice(body, "truncation", &["auto", "disabled"])?.unwrap_or("disabled");
    if strict && is_reasoning_model(&model) && temperature.is_some_and(|t| (t - 1.0).abs() > 1e-9) {
        return Err(ApiError::invalid(
            "Unsupported parameter: 'temperature' is not supported with this model.",
        )
        .param("temperature"));
    }
    let tools = tools(body, strict)?;
    let tool_choice = match body.get("tool_choice") {
        // Choices among built-in tools are not played.
        Some(Value::Object(choice))
            if choice.get("type").is_some_and(|kind| kind != "function") =>
        {
            crate::prompt::ToolChoice::Auto
        }
        other => schema_rules::tool_choice(other, &tools, false)?,
    };
    let (schema, json_object) = format(body, strict)?;
    let reasoning = fields::object(body, "reasoning", "reasoning")?;
    let effort = reasoning.and_then(|reasoning| reasoning.get("effort")).and_then(Value::as_str);
    let summary = reasoning
        .and_then(|reasoning| reasoning.get("summary").or(reasoning.get("generate_summary")))
        .is_some_and(|summary| !summary.is_null());
    let includes = |name: &str| {
        body.get("include")
            .and_then(Value::as_array)
            .is_some_and(|included| included.iter().any(|item| item == name))
    };
    let given = |name: &str, default: Value| match body.get(name) {
        Some(value) if !value.is_null() => value.clone(),
        _ => default,
    };
    let described = ["tools", "text"]
        .iter()
        .filter_map(|name| body.get(*name))
        .map(|value| count_tokens(&value.to_string()))
        .sum::<u64>();
    let Value::Object(repeated) = json!({
        "background": given("background", json!(false)),
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": max_output_tokens,
        "max_tool_calls": given("max_tool_calls", Value::Null),
        "metadata": given("metadata", json!({})),
        "parallel_tool_calls": parallel,
        "previous_response_id": null,
        "prompt_cache_key": given("prompt_cache_key", Value::Null),
        "reasoning": {
            "effort": effort,
            "summary": reasoning.and_then(|reasoning| reasoning.get("summary")),
        },
        "safety_identifier": given("safety_identifier", Value::Null),
        "service_tier": "default",
        "store": store,
        "temperature": temperature.unwrap_or(1.0),
        "text": given("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        "tool_choice": given("tool_choice", json!("auto")),
        "tools": given("tools", json!([])),
        "top_logprobs": top_logprobs.unwrap_or(0),
        "top_p": top_p.unwrap_or(1.0),
        "truncation": truncation,
        "user": given("user", Value::Null),
    }) else {
        return Err(ApiError::invalid("Invalid request body: expected an object."));
    };
    Ok(ResponsesRequest {
        prompt: Prompt {
            provider,
            reasoning: (is_reasoning_model(&model) && effort != Some("none"))
                || (!strict && effort.is_some_and(|effort| effort != "none")),
            model,
            text: input.last_user_text,
            prompt_tokens: input.tokens + described + 3,
            tools,
            tool_choice,
            parallel_tools: parallel,
            tool_results: input.tool_results,
            schema,
            json_object,
            n: 1,
            max_tokens: max_output_tokens.and_then(|most| most.try_into().ok()),
            images: input.images,
            stream,
            ..Prompt::default()
        },
        repeated,
        summary,
        encrypted_reasoning: includes("reasoning.encrypted_content"),
    })
}

#[derive(Default)]
struct Input {
    last_user_text: String,
    tool_results: Vec<String>,
    tokens: u64,
    images: usize,
    /// Calls without an output yet, and all calls seen.
    open_calls: Vec<String>,
}

impl Input {
    fn read(&mut self, value: Option<&Value>, strict: bool) -> Result<(), ApiError> {
        match value {
            None | Some(Value::Null) => Err(ApiError::invalid(
                "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' \
                 must be provided.",
            )
            .code("missing_required_parameter")),
            Some(Value::String(text)) => {
                self.tokens += count_tokens(text);
                self.last_user_text.clone_from(text);
                Ok(())
            }
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("input[{index}]");
                    let Value::Object(item) = item else {
                        return Err(wrong_type(&path, "an object", item));
                    };
                    self.item(item, &path, strict)?;
                }
                match self.open_calls.first() {
                    Some(id) if strict => Err(ApiError::invalid(format!(
                        "No tool output found for function call {id}."
                    ))
                    .param("input")),
                    _ => Ok(()),
                }
            }
            Some(other) => Err(wrong_type("input", "one of a string or array of objects", other)),
        }
    }

    fn item(&mut self, item: &Object, path: &str, strict: bool) -> Result<(), ApiError> {
        let kind = fields::string(item, "type", &format!("{path}.type"))?.unwrap_or("message");
        let text = |name: &str| -> Result<&str, ApiError> {
            let path = format!("{path}.{name}");
            fields::string(item, name, &path)?.ok_or_else(|| missing(&path))
        };
        match kind {
            "message" => self.message(item, path),
            "function_call" => {
                let id = text("call_id")?.to_owned();
                self.tokens += 4 + count_tokens(text("name")?) + count_tokens(text("arguments")?);
                self.tool_results.clear();
                self.open_calls.push(id);
                Ok(())
            }
            "function_call_output" => {
                let id = text("call_id")?;
                match self.open_calls.iter().position(|open| open == id) {
                    Some(at) => {
                        self.open_calls.remove(at);
                    }
                    None if strict => {
                        return Err(ApiError::invalid(format!(
                            "No tool call found for function call output with call_id {id}."
                        ))
                        .param("input"));
                    }
                    None => {}
                }
                let output = match item.get("output") {
                    Some(Value::String(output)) => output.clone(),
                    Some(Value::Array(parts)) => {
                        let texts = parts.iter().filter_map(|part| part["text"].as_str());
                        texts.collect::<Vec<_>>().join("\n")
                    }
                    Some(other) => {
                        let path = format!("{path}.output");
                        return Err(wrong_type(
                            &path,
                            "one of a string or array of objects",
                            other,
                        ));
                    }
                    None => return Err(missing(format_args!("{path}.output"))),
                };
                self.tokens += count_tokens(&output);
                self.tool_results.push(output);
                Ok(())
            }
            "reasoning"
            | "item_reference"
            | "web_search_call"
            | "file_search_call"
            | "computer_call"
            | "computer_call_output"
            | "code_interpreter_call"
            | "image_generation_call"
            | "mcp_call"
            | "mcp_list_tools"
            | "custom_tool_call"
            | "custom_tool_call_output"
            | "compaction" => Ok(()),
            other => Err(unsupported_value(
                format_args!("{path}.type"),
                other,
                &[
                    "message",
                    "function_call",
                    "function_call_output",
                    "reasoning",
                    "item_reference",
                ],
            )),
        }
    }

    fn message(&mut self, item: &Object, path: &str) -> Result<(), ApiError> {
        let role_path = format!("{path}.role");
        let role = fields::string(item, "role", &role_path)?.ok_or_else(|| missing(&role_path))?;
        if !ROLES.contains(&role) {
            return Err(unsupported_value(&role_path, role, ROLES));
        }
        let path = format!("{path}.content");
        let text = match item.get("content") {
            Some(Value::String(text)) => {
                self.tokens += count_tokens(text);
                text.clone()
            }
            Some(Value::Array(parts)) => self.parts(parts, role, &path)?,
            Some(other) => {
                return Err(wrong_type(&path, "one of a string or array of objects", other));
            }
            None => return Err(missing(&path)),
        };
        self.tokens += 4;
        if role == "user" || role == "assistant" {
            self.tool_results.clear();
        }
        if role == "user" {
            self.last_user_text = text;
        }
        Ok(())
    }

    fn parts(&mut self, parts: &[Value], role: &str, path: &str) -> Result<String, ApiError> {
        let supported: &[&str] = if role == "assistant" {
            &["output_text", "refusal"]
        } else {
            &["input_text", "input_image", "input_file"]
        };
        let mut texts = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Value::Object(part) = part else {
                return Err(wrong_type(&path, "an object", part));
            };
            let kind_path = format!("{path}.type");
            let kind =
                fields::string(part, "type", &kind_path)?.ok_or_else(|| missing(&kind_path))?;
            if !supported.contains(&kind) {
                return Err(unsupported_value(&path, kind, supported));
            }
            match kind {
                "input_image" => {
                    let has = |name: &str| part.get(name).is_some_and(|value| value.is_string());
                    if !has("image_url") && !has("file_id") {
                        return Err(missing(format_args!("{path}.image_url")));
                    }
                    self.images += 1;
                    self.tokens += IMAGE_TOKENS;
                }
                "input_file" => self.tokens += IMAGE_TOKENS,
                _ => {
                    let name = if kind == "refusal" { "refusal" } else { "text" };
                    let path = format!("{path}.{name}");
                    let text = fields::string(part, name, &path)?.ok_or_else(|| missing(&path))?;
                    self.tokens += count_tokens(text);
                    texts.push(text);
                }
            }
        }
        Ok(texts.join("\n"))
    }
}

fn tools(body: &Object, strict: bool) -> Result<Vec<ToolOffer>, ApiError> {
    let Some(tools) = fields::array(body, "tools", "an array of objects")? else {
        return Ok(Vec::new());
    };
    let mut offers = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let Value::Object(tool) = tool else { return Err(wrong_type(&path, "an object", tool)) };
        let kind_path = format!("{path}.type");
        match fields::string(tool, "type", &kind_path)? {
            Some("function") => {
                if strict
                    && let Some(error) = unknown_parameter(
                        tool,
                        &[
                            "type",
                            "name",
                            "description",
                            "parameters",
                            "strict",
                            "async",
                            "defer_loading",
                        ],
                        format_args!("{path}."),
                    )
                {
                    return Err(error);
                }
                offers.push(schema_rules::function(tool, &path, strict)?);
            }
            Some(_) => {}
            None => return Err(missing(&kind_path)),
        }
    }
    Ok(offers)
}

fn format(body: &Object, strict: bool) -> Result<(Option<Value>, bool), ApiError> {
    let Some(text) = fields::object(body, "text", "text")? else { return Ok((None, false)) };
    let Some(format) = fields::object(text, "format", "text.format")? else {
        return Ok((None, false));
    };
    match fields::string(format, "type", "text.format.type")? {
        None => Err(missing("text.format.type")),
        Some("text") => Ok((None, false)),
        Some("json_object") => Ok((None, true)),
        Some("json_schema") => {
            let name = fields::string(format, "name", "text.format.name")?
                .ok_or_else(|| missing("text.format.name"))?;
            let schema = format.get("schema").ok_or_else(|| missing("text.format.schema"))?;
            if strict
                && format.get("strict") == Some(&Value::Bool(true))
                && let Some(fault) = schema_rules::strict_fault(schema)
            {
                let message = format!("Invalid schema for response_format '{name}': {fault}");
                return Err(ApiError::invalid(message)
                    .param("text.format.schema")
                    .code("invalid_json_schema"));
            }
            Ok((Some(schema.clone()), false))
        }
        Some(other) => Err(unsupported_value(
            "text.format.type",
            other,
            &["json_object", "json_schema", "text"],
        )),
    }
}
