//! A caller's request, read into the canonical exchange.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chat::{
    ApiError, Audience, ChatRequest, ErrorKind, ExtraMembers, File, Image, Json, JsonSchema,
    MediaSource, Message, Part, Reasoning, ResponseFormat, Role, Sampling, Text, Tool, ToolCall,
    ToolChoice, ToolResult,
};

use super::OUTPUT_CONFIG;
use super::request_checks;
use super::request_wire::{
    WireBlock, WireContent, WireMessage, WireOutputFormat, WireRequest, WireSource, WireTool,
    WireToolChoice,
};
use super::thinking;
use crate::decode_json;

/// What happens to blocks and tools that only Anthropic's own servers understand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Foreign {
    /// A 400 that names them.
    Refused,
    /// Passed over: what is only counted is served by nobody.
    PassedOver,
}

/// Reads the body of `POST /v1/messages`.
///
/// # Errors
/// A 400 in Anthropic's words. Tools and blocks that only Anthropic's servers can serve (web
/// search, code execution) are refused by name.
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, ApiError> {
    decode(body, Foreign::Refused, true)
}

/// Reads the body of `POST /v1/messages/count_tokens`, which has no `max_tokens`.
///
/// # Errors
/// A 400 in Anthropic's words.
pub fn decode_count_tokens_request(body: &[u8]) -> Result<ChatRequest, ApiError> {
    decode(body, Foreign::PassedOver, false)
}

fn decode(body: &[u8], foreign: Foreign, generates: bool) -> Result<ChatRequest, ApiError> {
    let wire: WireRequest = decode_json(body)?;
    let model = wire.model.filter(|model| !model.is_empty()).ok_or_else(|| required("model"))?;
    if generates && wire.max_tokens.is_none() {
        return Err(required("max_tokens"));
    }
    let wire_messages = wire.messages.ok_or_else(|| required("messages"))?;
    let reasoning =
        thinking::decode(wire.thinking.as_ref(), wire.output_config.as_ref(), wire.max_tokens)?;
    request_checks::ranges(wire.temperature, wire.top_p)?;

    let mut messages = Vec::with_capacity(wire_messages.len() + 1);
    if let Some(system) = wire.system {
        let parts = content(system, "system", foreign)?;
        if !parts.is_empty() {
            messages.push(Message { role: Role::System, parts, name: None });
        }
    }
    let mut pairing = request_checks::ToolPairing::default();
    let mut turns = 0usize;
    for (index, wire_message) in wire_messages.into_iter().enumerate() {
        turns += usize::from(wire_message.role != "system");
        if turns == 1 && wire_message.role == "assistant" {
            return Err(ApiError::invalid(
                "messages.0.role",
                "messages: first message must use the \"user\" role",
            ));
        }
        message(wire_message, index, foreign, &mut pairing, &mut messages)?;
    }
    if turns == 0 {
        return Err(ApiError::invalid("messages", "messages: at least one message is required"));
    }
    if foreign == Foreign::Refused {
        pairing.finish()?;
    }

    let (tools, only_foreign_tools) = tools(wire.tools.unwrap_or_default(), foreign)?;
    let (tool_choice, parallel_tool_calls) = match wire.tool_choice {
        Some(choice) => tool_choice(choice, &tools, only_foreign_tools)?,
        None => (None, None),
    };
    let mut extra = wire.extra;
    let config = wire.output_config.unwrap_or_default();
    let of_config = config.extra.into_iter();
    extra.extend(of_config.map(|(name, value)| (format!("{OUTPUT_CONFIG}{name}"), value)));
    // `output_format` is what the member was called in its beta.
    let response_format = match config.format.or(wire.output_format) {
        Some(format) => output_format(format)?,
        None => ResponseFormat::Text,
    };
    let audience = (!extra.is_empty()).then_some(Audience::Anthropic);
    Ok(ChatRequest {
        model,
        messages,
        tools,
        tool_choice,
        parallel_tool_calls,
        response_format,
        sampling: Sampling {
            temperature: wire.temperature,
            top_p: wire.top_p,
            top_k: wire.top_k,
            ..Sampling::default()
        },
        max_output_tokens: wire.max_tokens,
        stop: wire.stop_sequences.unwrap_or_default(),
        reasoning,
        stream: wire.stream.unwrap_or(false),
        stream_usage: true,
        user: wire.metadata.and_then(|metadata| metadata.user_id),
        extra: ExtraMembers { audience, members: extra },
        ..ChatRequest::default()
    })
}

fn required(member: &str) -> ApiError {
    ApiError::invalid(member, format!("{member}: Field required"))
}

/// Appends one turn: tool results become messages of their own role, before the rest.
fn message(
    wire: WireMessage,
    index: usize,
    foreign: Foreign,
    pairing: &mut request_checks::ToolPairing,
    messages: &mut Vec<Message>,
) -> Result<(), ApiError> {
    let path = format!("messages.{index}");
    let role = match wire.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            return Err(ApiError::invalid(
                format!("{path}.role"),
                format!("{path}.role: Unexpected role \"{other}\"; use \"user\" or \"assistant\""),
            ));
        }
    };
    let parts = content(wire.content, &format!("{path}.content"), foreign)?;
    if foreign == Foreign::Refused {
        pairing.turn(index, role, &parts)?;
    }
    let (results, rest): (Vec<Part>, Vec<Part>) =
        parts.into_iter().partition(|part| matches!(part, Part::ToolResult(_)));
    if !results.is_empty() {
        messages.push(Message { role: Role::Tool, parts: results, name: None });
    }
    if !rest.is_empty() {
        messages.push(Message { role, parts: rest, name: None });
    }
    Ok(())
}

fn content(wire: WireContent, path: &str, foreign: Foreign) -> Result<Vec<Part>, ApiError> {
    match wire {
        WireContent::Text(text) if text.is_empty() => Ok(Vec::new()),
        WireContent::Text(text) => Ok(vec![Part::text(text)]),
        WireContent::List(blocks) => {
            let mut parts = Vec::with_capacity(blocks.len());
            for (index, wire_block) in blocks.into_iter().enumerate() {
                block(wire_block, &|| format!("{path}.{index}"), foreign, &mut parts)?;
            }
            Ok(parts)
        }
    }
}

fn block(
    wire: WireBlock,
    path: &dyn Fn() -> String,
    foreign: Foreign,
    parts: &mut Vec<Part>,
) -> Result<(), ApiError> {
    let missing = |member: &str| {
        let path = path();
        let message = format!("{path}.{}.{member}: Field required", wire.kind);
        ApiError::invalid(format!("{path}.{member}"), message)
    };
    let part = match wire.kind.as_str() {
        "text" => {
            let text = wire.text.ok_or_else(|| missing("text"))?;
            if text.is_empty() {
                return Err(ApiError::invalid(
                    format!("{}.text", path()),
                    format!("{}: text content blocks must be non-empty", path()),
                ));
            }
            Part::Text(Text { text, cache_control: wire.cache_control })
        }
        "image" => {
            let source = wire.source.ok_or_else(|| missing("source"))?;
            let source = media_source(*source, path)?;
            Part::Image(Image { source, detail: None, cache_control: wire.cache_control })
        }
        "document" => {
            let source = wire.source.ok_or_else(|| missing("source"))?;
            return document(*source, wire.title, path, foreign, parts);
        }
        "tool_use" => Part::ToolCall(ToolCall {
            id: wire.id.ok_or_else(|| missing("id"))?,
            name: wire.name.ok_or_else(|| missing("name"))?,
            arguments: object(wire.input, path, "tool_use.input")?.get().to_owned(),
        }),
        "tool_result" => Part::ToolResult(ToolResult {
            call_id: wire.tool_use_id.ok_or_else(|| missing("tool_use_id"))?,
            name: None,
            content: match wire.content {
                Some(inner) => content(inner, &format!("{}.content", path()), foreign)?,
                None => Vec::new(),
            },
            is_error: wire.is_error.unwrap_or(false),
        }),
        "thinking" => Part::Reasoning(Reasoning {
            text: wire.thinking.ok_or_else(|| missing("thinking"))?,
            signature: wire.signature.filter(|signature| !signature.is_empty()),
            encrypted: None,
        }),
        "redacted_thinking" => Part::Reasoning(Reasoning {
            encrypted: Some(wire.data.ok_or_else(|| missing("data"))?),
            ..Reasoning::default()
        }),
        _ if foreign == Foreign::PassedOver => return Ok(()),
        other => {
            return Err(ApiError::invalid(
                path(),
                format!(
                    "{}: blocks of type '{other}' are served by Anthropic itself only; choose a \
                     model at Anthropic, or send 'text', 'image', 'document', 'tool_use', \
                     'tool_result', 'thinking' or 'redacted_thinking'",
                    path()
                ),
            ));
        }
    };
    parts.push(part);
    Ok(())
}

/// The value of a member that must be an object.
fn object(value: Option<Json>, path: &dyn Fn() -> String, member: &str) -> Result<Json, ApiError> {
    let path = || format!("{}.{member}", path());
    let value = value.ok_or_else(|| required(&path()))?;
    if !value.get().starts_with('{') {
        return Err(ApiError::invalid(
            path(),
            format!("{}: Input should be a valid dictionary", path()),
        ));
    }
    Ok(value)
}

fn media_source(wire: WireSource, path: &dyn Fn() -> String) -> Result<MediaSource, ApiError> {
    let path = || format!("{}.source", path());
    let missing = |member: &str| required(&format!("{}.{}.{member}", path(), wire.kind));
    match wire.kind.as_str() {
        "base64" => Ok(MediaSource::Base64 {
            media_type: wire.media_type.ok_or_else(|| missing("media_type"))?,
            data: wire.data.ok_or_else(|| missing("data"))?,
        }),
        "url" => Ok(MediaSource::Url(wire.url.ok_or_else(|| missing("url"))?)),
        "file" => Ok(MediaSource::FileId(wire.file_id.ok_or_else(|| missing("file_id"))?)),
        "text" => Ok(MediaSource::Base64 {
            media_type: wire.media_type.unwrap_or_else(|| "text/plain".to_owned()),
            data: STANDARD.encode(wire.data.ok_or_else(|| missing("data"))?),
        }),
        other => Err(ApiError::invalid(
            path(),
            format!(
                "{}: Input tag '{other}' found using 'type' does not match any of the expected \
                 tags: 'base64', 'file', 'text', 'url'",
                path()
            ),
        )),
    }
}

fn document(
    source: WireSource,
    title: Option<String>,
    path: &dyn Fn() -> String,
    foreign: Foreign,
    parts: &mut Vec<Part>,
) -> Result<(), ApiError> {
    if source.kind == "content" {
        let inner = source
            .content
            .ok_or_else(|| required(&format!("{}.source.content.content", path())))?;
        parts.extend(content(inner, &format!("{}.source.content", path()), foreign)?);
        return Ok(());
    }
    parts.push(Part::File(File { source: media_source(source, path)?, name: title }));
    Ok(())
}

/// The functions, and whether there were tools of Anthropic's own that were passed over.
fn tools(wire: Vec<WireTool>, foreign: Foreign) -> Result<(Vec<Tool>, bool), ApiError> {
    let mut tools = Vec::with_capacity(wire.len());
    let mut passed_over = false;
    for (index, tool) in wire.into_iter().enumerate() {
        let kind = tool.kind.as_deref().unwrap_or("custom");
        if kind != "custom" {
            if foreign == Foreign::PassedOver {
                passed_over = true;
                continue;
            }
            return Err(ApiError::invalid(
                format!("tools.{index}.type"),
                format!(
                    "tools.{index}: `{kind}` is a tool of Anthropic's own servers and models; \
                     choose a model at Anthropic, or declare a tool with `name` and `input_schema`"
                ),
            )
            .with_code("unsupported_tool"));
        }
        let name = tool
            .name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| required(&format!("tools.{index}.custom.name")))?;
        let parameters =
            object(tool.input_schema, &|| format!("tools.{index}"), "custom.input_schema")?;
        tools.push(Tool {
            name,
            description: tool.description,
            parameters: Some(parameters),
            strict: tool.strict,
            cache_control: tool.cache_control,
        });
    }
    Ok((tools, passed_over))
}

fn tool_choice(
    wire: WireToolChoice,
    tools: &[Tool],
    foreign_tools: bool,
) -> Result<(Option<ToolChoice>, Option<bool>), ApiError> {
    if tools.is_empty() && !foreign_tools {
        return Err(ApiError::invalid(
            "tool_choice",
            "tool_choice: may only be specified while providing tools",
        ));
    }
    let choice = match wire.kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => {
            let name = wire.name.ok_or_else(|| required("tool_choice.tool.name"))?;
            if !foreign_tools && !tools.iter().any(|tool| tool.name == name) {
                return Err(ApiError::new(
                    ErrorKind::InvalidRequest,
                    format!("tool_choice: Tool '{name}' not found in provided tools"),
                )
                .with_param("tool_choice"));
            }
            ToolChoice::Named(name)
        }
        other => {
            return Err(ApiError::invalid(
                "tool_choice",
                format!(
                    "tool_choice: Input tag '{other}' found using 'type' does not match any of \
                     the expected tags: 'any', 'auto', 'none', 'tool'"
                ),
            ));
        }
    };
    Ok((Some(choice), wire.disable_parallel_tool_use.map(|disabled| !disabled)))
}

fn output_format(wire: WireOutputFormat) -> Result<ResponseFormat, ApiError> {
    if wire.kind != "json_schema" {
        return Err(ApiError::invalid(
            "output_config.format.type",
            "output_config.format.type: Input should be 'json_schema'",
        ));
    }
    let schema = object(wire.schema, &|| "output_config.format".to_owned(), "schema")?;
    // The API has no name for the schema, the canonical form (OpenAI's) must have one; it always
    // enforces the schema.
    Ok(ResponseFormat::JsonSchema(JsonSchema {
        name: "output".to_owned(),
        description: None,
        schema,
        strict: Some(true),
    }))
}
