//! OpenAI's legacy completions, for callers: the prompt becomes a user's message where the
//! provider has no such API.

use chat::{
    ApiError, ChatRequest, ChatResponse, FinishReason, Message, Role, Sampling, StreamEvent, Usage,
};
use serde::Deserialize;

use crate::json::JsonWriter;
use crate::open_object::{open_object, text_or_list};
use crate::openai_chat::{write_error, write_usage};
use crate::{AnswerContext, StreamEncode, decode_json};

open_object! {
    /// A request as callers send it.
    RequestWire {
        model: String = "model",
        prompt: PromptWire = "prompt",
        temperature: f64 = "temperature",
        top_p: f64 = "top_p",
        frequency_penalty: f64 = "frequency_penalty",
        presence_penalty: f64 = "presence_penalty",
        seed: i64 = "seed",
        max_tokens: u64 = "max_tokens",
        stop: StopWire = "stop",
        n: u32 = "n",
        stream: bool = "stream",
        stream_options: StreamOptionsWire = "stream_options",
        user: String = "user",
        echo: bool = "echo",
        suffix: String = "suffix",
        best_of: u32 = "best_of",
        logprobs: u8 = "logprobs",
    }
}

text_or_list! {
    /// What is to be continued.
    PromptWire, String, "a string or an array of strings"
}

text_or_list! {
    /// Where the model stops.
    StopWire, String, "a string or an array of strings"
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptionsWire {
    include_usage: Option<bool>,
}

/// Reads the body of `POST /v1/completions`.
///
/// # Errors
/// A 400 that names the member; also for what has no counterpart in a conversation (`echo`,
/// `suffix`, `best_of`, `logprobs`, several prompts, token ids).
pub fn decode_request(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let wire: RequestWire = decode_json(body)?;
    for (member, used) in [
        ("echo", wire.echo == Some(true)),
        ("suffix", wire.suffix.is_some()),
        ("best_of", wire.best_of.is_some_and(|number| number > 1)),
        ("logprobs", wire.logprobs.is_some()),
    ] {
        if used {
            return Err(ApiError::invalid(
                member,
                format!("`{member}` is not available with this model; leave it out"),
            )
            .with_code("unsupported_parameter"));
        }
    }
    let prompt = match wire.prompt {
        Some(PromptWire::Text(text)) => text,
        Some(PromptWire::List(mut list)) if list.len() == 1 => list.remove(0),
        Some(PromptWire::List(_)) => {
            return Err(ApiError::invalid("prompt", "this model takes one `prompt` a request"));
        }
        None => {
            return Err(ApiError::invalid("prompt", "`prompt` is missing")
                .with_code("missing_required_parameter"));
        }
    };
    Ok(ChatRequest {
        model: wire.model.unwrap_or_default(),
        messages: vec![Message::text(Role::User, prompt)],
        sampling: Sampling {
            temperature: wire.temperature,
            top_p: wire.top_p,
            frequency_penalty: wire.frequency_penalty,
            presence_penalty: wire.presence_penalty,
            seed: wire.seed,
            ..Sampling::default()
        },
        max_output_tokens: wire.max_tokens,
        stop: match wire.stop {
            None => Vec::new(),
            Some(StopWire::Text(text)) => vec![text],
            Some(StopWire::List(list)) => list,
        },
        choice_count: wire.n,
        stream: wire.stream.unwrap_or(false),
        stream_usage: wire.stream_options.and_then(|options| options.include_usage) == Some(true),
        user: wire.user,
        ..ChatRequest::default()
    })
}

fn finish_name(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
        _ => "stop",
    }
}

fn write_head(json: &mut JsonWriter<'_>, context: &AnswerContext, model: &str, created: u64) {
    json.field("id", &format!("cmpl-{}", context.id_seed)).field("object", "text_completion");
    json.key("created").integer(if created == 0 { context.now } else { created });
    json.field("model", if model.is_empty() { &context.route } else { model });
}

fn write_choice(json: &mut JsonWriter<'_>, index: u32, text: &str, finish: Option<&str>) {
    json.begin_object().field("text", text).key("index").integer(index).key("logprobs").null();
    match finish {
        Some(reason) => json.field("finish_reason", reason),
        None => json.key("finish_reason").null(),
    };
    json.end_object();
}

/// Writes a whole answer for a caller.
#[must_use]
pub fn encode_response(response: &ChatResponse, context: &AnswerContext) -> Vec<u8> {
    let mut body = Vec::new();
    let mut json = JsonWriter::new(&mut body);
    json.begin_object();
    write_head(&mut json, context, &response.model, response.created);
    json.key("choices").begin_array();
    for choice in &response.choices {
        let finish = Some(finish_name(&choice.finish));
        write_choice(&mut json, choice.index, &choice.joined_text(), finish);
    }
    json.end_array();
    if let Some(usage) = &response.usage {
        json.key("usage");
        write_usage(&mut json, usage);
    }
    json.end_object();
    body
}

/// Writes a stream of `text_completion` events for a caller.
#[derive(Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    model: String,
    created: u64,
    usage: Option<Usage>,
    /// Whether the end, or an error, was told.
    over: bool,
}

impl StreamEncoder {
    /// An encoder at the beginning of a stream.
    #[must_use]
    pub fn new(context: &AnswerContext) -> Self {
        Self {
            context: context.clone(),
            model: String::new(),
            created: 0,
            usage: None,
            over: false,
        }
    }

    fn chunk(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut JsonWriter<'_>)) {
        out.extend_from_slice(b"data: ");
        let mut json = JsonWriter::new(out);
        json.begin_object();
        write_head(&mut json, &self.context, &self.model, self.created);
        json.key("choices").begin_array();
        write(&mut json);
        json.end_array();
        json.end_object();
        out.extend_from_slice(b"\n\n");
    }
}

impl StreamEncode for StreamEncoder {
    fn encode(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = matches!(event, StreamEvent::End | StreamEvent::Error(_));
        match event {
            StreamEvent::Start { model, created, .. } => {
                self.model.clone_from(model);
                self.created = *created;
            }
            StreamEvent::Text { choice, text } => {
                self.chunk(out, |json| write_choice(json, *choice, text, None));
            }
            StreamEvent::Finish { choice, reason, .. } => {
                let finish = Some(finish_name(reason));
                self.chunk(out, |json| write_choice(json, *choice, "", finish));
            }
            StreamEvent::Usage(usage) => self.usage = Some(*usage),
            StreamEvent::End => {
                if let Some(usage) = self.usage.filter(|_| self.context.stream_usage) {
                    out.extend_from_slice(b"data: ");
                    let mut json = JsonWriter::new(out);
                    json.begin_object();
                    write_head(&mut json, &self.context, &self.model, self.created);
                    json.key("choices").begin_array().end_array().key("usage");
                    write_usage(&mut json, &usage);
                    json.end_object();
                    out.extend_from_slice(b"\n\n");
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            StreamEvent::Error(error) => {
                out.extend_from_slice(b"data: {\"error\":");
                write_error(&mut JsonWriter::new(out), error);
                out.extend_from_slice(b"}\n\n");
            }
            // A completion is text and nothing else.
            _ => {}
        }
    }
}
