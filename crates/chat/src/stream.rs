use std::collections::BTreeMap;

use crate::{
    ApiError, ChatResponse, Choice, FinishReason, Json, Logprobs, Part, Reasoning, ToolCall, Usage,
};

/// A piece of a streamed answer.
///
/// Order within a choice: `Text`, `Reasoning`, `Refusal` and tool-call pieces interleave freely,
/// except that the pieces of one tool call follow its `ToolCallStart`; `Finish` is the choice's
/// last. `Usage` comes at most a few times (the last one counts), `End` once, last. `Error` is
/// last too: a stream that breaks has no `End`.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// The answer begins.
    Start {
        /// The provider's id; empty where it gives none.
        id: String,
        /// The model that the provider says answers.
        model: String,
        /// Seconds since 1970; 0 where the provider does not say.
        created: u64,
    },
    /// More text, never empty, cut between code points.
    Text {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
    },
    /// More thinking.
    Reasoning {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
    },
    /// The thinking that came so far is closed by this proof (Anthropic's `signature_delta`).
    ReasoningSignature {
        /// Which answer.
        choice: u32,
        /// The proof.
        signature: String,
    },
    /// A whole block of thinking that only the provider can read.
    ReasoningEncrypted {
        /// Which answer.
        choice: u32,
        /// The opaque block.
        data: String,
    },
    /// More of a refusal.
    Refusal {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
    },
    /// A tool call begins.
    ToolCallStart {
        /// Which answer.
        choice: u32,
        /// Number of the call within the answer, from 0.
        index: u32,
        /// Its id.
        id: String,
        /// Name of the tool.
        name: String,
    },
    /// More of a tool call's arguments (JSON text, cut anywhere between code points).
    ToolCallArguments {
        /// Which answer.
        choice: u32,
        /// Number of the call.
        index: u32,
        /// The piece.
        fragment: String,
    },
    /// Log-probabilities of the tokens just sent.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// Entries as in [`Logprobs::content`].
        content: Vec<Json>,
    },
    /// A choice is complete.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        reason: FinishReason,
        /// The stop text that was met, where known.
        stop_sequence: Option<String>,
    },
    /// Tokens counted so far.
    Usage(Usage),
    /// The provider ended the stream properly.
    End,
    /// The stream broke.
    Error(ApiError),
}

/// Puts a stream together again: the whole answer that a stream amounts to.
#[derive(Debug, Default)]
pub struct StreamAccumulator {
    response: ChatResponse,
    choices: BTreeMap<u32, PartialChoice>,
    ended: bool,
    error: Option<ApiError>,
}

#[derive(Debug, Default)]
struct PartialChoice {
    parts: Vec<Part>,
    /// Position in `parts` of each tool call, by its index.
    calls: BTreeMap<u32, usize>,
    finish: Option<FinishReason>,
    stop_sequence: Option<String>,
    logprobs: Option<Logprobs>,
}

impl PartialChoice {
    fn push_text(&mut self, piece: &str) {
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            text.text.push_str(piece);
        } else {
            self.parts.push(Part::text(piece));
        }
    }

    fn open_reasoning(&mut self) -> Option<&mut Reasoning> {
        let closed = !matches!(self.parts.last(), Some(Part::Reasoning(reasoning))
            if reasoning.signature.is_none() && reasoning.encrypted.is_none());
        if closed {
            self.parts.push(Part::Reasoning(Reasoning::default()));
        }
        match self.parts.last_mut() {
            Some(Part::Reasoning(reasoning)) => Some(reasoning),
            _ => None,
        }
    }
}

impl StreamAccumulator {
    /// Takes the next event.
    pub fn push(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Start { id, model, created } => {
                self.response.id.clone_from(id);
                self.response.model.clone_from(model);
                self.response.created = *created;
            }
            StreamEvent::Text { choice, text } => self.choice(*choice).push_text(text),
            StreamEvent::Reasoning { choice, text } => {
                if let Some(reasoning) = self.choice(*choice).open_reasoning() {
                    reasoning.text.push_str(text);
                }
            }
            StreamEvent::ReasoningSignature { choice, signature } => {
                if let Some(reasoning) = self.choice(*choice).open_reasoning() {
                    reasoning.signature = Some(signature.clone());
                }
            }
            StreamEvent::ReasoningEncrypted { choice, data } => {
                let reasoning = Reasoning { encrypted: Some(data.clone()), ..Reasoning::default() };
                self.choice(*choice).parts.push(Part::Reasoning(reasoning));
            }
            StreamEvent::Refusal { choice, text } => {
                let parts = &mut self.choice(*choice).parts;
                if let Some(Part::Refusal(refusal)) = parts.last_mut() {
                    refusal.push_str(text);
                } else {
                    parts.push(Part::Refusal(text.clone()));
                }
            }
            StreamEvent::ToolCallStart { choice, index, id, name } => {
                let partial = self.choice(*choice);
                partial.calls.insert(*index, partial.parts.len());
                partial.parts.push(Part::ToolCall(ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                }));
            }
            StreamEvent::ToolCallArguments { choice, index, fragment } => {
                let partial = self.choice(*choice);
                let position = partial.calls.get(index).copied();
                if let Some(Part::ToolCall(call)) =
                    position.and_then(|position| partial.parts.get_mut(position))
                {
                    call.arguments.push_str(fragment);
                }
            }
            StreamEvent::Logprobs { choice, content } => {
                let logprobs = self.choice(*choice).logprobs.get_or_insert_default();
                logprobs.content.extend(content.iter().cloned());
            }
            StreamEvent::Finish { choice, reason, stop_sequence } => {
                let partial = self.choice(*choice);
                partial.finish = Some(reason.clone());
                partial.stop_sequence.clone_from(stop_sequence);
            }
            StreamEvent::Usage(usage) => self.response.usage = Some(*usage),
            StreamEvent::End => self.ended = true,
            StreamEvent::Error(error) => self.error = Some(error.clone()),
        }
    }

    fn choice(&mut self, index: u32) -> &mut PartialChoice {
        self.choices.entry(index).or_default()
    }

    /// The whole answer.
    ///
    /// # Errors
    /// The stream's own error, or [`crate::ErrorKind::BadGateway`] when it stopped before its end.
    pub fn finish(mut self) -> Result<ChatResponse, ApiError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !self.ended {
            return Err(ApiError::new(
                crate::ErrorKind::BadGateway,
                "the provider ended the stream before the answer was complete",
            )
            .with_code("stream_interrupted"));
        }
        self.response.choices = self
            .choices
            .into_iter()
            .map(|(index, partial)| Choice {
                index,
                parts: partial.parts,
                finish: partial.finish.unwrap_or(FinishReason::Stop),
                stop_sequence: partial.stop_sequence,
                logprobs: partial.logprobs,
            })
            .collect();
        Ok(self.response)
    }
}
