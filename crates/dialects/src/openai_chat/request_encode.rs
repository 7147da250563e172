use chat::{
    ApiError, Audience, ChatRequest, File, Image, ImageDetail, MediaSource, Message, Part,
    ReasoningEffort, ResponseFormat, Role, Tool, ToolChoice, ToolResult, Verbosity,
};

use crate::foreign_members::drop_foreign;
use crate::json::JsonWriter;
use crate::tool_history::{IS_ERROR, has_failed_result, result_text};
use crate::{EncodedRequest, Target};

/// Writes a request for a provider that speaks this dialect.
///
/// Members of this dialect that a provider lacks it refuses itself, by name. What only other
/// dialects have is adapted here.
///
/// # Errors
/// Under the strict policy, a 400 that names what the dialect cannot carry.
pub fn encode_request(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<EncodedRequest, ApiError> {
    let mut adaptations = Vec::new();
    let mut drop = |member, present: bool| {
        if present {
            let policy = target.unsupported;
            EncodedRequest::drop_member(&mut adaptations, policy, member, "this provider")?;
        }
        Ok::<_, ApiError>(())
    };
    let native = request.extra.audience == Some(Audience::OpenAiChat);
    // Engines of one's own know it, OpenAI does not; a caller of this dialect knows the difference.
    let top_k = native || target.legacy_max_tokens;
    drop("top_k", request.sampling.top_k.is_some() && !top_k)?;
    // OpenAI's later models know it, engines of one's own do not and would pass over it.
    let verbosity = request.verbosity.filter(|_| !target.legacy_max_tokens);
    drop("verbosity", request.verbosity != verbosity)?;
    drop("truncation", request.truncate)?;
    drop_foreign(
        &request.extra,
        |_| native,
        "members of another API",
        target.unsupported,
        "this provider",
        &mut adaptations,
    )?;
    let mut emulate = |member, present: bool| {
        let policy = target.unsupported;
        Ok::<_, ApiError>(
            present
                && EncodedRequest::emulate_member(
                    &mut adaptations,
                    policy,
                    member,
                    "this provider",
                )?,
        )
    };
    let mark = emulate(IS_ERROR, has_failed_result(&request.messages))?;
    let budget = request.reasoning.as_ref().and_then(|reasoning| reasoning.budget_tokens);
    let by_budget = emulate("thinking.budget_tokens", budget.is_some())?;
    let mut body = Vec::with_capacity(1024);
    let mut json = JsonWriter::new(&mut body);
    json.begin_object().field("model", target.model);
    write_messages(&mut json, request, mark);
    write_tools(&mut json, request);
    write_format(&mut json, &request.response_format);
    write_sampling(&mut json, request, target, top_k);
    let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
    let effort = effort.or(budget.filter(|_| by_budget).map(effort_of_budget));
    json.optional_field("reasoning_effort", effort.map(effort_name));
    if request.stream {
        json.key("stream").boolean(true);
        if target.stream_usage {
            json.key("stream_options").begin_object().key("include_usage").boolean(true);
            json.end_object();
        }
    }
    json.optional_field("verbosity", verbosity.map(Verbosity::name));
    json.optional_field("user", request.user.as_deref());
    json.optional_json("metadata", request.metadata.as_ref());
    if request.extra.audience == Some(Audience::OpenAiChat) {
        for (name, value) in &request.extra.members {
            json.key(name).json(value);
        }
    }
    json.end_object();
    Ok(EncodedRequest { body, adaptations, validate: ResponseFormat::Text, stop_at: Vec::new() })
}

/// With `mark`, failures of tools say in words that they are ones.
pub(super) fn write_messages(json: &mut JsonWriter<'_>, request: &ChatRequest, mark: bool) {
    json.key("messages").begin_array();
    for message in &request.messages {
        write_message(json, message, mark);
    }
    json.end_array();
}

pub(super) fn write_tools(json: &mut JsonWriter<'_>, request: &ChatRequest) {
    if request.tools.is_empty() {
        return;
    }
    json.key("tools").begin_array();
    for tool in &request.tools {
        write_tool(json, tool);
    }
    json.end_array();
    match &request.tool_choice {
        None => {}
        Some(ToolChoice::Auto) => _ = json.field("tool_choice", "auto"),
        Some(ToolChoice::None) => _ = json.field("tool_choice", "none"),
        Some(ToolChoice::Required) => _ = json.field("tool_choice", "required"),
        Some(ToolChoice::Named(name)) => {
            json.key("tool_choice").begin_object().field("type", "function").key("function");
            json.begin_object().field("name", name).end_object().end_object();
        }
    }
    json.optional_boolean("parallel_tool_calls", request.parallel_tool_calls);
}

fn write_tool(json: &mut JsonWriter<'_>, tool: &Tool) {
    json.begin_object().field("type", "function").key("function").begin_object();
    json.field("name", &tool.name).optional_field("description", tool.description.as_deref());
    json.optional_json("parameters", tool.parameters.as_ref());
    json.optional_boolean("strict", tool.strict).end_object().end_object();
}

fn write_format(json: &mut JsonWriter<'_>, format: &ResponseFormat) {
    match format {
        ResponseFormat::Text => {}
        ResponseFormat::JsonObject => {
            json.key("response_format").begin_object().field("type", "json_object").end_object();
        }
        ResponseFormat::JsonSchema(schema) => {
            json.key("response_format").begin_object().field("type", "json_schema");
            json.key("json_schema").begin_object().field("name", &schema.name);
            json.optional_field("description", schema.description.as_deref());
            json.key("schema").json(&schema.schema).optional_boolean("strict", schema.strict);
            json.end_object().end_object();
        }
    }
}

fn write_sampling(
    json: &mut JsonWriter<'_>,
    request: &ChatRequest,
    target: &Target<'_>,
    top_k: bool,
) {
    let sampling = &request.sampling;
    json.optional_number("temperature", sampling.temperature)
        .optional_number("top_p", sampling.top_p)
        .optional_integer("top_k", sampling.top_k.filter(|_| top_k))
        .optional_number("frequency_penalty", sampling.frequency_penalty)
        .optional_number("presence_penalty", sampling.presence_penalty)
        .optional_number("repetition_penalty", sampling.repetition_penalty)
        .optional_integer("seed", sampling.seed)
        .optional_json("logit_bias", sampling.logit_bias.as_ref());
    let limit = if target.legacy_max_tokens { "max_tokens" } else { "max_completion_tokens" };
    json.optional_integer(limit, request.max_output_tokens);
    if !request.stop.is_empty() {
        json.key("stop").begin_array();
        for stop in &request.stop {
            json.string(stop);
        }
        json.end_array();
    }
    json.optional_integer("n", request.choice_count);
    if let Some(alternatives) = request.top_logprobs {
        json.key("logprobs").boolean(true);
        if alternatives > 0 {
            json.key("top_logprobs").integer(alternatives);
        }
    }
}

/// The effort that a budget of thinking tokens amounts to, after Anthropic's own advice on
/// budgets.
fn effort_of_budget(tokens: u64) -> ReasoningEffort {
    match tokens {
        0 => ReasoningEffort::None,
        1..=2048 => ReasoningEffort::Low,
        2049..=8192 => ReasoningEffort::Medium,
        _ => ReasoningEffort::High,
    }
}

fn effort_name(effort: ReasoningEffort) -> &'static str {
    match effort {
        ReasoningEffort::None => "none",
        ReasoningEffort::Minimal => "minimal",
        ReasoningEffort::Low => "low",
        ReasoningEffort::Medium => "medium",
        ReasoningEffort::High => "high",
        ReasoningEffort::ExtraHigh => "xhigh",
    }
}

fn write_message(json: &mut JsonWriter<'_>, message: &Message, mark: bool) {
    let role = match message.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    // Other dialects put results of tools beside other parts of one turn; here each is a message.
    let mut rest: Vec<&Part> = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        match part {
            Part::ToolResult(result) => write_result(json, result, mark),
            part => rest.push(part),
        }
    }
    if rest.is_empty() {
        return;
    }
    json.begin_object().field("role", role);
    write_content(json, &rest, message.role == Role::Assistant);
    json.optional_field("name", message.name.as_deref());
    let reasoning: String = rest
        .iter()
        .filter_map(|part| match part {
            Part::Reasoning(reasoning) => Some(reasoning.text.as_str()),
            _ => None,
        })
        .collect();
    if !reasoning.is_empty() {
        json.field("reasoning_content", &reasoning);
    }
    let mut calls = rest
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall(call) => Some(call),
            _ => None,
        })
        .peekable();
    if calls.peek().is_some() {
        json.key("tool_calls").begin_array();
        for call in calls {
            json.begin_object().field("id", &call.id).field("type", "function");
            json.key("function").begin_object().field("name", &call.name);
            json.field("arguments", &call.arguments).end_object().end_object();
        }
        json.end_array();
    }
    json.end_object();
}

/// With `mark`, a failure says in words that it is one.
fn write_result(json: &mut JsonWriter<'_>, result: &ToolResult, mark: bool) {
    json.begin_object().field("role", "tool").field("tool_call_id", &result.call_id);
    if mark && result.is_error && result.content.iter().all(|part| part.as_text().is_some()) {
        json.field("content", &result_text(result, mark));
    } else {
        let marker = Part::text("Error:");
        let marker = (mark && result.is_error).then_some(&marker);
        let parts: Vec<&Part> = marker.into_iter().chain(&result.content).collect();
        write_content(json, &parts, false);
    }
    json.end_object();
}

/// One text is written as a string, which every provider takes; several parts as a list.
fn write_content(json: &mut JsonWriter<'_>, parts: &[&Part], nullable: bool) {
    let content: Vec<&&Part> = parts
        .iter()
        .filter(|part| !matches!(part, Part::ToolCall(_) | Part::Reasoning(_)))
        .collect();
    json.key("content");
    match content.as_slice() {
        [] if nullable => _ = json.null(),
        [] => _ = json.string(""),
        [Part::Text(text)] => _ = json.string(&text.text),
        several => {
            json.begin_array();
            for part in several {
                write_part(json, part);
            }
            json.end_array();
        }
    }
}

fn write_part(json: &mut JsonWriter<'_>, part: &Part) {
    match part {
        Part::Text(text) => {
            json.begin_object().field("type", "text").field("text", &text.text).end_object();
        }
        Part::Refusal(refusal) => {
            json.begin_object().field("type", "refusal").field("refusal", refusal).end_object();
        }
        Part::Image(image) => write_image(json, image),
        Part::File(file) => write_file(json, file),
        Part::ToolCall(_) | Part::ToolResult(_) | Part::Reasoning(_) => {}
    }
}

fn write_image(json: &mut JsonWriter<'_>, image: &Image) {
    let url = match &image.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        MediaSource::FileId(id) => {
            json.begin_object().field("type", "file").key("file").begin_object();
            json.field("file_id", id).end_object().end_object();
            return;
        }
    };
    json.begin_object().field("type", "image_url").key("image_url").begin_object();
    json.field("url", &url);
    json.optional_field(
        "detail",
        image.detail.map(|detail| match detail {
            ImageDetail::Auto => "auto",
            ImageDetail::Low => "low",
            ImageDetail::High => "high",
        }),
    );
    json.end_object().end_object();
}

fn write_file(json: &mut JsonWriter<'_>, file: &File) {
    if let MediaSource::Base64 { media_type, data } = &file.source
        && let Some(format) = media_type.strip_prefix("audio/")
    {
        json.begin_object().field("type", "input_audio").key("input_audio").begin_object();
        json.field("data", data).field("format", format).end_object().end_object();
        return;
    }
    json.begin_object().field("type", "file").key("file").begin_object();
    match &file.source {
        MediaSource::FileId(id) => _ = json.field("file_id", id),
        MediaSource::Url(url) => _ = json.field("file_data", url),
        MediaSource::Base64 { media_type, data } => {
            json.field("file_data", &format!("data:{media_type};base64,{data}"));
        }
    }
    json.optional_field("filename", file.name.as_deref()).end_object().end_object();
}
