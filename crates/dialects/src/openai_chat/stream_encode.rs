use std::collections::BTreeSet;

use chat::{ApiError, StreamEvent, Usage};

use super::response::{answer_id, finish_name};
use super::usage::write_usage;
use super::write_error;
use crate::json::{JsonWriter, push_string};
use crate::{AnswerContext, StreamEncode};

/// Writes a stream of `chat.completion.chunk` events for a caller.
#[derive(Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    /// What every chunk begins with, once the answer has.
    head: Vec<u8>,
    /// Choices whose role was told.
    begun: BTreeSet<u32>,
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
            head: Vec::new(),
            begun: BTreeSet::new(),
            usage: None,
            over: false,
        }
    }

    fn begin(&mut self, id: &str, model: &str, created: u64) {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"data: {\"id\":");
        push_string(&mut head, &answer_id(id, &self.context));
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        let created = if created == 0 { self.context.now } else { created };
        head.extend_from_slice(created.to_string().as_bytes());
        head.extend_from_slice(b",\"model\":");
        push_string(&mut head, if model.is_empty() { &self.context.route } else { model });
        self.head = head;
    }

    /// Writes one chunk of one choice; `write` writes the members of its delta.
    fn chunk(
        &mut self,
        out: &mut Vec<u8>,
        choice: u32,
        finish: Option<&str>,
        logprobs: &[chat::Json],
        write: impl FnOnce(&mut JsonWriter<'_>),
    ) {
        if self.head.is_empty() {
            self.begin("", "", 0);
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b",\"choices\":[");
        let mut json = JsonWriter::new(out);
        json.begin_object().key("index").integer(choice).key("delta").begin_object();
        if self.begun.insert(choice) {
            json.field("role", "assistant");
        }
        write(&mut json);
        json.end_object().key("logprobs");
        if logprobs.is_empty() {
            json.null();
        } else {
            json.begin_object().key("content").begin_array();
            for entry in logprobs {
                // A line break in an event would end its line.
                json.raw(&entry.get().replace(['\n', '\r'], " "));
            }
            json.end_array().key("refusal").null().end_object();
        }
        match finish {
            Some(reason) => json.field("finish_reason", reason),
            None => json.key("finish_reason").null(),
        };
        json.end_object();
        out.push(b']');
        if self.context.stream_usage {
            out.extend_from_slice(b",\"usage\":null");
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(usage) = self.usage.filter(|_| self.context.stream_usage) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b",\"choices\":[],\"usage\":");
            write_usage(&mut JsonWriter::new(out), &usage);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

fn write_error_event(out: &mut Vec<u8>, error: &ApiError) {
    out.extend_from_slice(b"data: {\"error\":");
    write_error(&mut JsonWriter::new(out), error);
    out.extend_from_slice(b"}\n\n");
}

impl StreamEncode for StreamEncoder {
    fn encode(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        self.over = matches!(event, StreamEvent::End | StreamEvent::Error(_));
        match event {
            StreamEvent::Start { id, model, created } => {
                self.begin(id, model, *created);
                self.chunk(out, 0, None, &[], |json| _ = json.field("content", ""));
            }
            StreamEvent::Text { choice, text } => {
                self.chunk(out, *choice, None, &[], |json| _ = json.field("content", text));
            }
            StreamEvent::Reasoning { choice, text } => {
                self.chunk(out, *choice, None, &[], |json| {
                    json.field("reasoning_content", text);
                });
            }
            StreamEvent::Refusal { choice, text } => {
                self.chunk(out, *choice, None, &[], |json| _ = json.field("refusal", text));
            }
            StreamEvent::ToolCallStart { choice, index, id, name } => {
                self.chunk(out, *choice, None, &[], |json| {
                    json.key("tool_calls").begin_array().begin_object();
                    json.key("index").integer(*index).field("id", id).field("type", "function");
                    json.key("function").begin_object().field("name", name);
                    json.field("arguments", "").end_object().end_object().end_array();
                });
            }
            StreamEvent::ToolCallArguments { choice, index, fragment } => {
                self.chunk(out, *choice, None, &[], |json| {
                    json.key("tool_calls").begin_array().begin_object();
                    json.key("index").integer(*index).key("function").begin_object();
                    json.field("arguments", fragment).end_object().end_object().end_array();
                });
            }
            StreamEvent::Logprobs { choice, content } => {
                self.chunk(out, *choice, None, content, |_| {});
            }
            StreamEvent::Finish { choice, reason, .. } => {
                self.chunk(out, *choice, Some(finish_name(reason)), &[], |_| {});
            }
            StreamEvent::Usage(usage) => self.usage = Some(*usage),
            StreamEvent::End => self.end(out),
            StreamEvent::Error(error) => write_error_event(out, error),
            // Proofs of thinking have no place in this dialect.
            StreamEvent::ReasoningSignature { .. } | StreamEvent::ReasoningEncrypted { .. } => {}
        }
    }
}
