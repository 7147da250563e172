//! A stream in Anthropic's events: a message of numbered content blocks, one open at a time.

use std::collections::{BTreeSet, VecDeque};

use chat::{FinishReason, StreamEvent, Usage};

use super::error;
use super::response::{stop_reason, write_head};
use super::usage;
use crate::json::JsonWriter;
use crate::object_progress::ObjectProgress;
use crate::sse::push_event;
use crate::{AnswerContext, StreamEncode};

/// Writes the stream of `POST /v1/messages`. The API knows one answer a request: events of other
/// choices than the first are passed over.
#[derive(Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    id: String,
    model: String,
    usage: Usage,
    started: bool,
    over: bool,
    /// Number of the next content block.
    next_block: u32,
    open: Open,
    /// What came while a tool call was open that is not complete: blocks must not interleave.
    waiting: VecDeque<StreamEvent>,
    /// Calls whose block was opened.
    called: BTreeSet<u32>,
    finish: Option<(FinishReason, Option<String>)>,
    data: Vec<u8>,
}

/// The open content block.
#[derive(Debug)]
enum Open {
    Nothing,
    Text,
    Thinking,
    Call { index: u32, progress: ObjectProgress },
}

/// When an event of content is written.
enum Place {
    Now,
    /// The open tool call is not complete.
    Later,
    /// Its block is closed: its object was complete, so this is white space.
    TooLate,
}

impl StreamEncoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(context: AnswerContext) -> Self {
        Self {
            context,
            id: String::new(),
            model: String::new(),
            usage: Usage::default(),
            started: false,
            over: false,
            next_block: 0,
            open: Open::Nothing,
            waiting: VecDeque::new(),
            called: BTreeSet::new(),
            finish: None,
            data: Vec::with_capacity(256),
        }
    }

    fn emit(
        &mut self,
        event: &str,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut JsonWriter<'_>, &Self),
    ) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        let mut json = JsonWriter::new(&mut data);
        json.begin_object().field("type", event);
        members(&mut json, self);
        json.end_object();
        push_event(out, Some(event), &data);
        self.data = data;
    }

    /// The message begins with the first event that is more than an announcement, so that counts
    /// which follow the announcement at once are in it.
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.started {
            return;
        }
        self.started = true;
        self.emit("message_start", out, |json, encoder| {
            json.key("message");
            write_head(json, &encoder.id, &encoder.model, &encoder.context);
            json.key("content").begin_array().end_array();
            json.key("stop_reason").null().key("stop_sequence").null().key("usage");
            usage::write(json, encoder.usage);
            json.end_object();
        });
    }

    fn begin_block(
        &mut self,
        open: Open,
        out: &mut Vec<u8>,
        members: impl FnOnce(&mut JsonWriter<'_>),
    ) {
        self.start(out);
        self.close_block(out);
        self.open = open;
        self.emit("content_block_start", out, |json, encoder| {
            json.key("index").integer(encoder.next_block).key("content_block").begin_object();
            members(json);
            json.end_object();
        });
        if self.next_block == 0 {
            self.emit("ping", out, |_, _| {});
        }
        self.next_block += 1;
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        if matches!(std::mem::replace(&mut self.open, Open::Nothing), Open::Nothing) {
            return;
        }
        self.stop_block(out);
    }

    fn stop_block(&mut self, out: &mut Vec<u8>) {
        self.emit("content_block_stop", out, |json, encoder| {
            json.key("index").integer(encoder.next_block - 1);
        });
    }

    fn delta(&mut self, kind: &str, member: &str, value: &str, out: &mut Vec<u8>) {
        self.emit("content_block_delta", out, |json, encoder| {
            json.key("index").integer(encoder.next_block - 1).key("delta").begin_object();
            json.field("type", kind).field(member, value).end_object();
        });
    }

    fn place_of(&self, event: &StreamEvent) -> Place {
        let Open::Call { index: open, progress } = &self.open else { return Place::Now };
        match event {
            StreamEvent::ToolCallArguments { index, .. } if index == open => Place::Now,
            StreamEvent::ToolCallArguments { index, .. } if self.called.contains(index) => {
                Place::TooLate
            }
            _ if self.waiting.is_empty() && progress.is_complete() => Place::Now,
            _ => Place::Later,
        }
    }

    fn begin_thinking(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Thinking) {
            self.begin_block(Open::Thinking, out, |json| {
                json.field("type", "thinking").field("thinking", "").field("signature", "");
            });
        }
    }

    fn content(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        match event {
            StreamEvent::Text { text, .. } | StreamEvent::Refusal { text, .. } => {
                if !matches!(self.open, Open::Text) {
                    self.begin_block(Open::Text, out, |json| {
                        json.field("type", "text").field("text", "");
                    });
                }
                self.delta("text_delta", "text", text, out);
            }
            StreamEvent::Reasoning { text, .. } => {
                self.begin_thinking(out);
                self.delta("thinking_delta", "thinking", text, out);
            }
            StreamEvent::ReasoningSignature { signature, .. } => {
                self.begin_thinking(out);
                self.delta("signature_delta", "signature", signature, out);
                self.close_block(out);
            }
            StreamEvent::ReasoningEncrypted { data, .. } => {
                self.begin_block(Open::Nothing, out, |json| {
                    json.field("type", "redacted_thinking").field("data", data);
                });
                self.stop_block(out);
            }
            StreamEvent::ToolCallStart { index, id, name, .. } => {
                self.called.insert(*index);
                let open = Open::Call { index: *index, progress: ObjectProgress::default() };
                self.begin_block(open, out, |json| {
                    json.field("type", "tool_use").field("id", id).field("name", name);
                    json.key("input").begin_object().end_object();
                });
            }
            StreamEvent::ToolCallArguments { index, fragment, .. } => {
                let Open::Call { index: open, progress } = &mut self.open else { return };
                if index == open && !fragment.is_empty() {
                    progress.feed(fragment);
                    self.delta("input_json_delta", "partial_json", fragment, out);
                }
            }
            _ => {}
        }
    }

    /// Writes what waited, in order, up to the next call that is not complete.
    fn release(&mut self, everything: bool, out: &mut Vec<u8>) {
        loop {
            if let Open::Call { progress, .. } = &self.open
                && !everything
                && !progress.is_complete()
            {
                return;
            }
            let Some(event) = self.waiting.pop_front() else { return };
            self.content(&event, out);
            if matches!(event, StreamEvent::ToolCallStart { .. }) {
                self.own_pieces(out);
            }
        }
    }

    /// Takes the waiting pieces of the open call out of turn.
    fn own_pieces(&mut self, out: &mut Vec<u8>) {
        let Open::Call { index: open, .. } = self.open else { return };
        let own = |event: &StreamEvent| matches!(event, StreamEvent::ToolCallArguments { index, .. } if *index == open);
        let (mine, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(own);
        self.waiting = rest;
        for event in mine {
            self.content(&event, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.release(true, out);
        self.close_block(out);
        let (finish, sequence) = self.finish.take().unwrap_or((FinishReason::Stop, None));
        let (reason, sequence) = stop_reason(&finish, sequence.as_deref());
        self.emit("message_delta", out, |json, encoder| {
            json.key("delta").begin_object().field("stop_reason", reason).key("stop_sequence");
            match sequence {
                Some(sequence) => json.string(sequence),
                None => json.null(),
            };
            json.end_object().key("usage");
            usage::write(json, encoder.usage);
        });
        self.emit("message_stop", out, |_, _| {});
        self.over = true;
    }
}

impl StreamEncode for StreamEncoder {
    fn encode(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            StreamEvent::Start { id, model, .. } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
            }
            StreamEvent::Usage(usage) => self.usage = *usage,
            StreamEvent::Finish { choice: 0, reason, stop_sequence } => {
                self.finish = Some((reason.clone(), stop_sequence.clone()));
            }
            StreamEvent::Text { choice: 0, .. }
            | StreamEvent::Refusal { choice: 0, .. }
            | StreamEvent::Reasoning { choice: 0, .. }
            | StreamEvent::ReasoningSignature { choice: 0, .. }
            | StreamEvent::ReasoningEncrypted { choice: 0, .. }
            | StreamEvent::ToolCallStart { choice: 0, .. }
            | StreamEvent::ToolCallArguments { choice: 0, .. } => match self.place_of(event) {
                Place::Now => {
                    self.content(event, out);
                    self.release(false, out);
                }
                Place::Later => self.waiting.push_back(event.clone()),
                Place::TooLate => {}
            },
            StreamEvent::End => self.end(out),
            StreamEvent::Error(error) => {
                self.over = true;
                self.data.clear();
                error::write(&mut self.data, error, &self.context.request_id);
                push_event(out, Some("error"), &self.data);
            }
            _ => {}
        }
    }
}
