//! Single events, and the items that they tell of while those grow.

use super::item::{Content, Item, write_logprobs, write_text};
use crate::json::JsonWriter;
use crate::object_progress::ObjectProgress;

/// Takes an event's name and its JSON.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&str, &[u8]);

/// Writes single events.
#[derive(Debug, Default)]
pub(super) struct Events {
    sequence: u64,
    stream_id: Option<String>,
    data: Vec<u8>,
}

/// An item that may still grow. Calls stay open beside the others until their arguments are
/// whole, because pieces of several calls may alternate.
#[derive(Debug)]
pub(super) struct OpenItem {
    pub(super) output: usize,
    pub(super) id: String,
    pub(super) item: Item,
    /// Whether the message's last part still takes text.
    pub(super) part_open: bool,
    /// Of a call: its number among the calls, and how far its arguments are.
    pub(super) call: Option<(u32, ObjectProgress)>,
}

impl Events {
    /// Numbers from 0; `stream_id` is repeated in every event.
    pub(super) fn new(stream_id: Option<String>) -> Self {
        Self { stream_id, ..Self::default() }
    }

    pub(super) fn emit(
        &mut self,
        sink: Sink<'_>,
        event: &str,
        members: impl FnOnce(&mut JsonWriter<'_>),
    ) {
        self.data.clear();
        let mut json = JsonWriter::new(&mut self.data);
        json.begin_object().field("type", event).key("sequence_number").integer(self.sequence);
        json.optional_field("stream_id", self.stream_id.as_deref());
        members(&mut json);
        json.end_object();
        // The request's own JSON is repeated as it came, and a line break would end the line of
        // data. In JSON text it can only be white space between tokens.
        for byte in &mut self.data {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.sequence += 1;
        sink(event, &self.data);
    }

    /// An event about an item; `index` is the number of its part, under the key the event has.
    pub(super) fn on_item(
        &mut self,
        sink: Sink<'_>,
        event: &str,
        item: &OpenItem,
        index: Option<(&str, usize)>,
        members: impl FnOnce(&mut JsonWriter<'_>),
    ) {
        self.emit(sink, event, |json| {
            json.field("item_id", &item.id).key("output_index").integer(item.output);
            if let Some((key, index)) = index {
                json.key(key).integer(index);
            }
            members(json);
        });
    }
}

/// Closes the message's open part.
pub(super) fn close_part(events: &mut Events, open: &mut OpenItem, sink: Sink<'_>) {
    if !std::mem::replace(&mut open.part_open, false) {
        return;
    }
    let Item::Message(parts) = &open.item else { return };
    let Some(part) = parts.last() else { return };
    let index = Some(("content_index", parts.len() - 1));
    match part {
        Content::Text(text, logprobs) => {
            events.on_item(sink, "response.output_text.done", open, index, |json| {
                json.field("text", text);
                write_logprobs(json, logprobs);
            });
        }
        Content::Refusal(refusal) => {
            events.on_item(sink, "response.refusal.done", open, index, |json| {
                json.field("refusal", refusal);
            });
        }
    }
    events.on_item(sink, "response.content_part.done", open, index, |json| {
        json.key("part");
        part.write(json);
    });
}

/// Closes the readable thinking of an item.
pub(super) fn close_reasoning(
    events: &mut Events,
    open: &OpenItem,
    text: &str,
    summary: bool,
    sink: Sink<'_>,
) {
    let (text_done, part_done, index, kind) = if summary {
        (
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            Some(("summary_index", 0)),
            "summary_text",
        )
    } else {
        (
            "response.reasoning_text.done",
            "response.content_part.done",
            Some(("content_index", 0)),
            "reasoning_text",
        )
    };
    events.on_item(sink, text_done, open, index, |json| {
        json.field("text", text);
    });
    events.on_item(sink, part_done, open, index, |json| {
        json.key("part");
        write_text(json, kind, text);
    });
}

/// Writes the message's last part.
pub(super) fn write_last_part(open: &OpenItem, json: &mut JsonWriter<'_>) {
    if let Item::Message(parts) = &open.item
        && let Some(part) = parts.last()
    {
        part.write(json);
    }
}
