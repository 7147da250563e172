use std::borrow::Cow;

use chat::{
    ApiError, Audience, ChatRequest, Image, ImageDetail, MediaSource, Message, Part,
    ReasoningEffort, ResponseFormat, Role, Tool, ToolChoice,
};

use super::function_schema::Schemas;
use super::state_id::state_id;
use crate::foreign_members::drop_foreign;
use crate::json::JsonWriter;
use crate::tool_history::{
    IS_ERROR, Results, arguments_object, has_failed_result, has_reasoning, result_text, shows,
    spoken,
};
use crate::{Adaptation, EncodedRequest, Target, structured};

const PROVIDER: &str = "GigaChat";

/// Members of GigaChat's own that callers of OpenAI's dialect may send.
const OWN_MEMBERS: [&str; 5] =
    ["profanity_check", "update_interval", "function_ranker", "flags", "storage"];

/// Writes a request for `POST /chat/completions`. Pictures must have been uploaded: their source
/// is a file id.
///
/// # Errors
/// Under the strict policy, a 400 that names what GigaChat cannot do.
pub fn encode_request(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<EncodedRequest, ApiError> {
    let mut encoder = Encoder {
        request,
        target,
        adaptations: Vec::new(),
        stop_at: Vec::new(),
        validate: ResponseFormat::Text,
    };
    let mut body = Vec::with_capacity(1024);
    encoder.write(&mut body)?;
    Ok(EncodedRequest {
        body,
        adaptations: encoder.adaptations,
        validate: encoder.validate,
        stop_at: encoder.stop_at,
    })
}

struct Encoder<'r> {
    request: &'r ChatRequest,
    target: &'r Target<'r>,
    adaptations: Vec<Adaptation>,
    validate: ResponseFormat,
    stop_at: Vec<String>,
}

impl Encoder<'_> {
    fn drop(&mut self, member: &'static str, present: bool) -> Result<(), ApiError> {
        if present {
            let policy = self.target.unsupported;
            EncodedRequest::drop_member(&mut self.adaptations, policy, member, PROVIDER)?;
        }
        Ok(())
    }

    fn emulate(&mut self, member: &'static str) -> Result<bool, ApiError> {
        let policy = self.target.unsupported;
        EncodedRequest::emulate_member(&mut self.adaptations, policy, member, PROVIDER)
    }

    fn write(&mut self, body: &mut Vec<u8>) -> Result<(), ApiError> {
        let request = self.request;
        let mut json = JsonWriter::new(body);
        json.begin_object().field("model", self.target.model);
        self.write_messages(&mut json)?;
        self.write_functions(&mut json)?;
        self.write_format(&mut json)?;
        self.write_sampling(&mut json)?;
        if request.stream {
            json.key("stream").boolean(true);
        }
        let own = request.extra.audience == Some(Audience::OpenAiChat);
        let takes = |name: &str| own && OWN_MEMBERS.contains(&name);
        for (name, value) in request.extra.members.iter().filter(|(name, _)| takes(name)) {
            json.key(name).json(value);
        }
        json.end_object();
        drop_foreign(
            &request.extra,
            takes,
            "members that GigaChat does not know",
            self.target.unsupported,
            PROVIDER,
            &mut self.adaptations,
        )
    }

    fn write_messages(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        let request = self.request;
        let mut system: Vec<String> = request
            .messages
            .iter()
            .filter(|message| matches!(message.role, Role::System | Role::Developer))
            .map(Message::joined_text)
            .filter(|text| !text.is_empty())
            .collect();
        if request.response_format == ResponseFormat::JsonObject
            && self.emulate("response_format")?
        {
            system.extend(structured::instruction(&request.response_format));
            self.validate = ResponseFormat::JsonObject;
        }
        json.key("messages").begin_array();
        if !system.is_empty() {
            json.begin_object().field("role", "system").field("content", &system.join("\n\n"));
            json.end_object();
        }
        let results = Results::of(&request.messages)?;
        let mark = has_failed_result(&request.messages) && self.emulate(IS_ERROR)?;
        for (number, message) in request.messages.iter().enumerate() {
            self.drop("messages.name", message.name.is_some())?;
            let pictures = shows(message, |part| matches!(part, Part::Image(_)));
            self.drop("messages.content.image_url", pictures)?;
            self.drop("messages.reasoning_content", has_reasoning(message))?;
            let files = shows(message, |part| matches!(part, Part::File(_)));
            self.drop("messages.content.file", files)?;
            match message.role {
                Role::System | Role::Developer => {}
                Role::User | Role::Tool => self.write_user(json, message)?,
                Role::Assistant => write_assistant(json, number, message, &results, mark),
            }
        }
        json.end_array();
        Ok(())
    }

    /// Results stand behind their calls already; what else a turn holds is the user's. GigaChat
    /// takes one picture a message: each but the last gets a message of its own, before the text.
    fn write_user(&mut self, json: &mut JsonWriter<'_>, message: &Message) -> Result<(), ApiError> {
        let mut pictures = Vec::new();
        let mut attachments = Vec::new();
        for part in &message.parts {
            match part {
                Part::Image(Image { source: MediaSource::FileId(id), detail, .. }) => {
                    let closely = detail.is_some_and(|detail| detail != ImageDetail::Auto);
                    self.drop("messages.content.image_url.detail", closely)?;
                    pictures.push(id);
                }
                Part::File(file) => match &file.source {
                    MediaSource::FileId(id) => attachments.push(id),
                    _ => self.drop("messages.content.file", true)?,
                },
                Part::Image(_) => self.drop("messages.content.image_url", true)?,
                _ => {}
            }
        }
        attachments.extend(pictures.pop());
        for picture in pictures {
            write_user_message(json, "", &[picture]);
        }
        let text = message.joined_text();
        if !text.is_empty() || !attachments.is_empty() {
            write_user_message(json, &text, &attachments);
        }
        Ok(())
    }

    fn write_functions(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        let request = self.request;
        if request.tools.is_empty() {
            return Ok(());
        }
        let strict = request.tools.iter().any(|tool| tool.strict == Some(true));
        self.drop("tools.function.strict", strict)?;
        self.drop("parallel_tool_calls", request.parallel_tool_calls == Some(true))?;
        json.key("functions").begin_array();
        let mut schemas = Schemas::default();
        for tool in &request.tools {
            write_function(json, tool, &mut schemas)?;
        }
        json.end_array();
        self.drop("tools.function.parameters.$ref", schemas.lossy)?;
        match &request.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => _ = json.field("function_call", "auto"),
            Some(ToolChoice::None) => _ = json.field("function_call", "none"),
            Some(ToolChoice::Named(name)) => write_forced(json, name),
            Some(ToolChoice::Required) => match request.tools.as_slice() {
                [only] => write_forced(json, &only.name),
                _ => {
                    self.drop("tool_choice", true)?;
                    json.field("function_call", "auto");
                }
            },
        }
        Ok(())
    }

    fn write_format(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        if let ResponseFormat::JsonSchema(schema) = &self.request.response_format {
            json.key("response_format").begin_object().field("type", "json_schema");
            json.key("schema").json(&schema.schema);
            json.key("strict").boolean(schema.strict.unwrap_or(true)).end_object();
        }
        Ok(())
    }

    fn write_sampling(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        let request = self.request;
        let sampling = &request.sampling;
        match sampling.temperature {
            // GigaChat refuses 0; the same is had by leaving only the likeliest token.
            Some(temperature) if temperature <= 0.0 => {
                if self.emulate("temperature")? {
                    json.key("top_p").integer(0);
                } else {
                    json.optional_number("top_p", sampling.top_p);
                }
            }
            temperature => {
                json.optional_number("temperature", temperature);
                json.optional_number("top_p", sampling.top_p);
            }
        }
        json.optional_integer("max_tokens", request.max_output_tokens);
        json.optional_number("repetition_penalty", sampling.repetition_penalty);
        json.optional_integer("n", request.choice_count.filter(|number| *number > 1));
        let effort = request.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
        let budget = request.reasoning.as_ref().and_then(|reasoning| reasoning.budget_tokens);
        self.drop("thinking.budget_tokens", effort.is_some() && budget.is_some())?;
        json.optional_field(
            "reasoning_effort",
            match effort {
                None | Some(ReasoningEffort::None) => None,
                Some(ReasoningEffort::Minimal | ReasoningEffort::Low) => Some("low"),
                Some(ReasoningEffort::Medium) => Some("medium"),
                Some(ReasoningEffort::High | ReasoningEffort::ExtraHigh) => Some("high"),
            },
        );
        let unheard = effort == Some(ReasoningEffort::None)
            || (effort.is_none() && request.reasoning.is_some());
        self.drop("reasoning_effort", unheard)?;
        self.drop("top_k", sampling.top_k.is_some())?;
        self.drop("frequency_penalty", sampling.frequency_penalty.is_some_and(nonzero))?;
        self.drop("presence_penalty", sampling.presence_penalty.is_some_and(nonzero))?;
        self.drop("seed", sampling.seed.is_some())?;
        self.drop("logit_bias", sampling.logit_bias.is_some())?;
        self.drop("logprobs", request.top_logprobs.is_some())?;
        self.drop("user", request.user.is_some())?;
        self.drop("verbosity", request.verbosity.is_some())?;
        self.drop("truncation", request.truncate)?;
        self.drop("metadata", request.metadata.is_some())?;
        if !request.stop.is_empty() && self.emulate("stop")? {
            self.stop_at.clone_from(&request.stop);
        }
        Ok(())
    }
}

fn nonzero(value: f64) -> bool {
    value != 0.0
}

fn write_user_message(json: &mut JsonWriter<'_>, text: &str, attachments: &[&String]) {
    json.begin_object().field("role", "user").field("content", text);
    if !attachments.is_empty() {
        json.key("attachments").begin_array();
        for id in attachments {
            json.string(id);
        }
        json.end_array();
    }
    json.end_object();
}

/// Text and calls of the assistant; each call is followed at once by its result, because an
/// answer of GigaChat's has one call.
fn write_assistant(
    json: &mut JsonWriter<'_>,
    number: usize,
    message: &Message,
    results: &Results<'_>,
    mark: bool,
) {
    let mut text = spoken(message);
    let calls = results.calls(number, message);
    if calls.is_empty() {
        json.begin_object().field("role", "assistant").field("content", &text).end_object();
        return;
    }
    for (call, result) in calls {
        json.begin_object().field("role", "assistant");
        json.field("content", &std::mem::take(&mut text));
        json.key("function_call").begin_object().field("name", &call.name).key("arguments");
        json.raw(&arguments_object(&call.arguments)).end_object();
        json.field("functions_state_id", &state_id(&call.id)).end_object();
        if let Some(result) = result {
            write_result(json, &call.name, &result_text(result, mark));
        }
    }
}

fn write_result(json: &mut JsonWriter<'_>, name: &str, text: &str) {
    let content = if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(serde_json::Value::from(text).to_string())
    };
    json.begin_object().field("role", "function").field("name", name);
    json.field("content", &content).end_object();
}

fn write_forced(json: &mut JsonWriter<'_>, name: &str) {
    json.key("function_call").begin_object().field("name", name).end_object();
}

fn write_function(
    json: &mut JsonWriter<'_>,
    tool: &Tool,
    schemas: &mut Schemas,
) -> Result<(), ApiError> {
    let parameters = schemas.parameters(tool.parameters.as_ref())?;
    json.begin_object().field("name", &tool.name);
    json.optional_field("description", tool.description.as_deref());
    json.key("parameters").raw(&parameters).end_object();
    Ok(())
}
