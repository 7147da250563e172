//! The response object, whole.

use chat::{ApiError, ChatResponse, FinishReason, Usage};

use super::echo::Echo;
use super::error::{response_error_code, write_param_and_code};
use super::item::items_of;
use crate::AnswerContext;
use crate::json::JsonWriter;

/// Writes a whole answer. The API knows one answer a request: the first choice.
#[must_use]
pub fn encode_response(response: &ChatResponse, context: &AnswerContext, echo: &Echo) -> Vec<u8> {
    let head = Head::new(&response.id, &response.model, response.created, context);
    let choice = response.choices.first();
    let logprobs = choice.and_then(|choice| choice.logprobs.as_ref());
    let items = match choice {
        Some(choice) => {
            items_of(&choice.parts, logprobs.map_or(&[][..], |logprobs| &logprobs.content))
        }
        None => Vec::new(),
    };
    let outcome = choice.map_or(Outcome::Completed, |choice| Outcome::of_finish(&choice.finish));
    let last = items.len().saturating_sub(1);
    let mut body = Vec::with_capacity(1024);
    let mut json = JsonWriter::new(&mut body);
    head.write(&mut json, &outcome, echo, response.usage, |json| {
        for (index, item) in items.iter().enumerate() {
            let struck = index == last && !item.is_sealed();
            let status = if struck { outcome.item_status() } else { "completed" };
            item.write(json, &head.item_id(item.prefix(), index), status, echo.summary.is_some());
        }
    });
    body
}

/// How a response stands.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    InProgress,
    Completed,
    /// Cut, with the API's word for why.
    Incomplete(&'static str),
    Failed(&'a ApiError),
}

impl Outcome<'_> {
    pub(super) fn of_finish(finish: &FinishReason) -> Self {
        match finish {
            FinishReason::Length => Self::Incomplete("max_output_tokens"),
            FinishReason::ContentFilter => Self::Incomplete("content_filter"),
            FinishReason::Stop
            | FinishReason::ToolCalls
            | FinishReason::Refusal
            | FinishReason::Other(_) => Self::Completed,
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }

    /// Status of the item that the outcome struck.
    pub(super) fn item_status(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) | Self::Failed(_) => "incomplete",
        }
    }
}

/// What identifies a response.
#[derive(Debug, Default)]
pub(super) struct Head {
    id: String,
    model: String,
    created_at: u64,
    seed: String,
}

impl Head {
    pub(super) fn new(id: &str, model: &str, created: u64, context: &AnswerContext) -> Self {
        Self {
            id: if id.starts_with("resp_") {
                id.to_owned()
            } else {
                format!("resp_{}", context.id_seed)
            },
            model: if model.is_empty() { context.route.clone() } else { model.to_owned() },
            created_at: if created == 0 { context.now } else { created },
            seed: context.id_seed.clone(),
        }
    }

    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}{}{index:02x}", self.seed)
    }

    /// Writes the response object; `output` writes its items.
    pub(super) fn write(
        &self,
        json: &mut JsonWriter<'_>,
        outcome: &Outcome<'_>,
        echo: &Echo,
        usage: Option<Usage>,
        output: impl FnOnce(&mut JsonWriter<'_>),
    ) {
        json.begin_object().field("id", &self.id).field("object", "response");
        json.key("created_at").integer(self.created_at).field("status", outcome.status());
        json.key("error");
        match outcome {
            Outcome::Failed(error) => {
                json.begin_object().field("code", response_error_code(error.kind));
                json.field("message", &error.message).end_object();
            }
            _ => {
                json.null();
            }
        }
        json.key("incomplete_details");
        match outcome {
            Outcome::Incomplete(reason) => json.begin_object().field("reason", reason).end_object(),
            _ => json.null(),
        };
        json.field("model", &self.model).key("output").begin_array();
        output(json);
        json.end_array();
        echo.write(json);
        json.key("usage");
        match usage {
            Some(usage) => write_usage(json, usage),
            None => {
                json.null();
            }
        }
        json.end_object();
    }
}

fn write_usage(json: &mut JsonWriter<'_>, usage: Usage) {
    json.begin_object().key("input_tokens").integer(usage.prompt_tokens);
    json.key("input_tokens_details").begin_object();
    json.key("cached_tokens").integer(usage.cached_prompt_tokens);
    json.key("cache_write_tokens").integer(usage.cache_write_tokens).end_object();
    json.key("output_tokens").integer(usage.completion_tokens);
    json.key("output_tokens_details").begin_object();
    json.key("reasoning_tokens").integer(usage.reasoning_tokens).end_object();
    json.key("total_tokens").integer(usage.total_tokens()).end_object();
}

/// Writes the members of the flat `error` event.
pub(super) fn write_error_members(json: &mut JsonWriter<'_>, error: &ApiError) {
    json.field("message", &error.message);
    write_param_and_code(json, error);
}
