//! A provider's stream of named events, read into canonical ones.

use std::borrow::Cow;

use chat::{ApiError, ErrorKind, StreamEvent};
use serde::Deserialize;

use super::error::WireError;
use super::response::{WirePart, finish_reason, malformed};
use super::usage::WireUsage;
use crate::StreamDecode;
use crate::sse::SseParser;

/// Longest event that is read, in bytes.
const EVENT_LIMIT: usize = 16 << 20;

/// Reads the stream of `POST /v1/messages`.
#[derive(Debug)]
pub struct StreamDecoder {
    parser: SseParser,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    block: Option<Block>,
    calls: u32,
    usage: WireUsage,
    finished: bool,
    /// An [`StreamEvent::End`] or [`StreamEvent::Error`] was said.
    over: bool,
}

/// The content block that is open.
#[derive(Debug)]
enum Block {
    Text,
    Thinking,
    Call {
        index: u32,
        /// Its `input` as the start gave it, for servers that do not stream it.
        input: Option<String>,
        /// Whether a piece of `input` came.
        any: bool,
    },
    Other,
}

#[derive(Debug, Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    message: Option<WireMessage>,
    content_block: Option<WirePart>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    usage: Option<WireUsage>,
    error: Option<WireError>,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    id: Option<String>,
    model: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
struct WireDelta<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

impl Default for StreamDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamDecoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { parser: SseParser::new(EVENT_LIMIT), state: State::default() }
    }
}

impl StreamDecode for StreamDecoder {
    fn decode(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>) {
        if self.state.over {
            return;
        }
        let state = &mut self.state;
        self.parser.feed(bytes, |event| state.event(event.data, out));
        if self.parser.overflowed() {
            self.state.fail(interrupted("sent an event that is too long"), out);
        }
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) {
        if self.state.over {
            return;
        }
        let state = &mut self.state;
        self.parser.finish(|event| state.event(event.data, out));
        self.state.fail(interrupted("ended the stream before the answer was complete"), out);
    }
}

fn interrupted(what: &str) -> ApiError {
    ApiError::new(ErrorKind::BadGateway, format!("the provider {what}"))
        .with_code("stream_interrupted")
}

impl State {
    fn fail(&mut self, error: ApiError, out: &mut Vec<StreamEvent>) {
        if !self.over {
            self.over = true;
            out.push(StreamEvent::Error(error));
        }
    }

    fn event(&mut self, data: &[u8], out: &mut Vec<StreamEvent>) {
        if self.over {
            return;
        }
        let event: WireEvent<'_> = match serde_json::from_slice(data) {
            Ok(event) => event,
            Err(error) => return self.fail(malformed(&error), out),
        };
        match event.kind.as_ref() {
            "message_start" => {
                let Some(message) = event.message else { return };
                out.push(StreamEvent::Start {
                    id: message.id.unwrap_or_default(),
                    model: message.model.unwrap_or_default(),
                    created: 0,
                });
                if let Some(usage) = message.usage {
                    self.count(usage, out);
                }
            }
            "content_block_start" => {
                if let Some(part) = event.content_block {
                    self.open(part, out);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(delta, out);
                }
            }
            "content_block_stop" => self.close(out),
            "message_delta" => {
                if let Some(delta) = event.delta
                    && !self.finished
                {
                    self.finished = true;
                    out.push(StreamEvent::Finish {
                        choice: 0,
                        reason: finish_reason(delta.stop_reason.as_deref()),
                        stop_sequence: delta.stop_sequence,
                    });
                }
                if let Some(usage) = event.usage {
                    self.count(usage, out);
                }
            }
            "message_stop" => {
                self.over = true;
                out.push(StreamEvent::End);
            }
            "error" => self.fail(event.error.unwrap_or_default().into_error(None, None), out),
            // `ping`, and what the API may add.
            _ => {}
        }
    }

    fn count(&mut self, usage: WireUsage, out: &mut Vec<StreamEvent>) {
        self.usage.update(usage);
        out.push(StreamEvent::Usage(self.usage.to_usage()));
    }

    fn open(&mut self, part: WirePart, out: &mut Vec<StreamEvent>) {
        self.close(out);
        self.block = Some(match part.kind.as_str() {
            "text" => {
                push_text(out, part.text);
                Block::Text
            }
            "thinking" => {
                push_thinking(out, part.thinking);
                push_signature(out, part.signature);
                Block::Thinking
            }
            "redacted_thinking" => {
                if let Some(data) = part.data {
                    out.push(StreamEvent::ReasoningEncrypted { choice: 0, data });
                }
                Block::Other
            }
            "tool_use" => {
                let index = self.calls;
                self.calls += 1;
                out.push(StreamEvent::ToolCallStart {
                    choice: 0,
                    index,
                    id: part.id.unwrap_or_default(),
                    name: part.name.unwrap_or_default(),
                });
                let input = part.input.map(|input| input.get().to_owned());
                Block::Call { index, input, any: false }
            }
            _ => Block::Other,
        });
    }

    fn delta(&mut self, delta: WireDelta<'_>, out: &mut Vec<StreamEvent>) {
        match (delta.kind.as_ref(), &mut self.block) {
            ("text_delta", Some(Block::Text)) => push_text(out, delta.text),
            ("thinking_delta", Some(Block::Thinking)) => push_thinking(out, delta.thinking),
            ("signature_delta", Some(Block::Thinking)) => push_signature(out, delta.signature),
            ("input_json_delta", Some(Block::Call { index, any, .. })) => {
                if let Some(fragment) = delta.partial_json.filter(|piece| !piece.is_empty()) {
                    *any = true;
                    out.push(StreamEvent::ToolCallArguments { choice: 0, index: *index, fragment });
                }
            }
            _ => {}
        }
    }

    /// Closes the open block. A tool without arguments streams none, yet its input is an object.
    fn close(&mut self, out: &mut Vec<StreamEvent>) {
        if let Some(Block::Call { index, input, any: false }) = self.block.take() {
            let fragment = input.unwrap_or_else(|| "{}".to_owned());
            out.push(StreamEvent::ToolCallArguments { choice: 0, index, fragment });
        }
    }
}

fn push_text(out: &mut Vec<StreamEvent>, text: Option<String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.push(StreamEvent::Text { choice: 0, text });
    }
}

fn push_thinking(out: &mut Vec<StreamEvent>, text: Option<String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.push(StreamEvent::Reasoning { choice: 0, text });
    }
}

fn push_signature(out: &mut Vec<StreamEvent>, signature: Option<String>) {
    if let Some(signature) = signature.filter(|signature| !signature.is_empty()) {
        out.push(StreamEvent::ReasoningSignature { choice: 0, signature });
    }
}
