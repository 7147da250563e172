use std::collections::BTreeMap;

use chat::{ApiError, FinishReason, StreamEvent, Usage};

use super::error::decode_error;
use super::response::{ChoiceWire, ResponseWire, failed, finish_reason};
use super::state_id::call_id;
use crate::StreamDecode;
use crate::conversion::{interrupted, unreadable};
use crate::sse::{SseEvent, SseParser};

/// Largest event that is read, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// Reads GigaChat's stream.
#[derive(Debug)]
pub struct StreamDecoder {
    parser: SseParser,
    state: State,
}

#[derive(Debug)]
struct State {
    id_seed: String,
    started: bool,
    over: bool,
    choices: BTreeMap<u32, ChoiceState>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    calls: u32,
    finished: bool,
}

impl StreamDecoder {
    /// A decoder at the beginning of a stream. `id_seed` makes the ids of calls unique.
    #[must_use]
    pub fn new(id_seed: &str) -> Self {
        Self {
            parser: SseParser::new(MAX_EVENT),
            state: State {
                id_seed: id_seed.to_owned(),
                started: false,
                over: false,
                choices: BTreeMap::new(),
            },
        }
    }
}

impl StreamDecode for StreamDecoder {
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>) {
        let state = &mut self.state;
        self.parser.feed(bytes, |event| state.take(event, out));
        if self.parser.overflowed() && !self.state.over {
            self.state.fail(unreadable("an event is too large"), out);
        }
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) {
        let state = &mut self.state;
        self.parser.finish(|event| state.take(event, out));
        if state.over {
            return;
        }
        if state.complete() {
            state.over = true;
            out.push(StreamEvent::End);
        } else {
            state.fail(interrupted(), out);
        }
    }
}

impl State {
    fn complete(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.finished)
    }

    fn fail(&mut self, error: ApiError, out: &mut Vec<StreamEvent>) {
        self.over = true;
        out.push(StreamEvent::Error(error));
    }

    fn take(&mut self, event: SseEvent<'_>, out: &mut Vec<StreamEvent>) {
        if self.over {
            return;
        }
        if event.data.trim_ascii() == b"[DONE]" {
            if !self.complete() {
                return self.fail(interrupted(), out);
            }
            self.over = true;
            out.push(StreamEvent::End);
            return;
        }
        let Ok(wire) = serde_json::from_slice::<ResponseWire>(event.data) else {
            return self.fail(unreadable("an event is not what it should be"), out);
        };
        if let (Some(status), true) = (wire.status, wire.choices.is_empty()) {
            return self.fail(decode_error(status, event.data, None), out);
        }
        if !self.started && !wire.choices.is_empty() {
            self.started = true;
            let (model, created) = (wire.model, wire.created);
            out.push(StreamEvent::Start { id: String::new(), model, created });
        }
        for choice in wire.choices {
            self.choice(choice, out);
        }
        if let Some(usage) = wire.usage.filter(|_| !self.over) {
            out.push(StreamEvent::Usage(Usage::from(usage)));
        }
    }

    fn choice(&mut self, wire: ChoiceWire, out: &mut Vec<StreamEvent>) {
        let choice = wire.index;
        let state = self.choices.entry(choice).or_default();
        if state.finished {
            return;
        }
        if let Some(message) = wire.message
            // Progress of a built-in function, not a word of the answer.
            && message.role.as_deref() != Some("function_in_progress")
        {
            if let Some(text) = message.reasoning_content.filter(|text| !text.is_empty()) {
                out.push(StreamEvent::Reasoning { choice, text });
            }
            if let Some(text) = message.content.filter(|text| !text.is_empty()) {
                out.push(StreamEvent::Text { choice, text });
            }
            if let Some(call) = message.function_call {
                let index = state.calls;
                state.calls = index.saturating_add(1);
                let state_id = message.functions_state_id.as_deref();
                let id = call_id(&self.id_seed, choice, index, state_id);
                let fragment = call.arguments();
                out.push(StreamEvent::ToolCallStart { choice, index, id, name: call.name });
                out.push(StreamEvent::ToolCallArguments { choice, index, fragment });
            }
        }
        if let Some(name) = wire.finish_reason.filter(|name| !name.is_empty()) {
            state.finished = true;
            let reason = finish_reason(&name);
            if reason == FinishReason::Other("error".to_owned()) {
                return self.fail(failed(), out);
            }
            out.push(StreamEvent::Finish { choice, reason, stop_sequence: None });
        }
    }
}
