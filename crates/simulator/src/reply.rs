//! What will be answered, before any wire format.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::bill::Charge;
use crate::draw::Draw;
use crate::script::{Fault, Shape};
use crate::world::Allowance;

/// A planned answer. Encoders read it; [`crate::answer::Answer`] plays it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Never empty.
    pub(crate) choices: Vec<Choice>,
    pub(crate) prompt_tokens: u64,
    /// Part of `prompt_tokens` that a prefix cache served.
    pub(crate) cached_tokens: u64,
    /// All generated tokens, reasoning included.
    pub(crate) completion_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    pub(crate) pace: Pace,
    pub(crate) fault: Option<Fault>,
    pub(crate) shape: Shape,
    /// Source of this answer's ids.
    pub(crate) draw: Draw,
    /// Provider-specific switches of the script that the core does not know (`x.name=value`).
    pub(crate) extra: Vec<(String, String)>,
    pub(crate) charge: Charge,
    /// For rate-limit headers.
    pub(crate) allowance: Allowance,
}

/// One alternative.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) reasoning: Option<Chunked>,
    /// Empty when the choice only calls tools.
    pub(crate) text: Chunked,
    pub(crate) tool_calls: Vec<ToolCall>,
    pub(crate) finish: Finish,
    /// The text is a refusal to answer.
    pub(crate) refusal: bool,
    /// The stop sequence that ended the text.
    pub(crate) stop_sequence: Option<String>,
}

/// A text and where a stream cuts it. Clones share the text.
#[derive(Clone, Debug)]
pub(crate) struct Chunked {
    text: Arc<str>,
    /// Ends of the chunks: ascending byte offsets at code point boundaries; the last is the length.
    ends: Arc<[u32]>,
}

impl Chunked {
    /// `ends` that are not ascending code point boundaries are dropped.
    pub(crate) fn new(text: impl Into<Arc<str>>, ends: impl IntoIterator<Item = usize>) -> Self {
        let text = text.into();
        let mut clean: Vec<u32> = Vec::new();
        for end in ends.into_iter().chain([text.len()]) {
            let last = clean.last().map_or(0, |end| *end as usize);
            if end > last && text.is_char_boundary(end) {
                clean.push(end as u32);
            }
        }
        Self { text, ends: clean.into() }
    }

    pub(crate) fn empty() -> Self {
        Self::new("", [])
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both share one text in memory.
    pub(crate) fn same_text(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Number of chunks.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Chunk `index`, or `None` past the end: for encoders that own a clone and walk it.
    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.text[start..end])
    }

    /// Text up to and including chunk `index` (cumulative streams).
    pub(crate) fn up_to(&self, index: usize) -> Option<&str> {
        Some(&self.text[..*self.ends.get(index)? as usize])
    }

    #[cfg(test)]
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A call that the model makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    /// Parsed arguments; `{}` when `raw` is broken on purpose.
    pub(crate) arguments: Value,
    /// What goes where the wire format wants text; may be malformed on purpose.
    pub(crate) raw: String,
}

/// Why a choice ended; each provider has its own word for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finish {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
    /// `finish=...` with a word the core does not know; providers send it verbatim.
    Other(Arc<str>),
}

/// Delays of one answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) between: Duration,
    /// Sigma of the log-normal factor on each delay.
    pub(crate) jitter: f64,
    pub(crate) draw: Draw,
}

impl Pace {
    /// The delay before content chunk `index`.
    pub(crate) fn before(&mut self, index: usize) -> Duration {
        let base = if index == 0 { self.first } else { self.between };
        if base.is_zero() { base } else { self.draw.jittered(base, self.jitter) }
    }

    /// What `chunks` chunks take in all: how long a whole (not streamed) answer is held.
    pub(crate) fn total(mut self, chunks: usize) -> Duration {
        if self.first.is_zero() && self.between.is_zero() {
            return Duration::ZERO;
        }
        (0..chunks.max(1)).map(|index| self.before(index)).sum()
    }
}

impl Reply {
    /// The error status that the script asks for, to be put in the provider's own error shape.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match &self.fault {
            Some(Fault::Status { code, retry_after, message }) => Some(Refusal {
                status: *code,
                retry_after: *retry_after,
                message: message.clone(),
                expired_token: false,
            }),
            Some(Fault::ExpiredToken) => {
                Some(Refusal { status: 401, retry_after: None, message: None, expired_token: true })
            }
            _ => None,
        }
    }

    pub(crate) fn first_choice(&self) -> &Choice {
        &self.choices[0]
    }

    /// The number of content chunks of the first choice: reasoning, text and one per tool call.
    pub(crate) fn chunk_count(&self) -> usize {
        let choice = self.first_choice();
        choice.reasoning.as_ref().map_or(0, Chunked::len)
            + choice.text.len()
            + choice.tool_calls.len()
    }

    /// The value of the provider-specific switch `x.name`.
    pub(crate) fn extra(&self, name: &str) -> Option<&str> {
        self.extra.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A scripted refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Seconds for `Retry-After`; absent means no such header.
    pub(crate) retry_after: Option<u32>,
    /// Overrides the provider's usual message.
    pub(crate) message: Option<String>,
    /// The refusal says that the access token is no longer valid.
    pub(crate) expired_token: bool,
}
