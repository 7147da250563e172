use crate::{Json, Part, StreamEvent, Usage};

/// A whole answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatResponse {
    /// The provider's id of the answer; empty where it gives none.
    pub id: String,
    /// The model that the provider says answered.
    pub model: String,
    /// Seconds since 1970, as the provider says; 0 where it does not.
    pub created: u64,
    /// The answers, usually one.
    pub choices: Vec<Choice>,
    /// What it cost in tokens.
    pub usage: Option<Usage>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// What the model said, in order.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// The stop text that was met, where the provider says so (Anthropic).
    pub stop_sequence: Option<String>,
    /// Log-probabilities where wanted and had.
    pub logprobs: Option<Logprobs>,
}

impl ChatResponse {
    /// The stream that this answer amounts to, its end included.
    #[must_use]
    pub fn into_events(self) -> Vec<StreamEvent> {
        let mut events =
            vec![StreamEvent::Start { id: self.id, model: self.model, created: self.created }];
        for choice in self.choices {
            choice.push_events(&mut events);
        }
        events.extend(self.usage.map(StreamEvent::Usage));
        events.push(StreamEvent::End);
        events
    }
}

impl Choice {
    fn push_events(self, events: &mut Vec<StreamEvent>) {
        let choice = self.index;
        let mut calls = 0..;
        for part in self.parts {
            match part {
                Part::Text(text) => events.push(StreamEvent::Text { choice, text: text.text }),
                Part::Refusal(text) => events.push(StreamEvent::Refusal { choice, text }),
                Part::Reasoning(reasoning) => {
                    if !reasoning.text.is_empty() {
                        events.push(StreamEvent::Reasoning { choice, text: reasoning.text });
                    }
                    if let Some(signature) = reasoning.signature {
                        events.push(StreamEvent::ReasoningSignature { choice, signature });
                    }
                    if let Some(data) = reasoning.encrypted {
                        events.push(StreamEvent::ReasoningEncrypted { choice, data });
                    }
                }
                Part::ToolCall(call) => {
                    let index = calls.next().unwrap_or(u32::MAX);
                    let (id, name, fragment) = (call.id, call.name, call.arguments);
                    events.push(StreamEvent::ToolCallStart { choice, index, id, name });
                    events.push(StreamEvent::ToolCallArguments { choice, index, fragment });
                }
                // No model answers with these.
                Part::Image(_) | Part::File(_) | Part::ToolResult(_) => {}
            }
        }
        if let Some(logprobs) = self.logprobs {
            events.push(StreamEvent::Logprobs { choice, content: logprobs.content });
        }
        events.push(StreamEvent::Finish {
            choice,
            reason: self.finish,
            stop_sequence: self.stop_sequence,
        });
    }

    /// All text of the answer.
    #[must_use]
    pub fn joined_text(&self) -> String {
        self.parts.iter().filter_map(Part::as_text).collect()
    }
}

/// Log-probabilities in OpenAI's form: the members of `logprobs.content` (each an object with
/// `token`, `logprob`, `bytes`, `top_logprobs`), kept as text. Streams append to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logprobs {
    /// One entry per token.
    pub content: Vec<Json>,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// It was done, or met a stop text.
    Stop,
    /// It met the token limit.
    Length,
    /// It asks for tools.
    ToolCalls,
    /// The provider's filter cut it (GigaChat's `blacklist` included).
    ContentFilter,
    /// The model refused (Anthropic's `refusal`).
    Refusal,
    /// Something else, in the provider's word.
    Other(String),
}
