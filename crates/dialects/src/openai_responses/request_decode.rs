//! A caller's request, read into the canonical exchange.

use chat::{
    ApiError, Audience, ChatRequest, ExtraMembers, Json, JsonSchema, Message, ReasoningEffort,
    ReasoningRequest, ResponseFormat, Role, Sampling, Tool, ToolChoice, Verbosity,
};
use serde::Deserialize;

use super::echo::Echo;
use super::input_decode;
use super::request_wire::{
    WireFormat, WireReasoning, WireRequest, WireText, WireTool, WireToolChoice,
};
use crate::{allowed_tools, decode_json};

/// A request, and what its response must repeat of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DecodedRequest {
    /// The canonical request.
    pub chat: ChatRequest,
    /// For [`encode_response`](super::encode_response) and
    /// [`StreamEncoder`](super::StreamEncoder).
    pub echo: Echo,
    /// Whether an answer is wanted; a WebSocket's `response.create` may only announce (`generate:
    /// false`).
    pub generate: bool,
}

/// Reads the body of `POST /v1/responses`.
///
/// # Errors
/// A 400 in OpenAI's words. What needs stored state (`previous_response_id`, `conversation`,
/// `background`) and tools that run at OpenAI are refused by name.
pub fn decode_request(body: &[u8]) -> Result<DecodedRequest, ApiError> {
    decode(decode_json(body)?)
}

pub(super) fn missing(path: &str) -> ApiError {
    ApiError::invalid(path, format!("Missing required parameter: '{path}'."))
        .with_code("missing_required_parameter")
}

fn invalid_value(path: &str, value: &str, supported: &str) -> ApiError {
    ApiError::invalid(path, format!("Invalid value: '{value}'. Supported values are: {supported}."))
        .with_code("invalid_value")
}

fn stateful(member: &str, remedy: &str) -> ApiError {
    ApiError::invalid(
        member,
        format!("'{member}' needs stored responses, and none are stored here; {remedy}"),
    )
    .with_code("unsupported_parameter")
}

fn refuse_state(wire: &WireRequest) -> Result<(), ApiError> {
    const RESEND: &str = "send the whole conversation in 'input', the items of earlier answers \
                          included";
    if wire.previous_response_id.is_some() {
        return Err(stateful("previous_response_id", RESEND));
    }
    if wire.conversation.is_some() {
        return Err(stateful("conversation", RESEND));
    }
    if wire.prompt.is_some() {
        return Err(stateful("prompt", "send the prompt's text in 'instructions' and 'input'"));
    }
    if wire.background == Some(true) {
        return Err(stateful("background", "leave it out, and set 'stream' for a long answer"));
    }
    Ok(())
}

fn decode(wire: WireRequest) -> Result<DecodedRequest, ApiError> {
    refuse_state(&wire)?;
    let model = wire.model.filter(|model| !model.is_empty()).ok_or_else(|| missing("model"))?;
    let mut messages = Vec::new();
    if let Some(instructions) = &wire.instructions {
        messages.push(Message::text(Role::System, instructions));
    }
    match wire.input {
        Some(input) => input_decode::input(input, &mut messages)?,
        None => return Err(missing("input")),
    }
    let mut tools = tools(&wire.tools)?;
    let tool_choice = match &wire.tool_choice {
        Some(choice) => Some(tool_choice(choice, &mut tools)?),
        None => None,
    };
    let include = wire.include.unwrap_or_default();
    let logprobs_included = include.iter().any(|name| name == "message.output_text.logprobs");
    let top_logprobs = match wire.top_logprobs {
        Some(count) if count > 20 => {
            return Err(ApiError::invalid(
                "top_logprobs",
                "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20.",
            )
            .with_code("integer_above_max_value"));
        }
        Some(0) | None if !logprobs_included => None,
        count => Some(count.unwrap_or(0)),
    };
    let text = wire.text.unwrap_or(WireText { format: None, verbosity: None });
    let verbosity = match text.verbosity.as_deref() {
        None | Some("medium") => None,
        Some("low") => Some(Verbosity::Low),
        Some("high") => Some(Verbosity::High),
        Some(other) => {
            return Err(invalid_value("text.verbosity", other, "'low', 'medium', and 'high'"));
        }
    };
    let truncate = match wire.truncation.as_deref() {
        None | Some("disabled") => false,
        Some("auto") => true,
        Some(other) => return Err(invalid_value("truncation", other, "'auto' and 'disabled'")),
    };
    let response_format = match &text.format {
        Some(format) => response_format(format)?,
        None => ResponseFormat::Text,
    };
    let (reasoning, effort, summary) = match wire.reasoning {
        Some(reasoning) => read_reasoning(reasoning)?,
        None => (None, None, None),
    };
    let echo = Echo {
        instructions: wire.instructions,
        max_output_tokens: wire.max_output_tokens,
        metadata: wire.metadata.clone(),
        parallel_tool_calls: wire.parallel_tool_calls,
        effort,
        summary,
        temperature: wire.temperature,
        top_p: wire.top_p,
        format: text.format,
        verbosity: text.verbosity,
        tool_choice: wire.tool_choice,
        tools: wire.tools.unwrap_or_default(),
        top_logprobs: wire.top_logprobs,
        user: wire.user.clone(),
        safety_identifier: wire.safety_identifier.clone(),
        prompt_cache_key: wire.prompt_cache_key,
        wants_logprobs: top_logprobs.is_some(),
        stream_id: wire.stream_id,
    };
    let audience = (!wire.extra.is_empty()).then_some(Audience::OpenAiResponses);
    let chat = ChatRequest {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: wire.parallel_tool_calls,
        response_format,
        sampling: Sampling {
            temperature: wire.temperature,
            top_p: wire.top_p,
            ..Sampling::default()
        },
        max_output_tokens: wire.max_output_tokens,
        top_logprobs,
        reasoning,
        verbosity,
        truncate,
        stream: wire.stream.unwrap_or(false),
        stream_usage: true,
        user: wire.user.or(wire.safety_identifier),
        metadata: wire.metadata,
        extra: ExtraMembers { audience, members: wire.extra },
        ..ChatRequest::default()
    };
    Ok(DecodedRequest { chat, echo, generate: wire.generate.unwrap_or(true) })
}

/// Reads a member that was kept as text, so that it can be repeated as it came.
fn read<'a, T: Deserialize<'a>>(json: &'a Json, path: &str) -> Result<T, ApiError> {
    serde_json::from_str(json.get()).map_err(|error| {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        ApiError::invalid(path, format!("Invalid value for '{path}': {reason}."))
    })
}

fn tools(wire: &Option<Vec<Json>>) -> Result<Vec<Tool>, ApiError> {
    let mut tools = Vec::new();
    for (index, json) in wire.iter().flatten().enumerate() {
        let path = format!("tools[{index}]");
        let tool: WireTool = read(json, &path)?;
        if tool.kind != "function" {
            return Err(ApiError::invalid(
                format!("{path}.type"),
                format!(
                    "the built-in tool '{}' runs at OpenAI and cannot be had from this model; use \
                     tools of type 'function'",
                    tool.kind
                ),
            )
            .with_code("unsupported_tool"));
        }
        tools.push(Tool {
            name: tool.name.ok_or_else(|| missing(&format!("{path}.name")))?,
            description: tool.description,
            parameters: tool.parameters,
            strict: tool.strict,
            cache_control: None,
        });
    }
    Ok(tools)
}

/// The choice; `allowed_tools` also narrows `tools`.
fn tool_choice(json: &Json, tools: &mut Vec<Tool>) -> Result<ToolChoice, ApiError> {
    const PATH: &str = "tool_choice";
    let invalid = |value: &str| {
        ApiError::invalid(
            PATH,
            format!(
                "Invalid value: '{value}'. Supported values are: 'none', 'auto', 'required', or a \
                 tool of type 'function' or 'allowed_tools'."
            ),
        )
        .with_code("invalid_value")
    };
    let not_found = |name: &str| {
        ApiError::invalid(
            PATH,
            format!("Tool choice 'function' not found in 'tools' parameter: '{name}'."),
        )
    };
    let mode = |mode: &str| match mode {
        "none" => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" => Ok(ToolChoice::Required),
        other => Err(invalid(other)),
    };
    if json.get().starts_with('"') {
        return mode(&read::<String>(json, PATH)?);
    }
    let choice: WireToolChoice = read(json, PATH)?;
    match choice.kind.as_str() {
        "function" => {
            let name = choice.name.ok_or_else(|| missing("tool_choice.name"))?;
            if !tools.iter().any(|tool| tool.name == name) {
                return Err(not_found(&name));
            }
            Ok(ToolChoice::Named(name))
        }
        "allowed_tools" => {
            let allowed = choice.tools.ok_or_else(|| missing("tool_choice.tools"))?;
            let names: Vec<&str> =
                allowed.iter().map(|tool| tool.name.as_deref().unwrap_or(&tool.kind)).collect();
            allowed_tools::narrow(tools, &names).map_err(not_found)?;
            let mode = mode(choice.mode.as_deref().unwrap_or("auto"))?;
            if mode == ToolChoice::Required && tools.is_empty() {
                return Err(missing("tool_choice.tools[0]"));
            }
            Ok(mode)
        }
        other => Err(invalid(other)),
    }
}

fn response_format(json: &Json) -> Result<ResponseFormat, ApiError> {
    let format: WireFormat = read(json, "text.format")?;
    match format.kind.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => Ok(ResponseFormat::JsonSchema(JsonSchema {
            name: format.name.ok_or_else(|| missing("text.format.name"))?,
            description: format.description,
            schema: format.schema.ok_or_else(|| missing("text.format.schema"))?,
            strict: format.strict,
        })),
        other => Err(ApiError::invalid(
            "text.format.type",
            format!(
                "Invalid value: '{other}'. Supported values are: 'text', 'json_object', and \
                 'json_schema'."
            ),
        )
        .with_code("invalid_value")),
    }
}

type ReadReasoning = (Option<ReasoningRequest>, Option<String>, Option<String>);

/// The canonical request for thinking, and effort and summary as they came.
fn read_reasoning(wire: WireReasoning) -> Result<ReadReasoning, ApiError> {
    let effort = match wire.effort.as_deref() {
        None => None,
        Some("none") => Some(ReasoningEffort::None),
        Some("minimal") => Some(ReasoningEffort::Minimal),
        Some("low") => Some(ReasoningEffort::Low),
        Some("medium") => Some(ReasoningEffort::Medium),
        Some("high") => Some(ReasoningEffort::High),
        Some("xhigh" | "max") => Some(ReasoningEffort::ExtraHigh),
        Some(other) => {
            let supported = "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'";
            return Err(invalid_value("reasoning.effort", other, supported));
        }
    };
    let summary = wire.summary.or(wire.generate_summary);
    let visible = summary.is_some();
    let request = (effort.is_some() || visible).then_some(ReasoningRequest {
        effort,
        budget_tokens: None,
        visible,
    });
    Ok((request, wire.effort, summary))
}
