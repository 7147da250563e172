use chat::{
    ApiError, Audience, ChatRequest, ExtraMembers, File, Image, ImageDetail, JsonSchema,
    MediaSource, Message, Part, Reasoning, ReasoningEffort, ReasoningRequest, ResponseFormat, Role,
    Sampling, Tool, ToolCall, ToolChoice, ToolResult,
};

use super::request_wire::{
    CalledWire, ContentWire, DetailWire, EffortWire, FormatKindWire, FunctionWire, MessageWire,
    ModeWire, PartWire, RequestWire, ResponseFormatWire, RoleWire, StopWire, ToolChoiceWire,
};
use crate::{allowed_tools, decode_json};

/// Most stop texts that OpenAI takes.
const MAX_STOPS: usize = 4;

/// Reads the body of `POST /v1/chat/completions`.
///
/// # Errors
/// A 400 that names the member.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let wire: RequestWire = decode_json(body)?;
    let missing = |name: &'static str| {
        ApiError::invalid(name, format!("`{name}` is missing"))
            .with_code("missing_required_parameter")
    };
    let model = wire.model.ok_or_else(|| missing("model"))?;
    let wire_messages = wire.messages.ok_or_else(|| missing("messages"))?;
    if wire_messages.is_empty() {
        return Err(ApiError::invalid("messages", "`messages` is empty; one is needed at least")
            .with_code("empty_array"));
    }
    let mut messages = Vec::with_capacity(wire_messages.len());
    for (number, message) in wire_messages.into_iter().enumerate() {
        let message = read_message(message, &messages).map_err(|fault| {
            let param = format!("messages[{number}]{}", fault.member);
            ApiError::invalid(param.clone(), format!("`{param}`: {}", fault.reason))
        })?;
        messages.push(message);
    }
    let mut tools = Vec::new();
    for (number, tool) in wire.tools.unwrap_or_default().into_iter().enumerate() {
        match tool.function {
            Some(function) if tool.kind == "function" => tools.push(read_tool(function)),
            _ => {
                return Err(ApiError::invalid(
                    format!("tools[{number}].type"),
                    format!(
                        "tools of type `{}` cannot be offered to this model; use `function`",
                        tool.kind
                    ),
                ));
            }
        }
    }
    tools.extend(wire.functions.unwrap_or_default().into_iter().map(read_tool));
    let tool_choice = match wire.tool_choice.or(wire.function_call) {
        Some(choice) => Some(read_choice(choice, &mut tools)?),
        None => None,
    };
    if tools.is_empty() && matches!(tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)))
    {
        return Err(ApiError::invalid("tool_choice", "`tool_choice` needs `tools` to choose from"));
    }
    if let Some(ToolChoice::Named(name)) = &tool_choice
        && !tools.iter().any(|tool| tool.name == *name)
    {
        return Err(not_offered(name));
    }
    let stop = match wire.stop {
        None => Vec::new(),
        Some(StopWire::Text(text)) => vec![text],
        Some(StopWire::List(list)) if list.len() > MAX_STOPS => {
            return Err(ApiError::invalid("stop", "`stop` takes at most 4 texts"));
        }
        Some(StopWire::List(list)) => list,
    };
    let top_logprobs = match (wire.logprobs.unwrap_or(false), wire.top_logprobs) {
        (false, Some(1..)) => {
            return Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs: true`"));
        }
        (_, Some(21..)) => {
            return Err(ApiError::invalid("top_logprobs", "`top_logprobs` is 20 at most"));
        }
        (wanted, alternatives) => wanted.then(|| alternatives.unwrap_or(0)),
    };
    if wire.n == Some(0) {
        return Err(ApiError::invalid("n", "`n` must be at least 1"));
    }
    Ok(ChatRequest {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls: wire.parallel_tool_calls,
        response_format: read_format(wire.response_format)?,
        sampling: Sampling {
            temperature: wire.temperature,
            top_p: wire.top_p,
            top_k: wire.top_k,
            frequency_penalty: wire.frequency_penalty,
            presence_penalty: wire.presence_penalty,
            repetition_penalty: wire.repetition_penalty,
            seed: wire.seed,
            logit_bias: wire.logit_bias,
        },
        max_output_tokens: wire.max_completion_tokens.or(wire.max_tokens),
        stop,
        choice_count: wire.n,
        top_logprobs,
        reasoning: wire.reasoning_effort.map(|effort| ReasoningRequest {
            effort: Some(read_effort(effort)),
            budget_tokens: None,
            visible: true,
        }),
        // A caller's `verbosity` is among the members that pass as they came.
        verbosity: None,
        truncate: false,
        stream: wire.stream.unwrap_or(false),
        stream_usage: wire.stream_options.and_then(|options| options.include_usage) == Some(true),
        user: wire.user,
        metadata: wire.metadata,
        extra: ExtraMembers { audience: Some(Audience::OpenAiChat), members: wire.extra },
    })
}

/// What is wrong with a message, and with which member of it.
struct MessageFault {
    member: &'static str,
    reason: String,
}

fn fault(member: &'static str, reason: impl Into<String>) -> MessageFault {
    MessageFault { member, reason: reason.into() }
}

fn read_message(wire: MessageWire, before: &[Message]) -> Result<Message, MessageFault> {
    let role = wire.role.ok_or_else(|| {
        fault(".role", "is missing; it is system, developer, user, assistant or tool")
    })?;
    if matches!(role, RoleWire::Tool | RoleWire::Function) {
        return read_result(role, wire, before);
    }
    let mut parts = Vec::new();
    if let Some(text) = wire.reasoning_content.filter(|text| !text.is_empty()) {
        parts.push(Part::Reasoning(Reasoning { text, ..Reasoning::default() }));
    }
    let calls = wire.tool_calls.unwrap_or_default();
    if wire.content.is_none()
        && (role != RoleWire::Assistant
            || (calls.is_empty() && wire.function_call.is_none() && wire.refusal.is_none()))
    {
        return Err(fault(".content", "is missing; give a string or an array of parts"));
    }
    parts.extend(read_content(wire.content)?);
    if let Some(refusal) = wire.refusal {
        parts.push(Part::Refusal(refusal));
    }
    if role != RoleWire::Assistant && !calls.is_empty() {
        return Err(fault(".tool_calls", "only an assistant calls tools"));
    }
    parts.extend(calls.into_iter().map(|call| read_call(call.id, call.function)));
    if let Some(call) = wire.function_call {
        // The deprecated form has no ids: its result follows at once and names the function.
        parts.push(read_call(format!("call_{}", call.name), call));
    }
    let role = match role {
        RoleWire::System => Role::System,
        RoleWire::Developer => Role::Developer,
        RoleWire::User => Role::User,
        RoleWire::Assistant | RoleWire::Tool | RoleWire::Function => Role::Assistant,
    };
    Ok(Message { role, parts, name: wire.name })
}

fn read_call(id: String, called: CalledWire) -> Part {
    Part::ToolCall(ToolCall { id, name: called.name, arguments: called.arguments })
}

fn read_result(
    role: RoleWire,
    wire: MessageWire,
    before: &[Message],
) -> Result<Message, MessageFault> {
    let call_id = match (role, wire.tool_call_id, &wire.name) {
        (_, Some(id), _) => id,
        (RoleWire::Function, None, Some(name)) => format!("call_{name}"),
        _ => return Err(fault(".tool_call_id", "is missing; name the call that this answers")),
    };
    let called =
        before.iter().rev().flat_map(|message| &message.parts).find_map(|part| match part {
            Part::ToolCall(call) if call.id == call_id => Some(call.name.clone()),
            _ => None,
        });
    if called.is_none() {
        return Err(fault(
            ".tool_call_id",
            "answers a call that no earlier assistant message has made",
        ));
    }
    let result = ToolResult {
        call_id,
        name: wire.name.or(called),
        content: read_content(wire.content)?,
        is_error: false,
    };
    Ok(Message { role: Role::Tool, parts: vec![Part::ToolResult(result)], name: None })
}

fn read_content(content: Option<ContentWire>) -> Result<Vec<Part>, MessageFault> {
    match content {
        None => Ok(Vec::new()),
        Some(ContentWire::Text(text)) => Ok(vec![Part::text(text)]),
        Some(ContentWire::List(parts)) => parts.into_iter().map(read_part).collect(),
    }
}

fn read_part(part: PartWire) -> Result<Part, MessageFault> {
    Ok(match part {
        PartWire::Text { text } => Part::text(text),
        PartWire::Refusal { refusal } => Part::Refusal(refusal),
        PartWire::ImageUrl { image_url } => Part::Image(Image {
            source: read_url(image_url.url)?,
            detail: image_url.detail.map(|detail| match detail {
                DetailWire::Auto => ImageDetail::Auto,
                DetailWire::Low => ImageDetail::Low,
                DetailWire::High => ImageDetail::High,
            }),
            cache_control: None,
        }),
        PartWire::InputAudio { input_audio } => Part::File(File {
            source: MediaSource::Base64 {
                media_type: format!("audio/{}", input_audio.format),
                data: input_audio.data,
            },
            name: None,
        }),
        PartWire::File { file } => {
            let source = match (file.file_id, file.file_data) {
                (Some(id), _) => MediaSource::FileId(id),
                (None, Some(data)) if data.starts_with("data:") => read_url(data)?,
                (None, Some(data)) => {
                    MediaSource::Base64 { media_type: "application/pdf".to_owned(), data }
                }
                (None, None) => return Err(fault(".content", "a file needs file_id or file_data")),
            };
            Part::File(File { source, name: file.filename })
        }
    })
}

/// An address, or the bytes that a `data:` URL (RFC 2397) holds.
fn read_url(url: String) -> Result<MediaSource, MessageFault> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(MediaSource::Url(url)) };
    match rest.split_once(";base64,") {
        Some((media_type, data)) if !media_type.is_empty() && !data.is_empty() => {
            Ok(MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
        }
        _ => Err(fault(".content", "a data URL must be `data:TYPE;base64,DATA`")),
    }
}

fn read_tool(function: FunctionWire) -> Tool {
    Tool {
        name: function.name,
        description: function.description,
        parameters: function.parameters,
        strict: function.strict,
        cache_control: None,
    }
}

fn read_mode(mode: ModeWire) -> ToolChoice {
    match mode {
        ModeWire::Auto => ToolChoice::Auto,
        ModeWire::None => ToolChoice::None,
        ModeWire::Required => ToolChoice::Required,
    }
}

fn not_offered(name: &str) -> ApiError {
    ApiError::invalid(
        "tool_choice",
        format!("`tool_choice` names the function `{name}`, which `tools` does not offer"),
    )
}

/// The choice; `allowed_tools` also narrows `tools`.
fn read_choice(choice: ToolChoiceWire, tools: &mut Vec<Tool>) -> Result<ToolChoice, ApiError> {
    Ok(match choice {
        ToolChoiceWire::Mode(mode) => read_mode(mode),
        ToolChoiceWire::Named { function } | ToolChoiceWire::Function(function) => {
            ToolChoice::Named(function.name)
        }
        ToolChoiceWire::Allowed { allowed_tools: allowed } => {
            let names: Vec<&str> =
                allowed.tools.iter().map(|tool| tool.function.name.as_str()).collect();
            allowed_tools::narrow(tools, &names).map_err(not_offered)?;
            read_mode(allowed.mode)
        }
    })
}

fn read_format(wire: Option<ResponseFormatWire>) -> Result<ResponseFormat, ApiError> {
    let Some(wire) = wire else { return Ok(ResponseFormat::Text) };
    match (wire.kind, wire.json_schema) {
        (FormatKindWire::Text, _) => Ok(ResponseFormat::Text),
        (FormatKindWire::JsonObject, _) => Ok(ResponseFormat::JsonObject),
        (FormatKindWire::JsonSchema, Some(format)) => {
            let schema = format.schema.ok_or_else(|| {
                ApiError::invalid(
                    "response_format.json_schema.schema",
                    "`response_format.json_schema.schema` is missing",
                )
            })?;
            Ok(ResponseFormat::JsonSchema(JsonSchema {
                name: format.name,
                description: format.description,
                schema,
                strict: format.strict,
            }))
        }
        (FormatKindWire::JsonSchema, None) => Err(ApiError::invalid(
            "response_format.json_schema",
            "`response_format.json_schema` is missing",
        )),
    }
}

fn read_effort(effort: EffortWire) -> ReasoningEffort {
    match effort {
        EffortWire::None => ReasoningEffort::None,
        EffortWire::Minimal => ReasoningEffort::Minimal,
        EffortWire::Low => ReasoningEffort::Low,
        EffortWire::Medium => ReasoningEffort::Medium,
        EffortWire::High => ReasoningEffort::High,
        EffortWire::Xhigh => ReasoningEffort::ExtraHigh,
    }
}
