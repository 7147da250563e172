//! Answers of the Messages API, whole and as server-sent events.

use serde_json::{Value, json};

use crate::answer::WireEvent;
use crate::reply::{Choice, Chunked, Finish, Reply};

use super::SIGNATURE_PREFIX;

/// Ids and names that an answer repeats in several places.
pub(crate) struct Encoder<'a> {
    reply: &'a Reply,
    id: String,
    model: &'a str,
    /// Thinking is signed but not shown.
    omit_thinking: bool,
    /// Prompt tokens written to the cache for later requests.
    cache_write: u64,
    signature: String,
    tool_ids: Vec<String>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(reply: &'a Reply, model: &'a str, omit_thinking: bool) -> Self {
        let mut draw = reply.draw;
        let calls = reply.first_choice().tool_calls.len();
        Self {
            reply,
            id: format!("msg_01{}", draw.alphanumeric(22)),
            model,
            omit_thinking,
            cache_write: 0,
            signature: format!("{SIGNATURE_PREFIX}{}==", draw.alphanumeric(64)),
            tool_ids: (0..calls).map(|_| format!("toolu_01{}", draw.alphanumeric(22))).collect(),
        }
    }

    pub(crate) fn with_cache_write(mut self, tokens: u64) -> Self {
        self.cache_write =
            tokens.min(self.reply.prompt_tokens.saturating_sub(self.reply.cached_tokens));
        self
    }

    fn choice(&self) -> &'a Choice {
        self.reply.first_choice()
    }

    fn usage(&self, output_tokens: u64) -> Value {
        let reply = self.reply;
        let mut usage = json!({
            "input_tokens":
                reply.prompt_tokens.saturating_sub(reply.cached_tokens + self.cache_write),
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": reply.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write, "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        });
        if reply.reasoning_tokens > 0 && output_tokens == reply.completion_tokens {
            usage["output_tokens_details"] = json!({"thinking_tokens": reply.reasoning_tokens});
        }
        usage
    }

    fn thinking(&self) -> Option<&'a Chunked> {
        self.choice().reasoning.as_ref()
    }

    /// The message object of a whole answer.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let choice = self.choice();
        let mut content = Vec::new();
        if let Some(thinking) = self.thinking() {
            let shown = if self.omit_thinking { "" } else { thinking.as_str() };
            content.push(json!({
                "type": "thinking", "thinking": shown, "signature": self.signature,
            }));
        }
        if !choice.text.is_empty() {
            content.push(json!({"type": "text", "text": choice.text.as_str()}));
        }
        for (call, id) in choice.tool_calls.iter().zip(&self.tool_ids) {
            content.push(json!({
                "type": "tool_use", "id": id, "name": call.name, "input": call.arguments,
            }));
        }
        let (stop_reason, stop_sequence) = stop(choice);
        json!({
            "model": self.model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": self.usage(self.reply.completion_tokens),
        })
        .to_string()
        .into_bytes()
    }

    /// The events of a streamed answer, text and thinking encoded as they are asked for.
    pub(crate) fn events(&self) -> impl Iterator<Item = WireEvent> + Send + 'static {
        let choice = self.choice();
        let mut index = 0;
        let mut opening = Vec::new();
        push_event(
            &mut opening,
            &json!({
                "type": "message_start",
                "message": {
                    "model": self.model, "id": self.id, "type": "message", "role": "assistant",
                    "content": [], "stop_reason": null, "stop_sequence": null,
                    "usage": self.usage(1),
                },
            }),
        );
        let mut pinged = false;
        let mut parts: Vec<Box<dyn Iterator<Item = WireEvent> + Send>> = Vec::new();
        if let Some(thinking) = self.thinking() {
            let block = json!({"type": "thinking", "thinking": "", "signature": ""});
            open_block(&mut opening, index, &block, &mut pinged);
            parts.push(Box::new(std::iter::once(WireEvent::frame(std::mem::take(&mut opening)))));
            if !self.omit_thinking {
                parts.push(Box::new(deltas(thinking.clone(), index, "thinking_delta", "thinking")));
            }
            push_event(
                &mut opening,
                &json!({
                    "type": "content_block_delta", "index": index,
                    "delta": {"type": "signature_delta", "signature": self.signature},
                }),
            );
            close_block(&mut opening, index);
            index += 1;
        }
        if !choice.text.is_empty() || choice.tool_calls.is_empty() {
            open_block(&mut opening, index, &json!({"type": "text", "text": ""}), &mut pinged);
            parts.push(Box::new(std::iter::once(WireEvent::frame(std::mem::take(&mut opening)))));
            parts.push(Box::new(deltas(choice.text.clone(), index, "text_delta", "text")));
            close_block(&mut opening, index);
            index += 1;
        }
        for (call, id) in choice.tool_calls.iter().zip(&self.tool_ids) {
            let block = json!({"type": "tool_use", "id": id, "name": call.name, "input": {}});
            open_block(&mut opening, index, &block, &mut pinged);
            push_event(&mut opening, &input_delta(index, ""));
            let mut events = vec![WireEvent::frame(std::mem::take(&mut opening))];
            for (at, piece) in pieces(&call.raw).into_iter().enumerate() {
                let mut bytes = Vec::new();
                push_event(&mut bytes, &input_delta(index, piece));
                // A call is one content event, however many fragments it takes.
                events.push(if at == 0 {
                    WireEvent::content(bytes)
                } else {
                    WireEvent::frame(bytes)
                });
            }
            parts.push(Box::new(events.into_iter()));
            close_block(&mut opening, index);
            index += 1;
        }
        let (stop_reason, stop_sequence) = stop(choice);
        push_event(
            &mut opening,
            &json!({
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason, "stop_sequence": stop_sequence},
                "usage": self.usage(self.reply.completion_tokens),
            }),
        );
        push_event(&mut opening, &json!({"type": "message_stop"}));
        parts.push(Box::new(std::iter::once(WireEvent::frame(opening))));
        parts.into_iter().flatten()
    }
}

/// The API's word for why the answer ended, and the sequence that ended it.
fn stop(choice: &Choice) -> (&str, Option<&str>) {
    match &choice.finish {
        Finish::Stop => match &choice.stop_sequence {
            Some(sequence) => ("stop_sequence", Some(sequence)),
            None => ("end_turn", None),
        },
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::ContentFilter => ("refusal", None),
        Finish::Other(word) => (word, None),
    }
}

/// Appends one event; its name is the payload's own type.
pub(crate) fn push_event(out: &mut Vec<u8>, payload: &Value) {
    let name = payload["type"].as_str().unwrap_or_default();
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(payload.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

fn open_block(out: &mut Vec<u8>, index: usize, block: &Value, pinged: &mut bool) {
    push_event(
        out,
        &json!({"type": "content_block_start", "index": index, "content_block": block}),
    );
    if !std::mem::replace(pinged, true) {
        push_event(out, &json!({"type": "ping"}));
    }
}

fn close_block(out: &mut Vec<u8>, index: usize) {
    push_event(out, &json!({"type": "content_block_stop", "index": index}));
}

fn input_delta(index: usize, piece: &str) -> Value {
    json!({
        "type": "content_block_delta", "index": index,
        "delta": {"type": "input_json_delta", "partial_json": piece},
    })
}

/// One delta event per chunk, written without building a JSON tree.
fn deltas(
    text: Chunked,
    index: usize,
    kind: &'static str,
    member: &'static str,
) -> impl Iterator<Item = WireEvent> + Send {
    (0..text.len()).filter_map(move |at| {
        let chunk = text.get(at)?;
        let mut bytes = Vec::with_capacity(chunk.len() + 140);
        bytes.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        bytes.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        bytes.extend_from_slice(b",\"delta\":{\"type\":\"");
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(b"\",\"");
        bytes.extend_from_slice(member.as_bytes());
        bytes.extend_from_slice(b"\":");
        serde_json::to_writer(&mut bytes, chunk).ok()?;
        bytes.extend_from_slice(b"}}\n\n");
        Some(WireEvent::content(bytes))
    })
}

/// Argument text in fragments of up to 16 characters, as the API sends it.
fn pieces(text: &str) -> Vec<&str> {
    const CHARACTERS: usize = 16;
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(CHARACTERS).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    if pieces.is_empty() {
        // Also a call without arguments is a content event.
        pieces.push("");
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::planned::{planned, prompt};

    /// Puts a stream together as a client does.
    fn assembled(text: &str) -> (Value, Vec<String>) {
        let reply = planned(&prompt(text));
        let all: Vec<u8> = Encoder::new(&reply, "claude-test", false)
            .events()
            .flat_map(|event| event.bytes.to_vec())
            .collect();
        let all = String::from_utf8(all).expect("UTF-8");
        let (mut message, mut names) = (Value::Null, Vec::new());
        let mut blocks: Vec<(Value, String)> = Vec::new();
        for event in all.trim_end().split("\n\n") {
            let (name, data) = event.split_once('\n').expect("two lines");
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            names.push(data["type"].as_str().unwrap().to_owned());
            match data["type"].as_str().unwrap() {
                "message_start" => message = data["message"].clone(),
                "content_block_start" => {
                    assert_eq!(data["index"], blocks.len());
                    blocks.push((data["content_block"].clone(), String::new()));
                }
                "content_block_delta" => {
                    let (block, input) = blocks.last_mut().expect("open block");
                    let delta = &data["delta"];
                    match delta["type"].as_str().unwrap() {
                        "text_delta" => append(block, "text", &delta["text"]),
                        "thinking_delta" => append(block, "thinking", &delta["thinking"]),
                        "signature_delta" => append(block, "signature", &delta["signature"]),
                        _ => input.push_str(delta["partial_json"].as_str().unwrap()),
                    }
                }
                "message_delta" => {
                    message["stop_reason"] = data["delta"]["stop_reason"].clone();
                    message["stop_sequence"] = data["delta"]["stop_sequence"].clone();
                    message["usage"] = data["usage"].clone();
                }
                _ => {}
            }
        }
        let blocks = blocks.into_iter().map(|(mut block, input)| {
            if block["type"] == "tool_use" {
                block["input"] = serde_json::from_str(&input).expect("fragments join to JSON");
            }
            block
        });
        message["content"] = blocks.collect();
        (message, names)
    }

    fn append(block: &mut Value, member: &str, more: &Value) {
        let text = format!("{}{}", block[member].as_str().unwrap(), more.as_str().unwrap());
        block[member] = Value::from(text);
    }

    #[test]
    fn a_stream_joins_to_the_whole_answer() {
        for text in [
            "Привет",
            "x [[sim: text=Съешь ещё 🥐, да выпей чаю]]",
            "x [[sim: reasoning=думаю; text=готово]]",
            "погода [[sim: tools=2]]",
            "x [[sim: reasoning=думаю; text=смотрю; tool=get_weather{\"city\":\"Санкт-Петербург 🌧\"}]]",
            "x [[sim: finish=length]]",
        ] {
            let reply = planned(&prompt(text));
            let whole: Value =
                serde_json::from_slice(&Encoder::new(&reply, "claude-test", false).whole())
                    .unwrap();
            let (message, names) = assembled(text);
            assert_eq!(message, whole, "{text}");
            assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
            assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
        }
    }

    #[test]
    fn content_events_are_one_per_chunk_and_call() {
        let reply =
            planned(&prompt("x [[sim: reasoning=раз два; text=три; tools=2; tool=get_weather]]"));
        let content =
            Encoder::new(&reply, "m", false).events().filter(|event| event.content).count();
        assert_eq!(content, reply.chunk_count());
    }

    #[test]
    fn cached_tokens_are_not_input_tokens() {
        let reply = planned(&prompt("x [[sim: cached_tokens=15]]"));
        let whole: Value =
            serde_json::from_slice(&Encoder::new(&reply, "m", false).whole()).unwrap();
        assert_eq!(whole["usage"]["input_tokens"], 5);
        assert_eq!(whole["usage"]["cache_read_input_tokens"], 15);
        let writing = Encoder::new(&reply, "m", false).with_cache_write(3);
        let whole: Value = serde_json::from_slice(&writing.whole()).unwrap();
        assert_eq!(whole["usage"]["input_tokens"], 2);
        assert_eq!(whole["usage"]["cache_creation_input_tokens"], 3);
    }
}
