use std::collections::BTreeMap;

use chat::{ApiError, FinishReason, StreamEvent, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::error::error_in_success;
use super::response::{Arguments, LogprobsWire, finish_reason, made_id};
use super::usage::UsageWire;
use crate::StreamDecode;
use crate::conversion::{interrupted, unreadable};
use crate::sse::{SseEvent, SseParser};

/// Largest event that is read, in bytes.
const MAX_EVENT: usize = 16 << 20;

#[derive(Deserialize)]
struct ChunkWire {
    id: Option<String>,
    model: Option<String>,
    created: Option<f64>,
    #[serde(default)]
    choices: Vec<ChoiceWire>,
    usage: Option<UsageWire>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChoiceWire {
    #[serde(default)]
    index: u32,
    delta: Option<DeltaWire>,
    finish_reason: Option<String>,
    logprobs: Option<LogprobsWire>,
}

#[derive(Deserialize)]
struct DeltaWire {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCallWire>>,
    function_call: Option<FunctionWire>,
}

#[derive(Deserialize)]
struct ToolCallWire {
    index: Option<u32>,
    id: Option<String>,
    function: Option<FunctionWire>,
}

#[derive(Deserialize)]
struct FunctionWire {
    name: Option<String>,
    arguments: Option<Arguments>,
}

/// Reads a provider's stream of `chat.completion.chunk` events.
#[derive(Debug)]
pub struct StreamDecoder {
    parser: SseParser,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    answer_id: String,
    choices: BTreeMap<u32, ChoiceState>,
    /// The end was told: properly or by an error.
    over: bool,
}

#[derive(Debug, Default)]
struct ChoiceState {
    /// Ids of the calls that have begun, by index.
    calls: BTreeMap<u32, String>,
    finished: bool,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamDecoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: SseParser::new(MAX_EVENT), state: State::default() }
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
        // Several engines leave [DONE] out; a finish reason for each choice says as much.
        let complete =
            !state.choices.is_empty() && state.choices.values().all(|choice| choice.finished);
        if complete {
            state.over = true;
            out.push(StreamEvent::End);
        } else {
            state.fail(interrupted(), out);
        }
    }
}

impl State {
    fn fail(&mut self, error: ApiError, out: &mut Vec<StreamEvent>) {
        self.over = true;
        out.push(StreamEvent::Error(error));
    }

    fn take(&mut self, event: SseEvent<'_>, out: &mut Vec<StreamEvent>) {
        if self.over {
            return;
        }
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            if self.choices.is_empty() {
                return self.fail(unreadable("it is empty"), out);
            }
            self.over = true;
            self.finish_silently(out);
            out.push(StreamEvent::End);
            return;
        }
        match serde_json::from_slice::<ChunkWire>(data) {
            Ok(chunk) => self.chunk(chunk, out),
            Err(_) => self.fail(unreadable("an event is not what it should be"), out),
        }
    }

    fn chunk(&mut self, chunk: ChunkWire, out: &mut Vec<StreamEvent>) {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return self.fail(error_in_success(error), out);
        }
        if !self.started && !chunk.choices.is_empty() {
            self.started = true;
            self.answer_id = chunk.id.unwrap_or_default();
            out.push(StreamEvent::Start {
                id: self.answer_id.clone(),
                model: chunk.model.unwrap_or_default(),
                created: chunk.created.map_or(0, |seconds| seconds as u64),
            });
        }
        for choice in chunk.choices {
            self.choice(choice, out);
        }
        if let Some(usage) = chunk.usage {
            out.push(StreamEvent::Usage(Usage::from(usage)));
        }
    }

    fn choice(&mut self, wire: ChoiceWire, out: &mut Vec<StreamEvent>) {
        let number = wire.index;
        let state = self.choices.entry(number).or_default();
        if let Some(delta) = wire.delta {
            let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
            if let Some(text) = filled(delta.reasoning_content).or(filled(delta.reasoning)) {
                out.push(StreamEvent::Reasoning { choice: number, text });
            }
            if let Some(text) = filled(delta.content) {
                out.push(StreamEvent::Text { choice: number, text });
            }
            if let Some(text) = filled(delta.refusal) {
                out.push(StreamEvent::Refusal { choice: number, text });
            }
            for (position, call) in delta.tool_calls.unwrap_or_default().into_iter().enumerate() {
                let index = call.index.unwrap_or(u32::try_from(position).unwrap_or(0));
                if let Some(function) = call.function {
                    state.call(number, index, filled(call.id), function, &self.answer_id, out);
                }
            }
            if let Some(function) = delta.function_call {
                state.call(number, 0, None, function, &self.answer_id, out);
            }
        }
        if let Some(content) = wire.logprobs.and_then(|logprobs| logprobs.content)
            && !content.is_empty()
        {
            out.push(StreamEvent::Logprobs { choice: number, content });
        }
        if let Some(name) = wire.finish_reason.filter(|name| !name.is_empty())
            && !state.finished
        {
            state.finished = true;
            let reason = match finish_reason(&name) {
                FinishReason::Stop if !state.calls.is_empty() => FinishReason::ToolCalls,
                reason => reason,
            };
            out.push(StreamEvent::Finish { choice: number, reason, stop_sequence: None });
        }
    }

    /// `[DONE]` without a finish reason: some engines do so.
    fn finish_silently(&mut self, out: &mut Vec<StreamEvent>) {
        for (number, choice) in &mut self.choices {
            if !choice.finished {
                choice.finished = true;
                let calls = !choice.calls.is_empty();
                out.push(StreamEvent::Finish {
                    choice: *number,
                    reason: if calls { FinishReason::ToolCalls } else { FinishReason::Stop },
                    stop_sequence: None,
                });
            }
        }
    }
}

impl ChoiceState {
    fn call(
        &mut self,
        choice: u32,
        index: u32,
        id: Option<String>,
        function: FunctionWire,
        answer_id: &str,
        out: &mut Vec<StreamEvent>,
    ) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.calls.entry(index) {
            let id = id.unwrap_or_else(|| made_id(answer_id, index as usize));
            vacant.insert(id.clone());
            let name = function.name.unwrap_or_default();
            out.push(StreamEvent::ToolCallStart { choice, index, id, name });
        }
        let fragment = function.arguments.map(Arguments::into_text).unwrap_or_default();
        if !fragment.is_empty() {
            out.push(StreamEvent::ToolCallArguments { choice, index, fragment });
        }
    }
}
