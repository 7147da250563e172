use chat::{
    ApiError, Audience, ChatRequest, Message, Part, ReasoningEffort, ReasoningRequest,
    ResponseFormat, Role, Tool, ToolChoice,
};

use crate::foreign_members::drop_foreign;
use crate::json::JsonWriter;
use crate::tool_history::{
    IS_ERROR, Results, arguments_object, has_failed_result, has_reasoning, result_text, shows,
    spoken,
};
use crate::{Adaptation, EncodedRequest, Target};

const PROVIDER: &str = "YandexGPT";

/// Writes a request for `POST /foundationModels/v1/completion`. [`Target::model`] is the whole
/// `gpt://FOLDER/MODEL/BRANCH`.
///
/// # Errors
/// Under the strict policy, a 400 that names what YandexGPT cannot do.
pub fn encode_request(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<EncodedRequest, ApiError> {
    let mut encoder = Encoder { request, target, adaptations: Vec::new(), stop_at: Vec::new() };
    let mut body = Vec::with_capacity(1024);
    encoder.write(&mut body)?;
    Ok(EncodedRequest {
        body,
        adaptations: encoder.adaptations,
        validate: ResponseFormat::Text,
        stop_at: encoder.stop_at,
    })
}

struct Encoder<'r> {
    request: &'r ChatRequest,
    target: &'r Target<'r>,
    adaptations: Vec<Adaptation>,
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
        let mut json = JsonWriter::new(body);
        json.begin_object().field("modelUri", self.target.model);
        self.write_options(&mut json)?;
        self.write_messages(&mut json)?;
        self.write_tools(&mut json);
        match &self.request.response_format {
            ResponseFormat::Text => {}
            ResponseFormat::JsonObject => _ = json.key("jsonObject").boolean(true),
            ResponseFormat::JsonSchema(schema) => {
                json.key("jsonSchema").begin_object().key("schema").json(&schema.schema);
                json.end_object();
            }
        }
        json.end_object();
        self.drop_the_rest()
    }

    fn write_options(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        let request = self.request;
        json.key("completionOptions").begin_object().key("stream").boolean(request.stream);
        match request.sampling.temperature {
            // Its scale ends at 1, OpenAI's at 2.
            Some(temperature) if temperature > 1.0 => {
                if self.emulate("temperature")? {
                    json.key("temperature").integer(1);
                }
            }
            temperature => _ = json.optional_number("temperature", temperature),
        }
        if let Some(limit) = request.max_output_tokens {
            json.field("maxTokens", &limit.to_string());
        }
        if let Some(mode) = self.reasoning_mode()? {
            json.key("reasoningOptions").begin_object().field("mode", mode).end_object();
        }
        json.end_object();
        Ok(())
    }

    /// Thinking is off, or on and hidden: how much of it there is cannot be said.
    fn reasoning_mode(&mut self) -> Result<Option<&'static str>, ApiError> {
        let request = self.request;
        let Some(ReasoningRequest { effort, budget_tokens, visible }) = request.reasoning else {
            return Ok(None);
        };
        // Callers of chat completions cannot ask to see it.
        let asked_to_see = visible && request.extra.audience != Some(Audience::OpenAiChat);
        self.drop("reasoning.summary", asked_to_see)?;
        let on = match (effort, budget_tokens) {
            (Some(ReasoningEffort::None), _) => return Ok(Some("DISABLED")),
            (Some(_), None) => self.emulate("reasoning_effort")?,
            (None, Some(_)) => self.emulate("thinking.budget_tokens")?,
            (Some(_), Some(_)) => {
                self.emulate("thinking.budget_tokens")?;
                self.emulate("reasoning_effort")?
            }
            (None, None) => true,
        };
        Ok(on.then_some("ENABLED_HIDDEN"))
    }

    fn write_messages(&mut self, json: &mut JsonWriter<'_>) -> Result<(), ApiError> {
        let request = self.request;
        let results = Results::of(&request.messages)?;
        let mark = has_failed_result(&request.messages) && self.emulate(IS_ERROR)?;
        json.key("messages").begin_array();
        for (number, message) in request.messages.iter().enumerate() {
            self.drop("messages.name", message.name.is_some())?;
            let is_picture = |part: &Part| matches!(part, Part::Image(_));
            let is_file = |part: &Part| matches!(part, Part::File(_));
            let pictures = message.parts.iter().any(is_picture) || shows(message, is_picture);
            self.drop("messages.content.image_url", pictures)?;
            self.drop("messages.reasoning_content", has_reasoning(message))?;
            let files = message.parts.iter().any(is_file) || shows(message, is_file);
            self.drop("messages.content.file", files)?;
            let role = match message.role {
                Role::System | Role::Developer => "system",
                Role::User | Role::Tool => "user",
                Role::Assistant => "assistant",
            };
            write_text(json, role, &spoken(message));
            write_calls(json, number, message, &results, mark);
        }
        json.end_array();
        Ok(())
    }

    fn write_tools(&mut self, json: &mut JsonWriter<'_>) {
        let request = self.request;
        if request.tools.is_empty() {
            return;
        }
        json.key("tools").begin_array();
        for tool in &request.tools {
            write_tool(json, tool);
        }
        json.end_array();
        json.optional_boolean("parallelToolCalls", request.parallel_tool_calls);
        let Some(choice) = &request.tool_choice else { return };
        json.key("toolChoice").begin_object();
        match choice {
            ToolChoice::Auto => json.field("mode", "AUTO"),
            ToolChoice::None => json.field("mode", "NONE"),
            ToolChoice::Required => json.field("mode", "REQUIRED"),
            ToolChoice::Named(name) => json.field("functionName", name),
        };
        json.end_object();
    }

    fn drop_the_rest(&mut self) -> Result<(), ApiError> {
        let request = self.request;
        let sampling = &request.sampling;
        let nonzero = |value: f64| value != 0.0;
        self.drop("top_p", sampling.top_p.is_some_and(|value| value < 1.0))?;
        self.drop("top_k", sampling.top_k.is_some())?;
        self.drop("frequency_penalty", sampling.frequency_penalty.is_some_and(nonzero))?;
        self.drop("presence_penalty", sampling.presence_penalty.is_some_and(nonzero))?;
        self.drop("repetition_penalty", sampling.repetition_penalty.is_some())?;
        self.drop("seed", sampling.seed.is_some())?;
        self.drop("logit_bias", sampling.logit_bias.is_some())?;
        self.drop("logprobs", request.top_logprobs.is_some())?;
        self.drop("n", request.choice_count.is_some_and(|number| number > 1))?;
        self.drop("user", request.user.is_some())?;
        self.drop("metadata", request.metadata.is_some())?;
        self.drop("verbosity", request.verbosity.is_some())?;
        self.drop("truncation", request.truncate)?;
        drop_foreign(
            &request.extra,
            |_| false,
            "members that YandexGPT does not know",
            self.target.unsupported,
            PROVIDER,
            &mut self.adaptations,
        )?;
        if !request.stop.is_empty() && self.emulate("stop")? {
            self.stop_at.clone_from(&request.stop);
        }
        Ok(())
    }
}

/// A message of text; empty ones are refused there, and say nothing.
fn write_text(json: &mut JsonWriter<'_>, role: &str, text: &str) {
    if !text.is_empty() {
        json.begin_object().field("role", role).field("text", text).end_object();
    }
}

/// The calls of a message, and behind them all their results in their order.
fn write_calls(
    json: &mut JsonWriter<'_>,
    number: usize,
    message: &Message,
    results: &Results<'_>,
    mark: bool,
) {
    let calls = results.calls(number, message);
    if calls.is_empty() {
        return;
    }
    json.begin_object().field("role", "assistant").key("toolCallList").begin_object();
    json.key("toolCalls").begin_array();
    for (call, _) in &calls {
        json.begin_object().key("functionCall").begin_object().field("name", &call.name);
        json.key("arguments").raw(&arguments_object(&call.arguments)).end_object().end_object();
    }
    json.end_array().end_object().end_object();
    if calls.iter().all(|(_, result)| result.is_none()) {
        return;
    }
    json.begin_object().field("role", "user").key("toolResultList").begin_object();
    json.key("toolResults").begin_array();
    for (call, result) in calls {
        if let Some(result) = result {
            json.begin_object().key("functionResult").begin_object().field("name", &call.name);
            json.field("content", &result_text(result, mark)).end_object().end_object();
        }
    }
    json.end_array().end_object().end_object();
}

fn write_tool(json: &mut JsonWriter<'_>, tool: &Tool) {
    json.begin_object().key("function").begin_object().field("name", &tool.name);
    json.optional_field("description", tool.description.as_deref()).key("parameters");
    match &tool.parameters {
        Some(schema) => json.json(schema),
        None => json.raw(r#"{"type":"object","properties":{}}"#),
    };
    json.optional_boolean("strict", tool.strict).end_object().end_object();
}
