//! A canonical request, written for a provider that speaks Anthropic's API.

use chat::{ApiError, Audience, ChatRequest, ResponseFormat, Tool, ToolChoice};

use super::OUTPUT_CONFIG;
use super::messages_encode::{self, Conversation, SystemBlock};
use super::models;
use super::structured;
use super::thinking::{self, LEAST_BUDGET, Thinking};
use crate::foreign_members::drop_foreign;
use crate::json::JsonWriter;
use crate::{Adaptation, EncodedRequest, Target};

/// The provider's name in messages.
pub(super) const PROVIDER: &str = "Anthropic";

/// Writes the body of `POST /v1/messages`.
///
/// # Errors
/// A 400 that names a member which the API does not have, under [`Strict`](crate::Unsupported::Strict).
pub fn encode_request(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<EncodedRequest, ApiError> {
    Encoder::new(request, target)?.body(true)
}

/// Writes the body of `POST /v1/messages/count_tokens`.
///
/// # Errors
/// As [`encode_request`].
pub fn encode_count_tokens_request(
    request: &ChatRequest,
    target: &Target<'_>,
) -> Result<EncodedRequest, ApiError> {
    Encoder::new(request, target)?.body(false)
}

/// What was decided about a request before a byte is written.
struct Encoder<'a> {
    request: &'a ChatRequest,
    target: &'a Target<'a>,
    conversation: Conversation<'a>,
    adaptations: Vec<Adaptation>,
    thinking: Thinking,
    max_tokens: u64,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
    /// The schema that the provider enforces itself.
    native_schema: Option<&'a chat::Json>,
    /// The form that is asked for by instruction and checked here.
    emulated: ResponseFormat,
}

impl<'a> Encoder<'a> {
    fn new(request: &'a ChatRequest, target: &'a Target<'a>) -> Result<Self, ApiError> {
        let mut encoder = Self {
            request,
            target,
            conversation: messages_encode::conversation(&request.messages),
            adaptations: Vec::new(),
            thinking: thinking::of_request(request.reasoning.as_ref(), target.model),
            max_tokens: request
                .max_output_tokens
                .unwrap_or(target.default_max_output_tokens)
                .max(1),
            temperature: request.sampling.temperature,
            top_p: request.sampling.top_p,
            top_k: request.sampling.top_k,
            native_schema: None,
            emulated: ResponseFormat::Text,
        };
        encoder.unsupported_members()?;
        encoder.fit_conversation()?;
        encoder.fit_thinking()?;
        encoder.fit_sampling()?;
        encoder.form()?;
        Ok(encoder)
    }

    fn drop(&mut self, member: &'static str) -> Result<(), ApiError> {
        EncodedRequest::drop_member(
            &mut self.adaptations,
            self.target.unsupported,
            member,
            PROVIDER,
        )
    }

    fn emulate(&mut self, member: &'static str) -> Result<bool, ApiError> {
        EncodedRequest::emulate_member(
            &mut self.adaptations,
            self.target.unsupported,
            member,
            PROVIDER,
        )
    }

    fn unsupported_members(&mut self) -> Result<(), ApiError> {
        let request = self.request;
        let sampling = &request.sampling;
        let absent = [
            ("n", request.choice_count.is_some_and(|count| count > 1)),
            ("logprobs", request.top_logprobs.is_some()),
            ("seed", sampling.seed.is_some()),
            ("frequency_penalty", sampling.frequency_penalty.is_some_and(|value| value != 0.0)),
            ("presence_penalty", sampling.presence_penalty.is_some_and(|value| value != 0.0)),
            ("repetition_penalty", sampling.repetition_penalty.is_some_and(|value| value != 1.0)),
            ("logit_bias", sampling.logit_bias.is_some()),
            ("metadata", request.metadata.is_some()),
            ("verbosity", request.verbosity.is_some()),
            ("truncation", request.truncate),
            ("stop", request.stop.iter().any(|stop| stop.trim().is_empty())),
        ];
        for (member, wanted) in absent {
            if wanted {
                self.drop(member)?;
            }
        }
        drop_foreign(
            &request.extra,
            |_| request.extra.audience == Some(Audience::Anthropic),
            "members that Anthropic does not know",
            self.target.unsupported,
            PROVIDER,
            &mut self.adaptations,
        )
    }

    fn fit_conversation(&mut self) -> Result<(), ApiError> {
        for member in std::mem::take(&mut self.conversation.lost) {
            self.drop(member)?;
        }
        // The API wants a user's turn even where there are instructions only.
        if self.conversation.turns.is_empty()
            && !self.conversation.system.is_empty()
            && self.emulate("messages.role")?
        {
            self.conversation = messages_encode::instructions_as_turn(&self.request.messages);
        }
        Ok(())
    }

    /// Thinking counts towards `max_tokens`, must leave room for the answer, and cannot be had
    /// together with a forced tool, nor taken up between a call and its result.
    fn fit_thinking(&mut self) -> Result<(), ApiError> {
        let forced = !self.request.tools.is_empty()
            && matches!(
                self.request.tool_choice,
                Some(ToolChoice::Required | ToolChoice::Named(_))
            );
        let asked_for_budget =
            self.request.reasoning.as_ref().is_some_and(|asked| asked.budget_tokens.is_some());
        match self.thinking {
            Thinking::Adaptive(_) if asked_for_budget && !forced => {
                if !self.emulate("thinking.budget_tokens")? {
                    self.thinking = Thinking::Unsaid;
                }
                Ok(())
            }
            Thinking::Budget(_) if self.conversation.resumes_without_thinking() => {
                self.thinking = Thinking::Unsaid;
                self.drop("reasoning_effort")
            }
            Thinking::Budget(_) | Thinking::Adaptive(_) if forced => {
                self.thinking = Thinking::Unsaid;
                self.drop("reasoning_effort")
            }
            Thinking::Budget(budget) if self.request.max_output_tokens.is_none() => {
                self.max_tokens = self.max_tokens.saturating_add(budget);
                Ok(())
            }
            Thinking::Budget(budget) if budget >= self.max_tokens => {
                // A fifth is left to the answer.
                let fitting = self.max_tokens - self.max_tokens.div_ceil(5);
                if fitting < LEAST_BUDGET {
                    self.thinking = Thinking::Unsaid;
                    return self.drop("reasoning_effort");
                }
                self.thinking = Thinking::Budget(fitting);
                self.emulate("reasoning_effort").map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn fit_sampling(&mut self) -> Result<(), ApiError> {
        if !models::takes_sampling(self.target.model) {
            // Neutral values ask for nothing.
            let lost = [
                ("temperature", self.temperature.take().is_some_and(|value| value != 1.0)),
                ("top_p", self.top_p.take().is_some_and(|value| value != 1.0)),
                ("top_k", self.top_k.take().is_some()),
            ];
            for (member, wanted) in lost {
                if wanted {
                    self.drop(member)?;
                }
            }
            return Ok(());
        }
        if self.temperature.is_some_and(|temperature| temperature > 1.0) {
            self.temperature = self.emulate("temperature")?.then_some(1.0);
        }
        if matches!(self.thinking, Thinking::Budget(_) | Thinking::Adaptive(_)) {
            if self.temperature.take().is_some_and(|temperature| temperature != 1.0) {
                self.drop("temperature")?;
            }
            if self.top_p.is_some_and(|top_p| top_p < 0.95) {
                self.top_p = None;
                self.drop("top_p")?;
            }
            if self.top_k.take().is_some() {
                self.drop("top_k")?;
            }
        }
        Ok(())
    }

    fn form(&mut self) -> Result<(), ApiError> {
        match &self.request.response_format {
            ResponseFormat::Text => {}
            ResponseFormat::JsonSchema(format)
                if structured::is_native(&format.schema, self.target.model) =>
            {
                self.native_schema = Some(&format.schema);
            }
            form => {
                if self.emulate("response_format")? {
                    self.emulated = form.clone();
                }
            }
        }
        Ok(())
    }

    fn body(mut self, generates: bool) -> Result<EncodedRequest, ApiError> {
        let request = self.request;
        let mut body = Vec::with_capacity(512);
        let mut json = JsonWriter::new(&mut body);
        json.begin_object().field("model", self.target.model);
        if generates {
            json.key("max_tokens").integer(self.max_tokens);
        }
        let instruction = structured::instruction(&self.emulated);
        write_system(&mut json, &self.conversation.system, instruction.as_deref());
        json.key("messages");
        for member in messages_encode::write(&mut json, &self.conversation.turns) {
            EncodedRequest::drop_member(
                &mut self.adaptations,
                self.target.unsupported,
                member,
                PROVIDER,
            )?;
        }
        write_tools(&mut json, request);
        self.write_thinking(&mut json);
        if generates {
            json.optional_number("temperature", self.temperature)
                .optional_number("top_p", self.top_p)
                .optional_integer("top_k", self.top_k);
            let mut stops = request.stop.iter().filter(|stop| !stop.trim().is_empty()).peekable();
            if stops.peek().is_some() {
                json.key("stop_sequences").begin_array();
                for stop in stops {
                    json.string(stop);
                }
                json.end_array();
            }
            if let Some(user) = &request.user {
                json.key("metadata").begin_object().field("user_id", user).end_object();
            }
            if request.stream {
                json.key("stream").boolean(true);
            }
        }
        if request.extra.audience == Some(Audience::Anthropic) {
            let members = request.extra.members.iter();
            for (name, value) in members.filter(|(name, _)| !name.starts_with(OUTPUT_CONFIG)) {
                json.key(name).json(value);
            }
        }
        json.end_object();
        Ok(EncodedRequest {
            body,
            adaptations: self.adaptations,
            validate: self.emulated,
            stop_at: Vec::new(),
        })
    }

    fn write_thinking(&self, json: &mut JsonWriter<'_>) {
        let Some(asked) = &self.request.reasoning else {
            return self.write_output_config(json, None);
        };
        let display = if asked.visible { "summarized" } else { "omitted" };
        let mut effort = None;
        match self.thinking {
            Thinking::Unsaid => {}
            Thinking::Disabled => {
                json.key("thinking").begin_object().field("type", "disabled").end_object();
            }
            Thinking::Budget(budget) => {
                json.key("thinking").begin_object().field("type", "enabled");
                json.key("budget_tokens").integer(budget);
                // A budget of our own making goes to models that may not know the member.
                if asked.budget_tokens.is_some() {
                    effort = asked.effort.and_then(thinking::effort_name);
                    if !asked.visible {
                        json.field("display", display);
                    }
                }
                json.end_object();
            }
            Thinking::Adaptive(level) => {
                effort = level;
                json.key("thinking").begin_object().field("type", "adaptive");
                json.field("display", display).end_object();
            }
        }
        self.write_output_config(json, effort);
    }

    fn write_output_config(&self, json: &mut JsonWriter<'_>, effort: Option<&str>) {
        let extra = &self.request.extra;
        let native = extra.audience == Some(Audience::Anthropic);
        let mut members = extra
            .members
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(OUTPUT_CONFIG)?, value)))
            .filter(|_| native)
            .peekable();
        if effort.is_none() && self.native_schema.is_none() && members.peek().is_none() {
            return;
        }
        json.key("output_config").begin_object().optional_field("effort", effort);
        if let Some(schema) = self.native_schema {
            json.key("format").begin_object().field("type", "json_schema");
            json.key("schema").json(schema).end_object();
        }
        for (name, value) in members {
            json.key(name).json(value);
        }
        json.end_object();
    }
}

fn write_system(json: &mut JsonWriter<'_>, blocks: &[SystemBlock<'_>], instruction: Option<&str>) {
    match (blocks, instruction) {
        ([], None) => {}
        ([], Some(text)) => {
            json.field("system", text);
        }
        ([SystemBlock { text, cache_control: None }], None) => {
            json.field("system", text);
        }
        (blocks, instruction) => {
            json.key("system").begin_array();
            for block in blocks {
                json.begin_object().field("type", "text").field("text", block.text);
                json.optional_json("cache_control", block.cache_control).end_object();
            }
            if let Some(text) = instruction {
                json.begin_object().field("type", "text").field("text", text).end_object();
            }
            json.end_array();
        }
    }
}

fn write_tools(json: &mut JsonWriter<'_>, request: &ChatRequest) {
    if request.tools.is_empty() {
        return;
    }
    json.key("tools").begin_array();
    for tool in &request.tools {
        write_tool(json, tool);
    }
    json.end_array();
    let choice = match (&request.tool_choice, request.parallel_tool_calls) {
        (None, None | Some(true)) => return,
        (None, Some(false)) => &ToolChoice::Auto,
        (Some(choice), _) => choice,
    };
    json.key("tool_choice").begin_object();
    match choice {
        ToolChoice::Auto => json.field("type", "auto"),
        ToolChoice::None => json.field("type", "none"),
        ToolChoice::Required => json.field("type", "any"),
        ToolChoice::Named(name) => json.field("type", "tool").field("name", name),
    };
    if let (Some(parallel), false) = (request.parallel_tool_calls, *choice == ToolChoice::None) {
        json.key("disable_parallel_tool_use").boolean(!parallel);
    }
    json.end_object();
}

fn write_tool(json: &mut JsonWriter<'_>, tool: &Tool) {
    json.begin_object().field("name", &tool.name);
    json.optional_field("description", tool.description.as_deref());
    match &tool.parameters {
        Some(schema) => json.key("input_schema").json(schema),
        None => json.key("input_schema").raw(r#"{"type":"object","properties":{}}"#),
    };
    json.optional_boolean("strict", tool.strict.filter(|strict| *strict));
    json.optional_json("cache_control", tool.cache_control.as_ref()).end_object();
}
