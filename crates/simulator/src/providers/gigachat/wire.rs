//! Answers of both chat versions, whole and streamed.

use serde_json::{Map, Value, json};

use crate::answer::WireEvent;
use crate::draw::stable_hash;
use crate::reply::{Choice, Chunked, Finish, Reply};
use crate::text::tokens;

/// What every message of one answer repeats.
pub(crate) struct Encoder<'a> {
    reply: &'a Reply,
    /// With the build number that the service appends.
    model: String,
    /// Unix seconds.
    created: u64,
    state_id: String,
    structured: bool,
    /// Candidates reported beside each token; none reports no probabilities.
    top_logprobs: Option<u64>,
}

/// Version the service reports behind a model's name.
const BUILD: &str = "2.0.28.2";

impl<'a> Encoder<'a> {
    pub(crate) fn new(reply: &'a Reply, model: &str, created: u64, structured: bool) -> Self {
        let mut draw = reply.draw;
        Self {
            reply,
            model: format!("{model}:{BUILD}"),
            created,
            state_id: draw.uuid(),
            structured,
            top_logprobs: None,
        }
    }

    pub(crate) fn with_logprobs(mut self, top: Option<u64>) -> Self {
        self.top_logprobs = top;
        self
    }

    fn usage_v1(&self) -> Value {
        let reply = self.reply;
        // The sums are what is charged: tokens served from the cache are not in them.
        let prompt_tokens = reply.prompt_tokens.saturating_sub(reply.cached_tokens);
        json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "total_tokens": prompt_tokens + reply.completion_tokens,
            "precached_prompt_tokens": reply.cached_tokens,
        })
    }

    /// A `chat.completion` object.
    pub(crate) fn v1_whole(&self) -> Vec<u8> {
        let choices: Vec<Value> = self
            .reply
            .choices
            .iter()
            .enumerate()
            .map(|(index, choice)| {
                let mut message = json!({"role": "assistant", "content": choice.text.as_str()});
                if let Some(reasoning) = &choice.reasoning {
                    message["reasoning_content"] = json!(reasoning.as_str());
                }
                if let Some(call) = choice.tool_calls.first() {
                    message["function_call"] =
                        json!({"name": call.name, "arguments": call.arguments});
                    message["functions_state_id"] = json!(self.state_id);
                }
                json!({"message": message, "index": index, "finish_reason": finish(choice)})
            })
            .collect();
        json!({
            "choices": choices,
            "created": self.created,
            "model": self.model,
            // The service itself says so where a schema was asked for.
            "object": if self.structured { "chat.completions" } else { "chat.completion" },
            "usage": self.usage_v1(),
        })
        .to_string()
        .into_bytes()
    }

    /// Unnamed events, the last of them `[DONE]`.
    pub(crate) fn v1_events(&self) -> impl Iterator<Item = WireEvent> + Send + 'static {
        let tail: std::sync::Arc<str> = format!(
            "\"created\":{},\"model\":{},\"object\":\"chat.completion\"",
            self.created,
            Value::from(self.model.as_str()),
        )
        .into();
        let mut parts: Vec<Box<dyn Iterator<Item = WireEvent> + Send>> = Vec::new();
        let last = self.reply.choices.len() - 1;
        for (index, choice) in self.reply.choices.iter().enumerate() {
            let mut named = false;
            if let Some(reasoning) = choice.reasoning.clone() {
                named = !reasoning.is_empty();
                parts.push(Box::new(v1_deltas(
                    reasoning,
                    "reasoning_content",
                    index,
                    false,
                    tail.clone(),
                )));
            }
            if !choice.text.is_empty() {
                parts.push(Box::new(v1_deltas(
                    choice.text.clone(),
                    "content",
                    index,
                    named,
                    tail.clone(),
                )));
            }
            let mut delta = json!({"content": ""});
            let call = choice.tool_calls.first();
            if let Some(call) = call {
                delta["role"] = json!("assistant");
                delta["function_call"] = json!({"name": call.name, "arguments": call.arguments});
                delta["functions_state_id"] = json!(self.state_id);
            }
            let ending = json!([{"delta": delta, "index": index, "finish_reason": finish(choice)}]);
            let usage = if index == last {
                format!(",\"usage\":{}", self.usage_v1())
            } else {
                String::new()
            };
            let bytes = format!("data: {{\"choices\":{ending},{tail}{usage}}}\n\n");
            let event =
                if call.is_some() { WireEvent::content(bytes) } else { WireEvent::frame(bytes) };
            parts.push(Box::new(std::iter::once(event)));
        }
        parts.push(Box::new(std::iter::once(WireEvent::frame("data: [DONE]\n\n"))));
        parts.into_iter().flatten()
    }

    fn head_v2(&self) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("model".to_owned(), json!(self.model));
        head.insert("created_at".to_owned(), json!(self.created));
        head
    }

    fn end_v2(&self, body: &mut Map<String, Value>) {
        let reply = self.reply;
        body.insert("finish_reason".to_owned(), json!(finish(reply.first_choice())));
        body.insert(
            "usage".to_owned(),
            json!({
                "input_tokens": reply.prompt_tokens,
                "input_tokens_details": {
                    "prompt_tokens": reply.prompt_tokens,
                    "cached_tokens": reply.cached_tokens,
                },
                "output_tokens": reply.completion_tokens,
                "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            }),
        );
    }

    fn calls_v2(&self) -> Vec<Value> {
        self.reply
            .first_choice()
            .tool_calls
            .iter()
            .map(|call| json!({"function_call": {"name": call.name, "arguments": call.arguments}}))
            .collect()
    }

    /// The v2 answer object.
    pub(crate) fn v2_whole(&self) -> Vec<u8> {
        let choice = self.reply.first_choice();
        let mut messages = Vec::new();
        if let Some(reasoning) = &choice.reasoning {
            messages.push(json!({"role": "reasoning", "content": [{"text": reasoning.as_str()}]}));
        }
        let mut content = Vec::new();
        if !choice.text.is_empty() {
            content.push(json!({"text": choice.text.as_str()}));
        }
        let calls = self.calls_v2();
        let mut message = json!({"role": "assistant"});
        if !calls.is_empty() {
            message["tool_state_id"] = json!(self.state_id);
        }
        content.extend(calls);
        message["content"] = Value::Array(content);
        if let Some(top) = self.top_logprobs {
            message["logprobs"] = logprobs(choice.text.as_str(), top);
        }
        messages.push(message);
        let mut body = self.head_v2();
        body.insert("messages".to_owned(), Value::Array(messages));
        self.end_v2(&mut body);
        Value::Object(body).to_string().into_bytes()
    }

    /// Named events without an end marker; calls arrive with the last.
    pub(crate) fn v2_events(&self) -> impl Iterator<Item = WireEvent> + Send + 'static {
        let choice = self.reply.first_choice();
        let head: std::sync::Arc<str> = format!(
            "\"model\":{},\"created_at\":{}",
            Value::from(self.model.as_str()),
            self.created
        )
        .into();
        let mut parts: Vec<Box<dyn Iterator<Item = WireEvent> + Send>> = Vec::new();
        if let Some(reasoning) = choice.reasoning.clone() {
            parts.push(Box::new(v2_deltas(reasoning, "reasoning", head.clone(), None)));
        }
        parts.push(Box::new(v2_deltas(choice.text.clone(), "assistant", head, self.top_logprobs)));
        let mut done = self.head_v2();
        let calls = self.calls_v2();
        let count = calls.len();
        if count > 0 {
            done.insert(
                "messages".to_owned(),
                json!([{"role": "assistant", "tool_state_id": self.state_id, "content": calls}]),
            );
        }
        self.end_v2(&mut done);
        let bytes = format!("event: response.message.done\ndata: {}\n\n", Value::Object(done));
        let event = if count > 0 { WireEvent::content(bytes) } else { WireEvent::frame(bytes) };
        parts.push(Box::new(std::iter::once(event)));
        parts.into_iter().flatten()
    }
}

/// Probabilities that only the text decides, the chosen token always the likeliest.
fn logprobs(text: &str, top: u64) -> Value {
    let entry = |token: &str, rank: u64| {
        let hash = stable_hash(token.as_bytes());
        let logprob = -((hash % 100) as f64) / 1000.0 - rank as f64;
        json!({"token": token, "token_id": hash % 128_000, "logprob": logprob})
    };
    tokens(text)
        .into_iter()
        .map(|token| {
            let others = (1..top).map(|rank| entry(&format!("{token}{rank}"), rank));
            let all: Vec<Value> =
                (top > 0).then(|| entry(token, 0)).into_iter().chain(others).collect();
            json!({"chosen": entry(token, 0), "top": all})
        })
        .collect()
}

/// The service's word for why an alternative ended.
fn finish(choice: &Choice) -> &str {
    match &choice.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "function_call",
        Finish::ContentFilter => "blacklist",
        Finish::Other(word) => word,
    }
}

fn v1_deltas(
    text: Chunked,
    member: &'static str,
    index: usize,
    role_sent: bool,
    tail: std::sync::Arc<str>,
) -> impl Iterator<Item = WireEvent> + Send {
    (0..text.len()).filter_map(move |at| {
        let chunk = text.get(at)?;
        let mut bytes = Vec::with_capacity(chunk.len() + tail.len() + 90);
        bytes.extend_from_slice(b"data: {\"choices\":[{\"delta\":{");
        if member != "content" {
            bytes.extend_from_slice(b"\"content\":\"\",");
        }
        bytes.push(b'"');
        bytes.extend_from_slice(member.as_bytes());
        bytes.extend_from_slice(b"\":");
        serde_json::to_writer(&mut bytes, chunk).ok()?;
        if at == 0 && !role_sent {
            bytes.extend_from_slice(b",\"role\":\"assistant\"");
        }
        bytes.extend_from_slice(b"},\"index\":");
        bytes.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        bytes.extend_from_slice(b"}],");
        bytes.extend_from_slice(tail.as_bytes());
        bytes.extend_from_slice(b"}\n\n");
        Some(WireEvent::content(bytes))
    })
}

fn v2_deltas(
    text: Chunked,
    role: &'static str,
    head: std::sync::Arc<str>,
    top_logprobs: Option<u64>,
) -> impl Iterator<Item = WireEvent> + Send {
    (0..text.len()).filter_map(move |at| {
        let chunk = text.get(at)?;
        let mut bytes = Vec::with_capacity(chunk.len() + head.len() + 110);
        bytes.extend_from_slice(b"event: response.message.delta\ndata: {");
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(b",\"messages\":[{\"role\":\"");
        bytes.extend_from_slice(role.as_bytes());
        bytes.extend_from_slice(b"\",\"content\":[{\"text\":");
        serde_json::to_writer(&mut bytes, chunk).ok()?;
        bytes.extend_from_slice(b"}]");
        if let Some(top) = top_logprobs {
            bytes.extend_from_slice(b",\"logprobs\":");
            bytes.extend_from_slice(logprobs(chunk, top).to_string().as_bytes());
        }
        bytes.extend_from_slice(b"}]}\n\n");
        Some(WireEvent::content(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::planned::{planned, prompt};

    fn v1(text: &str) -> Vec<Value> {
        let reply = planned(&prompt(text));
        let mut events: Vec<String> = Encoder::new(&reply, "GigaChat-2", 7, false)
            .v1_events()
            .map(|event| String::from_utf8(event.bytes.to_vec()).expect("UTF-8"))
            .collect();
        assert_eq!(events.pop().as_deref(), Some("data: [DONE]\n\n"));
        events
            .iter()
            .map(|event| {
                let body = event.strip_prefix("data: ").and_then(|e| e.strip_suffix("\n\n"));
                serde_json::from_str(body.expect("framed")).expect("an object")
            })
            .collect()
    }

    #[test]
    fn v1_deltas_join_and_only_the_last_has_usage() {
        let text = "Съешь \"ещё\" этих 🥐 булок";
        let chunks = v1(&format!("x [[sim: text={}]]", Value::from(text)));
        let joined: String = chunks
            .iter()
            .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().expect("content"))
            .collect();
        assert_eq!(joined, text);
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let (last, rest) = chunks.split_last().expect("chunks");
        assert_eq!(last["choices"][0]["finish_reason"], "stop");
        assert!(last["usage"]["total_tokens"].is_u64());
        assert!(rest.iter().all(|chunk| chunk.get("usage").is_none()));
        assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion"));
    }

    #[test]
    fn v1_calls_one_function_with_an_object() {
        let chunks = v1("погода [[sim: tools=2]]");
        assert_eq!(chunks.len(), 1);
        let choice = &chunks[0]["choices"][0];
        assert_eq!(choice["finish_reason"], "function_call");
        assert!(choice["delta"]["function_call"]["arguments"]["city"].is_string());
        assert!(choice["delta"]["functions_state_id"].is_string());
    }

    #[test]
    fn v1_counts_what_is_charged() {
        let reply = planned(&prompt("x [[sim: text=да; cached_tokens=15]]"));
        let body: Value =
            serde_json::from_slice(&Encoder::new(&reply, "GigaChat", 7, false).v1_whole()).unwrap();
        assert_eq!(body["usage"]["prompt_tokens"], 5);
        assert_eq!(body["usage"]["precached_prompt_tokens"], 15);
        assert_eq!(body["usage"]["total_tokens"], 5 + reply.completion_tokens);
    }

    #[test]
    fn v2_events_are_named_and_end_with_done() {
        let reply = planned(&prompt("погода [[sim: text=сейчас; tools=2; tool=get_weather]]"));
        let encoder = Encoder::new(&reply, "GigaChat-2", 7, false);
        let all: String = encoder
            .v2_events()
            .map(|event| String::from_utf8(event.bytes.to_vec()).expect("UTF-8"))
            .collect();
        let events: Vec<(&str, Value)> = all
            .trim_end()
            .split("\n\n")
            .map(|event| {
                let (name, data) = event.split_once('\n').expect("two lines");
                let data = data.strip_prefix("data: ").expect("data");
                (name.strip_prefix("event: ").expect("event"), serde_json::from_str(data).unwrap())
            })
            .collect();
        let ((name, done), deltas) = events.split_last().expect("events");
        assert_eq!(*name, "response.message.done");
        assert_eq!(done["finish_reason"], "function_call");
        let message = &done["messages"][0];
        assert!(message["tool_state_id"].is_string());
        assert!(message["content"][0]["function_call"]["arguments"].is_object());
        assert!(deltas.iter().all(|(name, _)| *name == "response.message.delta"));
        assert!(!all.contains("[DONE]"));
    }
}
