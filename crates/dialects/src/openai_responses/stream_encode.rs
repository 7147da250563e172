//! A response as the API's numbered events: items open, fill and close, each under its number.

use std::collections::BTreeMap;

use chat::{ApiError, FinishReason, Json, Reasoning, StreamEvent, ToolCall, Usage};

use super::echo::Echo;
use super::error::write_object;
use super::item::{Content, Item, arguments, write_logprobs, write_text};
use super::open_item::{Events, OpenItem, Sink, close_part, close_reasoning, write_last_part};
use super::response::{Head, Outcome, write_error_members};
use crate::json::JsonWriter;
use crate::object_progress::ObjectProgress;
use crate::sse::push_event;
use crate::{AnswerContext, StreamEncode};

/// Writes the events of a response. As [`StreamEncode`] it frames them for server-sent events;
/// [`StreamEncoder::events`] hands them out bare, for a WebSocket. The API knows one answer a
/// request: events of other choices than the first are passed over.
#[derive(Debug)]
pub struct StreamEncoder {
    context: AnswerContext,
    echo: Echo,
    head: Head,
    created: bool,
    over: bool,
    events: Events,
    open: Vec<OpenItem>,
    next_output: usize,
    /// Closed items as JSON, by their number.
    closed: BTreeMap<usize, Vec<u8>>,
    /// Text that waits for its log-probabilities.
    held: Option<String>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

impl StreamEncoder {
    /// At the beginning of a response to the request that `echo` was taken from.
    #[must_use]
    pub fn new(context: AnswerContext, echo: Echo) -> Self {
        let events = Events::new(echo.stream_id.clone());
        Self {
            context,
            echo,
            head: Head::default(),
            created: false,
            over: false,
            events,
            open: Vec::new(),
            next_output: 0,
            closed: BTreeMap::new(),
            held: None,
            finish: None,
            usage: None,
        }
    }

    /// Hands the name and the JSON of each event that `event` amounts to to `sink`. A stream that
    /// breaks ends with `response.failed`.
    pub fn events(&mut self, event: &StreamEvent, sink: &mut impl FnMut(&str, &[u8])) {
        self.take(event, sink);
    }

    fn take(&mut self, event: &StreamEvent, sink: Sink<'_>) {
        if self.over {
            return;
        }
        if let StreamEvent::Start { id, model, created } = event {
            self.create(id, model, *created, sink);
            return;
        }
        self.create("", "", 0, sink);
        if let (StreamEvent::Logprobs { choice: 0, content }, Some(text)) = (event, &self.held) {
            let text = text.clone();
            self.held = None;
            self.text(&text, content, sink);
            return;
        }
        if let Some(text) = self.held.take() {
            self.text(&text, &[], sink);
        }
        match event {
            StreamEvent::Text { choice: 0, text } if self.echo.wants_logprobs => {
                self.held = Some(text.clone());
            }
            StreamEvent::Text { choice: 0, text } => self.text(text, &[], sink),
            StreamEvent::Refusal { choice: 0, text } => self.refusal(text, sink),
            StreamEvent::Reasoning { choice: 0, text } => self.reasoning(text, sink),
            StreamEvent::ReasoningSignature { choice: 0, signature } => {
                let position = self.open_reasoning(sink);
                if let Item::Reasoning(reasoning) = &mut self.open[position].item {
                    reasoning.signature = Some(signature.clone());
                }
                self.close_words(sink);
            }
            StreamEvent::ReasoningEncrypted { choice: 0, data } => {
                self.make_room(sink);
                let encrypted = Some(data.clone());
                let reasoning = Reasoning { encrypted, ..Reasoning::default() };
                self.begin(Item::Reasoning(reasoning), None, sink);
                self.close_words(sink);
            }
            StreamEvent::ToolCallStart { choice: 0, index, id, name } => {
                self.make_room(sink);
                let call =
                    ToolCall { id: id.clone(), name: name.clone(), arguments: String::new() };
                self.begin(Item::Call(call), Some(*index), sink);
            }
            StreamEvent::ToolCallArguments { choice: 0, index, fragment } => {
                self.arguments(*index, fragment, sink);
            }
            StreamEvent::Finish { choice: 0, reason, .. } => self.finish = Some(reason.clone()),
            StreamEvent::Usage(usage) => self.usage = Some(*usage),
            StreamEvent::End => self.end(sink),
            StreamEvent::Error(error) => self.fail(error, sink),
            _ => {}
        }
    }

    fn create(&mut self, id: &str, model: &str, created: u64, sink: Sink<'_>) {
        if self.created {
            return;
        }
        self.created = true;
        self.head = Head::new(id, model, created, &self.context);
        for event in ["response.created", "response.in_progress"] {
            self.events.emit(sink, event, |json| {
                json.key("response");
                self.head.write(json, &Outcome::InProgress, &self.echo, None, |_| {});
            });
        }
    }

    fn begin(&mut self, item: Item, call: Option<u32>, sink: Sink<'_>) {
        let output = self.next_output;
        self.next_output += 1;
        let id = self.head.item_id(item.prefix(), output);
        self.events.emit(sink, "response.output_item.added", |json| {
            json.key("output_index").integer(output).key("item");
            match &item {
                // The closed form says `{}` for no arguments; a beginning has none yet.
                Item::Call(call) => {
                    json.begin_object().field("id", &id).field("type", "function_call");
                    json.field("status", "in_progress").field("arguments", "");
                    json.field("call_id", &call.id).field("name", &call.name).end_object();
                }
                _ => item.write(json, &id, "in_progress", self.echo.summary.is_some()),
            }
        });
        let call = call.map(|index| (index, ObjectProgress::default()));
        self.open.push(OpenItem { output, id, item, part_open: false, call });
    }

    /// Closes what a new item ends: words and thinking, and calls that are whole.
    fn make_room(&mut self, sink: Sink<'_>) {
        self.close_where(
            |item| item.call.as_ref().is_none_or(|(_, progress)| progress.is_complete()),
            "completed",
            sink,
        );
    }

    /// Closes the open message or thinking.
    fn close_words(&mut self, sink: Sink<'_>) {
        self.close_where(|item| item.call.is_none(), "completed", sink);
    }

    fn close_where(&mut self, which: impl Fn(&OpenItem) -> bool, status: &str, sink: Sink<'_>) {
        let mut position = 0;
        while position < self.open.len() {
            if which(&self.open[position]) {
                let mut item = self.open.remove(position);
                self.close(&mut item, status, sink);
            } else {
                position += 1;
            }
        }
    }

    /// Position of the open item of words that `fits`; others are closed and `make` begins one.
    fn words(
        &mut self,
        fits: impl Fn(&Item) -> bool,
        make: impl FnOnce() -> Item,
        sink: Sink<'_>,
    ) -> usize {
        if let Some(position) = self.open.iter().position(|open| fits(&open.item)) {
            return position;
        }
        self.make_room(sink);
        self.begin(make(), None, sink);
        self.open.len() - 1
    }

    fn text(&mut self, text: &str, logprobs: &[Json], sink: Sink<'_>) {
        let empty = || Content::Text(String::new(), Vec::new());
        let position = self.message_part(|part| matches!(part, Content::Text(..)), empty, sink);
        let open = &mut self.open[position];
        let Item::Message(parts) = &mut open.item else { return };
        let index = parts.len() - 1;
        if let Some(Content::Text(whole, all)) = parts.last_mut() {
            whole.push_str(text);
            all.extend_from_slice(logprobs);
        }
        let index = Some(("content_index", index));
        self.events.on_item(sink, "response.output_text.delta", open, index, |json| {
            json.field("delta", text);
            write_logprobs(json, logprobs);
        });
    }

    fn refusal(&mut self, text: &str, sink: Sink<'_>) {
        let empty = || Content::Refusal(String::new());
        let position = self.message_part(|part| matches!(part, Content::Refusal(_)), empty, sink);
        let open = &mut self.open[position];
        let Item::Message(parts) = &mut open.item else { return };
        let index = parts.len() - 1;
        if let Some(Content::Refusal(whole)) = parts.last_mut() {
            whole.push_str(text);
        }
        let index = Some(("content_index", index));
        self.events.on_item(sink, "response.refusal.delta", open, index, |json| {
            json.field("delta", text);
        });
    }

    /// Position of the open message, whose last part is open and `fits`.
    fn message_part(
        &mut self,
        fits: impl Fn(&Content) -> bool,
        empty: impl FnOnce() -> Content,
        sink: Sink<'_>,
    ) -> usize {
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        let position = self.words(is_message, || Item::Message(Vec::new()), sink);
        let open = &mut self.open[position];
        let fits = open.part_open
            && matches!(&open.item, Item::Message(parts) if parts.last().is_some_and(fits));
        if !fits {
            close_part(&mut self.events, open, sink);
            let part = empty();
            let Item::Message(parts) = &mut open.item else { return position };
            parts.push(part);
            open.part_open = true;
            let index = Some(("content_index", parts.len() - 1));
            self.events.on_item(sink, "response.content_part.added", open, index, |json| {
                json.key("part");
                write_last_part(open, json);
            });
        }
        position
    }

    fn open_reasoning(&mut self, sink: Sink<'_>) -> usize {
        self.words(
            |item| matches!(item, Item::Reasoning(_)),
            || Item::Reasoning(Reasoning::default()),
            sink,
        )
    }

    fn reasoning(&mut self, text: &str, sink: Sink<'_>) {
        let position = self.open_reasoning(sink);
        let (added, delta, index, kind) = if self.echo.summary.is_some() {
            (
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta",
                Some(("summary_index", 0)),
                "summary_text",
            )
        } else {
            (
                "response.content_part.added",
                "response.reasoning_text.delta",
                Some(("content_index", 0)),
                "reasoning_text",
            )
        };
        let open = &mut self.open[position];
        if !open.part_open {
            open.part_open = true;
            self.events.on_item(sink, added, open, index, |json| {
                json.key("part");
                write_text(json, kind, "");
            });
        }
        if let Item::Reasoning(reasoning) = &mut open.item {
            reasoning.text.push_str(text);
        }
        self.events.on_item(sink, delta, open, index, |json| {
            json.field("delta", text);
        });
    }

    fn arguments(&mut self, index: u32, fragment: &str, sink: Sink<'_>) {
        let own = |open: &&mut OpenItem| open.call.as_ref().is_some_and(|(call, _)| *call == index);
        let Some(open) = self.open.iter_mut().find(own) else { return };
        if let (Item::Call(call), Some((_, progress))) = (&mut open.item, &mut open.call) {
            call.arguments.push_str(fragment);
            progress.feed(fragment);
        }
        self.events.on_item(sink, "response.function_call_arguments.delta", open, None, |json| {
            json.field("delta", fragment);
        });
    }

    fn close(&mut self, open: &mut OpenItem, status: &str, sink: Sink<'_>) {
        let summary = self.echo.summary.is_some();
        match &open.item {
            Item::Message(_) => close_part(&mut self.events, open, sink),
            Item::Call(call) => {
                let event = "response.function_call_arguments.done";
                self.events.on_item(sink, event, open, None, |json| {
                    json.field("arguments", arguments(call)).field("name", &call.name);
                });
            }
            Item::Reasoning(reasoning) if open.part_open => {
                close_reasoning(&mut self.events, open, &reasoning.text, summary, sink);
            }
            Item::Reasoning(_) => {}
        }
        let mut whole = Vec::new();
        open.item.write(&mut JsonWriter::new(&mut whole), &open.id, status, summary);
        self.events.emit(sink, "response.output_item.done", |json| {
            json.key("output_index").integer(open.output).key("item");
            json.raw(&String::from_utf8_lossy(&whole));
        });
        self.closed.insert(open.output, whole);
    }

    fn close_all(&mut self, outcome: &Outcome<'_>, sink: Sink<'_>) {
        let last = self.next_output.saturating_sub(1);
        self.close_where(|item| item.output != last, "completed", sink);
        self.close_where(|_| true, outcome.item_status(), sink);
    }

    fn end(&mut self, sink: Sink<'_>) {
        let finish = self.finish.take().unwrap_or(FinishReason::Stop);
        let outcome = Outcome::of_finish(&finish);
        self.close_all(&outcome, sink);
        let event = match outcome {
            Outcome::Incomplete(_) => "response.incomplete",
            _ => "response.completed",
        };
        self.last(event, &outcome, sink);
    }

    fn fail(&mut self, error: &ApiError, sink: Sink<'_>) {
        let outcome = Outcome::Failed(error);
        self.close_all(&outcome, sink);
        self.last("response.failed", &outcome, sink);
    }

    fn last(&mut self, event: &str, outcome: &Outcome<'_>, sink: Sink<'_>) {
        self.over = true;
        self.events.emit(sink, event, |json| {
            json.key("response");
            self.head.write(json, outcome, &self.echo, self.usage, |json| {
                for item in self.closed.values() {
                    json.raw(&String::from_utf8_lossy(item));
                }
            });
        });
    }
}

impl StreamEncode for StreamEncoder {
    fn encode(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        let was_over = self.over;
        self.take(event, &mut |name, data| push_event(out, Some(name), data));
        // SDKs raise on `error` only, and pass over `response.failed`.
        if let (StreamEvent::Error(error), false) = (event, was_over) {
            self.events.emit(
                &mut |name, data| push_event(out, Some(name), data),
                "error",
                |json| {
                    write_error_members(json, error);
                    json.key("error");
                    write_object(json, error);
                },
            );
        }
    }
}
