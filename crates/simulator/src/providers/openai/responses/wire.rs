//! The response object and its stream of typed events.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::request::ResponsesRequest;
use crate::answer::WireEvent;
use crate::json_text::JsonText;
use crate::providers::Provider;
use crate::reply::{Finish, Reply};

/// An item of the output, by what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Reasoning,
    Message,
    Call(usize),
}

/// Everything needed to encode one response.
pub(crate) struct Response {
    id: String,
    model: String,
    created: u64,
    repeated: Map<String, Value>,
    items: Vec<(Item, String)>,
    call_ids: Vec<String>,
    reply: Reply,
    /// Reasoning in the open, as self-hosted engines give it.
    open_reasoning: bool,
    summary: bool,
    encrypted_reasoning: bool,
}

impl Response {
    pub(crate) fn new(request: ResponsesRequest, reply: Reply, created: u64) -> Self {
        let mut draw = reply.draw.branch(11);
        let choice = reply.first_choice();
        let mut items = Vec::new();
        if choice.reasoning.is_some() {
            items.push((Item::Reasoning, format!("rs_{}", draw.hex(48))));
        }
        if !choice.text.is_empty() || choice.tool_calls.is_empty() {
            items.push((Item::Message, format!("msg_{}", draw.hex(48))));
        }
        for call in 0..choice.tool_calls.len() {
            items.push((Item::Call(call), format!("fc_{}", draw.hex(48))));
        }
        let call_ids =
            choice.tool_calls.iter().map(|_| format!("call_{}", draw.alphanumeric(24))).collect();
        let provider = request.prompt.provider;
        Self {
            id: format!("resp_{}", draw.hex(48)),
            model: request.prompt.model,
            created,
            repeated: request.repeated,
            items,
            call_ids,
            reply,
            open_reasoning: !matches!(provider, Provider::OpenAi | Provider::Azure),
            summary: request.summary,
            encrypted_reasoning: request.encrypted_reasoning,
        }
    }

    /// Status at the end, and why it is not `completed`.
    fn outcome(&self) -> (&'static str, Value, Value) {
        match &self.reply.first_choice().finish {
            Finish::Length => ("incomplete", json!({"reason": "max_output_tokens"}), Value::Null),
            Finish::ContentFilter => {
                ("incomplete", json!({"reason": "content_filter"}), Value::Null)
            }
            Finish::Other(word) if word.as_ref() == "failed" => ("failed", Value::Null, failure()),
            _ => ("completed", Value::Null, Value::Null),
        }
    }

    fn object(&self, status: &str, details: Value, error: Value, finished: bool) -> Value {
        let mut object = self.repeated.clone();
        let output: Vec<Value> = if finished && status != "failed" {
            self.items.iter().map(|(item, id)| self.item(*item, id, status)).collect()
        } else {
            Vec::new()
        };
        let usage = if finished && status != "failed" { self.usage() } else { Value::Null };
        let completed_at = (status == "completed").then_some(self.created);
        for (name, value) in [
            ("id", json!(self.id)),
            ("object", json!("response")),
            ("created_at", json!(self.created)),
            ("completed_at", json!(completed_at)),
            ("status", json!(status)),
            ("error", error),
            ("incomplete_details", details),
            ("model", json!(self.model)),
            ("output", Value::Array(output)),
            ("usage", usage),
        ] {
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    fn usage(&self) -> Value {
        let reply = &self.reply;
        json!({
            "input_tokens": reply.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": reply.cached_tokens, "cache_write_tokens": 0,
            },
            "output_tokens": reply.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        })
    }

    /// The text part of the message.
    fn part(&self, text: &str) -> Value {
        if self.reply.first_choice().refusal {
            json!({"type": "refusal", "refusal": text})
        } else {
            json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
        }
    }

    fn reasoning_text(&self) -> &str {
        self.reply.first_choice().reasoning.as_ref().map_or("", |reasoning| reasoning.as_str())
    }

    fn item(&self, item: Item, id: &str, response_status: &str) -> Value {
        let choice = self.reply.first_choice();
        let status = if response_status == "incomplete" { "incomplete" } else { "completed" };
        match item {
            Item::Reasoning => {
                let mut value = json!({"id": id, "type": "reasoning", "summary": []});
                if self.summary {
                    value["summary"] =
                        json!([{"type": "summary_text", "text": self.reasoning_text()}]);
                }
                if self.open_reasoning {
                    value["content"] =
                        json!([{"type": "reasoning_text", "text": self.reasoning_text()}]);
                }
                if self.encrypted_reasoning {
                    let sealed = self.reply.draw.branch(12).alphanumeric(200);
                    value["encrypted_content"] = json!(format!("gAAAAAB{sealed}"));
                }
                value
            }
            Item::Message => json!({
                "id": id, "type": "message", "status": status, "role": "assistant",
                "content": [self.part(choice.text.as_str())],
            }),
            Item::Call(call) => json!({
                "id": id, "type": "function_call", "status": "completed",
                "call_id": self.call_ids[call], "name": choice.tool_calls[call].name,
                "arguments": choice.tool_calls[call].raw,
            }),
        }
    }

    pub(crate) fn whole(&self) -> Bytes {
        let (status, details, error) = self.outcome();
        self.object(status, details, error, true).to_string().into()
    }

    fn steps(&self) -> Vec<Step> {
        let choice = self.reply.first_choice();
        let mut steps = vec![Step::Created, Step::InProgress];
        for (at, (item, _)) in self.items.iter().enumerate() {
            steps.push(Step::ItemAdded(at));
            match item {
                Item::Reasoning => {
                    let chunks = choice.reasoning.as_ref().map_or(0, crate::reply::Chunked::len);
                    if self.summary {
                        steps.push(Step::SummaryAdded(at));
                        steps.extend((0..chunks).map(|chunk| Step::SummaryDelta(at, chunk)));
                        steps.extend([Step::SummaryTextDone(at), Step::SummaryDone(at)]);
                    } else if self.open_reasoning {
                        steps.extend((0..chunks).map(|chunk| Step::ReasoningDelta(at, chunk)));
                        steps.push(Step::ReasoningDone(at));
                    }
                }
                Item::Message => {
                    steps.push(Step::PartAdded(at));
                    steps.extend((0..choice.text.len()).map(|chunk| Step::TextDelta(at, chunk)));
                    steps.extend([Step::TextDone(at), Step::PartDone(at)]);
                }
                Item::Call(call) => {
                    let raw = &choice.tool_calls[*call].raw;
                    let mut start = 0;
                    let cuts = raw.char_indices().map(|(at, _)| at).skip(8).step_by(8);
                    for end in cuts.chain([raw.len()]) {
                        steps.push(Step::ArgumentsDelta { at, call: *call, start, end });
                        start = end;
                    }
                    steps.push(Step::ArgumentsDone(at, *call));
                }
            }
            steps.push(Step::ItemDone(at));
        }
        steps.push(Step::End);
        steps
    }

    /// The answer as server-sent events.
    pub(crate) fn events(self) -> impl Iterator<Item = WireEvent> + Send + 'static {
        let steps = self.steps();
        steps.into_iter().enumerate().map(move |(sequence, step)| WireEvent {
            bytes: self.encode(step, sequence as u64),
            content: step.is_content(),
        })
    }

    /// `error` and `response.failed`, numbered as if they came before content event `after`.
    pub(crate) fn failure_events(&self, after: usize) -> Bytes {
        let mut contents = 0;
        let sequence = self
            .steps()
            .iter()
            .take_while(|step| {
                contents += usize::from(step.is_content());
                contents <= after
            })
            .count() as u64;
        let error = failure();
        let first = json!({"type": "error", "sequence_number": sequence, "code": error["code"],
            "message": error["message"], "param": null});
        let failed = json!({"type": "response.failed", "sequence_number": sequence + 1,
            "response": self.object("failed", Value::Null, error, true)});
        format!("event: error\ndata: {first}\n\nevent: response.failed\ndata: {failed}\n\n").into()
    }

    fn encode(&self, step: Step, sequence: u64) -> Bytes {
        let choice = self.reply.first_choice();
        let name = self.event_name(step);
        let mut json = JsonText::with_capacity(320);
        json.raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name);
        json.raw("\",\"sequence_number\":").number(sequence);
        if let Some(at) = step.item() {
            json.raw(",\"output_index\":").number(at as u64);
            if !matches!(step, Step::ItemAdded(_) | Step::ItemDone(_)) {
                json.raw(",\"item_id\":").string(&self.items[at].1);
            }
        }
        match step {
            Step::Created | Step::InProgress => {
                let object = self.object("in_progress", Value::Null, Value::Null, false);
                json.raw(",\"response\":").value(&object);
            }
            Step::End => {
                let (status, details, error) = self.outcome();
                json.raw(",\"response\":").value(&self.object(status, details, error, true));
            }
            Step::ItemAdded(at) => {
                let (item, id) = &self.items[at];
                let mut value = self.item(*item, id, "in_progress");
                match item {
                    Item::Reasoning => value["summary"] = json!([]),
                    Item::Message => value["content"] = json!([]),
                    Item::Call(_) => value["arguments"] = json!(""),
                }
                if *item != Item::Reasoning {
                    value["status"] = json!("in_progress");
                }
                json.raw(",\"item\":").value(&value);
            }
            Step::ItemDone(at) => {
                let (item, id) = &self.items[at];
                json.raw(",\"item\":").value(&self.item(*item, id, self.outcome().0));
            }
            Step::PartAdded(_) => {
                json.raw(",\"content_index\":0,\"part\":").value(&self.part(""));
            }
            Step::PartDone(_) => {
                json.raw(",\"content_index\":0,\"part\":").value(&self.part(choice.text.as_str()));
            }
            Step::TextDelta(_, chunk) => {
                json.raw(",\"content_index\":0,\"delta\":");
                json.string(choice.text.get(chunk).unwrap_or(""));
                if !choice.refusal {
                    json.raw(",\"logprobs\":[]");
                }
            }
            Step::TextDone(_) => {
                let member = if choice.refusal { "refusal" } else { "text" };
                json.raw(",\"content_index\":0,\"").raw(member).raw("\":");
                json.string(choice.text.as_str());
                if !choice.refusal {
                    json.raw(",\"logprobs\":[]");
                }
            }
            Step::ArgumentsDelta { call, start, end, .. } => {
                let piece = choice.tool_calls[call].raw.get(start..end).unwrap_or("");
                json.raw(",\"delta\":").string(piece);
            }
            Step::ArgumentsDone(_, call) => {
                json.raw(",\"name\":").string(&choice.tool_calls[call].name);
                json.raw(",\"arguments\":").string(&choice.tool_calls[call].raw);
            }
            Step::SummaryAdded(_) => {
                json.raw(",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
            }
            Step::SummaryDelta(_, chunk) | Step::ReasoningDelta(_, chunk) => {
                let piece = choice.reasoning.as_ref().and_then(|text| text.get(chunk));
                let summary = matches!(step, Step::SummaryDelta(..));
                let index = if summary { "summary_index" } else { "content_index" };
                json.raw(",\"").raw(index).raw("\":0,\"delta\":").string(piece.unwrap_or(""));
            }
            Step::SummaryTextDone(_) => {
                json.raw(",\"summary_index\":0,\"text\":").string(self.reasoning_text());
            }
            Step::SummaryDone(_) => {
                json.raw(",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":");
                json.string(self.reasoning_text()).raw("}");
            }
            Step::ReasoningDone(_) => {
                json.raw(",\"content_index\":0,\"text\":").string(self.reasoning_text());
            }
        }
        json.raw("}\n\n");
        json.into_bytes()
    }

    fn event_name(&self, step: Step) -> &'static str {
        let refusal = self.reply.first_choice().refusal;
        match step {
            Step::Created => "response.created",
            Step::InProgress => "response.in_progress",
            Step::ItemAdded(_) => "response.output_item.added",
            Step::ItemDone(_) => "response.output_item.done",
            Step::PartAdded(_) => "response.content_part.added",
            Step::PartDone(_) => "response.content_part.done",
            Step::TextDelta(..) if refusal => "response.refusal.delta",
            Step::TextDelta(..) => "response.output_text.delta",
            Step::TextDone(_) if refusal => "response.refusal.done",
            Step::TextDone(_) => "response.output_text.done",
            Step::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Step::ArgumentsDone(..) => "response.function_call_arguments.done",
            Step::SummaryAdded(_) => "response.reasoning_summary_part.added",
            Step::SummaryDelta(..) => "response.reasoning_summary_text.delta",
            Step::SummaryTextDone(_) => "response.reasoning_summary_text.done",
            Step::SummaryDone(_) => "response.reasoning_summary_part.done",
            Step::ReasoningDelta(..) => "response.reasoning_text.delta",
            Step::ReasoningDone(_) => "response.reasoning_text.done",
            Step::End => match self.outcome().0 {
                "incomplete" => "response.incomplete",
                "failed" => "response.failed",
                _ => "response.completed",
            },
        }
    }
}

fn failure() -> Value {
    json!({
        "code": "server_error",
        "message": "The model failed to generate a response. Please try again.",
    })
}

/// One event to come; the first number is the item's place in the output.
#[derive(Clone, Copy, Debug)]
enum Step {
    Created,
    InProgress,
    ItemAdded(usize),
    ItemDone(usize),
    PartAdded(usize),
    PartDone(usize),
    TextDelta(usize, usize),
    TextDone(usize),
    ArgumentsDelta { at: usize, call: usize, start: usize, end: usize },
    ArgumentsDone(usize, usize),
    SummaryAdded(usize),
    SummaryDelta(usize, usize),
    SummaryTextDone(usize),
    SummaryDone(usize),
    ReasoningDelta(usize, usize),
    ReasoningDone(usize),
    End,
}

impl Step {
    fn is_content(self) -> bool {
        matches!(
            self,
            Self::TextDelta(..)
                | Self::ArgumentsDelta { .. }
                | Self::SummaryDelta(..)
                | Self::ReasoningDelta(..)
        )
    }

    fn item(self) -> Option<usize> {
        match self {
            Self::Created | Self::InProgress | Self::End => None,
            Self::ItemAdded(at)
            | Self::ItemDone(at)
            | Self::PartAdded(at)
            | Self::PartDone(at)
            | Self::TextDelta(at, _)
            | Self::TextDone(at)
            | Self::ArgumentsDelta { at, .. }
            | Self::ArgumentsDone(at, _)
            | Self::SummaryAdded(at)
            | Self::SummaryDelta(at, _)
            | Self::SummaryTextDone(at)
            | Self::SummaryDone(at)
            | Self::ReasoningDelta(at, _)
            | Self::ReasoningDone(at) => Some(at),
        }
    }
}
